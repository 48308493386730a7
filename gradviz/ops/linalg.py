"""Rows of linear algebra; `numpy.linalg`'s other functions are composed or borrowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops import hazards
from gradviz.ops.operation import linear
from gradviz.ops.reductions import conjugated


def _t(a: Any) -> Any:
    return np.swapaxes(a, -1, -2)


def _h(a: Any) -> Any:
    return conjugated(_t(a))


def _diagonal(a: Any) -> Any:
    return np.diagonal(a, 0, -2, -1)


_MINORS = 32


def _det(g: Any, v: Any, a: Any) -> Any:
    if np.all(v != 0):
        return (g * v)[..., None, None] * _t(np.linalg.inv(a))
    # A singular matrix has no inverse: the cofactors one by one, right for all orders.
    n = np.shape(a)[-1]
    if n > _MINORS:
        raise TraceError(f"the gradient of det of a singular matrix of {n} > {_MINORS} rows")
    others = np.array([[k for k in range(n) if k != i] for i in range(n)], int).reshape(n, n - 1)
    minors = a[..., others[:, None, :, None], others[None, :, None, :]]
    signs = (-1.0) ** np.add.outer(np.arange(n), np.arange(n))
    return g[..., None, None] * np.linalg.det(minors) * signs.astype(np.real(v).dtype)


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
    """NumPy reads one triangle of a Hermitian matrix: it stands for its mirror image too."""
    both = m + _h(m)
    off = np.tril(both, -1) if triangle == "L" else np.triu(both, 1)
    return off + np.real(m) * np.eye(np.shape(m)[-1], dtype=_real_dtype(m))


def _real_dtype(a: Any) -> Any:
    return np.finfo(a.dtype).dtype


def _inverse_gaps(values: Any) -> Any:
    """1 / (values[j] - values[i]) at i, j, and 0 at i = j."""
    identity = np.eye(np.shape(values)[-1], dtype=_real_dtype(values))
    return (1 - identity) / (values[..., None, :] - values[..., :, None] + identity)


# The vectors of a complex decomposition may be turned by any phase. LAPACK's choice keeps one
# component of each real: the first of eigh's (the last with UPLO="U") and of svd's shorter
# side's, the largest of eig's, and the diagonal of qr's R. So do the rules, whose gradients then
# are those of what NumPy returns; where a function does not depend on the phase, so they are with
# any other LAPACK.


def _held(turn: Any, vectors: Any, row: Any) -> Any:
    """What a change of the vectors' phases (gradient `turn`) adds to their upstream term.

    `row` says which component of each stays real.
    """
    chosen = np.arange(np.shape(vectors)[-2])[:, None] == np.asarray(row)[..., None, :]
    pivots = np.sum(np.where(chosen, np.real(vectors), 0.0), axis=-2, keepdims=True)
    along = chosen / np.where(pivots == 0, np.inf, pivots)  # a pivot of 0 holds nothing
    return -1j * turn[..., None, :] * along


def _eigh(g: Any, v: Any, a: Any, UPLO: str = "L") -> Any:
    (g_values, g_vectors), (values, vectors) = g, v
    triangle = UPLO.upper()
    inner = np.eye(np.shape(a)[-1], dtype=_real_dtype(a)) * g_values[..., None, :]
    # Without need the gaps between eigenvalues are left alone: they may be zero.
    if _given(g_vectors):
        if a.dtype.kind == "c":
            turn = np.imag(np.sum(g_vectors * vectors, axis=-2))
            row = np.full(np.shape(values), 0 if triangle == "L" else np.shape(a)[-1] - 1)
            g_vectors = g_vectors + _held(turn, vectors, row)
        inner = inner + _inverse_gaps(values) * (_t(vectors) @ g_vectors)
    return _fold(conjugated(vectors) @ inner @ _t(vectors), triangle)


def _cholesky(g: Any, v: Any, a: Any, *, upper: bool = False) -> Any:
    if upper:
        g, v = _h(g), _h(v)
    n, real = np.shape(v)[-1], _real_dtype(v)
    half = np.tri(n, dtype=real) - np.eye(n, dtype=real) / 2
    left = np.linalg.solve(_t(v), (_t(v) @ g) * half)
    return _fold(_t(np.linalg.solve(_h(v), _t(left))), "U" if upper else "L")


def _slogdet(g: Any, v: Any, a: Any) -> Any:
    upstream = g[1]
    if a.dtype.kind == "c" and _given(g[0]):
        upstream = upstream + 1j * np.imag(g[0] * v[0])  # the sign turns by Im tr(inv(a) da)
    return upstream[..., None, None] * _t(np.linalg.inv(a))


def _given(g: Any) -> bool:
    """Whether an upstream term of one of several results is more than zeros."""
    return type(g) is not np.ndarray or bool(g.any())


def _qr(g: Any, v: Any, a: Any, mode: str = "reduced") -> Any:
    if mode == "r":
        q = np.linalg.qr(a)[0]
        g, v = (0.0 * q, g), (q, v)
    (g_q, g_r), (q, r) = g, v
    rows, columns = np.shape(a)[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and rows <= columns):
        raise TraceError(f"no derivative rule for qr(mode={mode!r})")
    if rows >= columns:
        return _qr_tall(g_q, g_r, q, r)
    # The first columns alone make q; the others are only turned.
    others, g_first, g_others = a[..., rows:], g_r[..., :rows], g_r[..., rows:]
    first = _qr_tall(g_q + conjugated(others @ _t(g_others)), g_first, q, r[..., :rows])
    return np.concatenate([first, conjugated(q) @ g_others], axis=-1)


def _qr_tall(g_q: Any, g_r: Any, q: Any, r: Any) -> Any:
    # Roberts and Roberts, "QR and LQ decomposition matrix backpropagation algorithms" (2020), for
    # complex matrices with a real diagonal of r.
    inner = r @ _t(g_r) - _t(g_q) @ q
    lower = np.tril(inner, -1)
    both = lower + _h(lower) + np.real(inner) * np.eye(np.shape(r)[-1], dtype=_real_dtype(r))
    return _t(np.linalg.solve(r, _t(g_q + conjugated(q @ both))))


def _svd(
    g: Any, v: Any, a: Any, full_matrices: bool = True, compute_uv: bool = True,
    hermitian: bool = False,
) -> Any:  # fmt: skip
    if not compute_uv or not (_given(g[0]) or _given(g[2])):
        thin = compute_uv and (hermitian or not full_matrices)
        left, _, right = v if thin else np.linalg.svd(a, False, hermitian=hermitian)
        message = conjugated(left * (g[1] if compute_uv else g)[..., None, :] @ right)
    else:
        (u, s, vh), (g_u, g_s, g_vh) = v, g
        short = np.shape(s)[-1]
        further = g_u[..., short:], g_vh[..., short:, :]
        if any(_given(getattr(part, "value", part)) for part in further):
            raise TraceError(
                "no derivative rule for the further vectors of svd(full_matrices=True), which are "
                "not determined; use full_matrices=False"
            )
        u, g_u, vh, g_vh = (
            u[..., :short],
            g_u[..., :short],
            vh[..., :short, :],
            g_vh[..., :short, :],
        )
        if np.shape(a)[-2] >= np.shape(a)[-1]:
            message = _svd_tall(g_u, g_s, g_vh, u, s, vh)
        else:
            message = _h(_svd_tall(_h(g_vh), g_s, _h(g_u), _h(vh), s, _h(u)))
    return _fold(message, "L") if hermitian else message


def _svd_tall(g_u: Any, g_s: Any, g_vh: Any, u: Any, s: Any, vh: Any) -> Any:
    # With P = u^H da v: off the diagonal u^H du and v^H dv are such that du and dv solve
    # P = (u^H du) s + ds - s (v^H dv); Townsend, "Differentiating the singular value
    # decomposition" (2016), here for complex matrices.
    g_v, v = _h(g_vh), _h(vh)
    w, diagonal = _t(u) @ g_u, g_s
    if u.dtype.kind == "c":
        turn = np.imag(_diagonal(w))
        diagonal = g_s + 1j * turn / s
        turn = turn + np.imag(_diagonal(_t(v) @ g_v))
        g_v = g_v + _held(turn, v, np.zeros(np.shape(s), int))
    gaps = _inverse_gaps(s**2)
    w_gaps, z_gaps = gaps * w, gaps * (_t(v) @ g_v)
    inner = (w_gaps + _h(w_gaps)) * s[..., None, :] + s[..., :, None] * (z_gaps + _h(z_gaps))
    inner = inner + np.eye(np.shape(s)[-1], dtype=s.dtype) * diagonal[..., None, :]
    outside = (g_u - conjugated(u) @ w) / s[..., None, :]  # of what u spans
    return (conjugated(u) @ inner + outside) @ conjugated(vh)


def _eigenvalues(g: Any, a: Any) -> Any:
    vectors = np.linalg.eig(a)[1]
    return np.linalg.solve(_t(vectors), g[..., None] * _t(vectors))


def _eig(g: Any, v: Any, a: Any) -> Any:
    # Boeddeker et al., "On the computation of complex-valued gradients with application to
    # statistically optimum beamforming" (2017), for vectors of length 1 with their largest
    # component real.
    (g_values, g_vectors), (values, vectors) = g, v
    inner = np.eye(np.shape(a)[-1], dtype=_real_dtype(a)) * g_values[..., None, :]
    if _given(g_vectors):
        along = np.sum(g_vectors * vectors, axis=-2)
        g_vectors = g_vectors - np.real(along)[..., None, :] * conjugated(vectors)
        if vectors.dtype.kind == "c":
            row = np.argmax(np.abs(vectors), axis=-2)
            g_vectors = g_vectors + _held(np.imag(along), vectors, row)
        inner = inner + _inverse_gaps(values) * (_t(vectors) @ g_vectors)
    return np.linalg.solve(_t(vectors), inner @ _t(vectors))


def _pinv(g: Any, v: Any, a: Any, *_: Any, hermitian: bool = False, **__: Any) -> Any:
    # Of matrices whose rank does not change.
    if hermitian:
        lower = np.tril(a, -1)
        a = lower + _h(lower) + np.real(a) * np.eye(np.shape(a)[-1], dtype=_real_dtype(a))
    rows, columns = np.shape(a)[-2:]
    adjoint, g_t = conjugated(_t(v)), _t(g)
    rest = (np.eye(rows) - a @ v) @ g_t @ v @ adjoint
    rest = rest + adjoint @ v @ g_t @ (np.eye(columns) - v @ a)
    message = conjugated(rest) - _t(v) @ g @ _t(v)
    return _fold(message, "L") if hermitian else message


ROWS = (
    linear(np.linalg.inv, "inv(a)", ("-(v.T @ g @ v.T)", lambda g, v, a: -(_t(v) @ g @ _t(v)))),
    linear(np.linalg.det, "det(a)", ("g * v * inv(a).T", _det), latex=r"\det"),
    linear(
        np.linalg.solve,
        "solve(a, b)",
        ("-(solve(a.T, g) @ v.T)", _solve_matrix),
        ("solve(a.T, g)", _solve),
    ),
    linear(np.linalg.cholesky, "cholesky(a)", ("vjp_cholesky(g, v)", _cholesky)),
    # These return several arrays: g and v are tuples.
    linear(np.linalg.eigh, "eigh(a)", ("vjp_eigh(g, v)", _eigh)),
    linear(np.linalg.slogdet, "slogdet(a)", ("g * inv(a).T", _slogdet), hazards=hazards.SINGULAR),
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
