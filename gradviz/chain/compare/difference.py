"""How far two arrays are apart."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gradviz.statistics import Statistics, measure, norm


class Difference(NamedTuple):
    r"""How far two arrays are apart.

    Attributes
    ----------
    relative : float
        ‖a - b‖ / max(‖a‖, ‖b‖), infinite where only one is NaN or infinite, or shapes differ. Where
        only statistics are kept, what these say of it: at least so much by norm, minimum, mean and
        maximum, or about so much by the sample.
    largest : float
        The largest \|a - b\| of one entry that is known.
    tolerance : float
        What roundings explain of `relative`.
    """

    relative: float
    largest: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the two agree."""
        return self.relative <= self.tolerance


def difference(a: Any, b: Any) -> tuple[float, float]:
    """``relative`` and ``largest`` of a `Difference`; None is an array of zeros."""
    if a is None or b is None:
        top = measure(b if a is None else a).top
        return (float(top != 0), top) if top < math.inf else (math.inf, math.inf)
    if type(a) in SCALARS and type(b) in SCALARS:
        a, b = float(a), float(b)
        if a == b or (a != a and b != b):
            return 0.0, 0.0
        apart = abs(a - b)
        return (apart / max(abs(a), abs(b)), apart) if apart < math.inf else (math.inf, math.inf)
    if np.shape(a) != np.shape(b):
        return math.inf, math.inf
    if isinstance(a, Statistics) or isinstance(b, Statistics):
        return _of_statistics(a, b)
    return _of_arrays(np.asarray(a), np.asarray(b))


SCALARS = frozenset((float, np.float64, np.float32, np.float16))


def _of_arrays(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    if np.array_equal(a, b):
        return 0.0, 0.0
    if a.dtype.kind not in "biufc" or b.dtype.kind not in "biufc":
        return math.inf, math.inf
    wide = np.result_type(a, b, np.float64)
    x, y = a.astype(wide), b.astype(wide)
    with np.errstate(all="ignore"):
        alike = (x == y) | ((x != x) & (y != y))
        apart = np.abs(np.where(alike, 0, x - y))
        largest = float(np.max(apart))  # NaN where one entry is
        if not largest < math.inf:
            return math.inf, math.inf
        # (Divided by the largest, no square overflows or vanishes.)
        top = max(float(np.max(np.abs(z[np.isfinite(z)]), initial=0.0)) for z in (x, y))
        norms = [norm(z[np.isfinite(z)] / top) for z in (x, y)] if top else [0.0]
        return norm(apart / top) / max(norms) if top else 0.0, largest


def _of_statistics(a: Any, b: Any) -> tuple[float, float]:
    """What statistics say of the relative error e = ‖a - b‖ / max(‖a‖, ‖b‖).

    Norms differ by at most ‖a - b‖, so do minima and maxima, and means by at most ‖a - b‖ / √n:
    e is at least what follows from these. Samples of one shape are of the same entries, and their
    mean square error is about that of the whole.
    """
    a, b = measure(a), measure(b)
    apart, largest = 0.0, 0.0
    if a.sample.shape == b.sample.shape and a.sample.size:
        apart, largest = _of_arrays(a.sample, b.sample)
    if a.nonfinite or b.nonfinite:
        return (apart, largest) if a.nonfinite == b.nonfinite else (math.inf, math.inf)
    scale = max(a.norm, b.norm)
    if not scale:
        return 0.0, 0.0
    largest = max(largest, abs(a.low - b.low), abs(a.high - b.high))
    least = max(abs(a.norm - b.norm), largest, abs(a.mean - b.mean) * a.size**0.5) / scale
    if apart:  # relative to all entries: those of the sample may happen to be small
        samples = max(float(np.sqrt(np.mean(np.square(x.sample, dtype=float)))) for x in (a, b))
        apart *= samples / (scale / a.size**0.5)
    return max(least, apart), largest
