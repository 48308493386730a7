"""How `gradviz.chain.health` finds what is wrong: norms, the ways of gradients, the findings."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from gradviz.chain import hazards
from gradviz.chain.causes import Cause, Causes, Edge, listed
from gradviz.chain.health import Finding, Layer, counted
from gradviz.chain.reads import partly
from gradviz.errors import TraceError
from gradviz.graph import PARAMETER, Graph
from gradviz.statistics import Statistics, measure

# Where sickness begins. Norms are compared, not means: a layer initialised by its fan-in (He,
# LeCun) keeps the norm of a gradient, whatever its widths are.
VANISHING = 1e-4
"""‖gradient‖ at the first layers by that at the last. He or Xavier initialisation, residual nets
and transformers stay above 1e-2; ten sigmoids (slope ≤ 1/4) are below 1e-6."""
EXPLODING = 1e4
"""The same, growing: a step that suits the last layers throws the first ones away."""
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
LARGE_STEP, SMALL_STEP = 0.1, 1e-7
"""rate · ‖gradient‖ / ‖weights‖; about 1e-3 is healthy."""
OUTLIER = 1e4
"""Without a rate: ‖gradient‖ / ‖weights‖ of a few matrices by the largest of all others."""
SMALL_START, UNUSUAL = 1e-2, 100.0
"""Of the median over the matrices: an rms so small is meant to grow (a layer scale, a class token),
if the gradient there is not so much larger than elsewhere."""


def _times(log: float) -> str:
    """A factor by its logarithm: products along a path are beyond what a float holds."""
    return f"×{10**log:.2g}" if abs(log) < 300 else f"×1e{log:.0f}"


def _which(stats: Statistics) -> str:
    """What is not finite in an array, and how much of it."""
    number = "NaN" if math.isnan(stats.low) else "inf" if stats.high == math.inf else "-inf"
    share = f" in {round(stats.nonfinite * stats.size)} of {stats.size} entries"
    return number + (share if stats.size > 1 else "")


def _entries(*values: Any) -> list[np.ndarray]:
    """All entries of arrays; where the statistics of one are all there is, the same few of each."""
    if any(isinstance(value, Statistics) for value in values):
        return [measure(value).sample for value in values]
    return [np.ravel(value) for value in values]


class Examination(Causes):
    """What is read off a graph.

    Parameters
    ----------
    graph : Graph
    rate : float or None
        The learning rate.
    """

    def __init__(self, graph: Graph, rate: float | None) -> None:
        super().__init__(graph)
        self.rate = rate

    def findings(self) -> Iterator[Finding]:
        """All that is wrong, and notes."""
        broken = list(self._nonfinite_value())
        if self.failure is not None:
            at = self.graph.output
            yield from broken
            yield self._finding("no backward pass", "error", at, (at,), str(self.failure))
            return
        broken += self._nonfinite_gradient()
        broken = broken or list(self._lost_infinity())
        yield from broken
        yield from self._returned()
        yield from self._astray()
        yield from self._disconnected()
        yield from self._changed_gradients()
        grave = [f for f in broken if f.severity != "note"]
        known = {i for f in grave for i in f.path}
        known |= self._before(f.node for f in grave if f.severity == "error")
        zero = list(self._zero(known))
        yield from zero
        flow = list(self._flow())
        yield from flow
        told = {i for finding in zero for i in finding.path}
        yield from self._dead(told)
        yield from self._saturated(told)
        if self.rate is not None or not flow:  # else the layers have no size in common
            yield from self._scales()
        yield from self._frozen()

    # --- what all of them ask ----------------------------------------------------------------

    def _finding(
        self, kind: str, severity: str, node: int, path: Iterable[int], message: str,
        advice: str = "", **numbers: float,
    ) -> Finding:  # fmt: skip
        return Finding(kind, severity, node, tuple(path), message, advice, numbers, self.graph)

    def _next(self, u: int) -> int | None:
        """The reader that sends a value the most of its gradient."""
        edges = self._carrying(u)
        if len(edges) < 2:
            return edges[0][0] if edges else None
        return max(edges, key=lambda edge: (x := self._message(edge), math.inf)[x != x])[0]

    def _onward(self, i: int) -> tuple[int, ...]:
        """The way to J on which most of a value's gradient comes."""
        path = [i]
        while (after := self._next(path[-1])) is not None:
            path.append(after)
        return tuple(path)

    @cached_property
    def entries(self) -> dict[int, list[int]]:
        """The values that are computed from parameters themselves, and from which."""
        found: dict[int, list[int]] = defaultdict(list)
        for w in self.weights:
            pending = [w]
            while pending:
                for v, _ in self.graph.readers[pending.pop()]:
                    if self._itself(v):
                        pending.append(v)
                    elif w not in found[v]:
                        found[v].append(w)
        return dict(sorted(found.items()))

    # --- values that are no numbers ----------------------------------------------------------

    def _nonfinite_value(self) -> Iterator[Finding]:
        """The first value in recording order that makes J no number.

        What is not finite and does J no harm, is none: a mask, a metric, a branch not taken.
        """
        graph = self.graph
        if not self._bad([graph.output]):
            return
        first, path, message, advice = self._broken(graph.output)
        edge = self._spoiled
        if edge and not set(path).isdisjoint((edge[0], *graph.operands[edge[0]])):
            u = graph.operands[edge[0]][edge[1]]
            message += f"; the first gradient that it spoils is that of {self._name(u)}"
        stats = self._stats(first)
        yield self._finding(
            "non-finite value", "error", first, path, message, advice,
            entries=stats.nonfinite * stats.size,
        )  # fmt: skip

    def _broken(self, last: int) -> tuple[int, list[int], str, str]:
        """The first value that makes a value no number, the way to it, why, and what to do."""
        graph = self.graph
        onward = {last: last}  # of what does harm, the next that does
        for i in self._bad(range(last - 1, -1, -1)):
            after = next((v for v, _ in graph.readers[i] if v in onward), None)
            if after is not None:
                onward[i] = after
        meant: set[int] = set()
        for first in sorted(onward):
            if not self._on_purpose(first, meant):
                break
            meant.add(first)
        path = [first]
        while path[-1] != last:
            path.append(onward[path[-1]])
        why, advice = self._origin(first)
        message = f"{self._told(first)} is {_which(self._stats(first))}: {why}"
        nan = next(i for i in path if self._nan(i) or i == last)
        if nan != first and self._nan(nan):
            how = hazards.meeting(self._op(nan), [self._stats(u) for u in graph.operands[nan]])
            message += f"; from {self._told(nan)} on it is NaN{f' ({how})' if how else ''}"
        return first, path, message, advice

    def _lost_infinity(self) -> Iterator[Finding]:
        """The first overflow on a way to J that becomes a finite number again."""
        graph = self.graph
        for v in sorted(self._bad(self.gradients)):
            if graph.is_leaf(v) or self._bad(graph.operands[v]):
                continue
            why, advice = self._origin(v)
            if "overflows" not in why:
                continue
            path = [v]
            while self._bad(path[-1:]):
                after = [r for r, _ in graph.readers[path[-1]] if r in self.gradients]
                finite = [r for r in after if not self._bad([r])]
                path += (finite or after)[:1]
                if not after:
                    break
            else:
                end = path[-1]
                message = (
                    f"{self._told(v)} is {_which(self._stats(v))}: {why}; {self._told(end)} makes "
                    f"{'0' if self._is_zero(end) else 'finite numbers'} of that again"
                )
                path += self._onward(end)[1:]
                if lost := [w for w in self.weights if self.norms.get(w) == 0]:
                    message += f"; the gradient of {listed(map(self._name, lost))} is exactly 0"
                yield self._finding("non-finite value", "warning", v, path, message, advice)
                return

    def _on_purpose(self, i: int, meant: set[int]) -> bool:
        """Whether a value holds only -inf that somebody put there: a mask."""
        stats, bad = self._stats(i), self._bad(self.graph.operands[i])
        if not (stats.low == -math.inf and stats.high < math.inf):
            return False
        if self.graph.is_leaf(i):
            return i not in self.weights
        return self._op(i) in hazards.MASKING and meant.issuperset(bad)

    # --- gradients that are no numbers -------------------------------------------------------

    @cached_property
    def _spoiled(self) -> Edge | None:
        """The first message from J backwards that is not finite."""
        if all(map(math.isfinite, self.norms.values())):
            return None
        for v in sorted(self.gradients, reverse=True):
            for key in range(len(self.graph.operands[v])):
                if not math.isfinite(self._message((v, key))):
                    return v, key
        return None

    def _nonfinite_gradient(self) -> Iterator[Finding]:
        """The first gradient that is not finite, if no value that is not explains it."""
        graph, edge = self.graph, self._spoiled
        sums = [i for i, size in self.norms.items() if not math.isfinite(size)]
        if not sums and (edge is None or edge[0] not in self.gradients):
            return
        top = max(sums, default=-1)
        spoiled = [w for w in self.weights if not math.isfinite(self.norms.get(w, 0.0))]
        if edge is None or edge[0] <= top:  # the messages to it are finite
            node = u = top
            path = [u]
            if self._changed(u):
                by = graph.changed_by_hooks.get(u, "something, such as a hook")
                why = f"its messages are finite, it is not: {by} changed it"
                advice = "look at what register_hook was called with"
            else:
                why, advice = "the sum of its messages overflows", "scale the loss down"
        else:
            v, u = edge[0], graph.operands[edge[0]][edge[1]]
            node, path = v, [u, v]
            bad = self._bad((v, *graph.operands[v]))
            if bad and self._bad([graph.output]):
                return
            why, advice = self._spoiler(u, edge)
            # A NaN, or an infinity that nobody meant, that was dropped on its way to J.
            nan = [i for i in bad if self._nan(i)]
            if nan:
                node, way, told, advice = self._broken(min(nan))
                why = f"{told}; that J is finite does not help: its slopes are not"
                path = way if v in way else [*way, v] if min(nan) != v else way
        first = u if u in self.norms and not math.isfinite(self.norms[u]) else node
        stats = measure(self.gradients.get(u, self.messages.get(edge, 0.0) if edge else 0.0))
        message = f"∂{self._name(graph.output)}/∂{self._name(u)} is {_which(stats)}: {why}"
        if spoiled and spoiled != [first]:
            message += f"; it spoils the gradient of {listed(map(self._name, spoiled))}"
        severity = "error" if spoiled else "note"  # a gate after it may have let nothing through
        yield self._finding(
            "non-finite gradient", severity, node,
            dict.fromkeys((*path, *self._onward(path[-1]))), message, advice,
            entries=stats.nonfinite * stats.size, spoiled=len(spoiled),
        )  # fmt: skip

    # --- values that were read as plain numbers ----------------------------------------------

    def _returned(self) -> Iterator[Finding]:
        """Values whose plain number came back into J: the gradient lacks a part."""
        sure = self.graph.sure
        for i, how in partly(self.graph).items():
            yield self._finding(
                "lost history", "error" if sure else "warning", i, (i, *self._onward(i)[1:]),
                f"{self._name(i)} was read as a plain number {how}; "
                + ("that number came back into " if sure else "if that number came back into ")
                + f"{self._name(self.graph.output)}, the gradient lacks its part",
                "keep it an array; gradviz.stop_gradient says that a constant is meant",
            )  # fmt: skip

    def _astray(self) -> Iterator[Finding]:
        """A recording that took another branch than the program does by itself."""
        if self.graph.astray:
            output = self.graph.output
            yield self._finding(
                "another J", "error", output, (output,), self.graph.astray,
                "ask np.ndim(x) or isinstance(x, ...)",
            )  # fmt: skip

    # --- parameters without a gradient -------------------------------------------------------

    def _disconnected(self) -> Iterator[Finding]:
        """Parameters from which no way leads to J, by where their ways end."""
        graph = self.graph
        lost = [w for w in self.weights if w not in self.gradients]
        # What ends a way, the worst first, and the value where it ends; by id. Next to it the
        # next value on the way there.
        ends: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
        stopped, read, unread = range(3)
        ended = graph.ends
        for u in range(len(graph) - 1, min(lost, default=len(graph)) - 1, -1):
            if u in self.gradients or u not in graph.varying:
                continue
            found: dict[tuple[int, int], int] = {(read, u): u} if u in ended else {}
            for v, _ in graph.readers[u]:
                if v in self.gradients or self._stops(v):
                    found.setdefault((stopped, v), v)
                for end in () if v in self.gradients or self._stops(v) else ends[v]:
                    found.setdefault(end, v)
            found = found or {(unread, u): u}
            ends[u] = {end: found[end] for end in sorted(found)[:3]}
        groups: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
        for w in lost:
            groups[() if (unread, w) in ends[w] else tuple(ends[w])].append(w)
        for group, members in groups.items():
            names = listed(map(self._name, members))
            path = [members[0]]
            if not group:
                message, advice = f"nothing reads {names}", "use it, or leave it out"
            else:
                kind, v = group[0]
                while path[-1] != v:
                    path.append(ends[path[-1]][group[0]])
                why, advice = (self._stop, self._read, self._unread)[kind](v, path)
                message = f"no way leads from {names} to {self._name(graph.output)}: {why}"
            # What J does not depend on: a head or a token that this run had no use for.
            unused = not group or group[0][0] == unread
            note = unused and graph.values[members[0]].operation is PARAMETER
            yield self._finding(
                "no gradient", "note" if note else "warning", path[-1],
                (*path, *self._onward(path[-1])[1:]), message, advice, parameters=len(members),
            )  # fmt: skip

    def _stops(self, v: int) -> bool:
        dtype = str(getattr(self.graph.values[v].value, "dtype", "float"))
        return self._op(v) in hazards.STOPS or not dtype.startswith(("float", "complex", "bfloat"))

    def _stop(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        if why := hazards.STOPS.get(self._op(v)):
            leave = f"leave {self._op(v)} out, if a gradient is wanted"
            advice = (
                leave
                if self._op(v) in ("detach", "data", "stop_gradient")
                else "use a soft version"
            )
            return f"{self._told(v)} stops it, {why}", advice
        if self._stops(v):
            return f"{self._told(v)} stops it, integers have no derivative", "stay with floats"
        return (
            f"{self._told(v)} takes {self._name(path[-2])} as a constant",
            "was that computed without gradients (no_grad, detach), or has it no derivative here?",
        )

    def _read(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        return (
            f"{self._name(v)} was read as a plain number {self.graph.ends[v]}",
            "keep it an array: leave the conversion out",
        )

    def _unread(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        return (
            f"nothing reads {self._told(v)}",
            "let the loss depend on it; a comparison, an argmax or a cast to integers is not "
            "recorded, for none has a derivative",
        )

    def _changed_gradients(self) -> Iterator[Finding]:
        """Gradients that are not the sum of their messages, for a hook changed them."""
        hooks = self.graph.changed_by_hooks
        if hooks:
            said = listed(f"of {self._name(u)} by {hooks[u]}" for u in sorted(hooks))
            message = f"the gradient was changed: {said}"
            u = min(hooks)
            yield self._finding(
                "changed gradient", "note", u, self._onward(u), message, values=len(hooks)
            )
        changed = [u for u in self.gradients if u != self.graph.output and self._changed(u)]
        changed = [u for u in sorted(changed) if self.norms[u] and math.isfinite(self.norms[u])]
        changed = [u for u in changed if u not in hooks]
        if changed:
            u = changed[0]
            message = (
                f"of {listed(map(self._name, changed))} the gradient is not the sum of the "
                f"messages: something after them, such as a hook, changed it"
            )
            yield self._finding(
                "changed gradient", "note", u, self._onward(u), message, values=len(changed)
            )

    def _zero(self, known: Set[int]) -> Iterator[Finding]:
        """Leaves whose gradient is 0 in every entry, by what makes it 0.

        What the values `known` explain is said already.
        """
        leaves = [w for w in self.graph.wrt if self._stats(w).size]
        lost = sorted(w for w in leaves if self.norms.get(w) == 0)
        if not lost:
            return
        all_lost = all(self.norms.get(w, 0.0) == 0 for w in self.weights)
        causes: dict[int, dict[Edge, int]] = {}  # and the next value on the way there
        for u in sorted(self.gradients, reverse=True):
            if self.norms[u] or not self._stats(u).size:
                continue
            found: dict[Edge, int] = {}
            for edge in self._carrying(u):
                v = edge[0]
                if self._message(edge):
                    found[u, -1] = u
                elif self.norms.get(v, 1.0) or v not in causes:
                    found.setdefault(edge, v)
                else:
                    for lost_at in causes[v]:
                        found.setdefault(lost_at, v)
            found = found or {(u, -1): u}
            causes[u] = {at: found[at] for at in sorted(found, reverse=True)[:4]}
        underflown: Set[int] = frozenset()
        with suppress(TraceError):
            underflown = self.graph.underflown
        explained: dict[Edge, Cause] = {}
        groups: dict[Any, list[int]] = defaultdict(list)
        for w in lost:
            for edge in causes[w]:
                if edge not in explained:
                    u, key = edge
                    explained[edge] = self._summed(u) if key < 0 else self._lost(edge)
            found_causes = [explained[edge] for edge in causes[w]]
            mild = all(cause.mild for cause in found_causes)
            what = {c.kind if mild or c.kind == "stuck" else c.node for c in found_causes}
            groups[w in underflown, mild, w in self.weights, frozenset(what)].append(w)
        for (tiny, mild, weight, _), members in groups.items():
            edge, first = min((edge, w) for w in members for edge in causes[w])
            edges = sorted({edge for w in members for edge in causes[w]}, reverse=True)
            told = list({explained[e].node: explained[e] for e in edges}.values())[::-1]
            if any(cause.node in known for cause in told):
                continue
            path = [first]
            while path[-1] != edge[0]:
                path.append(causes[path[-1]][edge])
            node, cause = path[-1], explained[edge]
            factor = cause.node in self.graph.operands[node] and not self.graph.is_leaf(cause.node)
            if factor and cause.node not in path:
                node, path = cause.node, [cause.node, *path[-1:]]
            whys = [cause.why for cause in told]
            why = "; ".join(whys[:2]) + (f"; and {len(whys) - 2} more such" if whys[2:] else "")
            advice = told[0].advice
            if tiny:
                why = f"a product is too small for a number, at {self._told(path[-1])}"
                advice = "scale the loss up, or use a wider dtype"
            note = (mild and not tiny and not all_lost) or not weight
            yield self._finding(
                "zero gradient", "note" if note else "warning", node,
                (*path, *self._onward(path[-1])[1:]),
                f"the gradient of {listed(map(self._name, members))} "
                f"{'underflows' if tiny else 'is exactly 0'}: {why}",
                advice, parameters=len(members),
            )  # fmt: skip

    # --- gradients that vanish or explode ----------------------------------------------------

    def _flow(self) -> Iterator[Finding]:
        """The gradients at the first layers by those at the last on the same way to J.

        Of the layers before and beside one the largest gradient counts: that one branch of many
        gets little (the keys of an attention, a table of biases) is no sickness.
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
        side: set[int] = set()  # small branches, and what is before them
        for v in sorted(ends, reverse=True):
            small = grown[v] < VANISHING * grown[last[v] or v] <= beside[v]
            if (small and following[v] is not None) or following[v] in side:
                side.add(v)
        ratios = {
            v: (max(ahead[v], beside[v]) / grown[last[v] or v], sizes[v] / ends[v]) for v in ends
        }
        weak = [v for v, (ratio, _) in ratios.items() if ratio < VANISHING and v not in side]
        if weak:
            first = min(weak, key=lambda v: ratios[v][0])
            yield self._stream("vanishing", first, last[first] or first, weak)
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
        gains: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for u, v in itertools.pairwise(path[: path.index(last) + 1]):
            edges = [(v, key) for key, operand in enumerate(self.graph.operands[v]) if operand == u]
            upstream = self.norms.get(v, 0.0)
            gain = max(map(self._message, edges)) / upstream if upstream else 0.0
            whole = self._sigmoid_of.get(v)
            at = gains[self._op(v)] if whole is None else gains["sigmoid"]
            at[whole or v] += sign * math.log10(gain) if gain else -sign * math.inf
        culprit, steps = min(gains.items(), key=lambda item: sum(item[1].values()))
        worst = min(steps, key=lambda v: steps[v])
        total, alone = sign * sum(steps.values()), sign * steps[worst]
        here, there = self.norms[first], self.norms[last]
        names = listed(self._name(w) for v in sick for w in self.entries[v])
        advice = "smaller initial weights (He, Xavier), a normalisation, or clipped gradients"
        if sign > 0:
            weights = culprit in hazards.PRODUCTS
            first_aid = "larger initial weights (He, Xavier)" if weights else "relu or gelu instead"
            advice = f"{first_aid}, skip connections, or a normalisation"
        verb = "shrinks" if sign > 0 else "grows"
        message = (
            f"on the way to {names} the gradient {verb} "
            f"{_times(math.log10(here) - math.log10(there))}, from {there:.2g} at "
            f"{self._name(last)} to {here:.2g} at {self._name(first)}; most by {culprit}, "
            f"{_times(total)}"
            + (f" in {len(steps)} steps, {_times(alone)}" if len(steps) > 1 else "")
            + f" at {self._name(worst)}"
        )
        # Before a normalisation a start next to 0 gets much gradient, and grows at once.
        severity = "note" if sign < 0 and culprit in hazards.GAINS else "warning"
        found = self._finding(
            f"{kind} gradient", severity, worst, path, message, advice,
            ratio=here / there, first=here, last=there, steps=len(steps), factor=10**total,
        )  # fmt: skip
        layers = [v for v in path if v in self.entries]
        return replace(found, badges={v: f"‖gradient‖ {self.norms[v]:.2g}" for v in layers})

    # --- units -------------------------------------------------------------------------------

    def _dead(self, known: set[int]) -> Iterator[Finding]:
        """Units that are 0 for every example, and learn from none."""
        some: list[Finding] = []
        for v in sorted(self.gradients):
            value = self.graph.values[v].value
            gate = self._gate(v) if v not in known and np.ndim(value) > 1 else None
            if gate is None:
                continue
            if isinstance(value, Statistics):
                share, limit = value.zeros, MOSTLY_OFF
                if share < limit:  # half of the zeros are healthy
                    continue
                what = f"{self._told(v)} is 0 in {share:.1%} of its {value.size} entries"
            else:
                dead, units, examples = self._dead_units(value, v, gate)
                share, limit = dead / max(units, 1), DEAD
                if not dead or examples < EXAMPLES:
                    continue
                what = (
                    f"{dead} of {counted(units, 'unit')} of {self._told(v)} are 0 for all "
                    f"{examples} examples, and get no gradient"
                )
            finding = self._finding(
                "dead units", "warning", v, self._onward(v), what,
                "a smaller step, smaller or positive biases, He initialisation, or leaky_relu",
                share=share,
            )  # fmt: skip
            if share >= limit:
                yield finding
            else:
                some.append(finding)
        if some:  # one note for all layers
            most = max(some, key=lambda finding: finding.numbers["share"])
            more = f" (the most in {len(some)} layers)" if len(some) > 1 else ""
            yield replace(most, severity="note", message=most.message + more, advice="")

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
            shape = self._squashing(v)
            if shape is None or not self.norms[v] or v in known:
                continue
            centre, half = shape
            activations = self.graph.values[v].value
            entries, upstream = _entries(activations, self.gradients[v])
            unit = (entries - centre) / half
            if not unit.size or unit.shape != upstream.shape:
                continue
            flat = 1 - unit**2 < FLAT
            pulled = flat & (upstream * unit > 0)
            share, stuck = (np.count_nonzero(x) / flat.size for x in (flat, pulled))
            if share >= SATURATED and stuck >= STUCK:
                about = "about " if unit.size < math.prod(np.shape(activations)) else ""
                part = f" in {about}{int(100 * share)}% of its entries" if unit.size > 1 else ""
                yield self._finding(
                    "saturated units", "warning", v, self._onward(v),
                    f"{self._name(v)}, a {'sigmoid' if centre else 'tanh'}, is saturated{part}: "
                    "its slope there is below a thousandth of its steepest",
                    "smaller weights, scaled inputs, or a normalisation before it; at the output, "
                    "a cross entropy of the logits",
                    share=share, stuck=stuck,
                )  # fmt: skip

    # --- parameters --------------------------------------------------------------------------

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
            what = f"a step of rate {self.rate:g} changes it by {{:.2g}} of its size"
        elif len(ratios) > 2:
            ratios = {w: ratio / self._gains.get(w, 1.0) for w, ratio in ratios.items()}
            gap = self._gap(sorted(ratios.values()))
            if gap is None:
                return
            unit, low, high = 1 / gap, 0.0, OUTLIER
            what = "{:.2g} times that of the next matrix"
        else:
            return
        for w, ratio in ratios.items():
            large = unit * ratio > high
            if large or unit * ratio < low:
                yield self._finding(
                    "ill-scaled parameter", "warning" if large else "note", w, self._onward(w),
                    f"‖gradient‖ / ‖{self._name(w)}‖ is {ratio:.2g}, {what.format(unit * ratio)}",
                    "a smaller rate for it, scaled inputs, or larger weights" if large else "",
                    ratio=ratio, step=unit * ratio,
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

    def _frozen(self) -> Iterator[Finding]:
        """Parameters that no gradient was asked for."""
        nodes = enumerate(self.graph.values)
        frozen = [i for i, n in nodes if n.operation is PARAMETER and i not in self.graph.wrt]
        if frozen:
            what = f"no gradient was asked for: {listed(map(self._name, frozen))}"
            yield self._finding(
                "frozen parameters", "note", frozen[0], frozen[:1], what, parameters=len(frozen)
            )

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


def _root(norms: Iterable[float], count: int = 1) -> float:
    """The norm of arrays together; by their `count` of numbers, the root mean square."""
    return math.hypot(*norms) / math.sqrt(max(count, 1))
