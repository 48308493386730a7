"""What a program begins with, and what it holds constant: `input`, `parameter`, `stop_gradient`."""

from __future__ import annotations

from sys import _getframe
from types import FrameType
from typing import Any

import numpy as np

from gradviz.model import LEAVES
from gradviz.ops import arrays
from gradviz.ops.operation import refuse_more_than_arrays
from gradviz.record.array import Array, apply, record_floats
from gradviz.record.copies import copied
from gradviz.record.held import FROM_PYTHON, NO_KEYWORDS
from gradviz.record.others import meet_distributions


def leaf(value: Any, name: str, kind: str, frame: FrameType | None = None) -> Array:
    """A leaf that holds a copy of `value`, so that later changes to it cannot reach the record."""
    meet_distributions()
    given = type(value)
    array: Any
    if given is float or given is np.float64:
        array = np.float64(value)
    else:
        refuse_more_than_arrays(value, f"{kind} {name or '(unnamed)'}")
        array = copied(value)
        if array.dtype.kind not in "fciub":
            raise TypeError(
                f"{kind} {name or '(unnamed)'}: only numbers can be recorded, got "
                f"{given.__name__} of dtype {array.dtype}"
            )
        if array.dtype.kind in "iub":
            array = array.astype(float)
        array = array if array.ndim else array[()]
    keywords = FROM_PYTHON if given is float or given is complex else NO_KEYWORDS
    node = record_floats(LEAVES[kind], array, (), keywords, frame, name)
    if given is np.ndarray and not value.ndim:
        node.views = []
    return node


def input(value: Any, name: str = "") -> Array:
    """A leaf: an input of the computation.

    Parameters
    ----------
    value : array_like of numbers
        Any shape; integers and booleans become float64, since integers have no gradient.
    name : str, optional
        Default: the variable that it is assigned to.

    Returns
    -------
    Array
        Computes like the NumPy array it stands for, and is recorded.

    Raises
    ------
    TypeError
        The value is not numeric.

    Examples
    --------
    >>> import gradviz as gv
    >>> x = gv.input([1.0, 2.0], "x")
    >>> gv.graph(x @ x).grad("x")
    array([2., 4.])
    """
    return leaf(value, name, "input", _getframe(1))


def parameter(value: Any, name: str = "") -> Array:
    """A leaf that is to be learned; otherwise as `input`.

    Parameters
    ----------
    value : array_like
        Numbers; integers become floats.
    name : str, optional
        By default the variable that it is assigned to.

    Returns
    -------
    Array

    Raises
    ------
    TypeError
        The value is not numeric.

    Examples
    --------
    >>> import gradviz as gv
    >>> w = gv.parameter(0.5, "w")
    >>> g = gv.graph((w - 1.0) ** 2).step(0.1)
    >>> round(float(g.value("w")), 6)
    0.6
    """
    return leaf(value, name, "parameter", _getframe(1))


def stop_gradient(x: Any) -> Any:
    """A constant from here on: the same numbers, and no gradient passes.

    Parameters
    ----------
    x : array_like
        A recorded value; plain numbers and arrays are returned as they are.

    Returns
    -------
    Array
        Recorded as an operation of its own, and drawn as an edge that carries no gradient. Finite
        differences (`Graph.check`) hold it where it was.

    Examples
    --------
    >>> import gradviz as gv
    >>> g = gv.trace(lambda x: x * gv.stop_gradient(x), 3.0)
    >>> float(g.grad("x"))
    3.0
    """
    if isinstance(x, Array):
        return apply(arrays.STOP, (x,), None, _getframe(1))
    return arrays.STOP.evaluate(x)
