"""What is shown: a View, made from a graph's NetworkX form and a few wishes.

A View is plain frozen data. It holds every text of the picture and no position or colour; whatever
draws (SVG, DOT, TikZ) reads nothing else.
"""

from __future__ import annotations

import ast
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from gradviz import words
from gradviz.chain.retold import retold
from gradviz.highlight import Highlight, Roles
from gradviz.language import commas, say, some
from gradviz.ops import layout, notation, symbols
from gradviz.ops.arrays import STOP
from gradviz.ops.layout import Seen
from gradviz.statistics import measure

if TYPE_CHECKING:
    from gradviz.chain.table import EdgeRow, Table

DIRECTIONS = ("LR", "TB")
OVER = ("‖value‖", "‖gradient‖")
SIZES = "sizes"  # the kind of a row of two norms: of a value, and of its gradient
HEATS = 8  # steps of a scale of colours
PORTS = {"entry": "source", "exit": "sink"}  # where edges enter a part of a picture, and leave it


@dataclass(frozen=True)
class Row:
    """A line of a card: a label and its cells; `kind` is "value", "gradient" or "ink"."""

    kind: str
    label: str
    cells: tuple[str, ...]
    state: str = ""  # of a gradient: one of the six states
    mark: bool | None = None
    room: str = ""  # the widest text that a cell of a live picture has room for
    across: int = 0  # of a small array, whose cells are its entries: so many stand in a line
    words: tuple[str, ...] = ()  # what a page says in place of its one cell, in other languages

    @property
    def lines(self) -> tuple[tuple[str, ...], ...]:
        """The cells as they stand below each other."""
        step = self.across or len(self.cells)
        return tuple(self.cells[n : n + step] for n in range(0, len(self.cells), step))

    @property
    def text(self) -> str:
        """The cells in one line of text."""
        if not self.across:
            return " … ".join(self.cells)
        lines = [f"[{', '.join(line)}]" for line in self.lines]
        return lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"


@dataclass(frozen=True)
class Box:
    """One node as a card."""

    id: str
    name: str
    kind: str  # input, parameter, constant, operation, output, gradient, fold; one of PORTS
    tag: str = ""  # small, in the corner: the kind of a leaf, the shape of an array
    expression: str = ""
    formula: Seen | None = None  # the expression as mathematics, where it is that
    rows: tuple[Row, ...] = ()
    scope: tuple[str, ...] = ()
    role: str = ""
    badge: str = ""
    tooltip: str = ""
    title: str = ""  # what is shown of the name: inside a scope, what follows the scope's
    heat: str = ""  # its colour: heat0, ... for a step of the scale, zero, underflown, sick
    opens: bool = False  # as a fold, though it is one operation


@dataclass(frozen=True)
class Arrow:
    """One edge; `tail` and `head` are ids of boxes, `key` tells parallel edges apart."""

    tail: str
    head: str
    key: int = 0
    symbol: str = ""  # the local derivative in operand names
    formula: Seen | None = None  # the same as mathematics
    number: str = ""
    roles: Roles = ()
    tooltip: str = ""
    backward: bool = False  # a message: it flows against the direction of the picture
    hidden: bool = False  # stands for nodes that are not shown
    stopped: bool = False  # the program lets no gradient pass: a broken line
    heat: str = ""  # as a box's
    shared: bool = False  # a layer's parameters, used once more
    reads: tuple[str, ...] = ()  # boxes whose cached forward values the local derivative needs
    room: str = ""  # as a row's

    @property
    def id(self) -> str:
        """A name for the arrow, unique in its View; the same for an edge and for its message."""
        return "_".join((*self.ends, str(self.key)))

    @property
    def ends(self) -> tuple[str, str]:
        """The boxes at the picture's start and end side of the arrow."""
        return (self.head, self.tail) if self.backward else (self.tail, self.head)


