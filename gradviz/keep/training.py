"""A training run on disk: lean Graphs of every n-th step, readable up to the last whole one.

A file is a sequence of gzip members, one for each step: a line of JSON with the step's number, its
losses and a few numbers of each parameter, then a Graph for each of its backward passes, in the
format of `gradviz.keep`. A member is appended and flushed when its step is over, so a crash costs
at most the step it happened in.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from gradviz.chain.result import Result
from gradviz.files import writable
from gradviz.keep.reading import loads
from gradviz.keep.writing import dumps
from gradviz.model import Gradients
from gradviz.statistics import Statistics, measure

if TYPE_CHECKING:
    from gradviz.graph import Graph
    from gradviz.show.timeline import Timeline

FORMAT, VERSION = "gradviz training", 2
"""Version 1, of gradviz 0.1, has one Graph and changes relative to weights: see `_of_0_1`."""
_GZIP = 31  # zlib's window bits for the gzip format
_CHUNK, _LINE, _MOST = 2**16, 2**24, 2**62

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One sampled step.

    Attributes
    ----------
    number : int
        The step of the run.
    loss : float or None
        The sum of what the step went backward from, to parameters: with gradient accumulation that
        of the whole batch. Of an optimizer that evaluates several times (L-BFGS), the first. None
        where there was no backward pass.
    losses : tuple of float
        What each backward pass went from, before a `GradScaler` scaled it; `Training.graph` has a
        Graph for each.
    stepped : bool
        Whether an optimizer took its step. (A `GradScaler` leaves it out after an overflow.)
    note : str
        Why there is no Graph, where there is none.
    sizes : dict of str to int
        How many numbers each parameter is.
    weights : dict of str to float
        Their root mean square before the step.
    gradients : dict of str to float
        The root mean square of the gradients that the optimizer saw: of all backward passes,
        unscaled, after clipping. Where none stepped, of what the backward pass gave; of several,
        of what had accumulated after the last.
    changes : dict of str to float
        The root mean square of each parameter's change in this step, by a sample of the large.
    updates : dict of str to float
        The change relative to the weight; 1 where the weight was 0. A parameter whose change is
        not known is in neither.
    """

    number: int
    loss: float | None
    losses: tuple[float, ...]
    stepped: bool
    note: str
    sizes: dict[str, int]
    weights: dict[str, float]
    gradients: dict[str, float]
    changes: dict[str, float]
    updates: dict[str, float]


class Row(NamedTuple):
    """What is written of a parameter: its size, and root mean squares; None for what is unknown."""

    size: int
    weight: float | None
    gradient: float | None
    change: float | None


