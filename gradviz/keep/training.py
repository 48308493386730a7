"""A training run on disk: lean Graphs of every n-th step, readable up to the last whole one.

A file is a sequence of gzip members, two for each step: a line of JSON with the step's number, its
losses and a few numbers of each parameter; then a Graph for each of its backward passes, in the
format of `gradviz.keep`. The line says how long the second member is, so that ten thousand steps
are opened without unpacking a Graph. Both are appended and flushed when the step is over: a crash
costs at most the step it happened in.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import numpy as np

from gradviz.chain.health.over_time import Onset, spread
from gradviz.chain.result import Result
from gradviz.files import writable
from gradviz.keep.reading import loads
from gradviz.keep.writing import dumps
from gradviz.language import later
from gradviz.model import Gradients
from gradviz.statistics import Statistics, measure

if TYPE_CHECKING:
    from gradviz.chain.health import Health
    from gradviz.graph import Graph
    from gradviz.show.timeline import Timeline

FORMAT, VERSION = "gradviz training", 3
"""Version 2 has one member for a step. Version 1, of gradviz 0.1, has one Graph and changes
relative to weights: see `_of_0_1`."""
PASSES = 3
"""So many backward passes of a step are examined."""
STILL, SAMPLED = 20, 3
"""In so many steps in succession, of which so many are recorded, nothing has to move."""
_GZIP = 31  # zlib's window bits for the gzip format
_CHUNK, _LINE, _MOST = 2**13, 2**24, 2**62

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

    def left_alone(self, names: Iterable[str], weights: Mapping[str, float]) -> bool:
        """Whether some parameters got gradients here, and were and stayed what they are later."""
        return all(
            self.gradients.get(name)
            and self.changes.get(name) == 0
            and self.weights.get(name) == weights.get(name)
            for name in names
        )


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
    body = zlib.compress(b"".join(texts), wbits=_GZIP)
    first = f"{json.dumps({**head, 'bytes': len(body)})}\n".encode()
    with open(path, "ab") as file:
        end = file.tell()
        try:
            file.write(zlib.compress(first, wbits=_GZIP) + body)
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


class Steps(Sequence[Step]):
    """The steps of a run, kept as arrays: a `Step` is made when one is asked for.

    Attributes
    ----------
    numbers : list of int
    losses : list of float or None
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.losses: list[float | None] = []
        self._sizes: list[dict[str, int]] = []  # one dict for all steps alike
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []  # numbers, and which are known
        self._others: list[tuple[tuple[float, ...], bool, str]] = []

    def add(self, number: int, loss: float | None, losses: tuple[float, ...], stepped: bool,
            note: str, rows: Mapping[str, Row]) -> None:  # fmt: skip
        """Append a step."""
        sizes = {name: row.size for name, row in rows.items()}
        if self._sizes and self._sizes[-1] == sizes:
            sizes = self._sizes[-1]
        self._sizes.append(sizes)
        kept = [row[1:] for row in rows.values()]
        known = np.array([[x is not None for x in row] for row in kept], bool)
        self._rows.append((np.array([[x or 0.0 for x in row] for row in kept]), known))
        self._others.append((losses, stepped, note))
        self.numbers.append(number)
        self.losses.append(loss)

    @property
    def names(self) -> list[str]:
        """All parameters of all steps."""
        distinct = {id(sizes): sizes for sizes in self._sizes}
        return list(dict.fromkeys(name for sizes in distinct.values() for name in sizes))

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Step: ...

    @overload
    def __getitem__(self, place: slice) -> list[Step]: ...

    def __getitem__(self, place: int | slice) -> Step | list[Step]:
        """A step, or several."""
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        sizes, (values, known) = self._sizes[place], self._rows[place]

        def of(column: int) -> dict[str, float]:
            told = zip(sizes, values.tolist(), known.tolist(), strict=True)
            return {name: row[column] for name, row, has in told if has[column]}

        weights, gradients, changes = map(of, range(3))
        relative = {n: _relative(changes[n], weights[n]) for n in changes if n in weights}
        return Step(
            self.numbers[place], self.losses[place], *self._others[place], dict(sizes),
            weights, gradients, changes, relative,
        )  # fmt: skip


