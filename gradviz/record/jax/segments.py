"""Stretches of a plan that JAX compiles as a whole, with every value and message on the way.

A stretch holds calls and loops whose course does not depend on numbers. Stretches that are alike
(the blocks of a model) are compiled once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax, tree_util
from jax import numpy as jnp
from jax.extend.core import Literal

from gradviz.errors import TraceError
from gradviz.record.jax import in_place
from gradviz.record.jax.plan import Plan, Step
from gradviz.record.jax.pure import Pure, frozen, is_float, pure, wide


class Segment(NamedTuple):
    """A stretch.

    Attributes
    ----------
    steps : list of Step
    inputs : list of Var
        What it reads of others.
    outputs : list of Var
        What others read of it.
    made : dict
        It compiled, by which inputs are recorded and which vary.
    """

    steps: Sequence[Step]
    inputs: list[Any]
    outputs: list[Any]
    made: dict[Any, Any]


class Sent(NamedTuple):
    """Of one call: the gradients of its results, and what each sends to which operand."""

    gradients: list[Any]
    messages: list[dict[int, Any]]


class Rounds(NamedTuple):
    """Of a scan: what its body has, the rounds along the first axis.

    Attributes
    ----------
    body : list
    rows : list
        What each round got of the arrays that are scanned, or the gradients of that.
    stacks : list
        What the rounds gave to the results that are stacked, or the gradients of that.
    """

    body: Any
    rows: list[Any]
    stacks: list[Any]


def segment(steps: Sequence[Step], read_elsewhere: Iterable[Any]) -> Segment:
    """A stretch of steps; of what it writes, `read_elsewhere` is read by others."""
    written = {v for step in steps for v in step.writes}
    inputs = {a: None for s in steps for a in s.reads if not isinstance(a, Literal)}
    outside = {*read_elsewhere}
    return Segment(
        steps, [v for v in inputs if v not in written],
        [v for s in steps for v in s.writes if v in outside], {},
    )  # fmt: skip


class Compiled:
    """A stretch, compiled for which of its inputs are recorded, and which of them vary.

    Attributes
    ----------
    forward : callable
        ``forward(inputs)``: all values, the outputs, and what `backward` needs, packed.
    backward : callable
        ``backward(that, gradients of the outputs)``: all gradients and messages, and the
        gradients of the inputs, None where there is none; packed.
    """

    def __init__(self, of: Segment, live: Sequence[bool], vary: Sequence[bool]) -> None:
        self.of = of
        self.live = {v for v, on in zip(of.inputs, live, strict=True) if on}
        self.vary = {v for v, on in zip(of.inputs, vary, strict=True) if on}
        self.forward = in_place.compiled(self._forward)
        self.backward = in_place.compiled(self._backward)

    def _forward(self, inputs: Sequence[Any]) -> Any:
        env = dict(zip(self.of.inputs, inputs, strict=True))
        walk = _Walk(set(self.vary))
        kept, pulls = walk.forward(self.of.steps, env)
        return pack((kept, [env[v] for v in self.of.outputs], pulls), inputs)

    def _backward(self, pulls: Any, upstream: Sequence[Any]) -> Any:
        gradients = {v: g for v, g in zip(self.of.outputs, upstream, strict=True) if g is not None}
        walk = _Walk(set(self.vary))
        kept = walk.backward(self.of.steps, pulls, gradients)
        return pack((kept, [gradients.get(v) for v in self.of.inputs]), (pulls, upstream))


class _Walk:
    """Goes through steps while JAX traces."""

    def __init__(self, vary: set[Any]) -> None:
        self.vary = vary

    # (What varies is found anew in each pass: it depends on the steps alone.)
    def _wanted(self, step: Step) -> tuple[int, ...]:
        """The operands that get messages."""
        wanted = tuple(
            k for k, a in enumerate(step.reads)
            if not isinstance(a, Literal) and a in self.vary and is_float(a.aval)
        )  # fmt: skip
        if wanted:
            self.vary.update(v for v in step.writes if is_float(v.aval))
        return wanted

    def forward(self, steps: Sequence[Step], env: dict[Any, Any]) -> tuple[list[Any], list[Any]]:
        """The values, and the VJPs; the values are put in `env`."""
        kept: list[Any] = []
        pulls: list[Any] = []
        for step in steps:
            operands = [a.val if isinstance(a, Literal) else env[a] for a in step.reads]
            wanted = self._wanted(step)
            told: Any
            if step.kind == "scan":
                results, told, pull = self._scan(step, operands)
            else:
                try:
                    results, pull = _called(pure(step), operands, wanted)
                except NotImplementedError as error:
                    told = f"{step.name} has no gradient in JAX{step.place.told}: {error}"
                    raise TraceError(told) from error
                told = results
            env.update(zip(step.writes, results, strict=True))
            kept.append(told)
            pulls.append(pull)
        return kept, pulls

    def backward(
        self, steps: Sequence[Step], pulls: Sequence[Any], gradients: dict[Any, Any]
    ) -> list[Any]:
        """The gradients and messages; the gradients are put in `gradients`."""
        wanted = [self._wanted(step) for step in steps]
        kept: list[Any] = []
        for step, pull, to in zip(reversed(steps), reversed(pulls), reversed(wanted), strict=True):
            upstream = [gradients.get(v) for v in step.writes]
            told: Any
            if step.kind == "scan":
                told, back = self._scan_back(step, pull, upstream)
            else:
                told, back = self._sent(step, pull, upstream, to)
            for k, message in back:
                atom = step.reads[k]
                known = gradients.get(atom)
                gradients[atom] = message if known is None else known + message
            kept.append(told)
        return kept[::-1]

    def _sent(
        self, step: Step, pull: Any, upstream: list[Any], wanted: tuple[int, ...]
    ) -> tuple[Sent, list[tuple[int, Any]]]:
        back: list[tuple[int, Any]] = []
        active = [k for k, g in enumerate(upstream) if g is not None]
        sent: list[dict[int, Any]] = [{} for _ in upstream]
        if wanted and active:
            made = pure(step)
            floats = [k for k, a in enumerate(made.out) if is_float(a)]

            def messages(of: Sequence[int]) -> dict[int, Any]:
                given = [
                    upstream[k] if k in of else jnp.zeros(made.out[k].shape, made.out[k].dtype)
                    for k in floats
                ]
                to = set().union(*(made.sends(k, wanted) for k in of))
                found = zip(wanted, pull(given), strict=True)
                return {k: message for k, message in found if k in to}

            for k in active:
                sent[k] = messages((k,))
            if len(active) > 1 and step.is_own_rule:  # it need not be a sum over its results
                for position, message in messages(active).items():
                    rest = sum(sent[k].get(position, 0) for k in active[:-1])
                    sent[active[-1]][position] = message - rest
            back = [pair for k in active for pair in sent[k].items()]
        return Sent(upstream, sent), back

    # --- loops ------------------------------------------------------------------------------------

    def _inside(self, step: Step) -> _Walk:
        """For the body: what varies in some round of it."""
        body = step.inner[0].jaxpr
        carried = range(step.params["num_carry"])
        count = step.params["num_consts"]
        vary = {
            v for v, a in zip(body.invars, step.reads, strict=True)
            if not isinstance(a, Literal) and a in self.vary
        }  # fmt: skip
        while True:
            inner = _Walk(set(vary))
            for one in step.inner[0].steps:
                inner._enter(one)
            more = {
                body.invars[count + k] for k in carried
                if body.outvars[k] in inner.vary
            } - vary  # fmt: skip
            if not more:
                break
            vary |= more
        outs = [not isinstance(v, Literal) and v in inner.vary for v in body.outvars]
        self.vary.update(
            v for v, on in zip(step.writes, outs, strict=True) if on and is_float(v.aval)
        )
        return _Walk(vary)

    def _enter(self, step: Step) -> None:
        if step.kind == "scan":
            self._inside(step)
        else:
            self._wanted(step)

    def _scan(self, step: Step, operands: list[Any]) -> tuple[list[Any], Rounds, Any]:
        params, body = step.params, step.inner[0]
        count, carried = params["num_consts"], params["num_carry"]
        vary = self._inside(step).vary
        given = dict(zip(body.jaxpr.constvars, body.consts, strict=True))

        def one(carry: Any, row: Any) -> Any:
            env = given | dict(
                zip(body.jaxpr.invars, [*operands[:count], *carry, *row], strict=True)
            )
            walk = _Walk(set(vary))
            kept, pulls = walk.forward(body.steps, env)
            out = [a.val if isinstance(a, Literal) else env[a] for a in body.jaxpr.outvars]
            out = [jnp.asarray(x, v.aval.dtype) for x, v in zip(out, step.writes, strict=True)]
            rows = list(row)
            return out[:carried], (out[carried:], kept, rows, pulls)

        start = operands[count : count + carried]
        start = [jnp.asarray(x, a.aval.dtype) for x, a in zip(start, step.reads[count:],
                                                              strict=False)]  # fmt: skip
        carry, (ys, kept, rows, pulls) = lax.scan(
            one, start, operands[count + carried :], length=params["length"],
            reverse=params["reverse"],
        )  # fmt: skip
        return [*carry, *ys], Rounds(kept, rows, list(ys)), pulls

    def _scan_back(
        self, step: Step, pulls: Any, upstream: list[Any]
    ) -> tuple[Rounds, list[tuple[int, Any]]]:
        params, body = step.params, step.inner[0]
        count, carried, length = params["num_consts"], params["num_carry"], params["length"]
        walk = self._inside(step)
        variables = body.jaxpr.invars
        vary = {v for v in variables if v in walk.vary and is_float(v.aval)}
        constants = [k for k in range(count) if variables[k] in vary]
        moving = [k for k in range(carried) if variables[count + k] in vary]
        if all(g is None for g in upstream) or not vary:
            return Rounds(None, [], []), []

        def zeros(atom: Any) -> Any:
            return jnp.zeros(atom.aval.shape, atom.aval.dtype)

        def one(state: Any, row: Any) -> Any:
            carry, sums = state
            one_pulls, parts = row
            gradients: dict[Any, Any] = {}
            ends = [*zip(body.jaxpr.outvars[:carried], carry, strict=True),
                    *zip(body.jaxpr.outvars[carried:], parts, strict=True)]  # fmt: skip
            for atom, g in ends:
                if g is None or isinstance(atom, Literal):
                    continue
                gradients[atom] = g if atom not in gradients else gradients[atom] + g
            inner = _Walk(set(walk.vary))
            kept = inner.backward(body.steps, one_pulls, gradients)
            sums = [
                total if (g := gradients.get(variables[k])) is None else total + g
                for k, total in zip(constants, sums, strict=True)
            ]
            before: list[Any] = [None] * carried
            for k in moving:
                before[k] = gradients.get(variables[count + k])
                if before[k] is None:
                    before[k] = zeros(variables[count + k])
            found = [gradients.get(v) if v in vary else None for v in variables[count + carried :]]
            return (before, sums), (found, kept)

        start = [
            None if k not in moving else zeros(v) if g is None else g
            for k, (v, g) in enumerate(zip(step.writes[:carried], upstream, strict=False))
        ]
        state = start, [zeros(variables[k]) for k in constants]
        (before, sums), (rows, kept) = lax.scan(
            one, state, (pulls, upstream[carried:]), length=length,
            reverse=not params["reverse"],
        )  # fmt: skip
        back = [*zip(constants, sums, strict=True)]
        back += [(count + k, before[k]) for k in moving]
        back += [(count + carried + k, g) for k, g in enumerate(rows) if g is not None]
        back = [(k, g) for k, g in back if not isinstance(step.reads[k], Literal)
                and step.reads[k] in self.vary]  # fmt: skip
        return Rounds(kept, rows, upstream[carried:]), back


def _called(made: Pure, operands: list[Any], wanted: tuple[int, ...]) -> tuple[list[Any], Any]:
    """The results, and the VJP of those that are floats by the operands `wanted`."""
    floats = [k for k, a in enumerate(made.out) if is_float(a)]
    if not wanted or not floats:
        return list(made.plain(*operands)), None

    def function(*moving: Any) -> Any:
        full = list(operands)
        for k, value in zip(wanted, moving, strict=True):
            full[k] = value
        results = made.plain(*full)
        return [results[k] for k in floats], results

    _, pull, results = jax.vjp(function, *[operands[k] for k in wanted], has_aux=True)
    return list(results), pull


# --- out of compiled code -------------------------------------------------------------------------


LARGE = 1024
"""An argument of so many numbers that is a result too does not leave compiled code: it is there."""


class Layout(NamedTuple):
    """Which of the packed arrays is where; those below 0 are arguments, the last first."""

    tree: Any
    order: tuple[int, ...]


@partial(tree_util.register_dataclass, data_fields=["arrays"], meta_fields=["layout"])
class Packed:
    """Arrays, each once, though it be a message and a gradient too."""

    def __init__(self, arrays: Any, layout: Layout) -> None:
        self.arrays, self.layout = arrays, layout


def pack(kept: Any, arguments: Any) -> Packed:
    """A tree of arrays, as it leaves compiled code that has such arguments."""
    leaves, tree = tree_util.tree_flatten(kept)
    given = tree_util.tree_leaves(arguments)
    first = {id(a): ~n for n, a in enumerate(given) if np.size(a) >= LARGE}
    arrays: list[Any] = []
    for leaf in leaves:
        if id(leaf) not in first:
            first[id(leaf)] = len(arrays)
            arrays.append(leaf)
    return Packed(arrays, Layout(tree, tuple(first[id(leaf)] for leaf in leaves)))


def unpack(packed: Packed, arguments: Any) -> tuple[Any, ...]:
    """The trees again."""
    layout, arrays = packed.layout, packed.arrays
    arrays = [*arrays, *reversed(tree_util.tree_leaves(arguments))]
    found: tuple[Any, ...] = tree_util.tree_unflatten(
        layout.tree, [arrays[n] for n in layout.order]
    )
    return found


# --- alike ----------------------------------------------------------------------------------------

_known: dict[Any, Compiled] = {}


def compiled(of: Segment, live: Sequence[bool], vary: Sequence[bool]) -> Compiled:
    """A stretch, compiled; stretches that do the same share it."""
    here = tuple(live), tuple(vary), wide()
    found: Compiled | None = of.made.get(here)
    if found is None:
        key = shape_of(of.steps, of.inputs, of.outputs), here
        if key not in _known:
            if len(_known) > 2_000:  # programs without end
                _known.clear()
            _known[key] = Compiled(of, live, vary)
        found = of.made[here] = _known[key]
    return found


def shape_of(steps: Sequence[Step], inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    """Equal for stretches that do the same."""
    numbers = {v: n for n, v in enumerate(inputs)}
    told = []
    for step in steps:
        reads = tuple(
            ("literal", frozen(a)) if isinstance(a, Literal)
            else numbers.setdefault(a, len(numbers)) for a in step.reads
        )  # fmt: skip
        writes = tuple(numbers.setdefault(v, len(numbers)) for v in step.writes)
        told.append((look(step), reads, writes))
    kinds = tuple(str(v.aval) for v in inputs)
    return (
        kinds,
        tuple(told),
        tuple(frozen(v) if isinstance(v, Literal) else numbers.get(v, -1) for v in outputs),
    )


def look(step: Step) -> Any:
    """Equal for steps that do the same to other operands."""
    if step.kind == "call":
        return pure(step)
    body: Plan = step.inner[0]
    params = step.params
    told = params["num_consts"], params["num_carry"], params["length"], params["reverse"]
    names = [*body.jaxpr.constvars, *body.jaxpr.invars]
    return (
        step.kind,
        told,
        tuple(map(id, body.consts)),
        shape_of(body.steps, names, body.jaxpr.outvars),
    )
