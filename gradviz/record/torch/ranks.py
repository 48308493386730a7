"""Models that several processes train: what each holds, and which calls concern all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from sys import _getframe
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from gradviz.errors import TraceError
from gradviz.language import speaking
from gradviz.rank import Held, Rank
from gradviz.record import rendezvous
from gradviz.words import which_ranks

SPACES = frozenset("c10d _c10d_functional c10d_functional _c10d_functional_autograd".split())
"""Where PyTorch's dispatcher has its collectives."""
SILENT = frozenset(("wait_tensor", "_wrap_tensor_autograd"))


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor: of a DTensor its part; of any other, all."""
    kind = type(tensor)
    if kind is Tensor or kind is nn.Parameter:
        return tensor
    if is_distributed(tensor):
        found: Any = tensor
        tensor = found._local_tensor
    waits: Any = getattr(tensor, "elem", None) is not None and getattr(tensor, "wait", None)
    return waits() if waits else tensor  # of a collective that is under way


def is_distributed(tensor: Any) -> bool:
    """Whether a tensor is a DTensor."""
    module: Any = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def inner(module: nn.Module) -> nn.Module:
    """The model in DistributedDataParallel; any other as it is."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def is_sharded(module: nn.Module) -> bool:
    """Whether `fully_shard` has sharded a module."""
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")
    kind = getattr(fsdp, "FSDPModule", None)
    return kind is not None and isinstance(module, kind)


def is_parted(module: Any) -> bool:
    """Whether a module of `fully_shard` holds nothing but its parts now."""
    return is_sharded(module) and all(map(is_distributed, module.parameters()))


def needs_all(modules: Iterable[nn.Module]) -> str:
    """Why a model cannot be run by one rank alone, in words; "" where it may be.

    What communicates in other ways is only seen when it does; see `Communication`.
    """
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")
    for module in modules:
        if fsdp is not None and isinstance(module, fsdp.FullyShardedDataParallel):
            return "its parameters are gathered from all ranks (FullyShardedDataParallel)"
        if is_sharded(module):
            return "its parameters are gathered from all ranks (fully_shard)"
        if any(is_distributed(p) for p in module._parameters.values()):
            return "its parameters are DTensors, which are computed with by all ranks together"
        if isinstance(module, nn.SyncBatchNorm) and module.training:
            return "its SyncBatchNorm asks all ranks for their batches"
    return ""


def unreadable(modules: Iterable[nn.Module]) -> str:
    """Why a model cannot be recorded at all; "" where it can."""
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")
    if fsdp is not None and any(isinstance(m, fsdp.FullyShardedDataParallel) for m in modules):
        return (
            "FullyShardedDataParallel keeps all parameters of a module in one flat tensor, which "
            "cannot be told apart: use fully_shard (FSDP2)"
        )
    return ""


# --- what a rank holds ---------------------------------------------------------------------------


def rank_of(
    parameters: Mapping[str, Tensor],
    modules: Iterable[nn.Module],
    digest: Callable[[Tensor], int],
    reduced: Callable[[Tensor], float | None],
) -> Rank | None:
    """What this process holds, after a backward pass; None where it is alone.

    Parameters
    ----------
    parameters : mapping of str to Tensor
    modules : iterable of Module
        All that are known.
    digest : callable
        The sum over a tensor's bits.
    reduced : callable
        The norm of a parameter's gradient after the reduction; None where there is none.
    """
    group = rendezvous.group()
    if group is None:
        return None
    modules = list(modules)
    wrappers = [m for m in modules if isinstance(m, DistributedDataParallel)]
    synced = {id(p) for m in wrappers for p in m.parameters()}
    pending = {id(p) for m in wrappers if not m.require_backward_grad_sync for p in m.parameters()}
    held = {}
    for name, parameter in parameters.items():
        if not parameter.requires_grad or parameter.is_meta:
            continue
        how, copies = _how(parameter, synced, group.count)
        plain = local(parameter.detach())
        size = None if how == "own" or id(parameter) in pending else reduced(parameter)
        held[name] = Held(how, copies, None if how == "sharded" else digest(plain), size)
    parallel = bool(wrappers) or any(map(is_sharded, modules))
    return Rank(group.rank, group.count, held, _buffers(modules, digest) if parallel else {})


