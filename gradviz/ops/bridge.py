"""The long tail of NumPy: derivative rules borrowed from the `autograd` package.

Its VJPs are written in NumPy functions, so that they run on plain arrays and on recorded ones.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.operation import Derivative, Operation


def borrow(function: Callable[..., Any]) -> Operation | None:
    """A row with autograd's rule for a NumPy or SciPy function; None where it has none."""
    from autograd.core import primitive_vjps

    primitive = _primitive(function)
    makers = primitive_vjps.get(primitive)
    if makers is None:
        return None

    def pull(position: int, g: Any, v: Any, *operands: Any, **keywords: Any) -> Any:
        return makers((position,), v, operands, keywords)(g)[0]

    return Operation(
        function.__name__,
        function,
        derivatives=(Derivative(pull, "g"),),
        variadic=True,
    )


def _primitive(function: Callable[..., Any]) -> Any:
    """autograd's twin of a function, found by its name."""
    name = function.__name__
    module = getattr(function, "__module__", None) or "numpy"
    if isinstance(function, np.ufunc):
        module = "numpy" if getattr(np, name, None) is function else "scipy.special"
    if module.startswith("scipy.special"):
        module = "scipy.special"
    try:
        twin = importlib.import_module(f"autograd.{module}")
    except ImportError:
        return None
    return getattr(twin, name, None)
