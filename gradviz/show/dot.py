"""A View as DOT: a decent picture in any Graphviz, and what the layout of ours is made from.

An arrow's label is a small node of its own, so the layout keeps it clear of every other label;
all sizes are fixed from our own measurements, so no engine needs to know a font.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from gradviz.words import choose, clean

from . import card as cards
from . import mathtext, style
from .mathtext import Runs
from .view import HEATS, PORTS, Arrow, Box, Scale, View

if TYPE_CHECKING:
    import graphviz

_FACES = {
    "sans": ("Arial", "{}"), "bold": ("Arial", "<B>{}</B>"),
    "roman": ("Times New Roman", "{}"), "italic": ("Times New Roman", "<I>{}</I>"),
}  # fmt: skip

BETWEEN = 11  # numbers of an array
HEADING = 240.0  # what is kept for one, in pixels; it is longer where there is room
BESIDE = 2.2  # times the width of a heading: an edge comes in beside it


def to_dot(
    view: View,
    theme: str = "light",
    sizes: dict[str, tuple[float, float]] | None = None,
    simple: bool = False,
    rows: int = 1,
) -> str:
    """DOT source of a View; the same View gives the same text.

    With `sizes` it is for a layout only, which may serve other Views too: boxes get these sizes
    and show nothing, and labels that only another View has get their place. A `simple` one has
    straight lines and more room for them, and takes little effort. The leaves that one box reads
    stand in so many `rows`, one behind the other.
    """
    import graphviz

    colours = style.PALETTES[choose("theme", theme, style.PALETTES)]
    effort = "20" if len(view.arrows) < 100 else "1"  # spent on avoiding crossings
    source = graphviz.Digraph("gradviz")
    source.attr("graph", rankdir=view.direction, newrank="true", mclimit=effort,
                nodesep="0.15", ranksep="0.12" if view.dense else "0.5", outputorder="edgesfirst",
                bgcolor=colours["ground"], fontname="Arial", fontcolor=colours["ink"],
                fontsize="13")  # fmt: skip
    if simple:
        source.attr("graph", splines="line", ranksep="0.55", nslimit="0.1", mclimit="0.01")
    source.attr("node", shape="box", fixedsize="true", margin="0", penwidth="1",
                color=colours["line"], fontcolor=colours["ink"])  # fmt: skip
    source.attr("edge", color=colours["edge"], arrowsize="0.6")
    if view.scale and sizes is None:
        source.attr(label=_scale(view, colours), labelloc="t", labeljust="l")
    elif view.title:
        source.attr(label=_quoted(view.title), labelloc="t", labeljust="l")

    reserve = sizes is not None
    sizes = sizes or cards.sizes(view)
    behind = _behind(view, rows)
    for prefix, panel in zip(("", "below_"), view.panels(), strict=False):
        if view.below is None:
            _panel(source, panel, prefix, sizes, reserve, _SIDES[view.direction], colours, behind)
            continue
        with source.subgraph(name=f"cluster_{prefix}panel") as cluster:
            cluster.attr(label=_quoted(panel.caption), labeljust="l", color=colours["line"])
            _panel(cluster, panel, prefix, sizes, reserve, _SIDES[view.direction], colours, behind)
    return str(source.source)


def _behind(view: View, rows: int) -> dict[str, int]:
    """By leaf that just one box reads, how many rows it stands behind the first one."""
    ends = [arrow.ends for arrow in view.arrows]
    read, reading = Counter(first for first, _ in ends), {last for _, last in ends}
    leaves: dict[str, list[str]] = {}
    for first, last in ends:
        if read[first] == 1 and first not in reading:
            leaves.setdefault(last, []).append(first)
    return {leaf: n % rows for some in leaves.values() for n, leaf in enumerate(some)}


def _scale(view: View, colours: dict[str, str]) -> str:
    """The title, and below it the scale of colours with what it means."""
    scale = view.scale or Scale("", "", "")
    about = "; ".join(filter(None, (scale.meaning, scale.note)))
    said = [f'<TD ALIGN="LEFT">{escape(clean(text))}</TD>' for text in (*scale[:2], about)]
    steps = "".join(f'<TD BGCOLOR="{colours[f"heat{n}"]}" WIDTH="18"></TD>' for n in range(HEATS))
    cells = "".join((said[0], steps, *said[1:])) if scale.most else said[2]
    broken = (
        f"{style.DOTTED[role]}: {words}" for role, words in view.legend if role in style.DOTTED
    )
    lines = [line for line in (view.title, *broken) if line]
    rows = "".join(
        f'<TR><TD ALIGN="LEFT" COLSPAN="{HEATS + 3}">{escape(clean(line))}</TD></TR>'
        for line in lines
    )
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="2">{rows}<TR>{cells}</TR></TABLE>>'


def _panel(
    source: graphviz.Digraph,
    view: View,
    prefix: str,
    sizes: dict[str, tuple[float, float]],
    reserve: bool,
    sides: tuple[str, str],
    colours: dict[str, str],
    behind: dict[str, int],
) -> None:
    enter, leave = sides
    scopes = {box.id: box.scope for box in view.boxes}
    stacks = view.stacks()
    stacked = {name: stack[0] for stack in stacks for name in stack}
    exits = [box.id for box in view.boxes if box.kind == "exit"]
    inside: dict[tuple[str, ...], list[tuple[str, dict[str, str]]]] = {}
    nodes: dict[str, dict[str, str]] = {}
    for box in reversed(view.boxes):  # so that Graphviz sets what was recorded first on top
        look = {"label": ""} if reserve else _node(box, colours)
        nodes[box.id] = {**_size(*sizes[box.id]), **look}
        if box.id not in stacked:
            inside.setdefault(box.scope, []).append((prefix + box.id, nodes[box.id]))
    for stack in stacks:
        cells = {name: (sizes[name], nodes[name]) for name in stack}
        node = _stack(cells, across=view.direction == "TB")
        inside.setdefault(scopes[stack[0]], []).append((prefix + stack[0], node))
    edges: list[Edge] = []
    # An arrow without a label spans as many ranks as one with a label.
    labelled = any(arrow.id in sizes for arrow in view.arrows)
    for arrow in view.arrows:
        first, last = arrow.ends
        look = {"tailport": leave, **_edge(arrow, colours)}
        if row := behind.get(first):
            look["minlen"] = f"{1 + 3 * row}"
        if last in exits:
            look["dir"] = "none"
        pill = {"label": ""} if reserve else _pill(arrow, colours)
        if arrow.id not in sizes or not pill:
            look = ({"minlen": "2"} if labelled else {}) | look
            upside = view.bend and view.bend.rising >= {first, last}
            edges.append(_turned(first, last, look) if upside else (first, last, look))
            continue
        label = {**_size(*sizes[arrow.id]), **pill}
        scope = _common(scopes[first], scopes[last])
        inside.setdefault(scope, []).append((prefix + arrow.id, label))
        edges += _halves(view, arrow, look, enter)
    tight = view.dense or stacks or any(box.kind == "fold" for box in view.boxes)
    margin = "8" if tight else "12"
    room = BESIDE if reserve and enter == "n" else 1.0
    _clusters(source, (), inside, view.groups(), prefix, colours, margin, room, view.dense)
    for tail, head, attributes in edges:
        for end, name in ("tailport", tail), ("headport", head):
            if name in stacked:
                side = leave if end == "tailport" else enter
                attributes = {**attributes, end: f"{name}:{side}"}
        source.edge(
            prefix + stacked.get(tail, tail), prefix + stacked.get(head, head), **attributes
        )
    _ranks(source, view, prefix, sizes)


Edge = tuple[str, str, dict[str, str]]


def _halves(view: View, arrow: Arrow, look: dict[str, str], enter: str) -> list[Edge]:
    """The two edges of an arrow, to its label and from it."""
    first, last = arrow.ends
    one, two = {**look, "headport": enter}, {**look, "weight": "2", "minlen": "1"}
    (two if tip_first(arrow) else one)["dir"] = "none"
    if view.bend and view.bend.rising >= {first, last}:  # it is laid out upside down
        upper = _turned(arrow.id, last, two | {"headport": enter})
        return [upper, _turned(first, arrow.id, one)]
    if view.bend and arrow.id in view.bend.across:
        flat = {"tailport": "e", "headport": "w", "constraint": "false"}
        one, two = ({**part, **flat, "minlen": f"{view.bend.apart}"} for part in (one, two))
    return [(first, arrow.id, one), (arrow.id, last, two)]


def _turned(first: str, last: str, look: dict[str, str]) -> Edge:
    """An edge that is laid out upside down."""
    return last, first, {**look, "dir": _BACK[look.get("dir", "")]}


def _ranks(
    source: graphviz.Digraph, view: View, prefix: str, sizes: dict[str, tuple[float, float]]
) -> None:
    """Put side by side what goes across a bend, and outermost what goes in and out."""
    for arrow in view.arrows:
        first, last = arrow.ends
        across = view.bend and arrow.id in view.bend.across and arrow.id in sizes
        if view.bend and across and not view.bend.rising >= {first, last}:
            with source.subgraph() as rank:
                rank.attr(rank="same")
                for name, other in itertools.pairwise((first, arrow.id, last)):  # left to right
                    rank.edge(prefix + name, prefix + other, style="invis")
    ends = [arrow.ends for arrow in view.arrows]
    sides = PORTS.values() if view.bend is None else reversed(PORTS.values())
    for (n, kind), place in zip(enumerate(PORTS), sides, strict=True):
        if ports := [box.id for box in view.boxes if box.kind == kind]:
            with source.subgraph() as outermost:
                outermost.attr(rank=place)
                for port in ports:
                    outermost.node(prefix + port)
            inner = {pair[1 - n] for pair in ends}.union(ports)
            for box in view.boxes:
                if box.id not in inner:  # else it could stand beside them
                    way = ports[0], box.id
                    tail, head = way if place == "source" else reversed(way)
                    source.edge(prefix + tail, prefix + head, style="invis", weight="0")


def _stack(
    cells: dict[str, tuple[tuple[float, float], dict[str, str]]], across: bool
) -> dict[str, str]:
    """One node for all numbers of an array, which no layout can then mix."""
    made = []
    for name, ((width, height), look) in cells.items():
        label, shape = look["label"], ""
        if label:
            shape = (
                f' BGCOLOR="{look["fillcolor"]}" BORDER="1" COLOR="{look["color"]}"'
                f' TOOLTIP="{escape(look["tooltip"])}" HREF=" "'
            )
        made.append(
            f'<TD PORT="{name}" FIXEDSIZE="TRUE" WIDTH="{width:.0f}" HEIGHT="{height:.0f}"{shape}>'
            f"{label[1:-1]}</TD>"
        )
    gap = f'<TD FIXEDSIZE="TRUE" WIDTH="{BETWEEN}" HEIGHT="{BETWEEN}"></TD>'
    body = gap.join(made) if across else f"</TR><TR>{gap}</TR><TR>".join(made)
    table = (
        f'<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="0"><TR>{body}</TR></TABLE>'
    )
    return {"label": f"<{table}>", "shape": "plain", "fixedsize": "false", "style": "solid"}


_BACK = {"": "back", "back": "forward", "none": "none"}
_SIDES = {"LR": ("w", "e"), "TB": ("n", "s")}


def tip_first(arrow: Arrow) -> bool:
    """Whether the arrow points against the direction of the picture, as gradients flow."""
    return arrow.backward or bool({"read", "computed", "cached"} & set(arrow.roles))


def group_id(scope: tuple[str, ...], groups: list[tuple[str, ...]], prefix: str = "") -> str:
    """The name of a scope's cluster: by number, for scopes are untrusted text."""
    return f"cluster_{prefix}{groups.index(scope)}"


