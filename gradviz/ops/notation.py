"""Formulas as Python syntax trees: written once, printed as plain text or as LaTeX.

A rule such as ``"1 - v**2"`` is parsed once and then serves three readers: Python evaluates it,
`text` prints it, and `latex` typesets it. Putting formulas into one another is `substitute`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MACRON = "\N{COMBINING MACRON}"

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split()
)
_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.MatMult: r"\,"}
_COMPARISONS = {
    ast.Gt: ">", ast.Lt: "<", ast.GtE: r"\ge", ast.LtE: r"\le", ast.Eq: "=", ast.NotEq: r"\ne",
}  # fmt: skip
_FUNCTIONS = {
    "log": r"\ln", "log2": r"\log_2", "log10": r"\log_{10}", "maximum": r"\max", "minimum": r"\min",
    "max": r"\max", "min": r"\min", "sinh": r"\sinh", "cosh": r"\cosh", "tanh": r"\tanh",
    "sin": r"\sin", "cos": r"\cos", "tan": r"\tan", "arcsin": r"\arcsin", "arccos": r"\arccos",
    "arctan": r"\arctan", "sum": r"\textstyle\sum", "prod": r"\textstyle\prod", "det": r"\det",
    "sigmoid": r"\sigma",
}  # fmt: skip
_SPECIAL = frozenset("ones_like cbrt floor ceil inv solve outer inner block where einsum".split())
_SUM, _PRODUCT, _UNARY, _POWER, _ATOM = range(1, 6)


def set_latex(function: str, latex: str) -> None:
    """Say how the name of a function is set in LaTeX."""
    _FUNCTIONS[function] = latex


@lru_cache(maxsize=4096)
def parse(formula: str) -> ast.expr:
    """The syntax tree of a formula in Python's notation (shared: never change it)."""
    return ast.parse(formula, mode="eval").body


def name(identifier: str) -> ast.Name:
    """A symbol; any text is allowed, since trees are printed and never run."""
    return ast.Name(id=identifier, ctx=ast.Load())


def number(value: float) -> ast.expr:
    """A literal, negative ones as a negation so that they get their parentheses."""
    literal = ast.Constant(abs(value))
    negative = value < 0
    return ast.UnaryOp(ast.USub(), literal) if negative else literal


SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"
_PARTIAL = re.compile(r"∂([₀-₉]+)(.+)", re.DOTALL)


def derivative(top: str, below: str) -> ast.Name:
    """The symbol ∂top/∂below: the derivative over all ways from one to the other."""
    return name(f"∂{top}/∂{below}")


def partial(top: str, key: int) -> ast.Name:
    """The symbol ∂₁top: the derivative by the operand at position `key` alone."""
    return name("∂" + "".join(SUBSCRIPTS[int(digit)] for digit in str(key + 1)) + top)


def parts(identifier: str) -> tuple[str, int] | None:
    """Of the symbol ∂₁top the name and the operand's position; None for any other symbol."""
    found = None if "/∂" in identifier else _PARTIAL.fullmatch(identifier)
    if found is None:
        return None
    return found[2], int("".join(str(SUBSCRIPTS.index(digit)) for digit in found[1])) - 1


def adjoint(identifier: str) -> ast.Name:
    """The symbol of a gradient: the name's first character under a bar."""
    return name(identifier[:1] + MACRON + identifier[1:])


