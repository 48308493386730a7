"""Where everything goes: Graphviz's decisions, in the terms of a View."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from . import card, dot, engine
from .view import Arrow, View

Point = tuple[float, float]


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
    groups: dict[tuple[str, ...], tuple[float, float, float, float]]  # left, top, right, bottom
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


def arrange(view: View, engine_name: str = "auto") -> Layout:
    """Lay a View out.

    Raises
    ------
    gradviz.show.engine.EngineError
        If the engine is missing, fails, or writes no layout.
    """
    sizes = card.sizes(view)
    source = dot.to_dot(replace(view, title="", below=None), sizes=sizes)
    written = engine.run(source, "json0", engine_name)
    try:
        return _read(view, sizes, json.loads(written))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise engine.EngineError(
            f"{engine.find(engine_name)} wrote no layout that can be read: {written[:60]!r}"
        ) from error


def _read(view: View, sizes: dict[str, tuple[float, float]], data: Any) -> Layout:
    """The layout in Graphviz's JSON."""
    left, bottom, right, top = map(float, data["bb"].split(","))

    def flip(x: str, y: str) -> Point:
        return float(x) - left, top - float(y)

    centres: dict[str, Point] = {}
    clusters = {}
    names = {}
    for item in data.get("objects", ()):
        names[item["_gvid"]] = item["name"]
        if "pos" in item:
            centres[item["name"]] = flip(*item["pos"].split(","))
        elif "bb" in item:
            x0, y0, x1, y1 = item["bb"].split(",")
            clusters[item["name"]] = (*flip(x0, y1), *flip(x1, y0))
    found: dict[tuple[str, str], list[Curve]] = {}
    for edge in data.get("edges", ()):
        ends: dict[str, Point] = {}
        points = []
        for word in edge["pos"].split():
            *mark, x, y = word.split(",")
            if mark:
                ends[mark[0]] = flip(x, y)
            else:
                points.append(flip(x, y))
        curve = Curve(tuple(points), ends.get("s"), ends.get("e"))
        found.setdefault((names[edge["tail"]], names[edge["head"]]), []).append(curve)

    curves: dict[str, tuple[Curve, ...]] = {}
    for arrow in view.arrows:
        first, last = arrow.ends
        if arrow.id in centres:  # it runs through its label
            curves[arrow.id] = (found[first, arrow.id][0], found[arrow.id, last][0])
        else:
            curves[arrow.id] = (found[first, last].pop(0),)
    groups = view.groups()
    places = {scope: clusters[dot.group_id(scope, groups)] for scope in groups}
    return Layout(right - left, top - bottom, sizes, centres, places, curves)
