"""The data model: a recorded computation, its gradients, its public schema as a NetworkX DAG."""

from __future__ import annotations

import ast
import copy
import difflib
import itertools
import operator
import os
import sys
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from gradviz import statistics
from gradviz.errors import TraceError
from gradviz.files import writable
from gradviz.layers import Layers
from gradviz.ops import notation
from gradviz.ops.operation import Operation, refuse_more_than_arrays
from gradviz.statistics import Statistics

if TYPE_CHECKING:
    import networkx

    from gradviz.chain.backward import Gradients
    from gradviz.chain.check import Check
    from gradviz.chain.compare import Comparison
    from gradviz.chain.formula import Explanation
    from gradviz.chain.health import Health
    from gradviz.chain.reuse import Reuse
    from gradviz.chain.schema import Table
    from gradviz.chain.shares import Shares
    from gradviz.show.drawing import Drawing
    from gradviz.web.widget import Widget

SCHEMA = 1


INPUT, PARAMETER, CONSTANT = (
    Operation(kind, lambda: None) for kind in ("input", "parameter", "constant")
)
LEAVES = {"input": INPUT, "parameter": PARAMETER, "constant": CONSTANT}


N = TypeVar("N", bound="Node")
_NO_KEYWORDS: Mapping[str, Any] = {}
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
        `Node`s, and plain values where the program put constants.
    keywords : dict
        The operation's further arguments.
    order : int
        Recording order: an operand's is smaller than its reader's.
    scope : tuple of str
    name : str
        A name given to it by hand, or "".
    site : tuple or None
        Where it was recorded, as the frontend notes it (see `gradviz.record.names`).
    """

    noted: ClassVar[bool] = False
    """Whether any value of this process was ever read as a plain number."""

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
        node.keywords, node.order, node.scope = keywords or _NO_KEYWORDS, order, scope
        node.name, node.site = name, site
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
    """How a Graph's computation can be run again: what `update`, `step` and `check` need."""

    def run(self, values: Mapping[str, Any]) -> Any:
        """The output for new leaf values, without recording."""
        raise NotImplementedError

    def record(self, values: Mapping[str, Any]) -> Graph:
        """A new Graph for new leaf values."""
        raise NotImplementedError

    def unseen(self) -> AbstractContextManager[None]:
        """Runs inside are silent, and leave what the program reaches as it was."""
        return nullcontext()

    def numbers(self) -> Iterable[Any]:
        """The plain numbers that the program has: its literals, what stands around it."""
        return ()

    def reads(self) -> str:
        """Where the program reads plain numbers unnoticed, by its text; "" for nowhere."""
        return ""

    def asks(self) -> str:
        """Where the program asks what kind of value it has, by its text; "" for nowhere."""
        return ""


class Replay(Program):
    """The recorded operations, evaluated again in their order."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`; a TraceError says which operation cannot be evaluated again."""
        return self._evaluate(values)[self.graph.output]

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        graph = self.graph
        fresh = [
            Node.new(
                value,
                node.operation,
                keywords=node.keywords,
                order=node.order,
                scope=node.scope,
                name=node.name,
                site=node.site,
            )
            for node, value in zip(graph.values, self._evaluate(values), strict=True)
        ]
        names = graph._naming
        return Graph(
            fresh,
            graph.operands,
            lambda: names,
            graph.output,
            graph.wrt,
            sources=graph._source,
            title=graph.title,
            layers=graph.layers,
        )

    def _evaluate(self, values: Mapping[str, Any]) -> list[Any]:
        graph = self.graph
        results: list[Any] = []
        for i, node in enumerate(graph.values):
            if graph.is_leaf(i):
                results.append(values.get(graph.names[i], node.value))
                continue
            operands = [results[u] for u in graph.operands[i]]
            try:
                result = node.operation.evaluate(*operands, **node.keywords)
            except Exception as error:
                raise TraceError(
                    f"{graph.names[i]} cannot be computed again: {node.operation.name}: {error}"
                ) from error
            results.append(result[()] if isinstance(result, np.ndarray) else result)
        return results


