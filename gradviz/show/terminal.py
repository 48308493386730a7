"""A recorded run on a terminal: the loss as a line of bars, and the layers by steps in shades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradviz import words
from gradviz.language import columns, padded, say, some
from gradviz.words import clean

from .timeline import combined, layers, spread

if TYPE_CHECKING:
    from gradviz.keep.training import Training

BARS, SHADES = "▁▂▃▄▅▆▇█", " ░▒▓█"
NAME = 24
"""So many characters of a layer's name."""


def board(training: Training, width: int = 80, height: int = 24, what: str = "gradients") -> str:
    """What is known of a run, in so many columns and lines of text.

    A sign for each step: the height of its loss, the size of each layer's gradient by orders of
    magnitude; 0 for exactly zero, ✗ for what is not finite, · for none.
    """
    steps = spread(training.steps, max(width - NAME - 2, 1))
    if not steps:
        return say("{run}: no step was finished yet", run=clean(training.path.name))
    last = steps[-1]
    head = say(
        "{run}: {steps}, the last is {step}, its loss {loss}",
        run=clean(training.path.name, 40), steps=some(len(training), "recorded step"),
        step=last.number, loss="–" if last.loss is None else words.number(last.loss, 5),
    )  # fmt: skip
    while columns(head) > width:
        head = head[:-1]
    lines = [head, f"{_left(say('loss'))}  {_bars([step.loss for step in steps])}"]
    rows = layers(training.steps.names) if training.steps.names else {}
    cells = {name: [combined(s, members, what) for s in steps] for name, members in rows.items()}
    sizes = [c for row in cells.values() for c in row if c is not None and 0 < c < math.inf]
    low, high = (math.log10(f(sizes, default=1.0)) for f in (min, max))
    for name, row in list(cells.items())[: max(height - 4, 1)]:
        shown = clean(name, 2 * NAME)
        shown = shown if len(shown) <= NAME else f"…{shown[1 - NAME :]}"
        signs = "".join(_shade(value, low, high) for value in row)
        lines.append(f"{_left(shown)}  {signs}")
    if len(cells) > max(height - 4, 1):
        more = say("and {more}", more=some(len(cells) - max(height - 4, 1), "more layer"))
        lines.append(f"{_left('')}  {more}")
    first = str(steps[0].number)
    lines.append(f"{_left(say('step'))}  {first}{last.number:>{max(len(steps) - len(first), 1)}}")
    return "\n".join(lines)


def _left(text: str) -> str:
    return padded(text, NAME, before=True)


def _bars(losses: Sequence[float | None]) -> str:
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    low, high = min(known, default=0.0), max(known, default=1.0)

    def bar(loss: float | None) -> str:
        if loss is None or not math.isfinite(loss):
            return " " if loss is None else "✗"
        return BARS[min(int(len(BARS) * (loss - low) / ((high - low) or 1.0)), len(BARS) - 1)]

    return "".join(map(bar, losses))


def _shade(value: float | None, low: float, high: float) -> str:
    if value is None:
        return "·"
    if not math.isfinite(value) or not value:
        return "0" if value == 0 else "✗"
    part = (math.log10(value) - low) / ((high - low) or 1.0)
    return SHADES[1 + min(int((len(SHADES) - 1) * part), len(SHADES) - 2)]
