"""The element lens: a Graph whose arrays are opened into their numbers.

Every number of an opened array is a value of its own. What computes it is, where that is exact,

- of an elementwise operation the very same operation, on numbers;
- of a product of matrices, a sum, a reshaping, and whatever else is a sum of products whatever the
  numbers are: that sum, written out;
- of any other operation the number at its place in the result (`gradviz.ops.element.Element`),
  whose local derivatives are the VJP's of unit vectors.

Which numbers a result depends on is found out at other numbers too: a unit of relu that is off, a
number that is not the maximum, a weight of 0 keep their edges, with a local derivative of 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.model import CONSTANT, Known, Node, Program
from gradviz.ops import forms
from gradviz.ops.element import SUM_OF_PRODUCTS, Element, Given
from gradviz.ops.extent import Checked
from gradviz.ops.operation import Operation
from gradviz.ops.table import lookup
from gradviz.statistics import Statistics
from gradviz.words import counted

if TYPE_CHECKING:
    from gradviz.graph import Graph

Term = tuple[float, list[int]]
"""A coefficient, and the ids of the factors."""

SUMS = forms.MOVES | frozenset(
    "sum mean broadcast_arrays concatenate concat cat stack hstack vstack dstack column_stack "
    "array_split flip fliplr flipud roll rot90 diag diagonal trace triu tril tile repeat cumsum "
    "diff scatter atleast_1d atleast_2d atleast_3d float double to type".split()
)
"""Operations that are sums of numbers, with coefficients, whatever these are."""
PRODUCTS = frozenset(
    "matmul mm bmm mv dot inner outer vdot vecdot tensordot einsum kron linear "
    "conv1d conv2d conv3d".split()
)
"""Operations that are sums of products of two numbers, one from each of two operands."""


class Opened:
    """A Graph's values, some of its arrays opened.

    Attributes
    ----------
    values, operands, names, named
        See `gradviz.model.Recording`.
    ids : list of array or int
        By id in the whole Graph the ids here: of an opened array, and of a number, an array of
        them, of what stays whole its one id.
    """

    def __init__(self, graph: Graph, names: Sequence[str], limit: int, products: bool) -> None:
        _refuse(graph)
        self.graph, self.products = graph, products
        self.whole_names = tuple(names)
        self.opens = _wanted(graph, names)
        _limited(graph, self.opens, limit)
        self.values: list[Node] = []
        self.operands: list[tuple[int, ...]] = []
        self.names: list[str] = []
        self.named: set[int] = set()
        self.ids: list[Any] = []
        self.numbered = itertools.count(1)
        self.taken = set(graph.names)
        self.random = np.random.default_rng(0)
        for v in range(len(graph)):
            self._open(v)

    def _open(self, v: int) -> None:
        graph, node = self.graph, self.graph.values[v]
        read = any(u in self.opens for u in graph.operands[v])
        if not read and v not in self.opens:
            self._keep(v)
        elif graph.is_leaf(v):
            self.ids.append(self._parts(v, [(node.operation, (), None)] * np.size(node.value)))
        else:
            with np.errstate(all="ignore"):
                parts = self._elementwise(v) or self._sums(v) or self._elements(v)
            self.ids.append(self._parts(v, parts))

    def _keep(self, v: int) -> None:
        """A value that is not opened, of such: it stays what it is."""
        node = self.graph.values[v]
        read = [int(self.ids[u]) for u in self.graph.operands[v]]
        i = self._add(v, node.value, node.operation, read, node.keywords, self.graph.names[v])
        self.ids.append(np.array(i) if self._is_number(v) else i)

    def _add(
        self, v: int, value: Any, operation: Operation, operands: Sequence[int],
        keywords: Mapping[str, Any] | None, name: str, scope: tuple[str, ...] | None = None,
    ) -> int:  # fmt: skip
        node, i = self.graph.values[v], len(self.values)
        scope = node.scope if scope is None else scope
        self.values.append(
            Node.new(
                value, operation, keywords=keywords, order=i, scope=scope, name=name,
                site=node.site,
            )
        )  # fmt: skip
        self.operands.append(tuple(operands))
        self.names.append(name)
        if v in self.graph.named:
            self.named.add(i)
        return i

    def _parts(
        self, v: int, parts: Sequence[tuple[Operation, Sequence[int], Mapping[str, Any] | None]]
    ) -> Any:
        """Add what a value becomes: all its numbers, or itself."""
        node, name = self.graph.values[v], self.graph.names[v]
        if v not in self.opens:
            ((operation, operands, keywords),) = parts
            i = self._add(v, node.value, operation, operands, keywords, name)
            return np.array(i) if self._is_number(v) else i
        value = np.asarray(node.value)
        found = np.empty(value.shape, int)
        places = np.ndindex(value.shape)
        for place, (operation, operands, keywords) in zip(places, parts, strict=True):
            said = self._unique(f"{name}[{','.join(map(str, place))}]")
            found[place] = self._add(
                v, value[place], operation, operands, keywords, said, self._scope(v)
            )
        return found

    def _scope(self, v: int) -> tuple[str, ...]:
        """That of an opened array: all that is in it stands together."""
        return (*self.graph.values[v].scope, self.graph.names[v])

    def _unique(self, name: str) -> str:
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        return name

    def _is_number(self, v: int) -> bool:
        value = self.graph.values[v].value
        return np.ndim(value) == 0 and not np.iscomplexobj(value)

    def _numbers(self, u: int) -> Any:
        """The ids of a value's numbers; None of an array that stays whole."""
        return self.ids[u] if isinstance(self.ids[u], np.ndarray) else None

    # --- what computes a number ------------------------------------------------------------------

    def _elementwise(self, v: int) -> list[Any] | None:
        """The same operation on numbers."""
        graph, node = self.graph, self.graph.values[v]
        row = row_of(node.operation)
        shape = np.shape(node.value)
        read = [self._numbers(u) for u in graph.operands[v]]
        if row is None or any(ids is None for ids in read) or not _settings(node.keywords):
            return None
        if v not in self.opens and not self._is_number(v):
            return None
        try:
            if np.broadcast_shapes(*(ids.shape for ids in read)) != shape:
                return None
            spread = [np.broadcast_to(ids, shape).reshape(-1) for ids in read]
            operands = [[int(i) for i in one] for one in zip(*spread, strict=True)]
            again = [
                row.evaluate(*(self.values[i].value for i in one), **node.keywords)
                for one in operands
            ]
        except Exception:  # a function of the user's own that takes arrays only
            return None
        if not _close(again, np.ravel(node.value)) or not self._slopes_agree(v, row, operands):
            return None
        self._literals(v, operands)
        return [(row, one, node.keywords) for one in operands]

    def _literals(self, v: int, operands: Sequence[list[int]]) -> None:
        """Give each number its own copy of the program's plain numbers, which formulas show."""
        graph = self.graph
        for key, u in enumerate(graph.operands[v]):
            plain = graph.values[u].operation is CONSTANT and u not in graph.named
            if plain and not np.ndim(graph.values[u].value):
                for one in operands[1:]:
                    one[key] = self._add(
                        u, graph.values[u].value, CONSTANT, (), None, self._number("c")
                    )

    def _number(self, letter: str) -> str:
        """A name for a value that has none."""
        name = next(n for n in (f"{letter}_{k}" for k in self.numbered) if n not in self.taken)
        self.taken.add(name)
        return name

    def _slopes_agree(self, v: int, row: Operation, operands: Sequence[Sequence[int]]) -> bool:
        """Whether a row that stands for another library's call has its derivatives too."""
        node = self.graph.values[v]
        if row_of(node.operation, translated=False) is not None:
            return True
        inputs = self.graph.operand_values(v)
        for key in range(len(inputs)):
            if node.operation.rule(key) is None or row.rule(key) is None:
                if self.graph.operands[v][key] in self.graph.varying:
                    return False
                continue
            here = np.broadcast_to(inputs[key], np.shape(node.value))
            if np.shape(here) != np.shape(inputs[key]):
                continue  # a sum over what was broadcast; the other operands tell
            slopes = node.operation.pull(
                key, np.ones_like(node.value)[()], node.value, inputs, node.keywords
            )
            own = [
                row.local(key, value, [self.values[i].value for i in one], node.keywords)
                for value, one in zip(np.ravel(node.value), operands, strict=True)
            ]
            if not _close(own, np.ravel(slopes)):
                return False
        return True

    def _sums(self, v: int) -> list[Any] | None:
        """Sums of products, found at whole numbers that tell which is which."""
        graph, node = self.graph, self.graph.values[v]
        name = node.operation.name.partition("[")[0].rstrip("_")
        read = [self._numbers(u) for u in graph.operands[v]]
        if (name not in SUMS and name not in PRODUCTS) or any(ids is None for ids in read):
            return None
        if (v not in self.opens and not self._is_number(v)) or not self._all_carry(v):
            return None
        inputs = [np.asarray(value) for value in graph.operand_values(v)]
        terms = _terms(node, inputs)
        if terms is None:
            return None
        flat = [ids.reshape(-1) for ids in read]
        written = [
            [(c, [int(flat[key][j]) for key, j in factors]) for c, factors in one] for one in terms
        ]
        value = self.value_of
        sums = [
            sum((c * np.prod([value(i) for i in factors], dtype=float) for c, factors in one), 0.0)
            for one in written
        ]
        if not _close(sums, np.ravel(node.value), np.abs(np.ravel(node.value)).max(initial=1.0)):
            return None
        return [self._sum(v, one) for one in written]

    def value_of(self, i: int) -> Any:
        """The value with an id here."""
        return self.values[i].value

    def _all_carry(self, v: int) -> bool:
        """Whether a gradient goes to each operand that varies, and all are real numbers."""
        graph, node = self.graph, self.graph.values[v]
        return all(
            np.asarray(graph.values[u].value).dtype.kind == "f"
            and (node.operation.rule(key) is not None or u not in graph.varying)
            for key, u in enumerate(graph.operands[v])
        )

    def _sum(self, v: int, terms: list[Term]) -> tuple[Operation, Sequence[int], Any]:
        """What computes one number: a sum of products, or of values that each product is."""
        if self.products and len(terms) > 1:
            terms = [
                (1.0, [self._product(v, c, ids)]) if len(ids) > 1 or c != 1 else (c, ids)
                for c, ids in terms
            ]
        read = list(dict.fromkeys(i for _, ids in terms for i in ids))
        at = {i: position for position, i in enumerate(read)}
        told = tuple((c, *(at[i] for i in ids)) for c, ids in terms)
        return SUM_OF_PRODUCTS, read, {"terms": told}

    def _product(self, v: int, coefficient: float, factors: list[int]) -> int:
        """A value of its own for one product."""
        numbers = [self.value_of(i) for i in factors]
        dtype = np.asarray(self.graph.values[v].value).dtype
        value = dtype.type(np.prod(numbers, dtype=dtype) * dtype.type(coefficient))
        terms = ((coefficient, *range(len(factors))),)
        scope = self._scope(v) if v in self.opens else None
        named = self._number("v")
        i = self._add(v, value, SUM_OF_PRODUCTS, factors, {"terms": terms}, named, scope)
        self.named.discard(i)
        return i

    def _elements(self, v: int) -> list[Any]:
        """Places in the result of the whole operation."""
        graph, node = self.graph, self.graph.values[v]
        inputs, operation = graph.operand_values(v), node.operation
        read = [self._numbers(u) for u in graph.operands[v]]
        carries = [operation.rule(key) is not None for key in range(len(read))]
        named = [graph.names[u] for u in graph.operands[v]]
        shape = np.shape(node.value)
        if v not in self.opens and not self._is_number(v):
            layout = tuple(
                None if ids is None else Given(inputs[key], range(ids.size))
                for key, ids in enumerate(read)
            )
            operands = [int(i) for u in graph.operands[v] for i in np.ravel(self.ids[u])]
            whole = Element(operation, None, shape, layout, carries, named)
            return [(whole, operands, node.keywords)]
        found = []
        rows = [self._rows(v, key, np.size(node.value)) for key in range(len(read))]
        depends = [
            None if ids is None else self._depends(v, key, rows[key])
            for key, ids in enumerate(read)
        ]
        for i in range(np.size(node.value)):
            places = [None if d is None else np.flatnonzero(d[i]).tolist() for d in depends]
            layout = tuple(
                None if p is None else Given(inputs[key], p) for key, p in enumerate(places)
            )
            part = Element(operation, i, shape, layout, carries, named)
            operands = []
            for key, p in enumerate(places):
                operands += (
                    [self.ids[graph.operands[v][key]]]
                    if p is None
                    else [int(j) for j in read[key].reshape(-1)[p]]
                )
            part.learn(
                [self.value_of(j) for j in operands],
                node.keywords,
                {key: r[i] for key, r in enumerate(rows) if r is not None},
            )
            found.append((part, operands, node.keywords))
        return found

    def _rows(self, v: int, key: int, count: int) -> list[Any] | None:
        """The Jacobian's rows: the VJP of each unit vector; None where no gradient passes."""
        node = self.graph.values[v]
        if node.operation.rule(key) is None:
            return None
        return jacobian(
            node.operation, key, node.value, self.graph.operand_values(v), node.keywords
        )

    def _depends(self, v: int, key: int, rows: list[Any] | None) -> Any:
        """Which numbers of the value depend on which of an operand's, whatever they are."""
        node, inputs = self.graph.values[v], self.graph.operand_values(v)
        operand = np.asarray(inputs[key])
        count = np.size(node.value)
        found = np.zeros((count, operand.size), bool)
        if rows is not None:
            found |= np.array([np.ravel(row) != 0 for row in rows], bool).reshape(found.shape)
        if operand.dtype.kind != "f":
            return np.ones_like(found)  # integers that are read as numbers: by all
        for j in range(operand.size):
            if not found[:, j].all():
                found[:, j] |= depending(node, inputs, key, j)
        return found

    # --- what the new Graph is made with ---------------------------------------------------------

    def naming(self) -> tuple[list[str], frozenset[int]]:
        """The names by id, and the ids whose name the program gave."""
        return self.names, frozenset(self.named)

    def all(self, i: int) -> list[int]:
        """The ids of all that a value has become."""
        return [int(j) for j in np.ravel(self.ids[i])]

    def known(self) -> Known:
        """What the whole Graph knows, by the ids here."""
        graph = self.graph
        known: Known = {"astray": graph.astray, "sure": graph.sure}
        if not graph.looks:  # else they ask of arrays, which are opened here
            known["looks"] = graph.looks
        for field in ("reads", "ends", "returned"):
            told = getattr(graph, field)
            known[field] = {j: how for i, how in told.items() for j in self.all(i)}
        if self.products or graph.by_operations:
            known["by_operations"] = True
        return known


