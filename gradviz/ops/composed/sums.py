"""Sums, means, differences and spaced numbers; the reductions that belong to ufuncs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.composed.registry import COMPOSED, held, plain, stands_for
from gradviz.ops.operation import PYTHONS

# --- sums and means ------------------------------------------------------------------------------


@stands_for("ptp")
def _ptp(a: Any, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


@stands_for("trace")
def _trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> Any:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@stands_for("average")
def _average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False
) -> Any:
    if weights is None:
        mean = np.mean(a, axis=axis, keepdims=keepdims)
        total: Any = np.full(np.shape(mean), np.size(a) / max(np.size(mean), 1))[()]
    else:
        if np.shape(weights) != np.shape(a):
            along = (axis,) if isinstance(axis, int) else tuple(axis)
            order = [sorted(along).index(i) for i in along]
            shape = [
                n if i in {j % np.ndim(a) for j in along} else 1 for i, n in enumerate(np.shape(a))
            ]
            weights = np.reshape(np.transpose(weights, np.argsort(order).tolist()), shape)
        total = np.sum(np.broadcast_to(weights, np.shape(a)), axis=axis, keepdims=keepdims)
        if not np.all(plain(total)):
            return NotImplemented
        mean = np.sum(a * weights, axis=axis, keepdims=keepdims) / total
    return (mean, total) if returned else mean


@stands_for("nansum")
def _nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: Any = False,
    **keywords: Any,
) -> Any:
    return np.sum(
        np.where(np.isnan(a), 0.0, a), axis=axis, dtype=dtype, keepdims=keepdims, **keywords
    )


@stands_for("nanmean")
def _nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = False
) -> Any:
    count = np.sum(~np.isnan(a), axis=axis, keepdims=keepdims).astype(a.dtype)
    return _nansum(a, axis, dtype, keepdims=keepdims) / count


@stands_for("cumprod")
def _cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    # Every partial product on its own: right at zeros, for all orders of derivative.
    a = a if np.ndim(a) else np.reshape(a, (1,))  # NumPy has an axis 0 of a number here
    rows = np.ravel(a) if axis is None else np.moveaxis(a, axis, -1)
    lower = np.tri(np.shape(rows)[-1], dtype=bool)
    products = np.prod(np.where(lower, rows[..., None, :], 1.0), axis=-1)
    return products if axis is None else np.moveaxis(products, -1, axis)


@stands_for("diff")
def _diff(
    a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue
) -> Any:
    if prepend is not np._NoValue or append is not np._NoValue:
        one = [1 if i == axis % np.ndim(a) else n for i, n in enumerate(np.shape(a))]
        ends = [
            [] if end is np._NoValue else [end if np.ndim(end) else np.broadcast_to(end, one)]
            for end in (prepend, append)
        ]
        a = np.concatenate([*ends[0], a, *ends[1]], axis=axis)
    before = (slice(None),) * (axis % np.ndim(a))
    for _ in range(n):
        a = a[(*before, slice(1, None))] - a[(*before, slice(None, -1))]
    return a


@stands_for("gradient")
def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    along = range(np.ndim(f)) if axis is None else np.atleast_1d(axis).tolist()
    steps = varargs * len(along) if len(varargs) == 1 else varargs or (1.0,) * len(along)
    steps = tuple(np.asarray(h) if isinstance(h, (list, tuple)) else h for h in steps)
    if edge_order == 2 and any(type(h) in PYTHONS and h == 0 for h in steps):
        raise ZeroDivisionError("float division by zero")  # as NumPy's own 1.5 / h
    steps = tuple(f.dtype.type(h) if type(h) in PYTHONS else h for h in steps)
    if edge_order not in (1, 2) or len(steps) != len(along):
        return NotImplemented
    slopes = []
    for i, step in zip(along, steps, strict=True):
        f_i = np.moveaxis(f, i, 0)
        wide = (-1,) + (1,) * (np.ndim(f) - 1)
        h = np.reshape(_diff(step) if np.ndim(step) else np.broadcast_to(step, len(f_i) - 1), wide)
        widths = plain(h)
        if np.ndim(step) and not (np.all(widths) and np.all(widths[:-1] + widths[1:])):
            return NotImplemented
        rise = (f_i[1:] - f_i[:-1]) / h
        share = h[:-1] / (h[:-1] + h[1:])  # of the slope at the right, in the middle
        middle = rise[:-1] * (1 - share) + rise[1:] * share
        if not np.ndim(step):
            middle = (f_i[2:] - f_i[:-2]) / (2.0 * step)
        first, last = rise[:1], rise[-1:]
        if edge_order == 2:
            bend = (rise[1:] - rise[:-1]) / (h[:-1] + h[1:])
            first, last = first - bend[:1] * h[:1], last + bend[-1:] * h[-1:]
        slopes.append(np.moveaxis(np.concatenate([first, middle, last]), 0, i))
    return tuple(slopes) if len(slopes) > 1 else slopes[0]


@stands_for("trapezoid")
def _trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    y = y if hasattr(y, "dtype") else np.asarray(y)
    before = (slice(None),) * (axis % np.ndim(y))
    x = np.asarray(x) if isinstance(x, (list, tuple)) else x
    step = dx if x is None else _diff(x, axis=-1 if np.ndim(x) == 1 else axis)
    if x is not None and np.ndim(x) == 1:
        step = np.reshape(step, [-1 if i == axis % np.ndim(y) else 1 for i in range(np.ndim(y))])
    middle = (y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]) / 2.0
    return np.sum(step * middle, axis=axis)


@stands_for("linspace")
def _linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    parts = num - 1 if endpoint else num
    if parts <= 0 and retstep:
        return NotImplemented
    parts = max(parts, 1)
    step = (stop - start) / parts
    ramp = np.reshape(np.arange(num) / parts, (-1,) + (1,) * np.ndim(step)).astype(step.dtype)
    points = np.moveaxis(start * (1 - ramp) + stop * ramp, 0, axis)
    points = points if dtype is None else points.astype(dtype)
    return (points, step) if retstep else points


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


# --- elementwise ---------------------------------------------------------------------------------


@stands_for("divmod")
def _divmod(a: Any, b: Any) -> tuple[Any, Any]:
    return np.floor_divide(a, b), np.remainder(a, b)


@stands_for("modf")
def _modf(a: Any) -> tuple[Any, Any]:
    whole = np.trunc(a)
    return a - whole, whole


@stands_for("logaddexp.reduce")
def _logsumexp(
    a: Any, axis: Any = 0, dtype: Any = None, out: None = None, keepdims: bool = False
) -> Any:
    top = np.max(np.where(np.isfinite(a), a, 0.0), axis=axis, keepdims=True)
    top = held(top)  # a constant: the result does not depend on it
    total = np.log(np.sum(np.exp(a - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axis)


@stands_for("polyval")
def _polyval(p: Any, x: Any) -> Any:
    result: Any = np.zeros_like(x)
    for i in range(len(p)):
        result = result * x + p[i]
    return result


# --- the reductions that belong to ufuncs, along axis 0 by default

for _ufunc, _function in (
    (np.add, np.sum),
    (np.multiply, np.prod),
    (np.maximum, np.max),
    (np.minimum, np.min),
):

    def _reduce(
        array: Any, axis: Any = 0, dtype: Any = None, out: None = None, keepdims: bool = False,
        initial: Any = np._NoValue, where: Any = True, *, _function: Callable[..., Any] = _function,
    ) -> Any:  # fmt: skip
        keywords = {} if dtype is None else {"dtype": dtype}
        if initial is not np._NoValue:
            keywords["initial"] = initial
        if where is not True:
            keywords["where"] = where
        return _function(array, axis=axis, keepdims=keepdims, **keywords)

    COMPOSED[_ufunc.reduce] = _reduce


@stands_for("add.accumulate")
def _accumulate(array: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Any:
    return np.cumsum(array, axis=axis)


@stands_for("multiply.accumulate")
def _accumulate_products(array: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Any:
    return np.cumprod(array, axis=axis)
