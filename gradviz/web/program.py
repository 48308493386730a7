"""The program of a page that computes by itself: the recorded operations as data."""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.statements import Statement
from gradviz.errors import TraceError
from gradviz.model import CONSTANT
from gradviz.ops import notation
from gradviz.ops.operation import Operation

from .wire import Program, ProgramNode, ProgramTree, Row, Scalar, ShownSteps

if TYPE_CHECKING:
    from gradviz.graph import Graph

FUNCTIONS = frozenset(
    "+ - * / ** % // neg < <= > >= == != & abs sign sqrt cbrt exp exp2 expm1 log log2 log10 log1p "
    "logaddexp sin cos tan arcsin arccos arctan arctan2 hypot sinh cosh tanh arcsinh arccosh "
    "arctanh maximum minimum floor ceil trunc where clip isnan isfinite copysign fmod".split()
)
"""What the module can compute; `FUNCTIONS` there has the same names."""


def scalar(value: Any) -> Scalar:
    """A number; what JSON lacks as text."""
    number = float(value)
    return number if math.isfinite(number) else "NaN" if math.isnan(number) else str(number)


def program_of(graph: Graph, shown: Graph) -> Program:
    """The recorded operations as data: each row's formulas, who reads whom, the steps of a name.

    Raises
    ------
    TraceError
        The program is not one of scalar operations that the page can compute; says why.
    """
    rows: dict[str, Row] = {}
    nodes: list[ProgramNode] = []
    constants: dict[int, Scalar] = {}
    for i, node in enumerate(graph.values):
        value, operation = np.asarray(node.value), node.operation
        if value.ndim:
            raise TraceError(f"{graph.names[i]} is an array")
        if value.dtype.kind not in "fiu" or (value.dtype.kind == "f" and value.itemsize != 8):
            raise TraceError(f"{graph.names[i]} is of type {value.dtype}")
        if graph.is_leaf(i):
            if operation is CONSTANT:
                constants[i] = scalar(value)
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


def _steps_of(graph: Graph, shown: Graph, i: int) -> ShownSteps:
    """The recorded operations that a shown value stands for, and the values that they read."""
    own = graph.id(shown.names[i])
    operation = shown.values[i].operation
    if isinstance(operation, Statement):
        return [own, list(operation.steps), list(operation.outside)]
    return [own, [] if graph.is_leaf(own) else [own], list(graph.operands[own])]


def _row(operation: Operation) -> Row:
    """An operation's formulas as data.

    A row says apart what its value's number is where its formula is exact in mathematics only.
    """
    rules = operation.derivatives
    letters = "abc"
    if not rules or operation.variadic or len(rules) > len(letters):
        raise TraceError(f"the page cannot compute {operation.name}")
    try:
        number = operation.number or operation.formula
        if isinstance(number, str) and number:
            value: ProgramTree = _data(notation.parse(number))
        else:
            raise TraceError(operation.name)
        locals_: list[ProgramTree | None] = []
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


def _data(tree: ast.expr) -> ProgramTree:
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