def append(
    path: str | os.PathLike[str],
    number: int,
    rows: Mapping[str, Row],
    graphs: Sequence[Graph],
    *,
    losses: Sequence[float],
    loss: float | None,
    stepped: bool,
    note: str,
) -> None:
    """Write one step at the end of a file, whole or not at all.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    texts = [dumps(_lean(graph)).encode() for graph in graphs]
    head = {
        "format": FORMAT,
        "version": VERSION,
        "step": number,
        "loss": _written(loss),
        "losses": [_written(one) for one in losses],
        "stepped": stepped,
        "note": note,
        "parameters": {
            name: [row.size, *map(_written, (row.weight, row.gradient, row.change))]
            for name, row in rows.items()
        },
        "graphs": [len(text) for text in texts],
    }
    packer = zlib.compressobj(wbits=_GZIP)
    raw = b"".join(packer.compress(part) for part in (f"{json.dumps(head)}\n".encode(), *texts))
    with open(path, "ab") as file:
        end = file.tell()
        try:
            file.write(raw + packer.flush())
            file.flush()
            os.fsync(file.fileno())
        except BaseException:  # what comes after a piece of a step could not be read
            with contextlib.suppress(OSError):
                os.truncate(path, end)
            raise


def _lean(graph: Graph) -> Graph:
    """A copy that holds statistics, without samples, instead of arrays."""

    def shrunk(value: Any) -> Any:
        if not np.ndim(value):
            return np.float64(value.mean) if isinstance(value, Statistics) else value
        return replace(measure(value), sample=np.empty(0))

    gradients, messages = graph.derivatives
    locals_ = {(v, key): graph.local(v, key) for _, v, key in graph.edges()}
    run = graph.of_run()
    run["derivatives"] = Gradients(
        {i: shrunk(gradient) for i, gradient in gradients.items()},
        {edge: shrunk(message) for edge, message in messages.items()},
    )
    run["locals"] = {edge: shrunk(one) for edge, one in locals_.items() if one is not None}
    return graph.with_values((shrunk(node.value) for node in graph.values), run)


def _written(number: float | None) -> float | str | None:
    if number is None:
        return None
    return float(number) if math.isfinite(number) else str(float(number))


class Training(Result):
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

    max_bytes : int
        A larger step is refused; most of its text is a Graph that is read when it is asked for.
    make : type
        The class of its Graphs.

    Raises
    ------
    ValueError
        The file is none of these.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int, make: type[Graph]) -> None:
        self.path, self.max_bytes, self.make = Path(path), max_bytes, make
        self.steps: list[Step] = []
        self.cut = False
        self._places: list[tuple[int, int]] = []
        self._lengths: list[list[int]] = []  # of the texts of each step's Graphs
        start = 0
        for size, line in self._members():
            if line is None:
                self.cut = True
                break
            try:
                step, lengths = _step(line)
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise ValueError(f"{self.path}: not a recorded training: {error}") from None
            self.steps.append(step)
            self._lengths.append(lengths)
            self._places.append((start, size))
            start += size

    def _members(self) -> Iterator[tuple[int, bytes | None]]:
        """Each member's size on disk and its first line; None for one that is not whole."""
        with open(self.path, "rb") as file:
            rest = file.read(_CHUNK)
            while rest:
                unpacker, line, size, length = zlib.decompressobj(wbits=_GZIP), b"", 0, 0
                while not unpacker.eof:
                    given = len(rest)
                    try:
                        part = unpacker.decompress(rest, _CHUNK)
                    except zlib.error as error:
                        raise ValueError(f"{self.path}: not a recorded training: {error}") from None
                    length += len(part)
                    if length > self.max_bytes + _LINE:
                        raise ValueError(
                            f"{self.path}: a step of more than {self.max_bytes} bytes; "
                            "max_bytes=... allows more"
                        )
                    if b"\n" not in line:
                        line += part
                        if len(line) > _LINE and b"\n" not in line:
                            raise ValueError(f"{self.path}: not a recorded training: no first line")
                    rest = unpacker.unused_data or unpacker.unconsumed_tail
                    size += given - len(rest)
                    if not rest and not unpacker.eof:
                        rest = file.read(_CHUNK)
                        if not rest and not part:
                            yield size, None
                            return
                yield size, line.partition(b"\n")[0]
                rest = rest or file.read(_CHUNK)

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return f"<Training: {len(self)} steps in {self.path.name}>"

    def graph(self, number: int, index: int = 0) -> Graph:
        """The Graph of a step, by statistics: it draws, explains and diagnoses.

        Parameters
        ----------
        number : int
            The step.
        index : int, optional
            Which of its backward passes, where there are several (see `Step.losses`).

        Raises
        ------
        KeyError
            The step was not sampled, or has no such backward pass.
        """
        numbers = [step.number for step in self.steps]
        if number not in numbers:
            near = sorted(numbers, key=lambda n: abs(n - number))[:4]
            raise KeyError(f"step {number} was not recorded; the nearest are {sorted(near)}")
        place = numbers.index(number)
        lengths, note = self._lengths[place], self.steps[place].note
        if not 0 <= index < len(lengths):
            has = f"has {len(lengths)} backward passes, number {index} is not among them"
            raise KeyError(f"step {number} {has if lengths else f'has no Graph: {note}'}")
        start, size = self._places[place]
        with open(self.path, "rb") as file:
            file.seek(start)
            raw = zlib.decompressobj(wbits=_GZIP).decompress(
                file.read(size), self.max_bytes + _LINE
            )
        begin = raw.index(b"\n") + 1 + sum(lengths[:index])
        text = raw[begin : begin + lengths[index]]
        return loads(text, self.path, self.max_bytes, self.make)

    @property
    def text(self) -> str:
        """The run in a table of at most 24 steps: the loss, and the range over the parameters."""
        from gradviz.show.timeline import spread

        lines = [f"{'step':>8}  {'J':>10}  {'gradient (rms)':<24}  update/weight"]
        for step in spread(self.steps, 24):
            found = list(step.gradients.values()), list(step.updates.values())
            told = [f"{min(f):.1e} … {max(f):.1e}" if f else "" for f in found]
            loss = "–" if step.loss is None else f"{step.loss:.5g}"
            lines.append(f"{step.number:>8}  {loss:>10}  {told[0]:<24}  {told[1]}".rstrip())
        return "\n".join(lines)

    @property
    def rows(self) -> list[Step]:
        """The `steps`."""
        return self.steps

    def draw(self, what: str = "gradients", *, theme: str = "light") -> Timeline:
        """The health of every layer over the steps (see `gradviz.show.timeline.Timeline`)."""
        from gradviz.show.timeline import Timeline

        return Timeline(self, what, theme)


