"""How a formula is laid out: what stands beside, above and below what, and in which brackets.

A formula's syntax tree (`gradviz.ops.notation`) becomes a tree of what is seen, which LaTeX, MathML
and pictures then only spell. There are two ways to lay a formula out: as a textbook displays it,
with fractions, and in line, as the program wrote it, for the cards of a picture.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gradviz.ops import symbols
from gradviz.ops.functions import FENCES
from gradviz.ops.notation import sign_apart
from gradviz.ops.symbols import Parsed


@dataclass(frozen=True)
class Row:
    """Things side by side."""

    parts: tuple[Seen, ...]


@dataclass(frozen=True)
class Name:
    """A symbol, and the name that it was read from."""

    symbol: Parsed
    name: str = ""


@dataclass(frozen=True)
class Number:
    """Digits, perhaps with a power of ten."""

    digits: str
    exponent: str = ""


@dataclass(frozen=True)
class Sign:
    """An operator between two things, or before one.

    ``*`` is the product of numbers or of arrays by elements, ``number *`` one whose second factor
    begins with a digit, ``coefficient *`` one whose first is a number; ``@`` is that of matrices.
    """

    sign: str


@dataclass(frozen=True)
class Fraction:
    """One thing over another."""

    above: Seen
    below: Seen


@dataclass(frozen=True)
class Power:
    """A base with an exponent."""

    base: Seen
    exponent: Seen


@dataclass(frozen=True)
class Index:
    """A base with an index."""

    base: Seen
    index: Seen


@dataclass(frozen=True)
class Root:
    """A root; `degree` is "" for the square root."""

    of: Seen
    degree: str = ""


@dataclass(frozen=True)
class Fenced:
    """Things between brackets, with commas; `small` ones do not grow with what is in them."""

    fences: str
    parts: tuple[Seen, ...]
    small: bool = False


@dataclass(frozen=True)
class Function:
    """A function's name; `settings` (``axis=0``) are set below it."""

    name: str
    settings: str = ""


