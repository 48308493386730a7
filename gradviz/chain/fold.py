"""A fold: values of a Graph that can be shown as one box, and opened."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from gradviz.language import translated

if TYPE_CHECKING:
    from gradviz.chain.parts import Parts

OWN = ("loop", "iteration", "chain", "leaves")  # what has no name in the program


class Fold:
    """Values that can be shown as one box.

    Attributes
    ----------
    key : str
        What it is opened by; the same in every picture of the same program.
    name : str
        What it is called among its neighbours: its `label`, numbered where others have the same.
    units : sequence of int or Fold
        What it consists of in topological order, leaves aside: values by their ids, and folds.
    leaves : list of int
        The leaves in it: those that nothing outside reads, and the parameters and constants of a
        layered program that are read here first, whatever else reads them.
    depth : int
        How many scopes are around its parts.
    scope : bool
        Whether it is a scope of the program.
    period : int
        How many units an iteration has; 0 where nothing repeats.
    missing : int
        How many of them the first one lacks: those that there computed with constants alone.
    first : int or None
        Of a stretch of iterations, the number of its first one.
    main : int or None
        The value that it stands for: all others are forms of it or of its operands.
    function : bool
        Whether it is what one call of a function computed between layers.
    """

    def __init__(
        self,
        folding: Parts,
        label: str,
        units: Sequence[int | Fold],
        depth: int,
        *,
        scope: bool = False,
        period: int = 0,
        missing: int = 0,
        first: int | None = None,
        main: int | None = None,
        function: bool = False,
    ) -> None:
        self.folding: Parts = weakref.proxy(folding)  # which holds this, and the Graph
        self.label, self.units, self.depth = label, units, depth
        self.scope, self.period, self.first, self.main = scope, period, first, main
        self.function, self.missing = function, missing
        self.leaves: list[int] = []
        self.still = False  # whether no gradient comes to it
        self.blocks = False  # whether it repeats scopes that keep their own keys
        self.call("", label)

    def call(self, key: str, name: str, inside: str | None = None) -> None:
        """Give it its place: the keys of its parts begin with `inside`."""
        self.key, self.name = key, name
        self.inside = f"{key}/" if inside is None else inside

    def __repr__(self) -> str:
        return f"<Fold {self.key!r}: {len(self.values)} values>"

    @cached_property
    def steps(self) -> list[int]:
        """The ids of the values in it in the order of recording, its leaves aside."""
        found: list[int] = []
        for unit in self.units:
            found += unit.steps if isinstance(unit, Fold) else (unit,)
        return sorted(found)

    @property
    def values(self) -> list[int]:
        """The ids of all values in it, in the order of recording."""
        return sorted((*self.steps, *self.leaves)) if self.leaves else self.steps

    @cached_property
    def look(self) -> int:
        """A number that folds of the same structure share."""
        return self.folding.look_of_fold(self)

    @cached_property
    def _parts(self) -> list[int | Fold]:
        return self.folding.arranged(self)

    @property
    def _only(self) -> Fold | None:
        """The one fold that this consists of, if it does: the two are one box, not two in one."""
        if self.period or not self.key or len(self._parts) > 1:
            return None
        only = self._parts[0]
        return only if isinstance(only, Fold) else None

    @property
    def parts(self) -> list[int | Fold]:
        """What it is opened into."""
        return self._only.parts if self._only else self._parts

    @property
    def folds(self) -> list[Fold]:
        """The folds among its parts."""
        return [part for part in self.parts if isinstance(part, Fold)]

    @cached_property
    def edges(self) -> set[tuple[int, int]]:
        """Which part leads to which, by their numbers."""
        return self.folding.between([values_of(part) for part in self.parts])

    def stretch(self, start: int, end: int) -> Sequence[int | Fold]:
        """The units of some iterations of what repeats."""
        first = start * self.period - self.missing
        return self.units[max(first, 0) : end * self.period - self.missing]

    def rounds(self) -> Iterator[Sequence[int | Fold]]:
        """The iterations of what repeats, one after the other: of a long loop they take memory."""
        return (self.stretch(turn, turn + 1) for turn in range(self.count))

    @property
    def repeated(self) -> Fold | None:
        """The fold whose iterations are its parts: itself or the only one in it, if so."""
        return self if self.period else self._only and self._only.repeated

    @property
    def count(self) -> int:
        """How many iterations it stands for; 1 where nothing repeats."""
        fold = self.repeated
        return -(-(len(fold.units) + fold.missing) // fold.period) if fold else 1

    @property
    def said(self) -> str:
        """Its name; where the program gives it none, in the language that is spoken."""
        own = self.label in OWN and self.name.startswith(self.label)
        if own and not (self.scope or self.blocks):
            return translated(self.label) + self.name.removeprefix(self.label)
        return self.name

    @property
    def title(self) -> str:
        """The same, with the count of what repeats."""
        counted = self.count > 1 and self.first is None
        return f"{self.said} × {self.count}" if counted else self.said


def steps_of(part: int | Fold) -> Sequence[int]:
    """The ids of the values in a box, the leaves of a fold aside."""
    return part.steps if isinstance(part, Fold) else (part,)


def values_of(part: int | Fold) -> Sequence[int]:
    """The ids of the values in a box of a picture."""
    return part.values if isinstance(part, Fold) else (part,)


def first_of(part: int | Fold) -> int:
    """The first value in a box."""
    return part.values[0] if isinstance(part, Fold) else part
