"""Whether a number that the program read as a plain one came back into J.

A program may read values to print, to branch, to stop a loop. Where such a number goes on into J,
the recording takes it for a constant, and the gradient lacks what it should have sent back. That
is found out by a difference: the program is run again at leaves that are a little further on.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.retold import ASKED, ASTRAY, HASHED
from gradviz.model import INPUT, Node
from gradviz.ops.arrays import HELD, STOP

if TYPE_CHECKING:
    from gradviz.graph import Graph

TRIES = 5
"""So many directions are tried before the gradient is called wrong: one may meet a kink."""
CLOSE = 1e-7
"""A central difference that is so near needs no second one."""


def reads(graph: Graph) -> dict[int, str]:
    """By id the values that the program read as plain numbers: how and where."""
    found: dict[int, str] = {}
    if not _noted(graph):
        return found
    for i, node in enumerate(graph.values):
        read = getattr(node, "read", ())
        said = []
        for how, site in (read,) if isinstance(read, tuple) and read else read:
            source = graph._source(Node.new(None, INPUT, site=site))
            said.append(f"by {how} at {source or 'an unknown line'}")
        if said:
            found[i] = ", ".join(said[:3])
    return found


def _noted(graph: Graph) -> bool:
    """Whether a value of the Graph may have been read."""
    return Node.noted >= next((node.order for node in graph.values if node.order >= 0), 0)


def ended(graph: Graph, i: int) -> str:
    """Where the program read what depends on a value as a plain number; "" for nowhere."""
    reached = {i}
    for v, operands in enumerate(graph.operands):
        if v >= i and (v in reached or not reached.isdisjoint(operands)):
            reached.add(v)
            if v in graph.ends:
                return f"{graph.names[v]} was read as a plain number {graph.ends[v]}"
    return ""


def returned(graph: Graph) -> dict[int, str]:
    """The values whose plain number came back into J, and how and where they were read.

    A Graph without a program (`gradviz.graph`) cannot be run with what it read: there a number
    that was computed after the read, and that is none of the program's literals, counts as one.
    """
    program = graph.recorded_program
    hidden = program.reads() if program else ""
    if not hidden and not graph.reads:
        return {}
    noted: dict[int, Any] = {i: getattr(graph.values[i], "read", None) for i in graph.reads}
    reads = {i: graph.reads[i] for i, read in noted.items() if isinstance(read, dict)}
    if not reads and not hidden:
        return {}
    wanted = sorted(graph.wrt) if hidden else sorted(graph.wrt & _before(graph, reads))
    first = 0 if hidden else min(min(noted[i].values()) for i in reads)
    if not wanted or not _unexplained(graph, first):
        return {}
    if program is not None and _agrees(graph, wanted):
        return {}
    if hidden:
        reads.setdefault(wanted[0], hidden)
    return {i: how for i, how in reads.items() if _before(graph, [i]) & graph.wrt}


def astray(graph: Graph) -> str:
    """That the program computes another J on plain arrays, where it asks what kind they are.

    Or where it puts recorded numbers into a set or a dict, which finds them by what they are.

    It is looked at here and a little further on, where another branch shows that gives the same J
    here.
    """
    program = graph.recorded_program
    if not program or not graph.wrt:
        return ""
    why = ""
    if hashed := _hashed(graph):
        why = HASHED.format(place=hashed)
    elif where := program.asks():
        why = ASKED.format(place=where)
    if not why:
        return ""
    here = graph.leaf_values()
    random = np.random.default_rng(0)
    further = dict(here)
    for name in sorted(graph.names[i] for i in graph.wrt):
        value = np.asarray(here[name])
        further[name] = (value + 0.01 * _direction(random, value, 0)).astype(value.dtype)[()]
    name, noise = graph.names[graph.output], _rounding(graph)
    with program.unseen(), np.errstate(all="ignore"):
        for leaves in (here, further):
            ours, does = _J(graph), "computes"
            try:
                alone = _number(program.run(leaves))
                if leaves is here and np.isclose(alone, ours, 0, noise, equal_nan=True):
                    continue
                told = f"{name} = {alone:.6g}"
            except (AttributeError, TypeError) as error:
                alone, does, told = np.nan, "raises", f"{type(error).__name__}: {error}"
            except Exception:  # outside of its domain, say
                continue
            try:
                again = _J(program.record(leaves))
                # (A program that counts its calls computes something else each time.)
                pairs = [(again, ours)] if leaves is here else []
                pairs += [(alone, _number(program.run(leaves)))] if np.isfinite(alone) else []
            except Exception:
                continue
            steady = all(np.isclose(*pair, 0, noise, equal_nan=True) for pair in pairs)
            if not steady or np.isclose(alone, again, 0, noise, equal_nan=True):
                continue
            sentence = ASTRAY[does, "here" if leaves is here else "nearby"]
            return sentence.format(alone=told, again=f"{name} = {again:.6g}", why=why)
    return ""


def _hashed(graph: Graph) -> str:
    """Where the program first put a recorded number into a set, or used it as a key."""
    look = next((look for look in graph.looks or () if look.name == "hash"), None)
    source = look and graph._source(Node.new(None, INPUT, site=look.site))
    return (str(source) if source else "an unknown line") if look else ""


def _J(graph: Graph) -> float:
    return _number(graph.values[graph.output].value)


_NUMBERS = (np.ndarray, np.generic, float, complex)


def _rounding(graph: Graph) -> float:
    """So much J may differ by the order of its sums: it may be a difference of large values."""
    plain = (node.value for node in graph.values if isinstance(node.value, _NUMBERS))
    values = [value for value in map(np.asarray, plain) if value.dtype.kind in "fc"]
    finite = (np.max(np.abs(v), initial=0.0, where=np.isfinite(v)) for v in values)
    coarsest = max((np.finfo(v.dtype).eps for v in values), default=1e-16)
    return float(1e4 * coarsest * max(finite, default=1.0))


def partly(graph: Graph) -> dict[int, str]:
    """Of `returned` those that stand beside a path to J: the gradient is no zero, but wrong."""
    if not graph.returned:
        return {}
    gradients = graph.derivatives.gradients
    return {
        i: how
        for i, how in graph.returned.items()
        if any(w in gradients for w in _before(graph, [i]) & graph.wrt)
    }


def _before(graph: Graph, ids: Any) -> set[int]:
    """Some values and all that they depend on."""
    found, pending = set(ids), list(ids)
    while pending:
        for u in graph.operands[pending.pop()]:
            if u not in found:
                found.add(u)
                pending.append(u)
    return found


def _unexplained(graph: Graph, first: int) -> bool:
    """Whether a number went in, after the first read, of which nobody knows where it came from.

    Literals of the program are known by their identity, and what was there before; integers and
    masks are steps of what they were made from, without a slope.
    """
    known: set[int] = set()
    held: list[Any] = []
    if graph.recorded_program is not None:
        held = list(graph.recorded_program.numbers())
        known = {id(number) for number in held}
    codes: dict[int, Any] = {}
    for node in graph.values:
        for code in (node.site or ())[::2]:
            if hasattr(code, "co_consts") and id(code) not in codes:
                codes[id(code)] = code
                known.update(map(id, _flat(code.co_consts)))
    arrays = graph.recorded_program is not None
    for i, node in enumerate(graph.values):
        if graph.is_leaf(i):
            if node.order > first and (arrays or node.operation.name != "constant"):
                return True  # made by the program, from numbers
            continue
        for number in _flat((*node.operands, *node.keywords.values())):
            if isinstance(number, np.ndarray):
                strange = arrays and number.dtype.kind in "fc"
            else:
                strange = isinstance(number, (float, complex, np.inexact))
            if strange and id(number) not in known:
                if node.order > first:
                    return True
                known.add(id(number))
    return False


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if type(value) in (tuple, list, frozenset):
        for part in value:
            yield from _flat(part)
    elif not isinstance(value, Node):
        yield value


def _agrees(graph: Graph, wanted: list[int]) -> bool:
    """Whether the gradient in a direction is a difference of the program itself."""
    leaves = graph.leaf_values()
    gradients = graph.derivatives.gradients
    slopes = {graph.names[i]: gradients.get(i, 0.0) for i in wanted}
    J = _number(graph.values[graph.output].value)
    if not np.isfinite(J) or not all(np.isfinite(g).all() for g in slopes.values()):
        return True  # it is no number, and nobody takes it for one
    precision = max(np.finfo(np.asarray(leaves[name]).dtype).eps for name in slopes)

    def at(move: Mapping[str, Any]) -> float:
        moved = {
            name: (np.asarray(leaves[name]) + step).astype(np.asarray(leaves[name]).dtype)[()]
            for name, step in move.items()
        }
        with held(graph):
            try:
                return _number(graph.program.run({**leaves, **moved}))
            except Exception:  # outside of its domain, say
                return np.nan

    with graph.program.unseen(), np.errstate(all="ignore"):
        if not abs(at({}) - J) <= 100 * precision * max(1.0, abs(J)):
            return False  # it computes something else each time
        for turn in range(TRIES):
            random = np.random.default_rng(turn)
            move = {name: _direction(random, leaves[name], turn) for name in slopes}
            expected = sum(float(np.sum(g * move[name]).real) for name, g in slopes.items())
            if _differs(at, move, expected, J, precision) is False:
                return True
    return False


def _direction(random: np.random.Generator, value: Any, turn: int) -> Any:
    """A step for each number of a leaf, of the number's own size; at last all go one way."""
    value = np.asarray(value)
    size = np.abs(value)
    size = np.where(size == 0, np.max(size, initial=0.0) or 1.0, size)
    step = size * random.uniform(0.5, 1.0, value.shape)
    if turn < TRIES - 2:
        step = step * random.choice((-1.0, 1.0), value.shape)
    if value.dtype.kind == "c":
        step = step * np.exp(2j * np.pi * random.uniform(size=value.shape))
    return step


