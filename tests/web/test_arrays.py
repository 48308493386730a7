"""Programs of arrays, computed by the page's own modules: their numbers are Python's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from array_programs import program
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

import gradviz as gv
from gradviz.chain.backward import state
from gradviz.web.payload import numbers, structure

KINDS = ("values", "grads", "locals", "messages")


def lists(x):
    return None if x is None else [list(np.shape(x)), np.ravel(np.asarray(x, float))]


def all_numbers(graph):
    """What Python computes, in the order of the page's."""
    shown = graph.statements
    gradients, messages = shown.derivatives
    return {
        "values": [lists(node.value) for node in shown.values],
        "grads": [lists(gradients.get(i)) for i in range(len(shown))],
        "locals": [lists(shown.local(v, key)) for _, v, key in shown.edges()],
        "messages": [lists(messages.get((v, key))) for _, v, key in shown.edges()],
        "states": [state(shown, i) for i in range(len(shown))],
    }


def agree(found, graph, precise=1e-9):
    expected = all_numbers(graph)
    for kind in KINDS:
        for i, (ours, theirs) in enumerate(zip(found[kind], expected[kind], strict=True)):
            assert (ours is None) == (theirs is None), (kind, i)
            if ours is not None:
                assert ours[0] == theirs[0], (kind, i)
                numbers_ = [float(x) for x in ours[1]]
                np.testing.assert_allclose(numbers_, theirs[1], precise, precise, err_msg=kind)
    assert found["states"] == expected["states"]


def point(graph, leaves):
    return {graph.statements.id(name): np.asarray(x).tolist() for name, x in leaves.items()}


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_generated_programs_compute_the_same_in_the_page(rooms, data):
    dtype = data.draw(st.sampled_from([np.float64, np.float64, np.float32]))
    made = program(lambda n: data.draw(st.integers(0, n - 1)), 6, dtype)
    names = ", ".join(f"x{i}" for i in range(len(made.leaves)))
    function = eval(f"lambda {names}: run({names})", {"run": lambda *x: made.run(np, x)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = gv.trace(function, *made.leaves)
        told = structure(graph)
        if told["program"] is None:  # what it has no formulas for: said by operation
            assert any(word in told["refusal"]["en"] for word in ("cannot compute", "of type"))
            return
        rng = np.random.default_rng(0)
        graphs = [graph]
        for size in (0.01, 0.5):
            moved = {
                name: np.asarray(x + size * rng.normal(size=np.shape(x)), dtype)
                for name, x in graph.leaf_values().items()
            }
            try:
                graphs.append(graph.update(moved))
            except Exception:  # out of the domain of a function
                continue
        points = [point(graph, at.leaf_values()) for at in graphs]
        for found, at in zip(rooms("arrays", told, *points), graphs, strict=True):
            if found.get("astray") is None:
                agree(found, at, 1e-9 if dtype is np.float64 else 3e-4)


def contraction(a, b):
    rows = np.einsum("ij,kj->ik", a, b) + np.einsum("ij->i", a)[:, None] + np.einsum("...j->...", b)
    return np.sum(rows * np.einsum("ij,ij,kj->k", a, a, b)) + np.einsum("ii", rows[:, :2])


def attention(q, k, v):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(4.0)
    weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    weights = weights / np.sum(weights, axis=-1, keepdims=True)
    return np.mean((weights @ v) ** 2)


def written(x, w):
    made = np.zeros((3, 4))
    made[1:, ::2] = x[:2, :2] * w
    made[0, [1, 1, 2]] = np.concatenate([x[2, :2], w[None]])
    return np.sum(np.pad(made, 1) * np.pad(np.tanh(made), 1, mode="edge")) + np.var(made, axis=0)[0]


def relu(x, w):
    z = x @ w
    h = np.where(z > 0, z, 0.1 * z) * (z < 2.0)
    return np.sum(np.where(np.isnan(h), 0.0, h) ** 2)


def ranked(x, w):
    return np.sum(np.sort(x, axis=0) * w) + np.sort(x, axis=None)[4] ** 2 + np.sort(x)[1, -1]


RANDOM = np.random.default_rng(3)
WRITTEN_OUT = [
    (contraction, (RANDOM.normal(size=(2, 3)), RANDOM.normal(size=(2, 3)))),
    (attention, tuple(RANDOM.normal(size=(2, 3, 4)) for _ in range(3))),
    (written, (RANDOM.normal(size=(3, 3)), np.float64(0.7))),
    (ranked, (RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 3)))),
    (relu, (RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(3, 2)))),
]


@pytest.mark.parametrize(
    ("function", "values"), WRITTEN_OUT, ids=lambda f: getattr(f, "__name__", "")
)
def test_programs_of_every_day_compute_the_same_anywhere(rooms, function, values):
    graph = gv.trace(function, *values)
    told = structure(graph)
    assert told["program"], told["refusal"]
    graphs = [graph]
    for seed in range(4):  # masks and maxima change from one to the other
        rng = np.random.default_rng(seed)
        leaves = {n: rng.normal(size=np.shape(x)) for n, x in graph.leaf_values().items()}
        graphs.append(graph.update(leaves))
    found = rooms("arrays", told, *(point(graph, at.leaf_values()) for at in graphs))
    for page, python in zip(found, graphs, strict=True):
        assert page.get("astray") is None
        agree(page, python)


