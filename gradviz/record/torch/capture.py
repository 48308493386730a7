"""Watching a PyTorch program: every call on tensors, and every message of its backward pass.

Forward, a `TorchFunctionMode` sees the calls that the program makes (``linear``, ``relu``,
``layer_norm``), and modules' hooks tell which layer makes them. What autograd noted of a call are
one or several of its own nodes between the call's result and its operands; hooks on these see each
message as it is sent. Nothing is computed twice, and nothing is held that the program lets go.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from sys import _getframe
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import get_gradient_edge
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from gradviz.errors import TraceError
from gradviz.files import writable
from gradviz.layers import Layer
from gradviz.model import CONSTANT, INPUT, PARAMETER, Node
from gradviz.ops.operation import Operation
from gradviz.record import names
from gradviz.record.arguments import numbered
from gradviz.record.torch import keep, memory
from gradviz.record.torch.arguments import arguments
from gradviz.record.torch.layers import layer
from gradviz.record.torch.operation import (
    SYMBOLS,
    Call,
    OwnBackward,
    Slot,
    TorchOperation,
    tensors_in,
)
from gradviz.record.torch.state import storage
from gradviz.statistics import Statistics

GradientEdge = tuple[Any, int]
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
SAME = ALIASES | TURNED
VIEWS = SAME | frozenset("getitem select chunk split unbind narrow".split())
WRITES = frozenset("setitem iadd isub imul idiv itruediv ipow write".split())
"""Calls that write to their operand, beside those whose name ends so: ``add_``."""


class Form(NamedTuple):
    """How a view lies in its base, of which it is all."""

    base: tuple[int, ...]  # the base's shape and strides
    strides: tuple[int, ...]
    shape: tuple[int, ...]  # the view's
    view: tuple[int, ...]

    def apply(self, gradient: Tensor) -> Tensor:
        """The gradient of the view, from that of its base."""
        if gradient.stride() != self.strides:
            place = torch.empty_strided(
                self.base, self.strides, dtype=gradient.dtype, device=gradient.device
            )
            gradient = place.copy_(gradient)
        return gradient.as_strided(self.shape, self.view)


class Crossing(NamedTuple):
    """Where a message leaves a call."""

    function: Any  # autograd's node
    number: int  # of its input
    node: TensorNode  # the value that it goes to
    form: Form | None  # how that lies in what autograd sends a message for

    def message(self, sent: Tensor) -> Tensor:
        """What is sent, in the shape of the value."""
        return sent if self.form is None else self.form.apply(sent)


class TensorNode(Node):
    """The value of one call, or a leaf.

    Attributes
    ----------
    edge : GradientEdge or None
        Where its gradient is complete.
    form : Form or None
        Of a view that is all of a base which only its call has seen (as `linear` of three axes
        makes one of a matrix product): `edge` is then that of the base, since a write to the view
        goes on from there.
    crossings : dict
        By autograd's node and the number of its input: the operand's position, and the `Crossing`.
    sent : list of tuple
        Per message that it received: the address of the tensor, and what was kept of it.
    """

    __slots__ = ("crossings", "edge", "form", "read", "sent")

    edge: GradientEdge | None
    form: Form | None
    crossings: dict[tuple[Any, int], tuple[int, Crossing]]
    read: tuple[str, Any]
    sent: list[tuple[int | None, Any]]


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
    memory : dict of int to int
        The bytes that autograd keeps for the backward pass, by order of the value that it has
        saved them for; see `measure_memory`.
    names : dict of int to str
    before : dict of str to value
        What leaves held at first that the program has written to.
    written : set of int
        The memory that was there before and has been written to since it was last read; filled
        from outside.
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
        self.before: dict[str, Any] = {}
        self.written: set[int] = set()
        self._taken: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._buffers: set[int] = set()
        self._paths: dict[nn.Module, str] = {}
        self._scopes: dict[str, tuple[str, ...]] = {}  # by path
        self._scope: list[tuple[str, tuple[str, ...]]] = []
        self._modules: dict[tuple[str, ...], tuple[nn.Module, bool]] = {}  # by scope
        self._tensors: dict[int, tuple[Any, int, bool, TensorNode]] = {}
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
        self._open: set[int] = set()
        self._overwritten: list[TensorNode] = []
        self.memory: dict[int, int] = {}
        self.changed: dict[int, str] = {}  # by order: the hook that has changed the gradient
        self._came: dict[int, tuple[Tensor, int]] = {}  # gradients, before the user's hooks
        self._after: dict[int, tuple[Any, str]] = {}  # our hook behind those of the user
        self._leaves: list[tuple[TensorNode, Tensor]] = []
        self._hooks: list[Any] = []  # what takes them away
        self._measured: dict[int, tuple[Any, int, Statistics]] = {}  # by address
        self.dtypes: set[torch.dtype] = set()  # of what requires a gradient
        self._thread = threading.get_ident()
        self._recording = self._sending = False
        self._pass = -1  # the number that autograd gives the backward pass
        for prefix, root in roots.items():
            self._know(prefix, root)
        for key, name in names.items():
            self._named(key, name)

    def _know(self, prefix: str, root: nn.Module) -> None:
        """Note the names of a module's parts."""
        for path, module in root.named_modules(prefix=prefix):
            self._paths.setdefault(module, path)
        for path, parameter in root.named_parameters(prefix):
            name = self._named(id(parameter), path)
            self.parameters.setdefault(name, parameter)
            entry = self._tensors.get(id(parameter))
            if entry is not None and (read := self._edges.get(_edge(parameter))) is not None:
                read.name = name  # when it was initialized
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
    def recording(self, shown: bool = False) -> Iterator[None]:
        """Record the calls made inside; `shown`: somebody else sees them, and hands them on."""
        entered = modules.register_module_forward_pre_hook(self._enter_module)
        left = modules.register_module_forward_hook(self._leave_module, always_call=True)
        self._recording = True
        try:
            with nullcontext() if shown else self:
                yield
        finally:
            self._recording = False
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
        if scope not in self._modules:
            self._modules[scope] = module, module.training
        self._scope.append((path, scope))

    def _leave_module(self, *_: Any) -> None:
        if threading.get_ident() == self._thread and self._scope:
            self._scope.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        return self.call(func, args, kwargs or {})

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call of the program's, and record it."""
        name = _called(func)
        hooking = func is Tensor.register_hook
        if not (name or hooking) or not self._recording or _transformed():
            return func(*args, **kwargs)
        if hooking:
            handle = func(*args, **kwargs)
            place = names.source(_site())
            line = str(place or "")
            self._around(self.node(args[0]), args[0], f"a hook registered at {line}")
            return handle
        if func in OPENED:
            with self:
                return OPENED[func](*args, **kwargs)
        if name == "backward":
            self.loss = args[0]
            self.node(args[0])
            self._recording = False
            with self.sending():
                return func(*args, **kwargs)
        if kwargs and name in SYMBOLS:  # sub(other=b, input=a) is a - b
            kwargs = dict(sorted(kwargs.items(), key=lambda item: item[0] not in ("input", "self")))
        given = tensors_in((args, kwargs))
        if any(map(_unreadable, given)):
            return func(*args, **kwargs)
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
            Node.noted = True
        results = tensors_in(result)
        if any(map(_unreadable, results)):
            return result
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
        # A backward pass of its own needs more than its operands; so does what reads a sparse
        # tensor, whose stored zeros are not kept.
        call = None
        if self.whole and name != "grad" and all(t.layout == torch.strided for t in given):
            call = _call(func, args, kwargs, given, target, generator)
        shown: Sequence[Any] = operands
        if name.rstrip("_") in SYMBOLS and not kwargs and len(args) == 2:
            numbers = iter(operands)
            shown = [next(numbers) if isinstance(a, Tensor) else a for a in args]
        keywords = arguments(func, args, kwargs) if shown is operands else {}
        if len(fresh) > 1:  # one may be computed from another
            fresh.sort(key=lambda r: r.grad_fn._sequence_nr() if r.grad_fn is not None else -1)
        for tensor in fresh:
            index = next(i for i, r in enumerate(results) if r is tensor)
            operation = TorchOperation(name, call, index, len(results) > 1)
            alike = operands[0] if name in SAME and len(operands) == 1 else None
            base = tensor._base if tensor is target else None
            if base is not None and base.requires_grad and self._form(tensor) is None:
                # What is written to through a view is its base. The view is read from it later.
                tensor, operation.call = base, None
            self._compute(operation, shown, tensor, keywords, alike)
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
        node.edge, node.form, node.crossings, node.sent = None, None, {}, []
        self.recorded.append(node)

    # --- values ------------------------------------------------------------------------------

    def node(self, tensor: Tensor) -> TensorNode:
        """The value that a tensor holds now; of one that was never seen, a new leaf."""
        found = self._found(tensor)
        self._read.add(found.order)
        return found

    def _found(self, tensor: Tensor) -> TensorNode:
        entry = self._tensors.get(id(tensor))
        old = entry[3] if entry is not None and entry[0]() is tensor else None
        if entry is not None and old is not None:
            # What a Function computes inside begins to require a gradient when it returns.
            begun = tensor.requires_grad and not entry[2] and torch.is_grad_enabled()
            if entry[1] == _version(tensor) and not begun and not self._is_written(tensor):
                return old
            if begun:
                self._overwritten.append(old)
        edge: GradientEdge | None = None
        if tensor.requires_grad:
            edge = _edge(tensor)
            found = self._edges.get(edge)
            if found is not None:
                if old is not None and not found.operands and found.name:
                    # A leaf that was written to without a history: its gradient is of what it is.
                    self.before.setdefault(found.name, found.value)
                    found.value = self.keep(tensor)
                self._note(tensor, found)
                return found
            if not tensor.is_leaf:
                name = edge[0].name().rpartition("::")[2]
                own = isinstance(edge[0], BackwardCFunction)
                kind_of = OwnBackward if own else TorchOperation
                operation = kind_of(name.partition("Backward")[0] or name, None, 0, False)
                with torch.enable_grad():  # its history is there, whoever reads it first
                    made = self._compute(operation, (), tensor)
                if name.startswith("BackwardHookFunction") and made.edge is not None:
                    first = tensor.register_hook(partial(self._comes, made))  # type: ignore[no-untyped-call]
                    self._hooks.append(first)
                    self._hook(edge[0], partial(self._module_hook, made, self._hooked_modules()))
                return made
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
            theirs = list((tensor._backward_hooks or {}).values())
            if theirs:
                self._around(found, tensor, _described(theirs[-1]))
            handle = tensor.register_hook(partial(self._received, found))  # type: ignore[no-untyped-call]
            self._hooks.append(handle)
        return found

    def _is_written(self, tensor: Tensor) -> bool:
        """Whether a tensor was written to in a way that its version does not tell."""
        if not self.written:
            return False
        address = storage(tensor)
        found = address in self.written
        self.written.discard(address or 0)
        return found

    def _compute(
        self, operation: TorchOperation, operands: Sequence[Any], tensor: Tensor, *more: Any
    ) -> TensorNode:
        """Record the result of a call, and find where its messages will pass."""
        crossings: list[Crossing] = []
        if tensor.requires_grad and torch.is_grad_enabled():
            self.dtypes.add(tensor.dtype)
            crossings, passed = self._crossings(self._edge(tensor, self._form(tensor)))
        known = {o.order for o in operands if isinstance(o, Node)}
        others = {node.order: node for *_, node, _ in crossings if node.order not in known}
        self._read.update(others)
        for position, other in enumerate(others.values(), len(operands)):
            found = other.operation
            if isinstance(found, TorchOperation) and found.call is operation.call is not None:
                operation.siblings[position] = found.index
        node = self._append(operation, (*operands, *others.values()), tensor, *more)
        if crossings:
            self._assign(node, crossings, passed)
        return node

    def _append(
        self,
        operation: Operation,
        operands: Sequence[Any],
        tensor: Tensor,
        keywords: Mapping[str, Any] | None = None,
        alike: TensorNode | None = None,
        name: str = "",
        edge: GradientEdge | None = None,
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
        node.edge, node.crossings, node.sent = None, {}, []
        node.form = form = self._form(tensor)
        # (What is written to a leaf, as by `nn.init`, has no history.)
        if tensor.requires_grad and (
            not operands or (torch.is_grad_enabled() and not tensor.is_leaf)
        ):
            node.edge = edge or self._edge(tensor, form)
            self._edges[node.edge] = node
            if form is not None:
                self._edges[_edge(tensor)] = node
        self.recorded.append(node)
        if form is not None:
            self._note(tensor._base, node)  # type: ignore[arg-type]
        self._note(tensor, node)
        return node

    def _form(self, tensor: Tensor) -> Form | None:
        """How a tensor lies in its base, where it is all of one that nobody else knows."""
        base = tensor._base
        if base is None or base.requires_grad != tensor.requires_grad or not tensor.numel():
            return None
        known = self._last(base)
        if known is not None and known is not self._last(tensor):
            return None
        if base.numel() != tensor.numel() or not (keep.is_dense(base) and keep.is_dense(tensor)):
            return None
        return Form(tuple(base.shape), base.stride(), tuple(tensor.shape), tensor.stride())

    @staticmethod
    def _edge(tensor: Tensor, form: Form | None) -> GradientEdge:
        """Where autograd completes the gradient of a value."""
        return _edge(tensor if form is None or tensor._base is None else tensor._base)

    def _last(self, tensor: Tensor) -> TensorNode | None:
        """The value that a tensor held when it was last seen."""
        entry = self._tensors.get(id(tensor))
        return entry[3] if entry is not None and entry[0]() is tensor else None

    def _note(self, tensor: Tensor, node: TensorNode) -> None:
        state = _version(tensor), node.edge is not None
        self._tensors[id(tensor)] = (weakref.ref(tensor), *state, node)

    def measure_memory(self, outputs: Iterable[TensorNode]) -> None:
        """Note what autograd keeps for the backward pass from `outputs`, which is to come."""
        reached = {output.order for output in outputs}
        for node in reversed(self.recorded):
            if node.order in reached:
                reached.update(crossing.node.order for _, crossing in node.crossings.values())
        functions: dict[int, list[Any]] = {}
        for function, orders in self._serves.items():
            for order in reached.intersection(orders):
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

    # --- the backward pass -------------------------------------------------------------------

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
                    form = node.form if edge == node.edge else None
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
        self._hook(function, partial(self._reached, node, output))
        by_function: dict[Any, list[tuple[int, Crossing]]] = {}
        for crossing, position in zip(crossings, self._positions(node, crossings), strict=True):
            node.crossings[crossing.function, crossing.number] = position, crossing
            by_function.setdefault(crossing.function, []).append((position, crossing))
            self._expected[node.order, position] += 1
        for f, edges in by_function.items():
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
        if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
            self._unpacked.add(node.order)

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
        for crossing in crossings:
            mine = places[crossing.node.order]
            found.append(mine.pop(0) if len(mine) > 1 else mine[0])
        assert isinstance(node.operation, TorchOperation)
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

    def _listens(self) -> bool:
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
        if order not in self._arrived or not self._listens() or self._apart(order):
            return
        for position, crossing in edges:
            message = messages[crossing.number]
            key = order, position
            self._expected[key] -= 1
            if message is not None:
                message = crossing.message(message)
                summed = self._partial.pop(key, None)
                message = message if summed is None else summed + message
                if self._expected[key]:
                    self._partial[key] = message
                    continue
            else:
                message = None if self._expected[key] else self._partial.pop(key, None)
            if message is not None:
                self._note_message(key, crossing.node, message, _address(message))

    def _reached(
        self, node: TensorNode, output: int, _: Any, upstream: Sequence[Tensor | None]
    ) -> None:
        """The gradient of a value is complete, for its own autograd node has run."""
        if not self._listens():
            return
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
        if node.order in self._unpacked and any(map(_saves, passed)):
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
            self._open.add(node.order)
            return
        for position, (operand, message) in sums.items():
            self._note_message((node.order, position), operand, message, None)

    def _note_message(
        self, key: tuple[int, int], operand: TensorNode, message: Tensor, address: int | None
    ) -> None:
        kept = self.messages[key] = self._kept(message)
        operand.sent.append((address, kept))
        if operand.order in self._indirect:
            summed = self._indirect[operand.order]
            self._indirect[operand.order] = message if summed is None else summed + message

    def _received(self, node: TensorNode, gradient: Tensor | None) -> None:
        if not self._sending or gradient is None:  # a leaf's hook is called where nothing came
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
        self._serves.clear()
        self._passed.clear()
        self._indirect.clear()
        self._modules.clear()
        for node in self.recorded:  # they outlive this, in a Graph, and autograd's nodes must not
            node.edge = None
            node.crossings.clear()

    def told_apart(self) -> None:
        """Compute the messages that were left open; a lean capture, which keeps no arrays, cannot.

        They are those of calls that share autograd nodes which cannot be run twice.
        """
        if not self.whole:
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

    def leaf_tensors(self) -> list[tuple[str, Tensor]]:
        """The leaves that were read and require a gradient, with their names."""
        return [(node.name, tensor) for node, tensor in self._leaves]

    def overwritten(self) -> str:
        """Which value a gradient needs that has been written to since, and where; "" if unknown.

        Asked of autograd: what was saved and then changed cannot be looked at.
        """
        for node in reversed(self.recorded):
            pending, seen = [node.edge[0]] if node.edge is not None else [], set()
            while pending:
                function = pending.pop()
                seen.add(function)
                if (saved := _changed(function)) is not None:
                    return self._who_wrote(node, saved)
                for index, (following, _) in enumerate(function.next_functions):
                    inside = following is not None and (function, index) not in node.crossings
                    if inside and following not in seen:
                        pending.append(following)
        return ""

    def _who_wrote(self, node: TensorNode, result: bool) -> str:
        """Name the write to the result of a call, or to what it has read, that came after it."""
        write = self._write_to(node, result)
        if write is None and (write := self._write_to(node, not result)) is not None:
            result = not result
        place = names.source(node.site)
        kind = node.operation.name
        needs = f"{kind} at {place}" if place else kind
        what = "its result" if result else "what it has read"
        told = f"the gradient of {needs} needs {what} as it was"
        place = names.source(write.site) if write is not None else None
        if place is None:
            return f"{told}, which was written to since"
        return (
            f"{told}, which {place} has written to since; make a new "
            "tensor there (h = h + 1 instead of h += 1), or write to a clone()"
        )

    def _write_to(self, node: TensorNode, result: bool) -> TensorNode | None:
        """The first write to the result of a call, or to what it has read, that came after it."""
        family = [o for o in node.operands if isinstance(o, TensorNode)]
        if result:  # or another one of the same call
            edge = node.edge
            family = [n for n in self.recorded if n.edge and edge and n.edge[0] is edge[0]]
        for value in family:
            if value.operation.name in VIEWS:  # a write to its base is one to it
                family += [o for o in value.operands if isinstance(o, TensorNode)]
        orders = {value.order for value in family}
        for later in self.recorded[node.order + 1 :]:
            if not orders.isdisjoint(o.order for o in later.operands if isinstance(o, Node)):
                name = later.operation.name
                if name in VIEWS:
                    orders.add(later.order)
                elif name.endswith("_") or name in WRITES:
                    return later
        return None

    def forget(self, leaf: Tensor) -> bool:
        """Drop the gradient of a leaf; whether it had one."""
        orders = [node.order for node, tensor in self._leaves if tensor is leaf]
        dropped = [self.gradients.pop(order, None) for order in orders]
        return any(gradient is not None for gradient in dropped)

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

    def layers(self, scopes: Collection[tuple[str, ...]]) -> dict[tuple[str, ...], Layer]:
        """What module each scope is that was entered, or that holds what was read."""
        for module, path in self._paths.items():
            scope = self.scope_of(f"{path}.")
            if scope in scopes:
                self._modules.setdefault(scope, (module, module.training))
        return {scope: layer(*found) for scope, found in self._modules.items()}

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


def _changed(function: Any) -> bool | None:
    """Whether it is the result that a node saved and that was written to; None: nothing was."""
    for name in dir(function):
        if name.startswith("_saved_"):
            try:
                getattr(function, name)
            except RuntimeError as error:
                if "modified by an inplace operation" in str(error):
                    return name in ("_saved_result", "_saved_output")
    if isinstance(function, BackwardCFunction):
        try:
            function.saved_tensors  # noqa: B018 - it is looked at
        except RuntimeError as error:
            return False if "modified by an inplace operation" in str(error) else None
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    if a is b:
        return True
    if a.shape != b.shape or a.layout != b.layout or a.layout != torch.strided:
        return False
    return torch.equal(a, b) or torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def _described(hook: Any) -> str:
    """A hook that was there before: what it is called, and where it is written."""
    code = getattr(hook, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"the hook {getattr(hook, '__name__', type(hook).__name__)}{place}"


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


def _transformed() -> bool:
    """Whether a call is one of a transform's own: of vmap, grad, jvp, or of a tracer's run.

    Raises
    ------
    TraceError
        `torch.func.linearize` runs the function on tensors whose numbers mean nothing.
    """
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    if not torch.fx._symbolic_trace._is_fx_tracing_flag:
        return False
    frame: Any = _getframe(1)
    while frame is not None and frame.f_code is not torch.func.linearize.__code__:
        frame = frame.f_back
    if frame is not None:
        raise TraceError(
            "torch.func.linearize traces a function symbolically, which cannot be followed; write "
            f"torch.func.jvp, at {names.where(frame)}"
        )
    return True


def _unreadable(tensor: Tensor) -> bool:
    """Whether a tensor has no numbers, or they are for a transform: vjp's, linearize's ..."""
    if type(tensor) is nn.Parameter:
        return False
    is_wrapped: bool = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return is_wrapped or (type(tensor) is not Tensor and isinstance(tensor, FakeTensor))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _edge(tensor: Tensor) -> GradientEdge:
    if tensor.grad_fn is not None:
        return tensor.grad_fn, tensor.output_nr
    with torch.enable_grad():
        return get_gradient_edge(tensor).node, 0


def _address(tensor: Tensor) -> int:
    return tensor.data_ptr() if tensor.layout == torch.strided else id(tensor)


def _site() -> Any:
    """The line of the program; None where a module is called that has none of its own."""
    frame: Any = _getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == "gradviz.record.torch.trace":
            return None
        if not module or (module[:6] != "torch." and names.is_user(frame)):
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
