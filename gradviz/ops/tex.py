"""Formulas and names in LaTeX's math mode, without dollar signs."""

from __future__ import annotations

import ast

from gradviz.ops import layout, symbols
from gradviz.ops.functions import LATEX, PICTURED
from gradviz.ops.layout import Seen
from gradviz.ops.symbols import GREEK, Parsed, Part, Slope, Symbol, Upstream

_COMMANDS = {letter: "\\" + name for name, letter in GREEK.items()}
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
}  # fmt: skip
_SIGNS = {
    "+": " + ", "-": " - ", "@": r"\, ", "coefficient *": r"\, ", "number *": r" \cdot ",
    "%": r" \bmod ", "&": r" \wedge ", ">": " > ", "<": " < ", ">=": r" \ge ", "<=": r" \le ",
    "==": " = ", "!=": r" \ne ", "⊙": r" \odot ", "⊗": r" \otimes ", "/": " / ", "//": " // ",
    "=": "=", "~": r"\lnot ", "?": " ? ",
}  # fmt: skip
_CONSTANTS = {
    "e": r"\mathrm{e}",
    "𝟏": r"\mathbf{1}",
    "⊤": r"\top",
    "∑": r"\textstyle\sum",
    "…": r"\ldots",
}
_FENCES = {
    "()": (r"\left(", r"\right)"), "[]": (r"\left[", r"\right]"), "||": (r"\left|", r"\right|"),
    "‖‖": (r"\left\lVert ", r" \right\rVert"), "⌊⌋": (r"\left\lfloor ", r" \right\rfloor"),
    "⌈⌉": (r"\left\lceil ", r" \right\rceil"), "⟨⟩": (r"\left\langle ", r" \right\rangle"),
}  # fmt: skip


def escape(label: str) -> str:
    """Untrusted text for LaTeX's text mode: printable, and nothing in it is a command."""
    printable = "".join(c if c.isprintable() else " " for c in label)
    return "".join(_ESCAPES.get(c, c) for c in printable)


def formula(tree: ast.expr, times: str = r"\, ") -> str:
    r"""A formula as a textbook displays it.

    `times` stands between factors: a thin space for numbers, ``\odot`` for arrays, whose products
    are elementwise.
    """
    return written(layout.displayed(tree), times)


def in_line(tree: ast.expr) -> str:
    """A formula in one line, as the cards of a picture have it."""
    return written(layout.in_line(tree), r" \cdot ", pictured=True)


def symbol(name: str) -> str:
    r"""A name: ``z_o1`` is ``z_{o1}``, ``h(2)`` is ``h^{(2)}``, ``alpha`` is Greek."""
    return _parsed(symbols.parse(name))


def _parsed(name: Parsed) -> str:
    match name:
        case Slope(top, below):
            return rf"\frac{{\partial {_parsed(top)}}}{{\partial {_parsed(below)}}}"
        case Part(key, top):
            return rf"\partial_{{{key + 1}}} {_parsed(top)}"
        case Upstream(of):
            return rf"\delta_{{{_parsed(of)}}}"
        case Symbol():
            return _symbol(name)


def _symbol(name: Symbol) -> str:
    base = _base(name)
    if name.accent:
        base = rf"\{name.accent}{{{base}}}"
    if name.bar:
        base = rf"\bar{{{base}}}"
    path = rf"\text{{{escape(name.path)}}}" if name.path else ""
    index = rf"\text{{{escape(name.index)}}}" if name.index else ""
    below = ",".join(map(_piece, name.below))
    above = f"({name.version})" * bool(name.version) + r"\top" * name.transposed
    return (
        path + base + (f"_{{{below}}}" if below else "") + index
        + (f"^{{{above}}}" if above else "")
    )  # fmt: skip


def _base(name: Symbol) -> str:
    if name.base in _COMMANDS:
        return _COMMANDS[name.base]
    if name.style in ("identifier", "text") or not name.base.isascii():
        return rf"\text{{{escape(name.base)}}}"
    return name.base if len(name.base) == 1 else rf"\mathit{{{name.base}}}"


def _piece(piece: str) -> str:
    """A part of a subscript."""
    if piece[:1] in _COMMANDS:
        return f"{_COMMANDS[piece[0]]} {piece[1:]}".strip()
    return piece if piece.isascii() else rf"\text{{{escape(piece)}}}"


def written(seen: Seen, times: str, pictured: bool = False) -> str:
    """What was laid out; in a picture most functions have the program's name."""

    def at(part: Seen) -> str:
        return written(part, times, pictured)

    match seen:
        case layout.Row(parts):
            unary = {"-": "-", "+": "+"}
            return "".join(
                unary.get(part.sign, at(part)) if not i and isinstance(part, layout.Sign)
                else at(part)
                for i, part in enumerate(parts)
            )  # fmt: skip
        case layout.Name(name):
            return _parsed(name)
        case layout.Number(digits, exponent):
            digits = digits.replace("inf", r"\infty")
            return rf"{digits} \cdot 10^{{{exponent}}}" if exponent else digits
        case layout.Sign(sign):
            return times if sign == "*" else _SIGNS[sign]
        case layout.Fraction(above, below):
            return rf"\frac{{{at(above)}}}{{{at(below)}}}"
        case layout.Power(base, exponent):
            return f"{_grouped(base, at(base))}^{{{at(exponent)}}}"
        case layout.Index(base, index):
            small = at(index)
            space = " " if base == layout.SUMMED else ""
            return _grouped(base, at(base)) + (f"_{{{small}}}" if small else "") + space
        case layout.Root(of, degree):
            return rf"\sqrt{f'[{degree}]' if degree else ''}{{{at(of)}}}"
        case layout.Fenced(fences, parts, small):
            left, right = (fences[0], fences[1]) if small else _FENCES[fences]
            return left + ", ".join(map(at, parts)) + right
        case layout.Function(name, settings):
            said = "" if pictured and name not in PICTURED else LATEX.get(name, "")
            small = rf"_{{\text{{{escape(settings)}}}}}" if settings else ""
            return (said or rf"\operatorname{{{escape(name)}}}") + small
        case layout.Text(text, code):
            return rf"\{'texttt' if code else 'text'}{{{escape(text)}}}"
        case layout.Constant(sign):
            return _CONSTANTS.get(sign, sign)


def _grouped(base: Seen, latex: str) -> str:
    """What an index or an exponent is set at."""
    alone = isinstance(base, layout.Constant) or (
        isinstance(base, layout.Fenced) and base.fences == "‖‖"
    )
    return latex if alone else f"{{{latex}}}"