@dataclass(frozen=True)
class Text:
    """What is no mathematics; `code` is what Python would read."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Constant:
    """A sign with a meaning of its own: e, the array of ones, the transpose, a summation."""

    sign: str


Seen = (
    Row
    | Name
    | Number
    | Sign
    | Fraction
    | Power
    | Index
    | Root
    | Fenced
    | Function
    | Text
    | Constant
)  # fmt: skip
Laid = tuple[Seen, int]  # with how strongly it binds

ONES, EULER, TRANSPOSED = Constant("𝟏"), Constant("e"), Constant("⊤")
GAP, SUMMED = Constant("…"), Constant("∑")
_COMPARISON, _SUM, _PRODUCT, _UNARY, _POWER, _ATOM = range(6)
_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.MatMult: "@", ast.Mod: "%", ast.BitAnd: "&",
    ast.Gt: ">", ast.Lt: "<", ast.GtE: ">=", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!=",
    ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Not: "~", ast.Div: "/", ast.FloorDiv: "//",
}  # fmt: skip
_PLACES = (ast.Name, ast.Constant, ast.BinOp, ast.operator, ast.expr_context)
_FORMS = {
    "sqrt": 1, "cbrt": 1, "inv": 1, "where": 3, "exp": 1, "ones_like": 1, "hadamard": 2, "solve": 2,
    "outer": 2, "inner": 2, "block": 2, "einsum": 0,
}  # fmt: skip
"""Functions that mathematics does not write as functions, with the number of their arguments."""


def displayed(tree: ast.expr) -> Seen:
    """A formula as a textbook displays it."""
    return _Display().at(tree, 0)


def in_line(tree: ast.expr) -> Seen:
    """A formula in one line, as the program wrote it."""
    return _InLine().at(tree, 0)


def names(seen: Seen) -> Iterator[str]:
    """The names in what was laid out, in order."""
    if isinstance(seen, Name):
        yield seen.name
    for inner in _parts(seen):
        yield from names(inner)


def shortened(seen: Seen, fits: Callable[[Seen], bool]) -> Seen:
    """What was laid out in line, cut at its end until it fits."""
    while seen != GAP and not fits(seen):
        seen = _cut(seen)
    return seen


def _parts(seen: Seen) -> tuple[Seen, ...]:
    match seen:
        case Row(parts) | Fenced(_, parts):
            return parts
        case Fraction(first, second) | Power(first, second) | Index(first, second):
            return first, second
        case Root(of):
            return (of,)
    return ()


def _cut(seen: Seen) -> Seen:
    """Without its last part that is not a gap yet."""
    if not isinstance(seen, (Row, Fenced)):
        return GAP
    parts = list(seen.parts)
    if parts[-1] == GAP:  # the part before it becomes the gap, with the sign between them
        parts = parts[:-2] if isinstance(seen, Row) else parts[:-1]
    if not parts or (len(parts) == 1 and _cut(parts[0]) == GAP):
        return GAP
    parts[-1] = _cut(parts[-1])
    return replace(seen, parts=tuple(parts))


def _row(*parts: Seen) -> Row:
    return Row(parts)


class _Layout:
    """What both ways have in common."""

    unary = _SUM
    """How strongly a sign in front binds; what it stands before binds at least as a product."""

    def at(self, tree: ast.expr, outer: int) -> Seen:
        """`tree` as a part of something that binds with the strength `outer`."""
        lay: Callable[[ast.expr], Laid] = getattr(self, type(tree).__name__, self.other)
        seen, strength = lay(tree)
        return Fenced("()", (seen,)) if strength < outer else seen

    def all(self, trees: list[ast.expr]) -> tuple[Seen, ...]:
        return tuple(self.at(tree, 0) for tree in trees)

    def other(self, tree: ast.expr) -> Laid:
        return Text(ast.unparse(tree), code=True), _ATOM

    def Name(self, tree: ast.Name) -> Laid:
        return Name(symbols.parse(tree.id), tree.id), _ATOM

    def Constant(self, tree: ast.Constant) -> Laid:
        if isinstance(tree.value, (int, float)) and not isinstance(tree.value, bool):
            return self.number(tree)
        return Text(str(tree.value)), _ATOM

    def number(self, tree: ast.Constant) -> Laid:
        digits, _, exponent = format(tree.value, ".6g").partition("e")
        if exponent:
            return Number(digits, str(int(exponent))), _PRODUCT
        return Number(digits), _ATOM

    def UnaryOp(self, tree: ast.UnaryOp) -> Laid:
        operand = self.at(tree.operand, max(_PRODUCT, self.unary))
        return _row(Sign(_SIGNS[type(tree.op)]), operand), self.unary

    def BinOp(self, tree: ast.BinOp) -> Laid:
        if isinstance(tree.op, ast.Pow):
            return Power(self.at(tree.left, _ATOM), self.at(tree.right, 0)), _POWER
        sign = _SIGNS.get(type(tree.op))
        if sign is None:
            return self.other(tree)
        strength = _SUM if sign in "+-" else _PRODUCT
        left, right = self.at(tree.left, strength), self.at(tree.right, strength + 1)
        return _row(left, Sign(sign), right), strength

    def Attribute(self, tree: ast.Attribute) -> Laid:
        if tree.attr != "T":
            return self.other(tree)
        inner = tree.value
        if _called(inner) == "inv":
            return Power(self.at(inner.args[0], _ATOM), _row(Sign("-"), TRANSPOSED)), _POWER  # type: ignore[attr-defined]
        return Power(self.at(inner, _ATOM), TRANSPOSED), _POWER

    def Subscript(self, tree: ast.Subscript) -> Laid:
        places = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        inside = [node for place in places for node in ast.walk(place)]
        if any(isinstance(n, ast.Name) for n in inside) and all(
            isinstance(n, _PLACES) for n in inside
        ):
            index = Fenced("[]", self.all(places), small=True)
        else:
            written = ast.unparse(tree.slice)
            if isinstance(tree.slice, ast.Tuple):
                written = written.strip("()").rstrip(",")
            index = Fenced("[]", (Text(written),), small=True)
        return Index(self.at(tree.value, _ATOM), index), _ATOM

    def Tuple(self, tree: ast.Tuple) -> Laid:
        return Fenced("()", self.all(tree.elts)), _ATOM

    def List(self, tree: ast.List) -> Laid:
        return Fenced("[]", self.all(tree.elts)), _ATOM

    def Call(self, tree: ast.Call) -> Laid:
        count = _FORMS.get(_called(tree))
        form = None if count is None else getattr(self, f"_{_called(tree)}", None)
        if form is None or tree.keywords or len(tree.args) not in (count, count or len(tree.args)):
            return self.call(tree)
        return form(*tree.args) or self.call(tree)

    def call(self, tree: ast.Call) -> Laid:
        raise NotImplementedError

    # Functions that mathematics does not write as functions; None where the form has no such way.

    def _sqrt(self, a: ast.expr) -> Laid:
        return Root(self.at(a, 0)), _ATOM

    def _cbrt(self, a: ast.expr) -> Laid:
        return Root(self.at(a, 0), "3"), _ATOM

    def _inv(self, a: ast.expr) -> Laid:
        return Power(self.at(a, _ATOM), _row(Sign("-"), Number("1"))), _POWER

    def _where(self, condition: ast.expr, first: ast.expr, second: ast.expr) -> Laid | None:
        values = [b.value if isinstance(b, ast.Constant) else None for b in (first, second)]
        if values == [1, 0]:
            return self.either(condition, negated=False)
        if values == [0, 1]:
            return self.either(condition, negated=True)
        return None

    def either(self, condition: ast.expr, negated: bool) -> Laid:
        """1 where something holds, else 0."""
        said = self.at(condition, _ATOM if negated else 0)
        if not negated and isinstance(said, Fenced):  # a comparison has its brackets
            return said, _ATOM
        return Fenced("[]", (_row(Sign("~"), said) if negated else said,)), _ATOM


def _called(tree: ast.expr) -> str:
    """The name of the function that is called; "" where none is."""
    return ast.unparse(tree.func) if isinstance(tree, ast.Call) else ""


class _InLine(_Layout):
    unary = _UNARY

    def number(self, tree: ast.Constant) -> Laid:
        if isinstance(tree.value, float) and not math.isfinite(tree.value):  # not 1e309
            return Number(str(tree.value)), _ATOM
        digits, _, exponent = ast.unparse(tree).partition("e")
        if not exponent:
            return Number(digits), _ATOM
        return Number(digits, str(int(exponent))), _UNARY  # no base of a power: 1e-05 ** 2

    def Constant(self, tree: ast.Constant) -> Laid:
        if tree.value is None or isinstance(tree.value, bool):
            return Name(symbols.parse(str(tree.value))), _ATOM
        if isinstance(tree.value, str):
            return Text(repr(tree.value)), _ATOM
        return super().Constant(tree)

    def Compare(self, tree: ast.Compare) -> Laid:
        parts = [self.at(tree.left, _SUM)]
        for operator, value in zip(tree.ops, tree.comparators, strict=True):
            sign = _SIGNS.get(type(operator))
            if sign is None:
                return self.other(tree)
            parts += [Sign(sign), self.at(value, _SUM)]
        return _row(*parts), _COMPARISON

    def call(self, tree: ast.Call) -> Laid:
        said = [
            _row(Name(symbols.parse(k.arg or "")), Sign("="), self.at(k.value, 0))
            for k in tree.keywords
        ]
        return _row(Function(_called(tree)), Fenced("()", (*self.all(tree.args), *said))), _ATOM


class _Display(_Layout):
    def BinOp(self, tree: ast.BinOp) -> Laid:
        left, right = tree.left, tree.right
        if isinstance(tree.op, ast.Div):
            minus, left = sign_apart(left)
            fraction = Fraction(self.at(left, 0), self.at(right, 0))
            return (_row(Sign("-"), fraction), _SUM) if minus else (fraction, _POWER)
        if isinstance(tree.op, ast.FloorDiv):
            return Fenced("⌊⌋", (self.at(ast.BinOp(left, ast.Div(), right), 0),)), _ATOM
        if isinstance(tree.op, ast.MatMult):
            # Elementwise products get their parentheses beside a matrix product.
            mixed = isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult)
            first = self.at(left, _UNARY if mixed else _PRODUCT)
            return _row(first, Sign("@"), self.at(right, _UNARY)), _PRODUCT
        if isinstance(tree.op, ast.Mult):
            # Between two numbers juxtaposition would read as one number.
            kind = "coefficient *" if isinstance(left, ast.Constant) else "*"
            sign = Sign("number *" if _starts_with_digit(right) else kind)
            return _row(self.at(left, _PRODUCT), sign, self.at(right, _UNARY)), _PRODUCT
        return super().BinOp(tree)

    def Compare(self, tree: ast.Compare) -> Laid:
        parts = [self.at(tree.left, _SUM)]
        for operator, value in zip(tree.ops, tree.comparators, strict=True):
            parts += [Sign(_SIGNS.get(type(operator), "?")), self.at(value, _SUM)]
        return Fenced("[]", (_row(*parts),), small=True), _ATOM

    def call(self, tree: ast.Call) -> Laid:
        function = _called(tree)
        said = [k for k in tree.keywords if k.arg != "keepdims"]
        settings = ", ".join(
            said.strip("(,)") if name == "over" else f"{name}={said}"
            for name, said in ((k.arg, ast.unparse(k.value)) for k in said)
        )
        if function in FENCES and len(tree.args) == 1 and (function == "norm" or not settings):
            fenced = Fenced(FENCES[function], self.all(tree.args))
            return (Index(fenced, Text(settings)) if settings else fenced), _ATOM
        return _row(Function(function, settings), Fenced("()", self.all(tree.args))), _ATOM

    def _exp(self, a: ast.expr) -> Laid:
        return Power(EULER, self.at(a, 0)), _POWER

    def _ones_like(self, a: ast.expr) -> Laid:
        return ONES, _ATOM

    def _hadamard(self, a: ast.expr, b: ast.expr) -> Laid:
        return _row(self.at(a, _PRODUCT), Sign("⊙"), self.at(b, _UNARY)), _PRODUCT

    def _solve(self, a: ast.expr, b: ast.expr) -> Laid:
        turned = isinstance(a, ast.Attribute) and a.attr == "T"
        base = a.value if isinstance(a, ast.Attribute) and turned else a
        exponent = _row(Sign("-"), TRANSPOSED if turned else Number("1"))
        return _row(Power(self.at(base, _ATOM), exponent), Sign("@"), self.at(b, _POWER)), _PRODUCT

    def _outer(self, a: ast.expr, b: ast.expr) -> Laid:
        return _row(self.at(a, _PRODUCT), Sign("⊗"), self.at(b, _POWER)), _PRODUCT

    def _inner(self, a: ast.expr, b: ast.expr) -> Laid:
        return Fenced("⟨⟩", self.all([a, b])), _ATOM

    def _block(self, a: ast.expr, position: ast.expr) -> Laid:
        return Index(self.at(a, _ATOM), Fenced("[]", (self.at(position, 0),), small=True)), _ATOM

    def _einsum(self, subscripts: ast.expr, *operands: ast.expr) -> Laid | None:
        if not isinstance(subscripts, ast.Constant) or "..." in str(subscripts.value):
            return None
        inputs, arrow, output = str(subscripts.value).replace(" ", "").partition("->")
        letters = sorted(set(inputs) - {","})
        if not arrow:
            output = "".join(c for c in letters if inputs.count(c) == 1)
        parts: list[Seen] = []
        for operand, term in zip(operands, inputs.split(","), strict=True):
            ones = isinstance(operand, ast.Name) and operand.id == "ones"
            factor = ONES if ones else self.at(operand, _ATOM)
            parts += [Sign("@")] * bool(parts) + [Index(factor, Constant(term))]
        summed = "".join(c for c in letters if c not in output)
        if not summed:
            return _row(*parts), _PRODUCT
        return _row(Index(SUMMED, Constant(summed)), *parts), _SUM


def _starts_with_digit(tree: ast.expr) -> bool:
    while isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Mult, ast.Pow)):
        tree = tree.left
    return isinstance(tree, ast.Constant)