def group_title(name: str, layers: bool, room: float = HEADING) -> cards.Text:
    """The heading of a scope's cluster; a layer's name is no symbol."""
    runs = (mathtext.plain if layers else mathtext.prose)(name, "bold")
    shown = mathtext.elide(runs, 12.0, room)
    return cards.Text(0, 0, shown, 12.0, "soft", whole=name if shown != runs else "")


def _clusters(
    parent: graphviz.Digraph,
    scope: tuple[str, ...],
    inside: dict[tuple[str, ...], list[tuple[str, dict[str, str]]]],
    groups: list[tuple[str, ...]],
    prefix: str,
    colours: dict[str, str],
    margin: str,
    room: float,
    layers: bool,
) -> None:
    for node, attributes in inside.get(scope, ()):
        parent.node(node, **attributes)
    for group in groups:
        if group[:-1] != scope:
            continue
        with parent.subgraph(name=group_id(group, groups, prefix)) as cluster:
            title = group_title(group[-1], layers)
            cluster.attr(label=_table(room * title.width + 8, [[title]], colours), labeljust="l",
                         margin=margin, style="rounded,filled", color=colours["group-line"],
                         fillcolor=colours["group"])  # fmt: skip
            _clusters(cluster, group, inside, groups, prefix, colours, margin, room, layers)


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    depth = 0
    while depth < min(len(a), len(b)) and a[depth] == b[depth]:
        depth += 1
    return a[:depth]


