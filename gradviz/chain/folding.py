"""Folds: a large Graph as a tree of boxes that can be opened, so that a picture fits on a screen.

Which boxes are open is decided here, what a box is opened into in `parts`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gradviz import words
from gradviz.chain.columns import length, ranks, topological
from gradviz.chain.fold import Fold, values_of
from gradviz.chain.inside import calls_of
from gradviz.chain.parts import ROW, WIDE, Parts
from gradviz.chain.repeats import stem
from gradviz.layers import Layer

if TYPE_CHECKING:
    from gradviz.graph import Graph

SCREEN = 40  # so many boxes are read well at once
COLUMNS = 9  # what repeats is folded where more values lie one after the other
ROUNDS = 5  # ... and goes round so often
FEW = 3  # fewer boxes say too little
ENOUGH = 25  # so many boxes of layers say what a model is, but for a round of its loop
MANY = 32  # ... and no more are opened for the last of them ...
SOME = 15  # ... unless there are fewer
SMALL = 8  # a layer of no more operations is a box
LONG = 1000  # through so many columns all edges together are followed well, and laid out quickly


class Folding(Parts):
    """The folds of a Graph, and which of them to open.

    Parameters
    ----------
    graph : Graph
    scopes : bool
        Whether only scopes fold, with just the leaves that were made in them.

    Attributes
    ----------
    root : Fold
        The whole Graph.
    """

    def __init__(self, graph: Graph, scopes: bool = False) -> None:
        super().__init__(graph, scopes)
        leaves: list[int] = []
        steps: list[int] = []
        for i in range(len(graph)):
            (leaves if self.is_leaf(i) and not scopes else steps).append(i)
        self.root = Fold(self, graph.title or "all", steps, 0)
        self.root.leaves, self.root.inside = leaves, ""

    def opened(self, budget: int | None = None) -> list[Fold]:
        """What to open, outer folds first, so that at most `budget` boxes are shown.

        Level by level; what repeats reads best as one box with a count, unless it is nearly all.
        Without a budget, what fits on a screen.
        """
        if self.layered and budget is None:
            return self._telling()
        boxes, pending, repeats = 1, deque([self.root]), deque[Fold]()
        found: list[Fold] = []
        while pending or (repeats and (boxes < FEW or self._is_loop(repeats[0], budget))):
            fold = (pending or repeats).popleft()
            more = boxes - 1 + len(fold.parts)
            if more > (SCREEN if budget is None else budget):
                continue
            in_loop = (fold.period and not fold.blocks) or fold.label == "iteration"
            if budget is None and found and not in_loop and self.row({*found, fold}) > ROW:
                continue
            boxes = more
            found.append(fold)
            for part in fold.folds:
                if budget is not None or part.first is None:
                    (repeats if part.count > 1 else pending).append(part)
        return found

    def _is_loop(self, fold: Fold, budget: int | None) -> bool:
        """Whether its first round is to be seen, beside the rest."""
        repeated = fold.repeated
        return budget is None and repeated is not None and not repeated.blocks

    def _telling(self) -> list[Fold]:
        """The folds that say most of a model: one of each kind, outer ones first."""
        boxes, found = 1, list[Fold]()
        seen: set[Any] = set()
        waiting = [(0, self._kind(self.root), self.root)]
        while waiting:
            first = min(waiting, key=lambda at: (at[2].function, at[1] in seen, at[0]))
            waiting.remove(first)
            level, kind, fold = first
            more = boxes - 1 + len(fold.parts)
            if more > self._room(fold, boxes, kind in seen):
                continue
            boxes = more
            found.append(fold)
            if not fold.repeated:  # (else it is what repeats that is still to be seen)
                seen.add(kind)
            inner = level + (not fold.period)
            telling = filter(self._is_telling, fold.folds)
            waiting += [(inner, self._kind(part), part) for part in telling]
        return sorted(found, key=lambda fold: (fold.depth, fold.values[0]))

    def _room(self, fold: Fold, boxes: int, seen: bool) -> int:
        """How many boxes there may be when this fold is opened, besides so many.

        A picture that shows a second of a kind, or what is in a norm, has more boxes and says no
        more: such are for what is small. One round of a loop says what the program does.
        """
        if (fold.repeated and not fold.repeated.blocks) or fold.label == "iteration":
            return SCREEN
        if fold.function:  # its name says what it is
            return WIDE
        if boxes < SOME:
            return SCREEN
        return 0 if seen or boxes >= ENOUGH else MANY

    def _kind(self, fold: Fold) -> Any:
        """Of folds that are alike to a reader, one need be opened."""
        if fold.period:
            unit = fold.units[0]
            alike = isinstance(unit, Fold) and self.layer(unit)
            return self._kind(unit) if isinstance(unit, Fold) and alike else stem(fold.label)
        layer = self.layer(fold)
        if layer is None:
            return (None, *sorted(stem(part.label) for part in fold.folds))
        own = self.scope(fold)
        inside = (
            a.kind
            for s, a in self.graph.layers.items()
            if s[: len(own)] == own and len(s) > len(own)
        )
        return layer, frozenset(inside)

    def _is_telling(self, fold: Fold) -> bool:
        if fold.main is not None or fold.first is not None or fold.still:
            return False
        if self.graph.is_leaf(fold.steps[0]):  # it holds leaves alone
            return False
        layers = any(self.layer(part) for part in fold.folds)
        repeats = fold.repeated is not None  # a layer that is called twice in a row, too
        return layers or repeats or not fold.scope or len(fold.steps) > SMALL

    def layer(self, fold: Fold) -> Layer | None:
        """What module a scope is, if it is one."""
        return self.graph.layers.get(self.scope(fold)) if fold.scope else None

    def unless(self, shut: Iterable[str], budget: int) -> list[Fold]:
        """All folds but those with these keys, outer ones first, as far as the budget goes."""
        closed, boxes, pending = set(shut), 1, deque([self.root])
        found: list[Fold] = []
        while pending:
            fold = pending.popleft()
            more = boxes - 1 + len(fold.parts)
            if fold.key not in closed and more <= budget:
                boxes = more
                found.append(fold)
                pending += fold.folds
        return found

    def row(self, opened: Collection[Fold], fold: Fold | None = None) -> int:
        """How many boxes lie one after the other at most, in all or in an opened fold."""
        fold = fold or self.root
        longest = [
            self.row(opened, part) if isinstance(part, Fold) and part in opened else 1
            for part in fold.parts
        ]
        before: dict[int, list[int]] = {}
        for u, v in fold.edges:
            before.setdefault(v, []).append(u)
        for n in topological(len(longest), fold.edges):
            longest[n] += max((longest[u] for u in before.get(n, ())), default=0)
        return max(longest)

    def way(self, key: str) -> list[Fold]:
        """The folds around the one with this key, or the value of this name, outer ones first.

        The fold itself is the last.

        Raises
        ------
        ValueError
            There is none; the message names the nearest key.
        """
        ways = [[self.root]]
        while ways:
            way = ways.pop()
            if way[-1].key == key:
                return way
            if key.startswith(way[-1].inside):
                ways += [[*way, part] for part in way[-1].folds]
        if key in self.graph.names:
            return self.around(self.graph.id(key))
        seen = [part.key for fold in self.opened() for part in fold.folds]
        seen += dict.fromkeys(one.title for one in calls_of(self.graph).values())
        raise ValueError(words.unknown("fold", key, seen))

    def around(self, i: int) -> list[Fold]:
        """The folds that a value lies in, outer ones first."""
        way = [self.root]
        while inner := [part for part in way[-1].folds if i in part.values]:
            way += inner
        return way

    def cut(self, opened: Iterable[Fold]) -> list[tuple[int | Fold, tuple[Fold, ...]]]:
        """The boxes to show: values and closed folds, each with the opened folds around it."""
        return [*self._seen(self.root, set(opened), ())]

    def _seen(
        self, part: int | Fold, opened: set[Fold], around: tuple[Fold, ...]
    ) -> Iterator[tuple[int | Fold, tuple[Fold, ...]]]:
        if isinstance(part, int) or part not in opened:
            yield part, around
            return
        for inner in part.parts:
            yield from self._seen(inner, opened, around if part is self.root else (*around, part))

    def length(self, opened: Iterable[Fold]) -> int:
        """Through how many columns the edges of this picture run, all together.

        It says how hard a picture is to read, and to lay out: a parameter that every step of a
        long loop reads has few neighbours and many long edges.
        """
        groups = [values_of(part) for part, _ in self.cut(opened)]
        return length(len(groups), self.between(groups))


def is_large(graph: Graph) -> bool:
    """Whether a picture of all values would be too much: too many, or too long the ways in it.

    A long row stays as it is where nothing in it repeats often.
    """
    if len(graph) > graph.legible or graph.layers:
        return True
    edges = [(u, v) for u, v, _ in graph.edges()]
    rank = ranks(len(graph), edges)
    if sum(rank[v] - rank[u] for u, v in edges) > LONG:
        return True
    folding = Folding(graph)
    return max(rank) >= COLUMNS and any(part.count >= ROUNDS for part in folding.root.folds)
