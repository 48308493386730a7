"""A PyTorch program run again at other values of its leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.model import INPUT, PARAMETER, Node, Program
from gradviz.record.chance import States
from gradviz.record.torch.capture import Capture
from gradviz.record.torch.ranks import local
from gradviz.record.torch.state import Preserved, storage
from gradviz.statistics import Statistics

if TYPE_CHECKING:
    from gradviz.record.torch.search import Search
    from gradviz.record.torch.trace import TorchProgram


class Given(NamedTuple):
    """Values of leaves.

    Attributes
    ----------
    arguments : dict of str to array
        By the argument's name.
    tensors : list of (Tensor, array)
        Of parameters, and of what else the program reads.
    """

    arguments: dict[str, Any]
    tensors: list[tuple[Tensor, Any]]


AS_IT_IS = Given({}, [])


class Again(Program):
    """A PyTorch program that can be run at other values, with the random numbers that it drew.

    Parameters
    ----------
    program : TorchProgram
    slots : dict of str to str or Tensor
        Where the value of each leaf goes: to an argument, or to a tensor.
    fixed : dict of str to array
        The leaves whose tensors the program makes itself, with their values.
    given : Given
    states : States
        Of the random numbers, at its beginning.
    written : dict of str to (array, array)
        The leaves that the program writes to: what they held before, and when they were read.
    shared : dict of str to str
        The leaves that lie in one piece of memory with another one, and which.

    Attributes
    ----------
    precision : float
        The coarsest ε among the dtypes that it computes in; bfloat16 is kept as float32.
    """

    def __init__(
        self,
        program: TorchProgram,
        slots: Mapping[str, Any],
        fixed: Mapping[str, Any],
        given: Given,
        states: States,
        written: Mapping[str, tuple[Any, Any]],
        shared: Mapping[str, str],
    ) -> None:
        self.program, self.slots, self.given, self.states = program, slots, given, states
        self.fixed, self.written, self.shared = fixed, written, shared
        self.precision, self.conjugates = 0.0, True

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        return self.program.run_at(self._given(values), self.states)

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        return self.program.record_at(self._given(values), self.states)

    def _given(self, values: Mapping[str, Any]) -> Given:
        arguments = dict(self.given.arguments)
        tensors = {id(tensor): (tensor, value) for tensor, value in self.given.tensors}
        for name, value in values.items():
            if isinstance(value, Statistics):
                continue
            if name in self.fixed:
                if not np.array_equal(value, self.fixed[name], equal_nan=True):
                    raise TraceError(
                        f"{name} is made anew in every run of the program: it cannot be given "
                        "another value; pass it as an argument, or keep it outside"
                    )
                continue
            if name in self.written:
                before, read = self.written[name]
                value = before if np.array_equal(value, read, equal_nan=True) else value
            slot = self.slots[name]
            if isinstance(slot, str):
                arguments[slot] = value
            else:
                tensors[id(slot)] = slot, value
        return Given(arguments, list(tensors.values()))

    def __getstate__(self) -> dict[str, Any]:
        slots = {k: v if isinstance(v, str) else None for k, v in self.slots.items()}
        given = Given(self.given.arguments, [])
        tensors = {id(tensor): value for tensor, value in self.given.tensors}
        named = {k: tensors[id(v)] for k, v in self.slots.items() if id(v) in tensors}
        return self.__dict__ | {
            "slots": slots, "given": given, "named": named,
            "states": States(self.states.common, []),
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What a function takes from around it is found anew where the pickle is opened."""
        named = state.pop("named")
        self.__dict__ |= state
        found = self.program.search()
        names = Capture(found.roots, found.others, self.program.whole).names
        tensors = {names[id(t)]: t for t in found.tensors if id(t) in names}
        self.slots = {k: tensors.get(k) if v is None else v for k, v in self.slots.items()}
        self.given.tensors.extend((tensors[k], v) for k, v in named.items() if k in tensors)


def slots_of(
    capture: Capture, guard: Preserved, found: Search, called: Mapping[int, str]
) -> dict[str, Any]:
    """Where the values of leaves go."""
    slots: dict[str, Any] = {capture.names[key]: name for key, name in called.items()}
    slots |= {
        capture.names[id(tensor)]: tensor for tensor in found.tensors if id(tensor) in capture.names
    }
    theirs = {storage(t) for t in slots.values() if isinstance(t, Tensor)}
    for name, tensor in capture.leaf_tensors():
        # (The program makes w.detach().requires_grad_() anew, in memory that another leaf has.)
        if not guard.is_made(tensor) and storage(tensor) not in theirs:
            slots.setdefault(name, tensor)
    return slots


def written(nodes: Sequence[Node], capture: Capture) -> dict[str, tuple[Any, Any]]:
    """The leaves that the program writes to, see `Again`."""
    before = capture.before
    return {
        node.name: (before[node.name], node.value)
        for node in nodes
        if node.name in before
        and capture.whole
        and not np.array_equal(before[node.name], node.value, equal_nan=True)
    }


def fixed(nodes: Sequence[Node], slots: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves that have no slot, see `Again`."""
    return {
        node.name: node.value
        for node in nodes
        if node.operation in (INPUT, PARAMETER) and node.name not in slots
    }


def shared(slots: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, str]:
    """The leaves that lie in one piece of memory with another: who moves one may move both."""
    places = []
    for name in wanted:
        tensor = slots.get(name)
        if isinstance(tensor, Tensor) and storage(tensor) is not None:
            tensor = local(tensor)
            steps = ((n - 1) * by for n, by in zip(tensor.shape, tensor.stride(), strict=True))
            start, span = tensor.data_ptr(), 1 + sum(steps)
            places.append((start, start + span * tensor.itemsize, name))
    found, end, last = {}, 0, ""
    for start, stop, name in sorted(places):
        if start < end:
            found[name], found[last] = last, found.get(last, name)
        if stop > end:
            end, last = stop, name
    return found
