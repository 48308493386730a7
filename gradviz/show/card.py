"""The geometry of one card, pill or line of text, from measured text alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from gradviz import words
from gradviz.language import say, spoken

from . import mathtext
from .mathtext import Runs
from .view import OVER, PORTS, SIZES, Arrow, Box, Row, View

NAME, SMALL, DATA, TINY, HEAD = 17.0, 11.5, 12.5, 9.5, 9.5  # font sizes
PAD, GAP = 11.0, 12.0
BRACKET = 8.0  # of a matrix, with the blank beside it
CHIP = 15.0  # height of the chip on a card's upper edge
LINE_LIMIT, CELL_LIMIT, PILL_LIMIT = 300.0, 150.0, 112.0  # libraries have long names


@dataclass(frozen=True)
class Text:
    """Runs set at (x, y), the left end of their baseline; `colour` names a palette entry.

    In a live picture `slot` says whose number stands here; it may be written anew, `room` wide.
    `word` marks what the page says in the reader's own language, held at its "start" or "end".
    Where it is cut, `whole` is what it says.
    """

    x: float
    y: float
    runs: Runs
    size: float
    colour: str
    slot: str = ""
    room: float = 0.0
    word: str = ""
    whole: str = ""

    @property
    def width(self) -> float:
        """Width in pixels."""
        return mathtext.line_width(self.runs, self.size)


@dataclass(frozen=True)
class Card:
    """Texts and hairlines in a box of `width` by `height`, the origin at its upper left."""

    width: float
    height: float
    texts: tuple[Text, ...]
    rule: float = 0.0  # y of the hairline under the heading; 0 for none
    chip: Text | None = None  # sits on the upper edge, which lies CHIP / 2 below the origin
    marks: tuple[tuple[float, float, bool], ...] = ()
    brackets: tuple[tuple[str, float, float, float, float], ...] = ()  # around a matrix: its row's
    # kind; left, top, right, bottom
    top: float = 0.0  # y of the card's upper edge


def _right(
    texts: list[Text], right: float, y: float, runs: Runs, size: float, col: str,
    slot: str = "", room: float = 0.0, word: str = "",
) -> None:  # fmt: skip
    left = right - mathtext.line_width(runs, size)
    texts.append(Text(left, y, runs, size, col, slot, room, word))


def _cell(row: Row, text: str) -> Runs:
    plain = row.state in ("number", "")
    # A state in words is set in italics: it can never be taken for a number.
    runs = mathtext.number(words.clean(text)) if plain else mathtext.plain(text, "italic")
    return mathtext.elide(runs, DATA, CELL_LIMIT * (2 if " … " in text else 1))  # a range


def sizes(view: View) -> dict[str, tuple[float, float]]:
    """Width and height of every box and of every arrow's label, by id, fit for all panels."""
    found: dict[str, tuple[float, float]] = {}
    for panel in view.panels():
        cards = [(box.id, box_card(box)) for box in panel.boxes if box.kind not in PORTS]
        found |= {box.id: (0.1, 0.1) for box in panel.boxes if box.kind in PORTS}
        pills = [(arrow.id, pill_card(arrow)) for arrow in panel.arrows]
        for ident, card in cards + [(ident, pill) for ident, pill in pills if pill]:
            width, height = found.get(ident, (0.0, 0.0))
            found[ident] = max(width, card.width), max(height, card.height)
    for stack in view.stacks():  # the numbers of one array are equally large
        widths, heights = zip(*(found[ident] for ident in stack), strict=True)
        found |= dict.fromkeys(stack, (max(widths), max(heights)))
    return found


def name_runs(box: Box) -> Runs:
    """A value's name is set as mathematics, a fold's as text."""
    shown = box.title or box.name
    fold = box.kind in ("fold", "layer")
    return mathtext.plain(shown, "bold") if fold else mathtext.name(shown)


def _widths(
    rows: tuple[Row, ...], grid: list[list[Runs]], heads: list[Runs]
) -> dict[tuple[bool, int], list[float]]:
    """How wide the columns are, by whether they are a matrix's, and by how many there are."""
    found = {(False, len(heads)): [mathtext.line_width(head, HEAD) for head in heads]}
    found = {key: widths for key, widths in found.items() if widths}
    for row, cells in zip(rows, grid, strict=True):
        columns = row.across or len(cells)
        widths = found.setdefault((bool(row.across), columns), [0.0] * columns)
        least = mathtext.line_width(mathtext.plain(row.room), DATA)
        said = row.across > 1 and not any(row.cells[:-1])  # words, with room for a matrix
        if said:
            own = max(map(_width, (cells[-1], *map(mathtext.plain, row.words))))
            found[False, 1] = [max(*found.get((False, 1), [0.0]), own)]
        for i, cell in enumerate(cells):
            shown = () if said else (cell, *map(mathtext.plain, row.words))
            own = max([least, *map(_width, shown)])
            widths[i % columns] = max(widths[i % columns], own)
    return found


