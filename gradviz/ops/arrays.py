"""Rows of the operations that are linear maps of whole arrays: products, sums, shapes, parts."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import wraps
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops import hazards
from gradviz.ops.element import SUM_OF_PRODUCTS
from gradviz.ops.operation import OPERAND_NAMES, Operation, assembled, linear


def dispatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of ours dispatch as NumPy's do: calls on recorded arrays are recorded."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for argument in args:
            protocol = getattr(type(argument), "__array_function__", None)
            if protocol is not None and protocol is not np.ndarray.__array_function__:
                return protocol(argument, wrapper, (), args, kwargs)
        return function(*args, **kwargs)

    wrapper._implementation = function  # type: ignore[attr-defined]  # as NumPy's own have it
    return wrapper


# --- products ------------------------------------------------------------------------------------


def _swap(a: Any) -> Any:
    return np.swapaxes(a, -1, -2)


def _matmul_left(g: Any, v: Any, a: Any, b: Any, **_: Any) -> Any:
    if np.ndim(b) == 1:
        return g[..., None] * b if np.ndim(a) > 1 else g * b
    if np.ndim(a) == 1:
        return (g[..., None, :] @ _swap(b))[..., 0, :]
    return g @ (b.T if np.ndim(b) == 2 else _swap(b))


def _matmul_right(g: Any, v: Any, a: Any, b: Any, **_: Any) -> Any:
    if np.ndim(a) == 1:
        return a[:, None] * g[..., None, :] if np.ndim(b) > 1 else g * a
    if np.ndim(b) == 1:
        return (_swap(a) @ g[..., None])[..., 0]
    return (a.T if np.ndim(a) == 2 else _swap(a)) @ g


_LETTERS = string.ascii_letters


def _implied(inputs: str) -> str:
    """The subscripts of einsum's result where none are given: the letters that occur once."""
    counts = Counter(inputs.replace(",", "").replace("...", ""))
    return ("..." if "..." in inputs else "") + "".join(sorted(c for c in counts if counts[c] == 1))


