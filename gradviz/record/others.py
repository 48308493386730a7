"""Methods of NumPy's and SciPy's objects that have no protocol, taking recorded arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops.composed import loops
from gradviz.ops.distributions import METHODS
from gradviz.record.array import Array, compose, placed


def _also_recorded(owner: Any, method: str, substitute: Callable[..., Any]) -> None:
    """Have a method of a class of NumPy's or SciPy's take recorded arrays.

    Such methods call `asarray` on their arguments and have no protocol to be asked by. Arguments
    without a recorded array, and objects of derived classes, go to the original as they are.
    """
    original = getattr(owner, method)

    @wraps(original)
    def asked(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorded = any(isinstance(a, Array) for a in (*args, *kwargs.values()))
        if recorded and type(self) is owner:
            try:
                result = compose(substitute, (self, *args), kwargs)
            except TraceError as error:
                raise placed(error) from None
            if result is not NotImplemented:
                return result
        return original(self, *args, **kwargs)

    setattr(owner, method, asked)


_also_recorded(np.vectorize, "__call__", loops.vectorized)
_distributions: list[Any] = []


def meet_distributions() -> None:
    """Have the distributions of `scipy.stats` take recorded arrays, once a program loads it."""
    stats = sys.modules.get("scipy.stats")
    if stats is None or _distributions or not hasattr(stats, "multivariate_normal"):
        return
    _distributions.append(stats)
    for (name, method), substitute in METHODS.items():
        _also_recorded(type(getattr(stats, name)), method, substitute)


meet_distributions()
