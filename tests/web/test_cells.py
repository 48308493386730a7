"""Heat maps of arrays, as they are sent to the page."""

from __future__ import annotations

import ast
import base64

import numpy as np
import pytest

import gradviz as gv
from gradviz.statistics import measure
from gradviz.web import cells, payload


def numbers(heat) -> np.ndarray:
    """The numbers that a map shows."""
    raw = np.frombuffer(base64.b64decode(heat["cells"]), np.uint8).astype(float)
    raw[raw == cells.BROKEN] = np.nan
    return ((raw - cells.ZERO) / cells.ZERO * heat["top"]).reshape(heat["rows"], heat["columns"])


@pytest.mark.parametrize("shape", [(7,), (5, 9), (2, 3, 4), (64, 64)])
def test_each_entry_of_an_array_that_fits_is_a_cell(shape):
    array = np.random.default_rng(0).normal(size=shape)
    heat = cells.heat_map(array, 64)
    found = numbers(heat)
    assert found.size == array.size
    assert np.allclose(found.ravel(), array.ravel(), atol=heat["top"] / cells.ZERO)
    assert not heat["averaged"]
    assert not heat["sampled"]


def test_a_cell_of_a_larger_array_is_the_mean_of_its_entries():
    array = np.arange(6.0 * 130).reshape(6, 130)
    heat = cells.heat_map(array, 10)
    means = np.stack([array[:, 13 * n : 13 * n + 13].mean(axis=1) for n in range(10)], axis=1)
    assert heat["averaged"]
    assert np.allclose(numbers(heat), means, atol=heat["top"] / cells.ZERO)


def test_what_is_not_finite_is_no_colour_and_spoils_only_its_cell():
    array = np.ones((4, 4))
    array[1, 2] = np.nan
    found = numbers(cells.heat_map(array, 64))
    assert np.isnan(found[1, 2])
    assert np.isnan(found).sum() == 1
    assert np.nanmin(found) == 1


def test_of_statistics_the_sample_is_shown_and_said_to_be_one():
    small, large = measure(np.arange(16.0)), measure(np.arange(1e5))
    assert not cells.heat_map(small, 64)["sampled"]
    heat = cells.heat_map(large, 64)
    assert heat["sampled"]
    assert numbers(heat).shape == (16, 16)
    assert cells.heat_map(measure(np.empty((0, 3))), 64) is None


@pytest.mark.parametrize("value", [1.5, np.zeros(1), np.zeros((0, 3)), np.ones(4, complex)])
def test_what_is_no_larger_real_array_has_no_map(value):
    assert cells.heat_map(value, 64) is None


def test_all_maps_of_a_graph_together_have_a_bounded_size():
    for count in (1, 30, 1000, 100_000):
        side = cells.side([np.zeros((100, 100))] * count)
        assert count * side**2 <= cells.ROOM
    assert cells.side([np.zeros((100, 100))] * 8) == cells.SIDE


def test_of_a_large_graph_arrays_that_are_folded_away_are_told_in_words():
    count = payload.IN_NUMBERS

    def scaled(w):
        for _ in range(count):
            w = w * 0.9999
        return np.sum(w)

    w = np.array([3.0, -4.0])
    graph = gv.trace(scaled, w)
    sent = payload.numbers(graph, "operations", {graph.output})
    leaf = graph.id("w")
    assert sent["values"][leaf]["first"] == [3.0, -4.0]
    [*edges, _] = enumerate(graph.edges())
    assert len(edges) >= count
    for n, (_, v, key) in edges[:: count // 20]:
        steps = np.count_nonzero([not graph.is_leaf(i) for i in range(v + 1)])
        value, gradient = w * 0.9999**steps, 0.9999 ** (count - steps)
        hidden = sent["values"][v]
        assert np.allclose(ast.literal_eval(hidden["full"]), value)
        assert np.isclose(hidden["norm"], np.linalg.norm(value))
        assert "first" not in hidden
        assert np.allclose(ast.literal_eval(sent["grads"][v]["full"]), [gradient] * 2)
        if key == 0:
            message = ast.literal_eval(sent["messages"][n]["full"])
            assert np.allclose(message, [gradient * 0.9999] * 2)
