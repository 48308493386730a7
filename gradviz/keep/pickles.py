"""What pickles hold of a Graph."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradviz.errors import TraceError
from gradviz.keep.writing import pack
from gradviz.model import Program
from gradviz.ops.table import ADDED

if TYPE_CHECKING:
    from gradviz.graph import Graph


class Sealed(Program):
    """A traced function in a pickle: it is opened when the program is to run again."""

    def __init__(self, program: Program) -> None:
        self.pickled, self.why = b"", ""
        try:
            self.pickled = pickle.dumps(program)
        except Exception as error:  # whatever the function or its arguments raise
            self.why = f"the function cannot be pickled ({error}); a function of a module can"

    def _open(self) -> Program:
        if not self.pickled:
            raise TraceError(f"this Graph came from a pickle without its program: {self.why}")
        program: Program = pickle.loads(self.pickled)
        return program

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        return self._open().run(values)

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        graph: Graph = self._open().record(values)
        return graph


def parts(graph: Graph) -> tuple[Any, ...]:
    """The document, the program, and the functions of operations that were added."""
    program = graph.recorded_program
    if program is not None and not isinstance(program, Sealed):
        program = Sealed(program)
    added = [row for row in {node.operation for node in graph.values} if row.name in ADDED]
    functions = [row.function for row in added if _pickled(row.function)]
    return pack(graph), program, functions


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception:  # whatever a function of the user's raises
        return b""
