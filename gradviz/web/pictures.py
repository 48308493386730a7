"""The pictures of a page: which folds it brings along closed; Views whose numbers may change."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz import words
from gradviz.chain.fold import Fold, values_of
from gradviz.chain.folding import SCREEN, Folding, is_large
from gradviz.chain.inside import alone, calls_of
from gradviz.chain.parts import ROW
from gradviz.chain.totals import Tally
from gradviz.highlight import Highlight
from gradviz.language import in_every_language, say, speaking
from gradviz.options import Colour
from gradviz.show import heat
from gradviz.show.drawing import framed
from gradviz.show.layout import Layout
from gradviz.show.overview import view_of
from gradviz.show.svg import paint, placed
from gradviz.show.view import (
    Arrow,
    Box,
    Scale,
    View,
    arrow_of,
    box_of,
    description,
    direction_of,
    output_name,
)
from gradviz.show.view import Row as CardRow
from gradviz.statistics import norm

from .wire import (
    Drawing,
)

if TYPE_CHECKING:
    from gradviz.graph import Graph

VALUE_ROOM, LOCAL_ROOM = "−0.00012345", "−0.0000"  # what most numbers fit in as they change


@speaking("en")  # the module says it in the reader's language
def drawing(
    graph: Graph,
    folded: Iterable[str] = (),
    direction: str | None = None,
    detail: str | None = None,
    color: Colour = "auto",
) -> Drawing:
    """The picture of a graph with some folds closed, see `Pictures.drawings`."""
    return Pictures(graph, detail).drawings([folded], direction, color)[0]


class Pictures:
    """The pictures of a graph in a page: one folding, opened here and there.

    Parameters
    ----------
    graph : Graph
    detail : {"names", "operations"}, optional
        As in `Graph.draw`.
    closed : bool
        Whether a library's calls have no inside here.

    Attributes
    ----------
    calls : dict of int to Call
        Those that open as folds do, by the ids of their results.
    keys : dict of str to Call
        The same by their keys.
    """

    def __init__(self, graph: Graph, detail: str | None = None, closed: bool = False) -> None:
        shown = graph.detailed(detail)
        # Of what is drawn whole only scopes fold: then each edge keeps an arrow of its own.
        self.folding = Folding(shown, scopes=not is_large(shown))
        self.calls = {} if closed else calls_of(shown)
        self.keys = {one.key: one for one in self.calls.values()}
        self._known: dict[Any, tuple[View, Drawing, Any, Any]] = {}
        self._ids: dict[Fold, np.ndarray[Any, Any]] = {}

    @cached_property
    def first(self) -> list[Fold]:
        """The folds that are open at first."""
        return _state(self.folding, ())[0] if self.folding.scopes else self.folding.opened()

    @cached_property
    def ends(self) -> np.ndarray[Any, Any]:
        """The edges: ids of their operands, ids of their readers, positions of the operands."""
        return np.array(list(self.folding.graph.edges()), int).reshape(-1, 3).T

    def _places(self, part: int | Fold) -> Any:
        """The ids of what is in a part: of a long loop they take longer to list than to keep."""
        if isinstance(part, int):
            return part
        if part not in self._ids:
            self._ids[part] = np.array(part.values)
        return self._ids[part]

    def drawings(
        self,
        kept: Iterable[Iterable[str]],
        direction: str | None = None,
        color: Colour = "auto",
        engine: str = "auto",
        theme: str = "light",
    ) -> list[Drawing]:
        """Some pictures: the engine is a process of its own, and lays out several side by side.

        Parameters
        ----------
        kept : iterable of iterables of str
            Of each picture the keys of closed folds (see `gradviz.chain.folding`): of a graph of a
            page's size scopes, their parts joined with "/". What is then seen closed, and what lies
            below it, joins them in ``folded``; all folds that are seen are in ``scopes``.
        direction : {"LR", "TB"}, optional
            Default: from left to right, if the rows are not too long for that.
        color : str, mapping or callable, optional
            As in `Graph.draw`.
        engine, theme : str
        """
        prepared = [self.unpainted(folded, direction, color) for folded in kept]
        painted = partial(self.painted, theme=theme, engine_name=engine)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
            spoken = [copy_context() for _ in prepared]  # a thread has no language of its own
            found = workers.map(lambda context, one: context.run(painted, *one), spoken, prepared)
            return list(found)

    @staticmethod
    def painted(
        view: View,
        drawing: Drawing,
        theme: str = "light",
        engine_name: str = "auto",
        place: Layout | None = None,
    ) -> Drawing:
        """A picture, laid out and painted."""
        place = place or placed(view, engine_name, live=True)
        return {**drawing, "svg": paint(view, theme, place, live=True), "cuts": list(place.cuts)}

    def opened(self, folded: Iterable[str]) -> list[Fold]:
        """The folds that are open where these are closed, outer ones first."""
        return _state(self.folding, folded)[0]

    def unpainted(
        self, folded: Iterable[str], direction: str | None, color: Colour
    ) -> tuple[View, Drawing]:
        """A picture that is not laid out yet."""
        view, drawing = self.with_open(self.opened(folded), direction, color)
        called = self.keys.keys() & {*drawing["closed"].values()}
        return view, {**drawing, "folded": sorted(_state(self.folding, folded)[1] | called)}

    def with_open(
        self,
        opened: Sequence[Fold],
        direction: str | None,
        color: Colour,
        scale: Scale | None = None,
    ) -> tuple[View, Drawing]:
        """The same with just these folds open, coloured on the scale of another one."""
        folding = self.folding
        key = (*opened, id(color), id(scale))
        if key not in self._known:  # (the last two are kept, so that they have their ids alone)
            self._known[key] = *self._in_no_direction(opened, color, scale), color, scale
        view, drawing, *_ = self._known[key]
        way = direction_of(direction, not folding.scopes and folding.row(opened) >= ROW)
        bend = view.bend if direction is None and way == "TB" else None
        told: Drawing = {**drawing, "direction": "TB" if way == "TB" else "LR"}
        return replace(view, direction=way, bend=bend), told

    def _in_no_direction(
        self, opened: Sequence[Fold], color: Colour, scale: Scale | None
    ) -> tuple[View, Drawing]:
        folding = self.folding
        cut = folding.cut(opened)
        part_of = np.zeros(len(folding.graph), int)
        for n, (part, _) in enumerate(cut):
            part_of[self._places(part)] = n
        view, ids = (_layered if folding.layered else _live)(self, opened, part_of, color, scale)
        scopes = {box.id: box.scope for box in view.boxes}
        owner = np.array([int(box[1:]) for box in ids])[part_of]
        shut: dict[int, str] = {}
        called: dict[str, str] = {}
        frames: dict[str, str] = {}
        for (part, around), box in zip(cut, ids, strict=True):
            if call := self.calls.get(alone(part)):
                shut[int(box[1:])] = call.key
                called[box] = call.key
            elif isinstance(part, Fold):
                shut[int(box[1:])] = part.key
            scope = scopes[box]
            for depth in range(1, len(scope) + 1 if around else 0):
                frames.setdefault("/".join(scope[:depth]), around[min(depth, len(around)) - 1].key)
        boxes = tuple(replace(b, opens=True) if b.id in called else b for b in view.boxes)
        return worded(replace(view, boxes=boxes), output_name(folding.graph.table)), {
            "svg": "",
            "direction": "LR",
            "folded": sorted(_closed(opened, folding) | {*called.values()}),
            "scopes": [p.key for f in opened for p in f.folds if p in opened or is_listed(p)]
            + [*called.values()],
            "inside": _runs(owner),
            "closed": shut,
            "sealed": [],
            "frames": frames,
            "cuts": [],
        }

    def at_first(self) -> tuple[str, ...]:
        """What is folded at first: nothing, the outer scopes, or what keeps it on a screen."""
        seen = (self.calls.get(alone(part)) for part, _ in self.folding.cut(self.first))
        called = {call.key for call in seen if call}
        return tuple(sorted(_closed(self.first, self.folding) | called))

    def scopes(self) -> list[str]:
        """All scopes, outer ones first; of a large graph the folds that are seen at first."""
        found = [part for fold in self.first for part in fold.folds]
        return [fold.key for fold in sorted(found, key=lambda fold: (fold.depth, fold.key))]


def is_listed(fold: Fold) -> bool:
    """Whether a closed fold is more than one operation, so that one looks for what is in it."""
    return not fold.folding.layered or (fold.main is None and len(fold.steps) > 1)


def _runs(owner: np.ndarray[Any, Any]) -> list[tuple[int, int, int]]:
    """The hidden values: the first and the last of a run that is in one box, and that box."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()
    runs = zip(starts, [*starts[1:], len(owner)], strict=True)
    found = [(first, end - 1, int(owner[first])) for first, end in runs]
    return [run for run in found if run != (run[2], run[2], run[2])]


