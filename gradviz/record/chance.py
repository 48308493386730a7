"""The random numbers of a program: noted, drawn again, and put back."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np


class States(NamedTuple):
    """The states of generators of random numbers.

    Attributes
    ----------
    common : list
        Those of Python's, NumPy's and PyTorch's own; they can be pickled.
    own : list of (generator, state)
        Those of the program's.
    """

    common: list[Any]
    own: list[tuple[Any, Any]]

    def put(self) -> None:
        """Go on drawing from here."""
        python, array, tensors = self.common
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002
        if tensors is not None:
            put_of_torch(tensors)
        for generator, state in self.own:
            _set(generator, state)


def states(generators: Iterable[Any] = (), tensors: bool = False) -> States:
    """The states now; `tensors`: PyTorch's too."""
    drawn = of_torch() if tensors else None
    array = np.random.get_state()  # noqa: NPY002
    return States([random.getstate(), array, drawn], [(g, _get(g)) for g in generators])


def of_torch() -> list[Any]:
    """The states of PyTorch's own: the CPU's, and each GPU's where the program uses CUDA so far."""
    torch = sys.modules["torch"]
    devices = torch.cuda.default_generators
    return [torch.get_rng_state(), *(generator.get_state() for generator in devices)]


def put_of_torch(states: Sequence[Any]) -> None:
    """Let PyTorch's own go on from there."""
    torch = sys.modules["torch"]
    torch.set_rng_state(states[0])
    for device, generator in enumerate(torch.cuda.default_generators, 1):
        if device < len(states):
            generator.set_state(states[device])
        else:  # one of a GPU that was first used since
            generator.manual_seed(generator.initial_seed())


@contextmanager
def replayed(drawn: States | None) -> Iterator[None]:
    """Draw the numbers once more that were drawn from there on; the user's go on after it."""
    if drawn is None:
        yield
        return
    with preserved(g for g, _ in drawn.own):
        drawn.put()
        yield


@contextmanager
def preserved(generators: Iterable[Any] = (), tensors: bool = False) -> Iterator[States]:
    """Afterwards the generators stand where they stood; yields where that is."""
    before = states(generators, tensors)
    try:
        yield before
    finally:
        before.put()


_NUMPYS = np.random.Generator, np.random.RandomState, np.random.BitGenerator


def is_generator(value: Any) -> bool:
    """Whether an object draws random numbers."""
    return isinstance(value, (*_NUMPYS, random.Random)) or (
        type(value).__name__ == "Generator" and type(value).__module__.startswith("torch")
    )


def _get(generator: Any) -> Any:
    if isinstance(generator, _NUMPYS):
        return _bits(generator).state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _set(generator: Any, state: Any) -> None:
    if isinstance(generator, _NUMPYS):
        _bits(generator).state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)


def _bits(generator: Any) -> Any:
    """What holds the state of one of NumPy's generators."""
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator
    return getattr(generator, "_bit_generator", generator)
