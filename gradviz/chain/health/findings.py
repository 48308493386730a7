"""What is wrong with a computation's numbers and what to do, in words and in pictures."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack

from gradviz.chain.result import GraphResult
from gradviz.highlight import PATHS, Highlight
from gradviz.options import Picture, named
from gradviz.words import Site, counted

if TYPE_CHECKING:
    from gradviz.graph import Graph
    from gradviz.show.drawing import Drawing

MARKS = {"error": "✗", "warning": "!", "note": "·"}
SEVERITIES = tuple(MARKS)
"""A number that is none; what keeps a model from learning; what is worth knowing all the same."""
KINDS = (
    "non-finite value",
    "non-finite gradient",
    "no backward pass",
    "lost history",
    "another J",
    "no gradient",
    "zero gradient",
    "likely mistake",
    "changed gradient",
    "exploding gradient",
    "vanishing gradient",
    "dead units",
    "saturated units",
    "equal units",
    "ill-scaled parameter",
    "frozen parameters",
)
UNHEALTHY = frozenset(KINDS) - {
    "dead units", "ill-scaled parameter", "frozen parameters", "likely mistake",
}  # fmt: skip
"""With one of these, though only a note, nothing is called healthy."""
MOST = 3
"""Of one kind, so many findings are listed; more are counted."""
CLOSE = 40
"""A graph of more values is folded around a finding."""


@dataclass(frozen=True, repr=False)
class Finding(GraphResult):
    """One thing that is wrong, and where.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    severity : str
        One of `SEVERITIES`.
    node : int
        The id of the value that is to blame.
    path : tuple of int
        Ids along the edges of the graph: what it is about, what is to blame, and on to J.
    message, advice : str
        What and why; what to do.
    numbers : dict of str to float
        What the message is founded on.
    graph : Graph
    badges : dict of int to str
        What its picture says at further values: the sizes of gradients on their way, say.
    """

    kind: str
    severity: str
    node: int
    path: tuple[int, ...]
    message: str
    advice: str
    numbers: Mapping[str, float]
    graph: Graph
    badges: Mapping[int, str] = field(default_factory=dict)

    detail = None

    @property
    def name(self) -> str:
        """The name of the value that is to blame."""
        return self.graph.names[self.node]

    @property
    def operation(self) -> str:
        """The operation that computed it, or the kind of a leaf."""
        return self.graph.values[self.node].operation.name

    @property
    def scope(self) -> tuple[str, ...]:
        """The scope of the value."""
        return self.graph.values[self.node].scope

    @property
    def source(self) -> Site | None:
        """File, line and text of the line that computed the value."""
        return self.graph.source(self.node)

    @property
    def text(self) -> str:
        """What, where, and what to do."""
        mark = MARKS[self.severity]
        where = [f"in {'.'.join(self.scope)}"] if self.scope else []
        if self.source:
            where.append(f"at {self.source.place}")
        further = (" ".join(where), f"→ {self.advice}" if self.advice else "")
        lines = [f"{mark} {self.kind}: {self.message}", *(f"    {x}" for x in further if x)]
        return "\n".join(lines)

    def highlight(self, detail: str | None = None) -> Highlight:
        """The value and its path; all else is greyed."""
        return self.highlight_in(self.graph.detailed(detail))

    def highlight_in(self, shown: Graph) -> Highlight:
        """The value and its path in `graph` or in its `statements`."""
        return _highlight(self.graph, (self,), f"{self.kind}: {self.name}", shown)

    @named(Picture)
    def draw(self, **options: Unpack[Picture]) -> Drawing:
        """The picture of the value and its path (options as in `Graph.draw`).

        A graph that is large is folded, except for what the value lies in.
        """
        shown = self.graph.detailed(options.get("detail"))
        if len(shown) > CLOSE:
            options.setdefault("unfold", shown.names[_places(self.graph, shown)[self.node]])
        return super().draw(**options)


@dataclass(frozen=True)
class Layer:
    """A row of `Health.layers`.

    Attributes
    ----------
    name : str
        Its scope; without scopes, the value that is computed from its parameters.
    parameters : int
        How many numbers.
    weights, gradient : float
        The root mean square of its parameters, and of their gradients.
    incoming, outgoing : float
        The norm of the gradient of what the layer computes, and of what it sends to its inputs.
    """

    name: str
    parameters: int
    weights: float
    gradient: float
    incoming: float
    outgoing: float


@dataclass(frozen=True, repr=False)
class Health(GraphResult):
    """The result of `Graph.diagnose`; true if there is no error and no warning.

    An *error* is a number that is none: a NaN or an infinity in J or in a parameter's gradient, or
    a gradient that cannot be computed. A *warning* is what keeps a parameter from learning, or
    lets it learn wrongly: no gradient, one of exactly 0 that is not meant, one that vanishes or
    explodes. A *note* is worth knowing and may be meant: a gain that starts at 0, a mask that
    chance made, a gradient that a hook changed. Where all gradients are 0 that is a warning,
    whatever the reason. `gradviz ... --diagnose` exits with 1 where this is false.

    Attributes
    ----------
    findings : tuple of Finding
        The worst first.
    layers : tuple of Layer
        In the order in which they compute.
    graph : Graph
    """

    graph: Graph
    findings: tuple[Finding, ...]
    layers: tuple[Layer, ...]

    detail = None

    @property
    def rows(self) -> tuple[Finding, ...]:
        """The `findings`."""
        return self.findings

    @property
    def ok(self) -> bool:
        """Whether there is nothing but notes."""
        return all(finding.severity == "note" for finding in self.findings)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def text(self) -> str:
        """Each finding: what, where, and what to do."""
        lines: list[str] = []
        if self.ok:
            flows = [layer.incoming for layer in self.layers if layer.incoming]
            span = f", ‖gradient‖ {min(flows):.2g} … {max(flows):.2g}" if flows else ""
            what = counted(len(self.layers), "layer") + span
            lines = [f"✓ healthy: {what}"]
            if any(finding.kind in UNHEALTHY for finding in self.findings):
                lines = [f"✓ no warning: {what}; {counted(len(self.findings), 'note')}"]
        kinds: Counter[str] = Counter()
        for finding in self.findings:
            kinds[finding.kind] += 1
            if kinds[finding.kind] <= MOST:
                lines.append(finding.text)
        lines += [f"and {n - MOST} more: {kind}" for kind, n in kinds.items() if n > MOST]
        return "\n".join(lines)

    @property
    def table(self) -> str:
        """`layers` as a table of text."""
        rows = [["layer", "parameters", "rms weight", "rms gradient", "‖gradient‖ in", "out"]]
        for row in self.layers:
            sizes = (row.weights, row.gradient, row.incoming, row.outgoing)
            rows.append([row.name, str(row.parameters), *(f"{x:.3g}" for x in sizes)])
        first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(
            "  ".join([name.ljust(first), *map(str.rjust, cells, others)]) for name, *cells in rows
        )

    def highlight(self, detail: str | None = None) -> Highlight:
        """Every finding's value, numbered, and its path."""
        return self.highlight_in(self.graph.detailed(detail))

    def highlight_in(self, shown: Graph) -> Highlight:
        """The same in `graph` or in its `statements`."""
        title = "What is wrong" if not self.ok else "Nothing is wrong"
        return _highlight(self.graph, self.findings, title, shown)


