"""How sharp a fused attention is: its weights exist nowhere, so some of its rows are computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradviz.model import Sharpness
from gradviz.record.torch import keep
from gradviz.record.torch.ranks import is_distributed
from gradviz.statistics import Statistics, places

FUSED = "scaled_dot_product_attention"
ROWS = 8
"""So many rows of its weights are looked at."""
CUT = -1e3
"""An entry to whose score a mask adds less is cut."""
Index = tuple[Tensor, ...]
_NAMES = "query key value attn_mask dropout_p is_causal scale enable_gqa".split()


def rows_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, int] | None:
    """Of some rows of the weights p the sums Σp², and how many entries a row has.

    Of a row that a mask leaves fewer than two entries it is a NaN; None where it is not known.
    """
    given = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
    query, key, mask = given["query"], given["key"], given.get("attn_mask")
    there = [t for t in (query, key, mask) if t is not None]
    if any(t.layout != torch.strided or t.is_nested or is_distributed(t) for t in there):
        return None
    if not query.numel() or key.ndim != query.ndim:
        return None
    off = torch.autocast(query.device.type, enabled=False)
    with torch.no_grad(), torch._C.DisableTorchFunction(), off:
        if query.ndim == 2:
            query, key = query[None], key[None]
        (*batch, count, width), entries = query.shape, key.shape[-2]
        scale = given.get("scale")
        scale = 1 / math.sqrt(width) if scale is None else scale
        at, held = _places(query.shape, key.shape, query.device)
        q, k = query.detach()[at].float(), key.detach()[held].float()
        scores = torch.bmm(k, q[:, :, None])[..., 0] * scale
        allowed = torch.ones_like(scores, dtype=torch.bool)
        if mask is not None:
            added = mask.detach().expand(*batch, count, entries)[at]
            allowed = added if mask.dtype == torch.bool else added > CUT
            scores = scores if mask.dtype == torch.bool else scores + added
        if given.get("is_causal"):
            columns = torch.arange(entries, device=query.device)
            allowed = columns <= at[-1][:, None]
        p = scores.masked_fill(~allowed, -math.inf).softmax(-1)
        return p.square().sum(-1).masked_fill(allowed.sum(-1) < 2, math.nan), entries


@lru_cache(maxsize=64)
def _places(queries: Any, keys: Any, device: torch.device) -> tuple[Index, Index]:
    """Which rows are looked at, and the keys of each."""
    *batch, count, _ = queries
    at = np.unravel_index(places(math.prod(queries[:-1]), ROWS), (*batch, count))
    # (Several heads of queries may share one of keys.)
    held = [i // max(n // own, 1) for i, n, own in zip(at, batch, keys, strict=False)]
    return tuple(keep.index(i, device) for i in at), tuple(keep.index(i, device) for i in held)


def sharpness(kept: Any, entries: int) -> Sharpness | None:
    """What was kept of `rows_of`, told; None where too little is known."""
    found = np.ravel(kept.sample if isinstance(kept, Statistics) else kept)
    found = found[np.isfinite(found)]
    if found.size < 2:
        return None
    return Sharpness(found.size, entries, float(found.mean()), float(found.min()))
