"""The entries of an array as the cells of a heat map: a byte each, scaled by the largest."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from gradviz.statistics import Statistics

from .wire import HeatMap

SIDE = 64  # a map has at most so many cells in a row and in a column ...
ROOM = 2**18  # ... and all maps of a graph so many together
SMALLEST = 8  # smaller maps say nothing
ZERO, BROKEN = 127, 255  # 0 to 254 stand for -top to top


def side(values: list[Any]) -> int:
    """How many cells the maps of all these values have in a row; 0 where they are too many."""
    sizes = [v.size if isinstance(v, Statistics) else np.size(v) for v in values]
    maps = sum(size > 1 for size in sizes)
    fitting = math.isqrt(ROOM // max(maps, 1))
    return min(fitting, SIDE) if fitting >= SMALLEST else 0


def heat_map(value: Any, most: int) -> HeatMap | None:
    """The map of an array with at most `most` cells in a row; of `Statistics` that of the sample.

    A cell of a larger array is the mean of its entries. None of what is no real array.
    """
    sampled = isinstance(value, Statistics)
    array = np.asarray(value.sample if sampled else value)
    if not most or array.dtype.kind not in "biuf" or array.size < 2:
        return None
    if sampled:
        width = math.isqrt(array.size)
        array = array[: array.size // width * width].reshape(-1, width)
        sampled = value.sample.size < value.size or array.size < value.sample.size
    grid = array.reshape(-1, array.shape[-1]).astype(float)
    with np.errstate(all="ignore"):
        for axis in (0, 1):
            count = grid.shape[axis]
            if count > most:
                starts = np.arange(most) * count // most
                sizes = np.expand_dims(np.diff([*starts, count]), 1 - axis)
                grid = np.add.reduceat(grid, starts, axis) / sizes
        good = np.isfinite(grid)
        top = float(np.abs(grid[good]).max(initial=0.0))
        scaled = np.where(good, np.rint(grid / (top or 1.0) * ZERO) + ZERO, BROKEN)
    return {
        "rows": grid.shape[0],
        "columns": grid.shape[1],
        "cells": base64.b64encode(scaled.astype(np.uint8).tobytes()).decode(),
        "top": top,
        "averaged": grid.size < array.size,
        "sampled": sampled,
    }
