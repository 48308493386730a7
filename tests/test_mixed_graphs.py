"""A Graph of which some arrays were kept and of others only their statistics."""

import numpy as np
import pytest

import gradviz as gv
from gradviz.statistics import Statistics, measure


def loss(w, b, x, t):
    z = w @ x + b
    a = 1 / (1 + np.exp(-z))
    return 0.5 * np.sum((t - a) ** 2)


def mixed(seed):
    """A Graph with its gradients, and what it was before some of its arrays were let go."""
    arguments = np.ones((3, 4)), np.zeros(3), np.arange(4.0), np.ones(3)
    whole, graph = (gv.trace(loss, *arguments, wrt=("w", "b")).backward() for _ in range(2))
    random = np.random.default_rng(seed)
    for node in graph.values:
        if np.ndim(node.value) and random.random() < 0.4:
            node.value = measure(node.value)
    return graph, whole


@pytest.mark.parametrize("seed", range(8))
def test_all_that_can_be_told_is_told_and_is_what_the_arrays_say(seed, tmp_path):
    graph, whole = mixed(seed)
    assert graph.shares().rows == whole.shares().rows
    steps = {"detail": "operations"}
    assert graph.reuse("w", "b", **steps).rows == whole.reuse("w", "b", **steps).rows
    for name in ("w", "b"):
        told, expected = (g.explain(name, **steps).factored.text for g in (graph, whole))
        assert [line.split("=")[0] for line in told.split("\n")] == [
            line.split("=")[0] for line in expected.split("\n")
        ]
    for v, operands in enumerate(graph.operands):
        for key in range(len(operands)):
            local = graph.local(v, key)
            if local is not None:  # exact, or not told
                np.testing.assert_array_equal(local, whole.local(v, key))
    assert graph.diagnose().ok == whole.diagnose().ok
    assert gv.compare(graph, graph)
    graph.save(tmp_path / "g.html")
    graph.save(tmp_path / "g.json")
    loaded = gv.load(tmp_path / "g.json")
    assert loaded.draw().svg == graph.draw().svg
    assert loaded.gradients().keys() == whole.gradients().keys()


def test_what_needs_an_array_that_was_not_kept_says_so():
    graph, _ = mixed(1)
    assert any(isinstance(node.value, Statistics) for node in graph.values)
    statistics = next(n.value for n in graph.values if isinstance(n.value, Statistics))
    for compute in (
        lambda: graph.check(),
        lambda: graph.update(t=np.zeros(3)),
        lambda: statistics * 2.0,
        lambda: 1 - statistics,
        lambda: -statistics,
        lambda: np.ones(3) @ statistics,
    ):
        with pytest.raises(gv.TraceError, match="only the statistics of this array were kept"):
            compute()
