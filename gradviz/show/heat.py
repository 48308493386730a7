"""Colours that mean a size: which step of the scale each box and each arrow has."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz import words
from gradviz.chain.backward import known_state
from gradviz.language import say, several
from gradviz.options import Colour
from gradviz.statistics import norm

from .view import HEATS, Arrow, Box, Row, Scale, View, output_name

if TYPE_CHECKING:
    from gradviz.chain.table import Table
    from gradviz.chain.totals import Tally
    from gradviz.graph import Graph

KINDS = ("auto", "gradient", "memory")
LEAST = 1e2  # a scale spans at least this ratio, so that what is nearly alike looks so ...
MOST = 1e8  # ... and at most this one
SICK = "not finite"
SHRINKS = "On its way back the gradient shrinks from {large} to {small}."
GROWS = "On its way back the gradient grows from {small} to {large}."
SPREAD = "The gradient is largest, {large}, and smallest, {small}."


@dataclass
class Sizes:
    """How large the boxes and the arrows of a View are in some respect, by their ids.

    `zeros` tells of a box of size 0 more than that; `rows` are what cards say of it.
    """

    meaning: str
    boxes: dict[str, float] = field(default_factory=dict)
    arrows: dict[str, float] = field(default_factory=dict)
    zeros: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, Row] = field(default_factory=dict)
    nothing: str = "0"  # what 0 means here
    note: str = ""
    write: Callable[[float], str] = lambda size: words.number(size, 2)
    even: bool = False  # a scale that may be linear: such sizes may be negative


def wanted(color: Colour, layered: bool) -> Colour:
    """What a picture is coloured by; None for nothing.

    Raises
    ------
    ValueError
        For a word that has no meaning here.
    """
    if color is None or color is False:
        return None
    if isinstance(color, Mapping) or (callable(color) and not isinstance(color, str)):
        return color
    if words.choose("color", color, KINDS) == "auto":
        return "gradient" if layered else None
    return color


def of_parts(
    graph: Graph,
    view: View,
    color: Colour,
    tally: Tally,
    parts: Mapping[str, Sequence[int]],
    flows: Mapping[str, float],
    scale: Scale | None = None,
) -> View:
    """A View whose boxes are parts of a Graph, coloured.

    Parameters
    ----------
    graph : Graph
    view : View
    color : Colour
        As `wanted` returns it.
    tally : Tally
        Whose boxes are those of the View, in this order.
    parts : mapping of str to sequence of int
        By the ids of the boxes the values in them, in the order of the tally.
    flows : mapping of str to float
        By the ids of the arrows the norms of the messages that they stand for.
    scale : Scale, optional
        That of another picture, which this one is a part of.
    """
    if color is None:
        return view
    if color != "gradient":
        return painted(view, _held(graph, color, parts), scale)
    sizes = Sizes(_of_gradients(graph.table))
    sizes.arrows |= flows
    zeros: dict[str, str] = {}
    rows: dict[str, Row] = {}
    for n, (ident, values) in enumerate(parts.items()):
        size = tally.into(n)
        if size is None:
            continue
        sizes.boxes[ident] = size
        if not view.dense and n not in tally.totals:
            rows |= _norm_row(ident, tally.gradients[values[0]], size)
        if size == 0:
            states = {graph.grad_state(i) for i in values}
            zeros[ident] = "underflown" if "underflown" in states else "zero"
    return painted(view, replace(sizes, zeros=zeros, rows=rows), scale)


def of_values(graph: Any, view: View, color: Colour) -> View:
    """A View with a box for each value (or for its gradient), coloured."""
    if color is None:
        return view
    if color != "gradient":
        boxes = (box for panel in view.panels() for box in panel.boxes)
        return painted(view, _held(graph, color, {b.id: (int(b.id[1:]),) for b in boxes}))
    table = graph.table
    sizes = Sizes(_of_gradients(table))
    zeros, rows = dict[str, str](), dict[str, Row]()
    for node, data in table.nodes.items():
        if data.get("grad") is None:
            continue
        ident, size = f"n{node}", norm(data["grad"])
        sizes.boxes[ident] = size
        zeros[ident] = data.get("grad_state", "")
        rows |= _norm_row(ident, data["grad"], size)
    for panel in view.panels():
        for arrow in panel.arrows:
            u, v = (int(end[1:]) for end in arrow.ends)
            found = (edge for edge in table.incoming[v] if edge[0] == u and edge[2] == arrow.key)
            message = next((edge[3].get("message") for edge in found), None)
            if message is not None:
                sizes.arrows[arrow.id] = norm(message)
    return painted(view, replace(sizes, zeros=zeros, rows=rows))


def _of_gradients(table: Table) -> str:
    return say("‖gradient‖ {d}", d=f"∂{output_name(table)}/∂·")


def _norm_row(ident: str, gradient: Any, size: float) -> dict[str, Row]:
    """The norm of an array, whose card tells entries, or their range."""
    if not (size and np.ndim(gradient) and math.isfinite(size)):
        return {}
    return {ident: Row("gradient", say("‖gradient‖"), (words.number(size, 3),), "number")}


# --- what else there is than gradients -----------------------------------------------------------


def _held(graph: Graph, color: Colour, parts: Mapping[str, Sequence[int]]) -> Sizes:
    """The bytes that each box keeps, or the largest of the user's numbers for what is in it."""
    join: Callable[[list[float]], float]
    if isinstance(color, str):
        known = memory(graph)
        sizes = Sizes(
            say("bytes kept for the backward pass"),
            nothing=say("0 B, or counted where it was kept first"),
            note=_most(graph, known),
        )
        sizes.write = lambda size: words.size(round(size))
        label, join = say("keeps"), sum
    else:
        own = own_numbers(graph, color)
        label = getattr(color, "__name__", "number").replace("<lambda>", say("number"))
        several = any(sum(i in own for i in values) > 1 for values in parts.values())
        note = say("of a box the largest in it") if several else ""
        sizes = Sizes(label, note=note, even=True)
        sizes.write = lambda size: words.number(size, 3)
        known, join = own, _largest
    for ident, values in parts.items():
        if found := [known[i] for i in values if i in known]:
            sizes.boxes[ident] = join(found)
    rows = {i: Row("ink", label, (_said(sizes, size),)) for i, size in sizes.boxes.items()}
    return replace(sizes, rows=rows)


