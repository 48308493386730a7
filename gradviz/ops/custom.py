"""`gradviz.operation`: operations of the user's own, number and notation in one call."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops import functions, notation, table
from gradviz.ops.operation import (
    OPERAND_NAMES,
    Operation,
    Pull,
    elementwise,
    in_formulas,
    linear,
)

Rule = str | Pull | tuple[str, Pull] | None
"""A derivative by one operand: its notation, its number, or both."""


def operation(
    function: Callable[..., Any] | None = None,
    /,
    *,
    local: Rule | Sequence[Rule] = (),
    vjp: Rule | Sequence[Rule] = (),
    formula: str = "",
    name: str = "",
    latex: str = "",
    check: Any = (),
) -> Any:
    r"""Add an operation: what it computes, its derivatives, and how it is written.

    Call it, or use it as a decorator. The function that it returns computes as before; on recorded
    values it is recorded as one operation. A function that dispatches as NumPy's own do (a ufunc
    of some package, say) is returned as it is and gets the rule.

    Formulas are Python in NumPy's notation, in the names of the function's parameters, with ``v``
    for the value and ``g`` for its gradient. They are your own code, and are compiled.

    Parameters
    ----------
    function : callable
        ``function(*operands, **settings)``: the operands come first, as many as there are rules.
    local : str, (str, callable), None, or a list of them
        Of an elementwise operation: the local derivative per operand, as a formula that is both
        notation and number, or as the notation and ``number(v, *operands, **settings)``. None for
        an operand without a derivative.
    vjp : callable, (str, callable), None, or a list of them
        Of any other operation: per operand ``pull(g, v, *operands, **settings)``, the message to
        it; before it the message's notation, such as ``"g @ b.T"``. Written in NumPy, it can be
        differentiated again.
    formula : str, optional
        Default: a call of the name.
    name : str, optional
        Default: the function's own.
    latex : str, optional
        How the name is set in LaTeX, e.g. ``r"\operatorname{softplus}"``.
    check : tuple, optional
        Sample operands: the rules are compared with finite differences there.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        A rule is wrong at `check`, a formula is none, or an operation of gradviz has the name.

    Notes
    -----
    A package adds its operations for every program, without being imported by it, with the entry
    point group ``gradviz.operations``: the module named there is imported when gradviz meets a
    function that it does not know.

    Examples
    --------
    >>> import numpy as np, gradviz as gv
    >>> @gv.operation(local="1 / (1 + exp(-x))", check=(0.3,))
    ... def softplus(x):
    ...     return np.logaddexp(0, x)
    >>> g = gv.trace(lambda w: np.sum(softplus(w)), np.array([-1.0, 1.0]))
    >>> g.grad("w").round(3)
    array([0.269, 0.731])
    >>> print(g.explain("w").factored)
    v̄_1 = ones_like(v_1) = array of shape (2,)
    ∂J/∂w = v̄_1 · (1 / (1 + exp(-w))) = array of shape (2,)

    The derivative of a whole array is a VJP:

    >>> quadratic = gv.operation(
    ...     lambda x, A: x @ A @ x,
    ...     vjp=[("g * (A + A.T) @ x", lambda g, v, x, A: g * ((A + A.T) @ x)),
    ...          ("g * outer(x, x)", lambda g, v, x, A: g * np.outer(x, x))],
    ...     formula="x @ A @ x", name="quadratic", check=(np.ones(2), np.eye(2)))
    >>> gv.trace(quadratic, np.array([1.0, 2.0]), np.eye(2)).grad("x")
    array([2., 4.])
    """
    if function is None:
        return functools.partial(
            operation, local=local, vjp=vjp, formula=formula, name=name, latex=latex, check=check
        )
    name = name or function.__name__
    locals_, vjps = _per_operand(local), _per_operand(vjp)
    if bool(locals_) == bool(vjps):
        raise ValueError(f"{name}: give either local= (of an elementwise operation) or vjp=")
    names = _operands(function, name, len(locals_ or vjps))
    wrapper = _recorded(function, len(names))
    read = functools.partial(_translated, name, names)
    if locals_:
        rules = [_local(read, name, rule) for rule in locals_]
        row = elementwise(function, read(formula), *rules, name=name)
    else:
        row = linear(function, read(formula), *(_vjp(read, name, r) for r in vjps), name=name)
    row.function = wrapper
    for position in range(len(names)):  # compiled now, so that errors come now
        rule = row.rule(position)
        _ = rule and rule.pull
    if check:
        _check(row, names, check)
    table.add(row)
    if latex:
        functions.name_function(name, latex)
    return wrapper


def _per_operand(rules: Rule | Sequence[Rule]) -> list[Rule]:
    if rules and isinstance(rules, tuple) and isinstance(rules[0], str) and callable(rules[-1]):
        return [rules]  # notation and number
    return list(rules) if isinstance(rules, (list, tuple)) else [rules]  # type: ignore[list-item]


def _operands(function: Callable[..., Any], name: str, count: int) -> list[str]:
    """The names of the parameters that are operands; a, b, c where the function names none."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[:count]
    except (TypeError, ValueError):
        return list(OPERAND_NAMES[:count])
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY) for p in parameters):
        raise ValueError(f"{name}: operands are plain parameters, not *args or **kwargs")
    if len(parameters) < count:
        raise ValueError(f"{name} has {len(parameters)} parameters, but there are {count} rules")
    return [p.name for p in parameters]


