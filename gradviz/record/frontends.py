"""The libraries whose programs are recorded: what each accepts, and its program.

A new one is a folder beside this file and an entry in `FRONTENDS`. What none of them accepts is
NumPy's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from types import FunctionType, ModuleType
from typing import Any

from gradviz.model import Program
from gradviz.record.arguments import is_float, nested
from gradviz.record.reach import enclosed, names_in, reach, stands_alone


@dataclass(frozen=True)
class Frontend:
    """A library beside NumPy.

    Attributes
    ----------
    library : str
        Its module. Where it was never imported, no program is of it: we do not import it.
    values : tuple of str
        Its types: a program of it is, gets or uses such values.
    options : tuple of str
        The arguments of `gradviz.trace` that are for its programs alone.
    program : callable
        Imports what makes a `Program` of a function, its arguments, `wrt`, a title and the options.
    written : tuple of str
        Packages: a function whose code names one of their modules is of this library, whatever
        it gets.
    """

    library: str
    values: tuple[str, ...]
    options: tuple[str, ...]
    program: Callable[[], Callable[..., Program]]
    written: tuple[str, ...] = ()

    def accepts(self, function: Any, args: Any, kwargs: Any, alone: bool) -> bool:
        """Whether a program is of this library; `alone` is what `stands_alone` says."""
        library = sys.modules.get(self.library)
        if library is None:
            return False
        if self.written and self._names(function):
            return True
        if alone:
            return False
        kinds = tuple(attrgetter(name)(library) for name in self.values)
        given = list(nested((args, kwargs)))
        if any(isinstance(value, kinds) for value in given):
            return True
        # A method of an object that holds a model, say, may well compute with NumPy's arrays alone.
        attributes = not any(map(is_float, given))
        roots = [("", function), *(("", value) for value in given)]
        return any(
            isinstance(found.value, kinds) or (self.written and self._names(found.value))
            for found in reach(roots, attributes)
        )

    def _names(self, function: Any) -> bool:
        """Whether a function is one of the library's, or its code names a module or function."""
        if _package(type(function)) in self.written:  # what jax.jit returns
            return True
        if not isinstance(function, FunctionType):
            return False
        space = function.__globals__
        named = (space[name] for name in names_in(function.__code__) if name in space)
        held = (value for _, value in enclosed(function))
        return any(_package(value) in self.written for value in (*named, *held))


def _package(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return str(name).partition(".")[0]


def _torch() -> Callable[..., Program]:
    from gradviz.record.torch.trace import TorchProgram

    return TorchProgram


def _jax() -> Callable[..., Program]:
    from gradviz.record.jax.trace import JaxProgram

    return JaxProgram


FRONTENDS = (
    Frontend("torch", ("nn.Module", "Tensor"), ("loss", "capture"), _torch),
    Frontend(
        "jax", ("Array",), ("loss", "capture", "unfold"), _jax,
        ("jax", "jaxlib", "flax", "equinox", "optax", "haiku"),
    ),
)  # fmt: skip


def frontend_of(
    function: Callable[..., Any], args: Any, kwargs: Any, alone: bool | None = None
) -> Frontend | None:
    """The library that a program is of; None for NumPy."""
    if alone is None:
        alone = stands_alone(function, args, kwargs)
    for frontend in FRONTENDS:
        if frontend.accepts(function, args, kwargs, alone):
            return frontend
    return None
