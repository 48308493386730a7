"""Calls of a library that consist of several operations, and can be looked into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradviz.chain.fold import Fold
from gradviz.chain.statements import Statement
from gradviz.errors import TraceError

if TYPE_CHECKING:
    from gradviz.graph import Graph


def inside(graph: Graph, name: str) -> Graph:
    """See `Graph.inside`."""
    i = graph.id(name)
    whole, steps = steps_of(graph, i)
    looks: list[Any] = [getattr(whole.values[k].operation, "inside", None) for k in steps]
    if not all(looks):
        raise TraceError(
            f"{name} has nothing in it to look into: only a call of a library that JAX recorded "
            "has, in a Graph that was not loaded from a file"
        )
    found: Graph = looks[0](graph, i)
    return found


def steps_of(graph: Graph, i: int) -> tuple[Graph, tuple[int, ...]]:
    """The operations that a value stands for, and the Graph that they are values of."""
    operation = graph.values[i].operation
    return (operation.graph, operation.steps) if isinstance(operation, Statement) else (graph, (i,))


@dataclass(frozen=True, eq=False)
class Call:
    """A call that opens as a fold does.

    Attributes
    ----------
    graph : Graph
        The whole.
    i : int
        The id of its result.
    """

    graph: Graph
    i: int

    @property
    def title(self) -> str:
        """What is called."""
        whole, steps = steps_of(self.graph, self.i)
        called = (whole.values[k].operation for k in steps)
        return ", ".join(dict.fromkeys(one.name for one in called if one.parts() > 1))

    @property
    def heading(self) -> str:
        """What stands over what is in it: of more than the call, the value's name."""
        alone = len(steps_of(self.graph, self.i)[1]) == 1
        return self.title if alone else self.graph.names[self.i]

    @property
    def key(self) -> str:
        """What it is opened by."""
        return f"{self.graph.names[self.i]}: {self.title}"

    @cached_property
    def inside(self) -> Graph:
        """See `Graph.inside`."""
        return inside(self.graph, self.graph.names[self.i])

    @property
    def steps(self) -> list[int]:
        """The ids there of what is in it: neither what it reads nor what becomes of its result."""
        own, whole = self.inside, self.graph
        read = {whole.names[u] for u in whole.operands[self.i]}
        result = own.id(whole.names[self.i])
        return [k for k in range(result + 1) if not (own.is_leaf(k) and own.names[k] in read)]


def call(graph: Graph, i: int) -> Call | None:
    """The call that computed a value, if it can be looked into."""
    whole, steps = steps_of(graph, i)
    parts: list[Any] = [getattr(whole.values[k].operation, "parts", None) for k in steps]
    if not all(parts) or graph.derivatives.gradients.get(i) is None:
        return None
    counts = [count() for count in parts]
    return Call(graph, i) if min(counts) > 0 and max(counts) > 1 else None


def calls_of(graph: Graph) -> dict[int, Call]:
    """All calls that can be looked into, by the ids of their results."""
    whole = graph.origin.whole if graph.origin else graph
    if not any(hasattr(kind, "parts") for kind in {type(n.operation) for n in whole.values}):
        return {}  # (a page of a long program of NumPy's need not ask each value)
    found = ((i, call(graph, i)) for i in range(len(graph)))
    return {i: one for i, one in found if one}


def alone(part: int | Fold) -> int:
    """The value that a box is of, with at most leaves in it besides; -1 for none."""
    if isinstance(part, int):
        return part
    return part.main if part.main is not None and part.steps == [part.main] else -1
