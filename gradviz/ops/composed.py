"""NumPy functions without a row of their own, written in functions that have one.

They run on recorded arrays, and what they do is recorded in their place. NumPy's own sources
would turn recorded arrays into plain ones. A form of a call that is not covered returns
NotImplemented: it is then recorded as an operation without a rule.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.arrays import norm
from gradviz.ops.operation import PYTHONS

COMPOSED: dict[Any, Callable[..., Any]] = {}
"""By NumPy function: the function that is called in its place."""


def stands_for(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function under NumPy's dotted names, as far as this NumPy has them."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            try:
                COMPOSED[operator.attrgetter(name)(np)] = function
            except AttributeError:  # a function of later versions
                continue
        return function

    return enter


def _from_initial(found: Any, axis: Any, initial: float, included: bool) -> Any:
    if not included:
        return found
    axis = 0 if axis is None else axis
    shape = list(np.shape(found))
    shape[axis] = 1
    return np.concatenate([np.full(shape, initial, found.dtype), found], axis=axis)


_SAME_AS: dict[str, Callable[..., Any]] = {
    "amax": np.max,
    "amin": np.min,
    "round_": np.round,
    "around": np.round,
    "matrix_transpose": lambda x: np.swapaxes(x, -1, -2),
    "linalg.matrix_transpose": lambda x: np.swapaxes(x, -1, -2),
    "linalg.matmul": np.matmul,
    "linalg.outer": lambda x1, x2: np.outer(x1, x2),
    "linalg.tensordot": lambda x1, x2, *, axes=2: np.tensordot(x1, x2, axes),
    "linalg.diagonal": lambda x, *, offset=0: np.diagonal(x, offset, -2, -1),
    "linalg.trace": lambda x, *, offset=0, dtype=None: np.trace(x, offset, -2, -1, dtype),
    "linalg.cross": lambda x1, x2, *, axis=-1: np.cross(x1, x2, axis=axis),
    "fliplr": lambda m: np.flip(m, 1),
    "flipud": lambda m: np.flip(m, 0),
    "copy": lambda a, order="K", subok=False: a[...].copy(),
    "astype": lambda x, dtype, /, *, copy=True, device=None: x.astype(dtype, copy=copy),
    "cumulative_sum": lambda x, /, *, axis=None, dtype=None, out=None, include_initial=False: (
        _from_initial(np.cumsum(x, axis, dtype), axis, 0.0, include_initial)
    ),
    "cumulative_prod": lambda x, /, *, axis=None, dtype=None, out=None, include_initial=False: (
        _from_initial(np.cumprod(x, axis, dtype), axis, 1.0, include_initial)
    ),
}
for _name, _other in _SAME_AS.items():
    stands_for(_name)(_other)

# --- joining and splitting -----------------------------------------------------------------------


@stands_for("atleast_1d")
def _atleast_1d(*arrays: Any) -> Any:
    found = tuple(np.reshape(a, (1,)) if np.ndim(a) == 0 else a for a in arrays)
    return found if len(found) != 1 else found[0]


@stands_for("atleast_2d")
def _atleast_2d(*arrays: Any) -> Any:
    found = tuple(a if np.ndim(a) > 1 else np.reshape(a, (1, int(np.size(a)))) for a in arrays)
    return found if len(found) != 1 else found[0]


@stands_for("atleast_3d")
def _atleast_3d(*arrays: Any) -> Any:
    shapes = {0: (1, 1, 1), 1: (1, -1, 1)}
    found = tuple(
        a if np.ndim(a) > 2 else np.reshape(a, shapes.get(np.ndim(a)) or (*np.shape(a), 1))
        for a in arrays
    )
    return found if len(found) != 1 else found[0]


@stands_for("vstack")
def _vstack(tup: Any, **keywords: Any) -> Any:
    return np.concatenate([_atleast_2d(a) for a in tup], 0, **keywords)


@stands_for("hstack")
def _hstack(tup: Any, **keywords: Any) -> Any:
    arrays = [_atleast_1d(a) for a in tup]
    return np.concatenate(arrays, 0 if np.ndim(arrays[0]) == 1 else 1, **keywords)


@stands_for("dstack")
def _dstack(tup: Any) -> Any:
    return np.concatenate([_atleast_3d(a) for a in tup], 2)


@stands_for("column_stack")
def _column_stack(tup: Any) -> Any:
    return np.concatenate([a if np.ndim(a) > 1 else np.reshape(a, (-1, 1)) for a in tup], 1)


@stands_for("block")
def _block(arrays: Any) -> Any:
    def depth(part: Any) -> int:
        return 1 + max(map(depth, part)) if isinstance(part, list) else 0

    def joined(part: Any, level: int) -> Any:
        if not isinstance(part, list):
            return np.reshape(part, (1,) * (rank - np.ndim(part)) + np.shape(part))
        return np.concatenate([joined(p, level - 1) for p in part], axis=-level)

    def widest(part: Any) -> int:
        return max(map(widest, part)) if isinstance(part, list) else np.ndim(part)

    rank = max(depth(arrays), widest(arrays))
    return joined(arrays, depth(arrays))


@stands_for("append")
def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return np.concatenate([arr, values], axis=axis)


@stands_for("split", "array_split")
def _split(ary: Any, indices_or_sections: Any, axis: int = 0, *, even: bool = False) -> list[Any]:
    count = np.shape(ary)[axis]
    if np.ndim(indices_or_sections):
        edges = [0, *map(int, indices_or_sections), count]
        ends = [slice(a, b) for a, b in itertools.pairwise(edges)]
        ends[-1] = slice(edges[-2], None)
    else:
        sections = int(indices_or_sections)
        if even and count % sections:
            raise ValueError("array split does not result in an equal division")
        sizes = [count // sections + (i < count % sections) for i in range(sections)]
        starts = [sum(sizes[:i]) for i in range(sections)]
        ends = [slice(a, a + n) for a, n in zip(starts, sizes, strict=True)]
    before = (slice(None),) * (axis % np.ndim(ary))
    return [ary[(*before, part)] for part in ends]


for _name, _axis in {"split": None, "vsplit": 0, "hsplit": 1, "dsplit": 2}.items():

    def _even(ary: Any, indices_or_sections: Any, axis: int = 0, _axis: int | None = _axis) -> Any:
        along = axis if _axis is None else _axis if np.ndim(ary) > 1 else 0
        return _split(ary, indices_or_sections, along, even=True)

    stands_for(_name)(_even)


@stands_for("rollaxis")
def _rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    rank = np.ndim(a)
    start = start + rank if start < 0 else start
    return np.moveaxis(a, axis, start - (axis % rank < start))


@stands_for("partition")
def _partition(
    a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: None = None
) -> Any:
    if axis is None:
        a, axis = np.ravel(a), 0
    return np.take_along_axis(a, np.argpartition(a, kth, axis), axis)


@stands_for("unstack")
def _unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    moved = np.moveaxis(x, axis, 0)
    return tuple(moved[i] for i in range(len(moved)))


@stands_for("broadcast_arrays")
def _broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple(np.broadcast_to(a, shape) for a in args)


@stands_for("meshgrid")
def _meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Any, ...]:
    grids = [np.reshape(x, [-1 if i == k else 1 for i in range(len(xi))]) for k, x in enumerate(xi)]
    shape = () if sparse else tuple(int(np.size(x)) for x in xi)
    grids = grids if sparse else [np.broadcast_to(grid, shape) for grid in grids]
    if indexing == "xy" and len(xi) > 1:
        grids = [np.swapaxes(grid, 0, 1) for grid in grids]
    return tuple(np.positive(grid) if copy else grid for grid in grids)


@stands_for("full_like")
def _full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
) -> Any:
    filled = np.broadcast_to(fill_value, np.shape(a) if shape is None else shape)
    return filled.astype(dtype or a.dtype)


@stands_for("select")
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = np.where(condition, choice, result)
    return result


@stands_for("extract")
def _extract(condition: Any, arr: Any) -> Any:
    return np.take(np.ravel(arr), np.nonzero(np.ravel(condition))[0])


@stands_for("compress")
def _compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Any:
    return np.take(a, np.nonzero(condition)[0], axis=axis)


# --- sums and means ------------------------------------------------------------------------------


@stands_for("ptp")
def _ptp(a: Any, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


@stands_for("trace")
def _trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> Any:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@stands_for("average")
def _average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False
) -> Any:
    if weights is None:
        mean = np.mean(a, axis=axis, keepdims=keepdims)
        total: Any = np.full(np.shape(mean), np.size(a) / max(np.size(mean), 1))[()]
    else:
        if np.shape(weights) != np.shape(a):
            along = (axis,) if isinstance(axis, int) else tuple(axis)
            order = [sorted(along).index(i) for i in along]
            shape = [
                n if i in {j % np.ndim(a) for j in along} else 1 for i, n in enumerate(np.shape(a))
            ]
            weights = np.reshape(np.transpose(weights, np.argsort(order).tolist()), shape)
        total = np.sum(np.broadcast_to(weights, np.shape(a)), axis=axis, keepdims=keepdims)
        if not np.all(getattr(total, "value", total)):
            return NotImplemented
        mean = np.sum(a * weights, axis=axis, keepdims=keepdims) / total
    return (mean, total) if returned else mean


@stands_for("nansum")
def _nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: Any = False,
    **keywords: Any,
) -> Any:
    return np.sum(
        np.where(np.isnan(a), 0.0, a), axis=axis, dtype=dtype, keepdims=keepdims, **keywords
    )


@stands_for("nanmean")
def _nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = False
) -> Any:
    count = np.sum(~np.isnan(a), axis=axis, keepdims=keepdims).astype(a.dtype)
    return _nansum(a, axis, dtype, keepdims=keepdims) / count


@stands_for("cumprod")
def _cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    # Every partial product on its own: right at zeros, for all orders of derivative.
    a = a if np.ndim(a) else np.reshape(a, (1,))  # NumPy has an axis 0 of a number here
    rows = np.ravel(a) if axis is None else np.moveaxis(a, axis, -1)
    lower = np.tri(np.shape(rows)[-1], dtype=bool)
    products = np.prod(np.where(lower, rows[..., None, :], 1.0), axis=-1)
    return products if axis is None else np.moveaxis(products, -1, axis)


@stands_for("diff")
def _diff(
    a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue
) -> Any:
    if prepend is not np._NoValue or append is not np._NoValue:
        one = [1 if i == axis % np.ndim(a) else n for i, n in enumerate(np.shape(a))]
        ends = [
            [] if end is np._NoValue else [end if np.ndim(end) else np.broadcast_to(end, one)]
            for end in (prepend, append)
        ]
        a = np.concatenate([*ends[0], a, *ends[1]], axis=axis)
    before = (slice(None),) * (axis % np.ndim(a))
    for _ in range(n):
        a = a[(*before, slice(1, None))] - a[(*before, slice(None, -1))]
    return a


@stands_for("gradient")
def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    along = range(np.ndim(f)) if axis is None else np.atleast_1d(axis).tolist()
    steps = varargs * len(along) if len(varargs) == 1 else varargs or (1.0,) * len(along)
    steps = tuple(np.asarray(h) if isinstance(h, (list, tuple)) else h for h in steps)
    steps = tuple(f.dtype.type(h) if type(h) in PYTHONS else h for h in steps)
    if edge_order not in (1, 2) or len(steps) != len(along):
        return NotImplemented
    slopes = []
    for i, step in zip(along, steps, strict=True):
        f_i = np.moveaxis(f, i, 0)
        wide = (-1,) + (1,) * (np.ndim(f) - 1)
        h = np.reshape(_diff(step) if np.ndim(step) else np.broadcast_to(step, len(f_i) - 1), wide)
        widths = getattr(h, "value", h)
        if np.ndim(step) and not (np.all(widths) and np.all(widths[:-1] + widths[1:])):
            return NotImplemented
        rise = (f_i[1:] - f_i[:-1]) / h
        share = h[:-1] / (h[:-1] + h[1:])  # of the slope at the right, in the middle
        middle = rise[:-1] * (1 - share) + rise[1:] * share
        if not np.ndim(step):
            middle = (f_i[2:] - f_i[:-2]) / (2.0 * step)
        first, last = rise[:1], rise[-1:]
        if edge_order == 2:
            bend = (rise[1:] - rise[:-1]) / (h[:-1] + h[1:])
            first, last = first - bend[:1] * h[:1], last + bend[-1:] * h[-1:]
        slopes.append(np.moveaxis(np.concatenate([first, middle, last]), 0, i))
    return tuple(slopes) if len(slopes) > 1 else slopes[0]


@stands_for("trapezoid")
def _trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    before = (slice(None),) * (axis % np.ndim(y))
    x = np.asarray(x) if isinstance(x, (list, tuple)) else x
    step = dx if x is None else _diff(x, axis=-1 if np.ndim(x) == 1 else axis)
    if x is not None and np.ndim(x) == 1:
        step = np.reshape(step, [-1 if i == axis % np.ndim(y) else 1 for i in range(np.ndim(y))])
    middle = (y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]) / 2.0
    return np.sum(step * middle, axis=axis)


@stands_for("linspace")
def _linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    parts = num - 1 if endpoint else num
    if parts <= 0 and retstep:
        return NotImplemented
    parts = max(parts, 1)
    step = (stop - start) / parts
    ramp = np.reshape(np.arange(num) / parts, (-1,) + (1,) * np.ndim(step)).astype(step.dtype)
    points = np.moveaxis(start * (1 - ramp) + stop * ramp, 0, axis)
    points = points if dtype is None else points.astype(dtype)
    return (points, step) if retstep else points


# --- elementwise ---------------------------------------------------------------------------------


@stands_for("divmod")
def _divmod(a: Any, b: Any) -> tuple[Any, Any]:
    return np.floor_divide(a, b), np.remainder(a, b)


@stands_for("modf")
def _modf(a: Any) -> tuple[Any, Any]:
    whole = np.trunc(a)
    return a - whole, whole


@stands_for("logaddexp.reduce")
def _logsumexp(
    a: Any, axis: Any = 0, dtype: Any = None, out: None = None, keepdims: bool = False
) -> Any:
    top = np.max(np.where(np.isfinite(a), a, 0.0), axis=axis, keepdims=True)
    top = getattr(top, "value", top)  # a constant: the result does not depend on it
    total = np.log(np.sum(np.exp(a - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axis)


@stands_for("polyval")
def _polyval(p: Any, x: Any) -> Any:
    result: Any = np.zeros_like(x)
    for i in range(len(p)):
        result = result * x + p[i]
    return result


# --- products ------------------------------------------------------------------------------------


@stands_for("vdot")
def _vdot(a: Any, b: Any, /) -> Any:
    return np.dot(_conjugated(np.ravel(a)), np.ravel(b))


def _conjugated(a: Any) -> Any:
    return np.conjugate(a) if np.iscomplexobj(a) else a


for _name, _subscripts in {
    "vecdot": "...i,...i->...",
    "matvec": "...ij,...j->...i",
    "vecmat": "...i,...ij->...j",
}.items():

    def _product(a: Any, b: Any, _letters: str = _subscripts, _name: str = _name) -> Any:
        return np.einsum(_letters, a if _name == "matvec" else _conjugated(a), b)

    stands_for(_name)(_product)


@stands_for("linalg.vecdot")
def _vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    first = np.moveaxis(_conjugated(x1), axis, -1)
    return np.einsum("...i,...i->...", first, np.moveaxis(x2, axis, -1))


@stands_for("kron")
def _kron(a: Any, b: Any) -> Any:
    rank = max(np.ndim(a), np.ndim(b))
    shape_a = (1,) * (rank - np.ndim(a)) + np.shape(a)
    shape_b = (1,) * (rank - np.ndim(b)) + np.shape(b)
    wide_a = np.reshape(a, [n for size in shape_a for n in (size, 1)])
    wide_b = np.reshape(b, [n for size in shape_b for n in (1, size)])
    return np.reshape(wide_a * wide_b, tuple(map(math.prod, zip(shape_a, shape_b, strict=True))))


@stands_for("cross")
def _cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    (a0, a1, a2), (b0, b1, b2) = (
        [u[..., i] if i < np.shape(u)[-1] else u[..., 0] * 0 for i in range(3)] for u in (a, b)
    )
    if np.shape(a)[-1] == np.shape(b)[-1] == 2:
        return a0 * b1 - a1 * b0
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=axisc)


@stands_for("convolve")
def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    if np.size(v) > np.size(a):
        a, v = v, a
    n = int(np.size(v))
    ends = {"full": n - 1, "valid": 0}
    left = ends.get(mode, n // 2)
    right = ends.get(mode, (n - 1) // 2)
    if mode not in ("full", "valid", "same"):
        raise ValueError(f"mode must be one of 'full', 'valid', 'same', got {mode!r}")
    padded = np.pad(a, (left, right))
    windows = np.lib.stride_tricks.sliding_window_view(padded, n)
    return windows @ np.flip(v)


@stands_for("linalg.multi_dot")
def _multi_dot(arrays: Any, *, out: None = None) -> Any:
    return functools.reduce(np.matmul, arrays)


@stands_for("linalg.matrix_power")
def _matrix_power(a: Any, n: int) -> Any:
    if n == 0:
        return np.broadcast_to(np.eye(np.shape(a)[-1], dtype=a.dtype), np.shape(a))
    base = np.linalg.inv(a) if n < 0 else a
    return functools.reduce(np.matmul, [base] * abs(n))


@stands_for("linalg.eigvalsh")
def _eigvalsh(a: Any, UPLO: Any = "L") -> Any:
    return np.linalg.eigh(a, UPLO)[0]


@stands_for("linalg.svdvals")
def _svdvals(x: Any, /) -> Any:
    return np.linalg.svd(x, compute_uv=False)


# --- norms ---------------------------------------------------------------------------------------


@stands_for("linalg.norm")
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord is None:
        return norm(x, 2, axis, keepdims)
    along = (
        (axis,) if isinstance(axis, int) else axis if axis is not None else tuple(range(np.ndim(x)))
    )
    if len(along) == 1:
        if ord in (np.inf, -np.inf):
            return (np.max if ord > 0 else np.min)(abs(x), axis=along[0], keepdims=keepdims)
        if ord == 0:
            return np.sum(np.not_equal(x, 0), axis=along[0], keepdims=keepdims).astype(x.dtype)
        return norm(x, ord, along[0], keepdims)
    rows, columns = (i % np.ndim(x) for i in along)
    if ord == "fro":
        return norm(x, 2, (rows, columns), keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        inner, outer = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = np.sum(abs(x), axis=inner, keepdims=True)
        result = (np.max if ord > 0 else np.min)(sums, axis=outer, keepdims=True)
    elif ord in (2, -2, "nuc"):
        singular = np.linalg.svd(np.moveaxis(x, (rows, columns), (-2, -1)), compute_uv=False)
        flat = (np.sum if ord == "nuc" else np.max if ord > 0 else np.min)(singular, axis=-1)
        return np.expand_dims(flat, (rows, columns)) if keepdims else flat
    else:
        raise ValueError("Invalid norm order for matrices.")
    return result if keepdims else np.squeeze(result, axis=(rows, columns))


@stands_for("linalg.vector_norm")
def _vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    if axis is None:
        flat = _norm(np.ravel(x), ord)
        return np.reshape(flat, (1,) * np.ndim(x)) if keepdims else flat
    if isinstance(axis, tuple):
        rest = tuple(i for i in range(np.ndim(x)) if i not in {j % np.ndim(x) for j in axis})
        shape = tuple(np.shape(x)[i] for i in rest)
        flat = _norm(np.reshape(np.transpose(x, rest + axis), (*shape, -1)), ord, -1)
        return np.expand_dims(flat, axis) if keepdims else flat
    return _norm(x, ord, axis, keepdims)


@stands_for("linalg.matrix_norm")
def _matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _norm(x, ord, (-2, -1), keepdims)


# --- the reductions that belong to ufuncs, along axis 0 by default --------------------------------

for _ufunc, _function in (
    (np.add, np.sum),
    (np.multiply, np.prod),
    (np.maximum, np.max),
    (np.minimum, np.min),
):

    def _reduce(
        array: Any, axis: Any = 0, dtype: Any = None, out: None = None, keepdims: bool = False,
        initial: Any = np._NoValue, where: Any = True, *, _function: Callable[..., Any] = _function,
    ) -> Any:  # fmt: skip
        keywords = {} if dtype is None else {"dtype": dtype}
        if initial is not np._NoValue:
            keywords["initial"] = initial
        if where is not True:
            keywords["where"] = where
        return _function(array, axis=axis, keepdims=keepdims, **keywords)

    COMPOSED[_ufunc.reduce] = _reduce


@stands_for("add.accumulate")
def _accumulate(array: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Any:
    return np.cumsum(array, axis=axis)


@stands_for("multiply.accumulate")
def _accumulate_products(array: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Any:
    return np.cumprod(array, axis=axis)


def outer(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """`ufunc.outer`: every element of a with every element of b."""
    return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
