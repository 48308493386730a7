"""Where a constant of the record is the answer to a question, which the page can ask again.

``np.where(z > 0, z, 0)`` holds a mask that the record takes for a constant. Where an instruction
takes it from Python's stack, onto which the comparison has just put it, nothing else has it: then
the constant is the answer and no more.
"""

from __future__ import annotations

import dis
from collections import defaultdict
from collections.abc import Collection
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.model import CONSTANT
from gradviz.ops.looks import Look

from .refused import Refused

if TYPE_CHECKING:
    from gradviz.graph import Graph


def links(graph: Graph, known: Collection[str]) -> tuple[dict[int, Look], list[Look]]:
    """The constants that answer questions of the known names, by id; and the other questions."""
    looks = graph.looks
    if not looks:
        if looks is None and graph.recorded_program is not None:
            raise Refused("it was not noted what the program asks of its values")
        return {}, []
    held = {id(look.answer): look for look in looks if look.name in ("constant", "top")}
    found = {
        i: held[id(node.value)]  # made in our own functions, for this alone
        for i, node in enumerate(graph.values)
        if node.operation is CONSTANT and id(node.value) in held
    }
    events: list[tuple[int, Look | int]] = [
        *((look.order, look) for look in looks if look.order >= 0),
        *((node.order, v) for v, node in enumerate(graph.values) if node.order >= 0),
    ]
    waiting: dict[tuple[int, int], list[Look]] = defaultdict(list)
    for _, event in sorted(events, key=lambda event: event[0]):
        if isinstance(event, Look):
            if event.site and event.name in known and not event.keywords:
                code, offset = event.site[:2]
                waiting[id(code), _taker(code, offset)].append(event)
        elif (site := graph.values[event].site) and waiting.get(place := (id(site[0]), site[1])):
            look = waiting[place].pop()  # calls nest: the last one asked is the first one taken
            if (constant := _answer(graph, event, look.answer)) is not None:
                found[constant] = look
    linked = {id(look) for look in found.values()}
    return found, [look for look in looks if id(look) not in linked]


def _answer(graph: Graph, v: int, answer: Any) -> int | None:
    """The operand of a value that is this very answer, if there is one that only it reads."""
    same = [
        u
        for u in graph.operands[v]
        if graph.values[u].operation is CONSTANT
        and np.asarray(graph.values[u].value).dtype == bool
        and np.array_equal(graph.values[u].value, answer)
    ]
    return same[0] if len(same) == 1 and len(graph.readers[same[0]]) == 1 else None


_SKIPPED = frozenset("CACHE NOP PRECALL KW_NAMES EXTENDED_ARG RESUME".split())
_PAIRS = frozenset("BINARY_OP BINARY_SUBSCR BINARY_SLICE".split())
_LOADS = frozenset(
    "LOAD_CONST LOAD_FAST LOAD_FAST_CHECK LOAD_FAST_BORROW LOAD_GLOBAL LOAD_DEREF LOAD_NAME "
    "LOAD_SMALL_INT LOAD_FAST_LOAD_FAST LOAD_FAST_BORROW_LOAD_FAST_BORROW PUSH_NULL".split()
)


@lru_cache(maxsize=4096)
def _taker(code: CodeType, offset: int) -> int:
    """The instruction that takes from the stack what the one at `offset` puts on it; -1: unknown.

    Known are calls that take it as an argument, and arithmetic.
    """
    instructions = iter(dis.get_instructions(code))
    next((i for i in instructions if i.offset >= offset), None)
    depth = 1  # of the stack, from what was put there on
    for i in instructions:
        count = i.arg or 0
        if i.opname in _SKIPPED:
            continue
        if i.opname in _LOADS or (i.opname in ("LOAD_ATTR", "LOAD_METHOD") and depth > 1):
            depth += dis.stack_effect(i.opcode, i.arg)
        elif i.opname in _PAIRS:
            if depth <= 2:
                return i.offset if i.opname == "BINARY_OP" else -1
            depth -= 1
        elif i.opname in ("CALL", "CALL_KW"):
            count += i.opname == "CALL_KW"
            if depth <= count + 2:
                return i.offset if depth <= count else -1
            depth -= count + 1
        elif i.opname in ("BUILD_TUPLE", "BUILD_LIST") and depth > count:
            depth -= count - 1
        elif i.opname == "UNARY_NEGATIVE" and depth > 1:
            continue
        else:
            return -1
    return -1
