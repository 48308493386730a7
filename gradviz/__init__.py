"""gradviz shows how a gradient comes about."""

from gradviz import examples
from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.graphs import compare, load
from gradviz.language import set_language
from gradviz.model import Node
from gradviz.ops.custom import operation
from gradviz.record.array import Array
from gradviz.record.callbacks import lightning_callback, transformers_callback
from gradviz.record.expression import expression
from gradviz.record.gather import gather
from gradviz.record.leaves import input, parameter, stop_gradient
from gradviz.record.micrograd import draw_dot
from gradviz.record.tape import scope
from gradviz.record.trace import graph, trace
from gradviz.record.training import load_training, record_training
from gradviz.record.transforms import grad, hessian, hvp, jacobian, jvp
from gradviz.record.watch import watch

__version__ = "0.2.0"

__all__ = [
    "Array",
    "Graph",
    "Node",
    "TraceError",
    "compare",
    "draw_dot",
    "examples",
    "expression",
    "gather",
    "grad",
    "graph",
    "hessian",
    "hvp",
    "input",
    "jacobian",
    "jvp",
    "lightning_callback",
    "load",
    "load_training",
    "operation",
    "parameter",
    "record_training",
    "scope",
    "set_language",
    "stop_gradient",
    "trace",
    "transformers_callback",
    "watch",
]