def depending(node: Node, inputs: Sequence[Any], key: int, place: int) -> Any:
    """Which numbers of a value depend on one of an operand's: those that a large move changes."""
    operand = np.asarray(inputs[key])
    touched = np.zeros(np.size(node.value), bool)
    size = 1 + 2 * np.max(np.abs(operand), initial=0.0, where=np.isfinite(operand))
    for shift in (size, -size):
        moved = operand.copy()
        moved.reshape(-1)[place] += operand.dtype.type(shift)
        others = [*inputs[:key], moved[()], *inputs[key + 1 :]]
        try:
            with np.errstate(all="ignore"):
                value, other = (
                    np.ravel(node.operation.evaluate(*operands, **node.keywords))
                    for operands in (inputs, others)
                )
        except Exception:
            return ~touched
        if value.shape != touched.shape or other.shape != touched.shape:
            return ~touched
        touched |= (other != value) & ((other == other) | (value == value))
    return touched


def jacobian(
    operation: Operation, key: int, value: Any, operands: Sequence[Any], keywords: Any
) -> list[Any]:
    """The rows of ∂v/∂u: the VJP of each unit vector."""
    found = []
    for i in range(np.size(value)):
        unit = np.zeros(np.shape(value), np.asarray(value).dtype)
        unit.reshape(-1)[i] = 1
        found.append(operation.pull(key, unit[()], value, operands, keywords))
    return found


