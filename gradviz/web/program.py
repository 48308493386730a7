"""The program of a page that computes by itself: the recorded operations as data."""

from __future__ import annotations

import ast
import base64
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from gradviz import words
from gradviz.chain.statements import Statement
from gradviz.errors import TraceError
from gradviz.model import CONSTANT, INPUT, Node
from gradviz.ops import notation
from gradviz.ops.looks import Id, Look
from gradviz.ops.operation import OPERAND_NAMES, Operation
from gradviz.statistics import Statistics

from .cells import scalar
from .links import links
from .refused import Refused
from .wire import Entries, Guard, Program, ProgramNode, ProgramTree, Row, Scalar, ShownSteps

if TYPE_CHECKING:
    from gradviz.graph import Graph

FUNCTIONS = frozenset(
    "+ - * / ** % // neg < <= > >= == != & abs sign sqrt cbrt exp exp2 expm1 log log2 log10 log1p "
    "logaddexp sin cos tan arcsin arccos arctan arctan2 hypot sinh cosh tanh arcsinh arccosh "
    "arctanh maximum minimum floor ceil trunc rint heaviside sinc where clip isnan isfinite "
    "copysign fmod".split()
)
"""What the module can compute of numbers; `FUNCTIONS` there has the same names."""
OF_ARRAYS = frozenset(
    "sum max min prod count mean spread like reshape others cumsum sumsback sort unsort einsum "
    "gather scatter products slope".split()
)
"""And of arrays."""
NAMES = frozenset((*OPERAND_NAMES[:3], "v", "g")) | frozenset(
    "all axis keepdims ddof source shape position subscripts back factors terms".split()
)
"""What formulas name: operands, the value, the upstream term, the settings of a call."""


MOST_NUMBERS = 2**18  # so many numbers of constants, leaves and indices a page carries ...
MOST_VALUES = 2**22  # ... so many it computes in a pass ...
MOST_PRODUCTS = 2**25  # ... and so many products go into its sums
MOST_GUARDS = 2000
MOST_OPERATIONS = 50_000  # of more a page would be slow to write, to open and to compute
CARRY = "the page would have to carry {n} numbers; it carries up to {m}"
COMPUTE = "the page would have to compute {n} numbers in a pass; it computes up to {m}"
REPEAT = "the page would have to repeat {n} operations; it repeats up to {m}"
SUM = "the page would have to sum {n} products in a pass; it sums up to {m}"


def program_of(graph: Graph, shown: Graph) -> Program:
    """The recorded operations as data: each row's formulas, who reads whom, the steps of a name.

    Raises
    ------
    TraceError
        The page cannot compute the program; says why.
    """
    if len(graph) > MOST_OPERATIONS:
        raise Refused(REPEAT, n=f"{len(graph):,}", m=f"{MOST_OPERATIONS:,}")
    made = _Maker(graph)
    made.refuse_large()
    return {
        "rows": made.rows,
        "nodes": made.nodes,
        "constants": made.constants,
        "leaves": made.leaves,
        "types": made.types,
        "varying": sorted(graph.varying),
        "output": graph.output,
        "shown": [_steps_of(graph, shown, i) for i in range(len(shown))],
        "guards": made.guards,
    }


