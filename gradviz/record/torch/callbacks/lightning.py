"""The callback for Lightning."""

from __future__ import annotations

import contextlib
from typing import Any

try:
    from lightning.pytorch import Callback
except ImportError as error:  # pragma: no cover
    raise ImportError("this callback needs Lightning: pip install lightning") from error

from gradviz.record.torch.callbacks.following import Following


class Follows(Callback):
    """See `gradviz.lightning_callback`."""

    def __init__(self, following: Following) -> None:
        super().__init__()
        self.following, self.watch = following, following.watch
        self._step = -1

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """See `Callback`."""
        self._step = trainer.global_step
        self.following.begin(module)

    def on_train_batch_start(self, *_: Any) -> None:
        """See `Callback`."""
        self.following.step_begins()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """See `Callback`."""
        if trainer.global_step != self._step:  # else more batches belong to it
            self._step = trainer.global_step
            trainer.should_stop |= self.following.step_ends()

    def on_train_end(self, *_: Any) -> None:
        """See `Callback`."""
        self.following.end()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """See `Callback`."""
        with contextlib.suppress(Exception):  # it is on its way
            self.following.end(exception)


def made(*asked: Any) -> Follows:
    """The callback."""
    return Follows(Following(*asked))
