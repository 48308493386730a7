"""Array: stands in for a NumPy array, computes with it, and remembers every operation.

NumPy's own protocols bring the calls here (`__array_ufunc__`, `__array_function__`, operators,
methods). Each recorded value is an `Array`, which is a `Node` of the Graph to come; recording
stores references and formats nothing.
"""

from __future__ import annotations

import itertools
import operator
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from sys import _getframe
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.graph import LEAVES, Node
from gradviz.ops.operation import Operation
from gradviz.ops import arrays
from gradviz.ops.table import lookup, split
from gradviz.record import names
from gradviz.record.names import returning, returning_offsets, site, user_frame, where

_next = itertools.count().__next__

# Where a recorded value is appended, and its scope. Outside a trace nobody keeps the tape: values
# hold their operands, so `graph(f)` finds all that f depends on. A ContextVar keeps threads and
# asyncio tasks apart.
_recording: ContextVar[tuple[Callable[[Node], None], tuple[str, ...]]] = ContextVar(
    "recording", default=(deque[Node](maxlen=0).append, ())
)


@contextmanager
def tape() -> Iterator[list[Node]]:
    """Keep every value recorded in this context, also those that nothing depends on."""
    kept: list[Node] = []
    token = _recording.set((kept.append, ()))
    try:
        yield kept
    finally:
        _recording.reset(token)


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Put what is recorded inside into a scope: a layer, a neuron, any part of the program.

    Parameters
    ----------
    name : str
        Scopes nest; pictures draw each as a frame around its values.

    Examples
    --------
    >>> import gradviz as gv
    >>> x = gv.input(2.0, "x")
    >>> with gv.scope("neuron"):
    ...     y = x * x
    >>> y.scope
    ('neuron',)
    """
    append, outer = _recording.get()
    token = _recording.set((append, (*outer, str(name))))
    try:
        yield
    finally:
        _recording.reset(token)


def leaf(value: Any, name: str, kind: str) -> Array:
    """A leaf that holds a copy of `value`, so that later changes to it cannot reach the record."""
    array = np.array(value)[()]
    if array.dtype.kind not in "fciub":
        raise TypeError(
            f"{kind} {name or '(unnamed)'}: only numbers can be recorded, got {type(value).__name__}"
            f" of dtype {array.dtype}"
        )
    if array.dtype.kind in "iub":
        array = np.asarray(array, float)[()]
    append, scope = _recording.get()
    frame = user_frame(_getframe(1))
    node = Array.new(
        array,
        LEAVES[kind],
        order=_next(),
        scope=scope,
        name=name,
        site=site(frame) if frame else None,
    )
    append(node)
    return node


def input(value: Any, name: str = "") -> Array:  # noqa: A001 - the field's word, used as gv.input
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
    """
    return leaf(value, name, "input")


def parameter(value: Any, name: str = "") -> Array:
    """A leaf that is to be learned; otherwise as `input`."""
    return leaf(value, name, "parameter")


def apply(
    operation: Operation, operands: tuple[Any, ...], keywords: dict[str, Any] | None = None
) -> Any:
    """Evaluate an operation on Arrays and plain values, and record it.

    An integer or boolean result has no gradient and is returned as plain NumPy.
    """
    keywords = keywords or {}
    plain = [o.value if isinstance(o, Array) else o for o in operands]
    value = operation.evaluate(*plain, **keywords)
    return record(operation, value, operands, keywords)