class Graph:
    """A recorded computation with output J.

    Made by `gradviz.trace`, `gradviz.graph` and `gradviz.expression`; immutable.

    Attributes
    ----------
    values : list of Node
        Every value, constants included, in recording order; a value's id is its position here.
    operands : list of tuple of int
        The ids of each value's operands, by position.
    names : list of str
        Unique, shown.
    named : frozenset of int
        The ids whose name the program gave (the others are numbered: v_1, v_2, ...).
    output : int
        The id of J.
    wrt : frozenset of int
        The leaves that gradients are asked for.
    layers : mapping of tuple of str to Layer
        By scope the module that it is, of a PyTorch program; the scope () is the program's own.

    legible : int
        A picture of more values is folded.
    error : Exception or None
        What ended the program before it had computed J; the last value stands for it.
    changed_by_hooks : mapping of int to str
        The ids where a hook of the user put another gradient in the place of the one that came, and
        which hook: there the messages do not sum to the gradient, or (of a module's hook) the
        message that goes on is not the local derivative times the gradient.
    locals, statement_locals : dict or None
        Local derivatives that are known without the operations' rules, by edge (v, key) and, of
        `statements`, by (id of v, id of u): those of a Graph that was loaded from a file.
    """

    legible: int = 100
    error: Exception | None = None
    changed_by_hooks: Mapping[int, str] = MappingProxyType({})
    locals: Mapping[tuple[int, int], Any] | None = None
    statement_locals: Mapping[tuple[int, int], Any] | None = None

    def __init__(
        self,
        values: list[Node],
        operands: list[tuple[int, ...]],
        names: Callable[[], tuple[list[str], frozenset[int]]],
        output: int,
        wrt: Iterable[int],
        *,
        sources: Callable[[Node], tuple[str, int, str] | None] = lambda node: None,
        program: Program | None = None,
        title: str = "",
        layers: Layers = MappingProxyType({}),
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

    def __repr__(self) -> str:
        return f"<Graph of {self.names[self.output]}: {len(self.values)} values>"

    def __len__(self) -> int:
        return len(self.values)

    # --- what was recorded -------------------------------------------------------------------

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
        """
        try:
            return self._ids[writable(name)]
        except KeyError:
            near = difflib.get_close_matches(name, self.names, 3, 0.4) or self.names[:8]
            raise KeyError(f"no value is called {name!r}; there are: {', '.join(near)}") from None

    def kind(self, i: int) -> str:
        """One of input, parameter, constant, operation."""
        operation = self.values[i].operation
        return operation.name if operation in _LEAF_ROWS else "operation"

    def is_leaf(self, i: int) -> bool:
        """Whether a value is an input, a parameter or a constant."""
        return self.values[i].operation in _LEAF_ROWS

    def source(self, i: int) -> tuple[str, int, str] | None:
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

    @cached_property
    def varying(self) -> Ids:
        """The ids that depend on a leaf of `wrt`: only these have gradients."""
        marks = bytearray(len(self))
        for i in self.wrt:
            marks[i] = 1
        for v, operands in enumerate(self.operands):
            for u in operands:
                if marks[u]:
                    marks[v] = 1
                    break
        return Ids(marks)

    # --- its derivatives ---------------------------------------------------------------------

    @cached_property
    def derivatives(self) -> Gradients:
        """Gradients and messages of the backward pass from J, computed when first asked for."""
        from gradviz.chain.backward import backward

        found = self.__dict__["derivatives"] = backward(self)
        self.warn_of_reads()
        return found

    def warn_of_reads(self) -> None:
        """Warn if the gradients lack a part, or are another J's than the program's by itself."""
        from gradviz.chain.reads import partly

        if lost := partly(self):
            reads = "; ".join(f"{self.names[i]} {how}" for i, how in [*lost.items()][:3])
            sure = "is wrong: it lacks" if self.sure else "may be wrong: it would lack"
            warnings.warn(
                f"the gradient {sure} the part of a value that was read as a plain number and came "
                f"back into {self.names[self.output]}, for its history ended there: {reads}; keep "
                "it an array, or write gradviz.stop_gradient where a constant is meant",
                stacklevel=_outside(),
            )
        if self.astray:
            warnings.warn(
                f"the gradient is one of another {self.names[self.output]}: {self.astray}",
                stacklevel=_outside(),
            )

    @cached_property
    def sure(self) -> bool:
        """Whether `returned` was found out by running the program."""
        return self.recorded_program is not None

    @cached_property
    def astray(self) -> str:
        """That the program computes another J on plain arrays, as it asks what it has; else ""."""
        from gradviz.chain.reads import astray

        return astray(self)

    @cached_property
    def returned(self) -> dict[int, str]:
        """By id the values whose plain number, read by the program, came back into J; how, where.

        The gradient lacks what should have come back with it.
        """
        from gradviz.chain.reads import returned

        return returned(self)

    def backward(self) -> Graph:
        """Compute every gradient and message now (later calls cost nothing); returns the Graph.

        Raises
        ------
        TraceError
            J is no real scalar, or a gradient would have to pass an operation without a rule.
        """
        _ = self.derivatives
        return self

    def grad(self, name: str) -> Any:
        """The gradient (adjoint) ∂J/∂name, of the value's own shape and dtype.

        Zeros where no path leads to J.

        Raises
        ------
        TraceError
            The gradient cannot be computed, or was not asked for (`wrt`).
        """
        return self.adjoint(self.id(name))

    def adjoint(self, i: int) -> Any:
        """The gradient of the value with the id `i`; zeros where no path leads to J."""
        gradient = self.derivatives.gradients.get(i)
        if gradient is not None:
            return gradient
        if i in self.varying:
            if lost := self._read_from(i):
                warnings.warn(
                    f"the gradient of {self.names[i]} is 0, for no path leads to "
                    f"{self.names[self.output]}, but {lost}: there its history ended",
                    stacklevel=3,
                )
            value = self.values[i].value
            if isinstance(value, Statistics):
                return statistics.zeros(value.shape, value.dtype)
            return np.zeros_like(value)
        raise TraceError(
            f"the gradient of {self.names[i]} was not asked for: no wrt leaf leads to it"
        )

    def _read_from(self, i: int) -> str:
        """Where the program read what depends on a value as a plain number; "" for nowhere."""
        reached = {i}
        for v, operands in enumerate(self.operands):
            if v >= i and (v in reached or not reached.isdisjoint(operands)):
                reached.add(v)
                if v in self.ends:
                    return f"{self.names[v]} was read as a plain number {self.ends[v]}"
        return ""

    @cached_property
    def ends(self) -> dict[int, str]:
        """Those of `reads` after which a history goes on to J, or may."""
        unknown = (i for i in self.reads if isinstance(getattr(self.values[i], "read", 0), tuple))
        return {i: self.reads[i] for i in unknown} | self.returned

    @cached_property
    def reads(self) -> dict[int, str]:
        """By id the values that the program read as plain numbers: how and where.

        Their history ends there: what the program computes from such a number is a constant.
        """
        found: dict[int, str] = {}
        if not Node.noted:
            return found
        for i, node in enumerate(self.values):
            read = getattr(node, "read", ())
            said = []
            for how, site in (read,) if isinstance(read, tuple) and read else read:
                file, line, text = self._source(Node.new(None, INPUT, site=site)) or ("?", 0, "")
                said.append(f"by {how} at {file}:{line}: {text}")
            if said:
                found[i] = ", ".join(said[:3])
        return found

    def grad_state(self, i: int) -> str:
        """One of: not computed, disconnected, zero, underflown, non-finite, number."""
        from gradviz.chain.backward import state

        return state(self, i)

    @cached_property
    def underflown(self) -> frozenset[int]:
        """The ids whose gradient is zero only because a product became too small for a number."""
        from gradviz.chain.backward import underflown

        return underflown(self)

    def gradients(self) -> dict[str, Any]:
        """The gradient of each leaf that was asked for, by name."""
        return {self.names[i]: self.adjoint(i) for i in sorted(self.wrt)}

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
        with np.errstate(all="ignore"):
            if rule.local and type(node.value) is np.float64 and type(operands[key]) in _NUMBERS:
                return np.float64(rule.local(node.value, *operands, **node.keywords))
            single = np.size(node.value) == 1 and np.ndim(node.value) <= np.ndim(operands[key])
            # (A message to a real operand has lost what is imaginary in a complex derivative.)
            if single and (np.iscomplexobj(operands[key]) or not np.iscomplexobj(node.value)):
                one = np.ones_like(node.value)[()]
                try:
                    return node.operation.pull(key, one, node.value, operands, node.keywords)
                except TraceError:  # shown without it; asking for the gradient says why
                    return None
            try:
                local = node.operation.local(key, node.value, operands, node.keywords)
            except TraceError:  # of a step inside only the statistics were kept
                return None
        if local is None or np.shape(local) == np.shape(node.value):
            return local
        # The 1 of an addition, or a row of numbers for every row: it says so for each element.
        return np.full_like(node.value, local, dtype=local.dtype if np.ndim(local) else None)

    def symbol(self, i: int) -> ast.expr:
        """A value in a formula: its name, or a constant's number."""
        found = self._symbols.get(i)
        if found is None:
            node = self.values[i]
            found = notation.name(self.names[i])
            if node.operation is CONSTANT and np.ndim(node.value) == 0:
                single = isinstance(node.value, Statistics)
                value = np.asarray(node.value.mean if single else node.value)
                if value.dtype.kind in "fiu":
                    number = float(format(value, ".6g"))  # it is for reading
                    whole = abs(number) < 1e6 and number == int(number)
                    found = notation.number(int(number) if whole else number)
            self._symbols[i] = found
        return found

    def expression(self, v: int) -> ast.expr | None:
        """The formula that computed a value, in its operands' names; None for a leaf."""
        if self.is_leaf(v):
            return None
        node = self.values[v]
        return node.operation.expression([self.symbol(u) for u in self.operands[v]], node.keywords)

    def derivative(self, v: int, key: int) -> ast.expr | None:
        """The formula of a local derivative; None for a linear map."""
        node = self.values[v]
        symbols = [self.symbol(u) for u in self.operands[v]]
        return node.operation.derivative(key, self.symbol(v), symbols, node.keywords)

    def alone(self, v: int, key: int) -> bool:
        """Whether operand `key` reaches v in another way too, so that ∂v/∂u is more than its edge.

        Such an edge's local derivative is written ∂₁v, by the operand's position: the partial
        derivative by that operand alone, the others held fixed.
        """
        u = self.operands[v][key]
        found = self._indirect.get(u)
        if found is None:
            found = self._indirect[u] = self._reached_twice(u)
        return v in found

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
        for v, key in self.readers[u]:
            operation = self.values[v].operation
            if operation.derivatives is None or operation.rule(key) is not None:
                yield v

    def slope(self, v: int, key: int) -> ast.Name:
        """The symbol of a local derivative: ∂v/∂u, or ∂₁v where it is less (see `alone`)."""
        if self.alone(v, key):
            return notation.partial(self.names[v], key)
        return notation.derivative(self.names[v], self.names[self.operands[v][key]])

    def message(self, v: int, key: int, upstream: ast.expr) -> ast.expr:
        """The formula of the message to operand `key` of v: its VJP, applied to `upstream`."""
        node = self.values[v]
        symbols = [self.symbol(u) for u in self.operands[v]]
        message = node.operation.message(key, upstream, self.symbol(v), symbols, node.keywords)
        return self.summed(v, key, message)

    def summed(self, v: int, key: int, message: ast.expr) -> ast.expr:
        """A message's formula with the sum over the axes along which the operand was broadcast."""
        rule = self.values[v].operation.rule(key)
        whole = np.shape(self.values[v].value)
        part = np.shape(self.values[self.operands[v][key]].value)
        if rule is None or rule.local is None or whole == part:
            return message
        extra = len(whole) - len(part)
        stretched = [extra + i for i, n in enumerate(part) if n == 1 and whole[extra + i] != 1]
        axes = [*range(extra), *stretched]
        keywords = []
        if part and axes:
            axis: ast.expr = ast.Constant(axes[0])
            if len(axes) > 1:
                axis = ast.Tuple([ast.Constant(i) for i in axes], ast.Load())
            keywords = [ast.keyword("axis", axis)]
            if stretched and not extra:
                keywords.append(ast.keyword("keepdims", ast.Constant(True)))
        return ast.Call(notation.name("sum"), [message], keywords)

    # --- as NetworkX graphs ------------------------------------------------------------------

    @cached_property
    def dag(self) -> networkx.MultiDiGraph:
        """The computation as a `networkx.MultiDiGraph`: a node per value, an edge per operand.

        The schema (version 1). Graph attributes: ``schema``, ``output`` (id of J), ``name``.
        Node attributes: ``name``, ``op``, ``kind`` (input, parameter, constant, operation),
        ``value``, ``shape``, ``dtype``, ``grad`` (None where there is none), ``grad_state`` (not
        computed, disconnected, zero, underflown, non-finite, number), ``changed_by_hook`` (the hook
        that put this gradient in the place of the one that came; else ""), ``scope`` (tuple),
        ``source`` (file, line, text; or None), ``expression`` (plain text). Edge (u, v,
        key=operand position): ``local`` (None for a linear map), ``message`` (None before
        backward), ``symbol`` (the local derivative's: ∂v/∂u, or ∂₁v, by the operand's position,
        where u reaches v in another way too), ``derivative`` (plain text, "" for a linear map),
        ``vjp`` (the message of a linear map in plain text, a bar over a name meaning its gradient;
        else "").
        """
        return self.table.dag()

    @cached_property
    def backward_dag(self) -> networkx.MultiDiGraph:
        """The backward pass in the same schema: a node per gradient, an edge per message.

        A cached upstream term that is read three times is a node with three out-edges. The node
        attribute ``of`` is the id of the forward value; an edge's ``key`` tells parallel edges
        apart.
        """
        return self.backward_table.dag()

    @cached_property
    def table(self) -> Table:
        """What `dag` holds, as plain rows: pictures need no more."""
        from gradviz.chain.schema import forward

        return forward(self)

    @cached_property
    def backward_table(self) -> Table:
        """What `backward_dag` holds, as plain rows."""
        from gradviz.chain.schema import backward

        return backward(self)

    # --- explained and drawn -----------------------------------------------------------------

    @property
    def statements(self) -> Graph:
        """The same computation with one value per name: unnamed steps are part of the named one."""
        found = self._statements
        return self if found is None else found

    @cached_property
    def _statements(self) -> Graph | None:
        """The same; None for this very Graph, which must not hold itself."""
        from gradviz.chain.statements import statements

        found = statements(self)
        return None if found is self else found

    def explain(
        self, name: str, *, after: str | Sequence[str] = (), detail: str | None = None
    ) -> Explanation:
        """The chain rule for ∂J/∂name, in symbols and in numbers.

        Parameters
        ----------
        name : str
        after : str or sequence of str, optional
            Targets whose gradients are already computed; the factors that they share are marked
            as reused.
        detail : {"names", "operations"}, optional
            What counts as a step, see `draw`.
        """
        from gradviz.chain.formula import explain

        return explain(self.detailed(detail), name, (after,) if isinstance(after, str) else after)

    def reuse(self, *targets: str, detail: str | None = None) -> Reuse:
        """The ledger of upstream terms computed and reused, target by target.

        Parameters
        ----------
        *targets : str
            Names, in the order in which their gradients are computed; default: every leaf asked
            for, from the output backwards.
        detail : {"names", "operations"}, optional
            What counts as a step, see `draw`.
        """
        from gradviz.chain.reuse import reuse

        return reuse(self.detailed(detail), targets)

    def detailed(self, detail: str | None = None) -> Graph:
        """This Graph at the wanted level of detail (see `draw`)."""
        if detail not in (None, "names", "operations"):
            raise ValueError(f"detail={detail!r}: write 'names' or 'operations'")
        if detail == "operations":
            return self
        return self.statements

    def check(self, *, detail: str | None = None, **options: Any) -> Check:
        """Every gradient computed another way (see `gradviz.chain.check.check` for the options).

        Leaf gradients by central finite differences of the program run again, every gradient as
        the sum of its messages, and as the sum over its paths.
        """
        from gradviz.chain.check import check

        return check(self.detailed(detail), **options)

    def diagnose(self, *, rate: float | None = None) -> Health:
        """What is wrong with the numbers of this computation, where, why, and what to do.

        The first value and the first gradient that are not finite, and what made them; gradients
        that vanish or explode, and by which operation; parameters without a gradient, and why;
        dead and saturated units; parameters that are ill scaled.

        Parameters
        ----------
        rate : float, optional
            The learning rate: a step of gradient descent is then compared with the parameters.

        Returns
        -------
        Health
            True if nothing is wrong. `findings`, `text` and `draw` tell what is.
        """
        from gradviz.chain.health import diagnose

        return diagnose(self, rate)

    def shares(self, *, detail: str | None = None) -> Shares:
        """Each leaf's share in the first-order change of J by one step of gradient descent.

        J changes by -η Σ (∂J/∂w)²: a leaf's share is its part of this sum. Backpropagation gives
        each parameter its own derivative; it does not divide a blame among them, and a share says
        only how much of the next step's gain is due to a parameter.
        """
        from gradviz.chain.shares import shares

        return shares(self.detailed(detail))

    def draw(self, *, detail: str | None = None, **options: Any) -> Drawing:
        """The picture; of a large Graph, folded into boxes that ``unfold=`` opens.

        Parameters
        ----------
        detail : {"names", "operations"}, optional
            ``"names"`` (the default) shows a box for each value that the program names, with the
            unnamed steps inside it; ``"operations"`` a box for each operation. A program that
            names no intermediate value is always shown by its operations.
        **options
            See `gradviz.show.drawing.draw`.
        """
        from gradviz.show.drawing import draw

        if self.returned and options.get("highlight") is None:
            from gradviz.chain.health.findings import read_marks

            options["highlight"] = read_marks(self, detail)
        return draw(self.detailed(detail), **options)

    def save(self, path: Any, **options: Any) -> None:
        """Write a picture, a page, or the Graph itself: the suffix says what.

        Parameters
        ----------
        path : str or path-like
            ``.svg``, ``.png``, ``.pdf``, ``.dot``, ``.tex`` and ``.txt`` are pictures. An ``.html``
            is a page of its own that steps through both passes, explains every value and
            recomputes. A ``.json`` holds the whole Graph, for `gradviz.load`.
        **options
            Of a picture, see `draw`; of a page, see `gradviz.web.page.to_html`.
        """
        suffix = os.path.splitext(path)[1].lower()
        if suffix == ".json":
            from gradviz.keep import reading as saved

            saved.save(self, path, **options)
        elif suffix == ".html":
            from gradviz.files import write_atomic
            from gradviz.web.page import to_html

            write_atomic(path, to_html(self, **options))
        else:
            self.draw(**options).save(path)

    def __reduce__(self) -> tuple[Any, ...]:
        from gradviz.keep.reading import reduced

        return reduced(self)

    def __copy__(self) -> Graph:
        return self  # never changes

    def __deepcopy__(self, memo: Any) -> Graph:
        from gradviz.keep.reading import pack, unpack

        return unpack(copy.deepcopy(pack(self), memo), self.recorded_program)

    def widget(self, **options: Any) -> Widget:
        """The Jupyter widget (see `gradviz.web.widget.Widget`); needs the extra ``widget``."""
        from gradviz.web.widget import Widget

        return Widget(self, **options)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.draw()._repr_mimebundle_(include, exclude)

    # --- run again ---------------------------------------------------------------------------

    @property
    def program(self) -> Program:
        """The traced function; else the recorded operations, evaluated again in their order."""
        return self.recorded_program or Replay(self)

    def leaf_values(self) -> dict[str, Any]:
        """The values of inputs and parameters by name."""
        return {
            self.names[i]: node.value
            for i, node in enumerate(self.values)
            if node.operation in (INPUT, PARAMETER)
        }

    def update(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> Graph:
        """A new Graph: the same program with new values for some leaves.

        Parameters
        ----------
        values : mapping of str to array_like, optional
            New values by leaf name; names that are identifiers may be given as keywords too.

        Raises
        ------
        KeyError
            No leaf has the name.
        ValueError
            A value has another shape than the leaf.
        TypeError
            A value is more than an array of numbers: masked, a matrix, of units.
        """
        current = self.leaf_values()
        new = dict(values or {}) | more
        for name, value in new.items():
            if name not in current:
                near = difflib.get_close_matches(name, current, 3, 0.4) or list(current)[:8]
                raise KeyError(f"no leaf is called {name!r}; there are: {', '.join(near)}")
            refuse_more_than_arrays(value, name)
            if np.shape(value) != np.shape(current[name]):
                raise ValueError(
                    f"{name} has shape {np.shape(current[name])}, the new value {np.shape(value)}"
                )
            known = current[name]
            dtype = known.dtype if isinstance(known, Statistics) else np.asarray(known).dtype
            new[name] = np.asarray(value, None if dtype == "bfloat16" else dtype)[()]
        return self.program.record(current | new)

    def step(self, rate: float = 0.1) -> Graph:
        """One step of gradient descent, w ← w - rate · ∂J/∂w, as a new Graph.

        The parameters move; where there are none, every leaf that gradients are asked for.
        """
        moving = [i for i in self.wrt if self.values[i].operation is PARAMETER] or self.wrt
        return self.update(
            {
                self.names[i]: self.values[i].value - rate * np.conjugate(self.adjoint(i))
                for i in moving
            }
        )


def _outside() -> int:
    """How many frames above its caller's the user's own code is, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    return level


_INSIDE = ("gradviz", "functools")
_NUMBERS = frozenset((float, np.float64))
_LEAF_ROWS = frozenset(LEAVES.values())


def load(path: Any, *, max_bytes: int = 128 * 2**20) -> Graph:
    """The Graph that `Graph.save` wrote to a ``.json`` file.

    It draws and explains as the original did: its gradients are those of the file, not computed
    again. `Graph.update`, `Graph.step` and `Graph.check` evaluate the recorded operations again,
    also where the original was a traced function with branches. An operation that this
    installation does not know is drawn, with what the file says of it.

    Parameters
    ----------
    path : str or path-like
    max_bytes : int, optional
        A larger file is refused; reading one takes a small multiple of its size in memory.

    Returns
    -------
    Graph
        Its arrays are read-only.

    Raises
    ------
    ValueError
        The file is no such Graph; the message says where it is wrong.
    OSError
        The file cannot be read.
    """
    from gradviz.keep import reading as saved

    return saved.load(path, max_bytes)


def compare(
    graph: Graph,
    other: Graph,
    *,
    names: Mapping[str, str] | None = None,
    tolerance: float | None = None,
) -> Comparison:
    """Where two traces of one program part: two steps, two seeds, two precisions, two libraries.

    Leaves correspond by name, operations in recording order: those with the same name, scope and
    shape, and unnamed ones with the same operation, scope, shape and line of the program. Where
    one took another branch, or went round a loop more often, what is in only one is listed too. The
    same function written with NumPy and with PyTorch is compared by the values that it names.

    Parameters
    ----------
    graph, other : Graph
    names : mapping of str to str, optional
        Names in `graph` and what they are called in `other`, where that is something else.
    tolerance : float, optional
        On ‖a - b‖ / max(‖a‖, ‖b‖); 0 asks for the same bits. Default: for each value what the
        roundings before it explain, in the coarser of both dtypes.

    Returns
    -------
    Comparison
        True if all agree. `first`, `first_gradient`, `text` and `draw` tell where they part.

    Raises
    ------
    TypeError
        One is no Graph.
    ValueError
        The two have nothing in common.
    KeyError
        No value has a name of `names`.

    Notes
    -----
    A whole capture keeps bfloat16 as float32 arrays, so give it a `tolerance`, such as 0.05.
    """
    from gradviz.chain import compare as package

    return package.compare(graph, other, names=names, tolerance=tolerance)
