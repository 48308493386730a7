"""Interpolation, differences, and what picks or places elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.arrays import scatter
from gradviz.ops.composed.registry import empty, laid, plain, stands_for

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
    arr, values = (np.asarray(v) if isinstance(v, (list, tuple)) else v for v in (arr, values))
    size, extra = int(np.size(arr)), int(np.size(values))
    numbers = np.arange(size).reshape(np.shape(arr))
    others = np.arange(size, size + extra).reshape(np.shape(values))
    source = np.insert(numbers, obj, others, axis)
    found = np.take(np.concatenate([np.ravel(arr), np.ravel(values).astype(arr.dtype)]), source)
    return laid(found, np.insert(empty(arr), obj, 0.0, axis))


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
    shape = np.broadcast_shapes(index.shape, *map(np.shape, choices))
    made = count > 1 and np.shape(result) == shape
    result = result if made else np.broadcast_to(result, shape).copy()
    return laid(result, np.empty(shape, result.dtype))


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
    return laid(result.astype(x.dtype), empty(x))


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
