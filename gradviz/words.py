"""Words for whoever reads: numbers, arrays and places written short, lists, names that miss.

Every text that comes from outside passes through `clean` here: one place makes it harmless.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from gradviz.language import say, several, some, speaking
from gradviz.statistics import Statistics


class Site(NamedTuple):
    """A line of the program.

    >>> site = Site("/home/ada/net.py", 7, "z = w @ x + b")
    >>> str(site), site.place
    ('/home/ada/net.py:7: z = w @ x + b', 'net.py:7: z = w @ x + b')
    """

    file: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """The same for anybody to read: the file's name, not where its author keeps it.

        A notebook's cell has no name that its reader knows.
        """
        name = "notebook cell" if "ipykernel_" in self.file else os.path.basename(self.file)
        return f"{name}:{self.line}: {self.text}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def clean(text: str, limit: int = 2000) -> str:
    """`text` on one line, without characters that control anything.

    Control characters, bidi overrides, lone surrogates and the like are shown as escapes; white
    space becomes one blank; more than two combining marks on one letter are dropped, for they
    would climb out of any box.
    """
    if text.isascii() and text.isprintable():
        short = " " not in text and len(text) <= limit
        return text if short else " ".join(text[:limit].split())
    out: list[str] = []
    marks = 0
    for character in text[:limit]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category == "Zs":
            out.append(" ")
        elif category[0] in "CZ" and character not in "\u200c\u200d":  # joiners shape letters
            out.append(character.encode("unicode_escape").decode())
        elif marks <= 2:
            out.append(character)
    return " ".join("".join(out).split())


def ordinal(n: int) -> str:
    """A number in a sequence.

    >>> ordinal(1), ordinal(12), ordinal(23)
    ('1st', '12th', '23rd')
    """
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}th" if n % 100 in (11, 12, 13) else f"{n}{ending}"


def size(count: int) -> str:
    """So many bytes.

    >>> size(0), size(999), size(1234), size(32_000_000)
    ('0 B', '999 B', '1.23 kB', '32 MB')
    """
    for power, unit in enumerate(("B", "kB", "MB", "GB")):
        if count < 999.5 * 1000**power:
            return f"{count / 1000**power:.3g} {unit}"
    return f"{count / 1e12:,.3g} TB"


def which_ranks(ranks: Sequence[int]) -> str:
    """Ranks in words, those that follow each other as a span.

    >>> which_ranks((3,)), which_ranks((0, 1, 2, 5)), which_ranks((0, 1))
    ('rank 3', 'ranks 0 to 2 and 5', 'ranks 0 and 1')
    """
    spans: list[list[int]] = []
    for rank in ranks:
        if spans and rank == spans[-1][-1] + 1:
            spans[-1].append(rank)
        else:
            spans.append([rank])
    parts = [
        part
        for span in spans
        for part in (
            [say("{a} to {b}", a=span[0], b=span[-1])] if len(span) > 2 else map(str, span)
        )
    ]
    return say("rank {names}" if len(ranks) == 1 else "ranks {names}", names=several(parts))


# In English whatever is spoken: for errors.
counted = speaking("en")(some)
joined = speaking("en")(several)


def listed(names: Iterable[str], most: int = 3) -> str:
    """The first names, each once, and how many more there are."""
    return joined(names, most)


STATES = {
    "not computed": "not computed",
    "disconnected": "no path to {J}",
    "zero": "0 exactly",
    "underflown": "0 by underflow",
    "non-finite": "non-finite",
}


def choose(kind: str, value: object, allowed: Iterable[str]) -> str:
    """`value`, if it is one of `allowed`; else a ValueError that names them and the nearest."""
    names = list(allowed)
    if isinstance(value, str) and value in names:
        return value
    raise ValueError(unknown(kind, value, names))


def nearest(name: str, names: Iterable[str], most: int = 8) -> str:
    """The names that are most like one that does not exist; if none is, the first ones.

    >>> nearest("wieght", ["bias", "weight"]), nearest("x", ["bias", "weight"])
    ('weight', 'bias, weight')
    """
    found = list(names)
    return ", ".join(difflib.get_close_matches(name, found, 3, 0.4) or found[:most])


def no_name(given: object, names: Sequence[str]) -> str:
    """Words for what is given in the place of a value's name."""
    first, *more = names[:2] or ["w"]
    others = f", several as {first!r}, {more[0]!r}" if more else ""
    return f"{type(given).__name__} is no name of a value: write one as {first!r}{others}"


def names_of(given: object, what: str) -> tuple[Any, ...]:
    """One name, or a sequence of names, as a tuple."""
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable):
        raise TypeError(f"{what}={given!r}: give a name, or a list of names")
    return tuple(given)


def unknown(kind: str, value: object, names: list[str]) -> str:
    """Words for what does not exist: what there is, and what is nearest."""
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    shown = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
    return f"no {kind} {value!r}{hint}; there is: {shown or 'none'}"


