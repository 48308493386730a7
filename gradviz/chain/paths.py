"""Paths from a value to J: counted exactly, and listed by the size of their contribution."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.statistics import Statistics, norm

if TYPE_CHECKING:
    from gradviz.graph import Graph

Edge = tuple[int, int]
"""(reader's id, operand's position)"""

EXHAUSTIVE = 2000
"""Up to so many paths are all evaluated to sort contributions that are arrays."""


@dataclass(frozen=True)
class Path:
    """One way from a value to J.

    Attributes
    ----------
    nodes : tuple of int
        Ids from the value to J.
    edges : tuple of (int, int)
        The reader's id and the operand's position, in the same order.
    value : float or numpy.ndarray or None
        Its contribution to the gradient, of the value's own shape: the product of its local
        derivatives; None where arrays were not kept, or a call cannot be made again.
    gain : float
        What it was sorted by: |contribution| of scalars; of arrays the norm, or an estimate of it,
        the product of ‖message‖ / ‖upstream term‖ of its edges.
    """

    nodes: tuple[int, ...]
    edges: tuple[Edge, ...]
    value: Any
    gain: float = math.nan

    @property
    def norm(self) -> float:
        """The norm of its contribution; its estimate where arrays were not kept."""
        return self.gain if self.value is None else norm(self.value)


def carrying(graph: Graph) -> list[list[Edge]]:
    """Per id the edges by which a gradient can reach it from J."""
    result: list[list[Edge]] = [[] for _ in graph.values]
    reached = bytearray(len(graph))
    reached[graph.output] = 1
    for v in range(graph.output, -1, -1):
        if not reached[v]:
            continue
        operation = graph.values[v].operation
        for key, u in enumerate(graph.operands[v]):
            if operation.rule(key) is not None or operation.derivatives is None:
                reached[u] = 1
                result[u].append((v, key))
    return [sorted(edges) for edges in result]


def count_paths(graph: Graph, targets: Iterable[int]) -> dict[int, int]:
    """The exact number of paths from each target to J.

    Counts grow like 2^depth; only those still needed are kept.
    """
    wanted = set(targets)
    counts: dict[int, int] = {graph.output: 1}
    for v in range(graph.output, min(wanted, default=0) - 1, -1):
        count = counts.get(v)
        if not count:
            continue
        operation = graph.values[v].operation
        for key, u in enumerate(graph.operands[v]):
            if operation.rule(key) is not None or operation.derivatives is None:
                counts[u] = counts.get(u, 0) + count
        if v not in wanted:
            del counts[v]
    return {target: counts.get(target, 0) for target in wanted}


def paths(graph: Graph, target: int) -> Iterator[Path]:
    """The paths from a value to J, the largest contribution first.

    Scalars: exactly in the order of |product of local derivatives|, found lazily (best first).
    Arrays: in the order of the contributions' norms, where there are at most `EXHAUSTIVE` paths;
    beyond that, and where only statistics were kept, best first by an estimate, the product of
    ‖message‖ / ‖upstream term‖ of its edges.

    Raises
    ------
    TraceError
        A path leads through an operation without a rule.
    """
    readers = carrying(graph)
    derivatives = graph.derivatives
    below = needs(readers, target) | {target}
    if graph.output not in below:
        return
    readers = [edges if i in below else [] for i, edges in enumerate(readers)]
    lean = isinstance(graph.values[target].value, Statistics)
    if not lean and all(np.size(graph.values[i].value) == 1 for i in below):
        yield from _best_first(graph, readers, target, lambda v, key: _size(graph, v, key))
        return
    if not lean and count_paths(graph, [target])[target] <= EXHAUSTIVE:
        try:
            found = sorted(_all(graph, readers, target), key=lambda path: (-path.gain, path.nodes))
        except TraceError:  # a call cannot be made again, or has no rule: see `_value`
            pass
        else:
            yield from found
            return

    def gain(v: int, key: int) -> float:
        upstream = norm(derivatives.gradients.get(v, 0.0))
        return norm(derivatives.messages.get((v, key), 0.0)) / upstream if upstream else 0.0

    yield from _best_first(graph, readers, target, gain)


def contribution(graph: Graph, edges: Iterable[Edge]) -> Any:
    """What one path brings: 1 at J, sent back through the VJP of each of its edges."""
    message = _seed(graph)
    for v, key in reversed(tuple(edges)):
        message = _sent(graph, v, key, message)
    return message


def _seed(graph: Graph) -> Any:
    return np.ones_like(graph.values[graph.output].value)[()]


def _sent(graph: Graph, v: int, key: int, message: Any) -> Any:
    """What an edge makes of what comes to it."""
    node = graph.values[v]
    if node.operation.rule(key) is None:
        raise TraceError(f"no derivative rule for {node.operation.name} ({graph.names[v]})")
    with np.errstate(all="ignore"):
        return node.operation.pull(key, message, node.value, graph.operand_values(v), node.keywords)


def _all(graph: Graph, readers: list[list[Edge]], target: int) -> Iterator[Path]:
    """All paths, found from J backwards: those that begin alike there share their messages."""
    operands: dict[int, list[tuple[int, int]]] = {}
    for u, edges in enumerate(readers):
        for v, key in edges:
            operands.setdefault(v, []).append((key, u))
    pending: list[tuple[tuple[int, ...], tuple[Edge, ...], Any]] = [
        ((graph.output,), (), _seed(graph))
    ]
    while pending:
        nodes, way, message = pending.pop()
        v = nodes[0]
        if v == target:
            yield Path(nodes, way, message, norm(message))
            continue
        pending += [
            ((u, *nodes), ((v, key), *way), _sent(graph, v, key, message)) for key, u in operands[v]
        ]


def _value(graph: Graph, edges: Sequence[Edge]) -> Any:
    """A path's contribution; None where arrays, or what a call needs to be made again, is not kept.

    The messages of such a call are known, but not what it would send for a part of its gradient.
    """
    v, key = edges[0]
    if isinstance(graph.operand_values(v)[key], Statistics):
        return None
    try:
        return contribution(graph, edges)
    except TraceError:
        if all(graph.values[v].operation.rule(key) is not None for v, key in edges):
            return None
        raise


def _size(graph: Graph, v: int, key: int) -> float:
    local = graph.local(v, key)
    return math.nan if local is None else float(np.abs(np.asarray(local).reshape(())))


def needs(readers: list[list[Edge]], target: int) -> set[int]:
    """The values v ≠ target on the paths from it to J: their ∂J/∂v is needed."""
    found: set[int] = set()
    pending = [target]
    while pending:
        for v, _ in readers[pending.pop()]:
            if v not in found:
                found.add(v)
                pending.append(v)
    return found


def _best_first(graph: Graph, readers: list[list[Edge]], target: int, gain: Any) -> Iterator[Path]:
    """Paths by descending product of gains: A* with the exact best completion as its bound."""

    def log_gain(v: int, key: int) -> float:
        size = gain(v, key)
        # What is not a number stands out first; a zero goes last.
        return math.inf if math.isnan(size) else math.log(size) if size > 0 else -math.inf

    best: dict[int, float] = {graph.output: 0.0}
    logs: dict[Edge, float] = {}
    for u in range(graph.output - 1, target - 1, -1):
        for v, key in readers[u]:
            if v in best:
                logs[v, key] = log_gain(v, key)
                best[u] = max(best.get(u, -math.inf), _plus(logs[v, key], best[v]))
    if target not in best:
        return
    tie = itertools.count()  # first found, first out
    # Entries: bound, tie, end, sum of logs so far, the edges so far as a linked list.
    heap: list[tuple[float, int, int, float, Any]] = [(-best[target], next(tie), target, 0.0, None)]
    while heap:
        _, _, end, log, chain = heapq.heappop(heap)
        if end == graph.output:
            edges: list[Edge] = []
            while chain is not None:
                edges.append(chain[0])
                chain = chain[1]
            edges.reverse()
            nodes = (target, *(v for v, _ in edges))
            yield Path(nodes, tuple(edges), _value(graph, edges), math.exp(min(log, 700.0)))
            continue
        for v, key in readers[end]:
            if v in best:
                ahead = _plus(log, logs[v, key])
                bound = -_plus(ahead, best[v])
                heapq.heappush(heap, (bound, next(tie), v, ahead, ((v, key), chain)))


def _plus(a: float, b: float) -> float:
    """A sum of logarithms; 0 · ∞, which is no number, stands out first."""
    total = a + b
    return math.inf if math.isnan(total) else total
