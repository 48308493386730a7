"""Sampling the steps of a JAX training loop into a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from jax import numpy as jnp

from gradviz.graph import Graph
from gradviz.keep import training
from gradviz.record.arguments import title
from gradviz.record.jax.arguments import Arguments
from gradviz.record.jax.trace import JaxProgram
from gradviz.record.sampling import Sampler
from gradviz.statistics import measure


class Recorder(Sampler):
    """Samples every n-th step; see `gradviz.record_training`."""

    def __init__(
        self,
        loss: Callable[..., Any],
        path: str | os.PathLike[str],
        every: int,
        wrt: Sequence[str] | None,
    ) -> None:
        super().__init__(path, every)
        self.loss, self.wrt = loss, wrt

    @contextmanager
    def step(self, *args: Any, **kwargs: Any) -> Iterator[Callable[[Any], None]]:
        """Around one training step, with the arguments that the loss has in it.

        What it gives is to be called with the first argument as the step has made it: how far
        each parameter moved is then written too.
        """
        number, self.count = self.count, self.count + 1
        moved: list[Any] = []
        if number % self.every:
            yield moved.append
            return
        graph, note = None, ""
        try:  # (before the step, which may give the memory of its arguments away)
            graph = self._graph(args, kwargs)
        except Exception as error:  # whatever goes wrong is no reason to end a training
            note = f"it could not be recorded: {error}"
        yield moved.append
        try:
            self._write(number, graph, note, moved)
        except Exception as error:
            self._warn(f"step {number} could not be written to {self.path}: {error}", "writing", 4)
        if note:
            self._warn(f"step {number} has no Graph in {self.path.name}: {note}", note, 4)

    def _graph(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
        program = JaxProgram(
            self.loss, args, kwargs, self.wrt or self._first(args, kwargs), title(self.loss),
            capture="lean",
        )  # fmt: skip
        self._before = {
            leaf.name: np.array(leaf.value)
            for leaf in program.arguments.leaves
            if leaf.name in program.wanted and np.size(leaf.value) <= ENTRIES
        }
        return program.record({})

    def _first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        """The name of the first argument: the parameters."""
        return Arguments(self.loss, args, kwargs).names[:1]

    def _write(self, number: int, graph: Graph | None, note: str, moved: list[Any]) -> None:
        rows: dict[str, training.Row] = {}
        after: dict[str, Any] = {}
        if graph is not None and moved:
            first = Arguments(self.loss, (moved[-1],), {})
            after = {leaf.name: leaf.value for leaf in first.leaves}
        for i in sorted(graph.wrt) if graph is not None else ():
            assert graph is not None
            name, value = graph.names[i], measure(graph.values[i].value)
            gradient = graph.derivatives.gradients.get(i)
            rows[name] = training.Row(
                value.size, value.rms, None if gradient is None else gradient.rms,
                self._change(name, after.get(name)),
            )  # fmt: skip
        graphs = [graph] if graph is not None else []
        losses = [float(measure(g.values[g.output].value).mean) for g in graphs]
        training.append(
            self.path, number, rows, graphs, losses=losses, loss=losses[0] if losses else None,
            stepped=bool(moved), note=note,
        )  # fmt: skip

    def _change(self, name: str, after: Any) -> float | None:
        """The root mean square of a parameter's change; None where it is not known."""
        before = self._before.get(name)
        if before is None or after is None or np.shape(after) != before.shape:
            return None
        apart = np.subtract(np.array(jnp.asarray(after)), before, dtype=float)
        return float(np.sqrt(np.mean(np.square(apart)))) if apart.size else 0.0


ENTRIES = 2**22
"""Of a parameter of more numbers the change is not written: it would be kept twice."""