def _state(folding: Folding, folded: Iterable[str]) -> tuple[list[Fold], set[str]]:
    """The folds to open, and the keys of those that are closed.

    A fold that is opened shows the folds in it closed: those below what is seen are closed too.
    """
    opened = folding.unless(folded, len(folding.graph) if folding.scopes else 3 * SCREEN)
    return opened, {*folded} if folding.scopes else {*folded} | _closed(opened, folding)


def _closed(opened: Sequence[Fold], folding: Folding) -> set[str]:
    """What is seen closed and, of a large graph, the folds right below it."""
    seen = [part for fold in opened for part in fold.folds if part not in opened]
    below = [] if folding.scopes else [inner for part in seen for inner in part.folds]
    return {part.key for part in seen + below}


def _live(
    pictures: Pictures,
    opened: Sequence[Fold],
    owner: np.ndarray[Any, Any],
    color: Colour,
    scale: Scale | None,
) -> tuple[View, list[str]]:
    """A View whose numbers have room to change, with arrows keyed by the number of their edge.

    And the ids of its boxes, in the order of the folding's parts.

    A fold has the numbers of the last value in it that something outside reads.
    """
    # Long: boxes and arrows share the numbers that the page knows them by.
    folding = pictures.folding
    graph, table = folding.graph, folding.graph.table
    cut = folding.cut(opened)
    tails, heads, keys = pictures.ends
    crossing = np.flatnonzero(owner[tails] != owner[heads])
    last = np.full(len(cut), -1)
    read = np.append(tails[crossing], graph.output)
    np.maximum.at(last, owner[read], read)
    boxes: list[Box] = []
    ids: list[str] = []
    for n, (part, around) in enumerate(cut):
        i = values_of(part)[-1] if last[n] < 0 else int(last[n])
        box = box_of(f"n{i}", i, table, Highlight(), output_name(table))
        scope = box.scope
        if isinstance(part, Fold):
            tag = say("{n} folded", n=len(part.values))
            box = replace(box, name=part.title, kind="fold", tag=tag, expression=box.name)
            scope = tuple(fold.name for fold in around)
        if not folding.scopes:
            scope = tuple(fold.title for fold in around)
        rows = tuple(_with_room(row, graph.values[i].value) for row in box.rows)
        boxes.append(replace(box, tooltip="", rows=rows, scope=scope))
        ids.append(box.id)
    arrows = []
    shut = np.array([isinstance(part, Fold) and not folding.scopes for part, _ in cut])
    ways = owner[tails[crossing]], owner[heads[crossing]]
    shown = ~(shut[ways[0]] | shut[ways[1]])  # an arrow for each edge; to a fold, one from a box
    shown[np.unique(ways[0] * len(cut) + ways[1], return_index=True)[1]] = True
    for number in crossing[shown].tolist():
        u, v, key = pictures.ends[:, number].tolist()
        tail, head = int(owner[u]), int(owner[v])
        if shut[tail] or shut[head]:
            arrow = Arrow(ids[tail], ids[head])
        else:
            places = {u: ids[tail], v: ids[head]}
            arrow = arrow_of(table, table.incoming[v][key], Highlight(), places)
        arrows.append(
            replace(arrow, key=number, tooltip="", room=LOCAL_ROOM if arrow.number else "")
        )
    held = {box.id: values_of(part) for box, (part, _) in zip(boxes, cut, strict=True)}
    boxes.sort(key=lambda box: int(box.id[1:]))
    arrows.sort(key=lambda arrow: (int(arrow.head[1:]), int(arrow.tail[1:])))
    view = View(tuple(boxes), tuple(arrows), description=description(table))
    if folding.scopes and len(cut) == len(graph):  # as in a picture of all values
        view = framed(graph, view)
    if color := heat.wanted(color, False):
        tally = Tally(graph, [part for part, _ in cut])
        ends = {a.id: (int(owner[tails[a.key]]), int(owner[heads[a.key]])) for a in arrows}
        norms = {i: tally.bundles[pair].norm for i, pair in ends.items()}
        if folding.scopes:  # an arrow for each edge
            messages = tally.messages
            sent = {a.id: messages.get((int(heads[a.key]), int(keys[a.key]))) for a in arrows}
            norms = {i: None if m is None else norm(m) for i, m in sent.items()}
        flows = {i: size for i, size in norms.items() if size is not None}
        view = heat.of_parts(graph, view, color, tally, held, flows, scale)
    return view, ids


