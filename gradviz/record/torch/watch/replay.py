"""A step made once more, under capture, with everything put back afterwards."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.language import clauses, say, translated
from gradviz.record import chance, names, rendezvous
from gradviz.record.arguments import numbered
from gradviz.record.torch.ranks import is_parted, together, unreadable
from gradviz.record.torch.search import search
from gradviz.record.torch.state import Preserved
from gradviz.record.torch.training import StepCapture
from gradviz.record.torch.watch.events import (
    HOOKS,
    Buffer,
    Event,
    Result,
    autocast,
    replaced,
    tensors_of,
)


@dataclass
class Replay:
    """What came of it.

    Attributes
    ----------
    graphs : list of Graph
        One for each backward pass.
    losses, replayed : list of float
        What each pass went from, in the run and in the replay.
    norm, again : float or None
        The norm of the gradients in the run, where it is known, and in the replay.
    lost : list of str
        What could not be replayed.
    said : list of str
        What else is to be said of it.
    """

    graphs: list[Graph] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    replayed: list[float] = field(default_factory=list)
    norm: float | None = None
    again: float | None = None
    lost: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def of_one_rank(self) -> None:
        """The replay's gradients will be those of this rank alone."""
        if rendezvous.group() is not None:
            self.norm = None
            self.said.append(say(
                "The gradients that are shown are those of this rank, before they are reduced."
            ))  # fmt: skip

    @property
    def exact(self) -> bool:
        """Whether it is the step that was made: bit for bit, as far as losses and norms tell."""
        pairs = list(zip(self.losses, self.replayed, strict=False))
        if self.norm is not None and self.again is not None:
            pairs.append((self.norm, self.again))
        whole = bool(self.graphs) and len(self.losses) in (0, len(self.replayed))
        return whole and all(_same(old, new) for old, new in pairs)

    @property
    def verdict(self) -> str:
        """Whether the replay is the step, in a sentence."""
        if not self.graphs:
            return say("The step could not be replayed.")
        told = [
            say("the loss was {old:.9g}, and is {new:.9g} in the replay", old=old, new=new)
            for old, new in zip(self.losses, self.replayed, strict=False)
            if not _same(old, new)
        ]
        norm, again = self.norm, self.again
        if norm is not None and (again is None or not _same(norm, again)):
            moved = "the norm of the gradients was {old:.9g}, and is {new:.9g} in the replay"
            told.append(say(moved, old=norm, new=math.nan if again is None else again))
        if told:
            changes = clauses(told)
            return say("The replay is not quite the step: {changes}.", changes=changes)
        one = len(self.losses) == 1
        if norm is None:
            exactly = "The replay is the step: it reproduced its losses exactly."
            exactly = "The replay is the step: it reproduced its loss exactly." if one else exactly
            return say(exactly)
        exactly = (
            "The replay is the step: it reproduced its losses and the norm of its gradients "
            "exactly."
        )
        if one:
            exactly = (
                "The replay is the step: it reproduced its loss and the norm of its gradients "
                "exactly."
            )
        return say(exactly)


def _same(old: float, new: float) -> bool:
    return old == new or (math.isnan(old) and math.isnan(new))


