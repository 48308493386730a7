"""A Graph's computation and its backward pass as nodes and edges with attributes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops import notation

if TYPE_CHECKING:
    import networkx

    from gradviz.graph import Graph
    from gradviz.model import Gradients

SCHEMA = 1
EdgeRow = tuple[int, int, int, dict[str, Any]]
"""(u, v, key, attributes)"""
T = TypeVar("T")


@dataclass
class Table:
    """What `Graph.dag` holds, before NetworkX: enough for a picture, and quicker to have.

    Attributes
    ----------
    graph : dict
        The graph's own attributes.
    nodes : mapping of int to dict
    edges : sequence of (u, v, key, attributes)
        The ``tree`` among a row's attributes is the formula that is its text, for pictures alone.
    """

    graph: dict[str, Any]
    nodes: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    edges: Sequence[EdgeRow] = field(default_factory=list)

    @cached_property
    def incoming(self) -> Mapping[int, list[EdgeRow]]:
        """The edges into each node."""
        found: dict[int, list[EdgeRow]] = defaultdict(list)
        for edge in self.edges:
            found[edge[1]].append(edge)
        return found

    @cached_property
    def outgoing(self) -> Mapping[int, list[EdgeRow]]:
        """The edges out of each node."""
        found: dict[int, list[EdgeRow]] = defaultdict(list)
        for edge in self.edges:
            found[edge[0]].append(edge)
        return found

    def operands(self, node: int) -> Sequence[int]:
        """The nodes that a node is computed from."""
        return [edge[0] for edge in self.incoming[node]]

    def words(self, node: int) -> Sequence[str]:
        """A node's name, then its scopes."""
        data = self.nodes[node]
        return data["name"], *data.get("scope", ())

    def dag(self) -> networkx.MultiDiGraph:
        """The same as a NetworkX graph."""
        import networkx

        result = networkx.MultiDiGraph(**self.graph)
        result.add_nodes_from((node, _told(data)) for node, data in self.nodes.items())
        result.add_edges_from((u, v, key, _told(data)) for u, v, key, data in self.edges)
        return result


def _told(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "tree"}


class Rows(Mapping[int, T]):
    """A row for each number below `count`, made when it is first asked for."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make
        self._made: dict[int, T] = {}

    def __getitem__(self, i: int) -> T:
        if i not in self._made:
            if not 0 <= i < self._count:
                raise KeyError(i)
            self._made[i] = self._make(i)
        return self._made[i]

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._count))

    def __len__(self) -> int:
        return self._count


class _Edges(Sequence[EdgeRow]):
    """The edges in the order of their heads; their number is known before they are made."""

    def __init__(self, count: int, incoming: Mapping[int, list[EdgeRow]]) -> None:
        self._count, self._incoming = count, incoming

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[EdgeRow]:
        return chain.from_iterable(self._incoming.values())

    def __getitem__(self, i: Any) -> Any:
        return list(self)[i]


class Forward(Table):
    """The table of `Graph.dag`; of a large graph a picture asks for few of its rows."""

    def __init__(self, whole: Graph) -> None:
        self.whole, count = whole, len(whole)
        found: Gradients | None = None
        with suppress(TraceError):  # shown as "not computed"; asking for the gradient says why
            found = whole.derivatives
        messages = found.messages if found else {}
        incoming = Rows(count, partial(_into, whole, messages))
        super().__init__(
            {"schema": SCHEMA, "output": whole.output, "name": whole.title},
            Rows(count, partial(_node, whole, found)),
            _Edges(sum(map(len, whole.operands)), incoming),
        )
        self.incoming = incoming
        self.outgoing = Rows(count, partial(_out_of, whole, incoming))

    def operands(self, node: int) -> Sequence[int]:
        """See `Table.operands`."""
        return self.whole.operands[node]

    def words(self, node: int) -> Sequence[str]:
        """See `Table.words`."""
        return self.whole.names[node], *self.whole.values[node].scope


def _node(graph: Graph, found: Gradients | None, i: int) -> dict[str, Any]:
    node = graph.values[i]
    expression = graph.expression(i)
    return dict(
        name=graph.names[i],
        op=node.operation.name,
        kind=graph.kind(i),
        value=node.value,
        shape=np.shape(node.value),
        dtype=getattr(node.value, "dtype", None) or type(node.value),
        grad=found.gradients.get(i) if found else None,
        grad_state=graph.grad_state(i) if found else "not computed",
        changed_by_hook=graph.changed_by_hooks.get(i, ""),
        scope=node.scope,
        source=graph.source(i),
        expression=notation.text(expression) if expression is not None else "",
        tree=expression,
    )


def _into(graph: Graph, messages: Mapping[tuple[int, int], Any], v: int) -> list[EdgeRow]:
    return [
        (u, v, key, {"message": messages.get((v, key)), **_rule(graph, v, key)})
        for key, u in enumerate(graph.operands[v])
    ]


def _out_of(graph: Graph, incoming: Mapping[int, list[EdgeRow]], u: int) -> list[EdgeRow]:
    return [incoming[v][key] for v, key in graph.readers[u]]


def forward(graph: Graph) -> Table:
    """The table of `Graph.dag`."""
    return Forward(graph)


def backward(graph: Graph) -> Table:
    """The table of `Graph.backward_dag`."""
    derivatives = graph.derivatives
    output = graph.names[graph.output]
    order = {i: n for n, i in enumerate(sorted(derivatives.gradients, reverse=True))}
    nodes, edges = {}, []
    for i, n in order.items():
        gradient: Any = derivatives.gradients[i]
        terms = [
            f"∂{output}/∂{graph.names[v]} · {graph.slope(v, key).id}"
            for v, key in graph.readers[i]
            if (v, key) in derivatives.messages
        ]
        nodes[n] = dict(
            of=i,
            name=f"∂{output}/∂{graph.names[i]}",
            op="accumulate" if terms else "seed",
            kind="operation" if terms else "constant",
            value=gradient,
            shape=np.shape(gradient),
            dtype=getattr(gradient, "dtype", None) or type(gradient),
            grad=None,
            grad_state=graph.grad_state(i),
            changed_by_hook=graph.changed_by_hooks.get(i, ""),
            scope=graph.values[i].scope,
            source=graph.source(i),
            expression=" + ".join(terms),
        )
    for (v, key), message in derivatives.messages.items():
        u = graph.operands[v][key]
        edge = {"message": message, **_rule(graph, v, key)}
        edges.append((order[v], order[u], key, edge))
    about = {
        "schema": SCHEMA,
        "output": max(order.values(), default=0),
        "name": f"backward pass of {graph.title}",
    }
    return Table(about, nodes, edges)


def _rule(graph: Graph, v: int, key: int) -> dict[str, Any]:
    """What an edge says of its derivative, in number and in notation."""
    local = graph.local(v, key)
    formula = graph.derivative(v, key)
    message = None
    mapped = local is None or graph.stops(v)
    if mapped and graph.values[v].operation.rule(key) is not None:
        message = graph.message(v, key, notation.adjoint(graph.names[v]))
    return {
        "local": local,
        "symbol": graph.slope(v, key).id,
        "derivative": notation.text(formula) if formula is not None else "",
        "vjp": notation.text(message) if message is not None else "",
        "tree": formula if formula is not None else message,
    }
