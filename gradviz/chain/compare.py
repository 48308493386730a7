"""Two traces of one program, aligned: where their values and their gradients part."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gradviz.chain.result import Result
from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.highlight import Highlight
from gradviz.statistics import Statistics, measure
from gradviz.words import number, place

FAR = 0.1
"""From this relative difference on, two values are drawn as far apart."""
NEW = 10
"""So many times the difference of its operands, a value's own is a new one."""
TOLD = 6
"""So many names are told; more are counted."""


class Difference(NamedTuple):
    r"""How far two arrays are apart.

    Attributes
    ----------
    relative : float
        ‖a - b‖ / max(‖a‖, ‖b‖), infinite where only one is NaN or infinite, or shapes differ. Where
        only statistics are kept, what these tell of it: at least so much by norm, minimum, mean and
        maximum, or about so much by the sample.
    largest : float
        The largest \|a - b\| of one entry that is known.
    tolerance : float
        What roundings explain of `relative`.
    """

    relative: float
    largest: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the two agree."""
        return self.relative <= self.tolerance


@dataclass(frozen=True, slots=True)
class Row:
    """A value that both graphs have.

    Attributes
    ----------
    name, other_name : str
        Its name in either graph.
    node, other_node : int
        Its id in either graph.
    value : Difference
    gradient : Difference or None
        None where neither has one, or one was not asked for it.
    """

    name: str
    other_name: str
    node: int
    other_node: int
    value: Difference
    gradient: Difference | None

    @property
    def ok(self) -> bool:
        """Whether value and gradient agree."""
        return self.value.ok and (self.gradient is None or self.gradient.ok)


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """The result of `gradviz.compare`; true if all values and gradients of both agree.

    Attributes
    ----------
    graph, other : Graph
    rows : tuple of Row
        What corresponds, in the recording order of `graph`.
    only : tuple of two tuples of str
        The names of what only `graph` has, and of what only `other` has.
    note : str
        Why gradients are not compared, or "".
    """

    graph: Graph
    other: Graph
    rows: tuple[Row, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    note: str = ""

    detail = None

    @property
    def same(self) -> bool:
        """Whether the values and gradients that both graphs have agree."""
        return all(row.ok for row in self.rows)

    def __bool__(self) -> bool:
        return self.same

    @property
    def causes(self) -> tuple[Row, ...]:
        """The values that differ although all that they are computed from agrees.

        Leaves that were given other values, and operations that made a difference of their own.
        """
        return self._spread[0]

    @cached_property
    def _spread(self) -> tuple[tuple[Row, ...], set[int]]:
        """Where differences are born, and the ids that differ or hand a difference on."""
        known = {row.node: row for row in self.rows}
        found: list[Row] = []
        differing: set[int] = set()
        behind: set[int] = set()  # what differs, and all that is computed from it
        apart: list[float] = []
        for v, operands in enumerate(self.graph.operands):
            row = known.get(v)
            brought = max((apart[u] for u in operands), default=0.0)
            after = not behind.isdisjoint(operands)
            differs = row is not None and not row.value.ok
            # What only one graph has hands on what it is computed from.
            apart.append(row.value.relative if row else brought)
            # (A difference that comes and goes around its tolerance is not born each time.)
            new = not after or (differing.isdisjoint(operands) and apart[v] > NEW * brought)
            if row and differs and new:
                found.append(row)
            if differs or (after and not row):
                differing.add(v)
            if differs or after:
                behind.add(v)
        return tuple(found), differing

    @property
    def first(self) -> Row | None:
        """The first value that differs, in recording order: what it is computed from agrees."""
        return next(iter(self.causes), None)

    @cached_property
    def first_gradient(self) -> Row | None:
        """The first gradient that differs, in backward order: the upstream terms agree."""
        return next((r for r in reversed(self.rows) if r.gradient and not r.gradient.ok), None)

    @property
    def text(self) -> str:
        """How many agree, and where the two part: what, where, by how much, and why."""
        values = [row.value for row in self.rows]
        gradients = [row.gradient for row in self.rows if row.gradient]
        counts, furthest = [], []
        for what, sign, found in (("value", "Δ", values), ("gradient", "∂Δ", gradients)):
            if found:
                apart = "" if self.same else f"{sum(not x.ok for x in found)} of "
                counts.append(apart + _counted(len(found), what))
                furthest.append(f"{sign} at most {max(x.relative for x in found):.2g}")
        agree = "agree" if self.same else "differ"
        mark = "✓" if self.same else "✗"
        lines = [f"{mark} {' and '.join(counts)} {agree}; {', '.join(furthest)}"]
        if self.first:
            lines += ["the first value that parts", *self._cause(self.first)]
        further = [row for row in self.causes if row is not self.first]
        for leaf, words in ((True, "leaves"), (False, "operations on what agrees")):
            names = [f"{row.name} (Δ {row.value.relative:.2g})" for row in further
                     if self.graph.is_leaf(row.node) is leaf]  # fmt: skip
            if names:
                lines.append(f"further {words} that differ: {_listed(names)}")
        if self.first_gradient:
            lines += ["the first gradient that parts", *self._upstream(self.first_gradient)]
        for graph, alone, which in zip(
            (self.graph, self.other), self.only, ("first", "second"), strict=True
        ):
            if alone:
                lines.append(f"only in the {which}: {_listed(alone)}")
                places = ((name, _place(graph, graph.id(name))) for name in alone)
                lines += next(([f"  {name} {place}"] for name, place in places if place), [])
        return "\n".join([*lines, self.note] if self.note else lines)

    def _cause(self, row: Row) -> list[str]:
        lines = [f"  {self._head(row.name, row, row.value)}", *self._places(row)]
        node, twin = self.graph.values[row.node], self.other.values[row.other_node]
        lines.append(f"    {_sizes(node.value, twin.value, row.value)}")
        if self.graph.is_leaf(row.node):
            return [*lines, f"    it is a leaf: the two were given another {node.operation.name}"]
        twins = {row.node: row.other_node for row in self.rows}
        ours = [u for u in dict.fromkeys(self.graph.operands[row.node]) if _counts(self.graph, u)]
        theirs = dict.fromkeys(self.other.operands[row.other_node])
        agree = _names(self.graph, (u for u in ours if u in twins))
        alone = _names(self.graph, (u for u in ours if u not in twins))
        found = {twins.get(u) for u in ours}
        instead = _names(
            self.other, (t for t in theirs if t not in found and _counts(self.other, t))
        )
        words = [f"it is computed from {_listed(agree)}, where both agree"] if agree else []
        words += [f"the first computes it from {_listed(alone)}"] if alone else []
        words += [f"the second computes it from {_listed(instead)}"] if instead else []
        return [*lines, *(f"    {line}" for line in words)]

    def _upstream(self, row: Row) -> list[str]:
        assert row.gradient is not None
        graph = self.graph
        name = f"∂{graph.names[graph.output]}/∂{row.name}"
        lines = [f"  {self._head(name, row, row.gradient)}", *self._places(row)]
        mine, theirs = _gradients(graph).get(row.node), _gradients(self.other).get(row.other_node)
        lines.append(f"    {_sizes(mine, theirs, row.gradient)}")
        twins = {row.node: row.other_node for row in self.rows}
        differing = {row.node for row in self.rows if not row.value.ok}
        readers = list(dict.fromkeys(v for v, _ in graph.readers[row.node]))
        theirs = list(dict.fromkeys(v for v, _ in self.other.readers[row.other_node]))
        read = dict.fromkeys(u for v in readers for u in (*graph.operands[v], v) if u in differing)
        operations = [
            _listed([g.values[v].operation.name for v in found]) or "nothing"
            for g, found in ((graph, readers), (self.other, theirs))
        ]
        if {twins.get(v) for v in readers} != set(theirs):
            because = f"{' against '.join(operations)}: other values read it"
        elif read:
            because = f"{operations[0]}, which reads what differs: {_listed(_names(graph, read))}"
        else:
            because = f"{operations[0]}, which reads what agrees: the derivatives themselves differ"
        return [*lines, f"    it comes through {because}"] if readers or theirs else lines

    def _head(self, name: str, row: Row, difference: Difference) -> str:
        a, b = (g.values[i].operation.name
                for g, i in ((self.graph, row.node), (self.other, row.other_node)))  # fmt: skip
        operation = a if a == b else f"{a} against {b}"
        return (
            f"{name} ({operation}): Δ {difference.relative:.2g}, "
            f"tolerance {difference.tolerance:.1g}"
        )

    def _places(self, row: Row) -> list[str]:
        """Where it was computed, in either graph if these are two places."""
        places = _place(self.graph, row.node), _place(self.other, row.other_node)
        words = "    ", "    and the second "
        return [w + place for w, place in zip(words, dict.fromkeys(places), strict=False) if place]

    def highlight(self, detail: str | None = None) -> Highlight:
        """By its difference, the colour of each box and its badge."""
        return self.highlight_in(self.graph.detailed(detail))

    def highlight_in(self, shown: Graph) -> Highlight:
        """The same in the first graph or in its `statements`."""
        from gradviz.chain.statements import Summary

        graph = self.graph
        kept: Sequence[int] = range(len(graph))
        place = kept
        if isinstance(shown, Summary) and shown is not graph:
            kept, place = shown.kept, [shown.new_id[owner] for owner in shown.group]
        known = {row.node for row in self.rows}
        # (The worse comes first by number: a fold is drawn as the worst in it.)
        boxes = {at: "path 6" if v in known else "path 4" for at, v in enumerate(kept)}
        badges = {at: "only here" for at in boxes if boxes[at] == "path 4" and _counts(shown, at)}
        apart: dict[int, Row] = {}
        for row in self.rows:
            at = place[row.node]
            if not row.ok and (at not in apart or _size(apart[at]) < _size(row)):
                apart[at] = row
        for at, row in apart.items():
            boxes[at] = "path 2" if _size(row) >= FAR else "path 5"
            parts = (("Δ", row.value), ("∂Δ", row.gradient))
            badges[at] = " ".join(f"{sign} {number(x.relative, 2)}" for sign, x in parts
                                  if x and not x.ok)  # fmt: skip
        for at in {place[row.node] for row in self.causes}:
            boxes[at], badges[at] = "sick", f"born here {badges[at]}"
        differing = {place[v] for v in self._spread[1]}
        return Highlight(
            boxes=boxes,
            arrows={edge: "sick" for edge in shown.edges() if differing.issuperset(edge[:2])},
            badges=badges,
            title="No difference" if self.same else "What differs",
            legend=tuple(
                (role, words)
                for role, words in (
                    ("sick", "differs, but is computed from what agrees"),
                    ("path 2", f"differs by {FAR:.0%} or more"),
                    ("path 5", "differs by less"),
                    ("path 4", "not in the other"),
                    ("path 6", "agrees"),
                    ("", "Δ of values, ∂Δ of gradients: ‖a - b‖ / max(‖a‖, ‖b‖)"),
                )
                if role in boxes.values() or not role
            ),
        )


def compare(
    graph: Graph,
    other: Graph,
    *,
    names: Mapping[str, str] | None = None,
    tolerance: float | None = None,
) -> Comparison:
    """See `gradviz.compare`."""
    for given in (graph, other):
        if not isinstance(given, Graph):
            raise TypeError(
                f"compare takes two Graphs, not {type(given).__name__}: make one with gradviz.trace"
            )
    twins = _correspondence(graph, other, names or {})
    if not any(v != graph.output and _counts(graph, v) for v in twins):
        raise ValueError(
            "these two graphs have nothing in common: no leaf and no named value of one is in the "
            "other, and no operation on the same line. If only names differ, pass "
            "names={name in the first: name in the second}"
        )
    gradients: Mapping[int, Any] = {}
    others: Mapping[int, Any] = {}
    note = ""
    try:
        gradients, others = _gradients(graph), _gradients(other)
    except TraceError as error:
        note = f"gradients are not compared: {error}"
    asked = graph.varying if not note else frozenset()
    limits = gradient_limits = None
    if tolerance is None:
        limits, gradient_limits = _roundings(graph, other, twins, gradients, others)
    rows = []
    for v, w in sorted(twins.items()):
        limit = tolerance if limits is None else limits[v]
        value = Difference(*difference(graph.values[v].value, other.values[w].value), limit or 0.0)
        found = None
        if v in asked and w in other.varying and (v in gradients or w in others):
            limit = tolerance if gradient_limits is None else gradient_limits.get(v)
            apart = difference(gradients.get(v), others.get(w))
            found = Difference(*apart, limit or 0.0)
        rows.append(Row(graph.names[v], other.names[w], v, w, value, found))
    taken = set(twins.values())
    only = (
        tuple(graph.names[v] for v in range(len(graph)) if v not in twins and _counts(graph, v)),
        tuple(other.names[w] for w in range(len(other)) if w not in taken and _counts(other, w)),
    )
    return Comparison(graph, other, tuple(rows), only, note)


def _counts(graph: Graph, v: int) -> bool:
    """Whether it is worth telling that the other has no such value: a plain number is not."""
    return not graph.is_leaf(v) or v in graph.named


def _gradients(graph: Graph) -> Mapping[int, Any]:
    return graph.derivatives.gradients


# --- how far two arrays are apart ----------------------------------------------------------------


def difference(a: Any, b: Any) -> tuple[float, float]:
    """``relative`` and ``largest`` of a `Difference`; None is an array of zeros."""
    if a is None or b is None:
        top = measure(b if a is None else a).top
        return (float(top != 0), top) if top < math.inf else (math.inf, math.inf)
    if type(a) in _SCALARS and type(b) in _SCALARS:
        a, b = float(a), float(b)
        if a == b or (a != a and b != b):
            return 0.0, 0.0
        apart = abs(a - b)
        return (apart / max(abs(a), abs(b)), apart) if apart < math.inf else (math.inf, math.inf)
    if np.shape(a) != np.shape(b):
        return math.inf, math.inf
    if isinstance(a, Statistics) or isinstance(b, Statistics):
        return _of_statistics(a, b)
    return _of_arrays(np.asarray(a), np.asarray(b))


_SCALARS = frozenset((float, np.float64, np.float32, np.float16))


def _of_arrays(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    if np.array_equal(a, b):
        return 0.0, 0.0
    if a.dtype.kind not in "biufc" or b.dtype.kind not in "biufc":
        return math.inf, math.inf
    wide = np.result_type(a, b, np.float64)
    x, y = a.astype(wide), b.astype(wide)
    with np.errstate(all="ignore"):
        alike = (x == y) | ((x != x) & (y != y))
        apart = np.abs(np.where(alike, 0, x - y))
        largest = float(np.max(apart))  # NaN where one entry is
        if not largest < math.inf:
            return math.inf, math.inf
        # (Divided by the largest, no square overflows or vanishes.)
        top = max(float(np.max(np.abs(z[np.isfinite(z)]), initial=0.0)) for z in (x, y))
        norms = [float(np.linalg.norm(z[np.isfinite(z)] / top)) for z in (x, y)] if top else [0.0]
        return float(np.linalg.norm(apart / top)) / max(norms) if top else 0.0, largest


def _of_statistics(a: Any, b: Any) -> tuple[float, float]:
    """What statistics tell of the relative error e = ‖a - b‖ / max(‖a‖, ‖b‖).

    Norms differ by at most ‖a - b‖, so do minima and maxima, and means by at most ‖a - b‖ / √n:
    e is at least what follows from these. Samples of one shape are of the same entries, and their
    mean square error is about that of the whole.
    """
    a, b = measure(a), measure(b)
    apart, largest = 0.0, 0.0
    if a.sample.shape == b.sample.shape and a.sample.size:
        apart, largest = _of_arrays(a.sample, b.sample)
    if a.nonfinite or b.nonfinite:
        return (apart, largest) if a.nonfinite == b.nonfinite else (math.inf, math.inf)
    scale = max(a.norm, b.norm)
    if not scale:
        return 0.0, 0.0
    largest = max(largest, abs(a.low - b.low), abs(a.high - b.high))
    least = max(abs(a.norm - b.norm), largest, abs(a.mean - b.mean) * a.size**0.5) / scale
    if apart:  # relative to all entries: those of the sample may happen to be small
        samples = max(float(np.sqrt(np.mean(np.square(x.sample, dtype=float)))) for x in (a, b))
        apart *= samples / (scale / a.size**0.5)
    return max(least, apart), largest


# --- what roundings explain ----------------------------------------------------------------------

ROUNDING = 4
"""One rounding errs by half of eps, a sum of many terms and a library's exp by some more."""
SUMS = frozenset("add iadd radd subtract sub isub rsub sum mean".split())
BIASED = frozenset("linear conv1d conv2d conv3d".split())
"""These add their operand number 2."""
COARSE = {"bfloat16": 2.0**-7, "float8_e4m3fn": 2.0**-3, "float8_e5m2": 2.0**-2}


