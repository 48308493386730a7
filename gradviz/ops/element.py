"""Operations on single numbers that stand for parts of an operation on arrays."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from gradviz.ops import notation
from gradviz.ops.corners import Numbers
from gradviz.ops.operation import Derivative, Operation

Terms = Sequence[Sequence[float]]
"""Per product its coefficient, then the positions of its factors."""


class _SumOfProducts(Operation):
    """A sum of products of its operands, with a coefficient each: `terms` says which."""

    __slots__ = ()

    def rule(self, position: int) -> Derivative | None:
        """The rule of one operand; the others of its products are its slope."""
        return _slope(position)

    def local(
        self, position: int, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """See `Operation.local`."""
        return _factor(position, operands, **keywords)

    def expression(
        self, operands: Sequence[ast.expr], keywords: Mapping[str, Any], formula: str | None = None
    ) -> ast.expr:
        """The sum, written out."""
        return _written(keywords["terms"], operands)

    def derivative(
        self,
        position: int,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr | None:
        """The other factors of the products that the operand is in."""
        return _written(_without(position, keywords["terms"]), operands)

    def message(
        self,
        position: int,
        upstream: ast.expr,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr:
        """The upstream term times these."""
        rest = _written(_without(position, keywords["terms"]), operands)
        return notation.product(upstream, rest)


def _value(*operands: Any, terms: Terms) -> Any:
    total: Any = None
    for coefficient, *factors in terms:
        product: Any = None
        for position in factors:
            factor = operands[int(position)]
            product = factor if product is None else product * factor
        if product is None:
            product = np.ones_like(operands[0])[()]
        product = product if coefficient == 1 else product * coefficient
        total = product if total is None else total + product
    return np.zeros_like(operands[0])[()] if total is None else total


def _without(position: int, terms: Terms) -> list[list[float]]:
    """The derivative's terms, by the product rule: one for each place that the operand has."""
    found = []
    for coefficient, *factors in terms:
        for n, factor in enumerate(factors):
            if factor == position:
                found.append([coefficient, *factors[:n], *factors[n + 1 :]])
    return found


def _factor(position: int, operands: Sequence[Any], terms: Terms) -> Any:
    return _value(*operands, terms=_without(position, terms))


def _pull(position: int, g: Any, v: Any, *operands: Any, terms: Terms) -> Any:
    return g * _factor(position, operands, terms)


@cache
def _slope(position: int) -> Derivative:
    return Derivative(
        partial(_pull, position),
        "",
        lambda v, *operands, terms: _factor(position, operands, terms),
    )


def _written(terms: Terms, operands: Sequence[ast.expr]) -> ast.expr:
    return notation.added(
        [
            notation.product(_coefficient(coefficient), *(operands[int(at)] for at in factors))
            for coefficient, *factors in terms
        ]
    )


def _coefficient(value: float) -> ast.expr:
    """A number for reading: 1/6 for 0.166666667."""
    if value == round(value):
        return notation.number(round(value))
    below = round(1 / value) if abs(value) > 1e-6 else 0
    if below and abs(below * value - 1) < 1e-6:
        fraction = ast.BinOp(ast.Constant(1), ast.Div(), ast.Constant(abs(below)))
        return ast.UnaryOp(ast.USub(), fraction) if below < 0 else fraction
    return notation.number(float(format(value, ".6g")))


def _terms(_: Operation, operands: Any, keywords: Any, value: Any) -> dict[str, Any]:
    return {"terms": [[float(term[0]), *map(int, term[1:])] for term in keywords["terms"]]}


SUM_OF_PRODUCTS = _SumOfProducts(
    "sum_of_products",
    _value,
    "",
    (Derivative(_pull, "", number="g * slope(all, terms, position)"),),
    variadic=True,
    number="products(all, terms)",
    settings=_terms,
)


class Given(NamedTuple):
    """An array that an operation reads, in parts.

    Attributes
    ----------
    array : array
        What it was; the numbers that are not read stay.
    places : sequence of int
        Which of its numbers are read, by their place in the flat array.
    """

    array: Any
    places: Sequence[int]


