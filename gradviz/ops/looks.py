"""What a program asks of recorded values in plain numbers: a comparison, a branch, a position.

Its answers go on as plain numbers, which the record takes for constants. So each question is noted
while a program is traced: who computes the record again without the program, as the page does,
asks it again, and knows where the program would have gone another way.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple


class Look(NamedTuple):
    """A question.

    Attributes
    ----------
    name : str
        The function that was asked for; "" where the numbers themselves were read.
    operands : tuple
        Recorded and plain values.
    keywords : mapping
    answer : object
    order : int
        Its place in the order of recording; -1 where it was asked in one of our own functions.
    site : tuple or None
        As `gradviz.model.Node.site`.
    """

    name: str
    operands: tuple[Any, ...]
    keywords: Mapping[str, Any]
    answer: Any
    order: int
    site: Any


class Id(int):
    """In a Look of a Graph: the id of an operand that was recorded, -1 where it is not there."""


_noted: ContextVar[list[Look] | None] = ContextVar("noted", default=None)


class looking:
    """Keep the questions that are asked in this context."""

    __slots__ = ("token",)

    def __enter__(self) -> list[Look]:
        kept: list[Look] = []
        self.token = _noted.set(kept)
        return kept

    def __exit__(self, *_: object) -> None:
        _noted.reset(self.token)


def look(
    name: str,
    operands: tuple[Any, ...],
    answer: Any,
    keywords: Mapping[str, Any] = MappingProxyType({}),
    *,
    order: int = -1,
    site: Any = None,
) -> None:
    """Note a question, where a program is being traced."""
    kept = _noted.get()
    if kept is not None:
        kept.append(Look(name, operands, keywords, answer, order, site))


def wanted() -> bool:
    """Whether a program is being traced."""
    return _noted.get() is not None
