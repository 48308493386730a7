"""Units that are dead or saturated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from dataclasses import replace
from typing import Any

import numpy as np

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence
from gradviz.chain.health.findings import Finding
from gradviz.language import Told, later, some
from gradviz.statistics import Statistics, measure

EXAMPLES = 8
"""A healthy ReLU is off for half of the examples: for so many, by chance, once in 256."""
DEAD = 2 / 3
"""A layer's share of dead units. ReLU networks lose units with depth even at a healthy start: by He
initialisation up to 0.55 after twenty layers of 64 units, 0.63 after eight of 16."""
MOSTLY_OFF = 0.98
"""A share of zeros that no batch of healthy units reaches, where units cannot be told apart."""
FLAT = 1e-3
"""A unit is saturated where its slope is below this part of its steepest one: |z| > 8 (sigmoid)."""
SATURATED = 0.75
"""The share of saturated entries; with fewer, most units still learn from some examples."""
STUCK = 0.1
"""The share of entries that are saturated and pulled back by the gradient. In a hidden layer it is
about one half; outputs that are saturated because they are right are pulled outwards."""


class Units(Evidence):
    """Looks at the activations."""

    def _dead(self, known: set[int]) -> Iterator[Finding]:
        """Units that are 0 for every example, and learn from none."""
        few: list[Finding] = []
        for v in sorted(self.gradients):
            value = self.graph.values[v].value
            gate = self._gate(v) if v not in known and np.ndim(value) > 1 else None
            if gate is None:
                continue
            if isinstance(value, Statistics):
                share, limit = value.zeros, MOSTLY_OFF
                if share < limit:  # half of the zeros are healthy
                    continue
                what = later(
                    "{v} is 0 in {share:.1%} of its {n} entries",
                    v=self._told(v), share=share, n=value.size,
                )  # fmt: skip
            else:
                dead, units, examples = self._dead_units(value, v, gate)
                share, limit = dead / max(units, 1), DEAD
                if not dead or examples < EXAMPLES:
                    continue
                are = (
                    "{dead} of {units} of {v} are 0 for all {examples} examples, and get no "
                    "gradient"
                )
                if dead == 1:
                    are = (
                        "{dead} of {units} of {v} is 0 for all {examples} examples, and gets no "
                        "gradient"
                    )
                what = later(
                    are, dead=dead, units=Told(some, units, "unit"), v=self._told(v),
                    examples=examples,
                )  # fmt: skip
            finding = self._finding(
                "dead units", "warning", v, self._onward(v), what,
                later(
                    "a smaller step, smaller or positive biases, He initialisation, or leaky_relu"
                ),
                share=share,
            )  # fmt: skip
            if share >= limit:
                yield finding
            else:
                few.append(finding)
        if few:  # one note for all layers
            most = max(few, key=lambda finding: finding.numbers["share"])
            told = later("{finding} (the most in {n} layers)", finding=most.says, n=len(few))
            says = told if len(few) > 1 else most.says
            yield replace(most, severity="note", says=says, advises="")

    def _gate(self, v: int) -> int | None:
        """The position of z, where a value is max(z, 0) in whatever way."""
        op, operands = self._op(v), self.graph.operands[v]
        if op not in hazards.GATES:
            return None
        value = self.graph.values[v].value
        product = op in ("multiply", "mul")  # by a mask
        for key, u in enumerate(operands):
            z = self.graph.values[u].value
            if (v, key) not in self.messages or np.shape(z) != np.shape(value):
                continue
            if self.values[u] == 0:  # not pushed below 0: nothing came
                continue
            if product and not any(self.graph.is_leaf(other) for other in operands if other != u):
                continue
            if isinstance(value, Statistics):
                return key if "relu" in op or (value.low == 0 and not product) else None
            if np.array_equal(value, np.maximum(z, 0)):
                return key
        return None

    def _dead_units(self, value: np.ndarray, v: int, gate: int) -> tuple[int, int, int]:
        """How many units are dead, how many there are, and the number of examples of each."""
        # Channels come first in what a convolution makes, features last everywhere else.
        convolved = value.ndim > 3 or "conv" in self._op(self.graph.operands[v][gate])
        axis = 1 if convolved else value.ndim - 1
        examples = tuple(i for i in range(value.ndim) if i != axis)
        alive = np.any(value, axis=examples) | np.any(self.messages[v, gate], axis=examples)
        units = value.shape[axis]
        return units - int(alive.sum()), units, value.size // max(units, 1)

    def _saturated(self, known: Set[int]) -> Iterator[Finding]:
        """Sigmoids and tanhs whose slope is about 0 where the gradient pulls them back."""
        for v in sorted(self.gradients):
            hard = hazards.HARD.get(self._op(v))
            shape = hard or self._squashing(v)
            if shape is None or not self.norms[v] or v in known:
                continue
            centre, half = shape
            if hard and self._stats(v).top > centre + half:  # it has other limits
                continue
            activations = self.graph.values[v].value
            entries, upstream = _entries(activations, self.gradients[v])
            unit = (entries - centre) / half
            if not unit.size or unit.shape != upstream.shape:
                continue
            flat = np.abs(unit) >= 1 if hard else 1 - unit**2 < FLAT
            pulled = flat & (upstream * unit > 0)
            share, stuck = (np.count_nonzero(x) / flat.size for x in (flat, pulled))
            if share >= SATURATED and stuck >= STUCK:
                part = "{share}% of its entries"
                if unit.size < math.prod(np.shape(activations)):
                    part = "about {share}% of its entries"
                flat_there = "{v}, a {op}, is saturated in {part}: {slope}"
                if unit.size < 2:
                    flat_there = "{v}, a {op}, is saturated: {slope}"
                slope = "its slope there is below a thousandth of its steepest"
                slope = "its slope there is 0" if hard else slope
                told = later(
                    flat_there,
                    v=self._name(v), op=self._op(v) if hard else "sigmoid" if centre else "tanh",
                    part=later(part, share=int(100 * share)),
                    slope=later(slope),
                )  # fmt: skip
                yield self._finding(
                    "saturated units", "warning", v, self._onward(v), told,
                    later(
                        "smaller weights, scaled inputs, or a normalisation before it; at the "
                        "output, a cross entropy of the logits"
                    ),
                    share=share, stuck=stuck,
                )  # fmt: skip


def _entries(*values: Any) -> list[np.ndarray]:
    """All entries of arrays; where the statistics of one are all there is, the same few of each."""
    if any(isinstance(value, Statistics) for value in values):
        return [measure(value).sample for value in values]
    return [np.ravel(value) for value in values]
