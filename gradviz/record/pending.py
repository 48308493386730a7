"""Numbers written one by one into a large array: ``y[i] = ...`` in a loop.

Each write of one number would copy the whole array, and send back a whole one. So what is written
waits until the array is used as a whole, and is then written at once. Until then a number that was
written is read as itself, and another one out of the array as it was before.
"""

from __future__ import annotations

from types import FrameType
from typing import Any

import numpy as np

from gradviz.model import LEAVES, Node
from gradviz.ops import arrays
from gradviz.ops.table import lookup
from gradviz.record.names import site, user_frame
from gradviz.record.tape import STALE, next_order, recording

LARGE = 256
"""Numbers; into a smaller array each is written at once."""
_NUMBERS = frozenset((float, int, np.float64, np.float32))
_STACK = lookup(np.stack)  # (While a program is traced, something stands for `np.stack`.)


def _place(shape: tuple[int, ...], key: Any) -> tuple[int, ...] | None:
    """The place of one number, counted from the start; None for another index."""
    parts = key if type(key) is tuple else (key,)
    if len(parts) != len(shape):
        return None
    for part, length in zip(parts, shape, strict=True):
        if not (type(part) is int or isinstance(part, np.integer)) or not -length <= part < length:
            return None
    return tuple(int(part) % length for part, length in zip(parts, shape, strict=True))


def pend(array: Any, key: Any, value: Any, frame: FrameType) -> bool:
    """Have a number wait that is written into an array; False where it cannot."""
    waits = array.order == STALE and hasattr(array, "pending")
    whole = array.past[-1].value if waits else array.value
    if type(whole) is not np.ndarray or whole.size < LARGE or whole.dtype.kind != "f":
        return False
    if hasattr(array, "viewed") or hasattr(array, "locked"):
        return False
    place = _place(whole.shape, key)
    if place is None:
        return False
    if type(value) is type(array):
        if not value._is_scalar() or value.dtype != whole.dtype:
            return False
    elif type(value) in _NUMBERS:
        value = whole.dtype.type(value)
    else:
        return False
    if not waits:
        array._outdate()
        array._leave()
        array.pending = {}
    array.pending[place] = value
    user = user_frame(frame)
    array.site, array.scope = user and site(user), recording.get()[1]
    if type(value) is type(array):
        array._named_after(value)
    return True


def read(array: Any, key: Any, frame: FrameType) -> Any:
    """One number of an array into which others wait to be written; None where it must be whole."""
    before = array.past[-1]
    place = _place(before.value.shape, key)
    if place is None:
        return None
    found = array.pending.get(place)
    if found is None:
        return array._applied(arrays.GETITEM, (before,), frame, {"index": key})
    if type(found) is not type(array):
        found = type(array).new(found, LEAVES["constant"], order=next_order())
        array.pending[place] = found
    return found


def settle(array: Any) -> Node:
    """Write what waits, at once; the value that the array stands for from now on."""
    places, values = zip(*array.pending.items(), strict=True)
    index = tuple(np.array(part) for part in zip(*places, strict=True))
    del array.pending
    row = array._applied(_STACK, values, None, {})
    written: Node = array._applied(arrays.SETITEM, (array.past[-1], row), None, {"index": index})
    if hasattr(row, "scope"):
        row.scope = array.scope
    return written


def form(array: Any) -> Any:
    """What has an array's shape and dtype, without writing what waits."""
    if array.order == STALE and hasattr(array, "pending"):
        return array.past[-1].value
    return array.value
