"""Statistics of arrays that JAX may still be computing.

JAX computes while Python goes on. What is to be measured waits until the next compiled code has
been started: one is measured while the next is computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from gradviz.record.jax.keep import (
    is_key,
    name_of,
    rearranged,
    spread_statistics,
    stacked_statistics,
    statistics,
)
from gradviz.statistics import Statistics

_FIELDS = tuple(field.name for field in fields(Statistics))
_put = object.__setattr__  # (they are frozen for everybody else)
Waiting = tuple[Statistics, Callable[[], Statistics]]


class Measuring:
    """Takes statistics; whoever asks for a number of them has it then."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._earlier = 0

    def started(self) -> None:
        """Compiled code has been started: measure what was computed before the last."""
        while self._earlier:
            self._next()
        self._earlier = len(self._waiting)

    def settle(self) -> None:
        """Measure all that waits."""
        while self._waiting:
            self._next()

    def statistics(self, value: Any, like: Statistics | None = None) -> Statistics:
        """The statistics of an array; `like`: of one with its numbers in another order or shape."""
        if isinstance(value, Statistics) or is_key(value.dtype):
            return statistics(value)
        make = partial(statistics, value) if like is None else partial(rearranged, like, value)
        return self._promised(value.shape, name_of(value.dtype), make)

    def spread(self, row: Any, found: Statistics, i: int, shape: tuple[int, ...]) -> Statistics:
        """Those of zeros but for a row, of which they are known."""
        return self._promised(shape, found.dtype, partial(spread_statistics, row, found, i, shape))

    def stacked(self, rows: Sequence[Any], found: Sequence[Statistics]) -> Statistics:
        """Those of rows that make one array, of which they are known."""
        shape = (len(rows), *found[0].shape)
        return self._promised(shape, found[0].dtype, partial(stacked_statistics, rows, found))

    def _promised(
        self, shape: tuple[int, ...], dtype: str, make: Callable[[], Statistics]
    ) -> Statistics:
        found = Statistics.__new__(Statistics)
        _put(found, "settle", self.settle)
        _put(found, "shape", tuple(shape))
        _put(found, "dtype", dtype)
        self._waiting.append((found, make))
        return found

    def _next(self) -> None:
        found, make = self._waiting.popleft()
        self._earlier = max(0, self._earlier - 1)
        made = make()
        for name in _FIELDS:
            _put(found, name, getattr(made, name))
