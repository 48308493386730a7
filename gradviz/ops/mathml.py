"""Formulas as presentation MathML: the third printer of `gradviz.ops.notation`'s syntax trees.

A formula is nested lists, ``["mfrac", ["mn", "1"], ["mi", "b"]]``, and never markup: whoever shows
it makes elements and texts of it, so no name can become anything but text.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from gradviz.ops import notation

Math = list[Any]
"""``[element, child, ...]``; the one child of ``mi``, ``mn``, ``mo`` and ``mtext`` is a string."""

_GREEK = dict(zip(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(),
    "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", strict=True,
))  # fmt: skip
TEX = {character: name for name, character in _GREEK.items()} | dict(
    pair.split(":")
    for pair in "∂:partial ·:cdot ×:times ∑:sum ∏:prod ≥:ge ≤:le ≠:ne ⊤:top ⊙:odot ∞:infty ¬:lnot "
    "∧:wedge ⌊:lfloor ⌋:rfloor ⌈:lceil ⌉:rceil ‖:Vert …:cdots mod:bmod ln:ln max:max min:min "
    "sin:sin cos:cos tan:tan tanh:tanh 𝟏:mathbf{1}".split()
)
"""LaTeX's commands for the symbols that stand in such formulas."""
_OPERATORS = {ast.Add: "+", ast.Sub: "−", ast.Mult: "·", ast.Mod: "mod", ast.BitAnd: "∧"}
_COMPARISONS = {
    ast.Gt: ">", ast.Lt: "<", ast.GtE: "≥", ast.LtE: "≤", ast.Eq: "=", ast.NotEq: "≠",
}  # fmt: skip
_FUNCTIONS = {"log": "ln", "maximum": "max", "minimum": "min", "sigmoid": "σ", "arcsin": "arcsin"}
_FENCES = {"abs": "||", "norm": "‖‖", "floor": "⌊⌋", "ceil": "⌈⌉"}
_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 4, 5


def symbol(identifier: str) -> Math:
    """A name: ``z_o1`` with a subscript, ``h(2)`` with a superscript, ``alpha`` as Greek."""
    derivative = re.fullmatch(r"∂(.+)/∂(.+)", identifier)
    if derivative:
        return ["mfrac", *(["mrow", ["mo", "∂"], symbol(part)] for part in derivative.groups())]
    if alone := notation.parts(identifier):
        place: Math = ["mn", str(alone[1] + 1)]
        return ["mrow", ["msub", ["mi", "∂"], place], symbol(alone[0])]
    upstream = re.fullmatch(r"δ\[(.+)\]", identifier)
    if upstream:
        return ["msub", ["mi", "δ"], symbol(upstream[1])]
    barred = notation.MACRON in identifier
    identifier = identifier.replace(notation.MACRON, "")
    match = re.fullmatch(
        r"([^\W\d_]+)(?:_?(\d+)|_([^\W_]+(?:_[^\W_]+)*))?(?:\((\d+)\))?", identifier
    )
    letters, digits, word, repeat = match.groups() if match else (identifier, "", "", "")
    printable = "".join(c if c.isprintable() else " " for c in letters)[:200]
    base: Math = ["mi" if match else "mtext", _GREEK.get(letters, printable)]
    if barred:
        base = ["mover", base, ["mo", "¯"]]
    below: Math = ["mn", digits] if digits else ["mi", word]
    above: Math = ["mtext", f"({repeat})"]
    if (digits or word) and repeat:
        return ["msubsup", base, below, above]
    if digits or word:
        return ["msub", base, below]
    return ["msup", base, above] if repeat else base


def mathml(tree: ast.expr) -> Math:
    """A formula."""
    return _at(tree, 0)


def _at(tree: ast.expr, outer: int) -> Math:
    """`tree` as a part of something that binds with the strength `outer`."""
    printer = _PRINTERS.get(type(tree), _other)
    written, strength = printer(tree)
    return _fenced("()", written) if strength < outer else written


def _fenced(fences: str, *inner: Math) -> Math:
    return ["mrow", ["mo", fences[0]], *_separated(inner), ["mo", fences[-1]]]


def _separated(items: tuple[Math, ...]) -> list[Math]:
    return [part for i, item in enumerate(items) for part in ([["mo", ","]] * bool(i) + [item])]


def _other(tree: Any) -> tuple[Math, int]:
    return ["mtext", ast.unparse(tree)], _ATOM


