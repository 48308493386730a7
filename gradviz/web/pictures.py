"""The pictures of a page: which folds it brings along closed; Views whose numbers may change."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz import words
from gradviz.chain.fold import Fold, values_of
from gradviz.chain.folding import LONG, SCREEN, Folding
from gradviz.chain.parts import ROW
from gradviz.chain.totals import Tally
from gradviz.highlight import Highlight
from gradviz.language import say, speaking
from gradviz.options import Colour
from gradviz.show import heat
from gradviz.show.overview import view_of
from gradviz.show.svg import to_svg
from gradviz.show.view import (
    Arrow,
    Box,
    View,
    arrow_of,
    box_of,
    description,
    output_name,
)
from gradviz.show.view import Row as CardRow
from gradviz.statistics import norm

from .wire import (
    Drawing,
)

if TYPE_CHECKING:
    from gradviz.graph import Graph

MOST = 320  # of so many boxes only scopes fold: then each edge keeps an arrow of its own
LENGTH = 4 * LONG  # so long are the edges of all pictures that a page brings along
VALUE_ROOM, LOCAL_ROOM = "−0.00012345", "−0.0000"  # what most numbers fit in as they change


@speaking("en")  # the module says it in the reader's language
def drawing(
    graph: Graph,
    folded: Iterable[str] = (),
    direction: str = "LR",
    detail: str | None = None,
    engine: str = "auto",
    color: Colour = "auto",
) -> Drawing:
    """The picture with some folds closed; ``inside`` says which box holds a hidden node.

    Parameters
    ----------
    graph : Graph
    folded : iterable of str
        The keys of closed folds (see `gradviz.chain.folding`): of a graph of a page's size scopes,
        their parts joined with "/". What is then seen closed, and what lies below it, joins them
        in ``folded``; all folds that are seen are in ``scopes``.
    direction : {"LR", "TB"}
    detail : {"names", "operations"}, optional
    engine : str
    color : str, mapping or callable, optional
        As in `Graph.draw`.
    """
    return drawings(graph, [folded], direction, detail, engine, color)[0]


def drawings(
    graph: Graph,
    kept: Iterable[Iterable[str]],
    direction: str = "LR",
    detail: str | None = None,
    engine: str = "auto",
    color: Colour = "auto",
    theme: str = "light",
) -> list[Drawing]:
    """Several pictures: the engine is a process of its own, and lays out some side by side."""
    folding = _folding(graph, detail)
    prepared = [_unpainted(folding, folded, direction, color) for folded in kept]
    painted = partial(to_svg, theme=theme, engine_name=engine, live=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        spoken = [copy_context() for _ in prepared]  # a thread has no language of its own
        views = [view for view, _ in prepared]
        pictures = workers.map(lambda context, view: context.run(painted, view), spoken, views)
        return [{**d, "svg": svg} for (_, d), svg in zip(prepared, pictures, strict=True)]


def _unpainted(
    folding: Folding, folded: Iterable[str], direction: str, color: Colour
) -> tuple[View, Drawing]:
    opened, closed = _state(folding, folded)
    view, inside = _live(folding, opened, direction, color)
    cut = folding.cut(opened)
    boxes = {box.id: box for box in view.boxes}
    owner = {i: boxes[f"n{inside.get(i, i)}"] for part, _ in cut for i in values_of(part)[:1]}
    frames: dict[str, str] = {}
    for part, around in cut:
        scope = owner[values_of(part)[0]].scope
        for depth in range(1, len(scope) + 1 if around else 0):
            frames.setdefault("/".join(scope[:depth]), around[min(depth, len(around)) - 1].key)
    return view, {
        "svg": "",
        "folded": sorted(closed),
        "scopes": [p.key for fold in opened for p in fold.folds if p in opened or _is_listed(p)],
        "inside": inside,
        "closed": {
            int(owner[part.values[0]].id[1:]): part.key for part, _ in cut if isinstance(part, Fold)
        },
        "frames": frames,
    }


def _is_listed(fold: Fold) -> bool:
    """Whether a closed fold is more than one operation, so that one looks for what is in it."""
    return not fold.folding.layered or (fold.main is None and len(fold.steps) > 1)


def folds(graph: Graph, detail: str | None = None, most: int = 16) -> list[tuple[str, ...]]:
    """The foldings that a page brings along, the first one first.

    Every combination, or those that matter most: all open, all closed, one closed; of a large graph
    the first one, and one more open. All together they can be laid out soon.
    """
    folding, first = _folding(graph, detail), at_first(graph, detail)
    kept: list[tuple[str, ...]] = []
    length = 0
    for folded in _wanted(folding, first, most):
        more = folding.length(_state(folding, folded)[0])
        if not kept or (folded not in kept and length + more <= LENGTH):
            kept.append(folded)
            length += more
    return kept[:most]


def _wanted(folding: Folding, first: tuple[str, ...], most: int) -> list[tuple[str, ...]]:
    if not folding.scopes:
        seen = [part for fold in _state(folding, first)[0] for part in fold.folds]
        opening = [part.key for part in seen if part.key in first and _is_listed(part)][: most - 1]
        for key in opening:  # what they bring to light is closed in all
            first = tuple(sorted(_state(folding, {*first} - {key})[1] | {key}))
        return [first, *(tuple(k for k in first if k != key) for key in opening)]
    keys = _keys(folding)
    if 2 ** len(keys) <= most:
        sizes = range(len(keys) + 1)
        every = (tuple(c) for n in sizes for c in itertools.combinations(sorted(keys), n))
        return [first, *every]
    outer = tuple(sorted(fold.key for fold in folding.root.folds))
    return [first, (), outer, *((key,) for key in keys)]


def at_first(graph: Graph, detail: str | None = None) -> tuple[str, ...]:
    """What is folded at first: nothing, the outer scopes, or what keeps it on a screen."""
    folding = _folding(graph, detail)
    return tuple(sorted(_closed(_opened_at_first(folding), folding)))


def _folding(graph: Graph, detail: str | None) -> Folding:
    """The folds of a page: only scopes, unless the first picture would be too hard to lay out."""
    shown = graph.detailed(detail)
    if len(shown) <= MOST and not shown.layers:
        folding = Folding(shown, scopes=True)
        if folding.length(_opened_at_first(folding)) <= LONG:
            return folding
    return Folding(shown)


def _opened_at_first(folding: Folding) -> list[Fold]:
    if not folding.scopes:
        return folding.opened()
    if len(folding.graph) > folding.graph.legible:
        return [folding.root]
    return folding.unless((), MOST)


def scopes(graph: Graph, detail: str | None = None) -> list[str]:
    """All scopes, outer ones first; of a large graph the folds that are seen at first."""
    return _keys(_folding(graph, detail))


def _keys(folding: Folding) -> list[str]:
    opened = folding.unless((), MOST) if folding.scopes else folding.opened()
    found = [part for fold in opened for part in fold.folds]
    return [fold.key for fold in sorted(found, key=lambda fold: (fold.depth, fold.key))]


def _state(folding: Folding, folded: Iterable[str]) -> tuple[list[Fold], set[str]]:
    """The folds to open, and the keys of those that are closed.

    A fold that is opened shows the folds in it closed: those below what is seen are closed too.
    """
    opened = folding.unless(folded, MOST if folding.scopes else 3 * SCREEN)
    return opened, {*folded} if folding.scopes else {*folded} | _closed(opened, folding)


def _closed(opened: Sequence[Fold], folding: Folding) -> set[str]:
    """What is seen closed and, of a large graph, the folds right below it."""
    seen = [part for fold in opened for part in fold.folds if part not in opened]
    below = [] if folding.scopes else [inner for part in seen for inner in part.folds]
    return {part.key for part in seen + below}


def _live(
    folding: Folding, opened: Sequence[Fold], direction: str, color: Colour
) -> tuple[View, dict[int, int]]:
    """A View whose numbers have room to change, with arrows keyed by the number of their edge.

    A fold has the numbers of the last value in it that something outside reads.
    """
    if folding.layered:
        return _layered(folding, opened, direction, color)
    # Long: boxes and arrows share the numbers that the page knows them by.
    graph, table = folding.graph, folding.graph.table
    cut = folding.cut(opened)
    owner = [0] * len(graph)
    for n, (part, _) in enumerate(cut):
        for i in part.values if isinstance(part, Fold) else (part,):
            owner[i] = n
    last = {owner[graph.output]: graph.output}
    for u, v, _ in graph.edges():
        if owner[u] != owner[v]:
            last[owner[u]] = max(last.get(owner[u], 0), u)
    boxes: list[Box] = []
    inside: dict[int, int] = {}
    ids: dict[int, str] = {}
    for n, (part, around) in enumerate(cut):
        i = part if isinstance(part, int) else last.get(n, part.values[-1])
        box = box_of(f"n{i}", i, table, Highlight(), output_name(table))
        scope = box.scope
        if isinstance(part, Fold):
            inside |= {v: i for v in part.values if v != i}
            tag = say("{n} folded", n=len(part.values))
            box = replace(box, name=part.title, kind="fold", tag=tag, expression=box.name)
            scope = tuple(fold.name for fold in around)
        if not folding.scopes:
            scope = tuple(fold.title for fold in around)
        rows = tuple(_with_room(row, graph.values[i].value) for row in box.rows)
        boxes.append(replace(box, tooltip="", rows=rows, scope=scope))
        ids |= dict.fromkeys(part.values if isinstance(part, Fold) else (part,), box.id)
    arrows = []
    known: set[tuple[int, int]] = set()
    for number, (u, v, key) in enumerate(graph.edges()):
        ends = owner[u], owner[v]
        if ends[0] == ends[1]:
            continue
        if folding.scopes or not any(isinstance(cut[n][0], Fold) for n in ends):
            arrow = arrow_of(table, table.incoming[v][key], Highlight(), ids)
        elif ends in known:
            continue
        else:
            known.add(ends)
            arrow = Arrow(ids[u], ids[v])
        arrows.append(
            replace(arrow, key=number, tooltip="", room=LOCAL_ROOM if arrow.number else "")
        )
    held = {box.id: values_of(part) for box, (part, _) in zip(boxes, cut, strict=True)}
    boxes.sort(key=lambda box: int(box.id[1:]))
    arrows.sort(key=lambda arrow: (int(arrow.head[1:]), int(arrow.tail[1:])))
    view = View(tuple(boxes), tuple(arrows), description=description(table), direction=direction)
    if color := heat.wanted(color, False):
        tally = Tally(graph, [part for part, _ in cut])
        every = list(graph.edges())
        ways = {a.id: (owner[every[a.key][0]], owner[every[a.key][1]]) for a in arrows}
        norms = {i: tally.bundles[ends].norm for i, ends in ways.items()}
        if folding.scopes:  # an arrow for each edge
            messages = tally.messages
            sent = {a.id: messages.get(every[a.key][1:]) for a in arrows}
            norms = {i: None if m is None else norm(m) for i, m in sent.items()}
        flows = {i: size for i, size in norms.items() if size is not None}
        view = heat.of_parts(graph, view, color, tally, held, flows)
    return view, inside


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
    folding: Folding, opened: Sequence[Fold], direction: str, color: Colour
) -> tuple[View, dict[int, int]]:
    """The same of a model, whose boxes are layers and whose numbers do not change."""
    graph = folding.graph
    view = view_of(graph, folding, opened, Highlight(), color)
    cut = [part for part, _ in folding.cut(opened)]
    inside: dict[int, int] = {}
    owner = dict[int, str]()
    for part, box in zip(cut, view.boxes, strict=True):
        values = part.values if isinstance(part, Fold) else [part]
        owner |= dict.fromkeys(values, box.id)
        inside |= {v: int(box.id[1:]) for v in values if box.id != f"n{v}"}
    first: dict[tuple[str, str], int] = {}
    for number, (u, v, _) in enumerate(graph.edges()):
        first.setdefault((owner[u], owner[v]), number)
    arrows = [replace(a, key=first[a.tail, a.head], tooltip="") for a in view.arrows]
    boxes = [replace(box, tooltip="") for box in view.boxes]
    boxes.sort(key=lambda box: int(box.id[1:]))
    arrows.sort(key=lambda arrow: (int(arrow.head[1:]), int(arrow.tail[1:])))
    down = "TB" if folding.row(opened) >= ROW else direction
    return replace(view, boxes=tuple(boxes), arrows=tuple(arrows), direction=down), inside
