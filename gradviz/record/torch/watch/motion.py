"""Whether a training moves what gets gradients: asked of what its optimizers hold."""

from __future__ import annotations

import gc
import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from gradviz.language import say, some, translated
from gradviz.record.alarm import Alarm, Judge
from gradviz.record.torch.watch import norms
from gradviz.record.torch.watch.events import Event, Tape
from gradviz.record.torch.watch.replay import models, scale_of
from gradviz.record.torch.watch.still import MARK, OTHERS, TELL, Marks


class Motion:
    """What is known of the steps of all threads.

    Parameters
    ----------
    optimizers : set of Optimizer
        All that are known so far.
    judge_of : callable
        Returns an optimizer's judge.
    """

    def __init__(self, optimizers: weakref.WeakSet[Any], judge_of: Callable[[Any], Judge]) -> None:
        self._optimizers, self._judge_of = optimizers, judge_of
        self._moved, self._worked = 0, weakref.WeakSet[Any]()  # steps, and who has made some
        self._loose: weakref.WeakKeyDictionary[Any, Marks] = weakref.WeakKeyDictionary()

    def uses(self, tape: Tape, optimizer: Any) -> None:
        """An optimizer is about to use gradients."""
        self._moved += 1
        self._worked.add(optimizer)
        tape.still.moves = self._moved
        tape.still.moved()

    def look(
        self, tape: Tape, last: bool
    ) -> tuple[Alarm, Judge, list[Tensor], float | None] | None:
        """After a backward pass, or where the program ends, whether what gets gradients moves.

        Returns
        -------
        tuple or None
            What is wrong, of whose steps, which parameters are meant, and their gradients' norm.
        """
        still, owners = tape.still, [(o, parameters_of(o)) for o in self._optimizers]
        if not last:
            still.passed(parameters for _, parameters in owners)
            if not still.is_due:
                return None
        if still.moves != self._moved or self._is_of_inputs(tape):
            still.moves = self._moved
            still.moved()
            return None
        held = [p for _, parameters in owners for p in parameters]
        reached = _reached([*held, *_trained(tape)])
        known = set(map(id, reached))
        worked = any(id(p) in known for o, ps in owners if o in self._worked for p in ps)
        alarm = still.look(reached, held, worked, last)
        if alarm is None:
            return None
        optimizer = still.optimizer()
        judge = Judge(math.inf) if optimizer is None else self._judge_of(optimizer)
        judge.count = judge.count or still.count
        alarm = replace(alarm, since=max(0, judge.count - still.count))
        judge.tell("constant loss")
        ours = known.intersection(map(id, held))
        return alarm, judge, reached, norms.of(reached, scale_of(tape.passes)) if ours else None

    def _is_of_inputs(self, tape: Tape) -> bool:
        """Whether a pass was made for the gradient of what is no parameter."""
        known = {id(p) for o in self._optimizers for p in parameters_of(o)}
        events = tape.needed(tape.passes[-1:])
        given = (t for event in events for t, _ in event.given)
        leaves = (t for t in given if t.requires_grad and t.is_leaf)
        return any(not isinstance(t, nn.Parameter) and id(t) not in known for t in leaves)

    def strays(self, tape: Tape, optimizer: Any, judge: Judge) -> Alarm | None:
        """Parameters with gradients that nobody holds, where an optimizer holds others like them.

        A model is replaced in part after its optimizer was made; what is left out on purpose is
        not replaced by others of the same shapes.
        """
        if judge.count not in (MARK, TELL):
            return None
        idle = Counter(tuple(p.shape) for p in parameters_of(optimizer) if not judge.has_had(id(p)))
        if not idle:
            return None
        self._optimizers.update(all_optimizers())
        held = {id(p) for o in self._optimizers for p in parameters_of(o)}
        loose = _reached(p for p in _trained(tape) if id(p) not in held)
        if not loose or not Counter(tuple(p.shape) for p in loose) <= idle:
            return None
        if judge.count == MARK:
            self._loose[optimizer] = Marks(loose)
        elif optimizer in self._loose and self._loose.pop(optimizer).are(loose):
            text = say(
                "what gets gradients ({parameters}) is held by no optimizer, and does not change; "
                "what the optimizer holds in its place, of the same shape, gets none",
                parameters=some(len(loose), "parameter"),
            )  # fmt: skip
            return Alarm("no update", text, tuple(map(id, loose)), 0, translated(OTHERS))
        return None


def parameters_of(optimizer: Any) -> list[Tensor]:
    """What an optimizer holds."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]


def losses_of(passes: Sequence[Event]) -> list[float]:
    """What backward passes went from; what only computes a gradient is part of a loss to come."""
    counted = [p for p in passes if p.accumulates] or passes
    return norms.numbers([p.loss for p in counted if p.loss is not None])


def all_optimizers() -> Iterator[Any]:
    """Those that were made before; it takes a while."""
    return (o for o in gc.get_objects() if issubclass(type(o), Optimizer))


def _trained(tape: Tape) -> list[Tensor]:
    """The parameters of the models that a step calls, and those that it uses itself."""
    found = [p for root in models(tape.events).values() for p in root.parameters()]
    found += [t for e in tape.events for t, _ in e.given if isinstance(t, nn.Parameter)]
    return [p for p in found if p.requires_grad]


def _reached(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Those with a gradient that is not 0, each once."""
    distinct = list({id(p): p for p in parameters}.values())
    found = norms.Norms(distinct)
    told = dict(zip(found.keys, norms.numbers(found.tensors), strict=True))
    return [p for p in distinct if told.get(id(p))]