def _refuse(graph: Graph) -> None:
    if any(isinstance(node.value, Statistics) for node in graph.values):
        raise TraceError(
            "elements needs the arrays, and a lean capture keeps only their statistics: "
            "trace(..., capture='whole') keeps them"
        )
    for i, hook in graph.changed_by_hooks.items():
        raise TraceError(
            f"elements sends gradients by the chain rule alone, and {hook} put another gradient "
            f"in place of {graph.names[i]}'s: take the hook away first"
        )


def _wanted(graph: Graph, names: Sequence[str]) -> frozenset[int]:
    """The ids of the arrays to open."""
    chosen = []
    for name in names:
        i = graph.id(name)
        if np.iscomplexobj(graph.values[i].value):
            raise TraceError(f"{name} is complex: only arrays of real numbers are opened")
        chosen.append(i)
    found = set(chosen or range(len(graph)))
    kinds = [np.asarray(node.value).dtype.kind for node in graph.values]
    found = {i for i in found if np.ndim(graph.values[i].value) and kinds[i] in "fiub"}
    if names:
        return frozenset(found)
    for v, operands in enumerate(graph.operands):  # indices are read as they are
        for key, u in enumerate(operands):
            node = graph.values[v]
            plain = node.operation.rule(key) is None and row_of(node.operation) is None
            if plain and kinds[u] != "f":
                found.discard(u)
    return frozenset(found)


