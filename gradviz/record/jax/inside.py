"""What is in one recorded call of a library, as a Graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, cast

import jax
from jax import numpy as jnp
from jax._src import core
from jax.extend.core import ClosedJaxpr

from gradviz.chain.inside import steps_of
from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.model import CONSTANT, INPUT, Program
from gradviz.record.jax import in_place
from gradviz.record.jax.capture import Capture
from gradviz.record.jax.keep import array, put
from gradviz.record.jax.modules import Modules
from gradviz.record.jax.operation import JaxOperation
from gradviz.record.jax.plan import plan
from gradviz.record.jax.pure import is_float, kind, precision
from gradviz.record.jax.rules import same
from gradviz.record.jax.trace import finished

OPENED = frozenset(("all", "rules"))


def parts(operation: JaxOperation) -> int:
    """Of how many operations a call consists, at least 1; 0 where that is not known any more."""
    made, index = operation.made, operation.index
    if made is None:
        return 1 if operation.row is not None else 0
    if index not in made.parts:
        made.parts[index] = 1
        with suppress(TraceError):  # (a callback into Python, behind a derivative rule)
            steps = plan(_body(operation), OPENED).steps  # (none of `x` itself)
            made.parts[index] = max(1, len(steps))
    return made.parts[index]


def inside(graph: Graph, i: int) -> Graph:
    """See `Graph.inside`."""
    name = graph.names[i]
    whole, steps = steps_of(graph, i)
    called = [_operation(whole, k) for k in steps]
    counts = list(map(parts, called))
    what = called[counts.index(max(counts))].name
    if not min(counts):
        raise TraceError(
            f"{name}: a lean capture keeps no arrays to look into {what} with; record it with "
            'gv.trace(..., capture="whole")'
        )
    if max(counts) == 1:
        raise TraceError(f"{name}: {what} is one operation, there is nothing in it")
    if graph.derivatives.gradients.get(i) is None:
        loss = graph.names[graph.output]
        raise TraceError(
            f"{name}: {loss} does not depend on it, so there is no gradient to follow through "
            f"{what}"
        )
    program = CallProgram(graph, i)
    found = program.record({})
    if not all(same(found.grad(u), sent, program.precision) for u, sent in _sent(graph, i)):
        raise TraceError(
            f"{name}: {what} has a derivative rule of its own, which is not that of what it "
            "computes"
        )
    return found


def _operation(graph: Graph, i: int) -> JaxOperation:
    return cast(JaxOperation, graph.values[i].operation)


def _body(operation: JaxOperation) -> ClosedJaxpr:
    """The equations, with the one result that is asked for."""
    assert operation.made is not None
    closed = operation.made.closed
    jaxpr = closed.jaxpr
    told = jaxpr.debug_info._replace(result_paths=None)
    only = jaxpr.replace(outvars=[jaxpr.outvars[operation.index]], debug_info=told)
    return ClosedJaxpr(only, closed.consts)


def _sent(graph: Graph, i: int) -> list[tuple[str, Any]]:
    """What a call sends to each operand, by its name."""
    found: dict[int, Any] = {}
    for k, u in enumerate(graph.operands[i]):
        sent = graph.derivatives.messages.get((i, k))
        if sent is not None:
            found[u] = found[u] + sent if u in found else sent
    return [(graph.names[u], sent) for u, sent in found.items()]


class CallProgram(Program):
    """What computes one value, of which J is what it contributes: the sum of gradient times it."""

    def __init__(self, graph: Graph, i: int) -> None:
        whole, steps = steps_of(graph, i)
        site = graph.values[i].site
        self.wide = _operation(whole, steps[-1]).wide
        self.name, self.loss = graph.names[i], graph.names[graph.output]
        self.title = f"{self.name} = {graph.values[i].operation.name}(...)"
        self.site = site and (*site[:2], None)
        self.gradient = None if i == graph.output else graph.derivatives.gradients[i]
        with jax.enable_x64(self.wide):
            ids, self.body = _together(whole, steps, self.gradient is not None)
            self.plan = plan(self.body, OPENED)
        self.precision = precision(self.plan.jaxpr)
        self.leaves = [whole.names[u] for u in ids]
        self.constants = {whole.names[u] for u in ids if whole.kind(u) == "constant"}
        self.values = {whole.names[u]: whole.values[u].value for u in ids}

    def _arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The leaves and, last, the gradient, by which what is computed becomes J."""
        known = {**self.values, **values}
        given = [known[u] for u in self.leaves]
        if self.gradient is not None:
            given.append(self.gradient)
        return [put(x, a) for x, a in zip(given, self.body.in_avals, strict=True)]

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        with jax.enable_x64(self.wide):
            return array(self._compiled(*self._arguments(values))[-1])

    @cached_property
    def _compiled(self) -> Callable[..., Any]:
        return in_place.compiled(core.jaxpr_as_fun(self.body))

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        with jax.enable_x64(self.wide):
            capture = Capture(True)
            args = self._arguments(values)
            for k, (name, value) in enumerate(zip(self.leaves, args, strict=False)):
                row = CONSTANT if name in self.constants else INPUT
                varies = row is INPUT and is_float(value)
                args[k] = capture.leaf(value, row, name, varies, None)
            wrt = [leaf.node for leaf in args[: len(self.leaves)]]
            wrt = [node for node in wrt if node.order in capture.varying]
            result, output = capture.run(self.plan, args)
            for node in capture.recorded[len(self.leaves) : result.node.order + 1]:
                node.name, node.site = node.operation.name, self.site
            result.node.name = self.name
            output.node.name = self.loss
            return finished(capture, output, wrt, self.title, self, Modules())


def _together(
    whole: Graph, steps: Sequence[int], has_gradient: bool
) -> tuple[list[int], ClosedJaxpr]:
    """Some operations as one function: the last one's result and J; and what they read."""
    bodies = {k: _body(_operation(whole, k)) for k in steps}
    leaves: dict[int, Any] = {}
    for k, body in bodies.items():
        for u, aval in zip(whole.operands[k], body.in_avals, strict=True):
            if u not in bodies:
                leaves.setdefault(u, kind(aval))

    def function(args: Sequence[Any], gradient: Sequence[Any]) -> tuple[Any, Any]:
        found = dict(zip(leaves, args, strict=True))
        for k, body in bodies.items():
            (found[k],) = core.jaxpr_as_fun(body)(*(found[u] for u in whole.operands[k]))
        result = found[steps[-1]]
        return result, _contribution(result, *gradient)

    result = bodies[steps[-1]].out_avals
    made = jax.make_jaxpr(function)([*leaves.values()], result if has_gradient else [])
    return [*leaves], made


def _contribution(result: Any, gradient: Any = None) -> Any:
    """What a result contributes to J, to first order."""
    if gradient is None:
        return result
    product = _wide_enough(result) * _wide_enough(gradient)
    return jnp.sum(product.real)


def _wide_enough(value: Any) -> Any:
    """Of a half float what the sum does not overflow in."""
    return value.astype(jnp.promote_types(value.dtype, jnp.float32))