class Scale(NamedTuple):
    """What colours mean: the ends of the scale ("" for none), and of what; a note, a sentence.

    And which step a size is, from where to where the steps go, and the sizes that are seen.
    """

    least: str
    most: str
    meaning: str
    note: str = ""
    told: str = ""
    step: Callable[[float], int] = lambda _: 0
    ends: tuple[float, float] = (0.0, 0.0)
    seen: tuple[float, float] = (0.0, 0.0)


class Bend(NamedTuple):
    """A picture that goes down and up again: the boxes that rise, the arrows that lead across."""

    rising: frozenset[str]
    across: frozenset[str]
    apart: int = 1  # so many times as far from each other as boxes are


@dataclass(frozen=True)
class View:
    """All that is shown, in drawing order."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    title: str = ""
    description: str = ""
    direction: str = "LR"
    free: bool = False  # whether another direction will do as well: none was asked for
    legend: tuple[tuple[str, str], ...] = ()
    dense: bool = False  # many boxes, little between them
    bend: Bend | None = None
    scale: Scale | None = None  # of colours that mean a size
    caption: str = ""
    below: View | None = None  # the other pass, drawn below in the same arrangement

    def panels(self) -> tuple[View, ...]:
        """This View and the one below it."""
        return (self,) if self.below is None else (self, self.below)

    def groups(self) -> list[tuple[str, ...]]:
        """Every scope and every scope around it, outer ones first."""
        seen = {box.scope[:n]: None for box in self.boxes for n in range(1, len(box.scope) + 1)}
        return sorted(seen, key=lambda scope: (len(scope), scope))

    def stacks(self) -> list[list[str]]:
        """The numbers of each array, in their order; those that are made of one another apart."""
        arrays = {
            box.scope
            for box in self.boxes
            if box.scope and box.name.startswith(f"{box.scope[-1]}[")
        }
        array = {box.id: box.scope for box in self.boxes if box.scope in arrays}
        order = {box.id: n for n, box in enumerate(self.boxes)}
        depth = dict.fromkeys(array, 0)
        for tail, head in sorted((arrow.ends for arrow in self.arrows), key=lambda e: order[e[0]]):
            if tail in array and array[tail] == array.get(head):
                depth[head] = max(depth[head], depth[tail] + 1)
        stacks: dict[tuple[tuple[str, ...], int], list[str]] = {}
        for ident, scope in array.items():
            stacks.setdefault((scope, depth[ident]), []).append(ident)
        return [stack for stack in stacks.values() if len(stack) > 1]


LONGEST_VJP = 24
FEW = 16  # so many boxes may be wide


def forward_view(
    graph: Any,
    *,
    show: Iterable[str | int] | None = None,
    highlight: Highlight | None = None,
    direction: str | None = None,
    title: str | None = None,
) -> View:
    """The forward graph: values, gradients, and local derivatives on the edges."""
    mark = highlight or Highlight()
    dag = graph.table
    boxes, arrows, hidden = _parts(dag, show, mark, backward=False)
    return View(
        boxes=boxes,
        arrows=arrows,
        title=title_of(title, mark, dag),
        description=description(dag, hidden),
        direction=direction_of(direction),
        free=direction is None,
        legend=mark.legend or legend_of(boxes, arrows, output_name(dag)),
    )


def backward_view(
    graph: Any,
    *,
    show: Iterable[str] | None = None,
    direction: str | None = None,
    title: str | None = None,
) -> View:
    """The backward graph: one card per gradient, one arrow per message."""
    dag = graph.backward_table
    boxes, arrows, hidden = _parts(dag, show, _cached_terms(dag), backward=True)
    return View(
        boxes=boxes,
        arrows=arrows,
        title=title if title is not None else say("Backward pass"),
        description=description(dag, hidden),
        direction=direction_of(direction),
        free=direction is None,
        legend=_backward_legend(),
    )


def beside_view(
    graph: Any,
    *,
    show: Iterable[str] | None = None,
    highlight: Highlight | None = None,
    direction: str | None = None,
    title: str | None = None,
) -> View:
    """Both passes in one picture, with what each message reads from the two caches."""
    dag, back = graph.table, graph.backward_table
    chosen = None if show is None else set(_select(dag, show))
    mirror = None if chosen is None else {n for n, d in back.nodes.items() if d["of"] in chosen}
    ahead, forward, hidden = _parts(dag, chosen, highlight or Highlight(), backward=False)
    behind, messages, _ = _parts(back, mirror, _cached_terms(back), backward=True)
    ids = {box.name: box.id for box in ahead}
    keys: dict[tuple[str, str], list[int]] = defaultdict(list)
    for arrow in forward:
        keys[arrow.ends].append(arrow.key)
    messages = tuple(
        replace(
            arrow,
            key=keys[arrow.ends].pop(0),
            reads=_read(arrow, ids),
        )
        for arrow in messages
        if keys[arrow.ends]
    )
    read = Counter(box for arrow in messages for box in arrow.reads)
    ahead = tuple(
        replace(
            box,
            rows=box.rows[:1],
            role=box.role or ("value" if read[box.id] else ""),
            badge=box.badge or (say("read ×{n}", n=read[box.id]) if read[box.id] else ""),
        )
        for box in ahead
    )
    return View(
        boxes=ahead,
        arrows=tuple(replace(arrow, symbol="", number="") for arrow in forward),
        title=title_of(title, highlight or Highlight(), dag),
        description=description(dag, hidden),
        direction=direction_of(direction),
        free=direction is None,
        legend=(("value", say("cached value that the backward pass reads")), *_backward_legend()),
        caption=say("Forward pass: values"),
        below=View(boxes=behind, arrows=messages, caption=say("Backward pass: gradients")),
    )


def _backward_legend() -> tuple[tuple[str, str], ...]:
    return (
        ("cached", say("upstream term, computed once and read by several messages")),
        ("local", say("local derivative: what a message multiplies")),
    )


def _cached_terms(dag: Table) -> Highlight:
    """The gradients that more than one message reads."""
    reads = {node: len(edges) for node, edges in dag.outgoing.items() if len(edges) > 1}
    return Highlight(
        boxes=dict.fromkeys(reads, "cached"),
        badges={node: f"×{count}" for node, count in reads.items()},
    )


def _read(arrow: Arrow, ids: Mapping[str, str]) -> tuple[str, ...]:
    """The boxes whose values a message's formula reads."""
    if arrow.formula is None or not arrow.symbol:
        return ()
    return tuple(dict.fromkeys(ids[n] for n in layout.names(arrow.formula) if n in ids))


