"""Formulas as Python syntax trees, which every printer of mathematics reads.

A rule such as ``"1 - v**2"`` is parsed once and then serves many readers: Python evaluates it,
`text` prints it, and `gradviz.ops.layout` says how it is set in LaTeX, MathML and pictures. Putting
formulas into one another is `substitute`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from gradviz.ops.symbols import MACRON, SUBSCRIPTS

_INFINITE = re.compile(r"(?<![\w.])1e309")
"""What `ast.unparse` writes for an infinity (a NaN is the difference of two), being literal."""


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


def derivative(top: str, below: str) -> ast.Name:
    """The symbol ∂top/∂below: the derivative over all ways from one to the other."""
    return name(f"∂{top}/∂{below}")


def partial(top: str, key: int) -> ast.Name:
    """The symbol ∂₁top: the derivative by the operand at position `key` alone."""
    return name("∂" + "".join(SUBSCRIPTS[int(digit)] for digit in str(key + 1)) + top)


def adjoint(identifier: str) -> ast.Name:
    """The symbol of a gradient: the name's first character under a bar."""
    return name(identifier[:1] + MACRON + identifier[1:])


def names(tree: ast.AST) -> set[str]:
    """The symbols in a formula, and the functions that it calls."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


class _Substitution(ast.NodeTransformer):
    def __init__(self, replacements: Mapping[str, ast.expr]) -> None:
        self.replacements = replacements

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.replacements.get(node.id, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        # A function's own name is no symbol: only its arguments are replaced.
        keywords = [ast.keyword(k.arg, self.visit(k.value)) for k in node.keywords]
        return _decided(ast.Call(node.func, [self.visit(a) for a in node.args], keywords))

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


def _decided(tree: ast.Call) -> ast.expr:
    """What a constant leaves of a choice: where(2 == 0, 0, x) is x."""
    match tree.args:
        case [ast.Compare(ast.Constant(a), [ast.Eq()], [ast.Constant(b)]), holds, otherwise]:
            return holds if a == b else otherwise
    return tree


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
        minus, factor = sign_apart(pending.pop())
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


def sign_apart(tree: ast.expr) -> tuple[bool, ast.expr]:
    """Whether a factor is negative, and the factor without its sign."""
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        minus, rest = sign_apart(tree.operand)
        return not minus, rest
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Mult, ast.Div)):
        minus, left = sign_apart(tree.left)
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


MOST_TERMS = 40
"""Of a longer sum the first and the last terms are written: nobody reads a thousand, and Python
unparses no tree that is so deep."""


def total(terms: list[ast.expr]) -> ast.expr:
    """The sum of `terms`, for reading: it begins with one that is not negative, if there is one."""
    first = next((n for n, term in enumerate(terms) if not sign_apart(term)[0]), 0)
    terms = [terms[first], *terms[:first], *terms[first + 1 :]]
    if len(terms) > MOST_TERMS:
        half = MOST_TERMS // 2
        terms = [*terms[:half], name("…"), *terms[-half:]]
    return added(terms)


def added(terms: Sequence[ast.expr]) -> ast.expr:
    """The sum of all `terms`; what is negative is taken away."""
    result, *more = terms or [number(0)]
    for term in more:
        minus, rest = sign_apart(term)
        result = ast.BinOp(result, ast.Sub() if minus else ast.Add(), rest)
    return result


def text(tree: ast.expr) -> str:
    """A formula as one line of plain text, in Python's notation."""
    return _INFINITE.sub("inf", ast.unparse(tree).replace("(1e309-1e309)", "nan"))
