"""The backward pass: a gradient per value, cached once, and a message per edge."""

from __future__ import annotations

import ast
import heapq
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gradviz.chain.reads import warn_of_end
from gradviz.errors import TraceError
from gradviz.model import Gradients, Node
from gradviz.ops.operation import block, fit
from gradviz.quiet import quiet
from gradviz.statistics import Statistics, zeros
from gradviz.words import Site

if TYPE_CHECKING:
    from gradviz.graph import Graph


LARGE = 256
"""Numbers; what ``x[i]`` sends back to such an x is kept as a part of it."""
K = TypeVar("K")


class Listed(Mapping[K, Any]):
    """A mapping to what is found, in a list: of a large Graph a dict would take much memory.

    It begins at J, as the backward pass does.
    """

    def __init__(self, count: int) -> None:
        self.found: list[Any] = [None] * count

    def place(self, key: K) -> int:
        """Where in the list; -1 for nowhere."""
        raise NotImplementedError

    def get(self, key: K, default: Any = None) -> Any:
        """See `dict.get`."""
        place = self.place(key)
        found = self.found[place] if place >= 0 else None
        return default if found is None else found

    def __getitem__(self, key: K) -> Any:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: Any) -> bool:
        place = self.place(key)
        return place >= 0 and self.found[place] is not None

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, key: K, found: Any) -> None:
        """Add to what is there, if anything is."""
        known, place = self.get(key), self.place(key)
        self.found[place] = found if known is None else known + found


class ByValue(Listed[int]):
    """By the id of a value."""

    def place(self, key: int) -> int:
        """See `Listed.place`."""
        return key if 0 <= key < len(self.found) else -1

    def __iter__(self) -> Iterator[int]:
        return (i for i in reversed(range(len(self.found))) if self.found[i] is not None)


class Part:
    """A message that is 0 but for a part of it: that of ``x[i]``, where `x` is large."""

    __slots__ = ("index", "message", "operand")

    def __init__(self, message: Any, index: Any, operand: Any) -> None:
        self.message, self.index, self.operand = message, index, operand

    def whole(self) -> Any:
        """The message."""
        whole = np.zeros_like(self.operand)
        whole[self.index] = self.message
        whole.flags.writeable = False
        return whole

    def added(self, known: Any, ours: int) -> Any:
        """A gradient with this message added; it is written into where it is `ours`."""
        if known is None:
            known = np.zeros_like(self.operand)
        elif not ours:
            known = known.copy()
        known[self.index] += self.message
        return known


class ByEdge(Listed[tuple[int, int]]):
    """By an edge: the reader's id and the operand's position."""

    def get(self, key: tuple[int, int], default: Any = None) -> Any:
        """See `dict.get`."""
        place = self.place(key)
        found = self.found[place] if place >= 0 else None
        if found is None:
            return default
        return found.whole() if type(found) is Part else found

    def __init__(self, operands: Sequence[Sequence[int]]) -> None:
        self.starts = array("q", accumulate(map(len, operands), initial=0))
        super().__init__(self.starts[-1])

    def place(self, key: tuple[int, int]) -> int:
        """See `Listed.place`."""
        v, position = key
        starts = self.starts
        if not 0 <= v < len(starts) - 1:
            return -1
        place = starts[v] + position
        return place if starts[v] <= place < starts[v + 1] else -1

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for v in reversed(range(len(self.starts) - 1)):
            for place in range(self.starts[v], self.starts[v + 1]):
                if self.found[place] is not None:
                    yield v, place - self.starts[v]


def state(graph: Graph, i: int) -> str:
    """See `Graph.grad_state`."""
    gradient = graph.derivatives.gradients.get(i)
    if gradient is None:
        return "disconnected" if i in graph.varying else "not computed"
    found = _state_of_number(gradient)
    return "underflown" if found == "zero" and i in graph.underflown else found


def known_derivatives(graph: Graph) -> Gradients:
    """What the backward pass found; nothing where it cannot be done, as asking for it says why."""
    try:
        return graph.derivatives
    except TraceError:
        return Gradients({}, {})


def known_state(graph: Graph, i: int) -> str:
    """See `Graph.grad_state`; where the backward pass cannot be done, nothing is computed."""
    try:
        return graph.grad_state(i)
    except TraceError:
        return "not computed"


def unbounded(graph: Graph, i: int) -> bool:
    """Whether a gradient is known and has a number that is not finite."""
    gradient = known_derivatives(graph).gradients.get(i)
    return gradient is not None and _state_of_number(gradient) == "non-finite"