def direction_of(asked: str | None, long: bool = False) -> str:
    """The direction asked for; else from left to right, if the rows are not too long for that."""
    return words.choose("direction", asked or ("TB" if long else "LR"), DIRECTIONS)


def within(name: str, scope: Iterable[str]) -> str:
    """What follows a scope's path in a name: ``weight`` of ``fc.weight``."""
    return name.removeprefix("".join(f"{part}." for part in scope)) or name


def title_of(title: str | None, highlight: Highlight, dag: Table) -> str:
    """The heading: the one asked for, the highlight's, or the graph's name."""
    if title is not None:
        return title
    return highlight.title or str(dag.graph.get("name") or "")


def _select(dag: Table, show: Iterable[str | int]) -> list[int]:
    """The node ids of names (or scopes, or ids), in order of recording."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for node in dag.nodes:
        for word in dag.words(node):
            by_name[word].append(node)
    wanted = [show] if isinstance(show, str) else show
    chosen: set[int] = set()
    for item in wanted:
        if isinstance(item, int):
            chosen.add(int(words.choose("node", str(item), map(str, dag.nodes))))
        else:
            chosen.update(by_name[words.choose("name", item, by_name)])
    return sorted(chosen)


def _parts(
    dag: Table, show: Iterable[str | int] | None, highlight: Highlight, backward: bool
) -> tuple[tuple[Box, ...], tuple[Arrow, ...], str]:
    """Boxes, arrows, and in words how many nodes stay hidden."""
    nodes = sorted(dag.nodes)
    shown = nodes if show is None else _select(dag, show)
    # A gradient is named by the node it belongs to.
    ids = {node: f"n{dag.nodes[node].get('of', node)}" for node in shown}
    target = output_name(dag)
    across = 8 if len(shown) <= FEW else 4  # numbers beside each other
    boxes = tuple(box_of(ids[node], node, dag, highlight, target, across=across) for node in shown)
    arrows = tuple(_arrows(dag, nodes, set(shown), highlight, ids, backward))
    hidden = len(nodes) - len(shown)
    return boxes, arrows, say("not shown: {nodes}", nodes=some(hidden, "node")) if hidden else ""


def box_of(
    ident: str,
    node: int,
    dag: Table,
    mark: Highlight,
    target: str,
    path: Iterable[str] | None = None,
    across: int = 8,
) -> Box:
    """One node as a card; `path` are the scopes that it is drawn in, by default all its own.

    Of an array with more than so many numbers `across`, its statistics are told.
    """
    data, messages = dag.nodes[node], len(dag.operands(node))
    output = node == dag.graph.get("output")
    leaf = data["kind"] != "operation"
    gradient = "of" in data
    value = data.get("value")
    path = tuple(data.get("scope", ()) if path is None else path)
    shape = words.shape(value) if getattr(value, "shape", None) is not None else ""
    tree = None if gradient or leaf else _tree(data, "expression")
    if gradient:
        kind, expression = "gradient", ""
        if messages > 1:
            expression = say("sum of {n} messages", n=messages)
        rows: tuple[Row, ...] = (_gradient_row(data, value, mark.marks.get(node), target),)
    else:
        kind = "output" if output else data["kind"]
        expression = "" if leaf else data.get("expression") or data["op"]
        if path and tree is not None:
            names = {dag.words(u)[0] for u in dag.operands(node)}
            inner = {n: notation.name(within(n, path)) for n in names if within(n, path) != n}
            tree = notation.substitute(tree, inner) if inner else tree
            expression = notation.text(tree)
        rows = (
            _row("value", say("value"), value, across=across),
            _gradient_row(data, data.get("grad"), mark.marks.get(node), target, across),
        )
        if kind == "constant":
            rows = (_quiet(rows[0], value),)
    if kind == "constant" and not shape and not gradient:  # a number stands for itself
        return Box(
            ident, words.number(value), kind, scope=tuple(data.get("scope", ())),
            role=mark.boxes.get(node) or "", badge=_badge(node, data, mark), tooltip=_tooltip(data),
        )  # fmt: skip
    said = "" if gradient else say(data["kind"]) if leaf else say("output") if output else ""
    return Box(
        id=ident,
        name=data["name"],
        kind=kind,
        tag=" ".join(filter(None, (said, shape))),
        expression=expression,
        formula=layout.in_line(tree) if tree is not None else None,
        rows=rows,
        scope=tuple(data.get("scope", ())),
        role=mark.boxes.get(node) or "",
        badge=_badge(node, data, mark),
        tooltip=_tooltip(data),
        title=within(data["name"], path),
    )


def uniform(value: Any) -> bool:
    """Whether an array holds one number several times."""
    return np.size(value) > 1 and measure(value).low == measure(value).high


def _tree(data: Mapping[str, Any], said: str) -> ast.expr | None:
    """The formula that an attribute's text is, read from it where a table tells no tree."""
    if data.get("tree") is not None:
        return cast(ast.expr, data["tree"])
    try:
        return notation.parse(data.get(said) or "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _gradient_row(
    data: Mapping[str, Any], grad: Any, mark: bool | None, target: str, across: int = 8
) -> Row:
    state = data.get("grad_state", "not computed")
    if "of" in data and state == "not computed":  # its value is the gradient, its own is not asked
        state = "number"
    row = _row("gradient", say("gradient"), grad, state, mark, across)
    if state == "non-finite" and len(row.cells) == 1:
        return replace(row, cells=(say("{x} (non-finite)", x=row.cells[0]),))
    if state in ("number", "non-finite"):
        return row
    return replace(row, cells=(say(words.STATES[state], J=target),), across=0)


