"""``gradviz compare``, ``summary`` and ``training``: what was recorded before, read from files."""

from __future__ import annotations

from typing import Any

import click

import gradviz as gv
from gradviz.cli import options
from gradviz.cli.output import put, say


@click.command()
@click.argument("first", metavar="A.json")
@click.argument("second", metavar="B.json")
@options.look
def compare(first: str, second: str, output: str | None, detail: str | None, **look: Any) -> None:
    """Say where two saved Graphs of one program part; exit status 1 if they do.

    Such a file is written by Graph.save("A.json").
    """
    found = gv.compare(gv.load(first), gv.load(second))
    if output is not None:
        put(found.draw(detail=detail, **options.looks(**look)), output)
    say(found.text, error=output == "-")
    if not found:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("file", metavar="FILE.json")
@click.option("--depth", type=click.IntRange(0), metavar="N", help="So many levels of layers.")
def summary(file: str, depth: int | None) -> None:
    """Show the layers of a saved Graph in a table: shapes, parameters, gradients, memory.

    Such a file is written by Graph.save("FILE.json").
    """
    say(gv.load(file).summary(depth).text)


@click.command()
@click.argument("run")
@click.option("--step", type=int, metavar="N", help="The graph of this step, not of all.")
@options.output
@options.theme
def training(run: str, step: int | None, output: str | None, theme: str) -> None:
    """Show a RUN that gv.record_training wrote: its steps in a table, or as a map of its layers."""
    found = gv.load_training(run)
    put((found if step is None else found.graph(step)).draw(theme=theme), output)
