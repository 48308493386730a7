"""Watching a PyTorch program: every call on tensors, and every message of its backward pass.

Forward, a `TorchFunctionMode` sees the calls that the program makes (``linear``, ``relu``,
``layer_norm``), and modules' hooks tell which layer makes them. What autograd noted of a call are
one or several of its own nodes between the call's result and its operands; hooks on these see each
message as it is sent. Nothing is computed twice, and nothing is held that the program lets go.
"""

# Long: calls, modules and leaves are matched by what is known of each tensor, in one place.

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from gradviz.files import writable
from gradviz.layers import Layer
from gradviz.model import CONSTANT, INPUT, PARAMETER, Node
from gradviz.ops import forms
from gradviz.ops.operation import Operation
from gradviz.rank import Rank
from gradviz.record import chance, names
from gradviz.record.arguments import numbered
from gradviz.record.torch import keep, ranks
from gradviz.record.torch.arguments import arguments, told_by_targets
from gradviz.record.torch.attention import FUSED, rows_of
from gradviz.record.torch.calls import (
    OPENED,
    PARTS,
    RANDOM,
    READS,
    RESHAPES,
    SAME,
    call_of,
    called,
    is_transformed,
    is_unreadable,
)
from gradviz.record.torch.formulas import MESSAGES
from gradviz.record.torch.fused import unwatched
from gradviz.record.torch.layers import layer, scope_within
from gradviz.record.torch.measuring import Part
from gradviz.record.torch.messages import described, is_packing
from gradviz.record.torch.nodes import (
    Form,
    GradientEdge,
    TensorNode,
    edge_of,
    needed,
    never,
    version_of,
    versions_of,
)
from gradviz.record.torch.operation import (
    SYMBOLS,
    OwnBackward,
    TorchOperation,
    Write,
    gather,
    tensors_in,
)
from gradviz.record.torch.sites import site_of_call, variable_of
from gradviz.record.torch.written import Written
from gradviz.statistics import Statistics

_ORDER = {name: n for n, name in enumerate("self input query key value weight".split())}
"""The operands that are given by name, in the order that formulas have them in."""
_ALIKE = SAME | forms.CASTS | {"data", "cpu"}
_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]
_GET_NODE = Tensor.grad_fn.__get__  # type: ignore[union-attr]