def _row(
    kind: str, label: str, value: Any, state: str = "", mark: bool | None = None, across: int = 8
) -> Row:
    """A small array's entries; of any other value what is shown of it."""
    lines = words.entries(value)
    if lines and len(lines[0]) > across:
        return Row(kind, label, words.cells(measure(value)), state, mark)
    if not lines:
        return Row(kind, label, words.cells(value), state, mark)
    return Row(kind, label, sum(lines, ()), state, mark, across=len(lines[0]))


def _quiet(row: Row, value: Any) -> Row:
    """The row of a constant, of which no gradient is ever asked: all that it is in one cell."""
    if uniform(value):  # many are all 0, or all 1
        return Row(row.kind, row.label, words.cells(value))
    if len(row.cells) == len(words.STATISTICS) and not row.across:
        return Row(row.kind, row.label, (f"{row.cells[0]} … {row.cells[-1]}",))
    return row


def _badge(node: int, data: Mapping[str, Any], mark: Highlight) -> str:
    hooked = say("changed by a hook") if data.get("changed_by_hook") else ""
    return commas(filter(None, (mark.badges.get(node), hooked)))


def _tooltip(data: Mapping[str, Any]) -> str:
    name = words.clean(data["name"])
    text = words.clean(data.get("expression") or "")
    lines = [f"{name} = {text}" if text else name]
    kind = say(data["kind"])
    lines.append(f"{data['op']} ({kind})" if data["op"] != data["kind"] else kind)
    lines.append(say("value: {x}", x=words.full(data.get("value"))))
    if "of" not in data:
        state = data.get("grad_state", "not computed")
        grad = words.full(data.get("grad")) if data.get("grad") is not None else ""
        told = grad if state == "number" else f"{say(state)} {grad}".strip()
        lines.append(say("gradient: {x}", x=told))
    if data.get("changed_by_hook"):
        lines.append(say("its gradient was changed by {hook}",
                         hook=words.clean(retold(data["changed_by_hook"]))))  # fmt: skip
    if data.get("source"):
        lines.append(words.clean(words.Site(*data["source"]).place))
    return "\n".join(lines)


