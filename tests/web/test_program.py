"""Programs of scalar operations, computed by the page's own rooms: their numbers are Python's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from test_page import close

import gradviz as gv
from gradviz.ops.elementwise import ELEMENTWISE
from gradviz.web.payload import numbers, structure
from gradviz.web.program import FUNCTIONS, OF_ARRAYS

POINTS = (-2.5, -1.0, -0.3, 0.0, 0.5, 1.0, 3.0)


def test_both_sides_know_the_same_functions(rooms):
    assert list(map(set, rooms("functions"))) == [FUNCTIONS, OF_ARRAYS]


def test_every_row_of_scalar_operations_computes_the_same_in_the_page(rooms):
    refused = []
    for row in ELEMENTWISE:
        count = len(row.derivatives)
        values = [(x,) for x in POINTS] if count == 1 else [(x, y) for x in POINTS for y in POINTS]
        if count == 3:
            values = [(x, -1.0, 1.0) for x in POINTS]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = gv.trace(lambda *a, row=row: row.function(*a) * 1.5, *values[0])
            told = structure(graph)
            if told["program"] is None:
                refused.append(row.name)
                continue
            leaves = [graph.id(f"argument[{i}]") if f"argument[{i}]" in graph.names else i
                      for i in range(count)]  # fmt: skip
            places = [dict(zip(leaves, point, strict=True)) for point in values]
            found = rooms("compute", told, *places)
            for point, result in zip(values, found, strict=True):
                names = [graph.names[i] for i in leaves]
                try:
                    expected = numbers(graph.update(dict(zip(names, point, strict=True))))
                except Exception as error:
                    raise AssertionError((row.name, point)) from error
                close_or_both_lost(result, expected, (row.name, point))
    assert set(refused) <= {"where", "nan_to_num", "imag", "logaddexp2", "i0"}


@pytest.mark.parametrize("name", ["softplus", "log1p", "expm1"])
def test_a_row_of_scipy_computes_the_same_in_the_page(rooms, name):
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    function = getattr(special, name, None)
    if function is None:
        pytest.skip(f"this SciPy has no {name}")
    graph = gv.trace(lambda x: function(x) * 1.5, 0.3)
    points = (-0.9, 0.0, 1e-9, 2.0, 700.0)
    found = rooms("compute", structure(graph), *({graph.id("x"): x} for x in points))
    for point, result in zip(points, found, strict=True):
        close_or_both_lost(result, numbers(graph.update(x=point)), (name, point))


@pytest.mark.parametrize("function", [np.fmax, np.fmin, np.maximum])
def test_beside_nan_the_page_chooses_as_numpy_does(rooms, function):
    def program(x, y):
        huge = x * 1e200 * 1e200  # infinite: huge - huge is no number
        return function(huge - huge, y) + function(y, huge - huge)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = gv.trace(program, 1.0, 0.5)
        (found,) = rooms("compute", structure(graph), {graph.id("x"): 1.0, graph.id("y"): 0.5})
        expected = numbers(graph)
    assert found["values"] == expected["values"]


def close_or_both_lost(found, expected, what) -> None:
    try:
        close(found, expected)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None


def test_whole_programs_compute_the_same(rooms):
    programs = [
        ("a = x * y; b = sin(a) + x; c = b / (1 + b**2); c * c + a", dict(x=0.7, y=-1.3)),
        ("p = exp(x) / (exp(x) + exp(y)); -log(p)", dict(x=2.0, y=0.1)),
        ("s = 1 / (1 + exp(-x)); s * s * s * y", dict(x=0.2, y=5.0)),
        ("u = x * 1e-200; u * u * y", dict(x=1.0, y=2.0)),  # underflows
        ("u = x * 0; u * y", dict(x=1.0, y=2.0)),  # exactly zero
        ("d = x - x; d * y + maximum(x, y)", dict(x=1.0, y=1.0)),  # a tie
    ]
    random = np.random.default_rng(0)
    for text, values in programs:
        graph = gv.expression(text, **values)
        told = structure(graph)
        shown = graph.statements
        assert told["program"], told["refusal"]
        points = [values, *({n: float(random.normal()) for n in values} for _ in range(20))]
        places = [{shown.id(n): v for n, v in point.items()} for point in points]
        found = rooms("compute", told, *places)
        for point, result in zip(points, found, strict=True):
            close_or_both_lost(result, numbers(graph.update(point)), (text, point))


def test_a_network_of_scalars_computes_the_same(rooms, network):
    told = structure(network)
    points, graphs = [], [network]
    for _ in range(30):
        graphs.append(graphs[-1].step(0.5))
    for graph in graphs:
        points.append({network.statements.id(n): v for n, v in graph.leaf_values().items()})
    for result, graph in zip(rooms("compute", told, *points), graphs, strict=True):
        close(result, numbers(graph))


@pytest.mark.filterwarnings("ignore:the gradient is wrong")
@pytest.mark.parametrize(
    ("function", "values", "reason"),
    [
        (lambda x: np.sum(np.fft.fft(x).real * x), (np.ones(3),), "of type complex128"),
        (lambda x: np.sum(x, where=x > 0), (np.ones(3),), "cannot compute sum with where="),
        (lambda x: np.i0(x) * 2, (1.0,), "cannot compute i0"),
        (lambda x: x * x, (np.float16(1.0),), "of type float16"),
        (lambda x: np.sum(abs(x)), (np.ones(3) + 1j,), "of type complex128"),
        (lambda x: x * (x * 2).value, (1.0,), "reads plain numbers by .value"),
        (lambda x: np.sum(x * np.ones((600, 600))), (np.ones(600),), "carry 360,600 numbers"),
    ],
)
def test_what_the_page_cannot_compute_it_refuses_with_the_reason(function, values, reason):
    told = structure(gv.trace(function, *values))
    assert told["program"] is None
    assert reason in told["refusal"]["en"]


def test_formats_agree_with_pythons(rooms):
    numbers_ = [0.0, -0.0, 1.0, -1.5, 123456.0, 99999.5, 0.0001, 0.00001234567, 1e300, -1e-300,
                5e-324, 0.1 + 0.2, 1 / 3, 100000.0, 12345.6, math.pi * 1e5]  # fmt: skip
    from test_page import pretty

    found = rooms("short", *numbers_)
    assert found == [pretty(x) for x in numbers_]
