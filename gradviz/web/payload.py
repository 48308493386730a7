"""What is sent to the page and the widget: a graph's structure, steps and numbers.

Everything is plain JSON (`gradviz.web.wire` has its types). The structure is sent once; `numbers`
is what changes when a leaf does. Formulas are nested lists (`gradviz.ops.mathml`) beside their
LaTeX, labels are strings: the module that shows them makes elements and texts of them, and reads no
markup but the picture's.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradviz import words
from gradviz.chain.backward import known_derivatives
from gradviz.errors import TraceError
from gradviz.language import speaking
from gradviz.model import CONSTANT, PARAMETER
from gradviz.ops import notation, tex
from gradviz.ops.mathml import mathml, symbol
from gradviz.statistics import Statistics, norm

from .cells import first, heat_map, scalar, side
from .pictures import Pictures
from .program import program_of
from .reasons import reason
from .refused import refusal_of
from .wire import (
    Formula,
    GradientState,
    Kind,
    Numbers,
    Program,
    Quantity,
    Shown,
    Step,
    Structure,
    StructureEdge,
    StructureNode,
)

if TYPE_CHECKING:
    from gradviz.graph import Graph

IN_FULL = 2000  # of so many values all formulas are sent; of more those of what can be seen
IN_NUMBERS = 20_000  # of so many the local derivatives, too


# --- the structure -------------------------------------------------------------------------------


@speaking("en")  # the module says it in the reader's language
def structure(
    graph: Graph,
    detail: str | None = None,
    told: Collection[int] | None = None,
    pictures: Pictures | None = None,
) -> Structure:
    """The structure of a Graph: nodes, edges, the steps of both passes, its program.

    Parameters
    ----------
    graph : Graph
    detail : {"names", "operations"}, optional
        As in `Graph.draw`.
    told : collection of int, optional
        The values whose formulas and sources are sent; default: all.
    pictures : Pictures, optional
        Those of this graph and detail, if they are known.
    """
    shown = graph.detailed(detail)
    away = told is not None and len(shown) > IN_NUMBERS
    told = range(len(shown)) if told is None else told
    program: Program | None = None
    refusal: dict[str, str] = {}
    try:
        program = program_of(graph, shown)
    except TraceError as error:
        refusal = refusal_of(error)
    return {
        "title": words.clean(graph.title),
        "output": shown.output,
        "nodes": [_node(shown, i, i in told) for i in range(len(shown))],
        "edges": [_edge(shown, u, v, key, v in told) for u, v, key in shown.edges()],
        "steps": steps(shown),
        "scopes": (pictures or Pictures(graph, detail)).scopes(),
        "moving": sorted(i for i in shown.wrt if shown.values[i].operation is PARAMETER)
        or sorted(shown.wrt),
        "program": program,
        "refusal": refusal,
        "numbersAway": away,
        "untold": sum(i not in told and not shown.is_leaf(i) for i in range(len(shown))),
    }


def _node(graph: Graph, i: int, told: bool) -> StructureNode:
    node, name, leaf = graph.values[i], graph.names[i], graph.is_leaf(i)
    source, expression = (graph.source(i), graph.expression(i)) if told else (None, None)
    return {
        "id": name,
        "name": words.clean(name),
        "label": _name(name) if told else None,
        "kind": cast(Kind, "output" if i == graph.output else graph.kind(i)),
        "shape": words.shape(node.value),
        "dtype": words.named(getattr(node.value, "dtype", type(node.value).__name__)),
        "scope": ["/".join(node.scope[:depth]) for depth in range(1, len(node.scope) + 1)],
        "source": words.clean(source.place) if source else "",
        "expression": _formula(expression),
        "computed": not leaf,
        "wrt": i in graph.wrt,
        "leaf": leaf and node.operation is not CONSTANT,
    }


def _edge(graph: Graph, u: int, v: int, key: int, told: bool) -> StructureEdge:
    operation = graph.values[v].operation
    derivative, message = _slope(graph, u, v, key) if told else (None, None)
    carries = operation.rule(key) is not None
    found: StructureEdge = {
        "u": u,
        "v": v,
        "key": key,
        "alone": graph.alone(v, key),
        "carries": carries or derivative is not None,
        "derivative": _formula(derivative),
        "vjp": _formula(message),
        "why": reason(graph, u, v, derivative, message) if told else "",
    }
    if told and operation.cornered:
        moved = list(map(_formula, _slope(graph, u, v, key, everywhere=True)))
        if moved != [found["derivative"], found["vjp"]]:
            found["moved"] = {"derivative": moved[0], "vjp": moved[1]}
    return found


def _slope(
    graph: Graph, u: int, v: int, key: int, everywhere: bool = False
) -> tuple[ast.expr | None, ast.expr | None]:
    """An edge's local derivative, and what it sends back, if that says more."""
    derivative = graph.derivative(v, key, everywhere)
    arrays = np.ndim(graph.values[u].value) or np.ndim(graph.values[v].value)
    product = derivative is not None and not arrays and not graph.stops(v)
    if graph.values[v].operation.rule(key) is None or product:
        return derivative, None
    upstream = notation.adjoint(graph.names[v])
    one = notation.number(1)
    return derivative, graph.message(v, key, one if v == graph.output else upstream, everywhere)


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
    first = [*itertools.accumulate(map(len, graph.operands), initial=0)]  # of each value's edges
    messages = known_derivatives(graph).messages
    if messages:
        found.append(["seed", graph.output])
    for v in range(graph.output, -1, -1):
        for key in range(len(graph.operands[v])):
            if (v, key) in messages:
                found.append(["message", first[v] + key])
    return [*found, ["done"]]


