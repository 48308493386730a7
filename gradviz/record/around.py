"""What a function takes from around it, and runs of it that leave that as it was.

A program may draw random numbers, count its calls, keep a log. `survey` finds the generators that
it may draw from; `unseen` runs it without leaving a trace in the objects that it reaches.
"""

from __future__ import annotations

import contextlib
import dis
import io
import math
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from inspect import CO_VARARGS
from itertools import islice
from types import BuiltinFunctionType, CellType, CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from gradviz.ops import elementwise, products, reductions
from gradviz.record.array import Array
from gradviz.record.buffer import LISTED
from gradviz.record.chance import is_generator
from gradviz.record.names import LIBRARIES, per_code, source
from gradviz.record.reach import (
    Found,
    attributes_of,
    codes,
    names_in,
    reach,
    stands_alone,
    variables,
)
from gradviz.record.tape import STALE
from gradviz.record.undo import CONTAINERS, Undo

MOST = 10_000
"""So many numbers of one container are looked at."""
_EMPTY = CellType()


def reached(*roots: Any) -> Iterator[Any]:
    """What functions, and objects of the program's own, reach (see `gradviz.record.reach`).

    What installed packages keep is left out: it is theirs.
    """
    return (found.value for found, own in _search(*roots) if own)


def _search(*roots: Any) -> Iterator[tuple[Found, bool]]:
    """All that is reached, and whether it is the program's own."""
    closed: set[int] = set()
    for found in reach(("", root) for root in roots):
        own = found.owner is None or (id(found.owner) not in closed and _is_own(found.owner))
        if not own:
            closed.add(id(found.value))
        yield found, own


def _is_own(value: Any) -> bool:
    """Whether a function, a class or an object is the program's own; a container is."""
    kind: Any = value if isinstance(value, (type, FunctionType)) else type(value)
    contained = isinstance(value, CONTAINERS) or kind.__module__ == "builtins"
    return contained or _is_own_module(kind.__module__ or "")


@lru_cache(maxsize=4096)
def _is_own_module(name: str) -> bool:
    if name.partition(".")[0] in (LIBRARIES | sys.stdlib_module_names) - {"__main__", "gradviz"}:
        return False
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    installed = "site-packages" in file or "dist-packages" in file
    return not installed and (name == "gradviz.examples" or name.partition(".")[0] != "gradviz")


def plain_numbers(*roots: Any) -> Iterator[Any]:
    """The floats that a program has: its literals, and what stands around it."""
    yield from (np.pi, np.e, np.inf, np.nan, math.pi, math.e, math.inf, math.nan, math.tau)
    for found in reached(*roots):
        if type(found) is FunctionType:
            literals = (part for code in codes(found.__code__) for part in code.co_consts)
            around = (*dict(variables(found)).values(), *(found.__defaults__ or ()))
            held: Any = (*literals, *around, *(found.__kwdefaults__ or {}).values())
        elif isinstance(found, dict):
            held = found.values()
        elif isinstance(found, (list, tuple, set, frozenset, deque)):
            held = found
        elif type(found).__module__ != "builtins" and _is_own(found):
            held = attributes_of(found).values()
        else:
            continue
        for number in islice(held, MOST):
            if isinstance(number, (float, complex, np.inexact)):
                yield number
            elif type(number) is tuple:
                yield from number


_UNNAMED = frozenset(
    "getattr eval exec vars globals locals __dict__ attrgetter methodcaller modules "
    "examples".split()
)
"""Names by which a program comes to what it does not name."""
_IMPORT = dis.opmap["IMPORT_NAME"]
_BUILD = {dis.opmap[n] for n in dis.opmap if n.startswith(("BUILD_", "LIST_")) or n.endswith("_EX")}
_ROWS = (*elementwise.ELEMENTWISE, *products.PRODUCTS, *reductions.REDUCTIONS)
_SINGLE = frozenset(row.name for row in _ROWS) | frozenset(
    "np numpy linalg T pi e newaxis shape ndim size".split()
)
"""Names of what is, or returns, no list or tuple of recorded values."""


