"""What is kept of a tensor: the whole as a NumPy array, or its statistics."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache, lru_cache
from sys import _getframe
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradviz.errors import TraceError
from gradviz.record import names
from gradviz.record.torch.ranks import is_distributed, local
from gradviz.record.torch.sites import site_of_call
from gradviz.statistics import SAMPLE, Statistics, of_flat, places, places_in_memory, zeros


def array(tensor: Tensor) -> Any:
    """A copy of a tensor as a NumPy array; a number where it is one.

    bfloat16, which NumPy lacks, becomes float32: every number of it is one of float32 too.
    """
    plain = _dense(tensor.detach()).cpu().resolve_conj().resolve_neg()
    small = plain.dtype.is_floating_point and plain.itemsize == 1
    if small or plain.dtype == torch.bfloat16:
        plain = plain.float()
    # (A tensor that has been seen as an array has memory that can no longer be resized.)
    return plain.clone(memory_format=torch.contiguous_format).numpy()[()]


def statistics(tensor: Tensor) -> Statistics:
    """The statistics of a tensor; one on the CPU is read once, and is not copied."""
    tensor = local(tensor)
    plain = floats(tensor)
    shape, dtype = tuple(tensor.shape), name(tensor.dtype)
    if not plain.numel():
        return zeros(shape, dtype)
    flat, chosen = in_memory(plain)
    if flat.is_cpu:
        return of_flat(seen(flat), shape, dtype, chosen)
    numbers = on_device(flat)
    found = torch.stack([n.double() for n in numbers]).tolist()
    sample = flat[index(chosen, flat.device)].cpu().numpy()
    return Statistics(shape, dtype, *fields(found, flat.numel()), sample)


def in_memory(plain: Tensor) -> tuple[Tensor, np.ndarray]:
    """The entries as a vector, in the order of memory where that is no copy; places of a sample."""
    size = plain.numel()
    if plain.is_contiguous():
        return plain.view(-1), places(size)
    if is_dense(plain):
        flat = plain.as_strided((size,), (1,), plain.storage_offset())
        return flat, places_in_memory(tuple(plain.shape), plain.stride())
    return plain.reshape(-1), places(size)


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is one of floats on the CPU, as most are."""
    kind = type(tensor)
    return (
        (kind is Tensor or kind is nn.Parameter)
        and tensor.dtype in _FLOATS
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not (tensor.is_nested or tensor.is_neg())
        and tensor.data_ptr() != 0  # as of one that is empty
    )


