"""What is in one recorded call of a library, as a Graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import jax
import numpy as np
from jax import numpy as jnp
from jax._src import core
from jax.extend.core import ClosedJaxpr

from gradviz.chain.inside import steps_of
from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.model import CONSTANT, INPUT, Program
from gradviz.record.jax import in_place
from gradviz.record.jax.capture import Capture
from gradviz.record.jax.follow import Live
from gradviz.record.jax.keep import array, put
from gradviz.record.jax.modules import Modules
from gradviz.record.jax.operation import JaxOperation
from gradviz.record.jax.plan import plan
from gradviz.record.jax.pure import is_float, kind
from gradviz.record.jax.trace import finished, precision

OPENED = frozenset(("all", "rules"))


def parts(operation: JaxOperation) -> int:
    """Of how many operations a call consists; 0 where that is not known any more."""
    made, index = operation.made, operation.index
    if made is None:
        return 1 if operation.row is not None else 0
    if index not in made.parts:
        made.parts[index] = len(plan(_body(operation), OPENED).steps)
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
    if not all(_same(found.grad(u), sent, program.precision) for u, sent in _sent(graph, i)):
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


def _same(one: Any, other: Any, epsilon: float) -> bool:
    """Whether two gradients are equal but for rounding."""
    if one is None:
        return not np.any(other)
    one, other = np.asarray(one), np.asarray(other)
    finite = np.abs(other[np.isfinite(other)])
    tolerance = min(1e3 * epsilon, 0.1)
    room = tolerance * finite.max(initial=0.0)
    return bool(np.allclose(one, other, rtol=tolerance, atol=room, equal_nan=True))


class CallProgram(Program):
    """What computes one value, of which J is what it contributes: the sum of gradient times it."""

    def __init__(self, graph: Graph, i: int) -> None:
        whole, steps = steps_of(graph, i)
        site = graph.values[i].site
        self.wide = _operation(whole, steps[-1]).wide
        self.name, self.loss = graph.names[i], graph.names[graph.output]
        self.title = f"{self.name} = {graph.values[i].operation.name}(...)"
        self.site = site and (*site[:2], None)
        with jax.enable_x64(self.wide):
            ids, self.body = _together(whole, steps)
            self.plan = plan(self.body, OPENED)
        self.precision = precision(self.plan.jaxpr)
        self.leaves = [whole.names[u] for u in ids]
        self.constants = {whole.names[u] for u in ids if whole.kind(u) == "constant"}
        self.values = {whole.names[u]: whole.values[u].value for u in ids}
        self.gradient = None if i == graph.output else graph.derivatives.gradients[i]

    def _arguments(self, values: Mapping[str, Any]) -> list[Any]:
        given = {**self.values, **values}
        return [put(given[u], a) for u, a in zip(self.leaves, self.body.in_avals, strict=True)]

    @property
    def _end(self) -> list[Any]:
        """The gradient, for what makes J of the result."""
        (aval,) = self.body.out_avals
        return [] if self.gradient is None else [put(self.gradient, aval)]

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        with jax.enable_x64(self.wide):
            return array(self._compiled(self._arguments(values), self._end))

    @cached_property
    def _compiled(self) -> Callable[..., Any]:
        function = core.jaxpr_as_fun(self.body)
        return in_place.compiled(lambda args, end: _contribution(*function(*args), *end))

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        with jax.enable_x64(self.wide):
            capture = Capture(True)
            args: list[Live] = []
            for name, value in zip(self.leaves, self._arguments(values), strict=True):
                row = CONSTANT if name in self.constants else INPUT
                varies = row is INPUT and is_float(value)
                args.append(capture.leaf(value, row, name, varies, None))
            wrt = [leaf.node for leaf in args if leaf.node.order in capture.varying]
            (result,) = capture.run(self.plan, args)
            for node in capture.recorded[len(args) :]:
                node.name, node.site = node.operation.name, self.site
            result.node.name = self.name
            if self._end:
                kinds = self.body.out_avals * 2
                end = plan(jax.make_jaxpr(_contribution)(*kinds), OPENED)
                (result,) = capture.run(end, [result, *self._end])
                result.node.name = self.loss
            return finished(capture, result, wrt, self.title, self, Modules())


def _together(whole: Graph, steps: Sequence[int]) -> tuple[list[int], ClosedJaxpr]:
    """Some operations as one function, and what it reads."""
    bodies = {k: _body(_operation(whole, k)) for k in steps}
    leaves: dict[int, Any] = {}
    for k, body in bodies.items():
        for u, aval in zip(whole.operands[k], body.in_avals, strict=True):
            if u not in bodies:
                leaves.setdefault(u, kind(aval))

    def function(*args: Any) -> Any:
        found = dict(zip(leaves, args, strict=True))
        for k, body in bodies.items():
            (found[k],) = core.jaxpr_as_fun(body)(*(found[u] for u in whole.operands[k]))
        return found[steps[-1]]

    return [*leaves], jax.make_jaxpr(function)(*leaves.values())


def _contribution(result: Any, gradient: Any = None) -> Any:
    """What a result contributes to J, to first order."""
    if gradient is None:
        return result
    product = _wide_enough(result) * _wide_enough(gradient)
    return jnp.sum(product.real)


def _wide_enough(value: Any) -> Any:
    """Of a half float what the sum does not overflow in."""
    return value.astype(jnp.promote_types(value.dtype, jnp.float32))
