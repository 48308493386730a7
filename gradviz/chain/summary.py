"""The table beside the picture: a program's layers, how large they are, and what they keep."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradviz.chain.backward import known_derivatives, known_state
from gradviz.chain.result import GraphResult
from gradviz.highlight import Highlight
from gradviz.language import columns, in_its_language, padded, say
from gradviz.ops import notation
from gradviz.statistics import measure
from gradviz.words import STATES, clean, number, size

if TYPE_CHECKING:
    from gradviz.graph import Graph

Scope = tuple[str, ...]
LEAVES = ("input", "parameter", "constant")


@dataclass(frozen=True)
class SummaryRow:
    """A layer with all that is in it; of a program without scopes, a value.

    Attributes
    ----------
    scope : tuple of str
        () is the program; the last part is the row's own name.
    kind : str
        The module with its arguments, "Conv2d 3 → 64, 7×7 /2", and its mode where that is another
        than around it (a program is in training mode); of a value its formula.
    shape : tuple of int or None
        Of its result: the last value in it that is read outside of it, or J.
    parameters : int
        How many numbers its parameters have. One that several layers read counts where it belongs.
    share : float
        Of all parameters.
    value, gradient : float or None
        The Euclidean norms of its parameters and of their gradients, as one vector each; of a
        value, its own. None where there are none.
    state : str
        Where no gradient is a number, what they are instead (see `Graph.grad_state`).
    memory : int or None
        The bytes that its calls keep for the backward pass (see `Graph.memory`); None: not known.
    at_least : bool
        Whether it holds calls of which that is not known.
    """

    scope: Scope
    kind: str
    shape: tuple[int, ...] | None = None
    parameters: int = 0
    share: float = 0.0
    value: float | None = None
    gradient: float | None = None
    state: str = ""
    memory: int | None = None
    at_least: bool = False


@dataclass(frozen=True, repr=False)
class Summary(GraphResult):
    """The result of `Graph.summary`.

    Attributes
    ----------
    rows : tuple of SummaryRow
        The program, then its layers in the order in which they were entered, inner ones after the
        one that they are in.
    by_values : bool
        Whether the rows are values, for there are no layers.
    """

    graph: Graph
    rows: tuple[SummaryRow, ...]
    by_values: bool = False

    @property
    def cells(self) -> list[list[str]]:
        """The table as text, its heading first; columns in which there is nothing are left out."""
        return self._table()[0]

    @in_its_language
    def _table(self) -> tuple[list[list[str]], list[str]]:
        """The same, and for each column whether it begins at its "left" or ends at its "right"."""
        J = self.graph.names[self.graph.output]
        what = "value" if self.by_values else "layer" if self.graph.layers else "scope"
        w = what[0] if self.by_values else "w"
        lines = [
            [
                say(what),
                say("what it is"),
                say("result"),
                say("parameters"),
                say("share"),
                f"‖{w}‖",
                f"‖∂{J}/∂{w}‖",
                say("kept"),
            ],
            *(self._cells(row) for row in self.rows),
        ]
        used = [n for n in range(len(lines[0])) if n == 0 or any(line[n] for line in lines[1:])]
        ways = ["left" if n < 2 else "right" for n in used]  # words begin at their left
        return [[clean(line[n]) if n else line[n] for n in used] for line in lines], ways

    def _cells(self, row: SummaryRow) -> list[str]:
        program = clean(self.graph.title) or clean(row.kind.partition(" ")[0]) or say("all")
        name = clean(row.scope[-1]) if row.scope else program
        instead = say(STATES.get(row.state, ""), J=self.graph.names[self.graph.output])
        return [
            "  " * len(row.scope) + name,
            say(row.kind) if row.kind in LEAVES else row.kind,
            "×".join(map(str, row.shape or ())),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.share:.1%}" if row.parameters else "",
            "" if row.value is None else number(row.value, 3),
            instead or ("" if row.gradient is None else number(row.gradient, 3)),
            "" if row.memory is None else "≥ " * row.at_least + size(row.memory),
        ]

    @property
    def text(self) -> str:
        """A line per layer under the names of the columns."""
        (heading, *rows), ways = self._table()
        widths = [max(map(columns, column)) for column in zip(heading, *rows, strict=True)]
        lines = [
            "  ".join(
                padded(cell, width) if way == "left" else " " * (width - columns(cell)) + cell
                for cell, width, way in zip(line, widths, ways, strict=True)
            ).rstrip()
            for line in (heading, ["─" * width for width in widths], *rows)
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Summary of {self.graph.names[self.graph.output]}: {len(self.rows)} rows>"

    @in_its_language
    def highlight(self) -> Highlight:
        """The bytes that each call keeps."""
        kept = {i: size(bytes_) for i, bytes_ in self.graph.memory.items() if bytes_}
        return Highlight(badges=kept, title=say("Kept for the backward pass") if kept else "")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        (heading, *rows), sides = self._table()
        ways = [f"style='text-align: {side}; white-space: pre'" for side in sides]

        def line(cells: list[str], tag: str) -> str:
            parts = zip(cells, ways, strict=True)
            inside = (f"<{tag} {way}>{html.escape(cell)}</{tag}>" for cell, way in parts)
            return f"<tr>{''.join(inside)}</tr>"

        body = "".join(line(row, "td") for row in rows)
        table = f"<table><thead>{line(heading, 'th')}</thead><tbody>{body}</tbody></table>"
        return {"text/html": table, "text/plain": self.text}


def summary(graph: Graph, depth: int | None = None) -> Summary:
    """See `Graph.summary`."""
    if depth is not None and (type(depth) is not int or depth < 0):
        raise ValueError(f"depth={depth!r}: write a whole number of levels, 0 or more")
    if not any(node.scope for node in graph.values):
        shown = graph.statements  # whose names are the program's
        return Summary(shown, tuple(_by_values(shown)), by_values=True)
    count = _Count(graph)
    rows = [count.row(scope) for scope in count.scopes() if depth is None or len(scope) <= depth]
    return Summary(graph, tuple(rows))


def _by_values(graph: Graph) -> Iterator[SummaryRow]:
    """The program, and each of its values but constants."""
    total = _Count(graph)
    yield total.row(())
    for i, node in enumerate(graph.values):
        if graph.kind(i) == "constant":
            continue
        expression = graph.expression(i)
        known = known_state(graph, i)
        told = known == "number" or (i not in graph.wrt and known == "not computed")
        gradient = total.gradients.get(i)
        found = measure(node.value)
        parameters = found.size if i in total.parameters else 0
        yield SummaryRow(
            (graph.names[i],),
            graph.kind(i) if expression is None else notation.text(expression),
            found.shape,
            parameters,
            parameters / (total.all or 1),
            found.norm,
            None if gradient is None else measure(gradient).norm,
            "" if told else known,
        )


class _Count:
    """What every scope holds."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.parameters = [i for i in range(len(graph)) if graph.kind(i) == "parameter"]
        self.all = sum(measure(graph.values[i].value).size for i in self.parameters)
        self.gradients = known_derivatives(graph).gradients
        self.held: dict[Scope, list[int]] = {}  # the parameters, by each scope around them
        for entered in ((), *graph.layers):
            for scope in _around(entered):
                self.held.setdefault(scope, [])
        self.bytes: dict[Scope, int] = {}
        self.unknown: set[Scope] = set()
        self.leaving: dict[Scope, int] = {(): graph.output}
        for i, node in enumerate(graph.values):
            if graph.is_leaf(i):
                continue
            for scope in _around(node.scope):
                self.held.setdefault(scope, [])
                if i in graph.memory:
                    self.bytes[scope] = self.bytes.get(scope, 0) + graph.memory[i]
                elif i in self.gradients:
                    self.unknown.add(scope)
        for i in self.parameters:
            for scope in _around(self._home(i)):
                self.held.setdefault(scope, []).append(i)
        for v, operands in enumerate(graph.operands):
            for u in operands:
                self._leave(u, graph.values[v].scope)
        self._leave(graph.output, ())

    def _home(self, i: int) -> Scope:
        """The scope that a parameter belongs to: else the innermost that holds all its readers."""
        own = self.graph.values[i].scope
        readers = [self.graph.values[v].scope for v, _ in self.graph.readers[i]]
        if own or not readers:
            return own
        first, last = min(readers), max(readers)
        same = 0
        while same < len(first) and same < len(last) and first[same] == last[same]:
            same += 1
        return first[:same]

    def _leave(self, u: int, to: Scope) -> None:
        """Note that a value is read in another scope."""
        if self.graph.is_leaf(u):
            return
        for scope in _around(self.graph.values[u].scope):
            if to[: len(scope)] != scope:
                self.leaving[scope] = max(self.leaving.get(scope, -1), u)

    def scopes(self) -> list[Scope]:
        """All of them, each followed by those in it, in the order in which they were entered."""
        inner: dict[Scope, list[Scope]] = {}
        for scope in self.held:
            if scope:
                inner.setdefault(scope[:-1], []).append(scope)
        found: list[Scope] = []
        pending: list[Scope] = [()]
        while pending:
            found.append(scope := pending.pop())
            pending += reversed(inner.get(scope, []))
        return found

    def _kind(self, scope: Scope) -> str:
        layers = self.graph.layers
        if scope not in layers:
            return ""
        layer, around = layers[scope], [*_around(scope)][-2::-1] if scope else []
        above = next((layers[other].training for other in around if other in layers), True)
        mode = "training" if layer.training else "eval"
        return str(layer) if layer.training == above else f"{layer} ({mode})"

    def row(self, scope: Scope) -> SummaryRow:
        """What is told of a scope."""
        graph, held = self.graph, self.held[scope]
        leaving = self.leaving.get(scope)
        count = sum(measure(graph.values[i].value).size for i in held)
        asked = [i for i in held if i in graph.wrt]
        states = {known_state(graph, i) for i in asked}
        sent = [measure(self.gradients[i]).norm for i in asked if i in self.gradients]
        return SummaryRow(
            scope,
            self._kind(scope),
            None if leaving is None else measure(graph.values[leaving].value).shape,
            count,
            count / (self.all or 1),
            math.hypot(*(measure(graph.values[i].value).norm for i in held)) if held else None,
            math.hypot(*sent) if sent else None,
            states.pop() if len(states) == 1 and "number" not in states else "",
            self.bytes.get(scope),
            scope in self.unknown and scope in self.bytes,
        )


def _around(scope: Scope) -> Iterator[Scope]:
    """A scope and all that it lies in, the program first."""
    return (scope[:n] for n in range(len(scope) + 1))
