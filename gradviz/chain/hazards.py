"""What operations do to numbers and gradients, by their names: a table for `gradviz.chain.health`.

The names are those of NumPy's functions and of PyTorch's, without the underscores of ``relu_`` and
``__add__``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from gradviz.statistics import Statistics


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESHAPES = _names("""
    transpose reshape ravel squeeze expand_dims swapaxes moveaxis astype copy t T mT permute view
    flatten unflatten unsqueeze contiguous clone movedim swapdims to float half bfloat16 double
""")
"""After these a parameter is still itself."""
MASKING = _names("""
    where masked_fill full_like full tril triu getitem take take_along_axis gather index_select
    index_put scatter concatenate cat stack broadcast_to expand add max amax
""")
"""These pass on an infinity that somebody put there on purpose: a mask of -inf."""
PRODUCTS = _names("""
    multiply mul matmul mm bmm dot linear einsum inner outer tensordot conv1d conv2d conv3d addmm
    baddbmm embedding
""")
STEPS = _names("sign sgn floor ceil rint round trunc fix heaviside floor_divide")
"""Their slope is 0 wherever they have one."""
SELECTIONS = _names("max min amax amin getitem take sort median gather topk index_select")
GATES = _names("relu relu6 maximum clip clamp clamp_min threshold where multiply mul")
"""What a ReLU may be written in."""
SQUASHING = {"sigmoid": (0.5, 0.5), "expit": (0.5, 0.5), "tanh": (0.0, 1.0)}
"""Centre and half the range of what saturates."""
STOPS = {
    "detach": "its history ends there",
    "data": "its history ends there",
    **dict.fromkeys(("argmax", "argmin", "argsort"), "a position has no derivative"),
    **dict.fromkeys(("multinomial", "bernoulli"), "a sample has no derivative"),
    "one_hot": "it reads integers",
}
"""Operations that no gradient passes, and why."""
MEETINGS = {
    "inf - inf": _names("add subtract sub rsub sum mean cumsum"),
    "0 · inf": _names("multiply mul prod"),
    "inf / inf": _names("divide div true_divide"),
    "0 · inf, or inf - inf in its sum": PRODUCTS - {"multiply", "mul"},
    "a row of -inf only": _names("softmax log_softmax logsumexp scaled_dot_product_attention"),
}
"""How an operation makes a NaN of infinities."""


class Hazard(NamedTuple):
    """Where an operation has no finite value, or no finite slope.

    Attributes
    ----------
    names : frozenset of str
        The operations.
    position : int
        Of the operand that `holds` looks at; -1 is the value itself.
    holds : callable
        Whether these numbers are in danger.
    makes : str
        What is not finite: "value", "slope" or both.
    what, advice : str
        ``{op}``, ``{low}`` and ``{top}`` stand for the operation and the operand's numbers.
    """

    names: frozenset[str]
    position: int
    holds: Callable[[Statistics], bool]
    makes: str
    what: str
    advice: str


def _has_zeros(s: Statistics) -> bool:
    return s.zeros > 0


def _negative(s: Statistics) -> bool:
    return s.low < 0


_POSITIVE = "keep what goes into it above 0: log(x + 1e-12), or log_softmax / logsumexp of logits"
_ROOT = "add a small number inside it: sqrt(x + 1e-12)"
_DIVISOR = "keep the divisor away from 0: x / (y + 1e-8), or maximum(y, 1e-8)"
_CLIP = "clip what goes into it to the inside of its domain"
_LOG, _SQRT, _POWER = (
    _names("log log2 log10"),
    _names("sqrt rsqrt"),
    _names("power pow float_power"),
)
_ARC = _names("arcsin arccos arctanh asin acos atanh")

HAZARDS = tuple(
    Hazard(names, position, holds, makes, what, advice)
    for names, position, holds, makes, what, advice in (
        (_LOG, 0, _negative, "value", "{op} of a negative number, {low:.3g}", _POSITIVE),
        (_LOG, 0, _has_zeros, "value slope", "{op} of 0", _POSITIVE),
        (_names("log1p"), 0, lambda s: s.low < -1, "value", "log1p of {low:.3g}", _CLIP),
        (_names("log1p"), 0, lambda s: s.low == -1, "value slope", "log1p of -1", _CLIP),
        (_SQRT, 0, _negative, "value slope", "{op} of a negative number, {low:.3g}", _ROOT),
        (_names("rsqrt"), 0, _has_zeros, "value", "rsqrt of 0", _ROOT),
        (_SQRT | {"cbrt"}, 0, _has_zeros, "slope", "{op} of 0", _ROOT),
        (_names("divide div true_divide remainder fmod"), 1, _has_zeros, "value slope",
         "division by 0", _DIVISOR),
        (_names("reciprocal rdiv"), 0, _has_zeros, "value slope", "division by 0", _DIVISOR),
        (_POWER, 0, _has_zeros, "value slope", "a power of 0", "add a small number to the base"),
        (_POWER, 0, _negative, "value slope", "a power of a negative number, {low:.3g}",
         "keep the base above 0"),
        (_ARC, 0, lambda s: s.top > 1, "value slope", "{op} of a number of size {top:.3g}", _CLIP),
        (_ARC, 0, lambda s: s.top == 1, "value slope", "{op} of ±1", _CLIP),
        (_names("arccosh acosh"), 0, lambda s: s.low < 1, "value", "{op} of {low:.3g}", _CLIP),
        (_names("arccosh acosh"), 0, lambda s: s.low == 1, "slope", "{op} of 1", _CLIP),
        (_names("arctan2 atan2 hypot"), 0, _has_zeros, "slope", "{op} at the origin", _CLIP),
        (_names("norm linalg_norm vector_norm linalg_vector_norm dist cdist"), -1, _has_zeros,
         "slope", "the length of a vector of zeros", "sqrt(sum(x**2) + 1e-12) has a slope there"),
        (_names("std"), -1, _has_zeros, "slope", "std of entries that are all the same",
         "sqrt(var(x) + 1e-12) has a slope there"),
        (_names("exp exp2 expm1 sinh cosh"), -1, lambda s: s.top == math.inf, "value slope",
         "{op} overflows",
         "take the largest exponent out first (softmax, logsumexp), use the operation that does "
         "(sigmoid, softplus, logaddexp), or clip"),
    )
)  # fmt: skip