@cache
def _eps(dtype: Any) -> float:
    """The distance from 1 to the next number; 0 for a dtype that is exact."""
    try:
        return COARSE.get(str(dtype)) or float(np.finfo(dtype).eps)
    except (TypeError, ValueError):
        return 0.0


def _precision(value: Any) -> float:
    return _eps(getattr(value, "dtype", np.float64))


def _rms(value: Any) -> float:
    if value is None:
        return 0.0
    if type(value) in _SCALARS:
        return abs(float(value))
    return measure(value).rms


def _roundings(
    graph: Graph,
    other: Graph,
    twins: Mapping[int, int],
    gradients: Mapping[int, Any],
    others: Mapping[int, Any],
) -> tuple[list[float], dict[int, float]]:
    """The relative error that roundings explain, of every value and of every gradient.

    Each operation adds one of its own to what its operands bring. Being independent they add up as
    squares, to ROUNDING · eps · √depth for a chain. A sum that cancels, as t - a does where a is
    nearly t, is as inexact as its terms, and its own size may be anything. An operation on such a
    difference hands its inexactness on; but not more than half of the digits, √eps, so that no
    real difference hides behind noise.
    """
    values = [node.value for node in graph.values]

    @cache
    def scale(v: int) -> float:
        found = _rms(values[v])
        return max(found, _rms(other.values[twins[v]].value)) if v in twins else found

    @cache
    def gradient_scale(v: int) -> float:
        return max(_rms(gradients.get(v)), _rms(others.get(twins.get(v, -1))))

    own: list[float] = []
    coarse: list[float] = []
    limits: list[float] = []
    carry: list[float] = []
    for v, operands in enumerate(graph.operands):
        eps = _precision(values[v])
        if v in twins:
            eps = max(eps, _precision(other.values[twins[v]].value))
        rough = max((coarse[u] for u in operands), default=0.0)
        carried = max((carry[u] for u in operands), default=0.0)
        name = graph.values[v].operation.name.rstrip("_")
        if carried and name in SUMS:
            power = -0.5 if name == "mean" else 0.5  # errors of k terms are √k of one
            terms = (carry[u] * scale(u) * _ratio(values[u], values[v]) ** power for u in operands)
            carried = _quotient(sum(terms), scale(v), carried)
        own.append(eps)
        coarse.append(max(eps, rough))
        limits.append(math.hypot(ROUNDING * eps, carried))
        carry.append(min(limits[v], coarse[v] ** 0.5))

    messages = graph.derivatives.messages if gradients else {}
    found: dict[int, float] = {}
    for v in sorted(gradients, reverse=True):
        errors, sizes = [], []
        edges = [(r, key) for r, key in graph.readers[v] if r in found]
        for r, key in edges:
            name = graph.values[r].operation.name.rstrip("_")
            adds = name in SUMS or (name in BIASED and key == 2)
            error = min(found[r], coarse[r] ** 0.5)
            if not adds:  # its derivative is computed from values
                error = max(error, carry[r], *(carry[u] for u in graph.operands[r]))
            errors.append(error)
            if (
                adds and (ratio := _ratio(values[r], values[v])) > 1
            ):  # summed over what is broadcast
                sizes.append(gradient_scale(r) * ratio**0.5)
            elif len(edges) > 1:
                sizes.append(_rms(messages.get((r, key), gradients[v])))
        carried = max(errors, default=0.0)
        if sizes:
            total = sum(map(math.prod, zip(errors, sizes, strict=True)))
            carried = _quotient(total, gradient_scale(v), carried)
        found[v] = math.hypot(ROUNDING * own[v], carried)
    return limits, found


