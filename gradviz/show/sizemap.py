"""What maps of sizes are made of: a scale of colours by orders of magnitude, and the SVG."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

from gradviz import words
from gradviz.words import clean

from . import style
from .drawing import Drawing
from .view import View

RAMP = {
    # One hue from near the ground to far from it: a map reads the same to every eye, and in grey.
    "light": ("#eef4fa", "#9fc3e0", "#3f86bd", "#0b4a7d", "#062a4a"),
    "dark": ("#1a2733", "#1f4e73", "#2f7fb5", "#76b9e6", "#d8eefc"),
}


_AUTO = (
    "<style>.gradviz-dark{display:none}@media(prefers-color-scheme:dark)"
    "{.gradviz-light{display:none}.gradviz-dark{display:inline}}</style>"
)


class SizeMap(Drawing):
    """A picture of sizes in rows and columns; `paint` makes its SVG in the theme light or dark."""

    def __init__(
        self, title: str, paint: Callable[[str], str], theme: str, words: Callable[[], str]
    ) -> None:
        super().__init__(View((), (), title=title), theme=theme, words=words)
        self._paint = paint

    def _painted(self, theme: str) -> str:
        if theme != "auto":
            return self._paint(theme)
        head, _, light = self._paint("light").partition(">")
        _, _, dark = self._paint("dark").partition(">")
        both = (("light", light), ("dark", dark))
        inside = (
            f'<g class="gradviz-{name}">{body.removesuffix("</svg>" + chr(10))}</g>'
            for name, body in both
        )
        return f"{head}>{_AUTO}{''.join(inside)}</svg>\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """See `Drawing.save`; a map is no graph that DOT or TikZ could draw."""
        words.choose("file type", Path(path).suffix.lower(), (".svg", ".png", ".pdf", ".txt"))
        return super().save(path)


class Canvas:
    """Draws a map.

    Parameters
    ----------
    sizes : iterable of float or None
        All that is shown; the scale is of those that are finite and not 0.
    theme : {"light", "dark"}
    """

    def __init__(self, sizes: Iterable[float | None], theme: str) -> None:
        self.theme = theme
        self.colours = style.PALETTES[theme]
        plain = [size for size in sizes if size is not None and 0 < size < math.inf]
        self.low = math.floor(math.log10(min(plain, default=1.0)))
        self.high = max(math.ceil(math.log10(max(plain, default=1.0))), self.low + 1)
        self.out: list[str] = []

    def part(self, value: float) -> float:
        """Where on the scale a size is."""
        return min(max((math.log10(value) - self.low) / (self.high - self.low), 0.0), 1.0)

    def shade(self, value: float) -> str:
        """The colour of a size, by its order of magnitude."""
        if value <= 0:
            return self.colours["ground"]
        ramp = RAMP[self.theme]
        place = self.part(value) * (len(ramp) - 1)
        i = min(int(place), len(ramp) - 2)
        return _mixed(ramp[i], ramp[i + 1], place - i)

    def text(
        self, x: float, y: float, said: str, size: float, colour: str, anchor: str = "start"
    ) -> None:
        """Write in a colour of the palette; nothing where nothing is said."""
        if said:
            self.out.append(
                f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                f'fill="{self.colours[colour]}">{escape(said)}</text>'
            )

    def picture(self, width: float, height: float, title: str) -> str:
        """All that was drawn, as SVG."""
        ground, about = self.colours["ground"], escape(clean(title))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" style="max-width:100%;height:auto" '
            f'role="img" aria-label="{about}" font-family="Arial, Helvetica, sans-serif">'
            f'<title>{about}</title><rect width="100%" height="100%" fill="{ground}"/>'
            + "".join(self.out)
            + "</svg>\n"
        )


def _mixed(first: str, second: str, part: float) -> str:
    """A colour between two."""
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in pairs)
