"""Watching a PyTorch program: every call on tensors, and every message of its backward pass.

Forward, a `TorchFunctionMode` sees the calls that the program makes (``linear``, ``relu``,
``layer_norm``), and modules' hooks tell which layer makes them. What autograd noted of a call are
one or several of its own nodes between the call's result and its operands; hooks on these see each
message as it is sent. Nothing is computed twice, and nothing is held that the program lets go.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from sys import _getframe
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from gradviz.errors import TraceError
from gradviz.files import writable
from gradviz.graph import CONSTANT, INPUT, PARAMETER, Node
from gradviz.ops.operation import Operation
from gradviz.record import names
from gradviz.record.arguments import numbered
from gradviz.record.torch import keep
from gradviz.record.torch.operation import SYMBOLS, Call, Slot, TorchOperation, tensors_in
from gradviz.statistics import Statistics

Edge = tuple[Any, int]
"""A gradient's place in autograd's graph: a node and the number of its output."""

TOLD = frozenset(
    "dim ndimension size numel nelement stride storage_offset is_contiguous is_floating_point "
    "is_complex element_size data_ptr untyped_storage storage get_device register_hook "
    "register_post_accumulate_grad_hook retain_grad requires_grad_ __len__ __hash__ __repr__ "
    "__format__ is_pinned is_shared is_inference has_names __dir__ is_set_to".split()
)
"""Methods that tell of a tensor, or set what is no number."""
GETTERS = frozenset("T mT H mH real imag data".split())
READS = frozenset("__bool__ __float__ __int__ __index__ __complex__ item tolist numpy".split())
"""Where a tensor becomes a plain number: its history ends."""
RANDOM = frozenset(
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout rrelu bernoulli "
    "normal multinomial gumbel_softmax scaled_dot_product_attention lstm gru rnn_tanh rnn_relu "
    "fractional_max_pool2d fractional_max_pool3d randn_like rand_like randint_like".split()
)
ALIASES = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze contiguous clone detach view_as".split()
)
"""Calls whose result has the numbers of their operand."""
TURNED = frozenset("transpose permute T mT movedim swapaxes t".split())
"""The same in another order."""


Crossing = tuple[Any, int, "TensorNode"]
"""Where a message leaves a call: autograd's node, the number of its input, and to which value."""


class TensorNode(Node):
    """The value of one call, or a leaf."""

    __slots__ = ("edge", "read", "sent")

    edge: Edge | None
    read: tuple[str, Any]
    sent: list[tuple[int, Any]]
    """Per message that it received: the address of the tensor, and what was kept of it."""


