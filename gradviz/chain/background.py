"""What stands back in a picture of layers, so that what a reader looks for comes to the front.

Values that no gradient passes through (masks, positions, labels that are shifted), and values that
are another in a new form (views, casts, copies).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradviz.chain.backward import known_derivatives
from gradviz.ops import forms

if TYPE_CHECKING:
    from gradviz.graph import Graph

FORMS = forms.MOVES | forms.CASTS
JOINS = frozenset("cat concat stack".split())


def still(graph: Graph) -> tuple[set[int], set[int]]:
    """The values that no gradient comes to: with none to what they are computed from, and others.

    Leaves are among the former; there are none where there are no gradients at all.
    """
    found: set[int] = set()
    gradients, _ = known_derivatives(graph)
    if graph.output not in gradients:
        return found, set()
    idle = [i for i in range(len(graph)) if i not in gradients]
    for i in idle:
        if found.issuperset(graph.operands[i]):
            found.add(i)
    return found, set(idle) - found


def is_form(graph: Graph, i: int) -> bool:
    """Whether a value is another one (or a part of it) in a new form.

    So is what is joined to nothing: the first of a cache, say.
    """
    name = graph.values[i].operation.name.partition("[")[0]
    if name in JOINS:
        sizes = [_is_empty(graph, u) for u in graph.operands[i]]
        return len(sizes) == 2 and sum(sizes) == 1
    return name in FORMS


def _is_empty(graph: Graph, i: int) -> bool:
    return 0 in getattr(graph.values[i].value, "shape", ())
