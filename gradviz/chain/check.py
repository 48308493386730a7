"""Every leaf gradient against central finite differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.graph import Graph


@dataclass(frozen=True)
class CheckRow:
    """One leaf.

    Attributes
    ----------
    name : str
    entries : int
        How many of its entries were compared.
    error : float
        The largest |difference| / max(1, |gradient|, |J|) over these entries.
    ok : bool
    """

    name: str
    entries: int
    error: float
    ok: bool


@dataclass(frozen=True)
class Check:
    """The result of `Graph.check`."""

    rows: tuple[CheckRow, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether every compared entry agrees."""
        return all(row.ok for row in self.rows)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def text(self) -> str:
        """A line per leaf."""
        return "\n".join(
            f"{'✓' if row.ok else '✗'} {row.name}: error {row.error:.2g} over {row.entries} "
            f"entr{'y' if row.entries == 1 else 'ies'} (tolerance {self.tolerance:g})"
            for row in self.rows
        )

    def __str__(self) -> str:
        return self.text


def check(
    graph: Graph, *, entries: int = 64, step: float | None = None, tolerance: float | None = None
) -> Check:
    """Compare every leaf gradient with central differences of the program run again.

    ∂J/∂u ≈ (J(u + h) - J(u - h)) / 2h, whose error is of the order h² + ε/h, so that h = ∛ε is
    near the best (ε: the dtype's precision).

    Parameters
    ----------
    graph : Graph
    entries : int, optional
        At most so many entries per leaf, evenly spread.
    step : float, optional
        h, relative to max(1, \\|u\\|). Default: ∛ε.
    tolerance : float, optional
        On \\|difference\\| / max(1, \\|gradient\\|, \\|J\\|). Default: 100 ∛ε².

    Raises
    ------
    TraceError
        The Graph does not know its program.
    """
    if graph.program is None:
        raise TraceError("this Graph does not know its program, so it cannot run it again")
    leaves = graph.leaf_values()
    precision = max(
        (np.finfo(np.asarray(leaves[graph.names[i]]).dtype).eps for i in graph.wrt), default=1e-16
    )
    h = step or float(np.cbrt(precision))
    limit = tolerance or 100 * h**2
    size = abs(float(np.asarray(graph.values[graph.output].value).reshape(())))
    rows: list[CheckRow] = []
    for i in sorted(graph.wrt):
        name = graph.names[i]
        value = np.asarray(leaves[name])
        gradient = np.ravel(graph.grad(name))
        chosen = np.unique(
            np.linspace(0, max(value.size - 1, 0), min(entries, value.size)).astype(int)
        )
        worst = 0.0
        for at in chosen:
            width = h * max(1.0, abs(float(value.flat[at])))
            outputs = []
            for shift in (width, -width):
                moved = value.copy()
                moved.flat[at] += shift
                with np.errstate(all="ignore"):
                    outputs.append(
                        float(
                            np.asarray(graph.program.run({**leaves, name: moved[()]})).reshape(())
                        )
                    )
            numeric = (outputs[0] - outputs[1]) / (2 * width)
            error = abs(numeric - gradient[at]) / max(1.0, abs(gradient[at]), size)
            worst = max(worst, float(error)) if not np.isnan(error) else np.inf
        rows.append(CheckRow(name, len(chosen), worst, bool(worst <= limit)))
    return Check(tuple(rows), limit)
