"""The Graph in a file of JSON, which may be a stranger's: every field is checked.

Nothing in it is imported, unpickled or evaluated: operations are looked up by name in our own
table, and one that is not there is only drawn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.reads import warn_of
from gradviz.errors import TraceError
from gradviz.garbage import without_collection
from gradviz.keep import fields
from gradviz.keep.fields import at, items, only, said, text
from gradviz.keep.form import BITS, DTYPES, FORMAT, NUMBERS, VERSION
from gradviz.layers import Layer
from gradviz.model import LEAVES, Gradients, Known, Node, Program, Recording, Sharpness
from gradviz.ops import notation, tex
from gradviz.ops.extent import Checked
from gradviz.ops.operation import OPERAND_NAMES, Derivative, Operation, Part
from gradviz.ops.table import find
from gradviz.statistics import SAMPLE, Statistics

if TYPE_CHECKING:
    from gradviz.graph import Graph

_DEPTH, _LEVELS = 8, 100


def load(path: str | os.PathLike[str], max_bytes: int, make: type[Graph]) -> Graph:
    """See `gradviz.load`; `make` is the class of the Graph."""
    with open(path, "rb") as file:
        raw = file.read(max_bytes + 1)
    return loads(raw, path, max_bytes, make)


def loads(raw: bytes, path: str | os.PathLike[str], max_bytes: int, make: type[Graph]) -> Graph:
    """The Graph in the text of a file; `path` is for errors."""
    if len(raw) > max_bytes:
        raise ValueError(f"{path}: more than {max_bytes} bytes; max_bytes=... allows more")
    if sum(raw.count(sign) for sign in (b",", b"[", b"{")) > max(max_bytes // 32, 1000):
        raise ValueError(f"{path}: too many parts; max_bytes=... allows more")
    with without_collection():
        try:
            document = json.loads(raw.decode(), parse_constant=_no_constant)
        except RecursionError:
            raise ValueError(f"{path}: nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from None
        try:
            graph = _Reader(document).graph(make)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if document["differentiated"]:
        warn_of(graph)
    return graph


def unpack(document: dict[str, Any], program: Program | None, make: type[Graph]) -> Graph:
    """The Graph of `gradviz.keep.writing.pack`."""
    return _Reader(document, document["arrays"]).graph(make, program)


class Function:
    """A function of the program's, of which a file tells the name."""

    def __init__(self, name: str) -> None:
        self.co_name = name


class Opaque:
    """Stands for a keyword that is no plain data, such as a function: only its text was kept."""

    def __init__(self, text: str) -> None:
        self.__name__ = text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


