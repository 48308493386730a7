"""Recording a PyTorch module or function."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.model import Gradients, Known, Program
from gradviz.record import chance, names, rendezvous
from gradviz.record.arguments import (
    argument_names,
    begins,
    check_options,
    convert_nested,
    nested,
    numbered,
)
from gradviz.record.build import build
from gradviz.record.chance import States
from gradviz.record.torch import keep, measuring, ranks
from gradviz.record.torch.again import AS_IT_IS, Again, Given, fixed, shared, slots_of, written
from gradviz.record.torch.attention import sharpness
from gradviz.record.torch.capture import Capture
from gradviz.record.torch.nodes import TensorNode
from gradviz.record.torch.overwritten import overwritten, suspected
from gradviz.record.torch.search import Search, search
from gradviz.record.torch.state import Preserved
from gradviz.words import nearest

LIMIT = 2**20
"""Parameters and arguments of so many numbers are captured whole; of more, lean."""


class TorchProgram(Program):
    """A PyTorch function and its arguments.

    Parameters
    ----------
    function : Module or callable
    args, kwargs
        Its arguments.
    wrt : sequence of str or None
    title : str
    loss : callable, optional
    capture : str, optional
        See `gradviz.trace`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wrt: Sequence[str] | None,
        title: str,
        loss: Callable[..., Any] | None = None,
        capture: str | None = None,
    ) -> None:
        if hasattr(function, "_orig_mod") or hasattr(function, "_torchdynamo_orig_callable"):
            compiled: Any = function
            function = getattr(compiled, "_orig_mod", None) or compiled._torchdynamo_orig_callable
            warnings.warn("a compiled program is traced as it was before compilation", stacklevel=4)
        check_options(loss, capture)
        self.function, self.args, self.kwargs, self.loss = function, args, dict(kwargs), loss
        self.wrt, self.title = wrt, title
        forward = function.forward if isinstance(function, nn.Module) else function
        self.argument_names = argument_names(forward, len(args))
        self.whole = capture == "whole"
        if capture is None:
            self.found = self.search()
            tensors = [v for v in nested((args, kwargs)) if isinstance(v, Tensor)]
            tensors += [p for m in self.found.roots.values() for p in m.parameters()]
            sizes = {id(tensor): tensor.numel() for tensor in tensors}
            self.whole = sum(sizes.values()) <= LIMIT

    found: Search | None = None

    def search(self) -> Search:
        """What the function, its arguments and the loss reach now."""
        arguments = zip(self.argument_names, self.args, strict=True)
        return search([("", self.function), *arguments, *self.kwargs.items(), ("", self.loss)])

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        return self.record_at(AS_IT_IS, None).program.run(values)

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`; only a pickle of version 0.1 asks for other values."""
        graph = self.record_at(AS_IT_IS, None)
        return graph.program.record(values) if values else graph

    def run_at(self, given: Given, states: States | None) -> Any:
        """The output for given values of leaves and states of random numbers."""
        with self._preserved(given, states) as (guard, *_), torch.enable_grad():
            args, kwargs, keys = self._arguments(given)
            guard.own(tensor for tensor, _ in keys if not isinstance(tensor, nn.Parameter))
            return self._scalar(self._call(guard, args, kwargs)).item()

    def record_at(self, given: Given, states: States | None) -> Graph:
        """A new Graph for given values of leaves and states of random numbers."""
        with self._preserved(given, states) as (guard, found, drawn), torch.enable_grad():
            _refuse_inference(found.roots)
            args, kwargs, keys = self._arguments(given)
            guard.own(tensor for tensor, _ in keys if not isinstance(tensor, nn.Parameter))
            called = {id(tensor): key for tensor, key in keys}
            others = {k: v for k, v in found.others.items() if k not in called}
            capture = Capture(found.roots, called | others, self.whole)
            capture.written = guard.written
            try:
                recorded = self._record(capture, guard, found, args, kwargs, called)
                nodes = recorded.nodes
                slots = slots_of(capture, guard, found, called)
                program = Again(
                    self, slots, fixed(nodes, slots), given, drawn, written(nodes, capture),
                    shared(slots, recorded.wanted),
                )  # fmt: skip
                program.precision = max((torch.finfo(d).eps for d in capture.dtypes), default=0.0)
                return graph_of(capture, recorded, self.title, program)
            finally:
                capture.close()

    def _record(
        self,
        capture: Capture,
        guard: Preserved,
        found: Search,
        args: Any,
        kwargs: Any,
        called: Mapping[int, str],
    ) -> Recorded:
        try:
            guard.call, guard.ran = capture.call, capture.ran
            with capture.recording(shown=True):
                output = self._call(guard, args, kwargs)
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
        read = {id(tensor) for _, tensor in capture.leaf_tensors()}
        for module in found.roots.values():  # also the parameters that nothing reads
            parameters = [p for p in module.parameters() if p.requires_grad and not p.is_meta]
            if module in found.direct or not read.isdisjoint(map(id, parameters)):
                there = capture.leaves()
                for parameter in parameters:
                    if capture.names.get(id(parameter)) not in there:
                        capture.node(parameter)
        leaves = capture.leaves()
        wanted = self._wanted(leaves, called)
        if loss.requires_grad:
            capture.measure_memory([node])
            with capture.sending():
                wanted = _differentiate(capture, loss, {name: leaves[name] for name in wanted})
            capture.told_apart()
            capture.note_rank(False)
        elif not wanted:
            raise TraceError(
                f"nothing in {self.title or 'the program'} requires a gradient: call "
                "requires_grad_() on a parameter or an argument, or name an argument in wrt"
            )
        else:
            raise TraceError(_detached(capture, node))
        return Recorded(capture.kept(node), node, wanted)

    def _arguments(self, given: Given) -> tuple[Any, Any, list[tuple[Tensor, str]]]:
        """The arguments, with given values for some leaves, and the tensors among them by name."""
        keys: list[tuple[Tensor, str]] = []
        copies: dict[int, Tensor] = {}  # one given twice is one still
        taken: Counter[str] = Counter()

        def convert(value: Any, name: str) -> Any:
            if not isinstance(value, Tensor):
                return value
            if value.is_nested:
                keep.refuse(value)
            asked = value.requires_grad or bool(begins(name, self.wrt))
            name = numbered(name, taken)
            if isinstance(value, nn.Parameter):
                keys.append((value, name))
                return value
            if id(value) in copies:
                return copies[id(value)]
            if asked and not (value.is_floating_point() or value.is_complex()):
                raise ValueError(f"{name} is of {value.dtype}, which has no gradient")
            # A tensor of our own: what the program writes to it does not reach the caller.
            copy = _put(given.arguments.get(name), value.detach().clone()).requires_grad_(asked)
            keys.append((copy, name))
            copies[id(value)] = copy
            return copy

        arguments = zip(self.args, self.argument_names, strict=True)
        args = [convert_nested(value, name, convert) for value, name in arguments]
        kwargs = {n: convert_nested(v, n, convert) for n, v in self.kwargs.items()}
        return args, kwargs, keys

    def _call(self, guard: Preserved, args: Any, kwargs: Any) -> Any:
        with torch.compiler.set_stance("force_eager"), guard:
            output = self.function(*args, **kwargs)
            return output if self.loss is None else self.loss(output)

    @contextmanager
    def _preserved(
        self, given: Given, states: States | None
    ) -> Iterator[tuple[Preserved, Search, States]]:
        """Give leaves new values; afterwards all is as before, random numbers included."""
        found, self.found = self.found or self.search(), None  # what was just searched is right
        guard = Preserved(found.found)
        modules = (m for root in found.roots.values() for m in root.modules())
        with (
            chance.preserved(found.generators, tensors=True) as drawn,
            ranks.together(modules, _all_trace, "a trace"),
        ):
            try:
                guard.begin()
                if states is not None:
                    states.put()
                # (What stays as it is may lie in the memory of what moves.)
                moved = [pair for pair in given.tensors if not _holds(*pair)]
                for tensor, value in moved:
                    guard.save(tensor)
                    with torch.no_grad():
                        _put(value, tensor)
                yield guard, found, states or drawn
            finally:
                guard.end()

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

    def _wanted(self, leaves: Mapping[str, Tensor], called: Mapping[int, str]) -> list[str]:
        """The leaves of `wrt`; an argument is also found by its own name, if a leaf has it too."""
        meant = {
            name: {*begins(name, self.wrt), *begins(called.get(id(tensor), name), self.wrt)}
            for name, tensor in leaves.items()
        }
        reached = {prefix for found in meant.values() for prefix in found}
        for missing in sorted(set(self.wrt or ()) - reached):
            raise ValueError(
                f"wrt={missing!r} names no leaf that requires a gradient; there are: "
                f"{nearest(missing, leaves)}"
            )
        return [name for name in leaves if self.wrt is None or meant[name]]

    def _broken(self, capture: Capture, error: Exception) -> Recorded:
        """The values up to an error, which is the last."""
        capture.failed(error)
        what = self.title or "the program"
        warnings.warn(
            f"{what} raised {type(error).__name__}: {error}. This is the trace up to there",
            stacklevel=6,
        )
        last = capture.recorded[-1]
        return Recorded(capture.kept(last), last, [], error)


def _all_trace() -> list[int]:
    """Wait until all ranks trace; returns those that do not."""
    group = rendezvous.group()
    return [] if group is None else group.meet_next("trace", rendezvous.PATIENCE)


class Recorded(NamedTuple):
    """What becomes a Graph.

    Attributes
    ----------
    nodes : list of TensorNode
    output : TensorNode
        J.
    wanted : sequence of str
        The names of the leaves to differentiate by.
    error : Exception or None
        What ended the program.
    """

    nodes: list[TensorNode]
    output: TensorNode
    wanted: Sequence[str]
    error: Exception | None = None


def graph_of(
    capture: Capture,
    recorded: Recorded,
    title: str,
    program: Program | None = None,
    **more: Unpack[Known],
) -> Graph:
    """The Graph of what was captured, of which `more` is known too."""
    nodes, output, wanted, error = recorded
    for node in nodes:
        if node.operands:
            node.name = node.name or names.assigned(node.site, node.operation.name)
            if node is not output:  # whose name is J, where it has none
                node.name = node.name or node.operation.name
        elif node.name:
            node.scope = capture.scope_of(node.name)
    wrt = [node for node in nodes if not node.operands and node.name in wanted]
    layers = capture.layers({node.scope for node in nodes})

    def known(ids: Mapping[int, int]) -> Known:
        return {**_known(capture, error, ids), **more}

    return build(nodes, output, wrt=wrt, program=program, title=title, layers=layers, known=known)


def _known(capture: Capture, error: Exception | None, ids: Mapping[int, int]) -> Known:
    """What torch has computed."""
    known: Known = {
        "derivatives": Gradients(
            {ids[order]: found for order, found in capture.gradients.items() if order in ids},
            {(ids[v], key): found for (v, key), found in capture.messages.items() if v in ids},
        ),
        "changed_by_hooks": {ids[v]: told for v, told in capture.changed.items() if v in ids},
        "sharpness": {
            ids[order]: told
            for order, kept in capture.sharp.items()
            if order in ids and (told := sharpness(*kept)) is not None
        },
        "memory": {ids[order]: size for order, size in capture.memory.items() if order in ids},
        "by_operations": True,  # a module's layers are what groups its operations
        "legible": 30,  # every value is an array, with parameters around it
        "error": error,
        "rank": capture.rank,
    }
    if not capture.whole:
        known["underflown"] = frozenset()
    return known


def _holds(tensor: Tensor, value: Any) -> bool:
    return value is None or np.array_equal(keep.array(tensor), value, equal_nan=True)


def _put(value: Any, tensor: Tensor) -> Tensor:
    """Copy a NumPy value into a tensor; None leaves it as it is."""
    if isinstance(value, (np.ndarray, np.generic, float)):
        tensor.copy_(torch.as_tensor(np.array(value)))
    return tensor


def _differentiate(capture: Capture, loss: Tensor, leaves: Mapping[str, Tensor]) -> list[str]:
    """Run the backward pass; returns the leaves without those of another pass inside of it."""
    handles = [
        leaf.register_hook(partial(_let_go, capture, leaf))  # type: ignore[no-untyped-call]
        for leaf in leaves.values()
        if leaf.numel() >= measuring.SMALL
    ]
    try:
        found: Sequence[Any] = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    except RuntimeError as error:
        if "heckpoint" in str(error):
            raise TraceError(
                "re-entrant checkpoints differentiate in a pass of their own that cannot be "
                "followed: write checkpoint(..., use_reentrant=False)"
            ) from error
        written = "modified by an inplace operation" in str(error)
        known = ""
        if written:
            known = overwritten(capture.recorded) or suspected(capture.recorded, error)
        raise TraceError(f"PyTorch cannot differentiate this program: {known or error}") from error
    except Exception as error:
        if not _of_operators(error):
            raise
        raise TraceError(
            "torch.cond and other operators that take functions differentiate by compiling them, "
            "which PyTorch does for nobody who watches: write an if, or a loop, of Python's"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    inner = [
        name
        for (name, tensor), gradient in zip(leaves.items(), found, strict=True)
        if gradient is None and type(tensor) is Tensor and capture.forget(tensor)
    ]
    return [name for name in leaves if name not in inner]


def _let_go(capture: Capture, leaf: Tensor, gradient: Tensor | None) -> Tensor | None:
    """Give autograd, which would keep a gradient that was noted, zeros without memory for it."""
    *_, last = (leaf._backward_hooks or {}).values()
    alone = getattr(last, "func", None) is _let_go  # after this one no hook sees it
    if not alone or type(gradient) is not Tensor or gradient.layout is not torch.strided:
        return None
    return gradient.new_zeros(()).expand_as(gradient) if capture.listens() else None


def _of_operators(error: Exception) -> bool:
    """Whether an error comes from where PyTorch keeps the operators that take functions."""
    frames = traceback.walk_tb(error.__traceback__)
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in frames)
    return any(module.startswith("torch._higher_order_ops") for module in modules)


def _refuse_inference(roots: Mapping[str, nn.Module]) -> None:
    """Raise where PyTorch records no gradient whatever is asked for."""
    if torch.is_inference_mode_enabled():
        raise TraceError(
            "under torch.inference_mode() no gradient is recorded: trace outside of it, or in a "
            "block of torch.inference_mode(False)"
        )
    for module in roots.values():
        for name, parameter in module.named_parameters():
            if parameter.is_inference() and parameter.requires_grad:
                raise TraceError(
                    f"{name} was made under torch.inference_mode(), so that no gradient of it is "
                    "recorded: make the model outside of it"
                )


def _detached(capture: Capture, output: TensorNode) -> str:
    """Why J has no gradient."""
    pending, seen = [output], {output.order}
    while pending:
        node = pending.pop(0)
        operands = [o for o in node.operands if isinstance(o, TensorNode)]
        if node.edge is None and any(o.edge is not None for o in operands):
            place = names.source(node.site)
            where = f" at {place}" if place else ""
            return (
                f"the loss has no gradient: its history ended at {node.operation.name}{where}; "
                "return a loss that is not detached"
            )
        new = [o for o in operands if o.order not in seen]
        seen.update(o.order for o in new)
        pending += new
    read = next((n.read for n in capture.recorded if hasattr(n, "read")), None)
    place = names.source(read[1]) if read else None
    because = (
        f": {read[0]} ended its history at {place.file}:{place.line}" if read and place else ""
    )
    return f"the loss depends on nothing that requires a gradient{because}"
