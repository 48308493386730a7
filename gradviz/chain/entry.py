"""The chain rule for one number of an array: as a sum over numbers, and as a place in a matrix."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.elements import depending
from gradviz.chain.formula import (
    ALONE,
    SHOWN_PATHS,
    Explanation,
    Formula,
    _aligned,
    _latex_number,
    _latex_signed,
    _plain,
    _signed,
    _spoken,
    _tex_said,
)
from gradviz.chain.paths import Path, paths
from gradviz.errors import TraceError
from gradviz.language import in_its_language, say
from gradviz.ops import notation, tex
from gradviz.statistics import Statistics
from gradviz.words import no_name

if TYPE_CHECKING:
    from gradviz.graph import Graph

_ENTRY = re.compile(r"(.+)\[(\d+(?:, ?\d+)*)\]", re.DOTALL)
_NEGATIVE = re.compile(r"(?<=[·+*/-] )(-[\d.]+(?:e-?\d+)?)")
Place = tuple[int, ...]


def entry_of(graph: Graph, name: str) -> tuple[int, Place] | None:
    """The array and the place that a name such as ``W[0,1]`` means; None for any other name.

    Raises
    ------
    KeyError
        The array has no such place.
    TraceError
        Its numbers were not kept.
    TypeError
        It is no text.
    """
    if not isinstance(name, str):
        raise TypeError(no_name(name, graph.names))
    found = None if name in graph.names else _ENTRY.fullmatch(name)
    if found is None or found[1] not in graph.names:
        return None
    i, place = graph.id(found[1]), tuple(map(int, found[2].split(",")))
    value = graph.values[i].value
    shape = np.shape(value)
    if len(place) != len(shape) or any(at >= n for at, n in zip(place, shape, strict=True)):
        raise KeyError(f"{found[1]} has the shape {shape}: it has no number {name}")
    if isinstance(value, Statistics):
        raise TraceError(
            f"{name} was not kept: a lean capture keeps statistics of {found[1]} alone; "
            "trace(..., capture='whole') keeps all numbers"
        )
    return i, place


def indexed(name: str, place: Place) -> str:
    """``W[0,1]``: a number of an array; of a number its own name."""
    return f"{name}[{','.join(map(str, place))}]" if place else name


class EntryExplanation(Explanation):
    """The chain rule for one number of an array.

    Attributes
    ----------
    place : tuple of int
        Where in the array.
    """

    def __init__(self, graph: Graph, target: int, place: Place, after: Sequence[str]) -> None:
        super().__init__(graph, target, after)
        self.place = place

    @property
    def name(self) -> str:
        """The number's name."""
        return indexed(self.graph.names[self.target], self.place)

    @property
    def value(self) -> Any:
        """The gradient, a number."""
        return self.graph.adjoint(self.target)[self.place]

    def paths(self, k: int | None = None) -> list[Path]:
        """The paths of arrays, with what each brings to this number."""
        found = itertools.islice(paths(self.graph, self.target), k)
        return [p if p.value is None else replace(p, value=p.value[self.place]) for p in found]

    @cached_property
    def parts(self) -> list[tuple[int, int, Place, Any]]:
        """The numbers that depend on it: reader, operand's position, place, local derivative."""
        graph, found = self.graph, []
        flat = int(np.ravel_multi_index(self.place, np.shape(graph.values[self.target].value)))
        for v, key in self._readers[self.target]:
            node, inputs = graph.values[v], graph.operand_values(v)
            touched = depending(node, inputs, key, flat)
            shape = np.shape(node.value)
            for i in np.flatnonzero(touched):
                unit = np.zeros(shape, np.asarray(node.value).dtype)
                unit.reshape(-1)[i] = 1
                place = tuple(map(int, np.unravel_index(i, shape)))
                with np.errstate(all="ignore"):
                    row = node.operation.pull(key, unit[()], node.value, inputs, node.keywords)
                found.append((v, key, place, row[self.place]))
                if len(found) > SHOWN_ENOUGH:
                    return found
        return found

    @cached_property
    @in_its_language
    def formula(self) -> Formula:
        """The gradient as a sum over the numbers that depend on it."""
        graph = self.graph
        if self.disconnected or self.target == graph.output:
            return super().formula
        output = graph.names[graph.output]
        head = notation.derivative(output, self.name)
        if not self.parts:
            return Formula(
                f"{head.id} = {_plain(self.value)}{say(NO_READER, u=self.name)}",
                f"{tex.formula(head)} = {_latex_number(self.value)} "
                f"{_tex_said(NO_READER, u=tex.formula(notation.name(self.name)))}",
            )
        symbols, products = [], []
        partials: dict[str, int] = {}
        real = True
        for v, key, place, local in self.parts[:SHOWN_PATHS]:
            above = indexed(graph.names[v], place)
            slope = notation.derivative(above, self.name)
            if graph.alone(v, key):
                slope = notation.partial(above, key)
                partials[slope.id] = key
            real = real and not np.iscomplexobj(graph.values[v].value)
            factors, numbers = [slope], [float(local.real)]
            if v != graph.output:
                factors.insert(0, notation.derivative(output, above))
                numbers.insert(0, float(np.asarray(graph.adjoint(v))[place].real))
            symbols.append(
                (" · ".join(f.id for f in factors), _DOT.join(map(tex.formula, factors)))
            )
            products.append(
                (" · ".join(map(_signed, numbers)), _DOT.join(map(_latex_signed, numbers)))
            )
        if [said for said, _ in symbols] == [head.id]:  # J reads it, and nothing else does
            alone = rf"{tex.formula(head)} = {_latex_number(self.value)}"
            return Formula(f"{head.id} = {_plain(self.value)}", alone)
        more = len(self.parts) - len(symbols)
        many = "…" if len(self.parts) > SHOWN_ENOUGH else str(more)
        text = [f"{head.id} = " + "\n  + ".join(t for t, _ in symbols)]
        latex = [f"{tex.formula(head)} &= " + r" \\ &+ ".join(x for _, x in symbols)]
        if more:
            text[0] += f"\n  + {say('{n} more: it serves as many numbers', n=many)}"
            latex[0] += rf" \\ &+ \cdots \text{{ ({say('{n} more', n=many)})}}"
        elif real:  # of complex numbers a part is sent, which no product of real ones is
            text.append("= " + " + ".join(t for t, _ in products))
            latex.append("&= " + " + ".join(x for _, x in products))
        text.append(f"= {_plain(self.value)}")
        latex.append(f"&= {_latex_number(self.value)}")
        own = notation.name(self.name)
        for said, key in partials.items():
            name = notation.name(said)
            text.append(f"{said}{say(ALONE, n=key + 1, u=self.name)}")
            held = _tex_said(ALONE, n=str(key + 1), u=tex.formula(own))
            latex.append(f"&{tex.formula(name)} {held}")
        return Formula("\n".join(text), _aligned(latex))

    @cached_property
    @in_its_language
    def factored(self) -> Formula:
        """The gradient of the array by upstream terms, and where this number stands in it."""
        whole = super().factored
        stands = None if self.disconnected else self._stands()
        if stands is None:
            return whole
        text, latex = stands
        begin = r"\begin{aligned}"
        return Formula(
            f"{whole.text}\n{text}",
            whole.latex.replace(r"\end{aligned}", f"\\\\\n{latex}\n\\end{{aligned}}")
            if begin in whole.latex
            else whole.latex,
        )

    def _stands(self) -> tuple[str, str] | None:
        """Its place in the matrix formula, in text and LaTeX; None where that has no such form.

        The formula is evaluated: it is said only if it gives the array's gradient.
        """
        graph = self.graph
        if self.target == graph.output:
            return None
        terms, known = [], dict[str, Any]()
        for v, key in self._readers[self.target]:
            last = v == graph.output
            terms.append(graph.message(v, key, notation.number(1) if last else self._upstream(v)))
            for i in (v, *graph.operands[v]):
                known[graph.names[i]] = graph.values[i].value
            if not last:
                known[self._upstream(v).id] = graph.adjoint(v)
            shapes = [np.size(graph.values[i].value) for i in (graph.operands[v][key], v)]
            known.setdefault("n", np.float64(shapes[0] / max(shapes[1], 1)))
        tree = _read(notation.total(terms), known, graph.adjoint(self.target), self.place)
        if tree is None:
            return None
        numbers = notation.substitute(tree, _numbers(tree, known))
        head = notation.derivative(graph.names[graph.output], self.name)
        text = [f"{say('so ')}{head.id} = {_spoken(tree)}"]
        latex = [rf"\text{{{say('so ')}}} {tex.formula(head)} &= {tex.formula(tree, _DOT)}"]
        if notation.text(numbers) != notation.text(tree):
            text.append(_NEGATIVE.sub(r"(\1)", _spoken(numbers)))
            latex.append(tex.formula(numbers, _DOT))
        if _spoken(numbers) != _plain(self.value):
            text.append(_plain(self.value))
            latex.append(_latex_number(self.value))
        return " = ".join(text), " \\\\\n&= ".join(latex)


