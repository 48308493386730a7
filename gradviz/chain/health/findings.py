"""What is wrong with a computation's numbers and what to do, in words and in pictures."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, Unpack

from gradviz.chain.result import GraphResult, Result
from gradviz.highlight import PATHS, Highlight
from gradviz.language import Told, commas, in_its_language, padded, say, some
from gradviz.language import columns as wide
from gradviz.options import Picture, named
from gradviz.words import Site

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
HEADS = "layer", "parameters", "rms weight", "rms gradient", "‖gradient‖ in", "out"
CLOSE = 40
"""A graph of more values is folded around a finding."""


Words = Told | str
"""What is said in the language of its reader, or once for all: an error, a name."""


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
    says, advises : Told or str
        What and why; what to do: `message` and `advice` before they are said in a language.
    numbers : dict of str to float
        What the message is founded on.
    graph : Graph
    badges : dict of int to Told
        What its picture says at further values: the sizes of gradients on their way, say.
    """

    kind: str
    severity: str
    node: int
    path: tuple[int, ...]
    says: Words
    advises: Words
    numbers: Mapping[str, float]
    graph: Graph
    badges: Mapping[int, Told] = field(default_factory=dict)

    detail = None

    @property
    @in_its_language
    def message(self) -> str:
        """What is wrong, and why."""
        return str(self.says)

    @property
    @in_its_language
    def advice(self) -> str:
        """What to do."""
        return str(self.advises)

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
    @in_its_language
    def text(self) -> str:
        """What, where, and what to do."""
        return self.told()

    def told(self) -> str:
        """The `text` in the language that is spoken now."""
        head = say("{kind}: {message}", kind=say(self.kind), message=self.details())
        return f"{MARKS[self.severity]} {head}"

    def details(self) -> str:
        """The same without its kind."""
        scope, place = ".".join(self.scope), self.source.place if self.source else ""
        where = ""
        if scope or place:
            in_scope = "in {scope} at {place}" if place else "in {scope}"
            where = say(in_scope if scope else "at {place}", scope=scope, place=place)
        advice = str(self.advises)
        further = (where, f"→ {advice}" if advice else "")
        return "\n".join([str(self.says), *(f"    {x}" for x in further if x)])

    def highlight(self, detail: str | None = None) -> Highlight:
        """The value and its path; all else is greyed."""
        return self.highlight_in(self.graph.detailed(detail))

    def highlight_in(self, shown: Graph) -> Highlight:
        """The value and its path in `graph` or in its `statements`."""
        title = say("{kind}: {message}", kind=say(self.kind), message=self.name)
        return _highlight(self.graph, (self,), title, shown)

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


class Graded(Protocol):
    """What has one of the `SEVERITIES`."""

    @property
    def severity(self) -> str:
        """How bad it is."""


Found = TypeVar("Found", bound=Graded)


class Verdict(Result, Generic[Found]):
    """Findings, true if there is no error and no warning among them."""

    findings: tuple[Found, ...]

    @property
    def rows(self) -> tuple[Found, ...]:
        """The `findings`."""
        return self.findings

    @property
    def ok(self) -> bool:
        """Whether there is nothing but notes."""
        return all(finding.severity == "note" for finding in self.findings)

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, repr=False)
class Health(Verdict[Finding], GraphResult):
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
    @in_its_language
    def text(self) -> str:
        """Each finding: what, where, and what to do."""
        lines: list[str] = []
        if self.ok:
            flows = [layer.incoming for layer in self.layers if layer.incoming]
            what = some(len(self.layers), "layer")
            if flows:
                size = "{layers}, ‖gradient‖ {least:.2g} … {most:.2g}"
                what = say(size, layers=what, least=min(flows), most=max(flows))
            lines = [f"✓ {say('healthy: {what}', what=what)}"]
            if any(finding.kind in UNHEALTHY for finding in self.findings):
                notes = some(len(self.findings), "note")
                lines = [f"✓ {say('no warning: {what}; {notes}', what=what, notes=notes)}"]
        kinds: Counter[str] = Counter()
        for finding in self.findings:
            kinds[finding.kind] += 1
            if kinds[finding.kind] <= MOST:
                lines.append(finding.text)
        lines += [
            say("and {n} more: {kind}", n=n - MOST, kind=say(kind))
            for kind, n in kinds.items()
            if n > MOST
        ]
        return "\n".join(lines)

    @property
    @in_its_language
    def table(self) -> str:
        """`layers` as a table of text."""
        rows = [[say(head) for head in HEADS]]
        for row in self.layers:
            sizes = (row.weights, row.gradient, row.incoming, row.outgoing)
            rows.append([row.name, str(row.parameters), *(f"{x:.3g}" for x in sizes)])
        first, *others = (max(map(wide, column)) for column in zip(*rows, strict=True))
        lines = []
        for name, *cells in rows:
            right = (padded(c, n, before=True) for c, n in zip(cells, others, strict=True))
            lines.append("  ".join([padded(name, first), *right]))
        return "\n".join(lines)

    def highlight(self, detail: str | None = None) -> Highlight:
        """Every finding's value, numbered, and its path."""
        return self.highlight_in(self.graph.detailed(detail))

    def highlight_in(self, shown: Graph) -> Highlight:
        """The same in `graph` or in its `statements`."""
        title = say("Nothing is wrong" if self.ok else "What is wrong")
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
        kind = say(finding.kind)
        label = kind if len(findings) == 1 else f"{number} {kind}"
        at = place[finding.node]
        if finding.severity != "note":
            boxes[at] = "sick"
        badges[at] = commas([badges[at], label]) if at in badges else label
        legend.append((role, say("{kind}: {message}", kind=label, message=finding.name)))
        for i, said in finding.badges.items():
            badges.setdefault(place[i], str(said))
    if "sick" in boxes.values():
        legend.append(("sick", say("to blame")))
    if len(findings) == 1:
        legend.append(("unneeded", say("not on its path")))
        boxes = dict.fromkeys(range(len(shown)), "unneeded") | boxes
        everything: dict[tuple[int, int, int], tuple[str, ...]]
        everything = dict.fromkeys(shown.edges(), ("unneeded",))
        arrows = everything | arrows
    return Highlight(boxes, arrows, badges, title=title, legend=tuple(legend))


def read_marks(graph: Graph, detail: str | None) -> Highlight:
    """The values whose plain number came back into J: their history is broken."""
    place = _places(graph, graph.detailed(detail))
    lost = {place[i]: say("read as a number") for i in graph.returned}
    legend = (("sick", say("its number came back into J, its gradient did not")),)
    return Highlight(dict.fromkeys(lost, "sick"), {}, lost, legend=legend)


def _places(graph: Graph, shown: Graph) -> Sequence[int] | Mapping[int, int]:
    """Where each value is seen: an unnamed step is part of the named value."""
    summary = shown.origin
    if summary is None or shown is graph:
        return range(len(graph))
    return {i: summary.new_id[kept] for kept, inside in summary.members.items() for i in inside}
