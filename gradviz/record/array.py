"""Array: stands in for a NumPy array, computes with it, and remembers every operation.

NumPy's own protocols bring the calls here (`__array_ufunc__`, `__array_function__`, operators,
methods). Each recorded value is an `Array`, which is a `Node` of the Graph to come; recording
stores references and formats nothing.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator
from sys import _getframe
from types import FrameType
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.model import LEAVES, Node
from gradviz.ops import arrays
from gradviz.ops.composed import COMPOSED, loops
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
from gradviz.record import names, pending
from gradviz.record.asked import STATIC, asked
from gradviz.record.held import NO_KEYWORDS, Held
from gradviz.record.in_place import InPlace, plain_index, stacked
from gradviz.record.names import site, user_frame, where
from gradviz.record.operators import FLOATS, PLAIN_NUMBERS
from gradviz.record.read import INSTEAD, STORES, into_plain
from gradviz.record.snapshots import frozen, is_constant, snapshot
from gradviz.record.tape import STALE, next_order, recording
from gradviz.record.writers import ON_COPIES, WRITERS


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
        elif kind is np.ndarray and not is_constant(operand):
            operands = tuple(snapshot(o) if type(o) is np.ndarray else o for o in operands)
            return apply(operation, operands, keywords, frame or _getframe(1))
        elif isinstance(operand, Held):  # a buffer
            operands = tuple(
                o.value if isinstance(o, Held) and type(o) is not Array else o for o in operands
            )
            return apply(operation, operands, keywords, frame or _getframe(1))
        elif kind not in PLAIN_NUMBERS and computes_otherwise(kind):
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
        keywords = NO_KEYWORDS
        value = operation.evaluate(*plain)
    return record(operation, value, operands, keywords, frame or _getframe(1))


def _array(operation: Operation, operand: Any) -> Any:
    """A list of numbers as an array."""
    return stacked(operand) if type(operand) in (list, tuple) else operand


def _joined(operand: Any) -> Any:
    """A list with recorded values as an array."""
    return stacked(operand) if has_recorded(operand, Array) else operand


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
            asked(operation.name, operands, value, keywords, frame)
            return value
    node = record_floats(operation, value, operands, keywords, frame, name)
    if kind is np.ndarray and not whole.ndim and _is_made(operation, frame):
        node.views = []
    seen = operands[0].value if len(operands) == 1 and type(operands[0]) is Array else None
    if seen is not None and (kind is np.ndarray or type(seen) is not np.ndarray):
        if type(operation.function) is np.ufunc:  # it returns no view
            return node
        owner = whole if getattr(whole, "base", None) is None else whole.base
        if not np.ndim(seen) and not operands[0]._is_scalar():
            seen = np.zeros((), seen.dtype)  # our values without axes are scalars
            whole = operation.evaluate(seen, **keywords)
            owner = whole if getattr(whole, "base", None) is None else whole.base
        if type(seen) is np.ndarray and owner is (seen if seen.base is None else seen.base):
            node.viewed = operands[0]  # it shares the memory of what it was made from
            if hasattr(node.viewed, "views"):
                node.viewed.views.append(weakref.ref(node))
            else:
                node.viewed.views = [weakref.ref(node)]
            fixed = seen.flags.writeable and not whole.flags.writeable  # np.broadcast_to
            if fixed or hasattr(node.viewed, "locked"):
                node.locked = True
        elif kind is np.ndarray and not whole.flags.writeable:  # np.imag of what has no such part
            node.locked = True
    return node


def _is_made(operation: Operation, frame: FrameType | None) -> bool:
    """Whether NumPy gives the program what it made: an array without axes is no scalar then.

    What a composed function makes on its way may be one, where NumPy's own gives a scalar.
    """
    while frame is not None and frame.f_globals.get("__name__") == "gradviz.record.buffer":
        frame = frame.f_back  # what stands for NumPy's function
    asker = frame.f_globals.get("__name__", "") if frame is not None else ""
    return operation.evaluate is operation.function and not asker.startswith("gradviz.ops")


def record_floats(
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
    node.order = next_order()
    append, node.scope = recording.get()
    node.name = name
    frame = user_frame(frame)
    node.site = site(frame) if frame is not None else None
    append(node)
    return node


def compose(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function that is written in recorded operations; only its result may get a name."""
    append, scope = recording.get()
    steps: list[Node] = []
    token = recording.set((steps.append, scope))
    try:
        result = function(*args, **kwargs)
    except TypeError:
        try:
            inspect.signature(function).bind(*args, **kwargs)
        except TypeError:  # an argument that this form does not know
            return NotImplemented
        raise
    finally:
        recording.reset(token)
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
    """Arguments with the plain values in place of recorded ones."""
    if isinstance(value, Array):
        return value.value
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(map(_values, value))
    return value


