"""A Graph's computation and its backward pass in the public NetworkX schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx
import numpy as np

from gradviz.errors import TraceError
from gradviz.graph import SCHEMA
from gradviz.ops import notation

if TYPE_CHECKING:
    from gradviz.graph import Graph


def dag(graph: Graph) -> networkx.MultiDiGraph:
    """See `Graph.dag`."""
    result = networkx.MultiDiGraph(schema=SCHEMA, output=graph.output, name=graph.title)
    try:
        derivatives = graph.derivatives
    except TraceError:  # shown as "not computed"; asking for the gradient says why
        derivatives = None
    for i, node in enumerate(graph.values):
        expression = graph.expression(i)
        result.add_node(
            i,
            name=graph.names[i],
            op=node.operation.name,
            kind=graph.kind(i),
            value=node.value,
            shape=np.shape(node.value),
            dtype=getattr(node.value, "dtype", None) or type(node.value),
            grad=derivatives.gradients.get(i) if derivatives else None,
            grad_state=derivatives.state(i) if derivatives else "not computed",
            scope=node.scope,
            source=graph.source(i),
            expression=notation.text(expression) if expression is not None else "",
        )
    for v, operands in enumerate(graph.operands):
        for key, u in enumerate(operands):
            message = derivatives.messages.get((v, key)) if derivatives else None
            result.add_edge(u, v, key=key, message=message, **_rule(graph, v, key))
    return result


def backward_dag(graph: Graph) -> networkx.MultiDiGraph:
    """See `Graph.backward_dag`."""
    derivatives = graph.derivatives
    output = graph.names[graph.output]
    order = {i: n for n, i in enumerate(sorted(derivatives.gradients, reverse=True))}
    result = networkx.MultiDiGraph(
        schema=SCHEMA, output=max(order.values(), default=0), name=f"backward pass of {graph.title}"
    )
    for i, n in order.items():
        gradient: Any = derivatives.gradients[i]
        terms = [
            f"∂{output}/∂{graph.names[v]} · ∂{graph.names[v]}/∂{graph.names[i]}"
            for v, key in graph.readers[i]
            if (v, key) in derivatives.messages
        ]
        result.add_node(
            n,
            of=i,
            name=f"∂{output}/∂{graph.names[i]}",
            op="accumulate" if terms else "seed",
            kind="operation" if terms else "constant",
            value=gradient,
            shape=np.shape(gradient),
            dtype=np.asarray(gradient).dtype,
            grad=None,
            grad_state=derivatives.state(i),
            scope=graph.values[i].scope,
            source=graph.source(i),
            expression=" + ".join(terms),
        )
    for (v, key), message in derivatives.messages.items():
        u = graph.operands[v][key]
        result.add_edge(order[v], order[u], key=key, message=message, **_rule(graph, v, key))
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
