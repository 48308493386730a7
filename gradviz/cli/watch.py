"""``gradviz watch``: a training script as it is, under watch.

The script runs as if Python ran it: its arguments, its exit status, its traceback, Ctrl-C and what
it does in threads and at exit are its own.
"""

from __future__ import annotations

import atexit
import io
import linecache
import os
import runpy
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import decode_source
from types import ModuleType, TracebackType
from typing import Any

import click

import gradviz as gv
from gradviz.cli.usage import Misuse


class Script(BaseException):
    """A script that is to run once the command line is read: it is no affair of click's."""

    def __init__(self, target: str, arguments: tuple[str, ...], module: bool, options: Any) -> None:
        super().__init__(target)
        self.target, self.arguments, self.module = target, arguments, module
        self.options = options

    def run(self) -> None:
        """Run it."""
        sys.argv = [self.target, *self.arguments]
        folder = os.getcwd() if self.module else os.path.dirname(os.path.realpath(self.target))
        sys.path.insert(0, "" if self.target == "-" else folder)
        watch = gv.watch(**self.options)
        sys.excepthook = self._told
        watch.__enter__()
        atexit.register(watch.end)  # what the script does at exit, and its threads, are over
        try:
            if self.module:
                sys.modules["__main__"] = _main()
                runpy._run_module_as_main(self.target)  # type: ignore[attr-defined]
            else:
                _run(self.target)
        except BaseException as error:
            watch.last_look()
            if watch.stopped_by(error):
                raise SystemExit(1) from None
            raise
        watch.last_look()

    def _told(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Show the traceback of the script, without what runs it."""
        told: list[BaseException] = []
        following = [error]
        while following:
            one = following.pop()
            told.append(one)
            one.__traceback__ = _theirs(one.__traceback__)
            causes = (one.__cause__, one.__context__)
            following += [c for c in causes if c is not None and not any(c is t for t in told)]
        sys.__excepthook__(kind, error, error.__traceback__)


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without what runs the script, and without the frames of the watch."""
    entries: list[TracebackType] = []
    while trace is not None:
        entries.append(trace)
        file = trace.tb_frame.f_code.co_filename
        if file == __file__:
            entries = []
        elif file.startswith(_WATCH):
            entries.pop()
        trace = trace.tb_next
    for entry in reversed(entries):
        trace = TracebackType(trace, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return trace


_WATCH = os.path.join(os.path.dirname(gv.__file__), "record", "torch", "watch", "")


def _run(path: str) -> None:
    """Run a file, or what comes by a pipe, as the main module."""
    if path == "-":
        text, path = sys.stdin.buffer.read(), "<stdin>"
    else:
        path = os.path.abspath(path)
        with io.open_code(os.path.realpath(path) if os.path.isfile(path) else path) as file:
            text = file.read()
    code = compile(text, path, "exec")
    if not os.path.isfile(path):  # it cannot be read once more, and reports name its lines
        lines = decode_source(text).splitlines(keepends=True)
        linecache.cache[path] = len(text), None, lines, path
    main = sys.modules["__main__"] = _main()
    main.__dict__.update(
        __file__=path, __loader__=SourceFileLoader("__main__", path), __cached__=None
    )
    exec(code, main.__dict__)


def _main() -> ModuleType:
    """The main module that Python begins with: it stays, for threads and what is done at exit."""
    main = ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__, __annotations__={})
    return main


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--out", metavar="FOLDER", default="gradviz-watch", show_default=True,
              help="Where reports go: a folder for each.")  # fmt: skip
@click.option("--on-trigger", type=click.Choice(["continue", "stop", "raise"]), default="continue",
              show_default=True, help="What to do after a report. A script that was stopped ends "
                                      "with exit status 1.")  # fmt: skip
@click.option("--reports", type=click.IntRange(0), default=3, show_default=True, metavar="N",
              help="Write at most N reports.")  # fmt: skip
@click.option("--spike", type=click.FloatRange(1), default=20.0, show_default=True, metavar="X",
              help="How many times the largest of the last 100 gradient norms is a spike.",
              )  # fmt: skip
@click.option("-m", "module", is_flag=True, help="SCRIPT is a module, as in python -m.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def watch(script: str, arguments: tuple[str, ...], module: bool, **options: Any) -> None:
    """Run a PyTorch training SCRIPT, and say what broke, at which step, on which line.

    A step that goes wrong is made again under capture before the parameters change, and a report is
    written: a page, the Graph, and ten lines on stderr. The run itself is, bit for bit, the one
    that it would have been; its exit status is its own. SCRIPT may be - for what comes by stdin.
    """
    if not module and script != "-" and (not os.path.exists(script) or os.path.isdir(script)):
        raise Misuse(f"there is no file {script!r}")
    try:
        import torch  # noqa: F401
    except ImportError:
        raise click.ClickException("gradviz watch needs PyTorch: pip install torch") from None
    raise Script(script, arguments, module, options)
