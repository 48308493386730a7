"""A graph is examined by all detectors, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradviz.chain.health.attention import Attention
from gradviz.chain.health.findings import KINDS, SEVERITIES, Finding, Health
from gradviz.chain.health.flow import Flow
from gradviz.chain.health.lost import Lost
from gradviz.chain.health.mistakes import Mistakes
from gradviz.chain.health.nonfinite import NonFinite
from gradviz.chain.health.units import Units
from gradviz.chain.health.zeros import Zeros

if TYPE_CHECKING:
    from gradviz.graph import Graph


class Examination(NonFinite, Lost, Zeros, Flow, Units, Attention, Mistakes):
    """What all detectors find.

    Parameters
    ----------
    graph : Graph
    rate : float or None
        The learning rate.
    """

    def __init__(self, graph: Graph, rate: float | None) -> None:
        super().__init__(graph)
        self.rate = rate

    def findings(self) -> Iterator[Finding]:
        """All that is wrong, and notes."""
        broken = list(self._nonfinite_value())
        if self.failure is not None:
            at = self.graph.output
            yield from broken
            yield self._finding("no backward pass", "error", at, (at,), str(self.failure))
            return
        broken += self._nonfinite_gradient()
        broken = broken or list(self._lost_infinity())
        yield from broken
        yield from self._returned()
        yield from self._astray()
        yield from self._disconnected()
        yield from self._changed_gradients()
        grave = [f for f in broken if f.severity != "note"]
        known = {i for f in grave for i in f.path}
        known |= self._before(f.node for f in grave if f.severity == "error")
        zero = [*self._zero(known), *(() if grave else self._idle())]
        yield from zero
        told = {i for finding in zero for i in finding.path}
        saturated = [*self._saturated(told), *self._sharp({finding.node for finding in zero})]
        yield from saturated
        alike = list(self._equal_units())
        flow = list(self._flow())
        if alike:  # what of equal units comes back may cancel: that is one cause
            flow = [f for f in flow if not self._cancels((f.node, 0))]
        if not grave and not any(finding.kind == "vanishing gradient" for finding in flow):
            flow += self._rounding()
        blamed = {finding.node for finding in saturated}
        yield from (f for f in flow if not self._explained(f, blamed))
        yield from self._dead(told)
        yield from self._mistakes()
        yield from alike
        yield from self._rounded()
        if self.rate is not None or not flow:  # else the layers have no size in common
            yield from self._scales()
        yield from self._frozen()


def diagnose(graph: Graph, rate: float | None = None) -> Health:
    """See `Graph.diagnose`."""
    with np.errstate(all="ignore"):
        found = Examination(graph, rate)
        findings = sorted(
            found.findings(),
            key=lambda f: (SEVERITIES.index(f.severity), KINDS.index(f.kind), f.node),
        )
        return Health(graph, tuple(findings), tuple(found.layers()))
