"""The ledger of cached upstream terms: which target computed each, and which read it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradviz.chain.paths import Edge, carrying, needs
from gradviz.chain.result import GraphResult
from gradviz.highlight import Highlight
from gradviz.language import columns, commas, in_its_language, padded, say, several, some

if TYPE_CHECKING:
    from gradviz.graph import Graph

COSTS = "{n} with the cache, {m} path by path"
ALL_COSTS = "{vjps} with the cache, {m} path by path"
MOST = 8
"""Of a longer list so many terms and targets are named."""


@dataclass(frozen=True)
class Row:
    """What one target's gradient took.

    Attributes
    ----------
    node : int
        The target.
    computed_nodes : tuple of int
        The upstream terms computed for it: values v whose ∂J/∂v no earlier target needed.
    reused_nodes : tuple of int
        The upstream terms it needs that were computed already.
    read_nodes : tuple of int
        The reused terms that are read directly, by what was computed for it or by itself.
    target, computed, reused, read : str and tuples of str
        Their names.
    vjps : int
        VJPs evaluated, given the cache.
    vjps_without_cache : int
        VJPs that the sum over all its paths would evaluate, each path on its own.
    """

    graph: Graph = field(repr=False, compare=False)
    node: int
    computed_nodes: tuple[int, ...]
    reused_nodes: tuple[int, ...]
    read_nodes: tuple[int, ...]
    vjps: int
    vjps_without_cache: int

    @property
    def target(self) -> str:
        """The target's name."""
        return self.graph.names[self.node]

    @property
    def computed(self) -> tuple[str, ...]:
        """The names of `computed_nodes`."""
        return self._names(self.computed_nodes)

    @property
    def reused(self) -> tuple[str, ...]:
        """The names of `reused_nodes`."""
        return self._names(self.reused_nodes)

    @property
    def read(self) -> tuple[str, ...]:
        """The names of `read_nodes`."""
        return self._names(self.read_nodes)

    def _names(self, nodes: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.graph.names[i] for i in nodes)


@dataclass(frozen=True, repr=False)
class Reuse(GraphResult):
    """The ledger of `Graph.reuse`.

    Attributes
    ----------
    rows : tuple of Row
        One per target, in the order in which the gradients are computed.
    graph : Graph
        At the level of detail that the ledger speaks of.
    """

    graph: Graph
    rows: tuple[Row, ...]
    _reads: dict[int, list[Edge]]
    _cached: frozenset[int]

    @property
    def vjps(self) -> int:
        """VJPs evaluated for all targets together, with the cache."""
        return sum(row.vjps for row in self.rows)

    @property
    def vjps_without_cache(self) -> int:
        """VJPs for all targets, path by path."""
        return sum(row.vjps_without_cache for row in self.rows)

    @property
    def reads(self) -> dict[str, int]:
        """How often each upstream term is read, by name."""
        return {self.graph.names[v]: len(edges) for v, edges in self._reads.items()}

    @property
    @in_its_language
    def text(self) -> str:
        """The ledger in words, a paragraph per target."""
        output = self.graph.names[self.graph.output]

        def terms(names: Sequence[str]) -> str:
            most = len(names) if len(names) <= MOST + 2 else MOST
            return several([f"∂{output}/∂{name}" for name in names], most) or say("nothing")

        labels = [say("computes"), say("reuses"), say("reads"), say("VJPs")]
        width = max(map(columns, labels)) + 2
        computes, reuses, reads, vjps = (f"    {padded(label, width)}" for label in labels)
        lines: list[str] = []
        shown = self.rows if len(self.rows) <= MOST + 2 else self.rows[:MOST]
        for row in shown:
            lines += [
                f"∂{output}/∂{row.target}",
                f"{computes}{terms(row.computed)}",
                f"{reuses}{terms(row.reused)}",
                f"{reads}{say('{names} from the cache', names=terms(row.read))}",
                f"{vjps}{say(COSTS, n=row.vjps, m=row.vjps_without_cache)}",
            ]
        if len(shown) < len(self.rows):
            lines.append(say("… and {n} more targets", n=len(self.rows) - len(shown)))
        costs = say(ALL_COSTS, vjps=some(self.vjps, "VJP"), m=self.vjps_without_cache)
        lines.append(f"{padded(say('together'), width + 4)}{costs}")
        most = sorted(self.reads.items(), key=lambda item: -item[1])
        if len(self.rows) > MOST or len(most) > 2 * MOST:  # of a large graph, what matters most
            told = [f"∂{output}/∂{name} ×{count}" for name, count in most[:MOST] if count > 1]
            lines.append(
                f"{padded(say('most read'), width + 4)}{commas(told) or say('none is read twice')}"
            )
        return "\n".join(lines)

    @in_its_language
    def highlight(self) -> Highlight:
        """What the picture shows: cached terms, the edges that read them, what is not needed."""
        graph = self.graph
        targets = {row.node for row in self.rows}
        computed = {i for row in self.rows for i in row.computed_nodes}
        boxes: dict[int, Any] = dict.fromkeys(range(len(graph)), "unneeded")
        boxes |= dict.fromkeys(computed, "computed") | dict.fromkeys(self._cached, "cached")
        boxes |= dict.fromkeys(targets, "target")
        arrows: dict[tuple[int, int, int], Any] = dict.fromkeys(graph.edges(), "unneeded")
        badges: dict[int, str] = {}
        for v, edges in self._reads.items():
            for reader, key in edges:
                role = "read" if v in self._cached else "computed"
                arrows[graph.operands[reader][key], reader, key] = role
            if v in self._cached:
                badges[v] = f"×{len(edges)}"
        order = commas(row.target for row in self.rows)
        return Highlight(
            boxes=boxes,
            arrows=arrows,
            badges=badges,
            marks={},
            title=say("Reuse of cached upstream terms: {names}", names=order),
            legend=(
                ("target", say("target")),
                ("computed", say("upstream term, computed once")),
                ("cached", say("cached upstream term, ×k = read k times")),
                ("read", say("reads a cached term")),
                ("unneeded", say("not needed")),
            ),
        )


