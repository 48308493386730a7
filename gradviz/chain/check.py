"""A Graph proves its gradients: finite differences, sums of messages, sums over paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.paths import carrying, count_paths, paths
from gradviz.chain.reads import held
from gradviz.chain.replay import once_more
from gradviz.chain.result import GraphResult
from gradviz.chain.retold import retold
from gradviz.highlight import Highlight
from gradviz.language import in_its_language, say, some
from gradviz.ops import forms
from gradviz.statistics import Statistics, places

if TYPE_CHECKING:
    from gradviz.graph import Graph

PATHS = 100
"""So many paths of a leaf are summed ..."""
ALL_PATHS = 300
"""... and of all together; a leaf with more is left to the other proofs."""
ALONE = 64
"""So many entries of a leaf are moved, each alone ..."""
WORK = 20_000
"""... or fewer, where the program would compute more values than this for it; but ..."""
SOME = 16
"""... so many where the slope of many together is not what the gradient says."""
DECADES = 3
"""Entries whose gradients differ by less than so many powers of ten may move together."""
HOW = {
    "differences": "by finite differences",
    "messages": "as the sum of its messages",
    "paths": "as the sum over its paths",
}

AGREE = ": {n} of {m} gradients agree, {numbers} compared"
AGREE_ONE = ": {n} of {m} gradient agrees, {numbers} compared"
TOGETHER = (
    "of {n} of them, numbers with gradients of like size were moved together; check(entries={m}) "
    "moves so many alone, sees smaller errors of one number, and takes longer"
)
CORNERS = (
    ": at {n} of {numbers} J has a corner or a jump; the gradient lies between the slopes of "
    "both sides"
)
READ = "{v} was read as a plain number {how}"
LEFT_OUT = "{v} is not compared with finite differences: {why}"
RANDOM = (
    "not by finite differences: the program computes another {v} each time that it is run ({a}, "
    "{b}); where it draws random numbers, give it a generator as an argument, or a seed"
)
OWN_RULE = "{op} has a derivative rule of its own ({kind})"
OTHER_RULE = (
    "{op} has a derivative rule of its own ({kind}), which is not the derivative of what it "
    "computes"
)
OTHER = (
    "{v} is {a} where the program runs alone, and {b} was recorded: does it ask for type(x) or "
    "hasattr(x, ...), or change what it reads?"
)


@dataclass(frozen=True)
class CheckRow:
    """One gradient, computed another way.

    Attributes
    ----------
    node : int
        The value whose gradient it is.
    how : {"differences", "messages", "paths"}
    entries : int
        How many entries were compared.
    error : float
        The largest |difference| / max(1, |gradient|, |J|) over these entries.
    ok : bool
    corners : int
        At so many of the entries J has a corner or a jump, as relu at 0, where the differences to
        either side disagree: there the gradient was held to lie between them.
    together : bool
        Whether some of the numbers are slopes along directions in which many entries move, those
        whose gradients are of like size. Of n such entries an error in one counts by about 1/√n of
        itself: it has to be so much larger to be seen than where the entry moves alone.
    """

    graph: Graph = field(repr=False, compare=False)
    node: int
    how: str
    entries: int
    error: float
    ok: bool
    corners: int = 0
    together: bool = False

    @property
    def name(self) -> str:
        """The name of the value."""
        return self.graph.names[self.node]


@dataclass(frozen=True, repr=False)
class Check(GraphResult):
    """The result of `Graph.check`; true if every row agrees.

    Attributes
    ----------
    rows : tuple of CheckRow
    tolerance : float
        On the error of finite differences; sums are held to 1e-9 (float32: 1e-3).
    random : str
        Why there are no finite differences: the program computes another J each time; else "".
    other : str
        That the program computes another J than what was recorded; else "".
    notes : tuple of str
        Which leaves there are no finite differences for, and why.
    """

    graph: Graph
    rows: tuple[CheckRow, ...]
    tolerance: float
    random: str = ""
    other: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every compared entry agrees."""
        return not self.other and all(row.ok for row in self.rows)

    def __bool__(self) -> bool:
        return self.ok

    @property
    @in_its_language
    def text(self) -> str:
        """A line per way of proof, and a line per row that fails."""
        whole = self.graph.origin.whole if self.graph.origin else self.graph
        lines = [f"✗ {self.other}"] if self.other else []
        lines += [f"· {self.random}"] if self.random else []
        for how, words in HOW.items():
            rows = [row for row in self.rows if row.how == how]
            if not rows:
                continue
            wrong = [row for row in rows if not row.ok]
            entries = sum(row.entries for row in rows)
            agree = say(
                AGREE_ONE if len(rows) == 1 else AGREE,
                n=len(rows) - len(wrong), m=len(rows), numbers=some(entries, "number"),
            )  # fmt: skip
            lines.append(f"{'✗' if wrong else '✓'} {say(words)}{agree}")
            if count := sum(row.together for row in rows):
                lines.append(f"  · {say(TOGETHER, n=count, m=ALONE)}")
            lines += [
                f"  · {row.name}{say(CORNERS, n=row.corners, numbers=some(row.entries, 'number'))}"
                for row in rows
                if row.corners
            ]
            for row in wrong:
                lines.append(f"  ✗ {row.name}{say(': off by {x}', x=f'{row.error:.2g}')}")
                lines += [f"    {words}" for words in _hooked(self.graph, row)]
                if how == "differences":
                    meant = _conventions(whole, row.name)
                    lines += [f"    {words}{say(': that is meant')}" for words in meant]
                    lines += [f"    {words}" for words in _own_rules(whole, row.name)]
            if wrong and how == "differences":
                lines += [
                    f"    {say(READ, v=whole.names[i], how=retold(read))}"
                    for i, read in whole.ends.items()
                ]
                lines += [f"    {cut}" for cut in dict.fromkeys(_cuts(whole))]
        return "\n".join((*lines, *(f"· {note}" for note in self.notes)))

    @in_its_language
    def highlight(self) -> Highlight:
        """A mark at each gradient: whether all its proofs hold."""
        marks: dict[int, bool] = {}
        for row in self.rows:
            marks[row.node] = marks.get(row.node, True) and row.ok
        return Highlight(marks=marks, title=say("Every gradient, computed another way"))