def worded(view: View, target: str) -> View:
    """A View whose boxes are as wide as what they say of gradients in any language."""

    def told(row: CardRow) -> CardRow:
        if row.state in ("", "number", "non-finite"):
            return row
        said = in_every_language(lambda: say(words.STATES[row.state], J=target))
        return replace(row, words=tuple(said.values()))

    boxes = (replace(box, rows=tuple(map(told, box.rows))) for box in view.boxes)
    return replace(view, boxes=tuple(boxes))


def _with_room(row: CardRow, value: Any) -> CardRow:
    """A row whose numbers may change: words that stand there now have a small array's room."""
    lines = words.entries(value)
    if not lines:
        return replace(row, room=VALUE_ROOM if not np.ndim(value) else "0")
    if not row.across:
        blank = ("",) * (len(lines) * len(lines[0]) - 1)
        row = replace(row, cells=(*blank, *row.cells), across=len(lines[0]))
    return replace(row, room=LOCAL_ROOM)


def _layered(
    pictures: Pictures,
    opened: Sequence[Fold],
    owner: np.ndarray[Any, Any],
    color: Colour,
    scale: Scale | None,
) -> tuple[View, list[str]]:
    """The same of a model, whose boxes are layers and whose numbers do not change."""
    folding = pictures.folding
    graph = folding.graph
    view = view_of(graph, folding, opened, Highlight(), color, scale)
    tails, heads, _ = pictures.ends
    ids = [box.id for box in view.boxes]
    first: dict[tuple[str, str], int] = {}
    for number in np.flatnonzero(owner[tails] != owner[heads]).tolist():
        ends = ids[owner[tails[number]]], ids[owner[heads[number]]]
        first.setdefault(ends, number)
    known = {a.id: replace(a, key=first[a.tail, a.head], tooltip="") for a in view.arrows}
    arrows = [*known.values()]
    boxes = [replace(box, tooltip="") for box in view.boxes]
    boxes.sort(key=lambda box: int(box.id[1:]))
    arrows.sort(key=lambda arrow: (int(arrow.head[1:]), int(arrow.tail[1:])))
    bend = view.bend
    if bend:
        bend = bend._replace(across=frozenset(known[i].id for i in bend.across))
    return replace(view, boxes=tuple(boxes), arrows=tuple(arrows), bend=bend), ids


