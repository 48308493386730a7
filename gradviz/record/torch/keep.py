"""What is kept of a tensor: the whole as a NumPy array, or its statistics."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradviz.errors import TraceError
from gradviz.record.torch.ranks import is_distributed, local
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
    plain = _floats(tensor)
    shape, dtype = tuple(tensor.shape), name(tensor.dtype)
    if not plain.numel():
        return zeros(shape, dtype)
    chosen = places(plain.numel())
    if plain.is_contiguous():
        flat = plain.view(-1)
    elif is_dense(plain):  # the entries in the order of memory: that is no copy
        flat = plain.as_strided((plain.numel(),), (1,), plain.storage_offset())
        chosen = places_in_memory(shape, plain.stride())
    else:
        flat = plain.reshape(-1)
    if flat.is_cpu:
        return of_flat(_seen(flat), shape, dtype, chosen)
    return _on_device(flat, shape, dtype, chosen)


def sample(tensor: Tensor) -> np.ndarray:
    """The sample that is part of a tensor's statistics."""
    return entries(tensor, SAMPLE)


def entries(tensor: Tensor, count: int) -> np.ndarray:
    """At most so many entries of a tensor, as floats, at `gradviz.statistics.places`."""
    plain = _floats(tensor)
    chosen = places(plain.numel(), count)
    if plain.is_cpu and plain.ndim:  # (an array of no axes has no index to be unravelled)
        return _seen(plain)[np.unravel_index(chosen, plain.shape)]
    index = _index(chosen, plain.device)
    if plain.is_contiguous():
        found = plain.view(-1)[index]
    else:
        found = plain[torch.unravel_index(index, plain.shape)]
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


def _seen(tensor: Tensor) -> np.ndarray:
    """A tensor on the CPU as a read-only array; its memory can be resized still."""
    return np.from_dlpack(_Memory(tensor))


@cache
def name(dtype: torch.dtype) -> str:
    """Such as "float32"."""
    return str(dtype).removeprefix("torch.")


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor fills a piece of memory, its axes in whatever order."""
    if tensor.layout != torch.strided or not tensor.numel() or is_distributed(tensor):
        return False
    if tensor.is_contiguous():
        return True
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((n - 1) * by for n, by in sizes) == tensor.numel() and all(
        by for n, by in zip(tensor.shape, tensor.stride(), strict=True) if n > 1
    )


def _on_device(flat: Tensor, shape: tuple[int, ...], dtype: str, chosen: np.ndarray) -> Statistics:
    """The same where the entries are; only the results are fetched."""
    size = flat.numel()
    low, high = torch.aminmax(flat)
    results = low, flat.mean(), high, torch.count_nonzero(flat), torch.isfinite(flat).sum()
    least, mean, most, nonzero, finite = torch.stack([r.double() for r in results]).tolist()
    norm = torch.linalg.vector_norm(flat, dtype=torch.float64).item()
    sample = flat[_index(chosen, flat.device)].cpu().numpy()
    zero, broken = 1 - nonzero / size, 1 - finite / size
    return Statistics(shape, dtype, norm, least, mean, most, zero, broken, sample)


def bits(tensor: Tensor) -> int:
    """The sum of the entries' bits: another one where any entry has changed."""
    plain = _dense(tensor.detach())
    plain = torch.view_as_real(plain) if plain.is_complex() else plain
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return int(plain.view(kinds[plain.itemsize]).sum(dtype=torch.int64).item())


def _index(chosen: np.ndarray, device: torch.device) -> Tensor:
    """Positions, where the entries are."""
    return torch.from_numpy(chosen.copy()).to(device)  # (a copy, for it may not be written to)


def _floats(tensor: Tensor) -> Tensor:
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
    if tensor.is_meta:
        raise TraceError(
            "tensors on the device meta hold no numbers: put the model and its arguments on another"
        )
    if tensor.is_nested:
        raise TraceError(
            "nested tensors cannot be recorded: pad them before, "
            "torch.nested.to_padded_tensor(x, 0.0)"
        )


def _dense(tensor: Tensor) -> Tensor:
    tensor = local(tensor)
    refuse(tensor)
    if tensor.layout != torch.strided:
        return tensor.to_dense()
    return tensor.dequantize() if tensor.is_quantized else tensor
