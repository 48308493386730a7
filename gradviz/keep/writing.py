"""A Graph's file: JSON that holds the whole Graph, arrays exactly."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.gathering import places
from gradviz.errors import TraceError
from gradviz.files import writable, write_atomic
from gradviz.garbage import without_collection
from gradviz.keep.form import BITS, DTYPES, FORMAT, NUMBERS, TEXT, VERSION
from gradviz.model import Recording
from gradviz.ops import notation
from gradviz.ops.extent import Checked
from gradviz.ops.operation import Operation, Part, literal
from gradviz.ops.table import ADDED, find
from gradviz.rank import Held, Rank
from gradviz.statistics import Statistics
from gradviz.words import Site

if TYPE_CHECKING:
    from gradviz.graph import Graph

_LISTS = frozenset("arrays sources nodes statements layers".split())  # an entry a line


def save(graph: Graph, path: str | os.PathLike[str]) -> Path:
    """Write a Graph as JSON; the file is replaced whole or not at all.

    Raises
    ------
    TraceError
        A value has a dtype that other machines do not have (`numpy.longdouble`), or a name or a
        text is longer than a file may hold.
    OSError
        The file cannot be written.
    """
    return write_atomic(path, dumps(graph))


def dumps(graph: Graph) -> str:
    """The text of the file, see `save`."""
    parts = []
    with without_collection():
        document = pack(graph)
        document["arrays"] = [_array_text(array) for array in document["arrays"]]
        for field, content in document.items():
            if isinstance(content, list) and field in _LISTS:
                lines = ",\n".join(map(_text, content))
                parts.append(f'"{field}": [\n{lines}\n]' if lines else f'"{field}": []')
            else:
                parts.append(f'"{field}": {_text(content)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def pack(graph: Graph) -> dict[str, Any]:
    """A Graph in the form of the file, but with its arrays as they are."""
    return _Writer(graph.origin.whole if graph.origin else graph).document()


def _rank(rank: Rank) -> dict[str, Any]:
    def held(one: Held) -> list[Any]:
        size = one.reduced
        told = size if size is None or math.isfinite(size) else str(size)
        return [one.how, one.copies, one.digest, told]

    return {
        "number": rank.number,
        "world": rank.world,
        "parameters": {_kept(name): held(one) for name, one in rank.parameters.items()},
        "buffers": {_kept(name): digest for name, digest in rank.buffers.items()},
    }


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.arrays: list[Any] = []
        self.positions: dict[Any, int] = {}  # of arrays and sources
        self.sources: list[Any] = []
        self.rows: dict[str, Operation | None] = {}
        self.instructions: dict[Any, int] = {}  # of the program, in the order of their first values
        self.functions: dict[Any, int] = {}

    def document(self) -> dict[str, Any]:
        graph = self.graph
        try:
            graph.backward()
            differentiated = True
        except TraceError:  # whoever asks the loaded Graph hears why
            differentiated = False
        nodes = [self.node(i, differentiated) for i in range(len(graph))]
        statements = list(self.statements())
        drawn: dict[str, Any] = {"detail": "operations"} if graph.statements is graph else {}
        if graph.legible != Recording.legible:
            drawn["legible"] = graph.legible
        if graph.error is not None:
            drawn["error"] = writable(str(graph.error))[:TEXT]
        if differentiated and graph.astray:
            drawn["astray"] = writable(graph.astray)
        return {
            "format": FORMAT,
            "version": VERSION,
            "title": _kept(graph.title),
            "output": graph.output,
            "wrt": sorted(graph.wrt),
            "differentiated": differentiated,
            **drawn,
            "sources": self.sources,
            "arrays": self.arrays,
            "nodes": nodes,
            "statements": statements,
            **({"layers": self.layers()} if graph.layers else {}),
            **({"functions": [_kept(f.co_name) for f in self.functions]} if self.functions else {}),
            **({} if graph.rank is None else {"rank": _rank(graph.rank)}),
        }

    def layers(self) -> list[dict[str, Any]]:
        return [
            {
                "scope": [_kept(part) for part in scope],
                "kind": _kept(layer.kind),
                "arguments": _kept(layer.arguments),
                "training": layer.training,
            }
            for scope, layer in self.graph.layers.items()
        ]

    def node(self, i: int, differentiated: bool) -> dict[str, Any]:
        graph, node = self.graph, self.graph.values[i]
        entry: dict[str, Any] = {"name": _kept(graph.names[i]), "kind": graph.kind(i)}
        if i in graph.named:
            entry["named"] = True
        if node.scope:
            entry["scope"] = [_kept(part) for part in node.scope]
        if source := graph.source(i):
            entry["source"] = self.source(source)
        if not graph.is_leaf(i):
            entry |= self.operation(i)
            if node.site:
                place = id(node.site[0]), node.site[1]
                entry["instruction"] = self.instructions.setdefault(place, len(self.instructions))
            if called := places(node):
                entry["calls"] = [
                    [self.functions.setdefault(function, len(self.functions)), offset]
                    for function, offset in called.items()
                ]
            entry["operands"] = list(graph.operands[i])
        if node.keywords:
            entry["keywords"] = {_kept(k): self.value(v) for k, v in node.keywords.items()}
        entry["value"] = self.value(node.value if graph.is_leaf(i) else _computed(node.value))
        if differentiated:
            entry["grad_state"] = graph.grad_state(i)
            if hook := graph.changed_by_hooks.get(i):
                entry["changed_by_hook"] = writable(hook)[:TEXT]
            if i in graph.derivatives.gradients:
                entry["grad"] = self.value(graph.derivatives.gradients[i])
        if i in graph.elsewhere:
            entry["elsewhere"] = True
        if i in graph.sharpness:
            entry["sharpness"] = list(graph.sharpness[i])
        if i in graph.memory:
            entry["memory"] = graph.memory[i]
        if i in graph.reads:
            entry["read"] = writable(graph.reads[i])
            if differentiated and i in graph.returned:
                entry["returned"] = "to J" if graph.sure else "perhaps"
            elif differentiated and i in graph.ends:
                entry["returned"] = "unknown"
        elif differentiated and i in graph.returned:  # read unnoticed
            entry |= {"read": writable(graph.returned[i]), "returned": "to J"}
        edges: list[dict[str, Any]] = []
        for key in range(len(graph.operands[i])):
            local = graph.local(i, key)
            edges.append({} if local is None else {"local": self.value(local)})
            if differentiated and (i, key) in graph.derivatives.messages:
                edges[-1]["message"] = self.value(graph.derivatives.messages[i, key])
        if any(edges):
            entry["edges"] = edges
        return entry

    def operation(self, i: int) -> dict[str, Any]:
        """An operation by name; one that not every gradviz knows takes its notation along."""
        fields: dict[str, Any] = {}
        node = self.graph.values[i]
        operation = node.operation
        if isinstance(operation, Checked):
            operation = operation.row
        if isinstance(operation, Part):
            fields["part"] = operation.index
            operation = operation.whole
        name = operation.name
        if name not in self.rows:
            self.rows[name] = find(name)
        row = self.rows[name]
        drawn_only = (
            row is None or row.function is not operation.function or operation.derivatives is None
        )
        if drawn_only:
            fields["drawn_only"] = True
        if drawn_only or name in ADDED:
            fields |= _notation(operation, len(self.graph.operands[i]), node.keywords)
        return {"op": _kept(name), **fields}

    def statements(self) -> Iterator[dict[str, Any]]:
        """The local derivatives between named values, which the picture at that level shows."""
        shown = self.graph.statements
        if shown.origin is None:
            return
        kept = shown.origin.kept
        for v, edges in enumerate(shown.operands):
            for key, u in enumerate(edges):
                local = shown.local(v, key)
                if local is not None:
                    v_u = {"value": kept[v], "operand": kept[u]}
                    yield v_u | {"local": self.value(local)}

    def source(self, source: Site) -> int:
        if source not in self.positions:
            self.positions[source] = len(self.sources)
            self.sources.append([_kept(source.file), source.line, writable(source.text)[:TEXT]])
        return self.positions[source]

    def value(self, value: Any) -> Any:
        """A value or keyword in the form of the file."""
        kind = type(value)
        if kind is np.float64 and math.isfinite(value):
            return {"dtype": "float64", "value": float(value)}
        if value is None or kind is bool or (kind is int and value.bit_length() < BITS):
            return value
        if kind is str:
            return _kept(value)
        if kind is float:
            return {"float": _number(value)}
        if kind is complex:
            return {"complex": [_number(value.real), _number(value.imag)]}
        if kind is np.ndarray and value.dtype.kind in "biufc":
            return {"array": self.array(value)}
        if isinstance(value, np.generic) and value.dtype.kind in "biufc":
            item = value.item() if value.dtype.itemsize > 4 else _short(value)
            if value.dtype.kind == "c" or not math.isfinite(item):
                return {"scalar": self.array(np.asarray(value))}
            return {"dtype": _dtype(value.dtype), "value": item}
        if kind is Statistics:
            return {"statistics": self.statistics(value)}
        if kind is list:
            return [self.value(part) for part in value]
        if kind is tuple:
            return {"tuple": [self.value(part) for part in value]}
        if kind is slice:
            return {"slice": [self.value(end) for end in (value.start, value.stop, value.step)]}
        if value is Ellipsis:
            return {"ellipsis": True}
        if kind is type or isinstance(value, np.dtype):
            try:
                return {"type": _dtype(np.dtype(value))}
            except (TypeError, TraceError):
                pass
        return {"text": writable(notation.text(literal(value)))[:TEXT]}

    def statistics(self, value: Statistics) -> dict[str, Any]:
        entry: dict[str, Any] = {"shape": list(value.shape), "dtype": value.dtype}
        entry["numbers"] = [_number(getattr(value, name)) for name in NUMBERS]
        if value.sample.size:
            entry["sample"] = self.array(value.sample)
        return entry

    def array(self, array: np.ndarray[Any, Any]) -> int:
        """The position of an array in the file; equal ones are kept once."""
        digest = hashlib.blake2b(np.ascontiguousarray(array).tobytes()).digest()
        key = (_dtype(array.dtype), array.shape, digest)
        if key not in self.positions:
            self.positions[key] = len(self.arrays)
            self.arrays.append(array)
        return self.positions[key]


def _kept(text: str) -> str:
    """A text in the form of the file; one that `load` would refuse is not written."""
    text = writable(text)
    if len(text) > TEXT:
        raise TraceError(
            f"a file holds names and texts of at most {TEXT} characters; {text[:20]!r}... has "
            f"{len(text)}"
        )
    return text


def _notation(operation: Operation, count: int, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """What an operation and its derivatives look like, for readers that do not know it."""
    formula = operation.formula
    written = formula if isinstance(formula, str) else formula(count, keywords)
    if operation.derivatives is None:
        return {"formula": written}
    rules: list[dict[str, str] | None] = []
    for key in range(count):
        rule = operation.rule(key)
        if rule is None:
            rules.append(None)
            continue
        formula = rule.formula
        message = formula if isinstance(formula, str) else formula(key, count, keywords)
        rules.append({"local" if rule.local else "message": message})
    return {"formula": written, "derivatives": rules}


def _computed(value: Any) -> Any:
    """A number that was computed has a dtype, also where Python computed it."""
    return np.asarray(value)[()] if type(value) in (bool, int, float, complex) else value


@cache
def _dtype(dtype: np.dtype[Any]) -> str:
    if dtype.name not in DTYPES:
        raise TraceError(f"values of dtype {dtype} cannot be saved: other machines lack it")
    return dtype.name


def _short(value: np.generic) -> Any:
    """The shortest decimal number that is a float16 or float32."""
    return float(str(value)) if value.dtype.kind == "f" else value.item()


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _array_text(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    raw = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(raw).decode(),
    }
