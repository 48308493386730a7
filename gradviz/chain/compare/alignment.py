"""What corresponds to what in two traces: by names, and by the order of recording."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gradviz.graph import Graph


Pairs = list[tuple[int, int]]
EDITS = 256
"""Of two sequences that differ by more, the longest common one is only approximated."""


def correspondence(graph: Graph, other: Graph, names: Mapping[str, str]) -> dict[int, int]:
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
                more = align(ours[i + 1 : m], theirs[j + 1 : n])
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
        source = graph.source(v)
        line = source.text if source else ""
        shape = getattr(node.value, "shape", ())
        found.append(_Known(node.scope if scoped else (), name, operation, line, shape))
    return found


_VERSION = re.compile(r"\(\d+\)$")


def align(a: Sequence[Hashable], b: Sequence[Hashable]) -> Pairs:
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
