"""What a scope of a program is: a layer of a model, with what its author would write beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """The module whose calls make up a scope.

    Attributes
    ----------
    kind : str
        Its class, such as "Conv2d".
    arguments : str
        What matters of how it was made, in few words: "3 → 64, 7×7 /2"; "" for a container.
    training : bool
        Whether it was in training mode, in which dropout drops and a batch is normalized by itself.
    """

    kind: str
    arguments: str = ""
    training: bool = True

    def __str__(self) -> str:
        return f"{self.kind} {self.arguments}".rstrip()


Layers = Mapping[tuple[str, ...], Layer]
"""By scope; the scope () is the program's own module, if it has one that holds all others."""