def _differs(at: Any, move: Any, expected: float, J: float, precision: float) -> bool:
    """Whether the slope in a direction is another than expected, also at a kink, on each side."""
    h = float(np.cbrt(precision))
    around: dict[float, float] = {
        t: at({name: t * h * step for name, step in move.items()}) for t in (1, -1)
    }
    noise = 10 * precision * max(abs(J), *map(abs, around.values())) / h
    central = (around[1] - around[-1]) / (2 * h)
    if abs(central - expected) <= CLOSE * max(abs(central), abs(expected)) + noise:
        return False
    around |= {t: at({name: t * h * step for name, step in move.items()}) for t in (0.5, -0.5)}
    pairs = [
        (central, (around[0.5] - around[-0.5]) / h),
        *(((around[t] - J) / (t * h), (around[t / 2] - J) / (t / 2 * h)) for t in (1, -1)),
    ]
    # The error of a difference shrinks with its step, so that it is below what it changed by.
    return all(abs(near - expected) > 1.5 * abs(near - far) + 2 * noise for far, near in pairs)


def _number(value: Any) -> float:
    return float(np.asarray(getattr(value, "value", value)).reshape(()))


class held:
    """What `stop_gradient` made stays as recorded while a program is run with other leaves."""

    def __init__(self, graph: Graph) -> None:
        self.values = [node.value for node in graph.values if node.operation.name == STOP.name]

    def __enter__(self) -> None:
        self.token = HELD.set(iter(self.values))

    def __exit__(self, *_: object) -> None:
        HELD.reset(self.token)


