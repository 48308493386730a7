"""The View of a large Graph: values, and folds as boxes that say what they hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradviz import words
from gradviz.chain.fold import Fold, values_of
from gradviz.chain.folding import Folding
from gradviz.chain.inside import Call, alone
from gradviz.chain.parts import ROW
from gradviz.chain.repeats import common
from gradviz.chain.totals import OVER, Bundle, Tally, Totals
from gradviz.highlight import ROLES, Highlight
from gradviz.language import commas, say, some
from gradviz.options import Colour
from gradviz.statistics import norm

from . import heat, layers
from .bend import bend_of
from .calls import opened as in_place
from .view import (
    Arrow,
    Bend,
    Box,
    Row,
    Scale,
    View,
    arrow_of,
    box_of,
    description,
    direction_of,
    legend_of,
    output_name,
    title_of,
)

if TYPE_CHECKING:
    from gradviz.graph import Graph

Cut = tuple[int | Fold, tuple[Fold, ...]]
"""What a box holds, and the opened folds around it."""
ACROSS = 4  # so many numbers stand beside each other where boxes do too


def overview(
    graph: Graph,
    *,
    budget: int | None = None,
    unfold: Iterable[str] = (),
    calls: Sequence[Call] = (),
    highlight: Highlight | None = None,
    backward: str | None = None,
    direction: str | None = None,
    title: str | None = None,
    color: Colour = "auto",
) -> View:
    """A View of at most `budget` boxes, and what is unfolded (see `gradviz.show.drawing.draw`)."""
    if budget is not None and budget < 1:
        raise ValueError(f"budget={budget}: a picture has at least one box")
    mark = highlight or Highlight()
    folding = Folding(graph)
    opened = folding.opened(budget)
    for key in unfold:
        opened += [fold for fold in folding.way(key) if fold not in opened]
    wanted = {call.i: call for call in calls}
    if calls and not unfold and wanted.keys().isdisjoint(alone(p) for p, _ in folding.cut(opened)):
        opened += [fold for fold in folding.around(calls[0].i) if fold not in opened]
    view = view_of(graph, folding, opened, mark, color)
    parts = [part for part, _ in folding.cut(opened)]
    owner = {
        i: box.id for part, box in zip(parts, view.boxes, strict=True) for i in values_of(part)
    }
    for call in filter(None, map(wanted.get, map(alone, parts))):
        view = in_place(view, owner[call.i], call, owner)
    chosen = direction_of(direction, folding.row(opened) >= ROW)
    view = replace(
        view,
        title=title_of(title, mark, graph.table),
        direction=chosen,
        free=direction is None,
        bend=view.bend if direction is None and chosen == "TB" else None,
    )
    if backward is None:
        return view
    target = output_name(graph.table)
    behind = tuple(_gradient(box, target) for box in view.boxes)
    messages = tuple(
        replace(arrow, tail=arrow.head, head=arrow.tail, backward=True) for arrow in view.arrows
    )
    if backward == "alone":
        return replace(view, boxes=behind, arrows=messages)
    ahead = (replace(box, rows=_rows(box, "value", "ink")) for box in view.boxes)
    return replace(
        view,
        boxes=tuple(ahead),
        arrows=tuple(replace(arrow, symbol="", number="") for arrow in view.arrows),
        caption=say("Forward pass: values"),
        below=View(behind, messages, caption=say("Backward pass: gradients")),
    )


def _gradient(box: Box, target: str) -> Box:
    if box.kind in ("fold", "layer"):
        return replace(box, rows=_rows(box, "gradient"))
    name = f"∂{target}/∂{box.name}"
    return replace(box, name=name, kind="gradient", expression="", rows=_rows(box, "gradient"))


def _rows(box: Box, *kinds: str) -> tuple[Row, ...]:
    rows = itertools.chain.from_iterable(map(layers.apart, box.rows))
    return tuple(row for row in rows if row.kind in kinds)


def view_of(
    graph: Graph,
    folding: Folding,
    opened: Iterable[Fold],
    mark: Highlight,
    color: Colour = "auto",
    scale: Scale | None = None,
) -> View:
    """What is seen when some folds are open: a box for each part, an arrow between each two."""
    table, target = graph.table, output_name(graph.table)
    cut = folding.cut(opened)
    tally = Tally(graph, [part for part, _ in cut])
    boxes: list[Box] = []
    for n, (part, around) in enumerate(cut):
        if isinstance(part, Fold) and part.main == graph.output and not tally.totals[n].parameters:
            box = _output(graph, part, mark, target)
        elif folding.layered and not _stands_apart(graph, part):
            box = _layer(graph, folding, part, tally, n, mark, target)
        elif isinstance(part, Fold):
            total = tally.totals[n]
            rows = _contents(graph, part, total, mark, target)
            box = replace(_box(graph, part, total, mark, target), rows=rows)
        else:
            path = [fold.label for fold in around if fold.scope]
            box = box_of(f"n{part}", part, table, mark, target, path, ACROSS)
            broken = tally.is_broken(part)
            if broken or any(row.state == "non-finite" for row in box.rows):
                box = replace(box, role=box.role or "sick")
        frames = tuple(_frame(graph, folding, fold) for fold in around)
        boxes.append(replace(box, scope=frames))
    again = {at for at in tally.bundles if not folding.layered and _is_read_again(graph, cut, *at)}
    boxes = _sharing(boxes, tally) if folding.layered else _reading(boxes, again)
    arrows, flows = _arrows(graph, folding, [part for part, _ in cut], boxes, tally, mark, again)
    folds = [part for part, _ in cut if isinstance(part, Fold)]
    hidden = sum(len(fold.values) for fold in folds)
    one = len(folds) == 1
    boxed = say("{n} nodes are folded into 1 box" if one else "{n} nodes are folded into {m} boxes",
                n=hidden, m=len(folds))  # fmt: skip
    own = _legend(boxes, arrows) if folding.layered else legend_of(boxes, arrows, target)
    legend = mark.legend or own
    if folds and not folding.layered:
        legend += (("fold", say("several values in one box")), ("", say("‖·‖: Euclidean norm")))
    view = View(
        boxes=tuple(boxes),
        arrows=tuple(arrows),
        description=description(table, boxed),
        legend=legend,
        dense=folding.layered,
        bend=_bend(graph, boxes, arrows, tally) if folding.layered else None,
    )
    color = heat.wanted(color, folding.layered)
    held = {
        box.id: part.values if isinstance(part, Fold) else (part,)
        for box, (part, _) in zip(boxes, cut, strict=True)
    }
    return heat.of_parts(graph, view, color, tally, held, flows, scale)


def _arrows(
    graph: Graph,
    folding: Folding,
    parts: list[int | Fold],
    boxes: list[Box],
    tally: Tally,
    mark: Highlight,
    again: set[tuple[int, int]],
) -> tuple[list[Arrow], dict[str, float]]:
    """What leads from box to box; by arrow, the norm of what flows back through it.

    What is read `again` is told in its box, unless it is pointed out.
    """
    table = graph.table
    arrows: list[Arrow] = []
    flows: dict[str, float] = {}
    roles: dict[tuple[int, int], dict[str, None]] = {}
    for (u, v, _), role in mark.arrows.items():
        between = roles.setdefault((tally.owner[u], tally.owner[v]), {})
        between |= dict.fromkeys((role,) if isinstance(role, str) else role)
    for (tail, head), bundle in sorted(tally.bundles.items()):
        if (tail, head) in again and not roles.get((tail, head)):
            continue
        if folding.layered or any(isinstance(parts[m], Fold) for m in (tail, head)):
            arrow = _arrow(boxes[tail], boxes[head], bundle, roles.get((tail, head), {}))
            if folding.layered:
                arrow = _flow(graph, arrow, boxes[tail], bundle)
                if arrow.shared and not arrow.roles:  # said in the box, see `_sharing`
                    continue
            arrows.append(arrow)
            if bundle.norm is not None and not arrow.shared:
                flows[arrow.id] = bundle.norm
            continue
        v, _ = bundle.first
        ids = {part: boxes[n].id for n in (tail, head) if isinstance(part := parts[n], int)}
        for edge in table.incoming[v]:
            if edge[0] in ids:
                arrows.append(arrow_of(table, edge, mark, ids))
                if edge[3].get("message") is not None:
                    flows[arrows[-1].id] = norm(edge[3]["message"])
    return arrows, flows


def _bend(graph: Graph, boxes: list[Box], arrows: list[Arrow], tally: Tally) -> Bend | None:
    number = {box.id: n for n, box in enumerate(boxes)}
    bundles = {arrow.id: tally.bundles[number[arrow.tail], number[arrow.head]] for arrow in arrows}
    sent = {
        i: np.shape(graph.values[min(bundle.values)].value)
        for i, bundle in bundles.items()
        if len(bundle.values) == 1 and bundle.norm is not None
    }
    return bend_of(arrows, number, sent)


def _is_read_again(graph: Graph, cut: Sequence[Cut], tail: int, head: int) -> bool:
    """Whether the later rounds of a loop read a leaf that its first round is seen to read."""
    (leaf, _), (part, around) = cut[tail], cut[head]
    if isinstance(leaf, Fold) or not (isinstance(part, Fold) and (part.first or 0) > 1):
        return False
    first = around[-1].folds[0] if around else part
    return graph.is_leaf(leaf) and any(leaf in graph.operands[v] for v in first.values)


def _reading(boxes: list[Box], again: set[tuple[int, int]]) -> list[Box]:
    """The boxes, each saying which leaves the rounds in it read again."""
    of: dict[int, list[str]] = {}
    for tail, head in sorted(again):
        of.setdefault(head, []).append(boxes[tail].name)
    return [
        replace(box, rows=(*box.rows, Row("ink", say("reads too"), (commas(of[n]),))))
        if n in of else box
        for n, box in enumerate(boxes)
    ]  # fmt: skip


def _sharing(boxes: list[Box], tally: Tally) -> list[Box]:
    """The boxes, each saying whose parameters it uses once more.

    Lines across the whole picture would say no more, and hide the rest.
    """
    of: dict[int, dict[str, None]] = {}
    for tail, head in sorted(at for at, bundle in tally.bundles.items() if bundle.parameters):
        if boxes[tail].kind != "parameter":
            of.setdefault(head, {})[boxes[tail].title or boxes[tail].name] = None

    def told(names: dict[str, None]) -> Row:
        return Row("ink", say("parameters"), (say("of {name}", name=commas(names)),))

    return [
        replace(box, rows=(*box.rows, told(of[n]))) if n in of else box
        for n, box in enumerate(boxes)
    ]


def _legend(boxes: list[Box], arrows: list[Arrow]) -> tuple[tuple[str, str], ...]:
    many = ("fold", say("several operations in one box"))
    entries = [many] * any(b.kind == "fold" for b in boxes)
    entries += [("shared", say("the same parameters again"))] * any(a.shared for a in arrows)
    return (*entries, ("", say("‖·‖: Euclidean norm; on each edge the shape of what passes")))


def _stands_apart(graph: Graph, part: int | Fold) -> bool:
    """Whether a part is a leaf, or J: these are drawn as everywhere."""
    return not isinstance(part, Fold) and (graph.is_leaf(part) or part == graph.output)


def _frame(graph: Graph, folding: Folding, fold: Fold) -> str:
    """The heading of an opened fold."""
    if not folding.layered:
        return fold.title
    return " · ".join(filter(None, layers.title(graph, folding, fold)))


def _layer(
    graph: Graph,
    folding: Folding,
    part: int | Fold,
    tally: Tally,
    n: int,
    mark: Highlight,
    target: str,
) -> Box:
    """A layer, an operation between layers, or several in one box."""
    if isinstance(part, int):
        plain = box_of(f"n{part}", part, graph.table, mark, target, graph.values[part].scope)
        name, said = layers.operation(graph, part)
        many = False
    else:
        plain = _box(graph, part, tally.totals[n], mark, target)
        name, said = layers.title(graph, folding, part)
        many = tally.totals[n].operations > 1 and part.main is None
        key = part.key or plain.name
        plain = replace(plain, name=key if part.main is None else graph.names[part.main])
    still = isinstance(part, Fold) and part.still
    if still and any(i in tally.gradients for i in values_of(part)):  # parameters that others share
        still, said = False, ""
    rows = () if still else layers.rows(graph, part, tally, tally.totals.get(n), mark)
    shows_output = isinstance(part, Fold) and graph.output in part.values
    if shows_output:  # J, whatever box it is in
        own = Row("value", target, words.cells(graph.values[graph.output].value)[:1])
        rows = (replace(rows[0], label=target), *rows[1:]) if len(rows) > 1 else (own,)
    return replace(
        plain,
        title=name,
        kind="fold" if many else "layer",
        tag="",
        expression=said.removeprefix(target) if shows_output else said,
        rows=rows,
    )


def _output(graph: Graph, fold: Fold, mark: Highlight, target: str) -> Box:
    """J, in one box with forms of what it reads, which have no name in the picture."""
    plain = box_of(f"n{fold.main}", graph.output, graph.table, mark, target, (), ACROSS)
    plain = replace(plain, tooltip=f"{plain.tooltip}\n{_opened_by(fold)}")
    inside = {*graph.operands[graph.output]}.intersection(fold.values)
    if all(graph.kind(i) == "constant" and not np.ndim(graph.values[i].value) for i in inside):
        return plain  # (a number stands for itself)
    name, _ = layers.operation(graph, graph.output)
    return replace(plain, expression=f"{name}(…)", formula=None)


def _box(graph: Graph, fold: Fold, total: Totals, mark: Highlight, target: str) -> Box:
    """A fold, without its rows."""
    role, badge = _pointed_out(fold, mark)
    if broken := total.broken_values + total.broken_gradients:
        said = say("{n} not finite", n=broken)
    else:
        hooked = not graph.changed_by_hooks.keys().isdisjoint(fold.values)
        said = say("changed by a hook") if hooked else ""
    last = total.leaving if total.leaving >= 0 else fold.values[-1]
    return Box(
        id=f"n{last}",
        name=fold.title,
        kind="fold",
        tag=some(total.operations, "operation", ","),
        expression=caption(graph, fold),
        role=role or ("sick" if broken else ""),
        badge=badge or said,
        tooltip=_tooltip(graph, fold, total, target),
    )


def _contents(
    graph: Graph, fold: Fold, total: Totals, mark: Highlight, target: str
) -> tuple[Row, ...]:
    """What a fold holds: how many parameters and paths, and how large what passes through it."""
    rows = []
    if total.parameters:
        rows.append(Row("ink", say("parameters"), (f"{total.parameters:,}",)))
    if total.size.into is not None:
        rows.append(Row("ink", say("paths to {J}", J=target), (_short(total.paths),)))
    if graph.output in fold.values:
        rows.append(Row("value", target, words.cells(graph.values[graph.output].value)[:1]))
    least, most = total.least, total.most
    rows += filter(
        None,
        (
            _row("value", say("‖value‖"), least.value, most.value),
            _row("gradient", say("‖gradient‖ in"), least.into, most.into),
            _row("gradient", say("‖gradient‖ out"), least.out, most.out),
        ),
    )
    proved = layers.proved(mark, fold.values)
    if proved is not None:
        rows[-1] = replace(rows[-1], mark=proved)
    return tuple(rows)


def _row(kind: str, label: str, least: float | None, most: float | None) -> Row | None:
    """A size, or its range over iterations."""
    if least is None or most is None:
        return None
    if not math.isfinite(most):
        return Row(kind, label, (say("{x} (non-finite)", x=words.number(most)),), "non-finite")
    return Row(kind, label, (words.span(least, most),), "number")


def _short(paths: int) -> str:
    return say("over 1e300") if paths >= OVER else words.number(paths, 2)


def caption(graph: Graph, fold: Fold) -> str:
    """What a fold stands for: the line of a loop, the first and the last of several."""
    repeated = fold.repeated
    units = (repeated or fold).units
    first, last = units[0], units[-1]
    if repeated and not isinstance(first, Fold):
        source = graph.source(fold.steps[-1])
        if source:
            return source.text
    if isinstance(first, Fold) and isinstance(last, Fold):
        whole = repeated and repeated.blocks and fold.first is None
        named = whole and common([first.label, last.label])
        return f"{first.label} … {last.label}" if named else ""
    return "" if fold.scope else f"{_name(graph, first)} … {_name(graph, last)}"


def _name(graph: Graph, unit: int | Fold) -> str:
    return unit.label if isinstance(unit, Fold) else graph.names[unit]


def _pointed_out(fold: Fold, mark: Highlight) -> tuple[str, str]:
    """The most important role of the values in it, and the badge of the first that has it.

    They are greyed if all of them are.
    """
    found: dict[str, list[str]] = {}
    for i in fold.values if mark.boxes or mark.badges else ():
        badges = found.setdefault(mark.boxes.get(i, ""), [])
        badges += filter(None, [mark.badges.get(i)])
    roles = sorted({*found} - {*ROLES, ""})  # paths
    roles = [*ROLES[:-1], *roles, "", *ROLES[-1:]]
    role = next((role for role in roles if role in found), "")
    badges = found.get(role) or next(filter(None, map(found.get, roles)), [])
    more = f" +{len(badges) - 1}" if len(badges) > 1 else ""
    return role, badges[0] + more if badges else ""


def _opened_by(fold: Fold) -> str:
    name, key = words.clean(fold.title), words.clean(fold.key)
    return say("{name}, opened by unfold={key!r}", name=name, key=key)


def _tooltip(graph: Graph, fold: Fold, total: Totals, target: str) -> str:
    lines = [_opened_by(fold)]
    counts = some(len(fold.values), "value", ","), some(total.operations, "operation", ",")
    lines.append(commas(counts))
    if total.size.into is not None:
        paths = say("over 10^300") if total.paths >= OVER else str(total.paths)
        lines.append(say("paths through it to {J}: {n}", J=target, n=paths))
    for label, size in (
        (say("values that leave it"), total.size.value),
        (say("their gradients"), total.size.into),
        (say("messages to what lies before it"), total.size.out),
    ):
        if size is not None:
            lines.append(say("{what}: {x}", what=label, x=f"‖·‖ = {size!r}"))
    if total.broken_values:
        lines.append(say("values that are not finite: {n}", n=total.broken_values))
    if total.broken_gradients:
        lines.append(say("gradients that are not finite: {n}", n=total.broken_gradients))
    if source := graph.source(fold.steps[-1]):
        lines.append(words.clean(source.place))
    return "\n".join(lines)


def _flow(graph: Graph, own: Arrow, tail: Box, bundle: Bundle) -> Arrow:
    """An arrow between layers: with the shape of what passes, or how many values do."""
    if not bundle.values and tail.kind != "parameter":
        tooltip = f"{own.tooltip}\n{say('the same parameters')}"
        return replace(own, number="", shared=True, tooltip=tooltip)
    sent = bundle.values or bundle.parameters
    one = words.shape(graph.values[min(sent)].value)
    return replace(own, number=one if len(sent) == 1 else say("{n} values", n=len(sent)))


def _arrow(tail: Box, head: Box, bundle: Bundle, roles: dict[str, None]) -> Arrow:
    known = [role for role in roles if role != "unneeded"] or list(roles)
    lines = [f"{words.clean(tail.name)} → {words.clean(head.name)}"]
    lines[0] = say("{what}: {x}", what=lines[0], x=some(bundle.count, "edge", ","))
    number = ""
    if bundle.norm is not None:
        number = f"‖·‖ {words.number(bundle.norm, 3)}"
        lines.append(say("messages that flow back: {x}", x=f"‖·‖ = {bundle.norm!r}"))
        if not math.isfinite(bundle.norm):
            known = known or ["sick"]
    return Arrow(tail.id, head.id, number=number, roles=tuple(known), tooltip="\n".join(lines))
