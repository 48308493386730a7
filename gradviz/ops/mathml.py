"""Formulas and names as presentation MathML.

A formula is nested lists, ``["mfrac", ["mn", "1"], ["mi", "b"]]``, and never markup: whoever shows
it makes elements and texts of it, so no name can become anything but text.
"""

from __future__ import annotations

import ast

from gradviz.ops import layout, symbols
from gradviz.ops.functions import Math, glyph
from gradviz.ops.layout import Seen
from gradviz.ops.symbols import Parsed, Part, Slope, Symbol, Upstream

_SIGNS = {
    "-": "−", "*": "·", "number *": "·", "coefficient *": "·", "%": "mod", "&": "∧", ">=": "≥",
    "<=": "≤", "==": "=", "!=": "≠", "~": "¬",
}  # fmt: skip
_ACCENTS = {"hat": "^", "tilde": "~", "dot": "˙"}
__all__ = ["Math", "mathml", "symbol"]
LONGEST = 200
"""So much of a name is told."""


def mathml(tree: ast.expr) -> Math:
    """A formula."""
    return written(layout.displayed(tree))


def symbol(name: str) -> Math:
    """A name: ``z_o1`` with a subscript, ``h(2)`` with a superscript, ``alpha`` as Greek."""
    return _parsed(symbols.parse(name))


def _parsed(name: Parsed) -> Math:
    match name:
        case Slope(top, below):
            return ["mfrac", *(["mrow", ["mo", "∂"], _parsed(part)] for part in (top, below))]
        case Part(key, top):
            return ["mrow", ["msub", ["mi", "∂"], ["mn", str(key + 1)]], _parsed(top)]
        case Upstream(of):
            return ["msub", ["mi", "δ"], _parsed(of)]
        case Symbol():
            return _symbol(name)


def _symbol(name: Symbol) -> Math:
    printable = "".join(c if c.isprintable() else " " for c in name.base)[:LONGEST]
    base: Math = ["mtext" if name.style in ("identifier", "text") else "mi", printable]
    for mark in (_ACCENTS.get(name.accent), "¯" if name.bar else None):
        base = ["mover", base, ["mo", mark]] if mark else base
    pieces: list[Math] = [["mn" if p.isdigit() else "mi", p[:LONGEST]] for p in name.below]
    below = _row([part for p in pieces for part in (["mo", ","], p)][1:]) if pieces else None
    marks: list[Math] = [["mtext", f"({name.version})"]] * bool(name.version)
    marks += [["mo", "⊤"]] * name.transposed
    above = _row(marks) if marks else None
    if below and above and not name.index:
        base = ["msubsup", base, below, above]
    else:
        base = ["msub", base, below] if below else base
        if name.index:
            base = ["mrow", base, ["mtext", name.index]]
        base = ["msup", base, above] if above else base
    return ["mrow", ["mtext", name.path], base] if name.path else base


def _row(parts: list[Math]) -> Math:
    return parts[0] if len(parts) == 1 else ["mrow", *parts]


def written(seen: Seen) -> Math:
    """What was laid out."""
    match seen:
        case layout.Row(parts):
            return ["mrow", *(written(p) for p in parts if p != layout.Sign("@"))]
        case layout.Name(name):
            return _parsed(name)
        case layout.Number(digits, exponent):
            number: Math = ["mn", digits.replace("inf", "∞")]
            power: Math = ["msup", ["mn", "10"], ["mn", exponent.replace("-", "−")]]
            return ["mrow", number, ["mo", "·"], power] if exponent else number
        case layout.Sign(sign):
            return ["mo", _SIGNS.get(sign, sign)]
        case layout.Fraction(above, below):
            return ["mfrac", written(above), written(below)]
        case layout.Power(base, exponent):
            return ["msup", written(base), written(exponent)]
        case layout.Index(base, index):
            return written(base) if _empty(index) else ["msub", written(base), written(index)]
        case layout.Root(of, degree):
            return ["mroot", written(of), ["mn", degree]] if degree else ["msqrt", written(of)]
        case layout.Fenced(fences, parts):
            inner = [part for p in parts for part in (["mo", ","], written(p))][1:]
            return ["mrow", ["mo", fences[0]], *inner, ["mo", fences[1]]]
        case layout.Function(name, settings):
            return ["msub", glyph(name), ["mtext", settings]] if settings else glyph(name)
        case layout.Text(text):
            return ["mtext", text]
        case layout.Constant(sign):
            kind = {"∑": "mo", "⊤": "mo", "𝟏": "mn", "e": "mtext"}  # (a variable e is slanted)
            return [kind.get(sign, "mi"), sign]


def _empty(seen: Seen) -> bool:
    return seen == layout.Constant("")
