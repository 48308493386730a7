"""A plan run stretch by stretch, and what was computed as nodes.

JAX runs what is compiled; the course of the program (branches, loops until something holds) is
followed here. Of a loop each round has its own nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.extend.core import Literal

from gradviz.chain.repeats import repetitions
from gradviz.model import Node
from gradviz.record.jax.keep import is_key, sliced, spread, spread_statistics, statistics
from gradviz.record.jax.operation import JaxOperation, keywords, notation, slopes
from gradviz.record.jax.plan import Plan, Step
from gradviz.record.jax.pure import Pure, is_float, pure
from gradviz.record.jax.segments import (
    Compiled,
    Rounds,
    Segment,
    compiled,
    is_static,
    look,
    segment,
    unpack,
)

Scope = tuple[str, ...]
LONGEST = 150
"""So many calls are compiled together: the time that takes grows faster than their number."""


class Live(NamedTuple):
    """A recorded value while the program runs.

    Attributes
    ----------
    array : jax.Array
        None inside of what was compiled.
    node : Node
        Whose value is what was kept.
    """

    array: Any
    node: Node


class Ran(NamedTuple):
    """A stretch that ran."""

    of: Segment
    compiled: Compiled
    env: dict[Any, Any]
    pulls: Any
    nodes: list[Any]


class Call(NamedTuple):
    """The nodes of one call, and of its operands, None for plain ones."""

    nodes: list[Node]


class Loop(NamedTuple):
    """The nodes of a scan, by the place of each round."""

    places: Sequence[int]
    bodies: list[list[Any]]
    rows: list[list[Node | None]]
    stacks: list[Node | None]


class Capture:
    """Runs a plan.

    Attributes
    ----------
    recorded : list of Node
    """

    def __init__(self, whole: bool) -> None:
        self.whole = whole
        self._measured: dict[Any, Any] = {}
        self.recorded: list[Node] = []
        self.ran: list[Ran] = []
        self.varying: set[int] = set()
        self.gradients: dict[int, Any] = {}
        self.messages: dict[tuple[int, int], Any] = {}

    def leaf(self, value: Any, operation: Any, name: str, varies: bool) -> Live:
        """Record a leaf."""
        node = self._node(value, operation, (), (), name=name)
        if varies:
            self.varying.add(node.order)
        return Live(value, node)

    def _node(
        self, value: Any, operation: Any, operands: tuple[Any, ...], scope: Scope, **about: Any
    ) -> Node:
        value = self._kept(value)
        node = Node.new(value, operation, operands, order=len(self.recorded), scope=scope, **about)
        self.recorded.append(node)
        return node

    def _unpacked(self, packed: Any) -> Any:
        """What compiled code has computed."""
        self._measured.clear()
        return unpack(packed, _fetched)

    def _kept(self, value: Any) -> Any:
        """An array, or its statistics, taken once though it be a message and a gradient."""
        if self.whole:
            return value
        if not isinstance(value, np.ndarray):
            return statistics(value)
        key = value.__array_interface__["data"][0], value.shape
        if key not in self._measured:
            self._measured[key] = statistics(value), value
        return self._measured[key][0]

    # --- forwards ---------------------------------------------------------------------------------

    def run(self, steps: Plan, args: Sequence[Any], scope: Scope = ()) -> list[Any]:
        """The results, live or plain arrays, for arguments that are such."""
        env: dict[Any, Any] = dict(zip(steps.jaxpr.constvars, steps.consts, strict=True))
        env.update(zip(steps.jaxpr.invars, args, strict=True))
        for part in _parts(steps):
            if isinstance(part, Segment):
                self._stretch(part, env, scope)
                continue
            operands = [_read(atom, env) for atom in part.reads]
            if any(isinstance(o, Live) for o in operands):
                follow = {"cond": self._cond, "while": self._while, "scan": self._rounds}[part.kind]
                results = follow(part, operands, scope + part.scope)
            else:
                results = pure(part.as_call()).forward(*operands)
            env.update(zip(part.writes, results, strict=True))
        return [_read(atom, env) for atom in steps.jaxpr.outvars]

    def _stretch(self, of: Segment, env: dict[Any, Any], scope: Scope) -> None:
        given = [env[v] for v in of.inputs]
        live = [isinstance(x, Live) for x in given]
        vary = [isinstance(x, Live) and x.node.order in self.varying for x in given]
        made = compiled(of, live, vary)
        results, kept, pulls = made.forward([_plain(x) for x in given])
        nodes = {v: x.node if isinstance(x, Live) else x for v, x in env.items()}
        told = self._noted(of.steps, self._unpacked(kept), nodes, scope)
        for v, array in zip(of.outputs, results, strict=True):
            node = nodes[v]
            env[v] = Live(array, node) if isinstance(node, Node) else array
        self.ran.append(Ran(of, made, env, pulls, told))

    def _noted(
        self, steps: Sequence[Step], kept: Sequence[Any], nodes: dict[Any, Any], scope: Scope
    ) -> list[Any]:
        """Nodes for what steps have computed; what depends on no leaf is a constant."""
        told: list[Any] = []
        for step, values in zip(steps, kept, strict=True):
            operands = [_read(a, nodes) for a in step.reads]
            inside = scope + step.scope
            one: Call | Loop
            results: Sequence[Any]
            if step.kind == "scan":
                results, one = self._loop(step, values, operands, inside)
            elif any(isinstance(o, Node) for o in operands):
                made = self._call(step, pure(step), values, operands, inside)
                results, one = made, Call(made)
            else:
                results, one = values, Call([])
            nodes.update(zip(step.writes, results, strict=True))
            told.append(one)
        return told

    def _call(
        self, step: Step, made: Pure, values: Sequence[Any], operands: Sequence[Any], scope: Scope
    ) -> list[Node]:
        varies = any(isinstance(o, Node) and o.order in self.varying and is_float(a)
                     for o, a in zip(operands, made.avals, strict=True))  # fmt: skip
        formula, known = notation(step, len(operands)), slopes(step, len(operands))
        found: list[Node] = []
        for k, value in enumerate(values):
            name = f"{step.name}[{k}]" if len(values) > 1 else step.name
            operation = JaxOperation(name, made if self.whole else None, k, formula)
            operation.slopes = known
            node = self._node(
                value, operation, tuple(operands), scope, site=step.site, keywords=keywords(step)
            )
            if varies and is_float(made.out[k]):
                self.varying.add(node.order)
            found.append(node)
        return found

    def _loop(
        self, step: Step, kept: Rounds, operands: Sequence[Any], scope: Scope
    ) -> tuple[list[Any], Loop]:
        """Nodes for each round of a scan that was compiled."""
        params, body = step.params, step.inner[0]
        count, carried, length = params["num_consts"], params["num_carry"], params["length"]
        constants, carry = list(operands[:count]), list(operands[count : count + carried])
        inputs = operands[count + carried :]
        called = body.arguments[count + carried :]
        places = range(length)[::-1] if params["reverse"] else range(length)
        bodies: list[list[Any]] = []
        rows: list[list[Node | None]] = []
        given: list[list[Any]] = [[]] * length
        for n, i in enumerate(places, 1):
            inside = _round(scope, body, "scan", n)
            row: list[Any] = [sliced(x, i) for x in kept.rows]
            for k, whole in enumerate(inputs):
                if isinstance(whole, Node):
                    name = called[k] if k < len(called) and called[k].isidentifier() else ""
                    row[k] = self._row(row[k], whole, i, step, inside, name)
            env = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
            env.update(zip(body.jaxpr.invars, [*constants, *carry, *row], strict=True))
            bodies.append(self._noted(body.steps, sliced(kept.body, i), env, inside))
            rows.append([x if isinstance(x, Node) else None for x in row])
            out = [_read(a, env) for a in body.jaxpr.outvars]
            carry, given[i] = out[:carried], out[carried:]
        stacks = [
            self._stack(value, [row[k] for row in given], step, scope)
            for k, value in enumerate(kept.stacks)
        ]
        loop = Loop(places, bodies, rows, [x if isinstance(x, Node) else None for x in stacks])
        return [*carry, *stacks], loop

    def _row(self, value: Any, whole: Node, i: int, step: Step, scope: Scope, name: str) -> Node:
        operation = JaxOperation("getitem", None, 0, f"a[{i}]")
        if self.whole:
            operation.reads_row(i)
        node = self._node(value, operation, (whole,), scope, name=name, site=step.site)
        if whole.order in self.varying:
            self.varying.add(node.order)
        return node

    def _stack(self, value: Any, parts: list[Any], step: Step, scope: Scope) -> Any:
        if not any(isinstance(part, Node) for part in parts):
            return value
        operation = JaxOperation("stack", None, 0, "")
        if self.whole:
            operation.stacks()
        node = self._node(value, operation, tuple(parts), scope, site=step.site)
        if any(isinstance(p, Node) and p.order in self.varying for p in parts):
            self.varying.add(node.order)
        return node

    # --- what depends on numbers ------------------------------------------------------------------

    def _cond(self, step: Step, operands: Sequence[Any], scope: Scope) -> list[Any]:
        index, *rest = operands
        chosen = min(max(int(_plain(index)), 0), len(step.inner) - 1)
        return self.run(step.inner[chosen], rest, scope)

    def _while(self, step: Step, operands: Sequence[Any], scope: Scope) -> list[Any]:
        _, body = step.inner
        first, second = step.params["cond_nconsts"], step.params["body_nconsts"]
        around, given = operands[:first], operands[first : first + second]
        carry = list(operands[first + second :])
        step.made = step.made or Pure(step.params["cond_jaxpr"])
        n = 0
        while bool(step.made.forward(*map(_plain, (*around, *carry)))[0]):
            n += 1
            carry = self.run(body, [*given, *carry], _round(scope, body, "while", n))
        return carry

    def _rounds(self, step: Step, operands: Sequence[Any], scope: Scope) -> list[Any]:
        """A scan whose body branches."""
        params, body = step.params, step.inner[0]
        count, carried, length = params["num_consts"], params["num_carry"], params["length"]
        constants, carry = list(operands[:count]), list(operands[count : count + carried])
        places = range(length)[::-1] if params["reverse"] else range(length)
        rows: list[list[Any]] = [[]] * length
        for n, i in enumerate(places, 1):
            inside = _round(scope, body, "scan", n)
            row = [
                self._made(_row_of, "getitem", [x, jnp.int32(i)], step, inside)
                for x in operands[count + carried :]
            ]
            out = self.run(body, [*constants, *carry, *row], inside)
            carry, rows[i] = out[:carried], out[carried:]
        stacked = [
            self._made(_stacked, "stack", list(column), step, scope)
            for column in zip(*rows, strict=True)
        ]
        return [*carry, *stacked]

    def _made(
        self, function: Callable[..., Any], name: str, args: list[Any], step: Step, scope: Scope
    ) -> Any:
        """A call of ours, as part of a loop."""
        plain = list(map(_plain, args))
        if not any(isinstance(x, Live) for x in args):
            return function(*plain)
        closed = jax.make_jaxpr(function)(*plain)
        call = Step.of(closed, name, step.place)
        return self.run(Plan(closed.jaxpr, (), [call], (), ""), args, scope)[0]

    # --- backwards --------------------------------------------------------------------------------

    def backward(self, output: Live) -> None:
        """Find `gradients`, by order of recording, and `messages`, by that and the position."""
        if output.node.order not in self.varying:
            return
        upstream: dict[int, Any] = {output.node.order: jnp.ones_like(output.array)}
        for ran in reversed(self.ran):
            outputs = [ran.env[v] for v in ran.of.outputs]
            given = [upstream.get(x.node.order) if isinstance(x, Live) else None for x in outputs]
            if all(g is None for g in given):
                continue
            kept, back = ran.compiled.backward(ran.pulls, given)
            for told, sent in zip(ran.nodes, self._unpacked(kept), strict=True):
                self._learn(told, sent)
            for v, g in zip(ran.of.inputs, back, strict=True):
                if g is not None:
                    order = ran.env[v].node.order
                    known = upstream.get(order)
                    upstream[order] = g if known is None else _add(known, g)
        for node in self.recorded:
            if not node.operands and node.order in upstream:
                self.gradients[node.order] = self._kept(upstream[node.order])
        self.upstream = upstream

    def _learn(self, told: Any, sent: Any) -> None:
        if isinstance(told, Loop):
            self._learn_loop(told, sent)
            return
        for node, gradient, messages in zip(told.nodes, *sent, strict=bool(told.nodes)):
            if gradient is not None:
                self.gradients[node.order] = self._kept(gradient)
            for position, message in messages.items():
                self.messages[node.order, position] = self._kept(message)
            node.operation.sends(messages)

    def _learn_loop(self, loop: Loop, sent: Rounds) -> None:
        for k, node in enumerate(loop.stacks):
            if node is None or k >= len(sent.stacks) or sent.stacks[k] is None:
                continue
            self.gradients[node.order] = self._kept(sent.stacks[k])
            for i, part in enumerate(node.operands):
                if isinstance(part, Node) and part.order in self.varying:
                    self.messages[node.order, i] = self._kept(sliced(sent.stacks[k], i))
            node.operation.sends(range(len(node.operands)))
        if sent.body is None:
            return
        for i, body, rows in zip(loop.places, loop.bodies, loop.rows, strict=True):
            for told, one in zip(body, sliced(sent.body, i), strict=True):
                self._learn(told, one)
            for row, gradient in zip(rows, sent.rows, strict=True):
                if row is not None and gradient is not None:
                    found = sliced(gradient, i)
                    self.gradients[row.order] = self._kept(found)
                    made = spread if self.whole else spread_statistics
                    self.messages[row.order, 0] = made(found, i, row.operands[0].value.shape)
                    row.operation.sends((0,))


_add: Callable[[Any, Any], Any] = jax.jit(lambda a, b: a + b)


def _fetched(value: Any) -> Any:
    """An array as NumPy's, which on the processor is the same memory; a key as it is."""
    return value if is_key(value.dtype) else np.asarray(value)