class _Reader:
    """Checks every field of a document, and makes the Graph of it."""

    def __init__(self, document: Any, arrays: list[Any] | None = None) -> None:
        if type(document) is not dict or document.get("format") != FORMAT:
            raise ValueError(f'not a saved Graph: "format" is not "{FORMAT}"')
        version = document.get("version")
        if version != VERSION or type(version) is not int:
            raise ValueError(
                f"this file has version {str(version)[:20]} of the format, this gradviz reads "
                f"version {VERSION}; load it with the gradviz that wrote it, or a newer one"
            )
        self.document = document
        only(document, _HEAD)
        self.at: tuple[Any, ...] = ()  # the fields of an entry that lead to what is being read
        self.arrays = self.each("arrays", fields.array) if arrays is None else arrays
        self.count = len(items(document.get("nodes")))
        self.rows: dict[str, Operation | None] = {}
        self.fitting: set[Any] = set()
        self.nodes: list[Node] = []
        self.operands: list[tuple[int, ...]] = []
        self.shapes: list[tuple[int, ...]] = []
        self.names: dict[str, int] = {}
        self.named: set[int] = set()
        self.states: dict[int, str] = {}
        self.hooks: dict[int, str] = {}
        self.gradients: dict[int, Any] = {}
        self.messages: dict[tuple[int, int], Any] = {}
        self.locals: dict[tuple[int, int], Any] = {}
        self.steps: dict[tuple[int, int], Any] = {}  # local derivatives between named values
        self.reads: dict[int, str] = {}
        self.returned: dict[int, str] = {}
        self.layers: dict[tuple[str, ...], Layer] = {}
        self.memory: dict[int, int] = {}
        self.elsewhere: set[int] = set()
        self.sharpness: dict[int, Sharpness] = {}

    def each(self, field: str, read: Callable[[Any], Any]) -> list[Any]:
        """Every entry of a list; an error says which."""
        result: list[Any] = []
        try:
            entries = items(self.document.get(field))
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
        try:
            with np.errstate(over="ignore"):  # a number that is too large has a message of its own
                for entry in entries:
                    result.append(read(entry))
        except ValueError as error:
            parts = "".join(f"[{p}]" if type(p) is int else f".{p}" for p in self.at)
            where = f"{parts.lstrip('.')}: " if parts else ""
            raise ValueError(f"{field}[{len(result)}]: {where}{error}") from None
        return result

    def graph(self, make: type[Graph], program: Program | None = None) -> Graph:
        if not self.count:
            raise ValueError("nodes: there are none")
        document = self.document
        title = at("title", text, document.get("title"))
        output = at("output", self.id, document.get("output"))
        differentiated = at("differentiated", fields.boolean, document.get("differentiated"))
        self.sources = self.each("sources", fields.source)
        self.functions = self.each("functions", self.function) if "functions" in document else []
        if "layers" in document:
            self.each("layers", self.layer)
        self.each("nodes", self.node)
        wrt = self.each("wrt", self.leaf)
        self.each("statements", self.statement)
        naming = list(self.names), frozenset(self.named)
        graph = make(
            self.nodes,
            self.operands,
            lambda: naming,
            output,
            wrt,
            sources=lambda node: node.site and node.site[0],
            program=program,
            title=title,
            layers=self.layers,
            known=self.known(differentiated),
        )
        for i in range(self.count if differentiated else 0):
            if graph.grad_state(i) != self.states.get(i):
                raise ValueError(f"nodes[{i}].grad_state: it is {graph.grad_state(i)}")
        return graph

    def known(self, differentiated: bool) -> Known:
        """What the document says beside values and names."""
        get, fates = self.document.get, self.returned.items()
        known: Known = {
            "locals": self.locals,
            "memory": self.memory,
            "elsewhere": self.elsewhere,
            "sharpness": self.sharpness,
            "statement_locals": self.steps,
            "reads": self.reads,
            "ends": {i: self.reads[i] for i in self.returned},
            "returned": {i: self.reads[i] for i, fate in fates if fate != "unknown"},
            "sure": "to J" in self.returned.values(),
            "astray": at("astray", text, get("astray", "")),
            "by_operations": "detail" in self.document,
            "legible": get("legible", Recording.legible),
        }
        if "rank" in self.document:
            known["rank"] = at("rank", fields.rank, get("rank"))
        if "error" in self.document:
            known["error"] = TraceError(at("error", text, get("error")))
        if get("detail", "operations") != "operations":
            raise ValueError(f'detail: expected "operations", got {said(get("detail"))}')
        if type(known["legible"]) is not int or known["legible"] < 1:
            raise ValueError(f"legible: expected a number, got {said(known['legible'])}")
        for v, key in self.messages:
            if v not in self.gradients or self.operands[v][key] not in self.gradients:
                raise ValueError(f"nodes[{v}].edges[{key}].message: it has no gradients beside it")
        if differentiated:
            known["derivatives"] = Gradients(self.gradients, self.messages)
            known["underflown"] = frozenset(i for i, s in self.states.items() if s == "underflown")
            known["changed_by_hooks"] = self.hooks
        elif self.states or self.gradients or self.messages or self.hooks:
            raise ValueError("differentiated: false, but there are gradients")
        return known

    def id(self, value: Any) -> int:
        if type(value) is not int or not 0 <= value < self.count:
            raise ValueError(f"expected a node's number, below {self.count}, got {said(value)}")
        return value

    def layer(self, entry: Any) -> None:
        only(entry, ("scope", "kind", "arguments", "training"))
        scope = tuple(text(part) for part in items(entry.get("scope")))
        if len(scope) > _LEVELS:
            raise ValueError(f"scope: deeper than {_LEVELS} levels")
        if scope in self.layers:
            raise ValueError(f"scope: {said('/'.join(scope))} is taken")
        kind, arguments = text(entry.get("kind")), text(entry.get("arguments"))
        self.layers[scope] = Layer(kind, arguments, fields.boolean(entry.get("training")))

    def leaf(self, value: Any) -> int:
        i = self.id(value)
        if self.nodes[i].operation not in (LEAVES["input"], LEAVES["parameter"]):
            raise ValueError(f"node {i} is no input or parameter")
        return i

    def statement(self, entry: Any) -> None:
        only(entry, ("value", "operand", "local"))
        v, u = self.id(entry.get("value")), self.id(entry.get("operand"))
        self.steps[v, u] = self.local(entry.get("local"), v, u)

    def node(self, entry: Any) -> None:
        """One node, which may read the nodes before it; `at` says which field is being read."""
        only(entry, _NODE)
        i, get = len(self.nodes), entry.get
        self.at = ("name",)
        name = text(get("name"))
        self.at = ()
        if not name or name in self.names:
            raise ValueError(f"name: {said(name)} is {'taken' if name else 'empty'}")
        kind = get("kind")
        if kind not in ("operation", *LEAVES):
            raise ValueError(f"kind: {said(kind)} is none of operation, {', '.join(LEAVES)}")
        self.at = ("scope",)
        scope = tuple([text(part) for part in items(get("scope", []))])
        self.at = ("operands",)
        given = items(get("operands", None if kind == "operation" else []))
        operands = tuple([self.id(u) for u in given])
        if operands and max(operands) >= i:
            raise ValueError(f"{max(operands)} does not come before node {i}")
        keywords = self.keywords(entry)
        self.at = ("value",)
        value = self.value(get("value"))
        shape = np.shape(value)
        last = i == self.document.get("output")
        broken = type(value) is str and last and "error" in self.document
        numbers = isinstance(value, (np.ndarray, np.generic, Statistics))
        if kind != "constant" and not (numbers or broken):
            raise ValueError("expected an array or a scalar with a dtype")
        site = self.site(entry)
        self.at = ()
        if kind == "operation":
            operation = self.operation(entry, operands, keywords, shape)
        elif operands or keywords or not _OPERATION.isdisjoint(entry):
            raise ValueError(f"kind: {kind}, but it has operands or an operation")
        else:
            operation = LEAVES[kind]
        self.at = ("operands",)
        for key, u in enumerate(operands):
            rule = operation.rule(key)
            if rule is not None and rule.local is not None and self.shapes[u] != shape:
                _stretch(shape, self.shapes[u])
        if "named" in entry:
            self.at = ("named",)
            if fields.boolean(entry["named"]):
                self.named.add(i)
        self.names[name] = i
        self.shapes.append(shape)
        self.nodes.append(
            Node.new(value, operation, keywords=keywords, order=i, scope=scope, site=site)
        )
        self.operands.append(operands)
        self.findings(i, entry)
        self.edges(i, entry)
        self.at = ()

    def keywords(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The further arguments of an operation."""
        self.opaque = False
        keywords = {}
        if "keywords" in entry:
            self.at = ("keywords",)
            for k, v in fields.json_object(entry["keywords"]).items():
                self.at = ("keywords", k[:40])
                keywords[text(k)] = self.value(v)
        return keywords

    def function(self, entry: Any) -> Function:
        return Function(text(entry))

    def called(self, entry: Any) -> tuple[Function, int]:
        """A function, and the place in it."""
        number, offset = items(entry, 2)
        if type(number) is not int or not 0 <= number < len(self.functions):
            raise ValueError(f"expected the number of a function, got {said(number)}")
        if type(offset) is not int or offset < 0:
            raise ValueError(f"expected a place in a function, got {said(offset)}")
        return self.functions[number], offset

    def site(self, entry: dict[str, Any]) -> tuple[Any, ...] | None:
        """Where a value was computed: its source, the instruction, and the functions around it."""
        source, instruction = entry.get("source"), entry.get("instruction")
        if source is not None:
            self.at = ("source",)
            if type(source) is not int or not 0 <= source < len(self.sources):
                raise ValueError(f"expected the number of a source, got {said(source)}")
            source = self.sources[source]
        if instruction is not None and (type(instruction) is not int or instruction < 0):
            raise ValueError(f"instruction: expected a number, got {said(instruction)}")
        calls: list[Any] = []
        if "calls" in entry:
            self.at = ("calls",)
            calls = [part for call in items(entry["calls"]) for part in self.called(call)]
        return None if instruction is source is None else (source, instruction, *calls)

    def findings(self, i: int, entry: dict[str, Any]) -> None:
        """What was found out about a value: its gradient, and whether it was read as a number."""
        if "grad" in entry:
            self.at = ("grad",)
            self.gradients[i] = self.like(i, entry["grad"])
        if "grad_state" in entry:
            self.at = ("grad_state",)
            self.states[i] = text(entry["grad_state"])
        if "read" in entry:
            self.at = ("read",)
            self.reads[i] = text(entry["read"])
        if "returned" in entry:
            self.at = ("returned",)
            fate = entry["returned"]
            if fate not in ("to J", "perhaps", "unknown") or i not in self.reads:
                raise ValueError(f"expected what became of a read, got {said(fate)}")
            self.returned[i] = fate
        if "changed_by_hook" in entry:
            self.at = ("changed_by_hook",)
            self.hooks[i] = text(entry["changed_by_hook"])
        if "elsewhere" in entry:
            self.at = ("elsewhere",)
            if entry["elsewhere"] is not True:
                raise ValueError(f"expected true, got {said(entry['elsewhere'])}")
            self.elsewhere.add(i)
        if "sharpness" in entry:
            self.at = ("sharpness",)
            self.sharpness[i] = fields.sharpness(entry["sharpness"])
        if "memory" in entry:
            self.at = ("memory",)
            if type(entry["memory"]) is not int or not 0 <= entry["memory"] < 2**63:
                raise ValueError(f"expected a number of bytes, got {said(entry['memory'])}")
            self.memory[i] = entry["memory"]

    def edges(self, i: int, entry: dict[str, Any]) -> None:
        """The local derivatives and messages on the edges into a value."""
        if "edges" not in entry:
            return
        self.at = ("edges",)
        operands, found = self.operands[i], items(entry["edges"])
        if len(found) != len(operands):
            raise ValueError(f"{len(found)} for {len(operands)} operands")
        for key, (u, edge) in enumerate(zip(operands, found, strict=True)):
            self.at = ("edges", key)
            only(edge, _EDGE)
            if "local" in edge:
                self.at = ("edges", key, "local")
                self.locals[i, key] = self.local(edge["local"], i, u)
            if "message" in edge:
                self.at = ("edges", key, "message")
                self.messages[i, key] = self.like(u, edge["message"])

    def like(self, i: int, entry: Any) -> Any:
        """A gradient: numbers of the shape of a node's value."""
        value, shape = self.value(entry), self.shapes[i]
        numbers = isinstance(value, Statistics) or (
            isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fc"
        )
        if not numbers or value.shape != shape:
            raise ValueError(f"expected floats of shape {shape}")
        return value

    def local(self, entry: Any, v: int, u: int) -> Any:
        value = self.value(entry)
        shapes = ((), self.shapes[v], self.shapes[u])
        numeric = isinstance(value, (np.ndarray, np.generic, float, int, complex))
        if not numeric or np.shape(value) not in shapes:
            raise ValueError(f"expected numbers of one of the shapes {shapes}")
        return value

    def operation(
        self,
        entry: dict[str, Any],
        operands: tuple[int, ...],
        keywords: dict[str, Any],
        shape: tuple[int, ...],
    ) -> Operation:
        name = at("op", text, entry.get("op"))
        part = entry.get("part")
        if part is not None and (type(part) is not int or not 0 <= part < 100):
            raise ValueError(f"part: expected the number of a result, got {said(part)}")
        formula = at("formula", fields.formula, entry.get("formula", ""))
        rules = at("derivatives", fields.rules, entry.get("derivatives"))
        drawn_only = at("drawn_only", fields.boolean, entry.get("drawn_only", False))
        if name not in self.rows:
            self.rows[name] = find(name)
        row = self.rows[name]
        why = ""
        if row is None or drawn_only:
            why = "is not known here"
            row = Operation(name, fields.nothing, formula, rules)
        elif self.opaque:
            why = "was saved without all of its keywords"
        operation = row if part is None else Part(row, part)
        plain = (name, len(operands), part)
        if keywords or why or plain not in self.fitting:
            at("keywords", lambda given: _try_notation(operation, len(operands), given), keywords)
            if not keywords and not why:
                self.fitting.add(plain)
        if why:
            return _withheld(operation, why)
        alike = all(self.shapes[u] == shape for u in operands)
        if alike and not keywords and isinstance(operation.function, np.ufunc) and shape == ():
            return operation  # what programs on scalars consist of
        return Checked(operation, shape)

    def value(self, entry: Any, depth: int = 0) -> Any:
        kind = type(entry)
        if entry is None or kind is bool:
            return entry
        if kind is str:
            return text(entry)
        if kind is int:
            if entry.bit_length() > BITS:
                raise ValueError("the integer is too long")
            return entry
        if depth > _DEPTH:
            raise ValueError(f"nested deeper than {_DEPTH} levels")
        if kind is list:
            return [self.value(part, depth + 1) for part in entry]
        if kind is not dict or not entry:
            raise ValueError(f"expected a value, got {said(entry)}")
        if entry.keys() == {"dtype", "value"}:
            return fields.scalar(entry["dtype"], entry["value"])
        if len(entry) != 1:
            raise ValueError(f"expected a value, got the fields {said(sorted(entry))}")
        ((tag, content),) = entry.items()
        if tag in ("array", "scalar"):
            if type(content) is not int or not 0 <= content < len(self.arrays):
                raise ValueError(f"{tag}: expected the number of an array, got {said(content)}")
            array = self.arrays[content]
            if tag == "scalar" and array.ndim:
                raise ValueError(f"scalar: the array {content} has shape {array.shape}")
            return array if tag == "array" else array[()]
        if tag == "statistics":
            return self.statistics(content)
        if tag == "float":
            return fields.number(content)
        if tag == "complex":
            real, imaginary = items(content, 2)
            return complex(fields.number(real), fields.number(imaginary))
        if tag == "tuple":
            return tuple(self.value(part, depth + 1) for part in items(content))
        if tag == "slice":
            return slice(*(self.value(end, depth + 1) for end in items(content, 3)))
        if tag == "ellipsis" and content is True:
            return Ellipsis
        if tag == "type":
            return np.dtype(fields.dtype(content))
        if tag == "text":
            self.opaque = True
            return Opaque(text(content))
        raise ValueError(f"expected a value, got the field {said(tag)}")

    def statistics(self, entry: Any) -> Statistics:
        only(entry, ("shape", "dtype", "numbers", "sample"))
        shape = tuple(items(entry.get("shape")))
        if not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise ValueError(f"statistics: expected a shape, got {said(shape)}")
        dtype = entry.get("dtype")
        if dtype not in DTYPES and dtype not in fields.NARROW:
            raise ValueError(f"statistics: no dtype {said(dtype)}")
        numbers = map(fields.number, items(entry.get("numbers"), len(NUMBERS)))
        sample = self.value({"array": entry["sample"]}) if "sample" in entry else np.empty(0)
        if sample.ndim != 1 or sample.dtype.kind != "f" or sample.size > SAMPLE:
            raise ValueError(f"statistics: a sample is at most {SAMPLE} floats")
        return Statistics(shape, dtype, **dict(zip(NUMBERS, numbers, strict=True)), sample=sample)


_EDGE = frozenset(("local", "message"))
_HEAD = (
    "format", "version", "title", "output", "wrt", "differentiated", "sources", "arrays", "nodes",
    "statements", "detail", "legible", "astray", "error", "layers", "functions", "rank",
)  # fmt: skip
_OPERATION = frozenset(
    "op part drawn_only formula derivatives edges memory instruction calls".split()
)
_NODE = _OPERATION.union(
    "name kind named scope source operands keywords value grad grad_state read returned "
    "changed_by_hook elsewhere sharpness".split()
)


def _stretch(whole: tuple[int, ...], part: tuple[int, ...]) -> None:
    """What an elementwise operation reads has the shape of its value, or is broadcast to it."""
    if part != whole and (
        len(part) > len(whole)
        or any(n not in (1, m) for n, m in zip(part[::-1], whole[::-1], strict=False))
    ):
        raise ValueError(f"one of shape {part} does not go into a value of shape {whole}")


def _try_notation(operation: Operation, count: int, keywords: Mapping[str, Any]) -> None:
    """Write the formulas once, so that the picture finds keywords that they know."""
    symbols = [notation.name(letter) for letter in (OPERAND_NAMES * (1 + count // 16))[:count]]
    v, g = notation.name("v"), notation.name("g")
    try:
        tex.formula(operation.expression(symbols, keywords))
        for key in range(count):
            operation.derivative(key, v, symbols, keywords)
            tex.formula(operation.message(key, g, v, symbols, keywords))
    except Exception as error:  # whatever a strange keyword leads to
        raise ValueError(f"no form of {operation.name} of {count} operands: {error!r}") from None


def _withheld(operation: Operation, why: str) -> Operation:
    """The notation of an operation that cannot be evaluated."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise TraceError(f"the operation {operation.name} {why}, so that it is only drawn")

    rules = operation.derivatives and tuple(
        rule and Derivative(refuse, rule.formula, rule.local and refuse)
        for rule in operation.derivatives
    )
    variadic = operation.variadic
    return Operation(operation.name, refuse, operation.formula, rules, variadic=variadic)
