"""What operations do to numbers and gradients, by their names: tables for `gradviz.chain.health`.

The names are those of NumPy's functions and of PyTorch's, without the underscores of ``relu_`` and
``__add__``, and without the number of one result of several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gradviz.statistics import Statistics


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESHAPES = _names("""
    transpose reshape ravel squeeze expand_dims swapaxes moveaxis astype copy t T mT permute view
    flatten unflatten unsqueeze contiguous clone movedim swapdims to float half bfloat16 double
""")
"""After these a parameter is still itself."""
MASKING = (
    _names("""
    where masked_fill full_like full tril triu getitem take take_along_axis gather index_select
    index_put scatter concatenate cat stack broadcast_to expand add max amax baddbmm addmm
""")
    | RESHAPES
)
"""These pass on an infinity that somebody put there on purpose: a mask of -inf."""
TIMES = _names("multiply mul")
DIVIDES = _names("divide div true_divide")
PRODUCTS = TIMES | _names("""
    matmul mm bmm mv dot linear bilinear einsum inner outer vdot vecdot kron tensordot addmm baddbmm
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d addcmul
""")
GAINS = _names("batch_norm layer_norm group_norm instance_norm rms_norm")
"""These multiply by an operand too, the first of one axis after the numbers themselves."""
STEPS = _names("sign sgn floor ceil rint round trunc fix heaviside floor_divide")
"""Their slope is 0 wherever they have one."""
SQUASHING = {
    "sigmoid": (0.5, 0.5), "expit": (0.5, 0.5), "tanh": (0.0, 1.0),
}  # fmt: skip
"""Centre and half the range of what saturates."""
CLIPPED = _names("""
    relu relu6 hardtanh hardsigmoid hardswish clip clamp clamp_min clamp_max threshold
""")
"""Flat outside of an interval."""
CHOICES = _names("maximum minimum fmax fmin where")
"""Of each entry they pass on that of one operand."""
JOINS = _names("cat concatenate stack hstack vstack column_stack")
"""They put their operands side by side."""
SOFTMAXES = _names("softmax log_softmax softmin gumbel_softmax")
LOSSES = _names("""
    cross_entropy binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss
    smooth_l1_loss huber_loss hinge_embedding_loss margin_ranking_loss triplet_margin_loss
""")
"""They are nowhere below 0."""
GATES = CLIPPED | TIMES | _names("maximum where")
"""What a ReLU may be written in."""
RANDOM = _names("""
    bernoulli dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout normal
    uniform random rand_like randn_like
""")
STOPS = {
    "detach": "its history ends there",
    "data": "its history ends there",
    "stop_gradient": "the program wants a constant there",
    **dict.fromkeys(("argmax", "argmin", "argsort"), "a position has no derivative"),
    **dict.fromkeys(("multinomial", "bernoulli"), "a sample has no derivative"),
    "one_hot": "it reads integers",
}
"""Operations that no gradient passes, and why."""
SPREADS = _names("var std var_mean std_mean nanvar nanstd")
SQUARES = SPREADS | _names("""
    norm linalg_norm vector_norm linalg_vector_norm frobenius_norm cdist dist mse_loss layer_norm
    batch_norm group_norm instance_norm rms_norm normalize cosine_similarity hypot
""")
"""These compute squares inside."""
SUMS = _names("sum mean cumsum add subtract sub rsub nansum nanmean trace avg_pool1d avg_pool2d")
GROWS = (
    PRODUCTS
    | SQUARES
    | SUMS
    | DIVIDES
    | _names("""
    square power pow float_power exp exp2 expm1 sinh cosh prod cumprod reciprocal rdiv to half
    astype addcdiv det linalg_det vander
""")
)
"""Of finite numbers away from their poles these make an infinity only by an overflow."""
EIGEN = _names("""
    svd linalg_svd svdvals linalg_svdvals eigh linalg_eigh eigvalsh linalg_eigvalsh eig linalg_eig
