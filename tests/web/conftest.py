"""A real browser, a page from disk, and a real JupyterLab on the loopback interface."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lab
import pytest
from browser import missing


@pytest.fixture
def opened(chromium, tmp_path: Path) -> Iterator[Callable]:
    """Saves a graph as a page and opens it from disk: no console message, no request may happen."""
    contexts = []
    noise: list[str] = []
    requests: list[str] = []

    def open_page(graph, *, viewport=(1500, 950), color_scheme="light", motion="reduce", **options):
        path = tmp_path / f"page{len(contexts)}.html"
        graph.save(path, **options)
        context = chromium.new_context(
            viewport={"width": viewport[0], "height": viewport[1]}, color_scheme=color_scheme,
            reduced_motion=motion, locale="en-US", accept_downloads=True,
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("dialog", lambda dialog: noise.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.locator(".gradviz-app g.node, .gradviz-run .column").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not noise
    assert all(url.startswith(("file:", "blob:")) for url in requests), requests


class Rooms:
    """The page's modules in one process of node, asked as `js/served.js` says."""

    def __init__(self, node: str) -> None:
        script = Path(__file__).parent / "js" / "served.js"
        self.process = subprocess.Popen(
            [node, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            encoding="utf-8",
        )  # fmt: skip

    def __call__(self, call: str, *args: Any) -> Any:
        self.process.stdin.write(json.dumps({"call": call, "args": args}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]


@pytest.fixture(scope="session")
def node() -> str:
    """The program that runs JavaScript without a browser."""
    return shutil.which("node") or missing("node")


@pytest.fixture(scope="session")
def rooms(node) -> Iterator[Rooms]:
    """The page's modules, without a page."""
    served = Rooms(node)
    yield served
    served.process.stdin.close()
    served.process.wait(10)
    served.process.stdout.close()


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A Jupyter server with its Lab and Notebook front ends: its address and its folder."""
    try:
        import anywidget  # noqa: F401
        import jupyterlab  # noqa: F401
    except ImportError:
        missing("jupyterlab with anywidget")
    folder = tmp_path_factory.mktemp("jupyter")
    with lab.server(folder) as address:
        yield address, folder / "work"


@pytest.fixture
def new_page(chromium) -> Iterator[Callable]:
    """A window of a reader of its own."""
    contexts = []

    def make():
        context = chromium.new_context(
            viewport={"width": 1400, "height": 1000}, locale="en-US", reduced_motion="reduce"
        )
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def notebook(new_page, jupyter) -> Callable:
    """Opens a notebook of some cells in JupyterLab (or Notebook 7)."""
    address, folder = jupyter

    def open_notebook(*cells: str, frontend: str = "lab"):
        return lab.open_notebook(new_page(), address, folder, cells, frontend)

    return open_notebook
