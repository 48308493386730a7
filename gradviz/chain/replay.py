"""A recorded computation run again by its operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.model import Known, Program

if TYPE_CHECKING:
    from gradviz.graph import Graph


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
        # What the program read as plain numbers are constants here, as they were.
        known: Known = {"reads": graph.reads, "ends": graph.ends, "returned": graph.returned,
                        "sure": graph.sure}  # fmt: skip
        return graph.with_values(self._evaluate(values), known)

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
