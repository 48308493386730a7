"""The health of a training run: a map of layers by steps, under the curve of the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING

from gradviz import words
from gradviz.language import say
from gradviz.words import clean

from . import mathtext
from .sizemap import Canvas, SizeMap

if TYPE_CHECKING:
    from gradviz.keep.training import Step, Training

ROWS, COLUMNS = 40, 120
QUANTITIES = {
    "gradients": "gradient, root mean square",
    "updates": "update / weight",
    "weights": "weight, root mean square",
}
CELL, LOSS, LEFT, TOP = 15.0, 90.0, 12.0, 40.0


class Timeline(SizeMap):
    """The map: a row for each layer, a column for each sampled step.

    Parameters
    ----------
    training : Training
    what : {"gradients", "updates", "weights"}
    theme : {"light", "dark", "auto"}, optional
        See `gradviz.show.drawing.Drawing`.

    Raises
    ------
    ValueError
        `what` or `theme` does not exist, or no step was finished.
    """

    def __init__(self, training: Training, what: str = "gradients", theme: str = "") -> None:
        words.choose("quantity", what, QUANTITIES)
        title = f"{training.path.name}: {say(QUANTITIES[what])}"
        super().__init__(title, partial(_svg, training, what), theme, lambda: training.text)
        self.training, self.what = training, what
        _ = self.svg  # what cannot be drawn is said at once

    def __repr__(self) -> str:
        return f"<Timeline of {self.what}: {self.training!r}>"


def spread(steps: Sequence[Step], most: int) -> list[Step]:
    """At most so many steps, evenly spread, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def _svg(training: Training, what: str, theme: str) -> str:
    if not training.steps:
        raise ValueError(f"{training.path}: no step was finished")
    steps = spread(training.steps, COLUMNS)
    names = training.steps.names
    if not names:
        raise ValueError(f"{training.path}: no parameter was recorded")
    rows = layers(names)
    cells = [[combined(step, members, what) for step in steps] for members in rows.values()]
    return _Map(training, steps, list(rows), cells, what, theme).svg()


def layers(names: Iterable[str]) -> dict[str, list[str]]:
    """Parameters by layer: as deep into the names as `ROWS` allows."""
    paths = [(name, tuple(name.split(".")[:-1]) or (name,)) for name in names]
    depth = max(len(path) for _, path in paths)
    while True:
        rows: dict[str, list[str]] = {}
        for name, path in paths:
            rows.setdefault(".".join(path[:depth]), []).append(name)
        if len(rows) <= ROWS or depth == 1:
            return rows
        depth -= 1


def combined(step: Step, names: Sequence[str], what: str) -> float | None:
    """One number for several parameters, as if they were one; None where they have none."""
    values = getattr(step, what)
    found = [n for n in names if n in values and n in step.sizes]
    if not found:
        return None
    size = {n: step.sizes[n] for n in found}
    if what == "updates":
        weight = sum(size[n] * step.weights[n] ** 2 for n in found)
        change = sum(size[n] * step.changes[n] ** 2 for n in found)
        return math.sqrt(change / weight) if weight else float(change > 0)
    return math.sqrt(sum(size[n] * values[n] ** 2 for n in found) / sum(size.values()))


