"""Array: stands in for a NumPy array, computes with it, and remembers every operation.

NumPy's own protocols bring the calls here (`__array_ufunc__`, `__array_function__`, operators,
methods). Each recorded value is an `Array`, which is a `Node` of the Graph to come; recording
stores references and formats nothing.
"""

from __future__ import annotations

import dis
import inspect
import itertools
import operator
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from sys import _getframe
from types import FrameType
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.graph import LEAVES, Node
from gradviz.ops import arrays
from gradviz.ops.composed import COMPOSED, outer
from gradviz.ops.operation import Derivative, Operation
from gradviz.ops.table import IN_PLACE, PLAIN, ROWS, lookup, refuse_nested, split
from gradviz.record import names
from gradviz.record.names import returning, returning_offsets, site, user_frame, where

_next = itertools.count().__next__
_new = object.__new__

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
    array = np.array(value)
    if array.dtype.kind not in "fciub":
        raise TypeError(
            f"{kind} {name or '(unnamed)'}: only numbers can be recorded, got "
            f"{type(value).__name__} of dtype {array.dtype}"
        )
    if array.dtype.kind in "iub":
        array = array.astype(float)
    node: Array = record(LEAVES[kind], array[()], (), {}, _getframe(1), name)
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
    """
    return leaf(value, name, "input")


def parameter(value: Any, name: str = "") -> Array:
    """A leaf that is to be learned; otherwise as `input`."""
    return leaf(value, name, "parameter")


_snapshots: dict[int, tuple[weakref.ref[Any], Any]] = {}


def snapshot(array: Any) -> Any:
    """A plain array as it is now: what the program later writes into it must not reach the record.

    As long as the array stays as it is, its snapshot is one and the same object.
    """
    if not array.flags.writeable:
        return array
    key = id(array)
    known = _snapshots.get(key)
    copy: Any = known and known[1]
    alive = known is not None and id(known[0]()) == key
    if alive and copy.shape == array.shape and copy.dtype == array.dtype and (copy == array).all():
        return copy
    copy = array.copy()
    copy.flags.writeable = False
    _snapshots[key] = weakref.ref(array, lambda _: _snapshots.pop(key, None)), copy
    return copy


def apply(
    operation: Operation,
    operands: tuple[Any, ...],
    keywords: dict[str, Any] | None = None,
    frame: FrameType | None = None,
) -> Any:
    """Evaluate an operation on Arrays and plain values, and record it as made in `frame`.

    An integer or boolean result has no gradient and is returned as plain NumPy.

    Raises
    ------
    TraceError
        A recorded value stands where its gradient would be lost, or the result is no array.
    """
    plain = []
    for operand in operands:
        kind = type(operand)
        if kind is Array:
            operand = operand.value
        elif kind is list or kind is tuple:
            operands = tuple(_array(operation, o) for o in operands)
            return apply(operation, operands, keywords, frame or _getframe(1))
        elif kind is np.ndarray and operand.flags.writeable:
            operands = tuple(snapshot(o) if type(o) is np.ndarray else o for o in operands)
            return apply(operation, operands, keywords, frame or _getframe(1))
        plain.append(operand)
    if keywords:
        refuse_nested(operation, keywords, Array)
        keywords = {k: snapshot(v) if type(v) is np.ndarray else v for k, v in keywords.items()}
        value = operation.evaluate(*plain, **keywords)
    else:
        keywords = _NO_KEYWORDS
        value = operation.evaluate(*plain)
    return record(operation, value, operands, keywords, frame or _getframe(1))


def _array(operation: Operation, operand: Any) -> Any:
    """A list of plain numbers as an array."""
    if type(operand) not in (list, tuple):
        return operand
    refuse_nested(operation, {"an operand": operand}, Array)
    return np.asarray(operand)


def record(
    operation: Operation,
    value: Any,
    operands: tuple[Any, ...],
    keywords: dict[str, Any],
    frame: FrameType | None,
    name: str = "",
) -> Any:
    """Record a value that was computed already."""
    kind = type(value)
    if kind is not np.float64:
        if kind is np.ndarray:
            value = value if value.ndim else value[()]
        elif isinstance(value, (tuple, list)):
            parts = [
                record(_part(operation, i, len(value)), part, operands, keywords, frame)
                for i, part in enumerate(value)
            ]
            return kind(*parts) if hasattr(value, "_fields") else kind(parts)
        elif isinstance(value, (float, complex)) and not isinstance(value, np.generic):
            value = np.asarray(value)[()]
        dtype = getattr(value, "dtype", None)
        if dtype is None or dtype.kind not in "fc":
            if dtype is not None and dtype.kind == "O":
                raise TraceError(
                    f"{operation.name} returned an array of objects, which cannot be recorded"
                )
            return value
    node = _new(Array)
    node.value, node.operation, node.operands, node.keywords = value, operation, operands, keywords
    node.order = _next()
    append, node.scope = _recording.get()
    node.name = name
    frame = user_frame(frame)
    node.site = site(frame) if frame else None
    append(node)
    return node


def _part(operation: Operation, i: int, count: int) -> Operation:
    """One of the results of an operation that returns several; the others' gradients are zero."""

    def evaluate(*operands: Any, **keywords: Any) -> Any:
        return operation.evaluate(*operands, **keywords)[i]

    def pull(position: int, g: Any, v: Any, *operands: Any, **keywords: Any) -> Any:
        parts = operation.function(*operands, **keywords)
        upstream = tuple(g if k == i else np.zeros_like(parts[k]) for k in range(count))
        return operation.pulls[position](upstream, parts, *operands, **keywords)

    rules = (Derivative(pull, "g"),) if operation.derivatives else None
    return Operation(f"{operation.name}[{i}]", evaluate, "", rules, variadic=True)