def _constant(tree: Any) -> tuple[Math, int]:
    if not isinstance(tree.value, (int, float)):
        return ["mtext", str(tree.value)], _ATOM
    mantissa, mark, exponent = format(tree.value, ".6g").partition("e")
    number: Math = ["mn", mantissa.replace("inf", "∞")]
    if not mark:
        return number, _ATOM
    power: Math = ["msup", ["mn", "10"], ["mn", str(int(exponent)).replace("-", "−")]]
    return ["mrow", number, ["mo", "·"], power], _PRODUCT


def _unary(tree: Any) -> tuple[Math, int]:
    if isinstance(tree.op, ast.UAdd):
        return _at(tree.operand, 0), _SUM
    sign = "−" if isinstance(tree.op, ast.USub) else "¬"
    return ["mrow", ["mo", sign], _at(tree.operand, _PRODUCT)], _SUM


def _binary(tree: Any) -> tuple[Math, int]:
    left, right = tree.left, tree.right
    match tree.op:
        case ast.Div():
            minus, left = notation._sign(left)
            fraction: Math = ["mfrac", _at(left, 0), _at(right, 0)]
            return (["mrow", ["mo", "−"], fraction], _SUM) if minus else (fraction, _POWER)
        case ast.FloorDiv():
            return _fenced("⌊⌋", ["mfrac", _at(left, 0), _at(right, 0)]), _ATOM
        case ast.Pow():
            return ["msup", _at(left, _ATOM), _at(right, 0)], _POWER
        case ast.MatMult():
            return ["mrow", _at(left, _PRODUCT), _at(right, _PRODUCT + 1)], _PRODUCT
    operator = _OPERATORS.get(type(tree.op))
    if operator is None:
        return _other(tree)
    strength = _SUM if operator in "+−" else _PRODUCT
    return [
        "mrow", _at(left, strength), ["mo", operator], _at(right, strength + 1),
    ], strength  # fmt: skip


def _compare(tree: Any) -> tuple[Math, int]:
    parts = [_at(tree.left, _SUM)]
    for operator, value in zip(tree.ops, tree.comparators, strict=True):
        parts += [["mo", _COMPARISONS.get(type(operator), "?")], _at(value, _SUM)]
    return _fenced("[]", ["mrow", *parts]), _ATOM


def _attribute(tree: Any) -> tuple[Math, int]:
    if tree.attr == "T":
        return ["msup", _at(tree.value, _ATOM), ["mo", "⊤"]], _POWER
    return _other(tree)


def _subscript(tree: Any) -> tuple[Math, int]:
    index: Math = ["mtext", f"[{ast.unparse(tree.slice)}]"]
    return ["msub", _at(tree.value, _ATOM), index], _ATOM


def _call(tree: Any) -> tuple[Math, int]:
    function = ast.unparse(tree.func)
    inner = [_at(argument, 0) for argument in tree.args]
    if function == "exp" and len(inner) == 1:
        return ["msup", ["mi", "e"], inner[0]], _POWER
    if function == "sqrt" and len(inner) == 1:
        return ["msqrt", inner[0]], _ATOM
    if function in _FENCES and len(inner) == 1 and not tree.keywords:
        return _fenced(_FENCES[function], inner[0]), _ATOM
    if function == "ones_like":
        return ["mn", "𝟏"], _ATOM
    if function == "hadamard":
        factors = [_at(argument, _PRODUCT) for argument in tree.args]
        return ["mrow", factors[0], ["mo", "⊙"], *factors[1:]], _PRODUCT
    settings = [f"{k.arg}={ast.unparse(k.value)}" for k in tree.keywords if k.arg != "keepdims"]
    name: Math = ["mi", _FUNCTIONS.get(function, function)]
    if function in ("sum", "prod"):
        name = ["mo", "∑" if function == "sum" else "∏"]
    if settings:
        name = ["msub", name, ["mtext", ", ".join(settings)]]
    return ["mrow", name, _fenced("()", *inner)], _ATOM


_PRINTERS: dict[type[ast.expr], Any] = {
    ast.Name: lambda tree: (symbol(tree.id), _ATOM),
    ast.Constant: _constant,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Call: _call,
    ast.Tuple: lambda tree: (_fenced("()", *(_at(e, 0) for e in tree.elts)), _ATOM),
    ast.List: lambda tree: (_fenced("[]", *(_at(e, 0) for e in tree.elts)), _ATOM),
}
