"""What is kept of a JAX array, and what is put back in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from gradviz.statistics import Statistics, measure, places


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
    found = np.asarray(value)
    if found.dtype.kind == "V" or found.dtype.name.startswith(("bfloat", "float8", "float4")):
        found = found.astype(np.float32)
    return found[()]


def is_key(dtype: Any) -> bool:
    """Whether it is that of keys of random numbers."""
    return bool(jnp.issubdtype(dtype, jax.dtypes.prng_key))


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
    found, dtype = measure(array(value)), str(value.dtype)
    return replace(found, dtype=dtype) if dtype.startswith(("bfloat", "float")) else found


def spread(row: Any, i: int, shape: tuple[int, ...]) -> Any:
    """The message to an array of which a row was taken: zeros but for that row."""
    found = np.zeros(shape, row.dtype)
    found[i] = row
    return found


def spread_statistics(row: Any, i: int, shape: tuple[int, ...]) -> Statistics:
    """The statistics of that, without making it."""
    found, length = statistics(row), shape[0]
    if length == 1 or not found.size:
        return replace(found, shape=shape)
    at = places(found.size * length)
    flat = np.ravel(array(row))
    flat = np.abs(flat) if flat.dtype.kind == "c" else flat
    return replace(
        found, shape=shape, low=min(0.0, found.low), high=max(0.0, found.high),
        mean=found.mean / length, zeros=(found.zeros + length - 1) / length,
        nonfinite=found.nonfinite / length,
        sample=np.where(at // found.size == i, flat[at % found.size], 0).astype(flat.dtype),
    )  # fmt: skip
