"""What takes the place of a fold in a page's picture when it opens or closes; the rest stays there.

Each part is laid out once, for itself; the page puts any of them together (`js/inplace.js`).
"""

from __future__ import annotations

import math
import os
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any

from gradviz.chain.columns import length
from gradviz.chain.fold import Fold
from gradviz.chain.folding import LONG, SCREEN
from gradviz.errors import TraceError
from gradviz.language import speaking
from gradviz.options import Colour
from gradviz.show import calls, heat
from gradviz.show.arrange import arrange, ends
from gradviz.show.dot import group_title
from gradviz.show.layout import Layout, Point
from gradviz.show.svg import paint, placed
from gradviz.show.view import Arrow, Bend, Box, View, output_name

from .pictures import Pictures, is_listed, worded
from .wire import Drawing, Inside

MOST = 40  # so many folds of a picture can be opened or closed, if ...
LENGTH = 2 * LONG  # ... the edges in them are no longer than this
CALLS = 24  # so many calls of a library can be opened, each of which is computed again

_Seen = tuple[int, View, Drawing, Collection[int]]
"""A box, the picture that shows it, and the edges across that."""


@dataclass
class _Part:
    """A fold's inside, or its box, before it is laid out.

    By port the number of its edge; by the number of an edge across the picture its box in it, and
    whether it leaves that.
    """

    fold: Fold | _Opened
    view: View
    drawing: Drawing
    ports: dict[str, int]
    across: dict[int, tuple[str, bool]]

    def turned(self) -> _Part:
        """Where what is in it rises."""
        rising = frozenset(box.id for box in self.view.boxes)
        return replace(self, view=replace(self.view, bend=Bend(rising, frozenset())))


@dataclass(frozen=True, eq=False)
class _Opened:
    """A library's call, as if it were a fold: of its values those in it have negative ids."""

    key: str
    title: str
    values: list[int]
    folds: tuple[Fold, ...] = ()


@speaking("en")  # the module says it in the reader's language
def alive(
    pictures: Pictures,
    direction: str | None = None,
    color: Colour = "auto",
    engine: str = "auto",
    longest: float = LENGTH,
) -> Drawing:
    """The first picture of a page, with what takes the place of its folds."""
    view, drawing = pictures.unpainted(pictures.at_first(), direction, color)
    first = placed(view, engine, live=True)
    bend = view.bend if view.bend and first.bent else Bend(frozenset(), frozenset())
    rises = _values_in(drawing, bend.rising).issuperset
    parts = [
        part.turned() if rises(i for i in part.fold.values if i >= 0) else part
        for part in _parts(pictures, view, drawing, bend, color, longest)
    ]
    inner = [part.view.scale for part in parts if part.view.scale]
    if view.scale:
        view = replace(view, scale=heat.reaching(view.scale, inner))
    known = dict(view.legend)
    for part in parts:
        known = dict(part.view.legend) | known
    added = [entry for entry in known.items() if entry[0] not in dict(view.legend)]
    view = replace(view, legend=(*view.legend, *added))

    def painted(part: _Part) -> Inside:
        own = replace(part.view, legend=(), scale=None, title="", description="")
        place = arrange(own, engine, whole=True)
        for scope in own.groups()[:1]:
            title = group_title(scope[-1].partition(" · ")[0], own.dense)
            place = place.headed(scope, title.width + 9)
        return {
            "drawing": {**part.drawing, "svg": paint(own, "light", place, live=True)},
            "values": _runs(part.fold.values),
            "ports": [
                *((edge, *place.centres[port]) for port, edge in part.ports.items()),
                *((edge, *_side(place, *at)) for edge, at in part.across.items()),
            ],
            "across": {edge: box for edge, (box, _) in part.across.items()},
        }

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        spoken = [copy_context() for _ in parts]  # a thread has no language of its own
        made = workers.map(lambda context, part: context.run(painted, part), spoken, parts)
        insides = {part.fold.key: inside for part, inside in zip(parts, made, strict=True)}
    return {**pictures.painted(view, drawing, place=first), "insides": insides}


def _values_in(drawing: Drawing, boxes: Collection[str]) -> set[int]:
    runs = [run for run in drawing["inside"] if f"n{run[2]}" in boxes]
    return {i for first, last, _ in runs for i in range(first, last + 1)}


