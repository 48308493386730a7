"""A Graph as a table of pandas: a row per value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradviz.chain.backward import known_derivatives, known_state
from gradviz.statistics import measure

if TYPE_CHECKING:
    from gradviz.graph import Graph


def frame(graph: Graph) -> Any:
    """See `Graph.to_pandas`."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "to_pandas needs pandas: pip install 'gradviz-dag[pandas]', or, in a clone, "
            "pip install '.[pandas]'; g.summary() needs nothing"
        ) from error
    gradients = known_derivatives(graph).gradients
    rows = []
    for i, node in enumerate(graph.values):
        found, gradient, source = measure(node.value), gradients.get(i), graph.source(i)
        rows.append(
            {
                "name": graph.names[i],
                "op": node.operation.name,
                "kind": graph.kind(i),
                "scope": "/".join(node.scope),
                "shape": found.shape,
                "dtype": found.dtype,
                "size": found.size,
                "norm": found.norm,
                "min": found.low,
                "mean": found.mean,
                "max": found.high,
                "grad_norm": math.nan if gradient is None else measure(gradient).norm,
                "grad_state": known_state(graph, i),
                "memory": graph.memory.get(i),
                "source": "" if source is None else f"{source[0]}:{source[1]}",
            }
        )
    return pandas.DataFrame(rows).astype({"memory": "Int64"}).rename_axis("id")