def _translated(name: str, names: list[str], formula: str, compiled: bool = False) -> str:
    """A formula in the operands' own names as one in a, b, c."""
    if not formula:
        return ""
    try:
        tree = notation.parse(formula)
    except SyntaxError as error:
        raise ValueError(f"{name}: {formula!r} is no formula: {error.msg}") from None
    if taken := {"v", "g"} & set(names):
        raise ValueError(
            f"{name}: in formulas {taken.pop()} is the value v or its gradient g; "
            "call the parameter otherwise"
        )
    symbols = {
        own: notation.name(letter) for own, letter in zip(names, OPERAND_NAMES, strict=False)
    }
    if compiled:
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if unknown := used - set(symbols) - {"v"} - in_formulas():
            raise ValueError(
                f"{name}: {formula!r} has the unknown name {min(unknown)}; known are "
                f"{', '.join(names)}, v and NumPy's elementwise functions; "
                "for any other write (notation, function)"
            )
    return ast.unparse(notation.substitute(tree, symbols))


def _local(read: Callable[..., str], name: str, rule: Rule) -> Any:
    if rule is None:
        return None
    if isinstance(rule, str):
        return read(rule, compiled=True)
    if isinstance(rule, tuple):
        return read(rule[0]), rule[1]
    raise ValueError(f"{name}: local= takes a formula, or (notation, function), not {rule!r}")


def _vjp(read: Callable[..., str], name: str, rule: Rule) -> Any:
    if rule is None:
        return None
    if isinstance(rule, tuple):
        return read(rule[0]), rule[1]
    if callable(rule):
        return lambda position, count, keywords: f"vjp_{name}(g)", rule
    raise ValueError(f"{name}: vjp= takes a function, or (notation, function), not {rule!r}")


def _recorded(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The function, recorded when it is called on recorded values."""
    if isinstance(function, np.ufunc) or hasattr(function, "_implementation"):
        return function  # NumPy's dispatch finds the row
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            protocol = getattr(type(argument), "__array_function__", None)
            if protocol is not None and protocol is not np.ndarray.__array_function__:
                bound = signature.bind(*args, **kwargs)
                settings = dict(bound.arguments)
                bound.apply_defaults()
                names = list(bound.arguments)[:count]
                operands = tuple(bound.arguments[n] for n in names)
                settings = {k: v for k, v in settings.items() if k not in names}
                return protocol(argument, wrapper, (), operands, settings)
        return function(*args, **kwargs)

    return wrapper


def _check(row: Operation, names: Sequence[str], sample: Any) -> None:
    """Compare the rules with finite differences at one point."""
    given = sample if isinstance(sample, tuple) else (sample,)
    operands = [
        np.asarray(a, float)[()] if np.asarray(a).dtype.kind == "f" or k < len(names) else a
        for k, a in enumerate(given)
    ]
    if len(operands) != len(names):
        raise ValueError(f"{row.name}: check= has {len(operands)} operands for {len(names)} rules")
    value = np.asarray(row.evaluate(*operands))[()]
    # Some upstream gradient without symmetries, the same in every run.
    g = np.cos(np.arange(1.0, np.size(value) + 1)).reshape(np.shape(value))[()]
    for position, name in enumerate(names):
        if row.rule(position) is None:
            continue
        try:
            message = row.pull(position, g, value, operands, {})
        except (TraceError, TypeError, AttributeError, NameError) as error:
            raise ValueError(f"{row.name}: the rule of {name} fails: {error}") from error
        expected = _differences(row, operands, position, g)
        wrong = ~np.isclose(message, expected, rtol=1e-6, atol=1e-8, equal_nan=True)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"{row.name}: the rule of {name} is wrong: with g = {np.array2string(g)} its "
                f"message{list(at) or ''} is {np.asarray(message)[at]:.9g}, by finite differences "
                f"{np.asarray(expected)[at]:.9g}"
            )


def _differences(row: Operation, operands: list[Any], position: int, g: Any) -> Any:
    """The message by central differences of fourth order."""
    origin = np.array(operands[position], float)
    result = np.zeros_like(origin)
    for at in np.ndindex(origin.shape):
        width = 1e-3 * max(1.0, abs(float(origin[at])))

        def moved(steps: int, at: Any = at, width: float = width) -> Any:
            changed = origin.copy()
            changed[at] += steps * width
            inputs = [*operands[:position], changed[()], *operands[position + 1 :]]
            return np.sum(g * row.evaluate(*inputs))

        result[at] = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * width)
    return result
