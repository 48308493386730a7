"""Operations whose result has numbers of their operand and no others, by the names of libraries."""

from __future__ import annotations

SHAPES = frozenset(
    "view view_as reshape ravel flatten unflatten squeeze unsqueeze expand_dims contiguous clone "
    "copy".split()
)
"""The same numbers in the same order."""
ORDERS = frozenset("transpose permute t T mT movedim moveaxis swapaxes swapdims".split())
"""All of them in another order."""
PARTS = frozenset("getitem select narrow chunk split unbind tensor_split".split())
"""Some of them."""
REPEATS = frozenset("expand expand_as broadcast_to".split())
"""Each of them as often as a shape asks for."""
MOVES = SHAPES | ORDERS | PARTS | REPEATS
CASTS = frozenset("to type type_as astype float double half bfloat16".split())
"""The same numbers as their new dtype can hold them."""


def takes_shape(op: str, key: int) -> bool:
    """Whether an operation takes of an operand its shape, dtype or device alone."""
    if op.endswith("_like") or op.startswith("new_"):
        return key == 0
    return key == 1 and op in ("expand_as", "view_as", "reshape_as")
