"""Which write to a tensor it is that a gradient cannot be computed after, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch.autograd.function import BackwardCFunction

from gradviz.model import Node
from gradviz.record import names
from gradviz.record.torch.calls import VIEWS, WRITES
from gradviz.record.torch.nodes import TensorNode


def overwritten(recorded: Sequence[TensorNode]) -> str:
    """Which value a gradient needs that has been written to since, and where; "" if unknown.

    Asked of autograd: what was saved and then changed cannot be looked at.
    """
    for node in reversed(recorded):
        pending, seen = [node.edge[0]] if node.edge is not None else [], set()
        while pending:
            function = pending.pop()
            seen.add(function)
            if (saved := _changed(function)) is not None:
                return _who_wrote(recorded, node, saved)
            for index, (following, _) in enumerate(function.next_functions):
                inside = following is not None and (function, index) not in node.crossings
                if inside and following not in seen:
                    pending.append(following)
    return ""


def suspected(recorded: Sequence[TensorNode], error: Exception) -> str:
    """The last call that may have written to a tensor as PyTorch's error tells of; "" if none.

    What a write to a view has saved, autograd keeps where nobody can look at it.
    """
    told = re.search(r"\[[\w.]+ \[([\d, ]*)\]\]", str(error))
    if told is None:
        return ""
    shape = tuple(map(int, filter(None, told[1].split(", "))))
    alike = [n for n in recorded if n.operands and tuple(getattr(n.value, "shape", ())) == shape]
    node = next(filter(_writes, reversed(alike)), None)
    last = node or (alike[-1] if alike else None)
    if last is None or (place := names.source(last.site)) is None:
        return ""
    how = _INSTEAD if node else "leave inplace=True out there, or in the layer before"
    return (
        f"a gradient needs a tensor of shape {shape} as it was, which was written to since; the "
        f"last call that may have done so is {last.operation.name} at {place}; {how}"
    )


_INSTEAD = "make a new tensor there (h = h + 1 instead of h += 1), or write to a clone()"


def _writes(node: TensorNode) -> bool:
    return node.operation.name.endswith("_") or node.operation.name in WRITES


def _who_wrote(recorded: Sequence[TensorNode], node: TensorNode, result: bool) -> str:
    """Name the write to the result of a call, or to what it has read, that came after it."""
    write = _write_to(recorded, node, result)
    if write is None and (write := _write_to(recorded, node, not result)) is not None:
        result = not result
    place = names.source(node.site)
    kind = node.operation.name
    needs = f"{kind} at {place}" if place else kind
    what = "its result" if result else "what it has read"
    told = f"the gradient of {needs} needs {what} as it was"
    place = names.source(write.site) if write is not None else None
    if place is None:
        return f"{told}, which was written to since"
    return f"{told}, which {place} has written to since; {_INSTEAD}"


def _write_to(recorded: Sequence[TensorNode], node: TensorNode, result: bool) -> TensorNode | None:
    """The first write to the result of a call, or to what it has read, that came after it."""
    family = [o for o in node.operands if isinstance(o, TensorNode)]
    if result:  # or another one of the same call
        edge = node.edge
        family = [n for n in recorded if n.edge and edge and n.edge[0] is edge[0]]
    for value in family:
        if value.operation.name in VIEWS:  # a write to its base is one to it
            family += [o for o in value.operands if isinstance(o, TensorNode)]
    orders = {value.order for value in family}
    for later in recorded[node.order + 1 :]:
        if not orders.isdisjoint(o.order for o in later.operands if isinstance(o, Node)):
            if later.operation.name in VIEWS:
                orders.add(later.order)
            elif _writes(later):
                return later
    return None


def _changed(function: Any) -> bool | None:
    """Whether it is the result that a node saved and that was written to; None: nothing was."""
    for name in dir(function):
        if name.startswith("_saved_"):
            try:
                getattr(function, name)
            except RuntimeError as error:
                if "modified by an inplace operation" in str(error):
                    return name in ("_saved_result", "_saved_output")
    if isinstance(function, BackwardCFunction):
        try:
            function.saved_tensors  # noqa: B018 - it is looked at
        except RuntimeError as error:
            return False if "modified by an inplace operation" in str(error) else None
    return None
