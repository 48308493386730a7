"""``gradviz draw``: a formula at given values."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

import gradviz as gv
from gradviz.cli import options
from gradviz.cli.output import deliver
from gradviz.cli.usage import Misuse, assignments, one_line, regular


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


@click.command(cls=_FormulaFirst)
@click.argument("formula")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@options.picture
def draw(formula: str, values: tuple[str, ...], **asked: Any) -> None:
    """Draw a FORMULA, such as "sigmoid(w*x + b)", at the given values.

    A value is a number or a list of numbers ([1, 2] or [[1, 2], [3, 4]]). Steps may be named, and
    are separated by semicolons: "z = w*x + b; a = sigmoid(z); (a - 1)**2". The formula is parsed,
    never run as Python.
    """
    numbers = {name: _number(name, value) for name, value in assignments(values).items()}
    try:
        graph = gv.expression(formula, **numbers)
    except ValueError as error:
        raise Misuse(one_line(error)) from None
    deliver(graph, **asked)


def _number(name: str, value: Any) -> Any:
    array = np.asarray(value) if regular(value) else None
    if array is None or array.dtype.kind not in "iuf":
        raise Misuse(f"{name} must be a number or a list of numbers, as [1, 2]")
    return array.astype(float)[()]
