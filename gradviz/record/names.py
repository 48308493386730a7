"""Where a value was computed and which variable it was assigned to.

While the user's program runs only a code object and an instruction's offset are kept (`site`); the
source is parsed when somebody looks.
"""

from __future__ import annotations

import ast
import builtins
import dis
import itertools
import linecache
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache, wraps
from types import CodeType, FrameType, ModuleType
from typing import Any, TypeVar

import numpy as np

from gradviz.files import writable
from gradviz.model import Node
from gradviz.words import Site

T = TypeVar("T")
Instruction = tuple[Any, ...]
"""(code, offset); where the value was returned at once, then the caller's, and so on."""

places: dict[int, dict[int, Instruction]] = {}
"""By id of a code object of the user's the site of each instruction by its offset, shared by all
that it computes; not of those whose result is returned at once. (A site keeps its code alive.)"""


def places_of(code: CodeType) -> dict[int, Instruction]:
    """The sites of a code object's instructions, see `places`."""
    found = places.get(id(code))
    if found is None:
        if len(places) > 10_000:  # programs that compile functions without end
            places.clear()
        found = places[id(code)] = {
            offset: (code, first.offset)
            for first, second in itertools.pairwise(dis.get_instructions(code))
            if second.opname != "RETURN_VALUE"
            for offset in range(first.offset, second.offset, 2)  # its caches too: calls stand there
        }
    return found


def site(frame: FrameType) -> Instruction:
    """Note where the user's code stands, with its callers as long as they only pass the value on.

    That is `frame`, or where it is a library's the nearest that is not; () if there is none.
    """
    found: Instruction = ()
    at = user_frame(frame)
    while at is not None and is_user(at):
        code, offset = at.f_code, at.f_lasti
        place = places_of(code).get(offset)
        if place is not None:
            return found + place
        found += (code, offset)
        at = at.f_back
    return found


LIBRARIES = frozenset(
    "gradviz numpy autograd scipy torch jax jaxlib flax equinox optax haiku "
    "collections copy dataclasses functools statistics".split()
)
_libraries: dict[str, bool] = {}
"""By module name whether its frames are passed over in the search for the user's line."""


def is_user(frame: FrameType) -> bool:
    """Whether a frame belongs neither to gradviz nor to a library it works with."""
    module = frame.f_globals.get("__name__", "")
    library = _libraries.get(module)
    if library is None:
        library = module.partition(".")[0] in LIBRARIES and module != "gradviz.examples"
        _libraries[module] = library
    return not library


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The nearest frame of the user's own."""
    while frame is not None and not is_user(frame):
        frame = frame.f_back
    return frame


def where(frame: FrameType | None) -> str:
    """The user's line in words, for an error message."""
    frame = user_frame(frame)
    if frame is None:
        return "unknown line"
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" + (f": {line}" if line else "")


def per_code(table: Callable[[CodeType], T]) -> Callable[[CodeType], T]:
    """Keep what is made of a code object; by its id, for its hash takes as long as it has lines."""
    kept: dict[int, tuple[CodeType, T]] = {}

    @wraps(table)
    def of(code: CodeType) -> T:
        found = kept.get(id(code))
        if found is None:
            if len(kept) > 1000:
                kept.clear()
            found = kept[id(code)] = code, table(code)
        return found[1]

    return of


def callee(frame: FrameType) -> Any:
    """The function that `frame` is calling, as far as its source names it; else None.

    Nothing is run to find it: names are looked up in the frame, and in modules.
    """
    code = frame.f_code
    called = _calls(code.co_filename).get(_position(code, frame.f_lasti))
    parts: list[str] = []
    while isinstance(called, ast.Attribute):
        parts.insert(0, called.attr)
        called = called.value
    if not isinstance(called, ast.Name):
        return None
    spaces = (frame.f_locals, frame.f_globals, vars(builtins))
    found: Any = next((space[called.id] for space in spaces if called.id in space), None)
    for part in parts:
        if isinstance(found, ModuleType):
            found = vars(found).get(part)
        elif type(found) is np.ndarray:
            return getattr(found, part, None)
        else:
            return None
    return found


