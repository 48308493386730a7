"""What objects hold, noted before a program runs and put back after it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from operator import is_
from types import CellType
from typing import Any

import numpy as np

from gradviz.record.reach import attributes_of

CONTAINERS = (dict, list, set, deque)


class Undo:
    """Notes of how things are."""

    def __init__(self) -> None:
        self._notes: list[Any] = []

    def content(self, value: Any) -> None:
        """What a container holds."""
        content = dict(value) if isinstance(value, dict) else list(value)
        self._notes.append((_put_content, value, content))

    def array(self, array: np.ndarray) -> None:
        """The numbers of an array."""
        self._notes.append((_put_array, array, array.copy()))

    def attributes(self, owner: Any, attributes: Mapping[str, Any]) -> None:
        """The attributes of an object; of a class all that it has."""
        self._notes.append((_put_attributes, owner, attributes))

    def cell(self, cell: CellType) -> None:
        """What a variable around a function holds."""
        self._notes.append((_put_cell, cell, cell.cell_contents))

    def variable(self, space: dict[str, Any], name: str) -> None:
        """What a global variable holds."""
        self._notes.append((_put_variable, space, name, space[name]))

    def empty(self, values: Sequence[Any]) -> None:
        """That containers are empty."""
        self._notes.append((_empty, values))

    def put_back(self) -> None:
        """Make all as it was, the latest first."""
        for put, *arguments in reversed(self._notes):
            put(*arguments)


def _put_content(value: Any, content: Any) -> None:
    if len(value) == len(content):
        if not isinstance(value, dict):
            same = all(map(is_, value, content))
        else:
            same = all(map(is_, value.values(), content.values())) and [*value] == [*content]
        if same:
            return
    if isinstance(value, dict):
        kind: Any = OrderedDict if isinstance(value, OrderedDict) else dict
        kind.clear(value)
        kind.update(value, content)
    elif isinstance(value, list):
        list.__setitem__(value, slice(None), content)
    else:
        value.clear()
        (value.update if isinstance(value, set) else value.extend)(content)


def _empty(values: Sequence[Any]) -> None:
    for value in values:
        if value:
            value.clear()


def _put_array(array: np.ndarray, content: np.ndarray) -> None:
    if array.tobytes() != content.tobytes():
        array[...] = content


def _put_attributes(owner: Any, attributes: dict[str, Any]) -> None:
    now = dict(vars(owner)) if isinstance(owner, type) else attributes_of(owner)
    put = type.__setattr__ if isinstance(owner, type) else object.__setattr__
    for name, value in attributes.items():
        if now.get(name, now) is not value:
            put(owner, name, value)
    if isinstance(owner, type):
        for name in now.keys() - attributes.keys():
            type.__delattr__(owner, name)


def _put_cell(cell: CellType, value: Any) -> None:
    cell.cell_contents = value


def _put_variable(space: dict[str, Any], name: str, value: Any) -> None:
    if space.get(name) is not value:
        space[name] = value
