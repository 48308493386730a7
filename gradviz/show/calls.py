"""A library's call opened in a picture, where its box was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gradviz.chain.inside import Call, call

from .view import Arrow, View, forward_view

if TYPE_CHECKING:
    from gradviz.graph import Graph


def asked(graph: Graph, unfold: str | Iterable[str]) -> tuple[list[Call], list[str]]:
    """The calls that are to be opened: by key, by the name of a value or of what is called.

    And the other keys.
    """
    keys = [unfold] if isinstance(unfold, str) else [*unfold]
    found: dict[int, Call] = {}
    others: list[str] = []
    for key in keys:
        name = key if key in graph.names else key.partition(": ")[0]
        ids = [graph.id(name)] if name in graph.names else range(len(graph))
        calls = [one for i in ids if (one := call(graph, i))]
        if name not in graph.names:
            calls = [one for one in calls if key in one.title.split(", ")]
        found |= {one.i: one for one in calls}
        if name in graph.names or not calls:
            others.append(name if name in graph.names else key)  # (and what it lies in)
    return [*found.values()], others


def opened(view: View, box: str, call: Call, owner: Mapping[int, str]) -> View:
    """The View with what is in a call in place of its box; its result is a box of the same id.

    Parameters
    ----------
    view : View
    box : str
        The id of its box.
    call : Call
    owner : mapping
        The box that each value that the call reads is in.
    """
    whole, own = call.graph, call.inside
    steps = call.steps
    # (No value has a negative id, which a box in it has.)
    ids = {f"n{k}": f"n{-1 - k - 1000 * int(box[1:])}" for k in steps[:-1]} | {f"n{steps[-1]}": box}
    operands = {f"n{own.id(whole.names[u])}": owner[u] for u in whole.operands[call.i]}
    known = {(arrow.tail, arrow.head): arrow.key for arrow in view.arrows}
    [shut] = [b for b in view.boxes if b.id == box]
    inner = forward_view(own)
    scope = (*shut.scope, call.heading)
    boxes = [
        replace(b, id=ids[b.id], scope=scope, tooltip="", title="")
        for b in inner.boxes if b.id in ids
    ]  # fmt: skip
    if shut.kind == boxes[-1].kind:
        boxes[-1] = replace(boxes[-1], rows=shut.rows, badge=shut.badge, role=shut.role)
    arrows: list[Arrow] = []
    for n, arrow in enumerate(inner.arrows, 1):
        head = ids.get(arrow.head)
        if head is None:
            continue
        tail = ids.get(arrow.tail) or operands[arrow.tail]
        between = arrow.tail in ids or tail == box
        key = -n if between else known.get((tail, box))
        if key is not None and tail != box:
            arrows.append(replace(arrow, tail=tail, head=head, key=key, tooltip=""))
    place = view.boxes.index(shut)
    return replace(
        view,
        boxes=(*view.boxes[:place], *boxes, *view.boxes[place + 1 :]),
        arrows=(*(a for a in view.arrows if a.head != box), *arrows),
    )
