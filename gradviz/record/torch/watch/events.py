"""What a training step did, noted so that it can be done once more.

The calls that a program makes outside of modules, those of whole modules, and its backward passes
are the events of a step. An event holds what it was given from outside; a tensor that an earlier
event has made is named by that event, so that nothing lives longer than it would have.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.batchnorm import _NormBase

from gradviz.record import chance, names
from gradviz.record.arguments import convert_nested, nested
from gradviz.record.chance import States, is_generator
from gradviz.record.reach import reach
from gradviz.record.torch.nodes import version_of
from gradviz.record.torch.ranks import is_distributed, local
from gradviz.record.torch.sites import site_of_call
from gradviz.record.torch.watch.still import Still

MOST = 50_000
"""So many events are remembered of a step; of a longer one no replay is possible."""
ROUNDS = 4
"""So many optimizer steps later an event is forgotten, even if what it made is still there."""
_grad: Any = Tensor.grad
SETS = _grad.__set__
"""Gives a parameter a gradient of the program's own."""
HOOKS = Tensor.register_hook, Tensor.retain_grad, SETS
"""What is hung on a tensor."""
LOST = (
    "it was given a tensor that was computed where no call could be seen",
    "it writes to a tensor that was there before",
)
"""Why a call cannot be made again."""
TOLD = 256
"""So many tensors are remembered that tell whether others are finite."""
PASSES = 64
"""So many backward passes are remembered that no optimizer has used."""
ROOM, EACH = 2**26, 2**12
"""Bytes of inputs that are held before it is asked which can still be reached; an event's own."""


class Result:
    """A tensor that an event has made: the event, and which of its results it is."""

    __slots__ = ("event", "index")

    def __init__(self, event: Event, index: int) -> None:
        self.event, self.index = event, index


class Buffer:
    """A buffer as it was when its module was called.

    Attributes
    ----------
    register : dict
        The module's.
    name : str
    tensor : Tensor
    version : int
    copy : Tensor or None
        None for one that no call has changed so far.
    """

    __slots__ = ("copy", "name", "register", "tensor", "version")

    def __init__(self, register: Any, name: str, tensor: Tensor, copy: Tensor | None) -> None:
        self.register, self.name, self.tensor, self.copy = register, name, tensor, copy
        self.version = version_of(tensor)

    @property
    def moved(self) -> bool:
        """Whether it was written to since."""
        return version_of(self.tensor) != self.version


class Event:
    """One call of a step.

    Attributes
    ----------
    call : callable
        A function, or a module.
    args, kwargs
        Its arguments, with a `Result` for each tensor that another event has made.
    site : Instruction or None
        The line of the program.
    round : int
        How many optimizer steps there were before.
    given : list of (Tensor, int)
        Tensors from outside, with their versions.
    made : list of weak references
        Its results.
    random : States or None
        Of the random numbers, where it may draw some.
    buffers : list of Buffer
    autocast : tuple of (str, dtype)
    scale : Tensor or None
        What a `GradScaler` has multiplied the loss with.
    loss : Tensor or None
        Of a backward pass.
    accumulates, again, retains : bool
        Whether a backward pass adds to `grad`, can be differentiated itself, and lets what it went
        through be gone through once more.
    writes : bool
        Whether it may write to its first argument.
    lost : str
        Why it cannot be made again; else "".
    """

    __slots__ = (
        "accumulates", "again", "args", "autocast", "buffers", "call", "given", "kwargs", "loss",
        "lost", "made", "random", "retains", "round", "scale", "site", "writes",
    )  # fmt: skip

    def __init__(self, call: Any, site: Any, round_: int) -> None:
        self.call, self.site, self.round = call, site, round_
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.given: list[tuple[Tensor, int]] = []
        self.made: list[Any] = []
        self.random: States | None = None
        self.buffers: list[Buffer] = []
        self.scale: Tensor | None = None
        self.loss: Tensor | None = None
        self.accumulates, self.again, self.retains, self.writes = True, False, False, False
        self.lost = ""
        self.autocast = autocast()

    @property
    def place(self) -> str:
        """The file and the line, in words."""
        found = names.source(self.site)
        return f"{found.file}:{found.line}" if found else "an unknown line"

    @property
    def size(self) -> int:
        """About how many bytes it keeps from being freed; parameters are there anyway."""
        given = (t.numel() * t.element_size() for t, _ in self.given if not t.requires_grad)
        return EACH + sum(given)

    def hooks(self, events: set[int]) -> bool:
        """Whether it hangs something on what one of these events, by `id`, has made."""
        return self.call in HOOKS and any(id(event) in events for event in self.operands())

    def operands(self) -> Iterator[Event]:
        """The events whose results it was given."""
        for part in nested((self.args, self.kwargs)):
            if isinstance(part, Result):
                yield part.event


