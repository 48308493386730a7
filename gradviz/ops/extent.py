"""How much a recorded call will compute, found from shapes before it is made.

A file may hold a call with other arguments than it was recorded with, such as a padding of 10^9:
what it would make is compared with the sizes that stand in the file.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops.operation import Derivative, Operation, Part
from gradviz.statistics import Statistics

WORK = 2**34
"""So many products are summed at most where an einsum holds no more numbers than its file says."""
Shape = tuple[int, ...]


class Checked(Operation):
    """An operation with arguments from a file: it is evaluated if its result fits the file.

    Parameters
    ----------
    row : Operation
    shape : tuple of int
        That of its value, as the file says.
    """

    __slots__ = ("fits", "row", "shape")

    def __init__(self, row: Operation, shape: Shape) -> None:
        super().__init__(
            row.name, self._evaluate, row.formula, row.derivatives,
            variadic=row.variadic, function=row.function,
        )  # fmt: skip
        self.row, self.shape, self.fits = row, shape, False
        if row.derivatives is not None:
            self.pulls = _Pulls(self)

    def _evaluate(self, *operands: Any, **keywords: Any) -> Any:
        self.fits = False
        check(self.row, operands, keywords, self.shape)
        with np.errstate(all="ignore"):
            result = _told(self.name, self.row.evaluate, *operands, **keywords)
        if np.shape(result) != self.shape:
            raise TraceError(
                f"{self.name} computes an array of shape {np.shape(result)}, its value in the "
                f"file has shape {self.shape}"
            )
        self.fits = True
        return result

    def rule(self, position: int) -> Derivative | None:
        """See `Operation.rule`."""
        return self.row.rule(position)

    def local(self, *call: Any, **named: Any) -> Any:
        """See `Operation.local`."""
        return self.row.local(*call, **named)

    def expression(self, *call: Any, **named: Any) -> ast.expr:
        """See `Operation.expression`."""
        return self.row.expression(*call, **named)

    def derivative(self, *call: Any, **named: Any) -> ast.expr | None:
        """See `Operation.derivative`."""
        return self.row.derivative(*call, **named)

    def message(self, *call: Any, **named: Any) -> ast.expr:
        """See `Operation.message`."""
        return self.row.message(*call, **named)

    def pull_at(self, position: int, g: Any, v: Any, *operands: Any, **keywords: Any) -> Any:
        """The rule at one position, once the operation is known to fit."""
        if not self.fits:
            self._evaluate(*operands, **keywords)
        pull = self.row.pulls[position]
        return _told(f"the derivative of {self.name}", pull, g, v, *operands, **keywords)


class _Pulls:
    """The rules of a checked operation by position."""

    def __init__(self, operation: Checked) -> None:
        self.operation = operation

    def __getitem__(self, position: int) -> Callable[..., Any] | None:
        if self.operation.row.pulls[position] is None:  # an index, a mask, stop_gradient
            return None
        return lambda *args, **keywords: self.operation.pull_at(position, *args, **keywords)


def _told(what: str, call: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Make a call; whatever it raises becomes a message."""
    try:
        return call(*args, **keywords)
    except TraceError:
        raise
    except Exception as error:
        raise TraceError(f"{what} cannot be computed: {error}") from error


def check(row: Operation, operands: Sequence[Any], keywords: dict[str, Any], shape: Shape) -> None:
    """Refuse a call that would make much more than its operands and its value are.

    Raises
    ------
    TraceError
        It would, or it is not known.
    """
    if any(isinstance(operand, Statistics) for operand in operands):
        raise TraceError(f"{row.name} cannot be computed: of an operand only statistics were kept")
    if all(type(operand) is int for operand in operands) and any(
        abs(operand) >= 2**63 for operand in operands
    ):
        raise TraceError(f"{row.name} cannot be computed: an integer is too long")
    if "out" in keywords:
        raise TraceError(f"{row.name} cannot be computed: it would write to an array (out=)")
    row = row.whole if isinstance(row, Part) else row
    found = _told(row.name, extent, row, operands, keywords)
    held = sum(map(_size, operands)) + math.prod(shape)
    if found > 64 + 4 * held:
        raise TraceError(
            f"{row.name} would compute {found:.3g} numbers, its value in the file has "
            f"{math.prod(shape)}: its arguments do not belong to it"
        )


