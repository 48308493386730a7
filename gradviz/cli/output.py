"""Where answers go: to the terminal, a file or a pipe."""

from __future__ import annotations

import contextlib
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import gradviz as gv
from gradviz.cli import options
from gradviz.cli.usage import Misuse, names
from gradviz.ops.symbols import SUBSCRIPTS

if TYPE_CHECKING:
    from gradviz.chain.check import Check
    from gradviz.chain.formula import Explanation
    from gradviz.chain.health import Health
    from gradviz.chain.reuse import Reuse
    from gradviz.show.drawing import Drawing

_ASCII = str.maketrans(
    {"∂": "d", "δ": "delta", "·": "*", "×": "x", "…": "...", "→": "->", "⟦": "[[", "⟧": "]]",
     "✓": "ok", "✗": "NOT ok", "√": "sqrt", "∞": "inf", "−": "-", "‖": "||", "─": "-", "≥": ">=",
     **{digit: str(n) for n, digit in enumerate(SUBSCRIPTS)}}
)  # fmt: skip


def deliver(
    graph: gv.Graph, *, output: str | None, explain: str | None, after: str, reuse: str | None,
    detail: str | None, check: bool, diagnose: bool, rate: float | None, **look: Any,
) -> None:  # fmt: skip
    """Draw, explain, account for or diagnose a Graph, as the options say."""
    if (explain is not None) + (reuse is not None) + diagnose > 1:
        raise Misuse("choose one of --explain, --reuse and --diagnose")
    if after and explain is None:
        raise Misuse("--after goes with --explain")
    if rate is not None and not diagnose:
        raise Misuse("--rate goes with --diagnose")
    health = graph.diagnose(rate=rate) if diagnose else None
    if health is None:  # else it says why there is no gradient
        graph.backward()
    answer: Explanation | Reuse | None = None
    if explain is not None:
        name = unicodedata.normalize("NFKC", explain.strip())
        answer = graph.explain(name, after=names(after), detail=detail)
    elif reuse is not None:
        answer = graph.reuse(*names(reuse), detail=detail)
    look = options.looks(**look)
    if output is None and answer is not None:
        say(answer.text)
    elif output is not None or health is None:
        shown = graph if health is None else health
        drawing = answer.draw(**look) if answer else shown.draw(detail=detail, **look)
        put(drawing, output)
    results: list[Check | Health] = [] if health is None else [health]
    if check:
        results.append(graph.check())
    for result in results:
        say(result.text, error=output == "-")
    if not all(results):
        raise click.exceptions.Exit(1)


def put(drawing: Drawing, output: str | None) -> None:
    """Write a drawing to a file or to stdout, or print its text."""
    if output is None:
        say(drawing.text.rstrip("\n"))
    elif output == "-":
        click.echo(drawing.svg.encode(), nl=False)  # UTF-8, whatever the terminal's encoding
    else:
        with writing(Path(output)):
            drawing.save(output)
        say(f"Written to {output}")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
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
