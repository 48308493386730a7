"""Functions for JAX to compile, with writes into arrays that are right.

On a processor XLA fuses a write such as ``x.ravel().at[1:4].set(x.ravel()[:3])`` with what it
reads, computes it in place, and then reads what it has just written: so with jaxlib 0.10.2, where
`jax.jit` of such a program gives other numbers than the program itself. What writes is therefore
compiled without fusion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

UNFUSED = {"xla_disable_hlo_passes": "fusion"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `jax.jit`; for arguments of the same kinds in each call."""
    chosen: list[Callable[..., Any]] = []

    @wraps(function)
    def run(*args: Any) -> Any:
        if not chosen:
            plain = jax.jit(function)
            fused = jax.default_backend() != "cpu" or not _writes(plain.trace(*args).jaxpr)
            chosen.append(plain if fused else jax.jit(function, compiler_options=UNFUSED))
        return chosen[0](*args)

    return run


def _writes(jaxpr: Any) -> bool:
    """Whether a jaxpr, or one in it, writes into an array."""
    writing = "scatter", "dynamic_update_slice"
    return any(eqn.primitive.name.startswith(writing) for eqn in equations(jaxpr))


def equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr, and of those in it."""
    for eqn in (jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr).eqns:
        yield eqn
        for inner in _inside(eqn.params.values()):
            yield from equations(inner)


def _inside(values: Any) -> Iterator[Any]:
    """The jaxprs among the parameters of an equation."""
    for value in values:
        if isinstance(value, (ClosedJaxpr, Jaxpr)):
            yield value
        elif isinstance(value, tuple):
            yield from _inside(value)
