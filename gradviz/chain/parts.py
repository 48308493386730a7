"""What a fold is opened into.

A scope is a fold. What repeats is one fold with a count: blocks that are alike, the iterations of a
loop that the program went through. Where a level is still too wide, chains fold, and then stretches
of the recording. A leaf lies in the innermost fold that holds all its readers.

No path leaves a fold and comes back to it: a scope that is entered again is a fold per visit. So
the boxes of a picture form a DAG, whichever of them are open.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gradviz.chain import background, gathering
from gradviz.chain.columns import topological
from gradviz.chain.fold import Fold, first_of, steps_of
from gradviz.chain.repeats import common, repetitions, stem
from gradviz.language import say

if TYPE_CHECKING:
    from gradviz.graph import Graph
    from gradviz.model import Node

ROW = 7  # so many boxes one after the other are read well
WIDE = 20  # an opened fold has at most so many parts, leaves aside ...
MODEL = 32  # ... and of layers, which have names, so many
LEAVES = 8  # at least so many leaves stay apart in it
STRETCHES = 6  # into so many stretches it is cut where it has more
TWICE = 2  # what repeats more often is one round, and the rest
CHAIN = 3  # so many values, each the only reader of the one before, make a chain


class Parts:
    """How the folds of a Graph are cut into parts; see `gradviz.chain.folding.Folding`."""

    root: Fold

    def __init__(self, graph: Graph, scopes: bool) -> None:
        self.graph, self.scopes = graph, scopes
        self.layered = bool(graph.layers) and not scopes
        self._numbers: dict[Any, int] = {}  # what looks alike has one number
        self.still, self.idle = background.still(graph) if self.layered else (set(), set())

    def arranged(self, fold: Fold) -> list[int | Fold]:
        """What a fold is opened into; its leaves go along."""
        if fold.period:
            parts = self._iterations(fold)
        else:
            parts = self._by_scope(fold)
            if self.layered and fold.main is None:
                parts = gathering.formed(self, parts, fold.depth)
                parts = gathering.quiet(self, parts, fold)
                if fold.scope or (fold is self.root and () in self.graph.layers):  # in a module
                    flat = gathering.called(self, parts, fold.depth, gathering.program(self.graph))
                    several = len(flat) > MODEL
                    parts = gathering.called(self, parts, fold.depth) if several else flat
            if not self.scopes:
                wide = MODEL if self.layered else WIDE
                parts = self._repeats(parts, fold.depth)
                chained = self._chains(parts, fold.depth) if len(parts) > wide else parts
                parts = chained if len(chained) > 1 else parts  # (one that is all is no fold of it)
                parts = self._stretches(parts, fold.depth) if len(parts) > wide else parts
        loose: list[int | Fold] = [*self._settle(fold, parts)]
        if self.layered:
            loose = gathering.still_together(self, loose, fold)
            loose = gathering.unread_together(self, loose, fold)
        room = max(WIDE - len(parts), 0) + LEAVES
        if len(loose) > room and not self.scopes:
            loose = self._repeats(loose, fold.depth)
            loose = self._stretches(loose, fold.depth) if len(loose) > room else loose
        parts = sorted((*loose, *parts), key=first_of)
        if not fold.period:
            self._name(fold, [part for part in parts if isinstance(part, Fold)])
        return parts

    def _name(self, around: Fold, parts: list[Fold]) -> None:
        """Keys and names of the parts of a fold; blocks that are alike keep those they have."""
        used: Counter[str] = Counter()
        for part in parts:
            labels = [unit.label for unit in part.units if isinstance(unit, Fold) and unit.scope]
            part.blocks = part.period == 1 and bool(labels) and len({*labels}) == len(labels)
            part.blocks = part.blocks and not used.keys() & labels
            used.update(labels if part.blocks else ())
            used[part.label] += 1
            number = f" {used[part.label]}" if used[part.label] > 1 else ""
            name = part.label + number
            part.call(around.inside + name, name, around.inside if part.blocks else None)

    def _by_scope(self, fold: Fold) -> list[int | Fold]:
        """The units, those of an inner scope in one fold: in one for each visit, if need be."""
        values, depth, units = self.graph.values, fold.depth, fold.units
        visits: list[tuple[str | None, list[int]]] = []
        for unit in units:
            if isinstance(unit, Fold):  # this level is arranged already
                return list(units)
            scope = values[unit].scope
            label = scope[depth] if len(scope) > depth else None
            if label is None or not visits or visits[-1][0] != label:
                visits.append((label, []))
            visits[-1][1].append(unit)
        count = Counter(label for label, _ in visits if label is not None)
        if not count:
            return list(units)
        if max(count.values()) > 1 and not self.layered:  # (a call of a layer is a box of its own)
            visits = self._acyclic(visits)
        return [
            inner[0] if label is None else Fold(self, label, inner, depth + 1, scope=True)
            for label, inner in visits
        ]

    def _acyclic(
        self, visits: list[tuple[str | None, list[int]]]
    ) -> list[tuple[str | None, list[int]]]:
        """The visits of each scope as one, except where a path leaves it and comes back."""
        whole: dict[Any, tuple[str | None, list[int]]] = {}
        for label, inner in visits:
            key = inner[0] if label is None else label
            whole.setdefault(key, (label, []))[1].extend(inner)
        groups = list(whole.values())
        edges = self.between([inner for _, inner in groups])
        ahead = topological(len(groups), edges)
        if len(ahead) < len(groups):
            back = topological(len(groups), {(v, u) for u, v in edges})
            kept = {*ahead, *back}  # the others lie on a way that comes back, or between two
            apart = {groups[n][0] for n in range(len(groups)) if n not in kept}
            groups = [group for group in groups if group[0] is None or group[0] not in apart]
            groups += [visit for visit in visits if visit[0] is not None and visit[0] in apart]
            groups.sort(key=lambda group: group[1][0])
            ahead = topological(len(groups), self.between([inner for _, inner in groups]))
        return [groups[n] for n in ahead]

    def between(self, groups: Sequence[Sequence[int]]) -> set[tuple[int, int]]:
        """The edges between groups of values, by their numbers."""
        group = {i: n for n, inner in enumerate(groups) for i in inner}
        return {
            (group[u], n)
            for n, inner in enumerate(groups)
            for v in inner
            for u in self.graph.operands[v]
            if u in group and group[u] != n
        }

    def scope(self, fold: Fold) -> tuple[str, ...]:
        """The scope that a fold is; forms of its values, from outside, may be in it too."""
        scopes = (self.graph.values[i].scope[: fold.depth] for i in fold.steps)
        return next((scope for scope in scopes if len(scope) == fold.depth), ())

    def is_leaf(self, i: int) -> bool:
        """Whether a value is a leaf, or no gradient comes to it nor to what it is made from."""
        return self.graph.is_leaf(i) or i in self.still

    def _repeats(self, units: list[int | Fold], depth: int) -> list[int | Fold]:
        """The units, with each stretch that repeats as one fold; from the inside outwards."""
        while True:
            alike = Counter(stem(unit.label) for unit in units if isinstance(unit, Fold))
            looks = [
                self._number(unit) if isinstance(unit, Fold) and unit.main is None
                and alike[stem(unit.label)] < 2 else self._look(unit)
                for unit in units
            ]  # fmt: skip
            sizes = [len(unit.steps) if isinstance(unit, Fold) else 1 for unit in units]
            found: list[int | Fold] = []
            at = 0
            rows = repetitions(looks, sizes)
            begins = [*(start for start, *_ in rows[1:]), len(units)]
            for (start, period, rounds), following in zip(rows, begins, strict=False):
                end = start + period * rounds
                late = self._late(units[start : start + period])
                while late and end < following and looks[end] == looks[end - period]:
                    end += 1
                missing = (period - (late or 0)) % period  # of the first round, before its others
                if period > 1:  # (of blocks each has its name)
                    back = self._same_calls(units, range(start + period - 1, at - 1, -1), period)
                    if late is not None and back > missing:
                        back -= (back - missing) % period
                    start, missing = start - back, max(missing - back, 0)
                    on = self._same_calls(units, range(end - period, following), period)
                    end += max(on - (end - start + missing + on) % period, 0)
                found += units[at:start]
                repeated = units[start:end]
                label = self._label(repeated)
                found.append(Fold(self, label, repeated, depth, period=period, missing=missing))
                at = end
            if not at:
                return units
            units = found + units[at:]

    def _same_calls(self, units: Sequence[int | Fold], at: range, period: int) -> int:
        """How many after a first round come out of the same calls of the program as it did.

        They may be of other sizes, or, as a sum that begins with 0, another operation.
        """

        def call(unit: int | Fold) -> tuple[Any, Any]:
            label = unit.label if isinstance(unit, Fold) and unit.scope else ""
            if label != stem(label):  # by a number in a list of layers
                return stem(label), True
            node = self.graph.values[steps_of(unit)[-1]]
            return (label, inside_of(node)), gathering.places(node)

        pairs = ((units[i], units[j]) for i, j in zip(at, at[period:], strict=False))
        same = (call(unit) == call(other) and call(unit)[1] for unit, other in pairs)
        return sum(1 for _ in itertools.takewhile(bool, same))

    def _late(self, units: list[int | Fold]) -> int | None:
        """How many of these, which repeat, come before the one that begins a round.

        A round goes on in the order of the program's instructions, in each of its functions. None:
        each is in a function of its own.
        """
        rows: dict[Any, list[tuple[int, int]]] = {}
        for n, unit in enumerate(units):
            for code, place in gathering.places(self.graph.values[steps_of(unit)[-1]]).items():
                rows.setdefault(code, []).append((n, place))
        begins = [0] * (len(units) + 1)  # how many functions go back to an earlier place before it
        for row in rows.values():
            for (n, place), (m, after) in zip(row, [*row[1:], row[0]], strict=True):
                if after < place:  # between the two a round begins
                    begins[n + 1] += 1
                    begins[m + 1] -= 1
                    begins[0] += m < n
        known = [*itertools.accumulate(begins)][:-1]
        return known.index(max(known)) if any(known) else None

    def _label(self, units: list[int | Fold]) -> str:
        """What things that repeat are called together: blocks by what their names begin with."""
        if isinstance(units[0], int) and self.graph.is_leaf(units[0]):
            return common([self.graph.names[i] for i in units if isinstance(i, int)]) or "leaves"
        labels = [unit.label for unit in units if isinstance(unit, Fold)]
        if len(labels) < len(units) or len({*map(stem, labels)}) > 1:
            return "loop"
        return common(labels) or "blocks"

    def _iterations(self, fold: Fold) -> list[int | Fold]:
        first, turns = fold.first or 1, fold.count
        parts: list[int | Fold] = []
        # A whole loop fits in a row; iterations that are blocks have names, and each is looked for.
        whole = fold.first is None and (self.layered or not fold.blocks)
        if whole and turns > TWICE:
            parts = [self._run(fold, 1, turns)]
            turns = 1
        elif turns > (ROW if fold.first is None and not fold.blocks else WIDE):
            size = -(-turns // STRETCHES)
            starts = range(0, turns, size)
            return [self._run(fold, start, min(start + size, turns)) for start in starts]
        calls = self._calls(fold)
        for n, units in enumerate(itertools.islice(fold.rounds(), turns), first):
            unit = units[0] if fold.period == 1 else Fold(self, "iteration", units, fold.depth)
            if isinstance(unit, Fold) and fold.blocks:
                unit.call(fold.inside + unit.label, unit.label)
            elif isinstance(unit, Fold):
                unit.call(f"{fold.inside}{n}", calls.get(n, f"{unit.label} {n}"))
            parts.append(unit)
        return sorted(parts, key=first_of)

    def _calls(self, fold: Fold) -> dict[int, str]:
        """By number the rounds that are calls of one layer on different things, with what it is."""
        scope, found = self.scope(fold), dict[int, str]()
        if not self.layered or not scope or fold.first is not None:
            return found
        for n, units in enumerate(fold.rounds(), 1):
            inside = {i for unit in units for i in steps_of(unit)}
            read = {u for v in inside for u in self.graph.operands[v]} - inside
            read = {u for u in read if self.graph.kind(u) not in ("parameter", "constant")}
            names = {
                (*self.graph.values[u].scope[fold.depth - 1 :], self.graph.names[u])[0]
                for u in read if u not in self.still or self.graph.kind(u) == "input"
            }  # fmt: skip
            if len(names) != 1 or names <= {scope[-1], *found.values()}:
                return {}
            found[n] = names.pop()
        return {n: f"{scope[-1]}({name})" for n, name in found.items()}

    def _run(self, fold: Fold, start: int, end: int) -> Fold:
        """Some iterations of a loop as one fold."""
        units = fold.stretch(start, end)
        first, last = (fold.first or 1) + start, (fold.first or 1) + end - 1
        run = Fold(self, fold.label, units, fold.depth, period=fold.period, first=first)
        run.missing = 0 if start else fold.missing
        run.blocks = fold.blocks
        named = [unit.label for unit in (units[0], units[-1]) if isinstance(unit, Fold)]
        stretch = say("iterations {first}–{last}", first=first, last=last)
        name = " … ".join(named) if fold.blocks else stretch
        run.call(f"{fold.key}/{first}-{last}", name, fold.inside)
        return run

    def _chains(self, units: list[int | Fold], depth: int) -> list[int | Fold]:
        """The units, with each chain of values that only the next one reads as one fold."""
        graph = self.graph
        apart = {unit for unit in units if isinstance(unit, int)} - {graph.output}
        length: dict[int, int] = {}
        before: dict[int, int] = {}
        for v in sorted(apart):
            only = [
                u for u in set(graph.operands[v])
                if u in apart and all(reader == v for reader, _ in graph.readers[u])
            ]  # fmt: skip
            longest = max(only, key=lambda u: (length[u], u), default=None)
            length[v] = 1 if longest is None else length[longest] + 1
            if longest is not None:
                before[v] = longest
        chains: dict[int, list[int]] = {}
        for end in apart.difference(before.values()):
            if length[end] >= CHAIN:
                chains[end] = [end]
                while chains[end][-1] in before:
                    chains[end].append(before[chains[end][-1]])
        within = {i for chain in chains.values() for i in chain}
        return [  # a chain stands where it ends: all that it reads comes before
            Fold(self, self._chain(chains[unit][::-1]), chains[unit][::-1], depth)
            if isinstance(unit, int) and unit in chains else unit
            for unit in units
            if unit in chains or unit not in within
        ]  # fmt: skip

    def _chain(self, chain: list[int]) -> str:
        return self._ends(chain) if self.layered else "chain"

    def _stretches(self, units: list[int | Fold], depth: int) -> list[int | Fold]:
        """The units in a few folds of some that follow each other; J stays by itself."""
        last = [unit for unit in units[-1:] if unit == self.graph.output]
        units = units[: len(units) - len(last)]
        size = -(-len(units) // STRETCHES)
        cut = [units[start : start + size] for start in range(0, len(units), size)]
        return [*(Fold(self, self._ends(stretch), stretch, depth) for stretch in cut), *last]

    def _ends(self, units: Sequence[int | Fold]) -> str:
        """What a stretch is called: by its first and its last."""
        first, last = (
            unit.label if isinstance(unit, Fold) else self.graph.names[unit].rpartition(".")[2]
            for unit in (units[0], units[-1])
        )
        return f"{first} … {last}" if first != last else first

    def _settle(self, fold: Fold, parts: list[int | Fold]) -> list[int]:
        """Give the leaves that only one of the folds reads to it; the others are returned.

        One that nothing reads goes where the other values of its scope are.
        """
        depth, several = fold.depth, len(parts)
        reader, direct = self._reader(fold.leaves, parts)

        def single(part: int | Fold | None) -> bool:
            return part is not None and (isinstance(part, int) or part.main is not None)

        homes: dict[Any, int] = {}
        if -1 in reader.values():
            for n, part in enumerate(parts):
                for v in steps_of(part):
                    homes.setdefault(self.graph.values[v].scope[: depth + 1], n)
        loose: set[int] = set()
        for leaf in sorted(reader, reverse=True):
            n, scope = reader[leaf], self.graph.values[leaf].scope
            if n < 0 and len(scope) > depth:
                n = homes.get(scope[: depth + 1], -1)
            only = parts[n] if 0 <= n < several else None
            if self.layered and not depth and self.is_argument(leaf):
                only = None  # such are looked for
            elif (
                fold.main is None
                and leaf in self.still
                and len(scope) > depth
                and (single(only) or (leaf not in direct and self._is_other(only, scope)))
            ):
                only = None  # so is a layer that no gradient comes to
            elif self.still and any(v in loose for v, _ in self.graph.readers[leaf]):
                only = None  # or what reads it would lie between a box and itself
            elif self.layered and fold.main is None and isinstance(only, int):
                only = parts[n] = gathering.standing_for(self, only, [only], depth)
            if isinstance(only, Fold):
                only.leaves.append(leaf)
            else:
                loose.add(leaf)
        for part in parts:
            if isinstance(part, Fold):
                part.leaves.sort()
        return sorted(loose)

    def _reader(
        self, leaves: Sequence[int], parts: list[int | Fold]
    ) -> tuple[dict[int, int], set[int]]:
        """The part that all readers of a leaf are in; and which leaves it reads itself.

        -1: none is in any; as many as there are parts: they are in several.
        """
        reader = dict.fromkeys(leaves, -1)
        turns: dict[int, int] = {}  # the round of what repeats that reads a leaf

        def read(u: int, n: int, turn: int) -> None:
            if reader[u] < 0 or (n < reader[u] and self._stays(u)):
                reader[u], turns[u] = n, turn
            elif self._stays(u):
                return
            elif (reader[u], turns[u]) != (n, turn):
                reader[u] = len(parts)

        for n, part in enumerate(parts if leaves else ()):
            for turn, v in self._rounds(part):
                for u in self.graph.operands[v]:
                    if u in reader:
                        read(u, n, turn)
        direct = {u for u in leaves if reader[u] >= 0 and self.graph.is_leaf(u)}
        for leaf in sorted(leaves, reverse=True):  # what it is computed from goes where it goes
            for u in self.graph.operands[leaf]:
                if u in reader and reader[leaf] >= 0:
                    read(u, reader[leaf], turns[leaf])
        return reader, direct

    def is_argument(self, leaf: int) -> bool:
        """Whether the program was given a value: what a layer keeps is an input, too."""
        scope = self.graph.values[leaf].scope[:1]
        return self.graph.kind(leaf) == "input" and not (scope and scope in self.graph.layers)

    def _is_other(self, part: int | Fold | None, scope: tuple[str, ...]) -> bool:
        """Whether a part is another layer than that of this scope."""
        own = self.scope(part) if isinstance(part, Fold) and part.scope else ()
        return bool(own) and scope[: len(own)] != own

    def _stays(self, leaf: int) -> bool:
        """Whether a leaf is with its first reader, whatever else reads it.

        A layer's parameter is, and a constant, which says little.
        """
        return self.layered and self.graph.kind(leaf) in ("parameter", "constant")

    def _rounds(self, part: int | Fold) -> Iterable[tuple[int, int]]:
        """The values of a part, each with the number of its round, if layers repeat there."""
        if not self.layered or isinstance(part, int) or not part.period:
            return ((0, v) for v in steps_of(part))
        return (
            (n, v)
            for n, units in enumerate(part.rounds())
            for unit in units
            for v in steps_of(unit)
        )

    # --- what looks alike --------------------------------------------------------------------

    def _number(self, look: Any) -> int:
        return self._numbers.setdefault(look, len(self._numbers))

    def _look(self, unit: int | Fold) -> int:
        """Alike are values that the same instruction computed, and leaves of one shape.

        What is computed may be longer each time: a cache grows, an expert has the tokens it gets.
        """
        if isinstance(unit, Fold):
            return unit.look
        node = self.graph.values[unit]
        shape = getattr(node.value, "shape", ())
        if self.graph.is_leaf(unit):
            return self._number((node.operation.name, shape, stem(self.graph.names[unit])))
        if site := node.site:
            return self._number((node.operation.name, id(site[0]), site[1], inside_of(node)))
        return self._number((node.operation.name, shape))

    def look_of_fold(self, fold: Fold) -> int:
        """Alike are repeats of the same, and folds of one name with the same operations inside.

        And with parameters of the same sizes, where they are layers.
        """
        if fold.period:
            return self._number(("repeat", *map(self._look, fold.units[-fold.period :])))
        if fold.main is not None:
            return self._look(fold.main)
        graph = self.graph
        place = {i: n for n, i in enumerate(fold.steps, 1)}

        def shape(i: int) -> Any:
            found = getattr(graph.values[i].value, "shape", ())
            return found if graph.kind(i) == "parameter" else len(found)

        look = tuple(
            (
                graph.values[i].operation.name,
                shape(i),
                *(("inside", place[u]) if u in place else shape(u) for u in graph.operands[i]),
            )
            for i in fold.steps
        )
        return self._number((stem(fold.label), look))


def inside_of(node: Node) -> int:
    """By which instructions of a library's module the user's one line computed a value; 0: by none.

    Else all that a recurrent cell computes would look like rounds of a loop.
    """
    return getattr(node.operation, "inside_of", 0)
