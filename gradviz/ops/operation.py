"""What an operation is: its NumPy function, its derivative rules, and the notation of both.

The names in a rule: ``a, b, c`` are the operands, ``v`` is the value that the operation returned,
``g`` is the gradient of v (the upstream term); keywords go by their own names.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradviz.ops import notation

Pull = Callable[..., Any]
OPERAND_NAMES = "abcdefhijklmnopq"  # without g


@dataclass(frozen=True, slots=True)
class Derivative:
    """The rule for one operand.

    Attributes
    ----------
    pull : callable
        ``pull(g, v, *operands, **keywords)``: the message to this operand (its VJP), of the shape
        that g has after broadcasting; summing it to the operand's shape is left to the caller.
    formula : str
        The local derivative in the notation of `gradviz.ops.notation` (elementwise operations), or
        the message in terms of ``g`` (linear maps).
    local : callable or None
        ``local(v, *operands, **keywords)``: the elementwise local derivative; None for a linear map
        that only its VJP can apply.
    """

    pull: Pull
    formula: str
    local: Pull | None = None


class Operation:
    """One row of the table of operations.

    Attributes
    ----------
    name : str
        Its name in the picture and in the graph.
    evaluate : callable
        ``evaluate(*operands, **keywords)`` returns the value again.
    formula : str
        The operation in the notation of `gradviz.ops.notation`.
    derivatives : tuple of Derivative or None
        A rule per operand, None for one that has no derivative (an index, a mask); None
        altogether where the operation has no rule. A `variadic` operation has one rule, which
        takes the operand's position as its first argument.
    """

    __slots__ = ("derivatives", "evaluate", "formula", "name", "pulls", "variadic")

    def __init__(
        self,
        name: str,
        evaluate: Callable[..., Any],
        formula: str = "",
        derivatives: tuple[Derivative | None, ...] | None = (),
        *,
        variadic: bool = False,
    ) -> None:
        self.name = name
        self.evaluate = evaluate
        self.formula = formula
        self.derivatives = derivatives
        self.variadic = variadic
        self.pulls = tuple(d.pull if d else None for d in derivatives or ())

    def __repr__(self) -> str:
        return f"<Operation {self.name}>"

    def rule(self, position: int) -> Derivative | None:
        """The derivative rule of the operand at `position`, or None."""
        if not self.derivatives:
            return None
        if self.variadic:
            return self.derivatives[0]
        return self.derivatives[position] if position < len(self.derivatives) else None

    def pull(
        self, position: int, g: Any, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """The message to one operand, summed down to the operand's own shape."""
        if self.variadic:
            message = self.pulls[0](position, g, v, *operands, **keywords)  # type: ignore[misc]
        else:
            message = self.pulls[position](g, v, *operands, **keywords)  # type: ignore[misc]
        shape = np.shape(operands[position])
        return message if np.shape(message) == shape else fit(message, shape)

    def local(
        self, position: int, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """The elementwise local derivative (shape of `v`), or None for a linear map."""
        rule = self.rule(position)
        if rule is None or rule.local is None:
            return None
        return rule.local(v, *operands, **keywords)

    def expression(
        self, operands: Sequence[ast.expr], keywords: Mapping[str, Any], formula: str | None = None
    ) -> ast.expr:
        """The operation (or `formula` instead of its own) with the operands' formulas put in."""
        formula = self.formula if formula is None else formula
        if not formula or self.variadic:
            arguments = [ast.keyword(k, _literal(v)) for k, v in keywords.items()]
            return ast.Call(notation.name(self.name), list(operands), arguments)
        replacements = dict(zip(OPERAND_NAMES, operands, strict=False))
        replacements |= {k: _literal(v) for k, v in keywords.items()}
        return notation.substitute(notation.parse(formula), replacements)

    def derivative(
        self,
        position: int,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
    ) -> ast.expr | None:
        """The formula of the elementwise local derivative, None for a linear map."""
        rule = self.rule(position)
        if rule is None or rule.local is None:
            return None
        return self._filled(rule.formula, {"v": value}, operands, keywords)

    def message(
        self,
        position: int,
        upstream: ast.expr,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
    ) -> ast.expr:
        """The formula of the message to one operand, in terms of the upstream term's formula."""
        rule = self.rule(position)
        if rule is None:
            return ast.Call(notation.name(f"vjp_{self.name}"), [upstream], [])
        filled = self._filled(rule.formula, {"v": value, "g": upstream}, operands, keywords)
        if rule.local is None:
            return filled
        return notation.product(upstream, filled)

    def _filled(
        self,
        formula: str,
        symbols: dict[str, ast.expr],
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
    ) -> ast.expr:
        replacements = dict(zip(OPERAND_NAMES, operands, strict=False)) | symbols
        replacements |= {k: _literal(v) for k, v in keywords.items()}
        return notation.substitute(notation.parse(formula), replacements)


def _literal(value: Any) -> ast.expr:
    """A keyword's value in a formula; a long one only by its type."""
    if isinstance(value, (int, float, str, bool, type(None))):
        return notation.number(value) if type(value) in (int, float) else ast.Constant(value)
    written = repr(value) if not isinstance(value, np.ndarray) or value.size <= 4 else "array"
    if isinstance(value, type):
        written = value.__name__
    written = written.replace("slice(None, None, None)", ":")
    return notation.name(written if len(written) <= 24 else type(value).__name__)


def fit(message: Any, shape: tuple[int, ...]) -> Any:
    """Sum a message over the axes along which its operand was broadcast."""
    extra = np.ndim(message) - len(shape)
    if extra > 0:
        message = np.sum(message, axis=tuple(range(extra)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and np.shape(message)[i] != 1)
    if stretched:
        message = np.sum(message, axis=stretched, keepdims=True)
    if np.shape(message) != shape:  # a message that is the same for all elements
        message = message * np.ones(shape)
    return message


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return np.where(condition, yes, no)


_NAMESPACE: dict[str, Any] = {
    n: getattr(np, n)
    for n in (
        "exp log log2 log10 log1p expm1 exp2 sqrt cbrt square sin cos tan sinh cosh tanh arcsin "
        "arccos arctan abs sign maximum minimum heaviside pi e"
    ).split()
} | {"where": _where}


def _compile(signature: str, formula: str) -> Pull:
    # The formulas are the rows of our own table, never input.
    function: Pull = eval(f"lambda {signature}, **_: {formula}", dict(_NAMESPACE))
    return function


def elementwise(
    function: Callable[..., Any], formula: str, *locals_: str | tuple[str, Pull], name: str = ""
) -> Operation:
    """A row for an elementwise operation.

    Parameters
    ----------
    function : callable
        The NumPy function.
    formula : str
        The operation, e.g. ``"a * b"``.
    *locals_ : str or (str, callable)
        The local derivative per operand, e.g. ``"b", "a"``: both its notation and its number.
        Where the number needs more care than the notation shows, the pair of the notation and
        ``local(v, *operands)``.
    name : str, optional
        Default: the function's own name.
    """
    operands = ", ".join(OPERAND_NAMES[: len(locals_)])
    rules = []
    for entry in locals_:
        written, number = entry if isinstance(entry, tuple) else (entry, None)
        if number is not None:
            pull = _times(number)
            local = number
        elif written in ("1", "-1"):
            pull = _compile(f"g, v, {operands}", "g" if written == "1" else "-g")
            local = _compile(f"v, {operands}", written)
        else:
            pull = _compile(f"g, v, {operands}", f"g * ({written})")
            local = _compile(f"v, {operands}", written)
        rules.append(Derivative(pull, written, local))
    return Operation(name or function.__name__, function, formula, tuple(rules))


def _times(number: Pull) -> Pull:
    return lambda g, v, *operands, **keywords: g * number(v, *operands, **keywords)


def linear(
    function: Callable[..., Any],
    formula: str,
    *vjps: tuple[str, Pull] | None,
    name: str = "",
    variadic: bool = False,
) -> Operation:
    """A row for an operation whose derivative is a linear map.

    Parameters
    ----------
    function : callable
        The NumPy function, or a function of ours that evaluates the operation.
    formula : str
        The operation, e.g. ``"a @ b"``.
    *vjps : (str, callable) or None
        Per operand the notation of the message, e.g. ``"g @ b.T"``, and the VJP
        ``pull(g, v, *operands, **keywords)``; None for an operand without a derivative.
    variadic : bool, optional
        One VJP serves any number of operands: it takes the operand's position first.
    """
    rules = tuple(Derivative(entry[1], entry[0]) if entry else None for entry in vjps)
    return Operation(name or function.__name__, function, formula, rules, variadic=variadic)
