"""The libraries whose programs are recorded: what each accepts, and its program.

A new one is a folder beside this file and an entry in `FRONTENDS`. What none of them accepts is
NumPy's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from gradviz.model import Program
from gradviz.record.arguments import is_float, nested
from gradviz.record.reach import reach, stands_alone


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
    """

    library: str
    values: tuple[str, ...]
    options: tuple[str, ...]
    program: Callable[[], Callable[..., Program]]

    def accepts(self, function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
        """Whether a program is of this library."""
        library = sys.modules.get(self.library)
        if library is None or stands_alone(function, args, kwargs):
            return False
        kinds = tuple(attrgetter(name)(library) for name in self.values)
        given = list(nested((args, kwargs)))
        if any(isinstance(value, kinds) for value in given):
            return True
        # A method of an object that holds a model, say, may well compute with NumPy's arrays alone.
        attributes = not any(map(is_float, given))
        roots = [("", function), *(("", value) for value in given)]
        return any(isinstance(found.value, kinds) for found in reach(roots, attributes))


def _torch() -> Callable[..., Program]:
    from gradviz.record.torch.trace import TorchProgram

    return TorchProgram


FRONTENDS = (Frontend("torch", ("nn.Module", "Tensor"), ("loss", "capture"), _torch),)


def frontend_of(function: Callable[..., Any], args: Any, kwargs: Any) -> Frontend | None:
    """The library that a program is of; None for NumPy."""
    return next((one for one in FRONTENDS if one.accepts(function, args, kwargs)), None)
