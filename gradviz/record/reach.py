"""What a program can reach: through closures, the globals that its code names, and attributes."""

from __future__ import annotations

import dis
import sys
import types
from argparse import Namespace
from collections import UserDict, deque
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from gradviz.record.names import LIBRARIES, per_code

LIMIT = 50_000
"""So many objects are looked into; a program that reaches more is not searched to its end."""

_LIBRARIES = (LIBRARIES | frozenset(sys.stdlib_module_names)) - {"__main__"}
_ATOMS = frozenset(
    (str, int, float, complex, bool, bytes, type(None), type(Ellipsis), slice, range)
)
_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_METHODS = (MethodType, staticmethod, classmethod)
REGISTERS = frozenset(("_modules", "_parameters", "_buffers"))
"""Where a `torch.nn.Module` keeps what is reached as its attribute."""


class Found(NamedTuple):
    """An object that can be reached.

    Attributes
    ----------
    path : str
        How the program writes it, from the variable, the argument or the attribute on.
    value : object
    owner : object
        The function, container or object that it was found in.
    kept : bool
        It is part of an object's state.
    """

    path: str
    value: Any
    owner: Any
    kept: bool


def stands_alone(function: Any, *given: Any) -> bool:
    """Whether nothing can be reached but numbers, for the function names libraries alone."""
    if type(function) is not FunctionType:
        return False
    if function.__defaults__ or function.__kwdefaults__ or function.__dict__:
        return False
    if function.__closure__ is not None:
        names = names_in(function.__code__)
        for _, value in enclosed(function):
            if not _is_library(value, names):
                return False
    space = function.__globals__
    if not _of_library(space.get("__name__", "")):
        names = names_in(function.__code__)
        for name in names:
            if name in space and not _is_library(space[name], names):
                return False
    for value in given:  # noqa: SIM110 - at half the time of all()
        if not _is_plain(value):
            return False
    return True


def _is_library(value: Any, names: frozenset[str]) -> bool:
    """Whether a variable is a module of a library's, or one in which none of the names is."""
    if not isinstance(value, ModuleType):
        return False
    return _of_library(value.__name__) or names.isdisjoint(vars(value))


def _is_plain(value: Any) -> bool:
    """Whether a value is numbers, or a container of them."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not tuple and kind is not list:
        if kind in _ATOMS or kind is np.float64:
            return True
        numbers = kind is np.ndarray or issubclass(kind, (np.number, np.bool))
        return numbers and value.dtype.kind in "fciub"
    for part in value:  # noqa: SIM110
        if not _is_plain(part):
            return False
    return True


def reach(roots: Iterable[tuple[str, Any]], attributes: bool = True) -> Iterator[Found]:
    """What can be reached, the nearest first, each object once.

    Parameters
    ----------
    roots : iterable of (str, object)
        Where to begin, with their names.
    attributes : bool, optional
        Look into objects, not only into functions and containers.
    """
    queue = deque(Found(path, value, None, False) for path, value in roots)
    seen: dict[int, Any] = {}  # and held: an id of what is gone comes again
    mentioned: set[str] = set()  # the names in the code that was reached
    defined: set[type] = set()  # the classes of which it is known what they define
    waiting: dict[str, list[Found]] = {}  # what classes define, until some code mentions it
    while queue and len(seen) < LIMIT:
        found = queue.popleft()
        value = found.value
        if type(value) in _ATOMS or id(value) in seen:
            continue
        seen[id(value)] = value
        yield found
        if type(value) is np.ndarray:
            continue
        if isinstance(value, FunctionType):
            for name in names_in(value.__code__) - mentioned:
                mentioned.add(name)
                queue += waiting.pop(name, ())
            queue += (Found(path, v, value, False) for path, v in _of_function(value))
        elif isinstance(value, _METHODS):
            queue.append(Found(found.path, getattr(value, "__self__", None), None, False))
            queue.append(Found("", value.__func__, value, False))
        elif isinstance(value, property):
            queue.append(Found("", value.fget, value, False))
        elif isinstance(value, partial):
            queue += _of_partial(value)
        elif isinstance(value, _CONTAINERS) or _is_user_dict(value.__class__):
            queue += _inside(value, found)
        elif attributes and not isinstance(value, ModuleType):
            kind = value if isinstance(value, type) else type(value)
            for name, v in () if kind in defined else _defined(kind):
                item = Found(_attribute(found.path, name), v, kind, not callable(v))
                if name in mentioned or name in ("forward", "__call__"):
                    queue.append(item)
                else:
                    waiting.setdefault(name, []).append(item)
            defined.add(kind)  # (others of its kind have the same)
            if kind is not value and (is_user_class(kind) or hasattr(value, "_modules")):
                queue += _attributes(value, found.path)


@lru_cache(maxsize=4096)
def _is_user_dict(kind: Any) -> bool:
    """Whether objects of a class are `UserDict`s, which takes long to be asked."""
    return issubclass(kind, UserDict)


@lru_cache(maxsize=4096)
def is_user_class(kind: Any) -> bool:
    """Whether a class belongs to no library whose objects are closed to us."""
    if issubclass(kind, (SimpleNamespace, Namespace)):
        return True
    if kind.__module__ == "types" and getattr(types, kind.__name__, None) is not kind:
        return True  # what make_dataclass and new_class make says that it is from there
    return _package(getattr(kind, "__module__", "")) not in _LIBRARIES


def attributes_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in slots too."""
    found = dict(getattr(value, "__dict__", ()))
    kind: Any = type(value)
    for name in slots_of(kind):
        if name not in found:
            try:
                found[name] = getattr(value, name)
            except AttributeError:
                continue
    return found