""")


def meeting(op: str, operands: list[Statistics]) -> str:
    """How an operation makes a NaN of infinities; "" where that is not known."""
    high = any(s.high == float("inf") for s in operands)
    if op in TIMES | {"prod", "cumprod"}:
        return "0 · inf"
    if op in SUMS | SPREADS or (op in SOFTMAXES and high):
        return "inf - inf"
    if op in SOFTMAXES | {"scaled_dot_product_attention"}:
        return "" if high else "a row of -inf only"
    if op in DIVIDES and len(operands) > 1 and all(abs(s.top) == float("inf") for s in operands):
        return "inf / inf"
    return "0 · inf, or inf - inf in its sum" if op in PRODUCTS else ""


def largest(dtype: str) -> float:
    """The largest number of a dtype."""
    return float(np.finfo(_kind(dtype)).max)


def smallest(dtype: str) -> float:
    """The smallest number above 0 of a dtype."""
    return float(np.finfo(_kind(dtype)).smallest_subnormal)


def _kind(dtype: str) -> str:
    """One that NumPy has, of about this range."""
    if not hasattr(np, dtype):
        return "float16" if dtype.startswith("float8") else "float32"
    return dtype if dtype.startswith(("float", "complex")) else "float64"


class Hazard(NamedTuple):
    """Where an operation has no finite value, or no finite slope.

    Attributes
    ----------
    names : frozenset of str
        The operations.
    makes : str
        What is made of finite numbers: "nan", "inf", "slope", of these several.
    holds : callable
        Whether these numbers are in danger: of the value itself, and of its operands.
    what, advice : str
        ``{op}``, ``{dtype}``, ``{a}`` and ``{b}`` stand for the operation, the value's dtype and
        the operands' names, ``{low}``, ``{high}`` and ``{top}`` for the first operand's numbers.
    """

    names: frozenset[str]
    makes: str
    holds: Callable[[Statistics, Statistics, Statistics | None], bool]
    what: str
    advice: str


Operand = Statistics | None


def _zero(v: Statistics, a: Statistics, b: Operand) -> bool:
    return a.zeros > 0


def _negative(v: Statistics, a: Statistics, b: Operand) -> bool:
    return a.low < 0


def _by_zero(v: Statistics, a: Statistics, b: Operand) -> bool:
    return b is not None and b.zeros > 0


def _both_zero(v: Statistics, a: Statistics, b: Operand) -> bool:
    return a.zeros > 0 and (b is None or b.zeros > 0)


def _outside_one(v: Statistics, a: Statistics, b: Operand) -> bool:
    return a.top > 1


def _at_one(v: Statistics, a: Statistics, b: Operand) -> bool:
    return a.top == 1


def _infinite(v: Statistics, a: Statistics, b: Operand) -> bool:
    return v.top == float("inf") and a.top < float("inf")


def _value_zero(v: Statistics, a: Statistics, b: Operand) -> bool:
    return v.zeros > 0


_POSITIVE = "keep what goes into it above 0: log(x + 1e-12), or log_softmax / logsumexp of logits"
_ROOT = "add a small number inside it: sqrt(x + 1e-12)"
_DIVISOR = "keep the divisor away from 0: x / (y + 1e-8), or maximum(y, 1e-8)"
_CLIP = "clip what goes into it to the inside of its domain"
_BASE = "keep the base above 0"
_EXPONENT = (
    "take the largest exponent out first (softmax, logsumexp), use the operation that does "
    "(sigmoid, softplus, logaddexp), or clip"
)
_LENGTH = "sqrt(sum(x**2) + 1e-12) has a slope there"
_LOG = _names("log log2 log10")
_POWER = _names("power pow float_power")
_ARC = _names("arcsin arccos arctanh asin acos atanh")
_NORMS = _names("norm linalg_norm vector_norm linalg_vector_norm")
_NEGATIVE = "{op} of a negative number, {low:.3g} ({a})"

ENTRIES = tuple(
    Hazard(names, makes, holds, what, advice)
    for names, makes, holds, what, advice in (
        (_LOG, "nan", _negative, _NEGATIVE, _POSITIVE),
        (_LOG, "inf slope", _zero, "{op} of 0 ({a})", _POSITIVE),
        (_names("log1p"), "nan", lambda v, a, b: a.low < -1, "log1p of {low:.3g} ({a})", _CLIP),
        (_names("log1p"), "inf slope", lambda v, a, b: a.low == -1, "log1p of -1 ({a})", _CLIP),
        (_names("logit"), "nan", lambda v, a, b: a.low < 0 or a.high > 1,
         "logit of a number outside of 0 … 1 ({a})", _CLIP),
        (_names("logit"), "inf slope", lambda v, a, b: a.low == 0 or a.high == 1,
         "logit of 0 or 1 ({a})", _CLIP),
        (_names("sqrt rsqrt"), "nan", _negative, _NEGATIVE, _ROOT),
        (_names("rsqrt"), "inf", _zero, "rsqrt of 0 ({a})", _ROOT),
        (_names("sqrt rsqrt cbrt"), "slope", _zero, "{op} of 0 ({a})", _ROOT),
        (DIVIDES, "nan", _both_zero, "0 / 0 ({a} / {b})", _DIVISOR),
        (DIVIDES, "inf slope", _by_zero, "division by 0 ({b})", _DIVISOR),
        (_names("reciprocal rdiv"), "nan inf slope", _zero, "division by 0 ({a})", _DIVISOR),
        (_names("remainder fmod mod"), "nan", _by_zero, "{op} by 0 ({b})", _DIVISOR),
        (_names("floor_divide"), "nan", _both_zero, "0 / 0 ({a} / {b})", _DIVISOR),
        (_names("floor_divide"), "inf", _by_zero, "division by 0 ({b})", _DIVISOR),
        (_POWER, "nan", _negative, "a power of a negative number, {low:.3g} ({a})", _BASE),
        (_POWER, "inf", lambda v, a, b: a.zeros > 0 and (b is None or b.low < 0),
         "a negative power of 0 ({a})", "add a small number to the base"),
        (_POWER, "slope", lambda v, a, b: a.zeros > 0 and (b is None or b.low < 1),
         "a power of 0 ({a})", "add a small number to the base"),
        (_POWER, "slope", _negative, "a power of a negative number, {low:.3g} ({a})", _BASE),
        (_ARC, "nan", _outside_one, "{op} of a number of size {top:.3g} ({a})", _CLIP),
        (_ARC, "inf slope", _at_one, "{op} of ±1 ({a})", _CLIP),
        (_names("arccosh acosh"), "nan", lambda v, a, b: a.low < 1, "{op} of {low:.3g} ({a})",
         _CLIP),
        (_names("arccosh acosh"), "slope", lambda v, a, b: a.low == 1, "{op} of 1 ({a})", _CLIP),
        (_names("arctan2 atan2 hypot"), "slope", _both_zero, "{op} at the origin ({a}, {b})",
         "keep it away from the origin: add a small number, or mask what goes in"),
        (_names("xlogy"), "nan", lambda v, a, b: b is not None and b.low < 0,
         "the logarithm of a negative number ({b})", _POSITIVE),
        (_names("xlogy"), "inf slope", _by_zero, "the logarithm of 0 ({b})", _POSITIVE),
        (_names("lgamma gammaln digamma psi gamma"), "nan inf slope", lambda v, a, b: a.low <= 0,
         "{op} has poles at 0, -1, -2 ... ({a})", _CLIP),
        (_names("erfinv"), "nan", _outside_one, "erfinv of a number of size {top:.3g} ({a})",
         _CLIP),
        (_names("erfinv"), "inf slope", _at_one, "erfinv of ±1 ({a})", _CLIP),
        (_names("sin cos tan"), "nan", lambda v, a, b: a.top == float("inf"),
         "{op} of an infinity ({a})", "look at what made that infinite"),
        (_names("exp exp2 expm1"), "inf slope", _infinite,
         "{op} overflows {dtype}: {a} reaches {high:.3g}", _EXPONENT),
        (_names("sinh cosh"), "inf slope", _infinite,
         "{op} overflows {dtype}: {a} reaches {top:.3g}", _EXPONENT),
    )
)  # fmt: skip
"""Of operations on entries: what is looked at are those entries that are not finite."""

WHOLES = tuple(
    Hazard(names, makes, holds, what, advice)
    for names, makes, holds, what, advice in (
        (_NORMS, "slope", _value_zero, "the length of a vector of zeros ({a})", _LENGTH),
        (_names("dist cdist pairwise_distance"), "slope", _value_zero,
         "the distance of two equal points ({a}, {b})", _LENGTH),
        (_names("std nanstd"), "slope", _value_zero, "std of entries that are all the same ({a})",
         "sqrt(var(x) + 1e-12) has a slope there"),
        (_names("slogdet linalg_slogdet logdet"), "inf slope",
         lambda v, a, b: v.low == -float("inf"), "{op} of a singular matrix ({a})",
         "add a small multiple of the identity"),
        (_names("logdet"), "nan", lambda v, a, b: a.top < float("inf"),
         "logdet of a matrix with a negative determinant ({a})", "slogdet returns its sign apart"),
        (SQUARES, "nan", lambda v, a, b: largest(v.dtype) ** 0.5 < a.top < float("inf"),
         "the squares that {op} computes overflow {dtype}: {a} reaches {top:.3g}",
         "smaller weights or inputs, or a wider dtype"),
    )
)  # fmt: skip
"""Of operations on whole arrays."""