def number(value: object, digits: int = 5) -> str:
    """One number (or any object) in at most about a dozen characters.

    >>> number(0.2983711087600027), number(1e-300), number(True), number(-3)
    ('0.29837', '1e-300', 'True', '-3')
    """
    if not isinstance(value, float) and (item := getattr(value, "item", None)) is not None:
        with contextlib.suppress(TypeError, ValueError):
            value = item()
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**9 else _power(f"{float_or_inf(value):.{digits - 1}e}")
    if isinstance(value, float):
        return _power(f"{float(value) + 0.0:.{digits}g}")  # -0.0 + 0.0 is 0.0
    if isinstance(value, complex):
        sign = "-" if value.imag < 0 or str(value.imag).startswith("-") else "+"
        real, imaginary = number(value.real, digits - 1), number(abs(value.imag), digits - 1)
        return f"{real} {sign} {imaginary}i"
    try:
        text = clean(repr(value), 60)
    except Exception:  # a foreign __repr__ may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 18 else text[:17] + "…"


def span(least: float, most: float) -> str:
    """A range of sizes, or the one size that all have."""
    return " … ".join(dict.fromkeys(number(end, 3) for end in (least, most)))


def float_or_inf(value: int) -> float:
    """An int of any size as a float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _power(text: str) -> str:
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def shape(value: Any) -> str:
    """The shape as a reader writes it: ``3×4``; empty for a single number."""
    return "×".join(map(str, getattr(value, "shape", ())))


@cache
def named(dtype: Any) -> str:
    """What a type of numbers is called; NumPy takes its time to say it."""
    return str(dtype)


STATISTICS = ("min", "mean", "max")
SIDE, LINE = 4, 8  # an array of so many lines and columns is small, or of so many in one line
LISTED = 22  # a list of so many characters is shown; a longer one as statistics


def cells(value: Any) -> tuple[str, ...]:
    """What a card shows of a value: one cell, or the cells min, mean, max of a larger array."""
    if not getattr(value, "shape", ()):
        return (number(value.mean if isinstance(value, Statistics) else value),)
    if value.size == 0:
        return (say("empty"),)
    if isinstance(value, Statistics):
        if value.low == value.high:
            return (say("all {x}", x=number(value.low, 4)),)
        return tuple(number(x, 3) for x in (value.low, value.mean, value.high))
    kind = value.dtype.kind
    if kind not in "biufc":
        return (_nested(value) if value.size <= 4 else say("{n} objects", n=value.size),)
    listed = _nested(value) if value.size <= 4 else ""
    if value.size == 1 or 0 < len(listed) <= LISTED:
        return (listed,)
    import numpy as np

    with np.errstate(all="ignore"):
        real = np.abs(value) if kind == "c" else value
        low, high = real.min(), real.max()
        if not low < high and (value == value.flat[0]).all():
            return (say("all {x}", x=number(value.flat[0], 4)),)
        if entries(value):
            return (_nested(value, _digits(value)),)
        return tuple(number(x, 3) for x in (low, real.mean(dtype=float), high))


def entries(value: Any) -> tuple[tuple[str, ...], ...]:
    """The entries of a small array, line by line; none of a larger one, or of what is no array.

    >>> import numpy as np
    >>> entries(np.eye(2)), entries(np.arange(3) / 3)
    ((('1', '0'), ('0', '1')), (('0', '0.333', '0.667'),))
    """
    dimensions = getattr(value, "shape", ())
    if len(dimensions) not in (1, 2) or isinstance(value, Statistics):
        return ()
    lines, across = (1, *dimensions)[-2:]
    small = across <= LINE if lines == 1 else max(lines, across) <= SIDE
    kind = value.dtype.kind
    if not small or value.size < 2 or kind not in "biufc" or (kind == "c" and value.size > SIDE):
        return ()
    digits = _digits(value)
    return tuple(
        tuple(number(item, digits) for item in line) for line in value.reshape(lines, across)
    )


def _digits(value: Any) -> int:
    return 4 if value.size < 3 else 3


def _nested(value: Any, digits: int = 0) -> str:
    digits = digits or _digits(value)
    parts = [
        _nested(item, digits) if getattr(item, "shape", ()) else number(item, digits)
        for item in value
    ]
    return "[" + ", ".join(parts) + "]"


def local(value: Any) -> str:
    """A local derivative in few characters: a number, a short list, or a range."""
    if value is None:
        return ""
    if not getattr(value, "shape", ()):
        return number(value, 4)
    texts = cells(value)
    if len(texts) == 3:
        return f"{texts[0]} … {texts[2]}"
    if isinstance(value, Statistics) or value.size < 2 or value.dtype.kind not in "biufc":
        return texts[0] if len(texts[0]) <= LISTED else shape(value)
    if (value == value.flat[0]).all():
        return say("all {x}", x=number(value.flat[0], 4))
    if len(texts[0]) <= LISTED:
        return texts[0]
    complex_ = value.dtype.kind == "c"
    return shape(value) if complex_ else f"{number(value.min(), 3)} … {number(value.max(), 3)}"


def full(value: Any, texts: Sequence[str] = ()) -> str:
    """A value with all its digits, for a tooltip; of a large array the shape and statistics.

    These are its `texts`, if its `cells` are known.
    """
    if getattr(value, "shape", ()) and (value.size > 16 or isinstance(value, Statistics)):
        texts = texts or cells(value)
        names = STATISTICS if len(texts) == 3 else ("",)
        parts = (f"{say(a)} {b}".strip() for a, b in zip(names, texts, strict=True))
        return f"{shape(value)} {named(value.dtype)}: " + ", ".join(parts)
    if isinstance(value, Statistics):
        value = value.mean  # of a single number, the number
    try:
        return clean(str(value.tolist() if hasattr(value, "tolist") else value), 400)
    except Exception:  # a foreign __str__ may raise anything
        return f"<{type(value).__name__}>"