def _cuts(graph: Graph) -> Iterator[str]:
    """The operations that do not pass the gradient on to a number that they depend on."""
    tracked = set(graph.wrt)
    written, found = [], False
    for v, operands in enumerate(graph.operands):
        operation, dtype = graph.values[v].operation, getattr(graph.values[v].value, "dtype", "")
        passed = {
            u: operation.rule(key) is not None
            for key, u in enumerate(operands)
            if not forms.takes_shape(operation.name, key)
        }
        on = {u for u in passed if passed[u] and u in tracked}
        # (A write through a view passes it on to what it is a view of; torch.autograd.grad, in
        # a pass of its own, to whatever that needs.)
        lost = [
            graph.names[u]
            for u in passed
            if u in tracked and not passed[u] and on.isdisjoint(_behind(graph, u))
        ]
        if on:
            tracked.add(v)
        where = _where(graph, v)
        if operation.name == "write" and not on:
            told = say("what was written to {v} has no history", v=graph.names[operands[0]])
            written.append(told + where)
        if operation.name.partition("[")[0] == "grad" and on:
            continue
        if lost and str(dtype).startswith(("float", "complex", "bfloat")):
            found = True
            told = "the derivative rule of {op} sends {v} nothing"
            told = told if operation.own_rule else "{op} ended the history of {v}"
            yield say(told, op=operation.name, v=lost[0]) + where
    if not found:
        yield from written


def _behind(graph: Graph, value: int) -> set[int]:
    """The values that a value is computed from."""
    found: set[int] = set()
    pending = [value]
    while pending:
        new = set(graph.operands[pending.pop()]) - found
        found |= new
        pending += new
    return found


def _hooked(graph: Graph, row: CheckRow) -> Iterator[str]:
    """The hooks that made a gradient what it is: its own, and those that it came through."""
    reached = {row.node}
    for v, operands in enumerate(graph.operands):
        if row.how != "messages" and not reached.isdisjoint(operands):
            reached.add(v)
        if v in reached and (hook := graph.changed_by_hooks.get(v)):
            yield say(
                "the gradient of {v} was changed by {hook}", v=graph.names[v], hook=retold(hook)
            )


