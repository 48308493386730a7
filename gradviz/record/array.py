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
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from functools import wraps
from sys import _getframe
from types import FrameType
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.files import writable
from gradviz.model import LEAVES, Node
from gradviz.ops import arrays
from gradviz.ops.composed import COMPOSED, loops
from gradviz.ops.distributions import METHODS
from gradviz.ops.operation import (
    Operation,
    Part,
    computes_otherwise,
    refuse_more_than_arrays,
)
from gradviz.ops.table import (
    IN_PLACE,
    PLAIN,
    ROWS,
    has_recorded,
    lookup,
    named_out,
    refuse_nested,
    split,
)
from gradviz.record import names
from gradviz.record.names import places, places_of, site, user_frame, where

_next = itertools.count().__next__
STALE = 2**62
"""The order of a view whose array was written to, until it is used again."""

# Where a recorded value is appended, and its scope. Outside a trace nobody keeps the tape: values
# hold their operands, so `graph(f)` finds all that f depends on. A ContextVar keeps threads and
# asyncio tasks apart.
_forget = deque[Node](maxlen=0).append
_recording: ContextVar[tuple[Callable[[Node], None], tuple[str, ...]]] = ContextVar(
    "recording", default=(_forget, ())
)


@contextmanager
def tape() -> Iterator[list[Node]]:
    """Keep every value recorded in this context, also those that nothing depends on."""
    kept: list[Node] = []
    token = _recording.set((kept.append, ()))
    told: Any = {kind: "call" for kind, how in np.geterr().items() if how == "warn"}
    try:
        with np.errstate(call=_warn, **told):
            yield kept
    finally:
        _recording.reset(token)


def _warn(kind: str, _: int) -> None:
    """NumPy's warning of a number that is not finite, at the user's line instead of ours."""
    frame = user_frame(_getframe(1))
    if frame is not None:
        warnings.warn_explicit(
            f"{kind} encountered",
            RuntimeWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
            frame.f_globals.get("__name__"),
            frame.f_globals.setdefault("__warningregistry__", {}),
        )


DEEPEST = 100
"""So many scopes may be nested: pictures draw frame within frame."""


class scope(ContextDecorator):
    """Put what is recorded inside into a scope: a layer, a neuron, any part of the program.

    Parameters
    ----------
    name : str
        Scopes nest; pictures draw each as a frame around its values.

    Raises
    ------
    TraceError
        More than 100 scopes are nested.

    Examples
    --------
    >>> import gradviz as gv
    >>> x = gv.input(2.0, "x")
    >>> with gv.scope("neuron"):
    ...     y = x * x
    >>> y.scope
    ('neuron',)
    """

    def __init__(self, name: str) -> None:
        self.name = writable(str(name))
        self.entered: list[Any] = []

    def _recreate_cm(self) -> scope:
        return scope(self.name)

    def __enter__(self) -> None:
        recording = _recording.get()
        append, outer = _running(*recording)
        if len(outer) >= DEEPEST:
            raise TraceError(
                f"the scope {self.name!r} would be number {DEEPEST + 1} of nested ones; open it "
                f"around the first call of a recursion only, at {where(_getframe(1))}"
            )
        frame = _getframe(1)
        driver = frame.f_back and frame.f_back.f_globals.get("__name__")
        if frame.f_code.co_flags & _GENERATOR and driver != "contextlib":
            append = _OfGenerator(frame, recording)
        token = _recording.set((append, (*outer, self.name)))
        self.entered.append(append if isinstance(append, _OfGenerator) else token)

    def __exit__(self, *_: Any) -> None:
        entered = self.entered.pop()
        if not isinstance(entered, _OfGenerator):
            _recording.reset(entered)
            return
        entered.frame = None
        append, outer = _recording.get()  # of another context, if that one ends the generator
        while isinstance(append, _OfGenerator) and append.frame is None:
            append, outer = append.outer
        _recording.set((append, outer))


_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class _OfGenerator:
    """Appends values to the tape, into a generator's scope only while the generator runs.

    A generator pauses in the midst of its scope, and what others then compute is not in it.
    """

    def __init__(self, frame: FrameType, outer: tuple[Any, tuple[str, ...]]) -> None:
        self.frame: FrameType | None = frame
        self.outer = outer

    def __call__(self, node: Node) -> None:
        append, node.scope = _running(self, node.scope)
        while isinstance(append, _OfGenerator):
            append = append.outer[0]
        append(node)


