"""Mistakes that raise no error: the program computes, and means something else than was meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence, _is_bfloat16
from gradviz.chain.health.findings import Finding, Words
from gradviz.language import later
from gradviz.ops import forms
from gradviz.statistics import Statistics

LOGITS = hazards._names(
    "cross_entropy binary_cross_entropy_with_logits multilabel_soft_margin_loss"
)
"""Losses that make probabilities of what they are given."""
PAIRED = hazards._names("mse_loss l1_loss smooth_l1_loss huber_loss")
APART = hazards._names("sub subtract")
SIZES = hazards._names("square pow power abs absolute multiply mul mean sum")
"""What a loss by hand does with a difference."""
DISTANCES = hazards._names("square pow power abs absolute multiply mul")
"""Of these, what is 0 only where a difference is."""
TERMS = hazards.SUMS | hazards._names("neg negative")
RESHAPED = hazards._names("reshape view")
LOGS = hazards._names("log logsigmoid log_softmax")
NEAR = hazards._names("log clamp clip clamp_min add") | hazards.RESHAPES
PROBABILITIES = {"softmax", "sigmoid", "expit"}
REACH = {
    **dict.fromkeys(PROBABILITIES | {"hardsigmoid"}, (0.0, 1.0)),
    **dict.fromkeys(("tanh", "softsign", "hardtanh"), (-1.0, 1.0)),
    "relu": (0.0, math.inf),
}
"""What these can return."""
BEYOND = 0.1
"""A target is out of reach by so much of what the targets span: less may be noise."""
ORDERED = hazards._names("binary_cross_entropy binary_cross_entropy_with_logits cross_entropy")
"""Losses in which prediction and target are not of one kind."""
WEIGHED = forms.CASTS | hazards._names("dropout")
"""Between a softmax and the product that weighs by it."""
ROUNDED = 0.95
"""So much of a parameter does not move, though a step is made."""
MANTISSA = {"bfloat16": 7, "float16": 10}


class Mistake(NamedTuple):
    """What is told of a mistake, and what to do; a note where it may be meant."""

    why: Words
    advice: Words
    severity: str = "warning"


class Mistakes(Evidence):
    """Finds what graphs show of what PyTorch's users report."""

    rate: float | None

    def _mistakes(self) -> Iterator[Finding]:
        said = set()
        for v, operands in enumerate(self.graph.operands):
            op = self._op(v)
            if not operands or op not in _LOOKED_AT or not (v in self.gradients or op in RESHAPED):
                continue
            told = self._mistaken(v, op, operands)
            if told is None:
                continue
            if (at := (str(told.advice), told.severity, self.graph.source(v))) not in said:
                said.add(at)  # of a line that computes queries, keys and values: once
                path = (operands[0], *self._onward(v))
                kind, severity = "likely mistake", told.severity
                yield self._finding(kind, severity, v, path, told.why, told.advice)

    def _mistaken(self, v: int, op: str, operands: Any) -> Mistake | None:
        if (told := self._misgiven(op, operands)) is not None:
            return told
        if op in ("nll_loss", "cross_entropy"):
            return self._over_examples(self._made(operands[0])) or self._straddling(op, operands[0])
        if op in PAIRED | APART | hazards.TIMES:
            return self._spread(v, op, operands) or self._unreachable(v, op, operands)
        if op in RESHAPED:
            return self._reread(v, op, operands[0])
        if op in ("matmul", "bmm"):
            return self._weighed(v, op, operands[0])
        if op == "linear":
            return self._one_map(v, operands)
        if op == "batch_norm":
            return self._running(v, operands)
        return None

    def _misgiven(self, op: str, operands: Any) -> Mistake | None:
        """Whether an operation is given what another one should have, or has, worked on."""
        if op in ORDERED and self._swapped(operands):
            a, b = map(self._name, operands[:2])
            given = "{op} is given a constant, {a}, as the prediction, and {b} as the target"
            return Mistake(
                later(given, op=op, a=a, b=b), later("the prediction first, then the target")
            )
        if op in ("nll_loss", "kl_div") and (high := self._stats(operands[0]).high) > 1e-3:
            given = (
                "{op} is given numbers up to {high:.3g}: these are no logarithms of probabilities"
            )
            advice = "log_softmax before it, or a log of probabilities"
            if op == "nll_loss":
                advice = "log_softmax before it, or cross_entropy of the logits"
            return Mistake(later(given, op=op, high=high), later(advice))
        return self._after(op, self._op(self._made(operands[0])))

    def _after(self, op: str, before: str) -> Mistake | None:
        """Whether an operation should not work on what another one has made."""
        leave = later("leave {op} out", op=before)
        if op in LOGITS and before in PROBABILITIES | {"log_softmax"}:
            twice = (
                "{op} makes probabilities of logits itself, and is given those of {before}: the "
                "loss cannot come near 0, gradients are small"
            )
            severity = "warning"
            if before == "log_softmax" and op == "cross_entropy":
                severity = "note"
                twice = (
                    "{op} makes probabilities of logits itself, and is given those of {before}: "
                    "done twice, it changes nothing"
                )
            return Mistake(later(twice, op=op, before=before), leave, severity)
        if (
            op in PROBABILITIES
            and before in PROBABILITIES
            and (op, before) != ("softmax", "sigmoid")
        ):
            twice = "{op} of what {before} made: it is applied twice"
            return Mistake(later(twice, op=op, before=before), later("leave one out"))
        if op == "cross_entropy" and before in ("relu", "tanh"):
            given = (
                "{op} is given logits that tanh keeps between -1 and 1: the loss stays far from 0"
            )
            if before == "relu":
                given = (
                    "{op} is given logits that relu has cut off at 0: nothing comes through there"
                )
            return Mistake(later(given, op=op), later("leave the last {op} out", op=before))
        return None

    def _made(self, u: int) -> int:
        """What a value is all of, or a part, in another shape."""
        u = self._root(u)
        while self._op(u) in forms.PARTS and self.graph.operands[u]:
            u = self._root(self.graph.operands[u][0])
        return u

    def _swapped(self, operands: Any) -> bool:
        """Whether J depends on what stands at the place of the target only."""
        varying = self.graph.varying
        return len(operands) > 1 and operands[0] not in varying and operands[1] in varying

    def _over_examples(self, u: int) -> Mistake | None:
        """Whether the probabilities of a loss sum to one over another axis than the classes."""
        while self._op(u) in NEAR and self.graph.operands[u]:
            u = self.graph.operands[u][0]
        stats, keywords = self._stats(u), self.graph.values[u].keywords
        axis = keywords.get("dim", keywords.get("axis"))
        if self._op(u) not in hazards.SOFTMAXES or type(axis) is not int or stats.ndim < 2:
            return None
        if axis % stats.ndim == 1 or stats.ndim > 2:
            return None
        told = later(
            "{u} makes probabilities over the {examples} examples, not over the {classes} classes "
            "of each", u=self._told(u), examples=stats.shape[0], classes=stats.shape[1],
        )  # fmt: skip
        return Mistake(told, later("softmax over the axis of the classes, dim=1"))

    def _spread(self, v: int, op: str, operands: Any) -> Mistake | None:
        """Whether a loss compares every prediction with every target: (N, 1) against (N,)."""
        if len(operands) < 2:
            return None
        shapes = [tuple(self._stats(u).shape) for u in operands[:2]]
        one, other = sorted(shapes, key=len)
        n = max(one, default=1)
        if len(one) != 1 or other != (n, 1) or n < 2:
            return None
        if all(u in self.graph.varying for u in operands[:2]):  # a table of pairs
            return None
        if op in APART and self._until_summed(v) is None:
            return None
        if op in hazards.TIMES and not self._is_entropy(v, operands):
            return None
        a, b = (f"{self._name(u)} {s}" for u, s in zip(operands, shapes, strict=False))
        told = later(
            "{op} of {a} and {b} broadcasts to ({n}, {n}): every prediction is compared with every "
            "target", op=op, a=a, b=b, n=n,
        )  # fmt: skip
        return Mistake(told, later("give both one shape: prediction.squeeze(1)"))

    def _is_entropy(self, v: int, operands: Any) -> bool:
        """Whether a product is one of a probability and a logarithm, of which a loss is the sum."""
        logarithm = any(self._op(self._root(u)) in LOGS for u in operands)
        return logarithm and self._until_summed(v, SIZES | TERMS) is not None

    def _until_summed(self, v: int, ops: frozenset[str] = SIZES) -> list[str] | None:
        """What is done with a value until its sum or mean, where nothing else comes of it."""
        done: list[str] = []
        while len(readers := {reader for reader, _ in self.graph.readers[v]}) == 1:
            (v,) = readers
            done.append(self._op(v))
            if done[-1] not in ops:
                return None
            if done[-1] in ("mean", "sum"):
                return None if self._stats(v).ndim else done
        return None

    def _unreachable(self, v: int, op: str, operands: Any) -> Mistake | None:
        """Whether targets lie where what is compared with them cannot come."""
        varying = [u for u in operands[:2] if u in self.graph.varying]
        constant = [u for u in operands[:2] if u not in self.graph.varying]
        if op in hazards.TIMES or len(varying) != 1 or len(constant) != 1:
            return None
        made = self._made(varying[0])
        if (reach := REACH.get(self._op(made))) is None:
            return None
        if op in APART and not set(self._until_summed(v) or ()) & DISTANCES:
            return None
        targets = self._stats(constant[0])
        beyond = BEYOND * (targets.high - targets.low)
        if reach[0] - targets.low <= beyond and targets.high - reach[1] <= beyond:
            return None
        beyond_it = (
            "{t} goes from {low:.3g} to {high:.3g}, and {op} returns {least:g} to {most:g}: some "
            "of it cannot be reached"
        )
        if self._op(made) == "relu":
            beyond_it = (
                "{t} goes from {low:.3g} to {high:.3g}, and {op} returns nothing below 0: some of "
                "it cannot be reached"
            )
        told = later(
            beyond_it, t=self._name(constant[0]), low=targets.low, high=targets.high,
            op=self._op(made), least=reach[0], most=reach[1],
        )  # fmt: skip
        advice = "leave {op} out, or scale what is to be learned"
        return Mistake(told, later(advice, op=self._op(made)))

    # --- axes -------------------------------------------------------------------------------------

    def _reread(self, v: int, op: str, u: int) -> Mistake | None:
        """Whether a reshape has the axes of its operand in another order, and not their numbers."""
        before, after = ([n for n in self._stats(i).shape if n != 1] for i in (u, v))
        sure = _exchanged(before, after)
        made = u
        while self._op(made) in forms.SHAPES and self.graph.operands[made]:
            made = self.graph.operands[made][0]
        turned = self._op(made) in forms.ORDERS and before[0] != after[0]  # (heads, t, ...) in rows
        if not sure or turned or self._shifts(v, u):
            return None
        a, b = (tuple(self._stats(i).shape) for i in (u, v))
        told = later(
            "{op} from {a} to {b} reads the same numbers in the same order: it exchanges no axes, "
            "but deals the numbers out anew", op=op, a=str(a), b=str(b),
        )  # fmt: skip
        advice = later("transpose or permute; an axis that is split is split first, where it lies")
        return Mistake(told, advice, sure)

    def _shifts(self, v: int, u: int) -> bool:
        """Whether a reshape moves each row by one place more, as relative positions ask for.

        Something is put before the rows, or cut off and the shape restored.
        """
        if self._op(u) in hazards.JOINS | {"pad"}:
            return True
        if self._op(u) in forms.PARTS and self._op(self.graph.operands[u][0]) in RESHAPED:
            return True
        after = {r for w, _ in self.graph.readers[v] if self._op(w) in forms.PARTS
                 for r, _ in self.graph.readers[w]}  # fmt: skip
        return bool(after) and all(self._op(r) in RESHAPED for r in after)

    def _straddling(self, op: str, u: int) -> Mistake | None:
        """Whether logits of shape (N, C, T) were cut into rows of C along T."""
        made = u
        while self._op(made) in forms.SHAPES and self.graph.operands[made]:
            made = self.graph.operands[made][0]
        rows, shape = self._stats(u).shape, self._stats(made).shape
        if len(rows) != 2 or len(shape) < 3 or shape[1] != rows[1] or not shape[-1] % rows[1]:
            return None
        if rows[0] == shape[0]:  # each row is one of the N: the other axes have one place
            return None
        told = later(
            "{op} is given rows of {n} that were cut from {shape} along its last axis: the {n} "
            "logits of one prediction lie along axis 1", op=op, n=rows[1], shape=str(tuple(shape)),
        )  # fmt: skip
        advice = "no reshape, for {op} takes the classes at axis 1; or movedim(1, -1) before it"
        return Mistake(told, later(advice, op=op))

    def _weighed(self, v: int, op: str, u: int) -> Mistake | None:
        """Whether a product sums over another axis than the one where its weights sum to one."""
        while self._op(u) in WEIGHED and self.graph.operands[u]:
            u = self.graph.operands[u][0]
        stats, keywords = self._stats(u), self.graph.values[u].keywords
        axis = keywords.get("dim", keywords.get("axis"))
        if self._op(u) != "softmax" or type(axis) is not int or stats.ndim < 2:
            return None
        if axis % stats.ndim == stats.ndim - 1:
            return None
        told = later(
            "{u} makes weights that sum to one along axis {a}, and {op} sums over axis {b}",
            u=self._told(u), a=axis % stats.ndim, op=op, b=stats.ndim - 1,
        )  # fmt: skip
        return Mistake(told, later("softmax over the last axis, dim=-1"))

    def _one_map(self, v: int, operands: Any) -> Mistake | None:
        """Whether two linear layers stand next to each other, and are no narrow passage."""
        u = self._root(operands[0])
        while self._op(u) == "dropout":
            u = self._root(self.graph.operands[u][0])
        if self._op(u) != "linear" or len(operands) < 2 or not {operands[1]} <= set(self.weights):
            return None
        wide, out = (self._stats(i).shape[-1] for i in (u, v))
        narrow = min(self._stats(self.graph.operands[u][0]).shape[-1], out)
        if wide < narrow or len({reader for reader, _ in self.graph.readers[u]}) > 1:
            return None
        told = "nothing stands between {u} and {v}: two linear maps are one"
        advice = later("an activation between them, or one layer")
        return Mistake(later(told, u=self._name(u), v=self._name(v)), advice, "note")

    # --- layers -----------------------------------------------------------------------------------

    def _running(self, v: int, operands: Any) -> Mistake | None:
        """Whether a normalisation that learns does not look at the batch."""
        if len(operands) < 5 or not all(u in self.weights for u in operands[3:5]):
            return None
        stats, bias = self._stats(v), self._stats(operands[4])
        # By its batch normalised, a channel has the mean of its bias.
        if not abs(stats.mean - bias.mean) > 1e-2 * stats.rms:
            return None
        told = later(
            "{v} normalises by its running statistics, not by the batch: the model is in eval mode",
            v=self._name(v),
        )
        return Mistake(told, later("model.train(), if that is not meant"), "note")

    # --- parameters -------------------------------------------------------------------------------

    def _equal_units(self) -> Iterator[Finding]:
        """Layers whose units are all alike, and stay it, for their gradients are alike too."""
        for v, read in self.entries.items():
            for w in read:
                direct = self._op(v) in ("linear", "matmul", "mm") and w in self.graph.operands[v]
                if direct and self._alike(v, w):
                    yield self._finding(
                        "equal units", "warning", v, (w, *self._onward(v)),
                        later(
                            "the {n} units of {v} are equal, and, up to rounding, so are their "
                            "gradients: they stay equal, and count as one",
                            n=self._units(v), v=self._name(v),
                        ),
                        later("initialise with random numbers"),
                    )  # fmt: skip
                    break

    def _units(self, v: int) -> int:
        shape = self._stats(v).shape
        return int(shape[-1]) if shape else 1

    def _alike(self, v: int, w: int) -> bool:
        """Whether all units that a matrix makes are equal, and get equal gradients."""
        if np.ndim(self.graph.values[w].value) != 2 or self._units(v) < 2 or not self.norms.get(w):
            return False
        weight, gradient = self.graph.values[w].value, self.gradients[w]
        if not any(isinstance(x, Statistics) for x in (weight, gradient)):
            axis = 0 if self._op(v) == "linear" else 1
            if np.shape(weight)[axis] != self._units(v):
                return False
            return all(_same(np.asarray(x), axis) for x in (weight, gradient))
        return self._constant(w) and self._alike_ahead(v)

    def _constant(self, w: int) -> bool:
        return bool(self._stats(w).low == self._stats(w).high)

    def _alike_ahead(self, v: int) -> bool:
        """The same of statistics: this layer's parameters and the next one's are one number each.

        What is between them treats all units alike.
        """
        if not all(self._constant(p) for p in self.entries[v]):
            return False
        alike = (
            hazards.CLIPPED | set(hazards.SQUASHING) | hazards._names("gelu silu elu leaky_relu")
        )
        at = self._next(v)
        while at is not None and at not in self.entries:
            if self._op(at) not in alike:
                return False
            at = self._next(at)
        matrices = self.entries.get(at, []) if at is not None else []
        matrices = [w for w in matrices if np.ndim(self.graph.values[w].value) == 2]
        return bool(matrices) and all(map(self._constant, matrices))

    def _rounded(self) -> Iterator[Finding]:
        """Parameters whose update their dtype rounds away."""
        if self.rate is None:
            return
        found: dict[int, tuple[float, str]] = {}
        for w in self.weights:
            values = self.graph.values[w].value, self.gradients.get(w)
            narrow = all(_is_bfloat16(x) for x in values)
            kind = "bfloat16" if narrow else self._stats(w).dtype
            bits = MANTISSA.get(kind)
            if bits is None or not self.norms.get(w):
                continue
            weights, gradients = (np.asarray(x, float) for x in self._pairs(w))
            if weights.shape != gradients.shape or not weights.size:
                continue
            with np.errstate(all="ignore"):
                half = 2.0 ** (np.floor(np.log2(np.abs(weights))) - bits - 1)
            kept = np.abs(self.rate * gradients) < np.where(weights == 0, 0, half / 2)
            share = float(np.mean(kept & (gradients != 0) | (gradients == 0)))
            if share >= ROUNDED and np.any(kept & (gradients != 0)):
                found[w] = share, kind
        if found:
            w = max(found, key=lambda w: self._stats(w).size)
            share, kind = found[w]
            yield self._finding(
                "ill-scaled parameter", "warning", w, self._onward(w),
                later(
                    "a step of rate {rate:g} is less than half of what {dtype} can tell apart, in "
                    "{share:.0%} of {w}: it is rounded away; so in {names}",
                    rate=self.rate, dtype=kind, share=share, w=self._name(w),
                    names=self._names(found),
                ),
                later(
                    "keep the parameters in float32 and compute under autocast, or a larger rate"
                ),
                share=share,
            )  # fmt: skip

    def _pairs(self, w: int) -> list[Any]:
        values = self.graph.values[w].value, self.gradients[w]
        if any(isinstance(x, Statistics) for x in values):
            return [x.sample if isinstance(x, Statistics) else np.ravel(x) for x in values]
        return [np.ravel(x) for x in values]


