"""Colours that mean a size: which step of the scale each box and each arrow has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from gradviz import words

from .view import HEATS, View

LEAST = 1e2  # a scale spans at least this ratio, so that what is nearly alike looks so ...
MOST = 1e8  # ... and at most this one


def coloured(
    view: View, meaning: str, boxes: Mapping[str, float], arrows: Mapping[str, float]
) -> View:
    """The View with the sizes of its boxes and arrows, by their ids, as steps of one scale.

    The scale is logarithmic and ends at the largest size. What is 0, not finite, or not known has
    no step.
    """
    sizes = [s for s in (*boxes.values(), *arrows.values()) if 0 < s < math.inf]
    if not sizes:
        return view
    top = max(sizes)
    bottom = max(min(min(sizes), top / LEAST), top / MOST)

    def step(size: float | None) -> int | None:
        if size is None or not 0 < size < math.inf:
            return None
        part = math.log(max(size, bottom) / bottom) / math.log(top / bottom)
        return min(int(part * HEATS), HEATS - 1)

    return replace(
        view,
        boxes=tuple(replace(box, heat=step(boxes.get(box.id))) for box in view.boxes),
        arrows=tuple(replace(arrow, heat=step(arrows.get(arrow.id))) for arrow in view.arrows),
        scale=(words.number(bottom, 2), words.number(top, 2), meaning),
    )