def _limited(graph: Graph, opens: frozenset[int], limit: int) -> None:
    sizes = {i: np.size(graph.values[i].value) for i in opens}
    total = sum(sizes.values())
    if total <= limit:
        return
    largest = sorted(sizes, key=lambda i: -sizes[i])[:4]
    said = ", ".join(f"{graph.names[i]} {np.shape(graph.values[i].value)}" for i in largest)
    small = [graph.names[i] for i in sorted(sizes, key=lambda i: sizes[i]) if i in graph.named]
    example = f", such as g.elements({small[0]!r})" if small and sizes[largest[-1]] else ""
    raise ValueError(
        f"{counted(len(opens), 'array')} have {total} numbers, and limit={limit}; the largest: "
        f"{said}. Name the arrays to open{example} (the others stay arrays), or give another limit"
    )


_TRANSLATED = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "sqrt": np.sqrt, "abs": np.abs,
    "square": np.square, "sin": np.sin, "cos": np.cos, "maximum": np.maximum,
    "minimum": np.minimum, "pow": np.power, "log1p": np.log1p, "expm1": np.expm1,
}  # fmt: skip
"""NumPy's name of what PyTorch calls so."""


def row_of(operation: Operation, translated: bool = True) -> Operation | None:
    """The row of an operation that works number by number; None for any other."""
    row = operation.row if isinstance(operation, Checked) else operation
    if type(row) is Operation and row.derivatives and not row.variadic:
        local = all(rule is None or rule.local is not None for rule in row.derivatives)
        return row if local else None
    if translated and hasattr(row, "carries"):
        function = _TRANSLATED.get(row.name.rstrip("_"))
        return None if function is None else lookup(function)
    return None


