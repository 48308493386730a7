"""Plain arrays as they were when the program computed with them."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

_snapshots: dict[int, tuple[weakref.ref[Any], Any]] = {}


def snapshot(array: Any) -> Any:
    """A plain array as it is now: what the program later writes into it must not reach the record.

    As long as the array stays as it is, its snapshot is one and the same object.
    """
    if is_constant(array):
        return array
    key = id(array)
    known = _snapshots.get(key)
    copy: Any = known and known[1]
    alive = known is not None and id(known[0]()) == key
    if alive and copy.shape == array.shape and copy.dtype == array.dtype and _same(copy, array):
        return copy
    copy = array.copy("K")
    copy.flags.writeable = False
    _snapshots[key] = weakref.ref(array, lambda _: _snapshots.pop(key, None)), copy
    return copy


def _same(copy: Any, array: Any) -> bool:
    """Whether an array is what it was, with the signs of its zeros."""
    if not (copy == array).all():
        return False
    return bool(array.dtype.kind not in "fc" or array.all() or copy.tobytes() == array.tobytes())


def is_constant(array: Any) -> bool:
    """Whether nothing can write into an array, through it or through what it is a view of."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)


def frozen(value: Any) -> Any:
    """An argument as it is now, whatever the program later writes into its lists and arrays."""
    kind = type(value)
    if kind is np.ndarray:
        return snapshot(value)
    if kind is list or kind is tuple:
        return kind(map(frozen, value))
    return value
