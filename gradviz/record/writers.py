"""NumPy's functions that write into an array, where it is a recorded one."""

from __future__ import annotations

from collections.abc import Callable
from sys import _getframe
from typing import Any

import numpy as np

from gradviz.ops.table import lookup


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    extra = np.ndim(src) - np.ndim(dst)
    if extra > 0 and np.shape(src)[:extra] == (1,) * extra:
        src = np.reshape(src, np.shape(src)[extra:])
    value = np.broadcast_to(src, np.shape(dst))
    dst._overwrite(value if where is True else np.where(where, value, dst), _getframe(1))


def _repeated(values: Any, count: int) -> Any:
    return np.resize(values, count) if np.ndim(values) else values


def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """See `numpy.put`."""
    if a._is_scalar():  # NumPy writes into a copy
        return
    numbers = np.arange(int(np.size(a))).reshape(np.shape(a))
    index = np.ravel(np.take(numbers, ind, mode=mode))  # type: ignore[call-overload]
    values = _repeated(v, index.size)
    if np.ndim(a):
        a._write(np.unravel_index(index, np.shape(a)), values, _getframe(1))
    elif index.size:  # the last that is put there stays
        a._write((), values[-1] if np.ndim(values) else values, _getframe(1))


def _place(arr: Any, mask: Any, vals: Any) -> None:
    mask = np.reshape(np.asarray(mask, bool), np.shape(arr))
    arr._write(mask, _repeated(vals, int(mask.sum())), _getframe(1))


def _putmask(a: Any, mask: Any, values: Any) -> None:
    mask = np.asarray(mask, bool)
    value = np.resize(values, np.shape(a))[mask] if np.ndim(values) else values
    a._write(mask, value, _getframe(1))


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: Any = -1) -> None:
    if axis is None:
        arr._write(np.unravel_index(indices, np.shape(arr)), values, _getframe(1))
        return
    index = list(np.indices(np.shape(arr), sparse=True))
    index[axis] = indices
    arr._write(tuple(index), values, _getframe(1))


def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    chosen = np.zeros(np.shape(a), bool)
    np.fill_diagonal(chosen, True, wrap)
    a._write(chosen, _repeated(val, int(chosen.sum())), _getframe(1))


def _nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    keywords = {"nan": nan, "posinf": posinf, "neginf": neginf}
    made = x._applied(_NAN_TO_NUM, (x,), _getframe(1), keywords)
    return made if copy or x._is_scalar() else x._overwrite(made, _getframe(1))


_NAN_TO_NUM = lookup(np.nan_to_num)  # (While a program is traced, others stand by these names.)
WRITERS: dict[Any, Callable[..., None]] = {
    np.copyto: _copyto,
    np.nan_to_num: _nan_to_num,
    np.put: put,
    np.place: _place,
    np.put_along_axis: _put_along_axis,
    np.putmask: _putmask,
    np.fill_diagonal: _fill_diagonal,
}
"""Functions that write into an array, where it is a recorded one."""
ON_COPIES = frozenset((np.put, np.nan_to_num))
"""Those that write into a copy where they are given a scalar."""
