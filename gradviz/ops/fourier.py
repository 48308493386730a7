"""Rows of `numpy.fft`.

The matrix of a discrete Fourier transform is symmetric: its message is the transform of the
upstream term, cut or filled up to the operand's length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.operation import linear


def _fitted(message: Any, shape: tuple[int, ...]) -> Any:
    """Cut at the ends or filled up with zeros to a shape."""
    cut = message[tuple(map(slice, shape))]
    missing = [(0, n - m) for n, m in zip(shape, np.shape(cut), strict=True)]
    return np.pad(cut, missing) if any(n for _, n in missing) else cut


def _one(function: Callable[..., Any]) -> Any:
    def pull(g: Any, v: Any, a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return _fitted(function(g, None, axis, norm), np.shape(a))

    return linear(function, f"{function.__name__}(a)", (f"{function.__name__}(g)", pull))


def _several(function: Callable[..., Any], default: tuple[int, ...] | None) -> Any:
    def pull(g: Any, v: Any, a: Any, s: Any = None, axes: Any = default, norm: Any = None) -> Any:
        if axes is None and s is not None:
            axes = tuple(range(-len(s), 0))
        return _fitted(function(g, None, axes, norm), np.shape(a))

    return linear(function, f"{function.__name__}(a)", (f"{function.__name__}(g)", pull))


def _rfft(g: Any, v: Any, a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    n = np.shape(a)[axis] if n is None else n
    full = list(np.shape(g))
    full[axis] = n
    return _fitted(np.fft.fft(_fitted(g, tuple(full)), None, axis, norm), np.shape(a))


def _irfft(g: Any, v: Any, a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    n = np.shape(v)[axis]
    message = np.moveaxis(np.fft.ifft(g, None, axis, norm), axis, -1)[..., : n // 2 + 1]
    # Each frequency but the first, and of an even n the last, stands for its mirror image too.
    count = np.full(n // 2 + 1, 2.0)
    count[0] = 1.0
    if n % 2 == 0:
        count[-1] = 1.0
    return _fitted(np.moveaxis(message * count.astype(v.dtype), -1, axis), np.shape(a))


ROWS = (
    *map(_one, (np.fft.fft, np.fft.ifft)),
    *(_several(function, (-2, -1)) for function in (np.fft.fft2, np.fft.ifft2)),
    *(_several(function, None) for function in (np.fft.fftn, np.fft.ifftn)),
    linear(np.fft.rfft, "rfft(a)", ("fft(g)", _rfft)),
    linear(np.fft.irfft, "irfft(a)", ("2 * ifft(g)", _irfft)),
)
