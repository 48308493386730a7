"""Attention that looks at one entry alone: next to nothing comes back to its queries and keys."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence
from gradviz.chain.health.findings import Finding
from gradviz.language import later
from gradviz.statistics import norm

FUSED = "scaled_dot_product_attention"
SHARP, WEAK = 0.999, 1e-2
"""The mean over the rows of a softmax of Σp², and what comes through by what arrives."""
MOST = 2**24
"""So many weights of a fused attention are computed again."""


class Attention(Evidence):
    """Finds softmaxes that are saturated."""

    def _sharp(self) -> Iterator[Finding]:
        """Softmaxes inside of a model that choose one entry of each row: little comes through."""
        for v in sorted(self.gradients):
            found = self._chosen(v) if self.norms[v] else None
            if found is None:
                continue
            entries, chosen, through = found
            if chosen > SHARP and through < WEAK and math.isfinite(through):
                yield self._finding(
                    "saturated units", "warning", v, self._onward(v),
                    later(
                        "{v} puts nearly all weight on one of {n} entries in every row (the mean "
                        "of Σp² is {chosen:.4f}): of the gradient ×{through:.1g} comes through",
                        v=self._told(v), n=entries, chosen=chosen, through=through,
                    ),
                    later(
                        "smaller logits: divide by the square root of the width, normalise queries "
                        "and keys, or a smaller rate"
                    ),
                    chosen=chosen, through=through,
                )  # fmt: skip

    def _chosen(self, v: int) -> tuple[int, float, float] | None:
        """Of an attention's softmax its entries, the mean of Σp², and what comes through it."""
        if self._op(v) == FUSED:
            return self._chosen_within(v)
        stats, keywords = self._stats(v), self.graph.values[v].keywords
        axis = keywords.get("dim", keywords.get("axis", -1))
        if self._op(v) != "softmax" or type(axis) is not int or not stats.ndim:
            return None
        read = any(self._op(r) in hazards.PRODUCTS for r, _ in self.graph.readers[v])
        if not read or stats.shape[axis] < 2:
            return None
        chosen = stats.norm**2 * stats.shape[axis] / stats.size
        return stats.shape[axis], chosen, self._message((v, 0)) / self.norms[v]

    def _chosen_within(self, v: int) -> tuple[int, float, float] | None:
        """The same of a fused attention, whose weights are computed once more.

        What such a kernel sends to queries and keys is then but the error of its rounding, and as
        large as they are.
        """
        weights = self._weights(v)
        if weights is None or not any(self._message((v, key)) for key in (0, 1)):
            return None  # (what is exactly 0 is told as such)
        values = np.asarray(self.graph.values[self.graph.operands[v][2]].value, np.float64)
        sent = np.asarray(self.gradients[v], np.float64) @ np.swapaxes(values, -1, -2)
        back = weights * (sent - np.sum(weights * sent, axis=-1, keepdims=True))
        through = norm(back) / norm(sent) if norm(sent) else math.inf
        return weights.shape[-1], float(np.mean(np.sum(weights**2, axis=-1))), through

    def _weights(self, v: int) -> Any:
        """What a fused attention multiplies its values with; None where that is not sure."""
        node, operands = self.graph.values[v], self.graph.operands[v]
        keywords = node.keywords
        if not (self._whole(v) and all(map(self._whole, operands)) and v in self.gradients):
            return None
        if len(operands) not in (3, 4) or not keywords.keys() <= {"is_causal", "scale"}:
            return None
        q, k, values = (np.asarray(self.graph.values[u].value, np.float64) for u in operands[:3])
        if min(q.ndim, k.ndim) < 2 or k.shape[-2] < 2 or q.size // q.shape[-1] * k.shape[-2] > MOST:
            return None
        scale = keywords.get("scale") or 1 / math.sqrt(q.shape[-1])
        scores = q @ np.swapaxes(k, -1, -2) * scale
        if len(operands) == 4:
            mask = np.asarray(self.graph.values[operands[3]].value)
            scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
        if keywords.get("is_causal"):
            scores = np.where(np.tri(*scores.shape[-2:]).astype(bool), scores, -np.inf)
        grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = grown / grown.sum(axis=-1, keepdims=True)
        size = float(np.max(np.abs(values), initial=0.0))
        same = np.allclose(weights @ values, node.value, rtol=0, atol=1e-2 * size)
        return weights if same else None
