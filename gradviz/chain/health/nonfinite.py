"""Values and gradients that are no numbers: the first of them, and what made it."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence, advised
from gradviz.chain.health.findings import Finding, Words
from gradviz.chain.paths import Edge
from gradviz.chain.retold import retold
from gradviz.errors import TraceError
from gradviz.language import Told, clauses, later
from gradviz.model import PARAMETER
from gradviz.ops import notation
from gradviz.statistics import Statistics, measure, norm

Reason = tuple[Words, Words]
"""Why something is so, and what to do."""
_LOOK = later("look at what made them")
_SCALED = later("scale the loss down, or use a wider dtype")
NEXT_TO_0 = 1e-4
"""Of a smaller number 1/x, or a power of that, may overflow: in 16 bits from 1.5e-5 on."""
_DIVISOR = later("leave the batch out, or reduction='sum' and a divisor of at least 1")


class NonFinite(Evidence):
    """Finds the first NaN or infinity."""

    # --- values -----------------------------------------------------------------------------------

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
            more = later("the first gradient that it spoils is that of {u}", u=self._name(u))
            message = Told(clauses, [message, more])
        stats = self._stats(first)
        yield self._finding(
            "non-finite value", "error", first, path, message, advice,
            entries=stats.nonfinite * stats.size,
        )  # fmt: skip

    def _broken(self, last: int) -> tuple[int, list[int], Words, Words]:
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
        message = self._is(self._told(first), self._stats(first), why)
        nan = next(i for i in path if self._nan(i) or i == last)
        if nan != first and self._nan(nan):
            how = hazards.meeting(self._op(nan), [self._stats(u) for u in graph.operands[nan]])
            more = "from {v} on it is NaN ({how})" if how else "from {v} on it is NaN"
            since = later(more, v=self._told(nan), how=_met(how))
            message = Told(clauses, [message, since])
        return first, path, message, advice

    def _is(self, name: str, stats: Statistics, why: Words) -> Told:
        """What is not finite, how much of it, and why."""
        number = "NaN" if math.isnan(stats.low) else "inf" if stats.high == math.inf else "-inf"
        return later(
            "{v} is {x} in {n} of {size} entries: {why}" if stats.size > 1 else "{v} is {x}: {why}",
            v=name, x=number, n=round(stats.nonfinite * stats.size), size=stats.size, why=why,
        )  # fmt: skip

    def _lost_infinity(self) -> Iterator[Finding]:
        """The first overflow on a way to J that becomes a finite number again."""
        graph = self.graph
        for v in sorted(self._bad(self.gradients)):
            if graph.is_leaf(v) or self._bad(graph.operands[v]) or self._masks_meet(v):
                continue
            why, advice = self._origin(v)
            if not isinstance(why, Told) or "overflows" not in why.sentence:
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
                zero = self._is_zero(end)
                again = (
                    "{v} makes 0 of that again"
                    if zero
                    else "{v} makes finite numbers of that again"
                )
                said = [
                    self._is(self._told(v), self._stats(v), why),
                    later(again, v=self._told(end)),
                ]
                path += self._onward(end)[1:]
                if lost := [w for w in self.weights if self.norms.get(w) == 0]:
                    said.append(
                        later("the gradient of {names} is exactly 0", names=self._names(lost))
                    )
                message = Told(clauses, said)
                yield self._finding("non-finite value", "warning", v, path, message, advice)
                return

    def _masks_meet(self, v: int) -> bool:
        """Whether a value is the sum of two masks, both of the dtype's lowest number for -inf."""
        stats = self._stats(v)
        lowest = -hazards.largest(stats.dtype)
        return (
            self._op(v) == "add"
            and stats.high < math.inf
            and all(self._stats(u).low == lowest for u in self.graph.operands[v])
        )

    def _on_purpose(self, i: int, meant: set[int]) -> bool:
        """Whether a value holds only -inf that somebody put there: a mask."""
        stats, bad = self._stats(i), self._bad(self.graph.operands[i])
        if not (stats.low == -math.inf and stats.high < math.inf):
            return False
        if self.graph.is_leaf(i):
            return i not in self.weights
        return self._op(i) in hazards.MASKING and meant.issuperset(bad)

    def _put_in(self, v: int) -> Reason:
        """Why a leaf is not finite."""
        graph = self.graph
        if (writer := graph.source(v)) is not None:
            advice = later("look at what that line puts there")
            return later("it went in so at {place}", place=writer.place), advice
        if graph.values[v].operation is PARAMETER:
            advice = later("an earlier step made it: diagnose the step before")
            return later("it went in so"), advice
        sites = (graph.source(reader) for reader, _ in graph.readers[v])
        place = next((site.place for site in sites if site is not None), "")
        why = later("it went in so at {place}" if place else "it went in so", place=place)
        return why, later("look for it in the data, and in what prepares them")

    def _origin(self, v: int) -> Reason:
        """Why a value is the first that is not finite, and what to do."""
        graph, stats, op = self.graph, self._stats(v), self._op(v)
        if graph.is_leaf(v):
            return self._put_in(v)
        nan = self._nan(v)
        if bad := self._bad(graph.operands[v]):
            how = hazards.meeting(op, list(map(self._stats, graph.operands[v])))
            if not how and op == "logsumexp" and not nan and stats.low == -math.inf:
                how = hazards.ROW
            if not how and nan and (hazard := self._hazard(v, "nan", self._entries(v, np.isnan))):
                return hazard
            advice = _LOOK
            if how == hazards.ROW or self._masks(bad):
                advice = later(
                    "leave something unmasked in each row, or mask with a large negative number"
                )
            met = "{op} of the infinities in {names}"
            met = "{op} of the infinities in {names} ({how})" if how else met
            return later(met, op=op, names=self._names(bad), how=_met(how)), advice
        if op == "write":
            what = later("the program wrote to it where no gradient is recorded (no_grad, data)")
            return what, later("look at what is written there")
        if found := self._of_too_few(v) or self._given(v):
            return found
        entries = self._entries(v, np.isnan if nan else np.isinf)
        if hazard := self._hazard(v, "nan" if nan else "inf", entries):
            return hazard
        if found := self._overflow(v):
            return found
        made = "{op} makes a NaN of finite numbers"
        made = made if nan else "{op} makes an infinity of finite numbers"
        return later(made, op=op), later("look at what goes into it")

    def _masks(self, ids: Iterable[int]) -> bool:
        return all(self._stats(i).low == -math.inf and self._stats(i).high < math.inf for i in ids)

    def _entries(self, v: int, which: Any) -> np.ndarray | None:
        """The entries of a value that are NaN, say; None where they are not known."""
        value = self.graph.values[v].value
        return which(value) if self._whole(v) else None

    def _given(self, v: int) -> Reason | None:
        """Whether the program itself put a NaN or an infinity there: ``x[0] = nan``."""
        for name, given in self.graph.values[v].keywords.items():
            if not isinstance(given, (float, complex)) or cmath.isfinite(given):
                continue
            if cmath.isnan(given) == self._nan(v):
                what = later("the program put it there: {given}", given=f"{name}={given}")
                return what, later("give it another number")
        return None

    def _of_too_few(self, v: int) -> Reason | None:
        """Whether a NaN is a mean of nothing, or a variance of one value."""
        graph, op = self.graph, self._op(v)
        operands, keywords = graph.operands[v], graph.values[v].keywords
        if not self._nan(v) or not operands:
            return None
        empty = [u for u in operands if not self._stats(u).size]
        if empty:
            return (
                later("{op} of nothing: {u} has no entries", op=op, u=self._name(empty[0])),
                later("leave it out where nothing was selected: x.sum() / max(count, 1)"),
            )
        if op in hazards.SPREADS:
            count = self._stats(operands[0]).size / max(self._stats(v).size, 1)
            usual = 0 if hasattr(np, op) and not hasattr(graph.values[v].operation, "call") else 1
            off = keywords.get("correction", keywords.get("ddof", keywords.get("unbiased", usual)))
            if count == 1 and off == 1:
                what = "{op} of one value ({u}): it divides by 1 - 1 = 0"
                told = later(what, op=op, u=self._name(operands[0]))
                return told, later("several values, or correction=0")
        if op in ("cross_entropy", "nll_loss") and len(operands) > 1:
            targets, ignored = self._stats(operands[1]), keywords.get("ignore_index", -100)
            if targets.low == targets.high == ignored:
                told = later(
                    "{op} of nothing: every target in {u} is ignored ({ignored})",
                    op=op, u=self._name(operands[1]), ignored=ignored,
                )  # fmt: skip
                return told, _DIVISOR
            if len(operands) > 2 and self._stats(operands[2]).zeros:
                told = later(
                    "{op} divides by the weights of its targets, and some of {u} are 0",
                    op=op, u=self._name(operands[2]),
                )  # fmt: skip
                advice = "weights above 0, or reduction='sum' and a divisor of at least 1"
                return told, later(advice)
        return None

    def _overflow(self, v: int) -> Reason | None:
        """Whether finite numbers were too large for the dtype."""
        op, stats, operands = self._op(v), self._stats(v), self.graph.operands[v]
        if op not in hazards.GROWS or not operands:
            return None
        limit = hazards.largest(stats.dtype)
        sizes = [self._stats(u) for u in operands]
        varied = [u for u in operands if self.graph.kind(u) != "constant" or self._stats(u).ndim]
        tallest = max(varied or operands, key=lambda u: self._stats(u).top)
        advice = later(
            "smaller weights, inputs or steps, a normalisation before it, or a wider dtype"
        )
        what = "{op} overflows {dtype} (up to {limit:.3g}): {a} reaches {top:.3g}"
        if self._nan(v):  # of finite numbers only where sums meet
            bound = math.prod(s.norm for s in sizes[:2]) if op in hazards.PRODUCTS else 0.0
            bound = sizes[0].top * sizes[0].size if op in hazards.SUMS else bound
            if bound <= limit:
                return None
            what = "{op} overflows {dtype} in its sum, inf - inf: {a} reaches {top:.3g}"
        elif op in hazards.TIMES | {"sum", "mean"} and stats.size == 1:
            advice = _SCALED
        return later(
            what, op=op, dtype=self._dtype(v), limit=limit, a=self._name(tallest),
            top=self._stats(tallest).top,
        ), advice  # fmt: skip

    # --- gradients --------------------------------------------------------------------------------

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
            why: Words
            advice: Words
            if self._changed(u):
                by = later("something, such as a hook")
                if hook := graph.changed_by_hooks.get(u):
                    by = Told(retold, hook)
                why = later("its messages are finite, it is not: {hook} changed it", hook=by)
                advice = later("look at what register_hook was called with")
            else:
                why = later("the sum of its messages overflows")
                advice = later("scale the loss down")
        else:
            v, u = edge[0], graph.operands[edge[0]][edge[1]]
            node, path = v, [u, v]
            bad = self._bad((v, *graph.operands[v]))
            if bad and self._bad([graph.output]):
                return
            why, advice = self._spoiler(u, edge)
            # A NaN, or an infinity that is no mask, that was dropped on its way to J.
            met = (i for i in bad if self._nan(i) or (i != v and self._stats(i).high == math.inf))
            if lost := list(met):
                node, way, told, advice = self._broken(min(lost))
                more = later("that J is finite does not help: its slopes are not")
                why = Told(clauses, [told, more])
                path = way if v in way else [*way, v] if min(lost) != v else way
        first = u if u in self.norms and not math.isfinite(self.norms[u]) else node
        stats = measure(self.gradients.get(u, self.messages.get(edge, 0.0) if edge else 0.0))
        message = self._is(f"∂{self._name(graph.output)}/∂{self._name(u)}", stats, why)
        if spoiled and spoiled != [first]:
            spoils = later("it spoils the gradient of {names}", names=self._names(spoiled))
            message = Told(clauses, [message, spoils])
        severity = "error" if spoiled else "note"  # a gate after it may have let nothing through
        yield self._finding(
            "non-finite gradient", severity, node,
            dict.fromkeys((*path, *self._onward(path[-1]))), message, advice,
            entries=stats.nonfinite * stats.size, spoiled=len(spoiled),
        )  # fmt: skip

    def _spoiler(self, u: int, edge: Edge) -> Reason:
        """Why a message is not finite though its upstream term is, and what to do."""
        graph, v = self.graph, edge[0]
        upstream, message = measure(self.gradients[v]), measure(self.messages[edge])
        written = graph.slope(*edge).id
        with suppress(TraceError):
            if (formula := graph.derivative(*edge)) is not None:
                written += f" = {notation.text(formula)}"
        slope: Words = written
        if graph.alone(*edge):
            slope = later("{slope} (by {u} alone)", slope=written, u=self._name(u))
        local = self._local(edge)
        known = local is not None
        linear = self._op(v) in hazards.PRODUCTS and not known
        if infinite := self._bad(graph.operands[v]):
            told = "backward of {op} meets the infinities in {names}"
            return later(told, op=self._op(v), names=self._names(infinite)), _LOOK
        if linear or (known and math.isfinite(norm(local))):
            told = "the upstream term (up to {top:.3g}) times {slope} overflows {dtype}"
            if known:
                told = (
                    "the upstream term (up to {top:.3g}) times {slope} (up to {factor:.3g}) "
                    "overflows {dtype}"
                )
            factor = measure(local).top if known else 0.0
            why = later(told, top=upstream.top, slope=slope, factor=factor, dtype=message.dtype)
            return why, _SCALED
        at = None
        for array in (local, self.messages[edge]):
            if isinstance(array, (np.ndarray, np.generic)) and np.shape(array) == np.shape(
                graph.values[v].value
            ):
                at = ~np.isfinite(array)
                break
        hazard = self._hazard(v, "slope", at) or self._equal_values(v)
        nan = math.isnan(message.low)
        low = self._stats(u).low
        near = [h.advice for h in hazards.of(self._op(v)) if "slope" in h.makes]
        if hazard is None and near and len(graph.operands[v]) == 1 and 0 < low < NEXT_TO_0:
            told = "{slope} overflows {dtype}: {u} goes down to {low:.3g}"
            why = later(told, slope=slope, dtype=message.dtype, u=self._name(u), low=low)
            return why, Told(advised, near[0], message.dtype == "float16")
        if hazard is None:
            made = "backward of {op} makes a NaN of finite numbers"
            made = made if nan else "backward of {op} makes an infinity of finite numbers"
            return later(made, op=self._op(v)), later("keep away from this point")
        what, advice = hazard
        there = "{slope} is not finite there"
        if nan and upstream.zeros and self._op(v) not in hazards.EIGEN:
            there = "{slope} is not finite there and meets an upstream term of 0: 0 · inf = NaN"
        if any(self._op(reader) == "where" for reader, _ in graph.readers[v]):
            advice = later(
                "where() discards the value, not its slope: guard what goes into it too, {code}",
                code=f"{self._op(v)}(where(mask, {self._name(u)}, 1))",
            )
        return Told(clauses, [what, later(there, slope=slope)]), advice

    def _equal_values(self, v: int) -> tuple[Told, Told] | None:
        """Whether a decomposition has values that are equal, or 0."""
        op = self._op(v)
        if op not in hazards.EIGEN:
            return None
        singular = "svd" in op
        node, operands = self.graph.values[v], self.graph.operands[v]
        found: Any = None
        if self._whole(operands[0]):
            matrix = np.asarray(self.graph.values[operands[0]].value)
            with suppress(np.linalg.LinAlgError):
                matrix = matrix.astype(complex if matrix.dtype.kind == "c" else float)
                if singular:
                    found = np.linalg.svdvals(matrix)
                elif "h" in op.removeprefix("linalg_"):
                    found = np.linalg.eigvalsh(matrix)
                else:
                    found = np.linalg.eigvals(matrix)
        else:
            index = 1 if singular else 0
            name = f"{node.operation.name.partition('[')[0]}[{index}]"
            for i, other in enumerate(self.graph.values):
                same = self.graph.operands[i] == operands and self._stats(i).size <= 256
                if same and other.operation.name == name and self._stats(i).ndim == 1:
                    found = self._stats(i).sample
        if found is None or not found.size:
            return None
        eps = float(np.finfo("float32" if self._stats(v).dtype != "float64" else float).eps)
        size = np.max(np.abs(found), axis=-1, keepdims=True)
        gaps = np.abs(np.diff(np.sort(found, axis=-1), axis=-1))
        name = self._name(operands[0])
        if np.any(gaps <= 8 * eps * size):
            equal = "equal eigenvalues of {a}: {op} divides by their difference"
            if singular:
                equal = "equal singular values of {a}: {op} divides by their difference"
            advice = "keep them apart: add a small diagonal of different numbers"
            return later(equal, a=name, op=op), later(advice)
        if singular and np.any(np.abs(found) <= 8 * eps * size):
            what = later("a singular value of {a} is 0: {op} divides by it", a=name, op=op)
            return what, later("add a small multiple of the identity")
        return None


def _met(how: str) -> Words:
    """How infinities meet, where a text says it."""
    return later(how) if how else ""