def _subscripts(operands: Sequence[Any], subscripts: str) -> tuple[list[str], str]:
    """The index letters of each operand and of the result, with an ellipsis written out."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    ranks = [
        np.ndim(o) - len(term) + 3 if "..." in term else 0
        for o, term in zip(operands, terms, strict=True)
    ]
    spare = [c for c in _LETTERS if c not in subscripts]
    broadcast = "".join(spare[: max(ranks, default=0)])
    letters = [
        term.replace("...", broadcast[len(broadcast) - rank :])
        for term, rank in zip(terms, ranks, strict=True)
    ]
    return letters, (output if arrow else _implied(inputs)).replace("...", broadcast)


def _reversal(
    k: int, letters: list[str], output: str, absent: Callable[[str], bool]
) -> tuple[list[tuple[str, bool]], str]:
    """What the message to operand k needs besides g and the other operands, and its own letters.

    An index that no other has was summed away: ones spread it again (False). Of an index that the
    operand repeats only the diagonal was read: an identity matrix puts g there (True).
    """
    spare = iter(c for c in _LETTERS if c not in "".join([output, *letters]))
    extra: list[tuple[str, bool]] = []
    result = ""
    for letter in letters[k]:
        if letter in result:
            fresh = next(spare)
            extra.append((letter + fresh, True))
            letter = fresh
        elif absent(letter):
            extra.append((letter, False))
        result += letter
    return extra, result


def _einsum(k: int, g: Any, v: Any, *operands: Any, subscripts: str, **_: Any) -> Any:
    """The message to operand k: the same sum with g in the place of the operand."""
    letters, output = _subscripts(operands, subscripts)
    terms = [output, *letters[:k], *letters[k + 1 :]]
    factors = [g, *operands[:k], *operands[k + 1 :]]
    own = dict(zip(letters[k], np.shape(operands[k]), strict=True))
    longest = dict.fromkeys(own, 0)  # an index of length 1 is broadcast
    for term, factor in zip(terms, factors, strict=True):
        for letter, size in zip(term, np.shape(factor), strict=True):
            longest[letter] = max(size, longest.get(letter, 0))
    extra, result = _reversal(k, letters, output, lambda letter: own[letter] > longest[letter])
    dtype = operands[k].dtype
    for term, identity in extra:
        terms.append(term)
        size = own[term[0]]
        factors.append(np.eye(size, dtype=dtype) if identity else np.ones(size, dtype=dtype))
    return np.einsum(f"{','.join(terms)}->{result}", *factors, optimize=len(factors) > 1)


def _einsum_message(k: int, count: int, keywords: Mapping[str, Any]) -> str:
    inputs, arrow, output = keywords["subscripts"].replace(" ", "").partition("->")
    if "..." in inputs:
        return f"einsum_vjp(g, {', '.join(OPERAND_NAMES[:count])})"
    letters = inputs.split(",")
    if not arrow:
        output = _implied(inputs)
    others = [output, *letters[:k], *letters[k + 1 :]]
    extra, result = _reversal(k, letters, output, lambda letter: letter not in "".join(others))
    terms = ",".join([*others, *(term for term, _ in extra)])
    names = list(OPERAND_NAMES[:count])
    factors = ["g", *names[:k], *names[k + 1 :], *("delta" if i else "ones" for _, i in extra)]
    return f"einsum('{terms}->{result}', {', '.join(factors)})"


def einsum(*operands: Any, subscripts: str, **keywords: Any) -> Any:
    """`numpy.einsum` with the subscripts by name."""
    return np.einsum(subscripts, *operands, **keywords)


EINSUM = Operation(
    "einsum",
    einsum,
    lambda count, _: f"einsum(subscripts, {', '.join(OPERAND_NAMES[:count])})",
    (linear(einsum, "", (_einsum_message, _einsum)).derivatives or ())[:1],
    variadic=True,
    function=np.einsum,
)


def _contraction(
    function: Callable[..., Any], formula: str, subscripts: Callable[..., str]
) -> Operation:
    """A row for a product that sums over pairs of axes: its messages are such products."""

    def message(k: int) -> Callable[..., Any]:
        def pull(g: Any, v: Any, a: Any, b: Any, **keywords: Any) -> Any:
            return _einsum(k, g, v, a, b, subscripts=subscripts(np.ndim(a), np.ndim(b), **keywords))

        return pull

    return linear(function, formula, ("contract(g, b)", message(0)), ("contract(a, g)", message(1)))


def _paired(ranks: tuple[int, int], axes: Sequence[tuple[int, int]]) -> str:
    """The subscripts of a product of two arrays that sums over pairs of axes."""
    first = [chr(ord("a") + i) for i in range(ranks[0])]
    second = [chr(ord("A") + i) for i in range(ranks[1])]
    for i, j in axes:
        second[j] = first[i]
    kept = [c for c in first + second if (first + second).count(c) == 1]
    return f"{''.join(first)},{''.join(second)}->{''.join(kept)}"


def _tensordot(rank_a: int, rank_b: int, axes: Any = 2, **_: Any) -> str:
    if np.ndim(axes) == 0:
        left, right = range(rank_a - int(axes), rank_a), range(int(axes))
    else:
        left, right = np.atleast_1d(axes[0]).tolist(), np.atleast_1d(axes[1]).tolist()
    return _paired((rank_a, rank_b), list(zip(left, right, strict=True)))


def _inner(rank_a: int, rank_b: int, **_: Any) -> str:
    return _paired((rank_a, rank_b), [(-1, -1)] if rank_a and rank_b else [])


def _dot(rank_a: int, rank_b: int, **_: Any) -> str:
    return _paired((rank_a, rank_b), [(-1, -2 if rank_b > 1 else -1)] if rank_a and rank_b else [])


PRODUCTS = (
    linear(np.matmul, "a @ b", ("g @ b.T", _matmul_left), ("a.T @ g", _matmul_right)),
    linear(
        np.outer,
        "outer(a, b)",
        ("g @ b", lambda g, v, a, b, **_: np.reshape(g @ np.ravel(b), np.shape(a))),
        ("g.T @ a", lambda g, v, a, b, **_: np.reshape(np.ravel(a) @ g, np.shape(b))),
    ),
    _contraction(np.dot, "dot(a, b)", _dot),
    _contraction(np.inner, "inner(a, b)", _inner),
    _contraction(np.tensordot, "tensordot(a, b)", _tensordot),
    EINSUM,
)

# --- sums ----------------------------------------------------------------------------------------


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None or not ndim:  # NumPy reduces a number along "axis 0" too
        return tuple(range(ndim))
    return tuple(int(i) % ndim for i in (axis if isinstance(axis, (tuple, list)) else (axis,)))


def spread(g: Any, a: Any, axis: Any, keepdims: Any = False) -> Any:
    """Give what a reduction over `axis` returned the axes of `a` again."""
    if axis is not None and not keepdims and np.ndim(a):
        shape = list(np.shape(a))
        for i in _axes(axis, np.ndim(a)):
            shape[i] = 1
        g = np.reshape(g, tuple(shape))
    return np.broadcast_to(g, np.shape(a))


def _sum(
    g: Any, v: Any, a: Any, axis: Any = None, keepdims: Any = False, where: Any = True, **_: Any
) -> Any:
    g = spread(g, a, axis, keepdims)
    return g if where is True else np.where(where, g, 0.0)


def _count(a: Any, axis: Any, where: Any) -> Any:
    """How many elements each result was made from, with the reduced axes kept."""
    if where is True:
        return math.prod(np.shape(a)[i] for i in _axes(axis, np.ndim(a)))
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
    v = spread(v, a, axis, keepdims)
    chosen = (a == v) & where
    count = np.sum(chosen, axis=axis, keepdims=True)
    if initial is not None:
        count = count + (v == initial)
    with np.errstate(invalid="ignore"):
        return spread(g, a, axis, keepdims) * (chosen / count)


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


REDUCTIONS = (
    linear(np.sum, "sum(a)", ("g * ones_like(a)", _sum), latex=r"\textstyle\sum"),
    linear(np.mean, "mean(a)", ("g / n * ones_like(a)", _mean)),
    linear(np.prod, "prod(a)", ("g * v / a", _prod), latex=r"\textstyle\prod"),
    linear(np.max, "max(a)", ("g * (a == v)", _extreme), name="max", latex=r"\max"),
    linear(np.min, "min(a)", ("g * (a == v)", _extreme), name="min", latex=r"\min"),
    linear(np.var, "var(a)", (lambda k, n, kw: f"2 * g * (a - mean(a)) / {_degrees(n, kw)}", _var)),
    linear(
        np.std,
        "std(a)",
        (lambda k, n, kw: f"g * (a - mean(a)) / ({_degrees(n, kw)} * v)", _std),
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
        ),
        hazards=hazards.LENGTH,
    ),
    linear(np.cumsum, "cumsum(a)", ("flip(cumsum(flip(g)))", _cumsum)),
    linear(np.sort, "sort(a)", ("unsort(g)", _sort)),
)

# --- shapes --------------------------------------------------------------------------------------


def _unreshape(g: Any, v: Any, a: Any, *_: Any, order: Any = "C", **__: Any) -> Any:
    if order not in ("C", "F"):
        raise TraceError(
            f"order={order!r} depends on how an array lies in memory; write 'C' or 'F'"
        )
    return np.reshape(g, np.shape(a), order=order)


def _untranspose(g: Any, v: Any, a: Any, axes: Any = None, **_: Any) -> Any:
    return np.transpose(
        g, None if axes is None else np.argsort([i % len(axes) for i in axes]).tolist()
    )


def _astype(a: Any, dtype: Any, order: Any = "K") -> Any:
    return np.asarray(a).astype(dtype, order)[()]


def _back(shift: Any) -> Any:
    """The shift that undoes a roll, whatever kind of integer it is: uint8's -1 would be 255."""
    return np.array(-np.array(shift).astype(object)).tolist()


