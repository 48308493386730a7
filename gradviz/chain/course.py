"""The order of stepping: both passes, event by event; with targets, their ledger in its order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradviz.chain.paths import carrying
from gradviz.chain.reuse import reuse

if TYPE_CHECKING:
    from gradviz.graph import Graph

Event = tuple[str, Any]
"""("given", None), ("value", id), ("seed", id), ("message", (reader, key)), ("cached", id) of a
target that an earlier one has computed, ("done", None)."""


def course(graph: Graph, targets: Sequence[str] = ()) -> list[Event]:
    """All events of both passes; the page plays the same ones."""
    values: list[Event] = [("value", i) for i in range(len(graph)) if not graph.is_leaf(i)]
    messages = graph.derivatives.messages
    backward: list[Event] = [("seed", graph.output)] if messages else []
    if not targets:
        for v in range(graph.output, -1, -1):
            edges = [(v, key) for key in range(len(graph.operands[v]))]
            backward += [("message", edge) for edge in edges if edge in messages]
        return [("given", None), *values, *backward, ("done", None)]
    readers = carrying(graph)
    sent: set[tuple[int, int]] = set()
    for row in reuse(graph, targets).rows:
        own = sorted({*row.computed_nodes, row.node}, reverse=True)
        edges = [e for u in own for e in sorted(readers[u], key=lambda e: (-e[0], e[1]))]
        new = [e for e in edges if e in messages and e not in sent]
        sent |= {*new}
        backward += [("message", edge) for edge in new] or [("cached", row.node)]
    return [("given", None), *values, *backward, ("done", None)]