def _running(append: Any, scope: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Of the generators that opened the scopes, the first that is at work, or has called us."""
    while isinstance(append, _OfGenerator):
        frame: FrameType | None = _getframe(2)
        while frame is not None and frame is not append.frame:
            frame = frame.f_back
        if frame is not None:
            break
        append, scope = append.outer
    return append, scope


def leaf(value: Any, name: str, kind: str, frame: FrameType | None = None) -> Array:
    """A leaf that holds a copy of `value`, so that later changes to it cannot reach the record."""
    if not _distributions:
        _meet_distributions()
    refuse_more_than_arrays(value, f"{kind} {name or '(unnamed)'}")
    array = np.array(value)
    if array.dtype.kind not in "fciub":
        raise TypeError(
            f"{kind} {name or '(unnamed)'}: only numbers can be recorded, got "
            f"{type(value).__name__} of dtype {array.dtype}"
        )
    if array.dtype.kind in "iub":
        array = array.astype(float)
    keywords = _FROM_PYTHON if type(value) in (float, complex) else _NO_KEYWORDS
    node = _append(LEAVES[kind], array[()], (), keywords, frame, name)
    if type(value) is np.ndarray and not value.ndim:
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
    """
    return leaf(value, name, "input", _getframe(1))


def parameter(value: Any, name: str = "") -> Array:
    """A leaf that is to be learned; otherwise as `input`."""
    return leaf(value, name, "parameter", _getframe(1))


_snapshots: dict[int, tuple[weakref.ref[Any], Any]] = {}


def snapshot(array: Any) -> Any:
    """A plain array as it is now: what the program later writes into it must not reach the record.

    As long as the array stays as it is, its snapshot is one and the same object.
    """
    if _constant(array):
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


def _constant(array: Any) -> bool:
    """Whether nothing can write into an array, through it or through what it is a view of."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)


def frozen(value: Any) -> Any:
    """An argument as it is now, whatever the program later writes into its lists and arrays."""
    kind = type(value)
    if kind is np.ndarray:
        return snapshot(value)
    if kind is list or kind is tuple:
        return kind(map(frozen, value))
    return value


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
        elif kind is np.ndarray and not _constant(operand):
            operands = tuple(snapshot(o) if type(o) is np.ndarray else o for o in operands)
            return apply(operation, operands, keywords, frame or _getframe(1))
        elif isinstance(operand, Held):  # a buffer
            operands = tuple(
                o.value if isinstance(o, Held) and type(o) is not Array else o for o in operands
            )
            return apply(operation, operands, keywords, frame or _getframe(1))
        elif kind not in _PLAIN and computes_otherwise(kind):
            try:
                refuse_more_than_arrays(operand, operation.name)
            except TypeError as error:
                raise TraceError(f"{error}, at {where(frame or _getframe(1))}") from None
        elif kind is np.memmap:
            operands = tuple(np.array(o) if type(o) is np.memmap else o for o in operands)
            return apply(operation, operands, keywords, frame or _getframe(1))
        plain.append(operand)
    if keywords:
        refuse_nested(operation, keywords, Array)
        keywords = {k: frozen(v) for k, v in keywords.items()}
        value = operation.evaluate(*plain, **keywords)
    else:
        keywords = _NO_KEYWORDS
        value = operation.evaluate(*plain)
    return record(operation, value, operands, keywords, frame or _getframe(1))


def _array(operation: Operation, operand: Any) -> Any:
    """A list of numbers as an array."""
    return stacked(operand) if type(operand) in (list, tuple) else operand


def _joined(operand: Any) -> Any:
    """A list with recorded values as an array."""
    return stacked(operand) if has_recorded(operand, Array) else operand


def stacked(parts: Any) -> Any:
    """The array of nested lists of numbers and arrays, some recorded."""
    if type(parts) not in (list, tuple):
        return parts
    if not has_recorded(parts, Array):
        return np.asarray(parts)
    flat: list[Any] = []
    shape = _shape(parts, flat)
    if len({np.ndim(part) for part in flat}) > 1:
        return np.stack([stacked(p) if type(p) in (list, tuple) else p for p in parts])
    whole = np.stack(flat)
    return whole if np.shape(whole) == shape else np.reshape(whole, shape)


def _shape(parts: Any, flat: list[Any]) -> tuple[int, ...]:
    """The shape of nested lists; what is inside goes to `flat`."""
    if type(parts) not in (list, tuple):
        flat.append(parts)
        return np.shape(parts)
    shapes = {_shape(part, flat) for part in parts}
    if len(shapes) != 1:
        raise ValueError(
            "setting an array element with a sequence: the parts have the shapes "
            f"{', '.join(map(str, sorted(shapes)))}"
        )
    return (len(parts), *shapes.pop())


def record(
    operation: Operation,
    value: Any,
    operands: tuple[Any, ...],
    keywords: dict[str, Any],
    frame: FrameType | None,
    name: str = "",
) -> Any:
    """Record a value that was computed already."""
    whole, kind = value, type(value)
    if kind is not np.float64:
        if kind is np.ndarray:
            value = value if value.ndim else value[()]
        elif isinstance(value, (tuple, list)):
            parts = [
                record(Part(operation, i), part, operands, keywords, frame)
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
    node = _append(operation, value, operands, keywords, frame, name)
    if kind is np.ndarray and len(operands) == 1:
        owner = whole if whole.base is None else whole.base
        seen = getattr(operands[0], "value", None)
        if seen is not None and not np.ndim(seen) and not operands[0]._is_scalar():
            seen = np.zeros((), seen.dtype)  # our values without axes are scalars
            whole = operation.evaluate(seen, **keywords)
            owner = whole if whole.base is None else whole.base
        if type(seen) is np.ndarray and owner is (seen if seen.base is None else seen.base):
            node.viewed = operands[0]  # it shares the memory of what it was made from
            if hasattr(node.viewed, "views"):
                node.viewed.views.append(weakref.ref(node))
            else:
                node.viewed.views = [weakref.ref(node)]
    return node


def _append(
    operation: Operation,
    value: Any,
    operands: tuple[Any, ...],
    keywords: dict[str, Any],
    frame: FrameType | None,
    name: str = "",
) -> Array:
    """Record a value of floats or complex numbers."""
    node = Array()
    node.value = value
    node.operation = operation
    node.operands = operands
    node.keywords = keywords
    node.order = _next()
    append, node.scope = _recording.get()
    node.name = name
    frame = user_frame(frame)
    node.site = site(frame) if frame is not None else None
    append(node)
    return node


def start(node: Node) -> None:
    """Put a value whose operation and operands are set on the tape, in the present scope."""
    node.order = _next()
    append, node.scope = _recording.get()
    append(node)


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
        if step is result:
            step.site = place
        elif not place or not step.site or step.site[:2] == place[:2]:
            step.site = inside
        elif len(step.site) > 2:  # returned by a function of the program's that was called here
            step.site = (*step.site[:2], None)
        append(step)
    return result


def _values(value: Any) -> Any:
    """Arguments with the plain values in the place of recorded ones."""
    if isinstance(value, Array):
        return value.value
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(map(_values, value))
    return value


latest_read: list[Any] = [None]
"""How, and in which frame, a value was last read as a plain number; a new object every time."""


def _note_all(value: Any, how: str, frame: FrameType) -> None:
    if isinstance(value, Array):
        value._noted(how, frame)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _note_all(part, how, frame)
    elif isinstance(value, dict):
        _note_all(list(value.values()), how, frame)


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


_PLAIN = frozenset((float, int, np.float64, np.float32))
_FLOATS = frozenset((np.ndarray, np.float64, np.float32))
_NUMBERS = (int, float, complex, np.generic)


def _binary(ufunc: np.ufunc, compute: Callable[[Any, Any], Any], swapped: bool = False) -> Any:
    operation = lookup(ufunc)
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
        elif kind is list or kind is tuple or kind is np.memmap or computes_otherwise(kind):
            pair = (other, self) if swapped else (self, other)
            return apply(operation, pair, None, _getframe(1))
        else:
            return NotImplemented
        node = Array()
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
        sites = places.get(id(code)) or places_of(code)
        node.site = sites.get(frame.f_lasti) or site(frame)
        append(node)
        return node

    return method


# What of `math` only asks a question; and NumPy's names for the rest.
_ASKS = frozenset(("isnan", "isinf", "isfinite", "isclose", "floor", "ceil", "trunc"))
_TWINS = {
    **{name: f"arc{name[1:]}" for name in "acos acosh asin asinh atan atan2 atanh".split()},
    "pow": "power", "fsum": "sum", "prod": "prod", "dist": "linalg.norm", "phase": "angle",
}  # fmt: skip
# What SciPy's functions that turn their arguments into plain arrays are written as.
_INSTEAD = {
    "logsumexp": "write np.logaddexp.reduce(x, axis)",
    "softmax": "write np.exp(x - np.logaddexp.reduce(x))",
    "log_softmax": "write x - np.logaddexp.reduce(x)",
    "polygamma": "write (-1)**(n + 1) * special.gamma(n + 1) * special.zeta(n + 1, x)",
    "multigammaln": "write np.sum(special.gammaln(a - np.arange(d) / 2)) "
    "+ d * (d - 1) / 4 * np.log(np.pi)",
    "factorial": "write special.gamma(n + 1)",
}
_NO_KEYWORDS: dict[str, Any] = {}
_FROM_PYTHON: dict[str, Any] = {}
"""The keywords of a leaf that came in as a number of Python's own, which is no array of NumPy's."""
_STORES = {dis.opmap[name] for name in ("STORE_SUBSCR", "STORE_SLICE") if name in dis.opmap}
_LOAD_ATTR = dis.opmap["LOAD_ATTR"]


def _placed(error: TraceError) -> TraceError:
    """An error of the table's, with the place in the user's program."""
    return error if ", at " in str(error) else TraceError(f"{error}, at {where(_getframe(1))}")


def _into_plain(frame: FrameType) -> TraceError:
    return TraceError(
        "a recorded value is written into a plain array here, which would forget its history; "
        "make the array in the traced function (np.array(a) copies one), or collect values in a "
        f"list and use np.stack, at {where(frame)}"
    )


_HANDED_OUT = {
    **dict.fromkeys(
        ("data", "ctypes", "base", "getfield", "__array_interface__", "__array_struct__"),
        "use the array itself, indices and NumPy's functions",
    ),
    "setflags": "write to x[...]",
    **dict.fromkeys(("byteswap", "newbyteorder"), "use the array itself"),
    **dict.fromkeys(("to_device", "__dlpack__", "__dlpack_device__"), "use NumPy alone"),
}
"""NumPy's attributes that are refused, and what to do instead."""


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


def _in_place(compute: Callable[[Any, Any], Any]) -> Any:
    def method(self: Array, other: Any) -> Any:
        if self._is_scalar():  # immutable: the name is bound anew
            return NotImplemented
        result = compute(self, other)
        if isinstance(result, Array):
            result.site = site(_getframe(1))
        return _overwritten(self, result, _getframe(1))

    return method


def _overwritten(target: Array, result: Any, frame: FrameType) -> Any:
    """Write a result into an array as a whole: ``target[...] = result``, which `out` does too."""
    if np.shape(result) != np.shape(target.value) or not np.can_cast(
        result.dtype, target.dtype, "same_kind"
    ):
        raise ValueError(
            f"a result of {result.dtype} and shape {np.shape(result)} cannot be written into an "
            f"array of {target.dtype} and shape {np.shape(target.value)}"
        )
    memory = getattr(result, "value", result).strides
    if (
        hasattr(target, "viewed")
        or hasattr(result, "viewed")
        or not isinstance(result, Array)
        or result.order != _next() - 1  # it was there before, and may have readers
        or result.dtype != target.dtype
        or memory != target.value.strides
    ):
        target._write(..., result, frame)
    else:
        target._outdate()
        target._become(result)
    return target


class Held(Node):
    """What a program holds as an array: an `Array`, or a `Buffer` that may become one."""

    __slots__ = ("__weakref__", "past", "read", "viewed", "views")

    read: dict[tuple[str, Any], int]
    """How its value was read as plain numbers and where, and what number in the order of recording
    was next at the first time; absent where it never was."""
    past: list[Array]
    """What it was before each time that the program wrote into it; absent where it never did."""
    views: list[weakref.ref[Array]]
    """The recorded views of its memory; absent where there are none."""
    viewed: Array
    """What this is a view of; absent where it is none."""

    def become(self) -> None:
        """Be an `Array` from now on: a recorded value is about to be written."""
        raise NotImplementedError


class Array(Held):
    """A recorded NumPy array or scalar. Made by `input`, `parameter` and every operation on one."""

    __slots__ = ()

    __hash__ = object.__hash__

    def become(self) -> None:
        """It is recorded already."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What a program that asks by `isinstance` is told: the class that it has without us."""
        return type(self._without_us())

    def _without_us(self) -> Any:
        """What the program has here when it is not recorded."""
        if self.keywords is _FROM_PYTHON:
            return self.value.item()
        return self.value if self._is_scalar() else np.asarray(self.value)

    # --- in-place code -----------------------------------------------------------------------
    #
    # Writing makes the same object stand for a new value: the old one moves to `past`, where those
    # who read it find it (`Node.read_operands`). A view is written to in the array it is a view of;
    # all its views are then computed anew when the program uses them again.

    def _is_scalar(self) -> bool:
        """Whether NumPy has a scalar here; a 0-d array can be written to."""
        if np.ndim(self.value):
            return False
        return not (hasattr(self, "viewed") or hasattr(self, "views"))

    def _become(self, value: Array) -> None:
        """Stand for another value from now on; readers until now keep the one they read."""
        old = Array()
        for field in (*Node.__slots__, "read", "viewed"):
            if hasattr(self, field):
                setattr(old, field, getattr(self, field))
        if hasattr(self, "read"):
            del self.read
        if not hasattr(self, "past"):
            self.past = []
        self.past.append(old)
        value.operands = tuple([old if o is self else o for o in value.operands])
        for field in Node.__slots__:
            setattr(self, field, getattr(value, field))
        append = _recording.get()[0]
        append(old)
        append(self)

    def _outdate(self) -> None:
        """Have every view of this array computed again when it is used."""
        for reference in getattr(self, "views", ()):
            view = reference()
            if view is None:
                continue
            view._outdate()
            old = Array()
            for field in (*Node.__slots__, "viewed"):
                setattr(old, field, getattr(view, field))
            if not hasattr(view, "past"):
                view.past = []
            view.past.append(old)
            _recording.get()[0](old)
            view.order = STALE
            del view.value
        self.views = []

    def __getattr__(self, attribute: str) -> Any:  # a slot that is empty
        if attribute != "value" or getattr(self, "order", 0) != STALE:
            if attribute in _HANDED_OUT:
                frame = _getframe(1)
                asked = attribute[0] != "_" or (  # NumPy asks for its protocols itself
                    frame.f_code.co_code[frame.f_lasti] == _LOAD_ATTR
                )
                if asked and user_frame(frame) is frame:
                    self._refuse(attribute, frame)
            raise AttributeError(f"a recorded array has no attribute {attribute!r}")
        fresh = apply(self.operation, (self.viewed,), dict(self.keywords), None)
        fresh.site, fresh.scope = self.site, self.scope
        for field in Node.__slots__:
            setattr(self, field, getattr(fresh, field))
        if getattr(fresh, "viewed", None) is self.viewed:
            self.viewed.views[-1] = weakref.ref(self)
        else:
            del self.viewed
        return self.value

    def _refuse(self, attribute: str, frame: FrameType) -> None:
        """Raise a TraceError, where NumPy has an attribute whose use would not be recorded."""
        if hasattr(type(self._without_us()), attribute):
            raise TraceError(
                f".{attribute} of a recorded array hands out or changes numbers without their "
                f"history; {_HANDED_OUT[attribute]}, or use .value.{attribute} if no gradient is "
                f"wanted, at {where(frame)}"
            )

    def _write(self, index: Any, value: Any, frame: FrameType) -> None:
        """``self[index] = value``."""
        whole = self
        numbers = None
        chain = []
        while hasattr(whole, "viewed") and whole.dtype == whole.viewed.dtype:
            chain.append(whole)
            whole = whole.viewed
        if chain:
            numbers = np.arange(int(np.size(whole.value))).reshape(np.shape(whole.value))
            for view in reversed(chain):
                numbers = view.operation.evaluate(numbers, **view.keywords)
            if not numbers.flags.writeable or np.unique(numbers).size != numbers.size:
                raise ValueError("assignment destination is read-only")
            places, value = numbers[index], stacked(value)
            extra = np.ndim(value) - np.ndim(places)
            if extra > 0 and np.shape(value)[:extra] == (1,) * extra:
                value = np.reshape(value, np.shape(value)[extra:])
            index = np.unravel_index(places, np.shape(whole.value))
        new = apply(arrays.SETITEM, (whole, value), {"index": _plain_index(index)}, frame)
        # The name of `y[0] = value` is the whole's, not the value's.
        place = value.site if isinstance(value, Array) else None
        if place and place[-1] and names.source(place[-2:]) == names.source(new.site):
            value.site = (*place[:2], None)
        if hasattr(whole, "viewed"):  # the real or the imaginary part of a complex array
            both = whole.viewed
            if whole.operation.function is np.real:
                both._write(..., new + 1j * np.imag(both), frame)
            else:
                both._write(..., np.real(both) + 1j * new, frame)
            return
        whole._outdate()
        whole._become(new)

    def __repr__(self) -> str:
        if _recording.get()[0] is not _forget:
            return repr(self._without_us_noted("repr()", _getframe(1)))
        label = self.name or names.assigned(self.site) or self.operation.name
        return f"<{label} = {np.array2string(np.asarray(self.value), threshold=8, precision=6)}>"

    def __str__(self) -> str:
        if _recording.get()[0] is not _forget:
            return str(self._without_us_noted("str()", _getframe(1)))
        return repr(self)

    def __format__(self, spec: str) -> str:
        if spec or _recording.get()[0] is not _forget:
            return format(self._without_us_noted("format", _getframe(1)), spec)
        return repr(self)

    def __bytes__(self) -> bytes:
        return bytes(self._without_us_noted("bytes()", _getframe(1)))

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

    __iadd__, __isub__ = _in_place(operator.add), _in_place(operator.sub)
    __imul__, __itruediv__ = _in_place(operator.mul), _in_place(operator.truediv)
    __ipow__, __imatmul__ = _in_place(operator.pow), _in_place(operator.matmul)
    __imod__, __ifloordiv__ = _in_place(operator.mod), _in_place(operator.floordiv)

    __lt__, __le__ = _compare(operator.lt), _compare(operator.le)
    __gt__, __ge__ = _compare(operator.gt), _compare(operator.ge)
    __eq__, __ne__ = _compare(operator.eq), _compare(operator.ne)

    # --- NumPy's protocols -------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        operation = None
        if method == "__call__" and not keywords:
            operation = ROWS.get(ufunc)
            if operation is None and ufunc not in COMPOSED and ufunc not in PLAIN:
                operation = lookup(ufunc)
        try:
            if operation is not None:
                plain = []
                for operand in inputs:  # `apply`, for what programs mostly consist of
                    kind = type(operand)
                    if kind is Array:
                        plain.append(operand.value)
                    elif kind in _PLAIN:
                        plain.append(operand)
                    else:
                        break
                else:
                    value = ufunc(*plain)
                    if type(value) in _FLOATS and value.dtype.kind == "f":
                        return _append(operation, value, inputs, _NO_KEYWORDS, _getframe(1))
                return apply(operation, inputs, None, _getframe(1))
            return self._ufunc(ufunc, method, inputs, keywords)
        except TraceError as error:
            raise _placed(error) from None

    def _ufunc(self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], keywords: Any) -> Any:
        """All but the plain call of a ufunc that has a row."""
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if method == "at" and isinstance(inputs[0], Held):
            inputs[0].become()
            target, index, *others = inputs
            frame, shape = _getframe(2), np.shape(target.value[index])
            others = [np.broadcast_to(o, shape) for o in others]
            if ufunc in (np.add, np.subtract):
                added = arrays.scatter(others[0] + 0.0, np.shape(target), _plain_index(index))
                _overwritten(target, ufunc(target, added), frame)
                return None
            numbers = np.arange(int(np.size(target))).reshape(np.shape(target))[index]
            for k in np.ndindex(shape):  # one after the other, as places may repeat
                at = np.unravel_index(numbers[k], np.shape(target))
                target._write(at, ufunc(target[at], *(o[k] for o in others)), frame)
            return None
        out = keywords.pop("out", None)
        if out is not None and isinstance(out[0], Held):
            out[0].become()
        if out is not None and method != "at" and len(out) == 1 and isinstance(out[0], Array):
            mask = keywords.pop("where", True)
            result = (ufunc if method == "__call__" else getattr(ufunc, method))(
                *inputs, **keywords
            )
            if method == "__call__" and np.shape(result) != np.shape(out[0]):
                result = np.broadcast_to(result, np.shape(out[0]))
            if mask is not True:
                result = np.where(mask, result, out[0])
            return _overwritten(out[0], result, _getframe(2))
        if out is not None or method == "at":
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
            return compose(loops.outer, (ufunc, *inputs), keywords)
        if function in PLAIN:
            return function(*_values(inputs), **keywords)
        if function in COMPOSED:
            result = compose(COMPOSED[function], inputs, keywords)
            if result is not NotImplemented:
                return result
        if method in ("reduce", "accumulate", "reduceat") and ufunc in ROWS:
            result = compose(getattr(loops, method), (ufunc, *inputs), keywords)
            if result is not NotImplemented:
                return result
        if method != "__call__":
            return apply(Operation(name, function, derivatives=None), inputs, keywords)
        return apply(lookup(ufunc), inputs, keywords)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if len(types) > 1:
            for other in types:
                if issubclass(other, Held) and other is not Array:
                    return other.__array_function__(self, function, types, args, kwargs)
        if function in _READERS:
            _note_all((args, kwargs), f"{function.__name__}()", _getframe(1))
        if function in PLAIN:
            made = function(*_values(args), **{k: _values(v) for k, v in kwargs.items()})
            written = function in _BUFFERS and made.dtype.kind in "fc" and made.ndim
            if written and user_frame(_getframe(1)) is _getframe(1):  # the program may write there
                made = made if function is not np.empty_like else np.zeros_like(made)
                return Array.new(made, LEAVES["constant"], order=_next())
            return made
        args, kwargs = named_out(function, args, kwargs)
        if isinstance(kwargs.get("out"), Array):
            out = kwargs.pop("out")
            return _overwritten(out, function(*args, **kwargs), _getframe(1))
        if function in _WRITERS and isinstance(args[0], Array):
            return _WRITERS[function](*map(_joined, args), **kwargs)
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
                ruled = function in ROWS
            operation, operands, keywords = split(function, args, kwargs, ruled)
            if keywords.get("out") is not None:
                raise TraceError(
                    f"{function.__name__}(out=) forgets the history; use the returned value"
                )
            return apply(operation, operands, keywords, _getframe(1))
        except TraceError as error:
            raise _placed(error) from None

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.operation is LEAVES["constant"]:
            return np.array(self.value, dtype=dtype)
        caller = _getframe(1)
        if caller.f_code.co_code[caller.f_lasti] in _STORES:
            raise _into_plain(caller)
        frame = user_frame(caller)
        if caller.f_globals.get("__name__", "").startswith("scipy.stats"):
            instead = "write its formula with NumPy and scipy.special"
        else:
            instead = _INSTEAD.get(
                names.calls(frame) if frame is not None else "",
                "use NumPy's functions on it directly (np.stack or np.concatenate to collect "
                "values)",
            )
        raise TraceError(
            f"a recorded array is turned into a plain one here, which would forget its history; "
            f"{instead}, or its .value if no gradient is wanted, at {where(frame)}"
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._is_scalar():
            raise TypeError("a NumPy scalar does not support item assignment")
        frame = _getframe(1)
        if frame.f_code.co_code[frame.f_lasti] not in _STORES and names.calls(frame) == "shuffle":
            raise TraceError(
                "shuffle would swap the views of an array with themselves; use "
                f"x[rng.permutation(len(x))], at {where(frame)}"
            )
        if (
            isinstance(value, Array)
            and getattr(value, "viewed", None) is self
            and value.operation is arrays.GETITEM
            and _same_index(value.keywords["index"], _plain_index(key))
        ):
            return  # what Python stores at last in `y[0] += 1`: the view that was written to
        self._write(key, value, frame)

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
        if frame.f_code.co_code[frame.f_lasti] in _STORES:
            raise _into_plain(frame)
        return float(self._plain("float()", frame))

    def __int__(self) -> int:
        return int(self._plain("int()", _getframe(1)))

    def __complex__(self) -> complex:
        return complex(self._plain("complex()", _getframe(1)))

    def _plain(self, how: str, frame: FrameType) -> Any:
        """The value, whose history ends where the program reads it as a plain number.

        This is noted, so that a gradient that misses it can say so. A function that asks for a
        number unseen (`math.exp`, `numpy.fromiter`, `buffer.fill`) is refused.
        """
        called = names.callee(frame)
        module = getattr(called, "__module__", None)
        name = getattr(called, "__name__", "")
        written = isinstance(getattr(called, "__self__", None), np.ndarray)
        if written or module == "numpy" or (module in ("math", "cmath") and name not in _ASKS):
            instead = (
                f"use np.{_TWINS.get(name, name)}"
                if module in ("math", "cmath")
                else ("collect values in a list and use np.stack")
            )
            raise TraceError(
                f"{name}() takes a recorded value as a plain number here, which would forget its "
                f"history; {instead} (or float(), if no gradient is wanted), at {where(frame)}"
            )
        return self._noted(how, frame)

    def _noted(self, how: str, frame: FrameType | None) -> Any:
        """The value; that it was read is noted."""
        if not hasattr(self, "read"):
            self.read = {}
            Node.noted = True
        user = user_frame(frame)
        self.read.setdefault((how, user and site(user)), _next())
        latest_read[0] = how, user
        return self.value

    def _without_us_noted(self, how: str, frame: FrameType | None) -> Any:
        self._noted(how, frame)
        return self._without_us()

    def __contains__(self, other: Any) -> bool:
        return bool(np.any(self == other))

    def __len__(self) -> int:
        return len(self.value)

    def __copy__(self) -> Array:
        return self if self._is_scalar() else self._copied(_getframe(1))

    def __deepcopy__(self, memo: Any) -> Array:
        return self if self._is_scalar() else self._copied(_getframe(1))

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TraceError(
            "a recorded array cannot be pickled, nor sent to another process, which would forget "
            f"its history; use its .value if no gradient is wanted, at {where(_getframe(1))}"
        )

    def _copied(self, frame: FrameType) -> Array:
        """An array of its own, also without axes."""
        made: Array = apply(lookup(np.positive), (self,), None, frame)
        if not np.ndim(made.value):
            made.views = []
        return made

    def __round__(self, digits: int = 0) -> Any:
        return np.round(self, digits)

    def item(self, *args: Any) -> Any:
        """The plain Python number; its history ends here."""
        return self._plain(".item()", _getframe(1)).item(*args)

    def tolist(self) -> Any:
        """Plain Python numbers; their history ends here."""
        return self._plain(".tolist()", _getframe(1)).tolist()

    # --- NumPy's attributes and methods ------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102 - NumPy's own attributes
        return np.shape(self.value)

    @shape.setter
    def shape(self, shape: Any) -> None:
        raise TraceError(
            f"a recorded array keeps its shape; write x = x.reshape({shape}), at "
            f"{where(_getframe(1))}"
        )

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
    def strides(self) -> tuple[int, ...]:  # noqa: D102
        return np.asarray(self.value).strides

    @property
    def flags(self) -> Any:  # noqa: D102
        return np.asarray(self.value).flags

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return np

    @property
    def device(self) -> str:  # noqa: D102
        return "cpu"

    @property
    def mT(self) -> Any:  # noqa: D102
        return np.swapaxes(self, -1, -2)

    @property
    def T(self) -> Any:  # noqa: D102
        return np.transpose(self)

    @property
    def real(self) -> Any:  # noqa: D102
        return np.real(self)

    @real.setter
    def real(self, value: Any) -> None:
        np.real(self)[...] = value

    @property
    def imag(self) -> Any:  # noqa: D102
        return np.imag(self)

    @imag.setter
    def imag(self, value: Any) -> None:
        if self.dtype.kind != "c":
            raise TypeError("array does not have imaginary part to set")
        np.imag(self)[...] = value

    @property
    def flat(self) -> Any:  # noqa: D102
        return Flat(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        Flat(self)[:] = value

    def reshape(self, *shape: Any, order: Any = "C", **copy: Any) -> Any:  # noqa: D102
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order, **copy)

    def transpose(self, *axes: Any) -> Any:  # noqa: D102
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self, order: Any = "C") -> Any:  # noqa: D102
        return apply(arrays.FLATTEN, (self,), {"order": order}, _getframe(1))

    def astype(  # noqa: D102
        self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True,
        copy: Any = True,
    ) -> Any:  # fmt: skip
        plain = np.asarray(self.value)
        made = plain.astype(dtype, order, casting, subok, copy)
        if made is plain and not self._is_scalar():
            return self
        keywords = {"dtype": made.dtype} if order == "K" else {"dtype": made.dtype, "order": order}
        made = record(arrays.ASTYPE, made, (self,), keywords, _getframe(1))
        if isinstance(made, Array) and not np.ndim(made.value) and not self._is_scalar():
            made.views = []
        return made

    def view(self, dtype: Any = None, type: Any = None) -> Any:  # noqa: D102
        if type not in (None, np.ndarray) or dtype not in (None, np.ndarray, self.dtype):
            raise TraceError(
                "a view of a recorded array as another dtype or class cannot be recorded; use "
                f".astype(dtype), at {where(_getframe(1))}"
            )
        return self[...]

    def clip(self, min: Any = None, max: Any = None, **keywords: Any) -> Any:  # noqa: D102
        return np.clip(self, min, max, **keywords)

    def compress(self, condition: Any, axis: Any = None) -> Any:  # noqa: D102
        return np.compress(condition, self, axis)

    def conjugate(self) -> Any:  # noqa: D102
        return np.conjugate(self) if self.dtype.kind == "c" else self

    def argpartition(self, kth: Any, axis: int = -1) -> Any:  # noqa: D102
        return np.argpartition(self, kth, axis)

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None) -> None:  # noqa: D102
        _overwritten(self, np.sort(self, axis, kind, order), _getframe(1))

    def fill(self, value: Any) -> None:  # noqa: D102
        self._write(..., value, _getframe(1))

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:  # noqa: D102
        _put(self, indices, values, mode)

    partition = _refused("partition", "np.sort(x)")
    resize = _refused("resize", "np.resize(x, shape)")
    itemset = _refused("itemset", "np.where")
    setfield = _refused("setfield", "np.where")

    def copy(self, order: str = "C") -> Any:  # noqa: D102
        return self if self._is_scalar() else self._copied(_getframe(1))

    def dot(self, other: Any, out: Any = None) -> Any:  # noqa: D102
        return np.dot(self, other, out=out)

    conj = conjugate


