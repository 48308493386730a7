"""Where everything goes: Graphviz's decisions, in the terms of a View."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from functools import partial
from typing import Any

from gradviz.chain.columns import length, ranks
from gradviz.chain.folding import LONG

from . import card, dot, engine
from .layout import Curve, Layout, Point, reversed_curve
from .straight import straightened
from .view import View
from .wrap import LEGIBLE, badness, wrapped

HARD = LONG  # edges of this length together are laid out with straight lines ...
HARDEST = 8 * HARD  # ... and longer ones without an engine
MANY = 60  # boxes: a picture of more is not made narrower
STAGGERED = 2, 3  # into so many rows of leaves
APART = 4, 20, 28  # how far the two sides of a U may stand from each other
GAP = 18.0  # between boxes, where no engine sets them


def arrange(view: View, engine_name: str = "auto", *, whole: bool = False) -> Layout:
    """Lay a View out: with curves that avoid the boxes, or with straight lines if that is too hard.

    The length of its edges decides how hard it is, not the time it takes, so that a View looks the
    same each time. Where the engine still gives up, boxes are placed without it. A long layout goes
    over in several columns, unless it is to stay `whole`; one that is not legible so has the other
    direction, if the View is free to.

    Raises
    ------
    gradviz.show.engine.EngineError
        If the engine is missing, fails, or writes no layout.
    """
    bent = None if whole else _bent(view, engine_name)
    if bent:
        return bent
    if whole:
        return _arranged(view, engine_name)
    view = replace(view, bend=None)
    found = _wrapped(view, engine_name)
    if view.free and not view.dense and (found.columns > 1 or badness(view, found)[0]):
        turned = replace(view, direction="TB" if view.direction == "LR" else "LR")
        found = min(found, _wrapped(turned, engine_name), key=partial(badness, view))
    return found


def _bent(view: View, engine_name: str) -> Layout | None:
    """A layout that goes down and up again, as wide as it is to be; None if that does not do."""
    for bend in [view.bend._replace(apart=apart) for apart in APART] if view.bend else ():
        found = _arranged(replace(view, bend=bend), engine_name)
        if not badness(view, found)[0]:
            return replace(found, bent=True)
    return None


def _wrapped(view: View, engine_name: str) -> Layout:
    """A layout of few columns; where it is too wide, with leaves one behind the other."""
    folded = any(box.kind in ("fold", "layer") for box in view.boxes)
    whole = _arranged(view, engine_name)
    found = wrapped(whole, view, eager=folded)
    if view.direction == "LR" or whole.width <= LEGIBLE or len(view.boxes) > MANY:
        return found
    for rows in STAGGERED:
        staggered = _arranged(view, engine_name, rows=rows)
        found = min(found, wrapped(staggered, view, eager=folded), key=partial(badness, view))
        if staggered.width <= LEGIBLE:
            break
    return found


def _arranged(view: View, engine_name: str, *, rows: int = 1, simple: bool = False) -> Layout:
    """As the engine lays it out; with straight lines where it finds no way for its curves."""
    sizes = card.sizes(view)
    path = engine.find(engine_name)
    hardness = length(len(view.boxes), ends(view))
    if hardness > HARDEST:
        return _in_columns(view, sizes)
    simple = simple or hardness > HARD
    alone = replace(view, title="", below=None)
    source = dot.to_dot(alone, sizes=sizes, simple=simple, rows=rows)
    try:
        written = engine.run(source, "json0", engine_name)
    except engine.GaveUpError:
        return _in_columns(view, sizes)
    except engine.EngineError:
        if simple:
            raise
        return _arranged(view, engine_name, rows=rows, simple=True)
    try:
        found = _read(view, sizes, json.loads(written))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise engine.EngineError(
            f"{path} wrote no layout that can be read: {written[:60]!r}"
        ) from error
    return found if simple else straightened(found, view)


def ends(view: View) -> list[tuple[int, int]]:
    """The arrows by the numbers of their boxes."""
    number = {box.id: n for n, box in enumerate(view.boxes)}
    return [(number[first], number[last]) for first, last in (a.ends for a in view.arrows)]


def _in_columns(view: View, sizes: dict[str, tuple[float, float]]) -> Layout:
    """A layout that needs no engine: each box in its column, each label before what it leads to.

    In a column they come in the order of what leads to them.
    """
    flat = view.direction == "LR"
    rank = ranks(len(view.boxes), ends(view))
    columns: dict[int, list[str]] = {}
    before: dict[str, list[str]] = {}
    column = {box.id: 2 * n for box, n in zip(view.boxes, rank, strict=True)}
    for box in view.boxes:
        columns.setdefault(column[box.id], []).append(box.id)
    for arrow in view.arrows:
        first, last = arrow.ends
        if arrow.id in sizes:
            columns.setdefault(column[last] - 1, []).append(arrow.id)
            before[arrow.id] = [first]
        before.setdefault(last, []).append(first)

    along = {i: size[0 if flat else 1] for i, size in sizes.items()}
    across = {i: size[1 if flat else 0] for i, size in sizes.items()}
    places: dict[str, Point] = {}
    left = 0.0
    for _, inside in sorted(columns.items()):
        known = {i: [places[u][1] for u in before.get(i, ()) if u in places] for i in inside}
        inside.sort(key=lambda i: sum(known[i]) / len(known[i]) if known[i] else math.inf)
        width = max(along[i] for i in inside)
        top = -sum(across[i] + GAP for i in inside) / 2
        for i in inside:
            places[i] = left + width / 2, top + (across[i] + GAP) / 2
            top += across[i] + GAP
        left += width + 2 * GAP

    def line(first: str, last: str) -> Curve:
        (x0, y0), (x1, y1) = places[first], places[last]
        x0, x1 = x0 + along[first] / 2, x1 - along[last] / 2
        steps = [(x0 + (x1 - x0) * n / 3, y0 + (y1 - y0) * n / 3) for n in range(4)]
        return Curve(tuple(map(put, steps)))

    margin = 2 * GAP
    low = margin - min(places[i][1] - across[i] / 2 for i in places)

    def put(point: Point) -> Point:
        x, y = point[0] + margin, point[1] + low
        return (x, y) if flat else (y, x)

    centres = {i: put(place) for i, place in places.items()}
    curves = {}
    for arrow in view.arrows:
        way = [arrow.ends[0], *([arrow.id] if arrow.id in places else []), arrow.ends[1]]
        curves[arrow.id] = tuple(line(*pair) for pair in itertools.pairwise(way))
    groups = {}
    for scope in view.groups():
        inner = [b.id for b in view.boxes if b.scope[: len(scope)] == scope]
        edges = [
            (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            for (x, y), (w, h) in ((centres[i], sizes[i]) for i in inner)
        ]
        lefts, tops, rights, bottoms = zip(*edges, strict=True)
        frame = min(lefts) - GAP / 2, min(tops) - 1.5 * GAP, max(rights) + GAP / 2
        groups[scope] = ((*frame, max(bottoms) + GAP / 2),)
    right = max(x + sizes[i][0] / 2 for i, (x, _) in centres.items())
    bottom = max(y + sizes[i][1] / 2 for i, (_, y) in centres.items())
    return Layout(right + margin, bottom + margin, sizes, centres, groups, curves)


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
    stacked = set()
    for stack in view.stacks():  # one node, see `dot`
        x, y = centres[stack[0]]
        flat, (width, height) = view.direction == "TB", sizes[stack[0]]
        step = (width if flat else height) + dot.BETWEEN
        for n, ident in enumerate(stack):
            off = (n - (len(stack) - 1) / 2) * step
            centres[ident] = (x + off, y) if flat else (x, y + off)
            stacked.add(ident)
    found: dict[tuple[str, str], list[Curve]] = {}

    def end(edge: Any, which: str) -> str:
        port = str(edge.get(f"{which}port", "")).partition(":")[0]
        return port if port in stacked else str(names[edge[which]])

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
        found.setdefault((end(edge, "tail"), end(edge, "head")), []).append(curve)

    curves: dict[str, tuple[Curve, ...]] = {}
    for arrow in view.arrows:
        first, last = arrow.ends
        if view.bend and view.bend.rising.issuperset(arrow.ends):  # it was laid out upside down
            steps = [first, *([arrow.id] if arrow.id in centres else []), last]
            way = [found[b, a].pop(0) for a, b in itertools.pairwise(steps)]
            curves[arrow.id] = tuple(map(reversed_curve, way))
        elif arrow.id in centres:  # it runs through its label
            curves[arrow.id] = (found[first, arrow.id][0], found[arrow.id, last][0])
        else:
            curves[arrow.id] = (found[first, last].pop(0),)
    groups = view.groups()
    places = {scope: (clusters[dot.group_id(scope, groups)],) for scope in groups}
    return Layout(right - left, top - bottom, sizes, centres, places, curves)
