"""What every callback does: a watch around a training, a recorder around each of its steps."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from torch import nn

from gradviz.record.torch.training import Recorder
from gradviz.record.watch import watch as watch_of


class Following:
    """Follows one training of a trainer, which says when it begins and what it does.

    Attributes
    ----------
    watch : Watch or None
    """

    def __init__(
        self, record: str | os.PathLike[str] | None, every: int, watch: bool, stops: bool,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        self.path, self.every, self.stops = record, every, stops
        self.watch = watch_of(**options) if watch else None
        self._recorder: Recorder | None = None
        self._around, self._inside = ExitStack(), ExitStack()
        self._known, self._on = 0, False

    def begin(self, model: nn.Module) -> None:
        """The training begins."""
        self.end()  # of one that raised nobody may have told
        if self.path is not None:
            self._recorder = Recorder(model, self.path, self.every)
        if self.watch is not None:
            self._known = len(self.watch.reports)
            self._around.enter_context(self.watch)

    def step_begins(self) -> None:
        """A step begins, unless it has already: it may have several batches."""
        if self._recorder is not None and not self._on:
            self._on = True
            self._inside.enter_context(self._recorder.step())

    def step_ends(self) -> bool:
        """A step is over; whether the training is to end."""
        self._inside.close()
        self._on = False
        return self.stops and self.watch is not None and len(self.watch.reports) > self._known

    def end(self, error: BaseException | None = None) -> None:
        """The training is over."""
        told = (type(error), error, None) if error is not None else (None, None, None)
        self._on = False
        try:
            self._inside.__exit__(*told)
        finally:
            self._around.__exit__(*told)
