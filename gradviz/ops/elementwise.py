"""Rows of the elementwise operations: NumPy function, formula, local derivative per operand.

Where a derivative does not exist the row says which value is taken: ties of maximum and minimum
share evenly, |a| has slope 0 at 0, clip has slope 1 at its bounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradviz.ops.operation import Derivative, elementwise, linear


def _power_base(v: Any, a: Any, b: Any, **_: Any) -> Any:
    # a**0 is 1 everywhere, so its slope is 0, also where a**(b-1) is infinite.
    return np.where(b == 0, 0.0, b * a ** np.where(b == 0, 1.0, b - 1)) if np.any(b == 0) else (
        b * a ** (b - 1)
    )


def _power_exponent(v: Any, a: Any, b: Any, **_: Any) -> Any:
    return v * np.log(np.where(a == 0, 1.0, a))


def _share(wins: Any) -> Any:
    """The slope of maximum or minimum: 1 for the winner, one half each in a tie."""
    return lambda v, a, b, **_: wins(a, b) * 1.0 + (a == b) * 0.5


ELEMENTWISE = (
    elementwise(np.add, "a + b", "1", "1"),
    elementwise(np.subtract, "a - b", "1", "-1"),
    elementwise(np.multiply, "a * b", "b", "a"),
    elementwise(np.divide, "a / b", "1 / b", "-v / b"),
    elementwise(np.power, "a ** b", ("b * a**(b - 1)", _power_base), ("v * log(a)", _power_exponent)),
    elementwise(np.float_power, "a ** b", ("b * a**(b - 1)", _power_base), ("v * log(a)", _power_exponent)),
    elementwise(np.negative, "-a", "-1"),
    elementwise(np.positive, "a", "1"),
    elementwise(np.reciprocal, "1 / a", "-v**2"),
    elementwise(np.square, "a ** 2", "2 * a"),
    elementwise(np.sqrt, "sqrt(a)", "1 / (2 * v)"),
    elementwise(np.cbrt, "cbrt(a)", "1 / (3 * v**2)"),
    elementwise(np.absolute, "abs(a)", "sign(a)"),
    elementwise(np.fabs, "abs(a)", "sign(a)"),
    elementwise(np.exp, "exp(a)", "v"),
    elementwise(np.exp2, "2 ** a", "v * log(2)"),
    elementwise(np.expm1, "exp(a) - 1", "exp(a)"),
    elementwise(np.log, "log(a)", "1 / a"),
    elementwise(np.log2, "log2(a)", "1 / (a * log(2))"),
    elementwise(np.log10, "log10(a)", "1 / (a * log(10))"),
    elementwise(np.log1p, "log(1 + a)", "1 / (1 + a)"),
    elementwise(np.logaddexp, "log(exp(a) + exp(b))", "exp(a - v)", "exp(b - v)"),
    elementwise(np.sin, "sin(a)", "cos(a)"),
    elementwise(np.cos, "cos(a)", "-sin(a)"),
    elementwise(np.tan, "tan(a)", "1 + v**2"),
    elementwise(np.arcsin, "arcsin(a)", "1 / sqrt(1 - a**2)"),
    elementwise(np.arccos, "arccos(a)", "-1 / sqrt(1 - a**2)"),
    elementwise(np.arctan, "arctan(a)", "1 / (1 + a**2)"),
    elementwise(np.arctan2, "arctan2(a, b)", "b / (a**2 + b**2)", "-a / (a**2 + b**2)"),
    elementwise(np.hypot, "sqrt(a**2 + b**2)", "a / v", "b / v"),
    elementwise(np.sinh, "sinh(a)", "cosh(a)"),
    elementwise(np.cosh, "cosh(a)", "sinh(a)"),
    elementwise(np.tanh, "tanh(a)", "1 - v**2"),
    elementwise(np.arcsinh, "arsinh(a)", "1 / sqrt(a**2 + 1)"),
    elementwise(np.arccosh, "arcosh(a)", "1 / sqrt(a**2 - 1)"),
    elementwise(np.arctanh, "artanh(a)", "1 / (1 - a**2)"),
    elementwise(np.maximum, "maximum(a, b)", ("a > b", _share(np.greater)), ("b > a", _share(np.less))),
    elementwise(np.minimum, "minimum(a, b)", ("a < b", _share(np.less)), ("b < a", _share(np.greater))),
    elementwise(np.remainder, "a % b", "1", ("-floor(a / b)", lambda v, a, b, **_: -np.floor(a / b))),
    *(
        elementwise(step, f"{step.__name__}(a)", ("0", lambda v, a, **_: np.zeros_like(a)))
        for step in (np.sign, np.floor, np.ceil, np.rint, np.trunc)
    ),
    *(
        elementwise(np.floor_divide, "a // b", *[("0", lambda v, a, b, **_: np.zeros_like(v))] * 2)
        for _ in (1,)
    ),
)
"""Keyed by `Operation.evaluate`, the NumPy function."""


def _clip_bounds(a: Any, low: Any, high: Any) -> tuple[Any, Any]:
    return (False if low is None else a < low), (False if high is None else a > high)


def _clip_local(v: Any, a: Any, low: Any, high: Any, **_: Any) -> Any:
    below, above = _clip_bounds(a, low, high)
    return np.where(np.logical_or(below, above), 0.0, 1.0)


def _clip_low(v: Any, a: Any, low: Any, high: Any, **_: Any) -> Any:
    return np.where(_clip_bounds(a, low, high)[0], 1.0, 0.0)


def _clip_high(v: Any, a: Any, low: Any, high: Any, **_: Any) -> Any:
    return np.where(_clip_bounds(a, low, high)[1], 1.0, 0.0)


CLIP = elementwise(
    np.clip,
    "clip(a, b, c)",
    ("b <= a <= c", _clip_local),
    ("a < b", _clip_low),
    ("a > c", _clip_high),
)

# The branch not taken gets an exact 0, also where the upstream term is infinite there.
WHERE = linear(np.where, "where(a, b, c)", None, None, None)
WHERE.derivatives = (
    None,
    Derivative(
        lambda g, v, a, b, c, **_: np.where(a, g, 0.0),
        "where(a, 1, 0)",
        lambda v, a, b, c, **_: np.where(a, 1.0, 0.0),
    ),
    Derivative(
        lambda g, v, a, b, c, **_: np.where(a, 0.0, g),
        "where(a, 0, 1)",
        lambda v, a, b, c, **_: np.where(a, 0.0, 1.0),
    ),
)
