"""Derivative rules of a program's own, and whether they are those of what it computes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr

from gradviz.errors import TraceError
from gradviz.record.jax import frames, in_place
from gradviz.record.jax.keep import array, put
from gradviz.record.jax.plan import plan
from gradviz.record.jax.pure import Pure, is_float, precision


def kind(equations: Any) -> str:
    """What gives a function in what has equations a rule of the program's own; "" for nothing."""
    for eqn in in_place.equations(equations):
        name = eqn.primitive.name
        if name.startswith("custom_vjp"):
            return "jax.custom_vjp"
        if name.startswith("custom_jvp"):  # (functions of libraries have right ones)
            told = eqn.params["call_jaxpr"].jaxpr.debug_info
            if told and frames.is_users(told.func_filename or ""):
                return "jax.custom_jvp"
    return ""


def differs(made: Pure, index: int, operands: Sequence[Any]) -> bool | None:
    """Whether what a result sends back is not by the derivative of what is computed.

    None where JAX has none of that: of a loop until something holds, say.
    """
    floats = tuple(k for k, aval in enumerate(made.avals) if is_float(aval))
    upstream = put(
        np.random.default_rng(0).uniform(0.5, 1.5, made.out[index].shape), made.out[index]
    )

    def messages(function: Pure) -> list[Any]:
        vjp, to = function.pull((index,), floats)
        sent = dict(zip(to, map(array, vjp([upstream], operands)), strict=True))
        return [sent.get(k, np.zeros(made.avals[k].shape)) for k in floats]

    try:
        steps = plan(made.closed, frozenset(("all", "rules")))
        computed = messages(Pure(ClosedJaxpr(steps.jaxpr, steps.consts)))
    except (TraceError, ValueError, NotImplementedError):
        return None
    epsilon = precision(made.closed.jaxpr)
    return not all(map(partial(same, epsilon=epsilon), messages(made), computed))


def same(one: Any, other: Any, epsilon: float) -> bool:
    """Whether two gradients are equal but for rounding."""
    if one is None:
        return not np.any(other)
    one, other = np.asarray(one), np.asarray(other)
    finite = np.abs(other[np.isfinite(other)])
    tolerance = min(1e3 * epsilon, 0.1)
    room = tolerance * finite.max(initial=0.0)
    return bool(np.allclose(one, other, rtol=tolerance, atol=room, equal_nan=True))