class _Alone(NamedTuple):
    """What the code of a function which `stands_alone` says.

    Attributes
    ----------
    code : tuple of CodeType
        Its own, and that of functions inside it.
    called : frozenset of str or None
        All that it calls is among these names; None: it may be more.
    listless : frozenset of str or None
        The same where it gets no list or tuple: then it may have none, and what is asked for
        because of lists alone is not among these.
    draws : bool
        It names what draws random numbers.
    """

    code: tuple[CodeType, ...]
    called: frozenset[str] | None
    listless: frozenset[str] | None
    draws: bool


@per_code
def alone(code: CodeType) -> _Alone:
    """See `_Alone`."""
    inside = tuple(codes(code))
    found = names_in(code).union(code.co_freevars)
    steps = [inner.co_code[::2] for inner in inside]
    unnamed = any(_IMPORT in step for step in steps) or not _UNNAMED.isdisjoint(found)
    builds = len(inside) > 1 or code.co_flags & CO_VARARGS or not _BUILD.isdisjoint(steps[0])
    called = None if unnamed else found
    listless = called and called - LISTED if found <= _SINGLE and not builds else called
    return _Alone(inside, called, listless, not _SAID.isdisjoint(found))


def value_read(program: Iterable[CodeType]) -> str:
    """Where a program asks for a ``.value``, as which a recorded array is read unnoticed."""
    places = ((code, offset) for code in program for offset in _values_asked(code))
    return next((f"by .value at {_line(code, offset)}" for code, offset in places), "")


@per_code
def _values_asked(code: CodeType) -> tuple[int, ...]:
    asked = "getattr" in code.co_names and "value" in code.co_consts
    if not asked and "value" not in code.co_names:
        return ()
    return tuple(
        i.offset
        for i in dis.get_instructions(code)
        if i.opname in ("LOAD_ATTR", "LOAD_CONST") and i.argval == "value"
    )


_QUESTIONS = frozenset(
    "type hasattr getattr isinstance issubclass callable vars dir __class__ __dict__ inspect "
    "singledispatch attrgetter AttributeError TypeError Exception BaseException Sized Iterable "
    "Iterator Sequence MutableSequence Collection Container Mapping Hashable".split()
)
"""Names by which a program asks what kind of value it has, or does it and sees whether it can."""
_MATCH = dis.opmap["MATCH_CLASS"]


def asked(program: Iterable[CodeType]) -> str:
    """The lines at which a program asks what kind of value it has; "" where it does not."""
    found = [_line(code, offset) for code in program for offset in _kinds_asked(code)]
    return ", ".join(list(dict.fromkeys(found))[:3])


@per_code
def _kinds_asked(code: CodeType) -> tuple[int, ...]:
    if _QUESTIONS.isdisjoint(code.co_names) and _MATCH not in code.co_code[::2]:
        return ()
    return tuple(
        i.offset
        for i in dis.get_instructions(code)
        if i.opcode == _MATCH or (type(i.argval) is str and i.argval in _QUESTIONS)
    )


@per_code
def suspect(code: CodeType) -> bool:
    """Whether code does what `value_read` or `asked` tell."""
    return bool(_values_asked(code) or _kinds_asked(code))


def _line(code: CodeType, offset: int) -> str:
    file, line, text = source((code, offset)) or ("?", 0, "")
    return f"{file}:{line}: {text}"


def survey(*roots: Any) -> tuple[Sequence[CodeType], list[Any] | None]:
    """The code of the program's own functions, and the generators of random numbers it may ask.

    None instead of these where it draws no random numbers, from NumPy's and Python's own either.
    """
    if stands_alone(*roots):
        itself = alone(roots[0].__code__)
        return itself.code, [] if itself.draws else None
    program: list[CodeType] = []
    generators: list[Any] = []
    chance = False
    for found, own in _search(*roots):
        value = found.value
        if type(value) is FunctionType:
            chance = chance or draws(value)
            if own:
                program += codes(value.__code__)
        elif type(value) is BuiltinFunctionType:
            value = value.__self__  # (random.gauss is a method of the module's own generator)
        if is_generator(value):
            generators.append(value)
    return program, generators if chance or generators else None


