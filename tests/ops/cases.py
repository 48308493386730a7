"""Sample calls of every operation: what the tests of the table run over."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradviz.ops.arrays import scatter
from gradviz.ops.elementwise import ELEMENTWISE
from gradviz.ops.reductions import norm

# NumPy 2.0 itself cannot roll by an unsigned integer.
UNSIGNED = () if np.__version__.startswith("2.0.") else ((np.uint8(1), 0),)


def _numbers(shape: tuple[int, ...]) -> Any:
    seed = zlib.crc32(repr((shape, next(_count))).encode())
    return np.random.default_rng(seed).uniform(0.2, 1.0, shape)


_count = iter(range(10**9))


def R(*shape: int) -> Any:
    """Numbers of both signs, away from 0 and all different."""
    return _numbers(shape) * np.where(_numbers(shape) < 0.6, -1, 1)


def P(*shape: int) -> Any:
    """Positive numbers below 1."""
    return _numbers(shape)[()]


def S(*shape: int) -> Any:
    """Symmetric positive definite matrices."""
    a = R(*shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1]) * np.arange(1.0, shape[-1] + 1)


@dataclass(frozen=True)
class Case:
    """A call ``function(*args, **kwargs)``; the arrays of floats in `args` are differentiated by.

    `torch` is the same in torch, as a function of these arrays alone; `pick` makes one array of
    several results.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    torch: Callable[..., Any] | None = None
    pick: Callable[[Any], Any] = lambda result: result
    second: bool = True

    @property
    def arrays(self) -> list[Any]:
        found: list[Any] = []
        self._fill(self.args, found.append)
        return found

    def _fill(self, value: Any, replace: Callable[[Any], Any]) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)([self._fill(v, replace) for v in value])
        if isinstance(value, (np.ndarray, np.float64)) and value.dtype.kind == "f":
            return replace(value)
        return value

    def __call__(self, *arrays: Any) -> Any:
        given = iter(arrays)
        return self.pick(
            self.function(*self._fill(self.args, lambda _: next(given)), **self.kwargs)
        )

    def __repr__(self) -> str:
        def short(value: Any) -> str:
            if isinstance(value, (list, tuple)):
                return f"[{','.join(map(short, value))}]"
            if isinstance(value, np.ndarray):
                return f"{value.dtype.kind}{list(value.shape)}".replace(" ", "")
            return str(value)[:20]

        module = getattr(self.function, "__module__", None) or "numpy"
        name = f"{module.removeprefix('numpy')}.{getattr(self.function, '__name__', self.function)}"
        if isinstance(getattr(self.function, "__self__", None), np.ufunc):
            name = f"{self.function.__self__.__name__}.{self.function.__name__}"
        settings = [f"{k}={short(v)}" for k, v in self.kwargs.items()]
        return f"{name.strip('.')}({','.join([*map(short, self.args), *settings])})"


def case(
    function: Callable[..., Any],
    *args: Any,
    torch: Any = None,
    pick: Any = None,
    second: bool = True,
    **kwargs: Any,
) -> Case:
    return Case(function, args, kwargs, torch, pick or (lambda result: result), second)


# --- elementwise: every row, with these shapes of operands ----------------------------------------

_SHAPES = {
    1: [((),), ((3,),), ((2, 1, 3),), ((0,),)],
    2: [((), ()), ((3,), (3,)), ((3, 1), (4,)), ((2, 3), ()), ((), (2, 2)), ((2, 1, 3), (4, 1))],
    3: [((), (), ()), ((4,), (), ()), ((2, 3), (3,), (2, 1))],
}
# Where a function is defined (default: both signs, below 1), per operand.
_DOMAINS: dict[Any, tuple[Callable[..., Any], ...]] = {
    **dict.fromkeys((np.sqrt, np.log, np.log2, np.log10, np.log1p, np.cbrt), (P,)),
    np.arccosh: (lambda *shape: 1 + P(*shape),),
    **dict.fromkeys((np.arcsin, np.arccos, np.arctanh), (lambda *shape: 0.9 * R(*shape),)),
    **dict.fromkeys((np.power, np.float_power), (P, R)),
    np.i0: (lambda *shape: 3 * R(*shape),),
    np.clip: (R, lambda *shape: P(*shape) / 2 - 0.5, lambda *shape: P(*shape) / 2),
    np.where: (lambda *shape: R(*shape) > 0, R, R),
}
_TORCH_NAMES = {
    "absolute": "abs", "conjugate": "", "fabs": "abs", "divide": "divide", "power": "pow",
    "degrees": "rad2deg", "radians": "deg2rad", "rint": "round", "cbrt": "", "heaviside": "",
    "real": "",
    "imag": "", "floor_divide": "",
}  # fmt: skip


def _elementwise() -> list[Case]:
    found = []
    for row in ELEMENTWISE:
        count = len(row.derivatives)
        name = row.function.__name__
        domains = _DOMAINS.get(row.function, (R,) * count)
        for shapes in _SHAPES[count]:
            args = [domain(*shape) for domain, shape in zip(domains, shapes, strict=True)]
            args = [np.asarray(a)[()] for a in args]
            found.append(case(row.function, *args, torch=_TORCH_NAMES.get(name, name)))
    return found


ELEMENTWISE_CASES = _elementwise()
"""`torch` is a function's name here, which torch may lack."""

# --- everything else ------------------------------------------------------------------------------


def _reduced(function: Any, torch: Any, make: Any = R, **keywords: Any) -> list[Case]:
    """A reduction over all kinds of axes."""
    cases = []
    for axis in (None, 0, 1, -1, (0, 2), (-1, 0)):
        for keepdims in (False, True):

            def reference(x: Any, axis: Any = axis, keepdims: bool = keepdims) -> Any:
                return torch(x, tuple(range(x.ndim)) if axis is None else axis, keepdims)

            cases.append(
                case(
                    function,
                    make(2, 3, 4),
                    axis=axis,
                    keepdims=keepdims,
                    torch=torch and reference,
                    **keywords,
                )
            )
    return [
        *cases,
        case(function, make(), **keywords),
        case(function, make(5), **keywords),
        case(function, make(1, 1), axis=0, **keywords) if not keywords.get("ddof") else cases[0],
        case(
            function,
            make(2, 3),
            axis=1,
            where=np.array([[True, False, True], [True, True, True]]),
            **keywords,
        )
        if function not in (np.max, np.min)
        else case(
            function,
            make(2, 3),
            axis=1,
            where=np.array([[True, False, True]] * 2),
            initial=-9.0 if function is np.max else 9.0,
        ),
    ]


