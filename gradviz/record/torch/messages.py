"""The messages of a backward pass, as autograd's nodes send them."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from gradviz.model import Node
from gradviz.record import rendezvous
from gradviz.record.torch import keep, memory
from gradviz.record.torch.measuring import Measuring, Part
from gradviz.record.torch.nodes import (
    Crossing,
    GradientEdge,
    TensorNode,
    address_of,
    version_of,
    versions_of,
)
from gradviz.record.torch.operation import Call, TorchOperation, Write
from gradviz.record.torch.ranks import is_distributed, local
from gradviz.statistics import Statistics

NODE_HOOK = "a hook of a node of autograd's graph (grad_fn.register_hook, register_prehook)"


class Messages:
    """What the nodes of autograd's graph send between the values of a program.

    Parameters
    ----------
    whole : bool
        Keep every tensor, or only statistics.
    """

    def __init__(self, whole: bool) -> None:
        self.whole = whole
        self.measuring = Measuring()
        self.keep: Callable[[Tensor], Any] = keep.array if whole else self.measuring.statistics
        self.recorded: list[TensorNode] = []
        self.gradients: dict[int, Any] = {}
        self.messages: dict[tuple[int, int], Any] = {}
        self._paths: dict[nn.Module, str] = {}
        self._edges: dict[GradientEdge, TensorNode] = {}
        self._expected: Counter[tuple[int, int]] = Counter()  # messages still to come, by edge
        self._partial: dict[tuple[int, int], Tensor] = {}  # the sum of those that came
        self._serves: dict[Any, list[int]] = {}  # by autograd's node: values
        self._sharing: dict[int, set[int]] = {}  # the values that share some of them
        self._passed: set[GradientEdge] = set()  # inside of calls
        self._indirect: dict[int, Tensor | None] = {}  # values there: what their readers have sent
        self._read: set[int] = set()
        self._arrived: set[int] = set()  # that the present backward pass has reached
        self._unpacked: set[int] = set()  # their saved tensors can be asked for only once
        self._again: dict[int, tuple[Call, list[Tensor], list[int]]] = {}  # how they came, and when
        self._parts: dict[int, Part] = {}  # values that are parts of their one operand
        self._open: set[int] = set()
        self.memory: dict[int, int] = {}
        self.changed: dict[int, str] = {}  # by order: the hook that has changed the gradient
        self.opened = False  # whether the program has asked for a node of autograd's graph
        self._came: dict[int, tuple[Tensor, int]] = {}  # gradients, before the user's hooks
        self._after: dict[int, tuple[Any, str]] = {}  # our hook behind those of the user
        self._leaves: list[tuple[TensorNode, Tensor]] = []
        self._hooks: list[Any] = []  # what takes them away
        self._measured: dict[int, tuple[Any, int, Statistics]] = {}  # by address
        self.dtypes: set[torch.dtype] = set()  # of what requires a gradient
        self._sending = False

    def node(self, tensor: Tensor) -> TensorNode:
        """The value that a tensor holds now."""
        raise NotImplementedError

    def _crossings(self, edge: GradientEdge) -> tuple[list[Crossing], set[Any]]:
        """The edges from the autograd nodes that compute a value to values that are known.

        Also the nodes themselves.
        """
        found: list[Crossing] = []
        seen = set()
        pending = [edge[0]]
        while pending:
            function = pending.pop()
            if function in seen:
                continue
            seen.add(function)
            for index, edge in enumerate(function.next_functions):
                if edge[0] is None:
                    continue
                node = self._edges.get(edge)
                if node is None and hasattr(edge[0], "variable"):
                    node = self.node(edge[0].variable)
                if node is not None:
                    form = None if node.form is None or edge != node.edge else node.form
                    found.append(Crossing(function, index, node, form))
                else:
                    pending.append(edge[0])
                    self._passed.add(edge)
        return found, seen

    def _assign(self, node: TensorNode, crossings: Sequence[Crossing], passed: set[Any]) -> None:
        """Hook the nodes of autograd's graph that compute a value."""
        assert node.edge is not None
        function, output = node.edge
        if node.edge in self._passed:  # an earlier value was computed by way of this one, unseen
            self._indirect[node.order] = None
        by_function: dict[Any, list[tuple[int, Crossing]]] = {function: []}
        for crossing, position in zip(crossings, self._positions(node, crossings), strict=True):
            node.crossings[crossing.function, crossing.number] = edge = position, crossing
            by_function.setdefault(crossing.function, []).append(edge)
            key = node.order, position
            self._expected[key] = self._expected.get(key, 0) + 1
        for f, edges in by_function.items():
            if f is function:
                self._hook(f, partial(self._passed_through, node, output, edges))
            else:
                self._hook(f, partial(self._sent, node.order, edges))
        for f in passed:
            others = self._serves.get(f)
            if others is None:
                self._serves[f] = [node.order]
                continue
            for other in others:
                self._sharing.setdefault(other, set()).add(node.order)
                self._sharing.setdefault(node.order, set()).add(other)
            others.append(node.order)
        if is_packing():
            self._unpacked.add(node.order)

    def _hook(self, function: Any, hook: Callable[..., None]) -> None:
        self._hooks.append(function.register_hook(hook))

    @staticmethod
    def _positions(node: TensorNode, crossings: Sequence[Crossing]) -> list[int]:
        """For each crossing the operand that it leads to; one given twice takes turns."""
        assert isinstance(node.operation, TorchOperation)
        if len(node.operands) == 1:
            node.operation.carries.add(0)
            return [0] * len(crossings)
        places: dict[int, int] = {}
        more: dict[int, list[int]] = {}  # of an operand that is given twice, the further ones
        for position, operand in enumerate(node.operands):
            if isinstance(operand, Node) and places.setdefault(operand.order, position) != position:
                more.setdefault(operand.order, []).append(position)
        found = []
        for crossing in crossings:
            order = crossing.node.order
            found.append(places[order])
            if order in more and (following := more[order]):
                places[order] = following.pop(0)
        node.operation.carries.update(found)
        return found

    # --- hooks of the user -------------------------------------------------------------------

    def _around(self, node: TensorNode, tensor: Tensor, told: str) -> None:
        """See a gradient before the user's hooks have it, and after."""
        if not tensor.requires_grad:
            return
        if node.order in self._after:  # they are one more
            last, before = self._after[node.order]
            last.remove()
            told = f"{before}, {told}"
        else:
            first = tensor.register_hook(partial(self._comes, node))  # type: ignore[no-untyped-call]
            hooks: Any = tensor._backward_hooks  # autograd goes by the order of insertion
            ordered = sorted(hooks.items(), key=lambda item: item[0] != first.id)
            hooks.clear()
            hooks.update(ordered)
            self._hooks.append(first)
        last = tensor.register_hook(partial(self._goes, node, told))  # type: ignore[no-untyped-call]
        self._hooks.append(last)
        self._after[node.order] = last, told

    def _comes(self, node: TensorNode, gradient: Tensor | None) -> None:
        if self._sending and gradient is not None:
            self._came[node.order] = gradient, gradient._version

    def _goes(self, node: TensorNode, told: str, gradient: Tensor | None) -> None:
        """Note whether a gradient is another one than came in."""
        if gradient is None:
            return
        came, version = self._came.pop(node.order, (gradient, gradient._version))
        if came._version != version or not _same(came, gradient):
            self.changed[node.order] = told

    def _module_hook(self, node: TensorNode, told: str, sent: Any, upstream: Any) -> None:
        """The same of a module's hooks, which work where its arguments or results are handed on."""
        if not self._sending:
            return
        if node.edge is not None and (gradient := upstream[node.edge[1]]) is not None:
            self._goes(node, told, gradient)
        for message, gradient in zip(sent, upstream, strict=False):
            if message is not None and gradient is not None and not _same(message, gradient):
                self.changed[node.order] = told

    def _hooked_modules(self) -> str:
        """The modules that have backward hooks."""
        paths = [
            path or type(module).__name__
            for module, path in self._paths.items()
            if module._backward_hooks or module._backward_pre_hooks
        ]
        return f"a backward hook of {' or '.join(paths) or 'a module'}"

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Note the messages of the backward pass that is run inside."""
        self._sending, self._pass = True, -1
        self._arrived.clear()
        self._open.clear()
        try:
            yield
        finally:
            self._sending = False

    def listens(self) -> bool:
        """Whether the backward pass is the one to be noted, not one inside of it.

        A `torch.autograd.Function` may differentiate in a pass of its own, whose messages are not
        those of J.
        """
        if not self._sending:
            return False
        if self._pass < 0:
            self._pass = torch._C._current_graph_task_id()
        return self._pass == torch._C._current_graph_task_id()

    def _apart(self, order: int) -> bool:
        """Whether messages of other values pass the same autograd nodes."""
        sharing = self._sharing.get(order)
        return sharing is not None and not self._read.isdisjoint(sharing)

    def _sent(
        self,
        order: int,
        edges: Sequence[tuple[int, Crossing]],
        messages: Sequence[Tensor | None],
        _: Any,
    ) -> None:
        """An autograd node has sent messages."""
        if order in self._arrived and self.listens():
            self._send_on(order, edges, messages)

    def _send_on(
        self,
        order: int,
        edges: Sequence[tuple[int, Crossing]],
        messages: Sequence[Tensor | None],
    ) -> None:
        if self._apart(order):
            return
        for position, crossing in edges:
            message = messages[crossing.number]
            key = order, position
            awaited = self._expected[key] = self._expected[key] - 1
            if message is not None:
                message = message if type(message) is Tensor else local(message)
                if crossing.form is not None:
                    message = crossing.form.apply(message)
                if awaited or key in self._partial:
                    summed = self._partial.pop(key, None)
                    message = message if summed is None else summed + message
                    if awaited:
                        self._partial[key] = message
                        continue
            elif not awaited:
                message = self._partial.pop(key, None)
            if message is not None:
                self._note_message(key, crossing.node, message, address_of(message))

    def _passed_through(
        self,
        node: TensorNode,
        output: int,
        edges: Sequence[tuple[int, Crossing]],
        messages: Sequence[Tensor | None],
        upstream: Sequence[Tensor | None],
    ) -> None:
        """A value's own autograd node has run: its gradient is complete, and messages are sent."""
        if self.listens():
            self._reached(node, output, upstream)
            if edges and node.order in self._arrived:
                self._send_on(node.order, edges, messages)

    def _reached(self, node: TensorNode, output: int, upstream: Sequence[Tensor | None]) -> None:
        gradient = upstream[output]
        if node.order in self._indirect:  # without what only passes here, inside of another call
            gradient, self._indirect[node.order] = self._indirect[node.order], None
        if gradient is None:
            return
        self._arrived.add(node.order)
        self._received(node, gradient if node.form is None else node.form.apply(gradient))
        if self._apart(node.order):
            self._send(node, gradient)

    def _send(self, node: TensorNode, gradient: Tensor) -> None:
        """Note the messages of a value that shares autograd nodes with others.

        The nodes are run again with its own gradient alone. None of them has been released, for
        they run after the one that this is called from.
        """
        assert node.edge is not None
        if node.order in self._parts and self._note_padded(node, gradient):
            return
        waiting: Counter[Any] = Counter()  # messages still to come, by node
        pending, passed = [node.edge[0]], {node.edge[0]}
        while pending:
            function = pending.pop()
            for index, (following, _) in enumerate(function.next_functions):
                if following is None or (function, index) in node.crossings:
                    continue
                waiting[following] += 1
                if following not in passed:
                    passed.add(following)
                    pending.append(following)
        communicates = rendezvous.group() is not None and any(map(_is_own, passed))
        saved = node.order in self._unpacked and any(map(_saves, passed))
        if saved or communicates or is_distributed(gradient):
            if communicates or not self._call_again(node, gradient):
                self._open.add(node.order)
            return
        upstream: dict[Any, dict[int, Tensor]] = {node.edge[0]: {node.edge[1]: gradient}}
        sums: dict[int, tuple[TensorNode, Tensor]] = {}
        ready = [node.edge[0]]
        try:
            with torch.no_grad():
                while ready:
                    function = ready.pop()
                    given = upstream.pop(function, None)
                    messages = _run(function, given) if given else {}
                    for index, (following, output) in enumerate(function.next_functions):
                        if following is None:
                            continue
                        message = messages.get(index)
                        position, crossing = node.crossings.get((function, index), (0, None))
                        if crossing is None:
                            waiting[following] -= 1
                            if not waiting[following]:
                                ready.append(following)
                            if message is not None:
                                place = upstream.setdefault(following, {})
                                known = place.get(output)
                                place[output] = message if known is None else known + message
                        elif message is not None:
                            message = crossing.message(message)
                            if position in sums:
                                message = sums[position][1] + message
                            sums[position] = crossing.node, message
        except Exception:  # of a rule that cannot be run twice
            if not self._call_again(node, gradient):
                self._open.add(node.order)
            return
        for position, (operand, message) in sums.items():
            self._note_message((node.order, position), operand, message, None)

    def _note_padded(self, node: TensorNode, gradient: Tensor) -> bool:
        """Note the message of a part, its gradient among zeros, where nobody needs it as such."""
        ((position, crossing),) = node.crossings.values()
        if crossing.node.order in self._indirect or not keep.is_plain(gradient):
            return False
        known, part = self.gradients[node.order], self._parts[node.order]
        kept = self.messages[node.order, position] = self.measuring.padded(known, gradient, part)
        crossing.node.sent.append((None, kept))
        return True

    def _hold(self, made: Sequence[TensorNode], given: Sequence[Tensor], then: list[int]) -> None:
        """Keep, in a lean capture, how results came about, for as long as it goes on."""
        held = [tensor.detach() for tensor in given]
        for node in made:
            assert isinstance(node.operation, TorchOperation)
            call, node.operation.call = node.operation.call, None
            if call is not None and node.crossings:
                self._again[node.order] = call, held, then

    def _call_again(self, node: TensorNode, gradient: Tensor) -> bool:
        """The same by making the call again, if its operands are as they were; whether it was."""
        operation = node.operation
        assert isinstance(operation, TorchOperation)
        given: Sequence[Any]
        if self.whole:
            call, given = operation.call, [getattr(o, "value", o) for o in node.operands]
        else:
            call, given, then = self._again.get(node.order, (None, [], []))
            if versions_of(given) != then:
                return False
        if call is None:
            return False
        # (Of an operand given twice there may be one crossing, as where autocast casts it once.)
        reached = {crossing.node.order: crossing.node for _, crossing in node.crossings.values()}
        operands = {
            position: reached[o.order]
            for position, o in enumerate(node.operands)
            if isinstance(o, Node) and o.order in reached
        }
        try:
            with torch.enable_grad():
                tensors, results = call.results(given, operands)
                upstream = gradient if node.form is None else node.form.apply(gradient)
                sent = {n: operation.direct(n, tensors, results, upstream) for n in operands}
        except Exception:  # of what cannot be run twice
            return False
        for position, message in sent.items():
            if message is not None:
                operation.carries.add(position)
                self._note_message((node.order, position), operands[position], message, None)
        return True

    def _note_message(
        self, key: tuple[int, int], operand: TensorNode, message: Tensor, address: int | None
    ) -> None:
        kept = self.messages[key] = self._kept(message, address)
        operand.sent.append((address, kept))
        if operand.order in self._indirect:
            summed = self._indirect[operand.order]
            self._indirect[operand.order] = message if summed is None else summed + message

    def _received(self, node: TensorNode, gradient: Tensor | None) -> None:
        if not self._sending or gradient is None:  # a leaf's hook is called where nothing came
            return
        # A gradient that is one message is that very tensor, unless a hook has put another.
        sent = node.sent
        address = address_of(gradient)
        alone = len(sent) == 1 and sent[0][0] == address
        self.gradients[node.order] = sent[0][1] if alone else self._kept(gradient, address, True)

    def _kept(self, message: Tensor, address: int | None, summed: bool = False) -> Any:
        """What is kept of a message; one that is the very numbers that came in is known."""
        if self.whole or not keep.is_dense(message):
            return self.keep(message)
        address = address_of(message) if address is None else address
        version = version_of(message)
        kept, since, known = self._measured.get(address, _UNKNOWN)
        old = kept()
        same = since == version and known.dtype == keep.name(message.dtype)
        if old is not None and same and not summed and known.size == message.numel():
            alike = old.is_contiguous() and message.is_contiguous()
            if alike and known.shape == message.shape:
                return known
            return self.measuring.again(known, message, not alike)
        known = self.keep(message)
        self._measured[address] = weakref.ref(message), version, known
        return known

    def measure_memory(self, outputs: Iterable[TensorNode]) -> None:
        """Note what autograd keeps for the backward pass from `outputs`, which is to come."""
        reached = {output.order for output in outputs}
        for node in reversed(self.recorded):
            if node.order in reached:
                for _, crossing in node.crossings.values():
                    reached.add(crossing.node.order)
                if isinstance(node.operation, Write):
                    reached.update(o.order for o in node.operands if isinstance(o, TensorNode))
        functions: dict[int, list[Any]] = {}
        for function, orders in self._serves.items():
            for order in orders:
                if order in reached:
                    functions.setdefault(order, []).append(function)
        for order in self._unpacked:
            functions.pop(order, None)
        parts = [
            part
            for module in self._paths
            for register in (module._parameters, module._buffers)
            for part in register.values()
            if part is not None
        ]
        parts += [tensor for _, tensor in self._leaves if isinstance(tensor, nn.Parameter)]
        self.memory = memory.kept(dict(sorted(functions.items())), parts)

    def told_apart(self) -> None:
        """Fetch what was measured on devices; of a whole capture compute the messages left open.

        They are those of calls that share autograd nodes which cannot be run twice.
        """
        if self.opened:
            self._compare()
        if not self.whole:
            self.measuring.fetch()
            return
        for order in self._open:
            node = self.recorded[order]
            operation = node.operation
            if not isinstance(operation, TorchOperation) or operation.call is None:
                continue
            values = [o.value if isinstance(o, Node) else o for o in node.operands]
            for position in {position for position, _ in node.crossings.values()}:
                self.messages[order, position] = operation.pull(
                    position, self.gradients[order], node.value, values, {}
                )

    def _compare(self) -> None:
        """Find gradients that hooks of autograd's own nodes have changed, which nobody sees."""
        for order, gradient in self.gradients.items():
            sent = self.recorded[order].sent
            if not sent or order in self.changed or (len(sent) > 1 and not self.whole):
                continue
            summed, known = sum(kept for _, kept in sent) if self.whole else sent[0][1], gradient
            if not self.whole:
                summed, known = summed.norm, gradient.norm
            if not np.allclose(summed, known, 1e-2, 1e-2 * np.max(np.abs(known)), equal_nan=True):
                self.changed[order] = NODE_HOOK


