"""Paths and ledgers against a brute-force enumeration by NetworkX, and the article's own words."""

import itertools
import math

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import close, programs
from thorough import examples

import gradviz as gv


def enumerated(g, name):
    """Every path from a value to J, by NetworkX: the edges and the product of local derivatives."""
    dag = g.dag
    found = []
    for path in nx.all_simple_edge_paths(dag, g.id(name), g.output):
        locals_ = [dag.edges[edge]["local"] for edge in path]
        found.append((path, math.prod(float(local) for local in locals_)))
    return found


@settings(max_examples=examples(150), deadline=None)
@given(programs(max_steps=9))
def test_paths_equal_a_brute_force_enumeration(program):
    g = program.graph()
    for name in g.gradients():
        expected = enumerated(g, name)
        explanation = g.explain(name, detail="operations")
        assert explanation.path_count == len(expected)
        paths = explanation.paths()
        assert {tuple((v, key) for _, v, key in path) for path, _ in expected} == {
            path.edges for path in paths
        }
        sizes = [abs(path.value) for path in paths]
        for larger, smaller in itertools.pairwise(sizes):
            assert larger >= smaller or close(larger, smaller, 1e-9)
        assert close(sum(value for _, value in expected), g.grad(name), 1e-9)
        assert close(sum(path.value for path in paths), g.grad(name), 1e-9)


@settings(max_examples=examples(150), deadline=None)
@given(programs(max_steps=9), st.randoms(use_true_random=False))
def test_the_ledger_equals_its_definition_on_enumerated_paths(program, random):
    g = program.graph()
    targets = [name for name in g.names if not name.startswith("c_")]
    targets = random.sample(targets, min(4, len(targets)))
    ledger = g.reuse(*targets, detail="operations")
    earlier = set()
    messages = set()
    for target, row in zip(targets, ledger.rows, strict=True):
        t = g.id(target)
        paths = [path for path, _ in enumerated(g, target)] if t != g.output else []
        needs = {v for path in paths for _, v, _ in path}
        computed, reused = needs - earlier, needs & earlier
        assert {g.id(name) for name in row.computed} == computed
        assert {g.id(name) for name in row.reused} == reused
        known = t in earlier
        working = computed | (set() if known else {t})
        edges = {
            edge for path in paths for edge in path if edge[0] in working and edge not in messages
        }
        read = {v for _, v, _ in edges if v in reused} | ({t} if known else set())
        assert {g.id(name) for name in row.read} == read
        assert row.vjps == len(edges)
        assert row.vjps_without_cache == sum(map(len, paths))
        earlier |= needs | {t}
        messages |= edges
    assert ledger.vjps == len(messages)


def test_the_ledger_of_the_article(network):
    # As told of the 2-2-2 network: the terms computed for w5 serve b2 and both paths of w1.
    w5, b2, w1 = network.reuse("w5", "b2", "w1").rows
    assert w5.computed == ("J", "a_o1", "z_o1")
    assert w5.reused == w5.read == ()
    assert b2.computed == ()
    assert b2.reused == ("J", "a_o1", "z_o1")
    assert b2.read == ("z_o1",)
    assert w1.computed == ("a_o2", "z_o2", "a_h1", "z_h1")
    assert w1.reused == ("J", "a_o1", "z_o1")
    assert w1.read == ("J", "z_o1")
    assert [row.vjps for row in (w5, b2, w1)] == [3, 1, 6]
    assert [row.vjps_without_cache for row in (w5, b2, w1)] == [3, 3, 10]


def test_by_default_the_ledger_goes_from_the_output_backwards(network):
    targets = [row.target for row in network.reuse().rows]
    assert set(targets) == set(network.gradients())
    assert max(map(targets.index, ("w5", "w6", "w7", "w8", "b2", "b3"))) < min(
        map(targets.index, ("w1", "w2", "w3", "w4", "b1"))
    )


def test_a_cached_term_that_three_edges_read_says_so(network):
    ledger = network.reuse("w5", "b2", "w1")
    assert ledger.reads["z_o1"] == 3
    highlight = ledger.highlight()
    level = ledger.graph
    assert highlight.badges[level.id("z_o1")] == "×3"
    assert highlight.boxes[level.id("z_o1")] == "cached"
    assert highlight.boxes[level.id("a_h2")] == "unneeded"


def test_path_counts_are_exact_beyond_floats():
    x = gv.input(1.0, "x")
    y = x
    for _ in range(140):
        y = y + y * 0.5 + 1.0
    g = gv.graph(y)
    explanation = g.explain("x", detail="operations")
    assert explanation.path_count == 2**140
    first = explanation.paths(5)
    assert first[0].value == 1.0  # straight through the additions
    assert [path.value for path in first[1:]] == [0.5] * 4


def test_paths_of_arrays_come_by_the_norm_of_their_contributions():
    W = np.array([[1.0, 2.0], [3.0, 4.0]])

    def f(x):
        return np.sum(W @ x) + 0.1 * np.sum(x * x) + np.sum(x)

    g = gv.trace(f, np.array([1.0, -2.0]))
    explanation = g.explain("x", detail="operations")
    paths = explanation.paths()
    assert explanation.path_count == len(paths) == 4
    norms = [np.linalg.norm(path.value) for path in paths]
    assert norms == sorted(norms, reverse=True)
    np.testing.assert_allclose(paths[0].value, W.sum(axis=0))
    np.testing.assert_allclose(sum(path.value for path in paths), g.grad("x"))


def test_nan_on_one_path_comes_first():
    with np.errstate(all="ignore"):
        x = gv.input(0.0, "x")
        g = gv.graph(x * 2 + np.log(x) * 0.0)
    first = g.explain("x", detail="operations").paths(1)[0]
    assert np.isnan(first.value)