class Flat:
    """The elements of a recorded array in a row, to be read and written: NumPy's ``x.flat``."""

    def __init__(self, array: Any) -> None:
        self.array = self.base = array
        self.rest = (array[i] for i in np.ndindex(array.shape))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.rest)

    def __len__(self) -> int:
        return int(self.array.size)

    def __getitem__(self, key: Any) -> Any:
        return self.array.flatten()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        value = stacked(value)
        if isinstance(value, Array):
            self.array.become()
        if not isinstance(self.array, Array):
            self.array.value.flat[key] = value
            return
        shape = self.array.shape
        chosen = np.ravel(np.arange(self.array.size)[key]) if shape else np.array(0)
        value = np.resize(value, chosen.shape) if np.ndim(value) else value
        self.array._write(np.unravel_index(chosen, shape) if shape else ..., value, _getframe(1))


def _read_by(name: str) -> Any:
    """A method that puts the numbers themselves elsewhere; their history ends there."""

    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        plain = self._without_us_noted(f".{name}()", _getframe(1))
        return getattr(plain, name)(*args, **kwargs)

    method.__doc__ = f"As NumPy's; the history of what is read ends here ({name})."
    return method


for _name in "tobytes tostring dump dumps tofile is_integer as_integer_ratio hex fromhex".split():
    setattr(Array, _name, _read_by(_name))


