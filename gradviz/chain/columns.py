"""A graph of numbered nodes in columns, each node behind all that lead to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush


def topological(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """The numbers below `count` in topological order, less those on or behind a cycle."""
    after: dict[int, list[int]] = {}
    waits = [0] * count
    for u, v in edges:
        after.setdefault(u, []).append(v)
        waits[v] += 1
    ready = [n for n in range(count) if not waits[n]]
    heapify(ready)
    found = []
    while ready:
        found.append(heappop(ready))
        for v in after.get(found[-1], ()):
            waits[v] -= 1
            if not waits[v]:
                heappush(ready, v)
    return found


def ranks(count: int, edges: Collection[tuple[int, int]]) -> list[int]:
    """A column for each number: behind all that lead to it; a source, next to what it leads to."""
    after: dict[int, list[int]] = {}
    before: Counter[int] = Counter(v for _, v in edges)
    for u, v in edges:
        after.setdefault(u, []).append(v)
    rank = [0] * count
    order = topological(count, edges)
    for n in order:
        for v in after.get(n, ()):
            rank[v] = max(rank[v], rank[n] + 1)
    for n in reversed(order):
        if len(after.get(n, ())) > before[n]:
            rank[n] = min(rank[v] for v in after[n]) - 1
    return rank


def length(count: int, edges: Collection[tuple[int, int]]) -> int:
    """Through how many columns all edges run, together."""
    rank = ranks(count, edges)
    return sum(rank[v] - rank[u] for u, v in edges)
