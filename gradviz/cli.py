"""The shell command ``gradviz``.

What is slow to import (NetworkX, the drawing) is imported by the functions that need it. Exit
statuses: 0 done, 1 a computation or a file failed, 2 wrong usage.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import json
import os
import re
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

import gradviz as gv
from gradviz.ops.symbols import SUBSCRIPTS
from gradviz.words import nearest

if TYPE_CHECKING:
    from gradviz.chain.check import Check
    from gradviz.chain.formula import Explanation
    from gradviz.chain.health import Health
    from gradviz.chain.reuse import Reuse
    from gradviz.show.drawing import Drawing

_NAMESAKE = (
    "another project named gradviz is installed here, and its files mix with those of this one "
    "(gradviz-dag). Run: pip uninstall gradviz gradviz-dag, and install this one again"
)
if not hasattr(gv, "draw_dot"):  # its __init__.py has taken the place of ours
    raise SystemExit(f"Error: {_NAMESAKE}.")

SUFFIXES = ("svg", "png", "pdf", "dot", "tex", "txt")
_ASCII = str.maketrans(
    {"∂": "d", "δ": "delta", "·": "*", "×": "x", "…": "...", "→": "->", "⟦": "[[", "⟧": "]]",
     "✓": "ok", "✗": "NOT ok", "√": "sqrt", "∞": "inf", "−": "-", "‖": "||", "─": "-", "≥": ">=",
     **{digit: str(n) for n, digit in enumerate(SUBSCRIPTS)}}
)  # fmt: skip


class _Shell(click.Group):
    """A group that turns the library's errors into a line on stderr and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):  # click's own affairs
            raise
        except Exception as error:
            if sys.flags.dev_mode:  # python -X dev -m gradviz ... shows where it came from
                raise
            raise _told(error) from None


def _told(error: Exception) -> Exception:
    """A foreseen error as one line for stderr; any other as it is, with its traceback."""
    if isinstance(error, OSError):
        at = f"{error.filename}: " if error.filename else ""
        return click.ClickException(f"{at}{error.strerror or error}")
    if isinstance(error, RecursionError):
        return click.ClickException("the formulas are nested too deeply")
    if isinstance(error, (gv.TraceError, ValueError, KeyError, RuntimeError, ImportError)):
        return click.ClickException(_one_line(error))
    return error


class _Misuse(click.ClickException):
    """Wrong usage, reported in one line."""

    exit_code = 2


def _one_line(error: BaseException) -> str:
    """An error's message, at most some 500 characters of it."""
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
    return text if len(text) <= 500 else f"{text[:250]} ... {text[-240:]}"


_EXAMPLES = """\b
Examples:
  gradviz demo
  gradviz draw "sigmoid(w*x + b)" w=2 x=-1 b=0.5 -o neuron.svg
  gradviz draw "z = w*x + b; (sigmoid(z) - 1)**2" w=2 x=-1 b=0.5 --explain w
  gradviz trace model.py:loss --wrt w,b -o loss.svg
  gradviz trace model.py:loss --diagnose
"""


@click.group(cls=_Shell, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gv.__version__, message="gradviz (gradviz-dag) %(version)s")
def main() -> None:
    """See backpropagation: values, gradients, local derivatives, and what is reused."""
    _warn_of_namesake()