def _side(place: Layout, box: str, leaves: bool) -> Point:
    """Where an edge across the picture meets a box: they lead from left to right."""
    (x, y), (width, _) = place.centres[box], place.sizes[box]
    return x + width / 2 if leaves else x - width / 2, y


def _parts(
    pictures: Pictures,
    view: View,
    drawing: Drawing,
    bend: Bend,
    color: Colour,
    longest: float,
) -> Iterator[_Part]:
    """What takes the place of the folds that a picture has open, then of those that are closed."""
    folding = pictures.folding
    opened = pictures.opened(pictures.at_first())
    looks = drawing["direction"], color, view.scale
    across = {arrow.key for arrow in view.arrows if arrow.id in bend.across}

    for n, fold in enumerate(opened):  # outer ones first
        if fold is not folding.root:
            values = {*fold.values}
            outside = (other for other in opened[n + 1 :] if other.values[0] not in values)
            rest = [*opened[:n], *outside]
            yield _shut(fold, across, *pictures.with_open(rest, *looks))

    called = dict(_calls(pictures, view, drawing, across))
    pending = deque((fold, opened, view, drawing, across) for fold in _closed(opened))
    count = total = 0
    least = math.inf  # parts of a fold for which there was no room
    while pending and count < MOST:
        fold, around, outer, before, level = pending.popleft()
        if len(fold.parts) >= least:
            continue
        now = [*around, fold]
        inner, after = pictures.with_open(now, *looks)
        part = _inside(fold, level, outer, before, inner, after)
        more = length(len(part.view.boxes), ends(part.view))
        if more > LONG:
            continue
        if total + more > longest:
            least = len(fold.parts)
            continue
        total, count = total + more, count + 1
        yield part
        level = {*part.across}
        pending += ((below, now, inner, after, level) for below in _closed([fold], now))
        called = dict(_calls(pictures, inner, after, level)) | called
    for seen in [*called.values()][:CALLS]:
        try:
            part = _call(pictures, *seen)
        except TraceError:  # (a derivative rule of its own)
            continue
        if len(part.view.boxes) <= SCREEN:
            yield part


def _calls(
    pictures: Pictures, view: View, drawing: Drawing, across: Collection[int]
) -> Iterator[tuple[str, _Seen]]:
    """The calls that a picture shows closed, by their keys."""
    for box, key in drawing["closed"].items():
        if key in pictures.keys:
            yield key, (box, view, drawing, across)


def _call(
    pictures: Pictures, box: int, outer: View, before: Drawing, across: Collection[int]
) -> _Part:
    """What is in a library's call."""
    key = before["closed"][box]
    call = pictures.keys[key]
    graph = pictures.folding.graph
    owner = {u: f"n{_box_in(before, u)}" for u in graph.operands[call.i]}
    view = calls.opened(outer, f"n{box}", call, owner)
    view = worded(view, output_name(graph.table))
    inner = {int(b.id[1:]) for b in view.boxes if int(b.id[1:]) < 0}
    hidden = _values_in(before, {f"n{box}"})
    fold = _Opened(key, call.heading, sorted({*inner, *hidden, box}))
    after: Drawing = {
        **before,
        "folded": [shut for shut in before["folded"] if shut != key],
        "closed": {n: shut for n, shut in before["closed"].items() if n != box},
        "frames": {},
    }
    return _inside(fold, across, outer, before, view, after)


def _box_in(drawing: Drawing, i: int) -> int:
    return next((box for first, last, box in drawing["inside"] if first <= i <= last), i)


def _closed(within: Iterable[Fold], opened: Iterable[Fold] = ()) -> list[Fold]:
    opened = {*opened, *within}
    seen = (part for fold in within for part in fold.folds)
    return [part for part in seen if part not in opened and is_listed(part)]