def _size(width: float, height: float) -> dict[str, str]:
    return {"width": f"{width / 72:.4f}", "height": f"{height / 72:.4f}"}


def _node(box: Box, colours: dict[str, str]) -> dict[str, str]:
    lines = [
        replace(row, label=row.label * first, cells=line, mark=row.mark if first else None)
        for row in box.rows
        for line, first in zip(row.lines, [True, *[False] * len(row.cells)], strict=False)
    ]
    card = cards.box_card(replace(box, rows=tuple(lines)))
    rows: dict[float, list[cards.Text]] = {}
    for text in card.texts:
        rows.setdefault(text.y if text.y > 30 + card.top else 0, []).append(text)
    texts = ([[card.chip]] if card.chip else []) + [
        sorted(row, key=lambda text: text.x) for row in rows.values()
    ]
    role = style.token(box.role)
    kind = f"{box.kind}-card" if f"{box.kind}-card" in colours else box.kind
    width = 2.2 if role in colours or box.kind == "output" else 1.0
    line = colours.get(role, colours["line"])
    if box.heat and role not in colours:
        line = colours.get(box.heat, line)
        width = style.heat_width(box.heat)
    broken = f",{style.DOTTED[box.heat]}" if box.heat in style.DOTTED else ""
    shape = "rounded" if box.kind != "parameter" else "solid"
    dashed = ",dashed" if box.kind == "constant" else ""
    return {
        "label": _table(card.width - 16, texts, colours),
        "fillcolor": colours.get(f"{role}-card", colours[kind]),
        "color": line,
        "style": f"{shape},filled{dashed or broken}",
        "penwidth": f"{width}",
        "tooltip": _quoted(box.tooltip),
    }


