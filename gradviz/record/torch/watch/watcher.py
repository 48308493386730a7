"""A training under watch: hooks that note each step, judge it, and have a bad one made again."""

from __future__ import annotations

import functools
import itertools
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import grad_scaler
from torch.optim import optimizer as optimizers
from torch.optim.optimizer import Optimizer
from torch.overrides import TorchFunctionMode

from gradviz.errors import TrainingError
from gradviz.record import chance, rendezvous
from gradviz.record.alarm import Alarm, Judge
from gradviz.record.chance import is_generator
from gradviz.record.reach import reach
from gradviz.record.torch.calls import RANDOM, READS, WRITES, called
from gradviz.record.torch.kept import Kept
from gradviz.record.torch.operation import tensors_in
from gradviz.record.torch.ranks import inner
from gradviz.record.torch.sites import site_of_call
from gradviz.record.torch.training import PASSES as GO_BACK
from gradviz.record.torch.watch import endings, norms
from gradviz.record.torch.watch.endings import Ending
from gradviz.record.torch.watch.events import (
    HOOKS,
    PASSES,
    Buffers,
    Event,
    Generators,
    Tape,
    backward_pass,
    tensors_of,
    tensors_within,
)
from gradviz.record.torch.watch.motion import (
    Motion,
    all_optimizers,
    losses_of,
    parameters_of,
)
from gradviz.record.torch.watch.replay import Replay, models, replay, scale_of
from gradviz.record.torch.watch.report import Report, report

_top: Any = torch.overrides._get_current_function_mode
UNSCALES = "_amp_foreach_non_finite_check_and_unscale_"


class Stop(BaseException):
    """Ends a training that is to be stopped; `Watch` catches it."""


