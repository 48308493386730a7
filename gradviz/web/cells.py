"""The entries of an array for the panel: numbers, and the cells of a heat map, a byte each."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from gradviz.statistics import Statistics

from .wire import HeatMap, Scalar

SIDE = 64  # a map has at most so many cells in a row and in a column ...
ROOM = 2**18  # ... and all maps of a graph so many together
SMALLEST = 8  # smaller maps say nothing
NUMBERS = 240  # so many numbers of an array are sent
ZERO, BROKEN = 127, 255  # 0 to 254 stand for -top to top


def scalar(value: Any) -> Scalar:
    """A number; what JSON lacks as text."""
    number = float(value)
    return number if math.isfinite(number) else "NaN" if math.isnan(number) else str(number)


def side(values: list[Any]) -> int:
    """How many cells the maps of all these values have in a row; 0 where they are too many."""
    sizes = [v.size if isinstance(v, Statistics) else np.size(v) for v in values]
    maps = sum(size > 1 for size in sizes)
    fitting = math.isqrt(ROOM // max(maps, 1))
    return min(fitting, SIDE) if fitting >= SMALLEST else 0


def first(value: Any, most: int) -> list[Scalar] | None:
    """The first entries of an array, in whole lines if one fits; None of what floats do not hold.

    `most` is how many cells a heat map has in a row: the numbers take as much room as the map.
    """
    if isinstance(value, Statistics):
        return None
    array = np.asarray(value)
    exact = array.dtype.kind in "bf" or (array.dtype.kind in "iu" and (abs(array) < 2**53).all())
    if not array.size or not exact or array.dtype.itemsize > 8:
        return None
    across = array.shape[-1]
    count = min(array.size, NUMBERS, most * most // 8)
    if count < array.size and count > across:
        count -= count % across
    return [scalar(entry) for entry in array.ravel()[:count]] or None


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