def _conventions(graph: Graph, name: str) -> list[str]:
    """What on the way from a leaf has by rule another gradient than its values have a slope."""
    found = []
    for v in _onward(graph, name):
        convention = getattr(graph.values[v].operation, "convention", None)
        if convention and (words := convention(graph.operand_values(v))):
            found.append(f"{words}{_where(graph, v)}")
    return list(dict.fromkeys(found))


def _own_rules(graph: Graph, name: str) -> list[str]:
    """The derivative rules of the program's own on the way from a leaf that may be why."""
    found = []
    for v in _onward(graph, name):
        operation = graph.values[v].operation
        if not operation.own_rule:
            continue
        look = getattr(operation, "differs", None)
        differs = look(graph.operand_values(v)) if look else None
        if differs is not False:
            told = say(OWN_RULE if differs is None else OTHER_RULE, op=operation.name,
                       kind=operation.own_rule)  # fmt: skip
            found.append(f"{told}{_where(graph, v)}")
    return list(dict.fromkeys(found))


def _onward(graph: Graph, name: str) -> Iterator[int]:
    """The values that are computed from one."""
    reached = {graph.id(name)} if name in graph.names else set()
    for v, operands in enumerate(graph.operands):
        if not reached.isdisjoint(operands):
            reached.add(v)
            yield v


def _where(graph: Graph, v: int) -> str:
    """The line of a value, as a sentence ends with it."""
    source = graph.source(v)
    return say(" at {place}", place=source.place) if source else ""


