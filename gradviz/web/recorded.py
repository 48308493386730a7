"""A recorded run for the browser: its curve, its map, its findings, and Graphs of its steps.

However many steps a run has, so many columns are shown and so many bytes are sent.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gradviz.chain.health.findings import SEVERITIES
from gradviz.chain.health.over_time import LOOKED, Onset, OverTime, spread
from gradviz.errors import TraceError
from gradviz.language import asked, in_every_language, say, speaking
from gradviz.show.style import PALETTES
from gradviz.show.timeline import QUANTITIES, combined, layers
from gradviz.words import choose, clean, shape

from .cells import scalar
from .page import document, packed, stylesheet, words
from .payload import IN_FULL, numbers, structure
from .pictures import Pictures, sealed
from .rooms import joined
from .wire import Column, FoundOverTime, OpenedPass, Recorded

if TYPE_CHECKING:
    from gradviz.chain.health import Finding
    from gradviz.graph import Graph
    from gradviz.keep.training import Training

POINTS, FINDINGS = 600, 24
"""So many points of the curve and findings are shown."""
BYTES = 6 * 2**20
"""So much of Graphs is in a page."""


class Telling:
    """What is told of a run, which may still go on.

    Parameters
    ----------
    training : Training
    columns : int, optional
        So many steps are examined and shown at most, besides those at which findings began.
    """

    def __init__(self, training: Training, columns: int = LOOKED) -> None:
        self.training, self.columns = training, columns
        self.structures: dict[str, str] = {}
        self._over_time = OverTime(self.training.healths)

    def clear(self) -> None:
        """Forget what was examined: the file was begun anew."""
        self._over_time = OverTime(self.training.healths)

    def _graph(self, step: int, index: int) -> Iterator[Graph]:
        """The Graph of a step's backward pass, if it has one."""
        with suppress(KeyError):
            yield self.training.graph(step, index)

    @speaking("en")
    def told(self) -> tuple[Recorded, list[int]]:
        """What the page shows, and the places of its columns among the steps."""
        steps = self.training.steps
        looked = spread(len(steps), self.columns)
        onsets = self._over_time.onsets([steps.numbers[i] for i in looked], steps.numbers)
        place = {number: i for i, number in enumerate(steps.numbers)}
        onsets = [*filter(None, [self.training.still]), *onsets][:FINDINGS]
        began = {place[step] for o in onsets for step in (o.before, o.first) if step is not None}
        places = sorted({*looked, *began})
        column = {steps.numbers[i]: n for n, i in enumerate(places)}
        shown = [steps[i] for i in places]
        rows = layers(steps.names) if steps.names else {}
        found: list[FoundOverTime] = [
            {
                "kind": in_every_language(partial(say, one.kind)),
                "severity": one.severity,
                "where": clean(one.where, 60),
                "text": in_every_language(partial(_said, one)),
                "first": one.first,
                "at": [column[step] for step in one.seen if step in column],
            }
            for one in onsets
        ]
        told: Recorded = {
            "title": clean(self.training.path.name),
            "total": len(steps),
            "what": dict(QUANTITIES),
            "curve": curve(steps.numbers, steps.losses),
            "columns": [_column(step) for step in shown],
            "rows": [clean(name, 60) for name in rows],
            "cells": {
                what: [
                    [_short(combined(step, members, what)) for step in shown]
                    for members in rows.values()
                ]
                for what in QUANTITIES
            },
            "findings": found,
        }
        return told, places

    @speaking("en")
    def opened(self, place: int, passes: Iterable[int]) -> list[OpenedPass]:
        """The Graphs of a step's backward passes for the page, and the keys of their structures."""
        step = self.training.steps.numbers[place]
        return [
            {"index": i, "structure": self._structure(graph), "packed": packed(_opened(graph))}
            for i in passes
            for graph in self._graph(step, i)
        ]

    def _structure(self, graph: Graph) -> str:
        """The key of the structure of a Graph: steps of one program have one."""
        shapes = [shape(node.value) for node in graph.values]
        program = repr((graph.names, graph.operands, graph.output, shapes))
        key = hashlib.sha256(program.encode()).hexdigest()[:16]
        if key not in self.structures:
            large = len(graph.detailed(None)) > IN_FULL
            self.structures[key] = packed(structure(graph, None, set() if large else None))
        return key


