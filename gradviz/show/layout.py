"""A layout: where the boxes, the frames and the edges of a View are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


def _towards(point: Point, other: Point, distance: float = 6.0) -> Point:
    dx, dy = other[0] - point[0], other[1] - point[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    return point[0] + dx / length * distance, point[1] + dy / length * distance