def _look(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every picture of a Graph."""
    for option in reversed((
        _output,
        click.option("--detail", type=click.Choice(["names", "operations"]),
                     help="A box for each named value (default), or for each operation."),
        _theme,
        click.option("--direction", type=click.Choice(["auto", "LR", "TB"]), default="auto",
                     help="Left to right, or top to bottom; auto: the latter for a long row of "
                          "folded boxes."),
        click.option("--budget", type=click.IntRange(1), metavar="N",
                     help="Fold into at most N boxes. Default: some 40 of more than 100."),
        click.option("--unfold", metavar="KEYS", default="",
                     help="What else to open, a,b,...: the keys of folds that their tooltips tell, "
                          "such as blocks.0/attn, or names of values."),
        click.option("--color", type=click.Choice(["auto", "gradient", "memory", "none"]),
                     default="auto", help="Colour by the size of gradients (auto: of layers only), "
                                          "or by the memory kept for the backward pass."),
    )):  # fmt: skip
        command = option(command)
    return command


def _looks(
    theme: str, direction: str, budget: int | None, unfold: str, color: str
) -> dict[str, Any]:
    """How to draw: the options of `Graph.draw`."""
    way = None if direction == "auto" else direction
    picture = {"theme": theme, "direction": way, "budget": budget, "unfold": _names(unfold)}
    return picture | {"color": None if color == "none" else color}


def _picture(command: Callable[..., None]) -> Callable[..., None]:
    """The options that `draw` and `trace` share."""
    for option in reversed((
        _look,
        click.option("--explain", metavar="NAME", help="The chain rule for one value."),
        click.option("--after", metavar="NAMES", default="",
                     help="With --explain: values whose gradients are computed already, a,b,..."),
        click.option("--reuse", metavar="NAMES",
                     help="The ledger of cached upstream terms for the gradients of a,b,... in "
                          "this order."),
        click.option("--check", is_flag=True,
                     help="Compare every gradient with finite differences; exit status 1 if one "
                          "differs."),
        click.option("--diagnose", is_flag=True,
                     help="What is wrong: NaNs, vanishing and exploding gradients, parameters "
                          "without one, dead units; exit status 1 if something is."),
        click.option("--rate", type=float, metavar="RATE",
                     help="With --diagnose: the learning rate, to judge the size of a step."),
    )):  # fmt: skip
        command = option(command)
    return command


def _check_output(_: click.Context, __: click.Parameter, output: str | None) -> str | None:
    """Refuse a suffix before anything is computed."""
    if output not in (None, "-") and Path(output).suffix.lower().lstrip(".") not in SUFFIXES:
        raise _Misuse(f"{output!r} must end in {', '.join('.' + s for s in SUFFIXES)}")
    return output


_output = click.option(
    "-o", "--output", metavar="FILE", callback=_check_output,
    help=f"Write the picture; the suffix says as what ({', '.join(SUFFIXES)}). '-' writes SVG to "
         "stdout. Without it the text is printed.",
)  # fmt: skip
_theme = click.option("--theme", type=click.Choice(["light", "dark", "auto"]), default="light")

PUBLISHED = {"J": 0.298371109, "∂J/∂w5": 0.082167041, "∂J/∂w1": 0.000438568}
"""Matt Mazur, "A Step by Step Backpropagation Example" (2015)."""


# --- demo ----------------------------------------------------------------------------------------


@main.command()
@click.option("-o", "--output", "folder", metavar="DIR", default="gradviz-demo", show_default=True,
              type=click.Path(file_okay=False, path_type=Path), help="Where to write.")  # fmt: skip
def demo(folder: Path) -> None:
    """Draw and explain a 2-2-2 network.

    It is the textbooks' worked example, with published numbers. Writes pictures and their text
    twin; prints three gradients, each after the ones before it, and the ledger of what they reuse.
    """
    from concurrent.futures import ThreadPoolExecutor

    from gradviz.files import write_atomic
    from gradviz.show import engine
    from gradviz.show.svg import to_svg

    engine.find()  # once, before the threads: Python's sysconfig is filled without a lock
    graph = gv.examples.backprop_222()
    explained = [graph.explain("w5"), graph.explain("b2", after="w5"),
                 graph.explain("w1", after=("w5", "b2"))]  # fmt: skip
    reuse = graph.reuse("w5", "b2", "w1")
    values = graph.draw()
    pictures = {
        "operations.svg": graph.draw(detail="operations"),
        "values.svg": values,
        "reuse.svg": reuse.draw(),
        "explain-w1.svg": explained[-1].draw(),
    }
    with ThreadPoolExecutor() as pool:  # Graphviz works beside us
        drawn = pool.map(lambda drawing: to_svg(drawing.view), pictures.values())
        words = [explanation.formula.text for explanation in explained]
        words += [f"What is reused, in this order:\n{reuse.text}", _proofs(graph)]
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(zip(pictures, drawn, strict=True)) | {"values.txt": values.text}
    for name, data in files.items():
        with _writing(folder / name):
            write_atomic(folder / name, data)
    say("\n\n".join(words))
    say(f"""
Written to {folder}{os.sep}
  values.svg      every value, gradient and local derivative
  values.txt      the same in words
  operations.svg  the same, operation by operation
  reuse.svg       the cached terms that w5, b2 and w1 share
  explain-w1.svg  the paths from w1 to J""")


def _proofs(graph: gv.Graph) -> str:
    """Whether the example gives the published numbers, and finite differences the gradients."""
    found = {f"∂J/∂{name}": float(graph.grad(name)) for name in ("w5", "w1")}
    found["J"] = float(graph.value("J"))
    same = all(abs(found[name] - value) < 5e-10 for name, value in PUBLISHED.items())
    check = graph.check()
    numbers = ", ".join(f"{name} = {found[name]:.9f}" for name in PUBLISHED)
    return (
        f"{_mark(same)} {numbers}, as published (Mazur 2015)\n"
        f"Every gradient, computed another way:\n{check.text}"
    )


def _mark(holds: bool) -> str:
    return "✓" if holds else "✗"


# --- draw ----------------------------------------------------------------------------------------


class _FormulaFirst(click.Command):
    """A command whose formula may begin with a minus sign, which looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and say what to do about such a formula."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            hint = "put -- before a formula that begins with a minus sign"
            raise click.UsageError(f"{error.format_message()} ({hint})", ctx) from None


@main.command(cls=_FormulaFirst)
@click.argument("formula")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@_picture
def draw(formula: str, values: tuple[str, ...], **options: Any) -> None:
    """Draw a FORMULA, such as "sigmoid(w*x + b)", at the given values.

    A value is a number or a list of numbers ([1, 2] or [[1, 2], [3, 4]]). Steps may be named, and
    are separated by semicolons: "z = w*x + b; a = sigmoid(z); (a - 1)**2". The formula is parsed,
    never run as Python.
    """
    numbers = {name: _number(name, value) for name, value in _assignments(values).items()}
    try:
        graph = gv.expression(formula, **numbers)
    except ValueError as error:
        raise _Misuse(_one_line(error)) from None
    _deliver(graph, **options)


def _number(name: str, value: Any) -> Any:
    array = np.asarray(value) if _regular(value) else None
    if array is None or array.dtype.kind not in "iuf":
        raise _Misuse(f"{name} must be a number or a list of numbers, as [1, 2]")
    return array.astype(float)[()]


def _regular(value: Any) -> bool:
    """Whether a value makes an array: not a list whose rows differ in length."""
    try:
        np.asarray(value)
    except ValueError:
        return False
    return True


def _assignments(words: tuple[str, ...]) -> dict[str, Any]:
    """The values of ``name=value`` words; names as Python reads identifiers."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = unicodedata.normalize("NFKC", name.strip())
        if not equals or not name or not text.strip():
            raise _Misuse(f"write NAME=VALUE, got {_shortened(word)!r}")
        if name in found:
            raise _Misuse(f"{name} is given twice")
        found[name] = _literal(name, text.strip())
    return found


def _literal(name: str, text: str) -> Any:
    """A value read as Python's literals are, or as JSON (for NaN and Infinity); never evaluated."""
    with contextlib.suppress(ValueError):
        return float(text) if re.search("[na]", text.lower()) else int(text)
    for read in (ast.literal_eval, json.loads):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return read(text)
    raise _Misuse(f"{name}={_shortened(text)}: not a number, a list or a quoted text")


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


# --- trace ---------------------------------------------------------------------------------------


@main.command()
@click.argument("target", metavar="FILE.py:FUNCTION")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--wrt", metavar="NAMES", default="",
              help="Differentiate by these arguments, a,b,... Default: all that hold floats.",
              )  # fmt: skip
