"""Compositions that have a name: how they are written when a program spells them out.

Numbers are computed as the program does; only the notation knows these forms.
"""

from __future__ import annotations

import ast

from gradviz.ops import notation

_SIGMOID = ("sigmoid(a)", "v * (1 - v)")
_SOFTPLUS = ("softplus(a)", "sigmoid(a)")
_FORMS: dict[str, tuple[str, str]] = {
    "1 / (1 + exp(-a))": _SIGMOID,
    "1 / (exp(-a) + 1)": _SIGMOID,
    "exp(a) / (1 + exp(a))": _SIGMOID,
    "exp(a) / (exp(a) + 1)": _SIGMOID,
    "log(1 + exp(a))": _SOFTPLUS,
    "log(exp(a) + 1)": _SOFTPLUS,
}
"""By the form in the operand a: the short form, and its derivative (v is the value)."""


def recognize(tree: ast.expr) -> tuple[ast.expr, ast.expr, str] | None:
    """The short form of an expression, what stands for its operand, the derivative's formula."""
    if not isinstance(tree, (ast.BinOp, ast.Call)):
        return None
    for form, (short, derivative) in _FORMS.items():
        operand = notation.match(notation.parse(form), tree)
        if operand is not None:
            return notation.substitute(notation.parse(short), {"a": operand}), operand, derivative
    return None