SHAPES = (
    *(
        linear(function, f"{function.__name__}(a)", ("reshape(g)", _unreshape))
        for function in (np.reshape, np.ravel, np.squeeze, np.expand_dims)
    ),
    linear(
        np.transpose,
        lambda n, keywords: "transpose(a, axes)" if keywords.get("axes") else "a.T",
        (lambda k, n, keywords: "transpose(g)" if keywords.get("axes") else "g.T", _untranspose),
    ),
    linear(
        np.swapaxes,
        "swapaxes(a)",
        ("swapaxes(g)", lambda g, v, a, axis1, axis2, **_: np.swapaxes(g, axis1, axis2)),
    ),
    linear(
        np.moveaxis,
        "moveaxis(a)",
        (
            "moveaxis(g)",
            lambda g, v, a, source, destination, **_: np.moveaxis(g, destination, source),
        ),
    ),
    linear(np.flip, "flip(a)", ("flip(g)", lambda g, v, a, axis=None, **_: np.flip(g, axis))),
    linear(
        np.roll,
        "roll(a)",
        (
            "roll(g)",
            lambda g, v, a, shift, axis=None, **_: np.roll(g, _back(shift), axis),
        ),
    ),
    linear(np.broadcast_to, "broadcast(a)", ("sum(g)", lambda g, v, a, **_: g)),
)
ASTYPE = linear(_astype, "a", ("g", lambda g, v, a, dtype, **_: g), name="astype")

# --- parts ---------------------------------------------------------------------------------------


def _item(a: Any, index: Any) -> Any:
    return a[index]


