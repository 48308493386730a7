"""Rows of linear algebra; `numpy.linalg`'s other functions are composed or borrowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops.operation import linear


def _t(a: Any) -> Any:
    return np.swapaxes(a, -1, -2)


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
    (g_values, g_vectors), (values, vectors) = g, v
    identity = np.eye(np.shape(a)[-1])
    inner = identity * g_values[..., None, :]
    # Without need the gaps between eigenvalues are left alone: they may be zero.
    if not isinstance(g_vectors, np.ndarray) or g_vectors.any():
        gaps = values[..., None, :] - values[..., :, None] + identity
        inner = inner + (1 - identity) / gaps * (_t(vectors) @ g_vectors)
    return _fold(vectors @ inner @ _t(vectors), UPLO.upper())


def _cholesky(g: Any, v: Any, a: Any, *, upper: bool = False) -> Any:
    if upper:
        g, v = _t(g), _t(v)
    half = np.tril(np.ones(np.shape(v)[-2:])) - np.eye(np.shape(v)[-1]) / 2
    inner = (_t(v) @ g) * half
    left = np.linalg.solve(_t(v), inner)
    return _fold(_t(np.linalg.solve(_t(v), _t(left))), "U" if upper else "L")


def _slogdet(g: Any, v: Any, a: Any) -> Any:
    return g[1][..., None, None] * _t(np.linalg.inv(a))


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
)