class Tape:
    """The events of one thread.

    Attributes
    ----------
    events : list of Event
    passes : list of Event
        The backward passes that no optimizer has used yet.
    inside : int
        More than 0 where calls are part of an event.
    on : bool
        Whether the calls of this thread are seen.
    round : int
    closures : list of Optimizer
        Those that are calling a closure.
    optimizers : set of Optimizer
        All that have stepped here.
    evaluated : bool
        Whether the step of an optimizer that calls a closure is judged already.
    read : (Result, Tensor or None) or None
        The last tensor of which the program has read that it is not finite; if it is one number,
        this number.
    told : Told
    used : bool
        Whether an optimizer has used the `passes`.
    whole : bool
        Whether the gradients are those of the `passes` alone.
    clipped : dict of int to Tensor
        By a parameter's `id` the norm of its gradient before something was written to gradients.
    writes : Writes
    still : Still
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.passes: list[Event] = []
        self.inside, self.round, self.depth, self.on = 0, 0, 0, False
        self.used, self.whole = False, True
        self.closures: list[Any] = []
        self.optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.evaluated = False
        self.read: tuple[Result, Tensor | None] | None = None
        self.told = Told()
        self.clipped: dict[int, Tensor] = {}
        self.writes, self.still = Writes(), Still()
        self._known: dict[int, tuple[Any, Result]] = {}
        self._sent: dict[int, tuple[Any, Result]] = {}  # what `autograd.grad` has returned
        self._held, self._room = 0, ROOM

    def find(self, tensor: Tensor) -> Result | None:
        """The event that has made a tensor."""
        found = self._known.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def look(self, tensor: Tensor, number: Any) -> None:
        """The program has read a tensor as a plain number, for which it may end."""
        if type(number) is float and math.isfinite(number):
            return
        found = self.find(tensor) if type(number) is float else None
        found = found or next(filter(None, map(self.find, self.told.sick(tensor))), None)
        made = None if found is None else found.event.made[found.index]()
        if found is None or made is None or made.grad_fn is None:
            return
        if found.event.round == self.round:  # no step has used it
            self.read = found, local(made.detach()).clone() if made.numel() == 1 else None

    def given(self, event: Event, args: Any, kwargs: Any) -> None:
        """Note the arguments of an event, which is to come."""

        def convert(value: Any, _: str) -> Any:
            if not isinstance(value, Tensor):
                return value
            found = self.find(value)
            if found is not None:
                return found
            if value.grad_fn is not None and not event.lost:
                event.lost = LOST[0]
            if event.writes and value is args[0] and not value.requires_grad:
                return value.detach().clone()
            event.given.append((value, version_of(value)))
            return value

        event.args = convert_nested(args, "", convert)
        event.kwargs = convert_nested(kwargs, "", convert)

    def add(self, event: Event, result: Any) -> None:
        """Note what an event has made."""
        for tensor in tensors_of(result):
            self._known[id(tensor)] = weakref.ref(tensor), Result(event, len(event.made))
            event.made.append(weakref.ref(tensor))
        for tensor, version in event.given:
            if version_of(tensor) != version:
                event.lost = LOST[1]
        self.events.append(event)
        self._held += event.size
        if self._held > self._room:
            self._let_go(set())
        if len(self.events) > MOST:
            self.drop()

    def add_pass(self, event: Event) -> None:
        """Note a backward pass whose gradients an optimizer may use."""
        self.passes.append(event)
        if len(self.passes) > PASSES:
            del self.passes[0]
            self.whole = False

    def sent(self, event: Event, result: Any) -> None:
        """Note what `autograd.grad` has returned."""
        for k, tensor in enumerate(tensors_of(result)):
            self._sent[id(tensor)] = weakref.ref(tensor), Result(event, k)

    def set_gradient(self, parameter: Tensor, gradient: Any) -> None:
        """The program has given a parameter a gradient itself."""
        found = self._sent.get(id(gradient))
        if found is None or found[0]() is not gradient:
            self.whole = self.whole and gradient is None
            return
        event = Event(SETS, site_of_call(), self.round)
        event.args, event.given = (parameter, found[1]), [(parameter, version_of(parameter))]
        self.add(event, None)

    @property
    def gives(self) -> bool:
        """Whether its backward passes give parameters their gradients."""
        return any(p.accumulates for p in self.passes) or any(e.call == SETS for e in self.events)

    def drop(self) -> None:
        """Forget everything: the step cannot be followed."""
        self.events, self.passes, self._known, self._sent = [], [], {}, {}
        self.clipped.clear()

    def use(self) -> None:
        """An optimizer has made its step of the backward passes."""
        self.used, self.whole = True, True
        self.clipped.clear()
        self.read, self.told = None, Told()

    def settle(self) -> None:
        """Something new begins: let go what no backward pass can reach any more."""
        if self.used:
            self.used = False
            self.forget_passes()

    def forget_passes(self) -> None:
        """The gradients of the backward passes so far are used, or taken away."""
        gone = set(map(id, self.needed(p for p in self.passes if not p.retains)))
        gone.update(map(id, self.passes))
        self.passes, self._sent = [], {}
        self._let_go(gone)

    def _let_go(self, gone: set[int]) -> None:
        """Keep of the events those that lead to what is there, or to a backward pass."""
        kept = set(map(id, self.passes))
        for event in reversed(self.events):
            alive = self.round - event.round < ROUNDS and any(r() is not None for r in event.made)
            if (alive and id(event) not in gone) or id(event) in kept:
                kept.add(id(event))
                kept.update(map(id, event.operands()))
        self.events = [event for event in self.events if id(event) in kept or event.hooks(kept)]
        self._known = {
            key: (ref, result)
            for key, (ref, result) in self._known.items()
            if ref() is not None and id(result.event) in kept
        }
        self._held = sum(event.size for event in self.events)
        self._room = max(ROOM, 2 * self._held)

    def called(self) -> list[Event]:
        """The modules that were called since the last optimizer step."""
        return [e for e in self.events if e.round == self.round and isinstance(e.call, nn.Module)]

    def needed(self, wanted: Iterable[Event]) -> list[Event]:
        """The events that lead to others, and these, in order."""
        found = {id(event) for event in wanted}
        for event in reversed(self.events):
            if id(event) in found:
                found.update(map(id, event.operands()))
        return [event for event in self.events if id(event) in found or event.hooks(found)]


def backward_pass(tape: Tape, func: Any, args: Any, kwargs: Any) -> Event:
    """A backward pass that is to come, as an event."""
    event = Event(func, site_of_call(), tape.round)
    given = dict(zip(("outputs", "weights"), args, strict=False)) | kwargs
    outputs = given.get("outputs", kwargs.get("tensors", kwargs.get("self")))
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs or ())
    if outputs and all(o.numel() == 1 for o in outputs):
        event.loss = torch.stack([local(o.detach()).reshape(()) for o in outputs]).sum()
        known = tape.find(outputs[0])
        event.scale = known.event.scale if known is not None else None
    event.accumulates = func is not torch.autograd.grad
    event.again = bool(given.get("create_graph"))
    event.retains = event.again or bool(given.get("retain_graph"))
    tape.given(event, args, kwargs)
    return event


_TESTS = {"isnan": torch.isnan, "isinf": torch.isinf}
_TELLS = frozenset(("isfinite", "detach", "data", "ne", "eq", *_TESTS))


class Told:
    """Tensors without a history that tell of others whether they are finite.

    These are tests, ``isnan(loss)``, ``loss != loss``, a loss that is detached, and all that is
    computed from them alone.
    """

    def __init__(self) -> None:
        self._of: dict[int, tuple[Any, list[tuple[str, Any]]]] = {}

    def note(self, name: str, args: Any, kwargs: Any, result: Any, find: Any) -> None:
        """Note what a call has returned, if it is one."""
        if name not in _TELLS and not self._of:
            return
        given = tensors_of((args, kwargs))
        about = [one for tensor in given for one in self._about(tensor)]
        if about:
            about = about if all(self._about(t) or t.dtype == torch.bool for t in given) else []
        elif name in _TELLS and given and find(given[0]) is not None:
            itself = name not in ("ne", "eq") or (len(given) == 2 and given[0] is given[1])
            if itself and (given[0].numel() == 1 or name not in ("detach", "data")):
                about = [(name, weakref.ref(given[0]))]
        for tensor in tensors_of(result) if about else ():
            self._of.pop(id(tensor), None)
            self._of[id(tensor)] = weakref.ref(tensor), about
        while len(self._of) > TOLD:
            del self._of[next(iter(self._of))]

    def _about(self, tensor: Tensor) -> list[tuple[str, Any]]:
        ref, about = self._of.get(id(tensor), (None, []))
        return about if ref is not None and ref() is tensor else []

    def sick(self, tensor: Tensor) -> Iterator[Tensor]:
        """What such a tensor tells of, and is not finite."""
        for name, ref in self._about(tensor):
            meant = ref()
            if meant is not None:
                numbers = local(meant.detach())
                test = _TESTS.get(name)
                if not torch.isfinite(numbers).all() if test is None else test(numbers).any():
                    yield meant


_memory: Any = StorageWeakRef


class Writes:
    """The last write of the program itself to each memory, where no gradient is recorded."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Any, Any, int]] = {}
        self._room = 1000

    def note(self, tensor: Tensor, site: Any, round_: int) -> None:
        """A tensor is about to be written to."""
        if tensor.layout != torch.strided or is_distributed(tensor):
            return
        memory = _memory(tensor.untyped_storage())
        self._last[memory.cdata] = memory, site, round_
        if len(self._last) > self._room:
            self._last = {k: one for k, one in self._last.items() if not one[0].expired()}
            self._room = 2 * len(self._last) + 1000

    def lines(self, tensors: Iterable[Tensor], stepped: set[int], round_: int) -> dict[int, Any]:
        """By `id` where tensors were written to last; not those that an optimizer changed since."""
        found = {}
        for tensor in tensors if self._last else ():
            if tensor.layout == torch.strided and not is_distributed(tensor):
                memory = _memory(tensor.untyped_storage())
                known, site, when = self._last.get(memory.cdata, (None, None, -1))
                there = known is not None and not known.expired()
                if there and (when == round_ or id(tensor) not in stepped):
                    found[id(tensor)] = site
        return found