_DOT = r" \cdot "
NO_READER = ": no other number depends on {u}"
SHOWN_ENOUGH = 64
"""So many numbers that depend on one are looked at; there may be more."""


def _numbers(tree: ast.expr, known: Mapping[str, Any]) -> dict[str, ast.expr]:
    """What to put in place of each symbol of a number."""
    found = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name):
            continue
        name, place = node.id, ""
        if name not in known and (parts := _ENTRY.fullmatch(name)):
            name, place = parts[1], parts[2]
        if name in known:
            at = tuple(map(int, place.split(","))) if place else ()
            number = float(np.asarray(known[name])[at])
            number = float(format(number, ".6g")) + 0.0  # no -0
            whole = abs(number) < 1e6 and number == int(number)
            found[node.id] = notation.number(int(number) if whole else number)
    return found


def _read(tree: ast.expr, known: Mapping[str, Any], wanted: Any, place: Place) -> ast.expr | None:
    """The formula of one number of an array's; None where it does not compute what is wanted."""
    rounding = 1e-9 if np.asarray(wanted).dtype.itemsize == 8 else 1e-4
    scale = np.max(np.abs(wanted), initial=0.0)
    for rows in (False, True):
        try:
            with np.errstate(all="ignore"):
                found = _Reading(known, rows).of(tree)
            if found.shape == np.shape(wanted) and np.allclose(
                found.value, wanted, rounding, rounding * scale
            ):
                return found.at(place)
        except (_Unread, ValueError, IndexError, TypeError):
            continue
    return None


