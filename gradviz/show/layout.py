"""A layout: where the boxes, the frames and the edges of a View are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from . import dot
from .view import Arrow

Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Curve:
    """A spline: `points` as Bézier points, and the tips of its arrowheads, if any."""

    points: tuple[Point, ...]
    start: Point | None = None
    end: Point | None = None


@dataclass(frozen=True)
class Route:
    """How an arrow runs: Bézier splines, each joined to the next by a straight line; its head."""

    splines: tuple[tuple[Point, ...], ...]
    neck: Point
    tip: Point


@dataclass(frozen=True)
class Layout:
    """Positions in pixels; y grows downwards, the origin is the upper left corner.

    One layout serves all panels of a View: an edge and its message have the same id.
    """

    width: float
    height: float
    sizes: dict[str, tuple[float, float]]
    centres: dict[str, Point]
    groups: Mapping[tuple[str, ...], tuple[Rectangle, ...]]  # several where columns divide one
    curves: dict[str, tuple[Curve, ...]]
    columns: int = 1
    cut: int = 0  # how many edges go on in the next column
    cuts: tuple[float, ...] = ()  # where one column (or row) ends and the next one begins
    bent: bool = False  # whether it goes down and up again

    def headed(self, scope: tuple[str, ...], wide: float) -> Layout:
        """The layout with a frame so wide that its heading has a place without an edge."""
        (frame,) = self.groups[scope]
        if any(right - left >= wide for left, right in self.headings(frame)):
            return self
        left, top, right, bottom = frame
        low = min((min(x, z) for x, z in self._crossing(top)), default=right)
        begin = min(left, low - 3 - wide - 8)
        more = max(-begin, 0.0)

        def put(point: Point) -> Point:
            return point[0] + more, point[1]

        found = {**self.groups, scope: ((begin, top, right, bottom),)}
        return replace(
            self,
            width=self.width + more,
            centres={i: put(point) for i, point in self.centres.items()},
            groups={
                scope: tuple((a + more, b, c + more, d) for a, b, c, d in frames)
                for scope, frames in found.items()
            },
            curves={
                i: tuple(
                    Curve(tuple(map(put, c.points)), c.start and put(c.start), c.end and put(c.end))
                    for c in curves
                )
                for i, curves in self.curves.items()
            },
        )

    def route(self, arrow: Arrow) -> Route:
        """The way of an arrow, its head at the end that it points to."""
        curves = self.curves[arrow.id]
        splines = [list(curve.points) for curve in curves]
        start, end = curves[0].start, curves[-1].end  # where the engine left room for a head
        if dot.tip_first(arrow):
            tip, neck = start or splines[0][0], _towards(splines[0][0], splines[0][1])
            splines[0][0] = splines[0][0] if start else neck
            splines += [[end]] if end else []
        else:
            tip, neck = end or splines[-1][-1], _towards(splines[-1][-1], splines[-1][-2])
            splines[-1][-1] = splines[-1][-1] if end else neck
            splines = [[start], *splines] if start else splines
        return Route(tuple(map(tuple, splines)), neck, tip)

    def headings(self, frame: Rectangle) -> Iterator[tuple[float, float]]:
        """Where a heading can be, from where to where, so that no edge runs through it."""
        left, top, right, _ = frame
        crossed = [(right - 4, right)]
        crossed += [(min(x, z) - 3, max(x, z) + 3) for x, z in self._crossing(top)]
        at = left + 8
        for begin, end in sorted(crossed):
            if min(begin, right - 4) > at:
                yield at, min(begin, right - 4)
            at = max(at, end)

    def _crossing(self, top: float) -> Iterator[tuple[float, float]]:
        """From where to where edges run at the height of a heading."""
        for low, high, ways in self._ways:
            if low < top + 22 and high > top + 5:
                for (x, y), (z, w) in ways:
                    if min(y, w) < top + 22 and max(y, w) > top + 5:
                        yield x, z

    @cached_property
    def _ways(self) -> list[tuple[float, float, list[tuple[Point, Point]]]]:
        """The edges as short straight pieces, each with its highest and lowest place."""
        found = []
        for curve in itertools.chain.from_iterable(self.curves.values()):
            points = [*filter(None, (curve.start,)), curve.points[0]]
            for at in range(0, len(curve.points) - 1, 3):
                points += _along(curve.points[at : at + 4])
            points += filter(None, (curve.end,))
            heights = [y for _, y in points]
            found.append((min(heights), max(heights), list(itertools.pairwise(points))))
        return found


def straight(first: Point, last: Point) -> tuple[Point, ...]:
    """A straight line as a Bézier curve, which has a direction at both its ends."""
    (x, y), (z, w) = first, last
    return tuple((x + (z - x) * n / 3, y + (w - y) * n / 3) for n in range(4))


def reversed_curve(curve: Curve) -> Curve:
    """The curve from its end to its start."""
    return Curve(curve.points[::-1], curve.end, curve.start)


def turned(layout: Layout) -> Layout:
    """The layout with its axes exchanged."""

    def swap(point: Point | None) -> Point | None:
        return point and (point[1], point[0])

    return Layout(
        layout.height,
        layout.width,
        {i: (h, w) for i, (w, h) in layout.sizes.items()},
        {i: (y, x) for i, (x, y) in layout.centres.items()},
        {
            scope: tuple((top, left, bottom, right) for left, top, right, bottom in frames)
            for scope, frames in layout.groups.items()
        },
        {
            i: tuple(
                Curve(tuple((y, x) for x, y in c.points), swap(c.start), swap(c.end))
                for c in curves
            )
            for i, curves in layout.curves.items()
        },
        layout.columns,
        layout.cut,
        layout.cuts,
    )


def _along(segment: tuple[Point, ...], count: int = 12) -> list[Point]:
    """Points on a Bézier segment, its first aside."""
    found = []
    for n in range(1, count + 1):
        t = n / count
        weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        x, y = (sum(w * p[k] for w, p in zip(weights, segment, strict=True)) for k in (0, 1))
        found.append((x, y))
    return found


def _towards(point: Point, other: Point, distance: float = 6.0) -> Point:
    dx, dy = other[0] - point[0], other[1] - point[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    return point[0] + dx / length * distance, point[1] + dy / length * distance