def _matmuls() -> list[Case]:
    shapes = [
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)),
        ((3,), (5, 3, 2)),
        ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)),
        ((6, 1, 2, 3), (5, 3, 4)), ((1, 1), (1, 1)), ((2, 1), (1,)),
    ]  # fmt: skip
    return [case(np.matmul, R(*a), R(*b), torch=lambda a, b: a @ b) for a, b in shapes]


_M = np.array([[True, False, True], [False, False, True]])


def _einsums(*calls: Any) -> list[Case]:
    return [case(np.einsum, subscripts, *(R(*s) for s in shapes)) for subscripts, *shapes in calls]


PLAIN_EINSUMS = _einsums(
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("i,i->", (3,), (3,)),
    ("i,j->ij", (3,), (2,)),
    ("ij->ji", (2, 3)),
    ("ba", (2, 3)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 4)),
    ("ij,ij->i", (2, 3), (2, 3)),
)
OTHER_EINSUMS = _einsums(
    ("ij->", (2, 3)),
    ("ij->i", (2, 3)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iij->j", (3, 3, 2)),
    ("iii->i", (2, 2, 2)),
    ("iijj->ij", (2, 2, 3, 3)),
    ("ii,ij->j", (3, 3), (3, 2)),
    ("ij,kl->ik", (2, 3), (3, 4)),
    ("ij,k->", (2, 3), (3,)),
    ("...ij,...jk->...ik", (5, 2, 3), (5, 3, 2)),
    ("...ij,jk", (5, 2, 3), (3, 2)),
    ("...i,...i", (4, 3), (3,)),
    ("i...->...", (3, 2, 2)),
    ("...ii->...i", (2, 3, 3)),
    ("b...i,...i->b...", (2, 4, 3), (1, 3)),
    ("...,...->...", (2, 3), (3,)),
    (" i j , j -> i ", (2, 3), (3,)),
    ("ij,jk->ik", (2, 1), (3, 4)),
    ("ij,ij->i", (2, 1), (1, 3)),
    (",i->i", (), (3,)),
)

LINEAR_CASES: list[Case] = [
    *_matmuls(),
    case(np.dot, np.float64(2.0), R(3)),
    case(np.dot, R(3), R(3), torch=lambda a, b: a @ b),
    case(np.dot, R(2, 3), R(3, 2), torch=lambda a, b: a @ b),
    case(np.dot, R(2, 3, 4), R(4)),
    case(np.dot, R(4), R(2, 4, 3)),
    case(np.dot, R(2, 3, 4), R(5, 4, 2)),
    case(np.outer, R(3), R(4), torch=lambda a, b: a[:, None] * b),
    case(np.outer, R(2, 2), R(3)),
    case(np.inner, R(3), R(3)),
    case(np.inner, R(2, 3), R(4, 3)),
    case(np.inner, R(2, 3), R(3)),
    case(np.inner, np.float64(2.0), R(3)),
    case(
        np.tensordot, R(2, 3, 4), R(3, 4, 5), torch=lambda a, b: a.reshape(2, 12) @ b.reshape(12, 5)
    ),
    case(np.tensordot, R(2, 3), R(4, 5), axes=0),
    case(np.tensordot, R(2, 3), R(2, 3), 2),
    case(np.tensordot, R(2, 3, 4), R(4, 2), axes=([2, 0], [0, 1])),
    case(np.tensordot, R(2, 3, 4), R(5, 3), axes=(1, 1)),
    case(np.tensordot, R(2, 3, 4), R(5, 3), ((-2,), (-1,))),
    *PLAIN_EINSUMS,
    *OTHER_EINSUMS,
    case(np.einsum, R(2, 3), [0, 1], R(3, 4), [1, 2], [2, 0]),
    case(np.einsum, R(2, 3), [0, 1], R(3, 4), [1, 2]),
    case(np.einsum, R(5, 2, 3), [..., 0, 1], R(3), [1], [..., 0]),
    case(np.einsum, "ij,jk->ik", R(2, 3), R(3, 4), optimize=True),
    *_reduced(np.sum, lambda x, axis, keep: x.sum(axis, keep)),
    *_reduced(np.mean, lambda x, axis, keep: x.mean(axis, keep)),
    *_reduced(np.max, lambda x, axis, keep: x.amax(axis, keep)),
    *_reduced(np.min, lambda x, axis, keep: x.amin(axis, keep)),
    *_reduced(np.var, lambda x, axis, keep: x.var(axis, correction=0, keepdim=keep)),
    *_reduced(np.var, lambda x, axis, keep: x.var(axis, correction=1, keepdim=keep), ddof=1)[:12],
    *_reduced(np.std, lambda x, axis, keep: x.std(axis, correction=0, keepdim=keep))[:12],
    case(np.std, R(4), ddof=2),
    case(np.std, R(2, 3), axis=1, where=_M | True),
    case(np.var, R(4), correction=1),
    case(np.var, R(2, 3), axis=0, mean=np.zeros((1, 3), int)),
    *_reduced(np.prod, None),
    case(np.prod, R(2, 3), initial=2.0, torch=lambda x: 2 * x.prod()),
    case(np.prod, R(2, 3), axis=1, torch=lambda x: x.prod(1)),
    case(np.sum, R(2, 3), initial=2.0),
    case(np.max, R(2, 3), initial=0.5),
    case(np.sum, R(0, 3), axis=0),
    case(np.sum, R(2, 3), dtype=np.float32, second=False),
    *(case(norm, P(2, 3), p, 1) for p in (1, 1.5, 2, 3)),
    case(norm, R(2, 3), 2, (0, 1), True),
    *(case(np.cumsum, R(2, 3), axis=axis) for axis in (None, 0, 1, -1)),
    *(case(np.sort, R(3, 4), axis=axis) for axis in (None, 0, 1, -1)),
    case(np.sort, R(5), torch=lambda x: x.sort().values),
    # shapes
    *(
        case(np.reshape, R(2, 3), shape, order=o)
        for shape in ((3, 2), -1, (6, 1))
        for o in ("C", "F")
    ),
    case(np.reshape, R(), (1, 1)),
    case(np.ravel, R(2, 3)),
    case(np.ravel, R(2, 3), order="F"),
    case(np.squeeze, R(1, 3, 1)),
    case(np.squeeze, R(1, 3, 1), axis=0),
    case(np.expand_dims, R(2, 3), (0, 2)),
    case(np.expand_dims, R(), 0),
    case(np.transpose, R(2, 3)),
    case(np.transpose, R(2, 3, 4)),
    case(np.transpose, R(2, 3, 4), (1, 2, 0)),
    case(np.transpose, R(2, 3, 4), axes=(-1, 0, 1)),
    case(np.swapaxes, R(2, 3, 4), 0, -1),
    case(np.moveaxis, R(2, 3, 4), 0, -1),
    case(np.moveaxis, R(2, 3, 4), [0, 1], [2, 0]),
    *(case(np.flip, R(2, 3), axis=axis) for axis in (None, 0, (0, 1))),
    *(
        case(np.roll, R(2, 3), shift, axis)
        for shift, axis in ((1, None), (2, 1), ((1, 2), (0, 1)), (-4, 0), *UNSIGNED)
    ),
    case(np.broadcast_to, R(3), (2, 3)),
    case(np.broadcast_to, R(2, 1), (4, 2, 3)),
    case(np.broadcast_to, R(), (2, 2)),
    # parts
    case(np.take, R(5), [0, 2, 2]),
    case(np.take, R(2, 3), [[0, 1], [1, 1]], axis=1),
    case(np.take, R(2, 3), 4),
    case(np.take, R(3), [-1, 5], mode="wrap"),
    case(np.take_along_axis, R(2, 3), np.array([[0, 0], [2, 1]]), 1),
    case(np.delete, R(2, 3), 1, axis=1),
    case(np.resize, R(3), (2, 4)),
    *(case(np.repeat, R(2, 3), n, axis=axis) for n, axis in ((2, None), (2, 0), ([1, 0, 2], 1))),
    *(case(np.tile, R(2, 3), reps) for reps in (2, (2, 1), (2, 1, 2))),
    *(case(np.rot90, R(2, 3), k) for k in (1, 2, -1)),
    *(case(np.diag, R(*shape), k) for shape in ((3,), (3, 3), (2, 3)) for k in (0, 1, -1)),
    case(np.diagflat, R(2, 2), 1),
    case(np.diagonal, R(2, 3, 4), 1, 2, 0),
    *(case(f, R(3, 4), k) for f in (np.tril, np.triu) for k in (0, 1, -1)),
    case(np.tril, R(2, 3, 3)),
    case(np.lib.stride_tricks.sliding_window_view, R(5), 3),
    case(np.lib.stride_tricks.sliding_window_view, R(4, 5), (2, 3)),
    case(np.pad, R(3), 2),
    case(np.pad, R(2, 3), ((1, 0), (2, 1)), constant_values=7),
    *(case(np.pad, R(4), (2, 9), mode=mode) for mode in ("edge", "reflect", "symmetric", "wrap")),
    *(
        case(np.pad, R(3, 4), ((1, 2), (3, 0)), mode=mode, **kw)
        for mode, kw in (
            *((mode, {}) for mode in ("maximum", "minimum", "mean", "median", "linear_ramp")),
            *((mode, {"stat_length": 2}) for mode in ("maximum", "minimum", "mean", "median")),
            ("mean", {"stat_length": ((1, 2), (3, 9))}),
            ("linear_ramp", {"end_values": ((1.5, -2.0), (0.5, 1.0))}),
            ("reflect", {"reflect_type": "odd"}),
            ("symmetric", {"reflect_type": "odd"}),
        )
    ),
    case(lambda a, c: np.pad(a, 1, constant_values=c), R(2, 3), R(), second=False),
    case(np.pad, R(2, 3), {-1: (1, 2)}, "mean")
    if np.lib.NumpyVersion(np.__version__) >= "2.2.0"
    else case(np.copy, R(1)),
    case(np.concatenate, [R(2, 3), R(1, 3)]),
    case(np.concatenate, [R(2, 3), R(2, 1), R(2, 2)], axis=1),
    case(np.concatenate, [R(2, 3), R(2, 1)], axis=-1),
    case(np.concatenate, [R(2, 3), R(2)], axis=None),
    case(np.concatenate, (R(2), np.array([1, 2]))),
    case(np.stack, [R(3), R(3)]),
    case(np.stack, [np.float64(1.5), np.float64(2.5)]),
    case(np.stack, [R(2, 3), R(2, 3)], axis=-1),
    case(scatter, R(3), (5,), np.array([0, 2, 2])),
    case(scatter, R(2), (5,), slice(1, 3)),
    # linear algebra
    case(np.linalg.inv, S(3, 3), torch=lambda a: a.inverse()),
    case(np.linalg.inv, S(2, 3, 3)),
    case(np.linalg.det, R(3, 3), torch=lambda a: a.det()),
    case(np.linalg.det, R(2, 3, 3)),
    case(np.linalg.solve, S(3, 3), R(3)),
    case(np.linalg.solve, S(3, 3), R(3, 2)),
    case(np.linalg.solve, S(2, 3, 3), R(3)),
    case(np.linalg.solve, S(2, 3, 3), R(3, 2)),
    case(np.linalg.solve, S(3, 3), R(2, 3, 2)),
    case(np.linalg.cholesky, S(3, 3)),
    case(np.linalg.cholesky, S(2, 3, 3)),
    case(np.linalg.cholesky, S(3, 3), upper=True),
    *(case(np.linalg.eigh, S(3, 3), pick=lambda r, i=i: r[i]) for i in (0, 1)),
    *(case(np.linalg.eigh, S(3, 3), "U", pick=lambda r, i=i: r[i]) for i in (0, 1)),
    case(np.linalg.eigh, S(2, 3, 3), pick=lambda r: r.eigenvalues[..., None] * r.eigenvectors),
    case(np.linalg.slogdet, S(3, 3), pick=lambda r: r.logabsdet),
    case(np.linalg.slogdet, S(2, 3, 3), pick=lambda r: r[1] * r[0]),
]

_A, _B = R(2, 3), R(2, 3)
_W = np.array([1, 2])


def _quietly(function: Any) -> Any:
    def quiet(*args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return function(*args)

    return quiet


COMPOSED_CASES: list[Case] = [
    *(case(f, R(2, 3), axis=axis) for f in (np.amax, np.amin, np.ptp) for axis in (None, 0, 1)),
    case(np.ptp, R(2, 3), axis=1, keepdims=True),
    case(np.around, R(3), 1),
    *(case(f, R(2, 2, 3)) for f in (np.matrix_transpose, np.linalg.matrix_transpose)),
    case(np.linalg.matmul, R(2, 3), R(3, 2)),
    case(np.linalg.outer, R(3), R(2)),
    case(np.linalg.tensordot, R(2, 3), R(3, 2), axes=1),
    case(np.linalg.diagonal, R(2, 3, 3), offset=1),
    case(np.linalg.trace, R(2, 3, 3)),
    *(case(f, R(2, 3), R(2, 3)) for f in (np.cross, np.linalg.cross)),
    case(np.cross, R(3, 2), R(3, 2), axis=0),
    case(np.cross, R(3), R(4, 3)),
    # of two components: NumPy 2.5 has dropped this form
    *(
        case(_quietly(np.cross), R(*a), R(*b))
        for a, b in (((4, 2), (2,)), ((2,), (4, 3)), ((3,), (2,)))
        if np.lib.NumpyVersion(np.__version__) < "2.5.0"
    ),
    case(np.fliplr, R(2, 3)),
    case(np.flipud, R(2, 3)),
    case(np.copy, R(2, 3)),
    *(
        case(np.rollaxis, R(2, 3, 4), axis, start)
        for axis, start in ((2, 0), (0, 3), (1, -1), (-1, 1))
    ),
    *(
        case(f, R(*shape), R(*shape), pick=lambda r: r[0] * r[1])
        for f in (np.atleast_1d, np.atleast_2d, np.atleast_3d)
        for shape in ((), (2,), (2, 3))
    ),
    case(np.atleast_2d, R(3)),
    *(case(f, [R(3), R(3)]) for f in (np.vstack, np.hstack, np.dstack, np.column_stack)),
    *(case(f, [R(2, 2), R(2, 2)]) for f in (np.vstack, np.hstack, np.dstack, np.column_stack)),
    case(np.hstack, [np.float64(1.5), R(2)]),
    case(np.column_stack, [R(3), R(3, 2)]),
    case(np.block, [[R(2, 2), R(2, 1)], [R(1, 2), np.float64(1.5)]]),
    case(np.block, [R(2), R(3)]),
    case(np.append, R(2, 3), R(1, 3), 0),
    case(np.append, R(2), R(1, 3)),
    *(
        case(f, R(6, 4), 2, pick=lambda r: r[0] * r[1])
        for f in (np.split, np.array_split, np.vsplit, np.hsplit)
    ),
    case(np.dsplit, R(1, 2, 4), [1], pick=lambda r: r[1]),
    case(np.split, R(2, 5), [1, 3], axis=1, pick=lambda r: r[2]),
    case(np.array_split, R(5), 3, pick=lambda r: r[1] * r[0]),
    case(np.unstack, R(2, 3), axis=1, pick=lambda r: r[0] * r[2])
    if hasattr(np, "unstack")
    else case(np.copy, R(1)),
    *(case(np.partition, R(5), k) for k in (1, 3)),
    *(case(np.partition, R(3, 5), 2, axis=axis) for axis in (None, 0, 1)),
    case(np.cumulative_sum, R(2, 3), axis=1)
    if hasattr(np, "cumulative_sum")
    else case(np.copy, R(1)),
    case(np.cumulative_prod, R(2, 3), axis=1)
    if hasattr(np, "cumulative_prod")
    else case(np.copy, R(1)),
    case(np.broadcast_arrays, R(3), R(2, 1), pick=lambda r: r[0] * r[1]),
    *(
        case(np.meshgrid, R(3), R(2), R(4), pick=lambda r: r[0] * r[1] + r[2], **kw)
        for kw in ({}, {"indexing": "ij"}, {"sparse": True})
    ),
    case(np.full_like, R(2, 3), R(3), second=False),
    case(np.select, [_A > 0, _B > 0], [R(2, 3), R(2, 3)], 0.5),
    case(np.extract, _M, R(2, 3)),
    case(np.compress, [True, False, True], R(2, 3), axis=1),
    *(case(np.trace, R(3, 3), offset) for offset in (0, 1)),
    case(np.trace, R(2, 3, 3), 0, 1, 2),
    case(np.average, R(2, 3)),
    case(np.average, R(2, 3), axis=0, weights=_W),
    case(np.average, R(2, 3), axis=0, returned=True, pick=lambda r: r[0]),
    case(np.nansum, R(2, 3), axis=1),
    case(np.nanmean, R(2, 3), axis=1),
    *(case(np.cumprod, R(2, 3), axis=axis) for axis in (None, 0, 1)),
    case(np.cumprod, R(4), torch=lambda x: x.cumprod(0)),
    *(case(np.diff, R(3, 4), n, axis) for n in (1, 2) for axis in (0, -1)),
    *(case(np.gradient, R(4, 3), 0.5, axis=axis) for axis in (0, 1)),
    case(np.gradient, R(3, 4), 0.5, 2.0, pick=lambda r: r[0] * r[1]),
    case(np.trapezoid, R(4), P(4)),
    case(np.trapezoid, R(2, 4), dx=0.5),
    case(np.trapezoid, R(3, 2), P(3), axis=0),
    case(np.linspace, R(), R(), 5),
    case(np.linspace, R(2), R(2), 4, endpoint=False, axis=1),
    case(np.divmod, R(3), P(3), pick=lambda r: r[0] + r[1]),
    case(np.modf, R(3), pick=lambda r: r[0]),
    *(case(np.logaddexp.reduce, R(2, 3), axis=axis) for axis in (0, 1, None)),
    case(np.logaddexp.reduce, R(3), torch=lambda x: x.logsumexp(0)),
    case(np.polyval, R(3), R(2)),
    case(np.polyval, R(3), R()),
    case(np.vdot, R(2, 2), R(2, 2)),
    case(np.vecdot, R(2, 3), R(3)),
    case(np.linalg.vecdot, R(3, 2), R(3, 2), axis=0),
    *(
        [case(np.matvec, R(4, 2, 3), R(3)), case(np.vecmat, R(2), R(2, 3))]
        if hasattr(np, "matvec")
        else []
    ),
    case(np.kron, R(2, 2), R(2, 3)),
    case(np.kron, R(2), R(2, 3)),
    *(case(np.convolve, R(5), R(3), mode) for mode in ("full", "same", "valid")),
    *(case(np.convolve, R(2), R(4), mode) for mode in ("full", "same", "valid")),
    case(np.linalg.multi_dot, [R(2, 3), R(3, 2), R(2, 2)]),
    *(case(np.linalg.matrix_power, S(2, 2), n) for n in (1, 3, -2)),
    case(np.linalg.eigvalsh, S(3, 3)),
    case(np.linalg.svdvals, R(2, 3)) if hasattr(np.linalg, "svdvals") else case(np.copy, R(1)),
    case(np.linalg.norm, R(3), torch=lambda x: x.norm()),
    case(np.linalg.norm, R(2, 3), torch=lambda x: x.norm()),
    case(np.linalg.norm, R(2, 3, 2)),
    *(
        case(np.linalg.norm, R(2, 3), p, axis, keepdims)
        for p in (None, 1, 1.5, 2, 3, np.inf, -np.inf)
        for axis, keepdims in ((0, False), (1, True))
    ),
    *(
        case(np.linalg.norm, R(3, 3), p, axis, keepdims)
        for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)
        for axis, keepdims in ((None, False), ((0, 1), False), ((1, 0), True))
    ),
    case(np.linalg.norm, R(2, 3, 4), 1, (2, 0)),
    case(np.linalg.norm, R(2, 3, 4), "nuc", (2, 0), True),
    *(
        case(np.linalg.vector_norm, R(2, 3), axis=a, ord=p)
        for a in (None, 1, (0, 1))
        for p in (1, 2, 3)
    ),
    case(np.linalg.vector_norm, R(2, 3), keepdims=True),
    case(np.linalg.matrix_norm, R(2, 3, 3), ord=1),
    case(np.add.reduce, R(2, 3)),
    case(np.add.reduce, R(2, 3), axis=None),
    case(np.multiply.reduce, R(2, 3), axis=1, keepdims=True),
    case(np.maximum.reduce, R(2, 3)),
    case(np.minimum.reduce, R(2, 3)),
    case(np.add.accumulate, R(2, 3)),
    case(np.multiply.accumulate, R(2, 3)),
    case(np.multiply.outer, R(2), R(3, 2)),
    case(np.subtract.outer, R(2), R(3)),
]

_Q = [0.1, 0.5, 0.8]
_N = np.array([[0.5, np.nan, -1.5, 2.0], [1.0, 3.0, np.nan, -0.25]])
_UNSURE = [np.array([0.3, -1.2, 4.0, 9.9]), np.array([-1.0, 0.0, 2.0, 5.0])]


def _parts(result: Any) -> Any:
    """The real and imaginary part of a complex result, weighed differently."""
    return np.real(result) + 0.7 * np.imag(result)


def _overlapping(function: Any) -> Any:
    """A function of two sets as one of an array that both are parts of: they share elements."""
    return lambda a: function(a[:4], a[2:])


def _density(a: Any, bins: Any, density: bool) -> Any:
    counts, edges = np.histogram(a, bins, density=density)
    return counts * edges[1:]


def _heights_2d(a: Any, b: Any, w: Any, **keywords: Any) -> Any:
    sums, first, second = np.histogram2d(a, b, weights=w, **keywords)
    return sums * first[1:, None] * second[1:]


def _heights(a: Any, w: Any, **keywords: Any) -> Any:
    counts, edges = np.histogram(a, weights=w, **keywords)
    return counts * edges[1:]


def _power(a: Any, b: Any) -> Any:
    return abs(a) ** b


def _polar(result: Any) -> Any:
    return np.abs(result) ** 2


def _thin(result: Any) -> Any:
    """What is determined of all the vectors of svd."""
    u, s, vh = result
    return (u[:, : len(s)] * s) @ vh[: len(s)] + u[0, : len(s)] @ vh[: len(s), 0]


def _of_complex(function: Any) -> Any:
    """A function of a complex matrix as one of its real and imaginary parts."""

    def of_parts(a: Any, b: Any) -> Any:
        return function(a + 1j * b)

    of_parts.__name__ = function.__name__
    return of_parts


def _hermitian(m: Any) -> Any:
    return m + m.conj().T


# In the names that NumPy and torch share. A power of a matrix of projections has no phase.
def eigh_projections(m: Any, xp: Any = np) -> Any:
    values, vectors = xp.linalg.eigh(_hermitian(m))
    return abs(vectors) ** 2 + values


def eigh_function(m: Any, xp: Any = np) -> Any:
    values, vectors = xp.linalg.eigh(_hermitian(m))
    return abs((vectors * xp.exp(values / 4)) @ vectors.conj().T) ** 2


def svd_polar(m: Any, xp: Any = np) -> Any:
    u, s, vh = xp.linalg.svd(m, full_matrices=False)
    return abs(u @ vh + (u * xp.log(s)) @ vh) ** 2


def svd_lengths(m: Any, xp: Any = np) -> Any:
    u, s, vh = xp.linalg.svd(m, full_matrices=False)
    return s * (abs(u[0]) ** 2 + 0.3 * abs(vh[:, 1]) ** 2)


def eig_lengths(m: Any, xp: Any = np) -> Any:
    values, vectors = xp.linalg.eig(m)
    return xp.sum(abs(values + 2) * abs(vectors) ** 4, 1)


def qr_lengths(m: Any, xp: Any = np) -> Any:
    q, r = xp.linalg.qr(m)
    return abs(q) ** 2 @ abs(r + 0.5 * (q.conj().T @ m)) ** 2


def cholesky(m: Any, xp: Any = np) -> Any:
    lower = xp.linalg.cholesky(m @ m.conj().T)
    return lower.real + 0.7 * lower.imag


def slogdet_sign(m: Any, xp: Any = np) -> Any:
    sign, logdet = xp.linalg.slogdet(m)
    return sign.real + 0.7 * sign.imag + logdet


def det_squared(m: Any, xp: Any = np) -> Any:
    return abs(xp.linalg.det(m)) ** 2


def _twins() -> list[tuple[Any, Any, tuple[int, int]]]:
    square = (eigh_projections, eigh_function, eig_lengths, cholesky, slogdet_sign, det_squared)
    both = [(f, s) for f in (svd_polar, svd_lengths, qr_lengths) for s in ((3, 3), (4, 3))]
    found = []
    for f, shape in [(f, (3, 3)) for f in square] + both + [(svd_polar, (2, 4))]:

        def twin(m: Any, f: Any = f) -> Any:
            import torch

            return f(m, torch)

        twin.__name__ = f.__name__
        found.append((f, twin, shape))
    return found


_INVARIANT = _twins()


def eigh_vectors(m: Any) -> Any:
    return _parts(np.linalg.eigh(_hermitian(m))[1])


def eigh_upper(m: Any) -> Any:
    return _parts(np.linalg.eigh(m, "U")[1])


def eig_vectors(m: Any) -> Any:
    return _parts(np.linalg.eig(m)[1][:, np.argsort(np.abs(np.linalg.eig(m)[0]))])


def svd_left(m: Any) -> Any:
    return _parts(np.linalg.svd(m, full_matrices=False)[0])


def svd_right(m: Any) -> Any:
    return _parts(np.linalg.svd(m, full_matrices=False)[2])


def qr_both(m: Any) -> Any:
    q, r = np.linalg.qr(m)
    return _parts(q @ r[:, -2:] * q[:, :2])


_HELD = [
    *((f, (3, 3)) for f in (eigh_vectors, eigh_upper, eig_vectors)),
    *((f, s) for f in (svd_left, svd_right, qr_both) for s in ((3, 3), (4, 2), (2, 4))),
]
"""Here the phases that LAPACK chose count: only differences know them."""

ANALYSIS_CASES: list[Case] = [
    *(case(np.median, R(3, 4), axis=axis) for axis in (None, 0, 1, (0, 1))),
    case(np.median, R(2, 3, 2), axis=(0, 2), keepdims=True),
    *(case(np.quantile, R(3, 5), _Q, axis=axis) for axis in (None, 0, -1)),
    *(
        case(np.quantile, R(3, 5), 0.3, 1, method=m)
        for m in ("linear", "lower", "higher", "midpoint", "nearest")
    ),
    case(np.quantile, R(2, 3, 2), [_Q[:2]], axis=(2, 0), keepdims=True),
    case(np.percentile, R(7), [25, 75]),
    *(
        case(np.quantile, R(3, 5), q, 1, method=m)
        for q in (0.3, [0.03, 0.55, 0.97])
        for m in (
            *("interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased"),
            "normal_unbiased",
        )
    ),
    *(
        case(np.quantile, R(3, 5), np.array([0.33, 0.6]), a, method=m)
        for a, m in ((1, "linear"), (None, "linear"), (0, "hazen"))
    ),
    case(np.quantile, [3.0, 1.0, 7.0], np.float64(0.4)),
    case(np.percentile, R(5), np.array([[15.0], [62.0]])),
    *(
        case(f, _N, axis=axis)
        for axis in (None, 0, 1)
        for f in (
            np.nanmedian,
            np.nanmax,
            np.nanmin,
            np.nanprod,
            np.nancumsum,
            np.nancumprod,
            np.nanstd,
        )
    ),
    case(np.nanvar, _N, axis=1, ddof=1),
    case(np.nanvar, R(2, 3), axis=1, keepdims=True),
    case(np.nanquantile, _N, [0.2, 0.5], axis=1),
    case(np.nanquantile, _N, 0.2, 1),
    case(np.nanpercentile, R(5), 30),
    *(case(np.cov, R(3, 4), **kw) for kw in ({}, {"rowvar": False}, {"bias": True}, {"ddof": 2})),
    case(np.cov, R(4), R(4)),
    case(np.cov, R(5)),
    *(
        case(np.cov, R(3, 4), **kw)
        for kw in (
            {"fweights": [1, 2, 0, 3]},
            {"aweights": [0.5, 1.0, 2.0, 0.25]},
            {"fweights": [1, 2, 0, 3], "aweights": np.array([1, 2, 1, 4]), "ddof": 2},
        )
    ),
    case(lambda m, w: np.cov(m, aweights=w), R(3, 4), P(4)),
    case(np.cov, R(2, 4), dtype=np.float64),
    case(np.histogram_bin_edges, R(5), 4),
    *(
        case(_density, R(6), bins, second=False, density=d)
        for bins in (3, np.array([-1.0, -0.1, 0.5, 1.0]))
        for d in (False, True)
    ),
    case(_heights, R(7), P(7), bins=3, range=(-1, 0.6), second=False),
    *(
        case(_heights_2d, R(7), P(7), P(7), bins=b, density=d, second=False)
        for b in (2, [2, 3], [np.array([-1.0, 0.2, 1.0]), 2])
        for d in (False, True)
    ),
    case(_heights_2d, R(7), R(7), P(7), bins=np.array([-1.0, 0.1, 0.4, 1.0]), second=False),
    case(np.histogram2d, R(5), R(5), 3, pick=lambda r: r[1] * r[2], second=False),
    case(np.histogramdd, R(6, 2), (2, 3), pick=lambda r: r[1][0], second=False),
    case(np.histogram, R(5), 3, pick=lambda r: r[1], second=False),
    case(_heights, R(7), P(7), bins=4, density=True),
    case(np.corrcoef, R(3, 5)),
    case(np.corrcoef, R(4), R(4)),
    case(np.interp, _UNSURE[0], _UNSURE[1], R(4)),
    case(np.interp, _UNSURE[0], _UNSURE[1], R(4), left=2.0, right=-1.0),
    case(np.interp, 9 * R(4), np.array([0.4, 3.1, -2.0]), R(3), period=5.5),
    case(np.interp, 9 * R(4), [0.4, 3.1, -2.0], R(3), period=np.float64(5.5)),
    case(np.interp, R(2, 2), [-2.0, 0.1, 3.0], [1.0, 0.5, -2.0]),
    case(np.unwrap, R(6) * 9),
    case(np.ediff1d, R(2, 3)),
    case(np.ediff1d, R(4), R(), R(2)),
    *(
        case(np.diff, R(2, 3), prepend=e, append=e, axis=axis)
        for e in (0.5, R())
        for axis in (0, 1)
    ),
    case(np.diff, R(2, 3), 2, prepend=R(2, 1)),
    case(np.gradient, R(4, 3), axis=0, edge_order=2),
    *(case(np.gradient, R(5), np.array([0.0, 0.5, 2.0, 2.5, 4.0]), edge_order=k) for k in (1, 2)),
    case(np.insert, R(2, 3), 1, R(2), axis=1),
    case(np.insert, R(2, 3), [0, 2], R(2, 1), axis=1),
    case(np.insert, R(4), 2, R()),
    case(np.unique, np.array([0.5, -1.0, 0.5, 2.0][1:])),
    case(np.unique, R(4), return_index=True, pick=lambda r: r[0]),
    case(np.unique, R(2, 3), axis=1),
    case(np.unique, R(2, 3), return_index=True, axis=0, pick=lambda r: r[0]),
    case(np.unique, R(2, 3), False, True, False, 1, pick=lambda r: r[0]),
    case(lambda a: np.unique(a[:, [1, 0, 1]], axis=1), R(2, 2)),
    case(lambda a: np.unique(a[[1, 0, 1]], return_counts=True), R(3), pick=lambda r: r[0] * r[1]),
    *(
        case(h, *arrays, second=len(arrays) == 1)
        for f in (np.union1d, np.intersect1d, np.setdiff1d, np.setxor1d)
        for h, arrays in ((f, [R(3), R(2)]), (_overlapping(f), [R(6)]))
        if h is not np.intersect1d
    ),
    case(np.intersect1d, R(3), R(3), second=False),
    *(
        case(getattr(np, n), R(5), pick=lambda r: np.sum(getattr(r, "values", r) ** 2))
        for n in ("unique_values", "unique_counts", "unique_inverse", "unique_all")
        if hasattr(np, n)
    ),
    case(np.sort_complex, R(4), pick=_parts),
    *(
        case(f, R(2, 3), axis=1, include_initial=True)
        for f in (getattr(np, n, None) for n in ("cumulative_sum", "cumulative_prod"))
        if f
    ),
    *([case(np.astype, R(3), np.float64)] if hasattr(np, "astype") else []),
    case(np.trim_zeros, np.array([1.5, 2.0])),
    case(np.bincount, [0, 2, 2], R(3), minlength=5),
    case(np.choose, [0, 2, 1, 1], [R(4), R(4), R()]),
    case(np.choose, [3, -1], [R(2), R(2)], mode="wrap"),
    case(np.choose, [3, -1], [R(2), R(2)], mode="clip"),
    case(np.piecewise, R(6), [[True, False, True, False, False, True]], [np.sin, np.square]),
    case(np.ldexp, R(3), [1, -2, 3]),
    case(np.frexp, R(3), pick=lambda r: r[0]),
    case(np.apply_along_axis, lambda row: row * np.sum(row), 1, R(2, 3)),
    case(np.apply_along_axis, np.sum, 0, R(2, 3)),
    *(case(np.vectorize(f), R(2, 3), R(3)) for f in (lambda a, b: a * b if a > 0 else b, _power)),
    case(np.vectorize(lambda a, n: (a**n, a), excluded=[1]), R(3), 2, pick=lambda r: r[0] * r[1]),
    case(np.vectorize(lambda a, scale: a * scale), R(3), scale=2.0),
    case(np.vectorize(lambda a: a * 2, otypes="d"), R(2)),
    case(np.vectorize(lambda a, b: a @ b, signature="(m,n),(n)->(m)"), R(2, 3, 2), R(2)),
    case(
        np.vectorize(lambda a: (a[1:] * a[0], a[0]), signature="(n)->(k),()"),
        R(2, 3),
        pick=lambda r: r[0] * r[1][:, None],
    ),
    case(np.apply_over_axes, np.sum, R(2, 3, 2), [0, 2]),
    *(
        case(f, R(3, 2), axis=axis)
        for axis in (0, 1)
        for f in (
            np.maximum.accumulate,
            np.subtract.accumulate,
            np.subtract.reduce,
            np.divide.reduce,
        )
    ),
    *(case(np.add.reduceat, R(5), [0, 3, 1, 4]) for _ in (0,)),
    case(np.multiply.reduceat, R(2, 4), [0, 2], axis=1),
    case(np.vander, R(3)),
    case(np.vander, R(3), 2, increasing=True),
    case(np.poly, R(3)),
    case(np.poly, S(3, 3), second=False),
    case(np.polydiv, R(5), R(3), pick=lambda r: r[0]),
    case(np.polydiv, R(5), R(2), pick=lambda r: r[1]),
    case(np.polydiv, R(2), R(3), pick=lambda r: r[1], second=False),
    case(np.polydiv, np.array([1.0, 5.0, 6.0]), np.array([1.0, 2.0]), pick=lambda r: r[0]),
    case(
        np.roots,
        np.array([1.0, -0.5, -3.0, 0.75]),
        pick=lambda r: np.sort(np.real(r)),
        second=False,
    ),
    case(np.roots, np.array([1.0, 0.5, 3.0, 0.75]), pick=_polar, second=False),
    case(np.polyadd, R(3), R(2)),
    case(np.polysub, R(2), R(3)),
    case(np.polymul, R(3), R(2)),
    case(np.polyder, R(4), 2),
    case(np.polyint, R(3), 2),
    case(np.polyint, R(3), 1, [0.5, 2.0]),
    case(np.polyfit, np.arange(5.0), R(5), 2),
    *(
        case(np.polyfit, np.arange(6.0), R(6), 2, cov=c, pick=lambda r: r[1], second=c is True)
        for c in (True, "unscaled")
    ),
    case(np.polyfit, np.arange(6.0) + R(6) / 9, R(6, 2), 1, cov=True, pick=lambda r: r[1]),
    case(np.polyfit, np.arange(6.0), R(6), 2, full=True, pick=lambda r: r[1]),
    case(np.polyfit, P(6) * np.arange(6), R(6), 1, w=P(6)),
    case(np.linalg.lstsq, R(4, 2), R(4), None, pick=lambda r: r[0]),
    case(np.linalg.lstsq, R(4, 2), R(4, 2), None, pick=lambda r: r[1]),
    case(np.linalg.lstsq, R(2, 3), R(2), None, pick=lambda r: r[0]),
    *(case(np.linalg.cond, S(3, 3), p) for p in (None, -2, 1, np.inf, "fro")),
    case(np.linalg.cond, R(2, 3)),
    case(np.linalg.tensorinv, R(2, 3, 6)),
    case(np.linalg.tensorsolve, R(2, 3, 6), R(2, 3)),
    *(
        case(np.correlate, R(*a), R(*b), mode)
        for a, b in (((5,), (3,)), ((2,), (4,)), ((4,), (2,)))
        for mode in ("full", "same", "valid")
    ),
    case(np.logspace, R(), R(), 4),
    case(np.geomspace, P(), P(), 4),
    case(np.geomspace, -P(2), -P(2), 4, axis=1),
    # through complex numbers
    *(
        case(f, R(2, 4), n, axis, norm, pick=_parts)
        for f in (np.fft.fft, np.fft.ifft)
        for n, axis, norm in ((None, -1, None), (3, 1, "ortho"), (6, 0, "forward"), (5, -1, None))
    ),
    *(
        case(np.fft.rfft, R(2, 5), n, axis, norm, pick=_parts)
        for n, axis, norm in ((None, -1, None), (4, 1, "ortho"), (3, 0, "forward"), (7, 1, None))
    ),
    *(
        case(np.fft.irfft, R(3, 4), n, axis, norm)
        for n, axis, norm in ((None, -1, None), (4, 1, "ortho"), (5, 0, "forward"), (9, 1, None))
    ),
    *(
        case(f, R(2, 3, 2), pick=_parts, **kw)
        for f in (np.fft.fft2, np.fft.ifft2, np.fft.fftn, np.fft.ifftn, np.fft.rfftn, np.fft.rfft2)
        for kw in ({}, {"axes": (1, 0)}, {"s": (2, 4), "axes": (0, 1)})
    ),
    *(
        case(f, R(2, 3, 3), **kw)
        for f in (np.fft.irfftn, np.fft.irfft2)
        for kw in ({}, {"axes": (2, 1), "norm": "ortho"}, {"s": (2, 4), "axes": (0, 1)})
    ),
    case(np.fft.hfft, R(2, 3)),
    case(np.fft.hfft, R(4), 5, norm="forward"),
    case(np.fft.ihfft, R(5), pick=_parts),
    *(
        case(f, R(2, 5), axes=axes)
        for f in (np.fft.fftshift, np.fft.ifftshift)
        for axes in (None, 1)
    ),
    case(np.imag, R(3)),
    case(np.conjugate, R(2, 3)),
    case(np.angle, R(3)),
    case(lambda a, b: np.angle(a + 1j * b), R(3), R(3)),
    case(lambda a, b: np.angle(a + 1j * b, deg=True), R(), R()),
    case(lambda a, b: _parts(np.sign(a + 1j * b)), R(3), R(3)),
    case(lambda a, b: abs(np.exp(1j * a) * b + np.conj(a * 1j)), R(3), R(3)),
    case(np.real_if_close, R(3)),
    # decompositions
    *(
        case(np.linalg.qr, R(*s), pick=lambda r, i=i: r[i])
        for i in (0, 1)
        for s in ((3, 3), (4, 2), (2, 4), (2, 3, 2))
    ),
    case(np.linalg.qr, R(4, 2), mode="r"),
    *(case(np.linalg.svd, R(*s), pick=lambda r: r[1]) for s in ((3, 3), (2, 3), (3, 2))),
    case(np.linalg.eigvals, S(3, 3), pick=lambda r: np.real(r * r), second=False),
    case(
        np.linalg.eigvals,
        R(3, 3) + np.array([[0, 2, 0], [-2, 0, 0], [0, 0, 3]]),
        pick=_polar,
        second=False,
    ),
    case(np.linalg.eig, S(2, 3, 3), pick=lambda r: np.real(r[0]), second=False),
    *(
        # (From NumPy 2.5 on they are complex in any case.)
        case(np.linalg.eig, S(3, 3) @ np.diag([1.0, 2.0, 4.0]), pick=lambda r, i=i: np.real(r[i]))
        for i in (0, 1)
    ),
    *(case(np.linalg.svd, R(*s), pick=_thin) for s in ((3, 2), (2, 3), (3, 3))),
    case(np.linalg.svd, S(3, 3), hermitian=True, pick=lambda r: r[1]),
    # complex matrices of two real ones; torch has those that no phase enters
    *(case(_of_complex(f), R(*s), R(*s), torch=_of_complex(t)) for f, t, s in _INVARIANT),
    *(case(_of_complex(f), R(*s), R(*s)) for f, s in _HELD),
    *(
        case(np.linalg.det, np.outer(np.arange(1.0, n + 1), np.arange(2.0, n + 2)))
        for n in (1, 2, 3)
    ),
    case(np.linalg.det, np.array([[0.0]])),
    case(np.linalg.det, np.array([[[0.5, 1.0], [1.0, 2.0]], [[1.0, 2.0], [4.0, 3.0]]])),
]

BORROWED_CASES: list[Case] = [
    case(np.linalg.pinv, R(2, 3)),
    case(np.linalg.pinv, R(3, 2)),
    case(np.linalg.pinv, R(3, 3), hermitian=True),
    case(np.linalg.pinv, R(2, 3, 2)),
    case(np.linalg.svd, R(3, 3), compute_uv=False),
    case(np.linalg.svd, R(2, 3, 2), compute_uv=False),
    *(
        case(np.linalg.svd, R(*s), full_matrices=False, pick=lambda r: (r[0] * r[1]) @ r[2])
        for s in ((2, 3), (3, 2))
    ),
    *(
        case(np.linalg.svd, R(*s), full_matrices=False, pick=lambda r, i=i: r[i])
        for s in ((2, 3), (3, 2), (3, 3))
        for i in range(3)
    ),
]

CASES = [*ELEMENTWISE_CASES, *LINEAR_CASES, *COMPOSED_CASES, *ANALYSIS_CASES, *BORROWED_CASES]