def _said(sizes: Sizes, size: float) -> str:
    return sizes.write(size) if math.isfinite(size) else words.number(size)


def _largest(sizes: list[float]) -> float:
    """The largest; what is not finite comes first."""
    return next((size for size in sizes if not math.isfinite(size)), max(sizes))


def memory(graph: Graph) -> Mapping[int, float]:
    """See `Graph.memory`; of a Graph by named values, of all that each stands for.

    Raises
    ------
    ValueError
        Nothing is known of what its program keeps.
    """
    origin = getattr(graph, "origin", None)
    whole = graph if origin is None else origin.whole
    if not getattr(whole, "memory", None):
        raise ValueError(
            "color='memory': nothing is known of what this program keeps for the backward pass; "
            "gradviz.trace measures it as it records a PyTorch program"
        )
    if origin is None:
        return dict(graph.memory)
    found: dict[int, float] = {}
    for i, size in whole.memory.items():
        new = origin.new_id[origin.group[i]]
        found[new] = found.get(new, 0) + size
    return found


def _most(graph: Graph, known: Mapping[int, float]) -> str:
    """How much is kept in all, and which layer's own calls keep most."""
    total = sum(known.values())
    kept: dict[str, float] = {}
    scopes = {graph.values[i].scope for i in known}
    for i, size in known.items():
        scope = graph.values[i].scope
        name = ".".join(scope) or (say("outside all layers") if scopes != {()} else graph.names[i])
        kept[name] = kept.get(name, 0) + size
    calls = (i for i in range(len(graph)) if not graph.is_leaf(i) and i not in known)
    unknown = any(known_state(graph, i) not in ("not computed", "disconnected") for i in calls)
    kept_in_all = words.size(round(total))
    said = say("keeps at least {x}" if unknown else "keeps {x}", x=kept_in_all)
    if not total:
        return said
    most = max(kept, key=lambda name: kept[name])
    around = any(".".join(scope).startswith(f"{most}.") for scope in scopes)
    told = "{told}; most: {layer} (its own calls) {x}" if around else "{told}; most: {layer} {x}"
    return say(told, told=said, layer=words.clean(most), x=words.size(round(kept[most])))


