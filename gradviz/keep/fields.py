"""The fields of a file: each function takes what JSON gave, and returns what was meant.

A ValueError says what was expected, and in few characters what was found instead.
"""

from __future__ import annotations

import ast
import base64
import math
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import numpy as np

from gradviz.files import writable
from gradviz.keep.form import DTYPES, TEXT
from gradviz.model import Sharpness
from gradviz.ops.operation import Derivative
from gradviz.rank import HOW, Held, Rank
from gradviz.words import Site

FORMULA = 1000
"""So many characters a formula may have."""
NARROW = (
    "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu", "complex32",
)  # fmt: skip
"""The dtypes that only `Statistics` can be of."""


def sharpness(value: Any) -> Sharpness:
    """How sharp an attention is."""
    rows, entries, *sums = items(value, 4)
    if type(rows) is not int or type(entries) is not int or min(rows, entries) < 1:
        raise ValueError(f"expected two counts, got {said([rows, entries])}")
    return Sharpness(rows, entries, *map(number, sums))


def said(value: Any) -> str:
    """What was found instead, in few characters."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) and value else f"a {type(value).__name__}"
    written = repr(value)
    return written if len(written) <= 60 else f"{written[:57]}..."


def at(where: str, read: Callable[[Any], Any], value: Any) -> Any:
    """`read(value)`, with the place in the message of an error."""
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def only(entry: Any, fields: Collection[str]) -> None:
    """Refuse what is no object of these fields."""
    if unknown := json_object(entry).keys() - fields:
        raise ValueError(f"unknown field {said(min(unknown))}")


def json_object(value: Any) -> dict[str, Any]:
    """An object, as a dict."""
    if type(value) is not dict:
        raise ValueError(f"expected an object, got {said(value)}")
    return value


def items(value: Any, length: int | None = None) -> list[Any]:
    """A list, of this length if it is given."""
    if type(value) is not list or (length is not None and len(value) != length):
        wanted = "a list" if length is None else f"a list of {length}"
        raise ValueError(f"expected {wanted}, got {said(value)}")
    return value


def boolean(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise ValueError(f"expected true or false, got {said(value)}")
    return value


def text(value: Any) -> str:
    """Text that is not too long and can be written."""
    if type(value) is not str or len(value) > TEXT or writable(value) != value:
        raise ValueError(f"expected text of at most {TEXT} characters, got {said(value)}")
    return value


def number(value: Any) -> float:
    """A number, or the text for one that JSON lacks."""
    if type(value) in (int, float) or value in ("nan", "inf", "-inf"):
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError(f'expected a number, "nan", "inf" or "-inf", got {said(value)}')


def dtype(name: Any) -> str:
    """The name of a dtype."""
    if type(name) is not str or name not in DTYPES:
        raise ValueError(f"dtype: {said(name)} is none of {', '.join(sorted(DTYPES))}")
    return name


def scalar(name: Any, value: Any) -> np.generic:
    """A number with a dtype."""
    if name == "float64" and type(value) is float and math.isfinite(value):
        return np.float64(value)
    kind = np.dtype(dtype(name))
    kinds = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float), "c": ()}[kind.kind]
    if type(value) not in kinds:
        raise ValueError(f"value: {said(value)} is no {name}")
    try:
        found: np.generic = kind.type(value)
    except (OverflowError, ValueError):
        raise ValueError(f"value: {said(value)} is no {name}") from None
    if not np.isfinite(found):
        raise ValueError(f"value: {said(value)} is too large for {name}")
    return found


def array(entry: Any) -> np.ndarray[Any, Any]:
    """An array, from its bytes."""
    only(entry, ("dtype", "shape", "base64"))
    kind = np.dtype(dtype(entry.get("dtype"))).newbyteorder("<")
    shape = items(entry.get("shape"))
    if len(shape) > 64 or any(type(n) is not int or not 0 <= n < 2**31 for n in shape):
        raise ValueError(f"shape: expected at most 64 lengths below 2**31, got {str(shape)[:60]}")
    written = entry.get("base64")
    if type(written) is not str:
        raise ValueError(f"base64: expected text, got {said(written)}")
    try:
        raw = base64.b64decode(written.encode("ascii"), validate=True)
    except ValueError as error:
        raise ValueError(f"base64: {error}") from None
    wanted = math.prod(shape) * kind.itemsize
    if len(raw) != wanted:
        raise ValueError(
            f"base64: shape {tuple(shape)} of {kind.name} is {wanted} bytes, there are {len(raw)}"
        )
    if kind.kind == "b" and raw.strip(b"\0\1"):
        raise ValueError("base64: a bool is a byte 0 or 1")
    found = np.frombuffer(raw, kind).reshape(shape)
    return found.astype(kind.newbyteorder("="), copy=False)


def source(entry: Any) -> Site:
    """File, line and text of a line of the program."""
    file, line, written = items(entry, 3)
    if type(line) is not int or not 0 <= line < 2**31:
        raise ValueError(f"expected a line's number, got {said(line)}")
    return Site(text(file), line, text(written))


def formula(value: Any) -> str:
    """Notation for the picture: it is parsed, printed and never evaluated."""
    return _parsed(text(value))


@lru_cache(maxsize=256)
def _parsed(written: str) -> str:
    if len(written) > FORMULA:
        raise ValueError(f"longer than {FORMULA} characters")
    if written:
        try:
            tree = ast.parse(written, mode="eval")
            depth = _depth(tree)
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError(f"{said(written)} is no formula") from None
        if depth > 50:
            raise ValueError("nested too deeply")
    return written


def _depth(tree: ast.AST) -> int:
    return 1 + max(map(_depth, ast.iter_child_nodes(tree)), default=0)


def rules(entry: Any) -> tuple[Derivative | None, ...] | None:
    """The derivatives of an operation that is only drawn: their notation."""
    if entry is None:
        return None
    found: list[Derivative | None] = []
    for rule in items(entry):
        if rule is None:
            found.append(None)
            continue
        only(rule, ("local", "message"))
        if len(rule) != 1:
            raise ValueError("expected the notation of a local derivative or of a message")
        ((kind, written),) = rule.items()
        found.append(Derivative(nothing, formula(written), nothing if kind == "local" else None))
    return tuple(found)


def rank(entry: Any) -> Rank:
    """The process that a Graph was recorded in."""
    only(entry, ("number", "world", "parameters", "buffers"))
    own, world = (whole(entry.get(field)) for field in ("number", "world"))
    if not 0 <= own < world:
        raise ValueError(f"expected a rank of {world}, got {said(own)}")
    parameters = {}
    for name, told in json_object(entry.get("parameters")).items():
        how, copies, digest, reduced = items(told, 4)
        if how not in HOW:
            raise ValueError(f"parameters: expected one of {', '.join(HOW)}, got {said(how)}")
        parameters[text(name)] = Held(
            how,
            whole(copies),
            None if digest is None else whole(digest),
            None if reduced is None else number(reduced),
        )
    buffers = json_object(entry.get("buffers")).items()
    return Rank(own, world, parameters, {text(name): whole(digest) for name, digest in buffers})


def whole(value: Any) -> int:
    """A whole number that every machine has."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(f"expected a whole number, got {said(value)}")
    return value


def nothing(*_: Any, **__: Any) -> Any:
    """Stands for a rule that a file cannot hold."""