class Buffers:
    """Copies of those buffers that calls change; of the others only their versions are noted."""

    def __init__(self) -> None:
        self._owners: weakref.WeakKeyDictionary[nn.Module, list[tuple[Any, bool]]]
        self._owners = weakref.WeakKeyDictionary()
        self._still: set[tuple[int, str]] = set()
        self._copies: dict[tuple[int, str], Buffer] = {}

    def note(self, module: nn.Module) -> list[Buffer]:
        """The buffers of a module that is about to be called."""
        owners = self._owners.get(module)
        if owners is None:
            owners = self._owners[module] = [
                (m._buffers, isinstance(m, _NormBase)) for m in module.modules() if m._buffers
            ]
        found = []
        for register, running in owners:
            for name, tensor in register.items():
                if tensor is None:
                    continue
                key = id(register), name
                if key in self._still and not running:
                    found.append(Buffer(register, name, tensor, None))
                    continue
                old = self._copies.get(key)
                if running or old is None or old.tensor is not tensor or old.moved:
                    old = Buffer(register, name, tensor, tensor.detach().clone())
                    if not running:  # (batch_norm writes to them without a new version)
                        self._copies[key] = old
                found.append(old)
        return found

    def after(self, noted: list[Buffer]) -> None:
        """The call is over: a buffer that it has not changed is not copied the next time."""
        for buffer in noted:
            key = id(buffer.register), buffer.name
            if buffer.moved or buffer.register.get(buffer.name) is not buffer.tensor:
                self._still.discard(key)
            elif key not in self._still:
                self._still.add(key)
                self._copies.pop(key, None)