_SAID = frozenset(("random", "rvs", "default_rng"))


def draws(function: Any) -> bool:
    """Whether a function names a module or a method that draws random numbers."""
    return not _SAID.isdisjoint(names_in(function.__code__))


@contextlib.contextmanager
def unseen(*roots: Any) -> Iterator[None]:
    """Run a program that nobody asked to run: silent, and what it reaches is as before.

    Restored are lists, dicts, sets, arrays, fields and variables of the program's own. What it
    writes to files, or has libraries keep, stays.
    """
    undo = Undo()
    for found in reached(*roots):
        if type(found) is FunctionType:
            for cell in found.__closure__ or ():
                if cell != _EMPTY:
                    undo.cell(cell)
            for name in _stored(found.__code__) & found.__globals__.keys():
                undo.variable(found.__globals__, name)
        elif _is_own(found) and isinstance(getattr(found, "__dict__", None), dict):
            undo.content(found.__dict__)
            for held in vars(found).values():
                if isinstance(held, CONTAINERS):
                    undo.content(held)
        elif isinstance(found, CONTAINERS):
            undo.content(found)
        elif type(found) is np.ndarray and found.flags.writeable and found.size <= 2**20:
            undo.array(found)
    quiet = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        undo.put_back()


def hand_back(first: int, *roots: Any) -> None:
    """Put plain numbers in place of the recorded ones that a program has kept in its own objects.

    As a plain run would have left them: a layer's cache, a log. `first` is where its record began.
    """
    for found in reached(*roots):
        if type(found) is FunctionType:
            for cell in found.__closure__ or ():
                if cell != _EMPTY and _is_kept(cell.cell_contents, first):
                    cell.cell_contents = _as_plain(cell.cell_contents)
            space: Any = found.__globals__
            items: Any = [(n, space[n]) for n in _stored(found.__code__) & space.keys()]
        elif isinstance(found, dict):
            space, items = found, list(found.items())
        elif isinstance(found, (list, deque)):
            space, items = found, list(enumerate(found))
        elif _is_own(found) and isinstance(getattr(found, "__dict__", None), dict):
            space = found.__dict__
            items = [] if isinstance(found, type) else list(space.items())
        else:
            continue
        for key, value in items:
            if _is_kept(value, first):
                space[key] = _as_plain(value)


@per_code
def keeps(code: CodeType) -> bool:
    """Whether code may keep a value somewhere else than in its own variables."""
    steps = set(code.co_code[::2])
    named = not _PUTS.isdisjoint(code.co_names)
    return named or not _STORES.isdisjoint(steps) or (_OUTER in steps and bool(code.co_freevars))


_STORES = {dis.opmap[name] for name in ("STORE_ATTR", "STORE_GLOBAL", "STORE_SUBSCR")}
_OUTER = dis.opmap["STORE_DEREF"]
_PUTS = frozenset(
    "append appendleft extend insert setdefault update setattr __setattr__ __setitem__ __dict__ "
    "globals vars".split()
)
"""Names by which values are put into what is there already."""


def _is_kept(value: Any, first: int) -> bool:
    return type(value) is Array and (value.order >= first or value.order == STALE)


def _as_plain(value: Any) -> Any:
    return np.array(value.value)[()] if value._is_scalar() else np.array(value.value)


def _stored(code: CodeType) -> set[str]:
    """The global variables that a function binds anew."""
    return {
        instruction.argval
        for inner in codes(code)
        for instruction in dis.get_instructions(inner)
        if instruction.opname == "STORE_GLOBAL"
    }
