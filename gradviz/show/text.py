"""The text twin of a picture: the forward pass, then the backward pass, in order, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gradviz import words
from gradviz.highlight import Highlight
from gradviz.language import commas, say, several
from gradviz.words import clean, ordinal

from .view import OVER, SIZES, Box, Row, Scale, View, _select

if TYPE_CHECKING:
    from gradviz.chain.table import Table

_MOST = 12  # so many names of cached terms are listed
LEAVES = {
    "input": ("The input is {names}.", "The inputs are {names}."),
    "parameter": ("The parameter is {names}.", "The parameters are {names}."),
    "constant": ("The constant is {names}.", "The constants are {names}."),
}
AGAIN = "Gradients cached once and read again: of {names}."
APART = "No path leads to {J}, so the gradient is 0: {names}."
UNASKED = "No gradient was asked for: {names}."
_NO_GRADIENT = ("not computed", "disconnected")


def to_text(
    graph: Any,
    show: Iterable[str] | None = None,
    highlight: Highlight | None = None,
    title: str | None = None,
    scale: Scale | None = None,
) -> str:
    """What a picture of `graph` shows, in words: every value, gradient and message.

    Parameters
    ----------
    graph : Graph
        Anything with a `table` of the documented schema.
    show : iterable of str, optional
        Names of the values (or scopes) to describe. Default: all.
    highlight : Highlight, optional
        What the picture points out comes first; what it greys out is left out.
    title : str, optional
        By default the highlight's, or the graph's name.
    scale : Scale, optional
        What the picture's colours mean.
    """
    mark = highlight or Highlight()
    if title is None:
        title = mark.title or str(graph.table.graph.get("name") or "")
    heading = f"{clean(title)}\n\n" if title else ""
    colours = f"{scale.told}\n\n" if scale and scale.told else ""
    return heading + colours + "\n".join(_Teller(graph.table, show, mark).lines()) + "\n"


def of_view(view: View) -> str:
    """What a picture with folded boxes shows, in words."""
    lines = [clean(view.title), ""] if view.title else []
    lines += [view.description, *filter(None, [view.scale and view.scale.told])]
    for panel in view.panels():
        lines += ["", say("{caption}.", caption=panel.caption) if panel.caption else say(
            "Each box from those before it."
        )]  # fmt: skip
        lines += [_told(count, box, view) for count, box in enumerate(panel.boxes, 1)]
    lines += ["", say("What leads to what, and what flows back.")]
    boxes = {box.id: box for box in view.boxes}
    for arrow in view.arrows:
        tail, head = (clean(boxes[end].name) for end in arrow.ends)
        label = clean(" = ".join(filter(None, (arrow.symbol, arrow.number))))
        label = "; ".join(filter(None, (label, *(_meaning(view, role) for role in arrow.roles))))
        lines.append(f"  {tail} → {head}{f': {label}' if label else ''}.")
    return "\n".join(lines) + "\n"


def _told(count: int, box: Box, view: View) -> str:
    """A box: where it is, what it is, what the picture points out in it, and its numbers."""
    scope = _within(box.scope)
    name, said = clean(box.name), clean(box.expression)
    formula, notes = "", [box.tag]
    if box.kind == "layer" or (box.kind == "fold" and box.title):  # layers say what they are
        own = clean(box.title)
        notes = [*([] if name.endswith(own) else [own]), *([] if name.endswith(said) else [said])]
    elif box.kind != "fold" and said:
        formula = f" = {said}"
    about = ", ".join(filter(None, (*notes, _meaning(view, box.role), clean(box.badge))))
    rows = ", ".join(filter(None, map(_row, box.rows)))
    return (
        f"{count:>3}. {scope}{name}{formula}{f' ({about})' if about else ''}"
        f"{f': {rows}' if rows else ''}."
    )


def _within(scope: Iterable[str]) -> str:
    """Where a value is computed, before what is said of it."""
    path = [*map(clean, scope)]
    return say("In {names}: ", names=commas(path)) if path else ""


def _row(row: Row) -> str:
    said = f"{row.label} {row.text}"
    if row.kind == SIZES:
        value, gradient = (
            f"{say(over)} {cell}" for over, cell in zip(OVER, row.cells, strict=True)
        )
        said = f"{row.label} ({value}, {gradient})"
    if row.mark is None:
        return said
    return f"{said}, {say('proved') if row.mark else say('not proved')}"


def _meaning(view: View, role: str) -> str:
    """What a role's colour means, in the legend's words."""
    return clean(dict(view.legend).get(role, "")) if role else ""


class _Teller:
    def __init__(self, table: Table, show: Iterable[str] | None, mark: Highlight) -> None:
        self.table = table
        self.mark = mark
        self.output: Any = table.graph.get("output")
        nodes = sorted(table.nodes)
        if show is not None:
            nodes = _select(table, show)
        else:
            nodes = [node for node in nodes if mark.boxes.get(node) != "unneeded"]
        self.nodes = nodes
        self.hidden = len(table.nodes) - len(nodes)
        self.reads: Counter[int] = Counter()

    def lines(self) -> Iterator[str]:
        yield from self.highlights()
        yield say("Forward pass: each value from those before it.")
        yield from self.forward()
        if self.hidden:
            yield say("(Left out: {n} of {m} values.)", n=self.hidden, m=len(self.table.nodes))
        yield ""
        yield from self.backward()

    # --- what the picture points out -----------------------------------------------------------

    def highlights(self) -> Iterator[str]:
        found = False
        for role, said in self.mark.legend:
            members = self.chain(role) or self.boxes(role) or self.edges(role)
            if members and role != "unneeded":
                found = True
                yield say("{what}: {names}.", what=clean(said), names=members)
        proved, unproved = (
            several(self.name(n) for n, mark in self.mark.marks.items() if mark is holds)
            for holds in (True, False)
        )
        if proved:
            yield say("Proved: the gradient of {names}.", names=proved)
        if unproved:
            yield say("Not proved: the gradient of {names}.", names=unproved)
        found = found or bool(proved or unproved)
        if found:
            yield ""

    def boxes(self, role: str) -> str:
        chosen = sorted((n for n, r in self.mark.boxes.items() if r == role), reverse=True)
        return several(f"{self.name(n)} {self.mark.badges.get(n, '')}".strip() for n in chosen)

    def edges(self, role: str) -> str:
        chosen = sorted((e for e in self.mark.arrows if role in self.roles(e)), reverse=True)
        return several(say("{u} reads {v}", u=self.name(u), v=self.name(v)) for u, v, _ in chosen)

    def chain(self, role: str) -> str:
        """A path, from its beginning to the output."""
        if not role.startswith("path"):
            return ""
        edges = sorted(edge for edge in self.mark.arrows if role in self.roles(edge))
        nodes = [u for u, _, _ in edges] + [v for _, v, _ in edges[-1:]]
        return " → ".join(map(self.name, nodes))

    def roles(self, edge: tuple[int, int, int]) -> tuple[str, ...]:
        roles = self.mark.arrows[edge]
        return (roles,) if isinstance(roles, str) else tuple(roles)

    # --- the two passes ------------------------------------------------------------------------

    def forward(self) -> Iterator[str]:
        for kind in ("input", "parameter", "constant"):
            leaves = [node for node in self.nodes if self.data(node)["kind"] == kind]
            if kind == "constant":  # a number stands in the formulas themselves
                leaves = [node for node in leaves if getattr(self.data(node)["value"], "shape", ())]
            if leaves:
                told = several(f"{self.name(n)}{_amount(self.data(n)['value'])}" for n in leaves)
                yield say(LEAVES[kind][len(leaves) > 1], names=told)
        steps = [node for node in self.nodes if self.data(node)["kind"] == "operation"]
        for count, node in enumerate(steps, 1):
            data = self.data(node)
            formula = clean(data["expression"] or data["op"])
            end = say("; this is the output") if node == self.output else ""
            told = f"{self.name(node)} = {formula}{_amount(data['value'])}{end}"
            yield f"{count:>3}. {_within(data['scope'])}{say('{told}.', told=told)}"

    def backward(self) -> Iterator[str]:
        states = {node: self.data(node)["grad_state"] for node in self.nodes}
        reached = [n for n in reversed(self.nodes) if states[n] not in _NO_GRADIENT]
        target = self.name(self.output) if self.output in self.table.nodes else say("the output")
        if not reached:
            yield say("Backward pass: not computed.")
            return
        yield say("Backward pass: the gradient of {J} by each value, from {J} backwards.", J=target)
        for count, node in enumerate(reached, 1):
            yield from self.gradient(count, node)
        again = [(n, k) for n, k in self.reads.items() if k > 1]
        again.sort(key=lambda item: -item[1])
        told = [say("{v} ({n} times)", v=self.name(n), n=k) for n, k in again[:_MOST]]
        told += [say("{n} more", n=len(again) - _MOST)] if again[_MOST:] else []
        notes = [say(AGAIN, names=several(told))] if told else []
        for state, said in (("disconnected", APART), ("not computed", UNASKED)):
            rest = [n for n in self.nodes if states[n] == state and not self.is_number(n)]
            if rest:
                notes.append(say(said, J=target, names=several(map(self.name, rest))))
        yield from ["", *notes] if notes else []

    def gradient(self, count: int, node: int) -> Iterator[str]:
        edges = sorted(self.table.outgoing[node], key=lambda e: e[1:3])
        messages = [self.message(v, edge) for _, v, _, edge in edges if edge["message"] is not None]
        gradient = _gradient(self.data(node))
        head = f"{count:>3}. {say('{v} has the gradient{x}', v=self.name(node), x=gradient)}"
        if not messages:
            yield head + (say(", where the pass starts.") if node == self.output else say("."))
        elif len(messages) == 1:
            yield f"{head}{say(': {how}.', how=messages[0][0])}"
        else:
            yield f"{head}{say(', the sum of {n} messages:', n=len(messages))}"
            for said, amount in messages:
                yield f"     {say('{how} gives{x}.', how=said, x=amount)}"

    def message(self, v: int, edge: Mapping[str, Any]) -> tuple[str, str]:
        """What one edge sends back: how it comes about, and how much it is."""
        self.reads[v] += 1
        upstream, local = self.data(v)["grad"], edge["local"]
        shape = words.shape(upstream)
        amount = f" ({shape})" if shape else _amount(upstream, "")
        said = say("{v}'s gradient{x}", v=self.name(v), x=amount)
        if (n := self.reads[v]) > 1:
            said += say(" (cached, read the {nth} time)", n=n, nth=ordinal(n))
        formula = clean(edge["derivative"] or "")
        number = "" if local is None else _amount(local, "")
        everywhere = say("all {x}", x=formula)
        if local is None:
            said += say(" through the VJP")
            said += say(", with the local derivative{x}", x=f" {formula}") if formula else ""
        elif edge.get("vjp"):  # what is not finite is stopped, which is no product
            said += say(" through {formula}", formula=clean(edge["vjp"]))
        elif formula and (number == f" {formula}" or words.local(local) == everywhere):
            said += say(" times the local derivative{x}", x=f" {formula}")
        else:
            number = f" {formula}{_amount(local)}" if formula else number
            said += say(" times the local derivative{x}", x=number)
        if words.shape(local) not in ("", words.shape(edge["message"])):
            said += say(", summed over what it was broadcast to")
        return said, _amount(edge["message"], "")

    # --- words -----------------------------------------------------------------------------------

    def data(self, node: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.table.nodes[node]
        return found

    def name(self, node: int) -> str:
        return clean(self.data(node)["name"]) or say("(no name)")

    def is_number(self, node: int) -> bool:
        data = self.data(node)
        return bool(data["kind"] == "constant" and not getattr(data["value"], "shape", ()))


def _amount(value: Any, sign: str = " =") -> str:
    """`` = 0.5``, `` = [1, 2]`` or, of a larger array, its shape and range in brackets."""
    cells = words.cells(value)
    shape = words.shape(value)
    if len(cells) == len(words.STATISTICS):
        low, mean, high = cells
        return say(
            " ({shape}, from {low} to {high}, mean {mean})",
            shape=shape, low=low, high=high, mean=mean,
        )  # fmt: skip
    return f" ({shape}, {cells[0]})" if shape and cells[0][:1] != "[" else f"{sign} {cells[0]}"


def _gradient(data: Mapping[str, Any]) -> str:
    state = data["grad_state"]
    if state == "number":
        return _amount(data["grad"], "")
    if state == "non-finite":
        return f"{_amount(data['grad'], '')}{say(', which is not finite')}"
    return f" {say(words.STATES[state])}"
