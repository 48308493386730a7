"""Why a local derivative is what it is, as far as its formula tells."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gradviz.ops import notation
from gradviz.ops.symbols import MACRON

from .wire import Reason

if TYPE_CHECKING:
    from gradviz.graph import Graph


def reason(
    graph: Graph, u: int, v: int, derivative: ast.expr | None, message: ast.expr | None
) -> Reason:
    """What the page says of an edge u→v; "" where its formula tells nothing that is sure."""
    if derivative is None:
        return "" if message is None else _of_map(graph, u, v, message)
    called = {id(n.func) for n in ast.walk(derivative) if isinstance(n, ast.Call)}
    names = {n.id for n in ast.walk(derivative) if isinstance(n, ast.Name) and id(n) not in called}
    if graph.names[v] in names:
        return "own" if names == {graph.names[v]} else "curved" if graph.names[u] in names else ""
    if graph.names[u] in names:
        return "curved"
    if names:
        return "linear"
    try:
        value = ast.literal_eval(derivative)
    except ValueError:
        return ""
    # Of a jump or a step nothing is said: its derivative is 0 where it does change.
    return "one" if value == 1 else "constant" if value else ""


def _of_map(graph: Graph, u: int, v: int, message: ast.expr) -> Reason:
    """What its message tells of a linear map."""
    operands = [graph.symbol(i) for i in graph.operands[v]]
    computed = graph.values[v].operation.expression(operands, graph.values[v].keywords)
    for call in ast.walk(computed):
        match call:
            case ast.Call(ast.Name("mean" | "var" | "std"), [averaged, *_]):
                if graph.names[u] in notation.names(averaged):
                    return "mean"
    match message:
        case ast.BinOp(op=ast.MatMult()):
            return "product"
        case ast.Call(ast.Name("sum"), [ast.Name(whole)]) if MACRON in whole[:2]:
            return "spread"
    return "map"
