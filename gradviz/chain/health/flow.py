"""Gradients that vanish or explode from layer to layer, and parameters of another scale."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence
from gradviz.chain.health.findings import Finding, Layer
from gradviz.chain.retold import retold
from gradviz.language import Told, later

# Where sickness begins. Norms are compared, not means: a layer initialised by its fan-in (He,
# LeCun) keeps the norm of a gradient, whatever its widths are.
VANISHING = 1e-4
"""‖gradient‖ at the first layers by that at the last. He or Xavier initialisation, residual nets
and transformers stay above 1e-2; ten sigmoids (slope ≤ 1/4) are below 1e-6."""
MINOR = 1e-2
"""Of the gradient at the last layers, and of what goes another way there: a branch that gets less
says little (a table of biases, what learns positions). Within it nothing may vanish."""
EXPLODING = 1e4
"""The same, growing: a step that suits the last layers throws the first ones away."""
LARGE_STEP, SMALL_STEP = 0.1, 1e-7
"""rate · ‖gradient‖ / ‖weights‖; about 1e-3 is healthy."""
OUTLIER = 1e4
"""Without a rate: ‖gradient‖ / ‖weights‖ of a few matrices by the largest of all others."""
SMALL_START, UNUSUAL = 1e-2, 100.0
"""Of the median over the matrices: an rms so small is meant to grow (a layer scale, a class token),
if the gradient there is not so much larger than elsewhere."""


class Flow(Evidence):
    """Compares the layers."""

    rate: float | None

    def _flow(self) -> Iterator[Finding]:
        """The gradients at the first layers by those at the last on the same way to J.

        Of the layers before and beside one the largest gradient counts: that one branch of many
        gets little (the keys of an attention, a table of biases) is not a fault. What is before
        such a branch is compared with the branch.
        """
        sizes = {v: self.norms.get(v, 0.0) for v in self.entries}
        if not all(map(math.isfinite, sizes.values())):
            return
        grown = {v: size / self._gains.get(v, 1.0) for v, size in sizes.items()}
        ahead: dict[int, float] = {}
        for v in sorted(self.gradients):
            sent = [u for key, u in enumerate(self.graph.operands[v]) if (v, key) in self.messages]
            ahead[v] = max([grown.get(v, 0.0), *(ahead.get(u, 0.0) for u in sent)])
        beside: dict[int, float] = {}  # what gets there without passing another layer
        following: dict[int, int | None] = {}  # layer on the way to J
        for u in sorted(self.gradients, reverse=True):
            after = self._next(u)
            beside[u], following[u] = ahead[u], after
            if after is not None and after not in sizes:
                beside[u], following[u] = beside.get(after, 0.0), following.get(after)
        last = self._last
        ends = {v: sizes[end] for v in sizes if sizes[v] and (end := last[v]) and sizes[end]}
        start = {v: last[v] or v for v in ends}  # where its way back begins: the end, or a branch
        for v in sorted(ends, reverse=True):
            after, end = following[v], start[v]
            if after in start and start[after] != end:
                start[v] = start[after]
            elif after and grown[v] < MINOR * min(grown[end], beside[v]):
                start[v] = v
        ratios = {v: (max(ahead[v], beside[v]) / grown[start[v]], sizes[v] / ends[v]) for v in ends}
        weak = [v for v, (ratio, _) in ratios.items() if ratio < VANISHING]
        if weak:
            first = min(weak, key=lambda v: ratios[v][0])
            yield self._stream("vanishing", first, start[first], weak)
        strong = [v for v, (_, ratio) in ratios.items() if ratio > EXPLODING]
        if strong:
            first = max(strong, key=lambda v: ratios[v][1])
            yield self._stream("exploding", first, last[first] or first, strong)

    @cached_property
    def _last(self) -> dict[int, int | None]:
        """For each value the last layer on its way to J."""
        last: dict[int, int | None] = {}
        for u in sorted(self.gradients, reverse=True):
            after = last[u] = self._next(u)
            if after is not None:
                last[u] = last.get(after) or (after if after in self.entries else None)
        return last

    def _stream(self, kind: str, first: int, last: int, sick: Sequence[int]) -> Finding:
        """How a gradient changes from the last layer to the first, and what changes it most."""
        path = self._onward(first)
        sign = 1 if kind == "vanishing" else -1
        gains = self._changes(path[: path.index(last) + 1], sign)
        culprit, steps = min(gains.items(), key=lambda item: sum(item[1].values()))
        worst = min(steps, key=lambda v: steps[v])
        total, alone = sign * sum(steps.values()), sign * steps[worst]
        here, there = self.norms[first], self.norms[last]
        changes = (
            "on the way to {names} the gradient grows {ratio}, from {there:.2g} at {last} to "
            "{here:.2g} at {first}; {most}"
        )
        advice = "smaller initial weights (He, Xavier), a normalisation, or clipped gradients"
        if sign > 0:
            changes = (
                "on the way to {names} the gradient shrinks {ratio}, from {there:.2g} at {last} to "
                "{here:.2g} at {first}; {most}"
            )
            advice = "relu or gelu instead, skip connections, or a normalisation"
            if culprit in hazards.PRODUCTS:
                advice = "larger initial weights (He, Xavier), skip connections, or a normalisation"
            elif culprit in hazards.GAINS:  # its VJP takes out what is along its output
                advice = "a loss of more than the mean or the size of what is normalised"
        if culprit in self.graph.changed_by_hooks.values():
            advice = "look at what register_hook was called with"
        most = "most by {op}, {total} at {v}"
        if len(steps) > 1:
            most = "most by {op}, {total} in {n} steps, {alone} at {v}"
        message = later(
            changes,
            names=self._names(w for v in sick for w in self.entries[v]),
            ratio=_times(math.log10(here) - math.log10(there)),
            there=there, last=self._name(last), here=here, first=self._name(first),
            most=later(most, op=Told(retold, culprit), total=_times(total), n=len(steps),
                       alone=_times(alone), v=self._name(worst)),
        )  # fmt: skip
        # Before a normalisation a start next to 0 gets much gradient, and grows at once.
        severity = "note" if sign < 0 and culprit in hazards.GAINS else "warning"
        found = self._finding(
            f"{kind} gradient", severity, worst, path, message, later(advice),
            ratio=here / there, first=here, last=there, steps=len(steps), factor=10**total,
        )  # fmt: skip
        layers = [v for v in path if v in self.entries]
        badges = {v: later("‖gradient‖ {size:.2g}", size=self.norms[v]) for v in layers}
        return replace(found, badges=badges)

    def _explained(self, finding: Finding, by: Set[int]) -> bool:
        """Whether a gradient vanishes by these values: without them it would not."""
        if finding.kind != "vanishing gradient" or by.isdisjoint(finding.path):
            return False
        gains = self._changes(finding.path, 1).values()
        theirs = sum(gain for steps in gains for v, gain in steps.items() if v in by)
        return math.log10(finding.numbers["ratio"]) - theirs > math.log10(VANISHING)

    def _changes(self, path: Sequence[int], sign: int) -> dict[str, dict[int, float]]:
        """How each operation, and each hook, changes a gradient on its way back, and where.

        In powers of ten, times `sign`.
        """
        found: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))

        def add(by: str, at: int, after: float, before: float) -> None:
            gain = after / before if before else 0.0
            found[by][at] += sign * math.log10(gain) if gain else -sign * math.inf

        for u, v in itertools.pairwise(path):
            edges = [(v, key) for key, operand in enumerate(self.graph.operands[v]) if operand == u]
            whole = self._sigmoid_of.get(v)
            name = self._op(v) if whole is None else "sigmoid"
            add(name, whole or v, max(map(self._message, edges)), self.norms.get(v, 0.0))
            hook = self.graph.changed_by_hooks.get(u)
            if hook:  # of several messages the sum's norm is not known: at most that
                add(hook, u, self.norms.get(u, 0.0), sum(map(self._message, self._carrying(u))))
        return found

    @cached_property
    def _gains(self) -> dict[int, float]:
        """What gains that are parameters take of each gradient: they will grow."""
        gains: dict[int, float] = {}
        for u in sorted(self.gradients, reverse=True):
            after = self._next(u)
            gains[u] = gains.get(after, 1.0) if after is not None else 1.0
            if after is not None and self._op(after) in hazards.TIMES:
                others = [w for w in self.graph.operands[after] if w != u]
                sizes = [self._stats(w).rms for w in others if self._root(w) in self.weights]
                gains[u] *= min([1.0, *(size for size in sizes if size)])
        return gains

    # --- parameters -------------------------------------------------------------------------------

    def _scales(self) -> Iterator[Finding]:
        """Matrices whose step is far too large, or too small, for their size.

        Of biases and gains nothing is asked: many a healthy one is 0, or next to it.
        """
        matrices = [
            w for w in self.weights
            if np.ndim(self.graph.values[w].value) > 1
            and 0 < self.values[w] < math.inf
            and 0 < self.norms.get(w, 0.0) < math.inf
        ]  # fmt: skip
        if not matrices:
            return
        # What starts next to 0 among larger ones is meant to, if what reads it gets no more
        # gradient than the other layers do.
        rms = {w: self.values[w] / math.sqrt(self._stats(w).size) for w in matrices}
        tiny = SMALL_START * float(np.median(list(rms.values())))
        meant = {
            w for w in matrices
            if rms[w] < tiny and not any(w in read and self._outgrows(v)
                                         for v, read in self.entries.items())
        }  # fmt: skip
        ratios = {w: self.norms[w] / self.values[w] for w in matrices if w not in meant}
        if self.rate is not None:
            unit, low, high = self.rate, SMALL_STEP, LARGE_STEP
            what = (
                "‖gradient‖ / ‖{v}‖ is {ratio:.2g}, a step of rate {rate:g} changes it by "
                "{step:.2g} of its size"
            )
        elif len(ratios) > 2:
            ratios = {w: ratio / self._gains.get(w, 1.0) for w, ratio in ratios.items()}
            gap = self._gap(sorted(ratios.values()))
            if gap is None:
                return
            unit, low, high = 1 / gap, 0.0, OUTLIER
            what = "‖gradient‖ / ‖{v}‖ is {ratio:.2g}, {step:.2g} times that of the next matrix"
        else:
            return
        for w, ratio in ratios.items():
            large = unit * ratio > high
            if large or unit * ratio < low:
                advice = later("a smaller rate for it, scaled inputs, or larger weights")
                yield self._finding(
                    "ill-scaled parameter", "warning" if large else "note", w, self._onward(w),
                    later(what, v=self._name(w), ratio=ratio, step=unit * ratio, rate=self.rate),
                    advice if large else "", ratio=ratio, step=unit * ratio,
                )  # fmt: skip

    def _outgrows(self, v: int) -> bool:
        """Whether a layer gets far more gradient than the last one, and no normalisation is why."""
        end = self._last.get(v)
        if end is None or self.norms.get(v, 0.0) <= UNUSUAL * self.norms.get(end, 0.0):
            return False
        path = self._onward(v)
        return not any(self._op(i) in hazards.GAINS for i in path[: path.index(end)])

    @staticmethod
    def _gap(ratios: list[float]) -> float | None:
        """The largest of the many ratios, if a few are far above it."""
        for i in range((len(ratios) + 1) // 2, len(ratios)):
            if ratios[i] > OUTLIER * ratios[i - 1]:
                return ratios[i - 1]
        return None

    def layers(self) -> Iterator[Layer]:
        """A row per scope that reads parameters itself; without scopes, per value that does."""
        graph, values = self.graph, self.graph.values
        scoped = any(values[v].scope for v in self.entries)
        layer_of: dict[int, Any] = {}
        for v in self.entries:  # without scopes, the addition of a bias belongs to its product
            product = [u for u in graph.operands[v] if u in layer_of and len(graph.readers[u]) == 1]
            layer_of[v] = layer_of[product[0]] if product else v
        if scoped:
            layer_of = {v: node.scope for v, node in enumerate(values)}
        weights: dict[Any, dict[int, None]] = defaultdict(dict)
        names = {}
        known: set[int] = set()
        for v, read in self.entries.items():
            layer = layer_of[v]
            weights[layer] |= dict.fromkeys(w for w in read if w not in known)
            known.update(read)
            names[layer] = ".".join(layer) if scoped else self._name(v)
        outgoing: dict[Any, float] = defaultdict(float)
        exits: dict[Any, set[int]] = defaultdict(set)
        exits[layer_of.get(graph.output)].add(graph.output)
        for v, key in self.messages:
            u = graph.operands[v][key]
            here, there = layer_of.get(v), layer_of.get(u)
            if here != there and u not in known:
                exits[there].add(u)
                if here in weights:
                    outgoing[here] = math.hypot(outgoing[here], self._message((v, key)))
        for layer, own in weights.items():
            if not own:  # parameters of an earlier layer, read again
                continue
            count = sum(self._stats(w).size for w in own)
            yield Layer(
                names[layer] or "(top)",
                count,
                _root((self.values[w] for w in own), count),
                _root((self.norms.get(w, 0.0) for w in own), count),
                _root(self.norms.get(i, 0.0) for i in exits[layer]),
                outgoing[layer],
            )


def _times(log: float) -> str:
    """A factor by its logarithm: products along a path are beyond what a float holds."""
    return f"×{10**log:.2g}" if abs(log) < 300 else f"×1e{log:.0f}"


def _root(norms: Iterable[float], count: int = 1) -> float:
    """The norm of arrays together; by their `count` of numbers, the root mean square."""
    return math.hypot(*norms) / math.sqrt(max(count, 1))