def _arrows(
    dag: Table,
    nodes: list[int],
    shown: set[int],
    highlight: Highlight,
    ids: Mapping[int, str],
    backward: bool,
) -> Iterator[Arrow]:
    behind: dict[int, set[int]] = {}  # hidden node -> the shown nodes it depends on
    for head in nodes:
        before = dag.operands(head)
        through = set().union(*(behind[u] for u in before if u not in shown))
        if head not in shown:
            behind[head] = shown.intersection(before) | through
            continue
        direct = [e for e in dag.incoming[head] if e[0] in shown]
        for edge in sorted(direct, key=lambda e: (e[0], e[2])):
            yield arrow_of(dag, edge, highlight, ids, backward)
        for tail in sorted(through):
            yield Arrow(ids[tail], ids[head], -1, hidden=True, backward=backward)


def arrow_of(
    dag: Table, edge: EdgeRow, highlight: Highlight, ids: Mapping[int, str], backward: bool = False
) -> Arrow:
    """One edge between two values."""
    tail, head, key, data = edge
    role = highlight.arrows.get((tail, head, key)) or ()
    constant = dag.nodes[tail]["kind"] == "constant" and not backward
    stopped = dag.nodes[head]["op"] == STOP.name and not backward
    tooltip = _arrow_tooltip(dag, edge)
    number = "" if constant else words.local(data.get("local"))
    symbol = "" if constant else words.clean(data.get("derivative") or "")
    if not (symbol or number or constant):  # a linear map: its VJP, if that is short and a formula
        symbol = words.clean(data.get("vjp") or "")
        if symbol[:4] == "vjp_" or len(symbol) > LONGEST_VJP:
            symbol = say("linear map")
            if data.get("message") is not None:
                norm = measure(data["message"]).norm
                symbol, number = "", f"‖·‖ {words.number(norm, 3)}"
                tooltip += "\n" + say("its norm: {x}", x=repr(norm))
    said = "derivative" if data.get("derivative") else "vjp"
    said_again = number in (symbol, say("all {x}", x=symbol))
    tree = None if said_again or symbol in ("", say("linear map")) else _tree(data, said)
    if stopped:  # a broken edge
        tree = None
        symbol, number = say("no gradient"), ""
        ends = (words.clean(dag.nodes[n]["name"]) for n in (tail, head))
        tooltip = f"{' → '.join(ends)}\n{say('stop_gradient lets no gradient pass')}"
    return Arrow(
        tail=ids[tail],
        head=ids[head],
        key=key,
        symbol="" if said_again else symbol,
        formula=layout.in_line(tree) if tree is not None else None,
        number=number,
        roles=(role,) if isinstance(role, str) else tuple(role),
        tooltip=tooltip,
        backward=backward,
        stopped=stopped,
    )


