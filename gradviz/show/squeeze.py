"""What stands empty in a layout, made narrow: a strip from top to bottom in which no box lies."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from dataclasses import replace

from .layout import Curve, Layout, Point

Segment = tuple[Point, ...]
LEAST, EACH = 12.0, 8.0  # so wide a strip stays, and so much more for each thing that runs in it
PIECES = 3  # how often an edge's segment is halved, so that it keeps its way


def squeezed(layout: Layout) -> Layout:
    """The layout with its empty strips made narrow; boxes keep their size, edges their order."""
    strips = list(_strips(layout))
    if not strips:
        return layout
    marks = [0.0]  # where the slope changes, and ...
    places = [0.0]  # ... where that comes to lie
    for left, right, width in strips:
        for mark, step in ((left, left - marks[-1]), (right, width)):
            marks.append(mark)
            places.append(places[-1] + step)

    def move(x: float) -> float:
        n = min(bisect.bisect_right(marks, x), len(marks)) - 1
        if n % 2 == 0 or n == len(marks) - 1:
            return places[n] + x - marks[n]
        part = (x - marks[n]) / (marks[n + 1] - marks[n])
        return places[n] + part * (places[n + 1] - places[n])

    def put(point: Point | None) -> Point | None:
        return point and (move(point[0]), point[1])

    def bent(curve: Curve) -> Curve:
        points = [curve.points[0]]
        for at in range(0, len(curve.points) - 1, 3):
            segment = curve.points[at : at + 4]
            at_once = len({bisect.bisect(marks, x) for x, _ in segment}) == 1
            for part in [segment] if at_once else _halved(segment, PIECES):
                points += part[1:]
        moved = tuple((move(x), y) for x, y in points)
        return Curve(moved, put(curve.start), put(curve.end))

    return replace(
        layout,
        width=move(layout.width),
        centres={i: (move(x), y) for i, (x, y) in layout.centres.items()},
        groups={
            scope: tuple((move(a), b, move(c), d) for a, b, c, d in frames)
            for scope, frames in layout.groups.items()
        },
        curves={i: tuple(map(bent, curves)) for i, curves in layout.curves.items()},
        cuts=tuple(map(move, layout.cuts)),
    )


def _strips(layout: Layout) -> Iterator[tuple[float, float, float]]:
    """From where to where only edges and sides of frames lie, and how wide would be enough."""
    taken = sorted(
        (x - layout.sizes[i][0] / 2, x + layout.sizes[i][0] / 2)
        for i, (x, _) in layout.centres.items()
    )
    sides = [x for frames in layout.groups.values() for a, _, b, _ in frames for x in (a, b)]
    turns = [
        sorted({x for curve in curves for x, _ in curve.points[::3]})
        for curves in layout.curves.values()
    ]
    end = 0.0
    for left, right in (*taken, (layout.width, layout.width)):
        if left - end > LEAST:
            inside = sum(end < x < left for x in sides)
            inside += sum(
                bisect.bisect_right(xs, end) < bisect.bisect_left(xs, left) for xs in turns
            )
            width = LEAST + EACH * inside
            if width < left - end:
                yield end, left, width
        end = max(end, right)


def _halved(segment: Segment, times: int) -> list[Segment]:
    """A Bézier segment in 2^times pieces (de Casteljau)."""
    if not times:
        return [segment]
    rows = [segment]
    while len(rows[-1]) > 1:
        rows.append(
            tuple(((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in itertools.pairwise(rows[-1]))
        )
    first, last = tuple(row[0] for row in rows), tuple(row[-1] for row in reversed(rows))
    return _halved(first, times - 1) + _halved(last, times - 1)
