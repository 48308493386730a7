"""The arguments of a traced function: their names, and what nested containers hold."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections import UserDict
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np


def check_options(loss: Any, capture: Any) -> None:
    """Refuse what `gradviz.trace` does not know of a program of a library."""
    if capture not in (None, "whole", "lean"):
        raise ValueError(f"capture={capture!r}: write 'whole' or 'lean'")
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be a function of the output, got {type(loss).__name__}")


def argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the first `count` positional arguments."""
    if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
        code = function.__code__
        if count <= code.co_argcount:  # (as in `takes`)
            return list(code.co_varnames[:count])
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            names.append(parameter.name)
    return (names + [f"argument[{i}]" for i in range(len(names), count)])[:count]


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of this name that is still open."""
    while isinstance(function, partial):
        if name in function.keywords:
            return False
        function = function.func
    if isinstance(function, FunctionType) and not vars(function):
        code = function.__code__  # what a signature says, at a tenth of the time
        named = code.co_argcount + code.co_kwonlyargcount
        return name in code.co_varnames[code.co_posonlyargcount : named]
    try:
        parameter = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.kind in (
        parameter.POSITIONAL_OR_KEYWORD,
        parameter.KEYWORD_ONLY,
    )


def convert_nested(value: Any, name: str, convert: Callable[[Any, str], Any]) -> Any:
    """A copy of nested containers with `convert` applied to what is inside.

    Containers are dicts, lists, tuples, `UserDict`s, namespaces and dataclasses, and what inherits
    from them; one in which nothing was converted is passed as it is.
    """
    parts = None if type(value) in _WHOLE else _parts(value)
    if parts is None:
        return convert(value, name)
    new = [convert_nested(part, f"{name}{place}", convert) for place, _, part in parts]
    if all(a is b for a, (*_, b) in zip(new, parts, strict=True)):
        return copy.copy(value) if isinstance(value, (dict, list, UserDict)) else value
    if type(value) in (list, tuple):
        return type(value)(new)
    if isinstance(value, tuple):
        return type(value)(*new) if hasattr(value, "_fields") else tuple.__new__(type(value), new)
    copied = copy.copy(value)
    for (_, key, _), part in zip(parts, new, strict=True):
        if isinstance(value, (dict, list, UserDict)):
            copied[key] = part
        else:
            object.__setattr__(copied, key, part)  # a frozen one, too
    return copied


_WHOLE = frozenset((np.ndarray, np.float64, np.float32, float, int, complex, bool, str))


def _parts(value: Any) -> list[tuple[str, Any, Any]] | None:
    """What a container holds: how its place is written, its key, itself."""
    if type(value) in _WHOLE:  # (asking for a UserDict takes longer)
        return None
    if isinstance(value, (dict, UserDict)):
        return [(f".{key}", key, part) for key, part in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{k}", k, part) for k, part in zip(value._fields, value, strict=True)]
    if isinstance(value, (list, tuple)):
        return [(f"[{i}]", i, part) for i, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
        return [(f".{key}", key, getattr(value, key)) for key in fields]
    if isinstance(value, SimpleNamespace):
        return [(f".{key}", key, part) for key, part in vars(value).items()]
    return None


def begins(name: str, prefixes: Any) -> list[str]:
    """Which of `prefixes` are a leaf's name, or what it begins with."""
    return [p for p in prefixes or () if name == p or name.startswith((f"{p}.", f"{p}["))]


def opaque(values: Any) -> str:
    """The class of an object that holds arrays which are no leaves; "" where there is none."""
    for value in values:
        if any(isinstance(part, np.ndarray) for part in getattr(value, "__dict__", {}).values()):
            return "" if _parts(value) else type(value).__name__
    return ""


def numbered(name: str, taken: dict[str, int]) -> str:
    """A name of its own: the second that is called ``w`` is ``w(2)``, as in `names.unique`."""
    found = name
    while found in taken:
        taken[name] += 1
        found = f"{name}({taken[name]})"
    taken[found] = 1
    return found


def title(function: Callable[..., Any]) -> str:
    """What a function is called; "" for a lambda."""
    name = getattr(function, "__name__", type(function).__name__)
    return "" if name == "<lambda>" else str(name)


def nested(value: Any, whole: tuple[type, ...] = ()) -> Iterator[Any]:
    """What is inside of nested containers; objects of the types `whole` are not opened."""
    parts = None if isinstance(value, whole) else _parts(value)
    if parts is None:
        yield value
        return
    for *_, part in parts:
        yield from nested(part, whole)


def is_float(value: Any) -> bool:
    """Whether a value is recorded as a leaf: a number or an array of floats."""
    if isinstance(value, (float, complex, np.inexact)):
        return True
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"
