"""Objects of micrograd's shape, drawn: `data`, `grad`, `_prev`, `_op`, and maybe a `label`.

Nothing is computed again: values and gradients are those that the objects hold. `_prev` is a set,
so the order of operands and the second x of x * x are lost; an operation is only trusted where the
operands' numbers give its value, and else its edges have no local derivative.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.graph import Graph
from gradviz.highlight import Highlight
from gradviz.model import INPUT, Gradients, Node
from gradviz.ops.operation import Operation, elementwise
from gradviz.ops.table import lookup
from gradviz.record import names

if TYPE_CHECKING:
    from gradviz.show.drawing import Drawing

_ATTRIBUTES = ("data", "grad", "_prev", "_op")
_CLOSE = 1e-9
"""The relative error within which numbers count as giving a value: formulas differ in rounding."""

_SIGMOID = elementwise(lambda a: 1 / (1 + np.exp(-a)), "sigmoid(a)", "v * (1 - v)", name="sigmoid")
_RELU = elementwise(
    lambda a: np.maximum(a, 0.0), "relu(a)", ("a > 0", lambda v, a, **_: (a > 0) * 1.0), name="relu"
)
_POWER = elementwise(  # m is k - 1
    lambda a, k, m: a**k,
    "a ** k",
    ("k * a ** m", lambda v, a, k, m: k * a**m if k else 0.0 * a),
    name="power",
)
_ROWS: dict[str, Operation] = {
    "+": lookup(np.add),
    "-": lookup(np.subtract),
    "*": lookup(np.multiply),
    "/": lookup(np.divide),
    "relu": _RELU,
    "sigmoid": _SIGMOID,
    **{name: lookup(getattr(np, name)) for name in ("exp", "log", "tanh", "sin", "cos", "sqrt")},
}


def draw_dot(root: Any, format: str = "svg", rankdir: str = "LR") -> Drawing:
    """Draw a value of micrograd, or of any class of its shape, and all that it depends on.

    Parameters
    ----------
    root : object
        Has `data` (a number), `grad`, `_prev` (its operands) and `_op` (``"+"``, ``"*"``,
        ``"**2"``, ``"ReLU"``, ``"tanh"``, ``"exp"`` ...), and maybe a `label`; so have its
        operands.
    format : str, optional
        What `Drawing.render` writes: svg, png, pdf, dot, tex or txt.
    rankdir : {"LR", "TB"}, optional
        Left to right, or top to bottom.

    Returns
    -------
    Drawing
        Gradients are "not computed" where every `grad` is 0 or None, as before `backward()`. One
        that is not the sum of its messages is crossed: `grad` was not 0 before `backward()`, say.

    Raises
    ------
    TypeError
        An object lacks an attribute, or its `data` is no number.
    ValueError
        An object depends on itself.

    Examples
    --------
    >>> import gradviz as gv
    >>> from micrograd.engine import Value
    >>> x = Value(3.0)
    >>> y = x * x
    >>> y.backward()
    >>> gv.draw_dot(y)
    <Drawing: 2 boxes, 2 arrows>
    """
    graph = read(root)
    wrong = _not_summed(graph)
    drawing = graph.draw(
        detail="operations",
        direction=rankdir,
        highlight=Highlight(marks=dict.fromkeys(wrong, False), title=_title(graph, wrong)),
    )
    drawing.format = format
    return drawing


def read(root: Any) -> Graph:
    """A Graph of the objects that `root` depends on, with the gradients that they hold."""
    objects = _ordered(root)
    ids = {id(value): i for i, value in enumerate(objects)}
    nodes: list[Node] = []
    edges: list[tuple[int, ...]] = []
    for i, value in enumerate(objects):
        operation, operands, keywords = _operation(value)
        label = str(getattr(value, "label", "") or "")
        data = _number(value, "data")
        nodes.append(Node.new(data, operation, keywords=keywords, order=i, name=label))
        edges.append(tuple(ids[id(operand)] for operand in operands))

    def shown() -> tuple[list[str], frozenset[int]]:
        given = [node.name for node in nodes]
        if not given[-1] and "J" not in given and np.all(gradients.get(len(nodes) - 1, 1) == 1):
            given[-1] = "J"
        unique = names.unique(given, [node.scope for node in nodes], "v" * len(nodes))
        return unique, frozenset(i for i, name in enumerate(given) if name)

    gradients: dict[int, Any] = {}
    if any(value.grad is not None and np.any(value.grad) for value in objects):
        gradients = {i: _number(value, "grad") for i, value in enumerate(objects)}
    leaves = [i for i, operands in enumerate(edges) if gradients and not operands]
    found = Gradients(gradients, _messages(nodes, edges, gradients))
    return Graph(nodes, edges, shown, len(nodes) - 1, leaves, known={"derivatives": found})


def _messages(
    nodes: Sequence[Node], edges: Sequence[tuple[int, ...]], gradients: Mapping[int, Any]
) -> dict[tuple[int, int], Any]:
    """Upstream gradient times local derivative, where that is known."""
    messages = {}
    with np.errstate(all="ignore"):
        for v, gradient in gradients.items():
            node, operands = nodes[v], [nodes[u].value for u in edges[v]]
            for key in range(len(operands)):
                if node.operation.rule(key) is not None:
                    messages[v, key] = node.operation.pull(
                        key, gradient, node.value, operands, node.keywords
                    )
    return messages


def _not_summed(graph: Graph) -> list[int]:
    """The values whose gradient is not the sum of its messages, as far as all are known."""
    messages = graph.derivatives.messages
    wrong = []
    for u, gradient in graph.derivatives.gradients.items():
        if graph.readers[u] and all(edge in messages for edge in graph.readers[u]):
            received = [messages[edge] for edge in graph.readers[u]]
            slack = 1e-6 * sum(map(np.abs, received))
            with np.errstate(all="ignore"):
                if np.any(np.abs(sum(received) - gradient) > slack):
                    wrong.append(u)
    return wrong


def _title(graph: Graph, wrong: list[int]) -> str:
    """What a reader must know about the gradients; usually nothing."""
    name, seed = graph.names[-1], graph.derivatives.gradients.get(graph.output, 1.0)
    if np.any(seed != 1):
        return f"These gradients are of another value than {name}, whose own is {seed:.4g}, not 1"
    if wrong:
        return "A crossed gradient is not the sum of its messages: was grad 0 before backward()?"
    return ""


def _ordered(root: Any) -> list[Any]:
    """`root` and all that it depends on, operands before what reads them; without recursion."""
    found: dict[int, Any] = {}
    open_: set[int] = set()
    pending = [(root, False)]
    while pending:
        value, done = pending.pop()
        if done:
            open_.remove(id(value))
            found[id(value)] = value
        elif id(value) in open_:
            raise ValueError(f"{_described(value)} depends on itself through _prev")
        elif id(value) not in found:
            open_.add(id(value))
            pending.append((value, True))
            pending += [(o, False) for o in reversed(_operands(value)) if id(o) not in found]
    return list(found.values())


def _operands(value: Any) -> list[Any]:
    """A value's operands; those of a set in an order that does not depend on addresses."""
    missing = [name for name in _ATTRIBUTES if not hasattr(value, name)]
    if missing:
        raise TypeError(
            f"draw_dot draws objects with {', '.join(_ATTRIBUTES)}, as micrograd's Value has; "
            f"{type(value).__name__} lacks {', '.join(missing)}"
        )
    try:
        operands = list(value._prev)
    except TypeError:
        raise TypeError(f"_prev of {_described(value)} is no collection of operands") from None
    if isinstance(value._prev, (set, frozenset)):
        operands.sort(key=lambda o: tuple(str(getattr(o, n, "")) for n in ("label", "_op", "data")))
    return operands


