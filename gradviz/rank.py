"""The process that a Graph was recorded in, where several train one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HOW = ("replicated", "sharded", "own")


class Held(NamedTuple):
    """How a rank of several holds a parameter.

    Attributes
    ----------
    how : str
        "replicated": all ranks hold the same, for something keeps it so (DDP, a replicated
        DTensor); "sharded": each holds a part; "own": nothing that is known keeps it like others.
    copies : int
        On how many ranks the same part lies.
    digest : int or None
        A sum over its bits; of a part None.
    reduced : float or None
        The norm of its gradient (of this rank's part) after the backward pass, and so after its
        reduction over the ranks; None where it has none, or nothing was reduced.
    """

    how: str
    copies: int
    digest: int | None
    reduced: float | None


class Rank(NamedTuple):
    """The process that a Graph was recorded in, of several that train together.

    Attributes
    ----------
    number, world : int
        Its rank, and of how many.
    parameters : mapping of str to Held
    buffers : mapping of str to int
        The sum over the bits of each, without the statistics that a BatchNorm takes of the batches.
    """

    number: int
    world: int
    parameters: Mapping[str, Held]
    buffers: Mapping[str, int]
