"""A lesson: what a student is asked to predict before the number is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import numpy as np

from gradviz.chain.entry import entry_of
from gradviz.chain.paths import carrying, count_paths
from gradviz.chain.reuse import reuse
from gradviz.errors import TraceError
from gradviz.options import Page, named

if TYPE_CHECKING:
    from gradviz.graph import Graph

QuestionKind = Literal["value", "local", "message", "gradient", "reused", "paths"]
MOST = 200
"""A lesson of more questions is nobody's."""
_ARRAYS = "A lesson asks for numbers; graph.elements().lesson(...) opens arrays into theirs"


@dataclass(frozen=True)
class Question:
    """One thing to predict.

    Attributes
    ----------
    kind : {"value", "local", "message", "gradient", "reused", "paths"}
    node : int
        The value that it is about; of an edge, the operand.
    edge : (int, int) or None
        The edge's reader and the operand's position.
    after : tuple of int
        The targets whose gradients are known already, where reuse is asked for.
    targets : tuple of int
        Whose ledger is played while it is asked.
    text, hint : str
        The teacher's own words, instead of the usual ones.
    """

    kind: QuestionKind
    node: int
    edge: tuple[int, int] | None = None
    after: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    text: str = ""
    hint: str = ""


@dataclass(frozen=True, repr=False)
class Lesson:
    """Questions about a Graph, in their order; made by `Graph.lesson`, never changed.

    Each method gives a new lesson with one more question. ``text=`` are the teacher's own words
    for it, ``hint=`` the first hint.

    Attributes
    ----------
    whole : Graph
        The Graph that was asked for the lesson.
    detail : {"names", "operations"} or None
        The level of detail that the lesson speaks of.
    questions : tuple of Question
    title : str
    language : str
        "en" or "zh"; "" is the reader's own.
    tolerance : float
        So far, relative to the right number, an answer may be off.
    """

    whole: Graph
    detail: str | None = None
    questions: tuple[Question, ...] = ()
    title: str = ""
    language: str = ""
    tolerance: float = 0.01

    @property
    def graph(self) -> Graph:
        """The Graph at the level of detail that the lesson speaks of."""
        return self.whole.detailed(self.detail)

    def value(self, name: str, *, text: str = "", hint: str = "") -> Self:
        """Ask for a value, before the forward pass shows it."""
        return self._with(Question("value", self._number(name), text=text, hint=hint))

    def local(
        self, v: str, u: str, operand: int | None = None, *, text: str = "", hint: str = ""
    ) -> Self:
        """Ask for the local derivative ∂v/∂u; `operand` says which, where v reads u twice."""
        node, edge = self._edge(v, u, operand)
        return self._with(Question("local", node, edge, text=text, hint=hint))

    def message(
        self, v: str, u: str, operand: int | None = None, *, text: str = "", hint: str = ""
    ) -> Self:
        """Ask for the message that v sends back to its operand u."""
        node, edge = self._edge(v, u, operand)
        return self._with(Question("message", node, edge, text=text, hint=hint))

    def gradient(self, name: str, *, text: str = "", hint: str = "") -> Self:
        """Ask for a gradient, before the messages that it sums have come."""
        node = self._number(name)
        if node == self.graph.output or not carrying(self.graph)[node]:
            raise ValueError(f"no message comes to {name}: there is nothing to predict")
        return self._with(Question("gradient", node, text=text, hint=hint))

    def reused(self, name: str, after: tuple[str, ...], *, text: str = "", hint: str = "") -> Self:
        """Ask which upstream terms `name` needs that the targets `after` have computed already."""
        node = self.graph.id(name)
        before = tuple(self.graph.id(target) for target in after)
        return self._with(Question("reused", node, None, before, (*before, node), text, hint))

    def paths(self, name: str, *, text: str = "", hint: str = "") -> Self:
        """Ask along how many paths a value reaches J."""
        return self._with(Question("paths", self.graph.id(name), text=text, hint=hint))

    def about(self, *targets: str) -> Self:
        """Ask for all that the gradients of some values take, in the order of their ledger.

        Every value on their paths first; then for each target what it reuses, and on how many
        paths it reaches J; the local derivatives and gradients that are computed for it, and
        messages where several add up. Default: every leaf that gradients are asked for, from the
        output backwards. What the lesson asks already is not asked again.
        """
        for name in targets:
            self._number(name)
        graph = self.graph
        ledger = reuse(graph, targets)
        ids = tuple(row.node for row in ledger.rows)
        on_paths = {i for row in ledger.rows for i in (*row.computed_nodes, row.node)}
        every = [
            Question("value", i, targets=ids)
            for i in sorted(on_paths)
            if not graph.is_leaf(i) and _is_number(graph.values[i].value)
        ]
        every += self._backward(ids)
        asked = [(q.kind, q.node, q.edge, q.after) for q in self.questions]
        every = [q for q in every if (q.kind, q.node, q.edge, q.after) not in asked]
        if len(every) > MOST:
            raise ValueError(f"these are {len(every)} questions: name fewer targets")
        if not any(_is_number(graph.values[i].value) for i in ids):
            names = ", ".join(row.target for row in ledger.rows)
            raise ValueError(f"{names}: no number. {_ARRAYS}")
        return replace(self, questions=(*self.questions, *every))

    def _backward(self, ids: tuple[int, ...]) -> Iterator[Question]:
        graph, readers = self.graph, carrying(self.graph)
        paths = count_paths(graph, ids)
        known: set[int] = {graph.output}
        for n, row in enumerate(reuse(graph, [graph.names[i] for i in ids]).rows):
            if n and row.reused_nodes:
                yield Question("reused", row.node, None, ids[:n], ids)
            if paths[row.node] > 1:
                yield Question("paths", row.node, targets=ids)
            for u in sorted({*row.computed_nodes, row.node} - known, reverse=True):
                known.add(u)
                numbers = [e for e in readers[u][::-1] if self._has_number(e)]
                for edge in numbers:
                    if edge[0] == graph.output and len(readers[u]) == 1:
                        continue  # the gradient is asked for, which is the same
                    yield Question("local", u, edge, targets=ids)
                    if len(readers[u]) > 1:
                        yield Question("message", u, edge, targets=ids)
                if _is_number(graph.values[u].value):
                    yield Question("gradient", u, targets=ids)

    # --- the answers -------------------------------------------------------------------------

    def answer(self, question: Question) -> float | int | tuple[str, ...]:
        """What is right: a number, or the names of the terms that are reused."""
        graph, i = self.graph, question.node
        match question.kind:
            case "value":
                return float(np.asarray(graph.values[i].value))
            case "gradient":
                return float(np.asarray(graph.derivatives.gradients[i]))
            case "paths":
                return count_paths(graph, [i])[i]
            case "reused":
                return reuse(graph, [graph.names[t] for t in (*question.after, i)]).rows[-1].reused
        assert question.edge is not None
        if question.kind == "message":
            return float(np.asarray(graph.derivatives.messages[question.edge]))
        return float(np.asarray(graph.local(*question.edge)))

    @named(Page)
    def save(self, path: Any, **options: Unpack[Page]) -> None:
        """Write the lesson as a page, see `Graph.save`; with ``paper=True`` as a sheet to print."""
        options["lesson"] = self
        self.whole.save(path, **options)

    def __len__(self) -> int:
        return len(self.questions)

    def __repr__(self) -> str:
        about = self.graph.names[self.graph.output]
        return f'<Lesson: {len(self)} questions about {about}; .save("lesson.html") writes it>'

    # --- what can be asked -------------------------------------------------------------------

    def _with(self, question: Question) -> Self:
        return replace(self, questions=(*self.questions, question))

    def _number(self, name: str) -> int:
        if entry_of(self.graph, name):
            raise ValueError(f"{name} is a number of an array. {_ARRAYS}")
        node = self.graph.id(name)
        if not _is_number(self.graph.values[node].value):
            raise ValueError(f"{name} is no single finite number. {_ARRAYS}")
        return node

    def _edge(self, v: str, u: str, operand: int | None) -> tuple[int, tuple[int, int]]:
        graph = self.graph
        reader, node = graph.id(v), graph.id(u)
        keys = [key for key, i in enumerate(graph.operands[reader]) if i == node]
        found = [(reader, key) for key in keys if operand in (None, key)]
        if not found:
            raise ValueError(f"{v} does not read {u}{'' if operand is None else ' there'}")
        if len(found) > 1:
            raise ValueError(f"{v} reads {u} at the positions {keys}: say operand=")
        if not self._has_number(found[0]):
            raise ValueError(f"∂{v}/∂{u} is no single number: a lesson asks for numbers")
        return node, found[0]

    def _has_number(self, edge: tuple[int, int]) -> bool:
        try:
            sent = self.graph.derivatives.messages.get(edge)
        except TraceError:
            return False
        local = self.graph.local(*edge)
        return sent is not None and _is_number(sent) and local is not None and _is_number(local)


def _is_number(value: Any) -> bool:
    array = np.asarray(value)
    return array.ndim == 0 and array.dtype.kind in "fiu" and bool(np.isfinite(array))