def own_numbers(graph: Graph, color: Colour) -> dict[int, float]:
    """The user's number of each value: its own, else that of the innermost layer that has one.

    Raises
    ------
    ValueError
        No value and no layer has a name of the mapping.
    TypeError
        What is given for a name is no number.
    """
    table, found = graph.table, dict[int, float]()
    if callable(color):
        two = _takes_two(color)
        for i, data in table.nodes.items():
            if data["kind"] == "constant":
                continue
            given = color(data["name"], data) if two else color(data["name"])
            if given is not None:
                found[i] = _number(data["name"], given)
        return found
    assert isinstance(color, Mapping)
    ids = {data["name"]: i for i, data in table.nodes.items()}
    around = [tuple(data.get("scope", ())) for data in table.nodes.values()]
    scopes = {s[:n] for s in around for n in range(1, len(s) + 1)}
    layers = {joint.join(scope): scope for joint in "/." for scope in scopes}
    layered: dict[tuple[str, ...], float] = {}
    for name, given in color.items():
        key = words.choose("value or layer", name, [*ids, *layers])
        if key in ids:
            found[ids[key]] = _number(key, given)
        else:
            layered[layers[key]] = _number(key, given)
    for i, scope in zip(table.nodes, around, strict=True):
        own = (layered[scope[:n]] for n in range(len(scope), 0, -1) if scope[:n] in layered)
        if i not in found and (size := next(own, None)) is not None:
            found[i] = size
    return found


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function takes a value's data beside its name."""
    try:
        inspect.signature(function).bind("", {})
    except (TypeError, ValueError):
        return False
    return True


def _number(name: str, given: Any) -> float:
    if np.ndim(given) or np.asarray(given).dtype.kind not in "biuf":
        raise TypeError(f"color: {name} has {given!r}, which is not a real number")
    return float(given)


# --- on the scale --------------------------------------------------------------------------------


def painted(view: View, sizes: Sizes, scale: Scale | None = None) -> View:
    """The View with the sizes of its boxes and arrows as steps of one scale, which it tells.

    A scale of sizes is logarithmic and ends at the largest; one of the user's numbers is linear
    where they are negative or nearly alike. What is 0 or not finite is seen as that.
    """
    shown = [s for s in (*sizes.boxes.values(), *sizes.arrows.values()) if s and math.isfinite(s)]
    own = _scale(shown, sizes)
    step = (scale or own).step
    zeros = {"zero": False, "underflown": False}
    messages = False

    def token(size: float | None, state: str = "") -> str:
        if size is None:
            return ""
        if not math.isfinite(size):
            return "sick"
        return f"heat{step(size)}" if size else "underflown" if state == "underflown" else "zero"

    def box_of(box: Box, last: bool) -> Box:
        heat = token(sizes.boxes.get(box.id), sizes.zeros.get(box.id, ""))
        zeros[heat] = True
        row = sizes.rows.get(box.id)
        return replace(
            box,
            heat=heat,
            role=box.role or ("sick" if heat == "sick" else ""),
            rows=(*box.rows, row) if row and last else box.rows,
        )

    def arrow_of(arrow: Arrow) -> Arrow:
        nonlocal messages
        heat = token(sizes.arrows.get(arrow.id))
        messages |= heat == "zero"
        zeros[heat] = True
        sick = ("sick",) if heat == "sick" else ()
        return replace(arrow, heat=heat, roles=arrow.roles or sick)

    def panel_of(panel: View) -> View:
        boxes = tuple(
            box_of(box, panel.below is None) for box in panel.boxes
        )  # (of both passes, the second has the rows)
        below = panel_of(panel.below) if panel.below else None
        return replace(panel, boxes=boxes, arrows=tuple(map(arrow_of, panel.arrows)), below=below)

    found = panel_of(view)
    legend = found.legend
    if sizes.meaning[0] == "‖":
        exactly = say("0 exactly; a message of 0") if messages else say("0 exactly")
        legend += (("zero", exactly),) * zeros["zero"]
        legend += (("underflown", say("0 by underflow")),) * zeros["underflown"]
    else:
        legend += (("zero", sizes.nothing),) * zeros["zero"]
    if zeros.get("sick") and "sick" not in dict(legend):
        legend += (("sick", say(SICK)),)
    own = own._replace(note=sizes.note, told=_told(found, sizes))
    return replace(found, legend=legend, scale=own if shown or sizes.note else None)


