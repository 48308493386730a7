"""What stands around a layout in its picture: a margin, the title, captions, the legend."""

from __future__ import annotations

from . import card
from .view import HEATS, View

MARGIN = 18.0
TITLE, CAPTION = 30.0, 26.0  # how high they are
BETWEEN = 34.0  # two passes
SAMPLE = 28.0  # of a colour or line, before what it means
ROOM = 440.0  # for entries of the legend in one row, under a picture that is no wider
Entry = tuple[str, card.Text, float, float]  # role, words, and where they are


def extent(view: View, width: float, height: float) -> tuple[float, float]:
    """The size of the picture of a View whose layout has this size."""
    heading, panels = title(view), view.panels()
    _, wide, high = legend(view, width)
    high += (TITLE if heading else 0) + len(panels) * height + (len(panels) - 1) * BETWEEN
    high += CAPTION * sum(bool(panel.caption) for panel in panels)
    return max(width, wide, heading.width if heading else 0) + 2 * MARGIN, high + 2 * MARGIN


def title(view: View) -> card.Text | None:
    """The title, if there is one."""
    return card.line(view.title, 17.0, "ink", "bold") if view.title else None


def legend(view: View, width: float) -> tuple[list[Entry], float, float]:
    """The entries below a layout so wide, below the scale of colours; the size of both."""
    found: list[Entry] = []
    x, y, widest = 0.0, 30.0, 0.0
    if view.scale:
        said = card.line(" ".join(view.scale[:4]), 11.0, "soft")
        widest, y = said.width + 18 * HEATS + 40, 52.0
    for role, words in view.legend:
        text = card.line(words, 11.0, "soft", word="start")
        step = text.width + (SAMPLE if role else 0)
        if x and x + step > max(width, ROOM):
            x, y = 0.0, y + 20
        found.append((role, text, x, y))
        x += step + 24
        widest = max(widest, x - 24)
    return found, widest, y if view.scale or found else 0.0