class _Maker:
    """Makes the data of a program, and counts what the page would carry and compute."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rows: dict[str, Row] = {}
        self.nodes: list[ProgramNode] = []
        self.constants: dict[int, Scalar | Entries] = {}
        self.leaves: dict[int, Scalar | Entries] = {}
        self.types: dict[int, str] = {}
        self.carried = self.computed = self.products = 0
        hidden = graph.recorded_program.reads() if graph.recorded_program else ""
        if hidden:
            raise Refused("the program reads plain numbers {how}", how=hidden)
        linked, asked = links(graph, _ASKED)
        for i in range(len(graph)):
            self.nodes.append(self.node(i, linked.get(i)))
        self.guards = [guard for found in asked for guard in self.asked(found)] + [
            guard for i in range(len(graph)) for guard in self.read(i)
        ]
        if len(self.guards) > MOST_GUARDS:
            raise Refused("the program branches {n} times", n=len(self.guards))

    def node(self, i: int, look: Look | None) -> ProgramNode:
        node = self.graph.values[i]
        operation, name = node.operation, self.graph.names[i]
        if isinstance(node.value, Statistics):
            raise Refused("of {v} only statistics were kept", v=name)
        value = np.asarray(node.value)
        kind = words.named(value.dtype)
        if kind not in _TYPES and value.dtype.kind not in "iub":
            raise Refused("{v} is of type {type}", v=name, type=kind)
        if kind != "float64":
            self.types[i] = kind
        self.computed += value.size
        if look is not None:
            return self.look(look)
        if self.graph.is_leaf(i):
            kept = self.constants if operation is CONSTANT else self.leaves
            kept[i] = self.travelling(value)
            return [None, []]
        return [operation.name, list(self.graph.operands[i]), *self.settled(i)]

    def settled(self, i: int) -> list[Any]:
        """The row of an operation, and what its formulas name besides operands."""
        node = self.graph.values[i]
        operation = node.operation
        if operation.name not in self.rows:
            self.rows[operation.name] = _row(operation)
        if operation.settings is None:
            if node.keywords:
                options = ", ".join(node.keywords)
                raise Refused("{op} has options ({names})", op=operation.name, names=options)
            return []
        operands = self.graph.operand_values(i)
        try:
            found = operation.settings(operation, operands, node.keywords, node.value)
        except TraceError as error:
            raise Refused(
                "the page cannot compute {op} with {what}", op=operation.name, what=str(error)
            ) from None
        if "subscripts" in found:
            terms = found["subscripts"].partition("->")[0].split(",")
            sizes = {
                letter: size
                for term, operand in zip(terms, operands, strict=True)
                for letter, size in zip(term, np.shape(operand), strict=True)
                if size != 1
            }
            self.products += math.prod(sizes.values())
        return [{name: self.setting(given) for name, given in found.items()}] if found else []

    def setting(self, given: Any) -> Any:
        if isinstance(given, np.ndarray):
            return self.travelling(given)
        return [self.setting(part) for part in given] if isinstance(given, list) else given

    def travelling(self, value: np.ndarray[Any, Any]) -> Scalar | Entries:
        self.carried += value.size
        return entries(value) if value.ndim else scalar(value)

    def look(self, look: Look) -> ProgramNode:
        """A question as an operation."""
        name = f"{look.name}?"
        if name not in self.rows:
            count = 2 if look.name in _COMPARED else 1
            tree = _data(notation.parse(_ASKED[look.name]))
            self.rows[name] = {
                "value": tree,
                "locals": [None] * count,
                "messages": [None] * count,
                "variadic": False,
            }
        return [name, [self.operand(o) for o in look.operands], *self.axes(look)]

    def axes(self, look: Look) -> list[Any]:
        if look.name != "top":
            return []
        rank = np.ndim(self.graph.values[look.operands[0]].value)
        axis = look.keywords["axis"]
        given = range(rank) if axis is None else np.atleast_1d(axis) % rank
        return [{"axis": [int(i) for i in given]}]

    def operand(self, operand: Any) -> int:
        """The number of a question's operand: plain ones stand behind the recorded values."""
        if isinstance(operand, Id):
            return operand
        place = len(self.graph) + len(self.constants)
        while place in self.constants:
            place += 1
        self.constants[place] = self.travelling(np.asarray(operand, float))
        return place

    def asked(self, look: Look) -> Iterator[Guard]:
        """What holds as long as the answer is the same."""
        recorded = [o for o in look.operands if isinstance(o, Id)]
        if any(o < 0 for o in recorded):
            raise Refused("the program reads values that were recorded elsewhere")
        site = look.site and self.graph._source(Node.new(None, INPUT, site=look.site))
        place = site.place if site else "a question inside a function that it calls"
        plain = [o for o in look.operands if not isinstance(o, Id)]
        numeric = all(np.asarray(o).dtype.kind in "biuf" for o in plain)
        if look.name in _ASKED and numeric and not (look.keywords and look.name != "top"):
            row, operands, *settings = self.look(look)
            yield {
                "row": row,
                "operands": operands,
                "settings": settings[0] if settings else {},
                "place": place,
            }
        elif look.name not in _COMPARED:
            for o in recorded:
                yield self.same(o, place)

    def same(self, i: int, place: str) -> Guard:
        row = self.look(Look("", (Id(i),), {}, None, -1, None))[0]
        return {"row": row, "operands": [i], "settings": {}, "place": place}

    def read(self, i: int) -> Iterator[Guard]:
        """The same, of a value that was read as a plain number, and not for a text alone."""
        read = getattr(self.graph.values[i], "read", {})
        for how, site in read if isinstance(read, dict) else ():
            if how not in _TOLD:
                source = self.graph._source(Node.new(None, INPUT, site=site))
                yield self.same(i, source.place if source else how)

    def refuse_large(self) -> None:
        for count, most, what in (
            (self.carried, MOST_NUMBERS, CARRY),
            (self.computed, MOST_VALUES, COMPUTE),
            (self.products, MOST_PRODUCTS, SUM),
        ):
            if count > most:
                raise Refused(what, n=f"{count:,}", m=f"{most:,}")


