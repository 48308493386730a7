"""What is kept of an array that is too large to keep: its size, its range, a few of its numbers."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from gradviz.errors import TraceError

SAMPLE = 256
"""So many numbers are kept, spread over the array; of a smaller array all."""


@lru_cache(maxsize=512)
def places(size: int, count: int = SAMPLE) -> np.ndarray:
    """The positions of `count` entries that stand for an array of `size`, in increasing order.

    One from each of `count` equal stretches, at a place in it that was drawn once: entries at
    equal distances would all lie in one column of an array whose rows are as long. They depend on
    nothing but the size, so that two arrays of one shape are sampled at the same places.
    """
    count = min(size, count)
    ends = np.arange(count + 1) * size // max(count, 1)
    drawn = np.random.RandomState(0).random_sample(count)  # the same for ever
    found = (ends[:-1] + drawn * np.diff(ends)).astype(np.intp)
    found.flags.writeable = False  # it is shared
    return found


@lru_cache(maxsize=1024)
def places_in_memory(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """The same entries of an array that fills a piece of memory, its axes in another order.

    `strides` count entries.
    """
    found = np.zeros(1, np.intp)
    for index, by in zip(np.unravel_index(places(math.prod(shape)), shape), strides, strict=True):
        found = found + index * by
    return found


class Promised:
    """What is not known yet when it is made: `settle` sets its fields, when one is asked for."""

    __slots__ = ("settle",)

    settle: Callable[[], None]

    def __getattr__(self, name: str) -> Any:
        if name not in type(self).__slots__ or not hasattr(self, "settle"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.settle()
        return object.__getattribute__(self, name)


@dataclass(frozen=True, slots=True)
class Statistics(Promised):
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
    sample : numpy.ndarray of floats
        The entries at `places`, the array read row by row; all of a smaller array.
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

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        """Nothing: the array was not kept."""
        raise TraceError(
            "only the statistics of this array were kept; trace with capture='whole' to keep it"
        )

    # (NumPy's functions ask for the array; Python's operators would end in a TypeError.)
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __array__
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __array__
    __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __neg__ = __pos__ = __abs__ = __array__
    __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __array__

    @property
    def size(self) -> int:
        """How many entries."""
        return math.prod(self.shape)

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
    if array.dtype.kind == "c":
        flat = np.abs(flat)
    elif array.dtype.kind != "f":
        flat = flat.astype(float)
    return of_flat(flat, array.shape, str(array.dtype))


def norm(value: Any) -> float:
    """The Euclidean norm of an array, a number or `Statistics`.

    Numbers are scaled where their squares would leave the range of floats: it is 0 only where all
    entries are, and not finite only where one is not.
    """
    if isinstance(value, (float, int)):  # NumPy's float64 too
        return abs(float(value))
    if type(value) is np.ndarray and value.dtype == np.float64:  # of small ones there are many
        flat = value.ravel()
        with np.errstate(over="ignore"):
            square = float(flat.dot(flat))
        if 1e-280 < square < 1e280:
            return math.sqrt(square)
        top = float(np.abs(flat).max(initial=0.0))
        if top < math.inf:
            root = math.sqrt(((flat / top) ** 2).sum()) if top else 0.0
            return min(top * root, sys.float_info.max)
    found = measure(value)
    if found.nonfinite:
        return found.norm
    size = found.norm or found.top
    return min(size, sys.float_info.max) if size == size else 0.0  # of objects, which have none


CHUNK = 2**19
"""So many bytes stay in the processor's cache."""
ROW = 2**12
"""Products of vectors shorter than two such are not given to several threads."""
_products = np.vecdot
_ONES = {kind: np.ones(2 * ROW, kind) for kind in "fd"}
_QUIET = Context()
"""NumPy warns of nothing in a copy of it, as inside of `np.errstate`, which takes longer."""
_QUIET.run(np.seterr, all="ignore")


def of_flat(
    flat: np.ndarray, shape: tuple[int, ...], dtype: str, chosen: np.ndarray | None = None
) -> Statistics:
    """The statistics of a vector of floats, as those of an array of this shape and dtype.

    `chosen` are the places of its sample, where the entries are in another order than the array's.
    All are taken of a piece at a time that stays in the processor's cache: memory is read once.
    """
    return _QUIET.copy().run(_of_flat, flat, shape, dtype, chosen)


