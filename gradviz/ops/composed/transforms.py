"""The rest of `numpy.fft`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.ops.composed.registry import stands_for

_SWAPPED: dict[Any, Any] = {
    None: "forward",
    "backward": "forward",
    "ortho": "ortho",
    "forward": "backward",
}


@stands_for("fft.hfft")
def _hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    return np.fft.irfft(np.conjugate(a), n, axis, _SWAPPED[norm])


@stands_for("fft.ihfft")
def _ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: None = None) -> Any:
    return np.conjugate(np.fft.rfft(a, n, axis, _SWAPPED[norm]))


def _over_axes(a: Any, s: Any, axes: Any) -> tuple[list[Any], list[int]]:
    if axes is None:
        axes = range(np.ndim(a)) if s is None else range(-len(s), 0)
    return list(s) if s is not None else [None] * len(axes), list(axes)


def _rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Any:
    sizes, along = _over_axes(a, s, axes)
    a = np.fft.rfft(a, sizes[-1], along[-1], norm)
    for size, axis in zip(reversed(sizes[:-1]), reversed(along[:-1]), strict=True):
        a = np.fft.fft(a, size, axis, norm)
    return a


def _irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Any:
    sizes, along = _over_axes(a, s, axes)
    for size, axis in zip(sizes[:-1], along[:-1], strict=True):
        a = np.fft.ifft(a, size, axis, norm)
    return np.fft.irfft(a, sizes[-1], along[-1], norm)


stands_for("fft.rfftn")(_rfftn)
stands_for("fft.irfftn")(_irfftn)
stands_for("fft.rfft2")(
    lambda a, s=None, axes=(-2, -1), norm=None, out=None: _rfftn(a, s, axes, norm)
)
stands_for("fft.irfft2")(
    lambda a, s=None, axes=(-2, -1), norm=None, out=None: _irfftn(a, s, axes, norm)
)


def _shifted(sign: int) -> Callable[..., Any]:
    def shift(x: Any, axes: Any = None) -> Any:
        along = list(range(np.ndim(x))) if axes is None else np.atleast_1d(axes).tolist()
        half = [sign * (np.shape(x)[i] // 2) for i in along]
        if sign < 0:
            half = [-(np.shape(x)[i] // 2) for i in along]
        return np.roll(x, tuple(half), tuple(along))

    return shift


stands_for("fft.fftshift")(_shifted(1))
stands_for("fft.ifftshift")(_shifted(-1))
