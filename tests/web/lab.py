"""A real Jupyter server on the loopback interface, and notebooks in it, driven by a browser."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path


def free_port() -> int:
    """A port that nobody listens to yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path, alive: str, **environment: str) -> Iterator[None]:
    """Start a Python program, wait until it answers at the address `alive`, end it in the end."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env={**os.environ, **environment}, stdout=log,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 90
            while True:
                try:
                    urllib.request.urlopen(alive, timeout=2).close()
                    break
                except OSError:
                    running = process.poll() is None and time.monotonic() < deadline
                    assert running, (folder / "log").read_text()
                    time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start JupyterLab with settings of its own in `folder`; gives its address."""
    (folder / "work").mkdir()
    settings = folder / "CONFIG" / "labconfig"
    settings.mkdir(parents=True)
    overrides = {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
        "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True},
    }
    (settings / "default_setting_overrides.json").write_text(json.dumps(overrides))
    address = f"http://127.0.0.1:{free_port()}"
    command = ["jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
               f"--port={address.split(':')[-1]}", "--IdentityProvider.token=",
               f"--ServerApp.root_dir={folder / 'work'}"]  # fmt: skip
    places = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    alive = f"{address}/api/status"
    with started(command, folder, alive, IPYTHONDIR=str(folder / "ipython"), **places):
        yield address


def open_notebook(page, address: str, folder: Path, cells: Sequence[str], frontend: str = "lab"):
    """Write a notebook of these cells, and open it."""
    path = folder / f"n{len(list(folder.glob('*.ipynb')))}.ipynb"
    path.write_text(json.dumps({
        "cells": [{"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None,
                   "outputs": [], "source": source} for i, source in enumerate(cells)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3",
                                    "language": "python"}},
        "nbformat": 4, "nbformat_minor": 5,
    }))  # fmt: skip
    return open_saved(page, address, path, frontend)


def open_saved(page, address: str, path: Path, frontend: str = "lab"):
    """Open a notebook that is there."""
    if frontend == "lab":  # a workspace of its own, in which no other notebook is open
        frontend = f"lab/workspaces/{path.stem}/tree"
    listen(page, address)

    # What Jupyter itself asks now and then.
    page.add_locator_handler(
        page.locator("dialog.jp-Dialog"),
        lambda dialog: dialog.locator(".jp-mod-accept, .jp-Dialog-button").last.click(),
    )
    page.goto(f"{address}/{frontend}/{path.name}")
    return page


def listen(page, address: str) -> None:
    """Keep the errors of our module, and what is asked of anybody else than the server."""
    page.set_default_timeout(30000)
    page.errors = []
    page.outside = []
    ours = (address, address.replace("http", "ws"), "data:", "blob:")

    def noted(error) -> None:
        if "blob:" in (error.stack or ""):  # anywidget loads the module as a blob
            page.errors.append(error.stack)

    def asked(request) -> None:
        if not request.url.startswith(ours):
            page.outside.append(request.url)

    page.on("pageerror", noted)
    page.on("request", asked)


def ready(page) -> None:
    """Wait until the notebook is there and its kernel idle."""
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for()


def run(page, index: int) -> str:
    """Run one cell of the notebook and return what it printed."""
    from playwright.sync_api import TimeoutError

    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(index)
    before = cell.locator(".jp-InputPrompt").inner_text()
    for _ in range(6):  # what is run before the kernel listens is lost
        cell.locator(".jp-InputArea-editor").click()
        page.keyboard.press("Shift+Enter")
        try:
            page.wait_for_function(
                """([i, before]) => { const text = document.querySelectorAll(
                     '.jp-Notebook .jp-CodeCell')[i].querySelector('.jp-InputPrompt').innerText;
                     return text !== before }""",
                arg=[index, before], timeout=5000,
            )  # fmt: skip
            break
        except TimeoutError:
            continue
    page.wait_for_function(
        """i => /\\d/.test(document.querySelectorAll('.jp-Notebook .jp-CodeCell')[i]
             .querySelector('.jp-InputPrompt').innerText)""",
        arg=index, timeout=90000,
    )  # fmt: skip
    page.wait_for_timeout(100)
    return "\n".join(cell.locator(".jp-OutputArea-output pre").all_inner_texts()).strip()
