"""A long layout in several columns: cut where few edges cross, its pieces side by side.

An edge keeps the way that the engine found for it up to a cut, runs through the gutter between two
columns, and goes on where it was cut. So it passes no box, as it passed none before.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from .layout import Curve, Layout, Point, Rectangle, straight, turned
from .outside import extent
from .squeeze import squeezed
from .view import View

Segment = tuple[Point, ...]
"""The four points of a Bézier curve."""
SCREEN = 1200.0  # a picture no longer than this many pixels is seen whole ...
LEGIBLE = 1590.0  # (at that width, one so wide still has its smallest text at 7 pixels)
LONGEST = 2.5  # ... and a longer one is cut where it is so many times as long as wide
PAGE = 1.6 * SCREEN  # so long a page is scrolled through; in one that is too wide, texts are small
CUT, EACH, TORN = 0.2, 0.03, 0.05  # what a cut costs, as a part of a screen; each edge, frame
MOST = 8  # columns
TRIED = 16  # places of a single cut, where columns of one length are too wide or too long
ROOM = 6.0  # between two boxes, for a cut
GUTTER = 30.0  # between columns, and ...
TRACK = 9.0  # ... for each edge that runs in it
CROSSING, FRAME = 0.06, 0.12  # what it costs to cut an edge, and a frame, in columns too short
ROUND = 7.0  # radius of an edge's corner
PADDING = 10.0  # of a frame
HEADING = 26.0  # of a frame that goes on


def wrapped(layout: Layout, view: View, eager: bool) -> Layout:
    """The layout, in several columns (or rows, of a wide one) where it is too long.

    A picture of all values is better whole than cut, unless it is twice as long, or not legible;
    one of folds is cut `eager`ly.
    """
    layout = squeezed(layout)
    if layout.width <= LEGIBLE and not _is_long(layout, view, 1 if eager else 2):
        return layout
    wide = layout.width > layout.height
    upright = turned(layout) if wide else layout
    cuts = _Cuts(upright)

    def cut(places: list[float]) -> Layout:
        found = _cut(upright, places, wide)
        return replace(squeezed(turned(found)), cuts=found.cuts) if wide else squeezed(found)

    found = [layout, *(cut(chosen) for n in range(1, MOST) if (chosen := cuts.choose(n)))]
    if eager:  # columns of other lengths, too
        found += [cut([y]) for y, _ in cuts.places[:: len(cuts.places) // TRIED + 1]]
    return min(found, key=partial(badness, view))


def badness(view: View, layout: Layout) -> tuple[int, float]:
    """How bad a layout is on a screen: not legible, too long for its width; and large, cut."""
    size = max(layout.width / SCREEN, layout.height / PAGE)
    torn = sum(len(parts) > 1 for parts in layout.groups.values())
    cut = CUT * layout.columns + EACH * layout.cut + TORN * torn
    return (layout.width > LEGIBLE) + _is_long(layout, view), size + cut


def _is_long(layout: Layout, view: View, factor: float = 1.0) -> bool:
    """Whether the picture, with its title and legend, is too long for its width."""
    short, long = sorted(extent(view, layout.width, layout.height))
    return long > max(SCREEN, LONGEST * short) * factor


class _Cuts:
    """Where an upright layout can be cut, and what that costs."""

    def __init__(self, layout: Layout) -> None:
        self.height = layout.height
        halves = ((y, layout.sizes[i][1] / 2) for i, (_, y) in layout.centres.items())
        tops = (top for frames in layout.groups.values() for _, top, _, _ in frames)
        blocked = sorted(
            [*((y - half, y + half) for y, half in halves), *((top, top + HEADING) for top in tops)]
        )
        self.boxes = sorted(y for i, (_, y) in layout.centres.items() if i not in layout.curves)
        curves = itertools.chain.from_iterable(layout.curves.values())
        segments = [segment for curve in curves for segment in _segments(curve)]
        self.places: list[tuple[float, float]] = []  # y, cost
        low = 0.0
        for top, bottom in blocked:
            if low and top - low > ROOM:
                y = (low + top) / 2
                edges = sum(_crosses(segment, y) for segment in segments)
                frames = sum(t < y < b for parts in layout.groups.values() for _, t, _, b in parts)
                self.places.append((y, CROSSING * edges + FRAME * frames))
            low = max(low, bottom)

    def choose(self, count: int) -> list[float]:
        """So many cuts, in the best places; none if there are not so many.

        Each piece has a box: labels of edges alone are none.
        """
        ideal = self.height / (count + 1)
        places = [(y, cost) for y, cost in self.places if self.holds(y, self.height)]

        def column(top: float, bottom: float) -> float:
            return ((bottom - top) / ideal - 1) ** 2

        best: list[tuple[float, list[float]]] = [(0.0, [0.0])]
        for _ in range(count):
            best = [
                min(
                    (cost + column(cuts[-1], y) + own, [*cuts, y])
                    for cost, cuts in best
                    if self.holds(cuts[-1], y)
                )
                for y, own in places
                if any(self.holds(cuts[-1], y) for _, cuts in best)
            ]
        ends = [(cost + column(cuts[-1], self.height), cuts[1:]) for cost, cuts in best]
        return min(ends, default=(0.0, []))[1]

    def holds(self, top: float, bottom: float) -> bool:
        """Whether a box lies between."""
        return bisect(self.boxes, top) < bisect(self.boxes, bottom)


def _segments(curve: Curve) -> Iterator[Segment]:
    """The Bézier segments of a curve, with the straight ways to its arrowheads."""
    points = curve.points
    if curve.start:
        points = (*straight(curve.start, points[0])[:3], *points)
    if curve.end:
        points = (*points, *straight(points[-1], curve.end)[1:])
    return (points[at : at + 4] for at in range(0, len(points) - 1, 3))


def _crosses(segment: Segment, y: float) -> bool:
    return (segment[0][1] < y) != (segment[3][1] < y)


def _column_at(y: float, cuts: list[float]) -> int:
    return sum(y >= cut for cut in cuts)


@dataclass
class _Column:
    """A piece of the layout, from `top` to `bottom` there, moved by `dx` and `dy`."""

    top: float
    bottom: float
    left: float = math.inf
    right: float = -math.inf
    head: float = 0.0  # room above it
    dx: float = 0.0
    dy: float = 0.0

    def holds(self, y: float) -> bool:
        return self.top <= y < self.bottom

    def widen(self, left: float, right: float) -> None:
        self.left, self.right = min(self.left, left), max(self.right, right)

    def move(self, point: Point) -> Point:
        return point[0] + self.dx, point[1] + self.dy


def _cut(layout: Layout, cuts: list[float], turned: bool) -> Layout:
    """The layout cut at these heights; of a turned one, headings are at the left."""
    # Long: where a column lies depends on what is in it and on the edges that pass before it.
    columns = [
        _Column(top, bottom) for top, bottom in itertools.pairwise([0.0, *cuts, layout.height + 1])
    ]

    pieces = {i: list(_pieces(curves, cuts)) for i, curves in layout.curves.items()}
    frames = _frames(layout, columns, turned)
    for framed in frames.values():  # one that goes on has its heading there again
        for n, _ in framed[1:]:
            columns[n].head += PADDING if turned else HEADING
    for i, (x, y) in layout.centres.items():
        width = layout.sizes[i][0] / 2
        columns[_column_at(y, cuts)].widen(x - width, x + width)
    for parts in pieces.values():
        for n, curve in parts:
            xs = [x for x, _ in curve.points]
            columns[n].widen(min(xs), max(xs))
    for framed in frames.values():
        for n, (left, _, right, _) in framed:
            columns[n].widen(left, right)

    # The edges that are cut, at each cut from left to right
    passing: list[list[tuple[float, str]]] = [[] for _ in cuts]
    for i, parts in pieces.items():
        for (n, before), (m, _) in itertools.pairwise(parts):
            if n != m:
                passing[min(n, m)].append((before.points[-1][0], i))
    room = TRACK * max(map(len, passing)) + GUTTER / 2
    x = 0.0
    for n, own in enumerate(columns):
        own.dx, own.dy = x - own.left, room + own.head - own.top
        x += own.right - own.left + GUTTER + TRACK * (len(passing[n]) if n < len(cuts) else 0)
    ranks = [{i: at for at, (_, i) in enumerate(sorted(inside))} for inside in passing]

    def joined(parts: list[tuple[int, Curve]], i: str) -> Iterator[Curve]:
        for (n, curve), after in itertools.zip_longest(parts, parts[1:]):
            own = columns[n]
            yield Curve(tuple(map(own.move, curve.points)))
            if after is not None and after[0] != n:
                first = min(n, after[0])
                ends = own.move(curve.points[-1]), columns[after[0]].move(after[1].points[0])
                way = _through_gutter(
                    *(ends if after[0] > n else ends[::-1]),
                    columns[first], ranks[first][i], len(passing[first]), room,
                )  # fmt: skip
                yield Curve(tuple(_rounded(way if after[0] > n else way[::-1])))

    last = columns[-1]
    feet = [*(room if inside else 0.0 for inside in passing), 0.0]
    lowest = (
        max(c.bottom - c.top + c.head + foot for c, foot in zip(columns, feet, strict=True)) + room
    )
    return Layout(
        last.right + last.dx,
        lowest,
        layout.sizes,
        {i: columns[_column_at(y, cuts)].move((x, y)) for i, (x, y) in layout.centres.items()},
        {
            scope: tuple(
                (*columns[n].move(frame[:2]), *columns[n].move(frame[2:])) for n, frame in parts
            )
            for scope, parts in frames.items()
        },
        {i: tuple(joined(parts, i)) for i, parts in pieces.items()},
        len(columns),
        sum(map(len, passing)),
        tuple(own.left + own.dx - GUTTER / 4 for own in columns[1:]),
    )


def _frames(
    layout: Layout, columns: list[_Column], turned: bool
) -> dict[tuple[str, ...], list[tuple[int, Rectangle]]]:
    """The frames, cut: where a column holds a part of one, around the boxes there."""
    found: dict[tuple[str, ...], list[tuple[int, Rectangle]]] = {}
    for scope, (whole,) in sorted(layout.groups.items(), key=lambda item: -len(item[0])):
        inner = [parts for s, parts in found.items() if s[: len(scope)] == scope]
        found[scope] = []
        for n, column in enumerate(columns):
            left, top, right, bottom = whole
            if bottom <= column.top or top >= column.bottom:
                continue
            if top < column.top or bottom > column.bottom:
                within = [
                    (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
                    for i, (x, y) in layout.centres.items()
                    for w, h in (layout.sizes[i],)
                    if column.holds(y) and left < x < right and top < y < bottom
                ]
                within += [frame for parts in inner for m, frame in parts if m == n]
                if not within:
                    continue
                lefts, tops, rights, bottoms = zip(*within, strict=True)
                ahead, above = (HEADING, PADDING) if turned else (PADDING, HEADING)
                left, right = max(left, min(lefts) - ahead), min(right, max(rights) + PADDING)
                if top < column.top:  # it goes on here
                    top = min(*tops, column.top + PADDING) - above
                if bottom > column.bottom:
                    bottom = min(max(bottoms) + PADDING, column.bottom)
            found[scope].append((n, (left, top, right, bottom)))
    return {scope: found[scope] for scope in layout.groups}


def _pieces(curves: tuple[Curve, ...], cuts: list[float]) -> Iterator[tuple[int, Curve]]:
    """The curves of an edge, cut: each with the number of its column."""
    for curve in curves:
        segments = [*_segments(curve)]
        points = [segments[0][0]]
        place = _column_at(points[0][1], cuts)
        for segment in segments:
            crossed = [y for y in cuts if _crosses(segment, y)]
            if segment[0][1] > segment[3][1]:
                crossed.reverse()
            for y in crossed:
                before, segment = _split(segment, y)
                yield place, Curve((*points, *before[1:]))
                place += 1 if segment[3][1] >= y else -1
                points = [segment[0]]
            points += segment[1:]
        yield place, Curve(tuple(points))


def _split(segment: Segment, y: float) -> tuple[Segment, Segment]:
    """A Bézier segment, cut where it reaches a height (de Casteljau)."""
    down = segment[3][1] > segment[0][1]
    low, high = 0.0, 1.0
    for _ in range(40):
        t = (low + high) / 2
        rows = [segment]
        while len(rows[-1]) > 1:
            rows.append(tuple(
                (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t)
                for a, b in itertools.pairwise(rows[-1])
            ))  # fmt: skip
        low, high = (t, high) if (rows[-1][0][1] < y) == down else (low, t)
    return tuple(row[0] for row in rows), tuple(row[-1] for row in reversed(rows))


def _through_gutter(
    start: Point, end: Point, column: _Column, rank: int, count: int, room: float
) -> list[Point]:
    """From the foot of a column to the head of the next one, crossing no other edge there.

    Of two edges the right one turns first, and so comes to the outside above.
    """
    turn = GUTTER / 4 + TRACK * (count - 1 - rank)
    foot = column.bottom + column.dy + turn
    x = column.right + column.dx + GUTTER / 2 + TRACK * (count - 1 - rank)
    head = room - GUTTER / 4 - TRACK * rank
    return [start, (start[0], foot), (x, foot), (x, head), (end[0], head), end]


def _rounded(way: list[Point]) -> Iterator[Point]:
    """A polygon with rounded corners, as Bézier points."""
    yield way[0]
    at = way[0]
    for before, corner, after in zip(way, way[1:], way[2:], strict=False):
        radius = min(ROUND, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        first, second = _from(corner, before, radius), _from(corner, after, radius)
        yield from (at, first, first)
        yield from (_from(corner, before, radius / 2), _from(corner, after, radius / 2), second)
        at = second
    yield from (at, way[-1], way[-1])


def _from(corner: Point, other: Point, distance: float) -> Point:
    length = math.dist(corner, other) or 1.0
    return (
        corner[0] + (other[0] - corner[0]) * distance / length,
        corner[1] + (other[1] - corner[1]) * distance / length,
    )