def calls(frame: FrameType) -> str:
    """The name of the function or method that `frame` is calling, as its source has it."""
    return _function((frame.f_code, frame.f_lasti))


def calls_itself(frame: FrameType, function: Any) -> bool:
    """Whether `frame` calls a function in its own code, not C code that it has called.

    A function of C's has no frame: what it calls seems to be called by the one below. So this looks
    at what the call's instruction calls, by the places of instructions in the source.
    """
    line, end_line, column, end_column = _position(frame.f_code, frame.f_lasti)
    end = end_line or 0, end_column or 0
    found = max((load for load in _loads(frame.f_code).get((line, column), ()) if load[0] < end),
                default=None)  # fmt: skip
    if found is None:
        return False
    name = found[1]
    if name == function.__name__:
        return True
    space = frame.f_locals if name in frame.f_locals else frame.f_globals
    return getattr(space.get(name), "__wrapped__", space.get(name)) is function


@per_code
def _loads(code: CodeType) -> dict[tuple[Any, Any], list[tuple[tuple[int, int], str]]]:
    """By where an expression begins: where those that load something there end, and its name."""
    found: dict[tuple[Any, Any], list[tuple[tuple[int, int], str]]] = {}
    for i in dis.get_instructions(code):
        if i.opname.startswith("LOAD_") and isinstance(i.argval, str) and i.positions:
            at = i.positions
            end = at.end_lineno or 0, at.end_col_offset or 0
            found.setdefault((at.lineno, at.col_offset), []).append((end, i.argval))
    return found


def source(site: Instruction | None) -> Site | None:
    """File, line number and text of the line that computed a value."""
    if not site:
        return None
    code, offset = site[:2]
    line = _position(code, offset)[0] or code.co_firstlineno
    text = "" if code.co_filename == NOBODYS else linecache.getline(code.co_filename, line).strip()
    return Site(writable(code.co_filename), line, writable(text))


NOBODYS = "<string>"
"""What every text that is executed is called: Python 3.13 has the lines of ``python -c`` there."""


def called(site: Instruction | None) -> str:
    """What is called in the line that computed a value, as its source has it: ``encoder``."""
    if not site:
        return ""
    call = _calls(site[0].co_filename).get(_position(*site[:2]))
    parts: list[str] = []
    while isinstance(call, (ast.Attribute, ast.Subscript)):
        if isinstance(call, ast.Attribute):
            parts.insert(0, call.attr)
        elif isinstance(call.slice, ast.Constant):
            parts.insert(0, str(call.slice.value))
        call = call.value
    if not isinstance(call, ast.Name):
        return ""
    return ".".join(parts if call.id in ("self", "cls") else [call.id, *parts])


def assigned(site: Instruction | None, operation: str = "") -> str:
    """The variable that a value was assigned to, or "" for none.

    That of an `operation` such as ``eigh[1]``, one of the results of a call, is the one that it was
    unpacked to.
    """
    if not site or site[-1] is None:  # a step inside a composed function
        return ""
    code, offset = site[-2:]
    name = code.co_filename
    if name == NOBODYS or (name.startswith("<") and not linecache.getlines(name)):
        return _stored(code).get(offset, "")
    function, _, part = operation.rstrip("]").partition("[")
    if part and _function(site) == function:  # not what a library computes in the user's call
        targets = _unpacked(name).get(_position(code, offset), ())
        if int(part) < len(targets):
            return targets[int(part)]
    return _assignments(name).get(_position(code, offset), "")


