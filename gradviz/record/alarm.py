"""When a training is in trouble, judged by the losses and gradient norms of its steps alone.

How it is judged
----------------
- *not finite*: a loss, a gradient that an optimizer is about to use, or what the program has read
  last before it ended. (What a `GradScaler` leaves
  out is no alarm; that its scale falls below 1 is: then no scale is left that would help.)
- *spike*: the norm of the gradients is more than `spike` times the largest of the last 100 norms,
  of which at least 50 are known. A warm-up has no such history, and of an ordinary heavy tail the
  largest of 100 is already far out.
- *no gradient*: parameters that had a gradient in 20 steps in succession have had none, or exactly
  0, in the 20 steps since. Not where the loss is exactly 0: then there is nothing left to learn;
  nor where all gradients are 0 and had become small before: that is convergence.
- *constant loss*: the same number, to the last bit, in 50 steps in succession, although the norm of
  the gradients is more than a thousandth of the largest so far, or was before it became 0; or
  although the optimizer's parameters have no gradient at all.
- *kept gradients*: in 3 steps in succession the optimizer used gradients that it had used before,
  and that nothing had zeroed since. (To accumulate over several backward passes is something else.)
- *diverging loss*: all of the last 50 losses are more than 10 times the largest of the first 50,
  which were above 0. A loss that is noisy, or that has a few bad batches, has lower ones between.
- *no update*: parameters get gradients, yet nothing moves (see `torch.watch.still`).

Each kind is told once; again only when 100 steps were free of it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gradviz.language import say, some

HISTORY, KNOWN = 100, 50
STEADY, CONSTANT = 20, 50
AGAIN = 3
DIVERGED, FIRST = 10.0, 50
LEAST_SCALE = 1.0
CONVERGED = 1e-3


@dataclass(frozen=True)
class Alarm:
    """What is wrong.

    Attributes
    ----------
    kind : str
        "loss not finite", "value not finite", "gradient not finite", "spike", "no gradient",
        "constant loss", "collapsing scale", "kept gradients", "diverging loss" or "no update".
    text : str
        It in a sentence.
    parameters : tuple of int
        Which of them it is about, by `id`.
    since : int
        The step it began at.
    advice : str
        What to do, where no Graph shows it.
    """

    kind: str
    text: str
    parameters: tuple[int, ...] = ()
    since: int = 0
    advice: str = ""


class Judge:
    """Follows the steps of one optimizer.

    Attributes
    ----------
    count : int
        The steps so far.
    losses, norms, scales : deque
        Those of the last hundred; None for what is not known.
    """

    def __init__(self, spike: float) -> None:
        self.spike = spike
        self.count = 0
        self.losses: deque[float | None] = deque(maxlen=HISTORY)
        self.norms: deque[float | None] = deque(maxlen=HISTORY)
        self._usual: deque[float] = deque(maxlen=HISTORY)
        self._largest = self._last = 0.0  # of the norms; the last that was not 0
        self._same = 0
        self._had: dict[int, int] = {}
        self._lacks: dict[int, int] = {}
        self._told: dict[str, int] = {}
        self._skipped = self._again = 0
        self._first: list[float] = []  # losses

    def step(
        self,
        losses: list[float],
        norm: float | None,
        gradients: Mapping[int, float],
        kept: str = "",
    ) -> Alarm | None:
        """Judge a step that is about to be taken.

        Parameters
        ----------
        losses : list of float
            What was differentiated.
        norm : float or None
            The norm of all gradients before they were clipped.
        gradients : mapping of int to float
            The norm of each parameter's gradient by the parameter's `id`; 0 for none.
        kept : str
            Where the optimizer has used these gradients before, the place of the backward pass.
        """
        loss = sum(losses) if losses else None
        found = (  # all, for each goes on with what it knows
            self._not_finite(losses, norm), self._spiked(norm), self._without(loss, gradients),
            self._constant(loss, norm), self._kept(kept), self._diverging(loss),
        )  # fmt: skip
        self.losses.append(loss)
        self.norms.append(norm)
        if norm is not None and math.isfinite(norm):
            self._usual.append(norm)
            self._largest = max(self._largest, norm)
            self._last = norm or self._last
        self._skipped = 0
        self.count += 1
        return self._once(next(filter(None, found), None))

    def evaluated(self, losses: list[float], norm: float | None) -> Alarm | None:
        """Judge a step whose closure is called again: a search may go far, and not to a NaN."""
        alarm = self._not_finite(losses, norm)
        return self._once(alarm and replace(alarm, since=self.count - 1))

    def ended(self, kind: str, text: str, loss: float | None, again: bool) -> Alarm | None:
        """Judge a step that comes to no end; `again` where it was judged before."""
        if not again:
            self.losses.append(loss)
            self.norms.append(None)
            self.count += 1
        return self._once(Alarm(kind, text, since=self.count - 1))

    def skipped(self, losses: list[float], scale: float) -> Alarm | None:
        """Judge a step that a `GradScaler` has left out."""
        loss = sum(losses) if losses else None
        alarm = None
        self._skipped += 1
        if loss is not None and not math.isfinite(loss):
            alarm = Alarm("loss not finite", say("the loss is {x}", x=loss), since=self.count)
        elif scale < LEAST_SCALE:
            since = self.count - self._skipped + 1
            text = say(
                "the scale has collapsed to {scale:g}: in {steps} in succession the gradients "
                "were not finite", scale=scale, steps=some(self._skipped, "step"),
            )  # fmt: skip
            alarm = Alarm("collapsing scale", text, since=since)
        self.losses.append(loss)
        self.norms.append(None)
        self.count += 1
        return self._once(alarm)

    def _not_finite(self, losses: list[float], norm: float | None) -> Alarm | None:
        for loss in losses:
            if not math.isfinite(loss):
                return Alarm("loss not finite", say("the loss is {x}", x=loss), since=self.count)
        if norm is not None and not math.isfinite(norm):
            text = say("the loss is finite, but the norm of the gradients is {x}", x=norm)
            return Alarm("gradient not finite", text, since=self.count)
        return None

    def _spiked(self, norm: float | None) -> Alarm | None:
        if norm is None or len(self._usual) < KNOWN:
            return None
        most = max(self._usual)
        if not norm > self.spike * most > 0:
            return None
        text = say(
            "the norm of the gradients is {norm:.3g}, {ratio:.3g} times the largest of the last "
            "{n} steps", norm=norm, ratio=norm / most, n=len(self._usual),
        )  # fmt: skip
        return Alarm("spike", text, since=self.count)

    def _constant(self, loss: float | None, norm: float | None) -> Alarm | None:
        last = self.losses[-1] if self.losses else None
        self._same = self._same + 1 if loss is not None and loss == last else 1
        if self._same < CONSTANT or not loss or (norm is not None and self._converged(norm)):
            return None
        same = "the loss has been exactly {loss:.9g} in {n} steps in succession"
        if norm is None:
            same = (
                "the loss has been exactly {loss:.9g} in {n} steps in succession, and no parameter "
                "of the optimizer has a gradient"
            )
        text = say(same, loss=loss, n=self._same)
        return Alarm("constant loss", text, since=self.count - self._same + 1)

    def _converged(self, norm: float) -> bool:
        """Whether the gradients had become small before they were so, or 0."""
        return 0 < (norm or self._last) <= CONVERGED * self._largest

    def _kept(self, place: str) -> Alarm | None:
        self._again = self._again + 1 if place else 0
        if self._again < AGAIN:
            return None
        text = say(
            "the gradients of {n} steps in succession hold those of the steps before: nothing has "
            "zeroed them between the optimizer's step and the backward pass ({place})",
            n=self._again, place=place,
        )  # fmt: skip
        advice = say("Call optimizer.zero_grad() once a step, before the first backward pass.")
        return Alarm("kept gradients", text, since=self.count - self._again + 1, advice=advice)

    def _diverging(self, loss: float | None) -> Alarm | None:
        if loss is None or len(self._first) < FIRST:
            self._first += [] if loss is None else [loss]
            return None
        if self.is_told("spike") or self._told.keys() - {"diverging loss", "spike"}:
            return None  # that is why
        known = [x for x in self.losses if x is not None][1 - FIRST :]
        least, most = min(*known, loss), max(self._first)
        if len(known) < FIRST - 1 or not (min(self._first) > 0 and least > DIVERGED * most):
            return None
        text = say(
            "the loss has not been below {least:.3g} in {n} steps, {ratio:.3g} times the largest "
            "of the first {n}", least=least, n=FIRST, ratio=least / most,
        )  # fmt: skip
        return Alarm("diverging loss", text, since=self.count - FIRST + 1)

    def _without(self, loss: float | None, gradients: Mapping[int, float]) -> Alarm | None:
        had, lacks, now = self._had, self._lacks, []
        for key, norm in gradients.items():
            if norm:
                had[key] = had.get(key, 0) + 1 if not lacks.pop(key, 0) else 1
            elif had.get(key, 0) >= STEADY:
                lacks[key] = lacks.get(key, 0) + 1
                if lacks[key] == STEADY:
                    now.append(key)
            else:
                had[key] = 0
        if not now or loss == 0 or (not any(gradients.values()) and self._converged(0.0)):
            return None
        text = say(
            "in {steps} steps there was no gradient for {k} of {parameters}",
            k=len(now), parameters=some(len(gradients), "parameter"), steps=STEADY,
        )  # fmt: skip
        return Alarm("no gradient", text, tuple(now), self.count - STEADY + 1)

    def _once(self, alarm: Alarm | None) -> Alarm | None:
        """An alarm of a kind that was free of it for a while."""
        if alarm is None:
            return None
        told = self.is_told(alarm.kind)
        self._told[_family(alarm.kind)] = self.count
        return None if told else alarm

    def tell(self, kind: str) -> None:
        """An alarm says it already."""
        self._told[_family(kind)] = self.count

    def has_had(self, key: int) -> bool:
        """Whether a parameter, by `id`, has a gradient, or had one until lately."""
        return self._had.get(key, 0) > 0

    def is_told(self, kind: str) -> bool:
        """Whether there was an alarm of a kind not long ago."""
        last = self._told.get(_family(kind))
        return last is not None and self.count - last <= HISTORY


def _family(kind: str) -> str:
    """A gradient that is not finite makes the next loss so."""
    return "not finite" if "not finite" in kind else kind