def _width(cell: Runs) -> float:
    return mathtext.line_width(cell, DATA)


def _expression(box: Box) -> tuple[Runs, str]:
    """What stands below a name; where it is cut, what it says in full."""
    if box.kind == "gradient":
        return mathtext.plain(box.expression, "roman"), ""
    about = box.kind in ("fold", "layer")  # words, no mathematics
    if about:
        said = mathtext.plain(box.expression)
    else:
        said = mathtext.expression(box.expression, box.formula)
    shown = mathtext.elide(said, SMALL, LINE_LIMIT)
    whole = box.expression if shown != said else ""
    if shown and not about:
        shown = (mathtext.Run("="), replace(shown[0], space=0.3), *shown[1:])
    return shown, whole


def box_card(box: Box, least: tuple[float, float] = (0.0, 0.0)) -> Card:
    """The card of a box, of at least the given width and height."""
    return _box_card(box, least, spoken())


@lru_cache(maxsize=2048)
def _box_card(box: Box, least: tuple[float, float], _language: str) -> Card:
    # Long: one way from the top of a card to its bottom, each step from where the last one ended.
    title = mathtext.elide(name_runs(box), NAME, LINE_LIMIT)
    tag = mathtext.plain(box.tag)
    expression, about = _expression(box)
    labels = [mathtext.plain(row.label) for row in box.rows]
    grid = [[_cell(row, text) for text in row.cells] for row in box.rows]
    role = box.role if box.role in ("target", "computed", "cached") else ""
    chip_text = " ".join(filter(None, (say(role), box.badge)))
    chip = mathtext.plain(chip_text, "bold")

    label_width = max((mathtext.line_width(runs, TINY) for runs in labels), default=0)
    sizes = any(row.kind == SIZES for row in box.rows)
    over = OVER if sizes else words.STATISTICS
    columns = max((len(row.cells) for row in box.rows if not row.across), default=0)
    heads = [mathtext.plain(say(statistic)) for statistic in over] if columns > 1 else []
    widths = _widths(box.rows, grid, heads)
    spans = (sum(own) + GAP * (n - 1) + 2 * BRACKET * small for (small, n), own in widths.items())
    data_width = max(spans, default=0.0)
    mark_width = 15.0 if any(row.mark is not None for row in box.rows) else 0.0
    heading = mathtext.line_width(title, NAME)
    if tag:
        heading += GAP + mathtext.line_width(tag, TINY)
    inner = max(
        heading,
        mathtext.line_width(expression, SMALL),
        label_width + GAP + data_width + mark_width,
        mathtext.line_width(chip, TINY) + 14 if chip else 0,
        least[0] - 2 * PAD,
        98.0 if box.rows else 0.0,  # so that the cards of plain numbers are equally wide
    )
    inner = float(math.ceil(inner))
    right = PAD + inner

    top = CHIP / 2 if chip else 0.0
    y = top + (4.0 if chip and box.kind == "fold" else 0.0)  # its name is taller
    called = "" if title == name_runs(box) else box.title or box.name
    texts = [Text(PAD, y + 23, title, NAME, "ink", whole=called)]
    if tag:
        _right(texts, right, y + 20, tag, TINY, "soft", word="end")
    y += 30.0
    if expression:
        y += 13
        texts.append(Text(PAD, y - 1, expression, SMALL, "soft", whole=about))
        y += 7
    rule = y
    y += 4
    if heads:
        y += 10
        edge = right - mark_width
        for head, wide in zip(reversed(heads), reversed(widths[False, columns]), strict=True):
            _right(texts, edge, y, head, HEAD, "soft", word="end")
            edge -= wide + GAP
    marks, brackets = [], []
    for row, label, cells in zip(box.rows, labels, grid, strict=True):
        own = widths[bool(row.across), row.across or len(cells)]
        lines = len(cells) // len(own)
        y += 3 * (lines > 1)
        above = y
        middle = y + 15 * (lines + 1) / 2
        texts.append(Text(PAD, middle, label, TINY, "soft", word="start"))
        edge = right - mark_width
        if row.across:
            edge -= BRACKET
            wide = sum(own) + GAP * (len(own) - 1)
            brackets.append(
                (row.kind, edge - wide - BRACKET + 2, above + 4.5, edge + BRACKET - 2,
                 above + 15 * lines + 2.5)
            )  # fmt: skip
        y += 15 * lines
        for i, runs in reversed(list(enumerate(cells))):
            line, at = divmod(i, len(own))
            slot = f"{row.kind} {i}" if row.room else ""
            room = own[at] if len(cells) > 1 else inner - label_width - GAP
            colour = ("value", "gradient")[i] if sizes else row.kind
            x = edge - sum(own[at + 1 :]) - GAP * (len(own) - 1 - at)
            worded = row.state not in ("number", "") or " " in row.cells[i]
            word = "end" if worded and not slot else ""
            # (Of what has no gradient there will be no matrix: the words stand beside their label.)
            low = middle if row.state == "not computed" else above + 15 * (line + 1)
            _right(texts, x, low, runs, DATA, colour, slot, room, word)
        if row.mark is not None:
            marks.append((right - 10, middle - 8, row.mark))
    height = y + 10 - (0 if box.rows else 4)
    slack = max(0.0, least[1] - height) / 2
    texts = [replace(text, y=text.y + slack) for text in texts]
    marks = [(mark_x, mark_y + slack, holds) for mark_x, mark_y, holds in marks]
    brackets = [(kind, x, top + slack, z, low + slack) for kind, x, top, z, low in brackets]
    return Card(
        width=inner + 2 * PAD,
        height=height + 2 * slack,
        texts=tuple(texts),
        rule=rule + slack if box.rows else 0.0,
        chip=Text(PAD + 1, top + 3.5, chip, TINY, "chip") if chip else None,
        marks=tuple(marks),
        brackets=tuple(brackets),
        top=top,
    )


