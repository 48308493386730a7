"""The program as it was: what it writes to while it is traced is put back afterwards.

A tensor that the program did not make itself is copied when a call is about to write to its memory,
so that a large model is not copied for the few numbers that change. What objects hold (attributes,
lists, dicts) is noted before.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.overrides import TorchFunctionMode

from gradviz.record.reach import (
    REGISTERS,
    Found,
    assigned_in,
    attributes_of,
    is_user_class,
    slots_of,
    user_bases,
    variables,
)
from gradviz.record.torch.fused import Ran, unwatched
from gradviz.record.torch.operation import tensors_in
from gradviz.record.torch.ranks import gathers, is_sharded, local
from gradviz.record.undo import CONTAINERS, Undo

ARRAY = 2**24
"""A NumPy array of more bytes in an object's attribute is not copied."""

NOTHING, FACTS, FIRST, EVERY, RUNNING, IF_INPLACE, IF_MAX_NORM = range(7)
"""What a call may write to: which of its arguments, or only what is told of the first one."""

_OPENS = frozenset("__setitem__ numpy __array__ __dlpack__ untyped_storage storage".split())
"""What writes to a tensor, or hands out its memory to be written to."""
_INPLACE = frozenset(
    f"__i{name}__"
    for name in "add sub mul matmul truediv floordiv mod pow and or xor lshift rshift".split()
)
_HANDED_ON = frozenset("from_numpy as_tensor asarray frombuffer from_dlpack".split())
"""What returns memory that was there before, and was no tensor's."""


