"""What samples the steps of a training loop into a file, whatever library it is of."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Self


class Sampler:
    """Samples every n-th step; see `gradviz.record_training`."""

    def __init__(self, path: str | os.PathLike[str], every: int) -> None:
        if type(every) is not int or every < 1:
            raise ValueError(f"every={every!r}: write a whole number of steps, 1 or more")
        self.path, self.every = Path(path).absolute(), every
        self.count = 0
        self._said: set[str] = set()
        with open(self.path, "wb"):  # refused now, not after the first step
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def _warn(self, text: str, kind: str, stacklevel: int) -> None:
        """Warn of each kind of trouble once, at the line that takes the step."""
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(text, RuntimeWarning, stacklevel)
