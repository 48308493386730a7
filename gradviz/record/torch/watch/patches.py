"""What is put in PyTorch's place so that a watch sees calls, and taken away again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.amp import grad_scaler
from torch.optim import optimizer as optimizers
from torch.optim.optimizer import Optimizer
from torch.overrides import TorchFunctionMode

from gradviz.record.torch.training import PASSES as GO_BACK

if TYPE_CHECKING:
    from gradviz.record.torch.watch.watcher import Watch

_owner: Watch | None = None


class Calls(TorchFunctionMode):
    """Sees the calls that are made outside of modules."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():
            return func(*args, **kwargs)
        tape = self.watch.tape
        if tape.inside or not self.watch.is_live():
            return func(*args, **kwargs)
        if func in GO_BACK:
            return self.watch.passed(tape, func, args, kwargs)
        return self.watch.call(tape, func, args, kwargs)


class Patches:
    """The methods of PyTorch's classes that a watch replaces while it is on."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._undo: list[Callable[[], None]] = []

    def put(self) -> None:
        """Replace them."""
        global _owner
        if _owner is not None:
            raise RuntimeError("a training is under watch already")
        _owner = watch = self._watch
        handles = [
            optimizers.register_optimizer_step_pre_hook(watch.before_step),
            optimizers.register_optimizer_step_post_hook(watch.after_step),
        ]
        self._undo = [handle.remove for handle in handles]
        self._replace(nn.Module, "__call__", _watched)
        self._replace(nn.Module, "zero_grad", _unseen)
        self._replace(Optimizer, "zero_grad", _zeroing)
        self._replace(grad_scaler.GradScaler, "step", _scaled)

    def take_away(self) -> None:
        """Put the methods back that were there."""
        global _owner
        _owner = None
        for undo in self._undo:
            undo()
        self._undo = []

    @property
    def there(self) -> bool:
        """Whether they are replaced."""
        return bool(self._undo)

    def _replace(self, owner: type, name: str, by: Any) -> None:
        old = getattr(owner, name)
        setattr(owner, name, by(self._watch, old))
        self._undo.append(functools.partial(setattr, owner, name, old))


def _watched(watch: Watch, call: Any) -> Any:
    """`Module.__call__`, watched."""

    @functools.wraps(call)
    def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or not watch.working or watch.tape.inside:
            return call(module, *args, **kwargs)
        return watch.module(call, module, args, kwargs)

    return watched


def _unseen(watch: Watch, call: Any) -> Any:
    """A method whose calls need not be seen: to see them takes longer than they do."""

    @functools.wraps(call)
    def unseen(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or not watch.working:
            return call(*args, **kwargs)
        with watch.unseen():
            return call(*args, **kwargs)

    return unseen


def _zeroing(watch: Watch, call: Any) -> Any:
    """`Optimizer.zero_grad`, of which is noted that it was called."""
    unseen = _unseen(watch, call)

    @functools.wraps(call)
    def zeroing(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling() and watch.working:
            watch.tape.still.zeroes = True
        return unseen(optimizer, *args, **kwargs)

    return zeroing


def _scaled(watch: Watch, step: Any) -> Any:
    """`GradScaler.step`, watched."""

    @functools.wraps(step)
    def watched(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        tape = watch.tape
        before = tape.round
        result = step(scaler, optimizer, *args, **kwargs)
        if watch.working and scaler._enabled and tape.round == before and not tape.used:
            watch.skipped(tape, optimizer, scaler.get_scale())
        return result

    return watched