def no_zero(graph: Graph, v: int, key: int, upstream: ast.expr, written: ast.expr) -> ast.expr:
    """The formula of a message; times 0 is no 0 where the upstream term is not finite."""
    if not (isinstance(written, ast.Constant) and written.value == 0 and unbounded(graph, v)):
        return written
    message = known_derivatives(graph).messages.get((v, key))
    if message is None or _state_of_number(message) != "non-finite":
        return written
    return ast.BinOp(upstream, ast.Mult(), written)


def adjoint(graph: Graph, i: int) -> Any:
    """The gradient of a value; zeros where no path leads to J, with a warning if its history ended.

    Raises
    ------
    TraceError
        It was not asked for.
    """
    gradient = graph.derivatives.gradients.get(i)
    if gradient is not None:
        return gradient
    if i not in graph.varying:
        raise TraceError(
            f"the gradient of {graph.names[i]} was not asked for: no wrt leaf leads to it"
        )
    warn_of_end(graph, i)
    value = graph.values[i].value
    if isinstance(value, Statistics):
        return zeros(value.shape, value.dtype)
    return np.zeros_like(value)


def underflown(graph: Graph) -> frozenset[int]:
    """The gradients that are all zero because a product became too small for a number.

    A zero message is computed again from an upstream term scaled to 1 (a VJP is linear): what is
    then not zero has underflown. Such a message is sent on, scaled, so that the gradients before it
    are known too.
    """
    gradients, messages = graph.derivatives
    zero = {i for i, gradient in gradients.items() if not _has_any(gradient)}
    scaled: dict[int, Any] = {}  # the directions of such gradients
    for i in sorted(gradients, reverse=True) if zero else ():
        upstream = scaled.get(i) if i in zero else gradients[i]
        if upstream is None:
            continue
        node = graph.values[i]
        for key, u in enumerate(graph.operands[i]):
            message = messages.get((i, key)) if u in zero else None
            if message is None or _has_any(message):
                continue
            top = np.max(np.abs(upstream), initial=0.0)
            if not 0 < top < np.inf:
                continue
            try:
                with np.errstate(all="ignore"):
                    again = node.operation.pull(
                        key, upstream / top, node.value, graph.operand_values(i), node.keywords
                    )
            except TraceError:  # it cannot be computed again: then it is the zero that was sent
                continue
            if np.any(again):
                scaled[u] = again if u not in scaled else scaled[u] + again
    return frozenset(scaled)


def _has_any(message: Any) -> bool:
    """Whether it is not all zero."""
    return bool(message.any() if type(message) is np.ndarray else np.any(message))


_TINY = np.finfo(float).tiny


def _state_of_number(gradient: Any) -> str:
    if type(gradient) is np.float64:
        top, tiny = abs(gradient), _TINY
    elif isinstance(gradient, Statistics):
        top, tiny = np.float64(gradient.top), np.float64(gradient.tiny)
    else:
        gradient = np.asarray(gradient)
        top = np.max(np.abs(gradient), initial=0.0)  # NaN where one entry is
        tiny = np.finfo(gradient.dtype).tiny
    if not top < np.inf:
        return "non-finite"
    if top == 0:
        return "zero"
    return "number" if top >= tiny else "underflown"


_REAL = frozenset((np.float64, np.float32))


def _real_scalar(graph: Graph) -> Any:
    """J, if it has gradients."""
    output = graph.values[graph.output].value
    if type(output) in _REAL:
        return output
    if np.size(output) != 1:
        raise TraceError(
            f"{graph.names[graph.output]} has shape {np.shape(output)}; a gradient needs a scalar: "
            "return its sum or mean, say"
        )
    if np.iscomplexobj(output):
        raise TraceError(
            f"{graph.names[graph.output]} is complex; a gradient needs a real number: return its "
            "real part or its absolute value, say"
        )
    return output