def _ratio(u: Any, v: Any) -> float:
    return float(getattr(u, "size", 1) / max(getattr(v, "size", 1), 1))


def _quotient(number: float, by: float, otherwise: float) -> float:
    found = number / by if by else math.nan
    return found if math.isfinite(found) else otherwise


# --- what corresponds to what --------------------------------------------------------------------

Pairs = list[tuple[int, int]]
EDITS = 256
"""Of two sequences that differ by more, the longest common one is only approximated."""


def _correspondence(graph: Graph, other: Graph, names: Mapping[str, str]) -> dict[int, int]:
    """The ids of `other` by those of `graph`."""
    twins: dict[int, int] = {}
    taken: set[int] = set()

    def pair(v: int, w: int) -> None:
        if v not in twins and w not in taken:
            twins[v] = w
            taken.add(w)

    for name, called in names.items():
        pair(graph.id(name), other.id(called))
    for v in graph.named:
        w = other._ids.get(graph.names[v], -1)
        if w in other.named and graph.is_leaf(v) and other.is_leaf(w):
            pair(v, w)
    pair(graph.output, other.output)
    steps = [v for v in range(len(graph)) if v not in twins and not graph.is_leaf(v)]
    others = [w for w in range(len(other)) if w not in taken and not other.is_leaf(w)]
    # Of a function of arrays and a tree of modules, only the modules have scopes.
    scoped = not _scopes(graph).isdisjoint(_scopes(other))
    a, b = _known_by(graph, steps, scoped), _known_by(other, others, scoped)
    pairs: Pairs = []
    # What is surely the same first; between that, what only has the same name; another shape last.
    # (The operations of a line of NumPy and of PyTorch need not be the same, if their names are.)
    for key in (
        lambda known: known,
        lambda known: (known.scope, known.name or known[2:4], known.shape),
        lambda known: (known.scope, known.operation if scoped else known[1:4], known.shape),
        lambda known: (known.scope, known.name or known[2:4]),
    ):
        ours, theirs = [key(known) for known in a], [key(known) for known in b]
        for (i, j), (m, n) in list(pairwise([(-1, -1), *pairs, (len(a), len(b))])):
            if i + 1 < m and j + 1 < n:
                more = _align(ours[i + 1 : m], theirs[j + 1 : n])
                pairs += [(i + 1 + x, j + 1 + y) for x, y in more]
        pairs.sort()
    for x, y in pairs:
        pair(steps[x], others[y])
    for v, w in list(twins.items()):  # the plain numbers that the same operations read
        operands = graph.operands[v], other.operands[w]
        same = graph.values[v].operation.name == other.values[w].operation.name
        if same and len(operands[0]) == len(operands[1]):
            for u, t in zip(*operands, strict=True):
                if graph.is_leaf(u) and other.is_leaf(t):
                    pair(u, t)
    return twins


