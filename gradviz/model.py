"""The recording itself: its values, who reads whom, its names and its formulas. It knows nobody."""

# Long: values, what is known of them, and the Recording stand on one another.

from __future__ import annotations

import ast
import itertools
import operator
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self, TypedDict, TypeVar, cast

import numpy as np

from gradviz.errors import TraceError
from gradviz.files import writable
from gradviz.layers import Layers
from gradviz.ops import notation
from gradviz.ops.corners import Numbers
from gradviz.ops.looks import Look
from gradviz.ops.operation import Operation
from gradviz.rank import Rank
from gradviz.statistics import Statistics
from gradviz.words import Site, nearest, no_name

NEARBY = 100
"""So many values are looked at before all paths of a value are followed."""
INPUT, PARAMETER, CONSTANT = (
    Operation(kind, lambda: None) for kind in ("input", "parameter", "constant")
)
LEAVES = {"input": INPUT, "parameter": PARAMETER, "constant": CONSTANT}


N = TypeVar("N", bound="Node")
NO_KEYWORDS: Mapping[str, Any] = {}
_ORDER = operator.attrgetter("order")


class Node:
    """One value of a computation: what was computed, from what, and where.

    Attributes
    ----------
    value : numpy.ndarray or numpy scalar
        What the operation returned (the primal).
    operation : Operation
        The row of the table of operations; of a leaf `INPUT`, `PARAMETER` or `CONSTANT`.
    operands : tuple
        Nodes, and plain values where the program put constants.
    keywords : dict
        The operation's further arguments.
    order : int
        Recording order: an operand's is smaller than its reader's.
    scope : tuple of str
    name : str
        A name given to it by hand, or "".
    site : tuple or None
        Where it was recorded, as the frontend notes it (see `gradviz.record.names`).

    Examples
    --------
    >>> import gradviz as gv
    >>> g = gv.expression("x * y", x=2, y=3)
    >>> node = g.values[g.output]
    >>> node.operation.name, float(node.value), len(node.operands)
    ('multiply', 6.0, 2)
    """

    noted: ClassVar[int] = -1
    """The largest order of a value of this process that was ever read as a plain number."""

    __slots__ = ("keywords", "name", "operands", "operation", "order", "scope", "site", "value")

    value: Any
    operation: Operation
    operands: tuple[Any, ...]
    keywords: Mapping[str, Any]
    order: int
    scope: tuple[str, ...]
    name: str
    site: Any

    def read_operands(self) -> tuple[Any, ...]:
        """The operands as they were when this value was computed.

        An array that the program has written to since is then another value.
        """
        for operand in self.operands:
            if isinstance(operand, Node) and operand.order >= self.order:
                break
        else:
            return self.operands
        return tuple(o.before(self.order) if isinstance(o, Node) else o for o in self.operands)

    def before(self, order: int) -> Node:
        """What this array was before the value number `order` was recorded."""
        if self.order < order:
            return self
        past: Sequence[Node] = getattr(self, "past", ())
        count = bisect_left(past, order, key=_ORDER)
        if not count:
            raise TraceError(f"value number {order} reads what was computed after it")
        return past[count - 1]

    @classmethod
    def new(
        cls: type[N],
        value: Any,
        operation: Operation,
        operands: tuple[Any, ...] = (),
        *,
        keywords: Mapping[str, Any] | None = None,
        order: int = -1,
        scope: tuple[str, ...] = (),
        name: str = "",
        site: Any = None,
    ) -> N:
        """A node with all its fields set."""
        node = cls.__new__(cls)
        node.value, node.operation, node.operands = value, operation, operands
        node.keywords, node.order, node.scope = keywords or NO_KEYWORDS, order, scope
        node.name, node.site = name, site
        return node

    def with_value(self: N, value: Any) -> N:
        """A node that differs in its value alone."""
        node: N = self.new(
            value,
            self.operation,
            keywords=self.keywords,
            order=self.order,
            scope=self.scope,
            name=self.name,
            site=self.site,
        )
        return node


class Ids(Set[int]):
    """A set of ids, with a mark for each value: of a large Graph they take a byte each."""

    def __init__(self, marks: bytearray) -> None:
        self.marks = marks

    def __contains__(self, i: Any) -> bool:
        return bool(0 <= i < len(self.marks) and self.marks[i])

    def __iter__(self) -> Iterator[int]:
        return itertools.compress(itertools.count(), self.marks)

    def __len__(self) -> int:
        return sum(self.marks)


