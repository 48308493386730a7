"""Branches and loops whose course is followed while a plan runs.

What a round gets of an array, and what rounds give to one, are values of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from gradviz.model import Node
from gradviz.record.jax.keep import is_key
from gradviz.record.jax.plan import Plan, Step
from gradviz.record.jax.pure import Pure

if TYPE_CHECKING:
    from gradviz.record.jax.capture import Capture

Scope = tuple[str, ...]


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


def plain(value: Any) -> Any:
    """A value as JAX has it."""
    return value.array if isinstance(value, Live) else value


def inside(scope: Scope, body: Plan, kind: str, n: int) -> Scope:
    """The scope of a round."""
    name = body.name if body.name.isidentifier() else kind
    return (*scope, f"{name}[{n}]")


def cond(capture: Capture, step: Step, operands: Sequence[Any], scope: Scope) -> list[Any]:
    """The branch that is taken."""
    index, *rest = operands
    chosen = min(max(int(plain(index)), 0), len(step.inner) - 1)
    return capture.run(step.inner[chosen], rest, scope)


def while_loop(capture: Capture, step: Step, operands: Sequence[Any], scope: Scope) -> list[Any]:
    """As many rounds as it takes."""
    _, body = step.inner
    first, second = step.params["cond_nconsts"], step.params["body_nconsts"]
    around, given = operands[:first], operands[first : first + second]
    carry = list(operands[first + second :])
    step.made = step.made or Pure(step.params["cond_jaxpr"])
    n = 0
    while bool(step.made.forward(*map(plain, (*around, *carry)))[0]):
        n += 1
        carry = capture.run(body, [*given, *carry], inside(scope, body, "while", n))
    return carry


def scan(capture: Capture, step: Step, operands: Sequence[Any], scope: Scope) -> list[Any]:
    """A scan whose body branches or is large."""
    params, body = step.params, step.inner[0]
    count, carried, length = params["num_consts"], params["num_carry"], params["length"]
    constants, carry = list(operands[:count]), list(operands[count : count + carried])
    if not length:
        return [*carry, *(jnp.zeros(v.aval.shape, v.aval.dtype) for v in step.writes[carried:])]
    scanned, called = operands[count + carried :], body.arguments[count + carried :]
    places = range(length)[::-1] if params["reverse"] else range(length)
    given: list[list[Any]] = [[]] * length
    capture.ran.append(start := Start(length, {}))
    for n, i in enumerate(places, 1):
        around = inside(scope, body, "scan", n)
        row: list[Any] = []
        for k, whole in enumerate(scanned):
            array = _row(plain(whole), i)
            if isinstance(whole, Live):
                name = called[k] if k < len(called) and called[k].isidentifier() else ""
                array = Live(array, capture.row(array, whole.node, i, step, around, name))
                capture.ran.append(Row(array, i, start))
            row.append(array)
        carry = [_typed(x, v) for x, v in zip(carry, body.jaxpr.invars[count:], strict=False)]
        out = capture.run(body, [*constants, *carry, *row], around)
        carry, given[i] = out[:carried], out[carried:]
    stacks: list[Any] = []
    for column in zip(*given, strict=True):
        array = _stacked(*map(plain, column))
        parts = [x.node if isinstance(x, Live) else x for x in column]
        node = capture.stack(array, parts, step, scope)
        if isinstance(node, Node):
            capture.ran.append(Stack(Live(array, node)))
        stacks.append(Live(array, node) if isinstance(node, Node) else array)
    return [*carry, *stacks]


def _typed(value: Any, var: Any) -> Any:
    return value if isinstance(value, Live) else jnp.asarray(value, var.aval.dtype)


def _row(array: Any, i: int) -> Any:
    """A row; of a large array on a processor it is the same memory."""
    if isinstance(array, jax.Array) and array.size >= LARGE and not is_key(array.dtype):
        (device,) = array.devices()
        if device.platform == "cpu":
            return jax.device_put(np.asarray(array)[i], device, may_alias=True)
    return _copied(array, np.int32(i))


LARGE = 2**16
_copied = jax.jit(lambda a, i: lax.dynamic_index_in_dim(a, i, keepdims=False))
_stacked = jax.jit(lambda *parts: jnp.stack(parts))


class Start(NamedTuple):
    """The begin of a loop: the gradients of its rows, by array, are that of the array."""

    length: int
    rows: dict[int, tuple[Node, dict[int, Any]]]

    def back(self, capture: Capture) -> None:
        """Send the gradients of the rows to what they are of."""
        for node, rows in self.rows.values():
            some = next(iter(rows.values()))
            parts = [rows[i] if i in rows else jnp.zeros_like(some) for i in range(self.length)]
            capture.send(node, Rows(parts))


class Rows(NamedTuple):
    """A gradient of which there are the rows: of a leaf they need not be put together."""

    parts: list[Any]


def together(gradient: Any) -> Any:
    """As one array."""
    return _stacked(*gradient.parts) if isinstance(gradient, Rows) else gradient


class Row(NamedTuple):
    """What a round got of an array."""

    live: Live
    i: int
    start: Start

    def back(self, capture: Capture) -> None:
        """Keep its gradient until those of all rows are there."""
        gradient, node = capture.upstream_of(self.live), self.live.node
        if gradient is not None:
            whole = node.operands[0]
            self.start.rows.setdefault(whole.order, (whole, {}))[1][self.i] = gradient
            capture.learn_row(node, gradient, self.i)


class Stack(NamedTuple):
    """What the rounds gave to an array."""

    live: Live

    def back(self, capture: Capture) -> None:
        """Send its parts to what they were."""
        node = self.live.node
        gradient = capture.upstream_of(self.live)
        if gradient is not None:
            parts = [_row(gradient, i) for i in range(len(node.operands))]
            capture.learn_stack(node, gradient, parts)
            for part, one in zip(node.operands, parts, strict=True):
                if isinstance(part, Node) and part.order in capture.varying:
                    capture.send(part, one)