def extent(row: Operation, operands: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """About how many numbers a call makes, at most."""
    shapes = [np.shape(operand) for operand in operands]
    rule = _RULES.get(row.name)
    if rule is not None:
        return rule(*operands, **keywords)
    elementwise = isinstance(row.function, np.ufunc) or (
        row.derivatives and all(d is None or d.local is not None for d in row.derivatives)
    )
    if elementwise or row.name in _SMALL:
        arrays = [np.shape(v) for v in keywords.values() if isinstance(v, np.ndarray)]
        if elementwise:
            return math.prod(np.broadcast_shapes(*shapes, *arrays))
        masks = [math.prod(np.broadcast_shapes(shapes[0], shape)) for shape in arrays]
        return max(masks, default=0)
    return max((abs(n) for n in _integers(list(keywords.values()))), default=0)


def _integers(value: Any) -> Iterable[int]:
    """The whole numbers in nested lists and tuples."""
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _integers(part)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size:
        yield max(abs(int(value.max())), abs(int(value.min())))
    elif isinstance(value, (int, np.integer)):
        yield int(value)


def _size(value: Any) -> int:
    return math.prod(np.shape(value))


def _ints(value: Any) -> list[int]:
    """Whole numbers, exactly: of NumPy's a product may overflow."""
    return [abs(int(n)) for n in np.ravel(np.asarray(value, object))]


def _times(*values: Any) -> int:
    return math.prod(n for value in values for n in _ints(value))


# --- what grows -----------------------------------------------------------------------------------


def _pad(array: Any, pad_width: Any, mode: Any = "constant", **_: Any) -> Any:
    widths = np.broadcast_to(np.asarray(pad_width, object), (np.ndim(array), 2))
    return math.prod(n + sum(_ints(w)) for n, w in zip(np.shape(array), widths, strict=True))


def _repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    along = _size(a) if axis is None else np.shape(a)[axis]
    given = _ints(repeats)
    total = sum(given) if len(given) > 1 else given[0] * along
    return total * _size(a) / max(along, 1)


def _diag(v: Any, k: Any = 0) -> Any:
    return (_size(v) + abs(int(k))) ** 2 if np.ndim(v) == 1 else 0


def _diagflat(v: Any, k: Any = 0) -> Any:
    return (_size(v) + abs(int(k))) ** 2


def _take(a: Any, indices: Any, axis: Any = None, **_: Any) -> Any:
    along = _size(a) if axis is None else np.shape(a)[axis]
    return _size(indices) * _size(a) / max(along, 1)


def _take_along(arr: Any, indices: Any, axis: Any = -1) -> Any:
    if axis is None:
        return _size(indices)
    shapes = [list(np.shape(x)) for x in (arr, indices)]
    along = shapes[1].pop(axis)
    del shapes[0][axis]
    return math.prod(np.broadcast_shapes(*map(tuple, shapes))) * along


def _selection(shape: Shape, index: Any) -> int:
    """How many entries an index selects."""
    parts = list(index) if isinstance(index, tuple) else [index]
    fancy, left, position = [], list(shape), 0
    spent = sum(np.ndim(p) if _is_mask(p) else 1 for p in parts if p is not None and p is not ...)
    kept = 1
    for part in parts:
        if part is None:
            continue
        if part is Ellipsis:
            step = len(shape) - spent
            kept *= math.prod(left[position : position + step])
            position += step
        elif isinstance(part, slice):
            kept *= len(range(*part.indices(left[position])))
            position += 1
        elif _is_mask(part):
            fancy.append((int(np.count_nonzero(part)),))
            position += np.ndim(part)
        else:
            fancy.append(np.shape(part))
            position += 1
    return math.prod(np.broadcast_shapes(*fancy)) * kept * math.prod(left[position:])


def _is_mask(part: Any) -> bool:
    return isinstance(part, (bool, np.bool)) or (
        not isinstance(part, (int, slice)) and part is not None and part is not Ellipsis
        and np.asarray(part).dtype == bool
    )  # fmt: skip


def _scatter(g: Any, shape: Any, index: Any) -> Any:
    wide = tuple(int(n) for n in shape)
    return max(_times(wide), _selection(wide, index))


def _matmul(a: Any, b: Any, **_: Any) -> Any:
    rows = np.shape(a)[-2] if np.ndim(a) > 1 else 1
    columns = np.shape(b)[-1] if np.ndim(b) > 1 else 1
    return math.prod(np.broadcast_shapes(np.shape(a)[:-2], np.shape(b)[:-2])) * rows * columns


def _dot(a: Any, b: Any, **_: Any) -> Any:
    inner = np.shape(a)[-1] if np.ndim(a) and np.ndim(b) else 1
    return _size(a) * _size(b) / max(inner, 1) ** 2


def _product(a: Any, b: Any, **_: Any) -> Any:
    return _size(a) * _size(b)


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    if isinstance(axes, (int, np.integer)):
        inner = math.prod(np.shape(a)[np.ndim(a) - int(axes) :]) if axes else 1
    else:
        inner = math.prod(np.shape(a)[int(i)] for i in np.ravel(axes[0]))
    return _size(a) * _size(b) / max(inner, 1) ** 2


def _einsum(*operands: Any, subscripts: str = "", **_: Any) -> Any:
    terms, arrow, output = subscripts.replace(" ", "").partition("->")
    lengths: dict[str, int] = {}
    more: list[Shape] = []
    for term, operand in zip(terms.split(","), operands, strict=True):
        before, dots, after = term.partition("...")
        shape = np.shape(operand)
        end = len(shape) - len(after)
        lengths |= dict(zip(before, shape, strict=False)) | dict(
            zip(after, shape[end:], strict=False)
        )
        if dots:
            more.append(shape[len(before) : end])
    rest = math.prod(np.broadcast_shapes(*more))
    if math.prod(lengths.values()) * rest > WORK:
        return math.inf
    if not arrow:
        output = "".join(c for c in lengths if terms.count(c) == 1) + ("..." if more else "")
    return math.prod(lengths.get(c, 1) for c in output) * (rest if "..." in output else 1)


def _transform(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    shape = list(np.shape(a))
    if n is not None:
        shape[axis] = abs(int(n))
    return 2 * math.prod(shape)


def _transforms(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    shape = list(np.shape(a))
    if s is not None:
        lengths = _ints(s)
        for axis, n in zip(range(-len(lengths), 0) if axes is None else axes, lengths, strict=True):
            shape[axis] = n
    return 2 * math.prod(shape)


def _factors(a: Any, *_: Any, **__: Any) -> Any:
    *batch, m, n = np.shape(a)
    return math.prod(batch) * max(m, n) ** 2


def _thin(a: Any, *given: Any, **keywords: Any) -> Any:
    """Of a qr or svd: whole factors are square."""
    mode = next(iter(given), keywords.get("mode", keywords.get("full_matrices", True)))
    return _factors(a) if mode is True or mode == "complete" else 0


def _linspace(start: Any, stop: Any, num: Any = 50, **_: Any) -> Any:
    return _times(num) * math.prod(np.broadcast_shapes(np.shape(start), np.shape(stop)))


def _diff(a: Any, n: Any = 1, axis: Any = -1, **_: Any) -> Any:
    return abs(int(n))


def _round(a: Any, decimals: Any = 0) -> Any:
    return abs(int(decimals)) / 1000  # (NumPy multiplies so many tens, one after the other.)


def _split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> Any:
    sections = indices_or_sections
    return abs(int(sections)) if np.ndim(sections) == 0 else _size(sections)


def _pairs(a: Any, b: Any, **_: Any) -> Any:
    return 3 * math.prod(np.broadcast_shapes(np.shape(a)[:-1], np.shape(b)[:-1]))


def _solve(a: Any, b: Any) -> Any:
    if np.ndim(b) == 1:
        return _size(a)
    batch = np.broadcast_shapes(np.shape(a)[:-2], np.shape(b)[:-2])
    return math.prod(batch) * max(np.shape(a)[-1] ** 2, np.shape(a)[-1] * np.shape(b)[-1])


_RULES: dict[str, Callable[..., Any]] = {
    "pad": _pad,
    "repeat": _repeat,
    "tile": lambda A, reps: _times(np.shape(A), reps),
    "resize": lambda a, new_shape: _times(new_shape),
    "diag": _diag,
    "diagflat": _diagflat,
    "take": _take,
    "take_along_axis": _take_along,
    "getitem": lambda a, index: _selection(np.shape(a), index),
    "setitem": lambda a, b, index: _selection(np.shape(a), index),
    "scatter": _scatter,
    "matmul": _matmul,
    "dot": _dot,
    "inner": _dot,
    "outer": _product,
    "kron": _product,
    "tensordot": _tensordot,
    "einsum": _einsum,
    **dict.fromkeys(("fft", "ifft", "rfft", "irfft"), _transform),
    **dict.fromkeys(("fft2", "ifft2", "fftn", "ifftn"), _transforms),
    **dict.fromkeys(("qr", "svd"), _thin),
    "sum_of_products": lambda *_, terms: sum(map(len, terms)),
    "linspace": _linspace,
    "diff": _diff,
    **dict.fromkeys(("split", "array_split", "hsplit", "vsplit", "dsplit"), _split),
    "round": _round,
    "cross": _pairs,
    "solve": _solve,
}
"""By name, of calls that may make more numbers than they are given."""

_SMALL = frozenset(
    "sum mean prod max min amax amin var std norm cumsum sort partition reshape ravel flatten "
    "squeeze expand_dims transpose swapaxes moveaxis rollaxis flip fliplr flipud roll rot90 "
    "broadcast_to astype delete diagonal tril triu trace conjugate real imag concatenate stack "
    "sliding_window_view inv det cholesky eigh eig eigvals slogdet pinv atleast_1d atleast_2d "
    "atleast_3d gradient round clip where".split()
)
"""Those that make no more than they are given, or a view, whatever their keywords say."""
