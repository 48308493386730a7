"""The arguments of a traced function: their names, and what nested containers hold."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any


def argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the first `count` positional arguments."""
    if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
        code = function.__code__
        if count <= code.co_argcount:  # what a signature says, at a tenth of the time
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


def convert_nested(value: Any, name: str, convert: Callable[[Any, str], Any]) -> Any:
    """A copy of nested dicts, lists and tuples with `convert` applied to what is inside."""
    if isinstance(value, dict):
        return type(value)((k, convert_nested(v, f"{name}.{k}", convert)) for k, v in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = zip(value._fields, value, strict=True)
        return type(value)(*(convert_nested(v, f"{name}.{k}", convert) for k, v in parts))
    if isinstance(value, (list, tuple)):
        return type(value)(convert_nested(v, f"{name}[{i}]", convert) for i, v in enumerate(value))
    return convert(value, name)


def begins(name: str, prefixes: Any) -> list[str]:
    """Which of `prefixes` are a leaf's name, or what it begins with."""
    return [p for p in prefixes or () if name == p or name.startswith((f"{p}.", f"{p}["))]


def title(function: Callable[..., Any]) -> str:
    """What a function is called; "" for a lambda."""
    name = getattr(function, "__name__", type(function).__name__)
    return "" if name == "<lambda>" else str(name)


def nested(value: Any) -> Iterator[Any]:
    """What is inside of nested dicts, lists and tuples."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        yield value
        return
    for part in value:
        yield from nested(part)
