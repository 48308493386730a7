"""What a picture points out: which values and edges, in which roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLES = (
    "sick", "target", "cached", "computed", "read",
    "differs", "only here", "differs little", "agrees", "unneeded",
)  # fmt: skip
"""By importance: a fold is drawn in the first of these roles that a value in it has."""
PATHS = 6
"""So many paths can be told apart; with the seventh the colours begin again."""
Roles = tuple[str, ...]


@dataclass(frozen=True)
class Highlight:
    """What to point out in a picture.

    Attributes
    ----------
    boxes : mapping
        Node id to a role: "target", "computed" (newly, for this target), "cached" (an upstream
        term that is read again), "sick" (to blame), "unneeded" (greyed), or "path 1", "path 2", ...
        Of two graphs: "differs", "differs little", "only here", "agrees".
    arrows : mapping
        Edge (u, v, key) to a role as above or "read" (the edge that reads a cached term); several
        paths that share an edge are given as a tuple of roles.
    badges : mapping
        Node id to a short text, such as "×3".
    marks : mapping
        Node id to whether a proof of its gradient holds; drawn as a tick or a cross.
    title : str
        Heading of the picture.
    legend : tuple of (role, text)
        What the roles mean here.
    """

    boxes: Mapping[int, str] = field(default_factory=dict)
    arrows: Mapping[tuple[int, int, int], str | Roles] = field(default_factory=dict)
    badges: Mapping[int, str] = field(default_factory=dict)
    marks: Mapping[int, bool] = field(default_factory=dict)
    title: str = ""
    legend: tuple[tuple[str, str], ...] = ()