@click.option("--capture", type=click.Choice(["whole", "lean"]),
              help="Of a PyTorch program, keep every tensor, or of each its statistics. Default: "
                   "whole for small ones.")  # fmt: skip
@_picture
def trace(
    target: str, values: tuple[str, ...], wrt: str, capture: str | None, **options: Any
) -> None:
    """Record a function of your own and draw it. This runs FILE.py.

    The function gets its arguments from NAME=VALUE and from its defaults, and returns J, a scalar.
    Floats and lists of floats are recorded; an integer is passed as it is (write 2.0, or name it in
    --wrt). A function without arguments may also return a Graph, a value made from gv.input, or the
    loss of a PyTorch model.
    """
    path, function = _function(target)
    wanted = _names(wrt)
    arguments = {
        name: _argument(value, name in wanted) for name, value in _assignments(values).items()
    }
    with _running(path):
        graph = _record(function, target, arguments, wanted, capture)
    _deliver(graph, **options)


def _function(target: str) -> tuple[Path, Callable[..., Any]]:
    """The file, which is run, and the function in it."""
    file, colon, name = target.rpartition(":")
    if not colon or not file or not name:
        raise _Misuse(f"write FILE.py:FUNCTION, got {target!r}")
    path = Path(file)
    if not path.is_file():
        raise _Misuse(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    if spec is None or spec.loader is None:
        raise _Misuse(f"{file} is no Python file")
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
        raise _Misuse(f"{file} has no function {name}; {there}")
    return path, found


def _module_name(path: Path) -> str:
    """The file's own name, unless a module of this name is loaded, or is ours."""
    return path.stem if path.stem not in sys.modules else f"{path.stem}_"


def _argument(value: Any, differentiated: bool) -> Any:
    """A list of numbers is an array; whole numbers become floats where a gradient is wanted."""
    if isinstance(value, (list, tuple)) and _regular(value):
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
        raise _Misuse(f"{target} needs more arguments: {words}")
    if extra:
        raise _Misuse(f"{target} has no argument {', '.join(extra)}")
    frontend = frontend_of(function, positional, keywords)
    if capture and not (frontend and "capture" in frontend.options):
        raise _Misuse(f"--capture is for PyTorch, and {target} uses no tensor and no module")
    if capture:
        keywords["capture"] = capture
    if positional or keywords or frontend:
        return gv.trace(function, *positional, wrt=wrt or None, **keywords)
    result = function()
    if isinstance(result, gv.Graph):
        return result
    if isinstance(result, gv.Array):
        return gv.graph(result, title=function.__name__)
    raise _Misuse(
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
        ours = (str(Path(__file__).parent), "<frozen importlib")
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


# --- what was recorded before ------------------------------------------------------------------


@main.command()
@click.argument("first", metavar="A.json")
@click.argument("second", metavar="B.json")
@_look
def compare(first: str, second: str, output: str | None, detail: str | None, **look: Any) -> None:
    """Say where two saved Graphs of one program part; exit status 1 if they do.

    Such a file is written by Graph.save("A.json").
    """
    found = gv.compare(gv.load(first), gv.load(second))
    if output is not None:
        _put(found.draw(detail=detail, **_looks(**look)), output)
    say(found.text, error=output == "-")
    if not found:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("file", metavar="FILE.json")
@click.option("--depth", type=click.IntRange(0), metavar="N", help="So many levels of layers.")
def summary(file: str, depth: int | None) -> None:
    """Show the layers of a saved Graph in a table: shapes, parameters, gradients, memory.

    Such a file is written by Graph.save("FILE.json").
    """
    say(gv.load(file).summary(depth).text)


@main.command()
@click.argument("run")
@click.option("--step", type=int, metavar="N", help="The graph of this step, not of all.")
@_output
@_theme
def training(run: str, step: int | None, output: str | None, theme: str) -> None:
    """Show a RUN that gv.record_training wrote: its steps in a table, or as a map of its layers."""
    found = gv.load_training(run)
    _put((found if step is None else found.graph(step)).draw(theme=theme), output)


# --- what is shown -------------------------------------------------------------------------------


def _names(text: str) -> tuple[str, ...]:
    words = map(str.strip, unicodedata.normalize("NFKC", text).split(","))
    return tuple(word for word in words if word)


def _deliver(
    graph: gv.Graph, *, output: str | None, explain: str | None, after: str, reuse: str | None,
    detail: str | None, check: bool, diagnose: bool, rate: float | None, **look: Any,
) -> None:  # fmt: skip
    """Draw, explain, account for or diagnose a Graph, as the options say."""
    if (explain is not None) + (reuse is not None) + diagnose > 1:
        raise _Misuse("choose one of --explain, --reuse and --diagnose")
    if after and explain is None:
        raise _Misuse("--after goes with --explain")
    if rate is not None and not diagnose:
        raise _Misuse("--rate goes with --diagnose")
    health = graph.diagnose(rate=rate) if diagnose else None
    if health is None:  # else it says why there is no gradient
        graph.backward()
    story: Explanation | Reuse | None = None
    if explain is not None:
        name = unicodedata.normalize("NFKC", explain.strip())
        story = graph.explain(name, after=_names(after), detail=detail)
    elif reuse is not None:
        story = graph.reuse(*_names(reuse), detail=detail)
    look = _looks(**look)
    if output is None and story is not None:
        say(story.text)
    elif output is not None or health is None:
        shown = graph if health is None else health
        drawing = story.draw(**look) if story else shown.draw(detail=detail, **look)
        _put(drawing, output)
    results: list[Check | Health] = [] if health is None else [health]
    if check:
        results.append(graph.check())
    for result in results:
        say(result.text, error=output == "-")
    if not all(results):
        raise click.exceptions.Exit(1)


def _put(drawing: Drawing, output: str | None) -> None:
    """Write a drawing to a file or to stdout, or print its text."""
    if output is None:
        say(drawing.text.rstrip("\n"))
    elif output == "-":
        click.echo(drawing.svg.encode(), nl=False)  # UTF-8, whatever the terminal's encoding
    else:
        with _writing(Path(output)):
            drawing.save(output)
        say(f"Written to {output}")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Name the file that cannot be written."""
    try:
        yield
    except OSError as error:  # it may name the temporary file
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from None


def say(text: str, *, error: bool = False) -> None:
    """Print a line, in ASCII where the terminal has no better."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # it was closed, and click 8.1.0 does not look
        return
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeError:
        text = text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    click.echo(text, err=error)


def _warn_of_namesake() -> None:
    """Warn of PyPI's gradviz, which installs into the same folder as this project."""
    from importlib import metadata

    with contextlib.suppress(metadata.PackageNotFoundError):
        metadata.distribution("gradviz")
        say(f"Warning: {_NAMESAKE}.", error=True)
