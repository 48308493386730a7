"""Rows of the operations that are linear maps of whole arrays: products, sums, shapes, parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from gradviz.ops.operation import fit, linear


def dispatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of ours dispatch as NumPy's do, so that calls on recorded arrays are recorded."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for argument in args:
            protocol = getattr(type(argument), "__array_function__", None)
            if protocol is not None and protocol is not np.ndarray.__array_function__:
                return protocol(argument, wrapper, (), args, kwargs)
        return function(*args, **kwargs)

    return wrapper


# --- products ------------------------------------------------------------------------------------


def _swap(a: Any) -> Any:
    return np.swapaxes(a, -1, -2)


def _matmul_left(g: Any, v: Any, a: Any, b: Any, **_: Any) -> Any:
    if np.ndim(b) == 1:
        return g[..., None] * b if np.ndim(a) > 1 else g * b
    if np.ndim(a) == 1:
        return (g[..., None, :] @ _swap(b))[..., 0, :]
    return g @ (b.T if np.ndim(b) == 2 else _swap(b))


def _matmul_right(g: Any, v: Any, a: Any, b: Any, **_: Any) -> Any:
    if np.ndim(a) == 1:
        return a[:, None] * g[..., None, :] if np.ndim(b) > 1 else g * a
    if np.ndim(b) == 1:
        return (_swap(a) @ g[..., None])[..., 0]
    return (a.T if np.ndim(a) == 2 else _swap(a)) @ g


MATMUL = linear(np.matmul, "a @ b", ("g @ b.T", _matmul_left), ("a.T @ g", _matmul_right))

# --- sums ----------------------------------------------------------------------------------------


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(i % ndim for i in (axis if isinstance(axis, (tuple, list)) else (axis,)))


def spread(g: Any, a: Any, axis: Any, keepdims: Any) -> Any:
    """Give what a reduction over `axis` returned the axes of `a` again."""
    if axis is not None and not keepdims:
        shape = list(np.shape(a))
        for i in _axes(axis, np.ndim(a)):
            shape[i] = 1
        g = np.reshape(g, tuple(shape))
    return np.broadcast_to(g, np.shape(a))


def _sum(g: Any, v: Any, a: Any, axis: Any = None, keepdims: Any = False, where: Any = True, **_: Any) -> Any:
    g = spread(g, a, axis, keepdims)
    return g if where is True else g * where


def _mean(g: Any, v: Any, a: Any, axis: Any = None, keepdims: Any = False, where: Any = True, **_: Any) -> Any:
    if where is not True:
        count = np.sum(np.broadcast_to(where, np.shape(a)), axis=axis, keepdims=bool(keepdims))
        return spread(g / count, a, axis, keepdims) * where
    return spread(g / (np.size(a) / max(np.size(v), 1)), a, axis, keepdims)


def _extreme(
    g: Any, v: Any, a: Any, axis: Any = None, keepdims: Any = False, where: Any = True, **_: Any
) -> Any:
    # Ties share evenly.
    chosen = (a == spread(v, a, axis, keepdims)) & np.asarray(where)
    count = np.sum(chosen, axis=axis, keepdims=True)
    return spread(g, a, axis, keepdims) * (chosen / np.maximum(count, 1))


def _cumsum(g: Any, v: Any, a: Any, axis: Any = None, **_: Any) -> Any:
    if axis is None:
        return np.reshape(np.flip(np.cumsum(np.flip(g, 0), axis=0), 0), np.shape(a))
    return np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)


SUM = linear(np.sum, "sum(a)", ("g * ones_like(a)", _sum))
MEAN = linear(np.mean, "mean(a)", ("g * ones_like(a) / size(a)", _mean))
MAX = linear(np.max, "max(a)", ("g * (a == v)", _extreme), name="max")
MIN = linear(np.min, "min(a)", ("g * (a == v)", _extreme), name="min")
CUMSUM = linear(np.cumsum, "cumsum(a)", ("flip(cumsum(flip(g)))", _cumsum))

# --- shapes --------------------------------------------------------------------------------------


def _unreshape(g: Any, v: Any, a: Any, *_: Any, order: str = "C", **__: Any) -> Any:
    return np.reshape(g, np.shape(a), order="F" if order == "F" else "C")


def _untranspose(g: Any, v: Any, a: Any, axes: Any = None, **_: Any) -> Any:
    return np.transpose(g, None if axes is None else np.argsort([i % len(axes) for i in axes]))


RESHAPE = linear(np.reshape, "reshape(a)", ("reshape(g)", _unreshape))
RAVEL = linear(np.ravel, "ravel(a)", ("reshape(g)", _unreshape))
SQUEEZE = linear(np.squeeze, "squeeze(a)", ("reshape(g)", _unreshape))
EXPAND_DIMS = linear(np.expand_dims, "expand_dims(a)", ("reshape(g)", _unreshape))
TRANSPOSE = linear(np.transpose, "a.T", ("g.T", _untranspose))
SWAPAXES = linear(
    np.swapaxes,
    "swapaxes(a)",
    ("swapaxes(g)", lambda g, v, a, axis1, axis2, **_: np.swapaxes(g, axis1, axis2)),
)
FLIP = linear(np.flip, "flip(a)", ("flip(g)", lambda g, v, a, axis=None, **_: np.flip(g, axis)))
BROADCAST_TO = linear(
    np.broadcast_to, "broadcast(a)", ("sum(g)", lambda g, v, a, **_: fit(g, np.shape(a)))
)


def _astype(a: Any, dtype: Any) -> Any:
    return np.asarray(a).astype(dtype)[()]


ASTYPE = linear(
    _astype, "a", ("g", lambda g, v, a, dtype, **_: g.astype(a.dtype)), name="astype"
)

# --- parts ---------------------------------------------------------------------------------------


def _item(a: Any, index: Any) -> Any:
    return a[index]


@dispatched
def scatter(g: Any, shape: Any, index: Any) -> Any:
    """Zeros of `shape` with g added at `index`: what indexing sends back."""
    result = np.zeros(shape, np.asarray(g).dtype)
    np.add.at(result, index, g)
    return result


GETITEM = linear(
    _item, "a[index]", ("scatter(g)", lambda g, v, a, index: scatter(g, np.shape(a), index)), name="getitem"
)
SCATTER = linear(
    scatter, "scatter(a)", ("g[index]", lambda g, v, a, shape, index: g[index]), name="scatter"
)


def _concatenate(*arrays: Any, **keywords: Any) -> Any:
    return np.concatenate(arrays, **keywords)


def _part(k: int, g: Any, v: Any, *arrays: Any, axis: Any = 0, **_: Any) -> Any:
    if axis is None:
        start = sum(int(np.size(a)) for a in arrays[:k])
        return np.reshape(g[start : start + int(np.size(arrays[k]))], np.shape(arrays[k]))
    start = sum(np.shape(a)[axis] for a in arrays[:k])
    index = [slice(None)] * np.ndim(g)
    index[axis] = slice(start, start + np.shape(arrays[k])[axis])
    return g[tuple(index)]


def _stack(*arrays: Any, **keywords: Any) -> Any:
    return np.stack(arrays, **keywords)


def _layer(k: int, g: Any, v: Any, *arrays: Any, axis: int = 0, **_: Any) -> Any:
    index: list[Any] = [slice(None)] * np.ndim(g)
    index[axis] = k
    return g[tuple(index)]


CONCATENATE = linear(_concatenate, "", ("g[part]", _part), name="concatenate", variadic=True)
STACK = linear(_stack, "", ("g[part]", _layer), name="stack", variadic=True)
