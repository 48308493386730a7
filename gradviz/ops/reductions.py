"""Rows of reductions: sums, means, extremes, norms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops import hazards
from gradviz.ops.dispatch import dispatched
from gradviz.ops.operation import Operation, linear
from gradviz.quiet import quiet


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None or not ndim:  # NumPy reduces a number along "axis 0" too
        return tuple(range(ndim))
    return tuple(int(i) % ndim for i in (axis if isinstance(axis, (tuple, list)) else (axis,)))


def _kept(g: Any, a: Any, axis: Any, keepdims: Any = False) -> Any:
    """Give what a reduction over `axis` returned the axes of `a` again, each of length 1."""
    if axis is not None and not keepdims and np.ndim(a):
        shape = list(np.shape(a))
        for i in _axes(axis, len(shape)):
            shape[i] = 1
        g = g.reshape(shape) if type(g) is np.ndarray else np.reshape(g, tuple(shape))
    return g


def spread(g: Any, a: Any, axis: Any, keepdims: Any = False) -> Any:
    """Give what a reduction over `axis` returned the shape of `a` again."""
    g = _kept(g, a, axis, keepdims)
    if type(a) is np.ndarray and a.size <= _FEW and type(g) in _PLAIN:
        whole = np.empty(a.shape, g.dtype)  # a view would take longer to make
        whole[...] = g
        return whole
    return np.broadcast_to(g, np.shape(a))


_FEW = 2**12
_PLAIN = frozenset((np.ndarray, np.float64, np.float32))


def _sum(
    g: Any, v: Any, a: Any, axis: Any = None, keepdims: Any = False, where: Any = True, **_: Any
) -> Any:
    g = spread(g, a, axis, keepdims)
    return g if where is True else np.where(where, g, 0.0)


def _count(a: Any, axis: Any, where: Any) -> Any:
    """How many elements each result was made from, with the reduced axes kept."""
    if where is True:
        shape = np.shape(a)
        return math.prod(shape if axis is None else [shape[i] for i in _axes(axis, len(shape))])
    axis = tuple(axis) if isinstance(axis, list) else axis
    return np.sum(np.broadcast_to(where, np.shape(a)), axis=axis, keepdims=True)


def _mean(
    g: Any, v: Any, a: Any, axis: Any = None, keepdims: Any = False, where: Any = True, **_: Any
) -> Any:
    return _sum(g, v, a, axis, keepdims) / _count(a, axis, where) * _chosen(where)


def _chosen(where: Any) -> Any:
    return 1 if where is True else where


def _extreme(
    g: Any,
    v: Any,
    a: Any,
    axis: Any = None,
    keepdims: Any = False,
    where: Any = True,
    initial: Any = None,
    **_: Any,
) -> Any:
    # Ties share evenly, also with `initial`. No element equals a NaN: 0/0 makes its slope NaN.
    v = _kept(v, a, axis, keepdims)
    chosen = (a == v) if where is True else (a == v) & where
    count = np.add.reduce(chosen, axis=axis, keepdims=True)
    if initial is not None:
        count = count + (v == initial)
    with quiet():
        return _kept(g, a, axis, keepdims) * (chosen / count)


def _prod(
    g: Any,
    v: Any,
    a: Any,
    axis: Any = None,
    keepdims: Any = False,
    where: Any = True,
    initial: Any = 1,
    **_: Any,
) -> Any:
    # The product of the others, from both sides: v / a would fail at zeros and in underflow.
    axes = _axes(axis, np.ndim(a))
    kept = tuple(i for i in range(np.ndim(a)) if i not in axes)
    order = kept + axes
    factors = a if where is True else np.where(where, a, 1.0)
    moved = np.transpose(factors, order)
    ends = len(kept)
    rows = np.reshape(moved, (*np.shape(moved)[:ends], math.prod(np.shape(moved)[ends:])))
    ones = np.ones((*np.shape(rows)[:-1], min(1, np.shape(rows)[-1])), dtype=a.dtype)
    before = np.cumprod(np.concatenate([ones, rows[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([ones, rows[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    others = np.transpose(np.reshape(before * after, np.shape(moved)), np.argsort(order))
    return spread(g, a, axis, keepdims) * others * initial * _chosen(where)


def conjugated(a: Any) -> Any:
    """The conjugate of complex numbers, real ones as they are."""
    return np.conjugate(a) if a.dtype.kind == "c" else a


def _spread_deviation(
    g: Any, a: Any, axis: Any, keepdims: Any, where: Any, mean: Any, ddof: Any, correction: Any
) -> Any:
    """The upstream term times (a - mean) / n, what the slopes of var and std have in common."""
    if mean is None:
        mean = np.mean(a, axis=axis, keepdims=True, where=where)
    count = _count(a, axis, where) - (ddof if correction is None else correction)
    return spread(g, a, axis, keepdims) * conjugated(a - mean) / count * _chosen(where)


def _var(
    g: Any, v: Any, a: Any, axis: Any = None, keepdims: Any = False, where: Any = True,
    mean: Any = None, ddof: Any = 0, correction: Any = None, **_: Any,
) -> Any:  # fmt: skip
    return _spread_deviation(2 * g, a, axis, keepdims, where, mean, ddof, correction)


def _std(
    g: Any, v: Any, a: Any, axis: Any = None, keepdims: Any = False, where: Any = True,
    mean: Any = None, ddof: Any = 0, correction: Any = None, **_: Any,
) -> Any:  # fmt: skip
    g = g / np.where(v == 0, 1.0, v)  # where all are equal, a - mean is 0 and so is the slope
    return _spread_deviation(g, a, axis, keepdims, where, mean, ddof, correction)


def _degrees(_: int, keywords: Mapping[str, Any]) -> str:
    ddof = keywords.get("correction", keywords.get("ddof", 0))
    return f"(n - {ddof})" if ddof else "n"


def _cumsum(g: Any, v: Any, a: Any, axis: Any = None, **_: Any) -> Any:
    if axis is None:
        return np.reshape(np.cumsum(g[::-1])[::-1], np.shape(a))
    return np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)


def _sort(g: Any, v: Any, a: Any, axis: Any = -1, **_: Any) -> Any:
    if axis is None:
        return np.reshape(g[np.argsort(np.argsort(np.ravel(a), kind="stable"))], np.shape(a))
    rank = np.argsort(np.argsort(a, axis=axis, kind="stable"), axis=axis)
    return np.take_along_axis(g, rank, axis)


@dispatched
def norm(a: Any, ord: Any = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """The p-norm of vectors (p is a number); over several axes the Frobenius norm."""
    return np.linalg.norm(a, None if ord == 2 else ord, axis, keepdims)


def _norm(g: Any, v: Any, a: Any, ord: Any = 2, axis: Any = None, keepdims: Any = False) -> Any:
    v = spread(v, a, axis, keepdims)
    v = np.where(v == 0, 1.0, v)  # at 0 the slope is 0
    slope = conjugated(a if ord == 2 else np.sign(a)) / (v if ord == 2 else 1)
    if ord != 2:
        slope = slope * (abs(a) / v) ** (ord - 1)
    return spread(g, a, axis, keepdims) * slope


_COVERED = ("axis", "keepdims", "ddof", "correction", "ord", "kind", "stable")


def _along(_: Operation, operands: Any, keywords: Any, value: Any) -> dict[str, Any]:
    """The settings of a reduction."""
    for name, given in keywords.items():
        if name not in _COVERED and given is not None and not (name == "where" and given is True):
            raise TraceError(f"{name}=")
    if keywords.get("ord", 2) != 2:
        raise TraceError("ord=")
    correction = keywords.get("correction")
    return {
        "axis": list(_axes(keywords.get("axis"), np.ndim(operands[0]))),
        "keepdims": int(bool(keywords.get("keepdims", False))),
        "ddof": keywords.get("ddof", 0) if correction is None else correction,
        "shape": list(np.shape(value)),
    }


def _sorted(operation: Operation, operands: Any, keywords: Any, value: Any) -> dict[str, Any]:
    """The settings of a sort; equal numbers are alike, whatever algorithm sorts them."""
    given = {"axis": -1, **{k: v for k, v in keywords.items() if k not in ("kind", "stable")}}
    return _along(operation, operands, given, value)


_SPREAD, _CHOSEN = "spread(g, a, axis)", "(a == spread(v, a, axis))"
_DEVIATION = "(a - mean(a, axis, 1))"
_VARIANCE = f"sum({_DEVIATION} ** 2, axis, keepdims) / (count(a, axis) - ddof)"
_EXTREME = f"{_SPREAD} * ({_CHOSEN} / sum({_CHOSEN}, axis, 1))"
_LENGTH = "spread(where(v == 0, 1, v), a, axis)"

REDUCTIONS = (
    linear(
        np.sum,
        "sum(a)",
        ("g * ones_like(a)", _sum, _SPREAD),
        number="sum(a, axis, keepdims)",
        settings=_along,
        latex=r"\textstyle\sum",
    ),
    linear(
        np.mean,
        "mean(a)",
        ("g / n * ones_like(a)", _mean, f"{_SPREAD} / count(a, axis)"),
        number="mean(a, axis, keepdims)",
        settings=_along,
    ),
    linear(
        np.prod,
        "prod(a)",
        ("g * v / a", _prod, f"{_SPREAD} * others(a, axis)"),
        number="prod(a, axis, keepdims)",
        settings=_along,
        latex=r"\textstyle\prod",
    ),
    *(
        linear(
            function,
            f"{name}(a)",
            ("g * (a == v)", _extreme, _EXTREME),
            name=name,
            number=f"{name}(a, axis, keepdims)",
            settings=_along,
            latex=rf"\{name}",
        )
        for function, name in ((np.max, "max"), (np.min, "min"))
    ),
    linear(
        np.var,
        "var(a)",
        (
            lambda k, n, kw: f"2 * g * (a - mean(a)) / {_degrees(n, kw)}",
            _var,
            f"2 * {_SPREAD} * {_DEVIATION} / (count(a, axis) - ddof)",
        ),
        number=_VARIANCE,
        settings=_along,
    ),
    linear(
        np.std,
        "std(a)",
        (
            lambda k, n, kw: f"g * (a - mean(a)) / ({_degrees(n, kw)} * v)",
            _std,
            f"{_SPREAD} / {_LENGTH} * {_DEVIATION} / (count(a, axis) - ddof)",
        ),
        number=f"sqrt({_VARIANCE})",
        settings=_along,
        hazards=hazards.SPREAD,
    ),
    linear(
        norm,
        "norm(a)",
        (
            lambda k, n, kw: (
                "g * a / v" if kw.get("ord", 2) == 2 else "g * sign(a) * (abs(a) / v) ** (ord - 1)"
            ),
            _norm,
            f"{_SPREAD} * (a / {_LENGTH})",
        ),
        number="sqrt(sum(a ** 2, axis, keepdims))",
        settings=_along,
        hazards=hazards.LENGTH,
    ),
    linear(
        np.cumsum,
        "cumsum(a)",
        ("flip(cumsum(flip(g)))", _cumsum, "sumsback(like(g, a), axis)"),
        number="reshape(cumsum(a, axis), shape)",
        settings=_along,
    ),
    linear(
        np.sort,
        "sort(a)",
        ("unsort(g)", _sort, "unsort(like(g, a), a, axis)"),
        number="reshape(sort(a, axis), shape)",
        settings=_sorted,
    ),
)
