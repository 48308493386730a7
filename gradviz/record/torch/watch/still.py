"""Whether what gets gradients moves; or the step is missing, does nothing, or is of others.

A *round* is a backward pass whose gradients were zeroed before an optimizer used them, or the step
of an optimizer that has no gradient to use, or a learning rate of 0. Any other step ends the
matter, so that in a healthy training nothing is looked at. After some rounds in succession the
parameters that get gradients are remembered, by the sum of their bits; after more it is seen
whether one of them has changed.

No rounds are the passes of one accumulation and a step that a `GradScaler` leaves out. Not told are
a learning rate of 0 where a scheduler may raise it, or where there was another before (a warm-up,
the end of a schedule), and passes that are made for the gradients themselves: of inputs, or where
the program reads them. At the end of the program it is known that nothing else came.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from gradviz.language import say, some, translated
from gradviz.record.alarm import Alarm
from gradviz.record.torch import keep
from gradviz.record.torch.kept import LOOKED_AT, Gradient
from gradviz.record.torch.ranks import local

MARK, TELL, MANY = 10, 40, 1000
"""After so many rounds parameters are remembered, and compared; so many passes without a step
count as rounds."""
NO_STEP, NO_GRADIENT, NO_RATE = range(3)
ADVICE = {
    NO_STEP: "Call optimizer.step() after the backward pass.",
    NO_GRADIENT: "Call optimizer.zero_grad() before the backward pass, not after it.",
    NO_RATE: "Give the optimizer a learning rate above 0; if a scheduler is to raise it, call its "
    "step().",
}
OTHERS = (
    "Make the optimizer of the parameters that are trained: after the last of them was replaced."
)


class Marks:
    """Parameters as they were: a sum of bits for each."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._of = {id(p): (weakref.ref(p), keep.bits(local(p))) for p in parameters}

    def are(self, parameters: Sequence[Tensor]) -> bool:
        """Whether these are the parameters, and they have not changed."""
        known = self._of
        return len(parameters) == len(known) > 0 and all(
            id(p) in known and known[id(p)][0]() is p and known[id(p)][1] == keep.bits(local(p))
            for p in parameters
        )


class Still:
    """Follows the rounds of one thread.

    Attributes
    ----------
    optimizer : callable
        The one that has made the last round's step, if any.
    reads : bool
        Whether the program itself has read gradients meanwhile.
    zeroes : bool
        Whether an optimizer was asked to zero them.
    told : bool
        Whether it was said that nothing moves.
    moves : int
        How many steps were seen that use gradients, of all threads.
    """

    def __init__(self) -> None:
        self.optimizer: Any = lambda: None
        self.moves, self.told = 0, False
        self._left: list[Gradient] = []
        self.moved()

    def moved(self) -> None:
        """Gradients were used."""
        self.rounds, self._passes, self._why = 0, 0, NO_STEP
        self.reads = self.zeroes = False
        self._marks: Marks | None = None
        self._held: set[int] = set()
        self._worked = False

    def taken_away(self) -> bool:
        """Whether the gradients of the pass before were zeroed; asked when another begins."""
        gone, self._left = bool(self._left) and all(map(_is_gone, self._left)), []
        return gone

    def passed(self, held: Iterable[Iterable[Tensor]]) -> None:
        """A backward pass has ended; these are the parameters of each optimizer or model."""
        for parameters in held:
            found = ((p, p.grad) for p in parameters)
            there = (Gradient(p, grad) for p, grad in found if grad is not None)
            self._left += itertools.islice(there, LOOKED_AT)
        self._passes += 1

    def unused(self) -> None:
        """The gradients of a pass were zeroed, and no optimizer had used them."""
        self._add(NO_STEP)

    def stepped(self, optimizer: Any, has_gradients: bool) -> bool:
        """Whether an optimizer that makes a step has something to move by."""
        self._left = []
        if has_gradients and not all(map(_is_slow, optimizer.param_groups)):
            return True
        self.optimizer = weakref.ref(optimizer)
        self._add(NO_RATE if has_gradients else NO_GRADIENT)
        return False

    def _add(self, why: int) -> None:
        if self._why != why:
            self.moved()
        self._why, self._passes = why, 0
        self.rounds += 1

    @property
    def count(self) -> int:
        """How many rounds there were."""
        return self._passes if self._passes >= MANY else self.rounds

    @property
    def is_due(self) -> bool:
        """Whether there is something to `look` at."""
        return self.rounds in (MARK, TELL) or self._passes in (MANY // 2, MANY)

    def look(
        self,
        reached: Sequence[Tensor],
        held: Sequence[Tensor],
        worked: bool,
        last: bool,
    ) -> Alarm | None:
        """Say that nothing moves, where it is known.

        Parameters
        ----------
        reached : sequence of Tensor
            What has gradients now, other than 0.
        held : sequence of Tensor
            What optimizers hold.
        worked : bool
            Whether some optimizer has moved what it holds before.
        last : bool
            Whether the program ends.
        """
        count = self.count
        if last and (self.told or self.count < TELL):
            return None
        if self._marks is None or self._passes == MANY // 2 or (not last and count == MARK):
            self._marks, self._worked = Marks(reached), worked
            self._held = set(map(id, held))  # when the program ends, its optimizers may be gone
            return None
        ours, worked = self._held.intersection(map(id, reached)), worked or self._worked
        same, optimizer, advice = self._marks.are(reached), self.optimizer(), ADVICE[self._why]
        if self._why == NO_GRADIENT and ours:
            text = (
                "in {n} steps in succession the optimizer has found no gradient but 0, though the "
                "backward passes gave some: they are zeroed in between"
            )
        elif not same or (ours and worked):
            return None
        elif self._why == NO_GRADIENT:
            text = (
                "in {n} steps in succession the optimizer has found no gradient: it holds nothing "
                "of what gets some ({reached}), and this does not change"
            )
            advice = OTHERS
        elif self._why == NO_RATE:
            if not last and any(group.get("initial_lr") for group in optimizer.param_groups):
                return None
            text = (
                "in {n} steps in succession the optimizer's learning rate was 0, and no parameter "
                "has changed"
            )
        else:
            if not ours or (self.reads and not (last and self.zeroes)):
                return None
            text = (
                "no optimizer has made a step in {n} backward passes, and no parameter has changed"
            )
        self.told = True
        said = say(text, n=count, reached=some(len(reached), "parameter"))
        return Alarm("no update", said, tuple(map(id, reached)), advice=translated(advice))


def _is_slow(group: Any) -> bool:
    return type(group.get("lr")) in (int, float) and group["lr"] == 0


def _is_gone(left: Gradient) -> bool:
    """Whether a gradient was taken away, or is 0 now."""
    if left.is_there:
        return False
    parameter = left.parameter()
    now = None if parameter is None else parameter.grad
    return now is None or not bool(local(now.detach()).any())