class Element(Operation):
    """One number of what an operation on arrays computes, or all of it from single numbers.

    Attributes
    ----------
    whole : Operation
    index : int or None
        Its place in the flat array; None for all of it.
    layout : tuple of Given or None
        Per operand of `whole`: the numbers of an array, which stand one after the other among the
        operands, or None for one that is read as it is.
    named : sequence of str
        What the operands of `whole` are called.
    """

    __slots__ = ("at", "index", "layout", "named", "places", "seen", "slopes", "whole")

    def __init__(
        self,
        whole: Operation,
        index: int | None,
        shape: tuple[int, ...],
        layout: tuple[Given | None, ...],
        carries: Sequence[bool],
        named: Sequence[str],
    ) -> None:
        self.whole, self.index, self.layout, self.named = whole, index, layout, named
        self.at = None if index is None else tuple(map(int, np.unravel_index(index, shape)))
        self.places: list[tuple[int, int | None]] = []  # per operand: of which, and where in it
        for key, given in enumerate(layout):
            self.places += [(key, None)] if given is None else [(key, j) for j in given.places]
        self.seen: tuple[Any, ...] | None = None
        self.slopes: list[Any] = []
        called = "".join(c if c.isalnum() else "_" for c in whole.name)
        rule = Derivative(lambda *_: None, f"vjp_{called}(g)")
        rules = tuple(rule if carries[key] else None for key, _ in self.places)
        none = whole.derivatives is None
        super().__init__(whole.name, self._evaluate, "", None if none else rules)
        pulls = [rule and partial(self._pull, n) for n, rule in enumerate(rules)]
        self.pulls = None if none else tuple(pulls)

    def assembled(self, operands: Sequence[Any]) -> list[Any]:
        """The operands of `whole`."""
        found, at = [], 0
        for given in self.layout:
            if given is None:
                found.append(operands[at])
                at += 1
                continue
            array = np.array(given.array, order="C")
            array.reshape(-1)[list(given.places)] = operands[at : at + len(given.places)]
            found.append(array[()])
            at += len(given.places)
        return found

    def _evaluate(self, *operands: Any, **keywords: Any) -> Any:
        value = self.whole.evaluate(*self.assembled(operands), **keywords)
        return value if self.index is None else np.ravel(value)[self.index]

    def _pull(self, position: int, g: Any, v: Any, *operands: Any, **keywords: Any) -> Any:
        key, place = self.places[position]
        if self.index is None:
            message = self._message(key, g, v, self.assembled(operands), keywords)
            return message if place is None else np.ravel(message)[place]
        known = self.seen
        if known is None or not all(a is b for a, b in zip(known, operands, strict=True)):
            self.learn(operands, keywords)
        return g * self.slopes[position]

    def learn(
        self,
        operands: Sequence[Any],
        keywords: Mapping[str, Any],
        rows: Mapping[int, Any] | None = None,
    ) -> None:
        """Compute the local derivatives; `rows` has them, by operand of `whole`, where known."""
        if rows is None:
            full = self.assembled(operands)
            value = self.whole.evaluate(*full, **keywords)
            unit = np.zeros(np.shape(value), np.asarray(value).dtype)
            unit.reshape(-1)[self.index] = 1
            carried = {key for n, (key, _) in enumerate(self.places) if self.rule(n)}
            rows = {key: self._message(key, unit[()], value, full, keywords) for key in carried}
        self.slopes = [
            0.0 if key not in rows else rows[key] if j is None else np.ravel(rows[key])[j]
            for key, j in self.places
        ]
        self.seen = tuple(operands)

    def _message(
        self, key: int, g: Any, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        return self.whole.pull(key, g, v, operands, keywords)

    def expression(
        self, operands: Sequence[ast.expr], keywords: Mapping[str, Any], formula: str | None = None
    ) -> ast.expr:
        """The formula of the whole array, and which of its numbers this is."""
        whole = self.whole.expression([*map(notation.name, self.named)], keywords)
        if not self.at:
            return whole
        index: ast.expr = ast.Constant(self.at[0])
        if len(self.at) > 1:
            index = ast.Tuple([ast.Constant(i) for i in self.at], ast.Load())
        return ast.Subscript(whole, index, ast.Load())

    def derivative(
        self,
        position: int,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr | None:
        """None: only its number is known."""
        return None

    def message(
        self,
        position: int,
        upstream: ast.expr,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr:
        """The upstream term times the slope; of an array, the sum of such products."""
        slope = notation.derivative(_said(value), _said(operands[position]))
        if self.index is None:
            return ast.Call(notation.name("inner"), [upstream, slope], [])
        return notation.product(upstream, slope)


def _said(tree: ast.expr) -> str:
    return tree.id if isinstance(tree, ast.Name) else f"({notation.text(tree)})"
