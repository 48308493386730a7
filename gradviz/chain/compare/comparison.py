"""Two traces of one program: where their values and their gradients part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.compare.alignment import correspondence
from gradviz.chain.compare.difference import Difference, difference
from gradviz.chain.compare.roundings import Roundings
from gradviz.chain.result import GraphResult
from gradviz.errors import TraceError
from gradviz.highlight import Highlight
from gradviz.language import commas, in_its_language, say, several, some
from gradviz.model import Recording
from gradviz.statistics import Statistics, measure
from gradviz.words import number

if TYPE_CHECKING:
    from gradviz.graph import Graph

FAR = 0.1
"""From this relative difference on, two values are drawn as far apart."""
NEW = 10
"""So many times the difference of its operands, a value's own is a new one."""
MOST = 6
"""So many names are listed; more are counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """A value that both graphs have.

    Attributes
    ----------
    node, other_node : int
        Its id in either graph.
    name, other_name : str
        Its name in either graph.
    value : Difference
    gradient : Difference or None
        None where neither has one, or one was not asked for it.
    """

    graph: Graph = field(repr=False, compare=False)
    other: Graph = field(repr=False, compare=False)
    node: int
    other_node: int
    value: Difference
    gradient: Difference | None

    @property
    def name(self) -> str:
        """Its name in the first graph."""
        return self.graph.names[self.node]

    @property
    def other_name(self) -> str:
        """Its name in the second."""
        return self.other.names[self.other_node]

    @property
    def ok(self) -> bool:
        """Whether value and gradient agree."""
        return self.value.ok and (self.gradient is None or self.gradient.ok)


@dataclass(frozen=True, repr=False)
class Comparison(GraphResult):
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
        """Where differences begin, and the ids that differ or pass a difference on."""
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
            # What only one graph has passes on the difference of its operands.
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
    @in_its_language
    def text(self) -> str:
        """How many agree, and where the two part: what, where, by how much, and why."""
        values = [row.value for row in self.rows]
        gradients = [row.gradient for row in self.rows if row.gradient]
        counts, furthest = [], []
        for what, sign, found in (("value", "Δ", values), ("gradient", "∂Δ", gradients)):
            if found:
                all_of = some(len(found), what)
                n = sum(not x.ok for x in found)
                counts.append(all_of if self.same else say("{n} of {all}", n=n, all=all_of))
                most = f"{max(x.relative for x in found):.2g}"
                furthest.append(say("{what} at most {x}", what=sign, x=most))
        told = dict(what=several(counts), far=commas(furthest))
        agree = say("✓ {what} agree; {far}" if self.same else "✗ {what} differ; {far}", **told)
        lines = [agree]
        if self.first:
            lines += [say("the first value that parts"), *self._cause(self.first)]
        further = [row for row in self.causes if row is not self.first]
        for leaf in (True, False):
            names = [f"{row.name} (Δ {row.value.relative:.2g})" for row in further
                     if self.graph.is_leaf(row.node) is leaf]  # fmt: skip
            if names:
                lines.append(say(
                    "further leaves that differ: {names}" if leaf
                    else "further operations on what agrees that differ: {names}",
                    names=_listed(names),
                ))  # fmt: skip
        if self.first_gradient:
            lines.append(say("the first gradient that parts"))
            lines += self._upstream(self.first_gradient)
        for graph, alone in zip((self.graph, self.other), self.only, strict=True):
            if alone:
                lines.append(say(
                    "only in the first: {names}" if graph is self.graph
                    else "only in the second: {names}",
                    names=_listed(alone),
                ))  # fmt: skip
                places = ((name, _place(graph, graph.id(name))) for name in alone)
                lines += next(([f"  {name} {place}"] for name, place in places if place), [])
        return "\n".join([*lines, self.note] if self.note else lines)

    def _cause(self, row: Row) -> list[str]:
        lines = [f"  {self._head(row.name, row, row.value)}", *self._places(row)]
        node, twin = self.graph.values[row.node], self.other.values[row.other_node]
        lines.append(f"    {_sizes(node.value, twin.value, row.value)}")
        if self.graph.is_leaf(row.node):
            kind = say(node.operation.name)
            given = say("it is a leaf: the two were given another {kind}", kind=kind)
            return [*lines, f"    {given}"]
        twins = {row.node: row.other_node for row in self.rows}
        ours = [u for u in dict.fromkeys(self.graph.operands[row.node]) if _counts(self.graph, u)]
        theirs = dict.fromkeys(self.other.operands[row.other_node])
        agree = _names(self.graph, (u for u in ours if u in twins))
        alone = _names(self.graph, (u for u in ours if u not in twins))
        found = {twins.get(u) for u in ours}
        instead = _names(
            self.other, (t for t in theirs if t not in found and _counts(self.other, t))
        )
        words = [
            say("it is computed from {names}, where both agree", names=_listed(agree))
            if agree
            else "",
            say("the first computes it from {names}", names=_listed(alone)) if alone else "",
            say("the second computes it from {names}", names=_listed(instead)) if instead else "",
        ]
        return [*lines, *(f"    {line}" for line in words if line)]

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
            _listed([g.values[v].operation.name for v in found]) or say("nothing")
            for g, found in ((graph, readers), (self.other, theirs))
        ]
        if {twins.get(v) for v in readers} != set(theirs):
            because = say(
                "it comes through {a} against {b}: other values read it",
                a=operations[0], b=operations[1],
            )  # fmt: skip
        elif read:
            because = say(
                "it comes through {a}, which reads what differs: {names}",
                a=operations[0], names=_listed(_names(graph, read)),
            )  # fmt: skip
        else:
            because = say(
                "it comes through {a}, which reads what agrees: the derivatives themselves differ",
                a=operations[0],
            )  # fmt: skip
        return [*lines, f"    {because}"] if readers or theirs else lines

    def _head(self, name: str, row: Row, difference: Difference) -> str:
        a, b = (g.values[i].operation.name
                for g, i in ((self.graph, row.node), (self.other, row.other_node)))  # fmt: skip
        operation = a if a == b else _against(a, b)
        x, tolerance = f"{difference.relative:.2g}", f"{difference.tolerance:.1g}"
        told = say("Δ {x}, tolerance {tolerance}", x=x, tolerance=tolerance)
        return f"{name} ({operation}): {told}"

    def _places(self, row: Row) -> list[str]:
        """Where it was computed, in either graph if these are two places."""
        places = _place(self.graph, row.node), _place(self.other, row.other_node)
        first, *others = dict.fromkeys(places)
        lines = [first, *(say("and the second {place}", place=place) for place in others if place)]
        return [f"    {line}" for line in lines if line]

    def highlight(self, detail: str | None = None) -> Highlight:
        """By its difference, the colour of each box and its badge."""
        return self.highlight_in(self.graph.detailed(detail))

    @in_its_language
    def highlight_in(self, shown: Graph) -> Highlight:
        """The same in the first graph or in its `statements`."""
        graph, summary = self.graph, shown.origin
        kept: Sequence[int] = range(len(graph))
        place = kept
        if summary is not None and shown is not graph:
            kept, place = summary.kept, [summary.new_id[owner] for owner in summary.group]
        known = {row.node for row in self.rows}
        boxes = {at: "agrees" if v in known else "only here" for at, v in enumerate(kept)}
        badges = {
            at: say("only here") for at in boxes if boxes[at] == "only here" and _counts(shown, at)
        }
        apart: dict[int, Row] = {}
        for row in self.rows:
            at = place[row.node]
            if not row.ok and (at not in apart or _size(apart[at]) < _size(row)):
                apart[at] = row
        for at, row in apart.items():
            boxes[at] = "differs" if _size(row) >= FAR else "differs little"
            parts = (("Δ", row.value), ("∂Δ", row.gradient))
            badges[at] = " ".join(f"{sign} {number(x.relative, 2)}" for sign, x in parts
                                  if x and not x.ok)  # fmt: skip
        for at in {place[row.node] for row in self.causes}:
            boxes[at], badges[at] = "sick", say("born here {what}", what=badges[at])
        differing = {place[v] for v in self._spread[1]}
        return Highlight(
            boxes=boxes,
            arrows={edge: "sick" for edge in shown.edges() if differing.issuperset(edge[:2])},
            badges=badges,
            title=say("No difference" if self.same else "What differs"),
            legend=tuple(
                (role, words)
                for role, words in (
                    ("sick", say("differs, but is computed from what agrees")),
                    ("differs", say("differs by {x} or more", x=f"{FAR:.0%}")),
                    ("differs little", say("differs by less")),
                    ("only here", say("not in the other")),
                    ("agrees", say("agrees")),
                    ("", say("Δ of values, ∂Δ of gradients: ‖a - b‖ / max(‖a‖, ‖b‖)")),
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
        if not isinstance(given, Recording):
            raise TypeError(
                f"compare takes two Graphs, not {type(given).__name__}: make one with gradviz.trace"
            )
    twins = correspondence(graph, other, names or {})
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
        note = say("gradients are not compared: {why}", why=error)
    asked = graph.varying if not note else frozenset()
    limits = gradient_limits = None
    if tolerance is None:
        explained = Roundings(graph, other, twins)
        limits, gradient_limits = explained.of_values, explained.of_gradients(gradients, others)
    rows = []
    for v, w in sorted(twins.items()):
        limit = tolerance if limits is None else limits[v]
        value = Difference(*difference(graph.values[v].value, other.values[w].value), limit or 0.0)
        found = None
        if v in asked and w in other.varying and (v in gradients or w in others):
            limit = tolerance if gradient_limits is None else gradient_limits.get(v)
            apart = difference(gradients.get(v), others.get(w))
            found = Difference(*apart, limit or 0.0)
        rows.append(Row(graph, other, v, w, value, found))
    taken = set(twins.values())
    only = (
        tuple(graph.names[v] for v in range(len(graph)) if v not in twins and _counts(graph, v)),
        tuple(other.names[w] for w in range(len(other)) if w not in taken and _counts(other, w)),
    )
    return Comparison(graph, other, tuple(rows), only, note)


def _counts(graph: Graph, v: int) -> bool:
    """Whether it matters that the other has no such value: a plain number does not."""
    return not graph.is_leaf(v) or v in graph.named


def _gradients(graph: Graph) -> Mapping[int, Any]:
    return graph.derivatives.gradients


def _place(graph: Graph, v: int) -> str:
    scope, source = graph.values[v].scope, graph.source(v)
    found = [say("in {scope}", scope=".".join(scope))] if scope else []
    if source:
        found.append(say("at {place}", place=source.place))
    return " ".join(found)


def _against(a: object, b: object) -> str:
    return say("{a} against {b}", a=a, b=b)


def _sizes(a: Any, b: Any, difference: Difference) -> str:
    """Both values in few words."""
    if np.shape(a) != np.shape(b) and a is not None and b is not None:
        return say("shape {sizes}", sizes=_against(np.shape(a), np.shape(b)))
    single = getattr(b if a is None else a, "size", 1) == 1
    words = [say("no path") if x is None else _size_of(measure(x), single) for x in (a, b)]
    text = _against(*words)
    if single:
        return text
    most = difference.largest
    if not 0 < most < math.inf:
        return say("rms {sizes}", sizes=text)
    return say("rms {sizes}, entries differ by up to {x}", sizes=text, x=f"{most:.3g}")


def _size_of(value: Statistics, single: bool) -> str:
    if value.nonfinite and not single:
        part = f"{value.nonfinite:.2g}"
        return say("no number ({part} of the entries are not finite)", part=part)
    return f"{value.mean if single else value.rms:.6g}"


def _names(graph: Graph, ids: Iterable[int]) -> list[str]:
    return [graph.names[i] for i in ids]


def _listed(names: Iterable[str]) -> str:
    return several(names, MOST)


def _size(row: Row) -> float:
    """The larger of the differences that are too large."""
    return max(d.relative for d in (row.value, row.gradient) if d and not d.ok)
