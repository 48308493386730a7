"""What makes an operation not finite: for a row of the table to say.

Each hazard says which numbers are in danger, in words, and what to do. They are found where a value
or a gradient is not finite (see `gradviz.chain.health`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gradviz.statistics import Statistics


class Hazard(NamedTuple):
    """Where an operation has no finite value, or no finite slope.

    Attributes
    ----------
    makes : str
        What is made of finite numbers: "nan", "inf", "slope", of these several.
    holds : callable
        Whether these numbers are in danger: of the value itself, and of its operands.
    what, advice : str
        ``{op}``, ``{dtype}``, ``{a}`` and ``{b}`` stand for the operation, the value's dtype and
        the operands' names, ``{low}``, ``{high}`` and ``{top}`` for the first operand's numbers.
    whole : bool
        It is the array that is looked at, not those of its entries that are not finite.
    """

    makes: str
    holds: Callable[[Statistics, Statistics, Statistics | None], bool]
    what: str
    advice: str
    whole: bool = False


Hazards = tuple[Hazard, ...]
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
_UNDER = "keep what goes into it above 0: sqrt(maximum(x, 1e-12))"
_DIVISOR = "keep the divisor away from 0: x / (y + 1e-8), or maximum(y, 1e-8)"
_CLIP = "clip what goes into it to the inside of its domain"
_BASE = "keep the base above 0"
_EXPONENT = (
    "take the largest exponent out first (softmax, logsumexp), use the operation that does "
    "(sigmoid, softplus, logaddexp), or clip"
)
_LENGTH = "sqrt(sum(x**2) + 1e-12) has a slope there"
_NEGATIVE = "{op} of a negative number, {low:.3g} ({a})"

LOG: Hazards = (
    Hazard("nan", _negative, _NEGATIVE, _POSITIVE),
    Hazard("inf slope", _zero, "{op} of 0 ({a})", _POSITIVE),
)
LOG1P: Hazards = (
    Hazard("nan", lambda v, a, b: a.low < -1, "log1p of {low:.3g} ({a})", _CLIP),
    Hazard("inf slope", lambda v, a, b: a.low == -1, "log1p of -1 ({a})", _CLIP),
)
LOGIT: Hazards = (
    Hazard("nan", lambda v, a, b: a.low < 0 or a.high > 1,
           "logit of a number outside of 0 … 1 ({a})", _CLIP),
    Hazard("inf slope", lambda v, a, b: a.low == 0 or a.high == 1, "logit of 0 or 1 ({a})", _CLIP),
)  # fmt: skip
CBRT: Hazards = (Hazard("slope", _zero, "{op} of 0 ({a})", _ROOT),)
SQRT: Hazards = (Hazard("nan", _negative, _NEGATIVE, _UNDER), *CBRT)
RSQRT: Hazards = (
    Hazard("nan", _negative, _NEGATIVE, _UNDER),
    Hazard("inf", _zero, "rsqrt of 0 ({a})", _ROOT),
    *CBRT,
)
DIVISION: Hazards = (
    Hazard("nan", _both_zero, "0 / 0 ({a} / {b})", _DIVISOR),
    Hazard("inf slope", _by_zero, "division by 0 ({b})", _DIVISOR),
)
RECIPROCAL: Hazards = (Hazard("nan inf slope", _zero, "division by 0 ({a})", _DIVISOR),)
REMAINDER: Hazards = (Hazard("nan", _by_zero, "{op} by 0 ({b})", _DIVISOR),)
FLOOR_DIVISION: Hazards = (
    Hazard("nan", _both_zero, "0 / 0 ({a} / {b})", _DIVISOR),
    Hazard("inf", _by_zero, "division by 0 ({b})", _DIVISOR),
)
POWER: Hazards = (
    Hazard("nan", _negative, "a power of a negative number, {low:.3g} ({a})", _BASE),
    Hazard("inf", lambda v, a, b: a.zeros > 0 and (b is None or b.low < 0),
           "a negative power of 0 ({a})", "add a small number to the base"),
    Hazard("slope", lambda v, a, b: a.zeros > 0 and (b is None or b.low < 1),
           "a power of 0 ({a})", "add a small number to the base"),
    Hazard("slope", _negative, "a power of a negative number, {low:.3g} ({a})", _BASE),
)  # fmt: skip
ARC: Hazards = (
    Hazard("nan", _outside_one, "{op} of a number of size {top:.3g} ({a})", _CLIP),
    Hazard("inf slope", _at_one, "{op} of ±1 ({a})", _CLIP),
)
ARCOSH: Hazards = (
    Hazard("nan", lambda v, a, b: a.low < 1, "{op} of {low:.3g} ({a})", _CLIP),
    Hazard("slope", lambda v, a, b: a.low == 1, "{op} of 1 ({a})", _CLIP),
)
ORIGIN: Hazards = (
    Hazard("slope", _both_zero, "{op} at the origin ({a}, {b})",
           "keep it away from the origin: add a small number, or mask what goes in"),
)  # fmt: skip
XLOGY: Hazards = (
    Hazard("nan", lambda v, a, b: b is not None and b.low < 0,
           "the logarithm of a negative number ({b})", _POSITIVE),
    Hazard("inf slope", _by_zero, "the logarithm of 0 ({b})", _POSITIVE),
)  # fmt: skip
GAMMA: Hazards = (
    Hazard("nan inf slope", lambda v, a, b: a.low <= 0,
           "{op} has poles at 0, -1, -2 ... ({a})", _CLIP),
)  # fmt: skip
ERFINV: Hazards = (
    Hazard("nan", _outside_one, "erfinv of a number of size {top:.3g} ({a})", _CLIP),
    Hazard("inf slope", _at_one, "erfinv of ±1 ({a})", _CLIP),
)
WAVE: Hazards = (
    Hazard("nan", lambda v, a, b: a.top == float("inf"), "{op} of an infinity ({a})",
           "look at what made that infinite"),
)  # fmt: skip
EXP: Hazards = (
    Hazard("inf slope", _infinite, "{op} overflows {dtype}: {a} reaches {high:.3g}", _EXPONENT),
)
HYPERBOLIC: Hazards = (
    Hazard("inf slope", _infinite, "{op} overflows {dtype}: {a} reaches {top:.3g}", _EXPONENT),
)
LENGTH: Hazards = (
    Hazard("slope", _value_zero, "the length of a vector of zeros ({a})", _LENGTH, whole=True),
)
DISTANCE: Hazards = (
    Hazard(
        "slope", _value_zero, "the distance of two equal points ({a}, {b})", _LENGTH, whole=True
    ),
)
SPREAD: Hazards = (
    Hazard("slope", _value_zero, "std of entries that are all the same ({a})",
           "sqrt(var(x) + 1e-12) has a slope there", whole=True),
)  # fmt: skip
SINGULAR: Hazards = (
    Hazard("inf slope", lambda v, a, b: v.low == -float("inf"), "{op} of a singular matrix ({a})",
           "add a small multiple of the identity", whole=True),
)  # fmt: skip
LOGDET: Hazards = (
    *SINGULAR,
    Hazard("nan", lambda v, a, b: a.top < float("inf"),
           "logdet of a matrix with a negative determinant ({a})", "slogdet tells its sign apart",
           whole=True),
)  # fmt: skip
