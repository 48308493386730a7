"""Several ranks in one picture: a row for each parameter or layer, a column for each rank."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from gradviz import words
from gradviz.chain.health import MARKS
from gradviz.language import columns, commas, say, some, speaking
from gradviz.words import clean, which_ranks

from . import mathtext
from .sizemap import Canvas, SizeMap
from .timeline import ROWS, layers

if TYPE_CHECKING:
    from gradviz.record.ranks import ParameterRow, Ranks

COLUMNS = 64
"""So many ranks have a column, those first that something is wrong with."""
WIDE, NARROW, ROOMY = 66.0, 15.0, 12
"""Of so many ranks each cell has room for its number."""
CELL, LEFT, GAP, TOP = 18.0, 14.0, 14.0, 66.0
LINE, LETTERS = 16.0, 7.0
Cell = tuple[float | None, str]
"""The norm of a gradient, and a mark beside it."""
INSTEAD = {"differs": "≠", "parts missing": "?"}
"""What marks that there is no norm after the reduction."""


class RankMap(SizeMap):
    """The map of what `gradviz.gather` found.

    Parameters
    ----------
    ranks : Ranks
    theme : {"light", "dark", "auto"}, optional
        See `gradviz.show.drawing.Drawing`.

    Raises
    ------
    ValueError
        The `theme` does not exist.
    """

    def __init__(self, ranks: Ranks, theme: str = "") -> None:
        count = some(ranks.count, "rank")
        title = say("{ranks}: the gradients before and after reduction", ranks=count)

        def svg(theme: str) -> str:
            with speaking(ranks.language):
                return _Map(ranks, title, theme).svg()

        super().__init__(title, svg, theme, lambda: ranks.text)
        self.ranks = ranks

    def __repr__(self) -> str:
        return f"<RankMap: {self.view.title}>"


class _Map(Canvas):
    def __init__(self, ranks: Ranks, title: str, theme: str) -> None:
        self.rows = _rows(ranks.rows)
        members = [row for members in self.rows.values() for row in members]
        super().__init__((size for row in members for size in (*row.before, row.reduced)), theme)
        self.ranks, self.title = ranks, title
        self.columns = _columns(ranks)
        self.place = {rank: n for n, rank in enumerate(ranks.present)}
        self.cell = WIDE if len(self.columns) <= ROOMY else NARROW
        widest = max((_width(clean(n, 44), 11.0) for n in self.rows), default=0.0)
        self.left = LEFT + max(widest, 60.0) + 10
        self.end = self.left + self.cell * len(self.columns) + GAP

    def svg(self) -> str:
        self.text(LEFT, 24, self.title, 15, "ink")
        self.heads()
        y = TOP
        for name, members in self.rows.items():
            self.row(y, name, members)
            y += CELL
        if not self.rows:
            self.text(LEFT, y + 12, say("no parameter was differentiated by"), 11, "soft")
            y += CELL
        y, width = self.key(y + 18, self.end + WIDE + LEFT)
        y = self.findings(y + 14, max(width, 520.0))
        return self.picture(max(width, 520.0), y, self.title)

    def heads(self) -> None:
        """The numbers of the ranks, and their losses."""
        self.text(self.left - 8, TOP - 24, say("rank"), 11, "soft", "end")
        self.text(self.left - 8, TOP - 8, "J", 11, "soft", "end")
        losses = self.ranks.losses
        every = 1 if self.cell == WIDE or self.ranks.count <= 100 else 4
        for k, rank in enumerate(self.columns):
            x = self.left + self.cell * (k + 0.5)
            missing = rank in self.ranks.missing
            told = str(rank) if k % every == 0 else ""
            self.text(x, TOP - 24, told, 11, "sick" if missing else "ink", "middle")
            said = "?" if missing else words.number(losses[rank], 3) if self.cell == WIDE else ""
            if losses.get(rank) is None and not missing:
                said = "–" if self.cell == WIDE else ""
            elif not missing and not math.isfinite(losses[rank] or 0.0):
                said = f"✗ {said}" if said else "✗"
            sick = said[:1] in ("✗", "?")
            self.text(x, TOP - 8, said, 11, "sick" if sick else "value", "middle")
        self.text(self.end + WIDE / 2, TOP - 24, say("reduced"), 11, "ink", "middle")

    def row(self, y: float, name: str, members: Sequence[ParameterRow]) -> None:
        self.text(self.left - 8, y + CELL - 5, clean(name, 44), 11, "ink", "end")
        for k, rank in enumerate(self.columns):
            x = self.left + self.cell * k
            if rank in self.place:
                self.square(x, y, self.cell, _cell(members, self.place[rank], rank),
                            commas([name, which_ranks((rank,))]))  # fmt: skip
            else:
                told = say("{name}, {ranks}: no answer", name=name, ranks=which_ranks((rank,)))
                self.square(x, y, self.cell, (None, "?"), told)
        reduced = [self.ranks.reduced_said(row) for row in members]
        if apart := [said for said in reduced if said in INSTEAD]:
            cell: Cell = None, INSTEAD[apart[0]]
        else:
            cell = _joined([row.reduced for row in members]), ""
        self.square(self.end, y, WIDE, cell, say("{name}, after the reduction", name=name))

    def square(self, x: float, y: float, width: float, cell: Cell, tip: str) -> None:
        """A norm as a colour, and as a number where there is room."""
        size, mark = cell
        broken = size is not None and not math.isfinite(size)
        said = "–" if size is None else words.number(size, 3)
        fill = self.colours["sick-card"] if broken else self.shade(size or 0.0)
        marked = broken or mark in ("≠", "?")
        line, bold = self.colours["sick" if marked else "pill-line"], 2 if mark == "≠" else 0.7
        norm = say("no gradient") if size is None else said
        told = say("{kind}: {message}", kind=tip, message=norm)
        self.out.append(
            f'<rect x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{width - 1.5:.1f}" '
            f'height="{CELL - 1.5:.1f}" fill="{fill}" stroke="{line}" stroke-width="{bold}">'
            f"<title>{escape(clean(told))}</title></rect>"
        )
        sign = "✗" if broken else "" if size else said
        if width == WIDE:
            shown = mark if size is None and mark else f"{'✗ ' if broken else ''}{said}{mark}"
        else:
            shown = sign if broken else mark or sign
        far = self.is_far(size)
        colour = "ground" if far else "sick" if marked else "ink"
        self.text(x + width / 2, y + CELL - 5, shown, 10, colour, "middle")

    def is_far(self, size: float | None) -> bool:
        """Whether the colour of a size is far from the ground, so that text on it is of that."""
        return size is not None and 0 < size < math.inf and self.part(size) > 0.42

    def key(self, y: float, width: float) -> tuple[float, float]:
        """What colours and signs mean; returns where it ends, and how wide it is."""
        x = LEFT
        count = self.high - self.low
        every = max(1, math.ceil(count / 8))
        measured = say("‖gradient‖")
        self.text(x, y + 10, measured, 10, "soft")
        x += _width(measured, 10.0) + 8
        for k in range(0, count + 1, every):
            colour = self.shade(10.0 ** (self.low + k))
            edge = self.colours["line"]
            self.out.append(
                f'<rect x="{x:.1f}" y="{y}" width="26" height="12" fill="{colour}" '
                f'stroke="{edge}" stroke-width="0.5"/>'
            )
            self.text(x + 13, y + 25, f"1e{self.low + k}", 10, "soft", "middle")
            x += 26
        signs = [("–", say("no gradient")), ("0", say("0 exactly")), ("✗", say("not finite"))]
        if any(row.odd for row in self.ranks.rows):
            signs.append(("≠", say("other numbers than most ranks")))
        if any(self.ranks.reduced_said(row) == "differs" for row in self.ranks.rows):
            signs.append(("≠", say("not the same on all ranks")))
        if self.ranks.missing:
            signs.append(("?", say("no answer")))
        if any(row.how == "sharded" for row in self.ranks.rows):
            signs.append(("", say("reduced: of all parts")))
        x += 12
        for sign, said in signs:
            size = _width(f"{sign} {said}", 10.0) + 14
            if x + size > max(width, 520.0):
                x, y = LEFT, y + 32
            self.text(x, y + 10, sign, 10, "sick" if sign in ("✗", "≠", "?") else "ink")
            self.text(x + (12 if sign else 0), y + 10, said, 10, "soft")
            x += size
        return y + 20, max(width, min(x, 900.0))

    def findings(self, y: float, width: float) -> float:
        """What is wrong, in words; returns where they end."""
        for finding in self.ranks.findings:
            text = " ".join(map(clean, finding.text.splitlines()))
            letters = int((width - 2 * LEFT - 16) / 6.1)
            colour = "sick" if finding.severity == "error" else "ink"
            told = say("{kind}: {message}", kind=say(finding.kind), message=text)
            lines = _wrapped(told, letters)
            for n, line in enumerate(lines):
                if n == 0:
                    self.text(LEFT, y + 12, MARKS[finding.severity], 11.5, colour)
                self.text(LEFT + 16, y + 12, line, 11.5, colour if n == 0 else "ink")
                y += LINE
            y += 3
        return y + 12


def _wrapped(text: str, letters: int) -> list[str]:
    """A text in lines; where it is wide letters, each may end one."""
    if columns(text) == len(text):
        return textwrap.wrap(text, letters)
    lines, line = list[str](), ""
    for part in re.findall(r"[^\u2e80-\uffff\s]+|\s|.", text):
        if columns(line + part) > letters and line:
            lines, line = [*lines, line.rstrip()], ""
        line = (line + part).lstrip()
    return [*lines, line]


def _columns(ranks: Ranks) -> list[int]:
    """The ranks that are shown, in order."""
    if ranks.count <= COLUMNS:
        return list(range(ranks.count))
    about = (r for finding in ranks.findings if finding.severity != "note" for r in finding.ranks)
    chosen = list(dict.fromkeys([*about, *range(ranks.count)]))
    return sorted(chosen[:COLUMNS])


def _rows(rows: Sequence[ParameterRow]) -> dict[str, list[ParameterRow]]:
    """Parameters, or where there are many the layers that they are in."""
    if len(rows) <= ROWS:
        return {row.name: [row] for row in rows}
    by_name = {row.name: row for row in rows}
    return {layer: [by_name[name] for name in names] for layer, names in layers(by_name).items()}


def _cell(members: Sequence[ParameterRow], place: int, rank: int) -> Cell:
    return _joined([row.before[place] for row in members]), "≠" * any(
        rank in row.odd and row.how == "replicated" for row in members
    )


def _joined(sizes: Sequence[float | None]) -> float | None:
    """The norm of several gradients as one; None where there is none."""
    known = [size for size in sizes if size is not None]
    if not known:
        return None
    if not all(map(math.isfinite, known)):
        return math.nan
    return math.hypot(*known)


def _width(said: str, size: float) -> float:
    return mathtext.line_width(mathtext.plain(said), size)
