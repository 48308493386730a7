"""How `gradviz.chain.health` finds what is wrong: norms, the ways of gradients, the findings."""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from gradviz.chain import hazards
from gradviz.chain.health import Finding, Layer, counted
from gradviz.errors import TraceError
from gradviz.graph import PARAMETER, Graph
from gradviz.ops import notation
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
"""Without a rate: ‖gradient‖ / ‖weights‖ by its median over the parameters."""

Edge = tuple[int, int]
"""(reader's id, operand's position)"""


def norm(value: Any) -> float:
    """The Euclidean norm; 0 only where all entries are, non-finite only where an entry is."""
    if type(value) is np.float64:
        return abs(float(value))
    if isinstance(value, Statistics):
        return math.nan if value.nonfinite else value.norm or value.top
    array = np.asarray(value)
    if array.dtype.kind not in "biufc" or not array.size:
        return 0.0
    flat = array.ravel(order="K")
    square = float(np.vdot(flat, flat).real) if array.dtype.char in "fdFD" else 0.0
    if 1e-30 < square < 1e30:
        return math.sqrt(square)
    if not flat.any():
        return 0.0
    flat = np.abs(flat).astype(float)  # the squares may be too large, or too small
    top = float(flat.max())
    if not 0 < top < math.inf:
        return top
    return min(top * float(np.linalg.norm(flat / top)), sys.float_info.max)