def sealed(drawn: Sequence[Drawing]) -> list[Drawing]:
    """All pictures of a page, each with the folds that it shows closed and that none opens."""
    opened = {key for picture in drawn for key in {*picture["scopes"]} - {*picture["folded"]}}

    def told(drawing: Drawing, opened: set[str]) -> Drawing:
        return {**drawing, "sealed": sorted({*drawing["closed"].values()} - opened)}

    found = []
    for picture in drawn:
        insides = picture.get("insides", {})
        known = opened | {*insides}
        own = told(picture, known)
        if insides:
            own["insides"] = {
                key: {**inside, "drawing": told(inside["drawing"], known)}
                for key, inside in insides.items()
            }
        found.append(own)
    return found


def visible(picture: Drawing, count: int) -> set[int]:
    """Which of so many values have a box of their own name, in it or what it opens into."""
    shown = set(range(count)) - _hidden(picture)
    for inside in picture.get("insides", {}).values():
        values = {i for first, last in inside["values"] for i in range(first, last + 1)}
        shown |= values - _hidden(inside["drawing"])
    return shown


def _hidden(picture: Drawing) -> set[int]:
    hidden = set[int]()
    for first, last, box in picture["inside"]:
        hidden |= {*range(first, last + 1)} - {box}
    return hidden
