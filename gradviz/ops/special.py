"""Rows of `scipy.special`: what densities are made of, and what `autograd` lacks.

SciPy is not needed: a row is made when a program calls its function. The derivatives are those of
the NIST Digital Library of Mathematical Functions (DLMF); an order, whose derivative has no closed
form, is refused.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops import hazards
from gradviz.ops.looks import look
from gradviz.ops.operation import OPERAND_NAMES, Derivative, Operation, elementwise, in_formulas


class Rule(NamedTuple):
    """What a row is made of when its function is met."""

    locals_: tuple[str | None, ...]
    about: dict[str, Any]


def _rule(*locals_: str | None, **about: Any) -> Rule:
    """The local derivative by each operand; what `Operation` takes besides."""
    return Rule(locals_, about)


RULES: dict[str, Rule] = {
    # the normal distribution
    "ndtr": _rule("exp(-a**2 / 2) / sqrt(2 * pi)"),
    "log_ndtr": _rule("exp(-a**2 / 2 - v) / sqrt(2 * pi)"),
    "ndtri": _rule("sqrt(2 * pi) * exp(v**2 / 2)"),
    "erfcx": _rule("2 * a * v - 2 / sqrt(pi)"),
    # logarithms; what NumPy has too
    "log1p": _rule("1 / (1 + a)", hazards=hazards.LOG1P),
    "expm1": _rule("exp(a)", hazards=hazards.EXP),
    "exp2": _rule("v * log(2)", hazards=hazards.EXP),
    "exp10": _rule("v * log(10)"),
    "cbrt": _rule("1 / (3 * v**2)", hazards=hazards.CBRT),
    "xlogy": _rule("log(b)", "a / where((a == 0) & (b == 0), 1, b)", hazards=hazards.XLOGY),
    "xlog1py": _rule("log1p(b)", "a / where((a == 0) & (b == -1), 1, 1 + b)"),
    "log_expit": _rule("expit(-a)"),
    "softplus": _rule("exp(a - v)", number="logaddexp(0, a)"),
    "entr": _rule("-log(a) - 1"),
    "rel_entr": _rule("log(a / b) + 1", "-a / b"),
    "kl_div": _rule("log(a / b)", "1 - a / b"),
    # gamma and beta functions: DLMF 5.15, 8.8, 8.17, 25.11
    "psi": _rule("zeta(2, a)", hazards=hazards.GAMMA),
    "_zeta": _rule(None, "-a * zeta(a + 1, b)"),
    "gammainc": _rule(None, "exp(xlogy(a - 1, b) - b - gammaln(a))"),
    "gammaincc": _rule(None, "-exp(xlogy(a - 1, b) - b - gammaln(a))"),
    "betainc": _rule(None, None, "exp(xlogy(a - 1, c) + xlog1py(b - 1, -c) - betaln(a, b))"),
    "betaincc": _rule(None, None, "-exp(xlogy(a - 1, c) + xlog1py(b - 1, -c) - betaln(a, b))"),
    "stdtr": _rule(
        None,
        "exp(gammaln((a + 1) / 2) - gammaln(a / 2) - (a + 1) / 2 * log1p(b**2 / a)) / sqrt(pi * a)",
    ),
    # Bessel functions: DLMF 10.6, 10.29
    "jv": _rule(None, "(jv(a - 1, b) - jv(a + 1, b)) / 2"),
    "yv": _rule(None, "(yv(a - 1, b) - yv(a + 1, b)) / 2"),
    "yn": _rule(None, "(yv(a - 1, b) - yv(a + 1, b)) / 2"),
    "iv": _rule(None, "(iv(a - 1, b) + iv(a + 1, b)) / 2"),
    "kv": _rule(None, "-(kv(a - 1, b) + kv(a + 1, b)) / 2"),
    "ive": _rule(None, "(ive(a - 1, b) + ive(a + 1, b)) / 2 - sign(b) * v"),
    "i0e": _rule("i1e(a) - sign(a) * v"),
    "i1e": _rule("(i0e(a) + ive(2, a)) / 2 - sign(a) * v"),
    # integrals: DLMF 6.2, 8.19
    "expi": _rule("exp(a) / a"),
    "exp1": _rule("-exp(-a) / a"),
    "expn": _rule(None, "-expn(a - 1, b)"),
}
"""By the name of a function."""


def special_row(function: Any) -> Operation | None:
    """The row of a function of `scipy.special`; None where it has none."""
    name = getattr(function, "__name__", "")
    scipy = sys.modules.get("scipy.special")
    if name not in RULES or scipy is None or not isinstance(function, np.ufunc):
        return None
    rules, about = RULES[name]
    letters = OPERAND_NAMES[: len(rules)]
    names = vars(scipy) | {known: getattr(np, known) for known in in_formulas()}
    signature = f"v, {', '.join(letters)}"
    # The formulas are the rows above, never input.
    locals_ = [
        None if rule is None else (rule, eval(f"lambda {signature}, **_: {rule}", names), rule)
        for rule in rules
    ]
    row = elementwise(function, f"{name.strip('_')}({', '.join(letters)})", *locals_)
    derivatives = tuple(rule or _order(name) for rule in row.derivatives or ())
    return Operation(name, function, row.formula, derivatives, **about)


def _order(name: str) -> Derivative:
    """The rule of an operand that the function cannot be differentiated by."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise TraceError(
            f"no derivative rule for {name} by this operand: it has no closed form; pass its plain "
            "value (.value) if no gradient is wanted"
        )

    return Derivative(refuse, "0", refuse)


