"""What is sent to the page and the widget: a graph's structure, numbers, steps and program.

Everything is plain JSON (`gradviz.web.wire` has its types). The structure is sent once; `numbers`
is what changes when a leaf does. Formulas are nested lists (`gradviz.ops.mathml`) beside their
LaTeX, labels are strings: the module that shows them makes elements and texts of them, and reads no
markup but the picture's.
"""

from __future__ import annotations

import ast
import itertools
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradviz import words
from gradviz.chain.backward import state
from gradviz.chain.fold import Fold, values_of
from gradviz.chain.folding import LONG, ROW, SCREEN, Folding
from gradviz.chain.totals import Tally
from gradviz.errors import TraceError
from gradviz.highlight import Highlight
from gradviz.model import CONSTANT, PARAMETER
from gradviz.ops import notation, tex
from gradviz.ops.mathml import mathml, symbol
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
from gradviz.statistics import Statistics, measure, norm

from .cells import heat_map, side
from .program import program_of, scalar
from .wire import (
    Drawing,
    Formula,
    GradientState,
    Kind,
    Numbers,
    Program,
    Quantity,
    Shown,
    Step,
    Story,
    StoryEdge,
    StoryNode,
)

if TYPE_CHECKING:
    from gradviz.graph import Graph

MOST = 320  # of so many boxes only scopes fold: then each edge keeps an arrow of its own
IN_FULL = 2000  # of so many values all formulas are sent; of more those of what can be seen
LENGTH = 4 * LONG  # so long are the edges of all pictures that a page brings along
VALUE_ROOM, LOCAL_ROOM = "−0.00012345", "−0.0000"  # what most numbers fit in as they change


# --- the structure -------------------------------------------------------------------------------


def story(graph: Graph, detail: str | None = None, told: Collection[int] | None = None) -> Story:
    """The structure of a Graph: nodes, edges, the steps of both passes, its program.

    Parameters
    ----------
    graph : Graph
    detail : {"names", "operations"}, optional
        As in `Graph.draw`.
    told : collection of int, optional
        The values whose formulas and sources are sent; default: all.
    """
    shown = graph.detailed(detail)
    told = range(len(shown)) if told is None else told
    program: Program | None = None
    refusal = ""
    try:
        program = program_of(graph, shown)
    except TraceError as error:
        refusal = str(error)
    return {
        "title": words.clean(graph.title),
        "output": shown.output,
        "nodes": [_node(shown, i, i in told) for i in range(len(shown))],
        "edges": [_edge(shown, u, v, key, v in told) for u, v, key in edges(shown)],
        "steps": steps(shown),
        "scopes": _keys(_folding(graph, detail)),
        "moving": sorted(i for i in shown.wrt if shown.values[i].operation is PARAMETER)
        or sorted(shown.wrt),
        "program": program,
        "refusal": refusal,
        "untold": sum(i not in told and not shown.is_leaf(i) for i in range(len(shown))),
    }


def edges(graph: Graph) -> list[tuple[int, int, int]]:
    """The edges (u, v, operand's position); everywhere here an edge is its number in this list."""
    return [(u, v, key) for v, us in enumerate(graph.operands) for key, u in enumerate(us)]


def _node(graph: Graph, i: int, told: bool) -> StoryNode:
    node = graph.values[i]
    source, expression = (graph.source(i), graph.expression(i)) if told else (None, None)
    return {
        "id": graph.names[i],
        "name": words.clean(graph.names[i]),
        "label": _name(graph.names[i]),
        "kind": cast(Kind, "output" if i == graph.output else graph.kind(i)),
        "shape": words.shape(node.value),
        "dtype": str(getattr(node.value, "dtype", type(node.value).__name__)),
        "scope": ["/".join(node.scope[:depth]) for depth in range(1, len(node.scope) + 1)],
        "source": words.clean(source.place) if source else "",
        "expression": _formula(expression),
        "computed": not graph.is_leaf(i),
        "wrt": i in graph.wrt,
        "leaf": graph.is_leaf(i) and node.operation is not CONSTANT,
    }


def _edge(graph: Graph, u: int, v: int, key: int, told: bool) -> StoryEdge:
    derivative = graph.derivative(v, key) if told else None
    carries = graph.values[v].operation.rule(key) is not None
    arrays = np.ndim(graph.values[u].value) or np.ndim(graph.values[v].value)
    vjp: Formula | None = None
    if told and carries and (derivative is None or arrays):
        upstream = notation.adjoint(graph.names[v])
        one = notation.number(1)
        vjp = _formula(graph.message(v, key, one if v == graph.output else upstream))
    return {
        "u": u,
        "v": v,
        "key": key,
        "alone": graph.alone(v, key),
        "carries": carries or derivative is not None,
        "derivative": _formula(derivative),
        "vjp": vjp,
    }


def _name(name: str) -> Formula:
    return {"math": symbol(name), "tex": tex.symbol(name)}


