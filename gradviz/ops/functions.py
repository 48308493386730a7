r"""How functions are written: one table for every printer.

LaTeX is what an entry says. What it looks like elsewhere is read from it (`glyph`): a symbol such
as ``\sigma_+`` is a letter with a subscript in MathML and in pictures too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from gradviz.ops.symbols import GREEK

Math = list[Any]
"""``[element, child, ...]`` of MathML; the one child of mi, mn, mo and mtext is a string."""

LATEX = {"sigmoid": r"\sigma"}
"""By the name in a formula; a row enters its own, any other name is set as it is."""

PICTURED: set[str] = set()
"""Functions whose symbol stands in pictures too, where others have the program's own name."""

FENCES = {"abs": "||", "norm": "‖‖", "floor": "⌊⌋", "ceil": "⌈⌉"}
"""Functions of one argument that mathematics writes as brackets."""

_OWN = frozenset(
    "ln log max min sin cos tan sinh cosh tanh coth cot sec csc arcsin arccos arctan det exp arg "
    "dim gcd hom inf ker lg lim Pr sup deg".split()
)
_LARGE = {"sum": "∑", "prod": "∏", "int": "∫"}
_FACES = frozenset(
    "operatorname mathrm mathit mathbf mathsf mathtt mathcal text textrm boldsymbol".split()
)
_SILENT = frozenset("textstyle displaystyle limits nolimits quad".split())
_SIGNS = {
    "pm": "±", "times": "×", "cdot": "·", "star": "⋆", "ast": "∗", "circ": "∘", "oplus": "⊕",
    "otimes": "⊗", "odot": "⊙", "partial": "∂", "nabla": "∇", "ell": "ℓ", "infty": "∞",
    "top": "⊤", "prime": "′", "varepsilon": "ε", "varphi": "φ", "vartheta": "ϑ",
}  # fmt: skip
_ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~", "dot": "˙", "vec": "→"}
_TOKEN = re.compile(r"\\([A-Za-z]+)\*?\s*|\\(.)|\s+|(.)", re.DOTALL)


def name_function(function: str, latex: str) -> None:
    """Say how the name of a function is set, in LaTeX; pictures and pages follow."""
    LATEX[function] = latex
    PICTURED.add(function)


def glyph(function: str) -> Math:
    """What a function's name looks like, as MathML; its plain name where LaTeX says what is not
    known here.
    """
    return _read(function, LATEX.get(function, ""))


@lru_cache(maxsize=1024)
def _read(function: str, latex: str) -> Math:
    tokens = [t for t in _TOKEN.finditer(latex) if t[0].strip()]
    try:
        items, rest = _items(tokens, 0)
    except (LookupError, ValueError):
        items, rest = [], 0
    return _row(items) if items and rest == len(tokens) else ["mi", function]


def _row(items: list[Math]) -> Math:
    return items[0] if len(items) == 1 else ["mrow", *items]


def _items(tokens: list[re.Match[str]], i: int) -> tuple[list[Math], int]:
    """What is read up to the end or a closing brace, and where that stands."""
    items: list[Math] = []
    while i < len(tokens) and tokens[i][0] != "}":
        if tokens[i][0] in ("^", "_"):
            mark, base = tokens[i][0], items.pop()
            script, i = _argument(tokens, i + 1)
            if base[0] == ("msub" if mark == "^" else "msup"):
                pair = (base[2], script) if mark == "^" else (script, base[2])
                items.append(["msubsup", base[1], *pair])
            else:
                items.append(["msup" if mark == "^" else "msub", base, script])
        elif tokens[i][1] in _SILENT or tokens[i][2] in (",", "!", ";", " "):
            i += 1
        else:
            item, i = _argument(tokens, i)
            items.append(item)
    return items, i


def _argument(tokens: list[re.Match[str]], i: int) -> tuple[Math, int]:
    """One symbol or group, and what comes after it."""
    command, escaped, character = tokens[i].groups()
    if character == "{":
        items, end = _items(tokens, i + 1)
        _ = tokens[end]  # it has to be closed
        return _row(items), end + 1
    if command in _FACES:
        end = next(j for j in range(i + 1, len(tokens)) if tokens[j][0] == "}")
        text = "".join(t[2] or t[3] or "" for t in tokens[i + 2 : end])
        if tokens[i + 1][0] != "{" or not text or any(t[1] for t in tokens[i + 2 : end]):
            raise ValueError(command)
        return ["mi" if text.isalnum() else "mtext", text], end + 1
    if command in _ACCENTS:
        below, end = _argument(tokens, i + 1)
        return ["mover", below, ["mo", _ACCENTS[command]]], end
    if command:
        if command in _OWN:
            return ["mi", command], i + 1
        if command in _LARGE:
            return ["mo", _LARGE[command]], i + 1
        letter = GREEK.get(command) or _SIGNS[command]
        return ["mi" if letter.isalpha() else "mo", letter], i + 1
    text = escaped or character
    return ["mn" if text.isdigit() else "mi" if text.isalpha() else "mo", text], i + 1
