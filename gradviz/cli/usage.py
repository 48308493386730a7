"""What a command line says: its words, read as names and values, and what is wrong with them."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import unicodedata
from typing import Any

import click
import numpy as np


class Misuse(click.ClickException):
    """Wrong usage, reported in one line."""

    exit_code = 2


def one_line(error: BaseException) -> str:
    """An error's message, at most some 500 characters of it."""
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
    return text if len(text) <= 500 else f"{text[:250]} ... {text[-240:]}"


def names(text: str) -> tuple[str, ...]:
    """The names in a list such as "a, b"."""
    words = map(str.strip, unicodedata.normalize("NFKC", text).split(","))
    return tuple(word for word in words if word)


def assignments(words: tuple[str, ...]) -> dict[str, Any]:
    """The values of ``name=value`` words; names as Python reads identifiers."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = unicodedata.normalize("NFKC", name.strip())
        if not equals or not name or not text.strip():
            raise Misuse(f"write NAME=VALUE, got {_shortened(word)!r}")
        if name in found:
            raise Misuse(f"{name} is given twice")
        found[name] = _literal(name, text.strip())
    return found


def _literal(name: str, text: str) -> Any:
    """A value read as Python's literals are, or as JSON (for NaN and Infinity); never evaluated."""
    with contextlib.suppress(ValueError):
        return float(text) if re.search("[na]", text.lower()) else int(text)
    for read in (ast.literal_eval, json.loads):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return read(text)
    raise Misuse(f"{name}={_shortened(text)}: not a number, a list or a quoted text")


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def regular(value: Any) -> bool:
    """Whether a value makes an array: not a list whose rows differ in length."""
    try:
        np.asarray(value)
    except ValueError:
        return False
    return True
