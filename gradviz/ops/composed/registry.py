"""What stands for what: entered here, and looked up when a function is called."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.looks import look

COMPOSED: dict[Any, Callable[..., Any]] = {}
"""By NumPy function: the function that is called in its place."""


def stands_for(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function under NumPy's dotted names, as far as this NumPy has them."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            try:
                COMPOSED[operator.attrgetter(name)(np)] = function
            except AttributeError:  # a function of later versions
                continue
        return function

    return enter


def plain(a: Any) -> Any:
    """The numbers of a recorded array, for what has no derivative: an order, an index, a mask."""
    if not hasattr(a, "operands"):
        return np.asarray(a)
    look("", (a,), None)
    return np.asarray(a.value)


def empty(a: Any, **given: Any) -> Any:
    """As `np.empty_like`, also of a recorded array."""
    return np.empty_like(np.asarray(getattr(a, "value", a)), **given)


def laid(a: Any, like: Any) -> Any:
    """A recorded array as it lies in memory where NumPy makes it: as a plain one does."""
    if getattr(a, "strides", None) == like.strides or not like.ndim:
        return a
    axes = sorted(range(like.ndim), key=lambda i: -like.strides[i])
    turned = np.transpose(a, axes).astype(a.dtype, order="C", copy=False)
    return np.transpose(turned, np.argsort(axes).tolist())


def held(a: Any) -> Any:
    """The numbers of a recorded array as a constant, which the result does not depend on."""
    if not hasattr(a, "operands"):
        return a
    a.value.flags.writeable = False
    look("constant", (a,), a.value)
    return a.value