class Repeated(StepCapture):
    """Records a step that is made again; it knows the events that it is made of."""

    event: Event | None = None
    reduces = False  # whether something reduces gradients as they are accumulated
    used: Mapping[int, Tensor] = MappingProxyType({})  # the gradients of the run, by parameter

    def send(self, func: Any, args: Any, kwargs: Any) -> Any:
        """See `StepCapture.send`; where gradients are reduced, this rank's are only computed."""
        if not self.reduces or func is torch.autograd.grad:
            return super().send(func, args, kwargs)
        given = dict(zip(("outputs", "weights", *_FLAGS), args, strict=False)) | kwargs
        outputs = next(given[k] for k in ("outputs", "self", "tensors") if k in given)
        weights = [given[k] for k in ("weights", "gradient", "grad_tensors") if k in given]
        flags = {k: given[k] for k in _FLAGS if k in given}
        leaves = given.get("inputs") or [leaf for _, leaf in self.leaf_tensors()]
        leaves = [leaves] if isinstance(leaves, Tensor) else list(leaves)
        grad: Any = torch.autograd.grad
        found = grad(outputs, leaves, *weights, **flags, allow_unused=True)
        with torch.no_grad():
            for leaf, gradient in zip(leaves, found, strict=True):
                if gradient is not None:
                    leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient

    def reduced(self, leaf: Tensor) -> Tensor | None:
        """See `Capture.reduced`; here it is that of the run."""
        return self.used.get(id(leaf))

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Record; no optimizer steps here, and torch is just going over their hooks."""
        with self.recording():
            yield

    def _scaled(self, args: Any, result: Tensor, frame: Any) -> None:
        if self.event is not None and self.event.scale is not None:
            self._scales[id(result)] = result, self.node(args[0]), self.event.scale


def replay(
    events: Sequence[Event],
    roots: Mapping[str, nn.Module],
    parameters: Sequence[Tensor],
    norm: Any,
    seen: Replay,
    meeting: Callable[[], list[int]] = list,
    writers: Mapping[int, Any] = MappingProxyType({}),
) -> Replay:
    """Make the events again; the program, its gradients and its random numbers are left alone.

    Parameters
    ----------
    events : sequence of Event
    roots : mapping of str to Module
        All models of the step by name.
    parameters : sequence of Tensor
        Those whose gradients are compared.
    norm : callable
        Computes their gradients' norm.
    seen : Replay
        With the losses and the norm of the run; the rest is put in.
    meeting : callable
        Waits for the other ranks to make the same step again, and returns those that do not.
    writers : mapping of int to Instruction
        See `Capture.writers`.
    """
    lost = [event for event in events if event.lost]
    seen.lost += [say("{ranks}: {said}", ranks=e.place, said=translated(e.lost)) for e in lost]
    modules = [module for root in roots.values() for module in root.modules()]
    if found := unreadable(modules):
        seen.lost.append(found)
    if found or any(event.lost for event in events):
        return seen
    seen.said += _facts(events, seen)
    leaves: dict[int, Tensor] = {}
    leaves |= {id(p): p for root in roots.values() for p in root.parameters()}
    leaves |= {id(p): p for p in parameters}
    leaves |= {
        id(t): t for event in events for t, _ in event.given if t.is_leaf and t.requires_grad
    }
    hung = (a for event in events if event.call in HOOKS for a in event.args[1:])
    hooks = [("", a) for a in hung if not isinstance(a, Result)]
    used = {key: leaf.grad for key, leaf in leaves.items() if leaf.grad is not None}
    try:
        with (
            together(modules, meeting, "the replay"),
            _apart([*roots.items(), *hooks], list(leaves.values())) as guard,
        ):
            capture = Repeated(roots)
            capture.used = used
            capture.writers.update(writers)
            capture.reduces = any(isinstance(m, DistributedDataParallel) for m in modules)
            try:
                with capture.following(), guard:
                    _again(events, capture)
                if capture.broken is not None:
                    raise capture.broken
                seen.graphs = [made.graph for made in capture.passes]
                seen.replayed = [made.loss for made in capture.passes]
                if seen.norm is not None:
                    seen.again = norm(parameters, scale_of(events))
            finally:
                capture.close()
    except TraceError as error:
        seen.graphs = []
        seen.lost.append(str(error))
    except Exception as error:
        seen.graphs = []
        seen.lost.append(
            say("the replay ended in {error}", error=f"{type(error).__name__}: {error}")
        )
    return seen


_FLAGS = "retain_graph", "create_graph"


class _Unsaid:
    """A stream that leaves out what this thread says: the program has said it already."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.thread = stream, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Hand on what other threads say."""
        if threading.get_ident() == self.thread:
            return len(text)
        written: int = self.stream.write(text)
        return written