def compose(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function that is written in recorded operations; only its result may get a name."""
    append, scope = _recording.get()
    steps: list[Node] = []
    token = _recording.set((steps.append, scope))
    try:
        result = function(*args, **kwargs)
    except TypeError:
        try:
            inspect.signature(function).bind(*args, **kwargs)
        except TypeError:  # an argument that this form does not know
            return NotImplemented
        raise
    finally:
        _recording.reset(token)
    if result is NotImplemented:
        return result
    frame = user_frame(_getframe(1))
    place = site(frame) if frame else None
    inside = (*place[:2], None) if place else None
    for step in steps:
        step.site = place if step is result else inside
        append(step)
    return result


def _values(value: Any) -> Any:
    """Arguments with the plain values in the place of recorded ones."""
    if isinstance(value, Array):
        return value.value
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(map(_values, value))
    return value


_PLAIN = frozenset((float, int, np.float64, np.float32))
_NUMBERS = (int, float, complex, np.generic)


def _binary(ufunc: np.ufunc, compute: Callable[[Any, Any], Any], swapped: bool = False) -> Any:
    operation = lookup(ufunc)
    new = _new
    get_recording = _recording.get

    def method(self: Array, other: Any) -> Any:
        # Everything `apply` does, unrolled: this is the hot path of recording.
        kind = type(other)
        if kind is Array:
            plain = other.value
        elif kind in _PLAIN:
            plain = other
        elif kind is np.ndarray:
            other = plain = snapshot(other)
            if plain.dtype.kind not in "fiubc":
                raise TraceError(
                    f"{operation.name}: an array of {plain.dtype} cannot be recorded, "
                    f"at {where(_getframe(1))}"
                )
        elif isinstance(other, _NUMBERS):
            plain = other
        elif kind is list or kind is tuple:
            return method(self, np.asarray(other))
        else:
            return NotImplemented
        node = new(Array)
        if swapped:
            node.value = compute(plain, self.value)
            node.operands = (other, self)
        else:
            node.value = compute(self.value, plain)
            node.operands = (self, other)
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
_STORE_SUBSCR = dis.opmap["STORE_SUBSCR"]


def _placed(error: TraceError) -> TraceError:
    """An error of the table's, with the place in the user's program."""
    return error if ", at " in str(error) else TraceError(f"{error}, at {where(_getframe(1))}")


def _unary(ufunc: np.ufunc) -> Any:
    operation = lookup(ufunc)

    def method(self: Array) -> Any:
        return apply(operation, (self,), None, _getframe(1))

    return method


def _compare(compute: Callable[[Any, Any], Any]) -> Any:
    def method(self: Array, other: Any) -> Any:
        return compute(self.value, other.value if isinstance(other, Array) else other)

    return method


def _refused(name: str, instead: str) -> Any:
    """A method of NumPy's that writes into its array."""

    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        raise TraceError(
            f".{name}() would change values that other operations have read; "
            f"use {instead}, at {where(_getframe(1))}"
        )

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
    __mod__, __rmod__ = (
        _binary(np.remainder, operator.mod),
        _binary(np.remainder, operator.mod, True),
    )
    __floordiv__ = _binary(np.floor_divide, operator.floordiv)
    __rfloordiv__ = _binary(np.floor_divide, operator.floordiv, True)
    __divmod__ = lambda self, other: np.divmod(self, other)  # noqa: E731
    __rdivmod__ = lambda self, other: np.divmod(other, self)  # noqa: E731
    __neg__, __pos__, __abs__ = _unary(np.negative), _unary(np.positive), _unary(np.absolute)

    __iadd__, __isub__, __imul__ = _in_place("+"), _in_place("-"), _in_place("*")
    __itruediv__, __ipow__, __imatmul__ = _in_place("/"), _in_place("**"), _in_place("@")
    __imod__, __ifloordiv__ = _in_place("%"), _in_place("//")

    __lt__, __le__ = _compare(operator.lt), _compare(operator.le)
    __gt__, __ge__ = _compare(operator.gt), _compare(operator.ge)
    __eq__, __ne__ = _compare(operator.eq), _compare(operator.ne)

    # --- NumPy's protocols -------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        operation = ROWS.get(ufunc) if method == "__call__" and not keywords else None
        try:
            if operation is not None:
                return apply(operation, inputs, None, _getframe(1))
            return self._ufunc(ufunc, method, inputs, keywords)
        except TraceError as error:
            raise _placed(error) from None

    def _ufunc(self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], keywords: Any) -> Any:
        """All but the plain call of a ufunc that has a row."""
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if keywords.pop("out", None) is not None or method == "at":
            raise TraceError(
                f"{name} or an in-place operator would write a recorded value into a plain array, "
                "which forgets its history; use the returned value instead"
            )
        refused = [k for k in ("where", "axes", "axis", "keepdims") if k in keywords]
        if method == "__call__" and refused:
            raise TraceError(
                f"{name}({refused[0]}=) is not recorded; use np.where, np.moveaxis or np.sum"
            )
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if method == "outer":
            return compose(outer, (ufunc, *inputs), keywords)
        if function in PLAIN:
            return function(*_values(inputs), **keywords)
        if function in COMPOSED:
            result = compose(COMPOSED[function], inputs, keywords)
            if result is not NotImplemented:
                return result
        if method != "__call__":
            return apply(Operation(name, function, derivatives=None), inputs, keywords)
        return apply(lookup(ufunc), inputs, keywords)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in PLAIN:
            return function(*_values(args), **{k: _values(v) for k, v in kwargs.items()})
        if kwargs.get("out") is not None or function in IN_PLACE:
            raise TraceError(
                f"{function.__name__} would write a recorded value into an array, which forgets "
                f"its history; use functions that return a new one (np.where, np.concatenate), "
                f"at {where(_getframe(1))}"
            )
        try:
            ruled = True
            if function in COMPOSED:
                result = compose(COMPOSED[function], args, kwargs)
                if result is not NotImplemented:
                    return result
                ruled = False
            operation, operands, keywords = split(function, args, kwargs, ruled)
            if keywords.get("out") is not None:
                raise TraceError(
                    f"{function.__name__}(out=) forgets the history; use the returned value"
                )
            return apply(operation, operands, keywords, _getframe(1))
        except TraceError as error:
            raise _placed(error) from None

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
        return apply(arrays.GETITEM, (self,), {"index": _plain_index(key)}, _getframe(1))

    def __iter__(self) -> Iterator[Any]:
        if np.ndim(self.value) == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # --- as a Python number ------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        # `buffer[i] = x` asks for a float too, but there the history would be lost unseen.
        frame = _getframe(1)
        if frame.f_code.co_code[frame.f_lasti] == _STORE_SUBSCR:
            raise TraceError(
                "a recorded value is written into a plain array here, which would forget its "
                f"history; collect values in a list and use np.stack, at {where(frame)}"
            )
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __complex__(self) -> complex:
        return complex(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else repr(self)

    def __copy__(self) -> Array:
        return self  # never changes

    def __deepcopy__(self, memo: Any) -> Array:
        return self

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
    def nbytes(self) -> int:  # noqa: D102
        return int(self.value.nbytes)

    @property
    def itemsize(self) -> int:  # noqa: D102
        return int(self.value.itemsize)

    @property
    def mT(self) -> Any:  # noqa: D102
        return np.swapaxes(self, -1, -2)

    @property
    def T(self) -> Any:  # noqa: D102
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

    def reshape(self, *shape: Any, order: Any = "C") -> Any:  # noqa: D102
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:  # noqa: D102
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self, order: Any = "C") -> Any:  # noqa: D102
        return np.ravel(self, order=order)

    def astype(self, dtype: Any, **keywords: Any) -> Any:  # noqa: D102
        return apply(arrays.ASTYPE, (self,), {"dtype": np.dtype(dtype)})

    def clip(self, min: Any = None, max: Any = None, **keywords: Any) -> Any:  # noqa: D102
        return np.clip(self, min, max, **keywords)

    def compress(self, condition: Any, axis: Any = None) -> Any:  # noqa: D102
        return np.compress(condition, self, axis)

    def conjugate(self) -> Any:  # noqa: D102
        return np.conjugate(self)

    def argpartition(self, kth: Any, axis: int = -1) -> Any:  # noqa: D102
        return np.argpartition(self, kth, axis)

    sort = _refused("sort", "np.sort(x)")
    partition = _refused("partition", "np.sort(x)")
    fill = _refused("fill", "np.full_like(x, value)")
    put = _refused("put", "np.where")
    resize = _refused("resize", "np.resize(x, shape)")
    itemset = _refused("itemset", "np.where")

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
    "sum mean prod std var max min argmax argmin argsort cumsum cumprod ravel squeeze swapaxes "
    "repeat diagonal trace take all any nonzero searchsorted round"
).split():
    setattr(Array, _name, _method(getattr(np, _name)))


def _plain_index(key: Any) -> Any:
    """An index, which a recorded array of floats cannot be part of."""
    if isinstance(key, Array) or (
        isinstance(key, tuple) and any(isinstance(k, Array) for k in key)
    ):
        raise TraceError(f"a recorded array of floats cannot be an index, at {where(_getframe(2))}")
    if isinstance(key, tuple):
        return tuple(snapshot(k) if type(k) is np.ndarray else k for k in key)
    return key
