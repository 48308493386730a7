"""A training run on disk: a lean Graph of every n-th step, readable up to the last whole one.

A file is a sequence of gzip members, one for each step: a line of JSON with the step's number, its
loss and a few numbers of each parameter, then the Graph in the format of `gradviz.saved`. A member
is appended and flushed when its step is over, so a crash costs at most the step it happened in.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz import saved
from gradviz.chain.backward import Gradients
from gradviz.graph import Graph, Node
from gradviz.statistics import Statistics, measure

if TYPE_CHECKING:
    from gradviz.show.timeline import Timeline

FORMAT, VERSION = "gradviz training", 1
_GZIP = 31  # zlib's window bits for the gzip format
_CHUNK = 2**16


@dataclass(frozen=True)
class Step:
    """One sampled step.

    Attributes
    ----------
    number : int
        The step of the run.
    loss : float
        J.
    sizes : dict of str to int
        How many numbers each parameter is.
    weights, gradients : dict of str to float
        Their root mean square, and that of their gradient, where there is one.
    updates : dict of str to float
        ‖change‖ / ‖weight‖ of each parameter in this step; NaN where it is not known.
    """

    number: int
    loss: float
    sizes: dict[str, int]
    weights: dict[str, float]
    gradients: dict[str, float]
    updates: dict[str, float]


def append(
    path: str | os.PathLike[str], graph: Graph, number: int, updates: Mapping[str, float]
) -> None:
    """Write one step at the end of a file.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    lean = _lean(graph)
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "step": number}
    head["loss"] = _written(measure(lean.values[lean.output].value).mean)
    head["parameters"] = {}
    for i in sorted(lean.wrt):
        value, gradient = lean.values[i].value, lean.derivatives.gradients.get(i)
        head["parameters"][lean.names[i]] = [
            measure(value).size,
            _written(measure(value).rms),
            None if gradient is None else _written(measure(gradient).rms),
            _written(updates.get(lean.names[i], np.nan)),
        ]
    packer = zlib.compressobj(wbits=_GZIP)
    text = f"{json.dumps(head)}\n{saved.dumps(lean)}"
    with open(path, "ab") as file:
        file.write(packer.compress(text.encode()) + packer.flush())
        file.flush()
        os.fsync(file.fileno())


def _lean(graph: Graph) -> Graph:
    """A copy that holds statistics, without samples, instead of arrays."""

    def shrunk(value: Any) -> Any:
        if not np.ndim(value):
            return np.float64(value.mean) if isinstance(value, Statistics) else value
        return replace(measure(value), sample=np.empty(0))

    nodes = [
        Node.new(
            shrunk(node.value), node.operation, keywords=node.keywords, order=node.order,
            scope=node.scope, name=node.name, site=node.site,
        )
        for node in graph.values
    ]  # fmt: skip
    gradients, messages = graph.derivatives
    lean = Graph(
        nodes, graph.operands, lambda: graph._naming, graph.output, graph.wrt,
        sources=graph._source, title=graph.title,
    )  # fmt: skip
    lean.derivatives = Gradients(
        {i: shrunk(gradient) for i, gradient in gradients.items()},
        {edge: shrunk(message) for edge, message in messages.items()},
    )
    lean.underflown = graph.underflown
    locals_ = {(v, key): graph.local(v, key) for _, v, key in graph.edges()}
    lean.locals = {edge: shrunk(local) for edge, local in locals_.items() if local is not None}
    return lean


def _written(number: float) -> float | str:
    return float(number) if math.isfinite(number) else str(float(number))


class Training:
    """A recorded run.

    Parameters
    ----------
    path : str or path-like
        A file that `record_training` wrote, perhaps is still writing. What was cut off by a crash
        is left out.

    Attributes
    ----------
    steps : list of Step
        The finished steps that were sampled.
    cut : bool
        Whether the file ends in the middle of a step.

    Raises
    ------
    ValueError
        The file is none of these.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.steps: list[Step] = []
        self.cut = False
        self._places: list[tuple[int, int]] = []
        start = 0
        for size, text in self._members():
            if text is None:
                self.cut = True
                break
            self.steps.append(_step(text.partition(b"\n")[0], self.path))
            self._places.append((start, size))
            start += size

    def _members(self) -> Iterator[tuple[int, bytes | None]]:
        """Each member's size on disk and its text; None for one that is not whole."""
        with open(self.path, "rb") as file:
            rest = file.read(_CHUNK)
            while rest:
                unpacker, parts, size = zlib.decompressobj(wbits=_GZIP), [], 0
                while not unpacker.eof:
                    try:
                        parts.append(unpacker.decompress(rest))
                    except zlib.error as error:
                        raise ValueError(f"{self.path}: not a recorded training: {error}") from None
                    size += len(rest) - len(unpacker.unused_data)
                    rest = unpacker.unused_data or file.read(_CHUNK)
                    if not rest and not unpacker.eof:
                        yield size, None
                        return
                yield size, b"".join(parts)

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return f"<Training: {len(self)} steps in {self.path.name}>"

    def graph(self, number: int, *, max_bytes: int = 128 * 2**20) -> Graph:
        """The Graph of a step, by statistics: it draws, explains and diagnoses.

        Raises
        ------
        KeyError
            The step was not sampled.
        """
        numbers = [step.number for step in self.steps]
        if number not in numbers:
            near = sorted(numbers, key=lambda n: abs(n - number))[:4]
            raise KeyError(f"step {number} was not recorded; the nearest are {sorted(near)}")
        start, size = self._places[numbers.index(number)]
        with open(self.path, "rb") as file:
            file.seek(start)
            raw = zlib.decompress(file.read(size), wbits=_GZIP)
        return saved.loads(raw.partition(b"\n")[2], self.path, max_bytes)

    @property
    def text(self) -> str:
        """The run in a table of at most 24 steps: the loss, and the range over the parameters."""
        lines = [f"{'step':>8}  {'J':>10}  {'gradient (rms)':<24}  update/weight"]
        for step in spread(self.steps, 24):
            found = list(step.gradients.values()), list(step.updates.values())
            told = [f"{min(f):.1e} … {max(f):.1e}" if f else "" for f in found]
            lines.append(f"{step.number:>8}  {step.loss:>10.5g}  {told[0]:<24}  {told[1]}".rstrip())
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text

    def draw(self, what: str = "gradients", *, theme: str = "light") -> Timeline:
        """The health of every layer over the steps (see `gradviz.show.timeline.Timeline`)."""
        from gradviz.show.timeline import Timeline

        return Timeline(self, what, theme)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.draw()._repr_mimebundle_(include, exclude)


def spread(steps: Sequence[Step], most: int) -> list[Step]:
    """At most so many steps, evenly spread, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def _step(line: bytes, path: Path) -> Step:
    try:
        head = json.loads(line)
        if head["format"] != FORMAT or head["version"] != VERSION:
            raise ValueError(f"version {head['version']} of {head['format']!r}")
        rows = head["parameters"].items()
        sizes, *others = (
            {str(name): float(row[k]) for name, row in rows if row[k] is not None} for k in range(4)
        )
        counts = {name: int(size) for name, size in sizes.items()}
        return Step(int(head["step"]), float(head["loss"]), counts, *others)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a recorded training: {error}") from None
