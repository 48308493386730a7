"""What is kept of an array that is too large to keep: its size, its range, a few of its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

SAMPLE = 256
"""So many numbers are kept, evenly spaced; of a smaller array all."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """An array by its statistics.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        Its name, such as "float32" or "bfloat16".
    norm, low, mean, high : float
        Euclidean norm, minimum, mean and maximum (of complex entries: of their absolute values);
        NaN where one entry is NaN.
    zeros, nonfinite : float
        The share of entries that are exactly 0, and of those that are NaN or infinite.
    sample : numpy.ndarray of float64
        At most `SAMPLE` entries, evenly spaced in memory order; all of a smaller array.
    """

    shape: tuple[int, ...]
    dtype: str
    norm: float
    low: float
    mean: float
    high: float
    zeros: float
    nonfinite: float
    sample: np.ndarray = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        """How many entries."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    @property
    def top(self) -> float:
        """The largest absolute value; NaN where one entry is NaN."""
        return float(max(abs(self.low), abs(self.high), key=lambda x: (x != x, x)))

    @property
    def tiny(self) -> float:
        """The smallest number of the dtype that has all its digits."""
        names = {"bfloat16": "float32"}  # of the same range
        return float(np.finfo(names.get(self.dtype, self.dtype)).tiny)

    @property
    def rms(self) -> float:
        """The root of the mean square: the norm, made comparable between sizes."""
        return float(self.norm / max(self.size, 1) ** 0.5)

    def histogram(self, bins: int = 16) -> tuple[np.ndarray, np.ndarray]:
        """Counts and the edges of their bins, from the finite numbers of the sample."""
        return np.histogram(self.sample[np.isfinite(self.sample)], bins)


def measure(value: Any) -> Statistics:
    """The statistics of an array or a number; `Statistics` as they are."""
    if isinstance(value, Statistics):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biufc" or not array.size:
        nothing = 0.0 if not array.size else np.nan
        sample = np.empty(0)
        return Statistics(
            array.shape, str(array.dtype), nothing, nothing, nothing, nothing, 0.0, 0.0, sample
        )
    flat = np.ravel(array)
    real = np.abs(flat) if array.dtype.kind == "c" else flat
    with np.errstate(all="ignore"):
        wide = real.astype(float, copy=False)
        finite = np.count_nonzero(np.isfinite(wide))
        return Statistics(
            array.shape,
            str(array.dtype),
            float(np.linalg.norm(wide)),
            float(wide.min()),
            float(wide.mean()),
            float(wide.max()),
            1 - np.count_nonzero(flat) / flat.size,
            1 - finite / flat.size,
            wide[:: -(-flat.size // SAMPLE)].copy(),
        )


def zeros(shape: tuple[int, ...], dtype: str) -> Statistics:
    """The statistics of an array of zeros."""
    size = int(np.prod(shape, dtype=np.int64))
    return Statistics(
        shape, dtype, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, np.zeros(min(size, SAMPLE))
    )
