"""Densities of `scipy.stats`, written in functions that have rows.

The distributions are those that `autograd` differentiates. Their methods turn recorded arrays into
plain ones, so `gradviz.record.array` has the methods call `METHODS` on these.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradviz.ops.composed import plain


class Family(NamedTuple):
    """A distribution of one variable z, by shape parameters that are positive.

    `log` and `below` are the logarithm of its density and its distribution function, `above` is 1
    minus the latter; the functions of `scipy.special` come first among their arguments.
    """

    shapes: tuple[str, ...]
    log: Callable[..., Any]
    below: Callable[..., Any]
    above: Callable[..., Any]
    support: tuple[float, float] = (-math.inf, math.inf)
    discrete: bool = False


def _log_t(s: Any, z: Any, df: Any) -> Any:
    power = (df + 1) / 2
    constant = s.gammaln(power) - s.gammaln(df / 2) - np.log(math.pi * df) / 2
    return constant - power * np.log1p(z**2 / df)


def _log_gamma(s: Any, z: Any, a: Any) -> Any:
    return s.xlogy(a - 1, z) - z - s.gammaln(a)


FAMILIES = {
    "norm": Family(
        (),
        lambda s, z: -(z**2) / 2 - math.log(2 * math.pi) / 2,
        lambda s, z: s.ndtr(z),
        lambda s, z: s.ndtr(-z),
    ),
    "t": Family(("df",), _log_t, lambda s, z, df: s.stdtr(df, z), lambda s, z, df: s.stdtr(df, -z)),
    "gamma": Family(
        ("a",),
        _log_gamma,
        lambda s, z, a: s.gammainc(a, z),
        lambda s, z, a: s.gammaincc(a, z),
        (0, math.inf),
    ),
    "chi2": Family(
        ("df",),
        lambda s, z, df: _log_gamma(s, z / 2, df / 2) - math.log(2),
        lambda s, z, df: s.gammainc(df / 2, z / 2),
        lambda s, z, df: s.gammaincc(df / 2, z / 2),
        (0, math.inf),
    ),
    "beta": Family(
        ("a", "b"),
        lambda s, z, a, b: s.xlogy(a - 1, z) + s.xlog1py(b - 1, -z) - s.betaln(a, b),
        lambda s, z, a, b: s.betainc(a, b, z),
        lambda s, z, a, b: s.betainc(b, a, 1 - z),
        (0, 1),
    ),
    "poisson": Family(
        ("mu",),
        lambda s, k, mu: s.xlogy(k, mu) - s.gammaln(k + 1) - mu,
        lambda s, k, mu: s.gammaincc(np.floor(k) + 1, mu),
        lambda s, k, mu: s.gammainc(np.floor(k) + 1, mu),
        (0, math.inf),
        discrete=True,
    ),
}


def _method(family: Family, method: str) -> Callable[..., Any]:
    kind = method.replace("pmf", "pdf")
    logarithm, kind = kind.startswith("log"), kind.removeprefix("log")

    def on_recorded(_: Any, x: Any, *args: Any, **keywords: Any) -> Any:
        names = (*family.shapes, "loc", "scale")
        given = {"loc": 0.0, "scale": 1.0} | dict(zip(names, args, strict=False)) | keywords
        if given.keys() != set(names) or len(args) > len(names):
            return NotImplemented
        x, *shapes, loc, scale = (
            p if hasattr(p, "dtype") or isinstance(p, float) else np.asarray(p, float)[()]
            for p in (x, *map(given.get, names))
        )
        if not all(np.all(plain(p) > 0) for p in (*shapes, scale)):
            return NotImplemented  # NaN
        if family.discrete and any(hasattr(p, "operands") for p in (x, loc)):
            return NotImplemented  # between integers there is nothing to differentiate
        z = x - loc if type(loc) is not float or loc else x
        scaled = type(scale) is not float or scale != 1
        z = z / scale if scaled else z
        points, (first, last) = plain(z), family.support
        low, high = points < first, points > last
        if family.discrete and kind == "pdf":
            low = low | (points != np.floor(points))
        outside = low | high
        if outside.any():
            z = np.where(outside, 0.0 if family.discrete else 0.5, z)  # somewhere inside
        special = importlib.import_module("scipy.special")
        if kind == "pdf":
            result = family.log(special, z, *shapes)
            result = result - np.log(scale) if scaled else result
            result, ends = (result if logarithm else np.exp(result)), (0.0, 0.0)
        else:
            function, ends = {
                "cdf": (family.below, (0.0, 1.0)), "sf": (family.above, (1.0, 0.0))
            }[kind]  # fmt: skip
            if logarithm and not family.shapes:
                result = special.log_ndtr(z if kind == "cdf" else -z)
            else:
                result = function(special, z, *shapes)
                result = np.log(result) if logarithm else result
        if not outside.any():
            return result
        with np.errstate(divide="ignore"):
            left, right = np.log(ends) if logarithm else ends
        return np.where(low, left, np.where(high, right, result))

    return on_recorded


def _normal_quantile(sign: int) -> Callable[..., Any]:
    def on_recorded(_: Any, q: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        if not np.all(plain(scale) > 0):
            return NotImplemented
        return loc + sign * (scale * importlib.import_module("scipy.special").ndtri(q))

    return on_recorded


def _symmetric(cov: Any, size: int) -> Any:
    """A covariance as a matrix; SciPy reads its lower triangle."""
    if np.ndim(cov) < 2:
        return np.eye(size) * cov
    return np.tril(cov) + np.swapaxes(np.tril(cov, -1), -1, -2)


def _normal_log(
    _: Any, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False
) -> Any:
    if allow_singular:
        return NotImplemented
    x, mean, cov = (
        p if hasattr(p, "dtype") else np.asarray(0 if p is None else p, float)
        for p in (x, mean, cov)
    )
    if not np.ndim(cov) or np.shape(cov) == (1, 1):
        size = int(np.size(mean))
    else:
        size = np.shape(cov)[-1]
    if np.ndim(x) == 1 and size == 1:
        x = x[:, None]
    matrix = _symmetric(cov, size)
    if not np.all(np.linalg.eigvalsh(plain(matrix)) > 0):
        return NotImplemented  # SciPy says what is wrong
    away = np.reshape(x - mean, (-1, size))
    distance = np.sum(away * np.linalg.solve(matrix, away.T).T, axis=-1)
    logarithm = -(size * math.log(2 * math.pi) + np.linalg.slogdet(matrix)[1] + distance) / 2
    shape = np.shape(x)[:-1] or ()
    return np.reshape(logarithm, tuple(n for n in shape if n != 1))


def _normal_density(*args: Any, **keywords: Any) -> Any:
    result = _normal_log(*args, **keywords)
    return result if result is NotImplemented else np.exp(result)


def _normal_entropy(_: Any, mean: Any = None, cov: Any = 1) -> Any:
    size = np.shape(cov)[-1] if np.ndim(cov) else int(np.size(0 if mean is None else mean))
    constant = size * (math.log(2 * math.pi) + 1)
    return (constant + np.linalg.slogdet(_symmetric(cov, size))[1]) / 2


def _dirichlet_log(dirichlet: Any, x: Any, alpha: Any) -> Any:
    dirichlet.logpdf(plain(x), plain(alpha))  # SciPy says what is wrong
    x, alpha = (p if hasattr(p, "dtype") else np.asarray(p, float) for p in (x, alpha))
    special = importlib.import_module("scipy.special")
    if np.shape(x)[0] != np.shape(alpha)[0]:  # the last one follows
        x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)])
    constant = special.gammaln(np.sum(alpha)) - np.sum(special.gammaln(alpha))
    powers = np.reshape(alpha - 1, (-1,) + (1,) * (np.ndim(x) - 1))
    return constant + np.sum(special.xlogy(powers, x), axis=0)


METHODS: dict[tuple[str, str], Callable[..., Any]] = {
    **{
        (name, method): _method(family, method)
        for name, family in FAMILIES.items()
        for method in (
            *(("pmf", "logpmf") if family.discrete else ("pdf", "logpdf")),
            *("cdf", "logcdf", "sf", "logsf"),
        )
    },
    ("norm", "ppf"): _normal_quantile(1),
    ("norm", "isf"): _normal_quantile(-1),
    ("multivariate_normal", "logpdf"): _normal_log,
    ("multivariate_normal", "pdf"): _normal_density,
    ("multivariate_normal", "entropy"): _normal_entropy,
    ("dirichlet", "logpdf"): _dirichlet_log,
    ("dirichlet", "pdf"): lambda *args: np.exp(_dirichlet_log(*args)),
}
"""By distribution and method: what is called in its place on recorded arrays."""
