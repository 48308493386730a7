"""Names and formulas as runs of styled text: how pictures spell `gradviz.ops.layout`.

Every text in a run is clean, whatever a name holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from gradviz.ops import layout, symbols
from gradviz.ops.functions import PICTURED, Math, glyph
from gradviz.ops.layout import Seen
from gradviz.ops.symbols import ACCENTS, SUBSCRIPTS, Parsed, Part, Slope, Symbol, Upstream
from gradviz.words import clean

from . import measure


@dataclass(frozen=True)
class Run:
    """A piece of text in one style; `scale` and `rise` (in em) make sub- and superscripts."""

    text: str
    font: str = "roman"
    scale: float = 1.0
    rise: float = 0.0
    space: float = 0.0  # before the run, in em

    def width(self, size: float) -> float:
        """Width in pixels at a font size, the space before it not counted."""
        return measure.width(self.text, self.font, size * self.scale)


Runs = tuple[Run, ...]

_SIGNS = {
    "-": "−", ">=": "≥", "<=": "≤", "!=": "≠", "==": "=", "~": "¬", "coefficient *": "·",
    "number *": "·", "*": "·", "@": "", "&": "∧",
}  # fmt: skip
_ABOVE = {"bar": "\N{MACRON}", "hat": "ˆ", "tilde": "˜", "dot": "˙"}
_ROOTS = {"": "√", "3": "∛"}
_THIN = 0.16
_SUB, _SUP = -0.22, 0.36


def number(text: str, font: str = "sans") -> Runs:
    """A formatted number: a true minus sign, and a power of ten instead of ``e-5``."""
    out: list[Run] = []
    position = 0
    for match in re.finditer(r"(?<=[\d.])e([-+]?)0*(\d+)", text):
        out.append(Run(text[position : match.start()].replace("-", "−") + "×10", font))
        sign = "−" if match[1] == "-" else ""
        out.append(Run(sign + match[2], font, 0.72, _SUP))
        position = match.end()
    if position < len(text):
        out.append(Run(text[position:].replace("-", "−"), font))
    return _merge(out)


def _script(runs: Iterable[Run], rise: float) -> list[Run]:
    return [replace(run, scale=run.scale * 0.72, rise=run.rise * 0.72 + rise) for run in runs]


def _letters(text: str) -> Run:
    """Letters of a name: slanted, as mathematics has it, unless the script knows no slant."""
    return Run(text, "italic" if all(ord(character) < 0x530 for character in text) else "roman")


def _upright(text: str) -> Run:
    return Run(clean(text))


def _sum(parts: Iterable[list[Run]], between: str = "") -> list[Run]:
    out: list[Run] = []
    for part in parts:
        out += [Run(between)] * bool(out and between) + part
    return out


def _marked(letter: Run, marks: list[str]) -> list[Run]:
    """A letter under marks of their own: few fonts can set combining ones over every letter."""
    runs = [letter]
    rise = 0.2 if letter.text.isupper() or letter.text in "bdfhkltβδθλξ" else 0.01
    width = measure.width(letter.text, letter.font, 1)
    for n, mark in enumerate(marks):
        own = measure.width(_ABOVE[mark], letter.font, 1)
        over = Run(_ABOVE[mark], "roman", rise=rise + 0.17 * n, space=-(width + own) / 2)
        runs += [over, Run("", space=(width - own) / 2)]
    return runs


def _parsed(name: Parsed) -> list[Run]:
    match name:
        case Slope(top, below):
            return [Run("∂"), *_parsed(top), Run("/∂"), *_parsed(below)]
        case Part(key, top):
            place = "".join(SUBSCRIPTS[int(digit)] for digit in str(key + 1))
            return [Run("∂" + place), *_parsed(top)]
        case Upstream(of):
            return [_letters("δ"), Run("["), *_parsed(of), Run("]")]
        case Symbol():
            return _symbol(name)


def _symbol(name: Symbol) -> list[Run]:
    base = clean(name.base)
    slanted = name.style in ("symbol", "word")
    marks = [name.accent] * bool(name.accent) + ["bar"] * name.bar
    if name.accent:  # many letters have one with the accent on
        composed = unicodedata.normalize("NFC", base + ACCENTS[name.accent])
        if len(composed) == 1:
            base, marks = composed, marks[1:]
    letter = replace(_letters(clean(name.base)), text=base) if slanted else Run(base)
    runs = [letter]
    if marks and base:  # over the first letter
        first = _marked(replace(letter, text=base[0]), marks)
        runs = [*first, replace(letter, text=base[1:])]
    runs += _script(_sum(map(_piece, name.below), ","), _SUB)
    path = [_upright(name.path)] if name.path else []
    index = [_upright(name.index)] if name.index else []
    above = f"({name.version})" * bool(name.version) + "T" * name.transposed
    return path + runs + index + _script([Run(above)] * bool(above), _SUP)


def _piece(piece: str) -> list[Run]:
    """A part of a subscript: letters slanted, digits behind them upright."""
    letters = piece.rstrip("0123456789")
    if not letters.isalpha():
        return [_letters(clean(piece))] if letters else [Run(piece)]
    digits = piece[len(letters) :]
    return [_letters(letters)] + [Run(digits)] * bool(digits)


def formula(seen: Seen) -> Runs:
    """A formula that was laid out in line."""
    return _merge(_written(seen))


def _written(seen: Seen) -> list[Run]:
    match seen:
        case layout.Row(parts):
            return _sum(
                _sign(part.sign, unary=not i) if isinstance(part, layout.Sign) else _written(part)
                for i, part in enumerate(parts)
            )
        case layout.Name(symbol):
            return _parsed(symbol)
        case layout.Number(digits, exponent):
            return list(number(digits + f"e{exponent}" * bool(exponent), "roman"))
        case layout.Sign(sign):
            return _sign(sign)
        case layout.Fraction(above, below):
            return [*_written(above), Run(" / "), *_written(below)]
        case layout.Power(base, exponent):
            return _power(base, exponent)
        case layout.Index(base, index):
            return _written(base) + _written(index)
        case layout.Root(of, degree):
            return [Run(_ROOTS[degree] + "("), *_written(of), Run(")")]
        case layout.Fenced(fences, parts):
            return [Run(fences[0]), *_sum(map(_written, parts), ", "), Run(fences[1])]
        case layout.Function(name, settings):
            said = _glyph(glyph(name)) if name in PICTURED else [_upright(name)]
            return said + [_upright(f"[{settings}]")] * bool(settings)
        case layout.Text(text):
            return [_upright(text)]
        case layout.Constant(sign):
            return [Run(sign)]


def _power(base: Seen, exponent: Seen) -> list[Run]:
    if isinstance(base, layout.Name) and isinstance(base.symbol, Symbol) and base.symbol.version:
        if exponent == layout.TRANSPOSED:
            return _parsed(replace(base.symbol, transposed=True))
        # h(2)**2: the power is not to be read as one number with the version.
        base = layout.Fenced("()", (base,))
    above = [Run("T")] if exponent == layout.TRANSPOSED else _merge(_written(exponent))
    return _written(base) + _script(above, _SUP)


def _sign(sign: str, unary: bool = False) -> list[Run]:
    shown = _SIGNS.get(sign, sign)
    if sign == "@" or shown == "·":
        return [Run(shown, space=_THIN), Run("", space=_THIN)]
    return [Run(shown if unary or sign == "=" else f" {shown} ")]


def _glyph(tree: Math) -> list[Run]:
    """What a function's name looks like."""
    tag, *parts = tree
    if tag in ("mi", "mn", "mo", "mtext"):
        text = clean(parts[0])
        return [_letters(text) if tag == "mi" and len(text) == 1 else Run(text)]
    if tag == "mrow":
        return _sum(map(_glyph, parts))
    base, *scripts = map(_glyph, parts)
    rises = {"msub": [_SUB], "msup": [_SUP], "msubsup": [_SUB, _SUP]}.get(tag, [])
    return base + _sum(_script(part, rise) for part, rise in zip(scripts, rises, strict=False))