def _row_of(a: Any, i: Any) -> Any:
    return jax.lax.dynamic_index_in_dim(a, i, keepdims=False)


def _stacked(*parts: Any) -> Any:
    return jnp.stack(parts)


def _read(atom: Any, env: dict[Any, Any]) -> Any:
    return atom.val if isinstance(atom, Literal) else env[atom]


def _plain(value: Any) -> Any:
    return value.array if isinstance(value, Live) else value


def _round(scope: Scope, body: Plan, kind: str, n: int) -> Scope:
    name = body.name if body.name.isidentifier() else kind
    return (*scope, f"{name}[{n}]")


def _parts(steps: Plan) -> Iterator[Segment | Step]:
    """Stretches, and the steps between them whose course depends on numbers."""
    stretches: list[list[Step] | Step] = []
    for step in steps.steps:
        if not is_static(step):
            stretches.append(step)
        elif stretches and isinstance(stretches[-1], list):
            stretches[-1].append(step)
        else:
            stretches.append([step])
    cut: list[list[Step] | Step] = []
    for one in stretches:
        cut += [one] if isinstance(one, Step) else _cut(one)
    after = {v for v in steps.jaxpr.outvars if not isinstance(v, Literal)}
    found: list[Segment | Step] = []
    for part in reversed(cut):
        if isinstance(part, Step):
            found.append(part)
            read = part.reads
        else:
            found.append(segment(part, after))
            read = [a for step in part for a in step.reads]
        after.update(a for a in read if not isinstance(a, Literal))
    yield from reversed(found)


def _cut(steps: list[Step]) -> Iterator[list[Step]]:
    """A stretch in pieces, those that repeat apart."""
    if len(steps) <= LONGEST // 2:
        yield steps
        return
    numbers: dict[Any, int] = {}
    looks = [numbers.setdefault(look(step), len(numbers)) for step in steps]
    at = 0
    for start, period, rounds in repetitions(looks, [1] * len(steps)):
        if period < 6:
            continue
        yield from _pieces(steps[at:start])
        for n in range(rounds):
            yield from _pieces(steps[start + n * period : start + (n + 1) * period])
        at = start + period * rounds
    yield from _pieces(steps[at:])


def _pieces(steps: list[Step]) -> Iterator[list[Step]]:
    for start in range(0, len(steps), LONGEST):
        yield steps[start : start + LONGEST]
