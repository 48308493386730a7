"""How wide a text is, without asking any font.

A picture is laid out before anyone knows which machine will show it, so widths come from tables:
the advance widths, in thousandths of an em, that Adobe publishes for Helvetica, Helvetica-Bold,
Times-Roman and Times-Italic ("Core 14 AFM files"). Arial, Liberation, Arimo, Tinos and Nimbus keep
them exactly; for every other font the picture states the width and the viewer fits the glyphs.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

FAMILIES = {
    "sans": "Helvetica, Arial, 'Liberation Sans', Arimo, 'Nimbus Sans', sans-serif",
    "serif": "Times, 'Times New Roman', 'Liberation Serif', Tinos, 'Nimbus Roman', serif",
}
ASCENT, DESCENT = 0.91, 0.22  # of the tallest of those fonts, in em

_ASCII = {  # the characters from space to tilde
    "sans": """
        278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556
        556 556 556 556 556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278
        500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469
        556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500
        278 556 500 722 500 500 500 334 260 334 584""",
    "bold": """
        278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556
        556 556 556 556 556 333 333 584 584 584 611 975 722 722 722 722 667 611 778 722 278
        556 722 611 833 722 778 667 778 722 667 611 722 667 944 667 667 611 333 278 333 584
        556 333 556 611 556 611 556 333 611 611 278 278 556 278 889 611 611 611 611 389 556
        333 611 556 778 556 556 500 389 280 389 584""",
    "roman": """
        250 333 408 500 500 833 778 180 333 333 500 564 250 333 250 278 500 500 500 500 500
        500 500 500 500 500 278 278 564 564 564 444 921 722 667 667 722 611 556 722 722 333
        389 722 611 889 722 722 556 722 667 556 611 722 722 944 722 722 611 333 278 333 469
        500 333 444 500 444 500 444 333 500 500 278 278 500 278 778 500 500 500 500 333 389
        278 500 500 722 500 500 444 480 200 480 541""",
    "italic": """
        250 333 420 500 500 833 778 214 333 333 500 675 250 333 250 278 500 500 500 500 500
        500 500 500 500 500 333 333 675 675 675 500 920 611 611 667 722 611 611 722 722 333
        444 667 556 833 667 722 611 722 611 500 556 722 611 833 611 556 556 389 278 389 422
        500 333 500 500 444 500 444 278 500 500 278 278 444 278 722 500 500 500 500 389 389
        278 500 444 667 444 444 389 400 275 400 541""",
}
_WIDTHS = {font: tuple(map(int, table.split())) for font, table in _ASCII.items()}
_SYMBOLS = {
    **dict.fromkeys("∂δζηνορτυ", 500), **dict.fromkeys("αβγθκλμξπσχ", 560), "ι": 290,
    **dict.fromkeys("φψωϕ", 720), **dict.fromkeys("−×±√≈≤≥≠∞÷", 584), "·": 300, "…": 1000,
    "→": 1000, "Σ": 610, "∑": 713, "∏": 823, "\u2009": 170, "¯": 333, "²": 320, "³": 320, "∅": 780,
    "‖": 500,
}  # fmt: skip


@lru_cache(maxsize=4096)
def _advance(character: str, font: str) -> float:
    code = ord(character)
    if 32 <= code < 127:
        return _WIDTHS[font][code - 32]
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 1000 if code < 0x1F000 else 1250  # emoji fonts draw wider than one em
    base = unicodedata.normalize("NFD", character)[0]
    if base != character:
        return _advance(base, font)
    return 640


def width(text: str, font: str, size: float) -> float:
    """Width of `text` in pixels; `font` is "sans", "bold", "roman" or "italic"."""
    total, joined = 0.0, False
    for character in text:  # emoji joined by U+200D are one picture
        total += 0 if joined and ord(character) >= 0x2000 else _advance(character, font)
        joined = character == "\u200d"
    return total * size / 1000