# (Long, for it is the hot path: a function called for each edge would cost as much as the edge.)
def backward(graph: Graph) -> Gradients:
    """Gradients and messages of all values between the `wrt` leaves and J.

    The gradient of a complex value z is ∂J/∂Re z - i ∂J/∂Im z: then a message is the upstream term
    times the local derivative for complex numbers too. What is found cannot be written to.

    Raises
    ------
    TraceError
        J is no scalar or is complex, or a gradient would have to pass an operation without a rule.
    """
    output = _real_scalar(graph)
    values, operands = graph.values, graph.operands
    gradients, messages = ByValue(len(graph)), ByEdge(operands)
    varying = graph.varying.marks
    if not varying[graph.output]:
        return Gradients(gradients, messages)
    gradient, message_at, starts = gradients.found, messages.found, messages.starts
    real = type(output) in _REAL
    gradient[graph.output] = type(output)(1.0) if real else np.ones_like(output)[()]
    arrays = False
    value_of_all = [node.value for node in values]
    value_of = value_of_all.__getitem__
    ours = bytearray(len(values))  # whether a gradient is an array that nothing else is
    with quiet():  # what is not finite is shown, not warned of
        try:
            for v in range(graph.output, -1, -1):
                upstream = gradient[v]
                if upstream is None:
                    continue
                edges, node, start = operands[v], values[v], starts[v]
                operation, keywords, value = node.operation, node.keywords, node.value
                pulls = operation.pulls if edges else ()
                plain = tuple(map(value_of, edges))
                taken = operation.taken and operation.taken(**keywords)
                blocks = operation.blocks and operation.blocks(*plain, **keywords)
                for key, u in enumerate(edges):
                    if not varying[u]:
                        continue
                    if pulls is None:
                        _refuse(graph, v)
                    pull = pulls[key]
                    if pull is None:
                        continue
                    # Operation.pull, unrolled: this is the hot path.
                    operand = plain[key]
                    if taken is not None and type(operand) is np.ndarray and operand.size >= LARGE:
                        part = Part(upstream, taken, operand)
                        message_at[start + key] = part
                        gradient[u] = part.added(gradient[u], ours[u])
                        ours[u] = arrays = True
                        continue
                    if blocks:
                        message = block(upstream, blocks[key], operand)
                    else:
                        message = pull(upstream, value, *plain, **keywords)
                    kind = type(message)
                    if kind is not np.float64 or type(operand) is not np.float64:
                        arrays = True
                        if (
                            kind is not type(operand)
                            or message.shape != operand.shape
                            or message.dtype is not operand.dtype
                        ):
                            message = fit(message, operand, operation.name)
                    message_at[start + key] = message
                    known = gradient[u]
                    gradient[u] = message if known is None else known + message
        except (TraceError, np.linalg.LinAlgError) as error:
            raise _placed(error, graph.names[v], graph.source(v)) from None
    if arrays:  # they are cached: whoever asks for one must not change it
        for found in chain(value_of_all, gradient, message_at):
            if type(found) is np.ndarray:
                found.setflags(False)  # type: ignore[call-arg]  # at a third of the time
    return Gradients(gradients, messages)


def _refuse(graph: Graph, v: int) -> None:
    name = graph.values[v].operation.name
    raise TraceError(f"no derivative rule for {name}, which a gradient has to pass")


def _placed(error: Exception, name: str, source: Site | None) -> TraceError:
    """What a rule raised, with the value and the line of the user's program that it is about."""
    message = str(error) if isinstance(error, TraceError) else f"{type(error).__name__}: {error}"
    if ", at " in message:
        return TraceError(message)
    line = f", at {source}" if source else ""
    return TraceError(f"{message} ({name}{line})" if name or line else message)


def gradient_of(
    output: Node,
    target: Node,
    source: Callable[[Node], Site | None] = lambda node: None,
    upstream: Any = None,
) -> Any:
    """The gradient of `output` by `target`, computed on recorded values and so itself recorded.

    With an `upstream` term, of the shape of `output`, the message that it sends to `target`.

    Raises
    ------
    TraceError
        As `backward`; `source` gives the line of the user's program that a value comes from.
    """
    if upstream is not None:
        first = upstream
    elif np.size(output.value) == 1 and not np.iscomplexobj(output.value):
        first = np.ones_like(output.value)
    else:
        raise TraceError(
            "a gradient needs a real scalar, the function returned "
            f"{output.value.dtype} of shape {np.shape(output.value)}"
        )
    below = _between(output, target)
    gradients: dict[int, Any] = {output.order: first}
    pending = [-output.order]
    nodes = {output.order: output}
    while pending:
        node = nodes[-heapq.heappop(pending)]
        upstream = gradients[node.order]
        if node.order == target.order:
            return upstream
        operands = node.read_operands()
        blocks = node.operation.blocks and node.operation.blocks(*operands, **node.keywords)
        for key, operand in enumerate(operands):
            if not isinstance(operand, Node) or operand.order not in below:
                continue
            if node.operation.rule(key) is None:
                if node.operation.derivatives is None:
                    missing = TraceError(f"no derivative rule for {node.operation.name}")
                    raise _placed(missing, "", source(node))
                continue
            try:
                if blocks:
                    message = fit(block(upstream, blocks[key], operand), operand)
                else:
                    message = node.operation.pull(key, upstream, node, operands, node.keywords)
            except (TraceError, np.linalg.LinAlgError) as error:
                raise _placed(error, "", source(node)) from None
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
        pending += [o for o in node.read_operands() if isinstance(o, Node)]
    below = {target.order}
    for order in sorted(found):
        operands: Sequence[Any] = found[order].read_operands()
        if any(isinstance(o, Node) and o.order in below for o in operands):
            below.add(order)
    return below