def given(nodes: Sequence[Node]) -> list[str]:
    """The name that the program gave to each of many values, or "" for none."""
    found: dict[tuple[int, Any, str], str] = {}  # in a loop, one instruction makes most of them
    names = []
    for node in nodes:
        name, site, operation = node.name, node.site, node.operation.name
        if not name and site:
            key = (id(site[-2]), site[-1], operation if operation[-1:] == "]" else "")
            known = found.get(key)
            name = found[key] = assigned(site, operation) if known is None else known
        names.append(name)
    for site, run in itertools.groupby(range(len(names)), lambda i: _split(nodes[i])):
        pieces = list(run)
        targets = _unpacked(site[0].co_filename).get(_position(*site), ()) if site else ()
        if len(pieces) == len(targets) and _meet([nodes[i] for i in pieces]):
            for i, name in zip(pieces, targets, strict=True):
                names[i] = name
    return names


SPLITS = frozenset("split array_split vsplit hsplit dsplit".split())


def _split(node: Node) -> Instruction:
    """The site of a call of NumPy's that cuts an array, of which a value is a piece; else ()."""
    site = node.site
    if not site or site[-1] is not None or node.operation.name != "getitem":
        return ()
    return site[:2] if _function(site) in SPLITS else ()


def _meet(pieces: Sequence[Node]) -> bool:
    """Whether these are all the pieces of one array, each where the one before ended."""
    if len({id(piece.operands[0]) for piece in pieces}) != 1:
        return False
    cuts = [piece.keywords["index"][-1] for piece in pieces]
    return all(a.stop == b.start for a, b in itertools.pairwise(cuts))


def read(site: Instruction | None, position: int) -> str:
    """What an operand of an operator was read from, or "" for what has no name.

    A variable or an attribute, the transpose of one, or the identity matrix.
    """
    if not site or site[1] is None:
        return ""
    sides = _operators(site[0].co_filename).get(_position(*site[:2]), ())
    return sides[position] if position < len(sides) else ""


