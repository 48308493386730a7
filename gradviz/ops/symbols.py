"""Names as mathematics: parsed once here, for every printer.

The rule. A name is a *symbol* if its base is one letter or a Greek letter's name (``z``, ``theta``,
``lam``), whatever follows it: ``w_1``, ``w1``, ``z_o1``, ``a_h1`` have subscripts, ``theta_hat``
an accent. A base of two or three letters is a symbol with digits or a subscript of at most two
characters: ``fc1``, ``net_h1``. Every other name with an underscore is an *identifier*: upright
text that is shown as it is written, ``lm_head``, ``hidden_states``, ``hidden_size``. A name of
letters alone is a *word*, slanted: ``loss``, and ``pi``, which is not the number π. What stands
before the last point, ``fc1.``, is upright; ``h(2)`` is the second value that was assigned to h,
``W[0]`` a part. A bar says that it is the gradient. Anything else is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

MACRON = "\N{COMBINING MACRON}"
SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"
GREEK = dict(zip(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(),
    "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", strict=True,
))  # fmt: skip
"""By LaTeX's name, the letter."""
_LETTERS = GREEK | {"lambda_": "λ", "lam": "λ", "eps": "ε"}
ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "dot": "\u0307"}


@dataclass(frozen=True)
class Symbol:
    """A name in its parts.

    Attributes
    ----------
    base : str
        A letter, Greek ones as such, or what is shown of a word, an identifier, a text.
    style : {"symbol", "word", "identifier", "text"}
        The first two are slanted, the others upright.
    below : tuple of str
        The parts of the subscript, Greek letters as such.
    accent : {"", "hat", "tilde", "dot"}
    bar : bool
        It is the gradient of what the name says.
    path, index, version : str
        Before the base (``fc1.``), behind it (``[0]``), and above it (the 2 of ``h(2)``).
    transposed : bool
    """

    base: str
    style: str = "symbol"
    below: tuple[str, ...] = ()
    accent: str = ""
    bar: bool = False
    path: str = ""
    index: str = ""
    version: str = ""
    transposed: bool = False


@dataclass(frozen=True)
class Slope:
    """∂top/∂below: the derivative over all ways from one to the other."""

    top: Parsed
    below: Parsed


@dataclass(frozen=True)
class Part:
    """∂₁top: the derivative by the operand at position `key` alone."""

    key: int
    top: Parsed


@dataclass(frozen=True)
class Upstream:
    """δ[of]: the upstream term of a scalar."""

    of: Parsed


Parsed = Symbol | Slope | Part | Upstream

_SLOPE = re.compile(r"∂(.+)/∂(.+)", re.DOTALL)
_PART = re.compile(r"∂([₀-₉]+)(.+)", re.DOTALL)
_UPSTREAM = re.compile(r"δ\[(.+)\]", re.DOTALL)
_NAME = re.compile(
    r"(?P<path>(?:\w+(?:\[\w+\])*\.)*)(?P<word>\w+)(?P<index>(?:\[\w+(?:,\w+)*\])*)"
    r"(?:\((?P<version>\d+)\))?(?P<entry>(?:\[\d+(?:,\d+)*\])?)"
)
_WORD = re.compile(r"([^\W\d_]+)(?:_(\w*[^\W_])|(\d+))")
_PIECE = re.compile(r"([^\W\d]*)(\d*)")


@lru_cache(maxsize=4096)
def parse(name: str) -> Parsed:
    """What a name says; any text is a name."""
    if found := _SLOPE.fullmatch(name):
        return Slope(parse(found[1]), parse(found[2]))
    if alone := part(name):
        return Part(alone[1], parse(alone[0]))
    if found := _UPSTREAM.fullmatch(name):
        return Upstream(parse(found[1]))
    bar = MACRON in name
    written = name.replace(MACRON, "")
    transposed = written.endswith(".T")
    found = _NAME.fullmatch(written.removesuffix(".T"))
    if found is None or not re.search(r"[^\W\d_]", found["word"]):
        return Symbol(written, "text", bar=bar)
    base, style, below, accent = _word(found["word"])
    path, version = found["path"], found["version"] or ""
    index = found["index"] + found["entry"]
    return Symbol(base, style, below, accent, bar, path, index, version, transposed)


def part(name: str) -> tuple[str, int] | None:
    """Of the symbol ∂₁top the name and the operand's position; None for any other name."""
    found = None if "/∂" in name else _PART.fullmatch(name)
    if found is None:
        return None
    return found[2], int("".join(str(SUBSCRIPTS.index(digit)) for digit in found[1])) - 1


def _word(word: str) -> tuple[str, str, tuple[str, ...], str]:
    """Base, style, subscript and accent."""
    if word in _LETTERS and word != "pi":
        return _LETTERS[word], "symbol", (), ""
    found = _WORD.fullmatch(word)
    if found is not None:
        base, named, digits = found.groups()
        letter = _LETTERS.get(base, base)
        short = len(base) <= 3 and len(named or "") <= 2
        if len(letter) == 1 or short:
            below = [piece for piece in (digits or named).split("_") if piece]
            accent = below.pop(0) if len(letter) == 1 and below[0] in ACCENTS else ""
            return letter, "symbol", tuple(map(_greek, below)), accent
    if "_" in word:
        return word, "identifier", (), ""
    return word, "symbol" if len(word) == 1 else "word", (), ""


def _greek(piece: str) -> str:
    """A part of a subscript: ``alpha`` and ``alpha1`` with the letter."""
    if piece in _LETTERS:
        return _LETTERS[piece]
    found = _PIECE.fullmatch(piece)
    return _LETTERS.get(found[1], found[1]) + found[2] if found else piece