def path_costs(graph: Graph, readers: list[list[Edge]], targets: Sequence[int]) -> dict[int, int]:
    """Per target the total length of its paths: the VJPs of a sum over paths without a cache."""
    counts = {graph.output: 1}
    lengths = {graph.output: 0}
    for u in range(graph.output - 1, min(targets, default=0) - 1, -1):
        if readers[u]:
            counts[u] = sum(counts[v] for v, _ in readers[u])
            lengths[u] = sum(lengths[v] + counts[v] for v, _ in readers[u])
    return {target: lengths.get(target, 0) for target in targets}


def reuse(graph: Graph, targets: Sequence[str] = ()) -> Reuse:
    """See `Graph.reuse`.

    With needs(t) the values v ≠ t on the paths t → J: computed(t) is needs(t) without what an
    earlier target needed or was itself; reused(t) is the rest; the terms read are the reused ones
    that feed directly into something computed for t, or into t.
    """
    readers = carrying(graph)
    ids = [graph.id(name) for name in targets] or _as_backprop_meets_them(graph, readers)
    costs = path_costs(graph, readers, ids)
    cached: set[int] = set()
    evaluated: set[Edge] = set()
    reads: dict[int, list[Edge]] = {}
    read_again: Counter[int] = Counter()
    rows: list[Row] = []

    for target in ids:
        needed = needs(readers, target)
        computed = needed - cached
        reused = needed & cached
        # A target that was needed before has its own gradient in the cache already.
        working = computed if target in cached else computed | {target}
        edges = {(v, key) for u in working for v, key in readers[u]} - evaluated
        for v, key in sorted(edges):
            reads.setdefault(v, []).append((v, key))
        read = {v for v, _ in edges if v in reused} | ({target} & cached)
        read_again.update(read)
        evaluated |= edges
        # From J backwards, as the backward pass meets them.
        terms = [tuple(sorted(nodes, reverse=True)) for nodes in (computed, reused, read)]
        rows.append(Row(graph, target, terms[0], terms[1], terms[2], len(edges), costs[target]))
        cached |= needed | {target}
    return Reuse(graph, tuple(rows), reads, frozenset(read_again))


def _as_backprop_meets_them(graph: Graph, readers: list[list[Edge]]) -> list[int]:
    """The leaves asked for, from the output backwards: those read last come first."""
    leaves = [i for i in graph.wrt if readers[i]]
    return sorted(leaves, key=lambda i: (-max(v for v, _ in readers[i]), i))