_LOOKED_AT = (
    LOGITS | PAIRED | APART | PROBABILITIES | hazards.TIMES
    | ORDERED | RESHAPED | hazards._names("nll_loss kl_div batch_norm matmul bmm linear")
)  # fmt: skip


def _exchanged(before: list[int], after: list[int]) -> str:
    """How sure it is that shapes differ as by an exchange of axes: "", "note", "warning".

    Such are (n, t) and (t, n), and, where one axis is split besides, as into heads, (n, t, 6) and
    (n, 2, t, 3), or the other way.
    """
    if len(before) == len(after):
        apart = [(p, q) for p, q in zip(before, after, strict=True) if p != q]
        if not apart or sorted(before) != sorted(after):
            return ""
        p, q = apart[0]
        if p % q and q % p:
            return "warning"
        # (4, 16) and (16, 4) differ so where rows are cut in four, too: in chunks, or by heads.
        return "note" if before[-1] == after[-1] else ""
    one, more = sorted((before, after), key=len)
    within = set(accumulate(one, mul)) <= set(accumulate(more, mul))  # an axis is split as it lies
    split = ([*more[:i], *more[i + 1 : -1], more[i] * more[-1]] for i in range(len(more) - 2))
    return "warning" if not within and one in split else ""


def _same(matrix: np.ndarray, axis: int) -> bool:
    """Whether all rows, or columns, are one, up to rounding."""
    one = np.broadcast_to(np.take(matrix, [0], axis), matrix.shape)
    return bool(np.allclose(matrix, one, rtol=1e-5, atol=1e-6 * float(np.abs(matrix).max())))
