"""Sampling the steps of a PyTorch training loop into a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gradviz import training
from gradviz.errors import TraceError
from gradviz.record.torch import keep
from gradviz.record.torch.capture import Capture
from gradviz.record.torch.trace import graph_of


class Recorder:
    """Samples every n-th step; see `gradviz.record_training`."""

    def __init__(self, model: nn.Module, path: str | os.PathLike[str], every: int) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"record_training needs a torch.nn.Module, got {type(model).__name__}")
        if type(every) is not int or every < 1:
            raise ValueError(f"every={every!r}: write a whole number of steps, 1 or more")
        self.model, self.path, self.every = model, Path(path), every
        self.count = 0
        with open(self.path, "wb"):  # refused now, not after the first step
            pass

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one training step: forward, ``loss.backward()``, and the optimizer's step."""
        number, self.count = self.count, self.count + 1
        if number % self.every:
            yield
            return
        before = {name: keep.statistics(p).sample for name, p in self.model.named_parameters()}
        capture = Capture({"": self.model}, {}, whole=False)
        try:
            with capture.recording():
                yield
            if capture.loss is None:
                raise TraceError(f"step {number} called no loss.backward()")
            for parameter in capture.parameters.values():
                if parameter.requires_grad:
                    capture.node(parameter)
            node = capture.node(capture.loss)
            capture.told_apart()
            graph = graph_of(capture, node, list(capture.leaves()), None, type(self.model).__name__)
        finally:
            capture.close()
        updates = {
            name: _relative(before[name], keep.statistics(p).sample)
            for name, p in self.model.named_parameters()
        }
        training.append(self.path, graph, number, updates)


def _relative(before: np.ndarray, after: np.ndarray) -> float:
    """‖change‖ / ‖weight‖, of the entries that are sampled."""
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(after - before) / np.linalg.norm(before))
