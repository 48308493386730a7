"""More compositions: statistics, interpolation, polynomials, loops, and the rest of `numpy.fft`.

As in `gradviz.ops.composed`: NumPy functions written in functions that have rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.arrays import conjugated, scatter
from gradviz.ops.composed import COMPOSED, stands_for
from gradviz.ops.operation import PYTHONS


def plain(a: Any) -> Any:
    """The numbers of a recorded array, for what has no derivative: an order, an index, a mask."""
    return np.asarray(getattr(a, "value", a))


# --- statistics ----------------------------------------------------------------------------------


# By method alpha and beta of Hyndman and Fan, "Sample quantiles in statistical packages" (1996).
_SAMPLES = {
    "linear": (1, 1), "interpolated_inverted_cdf": (0, 1), "hazen": (1 / 2, 1 / 2),
    "weibull": (0, 0), "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}  # fmt: skip


@stands_for("quantile")
def _quantile(
    a: Any, q: Any, axis: Any = None, out: None = None, overwrite_input: bool = False,
    method: str = "linear", keepdims: bool = False, *, weights: None = None,
) -> Any:  # fmt: skip
    if method not in (*_SAMPLES, "lower", "higher", "midpoint", "nearest") or weights is not None:
        return NotImplemented
    a = a if hasattr(a, "dtype") else np.asarray(a)
    if not np.size(a) or np.isnan(a).any():
        return NotImplemented
    rank = np.ndim(a)
    along = tuple(i % rank for i in (range(rank) if axis is None else np.atleast_1d(axis)))
    kept = [i for i in range(rank) if i not in along]
    shape = [np.shape(a)[i] for i in kept]
    rows = np.sort(np.reshape(np.transpose(a, [*kept, *along]), [*shape, -1]), axis=-1)
    count = np.shape(rows)[-1]
    dtype = rows.dtype if type(q) in PYTHONS else np.result_type(rows.dtype, plain(q))
    alpha, beta = _SAMPLES.get(method, (1, 1))
    q = q if hasattr(q, "operands") else np.asarray(q, dtype=float)
    at = q * (count - 1) if alpha == beta == 1 else count * q + (alpha - 1 + q * (1 - alpha - beta))
    at = np.clip(at, 0, count - 1)
    if method == "nearest":
        at = np.round(at)
    low, high = (step(plain(at)).astype(int) for step in (np.floor, np.ceil))
    steps = {"lower": 0.0, "higher": 1.0, "midpoint": 0.5 * (high > low)}
    share = np.asarray(steps[method], dtype) if method in steps else (at - low).astype(dtype)
    result = rows[..., low] * (1 - share) + rows[..., high] * share
    order = [*range(len(kept), len(kept) + low.ndim), *range(len(kept))]
    result = np.transpose(result, order)  # the axes of q come first
    if keepdims:
        result = np.expand_dims(result, tuple(low.ndim + i for i in along))
    return result


@stands_for("percentile")
def _percentile(a: Any, q: Any, *args: Any, **keywords: Any) -> Any:
    part = q / 100 if hasattr(q, "operands") or isinstance(q, (int, float)) else np.asarray(q) / 100
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
        if np.any(np.sum(there, axis) <= plain(ddof)):
            return NotImplemented
        filled = np.where(there, a, np.zeros((), a.dtype))
        return function(filled, axis, dtype, ddof=ddof, keepdims=keepdims, where=there, **keywords)

    return on_numbers


stands_for("nanvar")(_of_the_others(np.var))
stands_for("nanstd")(_of_the_others(np.std))


_ONE_ROW_IS_TURNED = np.lib.NumpyVersion(np.__version__) >= "2.2.0"


@stands_for("cov")
def _cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None,
    fweights: Any = None, aweights: Any = None, *, dtype: Any = None,
) -> Any:  # fmt: skip
    given = (m,) if y is None else (m, y)
    dtype = dtype or np.result_type(*map(plain, given), float)

    rows = []
    for part in given:
        row = np.atleast_2d(part).astype(dtype)
        single = np.ndim(part) == 1 if part is m and _ONE_ROW_IS_TURNED else np.shape(row)[0] == 1
        rows.append(row if rowvar or single else row.T)
    x = np.concatenate(rows, axis=0)
    ddof = ddof if ddof is not None else 0 if bias else 1
    weights = [np.asarray(w) if isinstance(w, (list, tuple)) else w for w in (fweights, aweights)]
    weights = [w for w in weights if w is not None]
    if not weights:
        if np.shape(x)[1] <= ddof:
            return NotImplemented
        x = x - np.mean(x, axis=1, keepdims=True)
        return np.squeeze(x @ conjugated(x.T) / (np.shape(x)[1] - ddof))
    w = weights[0] * 1.0 if len(weights) == 1 else weights[0] * weights[1]
    total = np.sum(w)
    if plain(total) == 0:
        return NotImplemented
    lost = ddof if aweights is None else ddof * np.sum(w * weights[-1]) / total
    if plain(total) <= plain(lost):
        return NotImplemented
    x = x - np.sum(x * w, axis=1, keepdims=True) / total
    return np.squeeze(x @ conjugated((x * w).T) / (total - lost))


@stands_for("corrcoef")
def _corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = _cov(x, y, rowvar, dtype=dtype)
    if c is NotImplemented:
        return c
    if np.ndim(c) == 0:
        return c / c
    spread = np.sqrt(np.real(np.diagonal(c)))
    c = c / spread[:, None] / spread
    parts = [np.clip(part(c), -1, 1) for part in (np.real, np.imag)]
    return parts[0] + 1j * parts[1] if c.dtype.kind == "c" else parts[0]


@stands_for("histogram_bin_edges")
def _edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    if hasattr(bins, "operands"):
        return bins
    found = np.histogram_bin_edges(plain(a), bins, range)  # which number of bins, and where
    if np.ndim(bins) or range is not None or not np.ptp(plain(a)) or not hasattr(a, "operands"):
        return found
    return np.linspace(np.min(a), np.max(a), len(found))


def _boxes(columns: Any, edges: Any, density: Any, weights: Any) -> Any:
    """The sums of weights over the points in each box; columns and edges by axis."""
    place, inside = np.zeros((), int), np.ones((), bool)
    for points, ends in zip(map(np.ravel, map(plain, columns)), map(plain, edges), strict=True):
        place = place * (len(ends) - 1) + np.searchsorted(ends, points, side="right") - 1
        place = place - (points == ends[-1])
        inside = inside & (points >= ends[0]) & (points <= ends[-1])
    shape = tuple(len(ends) - 1 for ends in edges)
    weights = np.ones(inside.size) if weights is None else weights * 1.0
    size = int(np.prod(shape))
    sums = np.reshape(scatter(np.ravel(weights)[inside], (size,), place[inside]), shape)
    if density:
        sums = sums / np.sum(sums)
        for axis, ends in enumerate(edges):
            widths = np.diff(ends).astype(float)
            sums = sums / np.reshape(widths, [-1 if i == axis else 1 for i, _ in enumerate(edges)])
    return sums


@stands_for("histogram")
def _histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> Any:
    edges = _edges(a, bins, range)
    sums = _boxes([a], [edges], density, weights)
    return (sums.astype(int) if weights is None and not density else sums), edges


@stands_for("histogramdd")
def _histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> Any:
    columns = list(sample) if isinstance(sample, (list, tuple)) else list(np.atleast_2d(sample.T))
    bins = bins if hasattr(bins, "__len__") else [bins] * len(columns)
    ranges = range or [None] * len(columns)
    edges = tuple(map(_edges, columns, bins, ranges))
    return _boxes(columns, edges, density, weights).astype(float), edges


@stands_for("histogram2d")
def _histogram2d(x: Any, y: Any, bins: Any = 10, *args: Any, **keywords: Any) -> Any:
    if hasattr(bins, "__len__") and len(bins) != 2:
        bins = [bins, bins]
    sums, edges = _histogramdd([x, y], bins, *args, **keywords)
    return sums, *edges


# --- interpolation and differences ---------------------------------------------------------------


@stands_for("interp")
def _interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    xp, fp = (np.asarray(a) if isinstance(a, (list, tuple)) else a for a in (xp, fp))
    x = np.asarray(x) if isinstance(x, (list, tuple)) else x
    x, xp, fp = (a.astype(float) if hasattr(a, "astype") else float(a) for a in (x, xp, fp))
    if period is not None:
        left, right, period = None, None, abs(period)
        x, xp = x % period, xp % period
        order = np.argsort(plain(xp))
        around = np.array([-1.0, *np.zeros(len(order)), 1.0])
        order = np.concatenate([order[-1:], order, order[:1]])
        xp, fp = xp[order] + around * period, fp[order]
    where, points = plain(x), plain(xp)
    if points.size > 1:
        i = np.clip(np.searchsorted(points, where, side="right") - 1, 0, points.size - 2)
        low, high = xp[i], xp[i + 1]
        inside = fp[i] + (fp[i + 1] - fp[i]) * ((x - low) / (high - low))
    else:
        inside = fp[0] + 0 * x
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


def _found(values: Any, *arrays: Any) -> Any:
    """Values that were found in arrays, each taken from the first place where it stands."""
    flat = [np.ravel(a) for a in arrays]
    whole = np.concatenate(flat) if len(flat) > 1 else flat[0]
    order = np.argsort(plain(whole), kind="stable")
    at = np.searchsorted(plain(whole)[order], values)
    return whole[order[at]].astype(values.dtype)


def _set_of(function: Callable[..., Any], arrays: int) -> Callable[..., Any]:
    """A function that returns some of its arrays' elements, maybe with indices and counts."""

    def on_recorded(*args: Any, **keywords: Any) -> Any:
        result = function(*map(plain, args[:arrays]), *args[arrays:], **keywords)
        if not isinstance(result, tuple):
            return _found(result, *args[:arrays])
        parts = (_found(result[0], *args[:arrays]), *result[1:])
        return type(result)(*parts) if hasattr(result, "_fields") else parts

    return on_recorded