def looked_at(plain: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The same as `in_memory` of an `is_plain` tensor, as an array to be let go at once.

    Nobody holds its memory meanwhile.
    """
    if plain.is_contiguous():
        size = plain.numel()
        return _there(plain, size), places(size)
    if is_dense(plain):
        return _there(plain, plain.numel()), places_in_memory(tuple(plain.shape), plain.stride())
    flat, chosen = in_memory(plain.detach())
    return seen(flat), chosen


def looked_at_in_order(plain: Tensor) -> np.ndarray:
    """An `is_plain` tensor as an array to be let go at once, its entries in their own order."""
    return _there(plain, plain.numel()) if plain.is_contiguous() else seen(plain.detach())


def _there(plain: Tensor, size: int) -> np.ndarray:
    # (As `seen`, at half the time.)
    memory = _bytes(size * plain.itemsize).from_address(plain.data_ptr())
    return np.ndarray((size,), _FLOATS[plain.dtype], memory)


_FLOATS: dict[torch.dtype, np.dtype] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


@lru_cache(maxsize=1024)
def _bytes(count: int) -> Any:
    return ctypes.c_char * count


def sample(tensor: Tensor) -> np.ndarray:
    """The sample that is part of a tensor's statistics."""
    if is_plain(tensor):
        flat, chosen = looked_at(tensor)
    elif tensor.is_cpu and is_dense(tensor):
        lying, chosen = in_memory(floats(tensor))
        flat = seen(lying)
    else:
        return entries(tensor, SAMPLE)
    found: np.ndarray = flat[chosen]
    return found


def entries(tensor: Tensor, count: int) -> np.ndarray:
    """At most so many entries of a tensor, as floats, at `gradviz.statistics.places`."""
    plain = floats(tensor)
    chosen = places(plain.numel(), count)
    if plain.is_cpu and plain.ndim:  # (an array of no axes has no index to be unravelled)
        return seen(plain)[np.unravel_index(chosen, plain.shape)]
    where = index(chosen, plain.device)
    if plain.is_contiguous():
        found = plain.view(-1)[where]
    else:
        found = plain[torch.unravel_index(where, plain.shape)]
    return np.asarray(found.cpu())


class _Memory:
    """A tensor's memory, by the protocol that NumPy reads it by: `Tensor` asks much before."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __dlpack__(self, **_: Any) -> Any:
        return torch._C._to_dlpack(self.tensor)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # the CPU


def seen(tensor: Tensor) -> np.ndarray:
    """A tensor on the CPU as a read-only array; its memory can be resized still."""
    return np.from_dlpack(_Memory(tensor))


@cache
def name(dtype: torch.dtype) -> str:
    """Such as "float32"."""
    return str(dtype).removeprefix("torch.")


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor fills a piece of memory, its axes in whatever order."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return False
    if type(tensor) is not Tensor and is_distributed(tensor):
        return False
    return tensor.is_contiguous() or _fills(tuple(tensor.shape), tensor.stride())


@lru_cache(maxsize=1024)
def _fills(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether axes fill a piece of memory."""
    sizes = [(n, by) for n, by in zip(shape, strides, strict=True) if n > 1]
    return 1 + sum((n - 1) * by for n, by in sizes) == math.prod(shape) and all(
        by for _, by in sizes
    )


def on_device(flat: Tensor) -> tuple[Tensor, ...]:
    """What `fields` are made of, computed where the entries are; nothing waits for it."""
    low, high = torch.aminmax(flat)
    if flat.dtype is torch.float64:  # of others no square leaves its range
        top = torch.maximum(low.abs(), high.abs())
        scale = torch.where((top > 0) & torch.isfinite(top), top, 1.0)
        norm = scale * torch.linalg.vector_norm(flat / scale)
    else:
        norm = torch.linalg.vector_norm(flat, dtype=torch.float64)
    total = flat.sum(dtype=torch.float64)
    return norm, low, total, high, torch.count_nonzero(flat), torch.isfinite(flat).sum()


def fields(found: Sequence[float], size: int) -> tuple[float, float, float, float, float, float]:
    """The fields of `Statistics` from `norm` to `nonfinite`."""
    norm, low, total, high, nonzero, finite = found
    mean = low if low == high else total / size
    return norm, low, mean, high, 1 - nonzero / size, 1 - finite / size


def bits(tensor: Tensor) -> int:
    """The sum of the entries' bits: another one where any entry has changed."""
    plain = _dense(tensor.detach())
    plain = torch.view_as_real(plain) if plain.is_complex() else plain
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return int(plain.view(kinds[plain.itemsize]).sum(dtype=torch.int64).item())


def index(chosen: np.ndarray, device: torch.device) -> Tensor:
    """Positions, where the entries are."""
    return torch.from_numpy(chosen.copy()).to(device)  # (a copy, for it may not be written to)


def floats(tensor: Tensor) -> Tensor:
    """The entries of which statistics are taken; in place where they are such."""
    plain = _dense(tensor.detach())
    if plain.is_complex():
        plain = plain.abs()
    if plain.dtype not in (torch.float32, torch.float64):
        plain = plain.to(torch.float32 if plain.is_floating_point() else torch.float64)
    return plain.resolve_neg()


def refuse(tensor: Tensor) -> None:
    """Raise where a tensor has no numbers to be kept.

    Raises
    ------
    TraceError
        It is on the device meta, or nested.
    """
    if not (tensor.is_nested or tensor.is_meta):
        return
    place = names.source(site_of_call())
    at = f", at {place}" if place is not None else ""
    if tensor.is_nested or _within("torch.nested"):  # (which makes one on meta for itself, too)
        raise TraceError(
            "nested tensors cannot be recorded: pad them before, "
            f"torch.nested.to_padded_tensor(x, 0.0){at}"
        )
    raise TraceError(
        "tensors on the device meta hold no numbers: put the model and its arguments on "
        f"another{at}"
    )


def _within(package: str) -> bool:
    """Whether code of a package is running."""
    frame: FrameType | None = _getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(package):
            return True
        frame = frame.f_back
    return False


def _dense(tensor: Tensor) -> Tensor:
    tensor = local(tensor)
    refuse(tensor)
    if tensor.layout != torch.strided:
        return tensor.to_dense()
    if tensor.numel() and not tensor.data_ptr():  # zeros for which autograd has no memory
        return tensor.clone()
    return tensor.dequantize() if tensor.is_quantized else tensor
