"""What of a plan is compiled together, and what is followed from here.

The blocks of a model are stretches that are alike, which are compiled once. A loop with a large
body is followed round by round where only statistics are kept: all rounds' arrays are never there
at once.

Not all is one compiled function that takes the statistics, too: XLA puts each call of a block in
its place, so that a GPT of 12 layers was compiled in 72 s instead of 3 (in 24 s where its options
forbid that), and took 2.4 to 3.7 times as long as the step itself, where stretches take 1.7 times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from jax.extend.core import Literal

from gradviz.chain.repeats import repetitions
from gradviz.record.jax.plan import Plan, Step
from gradviz.record.jax.segments import Segment, look, segment

LONGEST = 150
"""So many calls are compiled together: the time that takes grows faster than their number."""
SHORT = 6
ROUND = 40
"""Of what repeats at least so many calls are compiled together, as every run takes its time."""
LARGE = 2**18
"""With so many numbers in a round, a loop's arrays take longer than its rounds' calls."""


def stretches(steps: Plan, whole: bool) -> list[Segment | Step]:
    """Stretches, and the steps between them that are followed."""
    if whole not in steps.parts:
        steps.parts[whole] = _stretches(steps, whole)
    return steps.parts[whole]


def _stretches(steps: Plan, whole: bool) -> list[Segment | Step]:
    together: list[list[Step] | Step] = []
    for step in steps.steps:
        if not _is_compiled(step, whole):
            together.append(step)
        elif together and isinstance(together[-1], list):
            together[-1].append(step)
        else:
            together.append([step])
    cut: list[list[Step] | Step] = []
    for one in together:
        cut += [one] if isinstance(one, Step) else _cut(one)
    after = {v for v in steps.jaxpr.outvars if not isinstance(v, Literal)}
    found: list[Segment | Step] = []
    for part in reversed(cut):
        if isinstance(part, Step):
            found.append(part)
            read = part.reads
        else:
            found.append(segment(part, after))
            read = [a for step in part for a in step.reads]
        after.update(a for a in read if not isinstance(a, Literal))
    return found[::-1]


def _is_compiled(step: Step, whole: bool) -> bool:
    """Whether the course of a step does not depend on numbers, and all its arrays may be there."""
    if step.kind == "call":
        return True
    return (
        step.kind == "scan"
        and all(_is_compiled(one, whole) for one in step.inner[0].steps)
        and (whole or sum(map(_numbers, step.inner[0].steps)) < LARGE)
    )


def _numbers(step: Step) -> int:
    """How many numbers its results have, those inside of a loop too."""
    if step.kind == "scan":
        rounds: int = step.params["length"]
        return rounds * sum(map(_numbers, step.inner[0].steps))
    return sum(math.prod(v.aval.shape) for v in step.writes)


def _cut(steps: list[Step]) -> Iterator[list[Step]]:
    """A stretch in pieces, those that repeat apart."""
    if len(steps) <= LONGEST // 2:
        yield steps
        return
    numbers: dict[object, int] = {}
    looks = [numbers.setdefault(look(step), len(numbers)) for step in steps]
    at = 0
    for start, period, rounds in repetitions(looks, [1] * len(steps), longest=True):
        if period < SHORT:
            continue
        yield from _pieces(steps[at:start])
        at = start
        size = period * max(1, min(ROUND // period, rounds))
        while at + size <= start + period * rounds:
            yield from _pieces(steps[at : at + size])
            at += size
    yield from _pieces(steps[at:])


def _pieces(steps: Sequence[Step]) -> Iterator[list[Step]]:
    for start in range(0, len(steps), LONGEST):
        yield [*steps[start : start + LONGEST]]
