"""The page's modules without a page: each is Python's twin in what both can tell."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import numpy as np
import page_types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from literally import Reader
from programs import programs
from test_page import pretty

import gradviz as gv
from gradviz.chain.course import course
from gradviz.ops.elementwise import ELEMENTWISE
from gradviz.web.page import words
from gradviz.web.payload import numbers, structure
from gradviz.web.rooms import joined

HERE = Path(__file__).parent / "js"
JS = Path(gv.__file__).parent / "web" / "js"


def state(graph, detail=None):
    return {
        "structure": structure(graph, detail),
        "numbers": numbers(graph, detail),
        "words": words(),
    }


def computable():
    """Each row that the page can compute, in a small program around it."""
    found = {}
    with np.errstate(all="ignore"):
        for row in ELEMENTWISE:
            leaves = [gv.input(0.25 + 0.5 * n, f"x{n}") for n in range(len(row.derivatives))]
            graph = gv.graph(row.function(*leaves) * leaves[0])
            if structure(graph)["program"]:
                found[row.name] = graph
    return found


COMPUTABLE = computable()


def agree(found, expected, size=1.0):
    """One number, as far as sums of numbers of that size tell; one is not finite as the other."""
    found, expected = float(found), float(expected)
    if math.isfinite(found) and math.isfinite(expected):
        return abs(found - expected) <= 1e-11 * (abs(expected) + size)
    return str(found) == str(expected)


def test_the_modules_own_tests_pass(node):
    files = sorted(map(str, HERE.glob("*.test.js")))
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("entry", ["widget", "alone", "recorded", "recorded_widget"])
def test_the_rooms_joined_are_one_module_that_imports_nothing(node, tmp_path, entry):
    path = tmp_path / "joined.mjs"
    path.write_text(joined(entry), encoding="utf-8")
    subprocess.run([node, "--check", path], check=True)  # each name is declared once
    assert not re.search(r"^import|/\*\*", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_room_belongs_to_the_page_and_keeps_to_one_concern():
    shipped = joined("widget") + joined("alone") + joined("recorded")
    for path in JS.glob("*.js"):
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 300, path.name
        assert re.search(r"^(?:export )?(?:async )?(?:class|const|function) (\w+)", source, re.M), (
            path
        )
        for name in re.findall(r"^export (?:class|const|function) (\w+)", source, re.MULTILINE):
            assert re.search(rf"^(?:class|const|function) {name}\b", shipped, re.MULTILINE), path


def test_typescript_knows_the_types_that_python_sends():
    assert page_types.TARGET.read_text(encoding="utf-8") == page_types.typescript(), (
        "run python scripts/page_types.py"
    )


def test_numbers_in_formulas_are_written_with_six_digits(rooms):
    values = [0.1 + 0.2, -1 / 3, 1e-7, 123456789.0, "inf", "NaN"]
    assert rooms("numerals", *values) == [
        "0.3", "- 0.333333", r"1 \times 10^{-7}", r"1.23457 \times 10^{8}", r"\infty",
        r"\mathrm{nan}",
    ]  # fmt: skip


@given(x=st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=300, deadline=None)
def test_any_number_is_written_as_in_pythons_pictures(rooms, x):
    assert rooms("short", x) == [pretty(x)]


def hold_ledger(rooms, graph, targets):
    told = graph.statements
    ledger = graph.reuse(*[told.names[i] for i in targets])
    for found, row in zip(rooms("ledger", *targets), ledger.rows, strict=True):
        assert told.names[found["target"]] == row.target
        for key in ("computed", "reused", "read"):
            assert [told.names[i] for i in found[key]] == list(getattr(row, key)), key
        assert found["vjps"] == row.vjps
        assert int(found["without"]) == row.vjps_without_cache


def hold_course(rooms, graph, edges, targets):
    """The page steps through the events that Python's films show."""
    told = graph.statements
    expected = course(told, [told.names[i] for i in targets])
    place = {(edge["v"], edge["key"]): e for e, edge in enumerate(edges)}
    plain = [[kind, *([] if what is None else [place.get(what, what)])] for kind, what in expected]
    assert rooms("course", *targets) == plain


