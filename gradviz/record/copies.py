"""Copies of leaves: a large one goes into the memory of one that nobody holds any more.

A step of training copies all weights. Fresh memory of that size costs more time than the copy, for
the system hands it out page by page, and takes it back when the Graph goes.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import Any

import numpy as np

LARGE = 2**15
"""Bytes; what is smaller has memory at hand."""
MOST = 2**26
"""Bytes of all copies that are remembered."""
_copies: deque[np.ndarray[Any, Any]] = deque()
_lock = threading.Lock()


def _references(copy: Any) -> int:
    return sys.getrefcount(copy)


def _alone() -> int:
    copy = np.empty(0)
    return _references(copy)


_OURS = _alone()
"""A copy has so many references where nobody has one but a variable of ours."""


def copied(value: Any) -> np.ndarray[Any, Any]:
    """A copy of an array or a number, to which nobody else has a reference."""
    large = type(value) is np.ndarray and LARGE <= value.nbytes <= MOST
    if not large or not value.flags.forc or value.dtype.hasobject:
        return np.array(value)
    with _lock:
        for _ in range(len(_copies)):
            copy = _copies.popleft()
            same = copy.strides == value.strides and copy.shape == value.shape
            if same and copy.dtype == value.dtype and _references(copy) == _OURS:
                copy.flags.writeable = True
                np.copyto(copy, value)
                break
            _copies.append(copy)
        else:
            copy = np.array(value)
        _copies.append(copy)
        while sum(kept.nbytes for kept in _copies) > MOST:
            _copies.popleft()
    return copy