def _facts(events: Sequence[Event], seen: Replay) -> list[str]:
    """What of the events is no longer as it was."""
    said = []
    if any(hasattr(event.call, "_orig_mod") for event in events):
        said.append(say("The compiled model was replayed as it was before compilation."))
    written = {event.place for event in events for t, v in event.given if t._version != v}
    gone = "{place}: what it was given has been overwritten since"
    seen.lost += [say(gone, place=place) for place in written]
    for event in events:
        if any(b.copy is None and b.moved for b in event.buffers):
            changed = "{place}: a buffer was changed, and is as it is now"
            seen.lost.append(say(changed, place=event.place))
    return said


@contextlib.contextmanager
def _apart(roots: Sequence[tuple[str, Any]], leaves: Sequence[Any]) -> Iterator[Preserved]:
    """Inside, the program can run without a trace."""
    found = search(roots)
    gradients = [(leaf, leaf.grad, leaf._post_accumulate_grad_hooks) for leaf in leaves]
    guard = Preserved(found.found, whole=True)
    modules = [m for _, root in roots if isinstance(root, nn.Module) for m in root.modules()]
    held = [(module._buffers, dict(module._buffers)) for module in modules]
    with contextlib.ExitStack() as stack:
        stack.enter_context(chance.preserved(found.generators, tensors=True))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(_Unsaid(sys.stdout)))
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autograd.set_detect_anomaly(False))  # it would end again
        try:
            for leaf, *_ in gradients:
                leaf.grad, leaf._post_accumulate_grad_hooks = None, None
            guard.begin()
            sharded: list[Any] = [m for m in modules if is_parted(m)]
            try:
                yield guard
            except BaseException:
                for module in sharded:  # it may be in the middle of a call
                    module.reshard()
                raise
        finally:
            for register, content in held:
                register.update(content)
            try:
                guard.end()
            finally:
                for leaf, gradient, hooks in gradients:
                    leaf.grad, leaf._post_accumulate_grad_hooks = gradient, hooks


def _again(events: Sequence[Event], capture: Repeated) -> None:
    """Make the calls of a step."""
    results: dict[int, list[Tensor]] = {}
    ambient = dict(autocast())
    for precision, region in itertools.groupby(events, lambda event: event.autocast):
        with contextlib.ExitStack() as stack:  # (calls in one region share the weights it has cast)
            on = dict(precision)
            for device in {*ambient, *on}:
                dtype = on.get(device)
                stack.enter_context(torch.autocast(device, dtype, enabled=dtype is not None))
            for event in region:
                capture.event = event
                args = replaced(event.args, results)
                kwargs = replaced(event.kwargs, results)
                call = getattr(event.call, "_orig_mod", event.call)
                if event.random is not None:
                    event.random.put()
                put(event.buffers)
                if event.writes and not args[0].requires_grad:
                    args = (args[0].clone(), *args[1:])
                made = call(*args, **kwargs)
                results[id(event)] = tensors_of(args[0] if event.writes and made is None else made)


def put(buffers: Sequence[Buffer]) -> None:
    """Give a module the buffers that it had."""
    with torch.no_grad(), torch._C.DisableTorchFunction():
        for buffer in buffers:
            buffer.register[buffer.name] = buffer.tensor
            if buffer.copy is not None:
                buffer.tensor.data.copy_(buffer.copy)  # (as by batch_norm: its version stays)


def scale_of(events: Sequence[Event]) -> float:
    """What the losses of a step were multiplied with."""
    return next((event.scale.item() for event in events if event.scale is not None), 1.0)


def models(events: Sequence[Event]) -> dict[str, nn.Module]:
    """The modules that events call, by the names that the program calls them."""
    called = {
        id(module): (module, event)
        for event in events
        if isinstance(module := getattr(event.call, "_orig_mod", event.call), nn.Module)
    }
    inner = {id(m) for root, _ in called.values() for m in root.modules() if m is not root}
    outer = [(module, event) for module, event in called.values() if id(module) not in inner]
    if len(outer) == 1:
        return {"": outer[0][0]}
    taken: dict[str, int] = {}
    return {
        numbered(names.called(event.site) or type(module).__name__, taken): module
        for module, event in outer
    }
