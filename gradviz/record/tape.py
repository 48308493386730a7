"""Where recorded values go: the tape of a trace, and the scope that the program is in."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar
from sys import _getframe
from types import FrameType
from typing import Any, ClassVar

import numpy as np

from gradviz.errors import TraceError
from gradviz.files import writable
from gradviz.model import Node
from gradviz.quiet import quiet
from gradviz.record.names import user_frame, where

next_order = itertools.count().__next__
STALE = 2**62
"""The order of a view whose array was written to, until it is used again."""

# Where a recorded value is appended, and its scope. Outside a trace nobody keeps the tape: values
# hold their operands, so `graph(f)` finds all that f depends on. A ContextVar keeps threads and
# asyncio tasks apart.
forget = deque[Node](maxlen=0).append
recording: ContextVar[tuple[Callable[[Node], None], tuple[str, ...]]] = ContextVar(
    "recording", default=(forget, ())
)


class tape:
    """Keep every value recorded in this context, also those that nothing depends on."""

    __slots__ = ("errors", "token")

    def __enter__(self) -> list[Node]:
        kept: list[Node] = []
        self.errors = telling()
        self.errors.__enter__()
        self.token = recording.set((kept.append, ()))
        return kept

    def __exit__(self, *error: Any) -> None:
        recording.reset(self.token)
        self.errors.__exit__(*error)


class telling(quiet):
    """Have NumPy's warnings of numbers that are not finite name the user's line (see `_warn`)."""

    __slots__ = ()
    known: ClassVar[tuple[Any, Any]] = (None, None)

    @staticmethod
    def state() -> np.errstate:
        """See `quiet.state`."""
        told: Any = {kind: "call" for kind, how in np.geterr().items() if how == "warn"}
        return np.errstate(call=_warn, **told)


def _warn(kind: str, _: int) -> None:
    """NumPy's warning of a number that is not finite, at the user's line instead of ours."""
    frame = user_frame(_getframe(1))
    if frame is not None:
        warnings.warn_explicit(
            f"{kind} encountered",
            RuntimeWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
            frame.f_globals.get("__name__"),
            frame.f_globals.setdefault("__warningregistry__", {}),
        )


DEEPEST = 100
"""So many scopes may be nested: pictures draw frame within frame."""


class scope(ContextDecorator):
    """Put what is recorded inside into a scope: a layer, a neuron, any part of the program.

    Parameters
    ----------
    name : str
        Scopes nest; pictures draw each as a frame around its values.

    Raises
    ------
    TraceError
        More than 100 scopes are nested.

    Examples
    --------
    >>> import gradviz as gv
    >>> x = gv.input(2.0, "x")
    >>> with gv.scope("neuron"):
    ...     y = x * x
    >>> y.scope
    ('neuron',)
    """

    def __init__(self, name: str) -> None:
        self.name = writable(str(name))
        self.entered: list[Any] = []

    def _recreate_cm(self) -> scope:
        return scope(self.name)

    def __enter__(self) -> None:
        present = recording.get()
        append, outer = _running(*present)
        if len(outer) >= DEEPEST:
            raise TraceError(
                f"the scope {self.name!r} would be number {DEEPEST + 1} of nested ones; open it "
                f"around the first call of a recursion only, at {where(_getframe(1))}"
            )
        frame = _getframe(1)
        driver = frame.f_back and frame.f_back.f_globals.get("__name__")
        if frame.f_code.co_flags & _GENERATOR and driver != "contextlib":
            append = _OfGenerator(frame, present)
        token = recording.set((append, (*outer, self.name)))
        self.entered.append(append if isinstance(append, _OfGenerator) else token)

    def __exit__(self, *_: Any) -> None:
        entered = self.entered.pop()
        if not isinstance(entered, _OfGenerator):
            recording.reset(entered)
            return
        entered.frame = None
        append, outer = recording.get()  # of another context, if that one ends the generator
        while isinstance(append, _OfGenerator) and append.frame is None:
            append, outer = append.outer
        recording.set((append, outer))


_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class _OfGenerator:
    """Appends values to the tape, into a generator's scope only while the generator runs.

    A generator pauses in the midst of its scope, and what others then compute is not in it.
    """

    def __init__(self, frame: FrameType, outer: tuple[Any, tuple[str, ...]]) -> None:
        self.frame: FrameType | None = frame
        self.outer = outer

    def __call__(self, node: Node) -> None:
        append, node.scope = _running(self, node.scope)
        while isinstance(append, _OfGenerator):
            append = append.outer[0]
        append(node)


def _running(append: Any, scope: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Of the generators that opened the scopes, the first that is at work, or has called us."""
    while isinstance(append, _OfGenerator):
        frame: FrameType | None = _getframe(2)
        while frame is not None and frame is not append.frame:
            frame = frame.f_back
        if frame is not None:
            break
        append, scope = append.outer
    return append, scope


def start(node: Node) -> None:
    """Put a value whose operation and operands are set on the tape, in the present scope."""
    node.order = next_order()
    append, node.scope = recording.get()
    append(node)