def record(
    operation: Operation, value: Any, operands: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Record a value that was computed already."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        if isinstance(value, (tuple, list)):
            return type(value)(
                record(_item(operation, i, len(value)), part, operands, keywords)
                for i, part in enumerate(value)
            ) if not hasattr(value, "_fields") else type(value)(
                *(record(_item(operation, i, len(value)), part, operands, keywords) for i, part in enumerate(value))
            )
        return value
    if dtype.kind not in "fc":
        return value
    append, scope = _recording.get()
    frame = user_frame(_getframe(1))
    node = Array.new(
        value,
        operation,
        operands,
        keywords=keywords,
        order=_next(),
        scope=scope,
        site=site(frame) if frame else None,
    )
    append(node)
    return node


def _item(operation: Operation, i: int, count: int) -> Operation:
    """One of several results of an operation without a rule for them together."""
    return Operation(f"{operation.name}[{i}]", lambda *o, **k: operation.evaluate(*o, **k)[i], derivatives=None)


_PLAIN = frozenset((float, int, np.float64, np.ndarray, np.float32))


def _binary(ufunc: np.ufunc, compute: Callable[[Any, Any], Any], swapped: bool = False) -> Any:
    operation = lookup(ufunc)
    new = object.__new__
    get_recording = _recording.get

    def method(self: Array, other: Any) -> Any:
        # Everything `apply` does, unrolled: this is the hot path of recording.
        kind = type(other)
        if kind is Array:
            plain = other.value
        elif kind in _PLAIN:
            plain = other
        elif isinstance(other, (np.generic, complex, list)):
            plain = other if not isinstance(other, list) else np.asarray(other)
        else:
            return NotImplemented
        node = new(Array)
        if swapped:
            node.value = value = compute(plain, self.value)
            node.operands = (other, self)
        else:
            node.value = value = compute(self.value, plain)
            node.operands = (self, other)
        if value.dtype.kind == "O":
            raise TraceError(f"{operation.name}: object arrays cannot be recorded, at {where(_getframe(1))}")
        node.operation = operation
        node.keywords = _NO_KEYWORDS
        node.order = _next()
        append, node.scope = get_recording()
        node.name = ""
        frame = _getframe(1)
        code = frame.f_code
        offset = frame.f_lasti
        known = returning.get(id(code))
        if known is None or known[0] is not code:
            known = (code, returning_offsets(code))
        node.site = site(frame) if offset in known[1] else (code, offset)
        append(node)
        return node

    return method


_NO_KEYWORDS: dict[str, Any] = {}


def _unary(ufunc: np.ufunc) -> Any:
    operation = lookup(ufunc)

    def method(self: Array) -> Any:
        return apply(operation, (self,))

    return method


def _compare(compute: Callable[[Any, Any], Any]) -> Any:
    def method(self: Array, other: Any) -> Any:
        return compute(self.value, other.value if isinstance(other, Array) else other)

    return method


def _in_place(sign: str) -> Any:
    def method(self: Array, other: Any) -> Any:
        if np.ndim(self.value) == 0:  # NumPy's scalars are immutable: the name is bound anew
            return NotImplemented
        raise TraceError(
            f"an in-place '{sign}=' on a recorded array would change values that other operations "
            f"have read; write 'x = x {sign} y' instead, at {where(_getframe(1))}"
        )

    return method


class Array(Node):
    """A recorded NumPy array or scalar. Made by `input`, `parameter` and every operation on one."""

    __slots__ = ("__weakref__",)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        label = self.name or names.assigned(self.site) or self.operation.name
        return f"<{label} = {np.array2string(np.asarray(self.value), threshold=8, precision=6)}>"

    __add__, __radd__ = _binary(np.add, operator.add), _binary(np.add, operator.add, True)
    __sub__, __rsub__ = _binary(np.subtract, operator.sub), _binary(np.subtract, operator.sub, True)
    __mul__, __rmul__ = _binary(np.multiply, operator.mul), _binary(np.multiply, operator.mul, True)
    __truediv__ = _binary(np.divide, operator.truediv)
    __rtruediv__ = _binary(np.divide, operator.truediv, True)
    __pow__, __rpow__ = _binary(np.power, operator.pow), _binary(np.power, operator.pow, True)
    __matmul__ = _binary(np.matmul, operator.matmul)
    __rmatmul__ = _binary(np.matmul, operator.matmul, True)
    __mod__, __rmod__ = _binary(np.remainder, operator.mod), _binary(np.remainder, operator.mod, True)
    __floordiv__ = _binary(np.floor_divide, operator.floordiv)
    __rfloordiv__ = _binary(np.floor_divide, operator.floordiv, True)
    __neg__, __pos__, __abs__ = _unary(np.negative), _unary(np.positive), _unary(np.absolute)

    __iadd__, __isub__, __imul__ = _in_place("+"), _in_place("-"), _in_place("*")
    __itruediv__, __ipow__, __imatmul__ = _in_place("/"), _in_place("**"), _in_place("@")

    __lt__, __le__ = _compare(operator.lt), _compare(operator.le)
    __gt__, __ge__ = _compare(operator.gt), _compare(operator.ge)
    __eq__, __ne__ = _compare(operator.eq), _compare(operator.ne)

    # --- NumPy's protocols -------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        if keywords.get("out") is not None:
            raise TraceError(
                f"{ufunc.__name__}(..., out=) or an in-place operator would write a recorded value "
                f"into a plain array, which forgets its history; use the returned value instead, "
                f"at {where(_getframe(1))}"
            )
        keywords.pop("out", None)
        operation = lookup(ufunc if method == "__call__" else getattr(ufunc, method))
        return apply(operation, inputs, keywords)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        operation, operands, keywords = split(function, args, kwargs)
        if keywords.get("out") is not None:
            raise TraceError(
                f"{function.__name__}(..., out=) would write a recorded value into a plain array, "
                f"which forgets its history; use the returned value, at {where(_getframe(1))}"
            )
        return apply(operation, operands, keywords)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TraceError(
            "a recorded array is turned into a plain one here, which would forget its history; "
            "use NumPy's functions on it directly (np.stack or np.concatenate to collect values), "
            f"or its .value if no gradient is wanted, at {where(_getframe(1))}"
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TraceError(
            "writing into a recorded array would change values that other operations have read; "
            f"use np.where or np.concatenate to make a new one, at {where(_getframe(1))}"
        )

    def __getitem__(self, key: Any) -> Any:
        return apply(arrays.GETITEM, (self,), {"index": _plain_index(key)})

    def __iter__(self) -> Iterator[Any]:
        if np.ndim(self.value) == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # --- as a Python number ------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __complex__(self) -> complex:
        return complex(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else repr(self)

    def __round__(self, digits: int = 0) -> Any:
        return np.round(self, digits)

    def item(self, *args: Any) -> Any:
        """The plain Python number; its history ends here."""
        return self.value.item(*args)

    def tolist(self) -> Any:
        """Plain Python numbers; their history ends here."""
        return self.value.tolist()

    # --- NumPy's attributes and methods ------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102 - NumPy's own attributes
        return np.shape(self.value)

    @property
    def ndim(self) -> int:  # noqa: D102
        return np.ndim(self.value)

    @property
    def size(self) -> int:  # noqa: D102
        return int(np.size(self.value))

    @property
    def dtype(self) -> Any:  # noqa: D102
        return self.value.dtype

    @property
    def T(self) -> Any:  # noqa: N802, D102
        return np.transpose(self)

    @property
    def real(self) -> Any:  # noqa: D102
        return np.real(self)

    @property
    def imag(self) -> Any:  # noqa: D102
        return np.imag(self)

    @property
    def flat(self) -> Any:  # noqa: D102
        return iter(np.ravel(self))

    def reshape(self, *shape: Any, order: str = "C") -> Any:  # noqa: D102
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:  # noqa: D102
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self, order: str = "C") -> Any:  # noqa: D102
        return np.ravel(self, order=order)

    def astype(self, dtype: Any, **keywords: Any) -> Any:  # noqa: D102
        return apply(arrays.ASTYPE, (self,), {"dtype": np.dtype(dtype)})

    def copy(self, order: str = "C") -> Any:  # noqa: D102
        return np.positive(self)

    def dot(self, other: Any) -> Any:  # noqa: D102
        return np.dot(self, other)

    def conj(self) -> Any:  # noqa: D102
        return np.conjugate(self)


def _method(function: Callable[..., Any]) -> Any:
    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__doc__ = f"As `numpy.{function.__name__}`."
    return method


for _name in (
    "sum mean prod std var max min argmax argmin argsort sort cumsum cumprod ravel squeeze swapaxes "
    "repeat diagonal trace take clip all any nonzero searchsorted round partition ptp"
).split():
    setattr(Array, _name, _method(getattr(np, _name)))


def _plain_index(key: Any) -> Any:
    """An index without Arrays in it: a recorded one gives its (whole) numbers."""
    if isinstance(key, tuple):
        return tuple(_plain_index(k) for k in key)
    if isinstance(key, Array):
        raise TraceError(
            f"a recorded array of floats cannot be an index, at {where(_getframe(2))}"
        )
    return key