class _Calls(TorchFunctionMode):
    """Sees the calls that are made outside of modules."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():
            return func(*args, **kwargs)
        tape = self.watch.tape
        if tape.inside or not self.watch.live:
            return func(*args, **kwargs)
        if func in GO_BACK:
            return self.watch.passed(tape, func, args, kwargs)
        return self.watch.call(tape, func, args, kwargs)


class Watch:
    """See `gradviz.watch`.

    Attributes
    ----------
    reports : list of Report
        What was found so far.
    """

    def __init__(self, out: str, on_trigger: str, most: int, spike: float) -> None:
        self.out, self.on_trigger, self.most, self.spike = out, on_trigger, most, spike
        self.reports: list[Report] = []
        self.live = False
        self.judges: weakref.WeakKeyDictionary[Any, Judge] = weakref.WeakKeyDictionary()
        self._none = Judge(spike)  # of the backward passes, where there is no optimizer
        self._optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._searched = False
        self._motion = Motion(self._optimizers, self._judge_of)
        self._steps = 0
        self._own, self._lock = threading.local(), threading.Lock()
        self._buffers, self._generators, self._kept = Buffers(), Generators(), Kept()
        self._mode = _Calls(self)
        self._process, self._broken = os.getpid(), False
        self._session = next(_sessions)
        self._handles: list[Any] = []

    # --- on and off ----------------------------------------------------------------------------

    def __enter__(self) -> Watch:
        """Begin."""
        global _watching
        if _watching:
            raise RuntimeError("a training is under watch already")
        _watching = self.live = True
        self._process = os.getpid()
        self._handles = [
            optimizers.register_optimizer_step_pre_hook(self._before_step),
            optimizers.register_optimizer_step_post_hook(self._after_step),
        ]
        self._module, self._scaler = nn.Module.__call__, grad_scaler.GradScaler.step
        nn.Module.__call__ = _watched(self, self._module)  # type: ignore[method-assign]
        grad_scaler.GradScaler.step = _scaled(self, self._scaler)  # type: ignore[method-assign]
        self._push(self.tape)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        """End; a training that was stopped ends here, too."""
        try:
            self.last_look()
        finally:
            self.stop()
        return error is not None and self.stopped_by(error)

    @staticmethod
    def stopped_by(error: BaseException) -> bool:
        """Whether it is what `on_trigger="stop"` ends a training with."""
        return isinstance(error, Stop)

    def stop(self) -> None:
        """Take everything away."""
        global _watching
        if self._handles:
            self.live = _watching = False
            self._off(self.tape)
            nn.Module.__call__ = self._module  # type: ignore[method-assign]
            grad_scaler.GradScaler.step = self._scaler  # type: ignore[method-assign]
            for handle in self._handles:
                handle.remove()
            self._handles = []
            self._own = threading.local()

    @property
    def tape(self) -> Tape:
        """The events of this thread."""
        try:
            found: Tape = self._own.tape
        except AttributeError:
            found = self._own.tape = Tape()
        return found

    @property
    def working(self) -> bool:
        """Whether steps are watched; not in a process that was forked, as a worker of a loader."""
        return self.live and os.getpid() == self._process and norms.fetchable()

    def _push(self, tape: Tape) -> None:
        tape.on = True
        self._mode.__enter__()  # type: ignore[no-untyped-call]

    def _on(self, tape: Tape) -> None:
        """See calls again; not where a mode of somebody else has come or gone meanwhile."""
        if not tape.on and torch._C._len_torch_function_stack() == tape.depth:
            self._push(tape)

    def _off(self, tape: Tape) -> None:
        """Do not see calls for a while; not where somebody else's mode lies above ours."""
        if tape.on and _top() is self._mode:
            self._mode.__exit__(None, None, None)
            tape.on, tape.depth = False, torch._C._len_torch_function_stack()

    # --- what a step is made of ----------------------------------------------------------------

    def module(self, call: Any, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Call a module, as one event."""
        tape = self.tape
        if not tape.on and tape.round == 0 and not tape.events:
            self._on(tape)  # a thread of the program's own begins
        seen = torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1
        event = None
        if seen:
            with self._surely(tape):
                tape.settle()
                event = Event(module, site_of_call(), tape.round)
                tape.given(event, args, kwargs)
                event.random = self._generators.states(module, _own_generators)
                event.buffers = self._buffers.note(module)
        on = tape.on
        self._off(tape)
        tape.inside += 1
        try:
            result = call(module, *args, **kwargs)
        finally:
            tape.inside -= 1
            if on or seen:
                self._on(tape)
        if event is not None:
            with self._surely(tape):
                self._buffers.after(event.buffers)
                tape.add(event, result)
        return result

    def call(self, tape: Tape, func: Any, args: Any, kwargs: Any) -> Any:
        """Make a call that is not part of a module, and note it if it can be differentiated."""
        name = called(func)
        if name in READS:
            result = func(*args, **kwargs)
            with self._surely(tape):
                tape.look(args[0], result)
            return result
        if not name and func not in HOOKS:
            if tape.still.rounds and getattr(func, "__self__", None) is Tensor.grad:
                module = sys._getframe(2).f_globals.get("__name__", "")
                tape.still.zeroes |= module == Optimizer.__module__
                tape.still.reads |= not module.startswith("torch.")
            return func(*args, **kwargs)
        writes = bool(args) and (name in WRITES or name[-1:] == "_")
        seen = torch.is_grad_enabled()
        if not seen and name[-1:] == "_" and name != UNSCALES:
            self._clipping(tape)
        if not seen or not any(t.requires_grad for t in tensors_in((args, kwargs))):
            if writes and isinstance(args[0], Tensor):
                with self._surely(tape):
                    tape.writes.note(args[0], site_of_call(), tape.round)
            result = func(*args, **kwargs)
            with self._surely(tape):
                tape.told.note(name, args, kwargs, result, tape.find)
            return result
        with self._surely(tape):
            tape.settle()
            event = Event(func, site_of_call(), tape.round)
            event.writes = writes
            tape.given(event, args, kwargs)
            if name in RANDOM:
                event.random = chance.states(tensors=True)
            if sys._getframe(2).f_code.co_filename == grad_scaler.__file__ and len(args) > 1:
                event.scale = args[1]
        result = func(*args, **kwargs)
        with self._surely(tape):
            made = args[0] if event.writes and result is None else result
            if func in HOOKS or any(t.grad_fn is not None for t in tensors_of(made)):
                tape.add(event, made)
            else:
                tape.told.note(name, args, kwargs, made, tape.find)
        return result

    def passed(self, tape: Tape, func: Any, args: Any, kwargs: Any) -> Any:
        """Make a backward pass, as an event."""
        here: list[Tensor] | None = None
        event: Event | None = None
        with self._surely(tape):
            tape.settle()
            event = backward_pass(tape, func, args, kwargs)
            self._find_optimizers()
            here = self._judged_now(tape)
            taken = tape.still.taken_away() and not tape.closures
            if taken:
                tape.still.unused()
            if taken or (here is not None and all(p.grad is None for p in here)):
                tape.forget_passes()
                tape.whole = True
        self._kept.before_pass()
        tape.inside += 1
        try:
            result = func(*args, **kwargs)
        except RuntimeError as error:
            if event is not None and torch.is_anomaly_enabled() and "nan values" in str(error):
                self._ended(tape, endings.broken_off, event, error, alone=here is not None)
            raise
        finally:
            tape.inside -= 1
        self._kept.after_pass()
        if event is None:
            return result
        with self._surely(tape):
            tape.read = None
            tape.add(event, result if event.again else None)
            if event.accumulates or not event.again:  # else it is part of a loss to come
                tape.add_pass(event)
        if here is not None and tape.passes:
            self._judge(tape, tape.closures[-1] if tape.closures else None, here)
        if event.accumulates and not tape.closures:
            self._look(tape)
        return result

    def _surely(self, tape: Tape) -> _Surely:
        return _Surely(self, tape)

    def failed(self, tape: Tape, error: Exception) -> None:
        """A step could not be followed."""
        tape.drop()
        if not self._broken:
            self._broken = True
            print(f"gradviz watch: a step could not be followed: {error!r}", file=sys.stderr)

    def _judged_now(self, tape: Tape) -> list[Tensor] | None:
        """The parameters, where a pass is judged at once: in a closure, or without an optimizer."""
        if tape.closures:
            return parameters_of(tape.closures[-1])
        if self._optimizers:
            return None
        modules = {id(e.call): e.call for e in tape.events if isinstance(e.call, nn.Module)}
        found: dict[int, Tensor] = {}
        found |= {id(p): p for module in modules.values() for p in module.parameters()}
        found |= {id(t): t for e in tape.events for t, _ in e.given if t.is_leaf}
        return [p for p in found.values() if p.requires_grad]

    def _find_optimizers(self) -> None:
        """Those that were made before; once, for it takes a while."""
        if not self._searched:
            self._searched = True
            self._optimizers.update(all_optimizers())

    def _clipping(self, tape: Tape) -> None:
        """Something is about to be written to, perhaps to gradients: these are what was sent."""
        if tape.passes and not (tape.used or tape.clipped or tape.closures):
            for optimizer in tape.optimizers or self._optimizers:
                found = norms.Norms(parameters_of(optimizer))
                tape.clipped.update(zip(found.keys, found.tensors, strict=True))

    # --- judged --------------------------------------------------------------------------------

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        tape = self.tape
        if not self.working or tape.inside:
            return
        self._optimizers.add(optimizer)
        tape.optimizers.add(optimizer)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is not None:
            tape.closures = [o for o in tape.closures if o is not optimizer] + [optimizer]
            tape.evaluated = False
            return
        self._off(tape)
        self._judge(tape, optimizer, parameters_of(optimizer))

    def _after_step(self, optimizer: Any, *_: Any) -> None:
        tape = self.tape
        if not self.working or tape.inside:
            return
        self._on(tape)
        tape.closures = [o for o in tape.closures if o is not optimizer]
        tape.round += 1
        tape.use()
        self._kept.used(optimizer)

    def skipped(self, tape: Tape, optimizer: Any, scale: float) -> None:
        """A `GradScaler` has left a step out."""
        alarm = None
        with self._surely(tape):
            judge = self._judge_of(optimizer)
            losses = losses_of(tape.passes)
            alarm = judge.skipped([x / scale for x in losses], scale)
            tape.still.moved()
        if alarm is not None:
            self._alarm(tape, alarm, judge, parameters_of(optimizer), None)
        tape.round += 1
        tape.use()

    def _judge_of(self, optimizer: Any) -> Judge:
        if optimizer is None:
            return self._none
        return self.judges.setdefault(optimizer, Judge(self.spike))

    def _judge(self, tape: Tape, optimizer: Any, parameters: list[Tensor]) -> None:
        """Judge the gradients that are about to be used."""
        alarm = None
        with self._surely(tape):
            judge = self._judge_of(optimizer)
            alarm, norm, uses = self._verdict(tape, optimizer, judge, parameters)
            steps = optimizer is not None and bool(tape.passes or uses)
            if steps and (tape.closures or tape.still.stepped(optimizer, uses)):
                self._motion.uses(tape, optimizer)
                alarm = alarm or self._motion.strays(tape, optimizer, judge)
            if alarm is not None and self._is_told(tape, alarm, optimizer):
                alarm = None
        if alarm is not None:
            self._alarm(tape, alarm, judge, parameters, norm)

    def _look(self, tape: Tape, last: bool = False) -> None:
        """After a backward pass: whether what gets gradients moves at all."""
        found = None
        with self._surely(tape):
            found = self._motion.look(tape, last)
        if found is not None:
            tape.used = False  # nothing has changed since the pass
            self._alarm(tape, *found)

    def _is_told(self, tape: Tape, alarm: Alarm, optimizer: Any) -> bool:
        """Whether what is not finite came from a part that another optimizer's report was about."""
        others = [o for o, j in self.judges.items() if o is not optimizer and j.is_told(alarm.kind)]
        if "not finite" not in alarm.kind or not others:
            return False
        events = tape.needed([p for p in tape.passes if p.accumulates] or tape.passes)
        read = {id(t) for event in events for t, _ in event.given}
        read.update(id(p) for root in models(events).values() for p in root.parameters())
        return any(id(p) in read for other in others for p in parameters_of(other))

    def _verdict(
        self, tape: Tape, optimizer: Any, judge: Judge, parameters: list[Tensor]
    ) -> tuple[Alarm | None, float | None, bool]:
        """What is wrong with a step, the norm of its gradients, and whether there are any now."""
        passes = [] if tape.used else [p for p in tape.passes if p.accumulates] or tape.passes
        losses = [p.loss for p in passes if p.loss is not None]
        now, others = norms.Norms(parameters), norms.Norms(())
        if not tape.used and not tape.closures:
            own = set(map(id, parameters))
            rest = (o for o in tape.optimizers if o is not optimizer and not self._kept.done(o))
            more = (p for o in rest for p in parameters_of(o))
            others = norms.Norms(p for p in more if id(p) not in own)
        scales = [p.scale for p in passes if p.scale is not None][:1]
        late = getattr(optimizer, "grad_scale", None)  # of one that unscales them itself
        found_inf = getattr(optimizer, "found_inf", None)
        clipped = {key: tape.clipped[key] for key in now.keys if key in tape.clipped}
        parts = [losses, now.tensors, others.tensors, list(clipped.values()), scales]
        parts.append([t for t in (late, found_inf) if isinstance(t, Tensor)])
        told = iter(norms.numbers([t for part in parts for t in part]))
        own_losses, own_norms, other_norms, raw, scale, fused = (
            [next(told) for _ in part] for part in parts
        )
        by = scale[0] if scale else 1.0
        loss = [x / by for x in own_losses]
        if len(fused) == 2 and fused[1]:
            alarm = judge.skipped(loss, by)
            norm = None
        else:
            gradients = dict.fromkeys(map(id, parameters), 0.0)
            gradients |= dict(zip(now.keys, own_norms, strict=True))
            gradients |= dict(zip(clipped, raw, strict=True))
            norm = norms.total(gradients.values()) if now.keys else None
            if norm is not None:
                scaled = by if tape.closures or optimizer is None else fused[0] if fused else 1.0
                norm = norms.sure(norm, parameters) / scaled
                if not all(map(math.isfinite, own_norms)):  # after clipping it, perhaps
                    norm = norms.sure(norms.total(own_norms), parameters) / scaled
            if other_norms and not math.isfinite(norms.total(other_norms)) and norm is not None:
                every = (p for o in tape.optimizers for p in parameters_of(o))
                norm = norm if norms.finite(every) else math.nan
            kept = optimizer is not None and not tape.closures and any(own_norms)
            kept = kept and self._kept.are_in(optimizer)
            tape.whole = tape.whole and not kept
            place = passes[-1].place if kept and passes else ""
            if tape.closures and tape.evaluated:
                alarm = judge.evaluated(loss, norm)
            else:
                alarm = judge.step(loss, norm, gradients, place)
            tape.evaluated = True
        tape.clipped.clear()
        return alarm, norm, any(own_norms)

    def _alarm(
        self, tape: Tape, alarm: Alarm, judge: Judge, parameters: list[Tensor], norm: float | None
    ) -> None:
        """Make the step again, and report."""
        if len(self.reports) >= self.most:
            return  # (of threads that come at once, each may report)
        on = tape.on
        self._off(tape)
        tape.inside += 1
        try:
            with self._lock, chance.preserved(tensors=True):
                self.reports.append(self._report(tape, alarm, judge, parameters, norm))
        except Exception as error:
            print(f"gradviz watch: {alarm.text}; no report: {error!r}", file=sys.stderr)
        finally:
            tape.inside -= 1
            if on:
                self._on(tape)
        if self.on_trigger == "raise":
            raise TrainingError(f"step {judge.count - 1}: {alarm.text}")
        if self.on_trigger == "stop":
            raise Stop(f"step {judge.count - 1}: {alarm.text}")

    def _report(
        self, tape: Tape, alarm: Alarm, judge: Judge, parameters: list[Tensor], norm: float | None
    ) -> Report:
        passes = [p for p in tape.passes if p.accumulates] or tape.passes
        seen = Replay(losses=losses_of(passes))
        if norm is not None and tape.whole:
            seen.norm = norm
        if tape.used and passes:
            seen.lost.append("another optimizer has changed its parameters since the backward pass")
        if len(tape.passes) == PASSES and not tape.whole:
            seen.said.append(f"Of its backward passes the last {PASSES} are replayed.")
        events, roots = tape.needed(passes), models(tape.events)
        more = tape.needed([*passes, *tape.called()])  # what nothing came of belongs to the step
        if not any(event.lost for event in more):
            events = more
        scale = scale_of(events)
        seen.losses = [x / scale for x in seen.losses]
        if not passes:
            seen.lost.append("no backward pass was seen")
        else:
            if any(inner(m) is not m for root in roots.values() for m in root.modules()):
                seen.of_one_rank()
            place = next((k for k, one in enumerate(self.judges.values()) if one is judge), -1)
            meeting = functools.partial(
                rendezvous.meet, f"watch/{self._session}/{place}/{judge.count}"
            )
            stepped = {id(p) for o in self._optimizers for p in parameters_of(o)}
            writers = tape.writes.lines(tensors_within(roots.values()), stepped, tape.round)
            replay(events, roots, parameters, norms.of, seen, meeting, writers)
        names = {
            id(p): name
            for prefix, root in roots.items()
            for name, p in inner(root).named_parameters(prefix)
        }
        return report(self.out, alarm, judge, seen, names, self._rate(judge))

    def _rate(self, judge: Judge) -> float | None:
        """What gradients are multiplied with, where an optimizer does no more."""
        for optimizer, one in self.judges.items():
            if one is judge and type(optimizer) is torch.optim.SGD:
                return float(optimizer.param_groups[0]["lr"])
        return None

    def last_look(self) -> None:
        """The program ends: perhaps because it has found something that is not finite."""
        tape, read = self.tape, self.tape.read
        how, self.on_trigger = self.on_trigger, "continue"
        if self.working and tape.passes:
            tape.inside += 1
            self._look(tape, last=True)
            self._ended(tape, endings.unused, self._optimizers)
            tape.inside -= 1
        if read is not None and self.working:
            tape.read = None
            self._ended(tape, endings.found, *read)
        self.on_trigger = how

    def _ended(
        self, tape: Tape, find: Callable[..., Ending | None], *args: Any, alone: bool = False
    ) -> None:
        """Report a step that comes to no end; `alone` where no optimizer makes it."""
        alarm = None
        with self._surely(tape):
            ending = find(tape, *args)
            if ending is not None:
                latest = max((*self.judges.values(), self._none), key=lambda j: j.count)
                judge = self._none if alone else latest
                judge = self._judge_of(tape.closures[-1]) if tape.closures else judge
                alarm = judge.ended(*ending, bool(tape.closures) and tape.evaluated)
                tape.evaluated = True
        if alarm is not None:
            self._alarm(tape, alarm, judge, [], None)


class _Surely:
    """Whatever goes wrong inside, in watching, is no reason to end a training."""

    def __init__(self, watch: Watch, tape: Tape) -> None:
        self.watch, self.tape = watch, tape

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Exception):
            self.watch.failed(self.tape, error)
        return isinstance(error, Exception)


_watching = False
_sessions = itertools.count()


def _watched(watch: Watch, call: Any) -> Any:
    """`Module.__call__`, watched."""

    @functools.wraps(call)
    def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or not watch.working or watch.tape.inside:
            return call(module, *args, **kwargs)
        return watch.module(call, module, args, kwargs)

    return watched


def _scaled(watch: Watch, step: Any) -> Any:
    """`GradScaler.step`, watched."""

    @functools.wraps(step)
    def watched(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        tape = watch.tape
        before = tape.round
        result = step(scaler, optimizer, *args, **kwargs)
        if watch.working and scaler._enabled and tape.round == before and not tape.used:
            watch.skipped(tape, optimizer, scaler.get_scale())
        return result

    return watched


def _own_generators(module: nn.Module) -> list[Any]:
    return [item.value for item in reach([("", module)]) if is_generator(item.value)]
