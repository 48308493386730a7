"""A recorded computation run again: by its operations, and at other values of its leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gradviz.errors import TraceError
from gradviz.model import PARAMETER, Program
from gradviz.ops.operation import refuse_more_than_arrays
from gradviz.statistics import Statistics
from gradviz.words import nearest

if TYPE_CHECKING:
    from gradviz.graph import Graph

T = TypeVar("T")
_THERE = "where it was recorded"


def once_more(call: Callable[..., T], *arguments: Any) -> T:
    """Run a program again; what it took from an iterator it cannot take twice."""
    try:
        return call(*arguments)
    except StopIteration as error:
        raise TraceError(
            "the program cannot be run again: it takes the next item of an iterator, and there is "
            "none left; take it before, and pass it as an argument"
        ) from error


class Replay(Program):
    """The recorded operations, evaluated again in their order."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`; a TraceError says which operation cannot be evaluated again."""
        return self._evaluate(values)[self.graph.output]

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        # What the program read as plain numbers are constants here, as they were.
        said = self.graph.astray
        if said and not said.startswith(_THERE):
            said = f"{_THERE}, {said}"
        return self.graph.with_values(self._evaluate(values), {"astray": said})

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


def leaves_with(graph: Graph, new: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all leaves, some of them new; refuses what no such leaf can be."""
    values = graph.leaf_values()
    for name, value in new.items():
        if name not in values:
            raise KeyError(f"no leaf is called {name!r}; there are: {nearest(name, values)}")
        refuse_more_than_arrays(value, name)
        known = values[name]
        if np.shape(value) != np.shape(known):
            raise ValueError(f"{name} has shape {np.shape(known)}, the new value {np.shape(value)}")
        dtype = known.dtype if isinstance(known, Statistics) else np.asarray(known).dtype
        values[name] = np.asarray(value, None if dtype == "bfloat16" else dtype)[()]
    return values


def downhill(graph: Graph, rate: float) -> dict[str, Any]:
    """The parameters after a step of gradient descent; where there are none, the `wrt` leaves."""
    moving = [i for i in graph.wrt if graph.values[i].operation is PARAMETER] or graph.wrt
    uphill = np.asarray if graph.program.conjugates else np.conjugate
    return {graph.names[i]: graph.values[i].value - rate * uphill(graph.adjoint(i)) for i in moving}