class _Unread(Exception):
    """A formula says something else than what is computed number by number."""


@dataclass(frozen=True)
class _Read:
    """A formula's array, and the formula of each of its numbers.

    Attributes
    ----------
    value : array
    at : callable
        Gives the formula of the number at a place.
    """

    value: Any
    at: Callable[[Place], ast.expr]

    @property
    def shape(self) -> Place:
        """Of the array."""
        return np.shape(self.value)


class _Reading:
    """Reads formulas as textbooks write them: a vector is a column, its transpose a row.

    With `rows` it is the other way round, as where a batch's examples are rows.
    """

    def __init__(self, known: Mapping[str, Any], rows: bool) -> None:
        self.known, self.rows = known, rows

    def of(self, tree: ast.expr) -> _Read:
        """What a formula computes."""
        read = getattr(self, f"_{type(tree).__name__}", None)
        if read is None:
            raise _Unread
        found: _Read = read(tree)
        return found

    def _Name(self, tree: ast.Name) -> _Read:
        if tree.id not in self.known:
            raise _Unread
        value = np.asarray(self.known[tree.id])
        if value.dtype.kind not in "fiub":
            raise _Unread
        if tree.id == "n" and not value.ndim:
            return self._Constant(ast.Constant(value.item()))
        return _Read(value, lambda place: notation.name(indexed(tree.id, place)))

    def _Constant(self, tree: ast.Constant) -> _Read:
        if not isinstance(tree.value, (int, float)):
            raise _Unread
        whole = tree.value == int(tree.value) if np.isfinite(tree.value) else False
        number = notation.number(int(tree.value) if whole else tree.value)
        return _Read(np.float64(tree.value), lambda place: number)

    def _UnaryOp(self, tree: ast.UnaryOp) -> _Read:
        if not isinstance(tree.op, ast.USub):
            raise _Unread
        of = self.of(tree.operand)
        return _Read(-of.value, lambda place: notation.product(notation.number(-1), of.at(place)))

    def _Attribute(self, tree: ast.Attribute) -> _Read:
        of = self.of(tree.value)
        if tree.attr != "T" or np.ndim(of.value) not in (1, 2):
            raise _Unread
        if np.ndim(of.value) == 1:
            return _matrix(of, not self.rows)
        return _Read(of.value.T, lambda place: of.at(place[::-1]))

    def _Subscript(self, tree: ast.Subscript) -> _Read:
        of = self.of(tree.value)
        at = ast.literal_eval(tree.slice)
        at = at if isinstance(at, tuple) else (at,)
        if not all(type(n) is int and 0 <= n < size for n, size in zip(at, of.shape, strict=False)):
            raise _Unread
        return _Read(of.value[at], lambda place: of.at((*at, *place)))

    def _BinOp(self, tree: ast.BinOp) -> _Read:
        left, right = self.of(tree.left), self.of(tree.right)
        if isinstance(tree.op, ast.MatMult):
            return self._product(left, right)
        compute = _COMPUTED.get(type(tree.op))
        if compute is None:
            raise _Unread
        shape = np.broadcast_shapes(left.shape, right.shape)

        def at(place: Place) -> ast.expr:
            first, second = (of.at(_place_in(of.shape, shape, place)) for of in (left, right))
            if isinstance(tree.op, ast.Mult):
                return notation.product(first, second)
            return ast.BinOp(first, tree.op, second)

        return _Read(compute(left.value, right.value), at)

    def _product(self, left: _Read, right: _Read) -> _Read:
        """A @ B."""
        alone = np.ndim(left.value if self.rows else right.value) == 1
        left, right = _matrix(left, self.rows), _matrix(right, self.rows)
        if left.value.ndim != 2 or right.value.ndim != 2 or left.shape[1] != right.shape[0]:
            raise _Unread
        inner = left.shape[1]

        def at(place: Place) -> ast.expr:
            i, j = place if not alone else (0, place[0]) if self.rows else (place[0], 0)
            ks = range(min(inner, SHOWN_PATHS + 1))
            return _shown_sum([notation.product(left.at((i, k)), right.at((k, j))) for k in ks])

        value = left.value @ right.value
        if alone:
            value = value[0] if self.rows else value[:, 0]
        return _Read(value, at)

    def _Compare(self, tree: ast.Compare) -> _Read:
        if len(tree.ops) != 1 or type(tree.ops[0]) not in _COMPUTED:
            raise _Unread
        left, right = self.of(tree.left), self.of(tree.comparators[0])
        shape = np.broadcast_shapes(left.shape, right.shape)

        def at(place: Place) -> ast.expr:
            first, second = (of.at(_place_in(of.shape, shape, place)) for of in (left, right))
            return ast.Compare(first, tree.ops, [second])

        return _Read(_COMPUTED[type(tree.ops[0])](left.value, right.value), at)

    def _Call(self, tree: ast.Call) -> _Read:
        name = ast.unparse(tree.func)
        if name == "sum":
            return self._sum(tree)
        of = self.of(tree.args[0])
        if len(tree.args) != 1 or tree.keywords or name not in _FUNCTIONS:
            raise _Unread
        if name == "ones_like":
            return _Read(np.ones_like(of.value), lambda place: ast.Constant(1))
        value = getattr(np, name)(of.value)
        return _Read(value, lambda place: ast.Call(tree.func, [of.at(place)], []))

    def _sum(self, tree: ast.Call) -> _Read:
        of = self.of(tree.args[0])
        options = {k.arg or "": ast.literal_eval(k.value) for k in tree.keywords}
        if not options.keys() <= {"axis", "keepdims"} or len(tree.args) != 1:
            raise _Unread
        axis = options.get("axis")
        axes = range(len(of.shape)) if axis is None else np.atleast_1d(axis).tolist()
        axes = [range(len(of.shape))[a] for a in axes]
        kept = bool(options.get("keepdims"))

        def at(place: Place) -> ast.expr:
            rest = iter([p for a, p in enumerate(place) if not (kept and a in axes)])
            fixed = [None if a in axes else next(rest) for a in range(len(of.shape))]
            every = itertools.product(*(range(of.shape[a]) for a in sorted(axes)))
            return _shown_sum(
                [of.at(_filled(fixed, inner)) for inner in itertools.islice(every, SHOWN_PATHS + 1)]
            )

        return _Read(np.sum(of.value, axis=tuple(axes), keepdims=kept), at)


