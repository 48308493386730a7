"""From recorded values to a Graph: ids, constants, names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np

from gradviz.graph import Graph
from gradviz.layers import Layers
from gradviz.model import CONSTANT, INPUT, NO_KEYWORDS, PARAMETER, Known, Node, Program
from gradviz.record import names


def build(
    recorded: Iterable[Node],
    output: Node,
    *,
    wrt: Iterable[Node] | None = None,
    named: dict[int, str] | None = None,
    program: Program | None = None,
    title: str = "",
    output_name: str = "J",
    layers: Layers = MappingProxyType({}),
    known: Callable[[Mapping[int, int]], Known] = lambda ids: {},
) -> Graph:
    """A Graph of `recorded` values, which must hold the operands of each.

    Parameters
    ----------
    recorded : iterable of Node
        In the order of recording.
    output : Node
        J.
    wrt : iterable of Node, optional
        The leaves to differentiate by; default: every input and parameter.
    named : dict of int to str, optional
        Names of plain arrays by their `id`: constants that came in as arguments.
    program : Program, optional
    title : str, optional
    output_name : str, optional
        The name of J where the program gives it none.
    layers : mapping, optional
        See `Graph`.
    known : callable, optional
        Gives what the frontend knows of the Graph, from the ids by order of recording.

    Raises
    ------
    KeyError
        The values are not in order, as where the program wrote into one, or an operand is missing.
    """
    # Long: one pass over the recording, in which ids, operands and constants depend on each other.
    values: list[Node] = []
    operands: list[tuple[int, ...]] = []
    ids: dict[int, int] = {}  # by the order of recording
    constants: dict[int, int] = {}  # by the id of a constant array
    named = named or {}
    last = -2
    for node in recorded:
        order = node.order
        if order <= last:
            raise KeyError(order)
        last = order
        found = []
        for o in node.operands:
            if isinstance(o, Node):
                i = ids.get(o.order)
                if i is None:  # it was written to later: it is not among the values until here
                    i = ids[o.before(order).order]
            elif (i := constants.get(id(o))) is None:
                i = len(values)
                made = Node()
                made.value, made.order, made.site = o, -1, None
                made.operands, made.keywords = (), NO_KEYWORDS
                # A constant stands where its first reader stands.
                made.operation, made.scope, made.name = CONSTANT, node.scope, ""
                if isinstance(o, np.ndarray):
                    constants[id(o)] = i
                    if name := named.get(id(o)):
                        made.operation, made.scope, made.name = INPUT, (), name
                values.append(made)
                operands.append(())
            found.append(i)
        ids[order] = len(values)
        values.append(node)
        operands.append(tuple(found))
    result = ids[output.order]
    leaves = [
        ids[node.order]
        for node in (values if wrt is None else wrt)
        if node.order >= 0 and node.operation in (INPUT, PARAMETER)
    ]

    def shown() -> tuple[list[str], frozenset[int]]:
        given = names.given(values)
        arrays = {u for u in constants.values() if not given[u]}
        first: dict[str, int] = {}
        for i, name in enumerate(given if arrays else ()):
            if name:
                first.setdefault(name, i)
        for v, node in enumerate(values if arrays else ()):
            for position, u in enumerate(operands[v]):
                if u in arrays and not given[u]:  # it has the name that it was read by
                    name = names.read(node.site, position)
                    if u < first.get(name, -1):  # h is the first computed: a loop begins with h(0)
                        name = f"{name}(0)"
                        given[u] = "" if name in first else name
                        first[name] = u
                    elif name not in first:
                        given[u] = name
        # Only leaves, and values that the program assigned, have a name of their own.
        given[result] = given[result] or (output_name if output_name not in given else "")
        letters = "".join("c" if node.operation is CONSTANT else "v" for node in values)
        own = [i for i, node in enumerate(values) if node.operation in (INPUT, PARAMETER)]
        unique = names.unique(given, [node.scope for node in values], letters, own)
        return unique, frozenset(i for i, name in enumerate(given) if name)

    return Graph(
        values,
        operands,
        shown,
        result,
        leaves,
        sources=lambda node: names.source(node.site),
        program=program,
        title=title,
        layers=layers,
        known=known(ids),
    )
