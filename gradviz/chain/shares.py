"""Each parameter's share in what one step of gradient descent is about to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradviz.chain.result import GraphResult
from gradviz.highlight import Highlight
from gradviz.language import in_its_language, say
from gradviz.statistics import measure

if TYPE_CHECKING:
    from gradviz.graph import Graph


@dataclass(frozen=True, repr=False)
class Shares(GraphResult):
    """The result of `Graph.shares`.

    Attributes
    ----------
    rows : dict of str to float
        A leaf's name and its share, between 0 and 1; the largest first. They sum to 1.
    """

    graph: Graph
    rows: dict[str, float]

    @property
    def text(self) -> str:
        """A line per leaf, with a bar."""
        width = max(map(len, self.rows), default=0)
        return "\n".join(
            f"{name:<{width}}  {share:7.2%}  {'█' * round(40 * share)}"
            for name, share in self.rows.items()
        )

    @in_its_language
    def highlight(self) -> Highlight:
        """The share of each leaf as its badge."""
        return Highlight(
            badges={
                self.graph.id(name): f"{share:.1%}" if share >= 0.001 or not share else "< 0.1%"
                for name, share in self.rows.items()
            },
            title=say(
                "Each parameter's share in the first-order change of {v}",
                v=self.graph.names[self.graph.output],
            ),
        )


def shares(graph: Graph) -> Shares:
    """See `Graph.shares`."""
    norms = {name: measure(gradient).norm for name, gradient in graph.gradients().items()}
    largest = max(norms.values(), default=0.0) or 1.0  # whose square may be no number any more
    squares = {name: (norm / largest) ** 2 for name, norm in norms.items()}
    total = sum(squares.values())
    rows = {name: square / total if total else 0.0 for name, square in squares.items()}
    return Shares(graph, dict(sorted(rows.items(), key=lambda row: -row[1])))
