"""Why a step comes to no end: what is not finite where a program, or a backward pass, broke off.

Each function returns the kind of the alarm, its text and the loss if it is known, and leaves the
backward passes that are to be made again on the tape; or None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from gradviz.language import say
from gradviz.record.torch.watch import norms
from gradviz.record.torch.watch.events import Event, Result, Tape
from gradviz.record.torch.watch.motion import losses_of, parameters_of

Ending = tuple[str, str, float | None]


def found(tape: Tape, result: Result, number: Tensor | None) -> Ending | None:
    """The program has ended after it learned that something is not finite."""
    made = result.event.made[result.index]()
    if result.event not in tape.events or (made is None and number is None):
        return None
    event = Event(Tensor.backward, result.event.site, tape.round)
    event.args = (result,)
    tape.passes, tape.used, tape.whole = [event], False, False
    kind, loss, told = "loss not finite", None, "the program has ended after it read {x}"
    shape: tuple[int, ...] = ()
    if number is not None:
        event.loss = number.reshape(())
        (loss,) = norms.numbers([event.loss])
    elif made is not None:
        kind, shape = "value not finite", tuple(made.shape)
        told = "the program has ended after it read that a tensor of shape {shape} is not finite"
        event.args = result, torch.ones_like(made)
    tape.add(event, None)
    return kind, say(told, x=loss, shape=str(shape)), loss


def unused(tape: Tape, optimizers: Iterable[Any]) -> Ending | None:
    """The program has ended before an optimizer could use what is not finite."""
    if tape.used or not tape.passes or any(p.scale is not None for p in tape.passes):
        return None
    losses = losses_of(tape.passes)
    loss = sum(losses) if losses else None
    if not all(map(math.isfinite, losses)):
        text = say("the program has ended before a step, and the loss is {x}", x=loss)
        return "loss not finite", text, loss
    if not norms.finite(p for o in optimizers for p in parameters_of(o)):
        text = say("the program has ended before a step, and not all gradients are finite")
        return "gradient not finite", text, loss
    return None


def broken_off(tape: Tape, event: Event, error: Exception) -> Ending:
    """PyTorch's own search for NaN has ended a backward pass."""
    tape.read = None
    if not event.accumulates:  # `autograd.grad`, of which no Graph is made by itself
        given = dict(zip(("outputs", "inputs", "grad_outputs"), event.args, strict=False))
        given |= event.kwargs
        event.call, event.kwargs = torch.autograd.backward, {}
        event.args = given["outputs"], given.get("grad_outputs")
        event.accumulates = True
    tape.add(event, None)
    tape.add_pass(event)
    losses = losses_of([event])
    finite = all(map(math.isfinite, losses))
    ended = "the backward pass was ended by set_detect_anomaly: {error}"
    text = say(ended, error=error).rstrip(".")
    kind = "gradient not finite" if finite else "loss not finite"
    return kind, text, losses[0] if losses else None
