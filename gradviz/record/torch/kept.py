"""Gradients that nobody has zeroed since an optimizer used them: the next step uses them again."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from torch import Tensor
from torch.optim import optimizer as optimizers

from gradviz.record.torch.nodes import version_of

KEPT = (
    "the gradients hold those of the step before: nothing has zeroed them since the optimizer "
    "used them; optimizer.zero_grad() is missing"
)
LOOKED_AT = 3
"""So many of an optimizer's parameters are followed."""


class Kept(threading.local):
    """Follows the gradients that optimizers have used, by their versions: none is looked into.

    Each thread has those of its own: PyTorch crashes where one thread asks for the gradient of a
    parameter while another takes it away.

    Whoever zeroes a gradient, or scales it down, writes to it between two backward passes, or
    takes it away. Several backward passes between two steps are meant.
    """

    def __init__(self) -> None:
        self._used: weakref.WeakKeyDictionary[Any, list[Gradient]] = weakref.WeakKeyDictionary()
        self._steps = 0

    def used(self, optimizer: Any) -> None:
        """An optimizer has made its step."""
        there = (p for group in optimizer.param_groups for p in group["params"])
        found = (Gradient(p, p.grad) for p in there if isinstance(p.grad, Tensor))
        self._used[optimizer] = list(islice(found, LOOKED_AT))
        self._steps += 1

    def before_pass(self) -> None:
        """A backward pass begins: what was changed since is not kept."""
        for optimizer, gradients in list(self._used.items()):
            if not all(gradient.is_there for gradient in gradients):
                del self._used[optimizer]

    def after_pass(self) -> None:
        """It has ended: what it added is no change."""
        for gradients in self._used.values():
            for gradient in gradients:
                gradient.renew(self._steps)

    def are_in(self, optimizer: Any) -> bool:
        """Whether an optimizer that is about to make its step uses gradients once more."""
        gradients = self._used.get(optimizer, [])
        return bool(gradients) and all(gradient.grown >= 0 for gradient in gradients)

    def done(self, optimizer: Any) -> bool:
        """Whether an optimizer has used its gradients, and no pass of this step has added."""
        gradients = self._used.get(optimizer, [])
        return bool(gradients) and all(gradient.grown < self._steps for gradient in gradients)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Note the steps that optimizers make inside."""
        handle = optimizers.register_optimizer_step_post_hook(lambda o, *_: self.used(o))
        try:
            yield
        finally:
            handle.remove()


class Gradient:
    """The gradient of a parameter, and how often it was written to."""

    def __init__(self, parameter: Tensor, gradient: Tensor) -> None:
        self.parameter = weakref.ref(parameter)
        self.gradient, self.version = weakref.ref(gradient), version_of(gradient)
        self.grown = -1  # after so many steps a pass has added to it last

    @property
    def is_there(self) -> bool:
        """Whether nothing was written to it, and it was not taken away."""
        parameter = self.parameter()
        now = None if parameter is None else parameter.grad
        return now is not None and now is self.gradient() and version_of(now) == self.version

    def renew(self, steps: int) -> None:
        """A backward pass may have added to it, in place or not."""
        parameter = self.parameter()
        now = None if parameter is None else parameter.grad
        if now is None:
            return
        if now is not self.gradient() or version_of(now) != self.version:
            self.gradient, self.version, self.grown = weakref.ref(now), version_of(now), steps
