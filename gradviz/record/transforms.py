"""Derivatives of functions: gradients, Jacobians, Hessians, and products with them.

All are backward passes on recorded values, and so recorded themselves: they nest, to any order.
What a backward pass records is in a scope of its own, ``backward pass``, and that of a function
which holds a backward pass itself in ``backward pass 2``, and so on.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import Any

import numpy as np

from gradviz.chain.backward import gradient_of
from gradviz.errors import TraceError
from gradviz.model import Node
from gradviz.record import names
from gradviz.record.array import Array, compose
from gradviz.record.buffer import traced
from gradviz.record.leaves import leaf
from gradviz.record.read import latest_read
from gradviz.record.tape import scope, tape
from gradviz.words import Site

Reverse = Callable[[Any, Sequence[Array]], Any]

_order: ContextVar[int] = ContextVar("order", default=0)
"""How many backward passes, each of a function that holds the one before, ran in this context."""


def grad(function: Callable[..., Any], wrt: str | int = 0) -> Callable[..., Any]:
    """The function that returns a scalar function's gradient.

    Called on plain arrays it returns a plain array. Inside a `trace`, or on recorded values, its
    backward pass is recorded too, so that gradients of gradients are gradients again.

    Parameters
    ----------
    function : callable
        NumPy code that returns a scalar.
    wrt : str or int, optional
        The argument to differentiate by, by name or position; one array of floats.

    Returns
    -------
    callable
        Of the function's arguments; what it returns has the shape of the argument.

    Raises
    ------
    ValueError
        From that function: `wrt` is none of the arguments that it is given.
    TraceError
        From that function: the result is no real scalar, or
        `float` or the like ended its history.

    Examples
    --------
    >>> import gradviz as gv
    >>> float(gv.grad(gv.grad(lambda x: x**3))(2.0))
    12.0
    """
    return _transformed(function, wrt, lambda output, leaves: _pull(output, leaves[0]))


def jacobian(function: Callable[..., Any], wrt: str | int = 0) -> Callable[..., Any]:
    """The function that returns the Jacobian: every element's gradient, one backward pass each.

    Parameters
    ----------
    function : callable
        NumPy code that returns an array of any shape.
    wrt : str or int, optional
        As of `grad`.

    Returns
    -------
    callable
        Its result has the shape of the function's result, then that of the argument.

    Raises
    ------
    ValueError
        From that function: `wrt` is none of the arguments that it is given.
    TraceError
        From that function: the result is no array, or
        `float` or the like ended its history.

    Examples
    --------
    >>> import numpy as np, gradviz as gv
    >>> gv.jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def rows(output: Any, leaves: Sequence[Array]) -> Any:
        shape = np.shape(output)
        found = [_pull(output[i] if shape else output, leaves[0]) for i in np.ndindex(shape)]
        whole = (*shape, *np.shape(leaves[0]))
        return np.reshape(np.stack(found), whole) if found else np.zeros(whole)

    return _transformed(function, wrt, rows)


def hessian(function: Callable[..., Any], wrt: str | int = 0) -> Callable[..., Any]:
    """The function that returns a scalar function's Hessian: the Jacobian of its gradient.

    Parameters
    ----------
    function : callable
        NumPy code that returns a scalar.
    wrt : str or int, optional
        As of `grad`.

    Returns
    -------
    callable
        Its result has the shape of the argument twice.

    Raises
    ------
    ValueError
        From that function: `wrt` is none of the arguments that it is given.
    TraceError
        From that function: the result is no real scalar, or
        `float` or the like ended its history.

    Examples
    --------
    >>> import numpy as np, gradviz as gv
    >>> gv.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """
    return jacobian(grad(function, wrt), wrt)


def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Any, Any]:
    """A function's value and its derivative in a direction, without the Jacobian.

    A VJP is linear in the upstream term; its own VJP by that term is the derivative in a direction.

    Parameters
    ----------
    function : callable
        NumPy code that returns an array.
    primals : sequence of arrays
        Its arguments.
    tangents : sequence of arrays
        A direction for each, of the same shapes.

    Returns
    -------
    tuple of two arrays
        The value and its derivative in that direction, of one shape.

    Raises
    ------
    ValueError
        The directions have other shapes than the arguments.
    TraceError
        The result is no array, or
        `float` or the like ended its history.

    Examples
    --------
    >>> import gradviz as gv
    >>> value, slope = gv.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    >>> float(value), float(slope)
    (6.0, 3.0)
    """
    primals, tangents = tuple(primals), tuple(tangents)
    if list(map(np.shape, primals)) != list(map(np.shape, tangents)):
        raise ValueError(
            f"the tangents have shapes {list(map(np.shape, tangents))}, "
            f"the primals {list(map(np.shape, primals))}"
        )

    def forward(output: Any, leaves: Sequence[Array]) -> Any:
        upstream = leaf(np.ones_like(output.value), "", "input")
        terms = [
            np.sum(message * tangent)
            for variable, tangent in zip(leaves, tangents, strict=True)
            if isinstance(message := _pull(output, variable, upstream), Array)
        ]
        slope = _pull(sum(terms), upstream) if terms else np.zeros_like(output.value)
        return output, slope

    value, slope = _transformed(function, range(len(primals)), forward, tangents)(*primals)
    return value, slope


