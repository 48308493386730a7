"""Attention that looks at one entry alone: next to nothing comes back to its queries and keys."""

from __future__ import annotations

import math
from collections.abc import Iterator, Set

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence
from gradviz.chain.health.findings import Finding
from gradviz.language import Told, later

SHARP, WEAK = 0.999, 1e-2
"""The mean over the rows of a softmax of Σp², and what comes through by what arrives."""
LEAST = 0.99
"""Σp² of each row of a fused attention: of what arrives there less than 3 % come through."""


class Attention(Evidence):
    """Finds softmaxes that are saturated."""

    def _sharp(self, known: Set[int]) -> Iterator[Finding]:
        """Softmaxes inside of a model that choose one entry of each row: little comes through."""
        for v in sorted(self.gradients.keys() - known):
            said = (self._chosen(v) or self._chosen_within(v)) if self.norms[v] else None
            if said is not None:
                yield self._finding(
                    "saturated units", "warning", v, self._onward(v), said,
                    later(
                        "smaller logits: divide by the square root of the width, normalise queries "
                        "and keys, or a smaller rate"
                    ),
                    **{key: told for key, told in said.keywords.items() if key != "v"},
                )  # fmt: skip

    def _chosen(self, v: int) -> Told | None:
        """Of an attention's softmax, that it is saturated."""
        stats, keywords = self._stats(v), self.graph.values[v].keywords
        axis = keywords.get("dim", keywords.get("axis", -1))
        if self._op(v) != "softmax" or type(axis) is not int or not stats.ndim:
            return None
        read = any(self._op(r) in hazards.PRODUCTS for r, _ in self.graph.readers[v])
        if not read or stats.shape[axis] < 2:
            return None
        chosen = stats.norm**2 * stats.shape[axis] / stats.size
        through = self._message((v, 0)) / self.norms[v]
        if not (chosen > SHARP and through < WEAK and math.isfinite(through)):
            return None
        return later(
            "{v} puts nearly all weight on one of {n} entries in every row (the mean of Σp² is "
            "{chosen:.4f}): of the gradient ×{through:.1g} comes through",
            v=self._told(v), n=stats.shape[axis], chosen=chosen, through=through,
        )  # fmt: skip

    def _chosen_within(self, v: int) -> Told | None:
        """The same of a fused attention, by the rows that were looked at.

        What such a kernel sends to queries and keys is then but the error of its rounding, and as
        large as they are; what is exactly 0 is told as such.
        """
        sharp = self.graph.sharpness.get(v)
        if sharp is None or not any(self._message((v, key)) for key in (0, 1)):
            return None
        if not (sharp.mean > SHARP and sharp.least > LEAST):
            return None
        return later(
            "{v} puts nearly all weight on one of {n} entries in each of {rows} rows that were "
            "looked at (the mean of Σp² is {chosen:.4f}): less than 3 % of their gradient come "
            "through to queries and keys",
            v=self._told(v), n=sharp.entries, rows=sharp.rows, chosen=sharp.mean,
        )  # fmt: skip