def _said(onset: Onset) -> str:
    return clean(onset.text, 400)


def _opened(graph: Graph) -> dict[str, Any]:
    pictures = Pictures(graph)
    [picture] = sealed(pictures.drawings([pictures.at_first()]))
    found: tuple[Finding, ...] = ()
    with suppress(TraceError):
        found = graph.diagnose().findings[:5]

    def findings() -> str:
        lines = (line for finding in found for line in finding.told().splitlines())
        return "\n".join(clean(line, 1000) for line in lines)

    severities = (SEVERITIES.index(finding.severity) for finding in found)
    gravity = max((len(SEVERITIES) - severity for severity in severities), default=0)
    return {
        "numbers": numbers(graph),
        "drawing": picture,
        "drawings": packed([picture]),
        "folded": picture["folded"],
        "findings": in_every_language(findings),
        "gravity": gravity,
    }


def curve(numbers: Sequence[int], losses: Sequence[float | None]) -> list[list[Any]]:
    """The losses in parts of the run: its first step, the least, the greatest, one that is none."""
    found: list[list[Any]] = []
    size = max(1, math.ceil(len(numbers) / POINTS))
    for start in range(0, len(numbers), size):
        known = [loss for loss in losses[start : start + size] if loss is not None]
        finite = [loss for loss in known if math.isfinite(loss)]
        broken = next((scalar(loss) for loss in known if not math.isfinite(loss)), None)
        ends = [_short(min(finite)), _short(max(finite))] if finite else [None, None]
        found.append([numbers[start], *ends, broken])
    return found


def _column(step: Any) -> Column:
    return {
        "step": step.number,
        "loss": None if step.loss is None else scalar(step.loss),
        "passes": len(step.losses),
        "stepped": step.stepped,
        "note": clean(step.note, 200),
    }


def _short(value: float | None) -> Any:
    """A number in four digits."""
    return None if value is None else scalar(float(f"{value:.4g}"))


@cache
def run_stylesheet() -> str:
    """The style sheet of a run's page."""
    return stylesheet() + (files("gradviz.web") / "run.css").read_text(encoding="utf-8")


def graphs_of(run: Telling, places: Sequence[int]) -> dict[int, list[OpenedPass]]:
    """The Graphs of the columns as far as they fit: evenly spread, those examined first."""
    found: dict[int, list[OpenedPass]] = {}
    room = BYTES
    order = [places[n] for n in _coarse_first(len(places))]
    first = [(place, i) for place in order for i in run.training.examined(place)]
    every = [(p, i) for p in order for i in range(len(run.training.steps[p].losses))]
    for place, index in dict.fromkeys([*first, *every]):
        if room <= 0:
            break
        for opened in run.opened(place, [index]):
            found.setdefault(run.training.steps.numbers[place], []).append(opened)
            room -= len(opened["packed"])
    return found


def _coarse_first(count: int) -> list[int]:
    """The places 0 ... count - 1: the last, the first, those in the middle, and so on."""
    order: dict[int, None] = dict.fromkeys([count - 1] if count else [])
    stride = 1 << max(count - 1, 0).bit_length()
    while stride:
        order |= dict.fromkeys(range(0, count, stride))
        stride //= 2
    return list(order)


def run_page(training: Training, theme: str = "auto", language: str = "") -> str:
    """One file for a whole run."""
    choose("theme", theme, PALETTES)
    language = asked(language)
    run = Telling(training)
    told, places = run.told()
    state = {
        "title": told["title"],
        "theme": theme,
        "language": language,
        "words": words(),
        "run": told,
        "graphs": graphs_of(run, places),
        "structures": run.structures,
    }
    return document([state], joined("recorded") + "openRun();\n", run_stylesheet(), "recorded")