class _Substitution(ast.NodeTransformer):
    def __init__(self, replacements: Mapping[str, ast.expr]) -> None:
        self.replacements = replacements

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.replacements.get(node.id, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        # A function's own name is no symbol: only its arguments are replaced.
        keywords = [ast.keyword(k.arg, self.visit(k.value)) for k in node.keywords]
        return ast.Call(node.func, [self.visit(a) for a in node.args], keywords)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        # NodeTransformer works in place; parsed formulas are shared, so every level is made anew.
        fresh = {
            field: [self.visit(child) for child in value]
            if isinstance(value, list)
            else self.visit(value)
            if isinstance(value, ast.AST)
            else value
            for field, value in ast.iter_fields(node)
        }
        made = type(node)(**fresh)
        if isinstance(made, ast.Attribute) and isinstance(made.value, ast.Attribute):
            return made.value.value  # the transpose of a transpose
        return _folded(made) if isinstance(made, ast.BinOp) else made


def _folded(tree: ast.BinOp) -> ast.expr:
    """What constants leave of an operation: 2 * x ** (2 - 1) is 2 * x."""
    left, right = tree.left, tree.right
    numbers = [n.value if isinstance(n, ast.Constant) else None for n in (left, right)]
    if isinstance(tree.op, ast.Sub) and isinstance(numbers[0], int) and isinstance(numbers[1], int):
        return number(numbers[0] - numbers[1])
    if isinstance(tree.op, (ast.Pow, ast.Div)) and numbers[1] == 1:
        return left
    if isinstance(tree.op, ast.Mult) and 1 in numbers:
        return right if numbers[0] == 1 else left
    return tree


def substitute(tree: ast.expr, replacements: Mapping[str, ast.expr]) -> ast.expr:
    """A copy of `tree` with the named symbols replaced by other trees."""
    result: ast.expr = _Substitution(replacements).visit(tree)
    return result


def product(*factors: ast.expr) -> ast.expr:
    """The product of `factors`: one sign in front, then one number unless it is 1, the rest."""
    coefficient: int | float = 1
    kept: list[ast.expr] = []
    pending = list(reversed(factors))
    while pending:
        minus, factor = _sign(pending.pop())
        coefficient = -coefficient if minus else coefficient
        if isinstance(factor, ast.BinOp) and isinstance(factor.op, ast.Mult):
            pending += [factor.right, factor.left]
        elif isinstance(factor, ast.Constant) and isinstance(factor.value, (int, float)):
            coefficient *= factor.value
        else:
            kept.append(factor)
    if any(not _is_ones(factor) and not _is_upstream(factor) for factor in kept):
        kept = [factor for factor in kept if not _is_ones(factor)]  # an array spreads by itself
    if coefficient == 0 or not kept:
        return number(coefficient)
    if abs(coefficient) != 1:
        kept.insert(0, ast.Constant(abs(coefficient)))
    result = kept[0]
    for factor in kept[1:]:
        result = ast.BinOp(result, ast.Mult(), factor)
    return ast.UnaryOp(ast.USub(), result) if coefficient < 0 else result


def _is_ones(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Call) and ast.unparse(tree.func) == "ones_like"


def _is_upstream(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Name) and (MACRON in tree.id or tree.id.startswith("δ["))


def _sign(tree: ast.expr) -> tuple[bool, ast.expr]:
    """Whether a factor is negative, and the factor without its sign."""
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        minus, rest = _sign(tree.operand)
        return not minus, rest
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Mult, ast.Div)):
        minus, left = _sign(tree.left)
        if minus:
            return True, ast.BinOp(left, tree.op, tree.right)
    return False, tree


def match(pattern: ast.expr, tree: ast.expr, placeholder: str = "a") -> ast.expr | None:
    """What stands for `placeholder` where `tree` has the form of `pattern`; else None."""
    found: list[ast.expr] = []

    def same(p: Any, t: Any) -> bool:
        if isinstance(p, ast.Name) and p.id == placeholder:
            found.append(t)
            return isinstance(t, ast.expr) and text(t) == text(found[0])
        if isinstance(p, ast.expr_context):
            return True
        if isinstance(p, ast.AST):
            return type(p) is type(t) and all(
                same(value, getattr(t, field)) for field, value in ast.iter_fields(p)
            )
        if isinstance(p, list):
            return len(p) == len(t) and all(map(same, p, t))
        return bool(p == t)

    return found[0] if same(pattern, tree) and found else None


def total(terms: list[ast.expr]) -> ast.expr:
    """The sum of `terms`."""
    result = terms[0]
    for term in terms[1:]:
        result = ast.BinOp(result, ast.Add(), term)
    return result


