"""A Graph's computation and its backward pass as nodes and edges with attributes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.graph import SCHEMA
from gradviz.ops import notation

if TYPE_CHECKING:
    import networkx

    from gradviz.graph import Graph

Edge = tuple[int, int, int, dict[str, Any]]
"""(u, v, key, attributes)"""


@dataclass
class Table:
    """What `Graph.dag` holds, before NetworkX: enough for a picture, and quicker to have.

    Attributes
    ----------
    graph : dict
        The graph's own attributes.
    nodes : dict of int to dict
    edges : list of (u, v, key, attributes)
    """

    graph: dict[str, Any]
    nodes: dict[int, dict[str, Any]] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    @cached_property
    def incoming(self) -> dict[int, list[Edge]]:
        """The edges into each node."""
        found: dict[int, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            found[edge[1]].append(edge)
        return found

    @cached_property
    def outgoing(self) -> dict[int, list[Edge]]:
        """The edges out of each node."""
        found: dict[int, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            found[edge[0]].append(edge)
        return found

    def dag(self) -> networkx.MultiDiGraph:
        """The same as a NetworkX graph."""
        import networkx

        result = networkx.MultiDiGraph(**self.graph)
        result.add_nodes_from(self.nodes.items())
        result.add_edges_from(self.edges)
        return result


def forward(graph: Graph) -> Table:
    """The table of `Graph.dag`."""
    result = Table({"schema": SCHEMA, "output": graph.output, "name": graph.title})
    try:
        derivatives = graph.derivatives
    except TraceError:  # shown as "not computed"; asking for the gradient says why
        derivatives = None
    for i, node in enumerate(graph.values):
        expression = graph.expression(i)
        result.nodes[i] = dict(
            name=graph.names[i],
            op=node.operation.name,
            kind=graph.kind(i),
            value=node.value,
            shape=np.shape(node.value),
            dtype=getattr(node.value, "dtype", None) or type(node.value),
            grad=derivatives.gradients.get(i) if derivatives else None,
            grad_state=graph.grad_state(i) if derivatives else "not computed",
            scope=node.scope,
            source=graph.source(i),
            expression=notation.text(expression) if expression is not None else "",
        )
    for v, operands in enumerate(graph.operands):
        for key, u in enumerate(operands):
            message = derivatives.messages.get((v, key)) if derivatives else None
            result.edges.append((u, v, key, {"message": message, **_rule(graph, v, key)}))
    return result


def backward(graph: Graph) -> Table:
    """The table of `Graph.backward_dag`."""
    derivatives = graph.derivatives
    output = graph.names[graph.output]
    order = {i: n for n, i in enumerate(sorted(derivatives.gradients, reverse=True))}
    result = Table(
        {
            "schema": SCHEMA,
            "output": max(order.values(), default=0),
            "name": f"backward pass of {graph.title}",
        }
    )
    for i, n in order.items():
        gradient: Any = derivatives.gradients[i]
        terms = [
            f"∂{output}/∂{graph.names[v]} · ∂{graph.names[v]}/∂{graph.names[i]}"
            for v, key in graph.readers[i]
            if (v, key) in derivatives.messages
        ]
        result.nodes[n] = dict(
            of=i,
            name=f"∂{output}/∂{graph.names[i]}",
            op="accumulate" if terms else "seed",
            kind="operation" if terms else "constant",
            value=gradient,
            shape=np.shape(gradient),
            dtype=np.asarray(gradient).dtype,
            grad=None,
            grad_state=graph.grad_state(i),
            scope=graph.values[i].scope,
            source=graph.source(i),
            expression=" + ".join(terms),
        )
    for (v, key), message in derivatives.messages.items():
        u = graph.operands[v][key]
        edge = {"message": message, **_rule(graph, v, key)}
        result.edges.append((order[v], order[u], key, edge))
    return result


def _rule(graph: Graph, v: int, key: int) -> dict[str, Any]:
    """What an edge says of its derivative, in number and in notation."""
    local = graph.local(v, key)
    formula = graph.derivative(v, key)
    vjp = ""
    if local is None and graph.values[v].operation.rule(key) is not None:
        vjp = notation.text(graph.message(v, key, notation.adjoint(graph.names[v])))
    return {
        "local": local,
        "derivative": notation.text(formula) if formula is not None else "",
        "vjp": vjp,
    }