def _pill(arrow: Arrow, colours: dict[str, str]) -> dict[str, str]:
    card = cards.pill_card(arrow)
    if card is None:
        return {}
    flat = replace(card.texts[0], runs=sum((text.runs for text in card.texts), ()))
    rows = [[flat]] if card.height < 20 else [[text] for text in card.texts]
    return {"label": _table(card.width - 8, rows, colours), "style": "rounded,filled",
            "fillcolor": colours["pill"], "color": colours["pill-line"]}  # fmt: skip


def _edge(arrow: Arrow, colours: dict[str, str]) -> dict[str, str]:
    look = {"dir": "back"} if tip_first(arrow) else {}
    if arrow.hidden or arrow.stopped:
        look["style"] = "dashed"
    tokens = [token for token in map(style.token, arrow.roles) if token]
    if tokens:  # of several paths, Graphviz draws one line beside the other
        look |= {"color": ":".join(colours[token] for token in tokens), "penwidth": "2.2"}
        if style.dash(tokens[0]) and len(tokens) == 1:
            look["style"] = "dashed"
    elif arrow.heat:
        color = colours[style.token(arrow.heat, "edge")]
        look |= {"color": color, "penwidth": f"{style.heat_width(arrow.heat):g}"}
        if arrow.heat in style.DOTTED:
            look["style"] = style.DOTTED[arrow.heat]
    return look


def _table(width: float, rows: list[list[cards.Text]], colours: dict[str, str]) -> str:
    columns = max((len(row) for row in rows), default=1)
    body = "".join(f"<TR>{_row(row, columns, colours)}</TR>" for row in rows if row)
    return (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1" '
        f'WIDTH="{width:.0f}">{body}</TABLE>>'
    )


def _row(texts: list[cards.Text], columns: int, colours: dict[str, str]) -> str:
    cells = []
    for i, text in enumerate(texts):
        side = "LEFT" if i == 0 and len(texts) > 1 else "CENTER" if columns == 1 else "RIGHT"
        side = "LEFT" if len(texts) == 1 < columns else side
        span = columns - len(texts) + 1 if i == 0 else 1
        colour = colours.get(text.colour, colours["ink"])
        cells.append(
            f'<TD ALIGN="{side}" COLSPAN="{span}"><FONT POINT-SIZE="{text.size * 0.92:.1f}" '
            f'COLOR="{colour}">{_html(text.runs)}</FONT></TD>'
        )
    return "".join(cells)


def _html(runs: Runs) -> str:
    out = []
    for run in runs:
        face, markup = _FACES[run.font]
        text = (" " if run.space > 0.2 else "") + escape(run.text).replace("]", "&#93;")
        # (Old Graphvizes stumble over a bare bracket.)
        if run.rise:
            tag = "SUB" if run.rise < 0 else "SUP"
            text = f"<{tag}>{text}</{tag}>"
        out.append(f'<FONT FACE="{face}">{markup.format(text)}</FONT>')
    return "".join(out) or " "


def _quoted(text: str) -> str:
    import graphviz

    quoted: str = graphviz.escape("\n".join(clean(line) for line in text.split("\n")))
    return quoted  # a str that `graphviz` will not take for HTML, whatever it looks like
