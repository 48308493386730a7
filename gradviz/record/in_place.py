"""In-place code on recorded arrays: ``x[0] = y``, ``out=``, ``x.flat[:] = y``.

Writing makes the same object stand for a new value: the old one moves to `past`, where those who
read it find it (`Node.read_operands`). A view is written to in the array it is a view of; all its
views are then computed anew when the program uses them again.
"""

from __future__ import annotations

import dis
import weakref
from collections.abc import Iterator
from sys import _getframe
from types import FrameType
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.model import Node
from gradviz.ops import arrays
from gradviz.ops.table import has_recorded
from gradviz.record import names, pending
from gradviz.record.names import user_frame, where
from gradviz.record.operators import Operators
from gradviz.record.read import HANDED_OUT, STORES
from gradviz.record.snapshots import frozen
from gradviz.record.tape import STALE, next_order, recording

_LOAD_ATTR = dis.opmap["LOAD_ATTR"]
_REAL = np.real  # (While a program is traced, something stands for it.)


class InPlace(Operators):
    """What is written into. `Array` is its only kind, so an instance is a recorded array."""

    __slots__ = ()

    def _leave(self) -> Any:
        """Stand for no value from now on, until it is used; readers keep the one they read."""
        old = self._kept()
        recording.get()[0](old)
        self.order = STALE
        del self.value
        return old

    def _kept(self) -> Any:
        """What this array was until now, which those who read it find."""
        old = type(self)()
        for field in (*Node.__slots__, "read", "viewed"):
            if hasattr(self, field):
                setattr(old, field, getattr(self, field))
        if hasattr(self, "read"):
            del self.read
        if not hasattr(self, "past"):
            self.past = []
        self.past.append(old)
        return old

    def _become(self, value: Any) -> None:
        """Stand for another value from now on; readers until now keep the one they read."""
        old = self._kept()
        value.operands = tuple([old if o is self else o for o in value.operands])
        for field in Node.__slots__:
            setattr(self, field, getattr(value, field))
        append = recording.get()[0]
        append(old)
        append(self)

    def _outdate(self) -> None:
        """Have every view of this array computed again when it is used."""
        for reference in getattr(self, "views", ()):
            view = reference()
            if view is None:
                continue
            view._outdate()
            old = type(self)()
            for field in (*Node.__slots__, "viewed"):
                setattr(old, field, getattr(view, field))
            if not hasattr(view, "past"):
                view.past = []
            view.past.append(old)
            recording.get()[0](old)
            view.order = STALE
            del view.value
        self.views = []

    def __getattr__(self, attribute: str) -> Any:  # a slot that is empty
        if attribute != "value" or getattr(self, "order", 0) != STALE:
            if attribute in HANDED_OUT:
                frame = _getframe(1)
                asked = attribute[0] != "_" or (  # NumPy asks for its protocols itself
                    frame.f_code.co_code[frame.f_lasti] == _LOAD_ATTR
                )
                if asked and user_frame(frame) is frame:
                    self._refuse(attribute, frame)
            raise AttributeError(f"a recorded array has no attribute {attribute!r}")
        if hasattr(self, "pending"):
            self._stand_for(pending.settle(self))
            return self.value
        whole: Any = self.viewed
        fresh = self._applied(self.operation, (whole,), None, dict(self.keywords))
        self._stand_for(fresh)
        if hasattr(fresh, "viewed") and fresh.viewed is whole:
            whole.views[-1] = weakref.ref(self)
        else:
            del self.viewed
        return self.value

    def _stand_for(self, fresh: Any) -> None:
        """Stand for a value that was computed anew; it has the line and the scope of this array."""
        fresh.site, fresh.scope = self.site, self.scope
        for field in Node.__slots__:
            setattr(self, field, getattr(fresh, field))
        recording.get()[0](self)  # what is noted of the value is noted here

    def _named_after(self, value: Any) -> None:
        """The name of ``y[0] = value`` is the whole's, not the value's."""
        place = value.site
        if place and place[-1] and names.source(place[-2:]) == names.source(self.site):
            value.site = (*place[:2], None)

    def _refuse(self, attribute: str, frame: FrameType) -> None:
        """Raise a TraceError, where NumPy has an attribute whose use would not be recorded."""
        if hasattr(type(self._without_us()), attribute):
            raise TraceError(
                f".{attribute} of a recorded array hands out or changes numbers without their "
                f"history; {HANDED_OUT[attribute]}, or use .value.{attribute} if no gradient is "
                f"wanted, at {where(frame)}"
            )

    def _write(self, index: Any, value: Any, frame: FrameType) -> None:
        """``self[index] = value``."""
        self._refuse_locked()
        whole = self
        numbers = None
        chain = []
        while hasattr(whole, "viewed") and whole.dtype == whole.viewed.dtype:
            chain.append(whole)
            whole = whole.viewed
        if chain:
            numbers = np.empty_like(whole.value, np.intp)  # in its order, which `ravel("K")` reads
            numbers[...] = np.arange(int(np.size(whole.value))).reshape(np.shape(whole.value))
            for view in reversed(chain):
                numbers = view.operation.evaluate(numbers, **view.keywords)
            if not numbers.flags.writeable or np.unique(numbers).size != numbers.size:
                raise ValueError("assignment destination is read-only")
            places, value = numbers[index], stacked(value)
            _as_numpy(np.empty(numbers.shape, self.dtype), index, value)
            extra = np.ndim(value) - np.ndim(places)
            if extra > 0 and np.shape(value)[:extra] == (1,) * extra:
                value = np.reshape(value, np.shape(value)[extra:])
            if np.ndim(whole.value):
                index = np.unravel_index(places, np.shape(whole.value))
            elif np.size(places):  # all of an array without axes
                index, value = (), np.ravel(np.broadcast_to(value, np.shape(places)))[-1]
            else:
                return
        new = self._applied(arrays.SETITEM, (whole, value), frame, {"index": plain_index(index)})
        if isinstance(value, InPlace):
            new._named_after(value)
        if hasattr(whole, "viewed"):  # the real or the imaginary part of a complex array
            both = whole.viewed
            if whole.operation.function is _REAL:
                both._write(..., new + 1j * np.imag(both), frame)
            else:
                both._write(..., np.real(both) + 1j * new, frame)
            return
        whole._outdate()
        whole._become(new)

    def _refuse_locked(self) -> None:
        """Raise, as NumPy does, where the program writes into what is read-only."""
        if hasattr(self, "locked"):
            raise ValueError("assignment destination is read-only")

    def _refuse_scalar(self, frame: FrameType) -> None:
        """Raise, as NumPy does, where a scalar is handed to what writes into an array."""
        if self._is_scalar():
            raise TypeError(
                "only arrays can be written into, and this is a NumPy scalar: bind its name to the "
                f"result instead, at {where(frame)}"
            )

    def _filled(self, result: Any, mask: Any, frame: FrameType) -> Any:
        """What a ufunc makes of the array by ``out=self, where=mask``."""
        if np.shape(result) != np.shape(self):
            result = np.broadcast_to(result, np.shape(self))
        if mask is not True:
            result = np.where(mask, result, self)
        return self._overwrite(result, frame)

    def _overwrite(self, result: Any, frame: FrameType) -> Any:
        """Write a result into an array as a whole: ``self[...] = result``, as `out` does."""
        self._refuse_scalar(frame)
        self._refuse_locked()
        if np.shape(result) != np.shape(self.value) or not np.can_cast(
            result.dtype, self.dtype, "same_kind"
        ):
            raise ValueError(
                f"a result of {result.dtype} and shape {np.shape(result)} cannot be written into "
                f"an array of {self.dtype} and shape {np.shape(self.value)}"
            )
        memory = getattr(result, "value", result).strides
        if (
            hasattr(self, "viewed")
            or hasattr(result, "viewed")
            or not isinstance(result, InPlace)
            or not result.operands  # a leaf
            or result.order != next_order() - 1  # it was there before, and may have readers
            or result.dtype != self.dtype
            or memory != self.value.strides
        ):
            self._write(..., result, frame)
        else:
            self._outdate()
            self._become(result)
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        frame = _getframe(1)
        if pending.pend(self, key, value, frame):
            return
        if self._is_scalar():
            raise TypeError("a NumPy scalar does not support item assignment")
        if frame.f_code.co_code[frame.f_lasti] not in STORES and names.calls(frame) == "shuffle":
            raise TraceError(
                "shuffle would swap the views of an array with themselves; use "
                f"x[rng.permutation(len(x))], at {where(frame)}"
            )
        if (
            isinstance(value, InPlace)
            and getattr(value, "viewed", None) is self
            and value.operation is arrays.GETITEM
            and _same_index(value.keywords["index"], plain_index(key))
        ):
            return  # what Python stores at last in `y[0] += 1`: the view that was written to
        self._write(key, value, frame)

    @property
    def flat(self) -> Any:  # noqa: D102
        return Flat(self._copied(_getframe(1)) if self._is_scalar() else self)

    @flat.setter
    def flat(self, value: Any) -> None:
        Flat(self)[:] = value