class _Map(Canvas):
    def __init__(
        self, training: Training, steps: list[Step], names: list[str],
        cells: list[list[float | None]],
        what: str, theme: str,
    ) -> None:  # fmt: skip
        super().__init__((c for row in cells for c in row), theme)
        self.training, self.steps, self.names, self.cells = training, steps, names, cells
        self.what = what
        widest = max(mathtext.line_width(mathtext.plain(clean(n, 40)), 11.0) for n in names)
        self.left = LEFT + max(widest, 50.0) + 10  # or what stands beside the curve
        self.cell = max(4.0, min(CELL, 900.0 / len(steps)))
        self.right = 0.0

    def svg(self) -> str:
        width = self.left + self.cell * len(self.steps) + 24
        below = TOP + LOSS + 14
        height = below + CELL * len(self.names) + 74
        what = say(QUANTITIES[self.what])
        self.text(LEFT, 24, f"{clean(self.training.path.name)}: {what}", 15, "ink")
        self.curve()
        for i, (name, row) in enumerate(zip(self.names, self.cells, strict=True)):
            y = below + CELL * i
            self.text(self.left - 8, y + CELL - 4, clean(name, 40), 11, "ink", "end")
            for j, value in enumerate(row):
                self.square(self.left + self.cell * j, y, value, name, self.steps[j])
        y = below + CELL * len(self.names)
        self.axis(y + 14)
        self.key(y + 40)
        title = f"{self.training!r}: {what}"
        return self.picture(max(width, self.right), height, title)

    def curve(self) -> None:
        """The loss, above the columns that it belongs to."""
        losses = [step.loss for step in self.steps]
        finite = [loss for loss in losses if loss is not None and math.isfinite(loss)]
        low, high = min(finite, default=0.0), max(finite, default=1.0)
        span = (high - low) or 1.0

        def place(j: int, loss: float) -> tuple[float, float]:
            return self.left + self.cell * (j + 0.5), TOP + LOSS * (1 - (loss - low) / span)

        path, pen = [], "M"
        for j, loss in enumerate(losses):
            if loss is None:
                pen = "M"
                continue
            if not math.isfinite(loss):
                self.text(place(j, low)[0], TOP + LOSS, "✗", 11, "gradient", "middle")
                pen = "M"
                continue
            x, y = place(j, loss)
            path.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        line = self.colours["value"]
        self.out.append(f'<path d="{"".join(path)}" fill="none" stroke="{line}" stroke-width="2"/>')
        self.text(self.left - 8, TOP + 8, f"J {words.number(high, 4)}", 11, "soft", "end")
        self.text(self.left - 8, TOP + LOSS, words.number(low, 4), 11, "soft", "end")

    def square(self, x: float, y: float, value: float | None, name: str, step: Step) -> None:
        said = say("none") if value is None else words.number(value, 4)
        tip = escape(say("{name}, step {n}: {x}", name=clean(name), n=step.number, x=said))
        broken = value is not None and not math.isfinite(value)
        colour = self.colours["gradient-card"] if broken else self.shade(value or 0.0)
        self.out.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{self.cell - 0.6:.1f}" '
            f'height="{CELL - 0.6:.1f}" fill="{colour}"><title>{tip}</title></rect>'
        )
        if broken or not value:
            sign = "✗" if broken else "–" if value is None else "0"
            self.text(x + self.cell / 2, y + CELL - 4, sign, 9, "gradient", "middle")

    def axis(self, y: float) -> None:
        """The numbers of the steps, where there is room."""
        every = max(1, math.ceil(46 / self.cell))
        for j in range(0, len(self.steps), every):
            x = self.left + self.cell * (j + 0.5)
            self.text(x, y, str(self.steps[j].number), 10, "soft", "middle")
        self.text(self.left - 8, y, say("step"), 10, "soft", "end")

    def key(self, y: float) -> None:
        """What the colours mean."""
        n = self.high - self.low
        x = self.left
        none = say("not known") if self.what == "updates" else say("none")
        for k in range(n + 1):
            colour = self.shade(10.0 ** (self.low + k))
            self.out.append(
                f'<rect x="{x:.1f}" y="{y}" width="18" height="12" fill="{colour}" '
                f'stroke="{self.colours["line"]}" stroke-width="0.5"/>'
            )
            if k % 2 == 0:
                self.text(x + 9, y + 25, f"1e{self.low + k}", 10, "soft", "middle")
            x += 18
        for sign, said in (("0", say("exactly zero")), ("–", none), ("✗", say("not finite"))):
            x += 16
            self.text(x, y + 10, sign, 10, "gradient")
            self.text(x + 12, y + 10, said, 10, "soft")
            x += 12 + mathtext.line_width(mathtext.plain(said), 10.0)
        self.right = x + LEFT
