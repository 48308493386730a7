"""Functions of ours that are recorded as NumPy's are."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np


def dispatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of ours dispatch as NumPy's do: calls on recorded arrays are recorded."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for argument in args:
            protocol = getattr(type(argument), "__array_function__", None)
            if protocol is not None and protocol is not np.ndarray.__array_function__:
                return protocol(argument, wrapper, (), args, kwargs)
        return function(*args, **kwargs)

    wrapper._implementation = function  # type: ignore[attr-defined]  # as NumPy's own have it
    return wrapper