def check(
    graph: Graph,
    *,
    entries: int | None = None,
    step: float | None = None,
    tolerance: float | None = None,
) -> Check:
    r"""Compute every gradient in other ways and compare.

    Each leaf's by central differences of the program run again, ∂J/∂u ≈ (J(u + h) - J(u - h)) / 2h,
    whose error is of the order h² + ε/h, so that h = ∛ε is near the best (ε: the dtype's
    precision). At a corner or a jump, as of relu at 0, the gradient is to lie between the slopes of
    both sides. Every value's as the sum of the messages that it gets, and each leaf's as the sum
    over its paths where there are at most `PATHS`.

    Parameters
    ----------
    graph : Graph
    entries : int, optional
        Of a leaf at most so many entries are moved for the differences, each alone, spread over all
        of it. Default: 64; where many runs of a long program would take too long, fewer, and all
        entries of the leaf, those together whose gradients are of like size (`CheckRow.together`).
    step : float, optional
        h, relative to max(1, \|u\|). Default: ∛ε.
    tolerance : float, optional
        On \|difference\| / max(1, \|gradient\|, \|J\|). Default: 100 ∛ε².

    Raises
    ------
    TraceError
        The gradients cannot be computed, or the program cannot be run again.
    """
    with graph.program.unseen():  # the check says itself what a warning would
        precision = _precision(graph)
    h = step or float(np.cbrt(precision))
    limit = tolerance or 100 * h**2
    rows: list[CheckRow] = []
    fixed = dict.fromkeys(getattr(graph.program, "fixed", ()), say("every run makes it anew"))
    for name in getattr(graph.program, "written", ()):
        fixed.setdefault(name, say("the program writes to it before it reads it"))
    for name, other in getattr(graph.program, "shared", {}).items():
        fixed.setdefault(name, say("it lies in one piece of memory with {v}", v=other))
    notes = [
        say(LEFT_OUT, v=graph.names[i], why=fixed[graph.names[i]])
        for i in sorted(graph.wrt)
        if graph.names[i] in fixed
    ]
    with graph.program.unseen():
        random, other = _again(graph, limit)
        if not random:
            moving = [i for i in sorted(graph.wrt) if graph.names[i] not in fixed]
            few = min(ALONE, WORK // (2 * len(graph) * max(1, len(moving))))
            for i in moving:
                if entries is None:
                    rows.append(_together(graph, i, h, few, limit))
                else:
                    rows.append(_differences(graph, i, h, entries, limit))
    rows += _sums(graph, 1e-9 if precision < 1e-10 else max(1e-3, 4 * precision))
    return Check(graph, tuple(rows), limit, random, other, tuple(notes))


def _precision(graph: Graph) -> float:
    """The coarsest ε of what J is computed in."""
    carrying = [graph.values[i].value for i in (*graph.wrt, *graph.derivatives.gradients)]
    dtypes = {np.asarray(v).dtype for v in carrying if not isinstance(v, Statistics)}
    found = [float(np.finfo(dtype).eps) for dtype in dtypes if dtype.kind in "fc"]
    return max(getattr(graph.program, "precision", 0.0), *found, 1e-16)


def _again(graph: Graph, limit: float) -> tuple[str, str]:
    """What there is to say where the program does not compute the recorded J once more."""
    recorded = graph.values[graph.output].value
    if isinstance(recorded, Statistics) or not graph.wrt:
        return "", ""
    again = [_run(graph, {}) for _ in range(2)]
    if np.allclose(again, recorded, limit, limit, equal_nan=True):
        return "", ""
    name = graph.names[graph.output]
    if not np.array_equal(again[0], again[1], equal_nan=True):
        return say(RANDOM, v=name, a=f"{again[0]:.6g}", b=f"{again[1]:.6g}"), ""
    return "", say(OTHER, v=name, a=f"{again[0]:.6g}", b=f"{np.asarray(recorded):.6g}")


def _row(graph: Graph, i: int, how: str, other: Any, chosen: Any, limit: float) -> CheckRow:
    """Compare the chosen entries of a gradient with the other way's numbers for them."""
    gradient = np.ravel(graph.adjoint(i))[chosen]
    with np.errstate(all="ignore"):
        scale = np.maximum(np.maximum(1.0, np.abs(gradient)), abs(_number(graph)))
        errors = np.abs(np.ravel(other) - gradient) / scale
    # Two that are infinite alike, or both no number, agree.
    errors = np.where(np.isclose(other, gradient, equal_nan=True), np.nan_to_num(errors), errors)
    worst = float(np.max(errors, initial=0.0))
    return CheckRow(graph, i, how, int(np.size(gradient)), worst, bool(worst <= limit))


def _number(graph: Graph) -> float:
    return float(np.asarray(graph.values[graph.output].value).reshape(()))


def _together(graph: Graph, i: int, h: float, few: int, limit: float) -> CheckRow:
    """A gradient by slopes along directions in which many entries move, and by a few alone.

    Where a slope is another than the gradient says, the entry that it comes from is sought by
    halves, and moved alone: it may be at a corner.
    """
    value, gradient = np.asarray(graph.leaf_values()[graph.names[i]]), np.ravel(graph.adjoint(i))
    if value.size <= few or value.dtype.kind != "f" or not np.isfinite(gradient).all():
        return _differences(graph, i, h, ALONE, limit)
    width = h * max(1.0, float(np.max(np.abs(value))))
    # Each entry goes the way that J grows: slopes do not cancel; nor do errors, of unequal steps.
    size, far = np.abs(gradient), np.random.default_rng(0).uniform(0.5, 1.5, gradient.shape)
    growing = np.where(gradient < 0, -far, far)

    def error(part: Any) -> float:
        way = np.zeros_like(growing)
        way[part] = growing[part] / np.linalg.norm(growing[part])
        said = float(way @ gradient)
        scale = max(1.0, abs(said), abs(_number(graph)))
        output = partial(_moved, graph, i, way.reshape(value.shape))
        slope = (output(width) - output(-width)) / (2 * width)
        if limit * scale < abs(slope - said) < np.inf:
            slope, corner = _beside(output, width, said, limit * scale)
            slope = np.inf if corner else slope
        return abs(slope - said) / scale

    worst, groups = 0.0, _alike(size, limit * max(1.0, abs(_number(graph))))
    for part in groups:
        if (found := error(part)) <= limit:
            worst = max(worst, found)
            continue
        while len(part) > 1:
            half = len(part) // 2
            part = part[half:] if error(part[:half]) <= limit else part[:half]
        return _differences(graph, i, h, max(few, SOME), limit, also=part)
    row = _differences(graph, i, h, few, limit)
    return replace(
        row, entries=row.entries + len(groups), error=max(row.error, worst), together=True
    )


def _alike(size: Any, least: float) -> list[Any]:
    """The entries in groups of like size: beside large ones an error in a small one is not seen.

    What is below the `least` is as good as 0.
    """
    size = np.maximum(size, least)
    decades = np.log10(np.max(size) / size)
    groups = np.floor(decades / DECADES)
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


def _moved(graph: Graph, i: int, way: Any, shift: Any) -> float:
    """J where a leaf is moved so far in a direction."""
    name = graph.names[i]
    value = np.asarray(graph.leaf_values()[name])
    return _run(graph, {name: (value + shift * way).astype(value.dtype)[()]})


def _run(graph: Graph, leaves: dict[str, Any]) -> float:
    """The J that the program computes with other values of some leaves."""
    with np.errstate(all="ignore"), held(graph):
        J = once_more(graph.program.run, graph.leaf_values() | leaves)
        return float(np.asarray(J).reshape(()))


def _differences(
    graph: Graph, i: int, h: float, entries: int, limit: float, also: Any = ()
) -> CheckRow:
    name = graph.names[i]
    value = np.asarray(graph.leaf_values()[name])
    chosen = np.union1d(places(value.size, entries), also).astype(int)
    gradient = np.ravel(graph.adjoint(i))
    slopes, corners = [], 0

    def at_shift(at: int, shift: Any) -> float:
        moved = value.copy()
        moved.flat[at] += shift
        return _run(graph, {name: moved[()]})

    for at in chosen:
        width = h * max(1.0, abs(value.flat[at]))
        slope: complex = 0.0
        for turn in (1, 1j)[: 1 + (value.dtype.kind == "c")]:  # a complex number moves both ways
            outputs = [at_shift(at, shift * turn) for shift in (width, -width)]
            slope += (outputs[0] - outputs[1]) / (2 * width) / turn
        slope = np.conjugate(slope) if graph.program.conjugates else slope
        slack = limit * max(1.0, abs(gradient[at]), abs(_number(graph)))
        if value.dtype.kind == "f" and slack < abs(slope - gradient[at]) < np.inf:
            slope, corner = _beside(partial(at_shift, at), width, gradient[at], slack)
            corners += corner
        slopes.append(slope)
    return replace(_row(graph, i, "differences", np.array(slopes), chosen, limit), corners=corners)


def _beside(
    output: Callable[[float], float], width: float, gradient: float, slack: float
) -> tuple[float, bool]:
    """The slope nearest to a gradient that the differences do not agree with; whether at a corner.

    Nearer differences agree where the first reached past a corner. At one the slopes to the left
    and to the right, neither of which looks across, stay apart however near they are taken; at a
    jump it is the slope across that grows.
    """
    across, gaps = [], []
    for part in (1, 4, 16, 64):
        near = width / part
        across.append((output(near) - output(-near)) / (2 * near))
        if abs(across[-1] - gradient) <= slack:
            return across[-1], False
    for near in (width, width / 4, width / 16):
        left, right = ([output(side * k * near) for k in (1, 2, 3)] for side in (-1, 1))
        beside = []
        for side, (a, b, c) in ((-1, left), (1, right)):
            beside.append((b - a) / (side * near))
            # What a parabola through the three says of the slope where the sides meet.
            beside.append((-5 * a + 8 * b - 3 * c) / (2 * side * near))
        gaps.append(max(beside) - min(beside))
    # A smooth function's shrink to a quarter each time; what is left at 0 is not for roundings.
    bends = all(4 * b - a > 3 * slack for a, b in pairwise(gaps))
    jumps = abs(across[-2] - gradient) > 8 * abs(across[0] - gradient)
    if (bends or jumps) and min(beside) - slack <= gradient <= max(beside) + slack:
        return gradient, True
    return across[0], False


def _sums(graph: Graph, limit: float) -> list[CheckRow]:
    """Each gradient as the sum of its messages, each leaf's as the sum over its paths."""
    rows = []
    messages = graph.derivatives.messages
    readers = carrying(graph)
    counts = count_paths(graph, graph.wrt)
    few, summed = 0, set()
    for i in sorted(graph.wrt, key=lambda i: (counts[i], i)):
        few += counts[i]
        if counts[i] <= PATHS and few <= ALL_PATHS:
            summed.add(i)
    everything = slice(None)
    for i in sorted(graph.derivatives.gradients):
        if i == graph.output:
            continue
        if not all(edge in messages for edge in readers[i]):
            continue
        total = sum(np.ravel(messages[edge]) for edge in readers[i])
        rows.append(_row(graph, i, "messages", total, everything, limit))
        if i in summed:
            values = [path.value for path in paths(graph, i)]
            if any(value is None for value in values):  # an operation cannot be computed again
                continue
            total = sum(map(np.ravel, values))
            rows.append(_row(graph, i, "paths", total, everything, limit))
    return rows