class Program:
    """How a Graph's computation can be run again: what `update`, `step` and `check` need.

    Attributes
    ----------
    conjugates : bool
        Its gradient by a complex z is ∂J/∂Re z + i ∂J/∂Im z, as PyTorch's, not with - i.
    """

    conjugates = False

    def run(self, values: Mapping[str, Any]) -> Any:
        """The output for new leaf values, without recording."""
        raise NotImplementedError

    def record(self, values: Mapping[str, Any]) -> Any:
        """A new Graph for new leaf values."""
        raise NotImplementedError

    def unseen(self) -> AbstractContextManager[None]:
        """Runs inside are silent, and leave what the program reaches as it was."""
        return nullcontext()

    def numbers(self) -> Iterable[Any]:
        """The plain numbers that the program has: its literals, what stands around it."""
        return ()

    def suspect(self) -> bool:
        """Whether, by its text, it may do what `reads` or `asks` tell."""
        return bool(self.reads() or self.asks())

    def reads(self) -> str:
        """Where the program reads plain numbers unnoticed, by its text; "" for nowhere."""
        return ""

    def asks(self) -> str:
        """Where the program asks what kind of value it has, by its text; "" for nowhere."""
        return ""


class Gradients(NamedTuple):
    """What a backward pass found.

    Attributes
    ----------
    gradients : mapping of int to array
        By id, for the values that have one.
    messages : mapping of (int, int) to array
        By edge: the reader's id and the operand's position.
    """

    gradients: Mapping[int, Any]
    messages: Mapping[tuple[int, int], Any]


class Sharpness(NamedTuple):
    """How sharp a fused attention is: of some rows of its weights p, the sums Σp².

    Attributes
    ----------
    rows, entries : int
        How many rows were looked at, and how many entries each has.
    mean, least : float
        Of the sums; 1 where all weight is on one entry.
    """

    rows: int
    entries: int
    mean: float
    least: float


class OfRun(TypedDict, total=False):
    """What is known of one run of the program: at other leaf values it is not true any more."""

    derivatives: Gradients
    underflown: frozenset[int]
    changed_by_hooks: Mapping[int, str]
    memory: Mapping[int, int]
    elsewhere: Set[int]
    sharpness: Mapping[int, Sharpness]
    locals: Mapping[tuple[int, int], Any]
    statement_locals: Mapping[tuple[int, int], Any]
    astray: str
    error: Exception | None
    rank: Rank | None


class OfProgram(TypedDict, total=False):
    """What is known of the program, at whatever values."""

    looks: tuple[Look, ...] | None
    reads: Mapping[int, str]
    ends: Mapping[int, str]
    returned: Mapping[int, str]
    sure: bool
    legible: int
    by_operations: bool


class Known(OfRun, OfProgram, total=False):
    """What a frontend or a file knows of a Graph from the start.

    Each is the Graph's attribute of that name; what is not given is found out when it is asked
    for, or has its default.
    """

    origin: Any


