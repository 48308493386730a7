"""Gradients that are exactly 0, and the factors, masks and flat places that make them so."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence
from gradviz.chain.health.findings import Finding, Words
from gradviz.chain.paths import Edge
from gradviz.chain.retold import retold
from gradviz.errors import TraceError
from gradviz.language import Told, clauses, later, say
from gradviz.statistics import measure, norm


class Cause(NamedTuple):
    """Why a message, or a sum of them, is 0.

    Attributes
    ----------
    kind : str
        "start" (a factor that is 0 and moves with the first step), "chance" (a random mask),
        "nothing" (no entries), "unused" (a part that gets no gradient), "cancel": these are no
        sickness. Else "stuck" (a factor that is 0 and stays it), "step", "factor", "flat",
        "changed" or "unknown".
    node : int
        The value to blame; what has one cause blames one value.
    why, advice : Told or str
    """

    kind: str
    node: int
    why: Words
    advice: Words

    @property
    def mild(self) -> bool:
        """Whether a healthy model has it too."""
        return self.kind in ("start", "chance", "nothing", "unused", "cancel")


class Zeros(Evidence):
    """Finds what makes a gradient 0."""

    def _zero(self, known: Set[int]) -> Iterator[Finding]:
        """Leaves whose gradient is 0 in every entry, by what makes it 0.

        What the values `known` explain is said already.
        """
        leaves = [w for w in self.graph.wrt if self._stats(w).size]
        lost = sorted(w for w in leaves if self.norms.get(w) == 0)
        if not lost:
            return
        all_lost = all(self.norms.get(w, 0.0) == 0 for w in self.weights)
        causes = self._zero_at()
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
            more = later("and {n} more such", n=len(whys) - 2)
            why = Told(clauses, [*whys[:2], *([more] if whys[2:] else [])])
            advice = told[0].advice
            if tiny:
                small = "a product is too small for a number, at {v}"
                why, advice = later(small, v=self._told(path[-1])), _SCALE_UP
            zero = "the gradient of {names} is exactly 0: {why}"
            zero = "the gradient of {names} underflows: {why}" if tiny else zero
            note = (mild and not tiny and not all_lost) or not weight
            yield self._finding(
                "zero gradient", "note" if note else "warning", node,
                (*path, *self._onward(path[-1])[1:]),
                later(zero, names=self._names(members), why=why),
                advice, parameters=len(members),
            )  # fmt: skip

    def _idle(self) -> Iterator[Finding]:
        """Attention that sends nothing back to any of its queries and keys.

        Their parameters may have a gradient all the same, where values share them.
        """
        calls: dict[Any, list[Edge]] = defaultdict(list)
        for v in self.gradients:
            keys = {"softmax": (0,), "scaled_dot_product_attention": (0, 1)}.get(self._op(v), ())
            place = self.graph.values[v].scope, self.graph.source(v), self._op(v)
            sent = ((v, key) for key in keys if self.graph.operands[v][key] in self.gradients)
            calls[place] += [edge for edge in sent if self.norms[v] and self._stats(v).size]
        idle = {
            self.graph.operands[v][key]: (v, key)
            for edges in calls.values()
            if not any(map(self._message, edges))
            for v, key in edges
        }
        lost = {u for u in idle if self.norms.get(u) == 0}
        if not lost:
            return
        causes = self._zero_at()
        told = {edge for w in self.weights if self.norms.get(w) == 0 for edge in causes[w]}
        quiet = [u for u in sorted(lost) if told.isdisjoint(causes[u])]
        if not quiet:
            return
        cause = self._lost(idle[quiet[0]])
        yield self._finding(
            "zero gradient", "warning", cause.node, (quiet[0], *self._onward(cause.node)),
            later("the gradient of {names} is exactly 0: {why}",
                  names=self._names(quiet), why=cause.why),
            cause.advice,
        )  # fmt: skip

    def _rounding(self) -> Iterator[Finding]:
        """A loss of what a softmax or a normalisation keeps constant: what comes back is rounding.

        The sum of a softmax is always 1, the mean square of a normalised layer too.
        """
        for v in sorted(self.gradients, reverse=True):
            if self._op(v) not in hazards.SOFTMAXES | hazards.GAINS or not self._cancels((v, 0)):
                continue
            u = self.graph.operands[v][0]
            if weights := [w for w in self.weights if v in self._onward(w) and self.norms[w]]:
                yield self._finding(
                    "vanishing gradient", "warning", v, self._onward(u),
                    later(
                        "what {v} sends back is rounding error (‖message‖ {sent:.2g} of ‖gradient‖ "
                        "{upstream:.2g}): the loss hardly depends on what goes into it; the "
                        "gradient of {names} is no more than that",
                        v=self._told(v), sent=self._message((v, 0)), upstream=self.norms[v],
                        names=self._names(weights),
                    ),
                    later("a loss of more than the sum, mean or size that {op} keeps constant",
                          op=self._op(v)),
                )  # fmt: skip
                return

    def _cancels(self, edge: Edge) -> bool:
        """Whether a message is but the rounding error of a sum that is 0."""
        sent, upstream = self._message(edge), self.norms[edge[0]]
        if not (0 < sent <= 1e-4 * upstream < math.inf) or edge[0] not in self.gradients:
            return False
        eps = hazards.rounding(measure(self.gradients[edge[0]]).dtype)
        other = self._pull(edge, upstream / math.sqrt(self._stats(edge[0]).size))
        if other is None:  # of some it is known what they may send
            v, key = edge
            even = self._op(v) == "softmax" and self._stats(v).low > 1e-3
            if self._op(v) in hazards.PRODUCTS and len(self.graph.operands[v]) > 1:
                even, upstream = True, upstream * self._stats(self.graph.operands[v][1 - key]).norm
            return even and sent <= 4 * eps * upstream
        return sent <= 30 * eps * norm(other)

    def _zero_at(self) -> dict[int, dict[Edge, int]]:
        """By value of gradient 0 the edges that make it so, and the next value on the way there.

        An edge of key -1 is the sum of a value's messages.
        """
        causes: dict[int, dict[Edge, int]] = {}
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
        return causes

    def _lost(self, edge: Edge) -> Cause:
        """Why a message is 0 though its upstream term is not."""
        v, key = edge
        u, op, told = self.graph.operands[v][key], self._op(v), self._told(v)
        if v not in self.gradients:
            return self._unknown(v)
        if not self._stats(v).size:
            advice = later("nothing was selected: see that it is not always so")
            return Cause("nothing", v, later("{v} has no entries", v=told), advice)
        if op in hazards.STEPS and not key:
            advice = later("use a soft version, or pass the gradient straight through")
            return Cause("step", v, later("{v} is a step, of slope 0 everywhere", v=told), advice)
        skipped = self.graph.values[v].keywords.get("padding_idx")
        if "embedding" in op and skipped is not None:
            read = self._stats(self.graph.operands[v][0])
            if read.low == read.high == skipped % max(self._stats(u).shape[0], 1):
                why = later("{v} reads row {n} alone, its padding_idx", v=told, n=skipped)
                return Cause("nothing", v, why, "")
        if (
            op == "ctc_loss"
            and self._is_zero(v)
            and self.graph.values[v].keywords.get("zero_infinity")
        ):
            unfit = "{v} is 0, as zero_infinity makes it of targets that do not fit their inputs"
            advice = later("longer inputs, or leave such targets out")
            return Cause("nothing", v, later(unfit, v=told), advice)
        if op in hazards.JOINS:  # it sends a part of its own gradient
            part = later("the part of {v} that is {u} gets none", v=told, u=self._name(u))
            return Cause("unused", v, part, "")
        if self._added(edge):  # it is sent the sum of an upstream term that is not 0
            return self._one_hot_by_hand(v) or _cancelling(v, told)
        if key == hazards.RECURRENT.get(op) and self._is_zero(state := self.graph.operands[v][1]):
            begins = "{v} begins with the state {h}, which is all 0"
            why = later(begins, v=told, h=self._name(state))
            return Cause("start", v, why, later("right for a first step; a later one moves it"))
        factor = self._factor(edge)
        if factor is not None:
            return self._by_zero(v, factor)
        if self._underflows(edge):
            small = "a product is too small for {dtype}, at {v}"
            why = later(small, dtype=self._stats(v).dtype, v=told)
            return Cause("underflow", v, why, _SCALE_UP)
        if op in hazards.CHAINS and self._is_zero(v) and not self._stats(u).zeros:
            small = "{v} is 0 of numbers that are not: it is too small for {dtype}"
            why = later(small, v=told, dtype=self._stats(v).dtype)
            return Cause("underflow", v, why, later("add logarithms, or use a wider dtype"))
        return self._flat_or_cancelling(edge)

    def _flat_or_cancelling(self, edge: Edge) -> Cause:
        """Why a message is 0 that no factor and no sum makes so."""
        v, key = edge
        u, op, told = self.graph.operands[v][key], self._op(v), self._told(v)
        flat: bool | None = None
        again = self._pull(edge)
        if again is not None:
            flat = not np.any(again)
        if flat is not False and (cause := self._flat(v, u)):
            return cause
        if flat:
            zero = "the slope of {v} by {u} is 0{everywhere}"
            why = later(zero, v=told, u=self._name(u), everywhere=self._everywhere(v))
            return Cause("flat", v, why, later("another starting point"))
        if flat is False:
            others = self._pull(edge, self.gradients[v])
            if others is not None and np.any(others):
                return self._one_hot_by_hand(v) or _cancelling(v, told)
            if others is not None:
                zero = "wherever {v} gets a gradient, its slope by {u} is 0"
                why = later(zero, v=told, u=self._name(u))
                advice = _RESTART if op in hazards.CLIPPED else later("another starting point")
                return self._one_hot_by_hand(v) or Cause("flat", v, why, advice)
        return self._unknown(v)

    def _unknown(self, v: int) -> Cause:
        why = later("what {v} sends back is 0", v=self._told(v))
        return Cause("unknown", v, why, self._look(v))

    def _look(self, v: int) -> Words:
        return "" if self._whole(v) else later("a capture='whole' may show why")

    def _summed(self, u: int) -> Cause:
        """Why a gradient is 0 though messages came that are not."""
        sent = [edge for edge in self._carrying(u) if self._message(edge)]
        told = self._name(u)
        if self._changed(u):
            by = self.graph.changed_by_hooks.get(u, "")
            after = "the gradient of {v} was set to 0 after its messages came, as a hook does"
            if by:
                after = (
                    "the gradient of {v} was set to 0 after its messages came, as a hook does: "
                    "{hook}"
                )
            advice = later("look at what register_hook was called with")
            return Cause("changed", u, later(after, v=told, hook=Told(retold, by)), advice)
        total = self._total(u)
        opposite = total is None and len(sent) == 2 and self._opposite(*sent)
        if opposite or (total is not None and not np.any(total)):
            return self._one_hot_by_hand(u) or Cause(
                "cancel", u, later("the {n} messages to {v} cancel", n=len(sent), v=told), ""
            )
        why = later("the messages to {v} are not 0, their sum is", v=told)
        return Cause("unknown", u, why, self._look(u))

    # --- why a message is 0 -----------------------------------------------------------------------

    def _pull(self, edge: Edge, scale: Any = 1.0, instead: Mapping[int, Any] | None = None) -> Any:
        """The message for another upstream term: numbers of no pattern, times `scale`.

        None where it cannot be computed.
        """
        v, key = edge
        node, operands = self.graph.values[v], self.graph.operand_values(v)
        if self.graph.locals is not None or not self._whole(v):  # nothing of a file is run
            return None
        for position, value in (instead or {}).items():
            operands[position] = value
        like = np.asarray(self.gradients[v])
        upstream = np.random.default_rng(0).standard_normal(like.shape) * scale
        upstream = upstream.astype(like.dtype)[()]
        with suppress(*_FAILURES):
            return node.operation.pull(key, upstream, node.value, operands, node.keywords)
        return None

    def _underflows(self, edge: Edge) -> bool:
        """Whether the upstream term times what v multiplies by is too small for its dtype."""
        v, key = edge
        others = [u for k, u in enumerate(self.graph.operands[v]) if k != key]
        if self._op(v) not in hazards.TIMES or len(others) != 1:
            return False
        factor, size = self.values[others[0]], self.norms[v]
        return 0 < factor * size < hazards.smallest(measure(self.gradients[v]).dtype) / 2

    def _factor(self, edge: Edge) -> int | None:
        """What an operand is multiplied by, if that is all 0."""
        v, key = edge
        op, operands = self._op(v), self.graph.operands[v]
        if op in hazards.PRODUCTS:
            first = 1 if op in ("addmm", "baddbmm", "addcmul") else 0
            factors = range(first, len(operands) if op == "einsum" else first + 2)
            factors = range(3) if op == "bilinear" else factors
            if key in factors:
                for k in factors:
                    if k < len(operands) and k != key and self._is_zero(operands[k]):
                        return operands[k]
        if op in hazards.GAINS and not key:
            kept = [u for u in operands[1:] if u in self.graph.varying]
            if kept and self._is_zero(kept[0]):
                position = operands.index(kept[0])
                ones = np.ones(np.shape(self.graph.values[kept[0]].value))
                again = self._pull(edge, instead={position: ones})
                if (len(kept) > 1 or self._is_zero(v)) if again is None else np.any(again):
                    return kept[0]
        if op in hazards.DIVIDES and key == 1 and self._is_zero(operands[0]):
            return operands[0]
        if op in hazards.SQUARED and self._is_zero(operands[0]) and len(operands) == 1:
            return operands[0]
        return None

    def _added(self, edge: Edge) -> bool:
        """Whether an operand is added to all rows or places, as a bias is."""
        v, key = edge
        op, u = self._op(v), self.graph.operands[v][key]
        if op in hazards.ADDS:
            return self._stats(u).size < self._stats(v).size
        if op in hazards.GAINS:
            kept = [w for w in self.graph.operands[v][1:] if w in self.graph.varying]
            return len(kept) == 2 and u == kept[1]
        return op in hazards.BIASED and key == 2

    def _by_zero(self, v: int, z: int) -> Cause:
        """What comes of a factor z of v that is all 0."""
        graph, origin = self.graph, z
        ends = hazards.CLIPPED | hazards.CHOICES
        while not graph.is_leaf(origin) and self._op(origin) not in ends:
            zeros = [
                u for u in graph.operands[origin]
                if self._is_zero(u) and not (self._stats(u).ndim and "int" in self._stats(u).dtype)
            ]  # fmt: skip
            made = [u for u in zeros if u in graph.varying and not graph.is_leaf(u)]
            if not zeros or (self._op(origin) in hazards.SUMS and len(made) > 1):
                break  # (of a sum of two that are 0, neither alone is why)
            origin = max(zeros, key=lambda u: self.norms.get(u, 0.0) > 0)  # what moves, first
        told, named = self._told(v), self._name(z)
        why = later("{v} multiplies by {z}, which is all 0", v=told, z=self._said(z))
        if self._said(z) == "0":
            why = later("{v} multiplies by 0", v=told)
        if origin in self.weights:
            if self.norms.get(origin, 0.0) > 0:
                advice = later("if this start is meant: it moves with the first step")
                return Cause("start", v, why, advice)
            advice = later("start it elsewhere: it gets no gradient either")
            return Cause("stuck", origin, why, advice)
        if self._chance(z):
            why = later("{v} multiplies by {z}, which chance made all 0", v=told, z=named)
            return Cause("chance", v, why, "")
        if not graph.is_leaf(origin) and (cause := self._flat(origin, graph.operands[origin][0])):
            return cause
        if z not in graph.varying and self._elsewhere(v, z):
            here = "{v} multiplies by {z}, which is 0 here, not in other layers"
            return Cause("chance", v, later(here, v=told, z=named), "")
        return Cause("factor", origin, why, later("look at what made that 0"))

    def _elsewhere(self, v: int, z: int) -> bool:
        """Whether the same line multiplies by something else than 0 in another layer."""
        key, site = self.graph.operands[v].index(z), self.graph.source(v)
        return site is not None and any(
            self.graph.source(other) == site
            and self._op(other) == self._op(v)
            and key < len(self.graph.operands[other])
            and not self._is_zero(self.graph.operands[other][key])
            for other in self.gradients
            if other != v
        )

    def _chance(self, z: int) -> bool:
        """Whether a value comes from random numbers, and from no parameter."""
        pending, seen = [z], {z}
        while pending and len(seen) < 20:
            i = pending.pop()
            if i in self.graph.varying:
                return False
            if self._op(i) in hazards.RANDOM:
                return True
            pending += [u for u in self.graph.operands[i] if u not in seen]
            seen.update(self.graph.operands[i])
        return False

    def _flat(self, v: int, u: int) -> Cause | None:
        """Why an operation has no slope, if its value shows it."""
        op, stats, told = self._op(v), self._stats(v), self._told(v)
        zero = self._is_zero(v)
        if op in hazards.RANDOM and zero:
            chance = self.graph.values[v].keywords.get("p", 0.5) != 1
            why = later("{v} dropped every entry", v=told)
            return Cause("chance" if chance else "flat", v, why, "")
        if op in hazards.CLIPPED or op in hazards.CHOICES or self._squashing(v) is not None:
            return self._at_limit(v, u)
        if op in hazards.SOFTMAXES:
            found = self._one_hot(v)
        elif op in ("exp", "exp2") and zero:
            everywhere = self._everywhere(v)
            found = (
                later("{v} underflows to 0{everywhere}", v=told, everywhere=everywhere),
                _RESTART,
            )
        elif op == "scaled_dot_product_attention":
            keys = self._stats(self.graph.operands[v][1]).shape
            one = len(keys) > 1 and keys[-2] == 1
            found = (later("{v} is a softmax over one entry", v=told), _ONE_ENTRY) if one else None
            sharp = self.graph.sharpness.get(v)
            if not one and sharp and sharp.least > 1 - 1e-6:
                all_on_one = (
                    "{v} puts all weight on one of {n} entries in each of {rows} rows that were "
                    "looked at: there its slope is 0"
                )
                found = later(all_on_one, v=told, n=sharp.entries, rows=sharp.rows), _SMALLER_LOGITS
        elif op == "cross_entropy" and self._stats(u).ndim > 1 and self._stats(u).shape[1] == 1:
            found = later("{v} is over one class, whose softmax is always 1", v=told), _ONE_ENTRY
        elif op in hazards.LOSSES and zero and stats.size == 1:
            found = later("{v} is exactly 0: no loss is smaller", v=told), ""
        elif op in hazards.DIVIDES and zero and len(self.graph.operands[v]) > 1:
            by, found = self.graph.operands[v][1], None
            if self._stats(by).low == math.inf:
                why = later("{v} divides by {u}, which is inf", v=told, u=self._name(by))
                found = why, later("a wider dtype")
        elif found := self._hazard(v, "slope"):
            why = later("{why}: its slope there is taken to be 0", why=found[0])
            found = why, found[1]
        return Cause("flat", v, *found) if found else None

    def _at_limit(self, v: int, u: int) -> Cause | None:
        """Why what clips, chooses or saturates has no slope, if its value shows it."""
        op, stats = self._op(v), self._stats(v)
        why, zero, limits = "", self._is_zero(v), dict[str, None]()
        advice = _RESTART
        if op in hazards.CLIPPED:
            if zero:
                why = "{v} is off{everywhere}"
            elif u != self.graph.operands[v][0]:
                pass  # (a bound has no slope where no entry is at it)
            elif op != "relu" and self._valued(v, stats.low, stats.high):
                limits = dict.fromkeys(f"{x:.3g}" for x in (stats.low, stats.high))
                why = "{v} is at its limit{everywhere}: {limits}"
        elif op in hazards.CHOICES:
            if zero and self.values[u] and op != "where":
                why = "{v} is off{everywhere}"
            elif self._whole(v) and not self._equal_somewhere(v, u):
                why = "{v} takes the other operand{everywhere}"
                advice = later("look at the mask") if op == "where" else _RESTART
        else:
            centre, half = self._squashing(v) or (0.0, 1.0)
            if self._valued(v, centre - half, centre + half):
                why = "{v} is saturated{everywhere}"
        told = later(
            why, v=self._told(v), everywhere=self._everywhere(v), limits=Told(_either, [*limits])
        )
        return Cause("flat", v, told, advice) if why else None

    def _valued(self, i: int, low: float, high: float) -> bool:
        """Whether every entry is one of two numbers."""
        value, stats = self.graph.values[i].value, self._stats(i)
        if not stats.size or stats.low < low or stats.high > high:
            return False
        if self._whole(i):
            return bool(np.all((np.asarray(value) == low) | (np.asarray(value) == high)))
        # (v - low)(v - high) is nowhere above 0, so its sum is 0 only where each is.
        mean = stats.norm * stats.norm / stats.size - (low + high) * stats.mean + low * high
        sample = np.all((stats.sample == low) | (stats.sample == high))
        size = max(abs(low), abs(high))
        return bool(sample) and abs(mean) <= 1e-5 * size * size

    def _equal_somewhere(self, v: int, u: int) -> bool:
        value, operand = self.graph.values[v].value, self.graph.values[u].value
        with suppress(ValueError):
            return bool(np.any(np.broadcast_to(operand, np.shape(value)) == value))
        return True

    def _one_hot(self, v: int) -> tuple[Words, Words] | None:
        """Why a softmax has no slope, and what to do; None for another reason."""
        stats, told = self._stats(v), self._told(v)
        single = 0.0 if self._op(v) == "log_softmax" else 1.0
        if stats.low == stats.high == single:
            one = later("{v} is a softmax over one entry, always {x:g}", v=told, x=single)
            return one, _ONE_ENTRY
        if single and stats.high == 1 and self._valued(v, 0.0, 1.0):
            why = "{v} is one-hot, 0 or 1{everywhere}: there its slope is 0"
            return later(why, v=told, everywhere=self._everywhere(v)), _SMALLER_LOGITS
        return None

    def _one_hot_by_hand(self, v: int) -> Cause | None:
        """A softmax that is written as a quotient, after which what v sends cancels."""
        near = [v, *(reader for reader, _ in self.graph.readers[v])]
        near += [reader for i in near[1:] for reader, _ in self.graph.readers[i]]
        for i in dict.fromkeys(near):
            if self._op(i) not in hazards.DIVIDES or not self._stats(i).ndim:
                continue
            if self._op(self._root(self.graph.operands[i][0])) == "exp":
                found = self._one_hot(i)
                if found:
                    return Cause("flat", i, *found)
        return None

    def _opposite(self, one: Edge, other: Edge) -> bool:
        a, b = measure(self.messages[one]).sample, measure(self.messages[other]).sample
        return a.shape == b.shape and bool(np.allclose(a, -b, rtol=1e-5, atol=0))


def _cancelling(v: int, told: str) -> Cause:
    return Cause("cancel", v, later("what {v} would send cancels in a sum", v=told), "")


def _either(limits: list[str]) -> str:
    return say("{a} or {b}", a=limits[0], b=limits[1]) if len(limits) > 1 else limits[0]


_FAILURES = TraceError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError
"""What an operation may raise for other numbers than its own."""
_RESTART = later("a smaller step or bias, another initialisation, or leaky_relu / gelu")
_ONE_ENTRY = later("several entries; of one class, a sigmoid (binary cross entropy)")
_SMALLER_LOGITS = later("smaller weights, or scaled logits")
_SCALE_UP = later("scale the loss up, or use a wider dtype")
