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
from gradviz.chain.health.evidence import Evidence
from gradviz.chain.health.findings import Finding
from gradviz.chain.paths import Edge
from gradviz.errors import TraceError
from gradviz.model import PARAMETER
from gradviz.ops import notation
from gradviz.statistics import Statistics, measure, norm
from gradviz.words import listed


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
            if graph.is_leaf(v) or self._bad(graph.operands[v]) or self._masks_meet(v):
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

    def _origin(self, v: int) -> tuple[str, str]:
        """Why a value is the first that is not finite, and what to do."""
        graph, stats, op = self.graph, self._stats(v), self._op(v)
        if graph.is_leaf(v):
            if (writer := graph.source(v)) is not None:
                return f"it went in so at {writer.place}", "look at what that line puts there"
            if graph.values[v].operation is PARAMETER:
                return "it went in so", "an earlier step made it: diagnose the step before"
            sites = (graph.source(reader) for reader, _ in graph.readers[v])
            at = next((f" at {site.place}" for site in sites if site is not None), "")
            return f"it went in so{at}", "look for it in the data, and in what prepares them"
        nan = self._nan(v)
        if bad := self._bad(graph.operands[v]):
            how = hazards.meeting(op, list(map(self._stats, graph.operands[v])))
            if not how and op == "logsumexp" and not nan and stats.low == -math.inf:
                how = "a row of -inf only"
            if not how and nan and (hazard := self._hazard(v, "nan", self._entries(v, np.isnan))):
                return hazard
            advice = "look at what made them"
            if "row of -inf" in how or self._masks(bad):
                advice = (
                    "leave something unmasked in each row, or mask with a large negative number"
                )
            how = f" ({how})" if how else ""
            return f"{op} of the infinities in {listed(map(self._name, bad))}{how}", advice
        if op == "write":
            what = "the program wrote to it where no gradient is recorded (no_grad, data)"
            return what, "look at what is written there"
        if found := self._of_too_few(v) or self._given(v):
            return found
        entries = self._entries(v, np.isnan if nan else np.isinf)
        if hazard := self._hazard(v, "nan" if nan else "inf", entries):
            return hazard
        if found := self._overflow(v):
            return found
        return (
            f"{op} makes {'a NaN' if nan else 'an infinity'} of finite numbers",
            "look at what goes into it",
        )

    def _masks(self, ids: Iterable[int]) -> bool:
        return all(self._stats(i).low == -math.inf and self._stats(i).high < math.inf for i in ids)

    def _entries(self, v: int, which: Any) -> np.ndarray | None:
        """The entries of a value that are NaN, say; None where they are not known."""
        value = self.graph.values[v].value
        return which(value) if self._whole(v) else None

    def _given(self, v: int) -> tuple[str, str] | None:
        """Whether the program itself put a NaN or an infinity there: ``x[0] = nan``."""
        for name, given in self.graph.values[v].keywords.items():
            if not isinstance(given, (float, complex)) or cmath.isfinite(given):
                continue
            if cmath.isnan(given) == self._nan(v):
                return f"the program put it there: {name}={given}", "give it another number"
        return None

    def _of_too_few(self, v: int) -> tuple[str, str] | None:
        """Whether a NaN is a mean of nothing, or a variance of one value."""
        graph, op = self.graph, self._op(v)
        operands, keywords = graph.operands[v], graph.values[v].keywords
        if not self._nan(v) or not operands:
            return None
        empty = [u for u in operands if not self._stats(u).size]
        if empty:
            return (
                f"{op} of nothing: {self._name(empty[0])} has no entries",
                "leave it out where nothing was selected: x.sum() / max(count, 1)",
            )
        if op in hazards.SPREADS:
            count = self._stats(operands[0]).size / max(self._stats(v).size, 1)
            usual = 0 if hasattr(np, op) and not hasattr(graph.values[v].operation, "call") else 1
            off = keywords.get("correction", keywords.get("ddof", keywords.get("unbiased", usual)))
            if count == 1 and off == 1:
                return (
                    f"{op} of one value ({self._name(operands[0])}): it divides by 1 - 1 = 0",
                    "several values, or correction=0",
                )
        if op in ("cross_entropy", "nll_loss") and len(operands) > 1:
            targets, ignored = self._stats(operands[1]), keywords.get("ignore_index", -100)
            if targets.low == targets.high == ignored:
                return (
                    f"{op} of nothing: every target in {self._name(operands[1])} is ignored "
                    f"({ignored})",
                    "leave the batch out, or reduction='sum' and a divisor of at least 1",
                )
            if len(operands) > 2 and self._stats(operands[2]).zeros:
                return (
                    f"{op} divides by the weights of its targets, and some of "
                    f"{self._name(operands[2])} are 0",
                    "weights above 0, or reduction='sum' and a divisor of at least 1",
                )
        return None

    def _overflow(self, v: int) -> tuple[str, str] | None:
        """Whether finite numbers were too large for the dtype."""
        op, stats, operands = self._op(v), self._stats(v), self.graph.operands[v]
        if op not in hazards.GROWS or not operands:
            return None
        limit = hazards.largest(stats.dtype)
        sizes = [self._stats(u) for u in operands]
        varied = [u for u in operands if self.graph.kind(u) != "constant" or self._stats(u).ndim]
        tallest = max(varied or operands, key=lambda u: self._stats(u).top)
        reaches = f"{self._name(tallest)} reaches {self._stats(tallest).top:.3g}"
        advice = "smaller weights, inputs or steps, a normalisation before it, or a wider dtype"
        if self._nan(v):  # of finite numbers only where sums meet
            bound = math.prod(s.norm for s in sizes[:2]) if op in hazards.PRODUCTS else 0.0
            bound = sizes[0].top * sizes[0].size if op in hazards.SUMS else bound
            if bound <= limit:
                return None
            return f"{op} overflows {self._dtype(v)} in its sum, inf - inf: {reaches}", advice
        if op in hazards.TIMES | {"sum", "mean"} and stats.size == 1:
            advice = "scale the loss down, or use a wider dtype"
        return f"{op} overflows {self._dtype(v)} (up to {limit:.3g}): {reaches}", advice

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
            # A NaN, or an infinity that is no mask, that was dropped on its way to J.
            met = (i for i in bad if self._nan(i) or (i != v and self._stats(i).high == math.inf))
            if lost := list(met):
                node, way, told, advice = self._broken(min(lost))
                why = f"{told}; that J is finite does not help: its slopes are not"
                path = way if v in way else [*way, v] if min(lost) != v else way
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

    def _spoiler(self, u: int, edge: Edge) -> tuple[str, str]:
        """Why a message is not finite though its upstream term is, and what to do."""
        graph, v = self.graph, edge[0]
        upstream, message = measure(self.gradients[v]), measure(self.messages[edge])
        slope = graph.slope(*edge).id
        with suppress(TraceError):
            if (formula := graph.derivative(*edge)) is not None:
                slope += f" = {notation.text(formula)}"
        if graph.alone(*edge):
            slope += f" (by {self._name(u)} alone)"
        local = self._local(edge)
        known = local is not None
        linear = self._op(v) in hazards.PRODUCTS and not known
        if infinite := self._bad(graph.operands[v]):
            return (
                f"backward of {self._op(v)} meets the infinities in "
                f"{listed(map(self._name, infinite))}",
                "look at what made them",
            )
        if linear or (known and math.isfinite(norm(local))):
            factor = f" (up to {measure(local).top:.3g})" if known else ""
            return (
                f"the upstream term (up to {upstream.top:.3g}) times {slope}{factor} overflows "
                f"{message.dtype}",
                "scale the loss down, or use a wider dtype",
            )
        at = None
        for array in (local, self.messages[edge]):
            if isinstance(array, (np.ndarray, np.generic)) and np.shape(array) == np.shape(
                graph.values[v].value
            ):
                at = ~np.isfinite(array)
                break
        hazard = self._hazard(v, "slope", at) or self._equal_values(v)
        if hazard is None:
            number = "a NaN" if math.isnan(message.low) else "an infinity"
            return f"backward of {self._op(v)} makes {number} of finite numbers", (
                "keep away from this point"
            )
        what, advice = hazard
        what += f"; {slope} is not finite there"
        if math.isnan(message.low) and upstream.zeros and self._op(v) not in hazards.EIGEN:
            what += " and meets an upstream term of 0: 0 · inf = NaN"
        if any(self._op(reader) == "where" for reader, _ in graph.readers[v]):
            advice = (
                "where() discards the value, not its slope: guard what goes into it too, "
                f"{self._op(v)}(where(mask, {self._name(u)}, 1))"
            )
        return what, advice

    def _equal_values(self, v: int) -> tuple[str, str] | None:
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
        kind = "singular values" if singular else "eigenvalues"
        if np.any(gaps <= 8 * eps * size):
            what = f"equal {kind} of {self._name(operands[0])}: {op} divides by their difference"
            return what, "keep them apart: add a small diagonal of different numbers"
        if singular and np.any(np.abs(found) <= 8 * eps * size):
            what = f"a singular value of {self._name(operands[0])} is 0: {op} divides by it"
            return what, "add a small multiple of the identity"
        return None


def _which(stats: Statistics) -> str:
    """What is not finite in an array, and how much of it."""
    number = "NaN" if math.isnan(stats.low) else "inf" if stats.high == math.inf else "-inf"
    share = f" in {round(stats.nonfinite * stats.size)} of {stats.size} entries"
    return number + (share if stats.size > 1 else "")
