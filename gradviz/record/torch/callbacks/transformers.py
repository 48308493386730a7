"""The callback for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

from typing import Any

try:
    from transformers import TrainerCallback
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "this callback needs transformers, and its Trainer accelerate: "
        "pip install transformers accelerate"
    ) from error

from gradviz.record.torch.callbacks.following import Following


class Follows(TrainerCallback):
    """See `gradviz.transformers_callback`."""

    def __init__(self, following: Following) -> None:
        self.following, self.watch = following, following.watch

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """See `TrainerCallback`."""
        self.following.begin(more["model"])

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """See `TrainerCallback`."""
        self.following.step_begins()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """See `TrainerCallback`."""
        control.should_training_stop |= self.following.step_ends()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """See `TrainerCallback`."""
        self.following.end()


def made(*asked: Any) -> Follows:
    """The callback."""
    return Follows(Following(*asked))
