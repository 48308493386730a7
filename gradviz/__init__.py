"""gradviz shows how a gradient comes about."""

from gradviz.errors import TraceError
from gradviz.graph import Graph, Node
from gradviz.record.array import Array, input, parameter, scope
from gradviz.record.trace import grad, graph, trace

__version__ = "0.1.0"

__all__ = ["Array", "Graph", "Node", "TraceError", "grad", "graph", "input", "parameter", "scope", "trace"]