@lru_cache(maxsize=4096)
def slots_of(kind: Any) -> tuple[str, ...]:
    """The names of an object's attributes that are in slots."""
    found: list[str] = []
    for base in kind.__mro__[:-1]:
        slots = base.__dict__.get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        found += [name for name in names if hasattr(base.__dict__.get(name), "__get__")]
    return tuple(dict.fromkeys(found))


def enclosed(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables of the functions around a function that its code names, with what they hold."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # it is not yet assigned
            continue


def variables(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables from around a function that its code names, with what they hold."""
    yield from enclosed(function)
    space = function.__globals__
    if _of_library(space.get("__name__", "")):
        return
    names = names_in(function.__code__)
    for name in sorted(filter(space.__contains__, globals_in(function.__code__))):
        value = space[name]
        if not isinstance(value, ModuleType):
            yield name, value
        elif not _of_library(value.__name__):
            inner = vars(value)
            yield from ((n, inner[n]) for n in sorted(names & inner.keys()))


@lru_cache(maxsize=4096)
def _of_library(module: Any) -> bool:
    """Whether a module, by its name, is of a library whose objects are closed to us."""
    return _package(module) in _LIBRARIES


def _package(name: Any) -> str:
    return str(name).partition(".")[0] if name != "gradviz.examples" else ""


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


@per_code
def names_in(code: CodeType) -> frozenset[str]:
    """The globals and attributes that code names, that of functions inside it too.

    Not what no program can write: pytest has names like ``@pytest_ar`` where it rewrote an assert,
    and all of pytest would be searched.
    """
    return frozenset(name for inner in codes(code) for name in inner.co_names if name[:1] != "@")


@per_code
def globals_in(code: CodeType) -> frozenset[str]:
    """The globals that code names: not the attribute of another object that is called as one is."""
    found = set()
    for inner in codes(code):
        extended, raw = 0, inner.co_code
        for opcode, argument in zip(raw[::2], raw[1::2], strict=True):
            place = extended | argument
            extended = place << 8 if opcode == dis.EXTENDED_ARG else 0
            if opcode in _OF_GLOBALS:
                found.add(inner.co_names[place >> 1 if opcode == _LOAD_GLOBAL else place])
    return frozenset(name for name in found if name[:1] != "@")


@per_code
def assigned_in(code: CodeType) -> frozenset[str]:
    """The variables from around it that code assigns to, that of functions inside it too."""
    stores = "STORE_GLOBAL", "STORE_DEREF"
    every = (one for inner in codes(code) for one in dis.get_instructions(inner))
    return frozenset(str(one.argval) for one in every if one.opname in stores)


_LOAD_GLOBAL = dis.opmap["LOAD_GLOBAL"]
_OF_GLOBALS = {
    dis.opmap[name]
    for name in "LOAD_GLOBAL LOAD_NAME STORE_GLOBAL DELETE_GLOBAL LOAD_FROM_DICT_OR_GLOBALS".split()
    if name in dis.opmap
}


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    yield from variables(function)
    code = function.__code__
    defaults = function.__defaults__ or ()
    last = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
    yield from zip(last, defaults, strict=False)  # a decorator may have set more
    yield from (function.__kwdefaults__ or {}).items()
    yield from vars(function).items()  # what it wraps, too


def _of_partial(value: Any) -> Iterator[Found]:
    from gradviz.record.arguments import argument_names

    yield Found("", value.func, value, False)
    names = argument_names(value.func, len(value.args))
    for name, v in (*zip(names, value.args, strict=True), *value.keywords.items()):
        yield Found(name, v, value, False)


def _inside(value: Any, found: Found) -> Iterator[Found]:
    """The items of a container."""
    if isinstance(value, UserDict):
        value = value.data
    if isinstance(value, dict):
        items: Any = ((f"[{_quoted(k)}]", v) for k, v in list(value.items()))
    elif hasattr(value, "_fields"):
        items = ((f".{name}", v) for name, v in zip(value._fields, value, strict=False))
    else:
        items = ((f"[{i}]", v) for i, v in enumerate(list(value)))
    for place, v in items:
        if type(v) not in _ATOMS:
            yield Found(f"{found.path}{place}", v, found.value, found.kept)


def _quoted(key: Any) -> str:
    return f'"{key}"' if isinstance(key, str) else repr(key)[:40]


def _attributes(value: Any, path: str) -> Iterator[Found]:
    for name, v in attributes_of(value).items():
        if name in REGISTERS and isinstance(v, dict):
            for part, inner in list(v.items()):
                yield Found(_attribute(path, part), inner, value, True)
        elif type(v) not in _ATOMS and not (isinstance(v, _CONTAINERS) and not v):
            yield Found(_attribute(path, name), v, value, True)


def _attribute(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _defined(kind: type) -> Iterator[tuple[str, Any]]:
    """What a class of the user's, and those it inherits from, define."""
    for base in user_bases(kind):
        for name, v in vars(base).items():
            plain = name.startswith("__") and name != "__call__"
            if not plain and type(v) not in _ATOMS:
                yield name, v


@lru_cache(maxsize=4096)
def user_bases(kind: Any) -> tuple[type, ...]:
    """Those of the classes that a class inherits from, and itself, which are the user's."""
    return tuple(base for base in kind.__mro__ if is_user_class(base))