def _shut(fold: Fold, across: Collection[int], view: View, drawing: Drawing) -> _Part:
    """Its box, with the edges that lead to it as they look then."""
    box = _box_of(fold, drawing)
    [card] = [replace(b, scope=()) for b in view.boxes if b.id == f"n{box}"]
    ports: dict[str, Box] = {}
    arrows: list[Arrow] = []
    edges: dict[str, int] = {}
    level: dict[int, tuple[str, bool]] = {}
    for arrow in view.arrows:
        if card.id in (arrow.tail, arrow.head):
            leaves = arrow.tail == card.id
            if arrow.key in across:
                level[arrow.key] = card.id, leaves
                continue
            port = _port("exit" if leaves else "entry", arrow.key)
            ports[port.id], edges[port.id] = port, arrow.key
            near: dict[str, Any] = {"head": port.id} if leaves else {"tail": port.id}
            arrows.append(replace(arrow, **near))
    boxes = (card, *ports.values())
    own = replace(view, boxes=boxes, arrows=tuple(arrows), bend=None)
    told = {box: fold.key}
    closed: Drawing = {**_within(fold, drawing), "closed": told, "frames": {}}
    return _Part(fold, own, closed, edges, level)


def _port(kind: str, edge: int) -> Box:
    return Box(f"{kind}{edge}", "", kind)


def _inside(
    fold: Fold | _Opened,
    across: Collection[int],
    outer: View,
    before: Drawing,
    view: View,
    drawing: Drawing,
) -> _Part:
    """What is in a fold, with a port for each edge that leads to its box where that is closed."""
    values = set(fold.values)
    heading = _heading(fold, view, drawing)
    inner = {b.id: replace(b, scope=(heading,)) for b in view.boxes if int(b.id[1:]) in values}
    box = f"n{_box_of(fold, before)}"
    known: dict[tuple[str, str], list[int]] = {}
    for arrow in outer.arrows:
        known.setdefault((arrow.tail, arrow.head), []).append(arrow.key)

    arrows: list[Arrow] = []
    crossing: list[tuple[Arrow, int]] = []
    for arrow in view.arrows:
        ends = arrow.tail in inner, arrow.head in inner
        if all(ends):
            arrows.append(arrow)
        elif any(ends):
            edges = known.get((box, arrow.head) if ends[0] else (arrow.tail, box), [])
            if edges:  # else it is not drawn there
                crossing.append((arrow, arrow.key if arrow.key in edges else edges[0]))
    ports: dict[str, Box] = {}
    numbers: dict[str, int] = {}
    level: dict[int, tuple[str, bool]] = {}
    count = Counter(edge for _, edge in crossing)
    for arrow, edge in crossing:
        leaves = arrow.tail in inner
        if edge in across and count[edge] == 1:
            level[edge] = arrow.tail if leaves else arrow.head, leaves
            continue
        port = _port("exit" if leaves else "entry", edge)
        ports[port.id], numbers[port.id] = port, edge
        tail, head = (arrow.tail, port.id) if leaves else (port.id, arrow.head)
        plain: dict[str, Any] = dict(symbol="", formula=None, number="", room="")
        arrows.append(replace(arrow, tail=tail, head=head, **plain))
    boxes = (*inner.values(), *ports.values())
    own = replace(view, boxes=boxes, arrows=tuple(arrows), bend=None)
    told: Drawing = {**_within(fold, drawing), "frames": {heading: fold.key}}
    return _Part(fold, own, told, numbers, level)


def _heading(fold: Fold | _Opened, view: View, drawing: Drawing) -> str:
    """That of its frame."""
    for box in view.boxes:
        for depth in range(len(box.scope), 0, -1):
            if drawing["frames"].get("/".join(box.scope[:depth])) == fold.key:
                return box.scope[depth - 1]
    return fold.title


def _box_of(fold: Fold | _Opened, drawing: Drawing) -> int:
    return next(box for box, key in drawing["closed"].items() if key == fold.key)


def _within(fold: Fold | _Opened, drawing: Drawing) -> Drawing:
    """What of a picture is said of what is in a fold."""
    values = set(fold.values)
    closed = {box: key for box, key in drawing["closed"].items() if box in values}
    keys = {fold.key, *(part.key for part in fold.folds), *closed.values()}
    below = {inner.key for part in fold.folds for inner in part.folds}
    return {
        **drawing,
        "folded": sorted((keys | below) & {*drawing["folded"]}),
        "scopes": [key for key in drawing["scopes"] if key in keys],
        "inside": [run for run in drawing["inside"] if run[0] in values],
        "closed": closed,
    }


def _runs(values: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for i in values:
        if runs and runs[-1][1] == i - 1:
            runs[-1] = runs[-1][0], i
        else:
            runs.append((i, i))
    return runs
