"""What is kept of a JAX array, and what is put back in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from gradviz.statistics import Statistics, measure, of_flat, places


def array(value: Any) -> Any:
    """A JAX array as NumPy's; a number where it is one.

    bfloat16 and smaller floats, which NumPy lacks, become float32: every number of them is one of
    float32 too. A key of random numbers is kept by its data.
    """
    if isinstance(value, Statistics):
        return value
    dtype = getattr(value, "dtype", None)
    if dtype is not None and is_key(dtype):
        value = jax.random.key_data(value)
    found = np.asarray(value, getattr(value, "dtype", None))  # (a whole number has one here, too)
    if found.dtype.kind == "V" or found.dtype.name.startswith(("bfloat", "float8", "float4")):
        found = found.astype(np.float32)
    return found[()]


def is_key(dtype: Any) -> bool:
    """Whether it is that of keys of random numbers."""
    return not isinstance(dtype, np.dtype) and bool(jnp.issubdtype(dtype, jax.dtypes.prng_key))


def put(value: Any, like: Any) -> Any:
    """A value as JAX has it: `like` an array, or the kind of one."""
    if isinstance(value, jax.Array) and value.dtype == like.dtype:
        return value
    if is_key(like.dtype):
        if isinstance(value, jax.Array):
            return value
        return jax.random.wrap_key_data(jnp.asarray(value), impl=str(like.dtype._impl.name))
    return jnp.asarray(value, like.dtype)


def sliced(kept: Any, i: int) -> Any:
    """What is kept of one round of a loop."""
    return jax.tree_util.tree_map(lambda a: a[i], kept)


def statistics(value: Any) -> Statistics:
    """The statistics of an array."""
    if isinstance(value, Statistics):
        return value
    dtype = value.dtype
    if dtype in _FLOATS and (flat := np.asarray(value).reshape(-1)).size:
        return of_flat(flat, value.shape, _FLOATS[dtype])
    found, name = measure(array(value)), name_of(dtype)
    return replace(found, dtype=name) if name.startswith(("bfloat", "float")) else found


@cache
def name_of(dtype: Any) -> str:
    """A dtype's name, which takes longer to make than a small array to measure."""
    return str(dtype)


_FLOATS = {np.dtype(name): name for name in ("float16", "float32", "float64")}


def rearranged(known: Statistics, value: Any) -> Statistics:
    """The statistics of the same numbers, known of an array, in another order or shape."""
    if value.dtype not in _FLOATS:
        return statistics(value)
    sample = np.asarray(value).reshape(-1)[places(value.size)]
    return Statistics(value.shape, known.dtype, known.norm, known.low, known.mean, known.high,
                      known.zeros, known.nonfinite, sample)  # fmt: skip


def stacked_statistics(rows: Sequence[Any], found: Sequence[Statistics]) -> Statistics:
    """The statistics of rows together, without stacking them, of those `found` of each."""
    norms, lows, means, highs, zeros, nonfinite = (
        np.array([getattr(one, name) for one in found])
        for name in ("norm", "low", "mean", "high", "zeros", "nonfinite")
    )
    low, high = float(lows.min()), float(highs.max())
    size = found[0].size
    flat = [np.ravel(array(row)) for row in rows]
    sample = np.array([flat[n // size][n % size] for n in places(size * len(rows))])
    return Statistics(
        (len(rows), *found[0].shape), found[0].dtype,
        float(np.nan if np.isnan(norms).any() else np.hypot.reduce(norms)),  # (of inf: inf)
        low, low if low == high else float(means.mean()), high,
        float(zeros.mean()), float(nonfinite.mean()),
        np.abs(sample) if sample.dtype.kind == "c" else sample,
    )  # fmt: skip


def spread(row: Any, i: int, shape: tuple[int, ...]) -> Any:
    """The message to an array of which a row was taken: zeros but for that row."""
    found = np.zeros(shape, row.dtype)
    found[i] = row
    return found


def spread_statistics(row: Any, found: Statistics, i: int, shape: tuple[int, ...]) -> Statistics:
    """The statistics of that, without making it, of those `found` of the row."""
    length = shape[0]
    if length == 1 or not found.size:
        return replace(found, shape=shape)
    at = places(found.size * length)
    flat = np.ravel(array(row))
    flat = np.abs(flat) if flat.dtype.kind == "c" else flat
    return replace(
        found, shape=shape,
        low=float(np.minimum(0.0, found.low)), high=float(np.maximum(0.0, found.high)),
        mean=found.mean / length, zeros=(found.zeros + length - 1) / length,
        nonfinite=found.nonfinite / length,
        sample=np.where(at // found.size == i, flat[at % found.size], 0).astype(flat.dtype),
    )  # fmt: skip