def stacked(parts: Any) -> Any:
    """The array of nested lists of numbers and arrays, some recorded."""
    if type(parts) not in (list, tuple):
        return parts
    if not has_recorded(parts, InPlace):
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
        if isinstance(value, InPlace):
            self.array.become()
        if not isinstance(self.array, InPlace):
            self.array.value.flat[key] = value
            return
        shape = self.array.shape
        chosen = np.ravel(np.arange(self.array.size)[key]) if shape else np.array(0)
        if isinstance(key, (int, np.integer)):
            _as_numpy(np.empty(self.array.size, self.array.dtype), key, value)
        value = np.resize(value, chosen.shape) if np.ndim(value) else value
        self.array._write(np.unravel_index(chosen, shape) if shape else ..., value, _getframe(1))


def _as_numpy(plain: Any, index: Any, value: Any) -> None:
    """Raise what NumPy raises where a value does not fit into an array at an index."""
    plain[index] = value.value if isinstance(value, InPlace) else value


def _same_index(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays of places
        return False


def plain_index(key: Any) -> Any:
    """An index, which a recorded array of floats cannot be part of."""
    if isinstance(key, InPlace) or (
        isinstance(key, tuple) and any(isinstance(k, InPlace) for k in key)
    ):
        raise TraceError(f"a recorded array of floats cannot be an index, at {where(_getframe(2))}")
    return frozen(key)
