"""The long tail of NumPy: derivative rules borrowed from the `autograd` package.

Its VJPs are written in NumPy functions, so that they run on plain arrays and on recorded ones.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops.operation import OPERAND_NAMES, Derivative, Operation

# Rules that are wrong, or only meant for complex values.
_REFUSED = frozenset(("angle", "astype", "full", "real_if_close"))


def borrow(function: Callable[..., Any]) -> Operation | None:
    """A row with autograd's rule for a NumPy or SciPy function; None where it has none."""
    twin = _twin(function)
    if twin is None:
        return None
    from autograd.core import primitive_vjps

    makers = primitive_vjps.get(twin)
    if makers is None:
        return None

    def pull(position: int, g: Any, v: Any, *operands: Any, **keywords: Any) -> Any:
        if isinstance(v, tuple):
            v = tuple(v)  # its rules read the parts by number
        try:
            return makers((position,), v, operands, keywords)(g)[0]
        except NotImplementedError as error:
            raise TraceError(
                f"no derivative rule for this form of {function.__name__}: {error}"
            ) from None

    def formula(position: int, count: int, keywords: Any) -> str:
        return f"vjp_{function.__name__}(g, {', '.join(OPERAND_NAMES[:count])})"

    rule = Derivative(pull, formula)
    return Operation(function.__name__, function, derivatives=(rule,), variadic=True)


def _twin(function: Callable[..., Any]) -> Any:
    """autograd's own version of a function, found by its name."""
    name = getattr(function, "__name__", "")
    if name in _REFUSED:
        return None
    module = getattr(function, "__module__", None) or "numpy"
    if isinstance(function, np.ufunc) and getattr(np, name, None) is not function:
        module = "scipy.special"
    if module not in ("numpy", "numpy.linalg", "scipy.special"):
        return None
    try:
        return getattr(importlib.import_module(f"autograd.{module}"), name, None)
    except ImportError:
        return None
