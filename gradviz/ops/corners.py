"""Where the formula that a textbook writes for a slope does not hold: at a tie, at 0.

The slope of ``maximum(a, b)`` is written ``a > b``, which is 0 where both are equal, and what is
sent there is one half. At such numbers the formula is written that holds there too. And what relu
sends is written ``g * (a > 0)``, which of a NaN is NaN, where it sends 0: then ``where(a > 0, g,
0)`` is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradviz.statistics import Statistics


def _tied(v: Any, a: Any, b: Any) -> Any:
    return np.equal(a, b) | np.isnan(v) | np.isnan(a) | np.isnan(b)


def _shared(v: Any, a: Any) -> bool:
    """Whether an extreme is found more often than once, or is a NaN."""
    return bool(np.any(np.isnan(v)) or np.sum(np.isin(a, v)) > np.size(v))


def _of_nothing(v: Any, *_: Any) -> Any:
    return np.equal(v, 0)


_LARGER, _SMALLER = "1 - ({0} < {1}) - ({0} == {1}) / 2", "1 - ({0} > {1}) - ({0} == {1}) / 2"
_ONE_IS_NAN = "({0} {2} {1}) + ({0} == {1}) / 2 + isnan({1}) * (1 - isnan({0}))"
_LENGTH = "where(v == 0, 1, v)"

_FULLER: dict[tuple[str, str], tuple[Callable[..., Any], str]] = {
    ("maximum", "a > b"): (_tied, _LARGER.format("a", "b")),
    ("maximum", "b > a"): (_tied, _LARGER.format("b", "a")),
    ("minimum", "a < b"): (_tied, _SMALLER.format("a", "b")),
    ("minimum", "b < a"): (_tied, _SMALLER.format("b", "a")),
    ("fmax", "a > b"): (_tied, _ONE_IS_NAN.format("a", "b", ">")),
    ("fmax", "b > a"): (_tied, _ONE_IS_NAN.format("b", "a", ">")),
    ("fmin", "a < b"): (_tied, _ONE_IS_NAN.format("a", "b", "<")),
    ("fmin", "b < a"): (_tied, _ONE_IS_NAN.format("b", "a", "<")),
    # (Of a NaN autograd passes the gradient on.)
    ("relu", "a > 0"): (lambda v, a: np.isnan(a), "where(a <= 0, 0, 1)"),
    # (Of a NaN PyTorch's sign is 0.)
    ("abs", "sign(a)"): (lambda v, a: np.isnan(a), "sign(nan_to_num(a))"),
    ("l1_loss", "sign(a - b)"): (lambda v, a, b: np.isnan(a - b), "sign(nan_to_num(a - b))"),
    ("hypot", "a / v"): (_of_nothing, f"a / {_LENGTH}"),
    ("hypot", "b / v"): (_of_nothing, f"b / {_LENGTH}"),
    ("sinc", "(cos(pi * a) - v) / a"): (
        lambda v, a: np.equal(a, 0),
        "where(a == 0, 0, (cos(pi * a) - v) / a)",
    ),
    **{
        (power, "where(a == 0, 0, v * log(a))"): (
            lambda v, a, b: np.equal(a, 0) & np.isinf(v),
            "v * log(where(a == 0, 1, a))",
        )
        for power in ("power", "float_power")
    },
    **{
        (extreme, "g * (a == v)"): (_shared, "g * (a == v) / sum(a == v{axis})")
        for extreme in ("max", "min")
    },
    ("prod", "g * v / a"): (lambda v, a: np.equal(a, 0), "g * product_of_others(a{axis})"),
    ("norm", "g * a / v"): (_of_nothing, f"g * a / {_LENGTH}"),
    ("std", "g * (a - mean(a)) / (n * v)"): (
        _of_nothing,
        f"g * (a - mean(a)) / (n * {_LENGTH})",
    ),
}
"""By an operation and what is written of its slope or its message: where this does not hold, given
the value and the operands, and what does."""


CORNERED = frozenset(name for name, _ in _FULLER)
"""The operations that have such a slope."""


_STRICT: dict[tuple[str, str], str] = {
    ("where", "where(a, 1, 0)"): "where(a, g, 0)",
    ("where", "where(a, 0, 1)"): "where(a, 0, g)",
    ("relu", "a > 0"): "where(a > 0, g, 0)",
    ("relu", "where(a <= 0, 0, 1)"): "where(a <= 0, 0, g)",
    ("pow", "where(b == 0, 0, b * a ** (b - 1))"): "where(b == 0, 0, g * b * a ** (b - 1))",
    ("embedding", "onehot(a).T @ g"): "scatter(g, a)",
}
"""By an operation and what is written of its slope or its message: the message where the upstream
term is not finite. Its 0 is no product, which would be NaN."""

STRICT = frozenset(name for name, _ in _STRICT)
"""The operations that stop what is not finite."""


class Numbers(NamedTuple):
    """What a formula is to hold at.

    Attributes
    ----------
    value : array
    operands : sequence of array
    strict : bool
        Whether a gradient that is not finite is stopped, which a product with 0 would not do.
    everywhere : bool
        Whether a reader may move them: a formula is to hold wherever they go.
    """

    value: Any
    operands: Sequence[Any]
    strict: bool = False
    everywhere: bool = False


def _is_numbers(part: Any) -> bool:
    """Not so are statistics, and what a changed file may hold in the place of numbers."""
    return not isinstance(part, Statistics) and np.asarray(part).dtype.kind in "biufc"


def strict(name: str, written: str) -> str:
    """The message of what is written of a slope or a message, where it stops what is not finite."""
    return _STRICT.get((name, written), "")


def fuller(name: str, written: str, at: Numbers, keywords: Any) -> str:
    """What is written where the short formula does not hold; "" where it does."""
    if name not in CORNERED or not all(map(_is_numbers, (at.value, *at.operands))):
        return ""
    for (corner, short), (breaks, whole) in _FULLER.items():
        if corner == name and short in written:
            if not at.everywhere and not np.any(breaks(at.value, *at.operands)):
                return ""
            axis = keywords.get("axis")
            whole = whole.replace("{axis}", "" if axis is None else ", axis=axis")
            return written.replace(short, whole)
    return ""