def hvp(function: Callable[..., Any], x: Any, direction: Any) -> Any:
    """The Hessian of a scalar function of one array, times a direction, without the Hessian.

    Parameters
    ----------
    function : callable
        NumPy code that returns a scalar.
    x : array_like
        Its argument.
    direction : array_like
        Of the same shape.

    Returns
    -------
    array
        Of the same shape.

    Raises
    ------
    ValueError
        The direction has another shape than `x`.
    TraceError
        As of `grad`.

    Examples
    --------
    >>> import numpy as np, gradviz as gv
    >>> gv.hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    return jvp(grad(function), (x,), (direction,))[1]


def _pull(output: Any, variable: Array, upstream: Any = None) -> Any:
    return compose(gradient_of, (output, variable, _source, upstream), {})


def _source(node: Node) -> Site | None:
    return names.source(node.site)


def _transformed(
    function: Callable[..., Any],
    wrt: str | int | Sequence[int],
    reverse: Reverse,
    others: Sequence[Any] = (),
) -> Callable[..., Any]:
    """The function that runs `function` on recorded arguments and returns what `reverse` makes.

    Its result is recorded if an argument or one of `others` is, or what the function reads.
    """

    @wraps(function)
    def derivative(*args: Any, **kwargs: Any) -> Any:
        arguments: dict[Any, Any] = dict(enumerate(args)) | kwargs
        recorded = any(isinstance(a, Array) for a in (*arguments.values(), *others))
        earlier = _order.get()
        with nullcontext() if recorded else tape(), traced(function):
            leaves = []
            for place in _places(function, wrt, kwargs):
                if place not in arguments:
                    raise ValueError(f"wrt={wrt!r}: the call gives no such argument; pass it, too")
                given = arguments[place]
                # A new node, so that only the paths through this argument count.
                fresh = +given if isinstance(given, Array) else leaf(given, "", "parameter")
                fresh.site = fresh.site and (
                    *fresh.site[:2],
                    None,
                )  # what is assigned is the result
                arguments[place] = fresh
                leaves.append(fresh)
            _order.set(0)
            read_before = latest_read[0]
            try:
                output = function(
                    *(arguments[i] for i in range(len(args))), **{k: arguments[k] for k in kwargs}
                )
                if not isinstance(output, Array):
                    output = _constant(function, output, latest_read[0] is not read_before)
                order = _order.get() + 1
            finally:
                _order.set(earlier)
            _order.set(max(earlier, order))
            leaves = [getattr(fresh, "past", (fresh,))[0] for fresh in leaves]
            _ = output.value
            with scope("backward pass" if order == 1 else f"backward pass {order}"):
                result = reverse(output, leaves)

        def returned(part: Any) -> Any:
            if recorded or _depends_on_earlier(part, leaves[0]):
                # One that depends on nothing recorded goes on as a constant: its gradient is 0.
                return part if isinstance(part, Array) else leaf(part, "", "constant")
            return part.value if isinstance(part, Node) else part

        return tuple(map(returned, result)) if isinstance(result, tuple) else returned(result)

    return derivative


def _constant(function: Callable[..., Any], output: Any, read: bool) -> Array:
    """A result that depends on nothing recorded: its derivatives are 0, which is told."""
    name = getattr(function, "__name__", "<lambda>")
    name = "the function" if name == "<lambda>" else name
    if read:
        how, frame = latest_read[0]
        raise TraceError(
            f"{name} returned {type(output).__name__}, which depends on no recorded argument; "
            f"{how} ended its history at {names.where(frame)}"
        )
    if not isinstance(output, (int, float, complex, np.generic, np.ndarray)):
        raise TraceError(f"{name} returned {type(output).__name__}, not a recorded value")
    warnings.warn(
        f"{name} returned a plain number or array, which does not depend on the argument: its "
        "derivative is 0 (did .value or an integer end its history?)",
        stacklevel=3,
    )
    return leaf(output, "", "constant")


def _places(
    function: Callable[..., Any], wrt: str | int | Sequence[int], kwargs: dict[str, Any]
) -> list[Any]:
    """The positions or keywords of the arguments to differentiate by."""
    if isinstance(wrt, str):
        if wrt in kwargs:
            return [wrt]
        known = list(inspect.signature(function).parameters)
        if wrt not in known:
            raise ValueError(f"wrt={wrt!r} is no argument; there are: {', '.join(known)}")
        return [known.index(wrt)]
    return [wrt] if isinstance(wrt, int) else list(wrt)


def _depends_on_earlier(result: Any, leaf: Node) -> bool:
    """Whether a result depends on values recorded before `leaf`, held by a closure."""
    pending, seen = [result] if isinstance(result, Node) else [], set()
    while pending:
        node = pending.pop()
        if node.order < leaf.order:
            return True
        if node.order not in seen:
            seen.add(node.order)
            pending += [o for o in node.read_operands() if isinstance(o, Node)]
    return False
