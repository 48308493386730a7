"""What the page and the widget are told: a graph's structure, its numbers, its steps, its program.

Everything is plain JSON. The structure is told once; `numbers` is what changes when a leaf does.
Formulas are nested lists (`gradviz.ops.mathml`), labels are strings: the module that shows them
makes elements and texts of them, and reads no markup but the picture's.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradviz.chain.backward import state
from gradviz.chain.statements import Statement
from gradviz.errors import TraceError
from gradviz.graph import CONSTANT, PARAMETER, Graph
from gradviz.ops import notation
from gradviz.ops.mathml import TEX, Math, mathml, symbol
from gradviz.ops.operation import Operation

from . import style
from .mathtext import clean
from .svg import to_svg
from .view import BUDGET, Arrow, Box, View, forward_view

MOST = 320  # so many boxes are laid out where nothing can be folded; of more only both ends
VALUE_ROOM, LOCAL_ROOM = "−0.00012345", "−0.0000"  # what most numbers fit in as they change
FUNCTIONS = frozenset(
    "+ - * / ** % // neg < <= > >= == != & abs sign sqrt cbrt exp exp2 expm1 log log2 log10 log1p "
    "logaddexp sin cos tan arcsin arccos arctan arctan2 hypot sinh cosh tanh arcsinh arccosh "
    "arctanh maximum minimum floor ceil trunc where clip isnan isfinite copysign fmod".split()
)
"""What the module can compute; `FUNCTIONS` there has the same names."""


# --- the structure -------------------------------------------------------------------------------


def story(graph: Graph, detail: str | None = None) -> dict[str, Any]:
    """The structure of a Graph: nodes, edges, the steps of both passes, its program.

    Parameters
    ----------
    graph : Graph
    detail : {"names", "operations"}, optional
        As in `Graph.draw`.
    """
    shown = graph.detailed(detail)
    program, refusal = None, ""
    try:
        program = _program(graph, shown)
    except TraceError as error:
        refusal = str(error)
    return {
        "title": clean(graph.title),
        "tex": TEX,
        "output": shown.output,
        "nodes": [_node(shown, i) for i in range(len(shown))],
        "edges": [_edge(shown, u, v, key) for u, v, key in edges(shown)],
        "steps": steps(shown),
        "scopes": ["/".join(scope) for scope in _scopes(shown)],
        "moving": sorted(i for i in shown.wrt if shown.values[i].operation is PARAMETER)
        or sorted(shown.wrt),
        "program": program,
        "refusal": refusal,
    }


def edges(graph: Graph) -> list[tuple[int, int, int]]:
    """The edges (u, v, operand's position); everywhere here an edge is its number in this list."""
    return [(u, v, key) for v, us in enumerate(graph.operands) for key, u in enumerate(us)]


def _node(graph: Graph, i: int) -> dict[str, Any]:
    node, source, expression = graph.values[i], graph.source(i), graph.expression(i)
    return {
        "id": graph.names[i],
        "name": clean(graph.names[i]),
        "math": mathml(graph.symbol(i)),
        "label": symbol(graph.names[i]),
        "kind": "output" if i == graph.output else graph.kind(i),
        "shape": style.shape(node.value),
        "dtype": str(getattr(node.value, "dtype", type(node.value).__name__)),
        "scope": ["/".join(node.scope[:depth]) for depth in range(1, len(node.scope) + 1)],
        "source": style.place(source) if source else "",
        "expression": mathml(expression) if expression is not None else None,
        "wrt": i in graph.wrt,
        "leaf": graph.is_leaf(i) and node.operation is not CONSTANT,
    }


def _edge(graph: Graph, u: int, v: int, key: int) -> dict[str, Any]:
    derivative = graph.derivative(v, key)
    carries = graph.values[v].operation.rule(key) is not None
    linear: Math | None = None
    if derivative is None and carries:
        linear = mathml(graph.message(v, key, notation.adjoint(graph.names[v])))
    return {
        "u": u,
        "v": v,
        "key": key,
        "derivative": mathml(derivative) if derivative is not None else None,
        "vjp": linear,
    }


def steps(graph: Graph) -> list[list[Any]]:
    """Both passes, one event after the other.

    ``["given"]``: the leaves have their values; ``["value", node]``; ``["seed", node]``: ∂J/∂J;
    ``["message", edge]``; ``["done"]``.
    """
    found: list[list[Any]] = [["given"]]
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


def _messages(graph: Graph) -> dict[tuple[int, int], Any]:
    try:
        return graph.derivatives.messages
    except TraceError:
        return {}


# --- the numbers ---------------------------------------------------------------------------------


def numbers(graph: Graph, detail: str | None = None) -> dict[str, Any]:
    """All that changes with a leaf: values, gradients and their states; locals and messages."""
    shown = graph.detailed(detail)
    trouble = ""
    try:
        derivatives = shown.derivatives
        gradients, messages = derivatives.gradients, derivatives.messages
        states = [state(shown, i) for i in range(len(shown))]
    except TraceError as error:
        gradients, messages, trouble = {}, {}, str(error)
        states = ["not computed"] * len(shown)
    return {
        "values": [quantity(node.value) for node in shown.values],
        "grads": [quantity(gradients[i]) if i in gradients else None for i in range(len(shown))],
        "states": states,
        "locals": [_local(shown, v, key) for _, v, key in edges(shown)],
        "messages": [
            quantity(messages[v, key]) if (v, key) in messages else None
            for _, v, key in edges(shown)
        ],
        "trouble": trouble,
    }


def _local(graph: Graph, v: int, key: int) -> Any:
    local = graph.local(v, key)
    if local is None or not np.shape(local):
        return None if local is None else quantity(local)
    return {**quantity(local), "short": style.local(local)}


def quantity(value: Any) -> Any:
    """A number as a number (what JSON lacks as text), anything else as what is shown of it."""
    if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "fiub":
        number = float(value)
        return number if math.isfinite(number) else "NaN" if math.isnan(number) else str(number)
    kind = np.asarray(value).dtype.kind
    with np.errstate(all="ignore"):
        norm = float(np.linalg.norm(np.ravel(value))) if kind in "fiub" else math.nan
    return {
        "cells": list(style.cells(value)),
        "full": style.full(value),
        "shape": style.shape(value),
        "norm": norm if math.isfinite(norm) else "NaN",
    }


# --- the picture ---------------------------------------------------------------------------------


def drawing(
    graph: Graph, folded: Iterable[str] = (), direction: str = "LR", detail: str | None = None
) -> dict[str, Any]:
    """The picture with some scopes folded; ``inside`` says which box holds a hidden node.

    Parameters
    ----------
    graph : Graph
    folded : iterable of str
        Scopes, their parts joined with "/".
    direction : {"LR", "TB"}
    detail : {"names", "operations"}, optional
    """
    shown = graph.detailed(detail)
    view, inside = _live(shown, folded, direction)
    return {"svg": to_svg(view).replace(' style="max-width:100%;height:auto"', ""),
            "folded": sorted(folded), "inside": inside}  # fmt: skip


def folds(graph: Graph, detail: str | None = None, most: int = 16) -> list[tuple[str, ...]]:
    """The foldings that a page brings along: every combination, or those that matter most."""
    scopes = ["/".join(scope) for scope in _scopes(graph.detailed(detail))]
    if 2 ** len(scopes) <= most:
        sizes = range(len(scopes) + 1)
        return [tuple(c) for n in sizes for c in itertools.combinations(sorted(scopes), n)]
    outer = tuple(sorted(scope for scope in scopes if "/" not in scope))
    chosen = [(), outer, *((scope,) for scope in scopes)]
    return list(dict.fromkeys(chosen))[:most]


def at_first(graph: Graph, detail: str | None = None) -> tuple[str, ...]:
    """What is folded at first: nothing, or of a large graph every scope."""
    shown = graph.detailed(detail)
    return tuple("/".join(s) for s in _scopes(shown) if len(s) == 1) if len(shown) > BUDGET else ()


def _scopes(graph: Graph) -> list[tuple[str, ...]]:
    found = {node.scope[:n] for node in graph.values for n in range(1, len(node.scope) + 1)}
    return sorted(found, key=lambda scope: (len(scope), scope))


def _live(graph: Graph, folded: Iterable[str], direction: str) -> tuple[View, dict[int, int]]:
    """A View whose numbers have room to change, with arrows keyed by the number of their edge."""
    shut = set(folded)
    count = len(graph) if shut or len(graph) <= MOST else 0
    view = forward_view(graph, show=range(count) or None, direction=direction, title="")
    number = {(f"n{u}", f"n{v}", key): n for n, (u, v, key) in enumerate(edges(graph))}
    boxes = tuple(
        replace(
            box,
            tooltip="",
            rows=tuple(
                replace(row, room=VALUE_ROOM if not _has_shape(graph, box) else "0") for row in
                box.rows
            ),
        )
        for box in view.boxes
    )  # fmt: skip
    arrows = tuple(
        replace(
            arrow,
            tooltip="",
            key=number.get((arrow.tail, arrow.head, arrow.key), -1),
            room=LOCAL_ROOM if arrow.number else "",
        )
        for arrow in view.arrows
    )
    boxes, arrows, inside = _fold(graph, boxes, arrows, shut)
    return replace(view, boxes=boxes, arrows=arrows, legend=()), inside


def _has_shape(graph: Graph, box: Box) -> bool:
    return np.ndim(graph.values[int(box.id[1:])].value) > 0


def _fold(
    graph: Graph, boxes: Sequence[Box], arrows: Sequence[Arrow], shut: set[str]
) -> tuple[tuple[Box, ...], tuple[Arrow, ...], dict[int, int]]:
    """Each shut scope as one box: that of the last value in it which something outside reads."""
    members: dict[tuple[str, ...], list[Box]] = {}
    for box in boxes:
        for depth in range(1, len(box.scope) + 1):
            if "/".join(box.scope[:depth]) in shut:  # the outermost one counts
                members.setdefault(box.scope[:depth], []).append(box)
                break
    stands_for: dict[str, str] = {}
    folded: dict[str, Box] = {}
    for scope, found in members.items():
        ids = {box.id for box in found}
        outward = [arrow.tail for arrow in arrows if arrow.tail in ids and arrow.head not in ids]
        last = max(outward or ids, key=lambda ident: int(ident[1:]))
        shown = next(box for box in found if box.id == last)
        stands_for |= dict.fromkeys(ids, last)
        folded[last] = replace(
            shown,
            name=scope[-1],
            tag=f"{len(found)} folded",
            expression=shown.name,
            scope=scope[:-1],
            kind=shown.kind if shown.kind == "output" else "operation",
        )
    kept = tuple(
        folded.get(box.id, box) for box in boxes if stands_for.get(box.id, box.id) == box.id
    )
    moved = (
        replace(
            arrow,
            tail=stands_for.get(arrow.tail, arrow.tail),
            head=stands_for.get(arrow.head, arrow.head),
        )
        for arrow in arrows
    )
    inside = {int(a[1:]): int(b[1:]) for a, b in stands_for.items() if a != b}
    return kept, tuple(arrow for arrow in moved if arrow.tail != arrow.head), inside


# --- the program, for a page that computes by itself ---------------------------------------------


def _program(graph: Graph, shown: Graph) -> dict[str, Any]:
    """The recorded operations as data: each row's formulas, who reads whom, the steps of a name.

    Raises
    ------
    TraceError
        The program is not one of scalar operations that the page can compute; says why.
    """
    rows: dict[str, Any] = {}
    nodes: list[Any] = []
    constants: dict[int, float] = {}
    for i, node in enumerate(graph.values):
        value, operation = np.asarray(node.value), node.operation
        if value.ndim:
            raise TraceError(f"{graph.names[i]} is an array")
        if value.dtype.kind not in "fiu" or (value.dtype.kind == "f" and value.itemsize != 8):
            raise TraceError(f"{graph.names[i]} is of type {value.dtype}")
        if graph.is_leaf(i):
            if operation is CONSTANT:
                constants[i] = quantity(node.value)
            nodes.append([None, []])
            continue
        if node.keywords:
            raise TraceError(f"{operation.name} has options ({', '.join(node.keywords)})")
        if operation.name not in rows:
            rows[operation.name] = _row(operation)
        nodes.append([operation.name, list(graph.operands[i])])
    return {
        "rows": rows,
        "nodes": nodes,
        "constants": constants,
        "varying": sorted(graph.varying),
        "output": graph.output,
        "shown": [_steps_of(graph, shown, i) for i in range(len(shown))],
    }


def _steps_of(graph: Graph, shown: Graph, i: int) -> list[Any]:
    """The recorded operations that a shown value stands for, and the values that they read."""
    own = graph.id(shown.names[i])
    operation = shown.values[i].operation
    if isinstance(operation, Statement):
        return [own, list(operation.steps), list(operation.outside)]
    return [own, [] if graph.is_leaf(own) else [own], list(graph.operands[own])]


def _row(operation: Operation) -> dict[str, Any]:
    """An operation's formulas as data.

    A function that the module itself has is called by its name, since a formula may be exact in
    mathematics only: ``log(1 + a)`` is not what log1p computes.
    """
    rules = operation.derivatives
    letters = "abc"
    if not rules or operation.variadic or len(rules) > len(letters):
        raise TraceError(f"the page cannot compute {operation.name}")
    try:
        if operation.name in FUNCTIONS:
            value: Any = [operation.name, *letters[: len(rules)]]
        elif isinstance(operation.formula, str) and operation.formula:
            value = _data(notation.parse(operation.formula))
        else:
            raise TraceError(operation.name)
        locals_ = []
        for rule in rules:
            if rule is not None and not rule.number:
                raise TraceError(operation.name)
            locals_.append(None if rule is None else _data(notation.parse(rule.number)))
    except TraceError:
        raise TraceError(f"the page cannot compute {operation.name}") from None
    return {"value": value, "locals": locals_}


_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.Mod: "%",
    ast.FloorDiv: "//", ast.BitAnd: "&", ast.USub: "neg",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip


def _data(tree: ast.expr) -> Any:
    """A formula as data: a number, a name, or ``[function, argument, ...]``."""
    match tree:
        case ast.Constant(value=float() | int() as value):
            return value
        case ast.Name(id="pi"):
            return math.pi
        case ast.Name(id=("a" | "b" | "c" | "v") as name):
            return name
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return [_OPERATORS[type(op)], _data(operand)]
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return [_OPERATORS[type(operator)], _data(left), _data(right)]
        case ast.Compare(left=left, ops=ops, comparators=rights):
            parts = [
                [_OPERATORS[type(op)], _data(a), _data(b)]
                for op, a, b in zip(ops, [left, *rights], rights, strict=False)
            ]
            return parts[0] if len(parts) == 1 else ["&", *parts]
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in FUNCTIONS:
            return [name, *map(_data, arguments)]
    raise TraceError(ast.unparse(tree))
