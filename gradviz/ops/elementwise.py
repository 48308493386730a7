"""Rows of the elementwise operations: NumPy function, formula, local derivative per operand.

Where a derivative does not exist the row says which value is taken: ties of maximum and minimum
share evenly, |a| and the length of a vector have slope 0 at 0, clip has slope 1 at its bounds,
steps have slope 0 everywhere. Rows of functions of a complex number z that are not holomorphic
give the factor that makes the message ∂J/∂Re z - i ∂J/∂Im z (see `gradviz.chain.backward`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops import hazards
from gradviz.ops.operation import PYTHONS, Derivative, Operation, elementwise, linear


def _power_base(v: Any, a: Any, b: Any, **_: Any) -> Any:
    if type(b) in (*PYTHONS, np.float64):
        return b * a ** (b - 1) if b else np.zeros_like(a)[()]
    # At a = b = 0 the factor a**(b-1) is infinite, and the slope of a**0 is 0 all the same.
    return b * a ** np.where(np.equal(a, 0) & np.equal(b, 0), 1.0, b - 1)


def _power_exponent(v: Any, a: Any, b: Any, **_: Any) -> Any:
    # 0**b is 0 (or 1 at b = 0): its slope is taken as 0, where log(0) would make it NaN.
    return v * np.log(np.where(np.equal(a, 0), 1.0, a))


def _sinc_slope(v: Any, a: Any, **_: Any) -> Any:
    # (cos(pi a) - v) / a cancels near 0: there its Taylor series, whose own slope is right too.
    near = abs(a) < 0.1
    square = a**2
    series = 0.0
    for k in range(8, 0, -1):
        series = series * square + 2 * k * (-1) ** k * math.pi ** (2 * k) / math.factorial(
            2 * k + 1
        )
    safe = np.where(near, 1.0, a)
    far = (np.cos(math.pi * safe) - np.sin(math.pi * safe) / (math.pi * safe)) / safe
    return np.where(near, series * a, far)


_SINC = "0"
for _k in range(8, 0, -1):
    _term = 2 * _k * (-1) ** _k * math.pi ** (2 * _k) / math.factorial(2 * _k + 1)
    _SINC = f"({_SINC}) * a ** 2 + {_term!r}"
_SINC = f"where(abs(a) < 0.1, a * ({_SINC}), (cos(pi * a) - v) / where(a == 0, 1, a))"


def _i1(v: Any, a: Any, **_: Any) -> Any:
    # The mean of exp(a cos t) cos(t) over a turn, DLMF 10.32.3: equal steps give the mean of a
    # periodic function to all digits, once there are enough of them.
    steps = 16 + int(np.max(np.abs(getattr(a, "value", a)), initial=0))
    cosines = np.cos((np.arange(steps) + 0.5) * (math.pi / (2 * steps)))
    return np.sum(np.sinh(a[..., None] * cosines) * cosines, axis=-1) / steps


def _direction(v: Any, a: Any, **_: Any) -> Any:
    """The slope of the absolute value."""
    if a.dtype.kind != "c":
        return np.sign(a)
    return np.conjugate(a) / np.where(np.equal(v, 0), 1.0, v)


def _turn(g: Any, v: Any, a: Any, **_: Any) -> Any:
    """The message to the operand of sign, which of a complex number is a / abs(a)."""
    if a.dtype.kind != "c":
        return np.zeros_like(v)[()]
    length = np.absolute(a)
    length = np.where(np.equal(length, 0), np.inf, length)
    return g / length - np.real(g * a) * np.conjugate(a) / length**3


def _unless(loses: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The slope of maximum or minimum: 0 for an operand that loses, one half in a tie, else 1."""

    def slope(v: Any, a: Any, b: Any, **_: Any) -> Any:
        if type(v) is np.float64:  # arithmetic with NumPy's booleans is slow for scalars
            return 0.0 if loses(a, b) else 0.5 if a == b else 1.0
        ties = np.equal(a, b)
        share = np.logical_not(loses(a, b)).astype(v.dtype)
        return share - ties.astype(v.dtype) / 2 if np.count_nonzero(ties) else share

    return slope


_POWER: tuple[tuple[str, Callable[..., Any], str], ...] = (
    (
        "where(b == 0, 0, b * a**(b - 1))",
        _power_base,
        "b * a ** where((a == 0) & (b == 0), 1, b - 1)",
    ),
    ("where(a == 0, 0, v * log(a))", _power_exponent, "v * log(where(a == 0, 1, a))"),
)
_LESS = _unless(operator.lt), "1 - (a < b) - (a == b) / 2"
_GREATER = _unless(operator.gt), "1 - (a > b) - (a == b) / 2"
_ONE_IS_NAN = "isnan({1}) * (1 - isnan({0}))"  # fmax and fmin take the other one