def _opened(function: Any) -> Any:
    """A function of `torch.nn.functional` that shows the calls inside instead of itself."""
    space = {**function.__globals__, "has_torch_function": lambda _: False}
    copy = FunctionType(function.__code__, space, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


OPENED = {f: _opened(f) for f in (nn.functional.multi_head_attention_forward,)}


class Capture(TorchFunctionMode):
    """Records what this thread does with tensors, inside `recording` and `backward`.

    Parameters
    ----------
    roots : mapping of str to Module
        Where the names of parameters and modules begin; "" for the only one.
    names : mapping of int to str
        Names of further tensors, by `id`.
    whole : bool
        Keep every tensor, or only statistics.

    Attributes
    ----------
    recorded : list of TensorNode
        In order; `Node.order` is the position here.
    gradients, messages : dict
        What was kept of each gradient by a node's order, and of each message by the order of its
        sender and the operand's position.
    error : Exception or None
        What a call raised.
    loss : Tensor or None
        What the program called `backward` on.
    names : dict of int to str
    parameters : dict of str to Parameter
        Those of all modules that are known.
    """

    def __init__(
        self, roots: Mapping[str, nn.Module], names: Mapping[int, str], whole: bool
    ) -> None:
        super().__init__()
        self.whole = whole
        self.keep: Callable[[Tensor], Any] = keep.array if whole else keep.statistics
        self.recorded: list[TensorNode] = []
        self.gradients: dict[int, Any] = {}
        self.messages: dict[tuple[int, int], Any] = {}
        self.error: Exception | None = None
        self.loss: Tensor | None = None
        self.parameters: dict[str, Tensor] = {}
        self.names: dict[int, str] = {}
        self._taken: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._buffers: set[int] = set()
        self._paths: dict[nn.Module, str] = {}
        self._scopes: dict[str, tuple[str, ...]] = {}  # by path
        self._scope: list[tuple[str, tuple[str, ...]]] = []
        self._tensors: dict[int, tuple[Any, int, bool, TensorNode]] = {}
        self._edges: dict[Edge, TensorNode] = {}
        self._expected: Counter[tuple[int, int]] = Counter()  # messages still to come, by edge
        self._partial: dict[tuple[int, int], Tensor] = {}  # the sum of those that came
        self._owned: dict[Any, str] = {}  # autograd's nodes, and the call that they belong to
        self._passed: dict[Any, str] = {}  # the same, of the call that is being recorded
        self._together: list[list[TensorNode]] = []
        self._overwritten: list[TensorNode] = []
        self._leaves: list[tuple[TensorNode, Tensor]] = []
        self._hooks: list[Any] = []  # what takes them away
        self._measured: dict[int, tuple[Any, int, Statistics]] = {}  # by address
        self._thread = threading.get_ident()
        self._open = self._sending = False
        for prefix, root in roots.items():
            self._know(prefix, root)
        for key, name in names.items():
            self._named(key, name)

    def _know(self, prefix: str, root: nn.Module) -> None:
        """Note the names of a module's parts."""
        for path, module in root.named_modules(prefix=prefix):
            self._paths.setdefault(module, path)
        for path, parameter in root.named_parameters(prefix):
            self.parameters.setdefault(self._named(id(parameter), path), parameter)
        for path, buffer in root.named_buffers(prefix):
            self._named(id(buffer), path)
            self._buffers.add(id(buffer))

    def _named(self, key: int, name: str) -> str:
        """Name a tensor, if it has no name yet; no two have the same."""
        if key not in self.names:
            self.names[key] = numbered(name, self._taken)
        return self.names[key]

    # --- the forward pass --------------------------------------------------------------------

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls made inside."""
        entered = modules.register_module_forward_pre_hook(self._enter_module)
        left = modules.register_module_forward_hook(self._leave_module, always_call=True)
        self._open = True
        try:
            with self:
                yield
        finally:
            self._open = False
            entered.remove()
            left.remove()

    def _enter_module(self, module: nn.Module, _: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        if module not in self._paths:  # made while the program runs, say
            self._know(numbered(type(module).__name__, self._kinds), module)
        path = self._paths[module]
        above, scope = self._scope[-1] if self._scope else ("", ())
        own = path.removeprefix(f"{above}.") if above else path
        scope = (*scope, writable(own)) if own else scope
        self._scopes.setdefault(path, scope)
        self._scope.append((path, scope))

    def _leave_module(self, *_: Any) -> None:
        if threading.get_ident() == self._thread and self._scope:
            self._scope.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        name = _called(func)
        if not name or not self._open or torch._C._functorch.peek_interpreter_stack() is not None:
            return func(*args, **kwargs)
        if func in OPENED:
            with self:
                return OPENED[func](*args, **kwargs)
        if name == "backward":
            self.loss = args[0]
            self.node(args[0])
            self._open = False
            with self.sending():
                return func(*args, **kwargs)
        given = tensors_in((args, kwargs))
        operands = [self.node(tensor) for tensor in given]
        versions = [_version(tensor) for tensor in given]
        generator = torch.get_rng_state() if self.whole and name in RANDOM else None
        try:
            result = self.run(func, args, kwargs)
        except Exception as error:
            self.failed(error, name, operands)
            raise
        if name in READS and operands:
            operands[0].read = f"{name.strip('_')}()", _site()
        results = tensors_in(result)
        target = None  # what the call writes to and returns
        for tensor, version in zip(given, versions, strict=True):
            if _version(tensor) != version:
                if target is None and (not results or any(tensor is r for r in results)):
                    target, results = tensor, [tensor]
                elif tensor is not target:  # a running mean, say: read again, it is another one
                    self._tensors.pop(id(tensor), None)
        fresh = [r for r in results if r is target or not self._knows(r)]
        if not fresh:
            return result
        if not given and not any(r.requires_grad for r in fresh):  # zeros(3), arange(4)
            for tensor in fresh:
                self._append(CONSTANT, (), tensor)
            return result
        call = None
        if self.whole and name != "grad":  # a backward pass of its own needs more than its operands
            call = _call(func, args, kwargs, given, target, generator)
        shown: Sequence[Any] = operands
        if name.rstrip("_") in SYMBOLS and not kwargs and len(args) == 2:
            numbers = iter(operands)
            shown = [next(numbers) if isinstance(a, Tensor) else a for a in args]
        usual = _defaults(func)
        keywords = {
            k: v
            for k, v in kwargs.items()
            if k != "out" and not tensors_in(v) and (k not in usual or usual[k] != v)
        }
        made = []
        for tensor in fresh:
            index = next(i for i, r in enumerate(results) if r is tensor)
            operation = TorchOperation(name, call, index, len(results) > 1)
            alike = operands[0] if name in ALIASES | TURNED and len(operands) == 1 else None
            if tensor is target and tensor._base is not None and tensor._base.requires_grad:
                # What is written to through a view is its base. The view is read from it later.
                tensor, operation.call = tensor._base, None
            made.append(self._compute(operation, shown, tensor, keywords, alike))
        self._watch(made)
        return result

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Make a call of the program's."""
        return func(*args, **kwargs)

    def _knows(self, tensor: Tensor) -> bool:
        """Whether a call only handed a value on."""
        entry = self._tensors.get(id(tensor))
        return entry is not None and entry[0]() is tensor and entry[1] == _version(tensor)

    def failed(self, error: Exception, name: str = "", operands: Sequence[Any] = ()) -> None:
        """Note an error in its place; of one that goes on through several calls the first."""
        if self.error is not None:
            return
        self.error = error
        operation = Operation(f"{name or 'the program'} raised", _never, derivatives=None)
        message = f"{type(error).__name__}: {error}"
        node = TensorNode.new(
            message, operation, tuple(operands or self.recorded[-1:]), order=len(self.recorded),
            scope=self._scope[-1][1] if self._scope else (), name="error", site=_site(),
        )  # fmt: skip
        node.edge, node.sent = None, []
        self.recorded.append(node)

    # --- values ------------------------------------------------------------------------------

    def node(self, tensor: Tensor) -> TensorNode:
        """The value that a tensor holds now; of one that was never seen, a new leaf."""
        entry = self._tensors.get(id(tensor))
        old = entry[3] if entry is not None and entry[0]() is tensor else None
        if entry is not None and old is not None:
            # What a Function computes inside begins to require a gradient when it returns.
            begun = tensor.requires_grad and not entry[2] and torch.is_grad_enabled()
            if entry[1] == _version(tensor) and not begun:
                return old
            if begun:
                self._overwritten.append(old)
        edge: Edge | None = None
        if tensor.requires_grad:
            edge = _edge(tensor)
            found = self._edges.get(edge)
            if found is not None:
                self._note(tensor, found)
                return found
            if not tensor.is_leaf:
                name = edge[0].name().rpartition("::")[2]
                operation = TorchOperation(name.partition("Backward")[0] or name, None, 0, False)
                made = self._compute(operation, (), tensor)
                self._watch([made])
                return made[0]
        elif old is not None and tensor.numel():  # written to where no call was seen
            return self._append(TorchOperation("write", None, 0, False), (old,), tensor)
        name = self.names.get(id(tensor), "")
        kind = PARAMETER if isinstance(tensor, nn.Parameter) else INPUT
        if not tensor.requires_grad and (not name or id(tensor) in self._buffers):
            kind = CONSTANT
        found = self._append(kind, (), tensor, name=name, edge=edge)
        found.site = None  # the line is that of its first reader
        if tensor.requires_grad:
            found.name = name or numbered(f"leaf_{len(self._leaves) + 1}", self._taken)
            self._leaves.append((found, tensor))
            handle = tensor.register_hook(partial(self._received, found))  # type: ignore[no-untyped-call]
            self._hooks.append(handle)
        return found

    def _compute(
        self, operation: TorchOperation, operands: Sequence[Any], tensor: Tensor, *more: Any
    ) -> tuple[TensorNode, list[Crossing]]:
        """Record the result of a call, and find where its messages will pass."""
        tracked = tensor.requires_grad and torch.is_grad_enabled()
        crossings = self._crossings(tensor, operation.name) if tracked else []
        known = {o.order for o in operands if isinstance(o, Node)}
        others = {node.order: node for *_, node in crossings if node.order not in known}
        return self._append(operation, (*operands, *others.values()), tensor, *more), crossings

    def _append(
        self,
        operation: Operation,
        operands: Sequence[Any],
        tensor: Tensor,
        keywords: Mapping[str, Any] | None = None,
        alike: TensorNode | None = None,
        name: str = "",
        edge: Edge | None = None,
    ) -> TensorNode:
        """Record the value that a tensor holds now."""
        known = None if alike is None else alike.value
        dtype = keep.name(tensor.dtype)
        if isinstance(known, Statistics) and (known.size, known.dtype) == (tensor.numel(), dtype):
            turned = operation.name in TURNED
            chosen = keep.sample(tensor) if turned else known.sample
            value: Any = replace(known, shape=tuple(tensor.shape), sample=chosen)
        else:
            value = self.keep(tensor)
        node = TensorNode.new(
            value, operation, tuple(operands), keywords=keywords, order=len(self.recorded),
            scope=self._scope[-1][1] if self._scope else (), name=name,
            site=_site(),
        )  # fmt: skip
        node.edge, node.sent = None, []
        if tensor.requires_grad and (torch.is_grad_enabled() or not operands):
            node.edge = edge or _edge(tensor)
            self._edges[node.edge] = node
        self.recorded.append(node)
        self._note(tensor, node)
        return node

    def _note(self, tensor: Tensor, node: TensorNode) -> None:
        state = _version(tensor), node.edge is not None
        self._tensors[id(tensor)] = (weakref.ref(tensor), *state, node)

    # --- the backward pass -------------------------------------------------------------------

    def _crossings(self, tensor: Tensor, name: str) -> list[Crossing]:
        """The edges from the autograd nodes that compute a tensor to values that are known."""
        found: list[Crossing] = []
        seen = set()
        pending = [_edge(tensor)[0]]
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
                    found.append((function, index, node))
                elif edge[0] in self._owned:
                    raise TraceError(
                        "a gradient that the program computes itself (create_graph=True) passes "
                        f"through the inside of {self._owned[edge[0]]}: its messages cannot be "
                        "told apart from those of the last backward pass"
                    )
                else:
                    pending.append(edge[0])
        self._passed |= dict.fromkeys(seen, name)
        return found

    def _watch(self, results: Sequence[tuple[TensorNode, list[Crossing]]]) -> None:
        """Hook the nodes of autograd's graph that belong to a call."""
        self._owned |= self._passed
        self._passed.clear()
        results = [(node, crossings) for node, crossings in results if node.edge is not None]
        shared = set()
        if len(results) > 1:
            users = Counter(f for _, found in results for f in {f for f, *_ in found})
            shared = {f for f, count in users.items() if count > 1}
        for node, crossings in results:
            function, output = node.edge  # type: ignore[misc]
            self._hook(function, partial(self._reached, node, output))
            positions = self._positions(node, crossings)
            own = None
            if shared and not shared.isdisjoint(f for f, *_ in crossings):
                # Results of one autograd node are told apart when it runs. Of several that they
                # share, the messages are seen together: noted as the first's, see `told_apart`.
                if {f for f, *_ in crossings} == {function}:
                    own = output
                elif self._together and self._together[-1][0] is results[0][0]:
                    self._together[-1].append(node)
                    continue
                else:
                    self._together.append([node])
            by_function: dict[Any, list[tuple[int, int, TensorNode]]] = {}
            for (f, index, operand), position in zip(crossings, positions, strict=True):
                by_function.setdefault(f, []).append((index, position, operand))
                self._expected[node.order, position] += 1
            for f, edges in by_function.items():
                self._hook(f, partial(self._sent, node.order, edges, own, f))

    def _hook(self, function: Any, hook: Callable[..., None]) -> None:
        self._hooks.append(function.register_hook(hook))

    @staticmethod
    def _positions(node: TensorNode, crossings: Sequence[Crossing]) -> list[int]:
        """For each crossing the operand that it leads to; one given twice takes turns."""
        places: dict[int, list[int]] = {}
        for position, operand in enumerate(node.operands):
            if isinstance(operand, Node):
                places.setdefault(operand.order, []).append(position)
        found = []
        for *_, operand in crossings:
            mine = places[operand.order]
            found.append(mine.pop(0) if len(mine) > 1 else mine[0])
        assert isinstance(node.operation, TorchOperation)
        node.operation.carries.update(found)
        return found

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Note the messages of the backward pass that is run inside."""
        self._sending = True
        try:
            yield
        finally:
            self._sending = False

    def _sent(
        self,
        order: int,
        edges: Sequence[tuple[int, int, TensorNode]],
        own: int | None,
        function: Any,
        messages: Sequence[Tensor | None],
        upstream: Sequence[Tensor | None],
    ) -> None:
        """An autograd node has sent messages (`own`: of one of its outputs only)."""
        if not self._sending:
            return
        if own is not None and sum(g is not None for g in upstream) > 1:
            if upstream[own] is None:
                return
            again = function(*(g if n == own else None for n, g in enumerate(upstream)))
            messages = again if isinstance(again, tuple) else (again,)  # one alone comes bare
        for index, position, operand in edges:
            message = messages[index]
            key = order, position
            self._expected[key] -= 1
            if message is not None:
                summed = self._partial.pop(key, None)
                message = message if summed is None else summed + message
                if self._expected[key]:
                    self._partial[key] = message
                    continue
            else:
                message = None if self._expected[key] else self._partial.pop(key, None)
            if message is not None:
                self.messages[key] = self._kept(message)
                operand.sent.append((_address(message), self.messages[key]))

    def _reached(
        self, node: TensorNode, output: int, _: Any, upstream: Sequence[Tensor | None]
    ) -> None:
        """The gradient of a value is complete, for its own autograd node has run."""
        if self._sending and (gradient := upstream[output]) is not None:
            self._received(node, gradient)

    def _received(self, node: TensorNode, gradient: Tensor) -> None:
        if not self._sending:
            return
        # A gradient that is one message is that very tensor, unless a hook has put another.
        same = [kept for address, kept in node.sent if address == _address(gradient)]
        alone = len(node.sent) == 1 and bool(same)
        self.gradients[node.order] = same[0] if alone else self._kept(gradient, True)

    def _kept(self, message: Tensor, summed: bool = False) -> Any:
        """What is kept of a message; one that is the very numbers that came in is known."""
        if self.whole or not keep.is_dense(message):
            return self.keep(message)
        address, version = _address(message), _version(message)
        kept, since, known = self._measured.get(address, _UNKNOWN)
        old = kept()
        same = since == version and known.dtype == keep.name(message.dtype)
        if old is not None and same and not summed and known.size == message.numel():
            alike = old.is_contiguous() and message.is_contiguous()
            chosen = known.sample if alike else keep.sample(message)
            return replace(known, shape=tuple(message.shape), sample=chosen)
        known = self.keep(message)
        self._measured[address] = weakref.ref(message), version, known
        return known

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._hooks:
            handle.remove()
        self._hooks.clear()
        self._measured.clear()
        self._edges.clear()
        self._tensors.clear()

    def told_apart(self) -> None:
        """Give the messages of results that share autograd nodes to the results they come from.

        Where several have a gradient, whole captures compute the message of each; lean ones leave
        it open.
        """
        for group in self._together:
            first, reached = group[0], [node for node in group if node.order in self.gradients]
            positions = sorted(p for v, p in self.messages if v == first.order)
            messages = [self.messages.pop((first.order, p)) for p in positions]
            if len(reached) == 1:
                self.messages |= {
                    (reached[0].order, p): m for p, m in zip(positions, messages, strict=True)
                }
            elif self.whole:
                for node in reached:
                    values = [o.value if isinstance(o, Node) else o for o in node.operands]
                    gradient = self.gradients[node.order]
                    for p in positions:
                        message = node.operation.pull(p, gradient, node.value, values, {})
                        self.messages[node.order, p] = message

    def leaf_tensors(self) -> list[tuple[str, Tensor]]:
        """The leaves that were read and require a gradient, with their names."""
        return [(node.name, tensor) for node, tensor in self._leaves]

    def leaves(self) -> dict[str, Tensor]:
        """The leaves that require a gradient, by name."""
        return {node.name: tensor for node, tensor in self._leaves}

    def scope_of(self, leaf: str) -> tuple[str, ...]:
        """The scope of the module that a parameter or a buffer belongs to."""
        path, _, rest = leaf.rpartition(".")
        scopes = self._scopes
        below: tuple[str, ...] = ()
        while path and path not in scopes:
            path, _, part = path.rpartition(".")
            below = (part or rest, *below)
        return (*scopes.get(path, ()), *below)

    def kept(self, output: TensorNode) -> list[TensorNode]:
        """What was recorded, without what carries no gradient and leads to nothing that does."""
        readers = Counter(o.order for n in self.recorded for o in n.operands if isinstance(o, Node))
        readers[output.order] += 1
        overwritten = {node.order for node in self._overwritten}
        gone = set()
        for node in reversed(self.recorded):
            if not readers[node.order] and (node.edge is None or node.order in overwritten):
                gone.add(node.order)
                readers.subtract(o.order for o in node.operands if isinstance(o, Node))
        return [node for node in self.recorded if node.order not in gone]


_UNKNOWN: Any = (lambda: None, -1, None)


def _never(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("this call raised an error")


@cache
def _called(function: Any) -> str:
    """The name of what is called; "" for what computes no tensor."""
    name = str(getattr(function, "__name__", ""))
    if name == "__get__":
        name = str(getattr(function.__self__, "__name__", ""))
        return name if name in GETTERS else ""
    if name in TOLD or name in ("__set__", "__delete__"):
        return ""
    return name if name in READS else name.removeprefix("__").removesuffix("__")


@cache
def _defaults(function: Any) -> Mapping[str, Any]:
    """The default arguments of a function written in Python: they need not be told."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _edge(tensor: Tensor) -> Edge:
    if tensor.grad_fn is not None:
        return tensor.grad_fn, tensor.output_nr
    with torch.enable_grad():
        return get_gradient_edge(tensor).node, 0


def _address(tensor: Tensor) -> int:
    return tensor.data_ptr() if tensor.layout == torch.strided else id(tensor)


def _site() -> Any:
    """The line of the program; None where a module is called that has none of its own."""
    frame: Any = _getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != "gradviz.record.torch.trace":
        if names.is_user(frame):
            return names.site(frame)
        frame = frame.f_back
    return None


def _call(
    function: Any,
    args: Any,
    kwargs: Any,
    given: Sequence[Tensor],
    target: Tensor | None,
    generator: Tensor | None,
) -> Call:
    """A call with a `Slot` in the place of each tensor, in the order of `given`."""
    positions = iter(range(len(given)))

    def put(argument: Any) -> Any:
        if isinstance(argument, Tensor):
            stride = argument.stride() if keep.is_dense(argument) else None
            return Slot(next(positions), argument.dtype, argument.device, stride)
        if isinstance(argument, dict):
            return {k: put(v) for k, v in argument.items()}
        if type(argument) in (tuple, list):
            return type(argument)(map(put, argument))
        return argument

    place = None if target is None else next(i for i, t in enumerate(given) if t is target)
    kind = given[0].device.type if given else "cpu"
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return Call(function, put(args), put(kwargs), place, generator, autocast)
