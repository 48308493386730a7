"""Products, linear algebra and norms."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from gradviz.ops.composed.registry import plain, stands_for
from gradviz.ops.reductions import conjugated, norm

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


# --- linear algebra ------------------------------------------------------------------------------


@stands_for("linalg.lstsq")
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """`numpy.linalg.lstsq`."""
    values = np.linalg.lstsq(plain(a), plain(b), rcond)
    rows, columns = np.shape(a)
    if rcond is None:
        rcond = np.finfo(plain(a).dtype).eps * max(rows, columns)
    solution = np.linalg.pinv(a, max(float(rcond), 0.0)) @ b
    rest = values[1]
    if np.size(rest):
        rest = np.sum(abs(b - a @ solution) ** 2, axis=0, keepdims=np.ndim(b) == 1)
    return solution, rest, values[2], np.linalg.svd(a, compute_uv=False)


@stands_for("linalg.cond")
def _cond(x: Any, p: Any = None) -> Any:
    if p in (None, 2, -2):
        s = np.linalg.svd(x, compute_uv=False)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return np.linalg.norm(x, p, (-2, -1)) * np.linalg.norm(np.linalg.inv(x), p, (-2, -1))


@stands_for("linalg.tensorinv")
def _tensorinv(a: Any, ind: int = 2) -> Any:
    shape = np.shape(a)
    size = int(np.prod(shape[ind:]))
    return np.reshape(np.linalg.inv(np.reshape(a, (size, -1))), (*shape[ind:], *shape[:ind]))


@stands_for("linalg.tensorsolve")
def _tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    if axes is not None:
        moved = [i for i in range(np.ndim(a)) if i not in axes] + list(axes)
        a = np.transpose(a, moved)
    size = int(np.size(b))
    solution = np.linalg.solve(np.reshape(a, (size, -1)), np.ravel(b))
    return np.reshape(solution, np.shape(a)[np.ndim(b) :])


@stands_for("correlate")
def _correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    v = np.asarray(v) if isinstance(v, (list, tuple)) else v
    a = np.asarray(a) if isinstance(a, (list, tuple)) else a
    if mode != "full" and np.size(v) > np.size(a):
        return np.flip(conjugated(_correlate(v, a, mode)))
    return np.convolve(a, conjugated(np.flip(v)), mode)  # type: ignore[call-overload]


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
