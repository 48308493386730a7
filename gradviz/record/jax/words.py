"""What JAX says of a program that it cannot trace, in words for whoever wrote it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from gradviz.errors import TraceError
from gradviz.record.jax import frames
from gradviz.words import Site

_TOLD = (
    (jax.errors.TracerBoolConversionError,
     "asks for the truth of a traced value, which has none yet: write jnp.where or jax.lax.cond; "
     "or pass what the choice depends on as a plain bool or int, or bind it with "
     "functools.partial"),
    (jax.errors.TracerIntegerConversionError,
     "needs a plain integer where a traced value is: pass it as a Python int, which is not traced"),
    (jax.errors.NonConcreteBooleanIndexError,
     "selects by a traced mask, so that the shape of the result is not known: write "
     "jnp.where(mask, x, 0.0)"),
    (jax.errors.TracerArrayConversionError,
     "makes a NumPy array of a traced value, where its history would end: write jax.numpy in "
     "place of numpy"),
    (jax.errors.ConcretizationTypeError,
     "needs the number of a traced value (float, int, len ...): leave it an array, or pass it as "
     "a plain Python number"),
    (jax.errors.UnexpectedTracerError,
     "uses a value that another call of the function has left somewhere (a global, an attribute): "
     "return it instead, a JAX function has no side effects"),
)  # fmt: skip


@contextmanager
def in_our_words(title: str) -> Iterator[None]:
    """Raise what JAX raises as a TraceError that says where, and what to write instead."""
    try:
        yield
    except Exception as error:
        told = next((words for kind, words in _TOLD if isinstance(error, kind)), None)
        if told is None or isinstance(error, TraceError):
            raise
        line = _line(error)
        where = f" at {line}" if line else ""
        raise TraceError(f"{title or 'the function'} {told}{where}") from error


def _line(error: Exception) -> Site | None:
    """The user's line that raised."""
    frames_ = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames_ if frames.is_users(f.filename)]
    return Site(own[-1].filename, own[-1].lineno or 0, own[-1].line or "") if own else None