# --- the numbers ---------------------------------------------------------------------------------


@speaking("en")
def numbers(
    graph: Graph, detail: str | None = None, told: Collection[int] | None = None
) -> Numbers:
    """All that changes with a leaf: values, gradients and their states; locals and messages.

    Of a graph of more than `IN_NUMBERS` values only those `told` have their local derivatives, the
    single numbers of arrays and their heat maps.
    """
    shown = graph.detailed(detail)
    trouble = ""
    try:
        derivatives = shown.derivatives
        gradients, messages = derivatives.gradients, derivatives.messages
        states = cast(list[GradientState], [shown.grad_state(i) for i in range(len(shown))])
    except TraceError as error:
        gradients, messages, trouble = {}, {}, str(error)
        states = ["not computed"] * len(shown)
    count = len(shown)
    whole = {*told, *shown.wrt} if told is not None and count > IN_NUMBERS else {*range(count)}
    values = [node.value for node in shown.values]
    found = [gradients.get(i) for i in range(count)]
    most = side([kept[i] for kept in (values, found) for i in whole if kept[i] is not None])
    grads = [g if g is None else _sent(g, i in whole, most) for i, g in enumerate(found)]

    def message(u: int, v: int, key: int) -> Quantity | None:
        sent = messages.get((v, key))
        if sent is None:
            return None
        if sent is found[u] and u not in whole:  # it comes alone
            return grads[u]
        return _sent(sent, v in whole)

    return {
        "values": [_sent(value, i in whole, most) for i, value in enumerate(values)],
        "grads": grads,
        "states": states,
        "locals": [_local(shown, v, key) if v in whole else None for _, v, key in shown.edges()],
        "messages": [message(*edge) for edge in shown.edges()],
        "trouble": trouble,
    }


def _sent(value: Any, whole: bool, most: int = 0) -> Quantity:
    """What is sent of a value: a `quantity`, or of an array only what is said of it in words."""
    return quantity(value, most) if whole or _is_number(value) else _in_words(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return True
    if type(value) is np.ndarray and value.ndim:
        return False
    single = value.mean if isinstance(value, Statistics) else value
    return np.ndim(value) == 0 and np.asarray(single).dtype.kind in "fiub"


def _local(graph: Graph, v: int, key: int) -> Quantity | None:
    local = graph.local(v, key)
    if local is None or not np.shape(local):
        return None if local is None else quantity(local)
    shown = quantity(local)
    return {**shown, "short": words.local(local)} if isinstance(shown, dict) else shown


def quantity(value: Any, most: int = 0) -> Quantity:
    """A number as a number (what JSON lacks as text), anything else as what is shown of it.

    Of an array its first numbers and a heat map of at most `most` cells in a row, too.
    """
    if _is_number(value):
        return scalar(value.mean if isinstance(value, Statistics) else value)
    lines = words.entries(value)
    shown = _in_words(value)
    texts = shown["cells"]
    entries = first(value, most)
    if entries:
        shown["first"] = entries
    if lines:
        return {**shown, "cells": [*itertools.chain.from_iterable(lines)], "listed": texts[0]}
    heat = heat_map(value, most)
    return shown if heat is None else {**shown, "heat": heat}


def _in_words(value: Any) -> Shown:
    """What is said of an array in few words."""
    size, cells = norm(value), words.cells(value)
    return {
        "cells": list(cells),
        "full": words.full(value, cells),
        "shape": words.shape(value),
        "norm": size if size < sys.float_info.max else "NaN",
    }