# --- drawn ---------------------------------------------------------------------------------------


def _highlight(graph: Graph, findings: Sequence[Finding], title: str, shown: Graph) -> Highlight:
    place = _places(graph, shown)
    boxes: dict[int, str] = {}
    arrows: dict[tuple[int, int, int], tuple[str, ...]] = defaultdict(tuple)
    badges: dict[int, str] = {}
    legend: list[tuple[str, str]] = []
    for number, finding in enumerate(findings[:PATHS], 1):
        role = f"path {number}"
        path = list(dict.fromkeys(place[i] for i in finding.path))
        for u, v in itertools.pairwise(path):
            for key, operand in enumerate(shown.operands[v]):
                if operand == u:
                    arrows[u, v, key] += (role,)
        boxes = dict.fromkeys(path, role) | boxes
        label = finding.kind if len(findings) == 1 else f"{number} {finding.kind}"
        at = place[finding.node]
        if finding.severity != "note":
            boxes[at] = "sick"
        badges[at] = f"{badges[at]}, {label}" if at in badges else label
        legend.append((role, f"{label}: {finding.name}"))
        for i, said in finding.badges.items():
            badges.setdefault(place[i], said)
    if "sick" in boxes.values():
        legend.append(("sick", "to blame"))
    if len(findings) == 1:
        legend.append(("unneeded", "not on its path"))
        boxes = dict.fromkeys(range(len(shown)), "unneeded") | boxes
        everything: dict[tuple[int, int, int], tuple[str, ...]]
        everything = dict.fromkeys(shown.edges(), ("unneeded",))
        arrows = everything | arrows
    return Highlight(boxes, arrows, badges, title=title, legend=tuple(legend))


def read_marks(graph: Graph, detail: str | None) -> Highlight:
    """The values whose plain number came back into J: their history is broken."""
    place = _places(graph, graph.detailed(detail))
    lost = {place[i]: "read as a number" for i in graph.returned}
    legend = (("sick", "its number came back into J, its gradient did not"),)
    return Highlight(dict.fromkeys(lost, "sick"), {}, lost, legend=legend)


def _places(graph: Graph, shown: Graph) -> Sequence[int] | Mapping[int, int]:
    """Where each value is seen: an unnamed step is part of the named value."""
    summary = shown.origin
    if summary is None or shown is graph:
        return range(len(graph))
    return {i: summary.new_id[kept] for kept, inside in summary.members.items() for i in inside}