def _of_flat(
    flat: np.ndarray, shape: tuple[int, ...], dtype: str, chosen: np.ndarray | None
) -> Statistics:
    size, length = flat.size, CHUNK // flat.itemsize
    low, high, squares, total, zero = _of_piece(flat if size <= length else flat[:length])
    for start in range(length, size, length):
        least, most, square, added, more = _of_piece(flat[start : start + length])
        squares, total, zero = squares + square, total + added, zero + more
        if low == low and not least >= low:  # a NaN stays
            low = least
        if high == high and not most <= high:
            high = most
    sample = flat[places(size) if chosen is None else chosen]
    if math.isfinite(low) and math.isfinite(high):
        norm, mean, broken = math.sqrt(squares), total / size, 0.0
        if (low or high) and not (1e-150 < norm < math.inf and math.isfinite(mean)):
            wide = np.longdouble(flat)
            norm, mean = float(np.sqrt(np.dot(wide, wide))), float(wide.mean())
    else:
        norm, mean, zero = math.sqrt(squares), total / size, int(np.count_nonzero(flat == 0))
        broken = 1 - int(np.count_nonzero(np.isfinite(flat))) / size
    mean = low if low == high else mean
    return Statistics(shape, dtype, norm, low, mean, high, zero / size, broken, sample)


def _of_piece(piece: np.ndarray) -> tuple[float, float, float, float, int]:
    """The least and the largest entry, the sums of `_sums`, and how many entries are 0."""
    if piece.dtype not in _BITS:
        piece = piece.astype(np.float32 if piece.itemsize < 4 else float)
    least, most = _ends(piece)
    square, added = _sums(piece)
    finite = -math.inf < least and most < math.inf
    if finite and (least or most) and not 1e-25 < square < math.inf:  # beyond float32
        square = _sums(piece.astype(float))[0]
    zero = 0
    if least <= 0 <= most:
        equal = piece == 0
        if equal.item(equal.argmax()):  # most arrays have none
            zero = int(np.count_nonzero(equal))
    return least, most, square, added, zero


_BITS = {np.dtype(kind): (np.dtype(f"i{n}"), np.dtype(f"u{n}")) for kind, n in (("f", 4), ("d", 8))}


def _ends(piece: np.ndarray) -> tuple[float, float]:
    """The least and the largest entry; NaN where one is NaN.

    Bits are compared, as integers, in which a processor is faster. With a sign, the largest are
    those of the largest float that is not negative, else of the least; without, those of the least
    negative float, else of the largest. A NaN lies beyond infinity.
    """
    signs, none = _BITS[piece.dtype]
    signed = piece.view(signs)
    # (What finds where they are takes less to start than what finds them.)
    high, low = signed.argmax(), piece.view(none).argmax()
    most, least = piece.item(high), piece.item(low)
    if most != most or least != least:
        return math.nan, math.nan
    if high == low:  # all of one sign
        other = piece.item(signed.argmin())
        return (other, most) if other <= most else (least, other)
    return least + 0.0, most  # (0, not -0, where there are both)


def _sums(piece: np.ndarray) -> tuple[float, float]:
    """The sum of the squares, and that of the entries."""
    size, ones = piece.size, _ONES[piece.dtype.char]
    if size < 2 * ROW:
        return piece.dot(piece).item(), piece.dot(ones[:size]).item()
    even = size // ROW * ROW
    rows = (piece if even == size else piece[:even]).reshape(-1, ROW)
    square, added = sum(_products(rows, rows).tolist()), sum(_products(rows, ones[:ROW]).tolist())
    if even < size:
        rest = _sums(piece[even:])
        square, added = square + rest[0], added + rest[1]
    return square, added


Numbers = tuple[float, float, float, float, float, float]
"""The fields from `norm` to `nonfinite`."""


def of_many(flat: np.ndarray, sizes: Sequence[int]) -> tuple[list[np.ndarray], list[Numbers]]:
    """The parts of a vector that have these sizes, and the statistics of each, all at once."""
    ends = [0, *itertools.accumulate(sizes)]
    starts = ends[:-1]
    parts = [flat[start:end] for start, end in itertools.pairwise(ends)]
    with np.errstate(all="ignore"):  # memory that nobody wrote to holds NaNs that signal, too
        numbers = flat.astype(float, copy=False)
        lows = np.minimum.reduceat(numbers, starts).tolist()
        highs = np.maximum.reduceat(numbers, starts).tolist()
        sums = np.add.reduceat(numbers, starts).tolist()
        squares = np.add.reduceat(numbers * numbers, starts).tolist()
        zeros = np.add.reduceat(numbers == 0, starts, dtype=np.intp).tolist()
        found = []
        for part, size, low, high, total, square, zero in zip(
            parts, sizes, lows, highs, sums, squares, zeros, strict=True
        ):
            if (low or high) and not 1e-280 < square < math.inf:
                one = of_flat(part, part.shape, part.dtype.name)
                found.append((one.norm, one.low, one.mean, one.high, one.zeros, one.nonfinite))
            else:
                mean = low if low == high else total / size
                found.append((math.sqrt(square), low, mean, high, zero / size, 0.0))
    return parts, found


def zeros(shape: tuple[int, ...], dtype: str) -> Statistics:
    """The statistics of an array of zeros."""
    size = math.prod(shape)
    return Statistics(shape, dtype, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, np.zeros(min(size, SAMPLE)))
