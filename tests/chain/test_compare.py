"""Two traces that differ in a place known by construction: the first difference is found there."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from counting import growth
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

import gradviz as gv
from gradviz.chain.compare.alignment import align
from gradviz.chain.compare.difference import difference
from gradviz.statistics import SAMPLE, measure

X = np.random.default_rng(1).normal(size=(6, 3))
T = np.random.default_rng(2).normal(size=(6, 2))


def weights(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in [(3, 4), (4,), (4, 2)]]


def network(w1, b1, w2, x, t):
    with gv.scope("hidden"):
        z = x @ w1 + b1
        a = 1 / (1 + np.exp(-z))
    y = a @ w2
    return np.mean((y - t) ** 2)


def traced(function=network, arguments=None, x=X, t=T, **options):
    return gv.trace(function, *(arguments or weights()), x, t, wrt=("w1", "b1", "w2"), **options)


def row(comparison, name):
    return next(r for r in comparison.rows if r.name == name)


# --- where they part


def test_a_graph_is_the_same_as_itself_to_the_last_bit():
    comparison = gv.compare(traced(), traced(), tolerance=0)
    assert comparison
    assert len(comparison.rows) == len(traced())
    assert comparison.only == ((), ())
    assert comparison.first is comparison.first_gradient is None
    assert str(comparison).startswith("✓ 18 values and 13 gradients agree; Δ at most 0")


def test_one_changed_weight_is_the_cause():
    g = traced()
    w1 = g.value("w1").copy()
    w1[1, 2] += 0.01
    comparison = gv.compare(g, g.update(w1=w1))
    assert not comparison
    assert [r.name for r in comparison.causes] == ["w1"]
    apart = 0.01 / max(np.linalg.norm(w1), np.linalg.norm(g.value("w1")))
    assert comparison.first.value.relative == pytest.approx(apart)
    assert comparison.first.value.largest == pytest.approx(0.01)
    assert row(comparison, "x").ok
    assert "it is a leaf: the two were given another parameter" in comparison.text
    # Backwards, what reads the changed values comes first: the square of y - t.
    reader = g.values[g.id(comparison.first_gradient.name)].operation.name
    assert reader == "subtract"


@pytest.mark.parametrize("place", ["exp", "matmul", "mean"])
def test_an_operation_that_errs_is_found_in_its_place(place):
    g, other = traced(), traced()
    at = next(i for i, n in enumerate(other.values) if n.operation.name == place)
    # What follows is computed from the wrong value.
    other.values[at].value = other.values[at].value * (1 + 1e-6)
    for v in range(at + 1, len(other)):
        node = other.values[v]
        if not other.is_leaf(v):
            node.value = node.operation.evaluate(*other.operand_values(v), **node.keywords)
    comparison = gv.compare(g, other)
    assert comparison.first.node == at
    assert comparison.first.value.relative == pytest.approx(1e-6, rel=1e-3)
    assert "where both agree" in comparison.text


def test_a_rule_that_errs_is_told_from_a_value_that_differs():
    def program(tanh):
        def loss(w, x):
            z = x @ w
            a = tanh(z)
            return np.sum(a * a)

        return gv.trace(loss, weights()[0], X, wrt="w")

    def own(rule):
        @gv.operation(vjp=lambda g, v, x: g * rule(v))
        def own_tanh(x):
            return np.tanh(x)

        return own_tanh

    comparison = gv.compare(program(own(lambda v: 1 - v * v)), program(own(lambda v: 1 - v)))
    assert comparison.first is None
    assert comparison.first_gradient.name == "z"
    assert "which reads what agrees: the derivatives themselves differ" in comparison.text


def test_steps_of_training_part_at_every_parameter():
    g = traced()
    comparison = gv.compare(g, g.step(0.1))
    assert [r.name for r in comparison.causes] == ["w1", "b1", "w2"]
    assert "further leaves that differ: b1 (Δ" in comparison.text


def test_what_is_not_a_number_in_both_agrees():
    def f(x):
        z = np.log(x)
        return np.sum(z * 2)

    with np.errstate(all="ignore"):
        a = gv.trace(f, np.array([-1.0, 0.0, 2.0]))
        b = gv.trace(f, np.array([-1.0, 0.0, 2.0]))
        c = gv.trace(f, np.array([-1.0, 1.0, 2.0]))
    assert gv.compare(a, b)
    assert row(gv.compare(a, c), "z").value.relative == np.inf
    assert "no number (0.33 of the entries are not finite) against" in gv.compare(a, c).text


# --- precision


def test_float32_agrees_with_float64_within_its_roundings():
    single = traced(arguments=[w.astype(np.float32) for w in weights()],
                    x=X.astype(np.float32), t=T.astype(np.float32))  # fmt: skip
    assert gv.compare(traced(), single)
    comparison = gv.compare(traced(), single, tolerance=1e-12)
    assert {r.name for r in comparison.causes} == {"w1", "b1", "w2", "x", "t"}


def test_a_step_in_half_precision_is_found():
    def loss(half):
        def loss(w1, b1, w2, x, t):
            z = x @ w1 + b1
            a = np.tanh(z)
            y = a.astype(np.float16).astype(np.float64) @ w2 if half else a @ w2
            return np.mean((y - t) ** 2)

        return traced(loss)

    comparison = gv.compare(loss(False), loss(True))
    assert comparison.first.name == "v_2"  # a @ w2
    assert comparison.graph.values[comparison.first.node].operation.name == "matmul"
    assert len(comparison.only[1]) == 2  # the casts


def test_a_small_difference_of_large_numbers_may_be_inexact():
    def loss(w, x):
        y = x @ w
        d = y - 1000.0  # cancels
        return np.sum(d * d)

    x = np.random.default_rng(0).uniform(0.9, 1.1, (8, 500))
    w = np.full(500, 2.0)
    single = gv.trace(loss, w.astype(np.float32), x.astype(np.float32), wrt="w")
    double = gv.trace(loss, w, x.astype(np.float32).astype(float), wrt="w")
    comparison = gv.compare(single, double)
    assert comparison, comparison.text
    assert row(comparison, "d").value.tolerance > 10 * row(comparison, "y").value.tolerance


def test_a_gradient_that_is_nothing_but_roundings_agrees():
    def loss(w, b, x):
        z = x @ w + b
        n = z - np.mean(z, axis=0)  # takes b away
        return np.sum(np.tanh(n) * x[:, :2])

    arguments = weights()[0][:, :2], np.array([0.3, -0.2]), X
    double = gv.trace(loss, *arguments, wrt=("w", "b"))
    single = gv.trace(loss, *(a.astype(np.float32) for a in arguments), wrt=("w", "b"))
    comparison = gv.compare(double, single)
    assert row(comparison, "b").gradient.relative > 0.1
    assert comparison, comparison.text


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(1, 4000), st.floats(1e-6, 0.5), st.integers(0, 10**6), st.booleans())
def test_statistics_never_tell_of_more_than_there_is(size, scale, seed, everywhere):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=size)
    b = a + scale * rng.normal(size=size) * (1 if everywhere else rng.random(size) < 0.01)
    exact, largest = difference(a, b)
    for pair in ((measure(a), measure(b)), (a, measure(b)), (measure(a), b)):
        told, most = difference(*pair)
        assert most <= largest * (1 + 1e-9)
        assert told <= max(exact * (1 + 1e-9) + 1e-12, 2 * exact * max(1, size / SAMPLE) ** 0.5)
    if size <= SAMPLE:  # all entries are known
        assert difference(measure(a), measure(b))[0] == pytest.approx(exact, abs=1e-12)


def test_statistics_with_other_shares_of_nan_differ():
    a, b = np.ones(1000), np.ones(1000)
    a[7] = np.nan
    assert difference(measure(a), measure(a.copy()))[0] == 0
    assert difference(measure(a), measure(b)) == (np.inf, np.inf)
    assert difference(measure(b), replace(measure(b), norm=measure(b).norm * 1.5))[0] > 0.3


def test_sizes_at_the_ends_of_the_range():
    big, small = np.full(3, 1e200), np.full(3, 1e-200)
    assert difference(big, big * (1 + 1e-9))[0] == pytest.approx(1e-9, rel=1e-3)
    assert difference(small, small * (1 + 1e-9))[0] == pytest.approx(1e-9, rel=1e-3)
    assert difference(np.float64(1), np.float64(np.inf)) == (np.inf, np.inf)
    assert difference(np.array([1, 2]), np.array([1, 2]))[0] == 0
    assert difference(np.empty(0), np.empty(0))[0] == 0
    assert difference("broke", "broke")[0] == 0


# --- other structures


def branching(flipped, x):
    def f(x):
        h = x * 2.0
        if flipped:
            h = np.sin(h)
        else:
            h = np.tanh(h)
            h = h + 1.0
        y = h * h
        return np.sum(y)

    return gv.trace(f, x)


def test_a_flipped_branch_is_told_and_what_follows_is_aligned():
    comparison = gv.compare(branching(False, X[0]), branching(True, X[0]))
    first = comparison.first
    assert (first.name, first.other_name) == ("h(2)", "h(2)")
    assert len(comparison.causes) == 1
    assert "h(2) (tanh against sin)" in comparison.text
    assert "and the second at test_compare.py" in comparison.text
    assert comparison.only == (("h(3)",), ())
    assert row(comparison, "y").other_name == "y"
    assert row(comparison, "h").value.ok


def recurrent(w, xs):
    h = np.zeros(3)
    for x in xs:
        z = w @ h
        h = np.tanh(z + x)
    y = h * 3.0
    return np.sum(y)


def test_a_longer_loop_is_aligned_from_its_beginning():
    w, xs = np.eye(3) * 0.5, list(X)
    comparison = gv.compare(gv.trace(recurrent, w, xs[:4]), gv.trace(recurrent, w, xs))
    assert row(comparison, "z(4)").other_name == "z(4)"
    assert row(comparison, "z(4)").value.ok
    assert comparison.first.name == "y"
    assert "the second computes it from h(6)" in comparison.text
    assert comparison.only[0] == ()
    assert {"z(5)", "z(6)", "xs[4]", "xs[5]"} <= set(comparison.only[1])
    assert "only in the second: xs[4]" in comparison.text


def stages(x, first, second):
    for _ in range(first):
        x = x * 0.9
    m = np.tanh(x)
    for _ in range(second):
        x = m - x * 0.1
    return np.sum(x)


@pytest.mark.parametrize("longer", [3, 40, 700])
def test_two_loops_of_other_lengths_meet_between_them(longer):
    a, b = gv.trace(stages, 0.5, 5, 6), gv.trace(stages, 0.5, 5 + longer, 2)
    assert row(gv.compare(a, b), "m").other_name == "m"
    assert row(gv.compare(b, a), "m").other_name == "m"


def test_a_branch_taken_in_the_middle_of_a_loop_moves_nothing_else():
    def walk(x, turns):
        for i in range(30):
            s = np.sin(x)
            if i in turns:
                x = x * 0.5
                x = x * 0.5
                x = x + 1
                x = x * 0.5
            x = x + s
        return x * 1.0

    a, b = gv.trace(walk, 0.3, ()), gv.trace(walk, 0.3, (7, 19))
    comparison = gv.compare(a, b)
    for i in range(2, 31):
        assert row(comparison, f"s({i})").other_name == f"s({i})"
    assert comparison.only[0] == ()
    assert len(comparison.only[1]) == 8


def test_other_shapes_are_told():
    comparison = gv.compare(traced(), traced(x=X[:4], t=T[:4]))
    assert len(comparison.rows) == len(traced())
    assert comparison.first.name == "x"
    assert "shape (6, 3) against (4, 3)" in comparison.text


def test_names_can_be_given():
    def loss(u, v):
        s = u * v
        return s + 1.0

    def twin(p, q):
        r = p * q
        return r + 1.0

    a, b = gv.trace(loss, 2.0, 3.0), gv.trace(twin, 2.0, 3.0)
    with pytest.raises(ValueError, match=r"nothing in common: .*pass names="):
        gv.compare(a, b)
    comparison = gv.compare(a, b, names={"u": "p", "v": "q", "s": "r"})
    assert comparison
    assert [r.other_name for r in comparison.rows][:3] == ["p", "q", "r"]
    with pytest.raises(KeyError, match="no value is called 'w'"):
        gv.compare(a, b, names={"u": "w"})


@settings(max_examples=examples(300), deadline=None)
@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_the_alignment_is_a_longest_common_subsequence(a, b):
    lengths = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            lengths[i + 1, j + 1] = (
                lengths[i, j] + 1 if p == q else max(lengths[i, j + 1], lengths[i + 1, j])
            )
    pairs = align(a, b)
    assert len(pairs) == lengths[-1, -1]
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(p[0] < q[0] and p[1] < q[1] for p, q in itertools.pairwise(pairs))


def test_sequences_without_a_likeness_are_aligned_fast_and_in_order():
    rng = np.random.default_rng(0)

    def sequences(count):
        return rng.integers(0, 50, (2, count)).tolist()

    assert growth(sequences, lambda pair: align(*pair), 2_500, 20_000) < 8 * 3  # all pairs: 8 * 8
    a, b = sequences(20_000)
    pairs = align(a, b)
    assert len(pairs) > 2000
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(p[0] < q[0] and p[1] < q[1] for p, q in itertools.pairwise(pairs))


# --- as an object


def test_it_is_drawn_with_badges_and_told_in_words():
    g = traced()
    comparison = gv.compare(g, g.update(w1=g.value("w1") * 1.5))
    mark = comparison.highlight()
    shown = g.statements
    assert mark.boxes[shown.id("w1")] == "sick"
    assert mark.badges[shown.id("w1")].startswith("born here Δ 0.33")
    assert mark.boxes[shown.id("x")] == "agrees"
    assert shown.id("x") not in mark.badges
    assert {(shown.names[u], shown.names[v]) for u, v, _ in mark.arrows} == {
        ("w1", "z"),
        ("z", "a"),
        ("a", "y"),
        ("y", "J"),
    }
    picture = comparison.draw()
    assert "born here" in picture.svg
    assert "differs, but is computed from what agrees: w1 born here" in picture.text
    assert comparison.draw(detail="operations").svg != picture.svg
    assert comparison._repr_mimebundle_()["text/plain"] == comparison.text
    branch = gv.compare(branching(False, X[0]), branching(True, X[0]))
    assert branch.highlight().badges[branch.graph.statements.id("h(3)")] == "only here"


def test_what_is_given_must_be_graphs():
    with pytest.raises(TypeError, match="two Graphs, not float: make one with"):
        gv.compare(traced(), 3.0)


def test_a_graph_without_gradients_is_compared_by_its_values():
    a, b = gv.trace(lambda x: x * 2, X), gv.trace(lambda x: x * 2, X)
    comparison = gv.compare(a, b)
    assert comparison
    assert comparison.note.startswith("gradients are not compared: ")
    assert comparison.note in comparison.text


def test_saved_graphs_are_compared(tmp_path):
    g = traced()
    g.save(tmp_path / "g.json")
    assert gv.compare(g, gv.load(tmp_path / "g.json"), tolerance=0)


def test_the_work_to_compare_grows_with_the_number_of_operations():
    def deep(x, n):
        for _ in range(n):
            s = np.sin(x)
            x = x + 0.1 * s
        return x

    def prepare(n):
        return [gv.trace(deep, 0.1, k).backward() for k in (n, n + n // 60)]

    def compare(graphs):
        comparison = gv.compare(*graphs)
        assert str(comparison)
        assert len(comparison.rows) > 3 * len(graphs[0].statements) // 4

    assert growth(prepare, compare, 300, 3000) < 20  # a quadratic way: 100