def _walk(filename: str) -> Iterator[ast.AST]:
    """All that a file's source consists of; nothing where it cannot be parsed."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return iter(())
    return ast.walk(tree)


IDENTITY = ("eye", "identity")


@lru_cache(maxsize=256)
def _operators(filename: str) -> dict[tuple[int | None, ...], tuple[str, ...]]:
    """The place of every operator in a file, and the names that stand beside it."""
    return {
        _place(node): tuple(_written(side) for side in (node.left, node.right))
        for node in _walk(filename)
        if isinstance(node, ast.BinOp)
    }


def _written(side: ast.expr) -> str:
    if isinstance(side, ast.Name):
        return side.id
    if isinstance(side, ast.Attribute):
        if side.attr != "T":
            return side.attr
        name = _written(side.value)
        return f"{name}.T" if name else ""
    if isinstance(side, ast.Call) and isinstance(side.func, ast.Attribute):
        return "I" * (side.func.attr in IDENTITY and len(side.args) == 1 and not side.keywords)
    return ""


@per_code
def _positions(code: CodeType) -> list[tuple[int | None, ...]]:
    return list(code.co_positions())


def _position(code: CodeType, offset: int) -> tuple[int | None, ...]:
    return _positions(code)[offset // 2]


@per_code
def _stored(code: CodeType) -> dict[int, str]:
    """By offset the name that the next instruction stores to: what is known without source."""
    instructions = (i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG")
    return {
        first.offset: str(second.argval[0] if type(second.argval) is tuple else second.argval)
        for first, second in itertools.pairwise(instructions)
        if second.opname.startswith("STORE_") and not first.opname.startswith("UNPACK_")
    }


@lru_cache(maxsize=256)
def _calls(filename: str) -> dict[tuple[int | None, ...], ast.expr]:
    """The place of every call in a file, and what is called there."""
    return {_place(node): node.func for node in _walk(filename) if isinstance(node, ast.Call)}


def _function(site: Instruction) -> str:
    """The name of the function or method that is called where a value was computed."""
    function = _calls(site[0].co_filename).get(_position(*site[:2]))
    return getattr(function, "attr", getattr(function, "id", ""))


@lru_cache(maxsize=256)
def _unpacked(filename: str) -> dict[tuple[int | None, ...], list[str]]:
    """The place of every call whose results are unpacked, and the names that they get."""
    return {
        _place(node.value): [
            name if (name := _target_name(target)).strip("_") else ""
            for target in node.targets[0].elts
        ]
        for node in _walk(filename)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and isinstance(node.targets[0], (ast.Tuple, ast.List))
        and not any(isinstance(target, ast.Starred) for target in node.targets[0].elts)
    }


@lru_cache(maxsize=256)
def _assignments(filename: str) -> dict[tuple[int | None, ...], str]:
    """The place of every assigned expression in a file, and the name it is assigned to."""
    linecache.checkcache(filename)
    found: dict[tuple[int | None, ...], str] = {}

    def note(target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            if isinstance(value, (ast.Tuple, ast.List)) and len(target.elts) == len(value.elts):
                for inner_target, inner_value in zip(target.elts, value.elts, strict=True):
                    note(inner_target, inner_value)
        elif name := _target_name(target):
            found[_place(value)] = name
            if isinstance(target, ast.Subscript):  # what a recorded array becomes
                found[_place(target)] = name

    for node in _walk(filename):
        if isinstance(node, ast.Assign):
            note(node.targets[0], node.value)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            note(node.target, node.value)
        elif isinstance(node, ast.AugAssign) and (name := _target_name(node.target)):
            found[_place(node)] = name
    return found


def _place(node: ast.expr | ast.stmt) -> tuple[int | None, ...]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _target_name(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    if isinstance(target, ast.Subscript):
        key = target.slice
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return key.value
        return _target_name(target.value)
    return ""


def unique(
    names: list[str], scopes: list[tuple[str, ...]], letters: str, leaves: Collection[int] = ()
) -> list[str]:
    """Shown names: qualified by the scope, then numbered, where one name was given twice.

    A value without a name is numbered under its letter: v_1, v_2, ... A value assigned to a name
    again is ``h(2)``, the notation of textbooks for the second iteration. A leaf keeps its name if
    no other leaf has it: by that name it is given a new value.
    """
    if len(names) > 1000:
        return _unique(names, scopes, letters, leaves)
    # (A step of training has the names of the step before.)
    return [*_known_unique(tuple(names), tuple(scopes), letters, tuple(leaves))]


def _unique(
    names: Sequence[str], scopes: Sequence[Any], letters: str, leaves: Collection[int]
) -> list[str]:
    written = {name: writable(name) for name in set(names)}
    names = [written[name] for name in names]
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        if name:
            groups.setdefault(name, []).append(i)
    result = list(names)
    several = {name: members for name, members in groups.items() if len(members) > 1}
    own = Counter(names[i] for i in leaves) if several else {}
    kept = {i for i in leaves if names[i] and own[names[i]] == 1} if several else set()
    reserved = {names[i] for i in kept}
    for name, members in several.items():
        apart = len({scopes[i] for i in members}) > 1
        counts: Counter[str] = Counter()
        if not kept.isdisjoint(members):
            counts[name] = 1
            members = [i for i in members if i not in kept]
        for i in members:
            qualified = ".".join((*scopes[i], name)) if apart else name
            counts[qualified] += 1
            count = counts[qualified]
            result[i] = qualified if count == 1 else f"{qualified}({count})"
            while result[i] in reserved:
                counts[qualified] += 1
                result[i] = f"{qualified}({counts[qualified]})"
    taken = set(result)
    numbers = {letter: itertools.count(1) for letter in letters}
    seen: set[str] = set()
    for i, name in enumerate(result):
        while not name or name in seen:
            name = f"{letters[i]}_{next(numbers[letters[i]])}"
            if name in taken:
                name = ""
        seen.add(name)
        result[i] = name
    return result


_known_unique = lru_cache(maxsize=64)(_unique)
