"""NumPy's attributes and methods of arrays, of a recorded one."""

from __future__ import annotations

from collections.abc import Callable
from sys import _getframe
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.record.names import where
from gradviz.record.pending import form
from gradviz.record.read import Read
from gradviz.record.writers import put


def _refused(name: str, instead: str) -> Any:
    """A method of NumPy's that writes into its array."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise TraceError(
            f".{name}() would change values that other operations have read; "
            f"use {instead}, at {where(_getframe(1))}"
        )

    return method


class Flags:
    """NumPy's ``x.flags`` of a recorded array: the program can set whether it may be written to."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        object.__setattr__(self, "array", array)

    def __getattr__(self, name: str) -> Any:
        if name == "writeable":
            return not (self.array._is_scalar() or hasattr(self.array, "locked"))
        return getattr(np.asarray(self.array.value).flags, name)

    def __getitem__(self, key: Any) -> Any:
        if key in ("W", "WRITEABLE"):
            return self.writeable
        return np.asarray(self.array.value).flags[key]

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "writeable":
            setattr(np.asarray(self.array.value).flags, name, value)
        elif not value:
            self.array.locked = True
        elif hasattr(self.array, "locked"):
            del self.array.locked

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, "writeable" if key in ("W", "WRITEABLE") else key.lower(), value)


class Methods(Read):
    """What calls NumPy's functions."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102 - NumPy's own attributes
        return np.shape(form(self))

    @shape.setter
    def shape(self, shape: Any) -> None:
        raise TraceError(
            f"a recorded array keeps its shape; write x = x.reshape({shape}), at "
            f"{where(_getframe(1))}"
        )

    @property
    def ndim(self) -> int:  # noqa: D102
        return np.ndim(form(self))

    @property
    def size(self) -> int:  # noqa: D102
        return int(np.size(form(self)))

    @property
    def dtype(self) -> Any:  # noqa: D102
        return form(self).dtype

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
    def flags(self) -> Flags:  # noqa: D102
        return Flags(self)

    def setflags(self, write: Any = None, align: Any = None, uic: Any = None) -> None:  # noqa: D102
        if write is not None:
            self.flags.writeable = write

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

    def reshape(self, *shape: Any, order: Any = "C", **copy: Any) -> Any:  # noqa: D102
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order, **copy)

    def transpose(self, *axes: Any) -> Any:  # noqa: D102
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

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
        self._overwrite(np.sort(self, axis, kind, order), _getframe(1))

    def fill(self, value: Any) -> None:  # noqa: D102
        if not self._is_scalar():  # NumPy writes into a copy of a scalar
            self._write(..., value, _getframe(1))

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:  # noqa: D102
        put(self, indices, values, mode)

    partition = _refused("partition", "np.sort(x)")
    resize = _refused("resize", "np.resize(x, shape)")
    itemset = _refused("itemset", "np.where")
    setfield = _refused("setfield", "np.where")

    def copy(self, order: Any = "C") -> Any:  # noqa: D102
        if self._is_scalar():
            return self
        flags: Any = np.asarray(self.value).flags
        order = ("F" if flags.fnc else "C") if order == "A" else order
        if order == "K" or flags[f"{order}_CONTIGUOUS"]:
            return self._copied(_getframe(1))
        return self.astype(self.dtype, order=order)

    def dot(self, other: Any, out: Any = None) -> Any:  # noqa: D102
        return np.dot(self, other, out=out)

    conj = conjugate


def _method(function: Callable[..., Any]) -> Any:
    def method(self: Methods, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__doc__ = f"As `numpy.{function.__name__}`."
    return method


for _name in (
    "sum mean prod std var max min argmax argmin argsort cumsum cumprod ravel squeeze swapaxes "
    "repeat diagonal trace take all any nonzero searchsorted round choose"
).split():
    setattr(Methods, _name, _method(getattr(np, _name)))