def expression(text: str, seen: Seen | None = None) -> Runs:
    """What a card says of a value: a formula, or words where there is none."""
    if not text or seen is not None:
        return formula(seen) if text and seen is not None else ()
    return _merge(_sum(([*name(word)] for word in clean(text).split(" ")), " "))


def name(text: str) -> Runs:
    """A node's name as runs; ``h(2)`` is the second value that was assigned to ``h``."""
    return _merge(_parsed(symbols.parse(clean(text)))) or (Run("(no name)"),)


def plain(text: str, font: str = "sans") -> Runs:
    """Harmless text in one font."""
    return _merge([Run(clean(text), font)])


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """A sentence in its symbols, numbers and the text between them.

    What is plainly a symbol has a subscript, an accent or a ∂.
    """
    for i, word in enumerate(clean(text).split(" ")):
        bare = word.strip(",.;:()")
        blank = " " * bool(i)
        version = re.match(r"\(\d+\)", word[word.find(bare) + len(bare) :]) if bare else None
        bare += version[0] if version else ""
        if bare and _plainly(symbols.parse(bare)):
            head, _, tail = word.partition(bare)
            yield from (("text", blank + head), ("symbol", bare), ("text", tail))
        elif re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?", bare):
            yield from (("text", blank), ("number", word))
        else:
            yield "text", blank + word


