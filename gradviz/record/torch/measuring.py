"""Statistics of many tensors, of which some wait for the others.

A large tensor on the CPU is measured at once, while it is in the processor's cache. A small one is
copied behind others, until they are measured together: when somebody looks, at the latest. What
lies on a device is measured there, and the numbers are fetched together at the end: nothing waits
for the device before.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import fields as fields_of
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradviz.record.torch import keep
from gradviz.record.torch.ranks import local
from gradviz.statistics import SAMPLE, Numbers, Statistics, of_flat, of_many, places

SMALL = 2048
"""A tensor of fewer entries takes longer to be looked at than to be measured."""
ROOM = 2**17
"""So many entries of small tensors are measured together."""
WHOLE = frozenset((torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64))
"""The dtypes of masks, indices and counts."""
_FIELDS = tuple(field.name for field in fields_of(Statistics))
_NUMBERS = _FIELDS[2:8]  # from norm to nonfinite
_put = object.__setattr__  # (they are frozen for everybody else)


class Part(NamedTuple):
    """The part of an array that lies between two places of one axis.

    Attributes
    ----------
    shape : tuple of int
        The array's.
    axis, start, length : int
    """

    shape: tuple[int, ...]
    axis: int
    start: int
    length: int

    @property
    def sampled(self) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Which entries of the array's sample lie in the part, and where there."""
        return _sampled(self)


@lru_cache(maxsize=512)
def _sampled(part: Part) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    index = np.unravel_index(places(math.prod(part.shape)), part.shape)
    at = index[part.axis] - part.start
    (inside,) = np.nonzero((at >= 0) & (at < part.length))
    return inside, tuple((at if n == part.axis else i)[inside] for n, i in enumerate(index))


Waiting = tuple[Statistics, tuple[Tensor, ...], Tensor]
"""What becomes of numbers on a device and a sample there."""


class Measuring:
    """Takes the statistics of tensors as they are now; `settle` computes what waits.

    Whoever asks for a number before has it then.
    """

    def __init__(self) -> None:
        self._small: dict[str, Small] = {}
        self._alone = threading.RLock()  # autograd has a thread for each device
        self._distant: dict[torch.device, list[Waiting]] = {}
        self._streams: dict[torch.device, set[Any]] = {}
        self._derived: list[tuple[Statistics, Statistics, tuple[str, ...]]] = []

    def statistics(self, tensor: Tensor) -> Statistics:
        """The statistics of a tensor."""
        if not keep.is_plain(tensor):
            return self._unusual(tensor)
        shape, name, size = tuple(tensor.shape), keep.name(tensor.dtype), tensor.numel()
        if size < SMALL:
            return self._later(shape, name, keep.looked_at_in_order(tensor))
        flat, chosen = keep.looked_at(tensor)
        return of_flat(flat, shape, name, chosen)

    def _unusual(self, tensor: Tensor) -> Statistics:
        """The same of one that lies elsewhere, or whose entries are no such floats."""
        tensor = local(tensor)
        size = tensor.numel()
        if not (tensor.is_cpu or not size):
            return self.elsewhere(tensor)
        if tensor.dtype not in WHOLE or tensor.layout is not torch.strided or not size:
            return keep.statistics(tensor)
        if size < SMALL:
            numbers = keep.seen(tensor.detach().to(torch.float64))
            return self._later(tuple(tensor.shape), keep.name(tensor.dtype), numbers)
        if tensor.dtype is torch.bool and keep.is_dense(tensor):
            return _of_bits(tensor)
        return keep.statistics(tensor)

    def elsewhere(self, tensor: Tensor) -> Statistics:
        """The statistics of what lies on a device: only asked for, in the stream that makes it."""
        flat, chosen = keep.in_memory(keep.floats(tensor))
        device = flat.device
        numbers, sample = keep.on_device(flat), flat[_index(chosen.tobytes(), device)]
        found = self._promised(tuple(tensor.shape), keep.name(tensor.dtype))
        self._distant.setdefault(device, []).append((found, numbers, sample))
        if (stream := _stream(device)) is not None:
            self._streams.setdefault(device, set()).add(stream)
        return found

    def again(self, known: Statistics, tensor: Tensor, turned: bool) -> Statistics:
        """The statistics of a tensor with the same numbers, maybe in another order (`turned`)."""
        if turned and not tensor.is_cpu:
            return self.statistics(tensor)
        found = self._promised(tuple(tensor.shape), known.dtype)
        if turned:
            _put(found, "sample", keep.sample(tensor))
        self._derived.append((found, known, _NUMBERS if turned else (*_NUMBERS, "sample")))
        return found

    def padded(self, known: Statistics, tensor: Tensor, part: Part) -> Statistics:
        """The statistics of what is an `is_plain` tensor in one part, and 0 elsewhere."""
        found = self._promised(part.shape, known.dtype)
        places, index = part.sampled
        sample = np.zeros(min(found.size, SAMPLE), known.dtype)
        sample[places] = keep.seen(tensor.detach())[index]
        _put(found, "sample", sample)
        self._derived.append((found, known, ()))
        return found

    def _later(self, shape: tuple[int, ...], dtype: str, numbers: np.ndarray) -> Statistics:
        """What is measured together with others."""
        found, kind = self._promised(shape, dtype), numbers.dtype.char
        with self._alone:
            if kind not in self._small:
                self._small[kind] = Small(kind)
            self._small[kind].add(found, numbers)
        return found

    def _promised(self, shape: tuple[int, ...], dtype: str) -> Statistics:
        found = Statistics.__new__(Statistics)
        _put(found, "settle", self.settle)
        _put(found, "shape", shape)
        _put(found, "dtype", dtype)
        return found

    def fetch(self) -> None:
        """Fetch what lies on devices, so that no memory there is held."""
        distant, self._distant = self._distant, {}
        streams, self._streams = self._streams, {}
        for device, waiting in distant.items():
            _fetch(waiting, device, streams.get(device, set()))

    def settle(self) -> None:
        """Compute what waits."""
        with self._alone:  # whoever comes meanwhile finds all of it
            for small in self._small.values():
                small.measure()
            self._small = {}
            self.fetch()
            derived, self._derived = self._derived, []
            for found, known, names in derived:
                if names:
                    _fill(found, names, [getattr(known, name) for name in names])
                else:
                    _fill(found, _NUMBERS, _among_zeros(known, known.size / found.size))


