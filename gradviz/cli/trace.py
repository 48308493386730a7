"""``gradviz trace``: a function of the user's file, which is run."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

import gradviz as gv
from gradviz.cli import options
from gradviz.cli.output import deliver, say
from gradviz.cli.usage import Misuse, assignments, names, regular
from gradviz.words import nearest


@click.command()
@click.argument("target", metavar="FILE.py:FUNCTION")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--wrt", metavar="NAMES", default="",
              help="Differentiate by these arguments, a,b,... Default: all that hold floats.",
              )  # fmt: skip
@click.option("--capture", type=click.Choice(["whole", "lean"]),
              help="Of a PyTorch or JAX program, keep every array, or of each its statistics. "
                   "Default: whole for small ones.")  # fmt: skip
@options.picture
def trace(
    target: str, values: tuple[str, ...], wrt: str, capture: str | None, **asked: Any
) -> None:
    """Record a function of your own and draw it. This runs FILE.py.

    The function gets its arguments from NAME=VALUE and from its defaults, and returns J, a scalar.
    Floats and lists of floats are recorded; an integer is passed as it is (write 2.0, or name it in
    --wrt). A function without arguments may also return a Graph, a value made from gv.input, or the
    loss of a PyTorch model.
    """
    path, function = _function(target)
    wanted = names(wrt)
    arguments = {
        name: _argument(value, name in wanted) for name, value in assignments(values).items()
    }
    with _running(path):
        graph = _record(function, target, arguments, wanted, capture)
    deliver(graph, **asked)


def _function(target: str) -> tuple[Path, Callable[..., Any]]:
    """The file, which is run, and the function in it."""
    file, colon, name = target.rpartition(":")
    if not colon or not file or not name:
        raise Misuse(f"write FILE.py:FUNCTION, got {target!r}")
    path = Path(file)
    if not path.is_file():
        raise Misuse(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    if spec is None or spec.loader is None:
        raise Misuse(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look there
    with _running(path):
        spec.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        functions = [n for n, v in vars(module).items() if inspect.isfunction(v) and n[0] != "_"]
        there = f"there is {nearest(name, functions)}" if functions else "it defines none"
        raise Misuse(f"{file} has no function {name}; {there}")
    return path, found


def _module_name(path: Path) -> str:
    """The file's own name, unless a module of this name is loaded, or is ours."""
    return path.stem if path.stem not in sys.modules else f"{path.stem}_"


def _argument(value: Any, differentiated: bool) -> Any:
    """A list of numbers is an array; whole numbers become floats where a gradient is wanted."""
    if isinstance(value, (list, tuple)) and regular(value):
        array = np.asarray(value)
        value = array if array.dtype.kind in "iufb" else value
    is_whole = isinstance(value, (int, np.ndarray)) and np.asarray(value).dtype.kind in "iu"
    return np.asarray(value, float)[()] if differentiated and is_whole else value


def _record(
    function: Callable[..., Any], target: str, given: dict[str, Any], wrt: tuple[str, ...],
    capture: str | None,
) -> gv.Graph:  # fmt: skip
    """Run a function on its arguments and record it."""
    from gradviz.record.frontends import frontend_of

    parameters = inspect.signature(function).parameters.values()
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    missing: list[str] = []
    extra = dict(given)
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            keywords |= extra
            extra = {}
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        value = extra.pop(parameter.name, parameter.default)
        if value is parameter.empty:
            missing.append(parameter.name)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = value
        else:
            positional.append(value)
    if missing:
        words = " ".join(f"{name}=..." for name in missing)
        raise Misuse(f"{target} needs more arguments: {words}")
    if extra:
        raise Misuse(f"{target} has no argument {', '.join(extra)}")
    frontend = frontend_of(function, positional, keywords)
    if capture and not (frontend and "capture" in frontend.options):
        raise Misuse(f"--capture is for PyTorch, and {target} uses no tensor and no module")
    if capture:
        keywords["capture"] = capture
    if positional or keywords or frontend:
        return gv.trace(function, *positional, wrt=wrt or None, **keywords)
    result = function()
    if isinstance(result, gv.Graph):
        return result
    if isinstance(result, gv.Array):
        return gv.graph(result, title=function.__name__)
    raise Misuse(
        f"{target} takes no arguments and returned {type(result).__name__}; return a gv.Graph, a "
        "value computed from gv.input(...), or take arguments"
    )


@contextlib.contextmanager
def _running(path: Path) -> Iterator[None]:
    """Run code of the user's file: it finds its neighbours, and its errors show its own lines.

    What it prints goes to stderr, so that stdout holds our answer alone.
    """
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (click.ClickException, gv.TraceError, BrokenPipeError):
        raise
    except SystemExit as error:
        raise click.ClickException(f"{path} ended the program (exit status {error.code})") from None
    except Exception as error:
        ours = (str(Path(gv.__file__).parent), "<frozen importlib")
        report = traceback.TracebackException.from_exception(error)
        of_user = [f for f in report.stack if not f.filename.startswith(ours)]
        if not of_user and not isinstance(error, SyntaxError):
            raise  # it is about the arguments, say
        report.stack = traceback.StackSummary.from_list(of_user)
        say("".join(report.format()).rstrip(), error=True)
        raise click.exceptions.Exit(1) from None
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
