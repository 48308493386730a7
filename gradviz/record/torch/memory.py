"""What autograd keeps for the backward pass: the tensors that its nodes have saved.

They are looked at where they lie. What a hook has packed (a checkpoint, `save_on_cpu`) is not
unpacked, for that would run the hook, and how much it keeps is not known; nor is what nodes hold
that do not show it: those of C++ extensions, and of writes through a view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from gradviz.record.torch.operation import tensors_in
from gradviz.record.torch.state import storage


def kept(functions: Mapping[int, Iterable[Any]], known: Iterable[Tensor]) -> dict[int, int]:
    """How many bytes nodes of autograd's keep, by what they belong to; without what is not known.

    Each storage counts once, for the first that keeps it. Those of `known` tensors do not count,
    nor does a single number, such as the 2 of 2 * x.
    """
    seen = set(map(storage, known))
    found: dict[int, int] = {}
    for owner, nodes in functions.items():
        total, told = 0, True
        for function in nodes:
            tensors = saved(function)
            told = told and tensors is not None
            for tensor, address in tensors or ():
                if address not in seen:
                    seen.add(address)
                    size = tensor.untyped_storage().nbytes()
                    total += size if tensor.ndim or size > tensor.element_size() else 0
        if told:
            found[owner] = total
    return found


def saved(function: Any) -> list[tuple[Tensor, int]] | None:
    """The tensors that a node of autograd's has saved, with the storages that they lie in.

    None where they cannot be looked at.
    """
    try:
        if isinstance(function, BackwardCFunction):
            if _is_packed(function._raw_saved_tensors):
                return None
            found = tensors_in((function.saved_tensors, vars(function)))
        else:
            kind: Any = type(function)
            names = _names(kind)
            if not names:
                return None if names is None else []
            for _, raw in names:
                if _is_packed(getattr(function, raw)):
                    return None
            found = tensors_in([getattr(function, name) for name, _ in names])
    except Exception:  # released, or written to since, or whatever a foreign node raises
        return None
    addresses = list(map(storage, found))
    if None in addresses or any(map(_is_composed, found)):
        return None
    return list(zip(found, addresses, strict=True))  # type: ignore[arg-type]


@cache
def _names(kind: type) -> tuple[tuple[str, str], ...] | None:
    """The fields of a kind of node that hold what it has saved, as it is and as it was packed.

    None where it does not tell.
    """
    if kind.__name__ == "CopySlices" or not hasattr(torch._C._functions, kind.__name__):
        return None
    return tuple((name[4:], name) for name in dir(kind) if name.startswith("_raw_saved_"))


def _is_packed(raw: Any) -> bool:
    """Whether a hook has packed what was saved."""
    if isinstance(raw, (tuple, list)):
        return any(map(_is_packed, raw))
    return getattr(raw, "unpack_hook", None) is not None


def _is_composed(tensor: Tensor) -> bool:
    """Whether a tensor is made of others, and does not lie in one storage."""
    return type(tensor) is not Tensor and hasattr(tensor, "__tensor_flatten__")
