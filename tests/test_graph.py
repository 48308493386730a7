"""A Graph as an object: it is whole when it is made, and goes when nobody holds it."""

import gc
import weakref

import numpy as np
import pytest

import gradviz as gv

USES = {
    "drawn": lambda g: g.draw().svg,
    "drawn by operations": lambda g: g.draw(detail="operations").svg,
    "explained": lambda g: g.explain("w").text,
    "asked for reuse": lambda g: g.reuse().text,
    "checked": lambda g: g.check().text,
    "examined": lambda g: g.diagnose().text,
    "made a page": lambda g: g.save("page.html"),
    "folded": lambda g: g.draw(budget=2).svg,
    "saved": lambda g: g.save("graph.json"),
    "updated": lambda g: g.step(0.1).draw().svg,
    "asked for its networkx graph": lambda g: g.dag,
}


def loss(w, x):
    z = w @ x
    a = 1 / (1 + np.exp(-z))
    return np.sum(a**2)


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("use", USES)
def test_a_graph_is_freed_with_its_last_reference(use, no_collection, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = gv.trace(loss, np.ones(3), np.arange(3.0))
    USES[use](graph)
    held = weakref.ref(graph), weakref.ref(graph.values[0]), weakref.ref(graph.statements)
    del graph
    assert all(one() is None for one in held)


def test_the_statements_of_a_graph_outlive_it():
    statements = gv.trace(loss, np.ones(3), np.arange(3.0)).statements
    whole = gv.trace(loss, np.ones(3), np.arange(3.0))
    assert np.array_equal(statements.grad("w"), whole.grad("w"))
    assert statements.draw().svg == whole.draw().svg
    assert statements.statements is statements


def test_a_copy_at_other_values_is_the_same_computation():
    graph = gv.trace(loss, np.ones(3), np.arange(3.0))
    other = graph.with_values(2 * n.value for n in graph.values)
    assert other.names == graph.names
    assert other.operands == graph.operands
    assert np.array_equal(other.value("w"), 2 * graph.value("w"))
    assert np.array_equal(graph.value("w"), np.ones(3))
    with pytest.raises(ValueError, match="zip"):
        graph.with_values([1.0])