def _arrow_tooltip(dag: Table, edge: EdgeRow) -> str:
    tail, head, key, data = edge
    first, second = (words.clean(dag.nodes[n]["name"]) for n in (tail, head))
    symbol = data.get("symbol") or ""
    lines = [words.clean(symbol) or f"{first} → {second}"]
    if data.get("derivative"):
        lines[0] += f" = {words.clean(data['derivative'])}"
    if symbols.part(symbol):
        lines.append(say("by operand {n} alone, with the others held fixed", n=key + 1))
    if data.get("local") is not None:
        lines.append(say("local derivative: {x}", x=words.full(data["local"])))
    if data.get("message") is not None:
        lines.append(say("message: {x}", x=words.full(data["message"])))
    return "\n".join(lines)


def description(dag: Table, hidden: str = "") -> str:
    """The picture in a sentence, and what is hidden in it."""
    output: Any = dag.graph.get("output")
    text = say("A computational graph of {nodes} and {edges}",
               nodes=some(len(dag.nodes), "node"), edges=some(len(dag.edges), "edge"))  # fmt: skip
    if output in dag.nodes:
        data = dag.nodes[output]
        value = " ".join(words.cells(data.get("value")))
        text += say("; {more}", more=f"{words.clean(data['name'])} = {value}")
    return say("{told}.", told=text + say("; {more}", more=hidden) if hidden else text)


def output_name(dag: Table) -> str:
    """What J is called here."""
    output: Any = dag.graph.get("output")
    return words.clean(dag.nodes[output]["name"], 12) if output in dag.nodes else "J"


def legend_of(
    boxes: Sequence[Box], arrows: Sequence[Arrow], target: str
) -> tuple[tuple[str, str], ...]:
    """What a reader of this very picture needs to know, and no more."""
    rows = list(itertools.chain.from_iterable(box.rows for box in boxes))
    entries = [("value", say("value, from the forward pass"))]
    if any(row.state not in ("", "not computed") for row in rows):
        said = say("gradient {d}, from the backward pass", d=f"∂{target}/∂·")
        entries.append(("gradient", said))
    norms = {arrow.number[:1] == "‖" for arrow in arrows if arrow.number or arrow.symbol}
    told = {
        (False,): say("local derivative, on each edge"),
        (True,): say("‖·‖ of the message that flows back, on each edge"),
        (False, True): say("local derivative or ‖·‖ of the message that flows back, on each edge"),
    }
    if norms:
        entries.append(("local", told[*sorted(norms)]))
    if any(arrow.hidden for arrow in arrows):
        entries.append(("hidden", say("nodes that are not shown")))
    return tuple(entries)