def _scopes(graph: Graph) -> set[tuple[str, ...]]:
    return {node.scope for node in graph.values if node.scope and node.operands}


class _Known(NamedTuple):
    """What a value is known by."""

    scope: tuple[str, ...]
    name: str
    operation: str
    line: str
    shape: tuple[int, ...]


def _known_by(graph: Graph, ids: Iterable[int], scoped: bool) -> list[_Known]:
    found = []
    for v in ids:
        node = graph.values[v]
        operation = node.operation.name
        name = graph.names[v] if v in graph.named else ""
        if name:  # h(2), or layer.h: made unique
            name = _VERSION.sub("", name).removeprefix(".".join((*node.scope, "")))
        if name == operation:  # so is a PyTorch call called that the program gives no name
            name = ""
        line = (graph.source(v) or ("", 0, ""))[2]
        shape = getattr(node.value, "shape", ())
        found.append(_Known(node.scope if scoped else (), name, operation, line, shape))
    return found


_VERSION = re.compile(r"\(\d+\)$")


def _align(a: Sequence[Hashable], b: Sequence[Hashable]) -> Pairs:
    """The positions of a longest common subsequence."""
    found: Pairs = []
    pending = [(0, len(a), 0, len(b))]
    while pending:
        i, m, j, n = pending.pop()
        while i < m and j < n and a[i] == b[j]:
            found.append((i, j))
            i, j = i + 1, j + 1
        while i < m and j < n and a[m - 1] == b[n - 1]:
            m, n = m - 1, n - 1
            found.append((m, n))
        common = {*a[i:m]}.intersection(b[j:n])
        left = [x for x in range(i, m) if a[x] in common]
        right = [y for y in range(j, n) if b[y] in common]
        ours, theirs = [a[x] for x in left], [b[y] for y in right]
        exact = _few_edits(ours, theirs)
        pairs = [(left[x], right[y]) for x, y in exact or _in_step(ours, theirs)]
        found += pairs
        if exact is None:
            ends = pairwise([(i - 1, j - 1), *pairs, (m, n)])
            pending += [(x + 1, u, y + 1, v) for (x, y), (u, v) in ends if x + 1 < u and y + 1 < v]
    return sorted(found)