class Preserved(TorchFunctionMode):
    """Inside, what the program does is undone at the end, by whatever way it ends.

    Parameters
    ----------
    found : iterable of Found
        What the program reaches.
    whole : bool, optional
        Put back what its functions keep in variables around them, too: the program has run, and
        this is once more.

    Attributes
    ----------
    written : set of int
        The memory that the program did not make and has written to.
    call : callable
        Makes a call of the program's, and may look at it.
    ran : callable
        Is told of a module that ran as one call, see `unwatched`.
    """

    def __init__(self, found: Iterable[Found], whole: bool = False) -> None:
        super().__init__()
        self._found, self._whole = list(found), whole
        self._facts: dict[int, tuple[Any, ...]] = {}
        self._copies: dict[int, tuple[Any, Any]] = {}  # by storage
        self._others: list[tuple[Tensor, Tensor]] = []  # tensors without a storage
        self._made: set[int] = set()  # storages
        self.written: set[int] = set()
        self.sharded = any(
            isinstance(f.value, nn.Module) and is_sharded(f.value) for f in self._found
        )
        self._hooks: list[Any] = []
        self._undo = Undo()
        self.call: Callable[[Any, Any, Any], Any] = lambda f, args, kwargs: f(*args, **kwargs)
        self.ran: Ran = lambda module, args, output: None
        self._unwatched = ExitStack()

    def begin(self) -> None:
        """Note how everything is."""
        self._unwatched.enter_context(unwatched(lambda *run: self.ran(*run)))
        kinds = {v if isinstance(v, type) else type(v) for v in (f.value for f in self._found)}
        for base in {base for kind in kinds for base in user_bases(kind)}:
            self._undo.attributes(base, dict(vars(base)))
        for found in self._found:
            value = found.value
            if isinstance(value, Tensor):
                self.note(value)
            elif isinstance(value, nn.Module):
                for buffer in value._buffers.values():
                    if buffer is not None:
                        self.save(buffer)
            _remember(found, self._undo, self._whole)

    def end(self) -> None:
        """Put everything back."""
        self._unwatched.close()
        for handle in self._hooks:
            handle.remove()
        with torch.no_grad(), torch._C.DisableTorchFunction():
            for tensor, _, requires_grad, grad, alias, history in self._facts.values():
                _restore(tensor, requires_grad, grad, alias, history)
            for memory, copy in self._copies.values():
                if memory.nbytes() != copy.nbytes():
                    memory.resize_(copy.nbytes())
                memory.copy_(copy)
            for tensor, copy in self._others:
                tensor.copy_(copy)
            for tensor, version, *_ in reversed(self._facts.values()):  # some share one: the first
                if version is not None and tensor._version != version:
                    torch._C._autograd._unsafe_set_version_counter((tensor,), (version,))
        self._undo.put_back()

    def note(self, tensor: Tensor) -> None:
        """Note what is told of a tensor, but not its numbers."""
        if id(tensor) in self._facts:
            return
        with torch._C.DisableTorchFunction():
            if tensor._is_view() and tensor._base is not None:  # one of a moment, it may be
                self.note(tensor._base)
                return
            version = None if tensor.is_inference() else tensor._version
            grad = tensor.grad if tensor.is_leaf else None
            try:
                alias = tensor.detach()
            except RuntimeError:  # one of a transformation's own
                return
            facts = tensor, version, tensor.requires_grad, grad, alias, tensor.grad_fn
        self._facts[id(tensor)] = facts

    def save(self, tensor: Tensor) -> None:
        """Keep the numbers of a tensor that the program did not make."""
        tensor = local(tensor)
        key = storage(tensor)
        if key in self._made:
            return
        self.note(tensor)
        if tensor.is_meta or key in self._copies:
            return
        with torch.no_grad(), torch._C.DisableTorchFunction():
            if key is not None:
                memory = tensor.untyped_storage()
                self._copies[key] = memory, memory.clone()  # type: ignore[no-untyped-call]
            elif id(tensor) in self._facts:
                self._others.append((tensor, tensor.detach().clone()))

    def is_made(self, tensor: Tensor) -> bool:
        """Whether the program has made a tensor itself."""
        return storage(tensor) in self._made

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        if self.sharded and gathers():
            return func(*args, **kwargs)
        writes = _writes(func)
        if not writes and "out" not in kwargs:
            result = self.call(func, args, kwargs)
        else:
            written = self._before(func, writes, args, kwargs)
            result = self.call(func, args, kwargs)
            self.written.update(written)
            if writes == FACTS and id(args[0]) in self._facts:  # it may lie elsewhere now
                self.written.add(storage(args[0]) or 0)
        if isinstance(result, Tensor):
            self.own((result,), args, getattr(func, "__name__", ""))
        elif isinstance(result, (tuple, list)):
            self.own(result, args, getattr(func, "__name__", ""))
        elif writes == FACTS and hasattr(result, "remove") and not self.is_made(args[0]):
            self._hooks.append(result)
        return result

    def _before(self, function: Any, writes: int, args: Sequence[Any], kwargs: Any) -> set[int]:
        """Keep what a call may write to; returns the memory that it is."""
        if function.__name__ == "backward":
            for tensor, *_ in tuple(self._facts.values()):
                if tensor.is_leaf and tensor.grad is not None:
                    self.save(tensor.grad)
        written: list[Any] = [kwargs.get("out")]
        given = [*args, *kwargs.values()]
        if writes == EVERY:
            written += given
        elif writes == RUNNING:
            written += [args[n] for n in _running(function) if n < len(args)]
            written += [value for name, value in kwargs.items() if name.startswith("running_")]
        elif writes == IF_MAX_NORM:
            if kwargs.get("max_norm") is not None or (len(args) > 3 and args[3] is not None):
                written += given
        elif writes != IF_INPLACE or any(a is True for a in given):
            written += given[:1]
        # (A transform's tensors, as vmap's, are those of the program in a wrapping.)
        tensors = list(map(unwrapped, tensors_in(written)))
        with temporarily_clear_interpreter_stack():
            for tensor in tensors:
                if writes != FACTS:
                    self.save(tensor)
                elif not self.is_made(tensor):
                    self.note(tensor)
        keys = set(map(storage, tensors))
        return {key for key in keys if key is not None and key not in self._made}

    def own(self, results: Iterable[Any], given: Any = (), name: str = "") -> None:
        """Note the results of a call as the program's own, but what is the memory of an operand."""
        for result in results:
            key = storage(result) if isinstance(result, Tensor) else None
            if key is None or (key in self._made and name not in _HANDED_ON):
                continue
            if name == "__get__" or key in map(storage, tensors_in(given)):
                continue
            if name in _HANDED_ON:
                self._made.discard(key)  # it may lie where one lay that is gone
            else:
                self._made.add(key)


