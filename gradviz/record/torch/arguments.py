"""What a call was told besides its operands: stride, dim, padding, by the names that PyTorch has.

A function written in Python says them itself. Of the others the schemas of their overloads do: an
argument is told if all overloads that fit the call agree on what it is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType
from typing import Any

import torch
from torch import Tensor

SPREAD = frozenset("stride padding dilation kernel_size output_padding".split())
"""Arguments of which one number stands for each axis."""
UNTOLD = frozenset("out inplace size shape sizes training train key".split())
"""A result's shape stands beside it, and the others change no number."""
_NONE: Any = object()  # no default
_SCALED = (torch.add, torch.sub, Tensor.add, Tensor.sub, Tensor.add_, Tensor.sub_)
_CLASSIFYING = (torch.nn.functional.cross_entropy, torch.nn.functional.nll_loss)


def arguments(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The plain arguments of a call by name, less those that are the default."""
    key = _key((*args, *kwargs.values()))
    if key is None:
        return _arguments(function, args, kwargs)
    whole = function, len(args), *kwargs, *key
    found = _known.get(whole)
    if found is None:
        if len(_known) > 10_000:  # a program that calls with ever other numbers
            _known.clear()
        found = _known[whole] = _arguments(function, args, kwargs)
    return dict(found)


_known: dict[tuple[Any, ...], dict[str, Any]] = {}
"""By function and arguments what it was told: a model says the same in each of its layers."""


def _key(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """Arguments as a part of a key, in which 1, 1.0 and True are three; None of what may change."""
    found: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is int or kind is bool or kind is str or value is None:
            found += kind, value
        elif isinstance(value, Tensor):
            found.append(Tensor)
        elif kind is float:
            found += kind, repr(value)  # (-0.0 equals 0.0)
        elif kind is tuple or kind is list or kind is torch.Size:
            inner = _key(value)
            if inner is None:
                return None
            found += kind, inner
        elif kind is slice:
            inner = _key((value.start, value.stop, value.step))
            if inner is None:
                return None
            found += kind, inner
        else:
            return None
    return tuple(found)


def _arguments(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if function is Tensor.__getitem__:
        index = args[1] if len(args) == 2 else _NONE
        parts = index if isinstance(index, tuple) else (index,)
        return {"index": index} if all(map(_is_place, parts)) else {}
    if not kwargs and all(isinstance(value, Tensor) for value in args):
        return {}
    kinds = tuple(map(_kind, args))
    if kinds[:1] + kinds[2:] == ("Tensor", "Tensor") and function in _SCALED:
        return {"alpha": args[1]}  # add(a, 2, b), as it once was written
    names, usual = _named(function, kinds, frozenset(kwargs))
    if names and names[-1][:1] == "*":  # x.permute(0, 2, 1)
        last = len(names) - 1
        names, args = (*names[:last], names[last][1:]), (*args[:last], args[last:])
    found = dict(zip(names, args, strict=False)) | dict(kwargs)
    return {
        name: short
        for name, value in found.items()
        if name
        and name[0] != "_"
        and name not in UNTOLD
        and "Tensor" not in _kind(value)
        and not _same(short := _short(name, value), _short(name, usual.get(name, _NONE)))
    }


def told_by_targets(function: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """The default of `ignore_index`, where a loss of classes meets it among its targets."""
    if function not in _CLASSIFYING or len(args) < 2 or args[1].is_floating_point():
        return {}
    return {"ignore_index": -100} if bool((args[1] == -100).any()) else {}


def _is_place(part: Any) -> bool:
    """Whether a part of an index says by itself what it takes."""
    if isinstance(part, slice):
        return all(type(end) in (int, NoneType) for end in (part.start, part.stop, part.step))
    return part is Ellipsis or type(part) in (int, NoneType)


def _kind(value: Any) -> str:
    """The type of an argument, in the words of a schema."""
    if isinstance(value, Tensor):
        return "Tensor"
    if isinstance(value, (list, tuple)):
        kinds = {_kind(part) for part in value}
        return f"List[{'Tensor' if 'Tensor' in kinds else 'int' if kinds == {'int'} else 'any'}]"
    return type(value).__name__


def _short(name: str, value: Any) -> Any:
    """One number where each axis has the same."""
    if isinstance(value, (list, tuple)):
        value = tuple(value)
        if name in SPREAD and value and all(part == value[0] for part in value):
            return value[0]
    return value


def _same(value: Any, usual: Any) -> bool:
    return type(value) is type(usual) and bool(value == usual)


@cache
def _named(
    function: Any, kinds: tuple[str, ...], given: frozenset[str]
) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """The names of positional arguments, "" for an unknown one, and the defaults by name."""
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return _in_schemas(str(getattr(function, "__name__", "")), kinds, given)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        name = str(getattr(function, "__name__", ""))
        if name == "einsum" and kinds[:1] == ("str",):
            return ("equation",), {}
        inner = getattr(torch.nn.functional, f"_{name}", None)  # max_pool2d chooses one of two
        return _named(inner, kinds, given) if inner else ((), {})
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return tuple(p.name for p in parameters), defaults


def _in_schemas(
    name: str, kinds: tuple[str, ...], given: frozenset[str]
) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{name}")
    tried = [(schema, _fit(schema.arguments, kinds, given)) for schema in schemas]
    fitting = [schema for schema, places in tried if places is not None]
    placed = [places for _, places in tried if places is not None]
    names = tuple(
        found.pop() if len(found := {p[n] if n < len(p) else "" for p in placed}) == 1 else ""
        for n in range(max(map(len, placed), default=0))
    )
    usual: dict[str, Any] = {}
    for schema in fitting:
        for argument in schema.arguments:
            default = argument.default_value if argument.has_default_value() else _NONE
            known = usual.setdefault(argument.name, default)
            usual[argument.name] = default if _same(known, default) else _NONE
    return names, usual


def _fit(parameters: Any, kinds: tuple[str, ...], given: frozenset[str]) -> tuple[str, ...] | None:
    """The names that an overload gives to positional arguments; None if it is not this one.

    Whatever PyTorch might accept fits, so that the overload that was called is among those that do.
    """
    if not given <= {p.name for p in parameters} | {"input", "axis", "keepdims", "out", "dim"}:
        return None
    places = [p for p in parameters if not p.kwarg_only]
    names: list[str] = []
    for n, kind in enumerate(kinds):
        if n >= len(places):
            return None
        wanted = str(places[n].type).replace("Optional[", "")
        if ("Tensor" in kind) != ("Tensor" in wanted) and kind != "NoneType":
            return None
        # PyTorch gathers numbers into a list where that is all a method takes.
        gathers = n == 1 and len(places) == 2 and "List[int]" in wanted
        if gathers and len(kinds) > 2 and {*kinds[1:]} == {"int"}:
            return (*names, f"*{places[n].name}")
        if kind == "str" and "str" not in wanted and "int" not in wanted:
            return None
        if kind == "int" and wanted.startswith("bool"):
            return None
        if kind == "float" and not any(word in wanted for word in ("float", "number")):
            return None
        if kind in ("int", "List[int]") and wanted.startswith(("str", "List[str]")):
            return None
        if kind.startswith("List[") and "List[" not in wanted:
            return None
        names.append(places[n].name)
    return tuple(names)