def _formula(tree: ast.expr | None) -> Formula | None:
    return None if tree is None else {"math": mathml(tree), "tex": tex.formula(tree, r" \cdot ")}


def steps(graph: Graph) -> list[Step]:
    """Both passes, one event after the other.

    ``["given"]``: the leaves have their values; ``["value", node]``; ``["seed", node]``: ∂J/∂J;
    ``["message", edge]``; ``["done"]``.
    """
    found: list[Step] = [["given"]]
    found += [["value", i] for i in range(len(graph)) if not graph.is_leaf(i)]
    number = {(v, key): n for n, (_, v, key) in enumerate(edges(graph))}
    messages = _messages(graph)
    if messages:
        found.append(["seed", graph.output])
    for v in range(graph.output, -1, -1):
        for key in range(len(graph.operands[v])):
            if (v, key) in messages:
                found.append(["message", number[v, key]])
    return [*found, ["done"]]


def _messages(graph: Graph) -> Mapping[tuple[int, int], Any]:
    try:
        return graph.derivatives.messages
    except TraceError:
        return {}


# --- the numbers ---------------------------------------------------------------------------------


def numbers(graph: Graph, detail: str | None = None) -> Numbers:
    """All that changes with a leaf: values, gradients and their states; locals and messages."""
    shown = graph.detailed(detail)
    trouble = ""
    try:
        derivatives = shown.derivatives
        gradients, messages = derivatives.gradients, derivatives.messages
        states = [cast(GradientState, state(shown, i)) for i in range(len(shown))]
    except TraceError as error:
        gradients, messages, trouble = {}, {}, str(error)
        states = ["not computed"] * len(shown)
    arrays = [node.value for node in shown.values]
    most = side([*arrays, *(gradients[i] for i in range(len(shown)) if i in gradients)])
    return {
        "values": [quantity(value, most) for value in arrays],
        "grads": [
            quantity(gradients[i], most) if i in gradients else None for i in range(len(shown))
        ],
        "states": states,
        "locals": [_local(shown, v, key) for _, v, key in edges(shown)],
        "messages": [
            quantity(messages[v, key]) if (v, key) in messages else None
            for _, v, key in edges(shown)
        ],
        "trouble": trouble,
    }


def _local(graph: Graph, v: int, key: int) -> Quantity | None:
    local = graph.local(v, key)
    if local is None or not np.shape(local):
        return None if local is None else quantity(local)
    shown = quantity(local)
    return {**shown, "short": words.local(local)} if isinstance(shown, dict) else shown


def quantity(value: Any, most: int = 0) -> Quantity:
    """A number as a number (what JSON lacks as text), anything else as what is shown of it.

    Of an array a heat map of at most `most` cells in a row, too.
    """
    single = value.mean if isinstance(value, Statistics) else value
    if np.ndim(value) == 0 and np.asarray(single).dtype.kind in "fiub":
        return scalar(single)
    size = measure(value).norm
    texts, lines = words.cells(value), words.entries(value)
    shown: Shown = {
        "cells": list(itertools.chain.from_iterable(lines)) or list(texts),
        "full": words.full(value),
        "shape": words.shape(value),
        "norm": size if math.isfinite(size) else "NaN",
    }
    if lines:
        return {**shown, "listed": texts[0]}
    heat = heat_map(value, most)
    return shown if heat is None else {**shown, "heat": heat}


# --- the picture ---------------------------------------------------------------------------------


def drawing(
    graph: Graph,
    folded: Iterable[str] = (),
    direction: str = "LR",
    detail: str | None = None,
    engine: str = "auto",
    color: heat.Colour = "auto",
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
    color: heat.Colour = "auto",
) -> list[Drawing]:
    """Several pictures: the engine is a process of its own, and lays out some side by side."""
    folding = _folding(graph, detail)
    prepared = [_unpainted(folding, folded, direction, color) for folded in kept]
    painted = partial(to_svg, engine_name=engine, live=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        pictures = workers.map(painted, [view for view, _ in prepared])
        return [{**d, "svg": svg} for (_, d), svg in zip(prepared, pictures, strict=True)]


def _unpainted(
    folding: Folding, folded: Iterable[str], direction: str, color: heat.Colour
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
    scopes = _keys(folding)
    if 2 ** len(scopes) <= most:
        sizes = range(len(scopes) + 1)
        every = (tuple(c) for n in sizes for c in itertools.combinations(sorted(scopes), n))
        return [first, *every]
    outer = tuple(sorted(fold.key for fold in folding.root.folds))
    return [first, (), outer, *((scope,) for scope in scopes)]


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


def _keys(folding: Folding) -> list[str]:
    """All scopes, outer ones first; of a large graph the folds that are seen at first."""
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
    folding: Folding, opened: Sequence[Fold], direction: str, color: heat.Colour
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
            box = replace(box, name=part.title, kind="fold", tag=f"{len(part.values)} folded",
                          expression=box.name)  # fmt: skip
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
    folding: Folding, opened: Sequence[Fold], direction: str, color: heat.Colour
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
