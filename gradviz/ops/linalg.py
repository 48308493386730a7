"""Rows of linear algebra; `numpy.linalg`'s other functions are composed or borrowed."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops.arrays import conjugated
from gradviz.ops.bridge import borrow
from gradviz.ops.operation import linear


def _t(a: Any) -> Any:
    return np.swapaxes(a, -1, -2)


def _real(a: Any, name: str) -> None:
    if a.dtype.kind == "c":
        raise TraceError(f"no derivative rule for {name} of complex matrices")


def _det(g: Any, v: Any, a: Any) -> Any:
    if np.any(v == 0):
        raise TraceError(
            "the gradient of det is computed with the inverse, and this matrix has none"
        )
    return (g * v)[..., None, None] * _t(np.linalg.inv(a))


def _solve(g: Any, v: Any, a: Any, b: Any) -> Any:
    if np.ndim(b) == 1:
        return np.linalg.solve(_t(a), g[..., None])[..., 0]
    return np.linalg.solve(_t(a), g)


def _solve_matrix(g: Any, v: Any, a: Any, b: Any) -> Any:
    message = -_solve(g, v, a, b)
    if np.ndim(b) == 1:
        return message[..., :, None] * v[..., None, :]
    return message @ _t(v)


def _fold(m: Any, triangle: str) -> Any:
    """NumPy reads one triangle of a symmetric matrix: it stands for its mirror image too."""
    both = m + _t(m)
    off = np.tril(both, -1) if triangle == "L" else np.triu(both, 1)
    return off + m * np.eye(np.shape(m)[-1])


def _eigh(g: Any, v: Any, a: Any, UPLO: str = "L") -> Any:
    _real(a, "eigh")
    (g_values, g_vectors), (values, vectors) = g, v
    identity = np.eye(np.shape(a)[-1])
    inner = identity * g_values[..., None, :]
    # Without need the gaps between eigenvalues are left alone: they may be zero.
    if not isinstance(g_vectors, np.ndarray) or g_vectors.any():
        gaps = values[..., None, :] - values[..., :, None] + identity
        inner = inner + (1 - identity) / gaps * (_t(vectors) @ g_vectors)
    return _fold(vectors @ inner @ _t(vectors), UPLO.upper())


def _cholesky(g: Any, v: Any, a: Any, *, upper: bool = False) -> Any:
    _real(a, "cholesky")
    if upper:
        g, v = _t(g), _t(v)
    half = np.tril(np.ones(np.shape(v)[-2:])) - np.eye(np.shape(v)[-1]) / 2
    inner = (_t(v) @ g) * half
    left = np.linalg.solve(_t(v), inner)
    return _fold(_t(np.linalg.solve(_t(v), _t(left))), "U" if upper else "L")


def _slogdet(g: Any, v: Any, a: Any) -> Any:
    if _given(g[0]) and a.dtype.kind == "c":
        raise TraceError("no derivative rule for the sign of a complex determinant")
    return g[1][..., None, None] * _t(np.linalg.inv(a))


def _given(g: Any) -> bool:
    """Whether an upstream term of one of several results is more than zeros."""
    return not isinstance(g, np.ndarray) or bool(g.any())


def _qr(g: Any, v: Any, a: Any, mode: str = "reduced") -> Any:
    if mode == "r":
        q = np.linalg.qr(a)[0]
        g, v = (0.0 * q, g), (q, v)
    (g_q, g_r), (q, r) = g, v
    rows, columns = np.shape(a)[-2:]
    _real(a, "qr")
    if mode not in ("reduced", "r") and not (mode == "complete" and rows <= columns):
        raise TraceError(f"no derivative rule for qr(mode={mode!r})")
    if rows >= columns:
        return _qr_tall(g_q, g_r, q, r)
    # The first columns alone make q; the others are only turned.
    others, g_first, g_others = a[..., rows:], g_r[..., :rows], g_r[..., rows:]
    first = _qr_tall(g_q + others @ _t(g_others), g_first, q, r[..., :rows])
    return np.concatenate([first, q @ g_others], axis=-1)


def _qr_tall(g_q: Any, g_r: Any, q: Any, r: Any) -> Any:
    inner = r @ _t(g_r) - _t(g_q) @ q
    lower = np.tril(inner, -1)
    symmetric = lower + _t(lower) + inner * np.eye(np.shape(r)[-1])
    return _t(np.linalg.solve(r, _t(g_q + q @ symmetric)))


def _svd(
    g: Any, v: Any, a: Any, full_matrices: bool = True, compute_uv: bool = True,
    hermitian: bool = False,
) -> Any:  # fmt: skip
    if compute_uv and (_given(g[0]) or _given(g[2])):
        _real(a, "the vectors of svd")
        if full_matrices and np.shape(a)[-2] != np.shape(a)[-1]:
            raise TraceError(
                "no derivative rule for svd(full_matrices=True), whose further vectors are not "
                "determined; use full_matrices=False"
            )
        return _borrowed_svd().pull(0, g, v, (a,), {"full_matrices": False})
    left, _, right = v if compute_uv and not full_matrices else np.linalg.svd(a, False)
    message = left * (g[1] if compute_uv else g)[..., None, :] @ right
    return conjugated(message)


@cache
def _borrowed_svd() -> Any:
    return borrow(np.linalg.svd)


def _eigenvalues(g: Any, a: Any) -> Any:
    vectors = np.linalg.eig(a)[1]
    return np.linalg.solve(_t(vectors), g[..., None] * _t(vectors))


def _eig(g: Any, v: Any, a: Any) -> Any:
    if _given(g[1]):
        raise TraceError("no derivative rule for the vectors of eig, whose phase is not determined")
    return _eigenvalues(g[0], a)


def _pinv(g: Any, v: Any, a: Any, *_: Any, **__: Any) -> Any:
    # Of matrices whose rank does not change.
    rows, columns = np.shape(a)[-2:]
    adjoint, g_t = conjugated(_t(v)), _t(g)
    rest = (np.eye(rows) - a @ v) @ g_t @ v @ adjoint
    rest = rest + adjoint @ v @ g_t @ (np.eye(columns) - v @ a)
    return conjugated(rest) - _t(v) @ g @ _t(v)


ROWS = (
    linear(np.linalg.inv, "inv(a)", ("-(v.T @ g @ v.T)", lambda g, v, a: -(_t(v) @ g @ _t(v)))),
    linear(np.linalg.det, "det(a)", ("g * v * inv(a).T", _det)),
    linear(
        np.linalg.solve,
        "solve(a, b)",
        ("-(solve(a.T, g) @ v.T)", _solve_matrix),
        ("solve(a.T, g)", _solve),
    ),
    linear(np.linalg.cholesky, "cholesky(a)", ("vjp_cholesky(g, v)", _cholesky)),
    # These return several arrays: g and v are tuples.
    linear(np.linalg.eigh, "eigh(a)", ("vjp_eigh(g, v)", _eigh)),
    linear(np.linalg.slogdet, "slogdet(a)", ("g * inv(a).T", _slogdet)),
    linear(np.linalg.qr, "qr(a)", ("vjp_qr(g, v)", _qr)),
    linear(np.linalg.svd, "svd(a)", ("vjp_svd(g, v)", _svd)),
    linear(np.linalg.eig, "eig(a)", ("vjp_eig(g, v)", _eig)),
    linear(
        np.linalg.eigvals,
        "eigvals(a)",
        ("vjp_eigvals(g)", lambda g, v, a: _eigenvalues(g, a)),
    ),
    linear(np.linalg.pinv, "pinv(a)", ("vjp_pinv(g, v)", _pinv)),
)