class Capture(Written, TorchFunctionMode):
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
    sharp : dict of int to (value, int)
        Of fused attentions what `attention.rows_of` gives.
    before : dict of str to value
        What leaves held at first that the program has written to.
    parameters : dict of str to Parameter
        Those of all modules that are known; of sharded ones the parts.
    rank : Rank or None
        What this process holds, of several.
    """

    def __init__(
        self, roots: Mapping[str, nn.Module], names: Mapping[int, str], whole: bool
    ) -> None:
        TorchFunctionMode.__init__(self)
        Written.__init__(self, whole)
        self.error: Exception | None = None
        self.loss: Tensor | None = None
        self.parameters: dict[str, Tensor] = {}
        self.names: dict[int, str] = {}
        self.before: dict[str, Any] = {}
        self.sharp: dict[int, tuple[Any, int]] = {}
        self._taken: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._buffers: set[int] = set()
        self._scopes: dict[str, tuple[str, ...]] = {}  # by path
        self._scope: list[tuple[str, tuple[str, ...]]] = []
        self._modules: dict[tuple[str, ...], tuple[nn.Module, bool]] = {}  # by scope
        self._overwritten: list[TensorNode] = []
        self._thread = threading.get_ident()
        self._recording = False
        self._roots: list[tuple[nn.Module, str]] = []
        self._sharded = False  # whether there are modules of `fully_shard`
        self.rank: Rank | None = None
        self._pass = -1  # the number that autograd gives the backward pass
        for prefix, root in roots.items():
            self._know(prefix, root)
        for key, name in names.items():
            self._named(key, name)

    def _know(self, prefix: str, root: nn.Module) -> None:
        """Note the names of a module's parts."""
        if root not in self._paths:
            self._roots.append((root, prefix))
        self._paths.setdefault(root, prefix)
        root = ranks.inner(root)
        self._sharded = self._sharded or any(map(ranks.is_sharded, root.modules()))
        for path, module in root.named_modules(prefix=prefix):
            self._paths.setdefault(module, path)
        for path, parameter in root.named_parameters(prefix):
            part = self.parameters.get(path)
            if part is not None and part is not parameter and ranks.is_distributed(part):
                self.names[id(parameter)] = path  # the same, gathered
                continue
            name = self._named(id(parameter), path)
            self.parameters.setdefault(name, parameter)
            entry = self._tensors.get(id(parameter))
            if entry is not None and (read := self._edges.get(edge_of(parameter))) is not None:
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
        with nullcontext() if shown else unwatched(self.ran):
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

    def ran(self, module: nn.Module, args: Any, output: Any) -> None:
        """Record a module that ran as one call."""
        operation = TorchOperation(type(module).__name__, None, 0, several=False)
        operands = [self.node(t) for t in (*tensors_in(args), *module.parameters())]
        for tensor in tensors_in(output):
            if not self._knows(tensor):
                self._append(operation, operands, tensor)

    def _enter_module(self, module: nn.Module, _: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        model = ranks.inner(module)
        if model is not module:  # what is around it is no layer
            if model not in self._paths:
                self._know(numbered(type(model).__name__, self._kinds), module)
            self._paths.setdefault(module, self._paths[model])
            self._scope.append(self._scope[-1] if self._scope else ("", ()))
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
        name = called(func)
        hooking = func is Tensor.register_hook
        if not (name or hooking) or not self._recording or is_transformed():
            if func == _SET_DATA and id(args[0]) in self.names:
                self.writers[id(args[0])] = site_of_call()
            self.opened = self.opened or func == _GET_NODE
            return func(*args, **kwargs)
        if self._sharded and ranks.gathers():
            return func(*args, **kwargs)
        if hooking:
            handle = func(*args, **kwargs)
            place = names.source(site_of_call())
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
        if len(kwargs) > 1 and (name in SYMBOLS or name in MESSAGES):  # sub(other=b, input=a)
            kwargs = dict(sorted(kwargs.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER))))
        given: list[Tensor] = []
        gather(args, given)
        if kwargs:
            gather(kwargs.values(), given)
        for tensor in given:
            if is_unreadable(tensor):
                return func(*args, **kwargs)
        return self._watched(func, name, args, kwargs, given)

    def _watched(self, func: Any, name: str, args: Any, kwargs: Any, given: list[Tensor]) -> Any:
        """Make a call, whose arguments hold the `given` tensors, and record its results."""
        operands = list(map(self.node, given))
        versions = versions_of(given)
        again = self.whole or is_packing()  # the call may have to be made once more
        generator = chance.of_torch() if again and name in RANDOM else None
        try:
            result = self.run(func, args, kwargs)
        except Exception as error:
            self.failed(error, name, operands)
            raise
        if name in READS and operands:
            _note_read(operands[0], name)
        results = [result] if type(result) is Tensor else tensors_in(result)
        if any(map(is_unreadable, results)):
            return result
        target, results = self._written(given, versions, results)
        self._shared(name, given, versions, target)
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
        needed = again and (self.whole or len(fresh) > 1) and name != "grad"
        needed = needed and all(t.layout == torch.strided for t in given)
        if needed and not any(type(a) is torch.Generator for a in (*args, *kwargs.values())):
            call = call_of(func, args, kwargs, given, target, generator)
        shown: Sequence[Any] = operands
        if name.rstrip("_") in SYMBOLS and not kwargs and len(args) == 2:
            numbers = iter(operands)
            shown = [next(numbers) if isinstance(a, Tensor) else a for a in args]
        keywords = arguments(func, args, kwargs) if shown is operands else {}
        if call is not None:
            keywords = told_by_targets(func, args) | keywords
        if len(fresh) > 1:  # one may be computed from another
            fresh.sort(key=lambda r: r.grad_fn._sequence_nr() if r.grad_fn is not None else -1)
        made: list[TensorNode] = []
        for tensor in fresh:
            index = 0
            while results[index] is not tensor:
                index += 1
            operation = TorchOperation(name, call, index, len(results) > 1)
            operation.real = not (tensor.is_complex() or any(map(Tensor.is_complex, given)))
            alike = operands[0] if name in SAME and len(operands) == 1 else None
            base = tensor._base if tensor is target and name not in RESHAPES else None
            if base is not None and base.requires_grad and self._form(tensor) is None:
                # What is written to through a view is its base. The view is read from it later.
                tensor, operation.call = base, None
            made.append(node := self._compute(operation, shown, tensor, keywords, alike))
            if name == FUSED and (looked := rows_of(args, kwargs)) is not None:
                self.sharp[node.order] = self.keep(looked[0]), looked[1]
            if name in PARTS and not self.whole and len(node.crossings) == 1:
                self._note_part(node, tensor, given[0])
        if call is not None and not self.whole:
            self._hold(made, given, versions)
        return result

    def _note_part(self, node: TensorNode, tensor: Tensor, operand: Tensor) -> None:
        """Note where a value lies in its operand, if it is a part of it along one axis."""
        shape, strides = tuple(operand.shape), operand.stride()
        axes = [n for n, (a, b) in enumerate(zip(shape, tensor.shape, strict=True)) if a != b]
        if len(axes) == 1 and strides[axes[0]] and tensor.stride() == strides and tensor.numel():
            begin = tensor.storage_offset() - operand.storage_offset()
            length = tensor.shape[axes[0]]
            self._parts[node.order] = Part(shape, axes[0], begin // strides[axes[0]], length)

    def _written(
        self, given: Sequence[Tensor], versions: Sequence[int], results: list[Tensor]
    ) -> tuple[Tensor | None, list[Tensor]]:
        """What a call has written to and returns, if it has; and its results."""
        target = None
        after = versions_of(given)
        changed = () if after == versions else zip(given, versions, after, strict=True)
        for tensor, version, now in changed:
            if now != version:
                if target is None and (not results or any(tensor is r for r in results)):
                    target, results = tensor, [tensor]
                elif tensor is not target:  # a running mean, say: read again, it is another one
                    self._tensors.pop(id(tensor), None)
        return target, results

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Make a call of the program's."""
        return func(*args, **kwargs)

    def _knows(self, tensor: Tensor) -> bool:
        """Whether a call only handed a value on."""
        entry = self._tensors.get(id(tensor))
        return entry is not None and entry[0]() is tensor and entry[1] == version_of(tensor)

    def failed(self, error: Exception, name: str = "", operands: Sequence[Any] = ()) -> None:
        """Note an error in its place; of one that goes on through several calls the first."""
        if self.error is not None:
            return
        self.error = error
        operation = Operation(f"{name or 'the program'} raised", never, derivatives=None)
        message = f"{type(error).__name__}: {error}"
        node = TensorNode.new(
            message, operation, tuple(operands or self.recorded[-1:]), order=len(self.recorded),
            scope=self._scope[-1][1] if self._scope else (), name="error", site=site_of_call(),
        )  # fmt: skip
        node.edge, node.form, node.crossings, node.sent = None, None, {}, []
        self.recorded.append(node)

    # --- values ------------------------------------------------------------------------------

    def node(self, tensor: Tensor) -> TensorNode:
        """The value that a tensor holds now; of one that was never seen, a new leaf."""
        if self._sharded and isinstance(tensor, nn.Parameter) and id(tensor) not in self.names:
            for root, prefix in tuple(self._roots):  # a sharded one, gathered for its call
                self._know(prefix, root)
        entry = self._tensors.get(id(tensor))
        if (
            entry is not None
            and entry[0]() is tensor
            and entry[1] == version_of(tensor)
            and (entry[2] or not tensor.requires_grad)
            and not self.written
        ):
            found = entry[3]
        else:
            found = self._found(tensor)
        self._read.add(found.order)
        return found

    def _found(self, tensor: Tensor) -> TensorNode:
        entry = self._tensors.get(id(tensor))
        old = entry[3] if entry is not None and entry[0]() is tensor else None
        if entry is not None and old is not None:
            # What a Function computes inside begins to require a gradient when it returns.
            begun = tensor.requires_grad and not entry[2] and torch.is_grad_enabled()
            if entry[1] == version_of(tensor) and not begun and not self._is_written(tensor):
                return old
            if begun and old.operands:
                self._overwritten.append(old)
        edge: GradientEdge | None = None
        if tensor.requires_grad:
            edge = edge_of(tensor)
            found = self._edges.get(edge)
            if found is not None:
                if old is not None and found.operands:
                    return self._write(found, old, tensor)
                if old is not None and found.name:
                    # A leaf that was written to without a history: its gradient is of what it is.
                    self.before.setdefault(found.name, found.value)
                    found.value = self.keep(tensor)
                    found.site = self._line_of(old, found, tensor) or found.site
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
            return self._append(Write(), (old,), tensor, site=self.writers.pop(id(tensor), None))
        name = self.names.get(id(tensor), "")
        if name and edge and old is not None and old.operands:  # written to before it was asked
            name = numbered(name, self._taken | {name: 1})
        kind = PARAMETER if isinstance(tensor, nn.Parameter) else INPUT
        if not tensor.requires_grad and (not name or id(tensor) in self._buffers):
            kind = CONSTANT
        if edge and old is not None and not old.operands and old.edge is None and not old.sent:
            found = old  # what was read before a gradient was asked for is the same leaf
            found.operation, found.edge, self._edges[edge] = kind, edge, found
            self._note(tensor, found)
        else:
            site = self.writers.pop(id(tensor), None)  # (else the line is that of its first reader)
            found = self._append(kind, (), tensor, name=name, edge=edge, site=site)
        if tensor.requires_grad:
            found.name = name or numbered(variable_of(tensor) or "leaf", self._taken)
            self._leaves.append((found, tensor))
            theirs = list((tensor._backward_hooks or {}).values())
            if theirs:
                self._around(found, tensor, described(theirs[-1]))
            handle = tensor.register_hook(partial(self._received, found))  # type: ignore[no-untyped-call]
            self._hooks.append(handle)
        return found

    def _compute(
        self,
        operation: TorchOperation,
        operands: Sequence[Any],
        tensor: Tensor,
        keywords: Mapping[str, Any] | None = None,
        alike: TensorNode | None = None,
    ) -> TensorNode:
        """Record the result of a call, and find where its messages will pass."""
        # (A reshape in place makes another view of its base, which stays what it is.)
        is_new = tensor._base is None or operation.name in RESHAPES
        form = None if is_new else self._form(tensor)
        if not (tensor.requires_grad and torch.is_grad_enabled()):
            return self._append(operation, operands, tensor, keywords, alike, form=form)
        self.dtypes.add(tensor.dtype)
        edge = self._edge(tensor, form)
        crossings, passed = self._crossings(edge)
        known = {o.order for o in operands if isinstance(o, Node)}
        others = {c.node.order: c.node for c in crossings if c.node.order not in known}
        self._read.update(others)
        for position, other in enumerate(others.values(), len(operands)):
            found = other.operation
            if isinstance(found, TorchOperation) and found.call is operation.call is not None:
                operation.siblings[position] = found.index
        operands = (*operands, *others.values())
        node = self._append(operation, operands, tensor, keywords, alike, edge=edge, form=form)
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
        site: Any = ...,
        form: Any = ...,
    ) -> TensorNode:
        """Record the value that a tensor holds now."""
        known = None if alike is None else alike.value
        dtype = keep.name(tensor.dtype)
        if isinstance(known, Statistics) and (known.size, known.dtype) == (tensor.numel(), dtype):
            value: Any = self.measuring.again(known, tensor, operation.name in forms.ORDERS)
        else:
            value = self.keep(tensor)
        node = TensorNode.new(
            value,
            operation,
            tuple(operands),
            keywords=keywords,
            order=len(self.recorded),
            scope=self._scope[-1][1] if self._scope else (),
            name=name,
            site=site_of_call() if site is ... else site,
        )
        node.edge, node.crossings, node.sent = None, {}, []
        node.form = form = self._form(tensor) if form is ... else form
        # (What is written to a leaf, as by `nn.init`, has no history.)
        if tensor.requires_grad and (
            not operands or (torch.is_grad_enabled() and not tensor.is_leaf)
        ):
            node.edge = edge or self._edge(tensor, form)
            self._edges[node.edge] = node
            if form is not None:
                self._edges[edge_of(tensor)] = node
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
        return edge_of(tensor if form is None or tensor._base is None else tensor._base)

    def _last(self, tensor: Tensor) -> TensorNode | None:
        """The value that a tensor held when it was last seen."""
        entry = self._tensors.get(id(tensor))
        return entry[3] if entry is not None and entry[0]() is tensor else None

    def _note(self, tensor: Tensor, node: TensorNode) -> None:
        state = version_of(tensor), node.edge is not None
        self._tensors[id(tensor)] = (weakref.ref(tensor), *state, node)

    def note_rank(self, reduced: bool, scale: float = 1.0) -> None:
        """Note what this process holds, of several, after a backward pass."""

        def norm(leaf: Tensor) -> float | None:
            found = self.reduced(leaf) if reduced else None
            return None if found is None else keep.statistics(found).norm / scale

        self.rank = ranks.rank_of(self.parameters, self._paths, keep.bits, norm)

    def reduced(self, leaf: Tensor) -> Tensor | None:
        """A leaf's gradient after those of all ranks were put together."""
        return leaf.grad

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._hooks:
            handle.remove()
        self._hooks.clear()
        self._measured.clear()
        self._edges.clear()
        self._tensors.clear()
        self._serves.clear()
        self._again.clear()
        self._passed.clear()
        self._parts.clear()
        self._indirect.clear()
        self._modules.clear()
        for node in self.recorded:  # they outlive this, in a Graph, and autograd's nodes must not
            node.edge = None
            if node.crossings:
                node.crossings.clear()

    def leaf_tensors(self) -> list[tuple[str, Tensor]]:
        """The leaves that were read and require a gradient, with their names."""
        return [(node.name, tensor) for node, tensor in self._leaves]

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
        return scope_within(self._scopes, leaf)

    def layers(self, scopes: Collection[tuple[str, ...]]) -> dict[tuple[str, ...], Layer]:
        """What module each scope is that was entered, or that holds what was read."""
        for module, path in self._paths.items():
            scope = self.scope_of(f"{path}.")
            if scope in scopes:
                self._modules.setdefault(scope, (module, module.training))
        return {scope: layer(*found) for scope, found in self._modules.items()}

    def kept(self, output: TensorNode) -> list[TensorNode]:
        """What was recorded, without what carries no gradient and leads to nothing that does."""
        overwritten = {node.order for node in self._overwritten}
        return needed(self.recorded, overwritten, output)


def _note_read(read: TensorNode, name: str) -> None:
    """Note that the numbers of a value were read; of x.detach().item() the history ended at x."""
    while read.edge is None and read.operation.name in _ALIKE and read.operands:
        read = read.operands[0]
    read.read = f"{name.strip('_')}()", site_of_call()
    Node.noted = max(Node.noted, read.order)
