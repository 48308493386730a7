"""The boxes of a picture of layers: what module each is, and how large what passes through it.

A layer is drawn as its author would write it down, ``conv1 · Conv2d 3 → 64, 7×7 /2``, with the norm
of what leaves it, of its parameters, and of the gradients of both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz import words
from gradviz.chain.backward import known_state
from gradviz.chain.fold import Fold
from gradviz.chain.folding import Folding
from gradviz.chain.totals import Tally, Totals
from gradviz.highlight import Highlight
from gradviz.language import say
from gradviz.statistics import norm

from .view import SIZES, Row

if TYPE_CHECKING:
    from gradviz.graph import Graph

PARAMETERS = 4  # so many have a row each


def title(graph: Graph, folding: Folding, fold: Fold) -> tuple[str, str]:
    """What a box of layers is called, and what it is."""
    inside = fold.repeated
    if fold.still:
        layer = folding.layer(fold)
        own = (_name(folding, fold) or layer.kind) if layer else fold.said
        return own, say("no gradient")
    if fold.main is not None:
        return operation(graph, fold.main)
    if inside:
        several = _several(folding, inside)
        if several and not _is_named(folding, fold):
            return several, ""
        times = several or say("{n} times", n=inside.count)
        own = _name(folding, fold) if fold.scope else ""
        return _run(folding, inside) or own or fold.said, times
    layer = folding.layer(fold)
    if layer is None:
        unread = not any(graph.readers[i] or graph.operands[i] for i in fold.steps)
        return fold.said, say("not used") if unread else ""
    name = _name(folding, fold)
    kinds = [folding.layer(part) for part in fold.folds]
    alike = len(kinds) > 1 and len({_kind(kind) for kind in kinds}) == 1
    if layer.kind == "Sequential" and alike:  # (a class of its own has a name that says more)
        return name, f"{len(kinds)} × {_kind(kinds[0])}" if kinds[0] else layer.kind
    if not name or name == layer.kind:  # of a Sequential, which gives no names
        return layer.kind, layer.arguments
    return name, f"{layer.kind} {layer.arguments}".strip()


def _name(folding: Folding, fold: Fold) -> str:
    """The attribute that a layer is: of a list ``layer1.0``; "" for bare numbers."""
    scope = folding.scope(fold)
    numbers = [*itertools.takewhile(str.isdigit, reversed(scope))]
    if not numbers:
        return fold.name
    word = len(scope) - len(numbers) - 1
    return ".".join((*scope[word:-1], fold.name)) if word >= 0 else ""


def _is_named(folding: Folding, fold: Fold) -> bool:
    """Whether what repeats has a name of the program: no bare numbers, as in a Sequential."""
    if fold.scope:
        return bool(_name(folding, fold))
    units = [unit for unit in fold.units if isinstance(unit, Fold)]
    return any(_name(folding, unit) for unit in units)


def _run(folding: Folding, fold: Fold) -> str:
    """What several layers of a list are called: ``blocks.1 … blocks.5``."""
    ends = fold.units[0], fold.units[-1]
    if fold.first is None or not fold.blocks:
        return ""
    names = [_name(folding, unit) for unit in ends if isinstance(unit, Fold)]
    return " … ".join(names) if all(names) else _several(folding, fold)


def _kind(layer: Any) -> str:
    return layer.kind if layer else ""


def _several(folding: Folding, fold: Fold) -> str:
    """``12 × GPT2Block``, of what repeats."""
    unit = fold.units[0]
    kind = _kind(folding.layer(unit)) if isinstance(unit, Fold) and fold.period == 1 else ""
    return f"{fold.count} × {kind}" if kind else ""


def operation(graph: Graph, i: int) -> tuple[str, str]:
    """The name of an operation, and what its result is called in the program."""
    node = graph.values[i]
    name = node.operation.name.partition("[")[0]
    own = graph.names[i].rpartition(".")[2].partition("(")[0]  # without its number
    given = ", ".join(f"{key}={_short(value)}" for key, value in (node.keywords or {}).items())
    said = "" if own == name or i not in graph.named else own
    return name.strip("_"), " ".join(filter(None, (said, given)))


def _short(value: Any) -> str:
    return repr(value) if isinstance(value, (str, bool)) else words.number(value)


def rows(
    graph: Graph, part: int | Fold, tally: Tally, total: Totals | None, mark: Highlight
) -> tuple[Row, ...]:
    """The norms of what leaves a box and of its parameters, each beside that of its gradient."""
    values = part.values if isinstance(part, Fold) else [part]
    parameters = [i for i in values if graph.is_leaf(i) and graph.kind(i) == "parameter"]
    others = sorted({*values}.difference(parameters))
    if total is not None:
        least, most = total.least, total.most
        if most.into and least.into is not None:
            sent = words.span(least.into, most.into)
        else:
            sent = _gradient(tally, others)
        out = words.span(least.value, most.value), sent
    else:
        i = values[0]
        out = _size(graph.values[i].value), _gradient(tally, [i])
    found = [Row(SIZES, say("output"), out, mark=proved(mark, others))] if others else []
    if len(parameters) <= PARAMETERS:
        for i, name in zip(parameters, _ends([graph.names[i] for i in parameters]), strict=True):
            shape = words.shape(graph.values[i].value)
            label = f"{name} {shape}".strip()
            sizes = _size(graph.values[i].value), _gradient(tally, [i])
            found.append(Row(SIZES, label, sizes, mark=proved(mark, [i])))
    else:
        count = sum(int(np.size(graph.values[i].value)) for i in parameters)
        size = _together([norm(graph.values[i].value) for i in parameters])
        cells = size, _gradient(tally, parameters)
        label = say("{n} parameters", n=f"{count:,}")
        found.append(Row(SIZES, label, cells, mark=proved(mark, parameters)))
    return tuple(found)


def _ends(names: list[str]) -> list[str]:
    """What follows the path that all of these dotted names have in common."""
    paths = [name.split(".") for name in names]
    steps = zip(*(path[:-1] for path in paths), strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda step: len({*step}) == 1, steps))
    return [".".join(path[common:]) for path in paths]


def proved(mark: Highlight, values: Iterable[int]) -> bool | None:
    """Whether all gradients are proved that a check has looked at; None if it did at none."""
    known = [mark.marks[i] for i in values if i in mark.marks]
    return all(known) if known else None


def apart(row: Row) -> tuple[Row, ...]:
    """A row of two norms as a row for each pass."""
    if row.kind != SIZES:
        return (row,)
    size, gradient = (f"‖·‖ {cell}" if cell[0].isdigit() else cell for cell in row.cells)
    return (
        replace(row, kind="value", cells=(size,), mark=None),
        replace(row, kind="gradient", cells=(gradient,)),
    )


def _together(sizes: list[float]) -> str:
    return words.number(math.hypot(*sizes), 3)


def _size(value: Any) -> str:
    return words.number(norm(value), 3)


def _gradient(tally: Tally, values: list[int]) -> str:
    """The norm of their gradients together; where there is none, or it is 0, why."""
    known = [norm(tally.gradients[i]) for i in values if i in tally.gradients]
    if any(known):
        return _together(known)
    states = {known_state(tally.graph, i) for i in values}
    found = next((s for s in ("underflown", "zero", "disconnected") if s in states), "not computed")
    return say(words.STATES[found], J=tally.graph.names[tally.graph.output])