def _few_edits(a: Sequence[Hashable], b: Sequence[Hashable]) -> Pairs | None:
    """A longest common subsequence by E. W. Myers (1986), whose time grows with the edits.

    On the diagonal k, position x of `a` meets x - k of `b`; ``furthest[k]`` is how far one gets
    there with so many edits, and the matches on the way. None for more than `EDITS`.
    """
    furthest: dict[int, tuple[int, Any]] = {1: (0, None)}
    for edits in range(min(EDITS, len(a) + len(b)) + 1):
        for k in range(-edits, edits + 1, 2):
            if k == -edits or (k != edits and furthest[k - 1][0] < furthest[k + 1][0]):
                x, way = furthest[k + 1]
            else:
                x, way = furthest[k - 1]
                x += 1
            start = x
            while x < len(a) and x - k < len(b) and a[x] == b[x - k]:
                x += 1
            if x > start:
                way = (start, x, k, way)
            furthest[k] = x, way
            if x >= len(a) and x - k >= len(b):
                pairs: Pairs = []
                while way:
                    start, x, k, way = way
                    pairs += [(x, x - k) for x in range(start, x)]
                return pairs
    return None


def _in_step(a: Sequence[Hashable], b: Sequence[Hashable]) -> Pairs:
    """A common subsequence of what occurs the same number of times before in both.

    So each element can meet one other only, and the longest is a longest increasing sequence.
    """
    place = {key: y for y, key in enumerate(_numbered(b))}
    meeting = [(x, place[key]) for x, key in enumerate(_numbered(a)) if key in place]
    lowest: list[int] = []  # per length the least position in `b` that a sequence ends with
    ends: list[Any] = []  # and these sequences
    for x, y in meeting:
        at = bisect_left(lowest, y)
        lowest[at : at + 1] = [y]
        ends[at : at + 1] = [(x, y, ends[at - 1] if at else None)]
    pairs: Pairs = []
    way = ends[-1] if ends else None
    while way:
        x, y, way = way
        pairs.append((x, y))
    return pairs[::-1]