# --- functions written in Python, which turn their arguments into plain arrays -------------------


def _logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    if b is not None and not hasattr(b, "operands"):
        a = np.where(np.equal(b, 0), -np.inf, a)  # an infinite term of weight 0 is none
    shifted, top = _shifted(a, axis)
    terms = np.exp(shifted) if b is None else b * np.exp(shifted)
    total = np.sum(terms, axis=axis, keepdims=True)
    found = np.log(np.abs(total) if return_sign else total) + top
    found = found if keepdims else np.squeeze(found, axis=axis)
    if not return_sign:
        return found
    sign = np.sign(total if keepdims else np.squeeze(total, axis=axis))
    return found, sign


def _shifted(a: Any, axis: Any) -> tuple[Any, Any]:
    """An array less its maxima, which are constants: results do not depend on them."""
    plain = np.asarray(getattr(a, "value", a))
    top = np.max(np.where(np.isfinite(plain), plain, 0.0), axis=axis, keepdims=True)
    if np.ndim(top):
        top.flags.writeable = False
    look("top", (a,), top, {"axis": axis})
    return a - top, top


def _softmax(x: Any, axis: Any = None) -> Any:
    terms = np.exp(_shifted(x, axis)[0])
    return terms / np.sum(terms, axis=axis, keepdims=True)


def _log_softmax(x: Any, axis: Any = None) -> Any:
    shifted, _ = _shifted(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _scipy(name: str) -> Any:
    return getattr(sys.modules["scipy.special"], name)


def _multigammaln(a: Any, d: int) -> Any:
    terms = _scipy("gammaln")(a[..., None] - np.arange(d) / 2)
    return np.sum(terms, axis=-1) + d * (d - 1) / 4 * np.log(np.pi)


def _polygamma(n: Any, x: Any) -> Any:
    if np.ndim(n) or hasattr(n, "operands"):
        return NotImplemented
    if n == 0:
        return _scipy("psi")(x)
    return (-1.0) ** (n + 1) * _scipy("gamma")(n + 1.0) * _scipy("zeta")(n + 1.0, x)


WRITTEN_OUT = {
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "multigammaln": _multigammaln,
    "polygamma": _polygamma,
}
"""By the name of a function of `scipy.special`: what stands for it in a traced program."""