_TYPES = frozenset(("float64", "float32"))
_TOLD = frozenset(("repr()", "str()", "format"))
_COMPARED = {
    "less": "a < b", "less_equal": "a <= b", "greater": "a > b", "greater_equal": "a >= b",
    "equal": "a == b", "not_equal": "a != b",
}  # fmt: skip
_ASKED = {
    **_COMPARED,
    "bool": "a != 0",
    "isnan": "isnan(a)",
    "isfinite": "isfinite(a)",
    "": "a",
    "constant": "a",
    "top": "max(where(isfinite(a), a, 0), axis, 1)",
}
"""The questions that the page asks itself, as formulas."""


def entries(value: np.ndarray[Any, Any]) -> Entries:
    """An array as it travels, in the shortest numbers that hold its own."""
    with np.errstate(all="ignore"):
        kind = next(k for k in ("u1", "f4", "f8") if k == "f8" or _holds(value, k))
    made = value.astype(f"<{kind}")
    return {
        "shape": list(value.shape),
        "kind": cast(Literal["u1", "f4", "f8"], kind),
        "data": base64.b64encode(made.tobytes()).decode(),
    }


def _holds(value: np.ndarray[Any, Any], kind: str) -> bool:
    there = value.astype(kind)
    exact = np.array_equal(there, value)
    return exact and not (kind == "u1" and value.dtype.kind == "f" and np.signbit(value).any())


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
    A message stands where it is no product of the upstream term and a local derivative.
    """
    rules = operation.derivatives
    number = operation.number or operation.formula
    if not rules or not isinstance(number, str) or not number:
        raise Refused("the page cannot compute {op}", op=operation.name)
    locals_: list[ProgramTree | None] = []
    messages: list[ProgramTree | None] = []
    try:
        value = _data(notation.parse(number))
        for rule in rules:
            if rule is not None and not rule.number:
                raise TraceError(operation.name)
            tree = None if rule is None else _data(notation.parse(rule.number))
            whole = rule is not None and (rule.local is None or "g" in _names(tree))
            messages.append(tree if whole else None)
            if rule is not None and whole:
                tree = _data(notation.parse(str(rule.formula))) if rule.local else None
            locals_.append(tree)
    except TraceError:
        raise Refused("the page cannot compute {op}", op=operation.name) from None
    return {
        "value": value,
        "locals": locals_,
        "messages": messages,
        "variadic": operation.variadic,
    }


def _names(tree: ProgramTree) -> set[str]:
    if isinstance(tree, list):
        return {name for part in tree[1:] for name in _names(part)}
    return {tree} if isinstance(tree, str) else set()


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
        case ast.Name(id=name) if name in NAMES:
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
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in FUNCTIONS | OF_ARRAYS:
            return [name, *map(_data, arguments)]
    raise TraceError(ast.unparse(tree))