def _how(parameter: Tensor, synced: set[int], count: int) -> tuple[str, int]:
    """How a parameter lies on the ranks, and on how many the same part."""
    if not is_distributed(parameter):
        return ("replicated", count) if id(parameter) in synced else ("own", 1)
    tensor: Any = parameter
    mesh, copies = tensor.device_mesh, 1
    for axis, placement in enumerate(tensor.placements):
        if placement.is_replicate():
            copies *= mesh.size(axis)
    return ("replicated" if copies == mesh.size() else "sharded"), copies


def _buffers(modules: Iterable[nn.Module], digest: Callable[[Tensor], int]) -> dict[str, int]:
    """The sums over the bits of buffers; not of the statistics that a rank takes of its batches."""
    found: dict[str, int] = {}
    modules = [inner(m) for m in modules]
    inside = {id(child) for m in modules for child in m.modules() if child is not m}
    for module in modules:
        if id(module) in inside:
            continue
        own = {
            id(b)
            for m in module.modules()
            if isinstance(m, _NormBase)
            for b in (m.running_mean, m.running_var)
        }
        for name, buffer in module.named_buffers():
            if id(buffer) not in own and not buffer.is_meta and not is_distributed(buffer):
                found.setdefault(name, digest(buffer))
    return found


# --- what concerns all ranks ---------------------------------------------------------------------


@contextmanager
def without_reducer() -> Iterator[None]:
    """Inside, DistributedDataParallel is the model in it: nothing is broadcast or reduced."""
    own = DistributedDataParallel.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.mixed_precision is not None:
            raise TraceError(
                "the mixed_precision of DistributedDataParallel cannot be followed: use "
                "torch.autocast"
            )
        if self.device_ids:
            moved, named = self.to_kwargs(args, kwargs, self.device_ids[0])
            args, kwargs = moved[0], named[0]
        return self.module(*args, **kwargs)

    DistributedDataParallel.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        DistributedDataParallel.forward = own  # type: ignore[method-assign]


def gathers() -> bool:
    """Whether a call is one that `fully_shard` makes around those of the program."""
    frame: Any = _getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith("torch.distributed.fsdp"):
            return True
        if not module.startswith(("torch.", "gradviz.record.torch.")):
            return False
        frame = frame.f_back
    return False


@contextmanager
def together(
    modules: Iterable[nn.Module], meeting: Callable[[], list[int]], what: str
) -> Iterator[None]:
    """Inside, a program runs that may concern all ranks: what does waits until all are there.

    What DistributedDataParallel does is left out. No collective runs unless all ranks have come.

    Parameters
    ----------
    modules : iterable of Module
        What is known to be called.
    meeting : callable
        Waits for all ranks, and returns those that did not come.
    what : str
        What this rank does, in words.

    Raises
    ------
    TraceError
        Not all have come.
    """
    if rendezvous.group() is None:
        yield
        return

    modules = list(modules)
    if found := unreadable(modules):
        raise TraceError(found)

    def ask(why: str) -> None:
        missing = meeting()
        if missing:
            raise TraceError(f"{what} needs all ranks, because {why}; {absent(missing)}")

    mode = Communication(lambda name: ask(f"it communicates ({name})"))
    why = needs_all(modules)
    if why:
        ask(why)
        mode.asked = True
    with without_reducer(), mode:
        yield


def absent(missing: Iterable[int]) -> str:
    """Who has not come, in words."""
    ranks = list(missing)
    verb = "is" if len(ranks) == 1 else "are"
    told = speaking("en")(which_ranks)(ranks)  # an error
    return f"{told} {verb} not there within {rendezvous.PATIENCE:g} s"


class Communication(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees the collectives that are about to run, and asks before the first.

    Parameters
    ----------
    ask : callable
        Gets the collective's name; it raises where this rank would run it alone.
    """

    def __init__(self, ask: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ask, self.asked = ask, False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `torch.utils._python_dispatch.TorchDispatchMode`."""
        if any(issubclass(kind, _dtensor()) for kind in types):
            return NotImplemented  # it shows what it is made of
        if not self.asked and getattr(func, "namespace", "") in SPACES:
            name = func._schema.name.partition("::")[2]
            if name not in SILENT:
                self.ask(name.strip("_"))
                self.asked = True
        return func(*args, **(kwargs or {}))


def _dtensor() -> Any:
    module: Any = sys.modules.get("torch.distributed.tensor")
    return module.DTensor if module is not None else ()