def unwrapped(tensor: Tensor) -> Tensor:
    """The tensor inside of those that `torch.func`'s transforms make of it."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def storage(tensor: Tensor) -> int | None:
    """The memory of a tensor; None for what has none of its own."""
    try:
        found: int = torch._C._storage_address(local(tensor))  # type: ignore[attr-defined]
    except (RuntimeError, NotImplementedError):
        return None
    return found or None


@cache
def _writes(function: Any) -> int:
    """What a function may write to."""
    name = str(getattr(function, "__name__", ""))
    if any(part in name for part in ("batch_norm", "instance_norm", "moving_avg")):
        known = name in ("batch_norm", "instance_norm") and _running(function)
        return RUNNING if known else EVERY  # these write to their buffers, and not all say so
    if isinstance(function, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        rows: list[Any] = [function]
        if isinstance(function, torch._ops.OpOverloadPacket):
            packet: Any = function
            rows = [getattr(packet, overload) for overload in packet.overloads()]
        return EVERY if any(row._schema.is_mutable for row in rows) else NOTHING
    if name in ("__set__", "requires_grad_", "register_hook", "register_post_accumulate_grad_hook"):
        return FACTS
    if name in _OPENS or name in _INPLACE or (name.endswith("_") and not name.endswith("__")):
        return FIRST
    if name.startswith("embedding"):
        return IF_MAX_NORM
    if name == "backward":
        return FACTS
    try:
        return IF_INPLACE if "inplace" in inspect.signature(function).parameters else NOTHING
    except (TypeError, ValueError):
        return NOTHING


@cache
def _running(function: Any) -> tuple[int, ...]:
    """Which arguments of a normalization are its buffers, if it says so."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        schemas = torch._C._jit_get_schemas_for_operator(f"aten::{function.__name__}")
        names = [argument.name for argument in schemas[0].arguments] if len(schemas) == 1 else []
    return tuple(n for n, name in enumerate(names) if name.startswith("running_"))


def _restore(tensor: Tensor, requires_grad: bool, grad: Any, alias: Tensor, history: Any) -> None:
    if tensor.grad_fn is not history and history is None:  # what was written to it has a history
        try:
            tensor.detach_()
        except RuntimeError:  # a view
            return
    regular = alias.layout == torch.strided and not alias.is_nested
    moved = regular and (
        tensor.shape != alias.shape
        or tensor.stride() != alias.stride()
        or tensor.dtype != alias.dtype
        or storage(tensor) != storage(alias)
        or tensor.storage_offset() != alias.storage_offset()
    )
    if moved:
        tensor.data = alias
    if tensor.is_leaf:
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        if tensor.grad is not grad:
            tensor.grad = grad


def _remember(found: Found, undo: Undo, whole: bool) -> None:
    """Note what an object holds."""
    value = found.value
    if isinstance(value, FunctionType):
        _remember_variables(value, undo, whole)
    elif isinstance(value, CONTAINERS):
        if found.kept or _holds_tensors(value) or (whole and type(found.owner) is FunctionType):
            undo.content(value)
    elif isinstance(value, np.ndarray):
        if found.kept and value.dtype != object and value.nbytes <= ARRAY:
            undo.array(value)
    elif isinstance(value, nn.Module) or is_user_class(value.__class__):
        if isinstance(value, (type, ModuleType)):
            return
        content = getattr(value, "__dict__", None)
        if isinstance(content, dict):
            undo.content(content)
            for name in REGISTERS & content.keys():
                if isinstance(content[name], dict):
                    undo.content(content[name])
            held = content.values()
            undo.empty([v for v in held if isinstance(v, CONTAINERS) and not v])
        kind: Any = type(value)
        if slots_of(kind):
            own = attributes_of(value).items()
            undo.attributes(value, {k: v for k, v in own if k not in (content or ())})


def _holds_tensors(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(parts, (Tensor, nn.Module)):
        return True
    if not isinstance(parts, (list, tuple, set, deque)) and not isinstance(value, dict):
        return False
    return any(isinstance(part, (Tensor, nn.Module)) for part in list(parts))


def _remember_variables(function: FunctionType, undo: Undo, whole: bool) -> None:
    """A variable from around a function that holds tensors is one of its parts."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    stored = assigned_in(function.__code__) if whole else frozenset()
    for name, value in variables(function):
        if name in stored or _holds_tensors(value):
            if name in cells:
                undo.cell(cells[name])
            elif name in function.__globals__:
                undo.variable(function.__globals__, name)