def hold_paths(rooms, graph, edges, i):
    told = graph.statements
    explanation = graph.explain(told.names[i])
    expected = explanation.paths()
    found = rooms("paths", i, len(expected) + 1)
    assert len(found) == len(expected) == explanation.path_count
    places = {tuple((edges[e]["v"], edges[e]["key"]) for e in path["edges"]): path["value"]
              for path in found}  # fmt: skip
    assert places.keys() == {path.edges for path in expected}
    for path in expected:
        assert agree(places[path.edges], path.value)
    sizes = [abs(float(path["value"])) for path in found]
    assert sizes == sorted(sizes, reverse=True) or any(map(math.isnan, sizes))


def hold_formulas(rooms, told, reader, i):
    """Read literally, every equation holds."""
    formulas = rooms("formulas", i)
    lines = formulas["symbols"] + formulas["numbers"]
    for part in (lines, formulas["factored"]):
        tex = " \\\\\n".join(line["aligned"] for line in part)
        assert tex.count("{") == tex.count("}")
        if reader and "cdots" not in tex and "paths" not in tex:
            reader.latex(f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}")


@given(program=programs(max_steps=8), data=st.data())
@settings(max_examples=100, deadline=None)
def test_of_any_program_the_page_tells_what_python_tells(rooms, program, data):
    graph = program.graph()
    told = graph.statements
    sent = state(graph)
    edges = sent["structure"]["edges"]
    rooms("open", sent)
    grads = sent["numbers"]["grads"]
    reached = [i for i in range(told.output) if told.kind(i) != "constant" and grads[i] is not None]
    if not reached:
        return
    targets = data.draw(st.permutations(reached))
    hold_ledger(rooms, graph, targets)
    hold_course(rooms, graph, edges, targets)
    hold_course(rooms, graph, edges, [])
    reader = Reader(told)
    for i in reached:
        if graph.explain(told.names[i]).path_count <= 50:
            hold_paths(rooms, graph, edges, i)
        hold_formulas(rooms, told, reader, i)


@given(program=programs(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_of_any_program_the_page_computes_what_python_computes(rooms, program, data):
    graph = program.graph()
    leaves = sorted(graph.leaf_values())
    values = {name: data.draw(st.floats(-3, 3), label=name) for name in leaves}
    place = {graph.statements.id(name): value for name, value in values.items()}
    (found,) = rooms("compute", structure(graph), place)
    expected = numbers(graph.update(values))
    assert found["states"] == expected["states"]
    every = [q for key in ("values", "grads", "locals", "messages") for q in expected[key]]
    size = max(abs(q) for q in every if isinstance(q, float))
    for key in ("values", "grads", "locals", "messages"):
        for a, b in zip(found[key], expected[key], strict=True):
            assert (a is None) == (b is None)
            assert a is None or agree(a, b, size), (key, a, b)


@pytest.mark.parametrize("graph", COMPUTABLE.values(), ids=COMPUTABLE)
def test_of_every_operation_that_the_page_computes_it_tells_what_python_tells(rooms, graph):
    told = graph.statements
    sent = state(graph)
    rooms("open", sent)
    reached = [i for i in range(told.output) if told.kind(i) != "constant"]
    hold_ledger(rooms, graph, reached)
    for i in reached:
        hold_paths(rooms, graph, sent["structure"]["edges"], i)
        hold_formulas(rooms, told, None, i)
    for e in range(len(sent["structure"]["edges"])):
        for line in rooms("edge", e):
            assert line["tex"].count("{") == line["tex"].count("}")


@given(name=st.sampled_from(sorted(COMPUTABLE)), data=st.data())
@settings(max_examples=200, deadline=None)
def test_every_operation_is_computed_as_in_python_at_any_point(rooms, name, data):
    graph = COMPUTABLE[name]
    values = {
        name: data.draw(st.floats(-20, 20), label=name) for name in sorted(graph.leaf_values())
    }
    place = {graph.statements.id(name): value for name, value in values.items()}
    (found,) = rooms("compute", structure(graph), place)
    with np.errstate(all="ignore"):
        expected = numbers(graph.update(values))
    for key in ("values", "grads", "locals", "messages"):
        for a, b in zip(found[key], expected[key], strict=True):
            assert (a is None) == (b is None)
            assert a is None or agree(a, b, 1e-3), (key, a, b)
