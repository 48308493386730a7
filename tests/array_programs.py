# ruff: noqa: E501 - tables of code
"""Random programs of array operations, in the names of the array API standard.

They run on NumPy arrays, on recorded ones and (through `array_api_compat`) on torch's. A program is
a text, so that a failure can be read and run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Choose = Callable[[int], int]
"""``choose(n)`` is one of 0, ..., n - 1: drawn by hypothesis, or by a generator of random numbers."""

UNARY = """
xp.sin({a}) | xp.cos({a}) | xp.tanh({a}) | xp.exp(xp.tanh({a})) | xp.sqrt(1.5 + {a} * {a})
xp.log(1.5 + {a} ** 2) | xp.atan({a}) | xp.abs({a}) | xp.square({a}) | {a} ** 3 / 4 | -{a} | {a} / 3
1 / (2.5 + xp.cos({a})) | xp.expm1(xp.sin({a})) | xp.log1p({a} ** 2) | xp.sinh(xp.tanh({a}))
xp.where({a} > 0.1, {a}, 0.3 * {a}) | xp.clip({a}, -1.5, 1.5) | xp.sign({a}) * {a} | 2.0 - {a}
xp.cosh(xp.sin({a})) | xp.asinh({a}) | xp.acosh(1.5 + xp.abs({a})) | xp.atanh(0.6 * xp.sin({a}))
xp.asin(0.7 * xp.cos({a})) | xp.acos(0.7 * xp.sin({a})) | xp.tan(0.5 * xp.sin({a})) | +{a}
xp.log2(2 + xp.sin({a})) | xp.log10(2 + xp.cos({a})) | xp.exp(-xp.square({a})) | 2.0 ** xp.sin({a})
xp.floor({a}) * {a} | xp.reciprocal(3 + xp.sin({a})) | {a}.T if {a}.ndim == 2 else {a} | abs({a}) ** 1.5
"""
BINARY = """
{a} + {b} | {a} - {b} | {a} * {b} | {a} / (2 + {b} * {b}) | xp.maximum({a}, {b}) | xp.minimum({a}, {b})
xp.hypot({a}, 1 + xp.abs({b})) | xp.atan2({a}, 2 + {b} * {b}) | xp.where({a} > {b}, {a}, 0.5 * {b})
xp.pow(xp.abs({a}) + 0.5, xp.tanh({b})) | xp.logaddexp({a}, {b}) | (xp.abs({a}) + 0.5) ** xp.sin({b})
xp.copysign({a}, {b}) | {a} * 2 - {b} / 3
"""
WHOLE = """
xp.cumulative_sum(xp.reshape({a}, (-1,))) | xp.reshape({a}, (-1,)) | xp.flip({a}) | xp.sum({a}) + {a}
xp.sort(xp.reshape({a}, (-1,))) | {a} - xp.mean({a}) | {a} / (1 + xp.max(xp.abs({a}))) | xp.prod(xp.sin({a}))
xp.linalg.vector_norm({a}) + {a} | xp.expand_dims({a}, axis=0) | {a}[..., None] | {a}[None]
xp.roll({a}, 1) | xp.repeat(xp.reshape({a}, (-1,)), 2) | xp.tile({a}, (2,)) | xp.std({a}) * {a}
"""
ALONG = """
xp.sum({a}, axis={i}, keepdims={k}) | xp.mean({a}, axis={i}, keepdims={k})
xp.max({a}, axis={i}, keepdims={k}) | xp.min({a}, axis={i}, keepdims={k})
xp.prod(xp.cos({a}), axis={i}, keepdims={k}) | xp.var({a}, axis={i}, keepdims={k})
xp.sqrt(0.5 + xp.var({a}, axis={i}, keepdims={k}, correction=0)) | xp.cumulative_sum({a}, axis={i})
xp.sort({a}, axis={i}) | xp.flip({a}, axis={i}) | xp.roll({a}, 2, axis={i}) | xp.unstack({a}, axis={i})[0]
xp.take({a}, xp.asarray([0, {n}, 0]), axis={i}) | xp.repeat({a}, 2, axis={i}) | xp.concat([{a}, {a} * {a}], axis={i})
xp.stack([{a}, xp.sin({a})], axis={i}) | xp.moveaxis({a}, {i}, 0) | xp.linalg.vector_norm(1 + {a} * {a}, axis={i})
{a} - xp.max({a}, axis={i}, keepdims=True) | xp.expand_dims({a}, axis={i}) | xp.diff({a}, axis={i})
xp.take_along_axis({a}, xp.argsort({a}, axis={i}), axis={i}) | xp.squeeze(xp.sum({a}, axis={i}, keepdims=True), axis={i})
xp.exp(xp.tanh({a})) / xp.sum(xp.exp(xp.tanh({a})), axis={i}, keepdims=True)
"""
INDEX = """
{a}[0] | {a}[-1] | {a}[{n}:] | {a}[:1] | {a}[..., 0] | {a}[..., {m}] | {a}[::2] | {a}[[0, {n}, 0]] | {a}[..., [{m}, 0]]
{a}[{a} > 0] | {a}[None, ..., -1] | {a}[..., ::2]
"""
MATRIX = """
{a} @ xp.matrix_transpose({a}) | xp.matrix_transpose({a}) | xp.sum({a} @ xp.matrix_transpose({a}), axis=-1)
xp.linalg.inv({s}) | xp.linalg.det({s}) | xp.linalg.slogdet({s})[1] | xp.linalg.cholesky({s})
xp.linalg.eigvalsh({s}) | xp.linalg.solve({s}, {a}) | xp.linalg.svdvals({t}) | xp.linalg.trace({s})
xp.linalg.diagonal({a}) | xp.tril({a}) | xp.triu({a}, k=1) | xp.linalg.matrix_power({s}, 2) | xp.linalg.pinv({t})
xp.abs(xp.linalg.eigh({h})[1]) | xp.real(xp.linalg.cholesky({h})) | xp.imag(xp.linalg.cholesky({h}))
xp.linalg.eigvalsh({h}) | xp.real(xp.linalg.slogdet({c})[0]) | xp.imag(xp.linalg.slogdet({c})[0]) | xp.abs(xp.linalg.inv({h}))
xp.abs((lambda r: r[0] @ r[2])(xp.linalg.svd({c}, full_matrices=False))) | xp.abs(xp.linalg.svd({c}, full_matrices=False)[2])
xp.abs((lambda r: (r[0] * r[1]) @ r[2])(xp.linalg.svd({t}, full_matrices=False))) | xp.abs(xp.linalg.det({c}))
(lambda r: xp.abs(r[0]) + xp.abs(r[1]))(xp.linalg.qr({h})) | (lambda r: xp.abs(r[0]))(xp.linalg.qr(xp.matrix_transpose({c})))
xp.linalg.matrix_norm({a}) | xp.permute_dims({a}, {p}) | xp.linalg.qr(xp.matrix_transpose({a}) @ {a} + xp.eye({a}.shape[-1]) * {d})[1]
"""
PAIRED = """
xp.tensordot({a}, {b}, axes=0) | xp.tensordot(xp.reshape({a}, (-1,)), xp.reshape({a}, (-1,)), axes=1)
xp.linalg.outer(xp.reshape({a}, (-1,)), xp.reshape({b}, (-1,))) | xp.linalg.vecdot({a}, xp.cos({a}))
xp.concat([xp.reshape({a}, (-1,)), xp.reshape({b}, (-1,))])
"""
# In names of NumPy that JAX has too.
NUMPY = """
xp.pad({a}, ((1, 2),) * {a}.ndim, mode='edge') | xp.pad({a}, 1, mode='mean') | xp.pad({a}, 2, mode='maximum')
xp.pad({a}, ((2, 1),) * {a}.ndim, mode='minimum', stat_length=2) | xp.pad({a}, 1, mode='median') | xp.pad({a}, 4, mode='wrap')
xp.pad({a}, 3, mode='reflect') | xp.pad({a}, 3, mode='symmetric') | xp.pad({a}, 1, mode='reflect', reflect_type='odd')
xp.pad({a}, 1, mode='symmetric', reflect_type='odd') | xp.pad({a}, 2, mode='linear_ramp', end_values=0.5) | xp.pad({a}, 1)
xp.quantile({a}, 0.3) | xp.quantile({a}, xp.asarray([0.2, 0.7]), axis={i}) | xp.median({a}, axis={i}, keepdims={k})
xp.percentile({a}, 35.0, axis={i}) | xp.quantile({a}, 0.52 + 0.4 * xp.tanh(xp.mean({b}))) | xp.quantile({a}, 0.4, method='midpoint')
xp.interp({a}, xp.asarray([-1.5, 0.2, 1.3]), xp.asarray([0.3, -1.0, 2.0])) | xp.interp(xp.asarray([0.3, 1.1]), xp.sort(xp.ravel({a})), xp.cos(xp.ravel({a})))
xp.interp({a}, xp.asarray([0.1, 0.9, 2.0]), xp.asarray([0.3, -1.0, 2.0]), period=2.5) | xp.i0({a}) | xp.i0({a}) * {b} | xp.sinc({a})
xp.cov({a}) | xp.cov({a}, rowvar=False, bias={k}) | xp.cov({a}, aweights=xp.cos(xp.arange({a}.shape[-1]) / 9.0)) | xp.corrcoef({a})
xp.polydiv(xp.ravel({a}), xp.asarray([1.5, 0.5]))[0] | xp.polydiv(xp.ravel({a}), 2.5 + xp.abs(xp.ravel({b})))[0]
xp.polyval(xp.ravel({a}), xp.tanh({b})) | xp.polymul(xp.ravel({a}), xp.ravel({b})) | xp.polyfit(xp.arange({a}.size) * 1.0, xp.ravel({a}), 1)
xp.poly(xp.ravel({a})) | xp.polyint(xp.ravel({a})) | xp.polyder(xp.ravel({a})) | xp.polyadd(xp.ravel({a}), xp.ravel({b})) | xp.vander(xp.ravel({a}), 3)
xp.gradient({a}, axis={i}) | xp.trapezoid({a}, axis={i}) | xp.cross({a}, {b}) | xp.kron({a}, {b}) | xp.convolve(xp.ravel({a}), xp.ravel({b}))
xp.correlate(xp.ravel({a}), xp.ravel({b}), mode='same') | xp.cumprod(xp.cos({a}), axis={i}) | xp.ptp({a}, axis={i}) | xp.average({a}, axis={i})
xp.abs(xp.fft.fft({a})) | xp.real(xp.fft.ifft2({a})) | xp.abs(xp.fft.rfft({a})) | xp.fft.irfft({a}) | xp.linalg.cond({s}) | xp.ediff1d({a})
xp.histogram({a}, bins=xp.asarray([-2.0, -0.5, 0.3, 2.0]), weights=xp.cos({b}))[0] | xp.append({a}, {b}) | xp.insert(xp.ravel({a}), 1, 0.5)
xp.nanmean(xp.where({a} > 0.1, {a}, xp.nan)) | xp.unwrap({a} * 4) | xp.linspace(xp.min({a}), xp.max({b}), 4) | xp.take({a}, xp.asarray([0, {n}]))
xp.linalg.lstsq({t}, xp.ones({a}.shape[:1]))[0] | xp.linalg.tensorinv({t}[None, ...], 1) | xp.linalg.multi_dot([{a}, {a}.T, {a}])
"""


def _lines(text: str) -> list[str]:
    return [code.strip() for code in text.replace("\n", "|").split("|") if code.strip()]


ALONG_AXIS, NUMPY_LINES = _lines(ALONG), _lines(NUMPY)
KINDS = [
    *map(_lines, (UNARY, UNARY, BINARY, BINARY, WHOLE, INDEX, MATRIX, PAIRED)),
    *(ALONG_AXIS, ALONG_AXIS),
]


_ORDER = "max min sort norm abs sign > clip quantile median percentile interp hist ptp cond".split()
"""Words of functions that depend on the order of numbers."""


@dataclass
class Program:
    """Leaves, and lines of code that compute v0, v1, ... and at last J."""

    leaves: list[Any]
    lines: list[str] = field(default_factory=list)
    scale: float = 1.0

    @property
    def text(self) -> str:
        leaves = [f"x{i} = {leaf!r}" for i, leaf in enumerate(self.leaves)]
        return "\n".join([*leaves, *self.lines, f"J = {self.scale} * ..."])

    def run(self, xp: Any, leaves: Any) -> Any:
        """J computed with the functions of `xp`."""
        names = {"xp": xp, **{f"x{i}": leaf for i, leaf in enumerate(leaves)}}
        for line in self.lines:
            exec(line, names)
        total: Any = 0.0
        for n in range(max(0, len(self.lines) - 3), len(self.lines)):
            value = names[f"v{n}"]
            weights = np.cos(
                np.arange(value.size if isinstance(value.size, int) else value.numel())
            )
            shaped = xp.asarray(weights.reshape(tuple(value.shape)).astype(str(value.dtype)[-7:]))
            total = total + xp.sum(value * shaped)
        return total * self.scale


def program(choose: Choose, steps: int, dtype: type = np.float64, numpy: bool = False) -> Program:
    """A program of about so many steps whose values stay moderate, and apart where order matters.

    With `numpy` also of functions that the standard lacks.
    """
    rng = np.random.default_rng(choose(2**16))
    shapes = [(), (3,), (2, 3), (1, 3), (2, 1), (2, 2, 3), (3, 3), (1,), (4, 2)]
    leaves = [
        rng.uniform(-1.5, 1.5, shapes[choose(len(shapes))]).astype(dtype)
        for _ in range(1 + choose(3))
    ]
    made = Program(leaves)
    names: dict[str, Any] = {f"x{i}": leaf for i, leaf in enumerate(leaves)}
    for _ in range(steps):
        pool = list(names)
        a = pool[-1 - min(choose(len(pool)), choose(len(pool)))]
        b = pool[choose(len(pool))]
        rank, shape = names[a].ndim, names[a].shape
        kind = KINDS[choose(len(KINDS))] if not numpy or choose(2) else NUMPY_LINES
        if kind is ALONG_AXIS and not rank:
            continue  # NumPy has an axis 0 there, the standard does not
        transposed = f"xp.matrix_transpose({a})"
        square = (
            f"({a} @ {transposed} + xp.asarray({rng.uniform(1.5, 3, shape[-2:][:1]).tolist()}, "
            f"dtype={a}.dtype) * xp.eye({shape[-2] if rank > 1 else 0}, dtype={a}.dtype))"
        )
        shifted = f"({a} + xp.asarray({rng.uniform(1, 3, shape[-2:]).tolist()}, dtype={a}.dtype))"
        upper = f"xp.triu({square}, k=1)"
        hermitian = f"({square} + 0.3j * ({upper} - xp.matrix_transpose({upper})))"
        code = kind[choose(len(kind))].format(
            a=a, b=b, i=choose(rank) - rank * choose(2) if rank else 0, k=bool(choose(2)),
            n=choose(shape[0]) if rank else 0, m=choose(shape[-1]) if rank else 0,
            s=square, t=shifted, h=hermitian, c=f"({shifted} + 1j * xp.cos({shifted}))", p=tuple(rng.permutation(rank).tolist()), d=2.5,
        )  # fmt: skip
        name = f"v{len(made.lines)}"
        try:
            with np.errstate(all="ignore"):
                value = eval(code, {"xp": np, **names})
        except Exception:  # it does not fit these shapes
            continue
        value = np.asarray(value)
        if value.dtype != dtype or not 0 < value.size <= 60 or value.ndim > 4:
            continue
        if not (np.abs(value) < 8).all():
            continue
        if any(word in code for word in _ORDER):
            parts = [names[n].ravel() for n in {a, b}]
            near = np.abs(np.subtract.outer(np.concatenate(parts), np.concatenate(parts)))
            apart = near[~np.eye(len(near), dtype=bool)]
            at = np.abs(
                np.concatenate([*parts, *(p - 0.1 for p in parts), *(abs(p) - 1.5 for p in parts)])
            )
            if (apart < 1e-3).any() or (at < 1e-3).any():  # ties and corners: see test_points
                continue
        if "std" in code and np.std(names[a]) < 1e-2:
            continue
        if "floor" in code and (np.abs(names[a] - np.round(names[a])) < 1e-3).any():
            continue
        if any(word in code for word in ("svd", "eigh", "eigvalsh", "cond")):
            within = {"xp": np, **names}
            spectra = [
                np.linalg.svd(eval(m, within), compute_uv=False)
                for m in (square, shifted, hermitian, f"({shifted} + 1j * xp.cos({shifted}))")
                if m in code
            ]
            if any((np.abs(np.diff(values, axis=-1)) < 1e-2).any() for values in spectra):
                continue
            if any((values < 1e-2).any() for values in spectra):
                continue
        names[name] = value
        made.lines.append(f"{name} = {code}")
    return made