class Generators:
    """The generators of random numbers that modules have of their own."""

    def __init__(self) -> None:
        self._own: weakref.WeakKeyDictionary[nn.Module, list[Any]] = weakref.WeakKeyDictionary()

    def states(self, module: nn.Module) -> States:
        """The states now of all that a module may draw from."""
        found = self._own.get(module)
        if found is None:
            reached = (item.value for item in reach([("", module)]))
            found = self._own[module] = [value for value in reached if is_generator(value)]
        return chance.states(found, tensors=True)


def tensors_within(models: Iterable[nn.Module]) -> Iterator[Tensor]:
    """The parameters and buffers of models."""
    for model in models:
        yield from model.parameters()
        yield from model.buffers()


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in a result, in an order that the next result like it has too."""
    found = []
    for part in nested(value):
        if isinstance(part, Tensor):
            found.append(part)
        elif hasattr(part, "__dict__") and not isinstance(part, (type, nn.Module)):
            found += [v for v in vars(part).values() if isinstance(v, Tensor)]
    return found


def autocast() -> tuple[tuple[str, torch.dtype], ...]:
    """Where autocast is on, and to what."""
    return tuple(
        (device, torch.get_autocast_dtype(device))
        for device in ("cpu", "cuda")
        if torch.is_autocast_enabled(device)
    )


def replaced(value: Any, results: Mapping[int, list[Tensor]]) -> Any:
    """Arguments with the new tensors in the places of the events' results."""

    def convert(part: Any, _: str) -> Any:
        return results[id(part.event)][part.index] if isinstance(part, Result) else part

    return convert_nested(value, "", convert)