def is_packing() -> bool:
    """Whether autograd packs what it saves now, as under a checkpoint: it can be asked for once."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def _same(a: Tensor, b: Tensor) -> bool:
    a, b = local(a), local(b)
    if a is b:
        return True
    if a.shape != b.shape or a.layout != b.layout or a.layout != torch.strided:
        return False
    return torch.equal(a, b) or torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def described(hook: Any) -> str:
    """A hook that was there before: what it is called, and where it is written."""
    code = getattr(hook, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"the hook {getattr(hook, '__name__', type(hook).__name__)}{place}"


def _is_own(function: Any) -> bool:
    """Whether an autograd node is one of Python's: it may communicate, and must not do so twice."""
    return isinstance(function, BackwardCFunction)


def _saves(function: Any) -> bool:
    """Whether an autograd node needs tensors of the forward pass."""
    return isinstance(function, BackwardCFunction) or any(
        name.startswith("_raw_saved_") for name in dir(function)
    )


def _run(function: Any, upstream: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """What an autograd node sends, by the number of its input; no hook sees it."""
    metadata = function._input_metadata  # of what comes in backward
    given: list[Tensor | None] = [upstream.get(n) for n in range(len(metadata))]
    edges = function.next_functions
    if isinstance(function, BackwardCFunction):
        given = [
            torch.zeros(tuple(m.shape), dtype=m.dtype, device=m.device) if g is None else g
            for g, m in zip(given, metadata, strict=True)
        ]
        sent = function.apply(*given)  # type: ignore[no-untyped-call]
        sent = sent if isinstance(sent, tuple) else (sent,)
        # An input that is no tensor has no edge.
        needed = [n for n, need in enumerate(function.needs_input_grad) if need]
        leading = [n for n, edge in enumerate(edges) if edge[0] is not None]
        found = {n: sent[k] for n, k in zip(leading, needed, strict=True)}
    else:
        sent = function(*given)
        found = dict(enumerate(sent if isinstance(sent, tuple) else (sent,)))  # one comes bare
    messages = {}
    for index, (following, output) in enumerate(edges):
        message = found.get(index)
        if following is None or message is None:
            continue
        wanted = following._input_metadata[output]
        if message.shape != tuple(wanted.shape):  # of a broadcast, which the engine sums
            message = message.sum_to_size(tuple(wanted.shape))
        messages[index] = message.to(wanted.dtype)
    return messages


_UNKNOWN: Any = (lambda: None, -1, None)