for _name in "union1d intersect1d setdiff1d setxor1d".split():
    stands_for(_name)(_set_of(getattr(np, _name), 2))
for _name in "unique_values unique_counts unique_inverse unique_all".split():
    stands_for(_name)(_set_of(getattr(np, _name, np.unique), 1))


@stands_for("unique")
def _unique(ar: Any, *args: Any, axis: Any = None, **keywords: Any) -> Any:
    if len(args) > 3:
        args, axis = args[:3], args[3]
    if axis is None:
        return _set_of(np.unique, 1)(ar, *args, **keywords)
    result = np.unique(plain(ar), *args, axis=axis, **keywords)
    others = {k: v for k, v in keywords.items() if not k.startswith("return_")}
    index = np.unique(plain(ar), True, axis=axis, **others)[1]
    values = np.take(ar, index, axis)
    return (values, *result[1:]) if isinstance(result, tuple) else values


@stands_for("sort_complex")
def _sort_complex(a: Any) -> Any:
    return np.sort(a).astype(np.sort_complex(plain(a)).dtype)


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


_SUMMARIES: dict[str, Any] = {
    "maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median
}  # fmt: skip


@stands_for("pad")
def _pad(array: Any, pad_width: Any, mode: Any = "constant", **keywords: Any) -> Any:
    """The modes that compute, axis after axis; the row of `pad` has those that copy elements."""
    odd = keywords.get("reflect_type") == "odd"
    filled = mode == "constant" and hasattr(keywords.get("constant_values"), "operands")
    if mode not in (*_SUMMARIES, "linear_ramp") and not odd and not filled:
        return NotImplemented
    rank = np.ndim(array)
    if isinstance(pad_width, dict):
        pad_width = [pad_width.get(i, pad_width.get(i - rank, 0)) for i in range(rank)]
        pad_width = [(w, w) if np.ndim(w) == 0 else w for w in pad_width]
    setting: Any = next(iter(keywords.values()), None if mode in _SUMMARIES else 0)
    if setting is not None and not odd:
        setting = np.broadcast_to(setting, (rank, 2))
    for axis, widths in enumerate(np.broadcast_to(np.asarray(pad_width), (rank, 2)).tolist()):
        moved = np.moveaxis(array, axis, 0)
        if odd and max(widths) > len(moved) - (mode == "reflect") and len(moved) > 1:
            return NotImplemented  # mirrored more than once
        if odd:
            around = [widths, *[(0, 0)] * (rank - 1)]
            edges = np.pad(moved, around, "edge")
            moved = 2 * edges - np.pad(moved, around, mode) if len(moved) > 1 else edges
        else:
            settings = (None, None) if setting is None else setting[axis]
            left = _padding(moved, widths[0], mode, settings[0])
            right = np.flip(_padding(np.flip(moved, 0), widths[1], mode, settings[1]), 0)
            moved = np.concatenate([left, moved, right]).astype(array.dtype)
        array = np.moveaxis(moved, 0, axis)
    return array


