"""What an operation is: its NumPy function, its derivative rules, and the notation of both.

The names in a rule: ``a, b, c`` are the operands, ``v`` is the value that the operation returned,
``g`` is the gradient of v (the upstream term); keywords go by their own names.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops import functions, notation
from gradviz.ops.corners import CORNERED, STRICT, Numbers, fuller, strict
from gradviz.ops.hazards import Hazards

Pull = Callable[..., Any]
Formula = str | Callable[..., str]
Settings = Callable[..., dict[str, Any]]
OPERAND_NAMES = "abcdefhijklmnopq"  # without g


class Derivative:
    """The rule for one operand.

    Attributes
    ----------
    pull : callable
        ``pull(g, v, *operands, **keywords)``: the message to this operand (its VJP), of the shape
        that g has after broadcasting; summing it to the operand's shape is left to the caller.
    formula : str or callable
        The local derivative in the notation of `gradviz.ops.notation` (elementwise operations), or
        the message in terms of ``g`` (linear maps). Where it depends on keywords such as an axis,
        ``formula(position, number of operands, keywords)`` returns it.
    local : callable or None
        ``local(v, *operands, **keywords)``: the elementwise local derivative; None for a linear map
        that only its VJP can apply.
    number : str
        The local derivative's number as a formula, for programs that leave Python (see
        `gradviz.web.program`), or the message's, in terms of ``g``; "" where there is none.
    """

    __slots__ = ("compiled", "formula", "local", "number", "pull")

    compiled: tuple[str, str]  # the number's formula and the operands' names

    def __init__(
        self, pull: Pull, formula: Formula, local: Pull | None = None, number: str = ""
    ) -> None:
        self.pull, self.formula, self.local, self.number = pull, formula, local, number

    @classmethod
    def elementwise(cls, formula: str, number: str, operands: int) -> Derivative:
        """A rule whose local derivative is `number`; both callables are compiled on first use."""
        rule = cls.__new__(cls)
        rule.formula, rule.number = formula, number
        rule.compiled = number, ", ".join(OPERAND_NAMES[:operands])
        return rule

    def __getattr__(self, attribute: str) -> Any:  # a slot that is still empty
        if attribute not in ("pull", "local"):
            raise AttributeError(attribute)
        number, operands = self.compiled
        message = {"0": "zeros_like(v)[()]", "1": "g", "-1": "-g"}.get(number, f"g * ({number})")
        self.pull = _compile(f"g, v, {operands}", message)
        self.local = _compile(f"v, {operands}", "zeros_like(v)[()]" if number == "0" else number)
        return getattr(self, attribute)


@functools.cache
def unwritten(name: str) -> Derivative:
    """The rule of a linear map that a library applies, and that no formula is known of."""
    called = re.sub(r"\W", "_", name.rstrip("]"))
    return Derivative(lambda *_: None, f"vjp_{called}(g)")


class _Variadic:
    """The rule of a variadic operation at each position."""

    def __init__(self, rule: Pull) -> None:
        self.rule = rule
        self.made: dict[int, Pull] = {}

    def __getitem__(self, position: int) -> Pull:
        made = self.made.get(position)
        if made is None:
            made = self.made[position] = functools.partial(self.rule, position)
        return made


class Operation:
    """One row of the table of operations.

    Attributes
    ----------
    name : str
        Its name in the picture and in the graph.
    evaluate : callable
        ``evaluate(*operands, **keywords)`` returns the value again.
    formula : str or callable
        The operation in the notation of `gradviz.ops.notation`; ``formula(number of operands,
        keywords)`` where it depends on them. "" is a call of `name`.
    function : callable
        The NumPy function that this is the row of.
    derivatives : tuple of Derivative or None
        A rule per operand, None for one that has no derivative (an index, a mask); None
        altogether where the operation has no rule. A `variadic` operation has one rule, which
        takes the operand's position as its first argument.
    number : str
        The value's number as a formula, for programs that leave Python (see
        `gradviz.web.program`), where `formula` is exact in mathematics only: ``log(1 + a)`` is not
        what log1p computes.
    settings : callable or None
        What these formulas name besides operands, as ``axis``: ``settings(operation, operands,
        keywords, value)`` returns them, or raises a TraceError that names the keyword that they
        do not cover. None where they name nothing, and no keyword is covered.
    hazards : tuple of Hazard
        What makes it not finite (`gradviz.ops.hazards`).
    blocks : callable or None
        Of a row that puts its operands side by side: ``blocks(*operands, **keywords)`` says where
        each stands in the value. All messages are then cut from g at once, see `block`.
    taken : callable or None
        Of a row that takes a part of its operand: ``taken(**keywords)`` is the index of the part,
        or None where something may be taken twice. The message is g there, and 0 elsewhere.
    pulls : sequence of callable or None
        By operand ``pull(g, v, *operands, **keywords)``; see `pull`, which fits what it returns.
    """

    __slots__ = (
        "blocks", "derivatives", "evaluate", "formula", "function", "hazards", "name", "number",
        "pulls", "settings", "taken", "variadic",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        evaluate: Callable[..., Any],
        formula: Formula = "",
        derivatives: tuple[Derivative | None, ...] | None = (),
        *,
        variadic: bool = False,
        function: Callable[..., Any] | None = None,
        number: str = "",
        settings: Settings | None = None,
        hazards: Hazards = (),
        latex: str = "",
    ) -> None:
        self.name, self.settings = name, settings
        self.number, self.hazards = number, hazards
        if latex:
            functions.LATEX[name] = latex
        self.evaluate = evaluate
        self.function = function or evaluate
        self.formula = formula
        self.derivatives = derivatives
        self.variadic = variadic
        self.blocks: Callable[..., list[Any]] | None = None
        self.taken: Callable[..., Any] | None = None

    def __getattr__(self, attribute: str) -> Any:  # rules are compiled when a message is wanted
        if attribute != "pulls":
            raise AttributeError(attribute)
        rules = self.derivatives
        if rules is not None and self.variadic:
            self.pulls: Any = _Variadic(rules[0].pull)  # type: ignore[union-attr]
        else:
            self.pulls = rules and tuple(rule and rule.pull for rule in rules)
        return self.pulls

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
        """The message to one operand: of the operand's own shape and dtype.

        Raises
        ------
        TraceError
            The rule does not cover this form of the operation.
        """
        message = self.pulls[position](g, v, *operands, **keywords)
        operand = operands[position]
        if type(message) is type(operand) is np.float64:  # what programs on scalars consist of
            return message
        return fit(message, operand, self.name)

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
        own = self.formula if formula is None else formula
        written = own if isinstance(own, str) else own(len(operands), keywords)
        if not written:
            tree: ast.expr = ast.Call(notation.name(self.name), list(operands), [])
        else:
            tree = self._filled(written, {}, operands, keywords)
        if isinstance(tree, ast.Call) and not tree.keywords:  # sum(a, axis=0)
            unsaid = {k: v for k, v in keywords.items() if not re.search(rf"\b{k}\b", written)}
            settings = [
                ast.keyword(k, literal(v))
                for k, v in unsaid.items()
                if k not in _SILENT and v is not None and v is not False
            ]
            tree = ast.Call(tree.func, tree.args, settings)
        return tree

    def derivative(
        self,
        position: int,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr | None:
        """The formula of the elementwise local derivative, None for a linear map.

        `at`: the value and the operands, where it is to hold at these numbers too.
        """
        rule = self.rule(position)
        if rule is None or rule.local is None:
            return None
        written = self._at(str(rule.formula), keywords, at)
        return self._filled(written, {"v": value}, operands, keywords)

    own_rule = ""
    """What gives it a derivative rule of the program's own: jax.custom_vjp, say."""

    @property
    def cornered(self) -> bool:
        """Whether a formula of its slope may not hold where its operands are moved."""
        return self.name.rstrip("_") in CORNERED

    def stops(self, unbounded: Callable[[], bool]) -> bool:
        """Whether it sends 0 of a gradient that is not finite (see `corners`)."""
        return self.name.rstrip("_") in STRICT and unbounded()

    def _at(self, written: str, keywords: Mapping[str, Any], at: Numbers | None) -> str:
        """A formula that holds at these numbers."""
        return (fuller(self.name.rstrip("_"), written, at, keywords) if at else "") or written

    def _strict(self, written: str, at: Numbers | None) -> str:
        """The message by its formula or the slope's, where it is no product; else ""."""
        return strict(self.name.rstrip("_"), written) if at and at.strict else ""

    def message(
        self,
        position: int,
        upstream: ast.expr,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr:
        """The formula of the message to one operand, in terms of the upstream term's formula."""
        rule = self.rule(position)
        if rule is None:
            return ast.Call(notation.name(f"vjp_{self.name}"), [upstream], [])
        formula = rule.formula
        written = (
            formula if isinstance(formula, str) else formula(position, len(operands), keywords)
        )
        written = self._at(written, keywords, at)
        symbols = {"v": value, "g": upstream}
        if at and "where" not in keywords:  # how many a mean is of, in rows of reductions
            symbols["n"] = notation.number(np.size(at.operands[0]) // max(np.size(at.value), 1))
        stopped = self._strict(written, at)
        filled = self._filled(stopped or written, symbols, operands, keywords)
        if rule.local is None or stopped:
            return filled
        return notation.product(upstream, filled)

    def _filled(
        self,
        formula: str,
        symbols: dict[str, ast.expr],
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
    ) -> ast.expr:
        replacements = _CONSTANTS | {k: literal(v) for k, v in keywords.items()}
        replacements |= dict(zip(OPERAND_NAMES, operands, strict=False)) | symbols
        return notation.substitute(notation.parse(formula), replacements)


class Part(Operation):
    """One of the results of an operation that returns several; the others' gradients are zero."""

    __slots__ = ("index", "whole")

    def __init__(self, whole: Operation, index: int) -> None:
        self.whole, self.index = whole, index
        rules = (Derivative(self._pull, "g"),) if whole.derivatives else None
        super().__init__(f"{whole.name}[{index}]", self._evaluate, "", rules, variadic=True)

    def _evaluate(self, *operands: Any, **keywords: Any) -> Any:
        return self.whole.evaluate(*operands, **keywords)[self.index]

    def _pull(self, position: int, g: Any, v: Any, *operands: Any, **keywords: Any) -> Any:
        parts = self.whole.evaluate(*operands, **keywords)
        upstream = tuple(
            g if k == self.index else np.zeros_like(part) for k, part in enumerate(parts)
        )
        return self.whole.pulls[position](upstream, parts, *operands, **keywords)


# The constants in formulas, apart from variables called pi and e.
_CONSTANTS: dict[str, ast.expr] = {"pi": notation.name("π"), "e": notation.parse("exp(1)")}
_SILENT = frozenset(("optimize", "dtype", "order", "casting", "mode", "kind", "stable", "subok"))


def literal(value: Any) -> ast.expr:
    """A keyword's value in a formula; a long one only by its type."""
    if type(value) in (int, float):
        return notation.number(value)
    if isinstance(value, (str, bool, type(None))):
        return ast.Constant(value)
    if isinstance(value, tuple) and len(value) <= 6:
        parts = [literal(part) for part in value]
        return ast.Tuple(parts, ast.Load())
    if isinstance(value, slice):
        ends = [
            None if end is None else literal(end) for end in (value.start, value.stop, value.step)
        ]
        return ast.Slice(*ends)  # stands where an index does
    if isinstance(value, np.ndarray) and value.dtype == bool:
        return notation.name("mask")
    if isinstance(value, (list, np.ndarray)) and np.size(value) <= 4 and np.ndim(value) <= 1:
        return notation.parse(repr(np.asarray(value).tolist()))
    if isinstance(value, np.generic):
        return literal(value.item())
    if value is Ellipsis:
        return ast.Constant(value)
    if isinstance(value, np.ndarray):
        return notation.name("indices")
    written = getattr(value, "__name__", "") or str(value)
    return notation.name(written if len(written) <= 24 else type(value).__name__)


def computes_otherwise(kind: type) -> bool:
    """Whether arrays of a class have rules of computing of their own: masks, units, an index."""
    found = _otherwise.get(kind)
    if found is None:
        if issubclass(kind, np.ndarray):
            found = kind not in (np.ndarray, np.memmap)
        else:
            found = hasattr(kind, "__array_ufunc__") and not hasattr(kind, "operands")  # ours
        _otherwise[kind] = found
    return found


_otherwise: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


_SINGLE = frozenset((float, int, np.float64, np.float32))


def refuse_more_than_arrays(value: Any, what: str) -> None:
    """Raise where an array is more than its numbers, since the rest would be lost in silence.

    Raises
    ------
    TypeError
        It says what to pass instead.
    """
    kind = type(value)
    if kind in _SINGLE or (kind is np.ndarray and value.dtype.kind in "fciub"):
        return
    if kind is list or kind is tuple:
        for part in value:
            if type(part) is not float:
                refuse_more_than_arrays(part, what)
        return
    if isinstance(value, np.ma.MaskedArray):
        instead = "pass x.filled(0.0), and the mask as an array of its own for np.where"
    elif isinstance(value, np.matrix):
        instead = "pass np.asarray(x), and write @ for the product of matrices"
    elif isinstance(value, np.ndarray) and value.dtype.fields:
        if not any(part[0].base.kind in "fcV" for part in value.dtype.fields.values()):
            return
        instead = "pass its fields as arrays of their own: np.array(x['field'])"
    elif isinstance(value, np.ndarray) and value.dtype.kind == "O":
        if not any(isinstance(part, _NUMBERS) for part in value.flat):
            return
        instead = "pass np.array(x.tolist(), dtype=float), or a list of arrays"
    elif computes_otherwise(kind):
        instead = "pass np.asarray(x), if its numbers alone are meant"
        if not isinstance(value, np.ndarray):
            instead = "pass its numbers" + (": x.to_numpy()" if hasattr(kind, "to_numpy") else "")
        elif value.dtype.kind in "SUT":
            return
    else:
        return
    named = f"{kind.__module__}.{kind.__qualname__}" if kind is not np.ndarray else "an array"
    raise TypeError(
        f"{what}: {named} of dtype {getattr(value, 'dtype', '?')} is more than an array of "
        f"numbers, and what is more would be lost; {instead}"
    )


_NUMBERS = (float, complex, np.inexact, np.ndarray)


def fit(message: Any, operand: Any, name: str = "") -> Any:
    """Bring a message to its operand's shape, by summing what was broadcast, and to its dtype.

    Raises
    ------
    TraceError
        A rule returned what cannot be this operand's gradient.
    """
    shape = np.shape(operand)
    sent = np.shape(message)
    if sent != shape:
        extra = len(sent) - len(shape)
        total = np.add.reduce if type(message) is np.ndarray else np.sum
        if extra > 0:
            message = total(message, axis=tuple(range(extra)))
            sent = sent[extra:]
        if sent != shape and extra >= 0:
            stretched = tuple([i for i, n in enumerate(shape) if n == 1 != sent[i]])
            if stretched:
                message = total(message, axis=stretched, keepdims=True)
        if np.shape(message) != shape:
            raise TraceError(
                f"the rule of {name} returned a gradient of shape {np.shape(message)} "
                f"for an operand of shape {shape}"
            )
    dtype = getattr(operand, "dtype", None)
    if dtype is not None and message.dtype != dtype:
        if message.dtype.kind == "c" and dtype.kind != "c":
            message = np.real(message)  # a real operand moves along the real axis only
        if dtype.kind in "fc":
            message = message.astype(dtype)
    return message[()] if type(message) is np.ndarray and not message.ndim else message


_NAMESPACE: dict[str, Any] = {
    name: getattr(np, name)
    for name in (
        "exp log log2 log10 log1p expm1 exp2 sqrt cbrt square sin cos tan sinh cosh tanh arcsin "
        "arccos arctan abs sign maximum minimum heaviside floor trunc copysign isnan isfinite "
        "where zeros_like"
    ).split()
} | {"pi": math.pi, "e": math.e}


def in_formulas() -> frozenset[str]:
    """The names that a compiled formula may use besides its operands and the value."""
    return frozenset(_NAMESPACE)


def _compile(signature: str, formula: str) -> Pull:
    # Logarithms of numbers become Python floats, which leave float32 as it is. The formulas are
    # the rows of our own table, never input.
    formula = re.sub(r"log\((\d+)\)", lambda match: repr(math.log(int(match[1]))), formula)
    names = signature.replace(" ", "").split(",")
    # Where a program put plain numbers the formula is Python's arithmetic, which raises what NumPy
    # makes infinite: 1 / 0.0.
    found: dict[str, Any] = {}
    exec(
        f"def rule({signature}, **_):\n"
        f" try: return {formula}\n"
        f" except (ZeroDivisionError, OverflowError):\n"
        f"  {', '.join(names)}, = as_numpy(v, {', '.join(names)})\n"
        f"  return {formula}",
        _NAMESPACE | {"as_numpy": _as_numpy},
        found,
    )
    function: Pull = found["rule"]
    return function


PYTHONS = (int, float, complex, bool)
"""Python's own numbers. (A recorded scalar answers to isinstance as the number it stands for.)"""


def _as_numpy(v: Any, *numbers: Any) -> list[Any]:
    """Plain Python numbers as NumPy's, of the precision of the value `v`."""
    return [v.dtype.type(n) if type(n) in PYTHONS else n for n in numbers]


def elementwise(
    function: Callable[..., Any],
    formula: str,
    *locals_: str | tuple[str, str | Pull] | tuple[str, Pull, str] | None,
    name: str = "",
    **about: Any,
) -> Operation:
    """A row for an elementwise operation.

    Parameters
    ----------
    function : callable
        The NumPy function.
    formula : str
        The operation, e.g. ``"a * b"``.
    *locals_ : str or (str, str or callable) or (str, callable, str) or None
        The local derivative per operand, e.g. ``"b", "a"``: both its notation and its number.
        Where the number needs more care than the notation shows (at a kink, at zero), the pair of
        the notation and the number's formula or ``local(v, *operands)``; after the latter the
        number's formula may follow, so that the operation can be computed outside Python too.
        None for an operand without a derivative.
    name : str, optional
        Default: the function's own name.
    **about
        ``number``, ``settings``, ``hazards`` and ``latex``: see `Operation`; the last is how the
        name is set.
    """
    rules: list[Derivative | None] = []
    for entry in locals_:
        written, number = entry[:2] if isinstance(entry, tuple) else (entry, entry)
        if written is None or number is None:
            rules.append(None)
        elif isinstance(number, str):
            rules.append(Derivative.elementwise(written, number, len(locals_)))
        else:
            said = entry[2] if isinstance(entry, tuple) and len(entry) == 3 else ""
            rules.append(Derivative(_times(number), written, number, said))
    return Operation(name or function.__name__, function, formula, tuple(rules), **about)


def _times(number: Pull) -> Pull:
    return lambda g, v, *operands, **keywords: g * number(v, *operands, **keywords)


def block(g: Any, index: Any, operand: Any) -> Any:
    """The message to an operand that stands at `index` in the value."""
    message = g[index]
    return message if np.ndim(message) == np.ndim(operand) else np.reshape(message, operand.shape)


def assembled(
    function: Callable[..., Any], blocks: Callable[..., list[Any]], **about: Any
) -> Operation:
    """A row for a function that puts a sequence of arrays side by side (see `Operation.blocks`)."""

    def part(k: int, g: Any, v: Any, *operands: Any, **keywords: Any) -> Any:
        return block(g, blocks(*operands, **keywords)[k], operands[k])

    vjp = (lambda k, n, kw: f"block(g, {k})", part, "scatter(g, all, source, position)")
    row = linear(function, "", vjp, variadic=True, **about)
    row.blocks = blocks
    return row


def linear(
    function: Callable[..., Any],
    formula: Formula,
    *vjps: tuple[Formula, Pull] | tuple[Formula, Pull, str] | None,
    name: str = "",
    variadic: bool = False,
    **about: Any,
) -> Operation:
    """A row for an operation whose derivative is a linear map.

    Parameters
    ----------
    function : callable
        The NumPy function; its first parameters are the operands.
    formula : str or callable
        The operation, e.g. ``"a @ b"``.
    *vjps : (str or callable, callable) or (str or callable, callable, str) or None
        Per operand the notation of the message, e.g. ``"g @ b.T"``, and the VJP
        ``pull(g, v, *operands, **keywords)``; then the message's number as a formula, where it can
        be computed outside Python too. None for an operand without a derivative.
    variadic : bool, optional
        The function takes a sequence of operands, and one VJP serves them all: it takes the
        operand's position first.
    **about
        As for `elementwise`.
    """

    def spread(*operands: Any, **keywords: Any) -> Any:
        return function(operands, **keywords)

    rules = tuple(Derivative(e[1], e[0], number="".join(e[2:])) if e else None for e in vjps)
    return Operation(
        name or function.__name__,
        spread if variadic else function,
        formula,
        rules,
        variadic=variadic,
        function=function,
        **about,
    )
