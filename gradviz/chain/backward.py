"""The backward pass: a gradient per value, cached once, and a message per edge."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.graph import Node
from gradviz.ops.operation import fit

if TYPE_CHECKING:
    from gradviz.graph import Graph

STATES = ("not computed", "disconnected", "zero", "underflown", "non-finite", "number")


class Gradients:
    """What the backward pass found.

    Attributes
    ----------
    gradients : dict of int to array
        By id, for the values that have one.
    messages : dict of (int, int) to array
        By edge: the reader's id and the operand's position.
    """

    def __init__(
        self, graph: Graph, gradients: dict[int, Any], messages: dict[tuple[int, int], Any]
    ) -> None:
        self.graph = graph
        self.gradients = gradients
        self.messages = messages

    def of(self, i: int) -> Any:
        """The gradient of a value; zeros where no path leads to J."""
        if i in self.gradients:
            return self.gradients[i]
        if i in self.graph.varying:
            return np.zeros_like(self.graph.values[i].value)
        name = self.graph.names[i]
        raise TraceError(f"the gradient of {name} was not asked for: no wrt leaf leads to it")

    def state(self, i: int) -> str:
        """One of `STATES`."""
        if i not in self.gradients:
            return "disconnected" if i in self.graph.varying else "not computed"
        return self._states.get(i) or _state_of_number(self.gradients[i])

    @cached_property
    def _states(self) -> dict[int, str]:
        """The gradients that are all zero: exactly, or because a product became too small.

        A zero message is computed again from an upstream term scaled to 1 (a VJP is linear): what
        is then not zero has underflown. Such a message goes on, scaled, so that what lies before
        it is told apart too.
        """
        states: dict[int, str] = {}
        scaled: dict[int, Any] = {}  # directions of gradients that have underflown to zero
        graph = self.graph
        for i in sorted(self.gradients, reverse=True):
            gradient = self.gradients[i]
            if np.size(gradient) and not np.any(gradient):
                lost = scaled.get(i)
                states[i] = "zero" if lost is None else "underflown"
                upstream = lost
            elif np.ndim(gradient) or gradient:
                upstream = gradient
            else:
                continue
            if upstream is None:
                continue
            node = graph.values[i]
            for key, u in enumerate(graph.operands[i]):
                message = self.messages.get((i, key))
                if (
                    message is None
                    or not np.size(message)
                    or np.any(message)
                    or np.any(self.gradients[u])
                ):
                    continue
                top = np.max(np.abs(upstream))
                if not (np.isfinite(top) and top > 0):
                    continue
                with np.errstate(all="ignore"):
                    again = node.operation.pull(
                        key, upstream / top, node.value, graph.operand_values(i), node.keywords
                    )
                if np.any(again):
                    scaled[u] = again if u not in scaled else scaled[u] + again
        return states


def _state_of_number(gradient: Any) -> str:
    gradient = np.asarray(gradient)
    top = np.max(np.abs(gradient), initial=0.0)  # NaN where one entry is
    if not top < np.inf:
        return "non-finite"
    if top == 0:
        return "zero"
    return "number" if top >= np.finfo(gradient.dtype).tiny else "underflown"


def backward(graph: Graph) -> Gradients:
    """Gradients and messages of all values between the `wrt` leaves and J.

    Raises
    ------
    TraceError
        J is no scalar or is complex, or a gradient would have to pass an operation without a rule.
    """
    output = graph.values[graph.output].value
    if np.size(output) != 1:
        raise TraceError(
            f"{graph.names[graph.output]} has shape {np.shape(output)}; a gradient needs a scalar: "
            "return its sum or mean, say"
        )
    values, operands = graph.values, graph.operands
    varying = graph.varying
    gradients: dict[int, Any] = {}
    messages: dict[tuple[int, int], Any] = {}
    if graph.output not in varying:
        return Gradients(graph, gradients, messages)
    gradients[graph.output] = np.ones_like(output)[()]
    value_of = [node.value for node in values].__getitem__
    with np.errstate(all="ignore"):  # what is not finite is shown, not warned of
        for v in range(graph.output, -1, -1):
            edges = operands[v]
            if not edges or v not in gradients:
                continue
            node = values[v]
            operation, keywords = node.operation, node.keywords
            value, upstream = node.value, gradients[v]
            plain = tuple(map(value_of, edges))
            pulls = operation.pulls
            for key, u in enumerate(edges):
                if u not in varying:
                    continue
                if pulls is None:
                    _refuse(graph, v)
                pull = pulls[key]
                if pull is None:
                    continue
                # Operation.pull, unrolled: this is the hot path.
                message = pull(upstream, value, *plain, **keywords)
                if type(message) is not np.float64 or type(plain[key]) is not np.float64:
                    message = fit(message, plain[key], operation.name)
                messages[v, key] = message
                gradients[u] = gradients[u] + message if u in gradients else message
    for i in gradients:
        if np.asarray(values[i].value).dtype.kind == "c":
            raise TraceError(
                f"{graph.names[i]} is complex; gradients through complex values are not supported"
            )
    return Gradients(graph, gradients, messages)


def _refuse(graph: Graph, v: int) -> None:
    source = graph.source(v)
    line = f", at {source[0]}:{source[1]}: {source[2]}" if source else ""
    raise TraceError(
        f"no derivative rule for {graph.values[v].operation.name}, which a gradient has to pass "
        f"({graph.names[v]}{line})"
    )


def gradient_of(output: Node, target: Node) -> Any:
    """The gradient of `output` by `target`, computed on recorded values and so itself recorded."""
    if np.size(output.value) != 1:
        raise TraceError(
            f"a gradient needs a scalar, the function returned shape {np.shape(output.value)}"
        )
    below = _between(output, target)
    gradients: dict[int, Any] = {output.order: np.ones_like(output.value)}
    pending = [-output.order]
    nodes = {output.order: output}
    while pending:
        node = nodes[-heapq.heappop(pending)]
        upstream = gradients[node.order]
        if node is target:
            return upstream
        for key, operand in enumerate(node.operands):
            if not isinstance(operand, Node) or operand.order not in below:
                continue
            if node.operation.rule(key) is None:
                if node.operation.derivatives is None:
                    raise TraceError(f"no derivative rule for {node.operation.name}")
                continue
            message = node.operation.pull(key, upstream, node, node.operands, node.keywords)
            if operand.order in gradients:
                gradients[operand.order] = gradients[operand.order] + message
            else:
                gradients[operand.order] = message
                nodes[operand.order] = operand
                heapq.heappush(pending, -operand.order)
    return np.zeros_like(target.value)


def _between(output: Node, target: Node) -> set[int]:
    """The orders of the values on a path from `target` to `output`."""
    found: dict[int, Node] = {}
    pending = [output]
    while pending:
        node = pending.pop()
        if node.order < target.order or node.order in found:
            continue
        found[node.order] = node
        pending += [o for o in node.operands if isinstance(o, Node)]
    below = {target.order}
    for order in sorted(found):
        operands: Sequence[Any] = found[order].operands
        if any(isinstance(o, Node) and o.order in below for o in operands):
            below.add(order)
    return below
