"""How things look: colours, and numbers written short."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any

from gradviz.graph import place as _place
from gradviz.statistics import Statistics

from .mathtext import clean

# Colour-blind safe: the hues are Okabe and Ito's (2008), darkened or lightened until text in them
# has a contrast of at least 4.5 on its ground. No colour is ever the only sign of anything.
LIGHT = {
    "ground": "#ffffff", "ink": "#1b2330", "soft": "#5c6775", "line": "#aab4c0",
    "edge": "#7d8896", "pill": "#ffffff", "pill-line": "#d5dbe3", "halo": "#ffffff",
    "group": "#f5f7fa", "group-line": "#d3dae3",
    "value": "#00609c", "gradient": "#b04a00",
    "input": "#eaf3fb", "parameter": "#fdf3e1", "constant": "#f0f1f3", "operation": "#ffffff",
    "output": "#f6eef5", "gradient-card": "#fff5ee",
    "fold-card": "#eef1f8", "sick": "#b3261e", "sick-card": "#fdeceb",
    "target": "#a03a78", "target-card": "#fbeaf4",
    "computed": "#00775a", "computed-card": "#e4f5ef",
    "cached": "#8a6500", "cached-card": "#fff2c2", "read": "#c25400",
    "path1": "#0072b2", "path2": "#d55e00", "path3": "#009e73",
    "path4": "#b0588d", "path5": "#a97700", "path6": "#3a97c9",
}  # fmt: skip
DARK = {
    "ground": "#12171e", "ink": "#e9edf2", "soft": "#9aa6b4", "line": "#55616f",
    "edge": "#7f8b99", "pill": "#1b222b", "pill-line": "#3a4552", "halo": "#12171e",
    "group": "#171d26", "group-line": "#333e4b",
    "value": "#7cc4f5", "gradient": "#ffab73",
    "input": "#172a3a", "parameter": "#2f2718", "constant": "#22272e", "operation": "#1c232c",
    "output": "#2d2130", "gradient-card": "#2c2119",
    "fold-card": "#1d2433", "sick": "#ff8a80", "sick-card": "#3a1c1b",
    "target": "#ee9fd0", "target-card": "#3a2033",
    "computed": "#4fd0a8", "computed-card": "#15332a",
    "cached": "#f2ce4e", "cached-card": "#3a3011", "read": "#ff9248",
    "path1": "#56b4e9", "path2": "#ff8f3a", "path3": "#2fcf9f",
    "path4": "#e69ac6", "path5": "#f0c93f", "path6": "#9fd6f7",
}  # fmt: skip
PALETTES = {"light": LIGHT, "dark": DARK, "auto": LIGHT}
PATHS = 6
# Dashes tell paths apart where colour cannot; the first path is a solid line.
DASHES = ("", "8 4", "2 4", "11 4 2 4", "5 5", "14 3 2 3 2 3")


def token(role: str, default: str = "") -> str:
    """The palette entry of a role; "path 7" begins again at the first colour."""
    name = role.replace(" ", "")
    if name.startswith("path") and name[4:].isdigit():
        return f"path{(int(name[4:]) - 1) % PATHS + 1}"
    return name if name in LIGHT else default


def dash(role: str) -> str:
    """The dash pattern of a role's line, as SVG writes it; empty for a solid line."""
    name = token(role)
    return DASHES[int(name[4:]) - 1] if name.startswith("path") else ""


STATES = {
    "not computed": "not computed",
    "disconnected": "no path to {}",
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


def unknown(kind: str, value: object, names: list[str]) -> str:
    """Words for what does not exist: what there is, and what is nearest."""
    import difflib

    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    shown = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
    return f"no {kind} {value!r}{hint}; there is: {shown or 'none'}"


def number(value: object, digits: int = 5) -> str:
    """One number (or any object) in at most about a dozen characters.

    >>> number(0.2983711087600027), number(1e-300), number(True), number(-3)
    ('0.29837', '1e-300', 'True', '-3')
    """
    item = getattr(value, "item", None)
    if item is not None:
        with contextlib.suppress(TypeError, ValueError):
            value = item()
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**9 else _power(f"{float_or_inf(value):.{digits - 1}e}")
    if isinstance(value, float):
        return _power(f"{value:.{digits}g}")
    if isinstance(value, complex):
        sign = "-" if value.imag < 0 or str(value.imag).startswith("-") else "+"
        real, imaginary = number(value.real, digits - 1), number(abs(value.imag), digits - 1)
        return f"{real} {sign} {imaginary}i"
    try:
        text = clean(repr(value), 60)
    except Exception:  # a foreign __repr__ may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 18 else text[:17] + "…"


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


STATISTICS = ("min", "mean", "max")
LISTED = 22  # a list of so many characters is shown; a longer one as statistics


def cells(value: Any) -> tuple[str, ...]:
    """What a card shows of a value: one cell, or the cells min, mean, max of a larger array."""
    if not getattr(value, "shape", ()):
        return (number(value.mean if isinstance(value, Statistics) else value),)
    if value.size == 0:
        return ("empty",)
    if isinstance(value, Statistics):
        if value.low == value.high:
            return (f"all {number(value.low, 4)}",)
        return tuple(number(x, 3) for x in (value.low, value.mean, value.high))
    kind = value.dtype.kind
    listed = _nested(value) if value.size <= 4 or kind not in "biufc" else ""
    if kind not in "biufc" or value.size == 1 or 0 < len(listed) <= LISTED:
        return (listed,)
    import numpy as np

    with np.errstate(all="ignore"):
        real = np.abs(value) if kind == "c" else value
        low, high = real.min(), real.max()
        if low == high:
            return (f"all {number(low, 4)}",)
        return tuple(number(x, 3) for x in (low, real.mean(dtype=float), high))


def _nested(value: Any) -> str:
    if value.ndim == 0:
        return number(value, 4)
    if value.size > 4:
        return f"{value.size} objects"
    parts = [
        _nested(item) if getattr(item, "shape", ()) else number(item, 4 if value.size < 3 else 3)
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
    if len(texts) == 1:
        return texts[0] if len(texts[0]) <= LISTED else shape(value)
    return f"{texts[0]} … {texts[2]}"


def full(value: Any) -> str:
    """A value with all its digits, for a tooltip; of a large array the shape and statistics."""
    if getattr(value, "shape", ()) and (value.size > 16 or isinstance(value, Statistics)):
        texts = cells(value)
        names = STATISTICS if len(texts) == 3 else ("",)
        parts = (f"{a} {b}".strip() for a, b in zip(names, texts, strict=True))
        return f"{shape(value)} {value.dtype}: " + ", ".join(parts)
    if isinstance(value, Statistics):
        value = value.mean  # of a single number, the number
    try:
        return clean(str(value.tolist() if hasattr(value, "tolist") else value), 400)
    except Exception:  # a foreign __str__ may raise anything
        return f"<{type(value).__name__}>"


def place(source: tuple[str, int, str]) -> str:
    """See `gradviz.graph.place`; of untrusted text what is printable."""
    return clean(_place(source))
