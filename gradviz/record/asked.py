"""What the program asks of recorded values in plain numbers is noted, see `gradviz.ops.looks`."""

from __future__ import annotations

from types import FrameType
from typing import Any

import numpy as np

from gradviz.model import Node
from gradviz.ops.looks import Id, look, wanted
from gradviz.record.held import Held
from gradviz.record.names import site, user_frame
from gradviz.record.snapshots import snapshot
from gradviz.record.tape import next_order

STATIC = frozenset(
    getattr(np, name)
    for name in (
        "shape ndim size zeros_like ones_like empty_like result_type can_cast common_type "
        "iscomplexobj isrealobj isscalar iterable isfortran shares_memory may_share_memory "
        "einsum_path array_repr array_str array2string save savez savez_compressed savetxt"
    ).split()
)
"""Functions whose answer does not depend on the numbers, or does not come back."""


def asked(name: str, operands: Any, answer: Any, keywords: Any, frame: FrameType | None) -> None:
    """Note that a function was asked for plain numbers."""
    if not wanted():
        return
    user = user_frame(frame)
    kept = tuple(map(_as_now, operands))
    look(name, kept, answer, keywords, order=next_order(), site=user and site(user))


def _as_now(operand: Any) -> Any:
    """What the program may write into later, as it is."""
    if isinstance(operand, Held) and not hasattr(operand, "operands"):  # a buffer
        return np.array(operand.value)
    return snapshot(operand) if type(operand) is np.ndarray else operand


def by_ids(looks: list[Any], ids: Any) -> tuple[Any, ...]:
    """The looks with the ids of recorded operands, by order of recording; -1 for unknown ones."""
    if not looks:
        return ()

    def at(operand: Any, order: int) -> Any:
        if not isinstance(operand, Node):
            return operand
        if 0 <= order <= operand.order:
            operand = operand.before(order)
        return Id(ids.get(operand.order, -1))

    return tuple(
        found._replace(operands=tuple(at(o, found.order) for o in found.operands))
        for found in looks
    )
