"""What repeats in a sequence, and what numbered names have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

SMALLEST = 6  # so many values must repeat to be a fold
PERIODS = 64  # so many lengths of an iteration are tried, the most frequent ones


def stem(name: str) -> str:
    """A name without its numbers: ``blocks`` of ``blocks.11``, ``h`` of ``h1``."""
    return re.sub(r"[\W_]*\d+[\])]*", "", name).strip(" ._-")


def common(names: list[str]) -> str:
    """What numbered names begin with: ``blocks`` for ``blocks.0``, ``blocks.1``, ..."""
    first, last = min(names), max(names)
    while not last.startswith(first):
        first = first[:-1]
    return re.sub(r"[\W\d_]*$", "", first)


def repetitions(
    looks: Sequence[int], sizes: Sequence[int], longest: bool = False
) -> list[tuple[int, int, int]]:
    """Stretches of a sequence that repeat, from left to right: start, period, number of rounds.

    The shortest periods are taken first, so that a loop in a loop is found whatever its count; or
    those that most of the sequence repeats with.
    """
    seen: dict[int, int] = {}
    distances: Counter[int] = Counter()
    for i, look in enumerate(looks):
        if look in seen:
            distances[i - seen[look]] += 1
        seen[look] = i
    sequence, before = np.array(looks), np.concatenate(([0], np.cumsum(sizes)))
    candidates: list[tuple[int, int, int]] = []
    for period, _ in distances.most_common(PERIODS):
        same = sequence[period:] == sequence[:-period]
        ends = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        starts, lengths = ends[::2], (ends[1::2] - ends[::2]) // period * period + period
        enough = (lengths > period) & (before[starts + lengths] - before[starts] >= SMALLEST)
        candidates += [
            (period, -length, start)
            for start, length in zip(starts[enough].tolist(), lengths[enough].tolist(), strict=True)
        ]
    taken = np.zeros(len(looks), bool)
    found = []
    for period, negative, start in sorted(
        candidates, key=(lambda c: (c[1], c[0], c[2])) if longest else None
    ):
        stretch = slice(start, start - negative)
        if not taken[stretch].any():
            taken[stretch] = True
            found.append((start, period, -negative // period))
    return sorted(found)
