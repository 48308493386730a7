"""Functions that call another one again and again: the user's, or a ufunc."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradviz.ops.composed.registry import stands_for


@stands_for("apply_along_axis")
def along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """`numpy.apply_along_axis`."""
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


def outer(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """`ufunc.outer`: every element of a with every element of b."""
    return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