def _plainly(name: Parsed) -> bool:
    match name:
        case Slope(top, below):
            return all(isinstance(n, Symbol) and n.style != "text" for n in (top, below))
        case Symbol():
            return bool(name.below or name.accent) and not (name.path or name.index)
    return True


def prose(text: str, font: str = "sans") -> Runs:
    """A sentence, with the names in it that are plainly symbols set as mathematics."""
    runs: list[Run] = []
    for kind, piece in pieces(text):
        if kind == "text":
            runs.append(Run(piece, font))
        else:
            runs += name(piece) if kind == "symbol" else number(piece, font)
    return _merge(runs)


def _merge(runs: Iterable[Run]) -> Runs:
    """Join neighbours of one style and turn outer blanks into space, which XML would not keep."""
    out: list[Run] = []
    space = 0.0
    for run in runs:
        blank = measure.width(" ", run.font, 1)
        stripped = run.text.strip(" ")
        leading = len(run.text) - len(run.text.lstrip(" "))
        trailing = len(run.text.rstrip(" ")) and len(run.text) - len(run.text.rstrip(" "))
        space += run.space + leading * blank * run.scale
        if stripped:
            last = out[-1] if out else None
            if last and (last.font, last.scale, last.rise) == (run.font, run.scale, run.rise):
                out[-1] = replace(last, text=last.text + (" " if space else "") + stripped)
            else:
                out.append(replace(run, text=stripped, space=space if out else 0.0))
            space = trailing * blank * run.scale
    return tuple(out)


def line_width(runs: Runs, size: float) -> float:
    """Width in pixels of runs set in one line."""
    return sum(run.space * size + run.width(size) for run in runs)


def elide(runs: Runs, size: float, limit: float) -> Runs:
    """`runs`, cut with an ellipsis where they grow wider than `limit` pixels."""
    if line_width(runs, size) <= limit:
        return runs
    room = limit - size  # an ellipsis is one em wide
    out: list[Run] = []
    for run in runs:
        step = run.space * size + run.width(size)
        if step <= room:
            out.append(run)
            room -= step
            continue
        text = run.text
        while text and replace(run, text=text).width(size) + run.space * size > room:
            text = text[:-1]
        if text.strip():
            out.append(replace(run, text=text.strip()))
        break
    return _merge([*out, Run("…")])


def placed(runs: Runs, size: float) -> Iterator[tuple[Run, float, float]]:
    """Each run with its x offset and its width, in pixels."""
    x = 0.0
    for run in runs:
        x += run.space * size
        step = run.width(size)
        yield run, x, step
        x += step


def to_text(runs: Runs) -> str:
    """The runs as one line of plain text."""
    return "".join((" " if run.space else "") + run.text for run in runs)