def _note_all(value: Any, how: str, frame: FrameType) -> None:
    if isinstance(value, Array):
        value._noted(how, frame)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _note_all(part, how, frame)
    elif isinstance(value, dict):
        _note_all(list(value.values()), how, frame)


def placed(error: TraceError) -> TraceError:
    """An error of the table's, with the place in the user's program."""
    return error if ", at " in str(error) else TraceError(f"{error}, at {where(_getframe(1))}")


class Array(InPlace):
    """A recorded NumPy array or scalar. Made by `input`, `parameter` and every operation on one.

    Examples
    --------
    >>> import numpy as np, gradviz as gv
    >>> x = gv.input([1.0, 4.0], "x")
    >>> y = np.sqrt(x)
    >>> type(y).__name__, y.value
    ('Array', array([1., 2.]))
    """

    __slots__ = ()

    def __hash__(self) -> int:
        """One of its own, though NumPy's equal numbers have one: a cache must not give it away."""
        frame = _getframe(1)
        if not frame.f_globals.get("__name__", "").startswith("gradviz."):
            asked("hash", (self,), None, {}, frame)
        return object.__hash__(self)

    def become(self) -> None:
        """It is recorded already."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What a program that asks by `isinstance` is told: the class that it has without us."""
        return type(self._without_us())

    def _applied(
        self, operation: Operation, operands: Any, frame: FrameType | None, keywords: Any = None
    ) -> Any:
        return apply(operation, operands, keywords, frame)

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
                    elif kind in PLAIN_NUMBERS:
                        plain.append(operand)
                    else:
                        break
                else:
                    value = ufunc(*plain)
                    if type(value) in FLOATS and value.dtype.kind == "f":
                        return record_floats(operation, value, inputs, NO_KEYWORDS, _getframe(1))
                return apply(operation, inputs, None, _getframe(1))
            return self._ufunc(ufunc, method, inputs, keywords)
        except TraceError as error:
            raise placed(error) from None

    def _ufunc(self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], keywords: Any) -> Any:
        """All but the plain call of a ufunc that has a row."""
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if method == "at" and isinstance(inputs[0], Held):
            inputs[0].become()
            target, index, *others = inputs
            target._refuse_scalar(_getframe(2))
            frame, shape = _getframe(2), np.shape(target.value[index])
            others = [np.broadcast_to(o, shape) for o in others]
            if ufunc in (np.add, np.subtract):
                added = arrays.scatter(others[0] + 0.0, np.shape(target), plain_index(index))
                target._overwrite(ufunc(target, added), frame)
                return None
            numbers = np.arange(int(np.size(target))).reshape(np.shape(target))[index]
            for k in np.ndindex(shape):  # one after the other, as places may repeat
                at = np.unravel_index(numbers[k], np.shape(target))
                target._write(at, ufunc(target[at], *(o[k] for o in others)), frame)
            return None
        out = keywords.pop("out", None)
        for target in out or ():
            if isinstance(target, Held):
                target.become()
        if out is not None and all(t is None or isinstance(t, Array) for t in out):
            mask = keywords.pop("where", True)
            result = (ufunc if method == "__call__" else getattr(ufunc, method))(
                *inputs, **keywords
            )
            results = result if isinstance(result, tuple) else (result,)
            written = tuple(
                result if target is None else target._filled(result, mask, _getframe(2))
                for target, result in zip(out, results, strict=True)
            )
            return written if len(written) > 1 else written[0]
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
            answer = function(*_values(inputs), **keywords)
            asked(name, inputs, answer, keywords, _getframe(2))
            return answer
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
        if (  # what is below, for what programs mostly consist of
            function in _REDUCTIONS
            and len(args) == 1
            and type(args[0]) is Array
            and _SETTINGS.issuperset(map(type, kwargs.values()))
        ):
            row, settings = ROWS[function], kwargs or NO_KEYWORDS
            value = row.evaluate(args[0].value, **kwargs)
            if type(value) in FLOATS and value.dtype.kind == "f":
                return record_floats(row, value, args, settings, _getframe(1))
            return record(row, value, args, settings, _getframe(1))
        if len(types) > 1:
            for other in types:
                if issubclass(other, Held) and other is not Array:
                    return other.__array_function__(self, function, types, args, kwargs)
        if function in _READERS:
            _note_all((args, kwargs), f"{function.__name__}()", _getframe(1))
        if function in PLAIN:
            made = function(*_values(args), **{k: _values(v) for k, v in kwargs.items()})
            if function not in STATIC:
                asked(function.__name__, args, made, kwargs, _getframe(1))
            written = function in _BUFFERS and made.dtype.kind in "fc"
            if written and user_frame(_getframe(1)) is _getframe(1):  # the program may write there
                made = made if function is not _EMPTY_LIKE else np.zeros_like(made)
                node = Array.new(made[()], LEAVES["constant"], order=next_order())
                if not made.ndim:
                    node.views = []
                return node
            return made
        args, kwargs = named_out(function, args, kwargs)
        if isinstance(kwargs.get("out"), Array):
            out = kwargs.pop("out")
            return out._overwrite(function(*args, **kwargs), _getframe(1))
        if function in WRITERS and args and isinstance(args[0], Array):
            if function not in ON_COPIES:
                args[0]._refuse_scalar(_getframe(1))
            return WRITERS[function](*map(_joined, args), **kwargs)
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
                    made = function in _ARRAYS and type(result) is Array and result._is_scalar()
                    return result._copied(_getframe(1)) if made else result
                ruled = function in ROWS
            operation, operands, keywords = split(function, args, kwargs, ruled)
            if keywords.get("out") is not None:
                raise TraceError(
                    f"{function.__name__}(out=) forgets the history; use the returned value"
                )
            return apply(operation, operands, keywords, _getframe(1))
        except TraceError as error:
            raise placed(error) from None

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.operation is LEAVES["constant"]:
            return np.array(self.value, dtype=dtype)
        caller = _getframe(1)
        if caller.f_code.co_code[caller.f_lasti] in STORES:
            raise into_plain(caller)
        frame = user_frame(caller)
        if caller.f_globals.get("__name__", "").startswith("scipy.stats"):
            instead = "write its formula with NumPy and scipy.special"
        else:
            called = names.calls(frame) if frame is not None else ""
            instead = (
                f"write np.{called}(np.array([...])) of a list"
                if isinstance(getattr(np, called or "-", None), np.ufunc)
                else "use NumPy's functions on it directly (np.stack or np.concatenate to collect "
                "values)"
            )
            instead = INSTEAD.get(called, instead)
        raise TraceError(
            f"a recorded array is turned into a plain one here, which would forget its history; "
            f"{instead}, or its .value if no gradient is wanted, at {where(frame)}"
        )

    def __getitem__(self, key: Any) -> Any:
        if self.order == STALE and hasattr(self, "pending"):
            found = pending.read(self, key, _getframe(1))
            if found is not None:
                return found
        return apply(arrays.GETITEM, (self,), {"index": plain_index(key)}, _getframe(1))

    def __iter__(self) -> Iterator[Any]:
        if np.ndim(self.value) == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __contains__(self, other: Any) -> bool:
        return bool(np.any(self == other))

    def __len__(self) -> int:
        return len(pending.form(self))

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
        made = made if made.ndim else made[()]
        made = record(arrays.ASTYPE, made, (self,), keywords, _getframe(1))
        if isinstance(made, Array) and not np.ndim(made.value) and not self._is_scalar():
            made.views = []
        return made


_REDUCTIONS = frozenset((np.sum, np.mean, np.max, np.min, np.prod, np.var, np.std))
"""They return no view."""
_SETTINGS = frozenset((int, bool))
_ARRAYS = frozenset((np.full_like, np.select, np.piecewise))
"""What stands for them may be a scalar, where NumPy makes an array without axes."""
_READERS = frozenset(
    (
        *(np.save, np.savez, np.savez_compressed, np.savetxt),
        *(np.array2string, np.array_str, np.array_repr),
    )
)
"""Functions that put the numbers themselves elsewhere."""
_EMPTY_LIKE = np.empty_like  # (While a program is traced, something else stands by the name.)
_BUFFERS = frozenset((np.zeros_like, np.ones_like, np.empty_like))
