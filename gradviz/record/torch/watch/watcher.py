"""A training under watch: hooks that note each step, judge it, and have a bad one made again."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import grad_scaler

from gradviz.errors import TrainingError
from gradviz.language import say
from gradviz.record import chance, rendezvous
from gradviz.record.alarm import Alarm, Judge
from gradviz.record.torch.calls import RANDOM, READS, WRITES, called
from gradviz.record.torch.kept import Kept
from gradviz.record.torch.operation import tensors_in
from gradviz.record.torch.ranks import inner
from gradviz.record.torch.sites import site_of_call
from gradviz.record.torch.watch import endings, norms
from gradviz.record.torch.watch.endings import Ending
from gradviz.record.torch.watch.events import (
    HOOKS,
    PASSES,
    SETS,
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
from gradviz.record.torch.watch.patches import Calls, Patches
from gradviz.record.torch.watch.replay import Replay, models, replay, scale_of
from gradviz.record.torch.watch.report import Report, report, tell
from gradviz.record.torch.watch.verdict import is_told, verdict

LAST, WRITING = 0.5, 60.0
"""So many seconds at most the end of a process waits for threads that train, and for a report."""
_top: Any = torch.overrides._get_current_function_mode
UNSCALES = "_amp_foreach_non_finite_check_and_unscale_"


class Stop(BaseException):
    """Ends a training that is to be stopped; `Watch` catches it."""


class Watch:
    """See `gradviz.watch`.

    Attributes
    ----------
    reports : list of Report
        What was found so far.
    """

    def __init__(self, out: str, on_trigger: str, most: int, spike: float) -> None:
        self.out, self.on_trigger = os.path.abspath(out), on_trigger  # the program may go elsewhere
        self.most, self.spike = most, spike
        self.reports: list[Report] = []
        self.live = False
        self.judges: weakref.WeakKeyDictionary[Any, Judge] = weakref.WeakKeyDictionary()
        self._none = Judge(spike)  # of the backward passes, where there is no optimizer
        self._optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._searched = False
        self._motion = Motion(self._optimizers, self._judge_of)
        self._own, self._lock = threading.local(), threading.Lock()
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._buffers, self._generators, self._kept = Buffers(), Generators(), Kept()
        self._mode, self._patches = Calls(self), Patches(self)
        self._process, self._broken, self._over = os.getpid(), False, False
        self._session = next(_sessions)

    # --- on and off ----------------------------------------------------------------------------

    def __enter__(self) -> Watch:
        """Begin."""
        self._patches.put()
        self.live, self._process = True, os.getpid()
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
        if self._patches.there:
            self._end_reports()
            self._off(self.tape)
            self._patches.take_away()
            self._own = threading.local()

    def end(self) -> None:
        """Watch no longer, where the process ends and only daemon threads are left.

        Python ends them where they next ask for its lock; in the middle of a call that is seen this
        would end the process by a signal. So they wait at the next one.
        """
        self._over = True
        self._end_reports()
        self._off(self.tape)
        until = time.monotonic() + LAST
        self._threads.discard(threading.current_thread())
        while any(t.is_alive() for t in list(self._threads)) and time.monotonic() < until:
            time.sleep(0.01)

    def _end_reports(self) -> None:
        """No report begins any more; one that another thread has begun is written to its end."""
        self.live = False
        if self._lock.acquire(timeout=WRITING):
            self._lock.release()

    def is_live(self) -> bool:
        """Whether it is on."""
        if self._over and threading.current_thread() is not threading.main_thread():
            self._threads.discard(threading.current_thread())
            threading.Event().wait()
        return self.live

    @property
    def tape(self) -> Tape:
        """The events of this thread."""
        try:
            found: Tape = self._own.tape
        except AttributeError:
            found = self._own.tape = Tape()
            self._threads.add(threading.current_thread())
        return found

    @property
    def working(self) -> bool:
        """Whether steps are watched; not in a process that was forked, as a worker of a loader."""
        return self.is_live() and os.getpid() == self._process and norms.fetchable()

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

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Inside, the calls of this thread are not seen."""
        tape = self.tape
        on = tape.on
        self._off(tape)
        try:
            yield
        finally:
            if on:
                self._on(tape)

    # --- what a step is made of ----------------------------------------------------------------

    def module(self, call: Any, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Call a module, as one event."""
        tape = self.tape
        if not tape.on and tape.round == 0 and not tape.events:
            self._on(tape)  # a thread of the program's own begins
        seen = torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1
        event, on = None, tape.on
        self._off(tape)
        try:
            if seen:
                with self._surely(tape):
                    tape.settle()
                    event = Event(module, site_of_call(), tape.round)
                    tape.given(event, args, kwargs)
                    event.random = self._generators.states(module)
                    event.buffers = self._buffers.note(module)
            tape.inside += 1
            try:
                result = call(module, *args, **kwargs)
            finally:
                tape.inside -= 1
            if event is not None:
                with self._surely(tape):
                    self._buffers.after(event.buffers)
        finally:
            if on or seen:
                self._on(tape)
        if event is not None:
            with self._surely(tape):
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
        if not name and func == SETS:
            with self._surely(tape):
                tape.set_gradient(*args)
            return func(*args, **kwargs)
        if not name and func not in HOOKS:
            if tape.still.rounds and getattr(func, "__self__", None) is Tensor.grad:
                module = sys._getframe(2).f_globals.get("__name__", "")
                tape.still.reads |= not module.startswith(("torch.", "gradviz."))
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
            fresh = taken or (here is not None and norms.are_zero(here))
            if fresh or (here is not None and not tape.closures):  # each pass is a step
                tape.forget_passes()
                tape.whole = fresh
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
            if not event.accumulates:
                tape.sent(event, result)
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
            tell(say("a step could not be followed: {error}", error=repr(error)))

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

    def before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer is about to make its step."""
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

    def after_step(self, optimizer: Any, *_: Any) -> None:
        """It has made it."""
        tape = self.tape
        if not self.working or tape.inside:
            return
        tape.closures = [o for o in tape.closures if o is not optimizer]
        tape.round += 1
        tape.use()
        self._kept.used(optimizer)
        self._on(tape)

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
            alarm, norm, uses = verdict(tape, optimizer, judge, parameters, self._kept)
            steps = optimizer is not None and bool(tape.passes or uses)
            if steps and (tape.closures or tape.still.stepped(optimizer, uses)):
                self._motion.uses(tape, optimizer)
                alarm = alarm or self._motion.strays(tape, optimizer, judge)
            if alarm is not None and is_told(tape, alarm, optimizer, self.judges):
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
                if self.live:
                    self.reports.append(self._report(tape, alarm, judge, parameters, norm))
        except Exception as error:
            tell(say("{said}; no report: {error}", said=alarm.text, error=repr(error)))
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
        if tape.whole and tape.gives:
            seen.norm = norm
        if tape.used and passes:
            seen.lost.append(
                say("another optimizer has changed its parameters since the backward pass")
            )
        if len(tape.passes) == PASSES and not tape.whole:
            seen.said.append(say("Of its backward passes the last {n} are replayed.", n=PASSES))
        events, roots = tape.needed(passes), models(tape.events)
        more = tape.needed([*passes, *tape.called()])  # what nothing came of belongs to the step
        if not any(event.lost for event in more):
            events = more
        scale = scale_of(events)
        seen.losses = [x / scale for x in seen.losses]
        if not passes:
            seen.lost.append(say("no backward pass was seen"))
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
                judge.count = judge.count or tape.still.rounds  # (no optimizer makes a step)
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


_sessions = itertools.count()
