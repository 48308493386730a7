"""Rows of products that are sums over letters: matmul, dot, einsum."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops.operation import OPERAND_NAMES, Operation, linear


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
    """The message to operand k: the same sum with g in place of the operand."""
    reversed_, extra = _einsum_back(k, g, operands, subscripts)
    factors = [g, *operands[:k], *operands[k + 1 :], *extra]
    return np.einsum(reversed_, *factors, optimize=len(factors) > 1)


def _einsum_back(
    k: int, g: Any, operands: Sequence[Any], subscripts: str
) -> tuple[str, list[np.ndarray[Any, Any]]]:
    """The subscripts of the message to operand k, and its factors besides g and the others."""
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
    made = [
        np.eye(own[term[0]], dtype=dtype) if identity else np.ones(own[term[0]], dtype=dtype)
        for term, identity in extra
    ]
    return f"{','.join([*terms, *(term for term, _ in extra)])}->{result}", made


_BACK = "einsum(back, factors)"
"""The number of a product's message, see `_summed_by`."""


def _summed_by(subscripts: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """The settings of a product that is a sum over letters."""

    def settings(_: Operation, operands: Any, keywords: Any, value: Any) -> dict[str, Any]:
        written = subscripts(*map(np.ndim, operands), **keywords)
        letters, output = _subscripts(operands, written)
        back = [_einsum_back(k, value, operands, written) for k in range(len(operands))]
        return {
            "subscripts": f"{','.join(letters)}->{output}",
            "back": [reversed_ for reversed_, _ in back],
            "extra": [extra for _, extra in back],
        }

    return settings


def _matrices(rank_a: int, rank_b: int, **_: Any) -> str:
    shared = string.ascii_uppercase[: max(rank_a, rank_b) - 2] if max(rank_a, rank_b) > 2 else ""
    first, second = (shared[len(shared) + 2 - max(rank, 2) :] for rank in (rank_a, rank_b))
    i, k = "i" * (rank_a > 1), "k" * (rank_b > 1)
    return f"{first}{i}j,{second}j{k}->{shared}{i}{k}"


def _pairs(rank_a: int, rank_b: int, **_: Any) -> str:
    if (rank_a, rank_b) != (1, 1):
        raise TraceError("arrays of more than one axis")
    return "i,j->ij"


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
    (linear(einsum, "", (_einsum_message, _einsum, _BACK)).derivatives or ())[:1],
    variadic=True,
    function=np.einsum,
    number="einsum(subscripts, all)",
    settings=_summed_by(lambda *_, subscripts, **__: subscripts),
)


def _contraction(
    function: Callable[..., Any], formula: str, subscripts: Callable[..., str]
) -> Operation:
    """A row for a product that sums over pairs of axes: its messages are such products."""

    def message(k: int) -> Callable[..., Any]:
        def pull(g: Any, v: Any, a: Any, b: Any, **keywords: Any) -> Any:
            return _einsum(k, g, v, a, b, subscripts=subscripts(np.ndim(a), np.ndim(b), **keywords))

        return pull

    return linear(
        function,
        formula,
        ("contract(g, b)", message(0), _BACK),
        ("contract(a, g)", message(1), _BACK),
        number="einsum(subscripts, all)",
        settings=_summed_by(subscripts),
    )


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
    linear(
        np.matmul,
        "a @ b",
        ("g @ b.T", _matmul_left, _BACK),
        ("a.T @ g", _matmul_right, _BACK),
        number="einsum(subscripts, all)",
        settings=_summed_by(_matrices),
    ),
    linear(
        np.outer,
        "outer(a, b)",
        ("g @ b", lambda g, v, a, b, **_: np.reshape(g @ np.ravel(b), np.shape(a)), _BACK),
        ("g.T @ a", lambda g, v, a, b, **_: np.reshape(np.ravel(a) @ g, np.shape(b)), _BACK),
        number="einsum(subscripts, all)",
        settings=_summed_by(_pairs),
    ),
    _contraction(np.dot, "dot(a, b)", _dot),
    _contraction(np.inner, "inner(a, b)", _inner),
    _contraction(np.tensordot, "tensordot(a, b)", _tensordot),
    EINSUM,
)