def _method(function: Callable[..., Any]) -> Any:
    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__doc__ = f"As `numpy.{function.__name__}`."
    return method


for _name in (
    "sum mean prod std var max min argmax argmin argsort cumsum cumprod ravel squeeze swapaxes "
    "repeat diagonal trace take all any nonzero searchsorted round choose"
).split():
    setattr(Array, _name, _method(getattr(np, _name)))


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
                raise _placed(error) from None
            if result is not NotImplemented:
                return result
        return original(self, *args, **kwargs)

    setattr(owner, method, asked)


_also_recorded(np.vectorize, "__call__", loops.vectorized)
_distributions: list[Any] = []


def _meet_distributions() -> None:
    """Have the distributions of `scipy.stats` take recorded arrays, once a program loads it."""
    stats = sys.modules.get("scipy.stats")
    if stats is None or _distributions or not hasattr(stats, "multivariate_normal"):
        return
    _distributions.append(stats)
    for (name, method), substitute in METHODS.items():
        _also_recorded(type(getattr(stats, name)), method, substitute)


_meet_distributions()


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    extra = np.ndim(src) - np.ndim(dst)
    if extra > 0 and np.shape(src)[:extra] == (1,) * extra:
        src = np.reshape(src, np.shape(src)[extra:])
    value = np.broadcast_to(src, np.shape(dst))
    _overwritten(dst, value if where is True else np.where(where, value, dst), _getframe(1))