ELEMENTWISE: tuple[Operation, ...] = (
    elementwise(np.add, "a + b", "1", "1"),
    elementwise(np.subtract, "a - b", "1", "-1"),
    elementwise(np.multiply, "a * b", "b", "a"),
    elementwise(np.divide, "a / b", "1 / b", "-v / b", hazards=hazards.DIVISION),
    elementwise(np.power, "a ** b", *_POWER, hazards=hazards.POWER),
    elementwise(np.float_power, "a ** b", *_POWER, hazards=hazards.POWER),
    elementwise(np.negative, "-a", "-1"),
    elementwise(np.positive, "a", "1"),
    elementwise(np.reciprocal, "1 / a", "-v**2", hazards=hazards.RECIPROCAL),
    elementwise(np.square, "a ** 2", "2 * a"),
    elementwise(np.sqrt, "sqrt(a)", "1 / (2 * v)", hazards=hazards.SQRT),
    elementwise(np.cbrt, "cbrt(a)", "1 / (3 * v**2)", hazards=hazards.CBRT),
    elementwise(np.absolute, "abs(a)", ("sign(a)", _direction, "sign(a)")),
    elementwise(np.fabs, "abs(a)", "sign(a)"),
    elementwise(np.exp, "exp(a)", "v", hazards=hazards.EXP),
    elementwise(np.exp2, "2 ** a", "v * log(2)", number="exp2(a)", hazards=hazards.EXP),
    elementwise(np.expm1, "exp(a) - 1", "exp(a)", number="expm1(a)", hazards=hazards.EXP),
    elementwise(np.log, "log(a)", "1 / a", latex=r"\ln", hazards=hazards.LOG),
    elementwise(np.log2, "log2(a)", "1 / (a * log(2))", latex=r"\log_2", hazards=hazards.LOG),
    elementwise(np.log10, "log10(a)", "1 / (a * log(10))", latex=r"\log_{10}", hazards=hazards.LOG),
    elementwise(np.log1p, "log(1 + a)", "1 / (1 + a)", number="log1p(a)", hazards=hazards.LOG1P),
    elementwise(
        np.logaddexp, "log(exp(a) + exp(b))", "exp(a - v)", "exp(b - v)", number="logaddexp(a, b)"
    ),
    elementwise(np.logaddexp2, "log2(2**a + 2**b)", "2**(a - v)", "2**(b - v)"),
    elementwise(np.sin, "sin(a)", "cos(a)", latex=r"\sin", hazards=hazards.WAVE),
    elementwise(np.cos, "cos(a)", "-sin(a)", latex=r"\cos", hazards=hazards.WAVE),
    elementwise(np.tan, "tan(a)", "1 + v**2", latex=r"\tan", hazards=hazards.WAVE),
    elementwise(
        np.arcsin, "arcsin(a)", "1 / sqrt(1 - a**2)", latex=r"\arcsin", hazards=hazards.ARC
    ),
    elementwise(
        np.arccos, "arccos(a)", "-1 / sqrt(1 - a**2)", latex=r"\arccos", hazards=hazards.ARC
    ),
    elementwise(np.arctan, "arctan(a)", "1 / (1 + a**2)", latex=r"\arctan"),
    elementwise(
        np.arctan2,
        "arctan2(a, b)",
        "b / (a**2 + b**2)",
        "-a / (a**2 + b**2)",
        hazards=hazards.ORIGIN,
    ),
    elementwise(
        np.hypot,
        "sqrt(a**2 + b**2)",
        ("a / v", "a / (v + (v == 0))"),
        ("b / v", "b / (v + (v == 0))"),
        number="hypot(a, b)",
        hazards=hazards.ORIGIN,
    ),
    elementwise(np.sinh, "sinh(a)", "cosh(a)", latex=r"\sinh", hazards=hazards.HYPERBOLIC),
    elementwise(np.cosh, "cosh(a)", "sinh(a)", latex=r"\cosh", hazards=hazards.HYPERBOLIC),
    elementwise(np.tanh, "tanh(a)", "1 - v**2", latex=r"\tanh"),
    elementwise(np.arcsinh, "arsinh(a)", "1 / sqrt(a**2 + 1)", number="arcsinh(a)"),
    elementwise(
        np.arccosh,
        "arcosh(a)",
        ("1 / sqrt(a**2 - 1)", "1 / (sqrt(a - 1) * sqrt(a + 1))"),
        number="arccosh(a)",
        hazards=hazards.ARCOSH,
    ),
    elementwise(
        np.arctanh, "artanh(a)", "1 / (1 - a**2)", number="arctanh(a)", hazards=hazards.ARC
    ),
    elementwise(np.sinc, "sinc(a)", ("(cos(pi * a) - v) / a", _sinc_slope, _SINC)),
    *(elementwise(f, "a * pi / 180", "pi / 180") for f in (np.deg2rad, np.radians)),
    *(elementwise(f, "a * 180 / pi", "180 / pi") for f in (np.rad2deg, np.degrees)),
    elementwise(
        np.maximum, "maximum(a, b)", ("a > b", *_LESS), ("b > a", *_GREATER), latex=r"\max"
    ),
    elementwise(
        np.minimum, "minimum(a, b)", ("a < b", *_GREATER), ("b < a", *_LESS), latex=r"\min"
    ),
    elementwise(
        np.fmax,
        "maximum(a, b)",
        ("a > b", f"(a > b) + 0.5 * (a == b) + {_ONE_IS_NAN.format('a', 'b')}"),
        ("b > a", f"(b > a) + 0.5 * (a == b) + {_ONE_IS_NAN.format('b', 'a')}"),
        number="where(isnan(a), b, where(isnan(b), a, maximum(a, b)))",
    ),
    elementwise(
        np.fmin,
        "minimum(a, b)",
        ("a < b", f"(a < b) + 0.5 * (a == b) + {_ONE_IS_NAN.format('a', 'b')}"),
        ("b < a", f"(b < a) + 0.5 * (a == b) + {_ONE_IS_NAN.format('b', 'a')}"),
        number="where(isnan(a), b, where(isnan(b), a, minimum(a, b)))",
    ),
    elementwise(np.i0, "i0(a)", ("i1(a)", _i1)),
    elementwise(np.remainder, "a % b", "1", "-floor(a / b)", hazards=hazards.REMAINDER),
    elementwise(np.fmod, "fmod(a, b)", "1", "-trunc(a / b)", hazards=hazards.REMAINDER),
    elementwise(np.floor_divide, "a // b", "0", "0", hazards=hazards.FLOOR_DIVISION),
    elementwise(np.copysign, "copysign(a, b)", "copysign(1, a) * copysign(1, b)", "0"),
    elementwise(np.heaviside, "heaviside(a, b)", "0", ("a == 0", "(a == 0) * 1.0")),
    elementwise(np.nan_to_num, "nan_to_num(a)", ("isfinite(a)", "isfinite(a) * 1.0")),
    elementwise(np.real, "a", "1"),
    Operation(
        "sign",
        np.sign,
        "sign(a)",
        (Derivative(_turn, "0", lambda v, a, **_: np.zeros_like(v)[()], "0"),),
    ),
    *(
        elementwise(step, f"{step.__name__}(a)", "0")
        for step in (np.floor, np.ceil, np.rint, np.trunc)
    ),
    elementwise(np.round, "round(a)", "0", number="rint(a)"),
    elementwise(np.fix, "fix(a)", "0", number="trunc(a)"),
    elementwise(
        np.clip,
        "clip(a, b, c)",
        ("b <= a <= c", "where((b <= a) & (a <= c), 1.0, 0.0)"),
        ("a < b <= c", "where((a < b) & (b <= c), 1.0, 0.0)"),
        ("c < maximum(a, b)", "where(maximum(a, b) > c, 1.0, 0.0)"),
    ),
    Operation(
        "where",
        np.where,
        "where(a, b, c)",
        (
            None,
            # The branch not taken gets an exact 0, also where the upstream term is infinite there.
            Derivative(
                lambda g, v, a, b, c, **_: np.where(a, g, 0.0),
                "where(a, 1, 0)",
                lambda v, a, b, c, **_: np.where(a, 1.0, 0.0),
                "where(a, g, 0)",
            ),
            Derivative(
                lambda g, v, a, b, c, **_: np.where(a, 0.0, g),
                "where(a, 0, 1)",
                lambda v, a, b, c, **_: np.where(a, 0.0, 1.0),
                "where(a, 0, g)",
            ),
        ),
    ),
)

COMPLEX: tuple[Operation, ...] = (
    linear(
        np.imag,
        "imag(a)",
        ("-i * g", lambda g, v, a, **_: g * (-1j if a.dtype.kind == "c" else 0.0)),
    ),
    linear(np.conjugate, "conj(a)", ("conj(g)", lambda g, v, a, **_: np.conjugate(g))),
)
"""Rows of functions that are linear in the real and the imaginary part, not in the number."""
