"""Why a value or a gradient is what it is: reasons that the numbers of a graph prove."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gradviz.chain import hazards
from gradviz.chain.backward import ByValue
from gradviz.errors import TraceError
from gradviz.graph import PARAMETER, Graph
from gradviz.ops import notation
from gradviz.statistics import Statistics, measure

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


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    first, rest = (found := list(dict.fromkeys(names)))[:3], found[3:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")


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
    why, advice : str
    """

    kind: str
    node: int
    why: str
    advice: str

    @property
    def mild(self) -> bool:
        """Whether a healthy model has it too."""
        return self.kind in ("start", "chance", "nothing", "unused", "cancel")


class Causes:
    """What a graph's numbers say of single operations.

    In whole captures an operation's VJP is asked again, with other upstream terms; in lean ones
    only what statistics prove is said.

    Parameters
    ----------
    graph : Graph
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
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
        self._measured: dict[int, Statistics] = {}

    # --- asked by all ------------------------------------------------------------------------

    def _op(self, i: int) -> str:
        """An operation's name, also of what works in place, and of one result of several."""
        return re.sub(r"\[\d+\]$", "", self.graph.values[i].operation.name).strip("_")

    def _name(self, i: int) -> str:
        return self.graph.names[i]

    def _said(self, i: int) -> str:
        """A value's name, or a constant's number."""
        number = self.graph.kind(i) == "constant" and not self._stats(i).ndim
        return f"{self._stats(i).mean:g}" if number else self._name(i)

    def _told(self, i: int) -> str:
        """A value with its formula, if that is short."""
        formula = ""
        with suppress(TraceError):
            if (tree := self.graph.expression(i)) is not None:
                formula = notation.text(tree)
        return f"{self._name(i)} = {formula}" if 0 < len(formula) <= 60 else self._name(i)

    def _stats(self, i: int) -> Statistics:
        found = self._measured.get(i)
        if found is None:
            found = self._measured[i] = measure(self.graph.values[i].value)
        return found

    def _bad(self, ids: Iterable[int]) -> list[int]:
        """The values that are not finite."""
        return [i for i in ids if not math.isfinite(self.values[i])]

    def _nan(self, i: int) -> bool:
        return math.isnan(self._stats(i).low) and self._stats(i).size > 0

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

    def _itself(self, i: int) -> bool:
        """Whether a value is its operand in another shape."""
        return self._op(i) in hazards.RESHAPES and len(self.graph.operands[i]) == 1

    def _everywhere(self, i: int) -> str:
        size = self._stats(i).size
        return f" in all {size} entries" if size > 1 else ""

    def _whole(self, i: int) -> bool:
        return not isinstance(self.graph.values[i].value, Statistics)

    def _before(self, ids: Iterable[int]) -> set[int]:
        """Values and all that they are computed from."""
        found: set[int] = set()
        pending = list(ids)
        while pending:
            i = pending.pop()
            if i not in found:
                found.add(i)
                pending += self.graph.operands[i]
        return found

    # --- values that are no numbers ----------------------------------------------------------

    def _hazard(self, v: int, makes: str, at: np.ndarray | None = None) -> tuple[str, str] | None:
        """What keeps an operation from having a finite value or slope, and what to do.

        `at` marks the entries of the value that are in question, where they are known.
        """
        op, graph = self._op(v), self.graph
        shape = np.shape(graph.values[v].value)

        def looked_at(i: int) -> Statistics:
            if at is not None and self._whole(i):
                with suppress(ValueError):
                    return measure(np.broadcast_to(graph.values[i].value, shape)[at])
            return self._stats(i)

        for table, part in ((hazards.ENTRIES, looked_at), (hazards.WHOLES, self._stats)):
            for hazard in table:
                if op not in hazard.names or makes not in hazard.makes or not graph.operands[v]:
                    continue
                u, *more = graph.operands[v][:2]
                a, b = part(u), part(more[0]) if more else None
                if hazard.holds(part(v), a, b):
                    what = hazard.what.format(
                        op=op, dtype=self._stats(v).dtype, a=self._said(u),
                        b=self._said(more[0]) if more else "",
                        low=a.low, high=a.high, top=a.top,
                    )  # fmt: skip
                    return what.replace(" (0)", ""), hazard.advice
        return None

    def _origin(self, v: int) -> tuple[str, str]:
        """Why a value is the first that is not finite, and what to do."""
        graph, stats, op = self.graph, self._stats(v), self._op(v)
        if graph.is_leaf(v):
            if graph.values[v].operation is PARAMETER:
                return "it went in so", "an earlier step made it: diagnose the step before"
            return "it went in so", "look for it in the data, and in what prepares them"
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
        if found := self._of_too_few(v):
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
            return f"{op} overflows {stats.dtype} in its sum, inf - inf: {reaches}", advice
        if op in hazards.TIMES | {"sum", "mean"} and stats.size == 1:
            advice = "scale the loss down, or use a wider dtype"
        return f"{op} overflows {stats.dtype} (up to {limit:.3g}): {reaches}", advice

    # --- gradients that are no numbers -------------------------------------------------------

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

    # --- gradients that are 0 ----------------------------------------------------------------

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

    def _lost(self, edge: Edge) -> Cause:
        """Why a message is 0 though its upstream term is not."""
        v, key = edge
        u, op, told = self.graph.operands[v][key], self._op(v), self._told(v)
        if v not in self.gradients:
            return Cause("unknown", v, f"what {told} sends back is 0", _UNKNOWN)
        if not self._stats(v).size:
            advice = "nothing was selected: see that it is not always so"
            return Cause("nothing", v, f"{told} has no entries", advice)
        if op in hazards.STEPS and not key:
            advice = "use a soft version, or pass the gradient straight through"
            return Cause("step", v, f"{told} is a step, of slope 0 everywhere", advice)
        if op in hazards.JOINS:  # it sends a part of its own gradient
            return Cause("unused", v, f"the part of {told} that is {self._name(u)} gets none", "")
        factor = self._factor(edge)
        if factor is not None:
            return self._by_zero(v, factor)
        if self._underflows(edge):
            why = f"a product is too small for {self._stats(v).dtype}, at {told}"
            return Cause("underflow", v, why, "scale the loss up, or use a wider dtype")
        flat: bool | None = None
        again = self._pull(edge)
        if again is not None:
            flat = not np.any(again)
        if flat is not False and (cause := self._flat(v, u)):
            return cause
        if flat:
            why = f"the slope of {told} by {self._name(u)} is 0{self._everywhere(v)}"
            return Cause("flat", v, why, "another starting point")
        if flat is False:
            others = self._pull(edge, self.gradients[v])
            if others is not None and np.any(others):
                return self._one_hot_by_hand(v) or Cause(
                    "cancel", v, f"what {told} would send cancels in a sum", ""
                )
            if others is not None:
                why = f"wherever {told} gets a gradient, its slope by {self._name(u)} is 0"
                return self._one_hot_by_hand(v) or Cause("flat", v, why, _RESTART)
        return Cause("unknown", v, f"what {told} sends back is 0", _UNKNOWN)

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
        return None

    def _is_zero(self, i: int) -> bool:
        return self.values[i] == 0 and self._stats(i).size > 0 and self._stats(i).low == 0

    def _root(self, i: int) -> int:
        """What a value is in another shape."""
        while self._itself(i):
            i = self.graph.operands[i][0]
        return i

    def _by_zero(self, v: int, z: int) -> Cause:
        """What comes of a factor z of v that is all 0."""
        graph, origin = self.graph, z
        ends = hazards.CLIPPED | hazards.CHOICES
        while not graph.is_leaf(origin) and self._op(origin) not in ends:
            zeros = [
                u for u in graph.operands[origin]
                if self._is_zero(u) and not (self._stats(u).ndim and "int" in self._stats(u).dtype)
            ]  # fmt: skip
            if not zeros:
                break
            origin = max(zeros, key=lambda u: self.norms.get(u, 0.0) > 0)  # what moves, first
        why = f"{self._told(v)} multiplies by {self._said(z)}, which is all 0"
        why = why.removesuffix(", which is all 0") if self._said(z) == "0" else why
        if origin in self.weights:
            if self.norms.get(origin, 0.0) > 0:
                advice = "if this start is meant: it moves with the first step"
                return Cause("start", v, why, advice)
            return Cause("stuck", origin, why, "start it elsewhere: it gets no gradient either")
        if self._chance(z):
            why = f"{self._told(v)} multiplies by {self._name(z)}, which chance made all 0"
            return Cause("chance", v, why, "")
        if not graph.is_leaf(origin) and (cause := self._flat(origin, graph.operands[origin][0])):
            return cause
        return Cause("factor", origin, why, "look at what made that 0")

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

    def _flat(self, v: int, u: int) -> Cause | None:
        """Why an operation has no slope, if its value shows it."""
        op, stats, told = self._op(v), self._stats(v), self._told(v)
        everywhere, zero = self._everywhere(v), self._is_zero(v)
        why, advice = "", _RESTART
        if op in hazards.RANDOM and zero:
            chance = self.graph.values[v].keywords.get("p", 0.5) != 1
            return Cause("chance" if chance else "flat", v, f"{told} dropped every entry", "")
        if op in hazards.CLIPPED:
            if zero:
                why = f"{told} is off{everywhere}"
            elif op != "relu" and self._valued(v, stats.low, stats.high):
                limits = dict.fromkeys(f"{x:.3g}" for x in (stats.low, stats.high))
                why = f"{told} is at its limit{everywhere}: {' or '.join(limits)}"
        elif op in hazards.CHOICES:
            if zero and self.values[u] and op != "where":
                why = f"{told} is off{everywhere}"
            elif self._whole(v) and not self._equal_somewhere(v, u):
                why = f"{told} takes the other operand{everywhere}"
                advice = "look at the mask" if op == "where" else _RESTART
        elif (shape := self._squashing(v)) is not None:
            centre, half = shape
            if self._valued(v, centre - half, centre + half):
                why = f"{told} is saturated{everywhere}"
        elif op in hazards.SOFTMAXES:
            why, advice = self._one_hot(v)
        elif op in ("exp", "exp2") and zero:
            why = f"{told} underflows to 0{everywhere}"
        elif op == "scaled_dot_product_attention":
            keys = self._stats(self.graph.operands[v][1]).shape
            if len(keys) > 1 and keys[-2] == 1:
                why, advice = f"{told} is a softmax over one entry", _ONE_ENTRY
        elif op == "cross_entropy" and self._stats(u).ndim > 1 and self._stats(u).shape[1] == 1:
            why, advice = f"{told} is over one class, whose softmax is always 1", _ONE_ENTRY
        elif op in hazards.LOSSES and zero and stats.size == 1:
            why, advice = f"{told} is exactly 0: no smaller loss is to be had here", ""
        elif op in hazards.DIVIDES and zero and len(self.graph.operands[v]) > 1:
            by = self.graph.operands[v][1]
            if self._stats(by).low == math.inf:
                why, advice = f"{told} divides by {self._name(by)}, which is inf", "a wider dtype"
        elif found := self._hazard(v, "slope"):
            why, advice = f"{found[0]}: its slope there is taken to be 0", found[1]
        return Cause("flat", v, why, advice) if why else None

    def _equal_somewhere(self, v: int, u: int) -> bool:
        value, operand = self.graph.values[v].value, self.graph.values[u].value
        with suppress(ValueError):
            return bool(np.any(np.broadcast_to(operand, np.shape(value)) == value))
        return True

    def _one_hot(self, v: int) -> tuple[str, str]:
        """Why a softmax has no slope, and what to do; "" for another reason."""
        stats, told = self._stats(v), self._told(v)
        single = 0.0 if self._op(v) == "log_softmax" else 1.0
        if stats.low == stats.high == single:
            return f"{told} is a softmax over one entry, always {single:g}", _ONE_ENTRY
        if single and stats.high == 1 and self._valued(v, 0.0, 1.0):
            return f"{told} is one-hot, 0 or 1{self._everywhere(v)}: there its slope is 0", (
                "smaller weights, or scaled logits"
            )
        return "", ""

    def _one_hot_by_hand(self, v: int) -> Cause | None:
        """A softmax that is written as a quotient, after which what v sends cancels."""
        near = [v, *(reader for reader, _ in self.graph.readers[v])]
        near += [reader for i in near[1:] for reader, _ in self.graph.readers[i]]
        for i in dict.fromkeys(near):
            if self._op(i) not in hazards.DIVIDES or not self._stats(i).ndim:
                continue
            if self._op(self._root(self.graph.operands[i][0])) == "exp":
                why, advice = self._one_hot(i)
                if why:
                    return Cause("flat", i, why, advice)
        return None

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

    def _summed(self, u: int) -> Cause:
        """Why a gradient is 0 though messages came that are not."""
        sent = [edge for edge in self._carrying(u) if self._message(edge)]
        told = self._name(u)
        if self._changed(u):
            by = self.graph.changed_by_hooks.get(u)
            why = f"the gradient of {told} was set to 0 after its messages came, as a hook does"
            why += f": {by}" if by else ""
            return Cause("changed", u, why, "look at what register_hook was called with")
        total = self._total(u)
        opposite = total is None and len(sent) == 2 and self._opposite(*sent)
        if opposite or (total is not None and not np.any(total)):
            return self._one_hot_by_hand(u) or Cause(
                "cancel", u, f"the {len(sent)} messages to {told} cancel", ""
            )
        why = f"the messages to {told} are not 0, their sum is"
        return Cause("unknown", u, why, _UNKNOWN)

    def _total(self, u: int) -> Any:
        """The sum of a value's messages; None where they are not all known in full."""
        sent = [self.messages[edge] for edge in self._carrying(u)]
        if not sent or not self._all_known(u) or any(isinstance(m, Statistics) for m in sent):
            return None
        return sum(sent[1:], sent[0])

    def _all_known(self, u: int) -> bool:
        """Whether no message to a value may be missing."""
        for v, key in self.graph.readers[u]:
            if self.graph.values[v].operation.name.endswith("]"):  # shared by several results
                return False
            if v in self.gradients and (v, key) not in self.messages:
                with suppress(TraceError):
                    if self.graph.values[v].operation.rule(key) is None:
                        continue
                return False
        return True

    def _opposite(self, one: Edge, other: Edge) -> bool:
        a, b = measure(self.messages[one]).sample, measure(self.messages[other]).sample
        return a.shape == b.shape and bool(np.allclose(a, -b, rtol=1e-5, atol=0))

    def _changed(self, u: int) -> bool:
        """Whether a gradient is something else than the sum of its messages."""
        if u in self.graph.changed_by_hooks:
            return True
        if isinstance(self.gradients, ByValue):  # our own sums
            return False
        sent = [self._message(edge) for edge in self._carrying(u)]
        size = self.norms.get(u, math.nan)
        if not sent or not math.isfinite(sum(sent)) or not self._all_known(u):
            return False
        if not math.isfinite(size):
            return sum(sent) < 1e-3 * hazards.largest(measure(self.gradients[u]).dtype)
        close = _CLOSE.get(measure(self.gradients[u]).dtype, 0.05) * sum(sent)
        total = self._total(u)
        if total is not None:
            return norm(np.asarray(total) - np.asarray(self.gradients[u])) > close
        if not 2 * max(sent) - sum(sent) - close <= size <= sum(sent) + close:
            return True
        gradient = measure(self.gradients[u])
        if gradient.dtype.startswith("complex"):
            return False
        # The mean of a sum is the sum of the means, up to what rounding does to sums.
        mean = sum(measure(self.messages[edge]).mean for edge in self._carrying(u))
        return bool(abs(mean - gradient.mean) > close / max(gradient.size, 1) ** 0.5)


_FAILURES = TraceError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError
"""What an operation may raise for other numbers than its own."""
_CLOSE = {"float64": 1e-6, "complex128": 1e-6, "float32": 1e-3, "complex64": 1e-3}
_RESTART = "a smaller step or bias, another initialisation, or leaky_relu / gelu"
_UNKNOWN = "a capture='whole' may tell why"
_ONE_ENTRY = "several entries; of one class, a sigmoid (binary cross entropy)"