def _repeated(values: Any, count: int) -> Any:
    return np.resize(values, count) if np.ndim(values) else values


def _put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    numbers = np.arange(int(np.size(a))).reshape(np.shape(a))
    index = np.ravel(np.take(numbers, ind, mode=mode))  # type: ignore[call-overload]
    a._write(np.unravel_index(index, np.shape(a)), _repeated(v, index.size), _getframe(1))


def _place(arr: Any, mask: Any, vals: Any) -> None:
    mask = np.reshape(np.asarray(mask, bool), np.shape(arr))
    arr._write(mask, _repeated(vals, int(mask.sum())), _getframe(1))


def _putmask(a: Any, mask: Any, values: Any) -> None:
    mask = np.asarray(mask, bool)
    value = np.resize(values, np.shape(a))[mask] if np.ndim(values) else values
    a._write(mask, value, _getframe(1))


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: Any = -1) -> None:
    if axis is None:
        arr._write(np.unravel_index(indices, np.shape(arr)), values, _getframe(1))
        return
    index = list(np.indices(np.shape(arr), sparse=True))
    index[axis] = indices
    arr._write(tuple(index), values, _getframe(1))


def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    chosen = np.zeros(np.shape(a), bool)
    np.fill_diagonal(chosen, True, wrap)
    a._write(chosen, _repeated(val, int(chosen.sum())), _getframe(1))


_WRITERS: dict[Any, Callable[..., None]] = {
    np.copyto: _copyto,
    np.put: _put,
    np.place: _place,
    np.put_along_axis: _put_along_axis,
    np.putmask: _putmask,
    np.fill_diagonal: _fill_diagonal,
}
"""Functions that write into an array, where it is a recorded one."""
_READERS = frozenset(
    (
        *(np.save, np.savez, np.savez_compressed, np.savetxt),
        *(np.array2string, np.array_str, np.array_repr),
    )
)
"""Functions that put the numbers themselves elsewhere."""
_BUFFERS = frozenset((np.zeros_like, np.ones_like, np.empty_like))


def _same_index(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays of places
        return False


def _plain_index(key: Any) -> Any:
    """An index, which a recorded array of floats cannot be part of."""
    if isinstance(key, Array) or (
        isinstance(key, tuple) and any(isinstance(k, Array) for k in key)
    ):
        raise TraceError(f"a recorded array of floats cannot be an index, at {where(_getframe(2))}")
    return frozen(key)