def warn_of(graph: Graph) -> None:
    """Warn if the gradients lack a part, or are another J's than the program's by itself."""
    program = graph.recorded_program
    plain = program is not None and not program.suspect() and not _hashed(graph)
    if plain and not _noted(graph):
        return
    lost, astray = partly(graph), graph.astray
    if not lost and not astray:
        return  # before any value gets its name: that takes as long as a backward pass
    name = graph.names[graph.output]
    if lost:
        reads = "; ".join(f"{graph.names[i]} {how}" for i, how in [*lost.items()][:3])
        sure = "is wrong: it lacks" if graph.sure else "may be wrong: it would lack"
        warnings.warn(
            f"the gradient {sure} the part of a value that was read as a plain number and came "
            f"back into {name}, for its history ended there: {reads}; keep "
            "it an array, or write gradviz.stop_gradient where a constant is meant",
            stacklevel=_outside(),
        )
    if astray:
        warnings.warn(f"the gradient is one of another {name}: {astray}", stacklevel=_outside())


def warn_of_end(graph: Graph, i: int) -> None:
    """Warn if a gradient is zero only because the history of its value ended."""
    if lost := ended(graph, i):
        warnings.warn(
            f"the gradient of {graph.names[i]} is 0, for no path leads to "
            f"{graph.names[graph.output]}, but {lost}: there its history ended",
            stacklevel=_outside(),
        )


def _outside() -> int:
    """How many frames above its caller's the user's own code is, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    return level


_INSIDE = ("gradviz", "functools")
