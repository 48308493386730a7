"""What a program holds in place of an array."""

from __future__ import annotations

import weakref
from types import FrameType
from typing import Any

import numpy as np

from gradviz.model import Node

NO_KEYWORDS: dict[str, Any] = {}
FROM_PYTHON: dict[str, Any] = {}
"""The keywords of a leaf that came in as a number of Python's own, which is no array of NumPy's."""


class Held(Node):
    """What a program holds as an array: an `Array`, or a `Buffer` that may become one."""

    __slots__ = ("__weakref__", "locked", "past", "pending", "read", "viewed", "views")

    read: dict[tuple[str, Any], int]
    """How its value was read as plain numbers and where, and what number in the order of recording
    was next at the first time; absent where it never was."""
    locked: bool
    """The program must not write into it; absent where it may."""
    past: list[Any]
    """What it was before each time that the program wrote into it; absent where it never did."""
    pending: dict[tuple[int, ...], Any]
    """What waits to be written, by its place; absent where nothing does."""
    views: list[weakref.ref[Any]]
    """The recorded views of its memory; absent where there are none."""
    viewed: Any
    """What this is a view of; absent where it is none."""

    def become(self) -> None:
        """Be an `Array` from now on: a recorded value is about to be written."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError

    # --- what an `Array` does ------------------------------------------------------------------

    def _without_us(self) -> Any:
        """What the program has here when it is not recorded."""
        if self.keywords is FROM_PYTHON:
            return self.value.item()
        return self.value if self._is_scalar() else np.asarray(self.value)

    def _is_scalar(self) -> bool:
        """Whether NumPy has a scalar here; a 0-d array can be written to."""
        if np.ndim(self.value):
            return False
        return not (hasattr(self, "viewed") or hasattr(self, "views"))

    def _applied(
        self, operation: Any, operands: Any, frame: FrameType | None, keywords: Any = None
    ) -> Any:
        """What an operation makes of this and others, recorded."""
        raise NotImplementedError

    def _copied(self, frame: FrameType) -> Any:
        """An array of its own, also without axes."""
        raise NotImplementedError

    def astype(self, dtype: Any, order: Any = "K") -> Any:
        """See `numpy.ndarray.astype`."""
        raise NotImplementedError

    def _write(self, index: Any, value: Any, frame: FrameType) -> None:
        """``self[index] = value``."""
        raise NotImplementedError

    def _overwrite(self, result: Any, frame: FrameType) -> Any:
        """Write a result into the array as a whole: ``self[...] = result``."""
        raise NotImplementedError
