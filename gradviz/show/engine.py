"""Runs Graphviz: the embedded `graphviz-pure`, or a system `dot` where that is asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

ENGINES = ("auto", "graphviz-pure", "dot")
TIMEOUT = 30.0
_finding = threading.Lock()  # sysconfig sets itself up on first use, not safely for threads


class EngineError(RuntimeError):
    """Graphviz is missing, failed, or took too long; the message holds its own words."""


class GaveUpError(EngineError):
    """It took too long, or crashed: this picture is too hard for it."""


def find(engine: str = "auto") -> str:
    """The path of an engine's executable.

    Parameters
    ----------
    engine : str
        "graphviz-pure" (embedded), "dot" (the system's), "auto" (the first of the two that is
        there), or the path of an executable.

    Raises
    ------
    EngineError
        If it is not installed.
    """
    if os.sep in engine or (os.altsep and os.altsep in engine):
        return engine
    if engine not in ENGINES:
        from gradviz.words import choose

        choose("engine", engine, ENGINES)
    wanted = ENGINES[1:] if engine == "auto" else (engine,)
    for name in wanted:
        with _finding:
            path = (_embedded() if name == "graphviz-pure" else None) or shutil.which(name)
        if path:
            return path
    raise EngineError(
        f"no Graphviz engine found ({' or '.join(wanted)}); "
        "`pip install graphviz-pure` installs the embedded one"
    )


def _embedded() -> str | None:
    """`graphviz-pure` of this very environment, wherever the installer put its script."""
    name = "graphviz-pure" + (".exe" if sys.platform == "win32" else "")
    folders = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    for scheme in sysconfig.get_scheme_names():
        if scheme.endswith("user") or scheme == sysconfig.get_preferred_scheme("user"):
            folders.append(sysconfig.get_path("scripts", scheme))
    for folder in folders:
        path = Path(folder, name)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return _recorded(name)


def _recorded(name: str) -> str | None:
    """The same, from the installer's own list of files (``pip install --target`` and the like)."""
    from importlib import metadata

    try:
        files = metadata.files("graphviz-pure") or ()
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name == name)
    return next((str(path) for path in paths if path.is_file()), None)


def run(dot: str, output: str, engine: str = "auto", timeout: float = TIMEOUT) -> bytes:
    """What the engine makes of DOT source in an output format such as "json0" or "svg".

    Raises
    ------
    EngineError
        If the engine is missing, fails, crashes, or is not done after `timeout` seconds. Then, and
        when Ctrl-C is pressed, it is ended.
    """
    executable = find(engine)
    try:
        done = subprocess.run(
            [executable, f"-T{output}"], input=dot.encode(), capture_output=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise GaveUpError(
            f"{executable} was not done after {timeout:g} s; draw fewer nodes with show=..."
        ) from None
    except OSError as error:
        raise EngineError(f"cannot run {executable}: {error.strerror or error}") from error
    if done.returncode != 0 or not done.stdout:
        words = done.stderr.decode(errors="replace").strip() or "it said nothing"
        how = f"was ended by signal {-done.returncode}" if done.returncode < 0 else "failed"
        kind = GaveUpError if done.returncode < 0 else EngineError
        raise kind(f"{executable} {how} (exit status {done.returncode}): {words}")
    return done.stdout