class Recording:
    """The values of a computation, who reads whom, their names and formulas.

    Parameters
    ----------
    values : list of Node
        Every value, constants included, in recording order; a value's id is its position here.
    operands : list of tuple of int
        The ids of each value's operands, by position.
    names : callable
        Gives the unique names by id, and the ids whose name the program gave.
    output : int
        The id of J.
    wrt : iterable of int
        The leaves that gradients are asked for.
    sources : callable, optional
        Gives file, line and text of the line that computed a Node.
    program : Program, optional
        What can be run again.
    title : str, optional
    layers : mapping, optional
        By scope the module that it is.
    known : Known, optional
        What else is known of it.
    """

    legible: int = 100
    error: Exception | None = None
    changed_by_hooks: Mapping[int, str] = MappingProxyType({})
    memory: Mapping[int, int] = MappingProxyType({})
    elsewhere: Set[int] = frozenset()
    sharpness: Mapping[int, Sharpness] = MappingProxyType({})
    rank: Rank | None = None
    looks: tuple[Look, ...] | None = None  # of a program that can be run: unknown
    locals: Mapping[tuple[int, int], Any] | None = None
    statement_locals: Mapping[tuple[int, int], Any] | None = None
    by_operations: bool = False
    origin: Any = None

    def __init__(
        self,
        values: list[Node],
        operands: list[tuple[int, ...]],
        names: Callable[[], tuple[list[str], frozenset[int]]],
        output: int,
        wrt: Iterable[int],
        *,
        sources: Callable[[Node], Site | None] = lambda node: None,
        program: Program | None = None,
        title: str = "",
        layers: Layers = MappingProxyType({}),
        known: Known | None = None,
    ) -> None:
        self.values = values
        self.operands = operands
        self.output = output
        self.wrt = frozenset(wrt)
        self.recorded_program = program
        self.title = writable(title)
        self.layers = layers
        self._names = names
        self._source = sources
        self._symbols: dict[int, ast.expr] = {}
        self._indirect: dict[int, frozenset[int]] = {}
        if known:
            vars(self).update(known)

    def of_run(self) -> OfRun:
        """All that is known of the run that was recorded."""
        found: Any = {key: getattr(self, key) for key in OfRun.__annotations__}
        return cast("OfRun", found)

    def with_values(self, values: Iterable[Any], run: OfRun | None = None) -> Self:
        """The same computation at other values, given by id, without its program.

        All that is known of the program is known of it too; what is of the `run` is given.
        """
        naming = self._naming
        known: Any = {key: getattr(self, key) for key in OfProgram.__annotations__} | (run or {})
        return type(self)(
            [node.with_value(value) for node, value in zip(self.values, values, strict=True)],
            self.operands,
            lambda: naming,
            self.output,
            self.wrt,
            sources=self._source,
            title=self.title,
            layers=self.layers,
            known=known,
        )

    def __repr__(self) -> str:
        return f"<Graph of {self.names[self.output]}: {len(self.values)} values>"

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _naming(self) -> tuple[list[str], frozenset[int]]:
        return self._names()

    @property
    def names(self) -> list[str]:
        """The unique, shown names by id."""
        return self._naming[0]

    @property
    def named(self) -> frozenset[int]:
        """The ids whose name the program gave; the others are numbered (v_1, v_2, ...)."""
        return self._naming[1]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def id(self, name: str) -> int:
        """The id of the value called `name`.

        Raises
        ------
        KeyError
            No value has this name; the message lists the nearest ones.
        TypeError
            It is no text.
        """
        if not isinstance(name, str):
            raise TypeError(no_name(name, self.names))
        try:
            return self._ids[writable(name)]
        except KeyError:
            there = nearest(name, self.names)
            raise KeyError(f"no value is called {name!r}; there are: {there}") from None

    def kind(self, i: int) -> str:
        """One of input, parameter, constant, operation."""
        operation = self.values[i].operation
        return operation.name if operation in _LEAF_ROWS else "operation"

    def is_leaf(self, i: int) -> bool:
        """Whether a value is an input, a parameter or a constant."""
        return self.values[i].operation in _LEAF_ROWS

    def source(self, i: int) -> Site | None:
        """File, line and text of the user's line that computed a value."""
        return self._source(self.values[i])

    def value(self, name: str) -> Any:
        """The forward value (primal) called `name`."""
        found = self.values[self.id(name)].value
        if isinstance(found, np.ndarray):
            found.flags.writeable = False  # the record's own
        return found

    @cached_property
    def readers(self) -> list[list[tuple[int, int]]]:
        """Per id the edges that read it: pairs of the reader's id and the operand's position."""
        readers: list[list[tuple[int, int]]] = [[] for _ in self.values]
        for v, operands in enumerate(self.operands):
            for key, u in enumerate(operands):
                readers[u].append((v, key))
        return readers

    def edges(self) -> Iterator[tuple[int, int, int]]:
        """Every edge: the operand's id, the reader's, and the operand's position."""
        for v, operands in enumerate(self.operands):
            for key, u in enumerate(operands):
                yield u, v, key

    def operand_values(self, v: int) -> list[Any]:
        """The forward values of a value's operands."""
        return [self.values[u].value for u in self.operands[v]]

    def numbers(self, v: int, everywhere: bool = False) -> Numbers:
        """A value and its operands, at which a formula is to hold, or wherever they are moved."""
        return Numbers(self.values[v].value, self.operand_values(v), self.stops(v), everywhere)

    def stops(self, v: int) -> bool:
        """Whether a value's gradient is not finite and v may send 0 of it, which is no product."""
        return False  # of its gradients a Graph knows

    @cached_property
    def varying(self) -> Ids:
        """The ids that depend on a leaf of `wrt`, integers aside: only these have gradients."""
        marks = bytearray(len(self))
        for i in self.wrt:
            marks[i] = 1
        for v, operands in enumerate(self.operands):
            for u in operands:
                if marks[u]:
                    marks[v] = not _whole(self.values[v].value)
                    break
        return Ids(marks)

    def leaf_values(self) -> dict[str, Any]:
        """The values of inputs and parameters by name."""
        return {
            self.names[i]: node.value
            for i, node in enumerate(self.values)
            if node.operation in (INPUT, PARAMETER)
        }

    # --- its local derivatives and formulas -----------------------------------------------------

    def local(self, v: int, key: int) -> Any:
        """The local derivative ∂v/∂u on the edge from operand `key` of v.

        A number or an elementwise array (shape of v); the whole derivative (shape of u) where v is
        a scalar; None for a linear map between arrays, which only its VJP can apply.
        """
        if self.locals is not None:
            return self.locals.get((v, key))
        node = self.values[v]
        rule = node.operation.rule(key)
        if rule is None or isinstance(node.value, Statistics):
            return None
        operands = self.operand_values(v)
        if any(isinstance(operand, Statistics) for operand in operands):
            return None
        try:
            with np.errstate(all="ignore"):
                number = type(node.value) is np.float64 and type(operands[key]) in _NUMBERS
                if rule.local and number:
                    return np.float64(rule.local(node.value, *operands, **node.keywords))
                single = np.size(node.value) == 1 and np.ndim(node.value) <= np.ndim(operands[key])
                # (A message to a real operand has lost what is imaginary in a complex derivative.)
                if single and (np.iscomplexobj(operands[key]) or not np.iscomplexobj(node.value)):
                    one = np.ones_like(node.value)[()]
                    return node.operation.pull(key, one, node.value, operands, node.keywords)
                local = node.operation.local(key, node.value, operands, node.keywords)
        except TraceError:  # shown without it; asking for the gradient says why
            return None
        if local is None or np.shape(local) == np.shape(node.value):
            return local
        # The 1 of an addition, or a row of numbers for every row: it says so for each element.
        return np.full_like(node.value, local, dtype=local.dtype if np.ndim(local) else None)

    def symbol(self, i: int) -> ast.expr:
        """A value in a formula: its name, or what says all of a constant."""
        found = self._symbols.get(i)
        if found is None:
            found = self._symbols[i] = self.literal(i) or notation.name(self.names[i])
        return found

    def literal(self, i: int) -> ast.expr | None:
        """What says all of a constant: its number, or ``I`` or ``C.T`` of those arrays."""
        value = self.values[i].value
        if self.values[i].operation is not CONSTANT:
            return None
        if np.ndim(value) == 0:
            value = np.asarray(value.mean if isinstance(value, Statistics) else value)
            if value.dtype.kind not in "fiu":
                return None
            number = float(format(value, ".6g"))  # it is for reading
            whole = abs(number) < 1e6 and number == int(number)
            return notation.number(int(number) if whole else number)
        name = self.names[i].partition("(")[0]
        if name == "I" and np.array_equal(value, np.eye(len(value))):
            return notation.name(name)
        turned = self._ids.get(name.removesuffix(".T")) if name.endswith(".T") else None
        if turned is not None and np.array_equal(value, np.transpose(self.values[turned].value)):
            return ast.Attribute(notation.name(self.names[turned]), "T", ast.Load())
        return None

    def expression(self, v: int) -> ast.expr | None:
        """The formula that computed a value, in its operands' names; None for a leaf."""
        if self.is_leaf(v):
            return None
        node = self.values[v]
        return node.operation.expression([self.symbol(u) for u in self.operands[v]], node.keywords)

    def derivative(self, v: int, key: int, everywhere: bool = False) -> ast.expr | None:
        """The formula of a local derivative; None for a linear map.

        It holds at the values of this graph, or `everywhere`: where they may be moved.
        """
        node = self.values[v]
        symbols = [self.symbol(u) for u in self.operands[v]]
        at = self.numbers(v, everywhere)
        return node.operation.derivative(key, self.symbol(v), symbols, node.keywords, at)

    def alone(self, v: int, key: int) -> bool:
        """Whether operand `key` reaches v in another way too, so that ∂v/∂u is more than its edge.

        Such an edge's local derivative is written ∂₁v, by the operand's position: the partial
        derivative by that operand alone, the others held fixed.
        """
        if len(self.operands[v]) == 1:
            return False
        u = self.operands[v][key]
        found = self._indirect.get(u)
        if found is None:
            near = self._twice_nearby(u, v)
            if near is not None:
                return near
            found = self._indirect[u] = self._reached_twice(u)
        return v in found

    def _twice_nearby(self, u: int, v: int) -> bool | None:
        """Whether u has more than one path to its reader v; None where its others are far off.

        A picture shows few edges of a long program, in which u may have readers everywhere.
        """
        pending, seen, ways = [v], {v}, 0
        for _ in range(NEARBY):
            if not pending:
                return ways > 1
            w = pending.pop()
            for key, operand in enumerate(self.operands[w]):
                if operand < u or not self._carries(w, key):
                    continue
                ways += operand == u
                if operand != u and operand not in seen:
                    seen.add(operand)
                    pending.append(operand)
            if w == v and not ways:  # no gradient comes back by this edge
                return False
            if ways > 1:
                return True
        return None

    def _reached_twice(self, u: int) -> frozenset[int]:
        """The readers of u to which it has more than one path."""
        direct = Counter(self._carried(u))
        last = max(direct, default=0)
        beyond: set[int] = set()
        pending = [*direct] if len(direct) > 1 else []
        while pending:
            for v in self._carried(pending.pop()):
                if v <= last and v not in beyond:
                    beyond.add(v)
                    pending.append(v)
        return frozenset(v for v, edges in direct.items() if edges > 1 or v in beyond)

    def _carried(self, u: int) -> Iterator[int]:
        """The readers of u, one for each edge that a gradient can come back by."""
        return (v for v, key in self.readers[u] if self._carries(v, key))

    def _carries(self, v: int, key: int) -> bool:
        """Whether a gradient can come back by an edge."""
        operation = self.values[v].operation
        return operation.derivatives is None or operation.rule(key) is not None

    def slope(self, v: int, key: int) -> ast.Name:
        """The symbol of a local derivative: ∂v/∂u, or ∂₁v where it is less (see `alone`)."""
        if self.alone(v, key):
            return notation.partial(self.names[v], key)
        return notation.derivative(self.names[v], self.names[self.operands[v][key]])

    def message(self, v: int, key: int, upstream: ast.expr, everywhere: bool = False) -> ast.expr:
        """The formula of the message to operand `key` of v: its VJP, applied to `upstream`."""
        node = self.values[v]
        symbols = [self.symbol(u) for u in self.operands[v]]
        at = self.numbers(v, everywhere)
        message = node.operation.message(key, upstream, self.symbol(v), symbols, node.keywords, at)
        return self.summed(v, key, message)

    def summed(self, v: int, key: int, message: ast.expr) -> ast.expr:
        """A message's formula with the sum over the axes along which the operand was broadcast."""
        operation = self.values[v].operation
        rule = operation.rule(key)
        whole = np.shape(self.values[v].value)
        part = np.shape(self.values[self.operands[v][key]].value)
        if rule is not None and operation.name == "matmul":  # the axes of stacks of matrices
            ranks = [np.ndim(self.values[u].value) for u in self.operands[v]]
            whole = whole[: len(whole) - sum(rank > 1 for rank in ranks)]
            part = part[:-2]
        elif rule is None or rule.local is None:
            return message
        if whole == part:
            return message
        extra = len(whole) - len(part)
        stretched = [extra + i for i, n in enumerate(part) if n == 1 and whole[extra + i] != 1]
        axes = [*range(extra), *stretched]
        keywords = []
        if axes and (part or operation.name == "matmul"):
            axis: ast.expr = ast.Constant(axes[0])
            if len(axes) > 1:
                axis = ast.Tuple([ast.Constant(i) for i in axes], ast.Load())
            keywords = [ast.keyword("axis", axis)]
            if stretched and not extra:
                keywords.append(ast.keyword("keepdims", ast.Constant(True)))
        return ast.Call(notation.name("sum"), [message], keywords)


def _whole(value: Any) -> bool:
    """Whether a value holds integers or truth values, which have no gradient."""
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        return dtype.kind in "biu"
    return str(dtype).startswith(("int", "uint", "bool"))


_NUMBERS = frozenset((float, np.float64))
_LEAF_ROWS = frozenset(LEAVES.values())
