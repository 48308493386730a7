"""What a graph's numbers say: the norms, names and ways that every detector asks for."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.backward import ByValue
from gradviz.chain.health import hazards
from gradviz.chain.health.findings import Finding, Words
from gradviz.chain.paths import Edge
from gradviz.errors import TraceError
from gradviz.language import Told, later, say, several, translated
from gradviz.model import PARAMETER
from gradviz.ops import notation
from gradviz.statistics import Statistics, measure, norm

if TYPE_CHECKING:
    from gradviz.graph import Graph


class Evidence:
    """What is read off a graph.

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

    def _finding(
        self, kind: str, severity: str, node: int, path: Iterable[int], message: Words,
        advice: Words = "", **numbers: float,
    ) -> Finding:  # fmt: skip
        return Finding(kind, severity, node, tuple(path), message, advice, numbers, self.graph)

    def _op(self, i: int) -> str:
        """An operation's name, also of what works in place, and of one result of several."""
        return re.sub(r"\[\d+\]$", "", self.graph.values[i].operation.name).strip("_")

    def _name(self, i: int) -> str:
        return self.graph.names[i]

    def _names(self, ids: Iterable[int]) -> Told:
        """The first names, and how many more there are."""
        return Told(several, [self._name(i) for i in ids], 3)

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

    def _dtype(self, i: int) -> Words:
        """The name of a value's dtype, where a float32 array may hold what was bfloat16."""
        coarsest = getattr(self.graph.program, "precision", 0.0)
        narrow = (_is_bfloat16(self.graph.values[j].value) for j in (i, *self.graph.operands[i]))
        if 0 < coarsest < BFLOAT16 or not all(narrow):
            return self._stats(i).dtype
        return "bfloat16" if coarsest else later("{a} or {b}", a="bfloat16", b="float32")

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

    def _root(self, i: int) -> int:
        """What a value is in another shape."""
        while self._itself(i):
            i = self.graph.operands[i][0]
        return i

    def _everywhere(self, i: int) -> Words:
        size = self._stats(i).size
        return later(" in all {size} entries", size=size) if size > 1 else ""

    def _whole(self, i: int) -> bool:
        return not isinstance(self.graph.values[i].value, Statistics)

    def _is_zero(self, i: int) -> bool:
        return self.values[i] == 0 and self._stats(i).size > 0 and self._stats(i).low == 0

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

    def _hazard(self, v: int, makes: str, at: np.ndarray | None = None) -> tuple[Told, Told] | None:
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

        for hazard in hazards.of(op):
            if makes not in hazard.makes or not graph.operands[v]:
                continue
            part = self._stats if hazard.whole else looked_at
            u, *more = graph.operands[v][:2]
            a, b = part(u), part(more[0]) if more else None
            if hazard.holds(part(v), a, b):
                what = Told(
                    _what, hazard.what, op=op, dtype=self._dtype(v), a=self._said(u),
                    b=self._said(more[0]) if more else "",
                    low=_Exact(a.low), high=_Exact(a.high), top=_Exact(a.top),
                )  # fmt: skip
                return what, Told(advised, hazard.advice, self._stats(v).dtype == "float16")
        return None

    # --- sums of messages -------------------------------------------------------------------------

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
        narrow = _is_bfloat16(self.gradients[u])
        close = (0.05 if narrow else _CLOSE.get(measure(self.gradients[u]).dtype, 0.05)) * sum(sent)
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

    # --- sigmoids ---------------------------------------------------------------------------------

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


def _what(sentence: str, **places: Any) -> str:
    """A hazard in words; of a constant 0 its number is no name."""
    return re.sub(r" ?[(（]0[)）]", "", say(sentence, **places))


def advised(sentence: str, half: bool) -> str:
    """What to do, in float16 with a number there: 1e-8 is 0, and 1 / 1e-5 infinite."""
    return re.sub(r"1e-\d+", "1e-4", translated(sentence)) if half else translated(sentence)


class _Exact(float):
    """A number that is not rounded to the edge of a domain, next to which it lies."""

    def __format__(self, spec: str) -> str:
        text = super().__format__(spec)
        return text if float(text) == self or float(text) not in (-1.0, 0.0, 1.0) else repr(self)


def _is_bfloat16(array: Any) -> bool:
    """Whether a float32 array holds what was bfloat16: the first half of each number's bits."""
    if getattr(array, "dtype", None) != np.float32:
        return False
    return not np.any(np.asarray(array).view(np.uint32) & 0xFFFF)


BFLOAT16 = 2.0**-7
"""Its ε; what is computed in float16 alone is finer."""
_CLOSE = {"float64": 1e-6, "complex128": 1e-6, "float32": 1e-3, "complex64": 1e-3}
