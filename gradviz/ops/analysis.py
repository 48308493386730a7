"""More compositions: statistics, interpolation, polynomials, loops, and the rest of `numpy.fft`.

As in `gradviz.ops.composed`: NumPy functions written in functions that have rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.arrays import conjugated, scatter
from gradviz.ops.composed import COMPOSED, stands_for


def plain(a: Any) -> Any:
    """The numbers of a recorded array, for what has no derivative: an order, an index, a mask."""
    return np.asarray(getattr(a, "value", a))


# --- statistics ----------------------------------------------------------------------------------


@stands_for("quantile")
def _quantile(
    a: Any, q: Any, axis: Any = None, out: None = None, overwrite_input: bool = False,
    method: str = "linear", keepdims: bool = False, *, weights: None = None,
) -> Any:  # fmt: skip
    methods = ("linear", "lower", "higher", "midpoint", "nearest")
    if method not in methods or weights is not None or hasattr(q, "operands"):
        return NotImplemented
    if not np.size(a) or np.isnan(a).any():
        return NotImplemented
    rank = np.ndim(a)
    along = tuple(i % rank for i in (range(rank) if axis is None else np.atleast_1d(axis)))
    kept = [i for i in range(rank) if i not in along]
    shape = [np.shape(a)[i] for i in kept]
    rows = np.sort(np.reshape(np.transpose(a, [*kept, *along]), [*shape, -1]), axis=-1)
    at = np.asarray(q, dtype=float) * (np.shape(rows)[-1] - 1)
    if method == "nearest":
        at = np.round(at)
    low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
    share = {"lower": 0.0, "higher": 1.0, "midpoint": 0.5 * (high > low)}.get(method, at - low)
    dtype = rows.dtype if isinstance(q, (int, float)) else np.result_type(rows.dtype, np.asarray(q))
    share = np.asarray(share, dtype)
    result = rows[..., low] * (1 - share) + rows[..., high] * share
    order = [*range(len(kept), len(kept) + at.ndim), *range(len(kept))]
    result = np.transpose(result, order)  # the axes of q come first
    if keepdims:
        result = np.expand_dims(result, tuple(at.ndim + i for i in along))
    return result


@stands_for("percentile")
def _percentile(a: Any, q: Any, *args: Any, **keywords: Any) -> Any:
    if hasattr(q, "operands"):
        return NotImplemented
    part = q / 100 if isinstance(q, (int, float)) else np.asarray(q) / 100
    return _quantile(a, part, *args, **keywords)


@stands_for("median")
def _median(
    a: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Any:
    return _quantile(a, 0.5, axis, keepdims=keepdims)


def _without_nan(function: Callable[..., Any]) -> Callable[..., Any]:
    def on_the_others(a: Any, *args: Any, axis: Any = None, **keywords: Any) -> Any:
        if not np.isnan(a).any():
            return function(a, *args, axis=axis, **keywords)
        if np.ndim(axis) or keywords.get("keepdims") or np.isnan(a).all(axis=axis).any():
            return NotImplemented
        if axis is None:
            return function(a[~np.isnan(a)], *args, **keywords)
        found = _along(lambda row: function(row[~np.isnan(row)], *args, **keywords), axis, a)
        extra = range(np.ndim(found) - np.ndim(a) + 1)  # the axes of q come first
        return np.moveaxis(found, [axis % np.ndim(a) + i for i in extra], list(extra))

    return on_the_others


for _name, _function in {
    "nanmedian": _median, "nanquantile": _quantile, "nanpercentile": _percentile
}.items():  # fmt: skip
    stands_for(_name)(_without_nan(_function))


def _nan_as(value: float, function: Callable[..., Any]) -> Callable[..., Any]:
    def on_filled(a: Any, axis: Any = None, *args: Any, **keywords: Any) -> Any:
        if value and np.isinf(value) and np.isnan(a).all(axis=axis).any():
            return NotImplemented
        return function(
            np.where(np.isnan(a), np.asarray(value, a.dtype), a), axis, *args, **keywords
        )

    return on_filled


for _name, _value, _function in (
    ("nanmax", -np.inf, np.max), ("nanmin", np.inf, np.min), ("nanprod", 1, np.prod),
    ("nancumsum", 0, np.cumsum), ("nancumprod", 1, np.cumprod),
):  # fmt: skip
    stands_for(_name)(_nan_as(_value, _function))


def _of_the_others(function: Callable[..., Any]) -> Callable[..., Any]:
    """The variance or standard deviation of what is a number."""

    def on_numbers(
        a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0,
        keepdims: Any = False, **keywords: Any,
    ) -> Any:  # fmt: skip
        there = ~np.isnan(a)
        filled = np.where(there, a, np.zeros((), a.dtype))
        return function(filled, axis, dtype, ddof=ddof, keepdims=keepdims, where=there, **keywords)

    return on_numbers


stands_for("nanvar")(_of_the_others(np.var))
stands_for("nanstd")(_of_the_others(np.std))


@stands_for("cov")
def _cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None,
    fweights: None = None, aweights: None = None, *, dtype: None = None,
) -> Any:  # fmt: skip
    if fweights is not None or aweights is not None or dtype is not None:
        return NotImplemented

    def rows(x: Any) -> Any:
        x = np.atleast_2d(x).astype(np.result_type(x.dtype, float))
        return x if rowvar or (np.shape(x)[0] == 1 and np.ndim(x) < 3) else x.T

    x = rows(m)
    if y is not None:
        x = np.concatenate([x, rows(y)], axis=0)
    x = x - np.mean(x, axis=1, keepdims=True)
    count = np.shape(x)[1] - (ddof if ddof is not None else 0 if bias else 1)
    return np.squeeze(x @ conjugated(x.T) / count)


@stands_for("corrcoef")
def _corrcoef(x: Any, y: Any = None, rowvar: bool = True, **keywords: Any) -> Any:
    if keywords or x.dtype.kind == "c":
        return NotImplemented
    c = _cov(x, y, rowvar)
    if np.ndim(c) == 0:
        return c / c
    spread = np.sqrt(np.diagonal(c))
    return np.clip(c / spread[:, None] / spread, -1, 1)


# --- interpolation and differences ---------------------------------------------------------------


@stands_for("interp")
def _interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: None = None
) -> Any:
    if period is not None or np.size(xp) < 2:
        return NotImplemented
    xp, fp = (np.asarray(a) if isinstance(a, (list, tuple)) else a for a in (xp, fp))
    x = np.asarray(x) if isinstance(x, (list, tuple)) else x
    x, xp, fp = (a.astype(float) if hasattr(a, "astype") else float(a) for a in (x, xp, fp))
    where, points = plain(x), plain(xp)
    i = np.clip(np.searchsorted(points, where, side="right") - 1, 0, points.size - 2)
    low, high = xp[i], xp[i + 1]
    inside = fp[i] + (fp[i + 1] - fp[i]) * ((x - low) / (high - low))
    inside = np.where(where == points[-1], fp[-1] + 0 * inside, inside)
    inside = np.where(where < points[0], fp[0] if left is None else left, inside)
    return np.where(where > points[-1], fp[-1] if right is None else right, inside)


@stands_for("unwrap")
def _unwrap(p: Any, *args: Any, **keywords: Any) -> Any:
    if any(hasattr(a, "operands") for a in (*args, *keywords.values())):
        return NotImplemented
    return p + (np.unwrap(plain(p), *args, **keywords) - plain(p))  # whole turns: constants


@stands_for("ediff1d")
def _ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    flat = np.ravel(ary)
    ends = [None if end is None else np.ravel(end) for end in (to_begin, to_end)]
    parts = [p for p in (ends[0], flat[1:] - flat[:-1], ends[1]) if p is not None]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


# --- elements ------------------------------------------------------------------------------------


@stands_for("insert")
def _insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    if isinstance(values, (list, tuple)):
        values = np.asarray(values)
    size, extra = int(np.size(arr)), int(np.size(values))
    numbers = np.arange(size).reshape(np.shape(arr))
    others = np.arange(size, size + extra).reshape(np.shape(values))
    source = np.insert(numbers, obj, others, axis)
    return np.take(np.concatenate([np.ravel(arr), np.ravel(values).astype(arr.dtype)]), source)


@stands_for("unique_values")
def _unique_values(x: Any, /) -> Any:
    return _unique(x)


@stands_for("unique")
def _unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
    axis: None = None, **keywords: Any,
) -> Any:  # fmt: skip
    if axis is not None or keywords.get("sorted", True) is not True:
        return NotImplemented
    unique: Any = np.unique
    _, index, *rest = unique(plain(ar), True, return_inverse, return_counts, **keywords)
    found = np.ravel(ar)[index]
    if not (return_index or return_inverse or return_counts):
        return found
    return (found, *([index] if return_index else []), *rest)


@stands_for("trim_zeros")
def _trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    if np.ndim(filt) != 1:
        return NotImplemented
    nonzero = np.flatnonzero(plain(filt))
    if not nonzero.size:
        return filt[:0]
    front = nonzero[0] if "f" in trim.lower() else 0
    return filt[front : nonzero[-1] + 1 if "b" in trim.lower() else None]


@stands_for("bincount")
def _bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    index = np.asarray(x)
    size = max(int(index.max(initial=-1)) + 1, minlength)
    return scatter(weights.astype(float), (size,), index)


@stands_for("choose")
def _choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    index, count = np.asarray(a), len(choices)
    if mode == "wrap":
        index = index % count
    elif mode == "clip":
        index = np.clip(index, 0, count - 1)
    elif ((index < 0) | (index >= count)).any():
        raise ValueError("invalid entry in choice array")
    result = choices[0]
    for k in range(1, count):
        result = np.where(index == k, choices[k], result)
    return np.broadcast_to(result, np.broadcast_shapes(index.shape, *map(np.shape, choices)))


@stands_for("piecewise")
def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    conditions = np.asarray(condlist, dtype=bool)
    if conditions.ndim == np.ndim(x):
        conditions = conditions[None]
    if len(funclist) == len(conditions) + 1:
        conditions = np.concatenate([conditions, ~conditions.any(0, keepdims=True)])
    result: Any = np.zeros(np.shape(x), x.dtype)
    for condition, function in zip(conditions, funclist, strict=True):
        part = function
        if callable(function):
            if not condition.any():
                continue
            part = function(x[condition], *args, **kw)
            if np.ndim(part):
                part = scatter(part, np.shape(x), condition)
        result = np.where(condition, part, result)
    return result.astype(x.dtype)


@stands_for("ldexp")
def _ldexp(x: Any, i: Any) -> Any:
    return x * np.ldexp(np.ones_like(plain(x)), i)


@stands_for("frexp")
def _frexp(x: Any) -> Any:
    exponents = np.frexp(plain(x))[1]
    return x * np.ldexp(np.ones_like(plain(x)), -exponents), exponents[()]


@stands_for("angle")
def _angle(z: Any, deg: bool = False) -> Any:
    turned = np.arctan2(np.imag(z), np.real(z))
    return np.degrees(turned) if deg else turned


@stands_for("real_if_close")
def _real_if_close(a: Any, tol: float = 100) -> Any:
    if a.dtype.kind == "c" and np.iscomplexobj(np.real_if_close(plain(a), tol)):
        return a
    return np.real(a)


# --- loops ---------------------------------------------------------------------------------------


@stands_for("apply_along_axis")
def _along(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    moved = np.moveaxis(arr, axis, -1)
    shape = np.shape(moved)[:-1]
    results = [func1d(moved[index], *args, **kwargs) for index in np.ndindex(shape)]
    if not results:
        return NotImplemented
    stacked = np.stack([r if hasattr(r, "dtype") else np.asarray(r) for r in results])
    inner = np.shape(stacked)[1:]
    stacked = np.reshape(stacked, shape + inner)
    ends = range(-len(inner), 0)
    return np.moveaxis(stacked, list(ends), [axis % np.ndim(arr) + k for k in range(len(inner))])


@stands_for("apply_over_axes")
def _over(func: Any, a: Any, axes: Any) -> Any:
    for axis in np.atleast_1d(axes):
        result = func(a, axis)
        a = result if np.ndim(result) == np.ndim(a) else np.expand_dims(result, axis)
    return a


def _rows(array: Any, axis: int) -> list[Any]:
    moved = np.moveaxis(array, axis, 0)
    return [moved[i] for i in range(np.shape(moved)[0])]


def reduce(ufunc: Any, array: Any, axis: Any = 0, *args: Any, **keywords: Any) -> Any:
    """`ufunc.reduce`, one element after the other."""
    if args or any(v is not None for k, v in keywords.items() if k != "keepdims"):
        return NotImplemented
    if np.ndim(array) != 1 and not isinstance(axis, int):
        return NotImplemented
    axis = 0 if axis is None else axis
    result, *rest = _rows(array, axis)
    for row in rest:
        result = ufunc(result, row)
    return np.expand_dims(result, axis) if keywords.get("keepdims") else result


def accumulate(ufunc: Any, array: Any, axis: int = 0, dtype: None = None, out: None = None) -> Any:
    """`ufunc.accumulate`, one element after the other."""
    if dtype is not None:
        return NotImplemented
    results: list[Any] = []
    for row in _rows(array, axis):
        results.append(ufunc(results[-1], row) if results else row)
    return np.stack(results, axis=axis)


def reduceat(
    ufunc: Any, array: Any, indices: Any, axis: int = 0, dtype: None = None, out: None = None
) -> Any:
    """`ufunc.reduceat`: the reduction of each part."""
    if dtype is not None:
        return NotImplemented
    moved = np.moveaxis(array, axis, 0)
    starts = np.asarray(indices).tolist()
    ends = [*starts[1:], np.shape(moved)[0]]
    parts = [
        ufunc.reduce(moved[i:j], axis=0) if i < j else moved[i]
        for i, j in zip(starts, ends, strict=True)
    ]
    return np.stack(parts, axis=axis)


# --- polynomials ---------------------------------------------------------------------------------


@stands_for("roots")
def _roots(p: Any) -> Any:
    nonzero = np.flatnonzero(plain(p))
    if np.ndim(p) != 1 or not nonzero.size or nonzero[-1] != np.size(p) - 1:
        return NotImplemented
    p = p[nonzero[0] :]
    if len(p) < 2:
        return NotImplemented
    return np.linalg.eigvals(
        np.concatenate([-p[None, 1:] / p[0], np.eye(len(p) - 2, len(p) - 1, dtype=p.dtype)], axis=0)
    )


@stands_for("vander")
def _vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    powers = np.arange(np.shape(x)[0] if N is None else N)
    return x[:, None] ** (powers if increasing else powers[::-1])


@stands_for("poly")
def _poly(seq_of_zeros: Any) -> Any:
    if np.ndim(seq_of_zeros) != 1:
        return NotImplemented
    result: Any = np.ones(1, seq_of_zeros.dtype)
    none = np.zeros(1, seq_of_zeros.dtype)
    for zero in seq_of_zeros:
        result = np.concatenate([result, none]) - zero * np.concatenate([none, result])
    return result


def _trimmed(p: Any) -> Any:
    """Coefficients without leading zeros, as `numpy.poly1d` keeps them."""
    p = np.atleast_1d(p)
    nonzero = np.flatnonzero(plain(p))
    return p[nonzero[0] if nonzero.size else -1 :]


def _added(sign: int) -> Callable[..., Any]:
    def add(a1: Any, a2: Any) -> Any:
        a1, a2 = np.atleast_1d(a1), np.atleast_1d(a2)
        missing = len(a1) - len(a2)
        return np.pad(a1, (max(-missing, 0), 0)) + sign * np.pad(a2, (max(missing, 0), 0))

    return add


stands_for("polyadd")(_added(1))
stands_for("polysub")(_added(-1))


@stands_for("polymul")
def _polymul(a1: Any, a2: Any) -> Any:
    return np.convolve(_trimmed(a1), _trimmed(a2))


@stands_for("polyder")
def _polyder(p: Any, m: int = 1) -> Any:
    for _ in range(m):
        p = p[:-1] * np.arange(len(p) - 1, 0, -1)
    return p


@stands_for("polyint")
def _polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    constants: Any = np.zeros(m) if k is None else np.asarray(k)
    if np.size(constants) == 1:
        constants = np.resize(constants, m)
    for constant in constants:
        p = np.concatenate([p / np.arange(len(p), 0, -1), constant[None]])
    return p


@stands_for("polyfit")
def _polyfit(
    x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    if full or cov or np.ndim(deg):
        return NotImplemented
    x, y = x + 0.0, y + 0.0
    rcond = len(x) * np.finfo(x.dtype).eps if rcond is None else rcond
    left = _vander(x, deg + 1)
    if w is not None:
        left = left * w[:, None]
        y = (y.T * w).T
    scale = np.sqrt(np.sum(left * left, axis=0))
    return (_lstsq(left / scale, y, rcond)[0].T / scale).T


# --- linear algebra ------------------------------------------------------------------------------


@stands_for("linalg.lstsq")
def _lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    values = np.linalg.lstsq(plain(a), plain(b), rcond)
    rows, columns = np.shape(a)
    if rcond is None:
        rcond = np.finfo(plain(a).dtype).eps * max(rows, columns)
    solution = np.linalg.pinv(a, max(float(rcond), 0.0)) @ b
    rest = values[1]
    if np.size(rest):
        rest = np.sum(abs(b - a @ solution) ** 2, axis=0, keepdims=np.ndim(b) == 1)
    return solution, rest, values[2], np.linalg.svd(a, compute_uv=False)


@stands_for("linalg.cond")
def _cond(x: Any, p: Any = None) -> Any:
    if p in (None, 2, -2):
        s = np.linalg.svd(x, compute_uv=False)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return np.linalg.norm(x, p, (-2, -1)) * np.linalg.norm(np.linalg.inv(x), p, (-2, -1))


@stands_for("linalg.tensorinv")
def _tensorinv(a: Any, ind: int = 2) -> Any:
    shape = np.shape(a)
    size = int(np.prod(shape[ind:]))
    return np.reshape(np.linalg.inv(np.reshape(a, (size, -1))), (*shape[ind:], *shape[:ind]))


@stands_for("linalg.tensorsolve")
def _tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    if axes is not None:
        moved = [i for i in range(np.ndim(a)) if i not in axes] + list(axes)
        a = np.transpose(a, moved)
    size = int(np.size(b))
    solution = np.linalg.solve(np.reshape(a, (size, -1)), np.ravel(b))
    return np.reshape(solution, np.shape(a)[np.ndim(b) :])


@stands_for("correlate")
def _correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    v = np.asarray(v) if isinstance(v, (list, tuple)) else v
    a = np.asarray(a) if isinstance(a, (list, tuple)) else a
    if mode != "full" and np.size(v) > np.size(a):
        return np.flip(conjugated(_correlate(v, a, mode)))
    return np.convolve(a, conjugated(np.flip(v)), mode)  # type: ignore[call-overload]


# --- spaced numbers ------------------------------------------------------------------------------


@stands_for("logspace")
def _logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0,
    dtype: Any = None, axis: int = 0,
) -> Any:  # fmt: skip
    if np.ndim(base):
        return NotImplemented
    powers = np.power(base, np.linspace(start, stop, num, endpoint, axis=axis))
    return powers if dtype is None else powers.astype(dtype)


@stands_for("geomspace")
def _geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    if not (np.all(plain(start) > 0) and np.all(plain(stop) > 0)):
        return NotImplemented
    dtype = dtype or np.result_type(plain(start), plain(stop), float)
    return np.exp(np.linspace(np.log(start), np.log(stop), num, endpoint, axis=axis)).astype(dtype)


# --- transforms ----------------------------------------------------------------------------------

_SWAPPED: dict[Any, Any] = {
    None: "forward",
    "backward": "forward",
    "ortho": "ortho",
    "forward": "backward",
}


@stands_for("fft.hfft")
def _hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    return np.fft.irfft(np.conjugate(a), n, axis, _SWAPPED[norm])


@stands_for("fft.ihfft")
def _ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    return np.conjugate(np.fft.rfft(a, n, axis, _SWAPPED[norm]))


def _over_axes(a: Any, s: Any, axes: Any) -> tuple[list[Any], list[int]]:
    if axes is None:
        axes = range(np.ndim(a)) if s is None else range(-len(s), 0)
    return list(s) if s is not None else [None] * len(axes), list(axes)


def _rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Any:
    sizes, along = _over_axes(a, s, axes)
    a = np.fft.rfft(a, sizes[-1], along[-1], norm)
    for size, axis in zip(reversed(sizes[:-1]), reversed(along[:-1]), strict=True):
        a = np.fft.fft(a, size, axis, norm)
    return a


def _irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Any:
    sizes, along = _over_axes(a, s, axes)
    for size, axis in zip(sizes[:-1], along[:-1], strict=True):
        a = np.fft.ifft(a, size, axis, norm)
    return np.fft.irfft(a, sizes[-1], along[-1], norm)


stands_for("fft.rfftn")(_rfftn)
stands_for("fft.irfftn")(_irfftn)
stands_for("fft.rfft2")(
    lambda a, s=None, axes=(-2, -1), norm=None, out=None: _rfftn(a, s, axes, norm)
)
stands_for("fft.irfft2")(
    lambda a, s=None, axes=(-2, -1), norm=None, out=None: _irfftn(a, s, axes, norm)
)


def _shifted(sign: int) -> Callable[..., Any]:
    def shift(x: Any, axes: Any = None) -> Any:
        along = list(range(np.ndim(x))) if axes is None else np.atleast_1d(axes).tolist()
        half = [sign * (np.shape(x)[i] // 2) for i in along]
        if sign < 0:
            half = [-(np.shape(x)[i] // 2) for i in along]
        return np.roll(x, tuple(half), tuple(along))

    return shift


stands_for("fft.fftshift")(_shifted(1))
stands_for("fft.ifftshift")(_shifted(-1))

__all__ = ["COMPOSED", "accumulate", "plain", "reduce", "reduceat"]
