"""The computation at the level of names: each named value with the unnamed steps that lead to it.

``a = 1 / (1 + np.exp(-z))`` is recorded as four operations; here it is one value, a, with one edge
from z, whose local derivative is the product along the steps.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.backward import ByEdge, ByValue
from gradviz.errors import TraceError
from gradviz.model import CONSTANT, Gradients, Known, Node
from gradviz.ops import notation
from gradviz.ops.corners import Numbers
from gradviz.ops.idioms import recognize
from gradviz.ops.operation import Derivative, Operation
from gradviz.statistics import Statistics

if TYPE_CHECKING:
    from gradviz.graph import Graph


def summarize(graph: Graph) -> Summary | None:
    """See `Graph.statements`; None where no intermediate value has a name.

    Also where arrays were not kept: the messages of several steps cannot be summed then.
    """
    if graph.by_operations or any(isinstance(node.value, Statistics) for node in graph.values):
        return None
    if all(graph.is_leaf(i) or i == graph.output for i in graph.named):
        return None
    group = _groups(graph)
    kept_ids = [i for i, owner in enumerate(group) if i == owner]
    new_id = {old: new for new, old in enumerate(kept_ids)}
    members = _members(group)
    values: list[Node] = []
    operands: list[tuple[int, ...]] = []
    for old in kept_ids:
        node, inside = graph.values[old], members[old]
        outside = list(
            dict.fromkeys([u for i in inside for u in graph.operands[i] if group[u] != old])
        )
        if len(inside) == 1 and len(outside) == len(graph.operands[old]):
            values.append(node)
            operands.append(tuple([new_id[u] for u in outside]))
            continue
        operands.append(tuple([new_id[u] for u in outside]))
        steps = tuple([i for i in inside if not graph.is_leaf(i)])
        values.append(
            Node.new(
                node.value,
                Statement(graph, steps, tuple(outside)),
                order=node.order,
                scope=node.scope,
                name=node.name,
                site=node.site,
            )
        )
    return Summary(graph, group, values, operands)


def _members(group: list[int]) -> dict[int, list[int]]:
    """By kept value its steps, the numbers among them included."""
    members: dict[int, list[int]] = {i: [] for i, owner in enumerate(group) if i == owner}
    for i, kept in enumerate(group):
        members[kept].append(i)
    return members


@dataclass(frozen=True, eq=False)
class Summary:
    """A Graph by its named values: what each of them stands for in the `whole`.

    Attributes
    ----------
    whole : Graph
    group : list of int
        By id in the whole the named value that it is part of.
    values, operands : list
        See `gradviz.model.Recording`.
    """

    whole: Graph
    group: list[int]
    values: list[Node]
    operands: list[tuple[int, ...]]

    @cached_property
    def kept(self) -> list[int]:
        """The ids in the whole of the values that are shown."""
        return [i for i, owner in enumerate(self.group) if i == owner]

    @cached_property
    def new_id(self) -> dict[int, int]:
        """By id in the whole, the id of a value that is shown."""
        return {old: new for new, old in enumerate(self.kept)}

    @property
    def members(self) -> dict[int, list[int]]:
        """By kept value (its id in the whole) its steps, the numbers among them included."""
        return _members(self.group)

    def graph(self, kind: type[Graph]) -> Graph:
        """The Graph of them."""
        whole = self.whole
        return kind(
            self.values,
            self.operands,
            self.naming,
            self.new_id[whole.output],
            [self.new_id[i] for i in whole.wrt],
            sources=whole._source,
            program=whole.program,
            title=whole.title,
            layers=whole.layers,
            known=self.known(),
        )

    def naming(self) -> tuple[list[str], frozenset[int]]:
        """The names by id, and the ids whose name the program gave."""
        whole = self.whole
        named = frozenset(self.new_id[i] for i in whole.named if i in self.new_id)
        return [whole.names[i] for i in self.kept], named

    def known(self) -> Known:
        """What the whole knows, by the new ids."""
        whole = self.whole
        hooks = self.told(whole.changed_by_hooks)
        known: Known = {"origin": self, "by_operations": True, "changed_by_hooks": hooks}
        if whole.statement_locals is not None:
            known["locals"] = {
                (v, key): whole.statement_locals.get((self.kept[v], self.kept[u]))
                for v, edges in enumerate(self.operands)
                for key, u in enumerate(edges)
            }
        return known

    def told(self, of_whole: Mapping[int, str]) -> dict[int, str]:
        """What is told of values of the whole, of the values that they are steps of."""
        found: dict[int, str] = {}
        for i, told in of_whole.items():
            v = self.new_id[self.group[i]]
            found[v] = f"{found[v]}, {told}" if v in found else told
        return found

    @property
    def derivatives(self) -> Gradients:
        """Those of the whole; a message is the sum of the messages of its steps."""
        found, inner = self.whole.derivatives
        gradients, messages = ByValue(len(self.values)), ByEdge(self.operands)
        for new, old in enumerate(self.kept):
            gradients.found[new] = found.get(old)
        with np.errstate(all="ignore"):  # infinities may meet
            for step, edges in enumerate(self.whole.operands):
                for position, inside in enumerate(edges):
                    u = self.new_id.get(inside)
                    if u is None:  # passed on inside a statement
                        continue
                    message = inner.get((step, position))
                    if message is None:
                        continue
                    v = self.new_id[self.group[step]]
                    single = not isinstance(self.values[v].operation, Statement)
                    key = position if single else self.operands[v].index(u)
                    messages.add((v, key), message)
        return Gradients(gradients, messages)

    @property
    def underflown(self) -> frozenset[int]:
        """See `Graph.underflown`."""
        return frozenset(self.new_id[i] for i in self.whole.underflown if i in self.new_id)


LONGEST = 100
"""A formula of more steps is broken up: values shared in it would make it grow like 2^depth."""


def _groups(graph: Graph) -> list[int]:
    """Per id the named value that it is a step of: itself, where it is shown.

    An unnamed value is a step of the value that all its readers belong to; one that serves several
    is shown, since its gradient is an upstream term that they share.
    """
    group = _owners(graph, graph.named)
    steps: list[int] = []  # in the formula of each value, written out
    broken: set[int] = set()
    for i, operands in enumerate(graph.operands):
        owner, count = group[i], 1
        for u in operands:
            if group[u] == owner and u not in broken:
                count += steps[u]
        if count > LONGEST and owner != i:
            broken.add(i)
        steps.append(count)
    return _owners(graph, graph.named | broken) if broken else group


def _owners(graph: Graph, shown: frozenset[int]) -> list[int]:
    group = list(range(len(graph)))
    several = len(graph)
    reader = [-1] * len(graph)  # the value that all readers so far belong to, or `several`
    for i in range(len(graph) - 1, -1, -1):
        owner = reader[i]
        if 0 <= owner < several and i != graph.output:
            node = graph.values[i]
            if node.operation is not CONSTANT:
                step = i not in shown and not graph.is_leaf(i)
            elif isinstance(node.value, float) or np.ndim(node.value) == 0:
                step = i not in shown
            else:
                step = graph.literal(i) is not None
            if step:
                group[i] = owner
        owner = group[i]
        for u in graph.operands[i]:
            reader[u] = owner if reader[u] in (-1, owner) else several
    return group


class Statement(Operation):
    """Several recorded operations as one: what a named value computes from the shown ones."""

    __slots__ = ("graph", "outside", "steps")

    def __init__(self, graph: Graph, steps: tuple[int, ...], outside: tuple[int, ...]) -> None:
        self.name = graph.values[steps[-1]].operation.name
        self.formula, self.variadic, self.blocks = "", False, None
        self.graph = graph
        self.steps = steps
        self.outside = outside

    def __getattr__(self, attribute: str) -> Any:  # a slot that is still empty: most stay so
        if attribute == "derivatives":
            self.derivatives = found = tuple([self._rule(u) for u in self.outside])
            return found
        if attribute in ("evaluate", "function"):
            return self._evaluate  # (not kept: it would hold this very operation)
        return super().__getattr__(attribute)

    @property
    def cornered(self) -> bool:
        """See `Operation.cornered`."""
        return any(self.graph.values[step].operation.cornered for step in self.steps)

    def stops(self, unbounded: Callable[[], bool]) -> bool:
        """See `Operation.stops`."""
        return any(map(self.graph.stops, self.steps))

    def _carriers(self, outside: int) -> set[int]:
        return _carriers(self.graph, self.steps, outside)

    def _rule(self, outside: int) -> Derivative | None:
        """The VJP to an operand; None where no edge with a rule leads on to the value."""
        passed = self.steps[-1] in self._carriers(outside)
        return Derivative(partial(_pull, self.graph, self.steps, outside), "") if passed else None

    def _evaluate(self, *operands: Any, **_: Any) -> Any:
        results = dict(zip(self.outside, operands, strict=True))
        for v in self.steps:
            node = self.graph.values[v]
            inputs = [results.get(u, self.graph.values[u].value) for u in self.graph.operands[v]]
            results[v] = node.operation.evaluate(*inputs, **node.keywords)
        return results[self.steps[-1]]

    def local(
        self, position: int, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """The elementwise derivative along the steps; None where a step is a linear map."""
        target = self.outside[position]
        shape = np.shape(v)
        carriers = self._carriers(target)
        partial: dict[int, Any] = {self.steps[-1]: np.ones_like(v)[()]}
        for step in reversed(self.steps):
            if step not in partial or step not in carriers:
                continue
            operation = self.graph.values[step].operation
            if operation.derivatives is None:
                return None
            for key, u in enumerate(self.graph.operands[step]):
                if u not in carriers or operation.rule(key) is None:
                    continue
                local = self.graph.local(step, key)
                if local is None or np.shape(self.graph.values[u].value) != shape:
                    return None
                message = partial[step] * local
                partial[u] = partial[u] + message if u in partial else message
        return partial.get(target)

    def _expressions(
        self, operands: Sequence[ast.expr], value: ast.expr | None = None
    ) -> dict[int, ast.expr]:
        """The formula of every step in terms of the operands' formulas."""
        found = dict(zip(self.outside, operands, strict=True))
        for v in self.steps:
            node = self.graph.values[v]
            inputs = [found.get(u) or self.graph.symbol(u) for u in self.graph.operands[v]]
            tree = node.operation.expression(inputs, node.keywords)
            known = recognize(tree)
            found[v] = known[0] if known else tree
        if value is not None:
            found[self.steps[-1]] = value
        return found

    def expression(
        self,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        formula: str | None = None,
    ) -> ast.expr:
        """The whole formula, with well-known forms under their names."""
        return self._expressions(operands)[self.steps[-1]]

    def derivative(
        self,
        position: int,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr | None:
        """The formula of the derivative along the steps: a sum over the paths through them."""
        return self._backward(position, ast.Constant(1), value, operands, True, at)

    def message(
        self,
        position: int,
        upstream: ast.expr,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr:
        """The formula of the VJP through the steps."""
        found = self._backward(position, upstream, value, operands, False, at)
        return found if found is not None else ast.Constant(0)

    def _backward(
        self,
        position: int,
        upstream: ast.expr,
        value: ast.expr,
        operands: Sequence[ast.expr],
        elementwise: bool,
        at: Numbers | None,
    ) -> ast.expr | None:
        target = self.outside[position]
        known = self._known(position, value, operands)
        if known is not None:
            return notation.product(upstream, known)
        found = self._expressions(operands, value)
        carriers = self._carriers(target)
        shape = np.shape(self.graph.values[self.steps[-1]].value)
        terms: dict[int, list[ast.expr]] = {self.steps[-1]: [upstream]}
        for step in reversed(self.steps):
            if step not in terms or step not in carriers:
                continue
            node = self.graph.values[step]
            above = notation.total(terms[step])
            inputs = [found.get(u) or self.graph.symbol(u) for u in self.graph.operands[step]]
            numbers = self.graph.numbers(step, at is not None and at.everywhere)
            for key, u in enumerate(self.graph.operands[step]):
                if u not in carriers or node.operation.rule(key) is None:
                    continue
                if elementwise:
                    if self.graph.stops(step) or np.shape(self.graph.values[u].value) != shape:
                        return None
                    local = node.operation.derivative(
                        key, found[step], inputs, node.keywords, numbers
                    )
                    if local is None:
                        return None
                    term = notation.product(above, local)
                else:
                    term = node.operation.message(
                        key, above, found[step], inputs, node.keywords, numbers
                    )
                    term = self.graph.summed(step, key, term)
                terms.setdefault(u, []).append(term)
        return notation.total(terms[target]) if target in terms else None

    def _known(
        self, position: int, value: ast.expr, operands: Sequence[ast.expr]
    ) -> ast.expr | None:
        """The textbook's derivative, where the whole is a well-known form of one operand."""
        found = dict(zip(self.outside, operands, strict=True))
        for v in self.steps:
            node = self.graph.values[v]
            inputs = [found.get(u) or self.graph.symbol(u) for u in self.graph.operands[v]]
            found[v] = node.operation.expression(inputs, node.keywords)
        known = recognize(found[self.steps[-1]])
        if known is None or notation.text(known[1]) != notation.text(operands[position]):
            return None
        replacements = {"v": value, "a": operands[position]}
        return notation.substitute(notation.parse(known[2]), replacements)


def _carriers(graph: Graph, steps: Sequence[int], outside: int) -> set[int]:
    """The steps that a gradient passes on its way to an operand."""
    carries = {outside}
    for v in steps:
        operation = graph.values[v].operation
        for key, u in enumerate(graph.operands[v]):
            if u in carries and (operation.rule(key) or operation.derivatives is None):
                carries.add(v)
    return carries


def _pull(
    graph: Graph, steps: Sequence[int], target: int, g: Any, v: Any, *operands: Any, **_: Any
) -> Any:
    """The messages to one operand from all the steps that read it, summed."""
    carriers = _carriers(graph, steps, target)
    gradients: dict[int, Any] = {steps[-1]: g}
    for step in reversed(steps):
        if step not in gradients or step not in carriers:
            continue
        node = graph.values[step]
        if node.operation.derivatives is None:
            raise TraceError(f"no derivative rule for {node.operation.name}")
        inputs = graph.operand_values(step)
        for key, u in enumerate(graph.operands[step]):
            if u in carriers and node.operation.rule(key) is not None:
                message = node.operation.pull(
                    key, gradients[step], node.value, inputs, node.keywords
                )
                gradients[u] = gradients[u] + message if u in gradients else message
    return gradients[target]
