"""A plan run stretch by stretch, and what was computed as nodes.

JAX runs what is compiled; the course of the program (branches, loops until something holds) is
followed here. Of a loop each round has its own nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax import tree_util
from jax.extend.core import Literal

from gradviz.model import Node
from gradviz.record.jax.arguments import Leaf
from gradviz.record.jax.follow import (
    Live,
    Rows,
    Scope,
    cond,
    inside,
    plain,
    scan,
    together,
    while_loop,
)
from gradviz.record.jax.keep import is_key, sliced, spread
from gradviz.record.jax.measuring import Measuring
from gradviz.record.jax.operation import JaxOperation, about
from gradviz.record.jax.plan import Plan, Step
from gradviz.record.jax.pure import Pure, is_float, pure
from gradviz.record.jax.segments import Compiled, Rounds, Segment, compiled, unpack
from gradviz.record.jax.stretches import stretches
from gradviz.statistics import Statistics


class Ran(NamedTuple):
    """A stretch that ran."""

    of: Segment
    compiled: Compiled
    env: dict[Any, Any]
    pulls: Any
    nodes: list[Any]

    def back(self, capture: Capture) -> None:
        """Send gradients through it."""
        given = [capture.upstream_of(self.env[v]) for v in self.of.outputs]
        if all(g is None for g in given):
            return
        kept, back = capture.started(self.compiled.backward, self.pulls, given)
        for told, sent in zip(reversed(self.nodes), reversed(kept), strict=True):
            capture.learn(told, sent)
        for v, g in zip(self.of.inputs, back, strict=True):
            if g is not None:
                capture.send(self.env[v].node, g)


class Call(NamedTuple):
    """The nodes of one call, and whether it but rearranges its operand's numbers."""

    nodes: list[Node]
    rearranges: bool = False


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
        self.measuring = Measuring()
        self._measured: dict[Any, Any] = {}
        self._rows: dict[int, dict[int, Statistics]] = {}
        self._received: dict[int, list[Any]] = {}
        self.recorded: list[Node] = []
        self.ran: list[Any] = []
        self.upstream: dict[int, Any] = {}
        self.varying: set[int] = set()
        self.gradients: dict[int, Any] = {}
        self.messages: dict[tuple[int, int], Any] = {}

    def leaf(self, value: Any, operation: Any, name: str, varies: bool, known: Leaf | None) -> Live:
        """Record a leaf, of which the statistics may be known."""
        node = self._node(known.measured if known else value, operation, (), (), name=name)
        if known:
            self._rows[node.order] = known.rows
        if varies:
            self.varying.add(node.order)
        return Live(value, node)

    def _node(
        self, value: Any, operation: Any, operands: tuple[Any, ...], scope: Scope,
        like: Any = None, **about: Any,
    ) -> Node:  # fmt: skip
        value = self._kept(value, like)
        node = Node.new(value, operation, operands, order=len(self.recorded), scope=scope, **about)
        self.recorded.append(node)
        return node

    def started(self, function: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
        """What compiled code computes, or is computing."""
        kept, *rest = unpack(function(*arguments), arguments)
        self._measured.clear()
        self.measuring.started()
        return self.fetched(kept) if self.whole else kept, *rest

    @staticmethod
    def fetched(kept: Any) -> Any:
        """Arrays as NumPy's, which on the processor is the same memory; keys as they are."""
        return tree_util.tree_map(lambda a: a if is_key(a.dtype) else np.asarray(a), kept)

    def _kept(self, value: Any, like: Any = None) -> Any:
        """An array, or its statistics, taken once though it be a message and a gradient.

        `like`: what is kept of an array of the same numbers in another order.
        """
        if self.whole or isinstance(value, Statistics):
            return value
        is_numpy = isinstance(value, np.ndarray)
        key = (value.__array_interface__["data"][0], value.shape) if is_numpy else id(value)
        if key not in self._measured:
            known = (like,) if isinstance(like, Statistics) else ()
            self._measured[key] = self.measuring.statistics(value, *known), value
        return self._measured[key][0]

    # --- forwards ---------------------------------------------------------------------------------

    def run(self, steps: Plan, args: Sequence[Any], scope: Scope = ()) -> list[Any]:
        """The results, live or plain arrays, for arguments that are such."""
        env: dict[Any, Any] = dict(zip(steps.jaxpr.constvars, steps.consts, strict=True))
        env.update(zip(steps.jaxpr.invars, args, strict=True))
        for part in stretches(steps, self.whole):
            if isinstance(part, Segment):
                self._stretch(part, env, scope)
                continue
            operands = [_read(atom, env) for atom in part.reads]
            if any(isinstance(o, Live) for o in operands):
                follow = {"cond": cond, "while": while_loop, "scan": scan}[part.kind]
                results = follow(self, part, operands, scope + part.scope)
            else:
                results = pure(part.as_call()).forward(*operands)
            env.update(zip(part.writes, results, strict=True))
        return [_read(atom, env) for atom in steps.jaxpr.outvars]

    def _stretch(self, of: Segment, env: dict[Any, Any], scope: Scope) -> None:
        given = [env[v] for v in of.inputs]
        live = [isinstance(x, Live) for x in given]
        vary = [isinstance(x, Live) and x.node.order in self.varying for x in given]
        made = compiled(of, live, vary)
        kept, results, pulls = self.started(made.forward, [plain(x) for x in given])
        nodes = {v: x.node if isinstance(x, Live) else x for v, x in env.items()}
        told = self._noted(of.steps, kept, nodes, scope)
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
            around = scope + step.scope
            one: Call | Loop
            results: Sequence[Any]
            if step.kind == "scan":
                results, one = self._loop(step, values, operands, around)
            elif any(isinstance(o, Node) for o in operands):
                made = self._call(step, pure(step), values, operands, around)
                results, one = made, Call(made, about(step).rearranges)
            else:
                results, one = values, Call([])
            nodes.update(zip(step.writes, results, strict=True))
            told.append(one)
        return told

    def _call(
        self, step: Step, made: Pure, values: Sequence[Any], operands: Sequence[Any], scope: Scope
    ) -> list[Node]:
        vary = [k for k, (o, a) in enumerate(zip(operands, made.avals, strict=True))
                if isinstance(o, Node) and o.order in self.varying and is_float(a)]  # fmt: skip
        known = about(step)
        like = operands[0].value if known.rearranges else None
        found: list[Node] = []
        for k, value in enumerate(values):
            name = f"{step.name}[{k}]" if len(values) > 1 else step.name
            operation = JaxOperation(name, made if self.whole else None, k, known.formula)
            operation.slopes, operation.own_rule = known.slopes, known.rule
            operation.inside_of = step.place.inside
            node = self._node(
                value, operation, tuple(operands), scope, like, site=step.site,
                keywords={**known.keywords},
            )  # fmt: skip
            if vary and is_float(made.out[k]):
                self.varying.add(node.order)
                operation.sends(vary)  # (`learn` knows better, of what J depends on)
            found.append(node)
        return found

    def _loop(
        self, step: Step, kept: Rounds, operands: Sequence[Any], scope: Scope
    ) -> tuple[list[Any], Loop]:
        """Nodes for each round of a scan that was compiled."""
        params, body = step.params, step.inner[0]
        count, carried, length = params["num_consts"], params["num_carry"], params["length"]
        kept = self.fetched(kept)
        constants, carry = list(operands[:count]), list(operands[count : count + carried])
        inputs = operands[count + carried :]
        called = body.arguments[count + carried :]
        places = range(length)[::-1] if params["reverse"] else range(length)
        bodies: list[list[Any]] = []
        rows: list[list[Node | None]] = []
        given: list[list[Any]] = [[]] * length
        for n, i in enumerate(places, 1):
            around = inside(scope, body, "scan", n)
            row: list[Any] = [sliced(x, i) for x in kept.rows]
            for k, whole in enumerate(inputs):
                if isinstance(whole, Node):
                    name = called[k] if k < len(called) and called[k].isidentifier() else ""
                    row[k] = self.row(row[k], whole, i, step, around, name)
            env = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
            env.update(zip(body.jaxpr.invars, [*constants, *carry, *row], strict=True))
            bodies.append(self._noted(body.steps, sliced(kept.body, i), env, around))
            rows.append([x if isinstance(x, Node) else None for x in row])
            out = [_read(a, env) for a in body.jaxpr.outvars]
            carry, given[i] = out[:carried], out[carried:]
        stacks = [
            self.stack(value, [row[k] for row in given], step, scope)
            for k, value in enumerate(kept.stacks)
        ]
        loop = Loop(places, bodies, rows, [x if isinstance(x, Node) else None for x in stacks])
        return [*carry, *stacks], loop

    def row(self, value: Any, whole: Node, i: int, step: Step, scope: Scope, name: str) -> Node:
        """Record what a round gets of an array."""
        operation = JaxOperation("getitem", None, 0, f"a[{i}]")
        if self.whole:
            operation.reads_row(i)
        known = self._rows.get(whole.order, {})
        node = self._node(known.get(i, value), operation, (whole,), scope, name=name,
                          site=step.site)  # fmt: skip
        if isinstance(node.value, Statistics):
            known[i] = node.value
        if whole.order in self.varying:
            self.varying.add(node.order)
            operation.sends((0,))
        return node

    def stack(self, value: Any, parts: list[Any], step: Step, scope: Scope) -> Any:
        """Record what rounds give to an array; it stays one where they do not depend on a leaf."""
        if not any(isinstance(part, Node) for part in parts):
            return value
        operation = JaxOperation("stack", None, 0, "")
        if self.whole:
            operation.stacks()
        node = self._node(value, operation, tuple(parts), scope, site=step.site)
        if any(map(self._varies, parts)):
            self.varying.add(node.order)
            operation.sends(range(len(parts)))
        return node

    # --- backwards --------------------------------------------------------------------------------

    def backward(self, output: Live) -> None:
        """Find `gradients`, by order of recording, and `messages`, by that and the position."""
        if output.node.order in self.varying:
            self.upstream[output.node.order] = jnp.ones_like(output.array)
            self._received[output.node.order] = []
            while self.ran:
                self.ran.pop().back(self)
            for node in self.recorded:
                if not node.operands and node.order in self.upstream:
                    self.gradients[node.order] = self._gradient(node, self.upstream[node.order])
        self.measuring.settle()

    def upstream_of(self, value: Any) -> Any:
        """The gradient of a value between stretches; None where it has none."""
        found = self.upstream.pop(value.node.order, None) if isinstance(value, Live) else None
        return together(found)

    def send(self, node: Node, gradient: Any) -> None:
        """Add to the gradient of a value between stretches."""
        known = self.upstream.get(node.order)
        if known is not None:
            gradient = _add(together(known), together(gradient))
        self.upstream[node.order] = gradient

    def _gradient(self, node: Node, gradient: Any) -> Any:
        """As it is kept: where there is one message, that is it."""
        messages = () if self.whole else self._received.get(node.order, ())
        if isinstance(gradient, Rows) and not self.whole:
            return self.measuring.stacked(gradient.parts, [*map(self._kept, gradient.parts)])
        return messages[0] if len(messages) == 1 else self._kept(together(gradient))

    def message(self, node: Node, position: int, kept: Any) -> None:
        """Learn what a value sends to an operand."""
        self.messages[node.order, position] = kept
        self._received.setdefault(node.operands[position].order, []).append(kept)

    def _varies(self, value: Any) -> bool:
        """Whether it is a value that depends on a leaf to differentiate by."""
        return isinstance(value, Node) and value.order in self.varying

    def learn(self, told: Any, sent: Any) -> None:
        """Keep the gradients of a call or a loop, and what it sends to its operands."""
        if isinstance(told, Loop):
            self._learn_loop(told, sent)
            return
        for node, gradient, messages in zip(told.nodes, *sent, strict=bool(told.nodes)):
            if gradient is None or node.order not in self._received:  # (zeros of a compiled loop)
                continue
            self.gradients[node.order] = self._gradient(node, gradient)
            like = self.gradients.get(node.order) if told.rearranges else None
            # (In the first round of a loop what is carried may be a constant, or not asked for.)
            to = [k for k in messages if self._varies(node.operands[k])]
            for position in to:
                self.message(node, position, self._kept(messages[position], like))
            node.operation.sends(to)

    def _learn_loop(self, loop: Loop, sent: Rounds) -> None:
        sent = self.fetched(sent)
        for k, node in enumerate(loop.stacks):
            if node is None or k >= len(sent.stacks) or sent.stacks[k] is None:
                continue
            length = len(node.operands)
            self.learn_stack(
                node, sent.stacks[k], [sliced(sent.stacks[k], i) for i in range(length)]
            )
        if sent.body is None:
            return
        for i, body, rows in zip(loop.places[::-1], loop.bodies[::-1], loop.rows[::-1],
                                 strict=True):  # fmt: skip
            for told, one in zip(reversed(body), reversed(sliced(sent.body, i)), strict=True):
                self.learn(told, one)
            for row, gradient in zip(rows, sent.rows, strict=True):
                if row is not None and gradient is not None:
                    self.learn_row(row, sliced(gradient, i), i)

    def learn_stack(self, node: Node, gradient: Any, parts: Sequence[Any]) -> None:
        """Keep the gradient of what rounds gave to an array, and the messages to its parts."""
        self.gradients[node.order] = self._gradient(node, gradient)
        for i, (operand, part) in enumerate(zip(node.operands, parts, strict=True)):
            if self._varies(operand):
                self.message(node, i, self._kept(part))

    def learn_row(self, row: Node, gradient: Any, i: int) -> None:
        """Keep the gradient of what a round got of an array, and the message to that."""
        found = self.gradients[row.order] = self._gradient(row, gradient)
        shape = row.operands[0].value.shape
        made = (
            spread(gradient, i, shape) if self.whole
            else self.measuring.spread(gradient, found, i, shape)
        )  # fmt: skip
        self.message(row, 0, made)


_add: Callable[[Any, Any], Any] = jax.jit(lambda a, b: a + b)


def _read(atom: Any, env: dict[Any, Any]) -> Any:
    return atom.val if isinstance(atom, Literal) else env[atom]