def _listed(names: Iterable[str]) -> str:
    first, rest = (found := list(dict.fromkeys(names)))[:3], found[3:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")


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


class Examination:
    """What is read off a graph.

    Parameters
    ----------
    graph : Graph
    rate : float or None
        The learning rate.
    """

    def __init__(self, graph: Graph, rate: float | None) -> None:
        self.graph, self.rate = graph, rate
        self.failure: Exception | None = graph.error
        self.gradients: Mapping[int, Any] = {}
        self.messages: Mapping[Edge, Any] = {}
        try:
            self.gradients, self.messages = graph.derivatives
        except TraceError as error:
            self.failure = self.failure or error
        self.values = [norm(node.value) for node in graph.values]
        self.norms = {i: norm(gradient) for i, gradient in self.gradients.items()}
        parameters = [i for i in graph.wrt if graph.values[i].operation is PARAMETER]
        self.weights = sorted(parameters or graph.wrt)
        self._sent: dict[Edge, float] = {}

    def findings(self) -> Iterator[Finding]:
        """All that is wrong, and notes."""
        yield from self._nonfinite_value()
        if self.failure is not None:
            at = self.graph.output
            yield self._finding("no backward pass", "error", at, (at,), str(self.failure))
            return
        yield from self._nonfinite_gradient()
        yield from self._disconnected()
        zero = list(self._zero())
        yield from zero
        flow = list(self._flow())
        yield from flow
        yield from self._dead({i for finding in zero for i in finding.path})
        yield from self._saturated()
        if self.rate is not None or not flow:  # else the layers have no size in common
            yield from self._scales()
        yield from self._frozen()

    # --- what all of them ask ----------------------------------------------------------------

    def _finding(
        self, kind: str, severity: str, node: int, path: Iterable[int], message: str,
        advice: str = "", **numbers: float,
    ) -> Finding:  # fmt: skip
        return Finding(kind, severity, node, tuple(path), message, advice, numbers, self.graph)

    def _op(self, i: int) -> str:
        """An operation's name, also of what works in place."""
        return self.graph.values[i].operation.name.strip("_")

    def _name(self, i: int) -> str:
        return self.graph.names[i]

    def _told(self, i: int) -> str:
        """A value with its formula, if that is short."""
        formula = ""
        with suppress(TraceError):
            if (tree := self.graph.expression(i)) is not None:
                formula = notation.text(tree)
        return f"{self._name(i)} = {formula}" if 0 < len(formula) <= 60 else self._name(i)

    def _stats(self, i: int) -> Statistics:
        return measure(self.graph.values[i].value)

    def _bad(self, ids: Iterable[int]) -> list[int]:
        """The values that are not finite."""
        return [i for i in ids if not math.isfinite(self.values[i])]

    def _local(self, edge: Edge) -> Any:
        """The local derivative, where it is known."""
        with suppress(TraceError):
            return self.graph.local(*edge)
        return None

    def _message(self, edge: Edge) -> float:
        """The norm of a message; 0 where there is none."""
        found = self._sent.get(edge)
        if found is None:
            found = self._sent[edge] = norm(self.messages.get(edge, 0.0))
        return found

    def _carrying(self, u: int) -> list[Edge]:
        """The edges that send a value its gradient."""
        return [edge for edge in self.graph.readers[u] if edge in self.messages]

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

    def _itself(self, i: int) -> bool:
        """Whether a value is its operand in another shape."""
        return self._op(i) in hazards.RESHAPES and len(self.graph.operands[i]) == 1

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

    def _hazard(self, v: int, makes: str) -> tuple[str, str] | None:
        """What keeps an operation from having a finite value or slope, and what to do."""
        op, operands = self._op(v), self.graph.operands[v]
        for hazard in hazards.HAZARDS:
            if op in hazard.names and makes in hazard.makes and hazard.position < len(operands):
                looked_at = v if hazard.position < 0 else operands[hazard.position]
                stats = self._stats(looked_at)
                if hazard.holds(stats):
                    what = hazard.what.format(op=op, low=stats.low, top=stats.top)
                    if hazard.position < 0:  # what it came from says more
                        operand = self._stats(operands[0])
                        what += f": {self._name(operands[0])} reaches {operand.high:.3g}"
                    else:
                        what += f" ({self._name(looked_at)})"
                    return what, hazard.advice
        return None

    # --- values that are no numbers ----------------------------------------------------------

    def _nonfinite_value(self) -> Iterator[Finding]:
        """The first value in recording order that makes J no number.

        What is not finite and does J no harm, is none: a mask, a metric, a branch not taken.
        """
        graph = self.graph
        onward = {graph.output: graph.output}  # of what harms J, the next that does
        if not self._bad(onward):
            return
        for i in self._bad(range(graph.output - 1, -1, -1)):
            after = next((v for v, _ in graph.readers[i] if v in onward), None)
            if after is not None:
                onward[i] = after
        meant: set[int] = set()
        for first in sorted(onward):
            if not self._on_purpose(first, meant):
                break
            meant.add(first)
        path = [first]
        while path[-1] != graph.output:
            path.append(onward[path[-1]])
        stats = self._stats(first)
        why, advice = self._origin(first)
        message = f"{self._told(first)} is {_which(stats)}: {why}"
        nan = next(i for i in path if math.isnan(self._stats(i).low) or i == graph.output)
        if nan != first and math.isnan(self._stats(nan).low):
            message += f"; from {self._told(nan)} on it is NaN{self._meeting(nan)}"
        if self._spoiled:
            u = graph.operands[self._spoiled[0]][self._spoiled[1]]
            message += f"; the first gradient that it spoils is that of {self._name(u)}"
        yield self._finding(
            "non-finite value", "error", first, path, message, advice,
            entries=stats.nonfinite * stats.size,
        )  # fmt: skip

    def _on_purpose(self, i: int, meant: set[int]) -> bool:
        """Whether a value holds only -inf that somebody put there: a mask."""
        stats, bad = self._stats(i), self._bad(self.graph.operands[i])
        if not (stats.low == -math.inf and stats.high < math.inf):
            return False
        if self.graph.is_leaf(i):
            return i not in self.weights
        return self._op(i) in hazards.MASKING and meant.issuperset(bad)

    def _meeting(self, v: int) -> str:
        """How infinities made a NaN."""
        op = self._op(v)
        return next((f" ({how})" for how, ops in hazards.MEETINGS.items() if op in ops), "")

    def _origin(self, v: int) -> tuple[str, str]:
        """Why a value is the first that is not finite, and what to do."""
        graph = self.graph
        if graph.is_leaf(v):
            if graph.values[v].operation is PARAMETER:
                return "it went in so", "an earlier step made it: diagnose the step before"
            return "it went in so", "look for it in the data, and in what prepares them"
        if bad := self._bad(graph.operands[v]):
            return (
                f"{self._op(v)} of the infinities in {_listed(map(self._name, bad))}"
                f"{self._meeting(v)}",
                "leave something unmasked in each row, or mask with a large negative number",
            )
        if hazard := self._hazard(v, "value"):
            return hazard
        largest = max(graph.operands[v], key=lambda u: self._stats(u).top, default=v)
        return (
            f"{self._op(v)} overflows {self._stats(v).dtype}: {self._name(largest)} reaches "
            f"{self._stats(largest).top:.3g}",
            "smaller weights, inputs or steps, a normalisation before it, or a wider dtype",
        )

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
        if not sums:
            return
        if edge is None or edge[0] < max(sums):  # a sum of finite messages
            u = v = max(sums)
            why, advice = "the sum of its messages overflows", "scale the loss down"
        else:
            v, u = edge[0], graph.operands[edge[0]][edge[1]]
            if self._bad([graph.output]) and self._bad((v, *graph.operands[v])):
                return
            why, advice = self._spoiler(u, edge)
        spoiled = [w for w in self.weights if not math.isfinite(self.norms.get(w, 0.0))]
        stats = measure(self.gradients[u])
        message = f"∂{self._name(graph.output)}/∂{self._name(u)} is {_which(stats)}: {why}"
        if spoiled and spoiled != [u]:
            message += f"; it spoils the gradient of {_listed(map(self._name, spoiled))}"
        severity = "error" if spoiled else "note"  # a gate after it may have let nothing through
        yield self._finding(
            "non-finite gradient", severity, v, dict.fromkeys((u, *self._onward(v))), message,
            advice, entries=stats.nonfinite * stats.size, spoiled=len(spoiled),
        )  # fmt: skip

    def _spoiler(self, u: int, edge: Edge) -> tuple[str, str]:
        """Why a message is not finite though its upstream term is, and what to do."""
        graph, v = self.graph, edge[0]
        upstream, message = measure(self.gradients[v]), measure(self.messages[edge])
        slope = f"∂{self._name(v)}/∂{self._name(u)}"
        with suppress(TraceError):
            if (formula := graph.derivative(*edge)) is not None:
                slope += f" = {notation.text(formula)}"
        local = self._local(edge)
        hazard = self._hazard(v, "slope") or self._hazard(v, "value")
        if hazard is None and local is not None and math.isfinite(norm(local)):
            return (
                f"the upstream term (up to {upstream.top:.3g}) times {slope} (up to "
                f"{measure(local).top:.3g}) overflows {message.dtype}",
                "scale the loss down, or use a wider dtype",
            )
        what, advice = hazard or (f"backward of {self._op(v)}", "keep away from this point")
        what += f"; {slope} is not finite there"
        if math.isnan(message.low) and upstream.zeros:
            what += " and meets an upstream term of 0: 0 · inf = NaN"
        if any(self._op(reader) == "where" for reader, _ in graph.readers[v]):
            advice = (
                "where() discards the value, not its slope: guard what goes into it too, "
                f"{self._op(v)}(where(mask, {self._name(u)}, 1))"
            )
        return what, advice

    # --- parameters without a gradient -------------------------------------------------------

    def _disconnected(self) -> Iterator[Finding]:
        """Parameters from which no way leads to J, by where their ways end."""
        graph = self.graph
        lost = [w for w in self.weights if w not in self.gradients]
        # What ends a way, the worst first, and the value where it ends; by id. Next to it the
        # next value on the way there.
        ends: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
        stopped, read, unread = range(3)
        for u in range(len(graph) - 1, min(lost, default=len(graph)) - 1, -1):
            if u in self.gradients or u not in graph.varying:
                continue
            found: dict[tuple[int, int], int] = {(read, u): u} if u in graph.reads else {}
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
            names = _listed(map(self._name, members))
            path = [members[0]]
            if not group:
                message, advice = f"nothing reads {names}", "use it, or leave it out"
            else:
                kind, v = group[0]
                while path[-1] != v:
                    path.append(ends[path[-1]][group[0]])
                why, advice = (self._stop, self._read, self._unread)[kind](v, path)
                message = f"no way leads from {names} to {self._name(graph.output)}: {why}"
            yield self._finding(
                "no gradient", "warning", path[-1], (*path, *self._onward(path[-1])[1:]), message,
                advice, parameters=len(members),
            )  # fmt: skip

    def _stops(self, v: int) -> bool:
        dtype = str(getattr(self.graph.values[v].value, "dtype", "float"))
        return self._op(v) in hazards.STOPS or not dtype.startswith(("float", "complex", "bfloat"))

    def _stop(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        if why := hazards.STOPS.get(self._op(v)):
            leave = f"leave {self._op(v)} out, if a gradient is wanted"
            advice = leave if self._op(v) in ("detach", "data") else "use a soft version"
            return f"{self._told(v)} stops it, {why}", advice
        if self._stops(v):
            return f"{self._told(v)} stops it, integers have no derivative", "stay with floats"
        return (
            f"{self._told(v)} takes {self._name(path[-2])} as a constant",
            "was that computed without gradients (no_grad, detach), or has it no derivative here?",
        )

    def _read(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        return (
            f"{self._name(v)} was read as a plain number {self.graph.reads[v]}",
            "keep it an array: leave the conversion out",
        )

    def _unread(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        return (
            f"nothing reads {self._told(v)}",
            "let the loss depend on it; a comparison, an argmax or a cast to integers is not "
            "recorded, for none has a derivative",
        )

    def _zero(self) -> Iterator[Finding]:
        """Parameters whose gradient is 0 in every entry, by the edges on which it is lost."""
        lost = [w for w in self.weights if self.norms.get(w) == 0]
        if not lost:
            return
        causes: dict[int, dict[Edge, int]] = {}  # and the next value on the way there
        for u in sorted(self.gradients, reverse=True):
            if self.norms[u]:
                continue
            found: dict[Edge, int] = {}
            for edge in self._carrying(u):
                for cause in [edge] if self.norms[edge[0]] else causes[edge[0]]:
                    found.setdefault(cause, edge[0])
            causes[u] = {cause: found[cause] for cause in sorted(found, reverse=True)[:4]}
        underflown: frozenset[int] = frozenset()
        with suppress(TraceError):
            underflown = self.graph.underflown
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for w in lost:
            groups[w in underflown, *causes[w]].append(w)
        for (tiny, *group), members in groups.items():
            path = [members[0]]
            while group and path[-1] != group[0][0]:
                path.append(causes[path[-1]][group[0]])
            told = [self._lost(*edge) for edge in group]
            whys = "; ".join(dict.fromkeys(why for why, _, _ in told))
            advice = told[0][1] if told else ""
            if tiny:
                whys = f"a product is too small for a number, at {self._told(path[-1])}"
                advice = "scale the loss up, or use a wider dtype"
            mild = bool(told) and not tiny and all(mild for _, _, mild in told)
            yield self._finding(
                "zero gradient", "note" if mild else "warning", path[-1],
                (*path, *self._onward(path[-1])[1:]),
                f"the gradient of {_listed(map(self._name, members))} "
                f"{'underflows' if tiny else 'is exactly 0'}: {whys}",
                advice, parameters=len(members),
            )  # fmt: skip

    def _lost(self, v: int, key: int) -> tuple[str, str, bool]:
        """Why a message is 0, what to do, and whether it may well be."""
        op, told = self._op(v), self._told(v)
        if self._message((v, key)):
            return f"the message of {told} and others cancel", "", True
        if op in hazards.STEPS:
            advice = "use a soft version, or pass the gradient straight through"
            return f"{told} is a step, of slope 0 everywhere", advice, False
        size = self._stats(v).size
        everywhere = f" in all {size} entries" if size > 1 else ""
        if op in hazards.PRODUCTS:
            for u in (u for k, u in enumerate(self.graph.operands[v]) if k != key):
                root = u
                while self._itself(root):
                    root = self.graph.operands[root][0]
                if self.values[u] == 0:
                    moves = root in self.weights and self.norms.get(root, 0.0) > 0
                    advice = "if this start is meant: it moves with the first step"
                    why = f"{told} multiplies by {self._name(u)}, which is all 0"
                    return why, advice if moves else "look at what made that 0", moves
        restart = "a smaller step or bias, another initialisation, or leaky_relu / gelu"
        if self._squashing(v):
            return f"{told} is saturated{everywhere}", restart, False
        if op in ("where", "multiply", "mul"):
            return f"{told} masks it{everywhere}", "look at the mask", False
        if op in hazards.GATES:
            return f"{told} is off{everywhere}", restart, False
        if op in hazards.SELECTIONS:
            return f"{told} picks other entries", "", False
        local = self._local((v, key))
        if local is None or norm(local):
            return f"what {told} would send cancels in a sum", "", True
        return f"the slope of {told} is 0", "another starting point", False

    # --- gradients that vanish or explode ----------------------------------------------------

    def _flow(self) -> Iterator[Finding]:
        """The gradients at the first layers by those at the last on the same way to J.

        Of the first layers the largest gradient counts: that one branch of many gets little (the
        keys of an attention, say) is no sickness.
        """
        sizes = {v: self.norms.get(v, 0.0) for v in self.entries}
        if not all(map(math.isfinite, sizes.values())):
            return
        ahead: dict[int, float] = {}
        for v in sorted(self.gradients):
            sent = [u for key, u in enumerate(self.graph.operands[v]) if (v, key) in self.messages]
            ahead[v] = max([sizes.get(v, 0.0), *(ahead.get(u, 0.0) for u in sent)])
        last: dict[int, int | None] = {}  # layer on the way to J
        for u in sorted(self.gradients, reverse=True):
            after = self._next(u)
            last[u] = None if after is None else last[after] or (after if after in sizes else None)
        ratios = {
            v: (ahead[v] / sizes[end], sizes[v] / sizes[end])
            for v in self.entries
            if sizes[v] and (end := last[v]) and sizes[end]
        }
        weak = [v for v, (ratio, _) in ratios.items() if ratio < VANISHING]
        if weak:
            first = min(weak, key=lambda v: ratios[v][0])
            yield self._stream("vanishing", first, last[first] or first, weak)
        strong = [v for v, (_, ratio) in ratios.items() if ratio > EXPLODING]
        if strong:
            first = max(strong, key=lambda v: ratios[v][1])
            yield self._stream("exploding", first, last[first] or first, strong)

    def _stream(self, kind: str, first: int, last: int, sick: Sequence[int]) -> Finding:
        """How a gradient changes from the last layer to the first, and what changes it most."""
        path = self._onward(first)
        sign = 1 if kind == "vanishing" else -1
        gains: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for u, v in itertools.pairwise(path[: path.index(last) + 1]):
            edges = [(v, key) for key, operand in enumerate(self.graph.operands[v]) if operand == u]
            gain = max(map(self._message, edges)) / self.norms[v]
            whole = self._sigmoid_of.get(v)
            at = gains[self._op(v)] if whole is None else gains["sigmoid"]
            at[whole or v] += sign * math.log10(gain) if gain else -sign * math.inf
        culprit, steps = min(gains.items(), key=lambda item: sum(item[1].values()))
        worst = min(steps, key=lambda v: steps[v])
        total, alone = sign * sum(steps.values()), sign * steps[worst]
        here, there = self.norms[first], self.norms[last]
        names = _listed(self._name(w) for v in sick for w in self.entries[v])
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
        found = self._finding(
            f"{kind} gradient", "warning", worst, path, message, advice,
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

    @cached_property
    def _sigmoid_of(self) -> dict[int, int]:
        """The steps of each 1 / (1 + exp(-z)), and the value of the whole."""
        graph = self.graph

        def below(v: int | None, ops: str, one: bool = False) -> int | None:
            """The operand of such an operation, whose other operand is 1."""
            if v is None or self._op(v) not in ops.split():
                return None
            ones = [u for u in graph.operands[v] if graph.is_leaf(u) and self.values[u] == 1]
            others = [u for u in graph.operands[v] if u not in ones]
            return others[0] if len(others) == 1 and (ones or not one) else None

        found: dict[int, int] = {}
        for v in range(len(graph)):
            total = below(v, "divide div rdiv reciprocal")
            power = below(total, "add", one=True)
            minus = below(power, "exp")
            if total and power and minus and below(minus, "negative neg") is not None:
                found |= dict.fromkeys((v, total, power, minus), v)
        return found

    def _squashing(self, v: int) -> tuple[float, float] | None:
        """Centre and half the range, where a value is a sigmoid's or a tanh's."""
        op = "sigmoid" if self._sigmoid_of.get(v) == v else self._op(v)
        return hazards.SQUASHING.get(op)

    def _saturated(self) -> Iterator[Finding]:
        """Sigmoids and tanhs whose slope is about 0 where the gradient pulls them back."""
        for v in sorted(self.gradients):
            shape = self._squashing(v)
            if shape is None or not self.norms[v]:
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
        ratios = {
            w: self.norms[w] / self.values[w]
            for w in self.weights
            if np.ndim(self.graph.values[w].value) > 1
            and 0 < self.values[w] < math.inf
            and 0 < self.norms.get(w, 0.0) < math.inf
        }
        if self.rate is not None:
            unit, low, high = self.rate, SMALL_STEP, LARGE_STEP
            what = f"a step of rate {self.rate:g} changes it by {{:.2g}} of its size"
        elif len(ratios) > 2:
            unit, low, high = 1 / float(np.median(list(ratios.values()))), 0.0, OUTLIER
            what = "{:.2g} times the median of all parameters"
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

    def _frozen(self) -> Iterator[Finding]:
        """Parameters that no gradient was asked for."""
        nodes = enumerate(self.graph.values)
        frozen = [i for i, n in nodes if n.operation is PARAMETER and i not in self.graph.wrt]
        if frozen:
            what = f"no gradient was asked for: {_listed(map(self._name, frozen))}"
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
                    outgoing[here] += self._message((v, key)) ** 2
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
                math.sqrt(outgoing[layer]),
            )


def _root(norms: Iterable[float], count: int = 1) -> float:
    """The norm of arrays together; by their `count` of numbers, the root mean square."""
    return math.sqrt(sum(x * x for x in norms) / max(count, 1))