def _number(value: Any, attribute: str) -> Any:
    number = np.asarray(getattr(value, attribute))
    if number.dtype.kind not in "fiub":
        raise TypeError(f"{attribute} of {_described(value)} is no number: {number[()]!r}")
    return number[()] * 1.0


def _described(value: Any) -> str:
    label = getattr(value, "label", "")
    return f"a {type(value).__name__}" + (f" ({label})" if label else "")


def _operation(value: Any) -> tuple[Operation, Sequence[Any], dict[str, Any]]:
    """The operation that made a value, its operands with what `_prev` lost, and its settings."""
    operands = _operands(value)
    label = str(value._op)
    if not operands:
        return INPUT, (), {}
    row, keywords = _ROWS.get(label.lower()), {}
    power = re.fullmatch(r"\*\*\s*\(?(-?[\d.]+(?:e[-+]?\d+)?)\)?", label)
    if power:
        exponent = int(power[1]) if re.fullmatch(r"-?\d+", power[1]) else float(power[1])
        row, keywords = _POWER, {"k": exponent, "m": exponent - 1}
    if row is None:
        return Operation(label or "?", _unknown, derivatives=None), operands, {}
    count = len(row.derivatives or ())
    data = _number(value, "data")
    proved = [
        candidate
        for candidate in _candidates(value._prev, operands, count)
        if _gives(row, [_number(o, "data") for o in candidate], keywords, data)
    ]
    either_order = label in ("+", "*")
    if proved and (len(proved) == 1 or either_order):
        return row, proved[0], keywords
    in_order = either_order or count == 1 or not isinstance(value._prev, (set, frozenset))
    formula = row.formula if in_order and len(operands) == count else ""
    return Operation(row.name, _unknown, formula, None), operands, keywords


def _candidates(prev: Any, operands: list[Any], count: int) -> list[Sequence[Any]]:
    """The operand lists that `_prev` may stand for."""
    if not isinstance(prev, (set, frozenset)):
        return [operands] if len(operands) == count else []
    if len(operands) == count:
        return list(itertools.permutations(operands))
    return [operands * count] if len(operands) == 1 else []


def _gives(row: Operation, operands: list[Any], keywords: dict[str, Any], data: Any) -> bool:
    with np.errstate(all="ignore"):
        again = row.evaluate(*operands, **keywords)
    close = np.isclose(again, data, rtol=_CLOSE, atol=0.0, equal_nan=True)
    return np.shape(again) == np.shape(data) and bool(np.all(close))


def _unknown(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("how this value was computed is not known")
