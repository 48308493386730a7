"""Polynomials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.composed.products import lstsq
from gradviz.ops.composed.registry import plain, stands_for


@stands_for("roots")
def _roots(p: Any) -> Any:
    nonzero = np.flatnonzero(plain(p))
    if np.ndim(p) != 1 or not nonzero.size or nonzero[-1] != np.size(p) - 1:
        return NotImplemented
    p = p[nonzero[0] :]
    if len(p) < 2:
        return NotImplemented
    return np.linalg.eigvals(
        np.concatenate([-p[None, 1:] / p[0], np.eye(len(p) - 2, len(p) - 1, dtype=p.dtype)], axis=0)
    )


@stands_for("vander")
def _vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    powers = np.arange(np.shape(x)[0] if N is None else N)
    return x[:, None] ** (powers if increasing else powers[::-1])


@stands_for("poly")
def _poly(seq_of_zeros: Any) -> Any:
    zeros = np.linalg.eigvals(seq_of_zeros) if np.ndim(seq_of_zeros) == 2 else seq_of_zeros
    result: Any = np.ones(1, zeros.dtype)
    none = np.zeros(1, zeros.dtype)
    for zero in zeros:
        result = np.concatenate([result, none]) - zero * np.concatenate([none, result])
    found = np.asarray(np.poly(plain(seq_of_zeros)))
    return np.real(result) if found.dtype.kind != "c" else result


def _trimmed(p: Any) -> Any:
    """Coefficients without leading zeros, as `numpy.poly1d` keeps them."""
    p = np.atleast_1d(p)
    nonzero = np.flatnonzero(plain(p))
    return p[nonzero[0] if nonzero.size else -1 :]


def _added(sign: int) -> Callable[..., Any]:
    def add(a1: Any, a2: Any) -> Any:
        a1, a2 = np.atleast_1d(a1), np.atleast_1d(a2)
        missing = len(a1) - len(a2)
        return np.pad(a1, (max(-missing, 0), 0)) + sign * np.pad(a2, (max(missing, 0), 0))

    return add


stands_for("polyadd")(_added(1))
stands_for("polysub")(_added(-1))


@stands_for("polymul")
def _polymul(a1: Any, a2: Any) -> Any:
    return np.convolve(_trimmed(a1), _trimmed(a2))


@stands_for("polydiv")
def _polydiv(u: Any, v: Any) -> Any:
    rest, v = np.atleast_1d(u) + 0.0, np.atleast_1d(v) + 0.0
    steps = len(rest) - len(v) + 1
    quotient = []
    for k in range(steps):
        quotient.append(rest[k] / v[0])
        rest = np.concatenate(
            [rest[:k], rest[k : k + len(v)] - quotient[k] * v, rest[k + len(v) :]]
        )
    while len(rest) > 1 and np.allclose(rest[0], 0, rtol=1e-14):
        rest = rest[1:]
    return np.stack(quotient) if quotient else np.zeros(1, rest.dtype), rest


@stands_for("polyder")
def _polyder(p: Any, m: int = 1) -> Any:
    for _ in range(m):
        p = p[:-1] * np.arange(len(p) - 1, 0, -1)
    return p


@stands_for("polyint")
def _polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    constants: Any = np.zeros(m) if k is None else np.asarray(k)
    if np.size(constants) == 1:
        constants = np.resize(constants, m)
    for constant in constants[:m]:
        p = np.concatenate([p / np.arange(len(p), 0, -1), constant[None]])
    return p


@stands_for("polyfit")
def _polyfit(
    x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    if np.ndim(deg):
        return NotImplemented
    x, y = (a + 0.0 if hasattr(a, "dtype") else np.asarray(a) + 0.0 for a in (x, y))
    rcond = len(x) * np.finfo(x.dtype).eps if rcond is None else rcond
    left = _vander(x, deg + 1)
    if w is not None:
        left = left * w[:, None]
        y = (y.T * w).T
    scale = np.sqrt(np.sum(left * left, axis=0))
    left = left / scale
    c, rest, rank, singular = lstsq(left, y, rcond)
    c = (c.T / scale).T
    if full:
        return c, rest, rank, singular, rcond
    if not cov:
        return c
    spread = np.linalg.inv(left.T @ left) / np.outer(scale, scale)
    factor = 1 if cov == "unscaled" else rest / (len(x) - deg - 1)
    return c, (spread if np.ndim(y) == 1 else spread[:, :, None]) * factor