@dispatched
def scatter(g: Any, shape: Any, index: Any) -> Any:
    """Zeros of `shape` with g added at `index`: what indexing sends back."""
    result = np.zeros(shape, g.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if all(i is None or i is Ellipsis or isinstance(i, (int, slice, np.integer)) for i in parts):
        result[index] = g  # nothing is read twice
    else:
        np.add.at(result, index, g)
    return result


GETITEM = linear(
    _item,
    "a[index]",
    ("scatter(g)", lambda g, v, a, index: scatter(g, np.shape(a), index)),
    name="getitem",
)


def setitem(a: Any, b: Any, index: Any) -> Any:
    """A copy of `a` in which `index` was set to `b`."""
    result = np.array(a)
    result[index] = b
    return result


def _written(a: Any, b: Any, index: Any) -> Any:
    """The number of the element of b that each element of a was set to, from 1; 0: it was kept."""
    numbers = np.zeros(np.shape(a), int)
    numbers[index] = np.arange(1, int(np.size(b)) + 1).reshape(np.shape(b))
    return numbers


def _set(g: Any, v: Any, a: Any, b: Any, index: Any) -> Any:
    source = _written(a, b, index).ravel()
    return np.reshape(scatter(np.ravel(g), (int(np.size(b)) + 1,), source)[1:], np.shape(b))


SETITEM = linear(
    setitem,
    "set(a, b)",
    ("keep(g)", lambda g, v, a, b, index: np.where(_written(a, b, index) == 0, g, 0.0)),
    ("g[index]", _set),
    name="setitem",
)


def _flatten(a: Any, order: Any = "C") -> Any:
    return np.array(np.ravel(a, order=order))


FLATTEN = linear(_flatten, "ravel(a)", ("reshape(g)", _unreshape), name="flatten")
HELD: ContextVar[Iterator[Any] | None] = ContextVar("held", default=None)
"""What `stop_gradient` returns one after the other, where a program is run for differences."""


def _stopped(a: Any) -> Any:
    held = HELD.get()
    return a if held is None else next(held, a)


STOP = linear(_stopped, "", None, name="stop_gradient")
SCATTER = linear(
    scatter, "scatter(a)", ("g[index]", lambda g, v, a, shape, index: g[index]), name="scatter"
)


def _moved(function: Callable[..., Any]) -> Operation:
    """A row for a function that moves elements, repeats, drops, or fills up with zeros.

    Applied to the elements' numbers it says where each came from (0: from nowhere), whatever
    its arguments; the message goes back there.
    """

    def pull(g: Any, v: Any, a: Any, **keywords: Any) -> Any:
        size = int(np.size(a))
        numbers = np.arange(1, size + 1).reshape(np.shape(a))
        source = np.asarray(function(numbers, **keywords))
        return np.reshape(scatter(np.ravel(g), (size + 1,), source.ravel())[1:], np.shape(a))

    return linear(function, f"{function.__name__}(a)", ("scatter(g)", pull))


def _pad(g: Any, v: Any, a: Any, pad_width: Any, mode: Any = "constant", **keywords: Any) -> Any:
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap", "empty") or (
        keywords.get("reflect_type", "even") != "even"
    ):
        raise TraceError(f"no derivative rule for this form of pad(mode={mode!r})")
    mode = "constant" if mode == "empty" else mode
    numbers = np.arange(1, np.size(a) + 1).reshape(np.shape(a))
    source = np.pad(numbers, pad_width, mode)
    return np.reshape(scatter(np.ravel(g), (int(np.size(a)) + 1,), source.ravel())[1:], np.shape(a))


def _joined(*arrays: Any, axis: Any = 0, **_: Any) -> list[Any]:
    """Where each operand of concatenate stands in the result."""
    lengths = [int(np.size(a)) if axis is None else np.shape(a)[axis] for a in arrays]
    ends = list(accumulate(lengths, initial=0))
    before = () if axis is None else (slice(None),) * (axis % np.ndim(arrays[0]))
    return [(*before, slice(start, end)) for start, end in pairwise(ends)]


def _stacked(*arrays: Any, axis: int = 0, **_: Any) -> list[Any]:
    """Where each operand of stack stands in the result."""
    before = (slice(None),) * (axis % (np.ndim(arrays[0]) + 1))
    return [(*before, k) for k in range(len(arrays))]


def strided(a: Any, start: int, shape: Any, steps: Any, order: str = "C") -> Any:
    """A view of an array: where it starts, and its steps, in the row of the array's elements."""
    row: Any = np.ravel(a, order)  # type: ignore[call-overload]
    steps = tuple(step * row.itemsize for step in steps)
    return np.ndarray(tuple(shape), row.dtype, row, start * row.itemsize, steps)


STRIDED = _moved(strided)


PARTS = (
    SCATTER,
    *(
        _moved(function)
        for function in (
            *(np.take, np.take_along_axis, np.delete, np.resize, np.repeat, np.tile, np.rot90),
            *(np.diag, np.diagflat, np.diagonal, np.tril, np.triu),
            np.lib.stride_tricks.sliding_window_view,
        )
    ),
    linear(np.pad, "pad(a)", ("unpad(g)", _pad)),
    assembled(np.concatenate, _joined),
    assembled(np.stack, _stacked),
)
UNDISPATCHED = (GETITEM, SETITEM, ASTYPE, FLATTEN, STRIDED, STOP, SUM_OF_PRODUCTS)
"""Rows that no NumPy function stands for."""
