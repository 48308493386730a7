"""Edges drawn straight where nothing stands in the way.

The engine lets all edges leave a box at one point, and bends each to its label. A reader follows
a straight line better, and it meets no heading twice.
"""

from __future__ import annotations

from dataclasses import replace

from .layout import Curve, Layout, Rectangle, straight, turned
from .view import View

INSET = 10.0  # from the corner of a box
HEAD = 6.0  # of an edge, for its arrowhead
CLEAR = 8.0  # it keeps so far from all boxes, and frames in which it does not begin or end
STEEP = 4.0  # a line goes no farther to the side, for each pixel that it goes ahead


def straightened(layout: Layout, view: View) -> Layout:
    """The layout with a straight line from each box to a label that is ahead of it, and on."""
    if view.direction == "LR":
        return turned(straightened(turned(layout), replace(view, direction="TB")))
    boxes = {
        i: (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for i, (x, y) in layout.centres.items()
        for w, h in (layout.sizes[i],)
    }
    frames = [frame for parts in layout.groups.values() for frame in parts]
    ends = [arrow.ends for arrow in view.arrows]

    def drawn(curve: Curve, first: str, last: str, x: float) -> Curve | None:
        return _line(curve, boxes[first], boxes[last], x, [*boxes.values(), *frames])

    curves = dict(layout.curves)
    for arrow in view.arrows:
        first, last = arrow.ends
        way = curves[arrow.id]
        lines: tuple[Curve | None, ...]
        if len(way) == 2:  # through its label
            x = layout.centres[arrow.id][0]
            lines = drawn(way[0], first, arrow.id, x), drawn(way[1], arrow.id, last, x)
        elif ends.count(arrow.ends) == 1:
            x, other = (layout.centres[i][0] for i in arrow.ends)
            lines = (drawn(way[0], first, last, x) or drawn(way[0], first, last, other),)
        else:  # one of several that would be one line
            continue
        curves[arrow.id] = tuple(line or curve for line, curve in zip(lines, way, strict=True))
    return replace(layout, curves=curves)


def _line(
    curve: Curve, tail: Rectangle, head: Rectangle, x: float, others: list[Rectangle]
) -> Curve | None:
    """A line from a box down to the next, near `x`, if nothing is there: straight, or nearly."""
    top, bottom = tail[3], head[1]
    begin, stop = (_near(x, box) for box in (tail, head))
    if top >= bottom or abs(stop - begin) > STEEP * (bottom - top):
        return None
    least, most = min(begin, stop) - CLEAR, max(begin, stop) + CLEAR
    for left, high, right, low in others:
        near = left < most and right > least and high < bottom and low > top
        if near and not any(
            left <= end[0] and high <= end[1] and right >= end[2] and low >= end[3]
            for end in (tail, head)
        ):
            return None
    room = min(HEAD, (bottom - top) / 2)
    high, low = top + room * bool(curve.start), bottom - room * bool(curve.end)
    points = straight((begin, high), (stop, low))
    if begin != stop:
        points = (begin, high), (begin, low), (stop, high), (stop, low)
    return Curve(points, curve.start and (begin, top), curve.end and (stop, bottom))


def _near(x: float, box: Rectangle) -> float:
    inset = min(INSET, (box[2] - box[0]) / 2)
    return min(max(x, box[0] + inset), box[2] - inset)