def reaching(scale: Scale, others: Iterable[Scale]) -> Scale:
    """The scale of a picture, told so that it holds of others with its colours, too."""
    seen = [end for other in others if any(other.seen) for end in other.seen]
    least, most = scale.least, scale.most
    if seen and min(seen) < scale.ends[0] and not least.startswith("≤"):
        least = f"≤ {least}"
    if seen and max(seen) > scale.ends[1]:
        most = f"≥ {most}"
    return scale._replace(least=least, most=most)


def _scale(shown: list[float], sizes: Sizes) -> Scale:
    """The scale of sizes."""
    if not shown:
        return Scale("", "", sizes.meaning)
    low, top = min(shown), max(shown)
    seen = low, top
    if sizes.even and (low < 0 or top < LEAST * low):
        ends = sizes.write(low), sizes.write(top)

        def part(size: float) -> float:
            return size / (top - low) - low / (top - low) if top > low else 1.0

        linear = say("{what}, linear", what=sizes.meaning)
        return Scale(*ends, linear, step=_steps(part), ends=seen, seen=seen)
    bottom = max(min(low, top / LEAST), top / MOST)
    less = "≤ " if low < bottom else ""

    def power(size: float) -> float:
        return math.log(max(size, bottom) / bottom) / math.log(top / bottom)

    return Scale(
        less + sizes.write(bottom),
        sizes.write(top),
        say("{what}, logarithmic", what=sizes.meaning),
        step=_steps(power),
        ends=(bottom, top),
        seen=seen,
    )


def _steps(part: Callable[[float], float]) -> Callable[[float], int]:
    return lambda size: min(max(int(part(size) * HEATS), 0), HEATS - 1)


# --- in words ------------------------------------------------------------------------------------


def _told(view: View, sizes: Sizes) -> str:
    """What the colours show, in sentences."""
    names = {box.id: words.clean(box.name) for box in view.boxes}
    known = {i: s for i, s in sizes.boxes.items() if i in names and s and math.isfinite(s)}
    note = f"{sizes.note[:1].upper()}{sizes.note[1:]}"
    sentences = [say("{told}.", told=note)] if note else []
    if known:
        least, most = min(known, key=lambda i: known[i]), max(known, key=lambda i: known[i])
        small, large = (
            say("{x} at {v}", x=sizes.write(known[i]), v=names[i]) for i in (least, most)
        )
        ends = dict(what=sizes.meaning, x=sizes.write(known[most]), small=small, large=large)
        if known[least] == known[most]:
            sentences.append(say("{what}: {x} everywhere.", **ends))
        elif sizes.meaning[0] != "‖":
            sentences.append(say("{what}: from {small} to {large}.", **ends))
        elif most in _after(view, least):
            sentences.append(say(SHRINKS, **ends))
        elif least in _after(view, most):
            sentences.append(say(GROWS, **ends))
        else:
            sentences.append(say(SPREAD, **ends))
    for heat, said in (
        ("zero", "0" if sizes.meaning[0] != "‖" else say("0 exactly")),
        ("underflown", say("0 by underflow")),
        ("sick", say(SICK)),
    ):
        if there := [names[box.id] for box in view.boxes if box.heat == heat]:
            sentences.append(say("It is {what} at {names}.", what=said, names=several(there, 12)))
    return say(" ").join(sentences)


def _after(view: View, ident: str) -> set[str]:
    """The boxes that a box leads to."""
    reached, pending = set[str](), [ident]
    while pending:
        tail = pending.pop()
        heads = {last for first, last in (arrow.ends for arrow in view.arrows) if first == tail}
        pending += heads - reached
        reached |= heads
    return reached