def _among_zeros(known: Statistics, share: float) -> Numbers:
    """The numbers of an array that is the known one in a share of its entries, and 0 elsewhere."""
    low, high = min(known.low, 0.0), max(known.high, 0.0)  # (a NaN stays, as it comes first)
    zeros = 1 - (1 - known.zeros) * share
    return known.norm, low, known.mean * share, high, zeros, known.nonfinite * share


def _of_bits(tensor: Tensor) -> Statistics:
    """The statistics of a mask, which is counted and not made floats."""
    shape, size = tuple(tensor.shape), tensor.numel()
    flat, chosen = keep.in_memory(tensor.detach().view(torch.uint8))
    bits = keep.seen(flat)
    ones = int(np.count_nonzero(bits))
    low, high = float(ones == size), float(ones > 0)
    sample, share = bits[chosen].astype(float), ones / size
    zeros = (size - ones) / size
    return Statistics(shape, "bool", math.sqrt(ones), low, share, high, zeros, 0.0, sample)


class Small:
    """Small arrays of one dtype, one behind the other.

    They are not kept where they were copied to, each in memory of its own: among them large pieces
    of memory that came free would no longer fit.
    """

    def __init__(self, dtype: str) -> None:
        self.numbers = np.empty(ROOM, dtype)
        self.end = 0
        self.found: list[Statistics] = []

    def add(self, found: Statistics, numbers: np.ndarray) -> None:
        """Keep a copy until it is measured."""
        if self.end + numbers.size > ROOM:
            self.measure()
        start, self.end = self.end, self.end + numbers.size
        self.numbers[start : self.end].reshape(numbers.shape)[...] = numbers
        self.found.append(found)

    def measure(self) -> None:
        """Measure them, and make room."""
        if not self.found:
            return
        sizes = [found.size for found in self.found]
        measured = of_many(self.numbers[: self.end], sizes)
        for found, part, numbers in zip(self.found, *measured, strict=True):
            _fill(found, _NUMBERS, numbers)
            _put(found, "sample", part[places(part.size)] if part.size > SAMPLE else part.copy())
        self.found, self.end = [], 0


def _fill(found: Statistics, names: Sequence[str], values: Sequence[Any]) -> None:
    for name, value in zip(names, values, strict=True):
        _put(found, name, value)


def _fetch(waiting: Sequence[Waiting], device: torch.device, streams: Iterable[Any]) -> None:
    """Fetch what was measured on a device, at once."""
    current = _stream(device)
    for stream in streams:
        if stream != current:
            current.wait_stream(stream)
    with torch.no_grad(), torch._C.DisableTorchFunction():
        columns = zip(*(numbers for _, numbers, _ in waiting), strict=True)
        parts = [torch.cat([n.reshape(1) for n in column]).double() for column in columns]
        samples = torch.cat([sample.double() for *_, sample in waiting])
        fetched = torch.cat([*parts, samples]).cpu().numpy()
    count = len(waiting)
    rows = fetched[: 6 * count].reshape(6, count).T.tolist()
    ends = np.cumsum([sample.numel() for *_, sample in waiting])
    parts_of = np.split(fetched[6 * count :], ends[:-1])
    for (found, _, sample), row, part in zip(waiting, rows, parts_of, strict=True):
        _fill(found, _NUMBERS, keep.fields(row, found.size))
        _put(found, "sample", part.astype(keep.name(sample.dtype)))


@lru_cache(maxsize=512)
def _index(chosen: bytes, device: torch.device) -> Tensor:
    """Positions on a device, sent there once."""
    return keep.index(np.frombuffer(chosen, np.intp), device)


def _stream(device: torch.device) -> Any:
    """The queue of work that a device has now; None of one that has none."""
    if device.type == "cpu":
        return None
    current = getattr(torch.get_device_module(device), "current_stream", None)
    return current and current(device)
