"""What operations do to numbers and gradients, by their names: tables for `gradviz.chain.health`.

The names are those of NumPy's functions and of PyTorch's, without the underscores of ``relu_`` and
``__add__``, and without the number of one result of several.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradviz.ops import forms, hazards, table
from gradviz.ops.hazards import Hazard
from gradviz.statistics import Statistics


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESHAPES = forms.SHAPES | forms.ORDERS | forms.CASTS
"""After these a parameter is still itself."""
MASKING = (
    _names("""
    where masked_fill setitem fill index_fill pad full_like full new_full tril triu getitem take
    take_along_axis gather index_select index_put scatter concatenate cat stack broadcast_to expand
    add max amax baddbmm addmm
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
BIASED = _names("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")
"""These add their third operand to all that they return."""
ADDS = _names("add subtract sub")
GAINS = _names("batch_norm layer_norm group_norm instance_norm rms_norm")
"""These multiply by an operand too, the first of one axis after the numbers themselves."""
STEPS = _names("sign sgn floor ceil rint round trunc fix heaviside floor_divide")
"""Their slope is 0 wherever they have one."""
SQUASHING = {
    "sigmoid": (0.5, 0.5), "expit": (0.5, 0.5), "tanh": (0.0, 1.0),
}  # fmt: skip
"""Centre and half the range of what saturates."""
HARD = {"hardtanh": (0.0, 1.0), "hardsigmoid": (0.5, 0.5)}
"""The same of what is flat where it saturates."""
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
SQUARED = _names("square")
"""Their slope is a multiple of their operand."""
SPREADS = _names("var std var_mean std_mean nanvar nanstd")
SQUARES = SPREADS | _names("""
    norm linalg_norm vector_norm linalg_vector_norm frobenius_norm cdist dist mse_loss layer_norm
    batch_norm group_norm instance_norm rms_norm normalize cosine_similarity hypot
""")
"""These compute squares inside."""
RECURRENT = dict.fromkeys(_names("lstm lstm_cell"), 4) | dict.fromkeys(
    _names("gru rnn_tanh rnn_relu gru_cell rnn_tanh_cell rnn_relu_cell"), 3
)
"""These multiply their second operand, the state, by the one at this position."""
CHAINS = _names("prod nanprod")
"""These multiply all numbers of their operand."""
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


ROW = "a row of -inf only"
SUMMED = "0 · inf, or inf - inf in its sum"
"""How infinities meet, in words."""


def meeting(op: str, operands: list[Statistics]) -> str:
    """How an operation makes a NaN of infinities; "" where that is not known."""
    high = any(s.high == float("inf") for s in operands)
    if op in TIMES | {"prod", "cumprod"}:
        return "0 · inf"
    if op in SUMS | SPREADS or (op in SOFTMAXES and high):
        return "inf - inf"
    if op in SOFTMAXES | {"scaled_dot_product_attention"}:
        return "" if high else ROW
    if op in DIVIDES and len(operands) > 1 and all(abs(s.top) == float("inf") for s in operands):
        return "inf / inf"
    return SUMMED if op in PRODUCTS else ""


def largest(dtype: str) -> float:
    """The largest number of a dtype."""
    return float(np.finfo(_kind(dtype)).max)


def smallest(dtype: str) -> float:
    """The smallest number above 0 of a dtype."""
    return float(np.finfo(_kind(dtype)).smallest_subnormal)


def rounding(dtype: str) -> float:
    """The ε of a dtype."""
    return float(np.finfo(_kind(dtype)).eps)


def _kind(dtype: str) -> str:
    """One that NumPy has, of about this range."""
    if not hasattr(np, dtype):
        return "float16" if dtype.startswith("float8") else "float32"
    return dtype if dtype.startswith(("float", "complex")) else "float64"


_SQUARED = Hazard(
    "nan",
    lambda v, a, b: largest(v.dtype) ** 0.5 < a.top < float("inf"),
    "the squares that {op} computes overflow {dtype}: {a} reaches {top:.3g}",
    "smaller weights or inputs, or a wider dtype",
    whole=True,
)
_ROWS = dict(pair.split(":") for pair in (
    "div:divide true_divide:divide pow:power asin:arcsin acos:arccos atanh:arctanh acosh:arccosh "
    "atan2:arctan2 rdiv:reciprocal mod:remainder nanstd:std linalg_norm:norm vector_norm:norm "
    "linalg_vector_norm:norm linalg_slogdet:slogdet"
).split())  # fmt: skip
"""What PyTorch calls an operation that has a row: the row's name."""
_OTHERS = {
    "rsqrt": hazards.RSQRT, "logit": hazards.LOGIT, "erfinv": hazards.ERFINV,
    **dict.fromkeys(("lgamma", "gammaln", "digamma", "gamma"), hazards.GAMMA),
    **dict.fromkeys(("dist", "cdist", "pairwise_distance"), hazards.DISTANCE),
    "logdet": hazards.LOGDET,
}  # fmt: skip
"""Operations that have no row of their own."""


def of(op: str) -> Iterator[Hazard]:
    """What makes an operation not finite: its row says it, whoever calls it by another name."""
    yield from _OTHERS.get(op) or table.hazards(_ROWS.get(op, op))
    if op in SQUARES:
        yield _SQUARED
