"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gradviz.cli.usage import Misuse, names
from gradviz.files import PICTURES
from gradviz.language import LANGUAGES, speaking


def _check_output(_: click.Context, __: click.Parameter, output: str | None) -> str | None:
    """Refuse a suffix before anything is computed."""
    if output not in (None, "-") and Path(output).suffix.lower() not in PICTURES:
        raise Misuse(f"{output!r} must end in {', '.join(PICTURES)}")
    return output


output = click.option(
    "-o", "--output", metavar="FILE", callback=_check_output,
    help="Write the picture; the suffix says as what "
         f"({', '.join(kind[1:] for kind in PICTURES)}). '-' writes SVG to stdout. Without it the "
         "text is printed.",
)  # fmt: skip
language = click.option(
    "--language", type=click.Choice(LANGUAGES), expose_value=False, is_eager=True,
    callback=lambda context, _, chosen: context.with_resource(speaking(chosen or "")),
    help="In which the answer is. Default: the environment's GRADVIZ_LANGUAGE, else English.",
)  # fmt: skip
theme = click.option("--theme", type=click.Choice(["light", "dark", "auto"]), default="light")


def look(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every picture of a Graph."""
    for option in reversed((
        output,
        click.option("--detail", type=click.Choice(["names", "operations"]),
                     help="A box for each named value (default), or for each operation."),
        theme,
        language,
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


def looks(
    theme: str, direction: str, budget: int | None, unfold: str, color: str
) -> dict[str, Any]:
    """How to draw: the options of `Graph.draw`."""
    way = None if direction == "auto" else direction
    picture = {"theme": theme, "direction": way, "budget": budget, "unfold": names(unfold)}
    return picture | {"color": None if color == "none" else color}


def picture(command: Callable[..., None]) -> Callable[..., None]:
    """The options that `draw` and `trace` share."""
    for option in reversed((
        look,
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
