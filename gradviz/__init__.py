"""gradviz shows how a gradient comes about."""

from gradviz import examples
from gradviz.errors import TraceError
from gradviz.graph import Graph, Node
from gradviz.record.array import Array, input, parameter, scope
from gradviz.record.expression import expression
from gradviz.record.micrograd import draw_dot
from gradviz.record.trace import grad, graph, trace

__version__ = "0.1.0"

__all__ = [
    "Array",
    "Graph",
    "Node",
    "TraceError",
    "draw_dot",
    "examples",
    "expression",
    "grad",
    "graph",
    "input",
    "parameter",
    "scope",
    "trace",
]