def _padding(rows: Any, width: int, mode: str, setting: Any) -> Any:
    """What `pad` puts before the first of some rows."""
    edge = rows[:1]
    if mode in _SUMMARIES:
        part = rows if setting is None else rows[: int(plain(setting))]
        edge = _SUMMARIES[mode](part, axis=0, keepdims=True)
    elif mode == "linear_ramp":
        share = np.reshape(np.arange(width) / max(width, 1), (-1, *[1] * (np.ndim(rows) - 1)))
        edge = setting + (edge - setting) * share.astype(rows.dtype)
    else:
        edge = setting + 0 * edge
    return np.broadcast_to(edge, (width, *np.shape(rows)[1:]))


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


def _collected(results: list[Any], dtype: Any) -> Any:
    """An array of results, some of which may be recorded; of a dtype, or as the first has it."""
    results = [r if hasattr(r, "dtype") else np.asarray(r) for r in results]
    return np.stack(results).astype(dtype or results[0].dtype)


def vectorized(function: Any, *args: Any, **kwargs: Any) -> Any:
    """A call of a `numpy.vectorize`d function: the Python function on each element, recorded."""
    keys = [k for k in (*range(len(args)), *kwargs) if k not in function.excluded]
    given = dict(enumerate(args)) | kwargs
    arrays = [given[k] if hasattr(given[k], "operands") else np.asarray(given[k]) for k in keys]
    inner = [0] * len(arrays)  # how many axes the function itself takes
    if function.signature is not None:
        terms = function.signature.replace(" ", "").partition("->")[0].strip("()").split("),(")
        inner = [len(term.split(",")) if term else 0 for term in terms]
    outer = [np.shape(a)[: np.ndim(a) - n] for a, n in zip(arrays, inner, strict=True)]
    shape = np.broadcast_shapes(*outer)
    arrays = [
        np.broadcast_to(a, shape + np.shape(a)[len(own) :]) if own != shape else a
        for a, own in zip(arrays, outer, strict=True)
    ]
    results = []
    for index in np.ndindex(shape):
        given |= {k: a[index] for k, a in zip(keys, arrays, strict=True)}
        called = [given[i] for i in range(len(args))]
        results.append(function.pyfunc(*called, **{k: given[k] for k in kwargs}))
    if not results:
        return NotImplemented
    several = isinstance(results[0], tuple)
    columns = list(zip(*results, strict=True)) if several else [results]
    made = [
        _collected(list(column), function.otypes and function.otypes[k])
        for k, column in enumerate(columns)
    ]
    made = [np.reshape(m, shape + np.shape(m)[1:]) for m in made]
    return tuple(made) if several else made[0]


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
    zeros = np.linalg.eigvals(seq_of_zeros) if np.ndim(seq_of_zeros) == 2 else seq_of_zeros
    result: Any = np.ones(1, zeros.dtype)
    none = np.zeros(1, zeros.dtype)
    for zero in zeros:
        result = np.concatenate([result, none]) - zero * np.concatenate([none, result])
    found = np.asarray(np.poly(plain(seq_of_zeros)))
    return np.real(result) if found.dtype.kind != "c" else result


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