def _step(line: bytes) -> tuple[Step, list[int]]:
    """A step, and how long the text of each of its Graphs is."""
    head = json.loads(line)
    if type(head) is not dict or head.get("format") != FORMAT:
        raise ValueError(f'"format" is not "{FORMAT}"')
    version = head.get("version")
    if type(version) is not int or version not in (1, VERSION):
        raise ValueError(
            f"it has version {str(version)[:20]} of the format, this gradviz reads 1 and {VERSION}"
        )
    if version == 1 and "graphs" not in head:
        head = _of_0_1(head)
    get = head.get
    lengths = [_count(length) for length in _of(list, get("graphs"))]
    rows: dict[str, Row] = {}
    for name, row in _of(dict, get("parameters")).items():
        size, *numbers = _of(list, row)
        rows[writable(name)] = Row(_count(size), *map(_number, numbers))
    weights = {name: row.weight for name, row in rows.items() if row.weight is not None}
    changes = {name: row.change for name, row in rows.items() if row.change is not None}
    step = Step(
        _count(get("step")),
        _number(get("loss")),
        tuple(_number(loss) or 0.0 for loss in _of(list, get("losses"))),
        _of(bool, get("stepped")),
        writable(_of(str, get("note"))),
        {name: row.size for name, row in rows.items()},
        weights,
        {name: row.gradient for name, row in rows.items() if row.gradient is not None},
        changes,
        {name: _relative(changes[name], weights[name]) for name in changes if name in weights},
    )
    return step, lengths


def _of_0_1(head: dict[str, Any]) -> dict[str, Any]:
    """A step of version 0.1 in today's words: one Graph to the end, changes relative to weights."""
    rows: dict[str, Row] = {}
    for name, row in _of(dict, head.get("parameters")).items():
        size, *numbers = _of(list, row)
        weight, gradient, update = map(_number, numbers)
        change = None if not weight or update is None else weight * update
        rows[name] = Row(size, weight, gradient, change)
    one = {"graphs": [_MOST - 1], "losses": [head.get("loss")], "stepped": True, "note": ""}
    return head | one | {"parameters": {name: list(row) for name, row in rows.items()}}


def _relative(change: float, weight: float) -> float:
    return change / weight if weight else float(change != 0)


def _of(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise ValueError(f"expected a {kind.__name__}, got {str(value)[:40]!r}")
    return value


def _count(value: Any) -> int:
    count = _of(int, value)
    if not 0 <= count < _MOST:
        raise ValueError("a number is out of range")
    return count


def _number(value: Any) -> float | None:
    if value is None or type(value) is float or value in ("nan", "inf", "-inf"):
        return None if value is None else float(value)
    return float(_count(abs(_of(int, value))) * (-1 if value < 0 else 1))
