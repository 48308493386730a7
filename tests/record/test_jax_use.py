"""What a Graph of a JAX program can do, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp
from jax.experimental import io_callback
from jax_programs import PROGRAMS

import gradviz as gv
from gradviz.chain.check import _cuts
from gradviz.record.jax import keep, stretches
from gradviz.statistics import measure


@pytest.fixture(scope="module")
def graph():
    function, args = PROGRAMS["attention"]
    return gv.trace(function, *args, wrt="p")


def test_it_is_checked_updated_stepped_saved_and_drawn(graph, tmp_path):
    function, (p, x) = PROGRAMS["attention"]
    assert graph.check()
    moved = graph.update({"p.v": graph.value("p.v") * 2})
    assert np.isclose(moved.values[moved.output].value, function({**p, "v": p["v"] * 2}, x))
    assert moved.grad("p.v").shape == (3, 3)
    stepped = graph.step(0.01)
    assert stepped.values[stepped.output].value < graph.values[graph.output].value
    for suffix in ("json", "svg", "html"):
        graph.save(tmp_path / f"g.{suffix}")
    assert gv.compare(graph, gv.load(tmp_path / "g.json"), tolerance=0)
    assert gv.compare(graph, pickle.loads(pickle.dumps(graph)), tolerance=0)
    assert "softmax" in graph.draw(detail="operations").text
    assert graph.explain("p.v").value.shape == (3, 3)
    assert len(graph.reuse().rows) == 3


@pytest.mark.parametrize(
    ("name", "large"),
    [("scanned", True), ("scanned_backwards", False), ("scan_in_scan", True), ("dropout", False)],
)
def test_a_lean_capture_has_the_statistics_of_what_a_whole_one_has(name, large, monkeypatch):
    if large:  # a loop of large rounds is followed round by round
        monkeypatch.setattr(stretches, "LARGE", 0)
    function, args = PROGRAMS[name]
    whole = gv.trace(function, *args, capture="whole")
    lean = gv.trace(function, *args, capture="lean")
    assert lean.names == whole.names
    assert lean.operands == whole.operands
    pairs = [(a.value, b.value) for a, b in zip(whole.values, lean.values, strict=True)]
    for one, other in zip(whole.derivatives, lean.derivatives, strict=True):
        assert one.keys() == other.keys()
        pairs += [(one[key], other[key]) for key in one]
    for array, kept in pairs:
        found, kept = measure(array), measure(kept)
        assert (found.shape, found.dtype) == (kept.shape, kept.dtype)
        numbers = ("norm", "low", "mean", "high", "zeros", "nonfinite")
        assert np.allclose(
            [getattr(found, n) for n in numbers], [getattr(kept, n) for n in numbers], atol=1e-6
        )
        assert np.allclose(found.sample, kept.sample, atol=1e-6)


def _log(xp, w):
    p = xp.maximum(w, 0.0 * w)
    return xp.sum(xp.log(p))


def _root(xp, w):
    d = w * 0.0
    r = xp.sqrt(d)
    return xp.sum(r)


def _where(xp, w):
    r = xp.sqrt(w * w)
    y = xp.where(w != 0, r, 0.0 * w)
    return xp.sum(y)


def _attention(xp, w):
    s = w[:, None] * w
    s = xp.where(s > 1e9, s, s - xp.inf)
    a = jax.nn.softmax(s) if xp is jnp else xp.softmax(s, -1)
    return xp.sum(a)


@pytest.mark.parametrize("program", [_log, _root, _where, _attention])
def test_a_nan_is_found_at_the_line_that_it_is_found_at_with_pytorch(program):
    torch = pytest.importorskip("torch")
    w = np.array([-1.0, 0.0, 2.0], np.float32)
    ours = gv.trace(lambda w: program(jnp, w), jnp.asarray(w)).diagnose()
    tensor = torch.tensor(w, requires_grad=True)
    theirs = gv.trace(lambda w: program(torch, w), tensor).diagnose()
    assert ours.findings
    for one, other in zip(ours.findings, theirs.findings, strict=True):
        assert (one.kind, one.source) == (other.kind, other.source)


def branching(w):
    if w.sum() > 0:
        return jnp.sum(w)
    return jnp.sum(w**2)


W = jnp.array([1.0, -2.0])
LEFT = []


def leaking(w):
    LEFT.append(w)
    return jnp.sum(LEFT[0] * w)


REFUSED = [
    (branching, (W,), "jnp.where or jax.lax.cond at .*branching|if w.sum"),
    (lambda w: jnp.sum(np.sin(w)), (W,), "write jax.numpy in place of numpy"),
    (lambda w: jnp.sum(w) * float(w[0]), (W,), "leave it an array"),
    (lambda w: jnp.sum(w[w > 0]), (W,), "jnp.where\\(mask, x, 0.0\\)"),
    (lambda w: w * 2, (W,), "an array of 2; pass loss="),
    (lambda w: (jnp.sum(w), w), (W,), "a tuple of 2; pass loss=lambda out: out\\[0\\]"),
    (lambda w: jnp.sum(w > 0), (W,), "integers have no gradient"),
    (lambda w: jnp.sum(w), (jnp.array([1, 2]),), "no array of floats .* w holds integers"),
    (lambda w: jnp.sum(jnp.ones(2)), (W,), "depends on none of its arguments"),
    (lambda w: jnp.sum(jnp.exp(1j * w)), (W,), "a complex number"),
    (
        lambda w: jnp.sum(jax.pure_callback(np.sin, jax.ShapeDtypeStruct((2,), w.dtype), w)),
        (W,), "pure_callback cannot be recorded at .*: its result comes from Python",
    ),
    (
        lambda w: jnp.sum(io_callback(np.sin, jax.ShapeDtypeStruct((2,), w.dtype), w)),
        (W,), "io_callback cannot be recorded at .*: it calls Python while it computes",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("function", "args", "words"), REFUSED)
def test_what_cannot_be_is_said_in_words(function, args, words):
    with pytest.raises(gv.TraceError, match=words):
        gv.trace(function, *args)


def test_what_only_prints_is_left_out_of_the_graph(capsys):
    def loss(w):
        y = w**2
        jax.debug.print("y is {}", y)
        return jnp.sum(y)

    graph = gv.trace(loss, W)
    assert [n.operation.name for n in graph.values] == ["input", "power", "sum"]
    assert graph.grad("w").tolist() == [2.0, -4.0]
    assert capsys.readouterr().out == ""


def test_an_unknown_leaf_is_told_with_the_nearest_ones():
    with pytest.raises(ValueError, match="wrt='params' names no array of floats; there are: w"):
        gv.trace(lambda w: jnp.sum(w), W, wrt="params")


def test_a_value_that_another_call_has_left_is_refused():
    LEFT.clear()
    gv.trace(leaking, W)
    with pytest.raises(gv.TraceError, match="return it instead"):
        gv.trace(leaking, W)


def test_a_training_loop_is_recorded(tmp_path):
    optax = pytest.importorskip("optax")
    optimizer = optax.adam(0.1)

    def loss(params, x):
        y = jnp.tanh(x @ params["w"])
        return jnp.mean(y**2)

    @jax.jit
    def update(params, state, x):
        slopes = jax.grad(loss)(params, x)
        changes, state = optimizer.update(slopes, state)
        return optax.apply_updates(params, changes), state

    params = {"w": jnp.array([[0.5], [-1.0]])}
    state, x = optimizer.init(params), jnp.array([[1.0, 2.0], [0.3, -0.4]])
    expected = []
    with gv.record_training(loss, tmp_path / "run.gvtrain", every=2) as recorder:
        for _ in range(4):
            before = params
            with recorder.step(params, x) as moved:
                params, state = update(params, state, x)
                moved(params)
            change = jnp.abs(params["w"] - before["w"])[0, 0]
            expected.append((float(loss(before, x)), float(change)))
    run = gv.load_training(tmp_path / "run.gvtrain")
    assert [step.number for step in run.steps] == [0, 2]
    for step, (value, change) in zip(run.steps, expected[::2], strict=True):
        assert np.isclose(step.loss, value)
        assert np.isclose(step.changes["params.w"], change, rtol=0.2)
    slopes = jax.grad(loss)({"w": jnp.array([[0.5], [-1.0]])}, x)["w"]
    assert np.isclose(run.steps[0].gradients["params.w"], float(jnp.sqrt(jnp.mean(slopes**2))))
    assert run.graph(2).names[run.graph(2).output] == "J"


def test_rows_together_have_the_statistics_of_the_array_that_they_make():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(3, 40, 50)).astype(np.float32)
    equal, broken = np.full((3, 7), 0.1, np.float32), array.copy()
    broken[1, 2, 3], broken[2, 0, 0] = np.nan, np.inf
    for whole in (array, equal, broken, array + 1j * array[::-1]):
        rows = [*whole]
        found, expected = keep.stacked_statistics(rows, [*map(measure, rows)]), measure(whole)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        for name in ("norm", "low", "mean", "high", "zeros", "nonfinite", "sample"):
            one, other = getattr(found, name), getattr(expected, name)
            assert np.allclose(one, other, rtol=1e-6, atol=1e-7, equal_nan=True)


def test_what_j_does_not_depend_on_has_no_gradient_and_ends_no_history():
    def loss(w):
        def cell(c, x):
            c = jnp.tanh(c * x)
            return c, jnp.sqrt(c * c + 1)

        c, _ = jax.lax.scan(cell, w[0], w)
        unread = jax.lax.stop_gradient(w * 3)
        return c + jnp.sum(unread)

    graph = gv.trace(loss, W)
    unread = [i for i, node in enumerate(graph.values) if node.operation.name == "sqrt"]
    assert unread
    assert {graph.grad_state(i) for i in unread} == {"disconnected"}
    (ended,) = _cuts(graph)
    assert ended.startswith("stop_gradient ended the history of multiply")


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_the_first_round_of_a_loop_sends_nothing_to_what_is_not_differentiated_by(
    capture, tmp_path
):
    def loss(w, x):
        return jnp.sum(jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(w * h), x))

    graph = gv.trace(loss, W, W, wrt="w", capture=capture)
    x = graph.id("x")
    assert all(graph.operands[v][key] != x for v, key in graph.derivatives.messages)
    graph.save(tmp_path / "graph.json")
    assert gv.load(tmp_path / "graph.json").names == graph.names
