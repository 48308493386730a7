"""A Graph of the numbers of arrays, made of what is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from gradviz.chain.elements import ElementsProgram, Opened

if TYPE_CHECKING:
    from gradviz.graph import Graph

G = TypeVar("G", bound="Graph")


def elements(
    graph: Graph, names: Sequence[str], limit: int, products: bool, make: Callable[..., G]
) -> G:
    """See `Graph.elements`."""
    whole = graph.origin.whole if graph.origin else graph
    opened = Opened(whole, tuple(names), limit, products)
    return make(
        opened.values,
        opened.operands,
        opened.naming,
        opened.all(whole.output)[0],
        [j for i in whole.wrt for j in opened.all(i)],
        sources=graph._source,
        program=ElementsProgram(opened, limit),
        title=graph.title,
        layers=graph.layers,
        known=opened.known(),
    )