def text(tree: ast.expr) -> str:
    """A formula as one line of plain text, in Python's notation."""
    return ast.unparse(tree)


_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
}  # fmt: skip


def escape(label: str) -> str:
    """Untrusted text for LaTeX's text mode: printable, and nothing in it is a command."""
    printable = "".join(c if c.isprintable() else " " for c in label)
    return "".join(_ESCAPES.get(c, c) for c in printable)


def symbol(identifier: str) -> str:
    r"""The LaTeX of a name: ``z_o1`` is ``z_{o1}``, ``h(2)`` is ``h^{(2)}``, ``alpha`` is Greek.

    A bar over the first character (see `adjoint`) is set over the whole base letter.
    """
    barred = MACRON in identifier
    identifier = identifier.replace(MACRON, "")
    derivative = re.fullmatch(r"∂(.+)/∂(.+)", identifier)
    if derivative:
        top, below = map(symbol, derivative.groups())
        return rf"\frac{{\partial {top}}}{{\partial {below}}}"
    if alone := parts(identifier):
        return rf"\partial_{{{alone[1] + 1}}} {symbol(alone[0])}"
    upstream = re.fullmatch(r"δ\[(.+)\]", identifier)
    if upstream:
        return rf"\delta_{{{symbol(upstream[1])}}}"
    match = re.fullmatch(
        r"([^\W\d_]+)(?:_?(\d+)|_([^\W_]+(?:_[^\W_]+)*))?(?:\((\d+)\))?", identifier
    )
    if not match:
        base, below, above = rf"\text{{{escape(identifier)}}}", "", ""
    else:
        letters, digits, word, repeat = match.groups()
        if letters in GREEK:
            base = "\\" + letters
        elif len(letters) == 1 and letters.isascii():
            base = letters
        elif letters.isascii():
            base = rf"\mathit{{{letters}}}"
        else:
            base = rf"\text{{{letters}}}"
        below = digits or (word or "").replace("_", r"\_")
        above = f"({repeat})" if repeat else ""
        if below and not below.isascii():
            below = rf"\text{{{below}}}"
    if barred:
        base = rf"\bar{{{base}}}"
    return base + (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")


def latex(tree: ast.expr, times: str = r"\, ") -> str:
    r"""A formula in LaTeX's math mode (without dollar signs).

    `times` stands between factors: a thin space for numbers, ``\odot`` for arrays, whose products
    are elementwise.
    """
    return _Latex(times).at(tree, 0)


class _Latex:
    def __init__(self, times: str) -> None:
        self.times = times

    def at(self, tree: ast.expr, outer: int) -> str:
        """`tree` as a part of something that binds with the strength `outer`."""
        written, strength = getattr(self, type(tree).__name__, self.other)(tree)
        return rf"\left({written}\right)" if strength < outer else written

    def other(self, tree: ast.expr) -> tuple[str, int]:
        return rf"\texttt{{{escape(ast.unparse(tree))}}}", _ATOM

    def Name(self, tree: ast.Name) -> tuple[str, int]:
        return symbol(tree.id), _ATOM

    def Constant(self, tree: ast.Constant) -> tuple[str, int]:
        if isinstance(tree.value, (int, float)):
            written = format(tree.value, ".6g")
            if "e" in written:
                mantissa, exponent = written.split("e")
                return rf"{mantissa} \cdot 10^{{{int(exponent)}}}", _PRODUCT
            return written.replace("inf", r"\infty"), _ATOM
        return rf"\text{{{escape(str(tree.value))}}}", _ATOM

    def UnaryOp(self, tree: ast.UnaryOp) -> tuple[str, int]:
        sign = "-" if isinstance(tree.op, ast.USub) else "+"
        return f"{sign}{self.at(tree.operand, _PRODUCT)}", _SUM

    def BinOp(self, tree: ast.BinOp) -> tuple[str, int]:
        left, right = tree.left, tree.right
        if isinstance(tree.op, ast.Div):
            minus, left = _sign(left)
            written = rf"\frac{{{self.at(left, 0)}}}{{{self.at(right, 0)}}}"
            return (f"-{written}", _SUM) if minus else (written, _POWER)
        if isinstance(tree.op, ast.FloorDiv):
            quotient = ast.BinOp(left, ast.Div(), right)
            return rf"\left\lfloor {self.at(quotient, 0)} \right\rfloor", _ATOM
        if isinstance(tree.op, ast.Mod):
            return rf"{self.at(left, _PRODUCT)} \bmod {self.at(right, _PRODUCT + 1)}", _PRODUCT
        if isinstance(tree.op, ast.Pow):
            return f"{{{self.at(left, _ATOM)}}}^{{{self.at(right, 0)}}}", _POWER
        if isinstance(tree.op, ast.Mult):
            # Between two numbers juxtaposition would read as one number.
            dot = self.times
            if _starts_with_digit(right):
                dot = r" \cdot "
            elif isinstance(left, ast.Constant):
                dot = r"\, "
            return self.at(left, _PRODUCT) + dot + self.at(right, _PRODUCT + 1), _PRODUCT
        if isinstance(tree.op, ast.MatMult):
            # Elementwise products get their parentheses beside a matrix product.
            mixed = isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult)
            first = self.at(left, _PRODUCT + mixed)
            return rf"{first}\, {self.at(right, _PRODUCT + 1)}", _PRODUCT
        if type(tree.op) in _OPERATORS:
            operator = _OPERATORS[type(tree.op)]
            return f"{self.at(left, _SUM)} {operator} {self.at(right, _SUM + 1)}", _SUM
        return self.other(tree)

    def Compare(self, tree: ast.Compare) -> tuple[str, int]:
        parts = [self.at(tree.left, _SUM)]
        for operator, value in zip(tree.ops, tree.comparators, strict=True):
            parts += [_COMPARISONS.get(type(operator), "?"), self.at(value, _SUM)]
        return rf"[{' '.join(parts)}]", _ATOM

    def Attribute(self, tree: ast.Attribute) -> tuple[str, int]:
        if tree.attr == "T":
            inner = tree.value
            if isinstance(inner, ast.Call) and ast.unparse(inner.func) == "inv":
                return rf"{{{self.at(inner.args[0], _ATOM)}}}^{{-\top}}", _POWER
            return rf"{{{self.at(tree.value, _ATOM)}}}^{{\top}}", _POWER
        return self.other(tree)

    def Subscript(self, tree: ast.Subscript) -> tuple[str, int]:
        written = ast.unparse(tree.slice)
        if isinstance(tree.slice, ast.Tuple):
            written = written.strip("()").rstrip(",")
        return rf"{{{self.at(tree.value, _ATOM)}}}_{{[\text{{{escape(written)}}}]}}", _ATOM

    def Tuple(self, tree: ast.Tuple) -> tuple[str, int]:
        return rf"\left({', '.join(self.at(e, 0) for e in tree.elts)}\right)", _ATOM

    def List(self, tree: ast.List) -> tuple[str, int]:
        return rf"\left[{', '.join(self.at(e, 0) for e in tree.elts)}\right]", _ATOM

    def Call(self, tree: ast.Call) -> tuple[str, int]:
        function = ast.unparse(tree.func)
        inner = [self.at(argument, 0) for argument in tree.args]
        if function == "exp" and len(inner) == 1:
            return f"e^{{{inner[0]}}}", _POWER
        if function == "sqrt" and len(inner) == 1:
            return rf"\sqrt{{{inner[0]}}}", _ATOM
        if function == "abs" and len(inner) == 1:
            return rf"\left|{inner[0]}\right|", _ATOM
        special = getattr(self, f"_{function}", None) if function in _SPECIAL else None
        if special is not None and (found := special(*tree.args)) is not None:
            return found  # type: ignore[no-any-return]
        if function == "hadamard":
            return (
                rf"{self.at(tree.args[0], _PRODUCT)} \odot {self.at(tree.args[1], _PRODUCT + 1)}",
                _PRODUCT,
            )
        written = _FUNCTIONS.get(function) or rf"\operatorname{{{escape(function)}}}"
        settings = [k for k in tree.keywords if k.arg != "keepdims"]
        if settings:
            said = ", ".join(f"{k.arg}={ast.unparse(k.value)}" for k in settings)
            written += rf"_{{\text{{{escape(said)}}}}}"
        if function == "norm":
            return rf"\left\lVert {inner[0]} \right\rVert" + written.removeprefix(
                r"\operatorname{norm}"
            ), _ATOM
        return rf"{written}\left({', '.join(inner)}\right)", _ATOM

    # Functions that mathematics does not write as functions; None where the form has no such way.

    def _ones_like(self, a: ast.expr) -> tuple[str, int]:
        return r"\mathbf{1}", _ATOM

    def _cbrt(self, a: ast.expr) -> tuple[str, int]:
        return rf"\sqrt[3]{{{self.at(a, 0)}}}", _ATOM

    def _floor(self, a: ast.expr) -> tuple[str, int]:
        return rf"\left\lfloor {self.at(a, 0)} \right\rfloor", _ATOM

    def _ceil(self, a: ast.expr) -> tuple[str, int]:
        return rf"\left\lceil {self.at(a, 0)} \right\rceil", _ATOM

    def _inv(self, a: ast.expr) -> tuple[str, int]:
        return rf"{{{self.at(a, _ATOM)}}}^{{-1}}", _POWER

    def _solve(self, a: ast.expr, b: ast.expr) -> tuple[str, int]:
        if isinstance(a, ast.Attribute):
            return rf"{{{self.at(a.value, _ATOM)}}}^{{-\top}}\, {self.at(b, _POWER)}", _PRODUCT
        return rf"{{{self.at(a, _ATOM)}}}^{{-1}}\, {self.at(b, _POWER)}", _PRODUCT

    def _outer(self, a: ast.expr, b: ast.expr) -> tuple[str, int]:
        return rf"{self.at(a, _PRODUCT)} \otimes {self.at(b, _POWER)}", _PRODUCT

    def _inner(self, a: ast.expr, b: ast.expr) -> tuple[str, int]:
        return rf"\left\langle {self.at(a, 0)}, {self.at(b, 0)} \right\rangle", _ATOM

    def _block(self, a: ast.expr, position: ast.expr) -> tuple[str, int]:
        return rf"{{{self.at(a, _ATOM)}}}_{{[{self.at(position, 0)}]}}", _ATOM

    def _where(self, condition: ast.expr, *branches: ast.expr) -> tuple[str, int] | None:
        values = [b.value if isinstance(b, ast.Constant) else None for b in branches]
        if values == [1, 0]:
            return rf"\left[{self.at(condition, 0)}\right]", _ATOM
        if values == [0, 1]:
            return rf"\left[\lnot {self.at(condition, _ATOM)}\right]", _ATOM
        return None

    def _einsum(self, subscripts: ast.expr, *operands: ast.expr) -> tuple[str, int] | None:
        if not isinstance(subscripts, ast.Constant) or "..." in str(subscripts.value):
            return None
        inputs, arrow, output = str(subscripts.value).replace(" ", "").partition("->")
        letters = sorted(set(inputs) - {","})
        if not arrow:
            output = "".join(c for c in letters if inputs.count(c) == 1)
        factors = [
            (r"\mathbf{1}" if ast.unparse(operand) == "ones" else rf"{{{self.at(operand, _ATOM)}}}")
            + (f"_{{{term}}}" if term else "")
            for operand, term in zip(operands, inputs.split(","), strict=True)
        ]
        summed = "".join(c for c in letters if c not in output)
        product = r"\, ".join(factors)
        return (rf"\textstyle\sum_{{{summed}}} {product}", _SUM) if summed else (product, _PRODUCT)


def _starts_with_digit(tree: ast.expr) -> bool:
    while isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Mult, ast.Pow)):
        tree = tree.left
    return isinstance(tree, ast.Constant)
