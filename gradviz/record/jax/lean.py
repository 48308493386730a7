"""What is kept of arrays inside of compiled code: all of them, or their statistics."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax, tree_util
from jax import numpy as jnp

from gradviz.statistics import SAMPLE, Statistics, places


class Keep:
    """Keeps arrays whole."""

    whole = True

    def __call__(self, value: Any) -> Any:
        """What is kept of an array."""
        return value

    def spread(self, row: Any, place: Any, length: int) -> Any:
        """What is kept of an array that is `row` at one place, and else zeros.

        None where that can be made of the row.
        """
        return None

    def pack(self, kept: Any) -> Any:
        """What is kept, as it leaves compiled code."""
        return kept

    def unpack(self, packed: Any) -> Any:
        """The same again."""
        return packed


WHOLE = Keep()


@partial(
    tree_util.register_dataclass,
    data_fields=["numbers", "sample"],
    meta_fields=["shape", "dtype"],
)
class Told:
    """The statistics of an array while JAX computes them.

    Attributes
    ----------
    numbers : array
        Norm, minimum, mean, maximum, and the shares of zeros and of what is not finite.
    sample : array
        The entries at `gradviz.statistics.places`.
    """

    def __init__(self, numbers: Any, sample: Any, shape: tuple[int, ...], dtype: str) -> None:
        self.numbers, self.sample, self.shape, self.dtype = numbers, sample, shape, dtype

    def statistics(self) -> Statistics:
        """As the Graph has them."""
        norm, low, mean, high, zeros, broken = np.asarray(self.numbers, float).tolist()
        return Statistics(
            self.shape, self.dtype, norm, low, low if low == high else mean, high, zeros, broken,
            np.asarray(self.sample),
        )  # fmt: skip


class Lean(Keep):
    """Keeps statistics."""

    whole = False

    def __call__(self, value: Any) -> Any:
        """The statistics of an array."""
        value = jnp.asarray(value)
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        shape, dtype = value.shape, str(value.dtype)
        flat = _floats(value)
        if not flat.size:
            return Told(jnp.zeros(6, flat.dtype), flat, shape, dtype)
        low, high = jnp.min(flat), jnp.max(flat)
        finite = jnp.isfinite(low) & jnp.isfinite(high)
        top = jnp.maximum(jnp.abs(low), jnp.abs(high))
        square, mean = jnp.vdot(flat, flat), jnp.sum(flat) / flat.size
        well = ((square > 1e-25) & (square < jnp.inf) & jnp.isfinite(mean)) | (top == 0) | ~finite

        def scaled() -> tuple[Any, Any]:
            small = flat / top
            return top * jnp.sqrt(jnp.vdot(small, small)), jnp.sum(flat / flat.size)

        norm, mean = lax.cond(well, lambda: (jnp.sqrt(square), mean), scaled)
        zeros = _share(flat, (low <= 0) & (high >= 0) | ~finite, lambda x: x == 0)
        broken = _share(flat, ~finite, lambda x: ~jnp.isfinite(x))
        numbers = jnp.stack([norm, low, mean, high, zeros, broken])
        return Told(numbers, flat[places(flat.size)], shape, dtype)

    def spread(self, row: Any, place: Any, length: int) -> Any:
        """See `Keep.spread`."""
        told = self(row)
        flat = _floats(row)
        size = max(flat.size, 1)
        norm, low, mean, high, zeros, broken = told.numbers
        if length > 1:
            low, high = jnp.minimum(low, 0), jnp.maximum(high, 0)
        zeros = (zeros + (length - 1)) / length
        numbers = jnp.stack([norm, low, mean / length, high, zeros, broken / length])
        at = places(flat.size * length)
        there = jnp.where(at // size == place, flat[at % size], 0) if flat.size else flat
        return Told(numbers, there, (length, *told.shape), told.dtype)

    def pack(self, kept: Any) -> Any:
        """One array of each dtype: to fetch thousands would take longer than to compute them."""
        leaves, tree = tree_util.tree_flatten(kept)
        first: dict[int, int] = {}
        slots: list[tuple[str, int, tuple[int, ...]]] = []
        parts: dict[str, list[Any]] = {}
        filled: dict[str, int] = {}
        for leaf in leaves:
            if id(leaf) not in first:
                dtype = str(leaf.dtype)
                first[id(leaf)] = len(slots)
                slots.append((dtype, filled.get(dtype, 0), leaf.shape))
                parts.setdefault(dtype, []).append(jnp.ravel(leaf))
                filled[dtype] = filled.get(dtype, 0) + leaf.size
        arrays = {dtype: jnp.concatenate(some) for dtype, some in parts.items()}
        return Packed(arrays, Layout(tree, tuple(slots), tuple(first[id(x)] for x in leaves)))

    def unpack(self, packed: Any) -> Any:
        """The parts of these arrays."""
        layout = packed.layout
        arrays = {dtype: np.asarray(array) for dtype, array in packed.arrays.items()}
        parts = [
            arrays[dtype][start : start + math.prod(shape)].reshape(shape)
            for dtype, start, shape in layout.slots
        ]
        return tree_util.tree_unflatten(layout.tree, [parts[n] for n in layout.order])


LEAN = Lean()


class Layout(NamedTuple):
    """Where things are in packed arrays."""

    tree: Any
    slots: tuple[tuple[str, int, tuple[int, ...]], ...]
    order: tuple[int, ...]


@partial(tree_util.register_dataclass, data_fields=["arrays"], meta_fields=["layout"])
class Packed:
    """What leaves compiled code."""

    def __init__(self, arrays: Any, layout: Layout) -> None:
        self.arrays, self.layout = arrays, layout


def _floats(value: Any) -> Any:
    """The entries of which statistics are taken."""
    flat = jnp.ravel(value)
    if jnp.issubdtype(flat.dtype, jnp.complexfloating):
        return jnp.abs(flat)
    if flat.dtype in (jnp.float32, jnp.float64):
        return flat
    if flat.dtype in (jnp.bfloat16, jnp.float16):  # (compiled code may not have rounded it yet)
        bits = jnp.finfo(flat.dtype)  # type: ignore[no-untyped-call]
        flat = lax.reduce_precision(flat.astype(jnp.float32), bits.nexp, bits.nmant)
    return flat.astype(jnp.float32)


def _share(flat: Any, asked: Any, which: Any) -> Any:
    """The share of entries of which something holds; counted only where some may."""

    def counted() -> Any:
        return jnp.mean(which(flat), dtype=flat.dtype)

    if flat.size <= SAMPLE:
        return counted()
    return lax.cond(asked, counted, lambda: jnp.zeros((), flat.dtype))