def _settings(keywords: Mapping[str, Any]) -> bool:
    """Whether keywords are the same for every number."""
    return all(np.ndim(value) == 0 for value in keywords.values())


def _close(found: Any, wanted: Any, scale: float = 0.0) -> bool:
    wanted = np.asarray(wanted)
    single = wanted.dtype.kind == "f" and wanted.dtype.itemsize < 8
    rounding = 1e-5 if single else 1e-12
    try:
        found = np.asarray(found).reshape(wanted.shape)
    except ValueError:
        return False
    return bool(np.allclose(found, wanted, rounding, rounding * scale, equal_nan=True))


def _terms(node: Node, inputs: Sequence[Any]) -> list[list[tuple[float, list[Any]]]] | None:
    """Per number of a value its products, each with (operand, place) of the factors.

    The operands are put at whole numbers that are all different: what a slope is then equal to,
    tells which number it is. None where that is not so simple.
    """
    count, first, probes = np.size(node.value), 2, []
    for operand in inputs:
        numbers = np.arange(first, first + operand.size)
        probes.append(numbers.reshape(operand.shape).astype(operand.dtype)[()])
        first += operand.size
    if first > 2048 and any(operand.dtype.itemsize < 4 for operand in inputs):
        return None
    where: dict[int, tuple[int, int]] = {}
    for key, probe in enumerate(probes):
        where |= {int(number): (key, j) for j, number in enumerate(np.ravel(probe))}
    found: list[list[tuple[float, list[Any]]]] = [[] for _ in range(count)]
    name = node.operation.name.partition("[")[0].rstrip("_")
    value = node.operation.evaluate(*probes, **node.keywords)
    if np.shape(value) != np.shape(node.value):
        return None
    for key in range(len(inputs)):
        for i, row in enumerate(jacobian(node.operation, key, value, probes, node.keywords)):
            flat = np.ravel(row)
            for j in np.flatnonzero(flat):
                slope = float(flat[j])
                other = where.get(int(slope)) if slope == int(slope) and name in PRODUCTS else None
                if other is None:
                    if name in PRODUCTS and slope != 1:
                        return None
                    found[i].append((slope, [(key, int(j))]))
                elif other[0] > key:
                    found[i].append((1.0, [(key, int(j)), other]))
                elif other[0] == key:
                    return None
    return found