def _numbered(sequence: Iterable[Hashable]) -> Iterable[Hashable]:
    counts: Counter[Hashable] = Counter()
    for element in sequence:
        counts[element] += 1
        yield element, counts[element]


# --- in words ------------------------------------------------------------------------------------


def _place(graph: Graph, v: int) -> str:
    scope, source = graph.values[v].scope, graph.source(v)
    found = [f"in {'.'.join(scope)}"] if scope else []
    if source:
        found.append(f"at {place(source)}")
    return " ".join(found)


def _sizes(a: Any, b: Any, difference: Difference) -> str:
    """Both values in few words."""
    if np.shape(a) != np.shape(b) and a is not None and b is not None:
        return f"shape {np.shape(a)} against {np.shape(b)}"
    single = getattr(b if a is None else a, "size", 1) == 1
    words = ["no path" if x is None else _size_of(measure(x), single) for x in (a, b)]
    text = " against ".join(words)
    if single:
        return text
    most = difference.largest
    by = f", entries differ by up to {most:.3g}" if 0 < most < math.inf else ""
    return f"rms {text}{by}"


def _size_of(value: Statistics, single: bool) -> str:
    if value.nonfinite and not single:
        return f"no number ({value.nonfinite:.2g} of the entries are not finite)"
    return f"{value.mean if single else value.rms:.6g}"


def _names(graph: Graph, ids: Iterable[int]) -> list[str]:
    return [graph.names[i] for i in ids]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - TOLD
    return ", ".join(names[:TOLD]) + (f" and {more} more" if more > 0 else "")


def _counted(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _size(row: Row) -> float:
    """The larger of the differences that are too large."""
    return max(d.relative for d in (row.value, row.gradient) if d and not d.ok)
