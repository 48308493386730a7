"""What a function takes from around it, and runs of it that leave that as it was.

A program may draw random numbers, count its calls, keep a log. `Generators` lets a run draw what
an earlier one drew; `unseen` runs it without leaving a trace in the objects that it reaches.
"""

from __future__ import annotations

import contextlib
import dis
import io
import math
import random
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from types import BuiltinFunctionType, CellType, CodeType, FunctionType
from typing import Any

import numpy as np

from gradviz.record.names import LIBRARIES, source
from gradviz.record.reach import Found, attributes_of, reach, variables

MOST = 10_000
"""So many numbers of one container are looked at."""
_EMPTY = CellType()
_CONTAINERS = (list, dict, set, deque)


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
    contained = isinstance(value, _CONTAINERS) or kind.__module__ == "builtins"
    return contained or _is_own_module(kind.__module__ or "")


@lru_cache(maxsize=4096)
def _is_own_module(name: str) -> bool:
    if name.partition(".")[0] in (LIBRARIES | sys.stdlib_module_names) - {"__main__", "gradviz"}:
        return False
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    installed = "site-packages" in file or "dist-packages" in file
    return not installed and (name == "gradviz.examples" or name.partition(".")[0] != "gradviz")


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def _codes_of(values: Iterable[Any]) -> list[CodeType]:
    return [code for v in values if type(v) is FunctionType for code in codes(v.__code__)]


def own_code(*roots: Any) -> list[CodeType]:
    """The code of the program's own functions."""
    return _codes_of(reached(*roots))


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


def value_read(program: Iterable[CodeType]) -> str:
    """Where a program asks for a ``.value``, as which a recorded array is read unnoticed."""
    places = ((code, offset) for code in program for offset in _values_asked(code))
    return next((f"by .value at {_line(code, offset)}" for code, offset in places), "")


@lru_cache(maxsize=4096)
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


@lru_cache(maxsize=4096)
def _kinds_asked(code: CodeType) -> tuple[int, ...]:
    if _QUESTIONS.isdisjoint(code.co_names) and _MATCH not in code.co_code[::2]:
        return ()
    return tuple(
        i.offset
        for i in dis.get_instructions(code)
        if i.opcode == _MATCH or (type(i.argval) is str and i.argval in _QUESTIONS)
    )


def _line(code: CodeType, offset: int) -> str:
    file, line, text = source((code, offset)) or ("?", 0, "")
    return f"{file}:{line}: {text}"


class Generators:
    """The states of the random number generators that a program may draw from.

    Parameters
    ----------
    *roots : object
        The program's function and arguments.

    Attributes
    ----------
    program : list of code or None
        That of the program's own functions, found on the same search; not in a pickle.
    """

    def __init__(self, *roots: Any) -> None:
        search = list(_search(*roots))
        around = [found.value for found, _ in search]
        own = (found.value for found, is_own in search if is_own)
        self.program: list[CodeType] | None = _codes_of(own)
        # (random.gauss is a method of the module's own generator.)
        around = [v.__self__ if type(v) is BuiltinFunctionType else v for v in around]
        self.found = [g for g in around if isinstance(g, _DRAWS)]
        functions = [f for f in around if type(f) is FunctionType]
        self.draws = bool(self.found) or any(_draws(f.__code__) for f in functions)
        self.states = self._states() if self.draws else []

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"program": None}

    def _states(self) -> list[Any]:
        numpys = [_bits(g).state for g in self.found if not isinstance(g, random.Random)]
        pythons = [g.getstate() for g in self.found if isinstance(g, random.Random)]
        own = np.random.get_state()  # noqa: NPY002
        return [random.getstate(), own, numpys, pythons]

    def _set(self, states: list[Any]) -> None:
        pythons, numpys = iter(states[3]), iter(states[2])
        for generator in self.found:
            if isinstance(generator, random.Random):
                generator.setstate(next(pythons))
            else:
                _bits(generator).state = next(numpys)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002

    @contextlib.contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw the numbers once more that were drawn from here on; the user's go on after it."""
        if not self.draws:
            yield
            return
        now = self._states()
        self._set(self.states)
        try:
            yield
        finally:
            self._set(now)


_DRAWS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)


_SAID = frozenset(("random", "rvs", "default_rng"))


def _draws(code: CodeType) -> bool:
    """Whether a function names a module or a method that draws random numbers."""
    return any(not _SAID.isdisjoint(inner.co_names) for inner in codes(code))


def _bits(generator: Any) -> Any:
    """What holds the state of one of NumPy's generators."""
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator
    return getattr(generator, "_bit_generator", generator)


@contextlib.contextmanager
def unseen(*roots: Any) -> Iterator[None]:
    """Run a program that nobody asked to run: silent, and what it reaches is as before.

    Restored are lists, dicts, sets, arrays, fields and variables of the program's own. What it
    writes to files, or has libraries keep, stays.
    """
    kept: list[tuple[Any, Any]] = []
    spaces: list[tuple[Any, dict[Any, Any]]] = []
    for found in reached(*roots):
        if type(found) is FunctionType:
            cells = [cell for cell in found.__closure__ or () if cell != _EMPTY]
            kept += [(cell, cell.cell_contents) for cell in cells]
            space, stored = found.__globals__, _stored(found.__code__)
            spaces.append((space, {name: space[name] for name in stored if name in space}))
        elif _is_own(found) and isinstance(getattr(found, "__dict__", None), dict):
            kept.append((found.__dict__, dict(found.__dict__)))
            kept += [(v, v.copy()) for v in vars(found).values() if isinstance(v, _CONTAINERS)]
        elif isinstance(found, _CONTAINERS) or (
            type(found) is np.ndarray and found.flags.writeable and found.size <= 2**20
        ):
            kept.append((found, found.copy()))
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
        for space, entries in spaces:
            space.update(entries)
        for found, before in kept:
            _restore(found, before)


def _stored(code: CodeType) -> set[str]:
    """The global variables that a function binds anew."""
    return {
        instruction.argval
        for inner in codes(code)
        for instruction in dis.get_instructions(inner)
        if instruction.opname == "STORE_GLOBAL"
    }


def _restore(found: Any, before: Any) -> None:
    """Give a container the content that it had."""
    if isinstance(found, CellType):
        found.cell_contents = before
    elif isinstance(found, np.ndarray):
        found[...] = before
    elif isinstance(found, list):
        if len(found) != len(before) or any(a is not b for a, b in zip(found, before, strict=True)):
            found[:] = before
    elif isinstance(found, dict):
        if found.keys() != before.keys() or any(found[k] is not v for k, v in before.items()):
            found.clear()
            found.update(before)
    else:
        found.clear()
        (found.extend if isinstance(found, deque) else found.update)(before)
