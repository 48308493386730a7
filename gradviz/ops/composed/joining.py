"""Joining and splitting arrays, and other names of the same functions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.composed.registry import empty, laid, stands_for


def _from_initial(found: Any, axis: Any, initial: float, included: bool) -> Any:
    if not included:
        return found
    axis = 0 if axis is None else axis
    shape = list(np.shape(found))
    shape[axis] = 1
    return np.concatenate([np.full(shape, initial, found.dtype), found], axis=axis)


_SAME_AS: dict[str, Callable[..., Any]] = {
    "amax": np.max,
    "amin": np.min,
    "round_": np.round,
    "around": np.round,
    "matrix_transpose": lambda x: np.swapaxes(x, -1, -2),
    "linalg.matrix_transpose": lambda x: np.swapaxes(x, -1, -2),
    "linalg.matmul": np.matmul,
    "linalg.outer": lambda x1, x2: np.outer(x1, x2),
    "linalg.tensordot": lambda x1, x2, *, axes=2: np.tensordot(x1, x2, axes),
    "linalg.diagonal": lambda x, *, offset=0: np.diagonal(x, offset, -2, -1),
    "linalg.trace": lambda x, *, offset=0, dtype=None: np.trace(x, offset, -2, -1, dtype),
    "linalg.cross": lambda x1, x2, *, axis=-1: np.cross(x1, x2, axis=axis),
    "fliplr": lambda m: np.flip(m, 1),
    "flipud": lambda m: np.flip(m, 0),
    "copy": lambda a, order="K", subok=False: a[...].copy(),
    "astype": lambda x, dtype, /, *, copy=True, device=None: x.astype(dtype, copy=copy),
    "cumulative_sum": lambda x, /, *, axis=None, dtype=None, out=None, include_initial=False: (
        _from_initial(np.cumsum(x, axis, dtype), axis, 0.0, include_initial)
    ),
    "cumulative_prod": lambda x, /, *, axis=None, dtype=None, out=None, include_initial=False: (
        _from_initial(np.cumprod(x, axis, dtype), axis, 1.0, include_initial)
    ),
}
for _name, _other in _SAME_AS.items():
    stands_for(_name)(_other)


@stands_for("atleast_1d")
def _atleast_1d(*arrays: Any) -> Any:
    found = tuple(np.reshape(a, (1,)) if np.ndim(a) == 0 else a for a in arrays)
    return found if len(found) != 1 else found[0]


@stands_for("atleast_2d")
def _atleast_2d(*arrays: Any) -> Any:
    found = tuple(a if np.ndim(a) > 1 else np.reshape(a, (1, int(np.size(a)))) for a in arrays)
    return found if len(found) != 1 else found[0]


@stands_for("atleast_3d")
def _atleast_3d(*arrays: Any) -> Any:
    shapes = {0: (1, 1, 1), 1: (1, -1, 1)}
    found = tuple(
        a if np.ndim(a) > 2 else np.reshape(a, shapes.get(np.ndim(a)) or (*np.shape(a), 1))
        for a in arrays
    )
    return found if len(found) != 1 else found[0]


@stands_for("vstack")
def _vstack(tup: Any, **keywords: Any) -> Any:
    return np.concatenate([_atleast_2d(a) for a in tup], 0, **keywords)


@stands_for("hstack")
def _hstack(tup: Any, **keywords: Any) -> Any:
    arrays = [_atleast_1d(a) for a in tup]
    return np.concatenate(arrays, 0 if np.ndim(arrays[0]) == 1 else 1, **keywords)


@stands_for("dstack")
def _dstack(tup: Any) -> Any:
    return np.concatenate([_atleast_3d(a) for a in tup], 2)


@stands_for("column_stack")
def _column_stack(tup: Any) -> Any:
    return np.concatenate([a if np.ndim(a) > 1 else np.reshape(a, (-1, 1)) for a in tup], 1)


@stands_for("block")
def _block(arrays: Any) -> Any:
    def depth(part: Any) -> int:
        return 1 + max(map(depth, part)) if isinstance(part, list) else 0

    def joined(part: Any, level: int) -> Any:
        if not isinstance(part, list):
            return np.reshape(part, (1,) * (rank - np.ndim(part)) + np.shape(part))
        return np.concatenate([joined(p, level - 1) for p in part], axis=-level)

    def widest(part: Any) -> int:
        return max(map(widest, part)) if isinstance(part, list) else np.ndim(part)

    rank = max(depth(arrays), widest(arrays))
    return joined(arrays, depth(arrays))


@stands_for("append")
def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return np.concatenate([arr, values], axis=axis)


@stands_for("split", "array_split")
def _split(ary: Any, indices_or_sections: Any, axis: int = 0, *, even: bool = False) -> list[Any]:
    count = np.shape(ary)[axis]
    if np.ndim(indices_or_sections):
        edges = [0, *map(int, indices_or_sections), count]
        ends = [slice(a, b) for a, b in itertools.pairwise(edges)]
        ends[-1] = slice(edges[-2], None)
    else:
        sections = int(indices_or_sections)
        if even and count % sections:
            raise ValueError("array split does not result in an equal division")
        sizes = [count // sections + (i < count % sections) for i in range(sections)]
        starts = [sum(sizes[:i]) for i in range(sections)]
        ends = [slice(a, a + n) for a, n in zip(starts, sizes, strict=True)]
    before = (slice(None),) * (axis % np.ndim(ary))
    return [ary[(*before, part)] for part in ends]


for _name, _axis in {"split": None, "vsplit": 0, "hsplit": 1, "dsplit": 2}.items():

    def _even(ary: Any, indices_or_sections: Any, axis: int = 0, _axis: int | None = _axis) -> Any:
        along = axis if _axis is None else _axis if np.ndim(ary) > 1 else 0
        return _split(ary, indices_or_sections, along, even=True)

    stands_for(_name)(_even)


@stands_for("rollaxis")
def _rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    rank = np.ndim(a)
    start = start + rank if start < 0 else start
    return np.moveaxis(a, axis, start - (axis % rank < start))


@stands_for("partition")
def _partition(
    a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: None = None
) -> Any:
    if axis is None:
        a, axis = np.ravel(a), 0
    return np.take_along_axis(a, np.argpartition(a, kth, axis), axis)


@stands_for("unstack")
def _unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    moved = np.moveaxis(x, axis, 0)
    return tuple(moved[i] for i in range(len(moved)))


@stands_for("broadcast_arrays")
def _broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple(a if np.shape(a) == shape else np.broadcast_to(a, shape) for a in args)


@stands_for("meshgrid")
def _meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Any, ...]:
    grids = [np.reshape(x, [-1 if i == k else 1 for i in range(len(xi))]) for k, x in enumerate(xi)]
    shape = () if sparse else tuple(int(np.size(x)) for x in xi)
    grids = grids if sparse else [np.broadcast_to(grid, shape) for grid in grids]
    if indexing == "xy" and len(xi) > 1:
        grids = [np.swapaxes(grid, 0, 1) for grid in grids]
    return tuple(grid.copy() if copy else grid for grid in grids)


@stands_for("full_like")
def _full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
) -> Any:
    like = empty(a, dtype=dtype, order=order, shape=shape)
    return laid(np.broadcast_to(fill_value, like.shape).astype(like.dtype, order="C"), like)


@stands_for("select")
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = np.where(condition, choice, result)
    return laid(result, np.empty(np.shape(result), getattr(result, "dtype", None)))


@stands_for("extract")
def _extract(condition: Any, arr: Any) -> Any:
    return np.take(np.ravel(arr), np.nonzero(np.ravel(condition))[0])


@stands_for("compress")
def _compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Any:
    return np.take(a, np.nonzero(condition)[0], axis=axis)
