"""Recording a PyTorch module or function."""

from __future__ import annotations

import difflib
import inspect
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import CellType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo import OptimizedModule

from gradviz.chain.backward import Gradients
from gradviz.errors import TraceError
from gradviz.graph import Graph, Program
from gradviz.record import names
from gradviz.record.arguments import argument_names, begins, convert_nested
from gradviz.record.build import build
from gradviz.record.torch.capture import Capture, TensorNode
from gradviz.record.torch.operation import tensors_in

LIMIT = 2**20
"""Parameters and arguments of so many numbers are captured whole; of more, lean."""


class TorchProgram(Program):
    """A PyTorch function, its arguments, and the parameters that it reads.

    Parameters
    ----------
    function : Module or callable
    args, kwargs
        Its arguments, and of ours `loss` and `capture` (see `gradviz.trace`).
    wrt : sequence of str or None
    title : str
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wrt: Sequence[str] | None,
        title: str,
    ) -> None:
        if isinstance(function, OptimizedModule) or hasattr(function, "_torchdynamo_orig_callable"):
            compiled: Any = function
            function = getattr(compiled, "_orig_mod", None) or compiled._torchdynamo_orig_callable
            warnings.warn("a compiled program is traced as it was before compilation", stacklevel=4)
        kwargs = dict(kwargs)
        loss, capture = kwargs.pop("loss", None), kwargs.pop("capture", None)
        if capture not in (None, "whole", "lean"):
            raise ValueError(f"capture={capture!r}: write 'whole' or 'lean'")
        if loss is not None and not callable(loss):
            raise TypeError(f"loss must be a function of the output, got {type(loss).__name__}")
        self.function, self.args, self.kwargs, self.loss = function, args, kwargs, loss
        self.wrt, self.title = wrt, title
        forward = function.forward if isinstance(function, nn.Module) else function
        self.argument_names = argument_names(forward, len(args))
        self.modules, self.others = modules_of(function), tensors_of(function)
        self.whole = capture == "whole"
        if capture is None:
            tensors = tensors_in((args, kwargs))
            tensors += [p for m in self.modules.values() for p in m.parameters()]
            self.whole = sum(tensor.numel() for tensor in tensors) <= LIMIT
        self.parameters: dict[str, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"modules": {}, "others": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What a function takes from around it is found anew where the pickle is opened."""
        self.__dict__ |= state
        self.modules, self.others = modules_of(self.function), tensors_of(self.function)
        self.parameters |= Capture(self.modules, {}, self.whole).parameters

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        with self._preserved(values), torch.enable_grad():
            args, kwargs, _ = self._arguments(values)
            return self._scalar(self._call(args, kwargs)).item()

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        with self._preserved(values), torch.enable_grad():
            args, kwargs, named = self._arguments(values)
            capture = Capture(self.modules, self.others | named, self.whole)
            try:
                return self._record(capture, args, kwargs)
            finally:
                capture.close()

    def _record(self, capture: Capture, args: Any, kwargs: Any) -> Graph:
        try:
            with torch.compiler.set_stance("force_eager"), capture.recording():
                output = self._call(args, kwargs)
        except TraceError:
            raise
        except Exception as error:
            if not capture.recorded:  # it did not begin: this is about the arguments
                raise
            return self._broken(capture, error)
        if capture.loss is not None:
            raise TraceError("the program calls backward() itself; return the loss instead")
        loss = self._scalar(output)
        node = capture.node(loss)
        for parameter in capture.parameters.values():  # also those that nothing reads
            if parameter.requires_grad:
                capture.node(parameter)
        self.parameters = capture.parameters
        leaves = capture.leaves()
        wanted = self._wanted(leaves)
        if loss.requires_grad:
            with capture.sending():
                _differentiate(loss, [leaves[name] for name in wanted])
            capture.told_apart()
        elif not wanted:
            raise TraceError(
                f"nothing in {self.title or 'the program'} requires a gradient: call "
                "requires_grad_() on a parameter or an argument, or name an argument in wrt"
            )
        else:
            raise TraceError(_detached(capture, node))
        return graph_of(capture, node, wanted, self, self.title)

    def _arguments(self, values: Mapping[str, Any]) -> tuple[Any, Any, dict[int, str]]:
        """The arguments, with new values for some leaves, and the names of tensors by `id`."""
        named: dict[int, str] = {}
        copies: dict[int, Tensor] = {}  # one given twice is one still

        def convert(value: Any, name: str) -> Any:
            if not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
                return value
            if id(value) in copies:
                return copies[id(value)]
            asked = value.requires_grad or bool(begins(name, self.wrt))
            if asked and not (value.is_floating_point() or value.is_complex()):
                raise ValueError(f"{name} is of {value.dtype}, which has no gradient")
            # A tensor of our own: what the program writes to it does not reach the caller.
            copy = _put(values.get(name), value.detach().clone()).requires_grad_(asked)
            named[id(copy)] = name
            copies[id(value)] = copy
            return copy

        arguments = zip(self.args, self.argument_names, strict=True)
        args = [convert_nested(value, name, convert) for value, name in arguments]
        kwargs = {n: convert_nested(v, n, convert) for n, v in self.kwargs.items()}
        return args, kwargs, named

    def _call(self, args: Any, kwargs: Any) -> Any:
        output = self.function(*args, **kwargs)
        return output if self.loss is None else self.loss(output)

    @contextmanager
    def _preserved(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Give parameters new values; afterwards all is as before, random numbers included."""
        changed = [
            (parameter, values[name])
            for name, parameter in self.parameters.items()
            if isinstance(values.get(name), (np.ndarray, np.generic, float))
        ]
        buffers = [b for module in self.modules.values() for b in module.buffers()]
        tensors = [*buffers, *(parameter for parameter, _ in changed)]
        copies = [tensor.detach().clone() for tensor in tensors]
        state, array_state = random.getstate(), np.random.get_state()  # noqa: NPY002
        devices = range(torch.cuda.device_count())
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad():
                for parameter, value in changed:
                    _put(value, parameter)
                yield
        finally:
            random.setstate(state)
            np.random.set_state(array_state)  # noqa: NPY002
            with torch.no_grad():
                for tensor, copy in zip(tensors, copies, strict=True):
                    tensor.copy_(copy)

    def _scalar(self, output: Any) -> Tensor:
        """J, if the output is a real number; else an error that says what to pass."""
        what = self.title or "the program"
        hint = "pass loss=lambda out: ..., a function that makes a scalar of it"
        if not isinstance(output, Tensor):
            shown = type(output).__name__
            if isinstance(output, dict):
                shown += f" with {', '.join(map(str, list(output)[:6]))}"
                found = [k for k, v in output.items() if isinstance(v, Tensor) and v.numel() == 1]
                hint = f"pass loss=lambda out: out[{found[0]!r}]" if found else hint
            elif isinstance(output, (tuple, list)):
                shown += f" of {len(output)}"
            raise TraceError(f"{what} returned a {shown}; {hint}")
        if output.numel() != 1:
            shape = "×".join(map(str, output.shape))
            raise TraceError(f"{what} returned a tensor of {shape}; {hint}")
        if output.is_complex():
            raise TraceError(f"{what} returned a complex number; {hint}")
        return output

    def _wanted(self, leaves: Mapping[str, Tensor]) -> list[str]:
        reached = {prefix for name in leaves for prefix in begins(name, self.wrt)}
        for missing in sorted(set(self.wrt or ()) - reached):
            near = difflib.get_close_matches(missing, leaves, 3, 0.4) or list(leaves)[:8]
            raise ValueError(
                f"wrt={missing!r} names no leaf that requires a gradient; there are: "
                f"{', '.join(near)}"
            )
        return [name for name in leaves if self.wrt is None or begins(name, self.wrt)]

    def _broken(self, capture: Capture, error: Exception) -> Graph:
        """The Graph up to an error, which is its last value."""
        capture.failed(error)
        what = self.title or "the program"
        warnings.warn(
            f"{what} raised {type(error).__name__}: {error}. This is the trace up to there",
            stacklevel=6,
        )
        graph = graph_of(capture, capture.recorded[-1], [], self, self.title)
        graph.error = error
        return graph


def graph_of(
    capture: Capture, output: TensorNode, wanted: Sequence[str], program: Program | None, title: str
) -> Graph:
    """The Graph of what was captured."""
    nodes = capture.kept(output)
    for node in nodes:
        if node.operands:
            node.name = node.name or names.assigned(node.site)
            if node is not output:  # whose name is J, where it has none
                node.name = node.name or node.operation.name
        elif node.name:
            node.scope = capture.scope_of(node.name)
    wrt = [node for node in nodes if not node.operands and node.name in wanted]
    graph = build(nodes, output, wrt=wrt, program=program, title=title)
    ids = {node.order: i for i, node in enumerate(graph.values) if node.order >= 0}
    graph.derivatives = Gradients(
        {ids[order]: found for order, found in capture.gradients.items() if order in ids},
        {(ids[v], key): found for (v, key), found in capture.messages.items() if v in ids},
    )
    graph.statements = graph  # a module's layers are what groups its operations
    graph.legible = 30  # every value is an array, with parameters around it
    if not capture.whole:
        graph.underflown = frozenset()
    return graph


def modules_of(function: Any) -> dict[str, nn.Module]:
    """The modules that a function is, or uses, by name; "" where there is but one."""
    found = {name: v for name, v in used(function).items() if isinstance(v, nn.Module)}
    return {"": next(iter(found.values()))} if len(found) == 1 else found


def tensors_of(function: Any) -> dict[int, str]:
    """The names of the tensors that a function uses, by `id`."""
    return {id(v): name for name, v in used(function).items() if isinstance(v, Tensor)}


def used(function: Any) -> dict[str, Any]:
    """What a function takes from around it."""
    if isinstance(function, nn.Module):
        return {"": function}
    if isinstance(function, partial):
        given = dict(enumerate(function.args)) | function.keywords
        return used(function.func) | {str(k): v for k, v in given.items()}
    owner = getattr(function, "__self__", None)
    if isinstance(owner, nn.Module):
        return {"": owner}
    function = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    held = {name: cell.cell_contents for name, cell in cells if cell != _EMPTY}
    return {n: function.__globals__[n] for n in code.co_names if n in function.__globals__} | held


_EMPTY = CellType()


def _put(value: Any, tensor: Tensor) -> Tensor:
    """Copy a NumPy value into a tensor; None leaves it as it is."""
    if isinstance(value, (np.ndarray, np.generic, float)):
        tensor.copy_(torch.as_tensor(np.array(value)))
    return tensor


def _differentiate(loss: Tensor, leaves: Sequence[Tensor]) -> None:
    try:
        torch.autograd.grad(loss, leaves, allow_unused=True)
    except RuntimeError as error:
        if "heckpoint" in str(error):
            raise TraceError(
                "re-entrant checkpoints differentiate in a pass of their own that cannot be "
                "followed: write checkpoint(..., use_reentrant=False)"
            ) from error
        raise TraceError(f"PyTorch cannot differentiate this program: {error}") from error


def _detached(capture: Capture, output: TensorNode) -> str:
    """Why J has no gradient."""
    pending, seen = [output], {output.order}
    while pending:
        node = pending.pop(0)
        operands = [o for o in node.operands if isinstance(o, TensorNode)]
        if node.edge is None and any(o.edge is not None for o in operands):
            place = names.source(node.site)
            where = f" at {place[0]}:{place[1]}: {place[2]}" if place else ""
            return (
                f"the loss has no gradient: its history ended at {node.operation.name}{where}; "
                "return a loss that is not detached"
            )
        new = [o for o in operands if o.order not in seen]
        seen.update(o.order for o in new)
        pending += new
    read = next((n.read for n in capture.recorded if hasattr(n, "read")), None)
    place = names.source(read[1]) if read else None
    because = f": {read[0]} ended its history at {place[0]}:{place[1]}" if read and place else ""
    return f"the loss depends on nothing that requires a gradient{because}"
