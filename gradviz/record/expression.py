"""A Graph from a formula in text: parsed, checked node by node, and never evaluated as Python."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz.graph import Graph
from gradviz.record.array import Array
from gradviz.record.leaves import parameter
from gradviz.record.tape import tape
from gradviz.record.trace import graph
from gradviz.words import nearest

MAX_LENGTH = 10_000


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name)
    for name in (
        "exp log log2 log10 log1p expm1 sqrt cbrt square abs sin cos tan arcsin arccos arctan sinh "
        "cosh tanh arcsinh arccosh arctanh maximum minimum arctan2 hypot logaddexp sum mean max "
        "min prod dot matmul where clip"
    ).split()
} | {
    "ln": np.log,
    "sigmoid": _sigmoid,
    "relu": lambda x: np.maximum(x, 0.0),
    "softplus": lambda x: np.log(1 + np.exp(x)),
}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.MatMult: lambda a, b: a @ b,
}


def expression(text: str, /, **values: Any) -> Graph:
    """Record a formula.

    Parameters
    ----------
    text : str
        Arithmetic in Python's notation with the functions of NumPy that a textbook uses, and
        sigmoid, relu, softplus; ``^`` is not a power, write ``**``. Steps may be named:
        ``"z = w*x + b; a = sigmoid(z); (a - 1)**2"``.
    **values : array_like
        The value of every variable.

    Returns
    -------
    Graph

    Raises
    ------
    ValueError
        The text is no such formula, or a variable has no value or is not used.

    Examples
    --------
    >>> import gradviz as gv
    >>> g = gv.expression("(x + y) * z", x=-2, y=5, z=-4)
    >>> float(g.grad("x"))
    -4.0
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the formula has {len(text)} characters; {MAX_LENGTH} are allowed")
    try:
        body = ast.parse(text.strip(), "<formula>").body
    except (SyntaxError, ValueError) as error:
        at = (
            f" at character {error.offset}"
            if isinstance(error, SyntaxError) and error.offset
            else ""
        )
        raise ValueError(f"not a formula{at}: {text!r} ({error.args[0]})") from None
    except (RecursionError, MemoryError):
        raise ValueError("the formula is nested too deeply") from None
    reader = _Reader(text, values)
    try:
        with tape() as recorded:
            output = reader.program(body)
    except RecursionError:
        raise ValueError("the formula is nested too deeply") from None
    for node in recorded:
        node.site = None  # the formula names its values, not the line that called us
    if unused := set(values) - reader.used:
        raise ValueError(f"the formula {text!r} does not use {', '.join(sorted(unused))}")
    if not isinstance(output, Array):
        raise ValueError(f"the formula {text!r} has no variable")
    return graph(output, title=text if len(text) <= 60 else "")


class _Reader:
    def __init__(self, text: str, values: dict[str, Any]) -> None:
        self.text = text
        self.values = values
        self.used: set[str] = set()
        self.known: dict[str, Any] = {}

    def refuse(self, node: ast.AST, why: str) -> ValueError:
        part = ast.get_source_segment(self.text.strip(), node) or self.text
        shown = self.text if len(self.text) <= 200 else f"{self.text[:200]}..."
        return ValueError(f"in the formula {shown!r}: {part[:100]!r}: {why}")

    def program(self, body: list[ast.stmt]) -> Any:
        output: Any = None
        for statement in body:
            if isinstance(statement, ast.Expr):
                output = self.at(statement.value)
            elif (
                isinstance(statement, ast.Assign)
                and len(statement.targets) == 1
                and isinstance(statement.targets[0], ast.Name)
            ):
                name = statement.targets[0].id
                if name in self.values or name in self.known:
                    raise self.refuse(statement, f"{name} has a value already")
                output = self.at(statement.value)
                if isinstance(output, Array) and not output.name:
                    output.name = name
                self.known[name] = output
            else:
                raise self.refuse(statement, "only formulas and 'name = formula' are allowed")
        if output is None:
            raise ValueError("the formula is empty")
        return output

    def at(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return float(str(node.value))
        if isinstance(node, ast.Name):
            return self.variable(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            operand = self.at(node.operand)
            return -operand if isinstance(node.op, ast.USub) else operand
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            left, right = self.at(node.left), self.at(node.right)
            if not isinstance(left, Array) and not isinstance(right, Array):
                left = np.float64(left)  # 1/0 is inf and 9**9**9 too, as in NumPy
            with np.errstate(all="ignore"):
                return _OPERATORS[type(node.op)](left, right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            raise self.refuse(node, "write a power as **")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            function = _FUNCTIONS.get(node.func.id)
            if function is None:
                near = nearest(node.func.id, sorted(_FUNCTIONS), len(_FUNCTIONS))
                raise self.refuse(node, f"no such function; there are {near}")
            arguments = [self.at(argument) for argument in node.args]
            try:
                with np.errstate(all="ignore"):
                    return function(*arguments)
            except TypeError as error:
                raise self.refuse(node, str(error)) from None
        raise self.refuse(node, "only numbers, variables, + - * / ** @ and functions are allowed")

    def variable(self, node: ast.Name) -> Any:
        name = node.id
        if name not in self.known:
            if name not in self.values:
                given = ", ".join(sorted(self.values)) or "none"
                raise self.refuse(node, f"the variable {name} has no value (given: {given})")
            self.used.add(name)
            self.known[name] = parameter(self.values[name], name)
        return self.known[name]