class ElementsProgram(Program):
    """The program of the whole Graph, at the numbers of opened arrays."""

    def __init__(self, opened: Opened, limit: int) -> None:
        self.whole, self.limit = opened.graph, limit
        self.names, self.products = opened.whole_names, opened.products
        self.conjugates = self.whole.program.conjugates
        names = opened.names
        self.parts = {
            opened.graph.names[i]: (
                [names[j] for j in opened.all(i)], np.asarray(opened.graph.values[i].value)
            )
            for i in opened.opens if opened.graph.is_leaf(i)
        }  # fmt: skip

    def _arrays(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the whole program's leaves."""
        given = {}
        for name, value in self.whole.leaf_values().items():
            if name not in self.parts:
                given[name] = values.get(name, value)
                continue
            parts, array = self.parts[name]
            numbers = [values.get(part, n) for part, n in zip(parts, array.flat, strict=True)]
            given[name] = np.array(numbers, array.dtype).reshape(array.shape)
        return given

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        return self.whole.program.run(self._arrays(values))

    def record(self, values: Mapping[str, Any]) -> Any:
        """See `Program.record`."""
        again = self.whole.update(self._arrays(values))
        return again.elements(*self.names, limit=self.limit, products=self.products)

    def unseen(self) -> AbstractContextManager[None]:
        """See `Program.unseen`."""
        return self.whole.program.unseen()

    def numbers(self) -> Iterator[Any]:
        """See `Program.numbers`."""
        return iter(self.whole.program.numbers())

    def reads(self) -> str:
        """See `Program.reads`."""
        return self.whole.program.reads()

    def asks(self) -> str:
        """See `Program.asks`."""
        return self.whole.program.asks()

    @property
    def precision(self) -> float:
        """See `gradviz.record.torch.trace.Again`."""
        return float(getattr(self.whole.program, "precision", 0.0))

    @property
    def fixed(self) -> list[str]:
        """The numbers that every run makes anew."""
        return self._numbers_of(getattr(self.whole.program, "fixed", ()))

    @property
    def written(self) -> list[str]:
        """The numbers that the program writes to before it reads them."""
        return self._numbers_of(getattr(self.whole.program, "written", ()))

    def _numbers_of(self, names: Any) -> list[str]:
        return [part for name in names for part in self.parts.get(name, ([name], 0))[0]]
