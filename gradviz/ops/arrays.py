"""Rows of what moves elements: shapes, parts, what is put side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops.dispatch import dispatched
from gradviz.ops.element import SUM_OF_PRODUCTS
from gradviz.ops.operation import Operation, assembled, linear

# --- shapes ------------------------------------------------------------------------------------


def _unreshape(g: Any, v: Any, a: Any, *_: Any, order: Any = "C", **__: Any) -> Any:
    if order not in ("C", "F"):
        raise TraceError(
            f"order={order!r} depends on how an array lies in memory; write 'C' or 'F'"
        )
    return np.reshape(g, np.shape(a), order=order)


def _untranspose(g: Any, v: Any, a: Any, axes: Any = None, **_: Any) -> Any:
    return np.transpose(
        g, None if axes is None else np.argsort([i % len(axes) for i in axes]).tolist()
    )


def _astype(a: Any, dtype: Any, order: Any = "K") -> Any:
    return np.asarray(a).astype(dtype, order)[()]


def _back(shift: Any) -> Any:
    """The shift that undoes a roll, whatever kind of integer it is: uint8's -1 would be 255."""
    return np.array(-np.array(shift).astype(object)).tolist()


def _reshaped(_: Operation, operands: Any, keywords: Any, value: Any) -> dict[str, Any]:
    """The settings of what gives the same elements another shape."""
    if keywords.get("order", "C") != "C":
        raise TraceError("order=")
    return {"shape": list(np.shape(value))}


def _numbered(row: Operation, operands: Any, keywords: Any, value: Any) -> dict[str, Any]:
    """The settings of what moves elements: their numbers, from 1, where they come to stand."""
    ends = list(accumulate(map(int, map(np.size, operands)), initial=1))
    numbers = [
        np.arange(start, end).reshape(np.shape(a))
        for (start, end), a in zip(pairwise(ends), operands, strict=True)
    ]
    source = np.asarray(row.evaluate(*numbers, **keywords))
    return {"source": source.ravel(), "shape": list(np.shape(value))}


_MOVED: dict[str, Any] = {"number": "gather(all, source, shape)", "settings": _numbered}
_SENT_BACK = "scatter(g, all, source, position)"
_RESHAPED: dict[str, Any] = {"number": "reshape(a, shape)", "settings": _reshaped}

SHAPES = (
    *(
        linear(
            function,
            f"{function.__name__}(a)",
            ("reshape(g)", _unreshape, "like(g, a)"),
            **_RESHAPED,
        )
        for function in (np.reshape, np.ravel, np.squeeze, np.expand_dims)
    ),
    linear(
        np.transpose,
        lambda n, keywords: "transpose(a, axes)" if keywords.get("axes") else "a.T",
        (
            lambda k, n, keywords: "transpose(g)" if keywords.get("axes") else "g.T",
            _untranspose,
            _SENT_BACK,
        ),
        **_MOVED,
    ),
    linear(
        np.swapaxes,
        "swapaxes(a)",
        (
            "swapaxes(g)",
            lambda g, v, a, axis1, axis2, **_: np.swapaxes(g, axis1, axis2),
            _SENT_BACK,
        ),
        **_MOVED,
    ),
    linear(
        np.moveaxis,
        "moveaxis(a)",
        (
            "moveaxis(g)",
            lambda g, v, a, source, destination, **_: np.moveaxis(g, destination, source),
            _SENT_BACK,
        ),
        **_MOVED,
    ),
    linear(
        np.flip,
        "flip(a)",
        ("flip(g)", lambda g, v, a, axis=None, **_: np.flip(g, axis), _SENT_BACK),
        **_MOVED,
    ),
    linear(
        np.roll,
        "roll(a)",
        (
            "roll(g)",
            lambda g, v, a, shift, axis=None, **_: np.roll(g, _back(shift), axis),
            _SENT_BACK,
        ),
        **_MOVED,
    ),
    linear(
        np.broadcast_to, "broadcast(a)", ("sum(g)", lambda g, v, a, **_: g, _SENT_BACK), **_MOVED
    ),
)
ASTYPE = linear(
    _astype,
    "a",
    ("g", lambda g, v, a, dtype, **_: g, "g"),
    name="astype",
    settings=lambda *_: {},
)

# --- parts ---------------------------------------------------------------------------------------


def _item(a: Any, index: Any) -> Any:
    return a[index]


@dispatched
def scatter(g: Any, shape: Any, index: Any) -> Any:
    """Zeros of `shape` with g added at `index`: what indexing sends back."""
    result = np.zeros(shape, g.dtype)
    if _once(index):
        result[index] = g
    else:
        np.add.at(result, index, g)
    return result


