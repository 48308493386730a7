"""What a box of many values says of them: how many, how large, and how many paths lead through it.

Norms are Euclidean, of all the numbers in question as one vector.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.fold import Fold, steps_of
from gradviz.chain.statements import Statement
from gradviz.errors import TraceError
from gradviz.statistics import measure, norm

if TYPE_CHECKING:
    from gradviz.graph import Graph

OVER = 10**300 + 1
"""Stands for every larger number of paths: 2^100000 would not fit into memory."""


@dataclass(slots=True)
class Size:
    """How large what passes through a box is.

    Attributes
    ----------
    value : float
        The norm of the values in it that are read outside.
    into : float or None
        The norm of their gradients, which enter the box in the backward pass, if there are any.
    out : float or None
        The norm of the messages that it sends to what lies before it.
    """

    value: float = 0.0
    into: float | None = None
    out: float | None = None


@dataclass
class Totals:
    """What a box holds.

    Attributes
    ----------
    operations, parameters : int
        How many operations were recorded in it; how many numbers its parameters have.
    paths : int
        How many paths from the leaves asked for lead through it to J; `OVER` for too many.
    size : Size
    least, most : Size
        The range over the iterations of what repeats; else the same.
    broken_values, broken_gradients : int
        How many values and gradients in it are not finite.
    leaving : int
        The last value in it that is read outside, or J; where there is none, that nothing reads.
    """

    operations: int = 0
    parameters: int = 0
    paths: int = 0
    size: Size = field(default_factory=Size)
    least: Size = field(default_factory=Size)
    most: Size = field(default_factory=Size)
    broken_values: int = 0
    broken_gradients: int = 0
    leaving: int = -1


@dataclass(slots=True)
class Bundle:
    """The edges from one box to another: how many, the first, the norm of all their messages.

    And the values and the parameters that they are of.
    """

    first: tuple[int, int]
    count: int = 0
    norm: float | None = None
    values: set[int] = field(default_factory=set)
    parameters: set[int] = field(default_factory=set)


class Tally:
    """The totals of the boxes of a picture.

    Parameters
    ----------
    graph : Graph
    boxes : sequence of int or Fold
        Values and folds, which hold every value once.

    Attributes
    ----------
    owner : list of int
        By value the number of its box.
    bundles : dict of (int, int) to Bundle
        By the numbers of the boxes that they lead from and to.
    folds, totals : dict of int to Fold, dict of int to Totals
        By number, the boxes that are folds, and what they hold.
    differentiated : bool
        Whether there are gradients.
    """

    def __init__(self, graph: Graph, boxes: Sequence[int | Fold]) -> None:
        self.graph = graph
        self.gradients: Mapping[int, Any] = {}
        self.messages: Mapping[tuple[int, int], Any] = {}
        self.differentiated = True
        try:
            self.gradients, self.messages = graph.derivatives
        except TraceError:  # shown as "not computed"; asking for the gradient says why
            self.differentiated = False
        self.owner = [0] * len(graph)
        for n, box in enumerate(boxes):
            for i in box.values if isinstance(box, Fold) else (box,):
                self.owner[i] = n
        self.folds = {n: box for n, box in enumerate(boxes) if isinstance(box, Fold)}
        self.totals = {n: self._count(fold) for n, fold in self.folds.items()}
        self.bundles: dict[tuple[int, int], Bundle] = {}
        self.leaving = {graph.output}  # the values that are read outside of their box, and J
        self._cross()
        for n, total in self.totals.items():
            if total.leaving < 0:  # nothing reads it
                steps = self.folds[n].steps
                for i in sorted({*steps}.difference(*(graph.operands[v] for v in steps))):
                    total.leaving = i
                    self.leaving.add(i)
                    self._leave(total.size, i)
            repeated = self.folds[n].repeated
            sizes = self._iterations(repeated, self.folds[n].leaves) if repeated else [total.size]
            total.least, total.most = _range(min, sizes), _range(max, sizes)

    def is_broken(self, i: int) -> bool:
        """Whether a value is not finite and should be: no mask of -inf that is still to be cut."""
        value = self.graph.values[i].value
        if not is_broken(value):
            return False
        aside = bool(self.gradients) and i not in self.gradients
        return not (aside and measure(value).high == -math.inf)

    def _count(self, fold: Fold) -> Totals:
        graph, found = self.graph, Totals()
        for i in fold.values:
            node = graph.values[i]
            if not graph.is_leaf(i):
                steps = node.operation.steps if isinstance(node.operation, Statement) else (i,)
                found.operations += len(steps)
            elif graph.kind(i) == "parameter":
                found.parameters += int(np.size(node.value))
            found.broken_values += self.is_broken(i)
            found.broken_gradients += i in self.gradients and is_broken(self.gradients[i], True)
        return found

    def _cross(self) -> None:
        """What passes between boxes."""
        owner, messages = self.owner, self.messages
        before, behind = self._paths()
        leaving = self.leaving
        for v, operands in enumerate(self.graph.operands):
            head = owner[v]
            for key, u in enumerate(operands):
                tail = owner[u]
                if tail == head:
                    continue
                bundle = self.bundles.get((tail, head))
                if bundle is None:
                    bundle = self.bundles[tail, head] = Bundle((v, key))
                bundle.count += 1
                (bundle.parameters if self.graph.kind(u) == "parameter" else bundle.values).add(u)
                leaving.add(u)
                message = messages.get((v, key))
                if message is None:
                    continue
                size = norm(message)
                bundle.norm = _add(bundle.norm, size)
                if head in self.totals:
                    total = self.totals[head]
                    total.size.out = _add(total.size.out, size)
                    total.paths = min(total.paths + before[u] * behind[v], OVER)
        # A parameter that other layers share is no result of the one that it belongs to.
        leaving.difference_update(i for n in self.totals for i in self.folds[n].leaves)
        for i in sorted(leaving):
            if owner[i] in self.totals:
                total = self.totals[owner[i]]
                total.leaving = i
                self._leave(total.size, i)
        for i in self.graph.wrt:
            if owner[i] in self.totals:
                total = self.totals[owner[i]]
                total.paths = min(total.paths + behind[i], OVER)

    def _leave(self, size: Size, i: int) -> None:
        size.value = math.hypot(size.value, norm(self.graph.values[i].value))
        if i in self.gradients:
            size.into = _add(size.into, norm(self.gradients[i]))

    def _iterations(self, fold: Fold, leaves: Iterable[int]) -> list[Size]:
        """The sizes of each iteration of what repeats; a leaf that only one reads is part of it."""
        operands = self.graph.operands
        sizes: list[Size] = []
        iteration = array("l", [-1]) * len(operands)  # by value: a dict would take much memory
        for turn, units in enumerate(fold.rounds()):
            sizes.append(Size())
            for i in itertools.chain.from_iterable(map(steps_of, units)):
                iteration[i] = turn
        reading: dict[int, set[int]] = {leaf: set() for leaf in leaves}
        if reading:
            for i in fold.steps:
                for u in operands[i]:
                    if u in reading:
                        reading[u].add(iteration[i])
            for leaf, read in reading.items():
                if len(read) == 1:
                    iteration[leaf] = read.pop()
        leaving = {i for i in fold.steps if i in self.leaving}
        for i in fold.steps:
            n = iteration[i]
            for key, u in enumerate(operands[i]):
                if iteration[u] != n:
                    if iteration[u] >= 0:
                        leaving.add(u)
                    message = self.messages.get((i, key))
                    if message is not None:
                        sizes[n].out = _add(sizes[n].out, norm(message))
        for i in leaving:
            self._leave(sizes[iteration[i]], i)
        return sizes

    def into(self, n: int) -> float | None:
        """The norm of the gradients that enter a box, if there are any."""
        if n in self.totals:
            return self.totals[n].size.into
        i = self.owner.index(n)
        return norm(self.gradients[i]) if i in self.gradients else None

    def _paths(self) -> tuple[list[int], list[int]]:
        """By value the number of paths to it from the leaves asked for, and from it to J.

        They follow the messages. No path enters a fold twice (see `gradviz.chain.folding`), so
        those through a fold are those that enter it.
        """
        graph, messages = self.graph, self.messages
        before, behind = [0] * len(graph), [0] * len(graph)
        for i in graph.wrt:
            before[i] = 1
        for v, operands in enumerate(graph.operands):
            for key, u in enumerate(operands):
                if before[u] and (v, key) in messages:
                    before[v] = min(before[v] + before[u], OVER)
        behind[graph.output] = 1
        for v in range(graph.output, -1, -1):
            if behind[v]:
                for key, u in enumerate(graph.operands[v]):
                    if (v, key) in messages:
                        behind[u] = min(behind[u] + behind[v], OVER)
        return before, behind


def _range(end: Callable[[list[float]], float], sizes: list[Size]) -> Size:
    """The least or the largest of each; one that is not finite comes first."""
    found = Size()
    for name in Size.__slots__:
        known = [size for each in sizes if (size := getattr(each, name)) is not None]
        bad = [size for size in known if not math.isfinite(size)]
        setattr(found, name, bad[0] if bad else end(known) if known else None)
    return found


def _add(total: float | None, part: float) -> float:
    return math.hypot(total or 0.0, part)  # which does not underflow as squares do


def is_broken(value: Any, gradient: bool = False) -> bool:
    """Whether it holds what is no number: NaN or an infinity.

    Of values, not a -inf among finite ones: such is a mask.
    """
    if isinstance(value, (float, int)):
        return not math.isfinite(value)
    if type(value) is np.ndarray and value.dtype.kind == "f" and value.size:
        with np.errstate(all="ignore"):  # a sum is finite only if all are; mostly that is all
            return not math.isfinite(value.sum()) and is_broken(measure(value), gradient)
    found = measure(value)
    return found.nonfinite > 0 and (gradient or not math.isfinite(found.high))