@lru_cache(maxsize=2048)
def pill_card(arrow: Arrow) -> Card | None:
    """The label of an arrow: its local derivative as ``symbol = number``; None if there is none."""
    size = SMALL
    symbol = mathtext.expression(arrow.symbol, arrow.formula)
    if mathtext.line_width(symbol, size) > PILL_LIMIT:
        symbol = () if arrow.number else mathtext.elide(symbol, size, PILL_LIMIT)
    number = mathtext.elide(mathtext.number(words.clean(arrow.number)), size - 0.5, PILL_LIMIT)
    if arrow.room and number:
        return _live_pill(arrow, symbol, number)
    if symbol and number:
        number = (mathtext.Run("=", space=0.3), replace(number[0], space=0.3), *number[1:])
    if not symbol and not number:
        return None
    first = mathtext.line_width(symbol, size)
    second = mathtext.line_width(number, size - 0.5)
    pad = 7.0
    colour = "value" if arrow.reads else "ink"
    if first + second <= PILL_LIMIT:
        word = "" if arrow.formula or number else "start"  # ("linear map")
        texts = [Text(pad, 13, symbol, size, colour, word=word)] if symbol else []
        if number:
            texts.append(Text(pad + first, 13, number, size - 0.5, "ink"))
        return Card(round(first + second + 2 * pad + 0.5), 19, tuple(texts))
    width = round(max(first, second) + 2 * pad + 0.5)
    return Card(
        width,
        34,
        (
            Text((width - first) / 2, 13, symbol, size, colour),
            Text((width - second) / 2, 28, number, size - 0.5, "ink"),
        ),
    )


def _live_pill(arrow: Arrow, symbol: Runs, number: Runs) -> Card:
    """A label whose number may change: it stands apart from the symbol, with room of its own."""
    size, pad = SMALL, 7.0
    if symbol:
        symbol = (*symbol, mathtext.Run("=", space=0.3))
    least = mathtext.line_width(mathtext.plain(arrow.room), size - 0.5)
    room = max(mathtext.line_width(number, size - 0.5), least)
    first = mathtext.line_width(symbol, size) + 0.3 * size * bool(symbol)
    gap = 0.0
    if first + room > PILL_LIMIT + 30:
        raised, height = 13.0, 34.0
        width = round(max(first, room) + 2 * pad + 0.5)
        left, gap = (width - first) / 2, (width - room) / 2
    else:
        raised, height = 0.0, 19.0
        width, left, gap = round(first + room + 2 * pad + 0.5), pad, pad + first
    texts = [Text(left, 13, symbol, size, "ink")] if symbol else []
    if not symbol:  # alone in the middle
        gap = (width - mathtext.line_width(number, size - 0.5)) / 2
    slot = "local middle" if not symbol else "local start"
    texts.append(Text(gap, 13 + raised * 15 / 13, number, size - 0.5, "ink", slot, room))
    return Card(width, height, tuple(texts))


def line(
    text: str,
    size: float,
    colour: str,
    font: str = "sans",
    limit: float = 900.0,
    word: str = "",
    setting: Callable[[str, str], Runs] = mathtext.prose,
) -> Text:
    """A single line of text that starts at the origin."""
    runs = mathtext.elide(setting(text, font), size, limit)
    return Text(0, 0, runs, size, colour, word=word)
