"""The table: which row serves a NumPy function, and how a call is split into operands and keywords."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from gradviz.ops import arrays, elementwise
from gradviz.ops.bridge import borrow
from gradviz.ops.operation import Operation

_ROWS: dict[Any, Operation] = {row.evaluate: row for row in elementwise.ELEMENTWISE}
_ROWS |= {
    np.matmul: arrays.MATMUL,
    np.add.reduce: arrays.SUM,
    np.maximum.reduce: arrays.MAX,
    np.minimum.reduce: arrays.MIN,
}

# For the functions that are no ufuncs: the row, the parameters that are operands ("*" before one
# that holds a sequence of them), and the further parameters in order.
_REDUCTION = "axis dtype out keepdims initial where"
_CALLS: dict[Any, tuple[Operation, str, str]] = {
    np.sum: (arrays.SUM, "a", _REDUCTION),
    np.mean: (arrays.MEAN, "a", "axis dtype out keepdims where"),
    np.max: (arrays.MAX, "a", "axis out keepdims initial where"),
    np.min: (arrays.MIN, "a", "axis out keepdims initial where"),
    np.cumsum: (arrays.CUMSUM, "a", "axis dtype out"),
    np.reshape: (arrays.RESHAPE, "a", "shape order"),
    np.ravel: (arrays.RAVEL, "a", "order"),
    np.squeeze: (arrays.SQUEEZE, "a", "axis"),
    np.expand_dims: (arrays.EXPAND_DIMS, "a", "axis"),
    np.transpose: (arrays.TRANSPOSE, "a", "axes"),
    np.swapaxes: (arrays.SWAPAXES, "a", "axis1 axis2"),
    np.flip: (arrays.FLIP, "m", "axis"),
    np.broadcast_to: (arrays.BROADCAST_TO, "array", "shape subok"),
    np.clip: (elementwise.CLIP, "a a_min a_max", "out"),
    np.where: (elementwise.WHERE, "condition x y", ""),
    np.concatenate: (arrays.CONCATENATE, "*arrays", "axis out dtype casting"),
    np.stack: (arrays.STACK, "*arrays", "axis out"),
    arrays.scatter: (arrays.SCATTER, "g", "shape index"),
}
"""Elementwise rows need no entry: a ufunc's operands are its positional arguments."""


def _dot(args: tuple[Any, ...]) -> Any:
    """The row of a `dot`: a matrix product, or with a number a multiplication."""
    ranks = [np.ndim(a) for a in args[:2]]
    if 0 in ranks:
        return np.multiply
    return np.matmul if max(ranks) <= 2 else np.dot


@lru_cache(maxsize=4096)
def lookup(function: Any) -> Operation:
    """The row of a NumPy function: our own, else one borrowed, else one without a rule."""
    row = _ROWS.get(function) or (_CALLS[function][0] if function in _CALLS else None)
    if row is None:
        name = getattr(function, "__name__", str(function))
        row = borrow(function) or Operation(name, function, derivatives=None)
    return row


def split(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Operation, tuple[Any, ...], dict[str, Any]]:
    """A call of a NumPy function as an operation, its operands and its keywords."""
    if function is np.dot:
        function = _dot(args)
        if isinstance(function, np.ufunc):
            return lookup(function), args, kwargs
    entry = _CALLS.get(function)
    if entry is None:
        return lookup(function), *_split_unknown(function, args, kwargs)
    row, operand_names, keyword_names = entry
    operands, keywords = operand_names.split(), keyword_names.split()
    given = dict(zip((n.lstrip("*") for n in operands + keywords), args, strict=False)) | kwargs
    given = {k: v for k, v in given.items() if v is not np._NoValue}
    found: tuple[Any, ...]
    if operand_names.startswith("*"):
        found = tuple(given.pop(operand_names[1:]))
    else:
        found = tuple(given.pop(name, None) for name in operands)
    return row, found, {k: v for k, v in given.items() if not (k == "out" and v is None)}


def _split_unknown(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Operands are the positional arguments; settings such as axis go to the keywords."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return args, kwargs
    operands = list(args)
    keywords = dict(kwargs)
    while operands and len(operands) <= len(parameters):
        parameter = parameters[len(operands) - 1]
        is_setting = isinstance(operands[-1], (int, str, tuple, type(None), bool, type))
        if len(operands) == 1 or not is_setting or parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            break
        keywords[parameter.name] = operands.pop()
    return tuple(operands), keywords