def _once(index: Any) -> bool:
    """Whether an index names nothing twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or isinstance(i, (int, slice, np.integer)) for i in parts)


GETITEM = linear(
    _item,
    "a[index]",
    ("scatter(g)", lambda g, v, a, index: scatter(g, np.shape(a), index), _SENT_BACK),
    name="getitem",
    **_MOVED,
)
GETITEM.taken = lambda index: index if _once(index) else None


def setitem(a: Any, b: Any, index: Any) -> Any:
    """A copy of `a` in which `index` was set to `b`."""
    result = np.array(a)
    result[index] = b
    return result


def _written(a: Any, b: Any, index: Any) -> Any:
    """The number of the element of b that each element of a was set to, from 1; 0: it was kept."""
    numbers = np.zeros(np.shape(a), int)
    numbers[index] = np.arange(1, int(np.size(b)) + 1).reshape(np.shape(b))
    return numbers


def _set(g: Any, v: Any, a: Any, b: Any, index: Any) -> Any:
    source = _written(a, b, index).ravel()
    return np.reshape(scatter(np.ravel(g), (int(np.size(b)) + 1,), source)[1:], np.shape(b))


SETITEM = linear(
    setitem,
    "set(a, b)",
    (
        "keep(g)",
        lambda g, v, a, b, index: np.where(_written(a, b, index) == 0, g, 0.0),
        _SENT_BACK,
    ),
    ("g[index]", _set, _SENT_BACK),
    name="setitem",
    **_MOVED,
)


def _flatten(a: Any, order: Any = "C") -> Any:
    return np.array(np.ravel(a, order=order))


FLATTEN = linear(
    _flatten, "ravel(a)", ("reshape(g)", _unreshape, "like(g, a)"), name="flatten", **_RESHAPED
)
HELD: ContextVar[Iterator[Any] | None] = ContextVar("held", default=None)
"""What `stop_gradient` returns one after the other, where a program is run for differences."""


def _stopped(a: Any) -> Any:
    held = HELD.get()
    return a if held is None else next(held, a)


STOP = linear(_stopped, "", None, name="stop_gradient", number="a")
SCATTER = linear(
    scatter, "scatter(a)", ("g[index]", lambda g, v, a, shape, index: g[index]), name="scatter"
)


def _moved(function: Callable[..., Any]) -> Operation:
    """A row for a function that moves elements, repeats, drops, or fills up with zeros.

    Applied to the elements' numbers it says where each came from (0: from nowhere), whatever
    its arguments; the message goes back there.
    """

    def pull(g: Any, v: Any, a: Any, **keywords: Any) -> Any:
        size = int(np.size(a))
        numbers = np.arange(1, size + 1).reshape(np.shape(a))
        source = np.asarray(function(numbers, **keywords))
        return np.reshape(scatter(np.ravel(g), (size + 1,), source.ravel())[1:], np.shape(a))

    return linear(function, f"{function.__name__}(a)", ("scatter(g)", pull, _SENT_BACK), **_MOVED)


def _pad(g: Any, v: Any, a: Any, pad_width: Any, mode: Any = "constant", **keywords: Any) -> Any:
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap", "empty") or (
        keywords.get("reflect_type", "even") != "even"
    ):
        raise TraceError(f"no derivative rule for this form of pad(mode={mode!r})")
    mode = "constant" if mode == "empty" else mode
    numbers = np.arange(1, np.size(a) + 1).reshape(np.shape(a))
    source = np.pad(numbers, pad_width, mode)
    return np.reshape(scatter(np.ravel(g), (int(np.size(a)) + 1,), source.ravel())[1:], np.shape(a))


def _padded(row: Operation, operands: Any, keywords: Any, value: Any) -> dict[str, Any]:
    """The settings of pad, where it makes no numbers of its own."""
    if keywords.get("mode", "constant") not in ("constant", "edge", "reflect", "symmetric", "wrap"):
        raise TraceError("mode=")
    for name in keywords.keys() - {"pad_width", "mode"}:
        raise TraceError(f"{name}=")
    return _numbered(row, operands, keywords, value)


def _joined(*arrays: Any, axis: Any = 0, **_: Any) -> list[Any]:
    """Where each operand of concatenate stands in the result."""
    lengths = [int(np.size(a)) if axis is None else np.shape(a)[axis] for a in arrays]
    ends = list(accumulate(lengths, initial=0))
    before = () if axis is None else (slice(None),) * (axis % np.ndim(arrays[0]))
    return [(*before, slice(start, end)) for start, end in pairwise(ends)]


def _stacked(*arrays: Any, axis: int = 0, **_: Any) -> list[Any]:
    """Where each operand of stack stands in the result."""
    before = (slice(None),) * (axis % (np.ndim(arrays[0]) + 1))
    return [(*before, k) for k in range(len(arrays))]


def strided(a: Any, start: int, shape: Any, steps: Any, order: str = "C") -> Any:
    """A view of an array: where it starts, and its steps, in the row of the array's elements."""
    row: Any = np.ravel(a, order)  # type: ignore[call-overload]
    steps = tuple(step * row.itemsize for step in steps)
    return np.ndarray(tuple(shape), row.dtype, row, start * row.itemsize, steps)


STRIDED = _moved(strided)


PARTS = (
    SCATTER,
    *(
        _moved(function)
        for function in (
            *(np.take, np.take_along_axis, np.delete, np.resize, np.repeat, np.tile, np.rot90),
            *(np.diag, np.diagflat, np.diagonal, np.tril, np.triu),
            np.lib.stride_tricks.sliding_window_view,
        )
    ),
    linear(
        np.pad,
        "pad(a)",
        ("unpad(g)", _pad, _SENT_BACK),
        number="gather(all, source, shape)",
        settings=_padded,
    ),
    assembled(np.concatenate, _joined, **_MOVED),
    assembled(np.stack, _stacked, **_MOVED),
)
UNDISPATCHED = (GETITEM, SETITEM, ASTYPE, FLATTEN, STRIDED, STOP, SUM_OF_PRODUCTS)
"""Rows that no NumPy function stands for."""
