"""Calls as functions that JAX compiles, with their VJPs; those that are alike are compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax._src import core
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gradviz.record.jax import frames, in_place
from gradviz.record.jax.keep import is_key
from gradviz.record.jax.plan import LOOPS, OPENED, Step, inner_of


def wide() -> bool:
    """Whether JAX has 64 bits now."""
    return bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]


def is_float(aval: Any) -> bool:
    """Whether a value of this kind has a gradient."""
    return bool(jnp.issubdtype(aval.dtype, jnp.inexact))


def kind(array: Any) -> Any:
    """The shape and dtype of an array, to trace with."""
    return jax.ShapeDtypeStruct(array.shape, array.dtype)  # type: ignore[no-untyped-call]


def precision(jaxpr: Any) -> float:
    """The coarsest of what is computed, inside of a library's calls too."""
    written = (v for eqn in in_place.equations(jaxpr) for v in eqn.outvars)
    kinds = {v.aval.dtype for v in (*jaxpr.invars, *written)}
    floats = [kind for kind in kinds if not is_key(kind) and jnp.issubdtype(kind, jnp.inexact)]
    return max((float(jnp.finfo(k).eps) for k in floats), default=0.0)  # type: ignore[no-untyped-call]


class Pure:
    """A function of arrays, compiled, and its VJPs.

    Attributes
    ----------
    plain : callable
        Not compiled: for tracers.
    forward : callable
        The results for operands.
    wide : bool
        Whether it was made with 64 bits enabled.
    """

    def __init__(self, closed: Any) -> None:
        self.closed = closed
        self.avals = closed.in_avals
        self.out = closed.out_avals
        self.plain = core.jaxpr_as_fun(closed)
        self.forward = in_place.compiled(self.plain)
        self.wide = wide()
        self.parts: dict[int, int] = {}  # (see `inside`)
        self.pulls: dict[Any, tuple[Callable[..., Any], tuple[int, ...]]] = {}

    def pull(
        self, which: tuple[int, ...], wanted: tuple[int, ...]
    ) -> tuple[Callable[..., Any], tuple[int, ...]]:
        """``vjp(upstream terms, operands)``, and the operands that it sends messages to.

        Upstream terms are those of the results `which`; of the operands `wanted`, such as the
        results do not depend on get none.
        """
        found = self.pulls.get((which, wanted))
        if found is None:
            found = self.pulls[which, wanted] = self._pull(which, wanted)
        return found

    def sends(self, k: int, wanted: tuple[int, ...]) -> frozenset[int]:
        """Those of the operands `wanted` that result `k` depends on with a slope, be it 0.

        JAX computes none of a step, such as `round`, whose slope is 0.
        """
        jaxpr = self.closed.jaxpr
        steps = (
            n for n in wanted if _follows(jaxpr, [v is jaxpr.invars[n] for v in jaxpr.invars])[k]
        )
        return frozenset((*self.pull((k,), wanted)[1], *steps))

    def _pull(
        self, which: tuple[int, ...], wanted: tuple[int, ...]
    ) -> tuple[Callable[..., Any], tuple[int, ...]]:
        def vjp(upstream: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
            def results(*moving: Any) -> list[Any]:
                full = list(operands)
                for k, value in zip(wanted, moving, strict=True):
                    full[k] = value
                outs = self.plain(*full)
                return [outs[i] for i in which]

            _, back = jax.vjp(results, *[operands[k] for k in wanted])
            return list(back(list(upstream)))

        upstream = [self.out[i] for i in which]
        traced = jax.make_jaxpr(vjp)(list(map(kind, upstream)), list(map(kind, self.avals)))
        linear = _depends(traced.jaxpr, len(which))
        kept = [n for n, on in enumerate(linear) if on]
        small = ClosedJaxpr(
            traced.jaxpr.replace(
                outvars=[traced.jaxpr.outvars[n] for n in kept],
                debug_info=traced.jaxpr.debug_info._replace(result_paths=None),
            ),
            traced.consts,
        )
        function = core.jaxpr_as_fun(small)
        compiled = in_place.compiled(lambda upstream, operands: function(*upstream, *operands))
        return compiled, tuple(wanted[n] for n in kept)


def _depends(jaxpr: Any, count: int) -> list[bool]:
    """Which results depend on the first `count` arguments: the others are symbolic zeros."""
    reached = set(jaxpr.invars[:count])
    for eqn in jaxpr.eqns:
        if any(not isinstance(a, Literal) and a in reached for a in eqn.invars):
            reached.update(eqn.outvars)
    return [not isinstance(v, Literal) and v in reached for v in jaxpr.outvars]


def _follows(jaxpr: Any, on: Sequence[bool]) -> list[bool]:
    """Which results have a way from these arguments through floats that nothing stops."""
    seen = {v for v, one in zip(jaxpr.invars, on, strict=True) if one}
    for eqn in jaxpr.eqns:
        given = [not isinstance(a, Literal) and a in seen for a in eqn.invars]
        name = eqn.primitive.name
        if not any(given) or name == "stop_gradient":
            continue
        if name in OPENED:
            inner, _ = inner_of(eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")))
            found = _follows(inner, given)
        else:  # (a rule of its own says what it lets pass)
            found = [not name.startswith("custom_") and name not in LOOPS] * len(eqn.outvars)
        seen.update(
            v for v, one in zip(eqn.outvars, found, strict=True) if one and is_float(v.aval)
        )
    return [not isinstance(v, Literal) and v in seen for v in jaxpr.outvars]


# --- alike ----------------------------------------------------------------------------------------

_known: dict[Any, Pure] = {}
_held: list[Any] = []  # what keys name by its id
_jaxprs: dict[int, Any] = {}


def pure(step: Step) -> Pure:
    """A step as a function; steps that do the same share it."""
    if step.made is None:
        jaxpr = step.jaxpr()
        name = key(jaxpr)
        step.made = _known.get(name)
        if step.made is None:
            if len(_known) > 20_000:  # programs without end
                _known.clear()
                _held.clear()
                _jaxprs.clear()
            step.made = _known[name] = Pure(ClosedJaxpr(jaxpr, ()))
    made: Pure = step.made
    return made


def key(jaxpr: Any) -> Any:
    """Equal for jaxprs that compute the same: literals are part of it."""
    numbers: dict[Any, int] = {}

    def atom(a: Any) -> Any:
        if isinstance(a, Literal):
            return frozen(a)
        return numbers.setdefault(a, len(numbers)), _told(a.aval)

    inputs = tuple(map(atom, (*jaxpr.constvars, *jaxpr.invars)))
    eqns = tuple(
        (eqn.primitive.name, id(eqn.primitive), _params(eqn), tuple(map(atom, eqn.invars)),
         tuple(map(atom, eqn.outvars)))
        for eqn in jaxpr.eqns
    )  # fmt: skip
    return inputs, eqns, tuple(map(atom, jaxpr.outvars)), wide()


def _told(aval: Any) -> Any:
    """Equal for equal kinds of values (in words that takes ten times as long)."""
    if type(aval) is core.ShapedArray and aval.sharding.mesh.empty:
        return aval.shape, aval.dtype, aval.weak_type
    return str(aval)


def _params(eqn: Any) -> Any:
    params = eqn.params
    told = ""
    if eqn.primitive.name == "custom_jvp_call":
        info = params["call_jaxpr"].jaxpr.debug_info
        # (A library's rule belongs to its function; one of the user's may hold what is around it.)
        if info and info.func_filename and not frames.is_users(info.func_filename):
            told = info.func_src_info
    return tuple(
        (name, told if told and name == "jvp_jaxpr_fun" else frozen(value))
        for name, value in sorted(params.items())
    )


def frozen(value: Any) -> Any:
    """What stands for a parameter of an equation in a key; what has no value, by its identity."""
    if isinstance(value, Literal):
        array = np.asarray(value.val)
        return "literal", array.tobytes(), str(value.aval)
    if isinstance(value, ClosedJaxpr):
        if id(value) not in _jaxprs:  # (JAX traces a library's function once)
            told = "jaxpr", key(value.jaxpr), tuple(map(frozen, value.consts))
            _jaxprs[id(value)] = told, value
        return _jaxprs[id(value)][0]
    if isinstance(value, Jaxpr):
        return "jaxpr", key(value)
    if isinstance(value, (tuple, list)):
        return type(value).__name__, tuple(map(frozen, value))
    if value is None or type(value) in (int, float, bool, str, complex):
        return type(value).__name__, repr(value)
    if isinstance(value, np.dtype):
        return str(value)
    if not callable(value) and not isinstance(value, jax.Array):
        try:
            hash(value)
        except TypeError:
            pass
        else:
            return value
    _held.append(value)
    return id(value)