@stands_for("polydiv")
def _polydiv(u: Any, v: Any) -> Any:
    rest, v = np.atleast_1d(u) + 0.0, np.atleast_1d(v) + 0.0
    steps = len(rest) - len(v) + 1
    quotient = []
    for k in range(steps):
        quotient.append(rest[k] / v[0])
        rest = np.concatenate(
            [rest[:k], rest[k : k + len(v)] - quotient[k] * v, rest[k + len(v) :]]
        )
    while len(rest) > 1 and np.allclose(rest[0], 0, rtol=1e-14):
        rest = rest[1:]
    return np.stack(quotient) if quotient else np.zeros(1, rest.dtype), rest


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
    if np.ndim(deg):
        return NotImplemented
    x, y = (a + 0.0 if hasattr(a, "dtype") else np.asarray(a) + 0.0 for a in (x, y))
    rcond = len(x) * np.finfo(x.dtype).eps if rcond is None else rcond
    left = _vander(x, deg + 1)
    if w is not None:
        left = left * w[:, None]
        y = (y.T * w).T
    scale = np.sqrt(np.sum(left * left, axis=0))
    left = left / scale
    c, rest, rank, singular = _lstsq(left, y, rcond)
    c = (c.T / scale).T
    if full:
        return c, rest, rank, singular, rcond
    if not cov:
        return c
    spread = np.linalg.inv(left.T @ left) / np.outer(scale, scale)
    factor = 1 if cov == "unscaled" else rest / (len(x) - deg - 1)
    return c, (spread if np.ndim(y) == 1 else spread[:, :, None]) * factor


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
    if not np.all(plain(start)) or not np.all(plain(stop)):
        return NotImplemented
    dtype = dtype or np.result_type(plain(start), plain(stop), float)
    sign = np.sign(start)  # the first number is turned to a positive one, and back
    powers = np.linspace(np.log(start / sign), np.log(stop / sign), num, endpoint)
    return np.moveaxis(np.exp(powers) * sign, 0, axis).astype(dtype)


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