def test_a_graph_of_single_numbers_computes_the_same(rooms):
    values = RANDOM.normal(size=(3, 2)), RANDOM.normal(size=(2, 3)), RANDOM.normal(size=3)
    graph = gv.trace(lambda w, x, b: np.sum(np.tanh(x @ w @ x + b) ** 2), *values).elements()
    told = structure(graph)
    assert told["program"], told["refusal"]
    moved = graph.update({name: x + 0.25 for name, x in graph.leaf_values().items()})
    [found] = rooms("arrays", told, point(graph, moved.leaf_values()))
    agree(found, moved)


def test_what_is_shown_of_arrays_is_what_python_shows(rooms):
    rng = np.random.default_rng(0)
    shapes = [(2,), (3,), (8,), (9,), (2, 2), (4, 4), (5, 2), (3, 1), (2, 2, 2), (70, 3), (1, 1)]
    for dtype in (np.float64, np.float32):
        for shape in shapes:
            x = rng.normal(size=shape).astype(dtype) * 10.0 ** rng.integers(-7, 8)
            for values in (x, np.round(x, 1), np.zeros_like(x), np.abs(x) * 0 + dtype(2.5)):
                graph = gv.trace(lambda a: np.sum(a * a * 3), values)
                (found,) = rooms("compute", structure(graph), {})
                expected = numbers(graph)
                for kind in KINDS:
                    for ours, theirs in zip(found[kind], expected[kind], strict=True):
                        same_told(ours, theirs)


def same_told(ours, theirs):
    if not isinstance(theirs, dict):
        assert theirs is None or np.isclose(ours, theirs, 1e-5)
        return
    for key in ("shape", "listed", "short"):
        assert ours.get(key) == theirs.get(key)
    if len(theirs["cells"]) == 3 and "listed" not in theirs:  # a mean, by sums in another order
        told = [np.array(q["cells"], float) for q in (ours, theirs)]
        np.testing.assert_allclose(*told, rtol=1e-2)
    else:
        assert (ours["cells"], ours["full"]) == (theirs["cells"], theirs["full"])
    assert np.isclose(ours["norm"], theirs["norm"], 1e-5)
    assert ("first" in ours) == ("first" in theirs)
    np.testing.assert_allclose(ours.get("first", []), theirs.get("first", []), rtol=1e-5)
    if "heat" in theirs:
        assert ours["heat"].keys() == theirs["heat"].keys()
        assert (ours["heat"]["rows"], ours["heat"]["columns"]) == (
            theirs["heat"]["rows"], theirs["heat"]["columns"],
        )  # fmt: skip


def branching(x):
    z = np.tanh(x)
    loss = np.sum(z**2)
    if loss > 1.0:
        loss = loss + 10.0
    mask = z > 0
    return loss * np.sum(mask) + np.sum(z * mask)


@pytest.mark.filterwarnings("ignore:the gradient is wrong")
@pytest.mark.parametrize(
    ("function", "near", "far"),
    [
        (branching, [0.3, -0.2], [3.0, -3.0]),  # the other branch
        (branching, [0.3, -0.2], [0.3, 0.2]),  # another mask, of which a count was made
        (lambda x: x[np.argmax(x)] * x[0], [0.3, -0.2], [0.3, 0.9]),
        (lambda x: np.sum(np.floor(x).astype(int) * x), [0.3, -0.2], [1.3, -0.2]),
        (lambda x: x[0] * float(x[1]), [0.3, -0.2], [0.3, 0.9]),
        (lambda x: x[0] if x[1] < 0 else x[0] * 2, [0.3, -0.2], [0.3, 0.9]),
        (lambda x: np.sum(x[x > 0]), [0.3, -0.2], [0.3, 0.9]),
        (lambda x: np.sum(np.where(kept := x > 0, x, 0)) * kept.sum(), [0.3, -0.2], [0.3, 0.9]),
    ],
)
def test_where_the_program_would_go_another_way_the_page_has_no_numbers(rooms, function, near, far):
    graph = gv.trace(function, np.array(near))
    told = structure(graph)
    here, there = rooms("arrays", told, *(point(graph, {"x": x}) for x in (near, far)))
    assert here.get("astray") is None
    agree(here, graph)
    assert "test_arrays.py" in there["astray"]


def test_a_hidden_maximum_moves_with_its_array(rooms):
    graph = gv.trace(
        lambda x: np.sum(np.exp(x - np.logaddexp.reduce(x)) * x), np.array([0.1, 0.5, -1.0])
    )
    far = {"x": np.array([1000.0, 1001.0, 999.5])}
    (found,) = rooms("arrays", structure(graph), point(graph, far))
    agree(found, graph.update(far))
