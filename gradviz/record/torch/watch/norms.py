"""The norms of gradients, all with one synchronisation."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from gradviz.record.torch.ranks import local

HALF = torch.float16, torch.bfloat16


class Norms:
    """The norms of the gradients that parameters have now.

    Attributes
    ----------
    keys : list of int
        The parameters by `id`; of those without a gradient none.
    tensors : list of Tensor
        Their norms, each of no axes.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.keys: list[int] = []
        groups: dict[Any, tuple[list[int], list[Tensor]]] = {}
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is not None:
                usual = type(gradient) is Tensor and gradient.layout is torch.strided
                plain = gradient if usual else _values(gradient)
                keys, gradients = groups.setdefault((plain.device, plain.dtype), ([], []))
                keys.append(id(parameter))
                gradients.append(plain)
        self.tensors: list[Tensor] = []
        with torch.no_grad():
            for (_, kind), (keys, gradients) in groups.items():
                wide = torch.float32 if kind in HALF else None
                self.keys += keys
                self.tensors += torch._foreach_norm(gradients, 2, dtype=wide)


def numbers(tensors: Sequence[Tensor]) -> list[float]:
    """Tensors of one number each as numbers, fetched at once."""
    groups: dict[Any, list[int]] = {}
    for i, tensor in enumerate(tensors):
        groups.setdefault((tensor.device, tensor.dtype), []).append(i)
    order = [i for places in groups.values() for i in places]
    with torch.no_grad():
        parts = [
            torch.stack([tensors[i].reshape(()) for i in places]).double()
            for places in groups.values()
        ]
        found = torch.cat([part.to(parts[0].device) for part in parts]).tolist() if parts else []
    return [number for _, number in sorted(zip(order, found, strict=True))]


def fetchable() -> bool:
    """Whether numbers can be fetched: not while a CUDA graph is captured, which would fail."""
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return not (started and torch.cuda.is_current_stream_capturing())


def total(norms: Iterable[float]) -> float:
    """The norm of all gradients together."""
    squares = [norm * norm for norm in norms]
    return float(sum(squares) ** 0.5)


def of(parameters: Iterable[Tensor], scale: float) -> float:
    """The norm of the gradients of parameters, divided by what the loss was multiplied with."""
    return total(numbers(Norms(parameters).tensors)) / scale


def are_zero(parameters: Iterable[Tensor]) -> bool:
    """Whether there is no gradient, or none but 0."""
    return not any(numbers(Norms(parameters).tensors))


def finite(parameters: Iterable[Tensor]) -> bool:
    """Whether every gradient is; a norm may be infinite though they are."""
    gradients = [_values(p.grad) for p in parameters if p.grad is not None]
    return all(bool(torch.isfinite(g).all()) for g in gradients)


def sure(norm: float, parameters: Iterable[Tensor]) -> float:
    """A norm that may only have been too large for its dtype."""
    return sys.float_info.max if math.isinf(norm) and finite(parameters) else norm


def _values(gradient: Tensor) -> Tensor:
    found = local(gradient.detach())
    if found.layout != torch.strided:
        return found.coalesce().values() if found.layout == torch.sparse_coo else found.to_dense()
    return found
