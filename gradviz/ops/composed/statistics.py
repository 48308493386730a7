"""Statistics and histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.arrays import scatter
from gradviz.ops.composed.loops import along_axis
from gradviz.ops.composed.registry import plain, stands_for
from gradviz.ops.operation import PYTHONS
from gradviz.ops.reductions import conjugated

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


def _without_nan(function: Callable[..., Any], settings: int) -> Callable[..., Any]:
    """A function of the others; so many arguments stand between the array and the axis."""

    def on_the_others(a: Any, *args: Any, **keywords: Any) -> Any:
        args, rest = args[:settings], args[settings:]
        if len(rest) > 1:
            return NotImplemented
        axis = rest[0] if rest else keywords.pop("axis", None)
        if not np.isnan(a).any():
            return function(a, *args, axis=axis, **keywords)
        if np.ndim(axis) or keywords.get("keepdims") or np.isnan(a).all(axis=axis).any():
            return NotImplemented
        if axis is None:
            return function(a[~np.isnan(a)], *args, **keywords)
        found = along_axis(lambda row: function(row[~np.isnan(row)], *args, **keywords), axis, a)
        extra = range(np.ndim(found) - np.ndim(a) + 1)  # the axes of q come first
        return np.moveaxis(found, [axis % np.ndim(a) + i for i in extra], list(extra))

    return on_the_others


stands_for("nanmedian")(_without_nan(_median, 0))
stands_for("nanquantile")(_without_nan(_quantile, 1))
stands_for("nanpercentile")(_without_nan(_percentile, 1))


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