def _filled(fixed: Sequence[int | None], inner: Sequence[int]) -> Place:
    given = iter(inner)
    return tuple(next(given) if at is None else at for at in fixed)


def _shown_sum(terms: list[ast.expr]) -> ast.expr:
    """A sum that is short enough to be read.

    Raises
    ------
    _Unread
        It is not.
    """
    if not terms or len(terms) > SHOWN_PATHS:
        raise _Unread
    return notation.total(terms)


def _matrix(of: _Read, row: bool) -> _Read:
    """A vector as a matrix of one row, or of one column."""
    if np.ndim(of.value) != 1:
        return of
    value = of.value[None, :] if row else of.value[:, None]
    return _Read(value, lambda place: of.at(place[1:] if row else place[:1]))


def _place_in(part: Place, whole: Place, place: Place) -> Place:
    """The place in a broadcast array."""
    behind = place[len(whole) - len(part) :]
    return tuple(0 if n == 1 else at for n, at in zip(part, behind, strict=True))


_COMPUTED: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide,
    ast.Pow: np.power, ast.Gt: np.greater, ast.Lt: np.less, ast.GtE: np.greater_equal,
    ast.LtE: np.less_equal, ast.Eq: np.equal,
}  # fmt: skip
_FUNCTIONS = frozenset(
    "ones_like exp log sqrt abs sign sin cos tan tanh cosh sinh square cbrt log1p expm1".split()
)