class Training(Result):
    """A recorded run.

    Parameters
    ----------
    path : str or path-like
        A file that `record_training` wrote, perhaps is still writing. What was cut off by a crash
        is left out.

    Attributes
    ----------
    steps : sequence of Step
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
        self._clear()
        self.more()

    def _clear(self) -> None:
        self.steps = Steps()
        self.cut = False
        self._end = 0
        self._places: list[tuple[int, int]] = []
        self._bodies: list[tuple[int, list[int]]] = []  # where Graphs are, how long each text is

    def more(self) -> int:
        """Read what was written since the file was opened, or since the last call.

        Returns
        -------
        int
            How many steps are new. Of a file that was begun anew all are.
        """
        with open(self.path, "rb") as file:
            length = file.seek(0, os.SEEK_END)
            if length < self._end:
                self._clear()
            known, self.cut = len(self.steps), False
            while self._end < length and not self.cut:
                file.seek(self._end)
                self.cut = not self._read(file, length)
        return len(self.steps) - known

    def _read(self, file: IO[bytes], length: int) -> bool:
        """Read the step at this place; False if it is not whole."""
        found = self._member(file)
        if found is None:
            return False
        line, size = found
        try:
            version, step, lengths, more = _step(line)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{self.path}: not a recorded training: {error}") from None
        if sum(lengths) > self.max_bytes + _LINE and version > 1:
            raise self._too_large()
        if self._end + size + more > length:
            return False
        self.steps.add(*step)
        self._places.append((self._end, size + more))
        self._bodies.append((self._end + size if more else self._end, lengths))
        self._end += size + more
        return True

    def _member(self, file: IO[bytes]) -> tuple[bytes, int] | None:
        """The first line of the gzip member at this place, and its size; None if it is cut off."""
        unpacker, line, size, length = zlib.decompressobj(wbits=_GZIP), b"", 0, 0
        rest, chunk = file.read(_CHUNK), _CHUNK
        while not unpacker.eof:
            given = len(rest)
            try:
                part = unpacker.decompress(rest, 8 * _CHUNK)
            except zlib.error as error:
                raise ValueError(f"{self.path}: not a recorded training: {error}") from None
            length += len(part)
            if length > self.max_bytes + _LINE:
                raise self._too_large()
            if b"\n" not in line:
                line += part
                if len(line) > _LINE and b"\n" not in line:
                    raise ValueError(f"{self.path}: not a recorded training: no first line")
            rest = unpacker.unused_data or unpacker.unconsumed_tail
            size += given - len(rest)
            if not rest and not unpacker.eof:
                chunk = min(2 * chunk, 2**20)
                rest = file.read(chunk)
                if not rest and not part:
                    return None
        return line.partition(b"\n")[0], size

    def _too_large(self) -> ValueError:
        return ValueError(
            f"{self.path}: a step of more than {self.max_bytes} bytes; max_bytes=... allows more"
        )

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
        numbers = self.steps.numbers
        if number not in numbers:
            near = sorted(numbers, key=lambda n: abs(n - number))[:4]
            raise KeyError(f"step {number} was not recorded; the nearest are {sorted(near)}")
        place = numbers.index(number)
        at, lengths = self._bodies[place]
        if not 0 <= index < len(lengths):
            has = f"has {len(lengths)} backward passes, number {index} is not among them"
            note = self.steps[place].note
            raise KeyError(f"step {number} {has if lengths else f'has no Graph: {note}'}")
        start, size = self._places[place]
        with open(self.path, "rb") as file:
            file.seek(at)
            try:
                raw = zlib.decompressobj(wbits=_GZIP).decompress(
                    file.read(start + size - at), self.max_bytes + _LINE
                )
            except zlib.error as error:
                raise ValueError(f"{self.path}: step {number} is damaged: {error}") from None
        begin = raw.index(b"\n") + 1 if at == start else 0
        begin += sum(lengths[:index])
        text = raw[begin : begin + lengths[index]]
        return loads(text, self.path, self.max_bytes, self.make)

    def examined(self, place: int) -> list[int]:
        """Which backward passes of a step, by its place among the `steps`, are examined."""
        return spread(len(self.steps[place].losses), PASSES)

    def healths(self, number: int) -> Iterator[Health]:
        """The health of a step's backward passes, as far as they have Graphs."""
        for index in self.examined(self.steps.numbers.index(number)):
            with contextlib.suppress(KeyError):
                yield self.graph(number, index).diagnose()

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
        still = self.still
        return "\n".join(lines if still is None else [*lines, str(still.message)])

    @property
    def still(self) -> Onset | None:
        """That nothing moves that gets gradients, in all of the last 20 steps or more.

        A note where something has moved before: so ends many a schedule of the learning rate.
        """
        latest, first = self.steps[-STILL:], len(self.steps)
        if not latest:
            return None
        weights = latest[-1].weights
        reached = [n for n in latest[-1].gradients if all(s.gradients.get(n) for s in latest)]
        while first and reached and self.steps[first - 1].left_alone(reached, weights):
            first -= 1
        since = self.steps.numbers[first:]
        if len(since) < SAMPLED or since[-1] - since[0] + 1 < STILL:
            return None
        told = (
            "In the last {steps} recorded steps none of the parameters that got gradients ({n}) "
            "changed: no optimizer made a step."
        )
        if any(step.stepped for step in self.steps[first:]):
            told = (
                "In the last {steps} recorded steps none of the parameters that got gradients "
                "({n}) changed, though an optimizer made its step: its learning rate is 0 or so "
                "small that its steps are rounded away, or the gradients are zeroed before it, or "
                "it holds other parameters."
            )
        said = later(told, steps=len(since), n=len(reached))
        where = ", ".join(reached[:2]) + (" …" if len(reached) > 2 else "")
        before = self.steps.numbers[first - 1] if first else None
        severity = "note" if first else "error"
        return Onset("no update", severity, where, said, tuple(since), since[0], before)

    @property
    def rows(self) -> Sequence[Step]:
        """The `steps`."""
        return self.steps

    def draw(self, what: str = "gradients", *, theme: str = "") -> Timeline:
        """The health of every layer over the steps (see `gradviz.show.timeline.Timeline`)."""
        from gradviz.show.timeline import Timeline

        return Timeline(self, what, theme)


def _step(line: bytes) -> tuple[int, tuple[Any, ...], list[int], int]:
    """The version, a step, how long the text of each of its Graphs is, and what follows."""
    head = json.loads(line)
    if type(head) is not dict or head.get("format") != FORMAT:
        raise ValueError(f'"format" is not "{FORMAT}"')
    version = head.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(
            f"it has version {str(version)[:20]} of the format, this gradviz reads 1 to {VERSION}"
        )
    if version == 1 and "graphs" not in head:
        head = _of_0_1(head)
    get = head.get
    lengths = [_count(length) for length in _of(list, get("graphs"))]
    rows: dict[str, Row] = {}
    for name, row in _of(dict, get("parameters")).items():
        size, *numbers = _of(list, row)
        rows[writable(name)] = Row(_count(size), *map(_number, numbers))
    step = (
        _count(get("step")),
        _number(get("loss")),
        tuple(_number(loss) or 0.0 for loss in _of(list, get("losses"))),
        _of(bool, get("stepped")),
        writable(_of(str, get("note"))),
        rows,
    )
    return version, step, lengths, _count(get("bytes")) if version > 2 else 0


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
