"""Gradients against published numbers, torch and finite differences; their six states."""

import numpy as np
import pytest
from hypothesis import given, settings
from programs import close, programs
from thorough import examples

import gradviz as gv


def test_the_published_numbers_of_the_2_2_2_network_come_out(network):
    # Mazur 2015: total error, dE/dw5 and dE/dw1.
    assert network.value("J") == pytest.approx(0.298371109, abs=5e-10)
    assert network.grad("w5") == pytest.approx(0.082167041, abs=5e-10)
    assert network.grad("w1") == pytest.approx(0.000438568, abs=5e-10)


def test_a_step_with_the_published_rate_gives_the_published_weights(network):
    # Mazur 2015, with the learning rate 0.5.
    after = network.step(0.5).leaf_values()
    published = {
        "w1": 0.149780716, "w2": 0.19956143, "w3": 0.24975114, "w4": 0.29950229,
        "w5": 0.35891648, "w6": 0.408666186, "w7": 0.511301270, "w8": 0.561370121,
    }  # fmt: skip
    for name, value in published.items():
        assert after[name] == pytest.approx(value, abs=5e-9)
    assert network.value("w5") == 0.4  # the old Graph is as it was


def test_the_gradient_of_colahs_graph(colah):
    # Olah: de/db = 5 by two paths, de/da = 2.
    assert colah.grad("b") == 5
    assert colah.grad("a") == 2


@settings(max_examples=examples(150), deadline=None)
@given(programs())
def test_gradients_of_random_programs_equal_torchs(program):
    pytest.importorskip("torch", reason="torch is the reference here")
    g = program.graph()
    expected = program.torch()
    for name, gradient in g.gradients().items():
        assert close(gradient, expected[name])


@settings(max_examples=examples(100), deadline=None)
@given(programs())
def test_the_messages_into_a_value_sum_to_its_gradient(program):
    g = program.graph()
    for level in (g, g.statements):
        for v, data in level.dag.nodes(data=True):
            if data["grad"] is not None and v != level.output:
                messages = [d["message"] for _, _, d in level.dag.out_edges(v, data=True)]
                assert close(sum(m for m in messages if m is not None), data["grad"])


def two_layers(W1, b1, W2, x, t):
    h = np.tanh(W1 @ x + b1[:, None])
    y = W2 @ h
    return np.mean((y - t) ** 2) + 0.1 * np.sum(W1 * W1)


def test_gradients_of_an_array_program_equal_torchs():
    torch = pytest.importorskip("torch", reason="torch is the reference here")
    rng = np.random.default_rng(0)
    shapes = ((5, 3), (5,), (2, 5), (3, 7), (2, 7))
    arrays = [rng.normal(size=shape) for shape in shapes]
    g = gv.trace(two_layers, *arrays)
    W1, b1, W2, x, t = (torch.tensor(a, requires_grad=True) for a in arrays)
    loss = ((W2 @ torch.tanh(W1 @ x + b1[:, None]) - t) ** 2).mean() + 0.1 * (W1 * W1).sum()
    loss.backward()
    for name, tensor in zip(("W1", "b1", "W2", "x", "t"), (W1, b1, W2, x, t), strict=True):
        np.testing.assert_allclose(g.grad(name), tensor.grad, rtol=1e-12, atol=1e-14)
        assert g.grad(name).shape == g.value(name).shape
    assert g.check().ok


def test_check_finds_a_wrong_gradient():
    rough = gv.trace(lambda x: np.sum(np.floor(x * 1e9) / 1e9), np.array([1.0, 2.0]))
    check = rough.check()  # floor has slope 0, the differences see the line it approximates
    assert not check
    assert "✗ x" in check.text
    assert [row.ok for row in check.rows if row.how == "messages"] == [True] * 4


@pytest.mark.parametrize(
    ("function", "at", "corners"),
    [
        (lambda x: np.sum(np.clip(x, -1, 1)), [1.0, -1.0, 0.5], 2),
        (lambda x: np.sum(np.where(x > 0, x**2 + 1, np.exp(x))), [0.0, 1.0], 1),
        (lambda x: np.sum(np.sort(x) * np.arange(3)), [1.0, 1.0, 0.0], 2),
        (lambda x: np.sum(np.round(x) + x), [0.5, 1.5, 0.2], 2),
        (lambda x: np.sum(np.sign(x) * 2 + x**2), [0.0, 1.0], 1),
        (lambda x: np.sum(np.floor(x) * x), [1.0, 2.5], 1),
        (lambda x: np.sum(np.maximum(x, 0)), [1e-6, -2e-6, 3e-6], 0),  # beside the corner
        (lambda x: np.sum(np.abs(x) + np.maximum(x, 0)), [0.0, 2.0], 0),  # the mean of both slopes
    ],
)
def test_a_gradient_at_a_corner_is_one_between_the_slopes_of_both_sides(function, at, corners):
    found = gv.trace(function, np.array(at)).check()
    row = found.rows[0]
    assert (found.ok, row.how, row.corners) == (True, "differences", corners)
    said = f"x: at {corners} of {len(at)} numbers J has a corner or a jump"
    assert (said in found.text) is bool(corners)


def numbers(x):
    """Plain numbers: what J gains by them, its gradient lacks."""
    return np.array([float(entry) for entry in x])


@pytest.mark.filterwarnings("ignore:the gradient")
@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.sum(np.maximum(x, 0) * 3 + np.maximum(numbers(x), 0)),
        lambda x: np.sum(3 * numbers(x) - np.abs(x - 1)),
        lambda x: np.sum(1e3 * x**2 * np.exp(9 * numbers(x))),  # bent, but smooth
        lambda x: np.sum(np.floor(x) + 2 * numbers(x)),
    ],
)
@pytest.mark.parametrize("at", [[0.0, 0.5], [0.0, 1.0], [-0.3, 1e-6, 0.7]])
def test_corners_are_no_excuse_for_another_gradient(wrong, at):
    assert not gv.trace(wrong, np.array(at)).check()


@pytest.mark.filterwarnings("ignore:the gradient")
def test_a_long_program_is_run_a_few_times_and_no_wrong_entry_is_missed():
    """One entry of 200 has lost its history, in one of many leaves, however small it is."""
    rng, runs = np.random.default_rng(0), []
    slopes = np.where(np.arange(200) == 137, 1e-3, 1e6 * rng.uniform(size=200))

    def program(ws, lost):
        runs.append(1)
        x = np.ones(200)
        for n, w in enumerate(ws):
            if n == lost:  # (the gradients of early ones vanish)
                w = np.concatenate([w[:137], numbers(w[137:138]), w[138:]])
            if n == 39:
                return np.sum(x) + np.sum(slopes * (w - last))
            for _ in range(6):
                x = np.tanh(w * x + 0.1)

    ws = [rng.normal(size=200) for _ in range(40)]
    last = ws[39].copy()
    for lost in (None, 38, 39):
        g = gv.trace(program, ws, lost)
        runs.clear()
        found = g.check()
        rows = [row for row in found.rows if row.how == "differences"]
        assert [row.name for row in rows if not row.ok] == [f"ws[{lost}]"][: lost is not None]
        assert sum(row.together for row in rows) == len(ws) - (lost is not None)
        assert len(runs) < 6 * len(ws) + 60


def test_check_proves_every_gradient_in_three_ways(network):
    check = network.check()
    assert check.ok
    found = {how: [row.name for row in check.rows if row.how == how] for how in
             ("differences", "messages", "paths")}  # fmt: skip
    assert set(found["differences"]) == set(found["paths"]) == set(network.gradients())
    assert {"z_o1", "a_h1"} <= set(found["messages"])
    marks = check.highlight().marks
    assert all(marks[check.graph.id(name)] for name in network.gradients())


def test_shares_predict_what_a_small_step_changes(network):
    shares = network.shares().rows
    assert sum(shares.values()) == pytest.approx(1)
    rate = 1e-6
    whole = network.value("J") - network.step(rate).value("J")
    for name in ("w5", "b3", "w1"):
        moved = {name: network.value(name) - rate * network.grad(name)}
        part = network.value("J") - network.update(moved).value("J")
        assert part / whole == pytest.approx(shares[name], rel=1e-3)


def test_float32_stays_float32():
    x = np.linspace(0, 1, 4, dtype=np.float32)
    g = gv.trace(lambda x: np.mean(np.maximum(np.exp(x) * 2.0, 1.5)), x)
    assert g.value("J").dtype == np.float32
    for data in g.dag.nodes.values():
        if data["grad"] is not None:
            assert data["grad"].dtype == np.float32
    assert g.check().ok


# --- states --------------------------------------------------------------------------------------


def states(g):
    return {data["name"]: data["grad_state"] for data in g.dag.nodes.values()}


def test_a_leaf_that_was_not_asked_for_is_not_computed():
    g = gv.trace(lambda w, x: w * x, 2.0, 3.0, wrt="w")
    assert states(g)["x"] == "not computed"
    with pytest.raises(gv.TraceError, match="not asked for"):
        g.grad("x")


def test_a_value_without_a_path_to_J_is_disconnected():
    def f(w, u):
        unused = u * 2
        assert unused > 0
        return w * w

    g = gv.trace(f, 2.0, 3.0)
    assert states(g)["u"] == states(g)["unused"] == "disconnected"
    assert g.grad("u") == 0
    assert states(g)["w"] == "number"


def test_an_exact_zero_is_told_from_an_underflow():
    def f(dead, lost):
        return np.maximum(dead, 0.0) + lost * 1e-200 * 1e-200

    g = gv.trace(f, -1.0, 1.0)
    assert states(g)["dead"] == "zero"
    assert states(g)["lost"] == "underflown"
    assert g.grad("dead") == g.grad("lost") == 0


def test_an_underflow_is_passed_on_to_what_lies_before_it():
    def f(x):
        y = 3 * x
        return y * 1e-200 * 1e-200

    assert states(gv.trace(f, 1.0))["x"] == "underflown"
    arrays = gv.trace(lambda w: np.sum(w @ np.ones(2)) * 1e-200 * 1e-200, np.ones((3, 2)))
    assert states(arrays)["w"] == "underflown"
    subnormal = gv.trace(lambda x: x * 1e-310, 1.0)
    assert states(subnormal)["x"] == "underflown"
    assert subnormal.grad("x") == 1e-310


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_is_told():
    assert states(gv.trace(lambda x: np.sqrt(x), 0.0))["x"] == "non-finite"
    assert states(gv.trace(lambda x: np.log(x) * 0.0, 0.0))["x"] == "non-finite"


# --- what cannot be differentiated ---------------------------------------------------------------


def test_an_output_that_is_no_scalar_is_recorded_and_its_gradient_refused():
    g = gv.trace(lambda x: x * 2, np.ones(3))
    assert set(states(g).values()) == {"not computed"}
    with pytest.raises(gv.TraceError, match=r"shape \(3,\).*sum or mean"):
        g.grad("x")


def test_a_gradient_passes_complex_values():
    g = gv.trace(lambda x: np.abs(np.sum(x * 1j)), np.ones(4))
    assert g.grad("x").tolist() == [1, 1, 1, 1]
    assert g.check(detail="operations")
    z = gv.trace(lambda z: np.abs(z) ** 2, 3.0 + 4.0j)
    assert z.grad("z") == pytest.approx(6 - 8j)  # ∂J/∂Re z - i ∂J/∂Im z
    assert z.check(detail="operations")
    assert z.step(0.5).value("z") == pytest.approx(0, abs=1e-15)  # descent along the conjugate


def test_a_complex_J_is_refused():
    with pytest.raises(gv.TraceError, match=r"J is complex.*absolute value"):
        gv.trace(lambda x: x * 1j, 2.0).grad("x")


def test_an_unknown_name_gets_the_nearest_ones(network):
    with pytest.raises(KeyError, match="a_h1"):
        network.grad("a_h3")


# --- the backward pass as a graph ----------------------------------------------------------------


def test_the_backward_dag_has_an_edge_per_message(network):
    level = network.statements
    forward, backward = level.dag, level.backward_dag
    by_name = {data["name"]: n for n, data in backward.nodes(data=True)}
    z_o1 = by_name["∂J/∂z_o1"]
    # The cached term is read by w5, w6, b2, a_h1, a_h2.
    readers = {backward.nodes[n]["name"] for n in backward.successors(z_o1)}
    assert readers == {f"∂J/∂{name}" for name in ("w5", "w6", "b2", "a_h1", "a_h2")}
    for u, v, data in backward.edges(data=True):
        source, target = backward.nodes[u]["of"], backward.nodes[v]["of"]
        assert forward.has_edge(target, source)
        assert data["message"] == pytest.approx(data["local"] * backward.nodes[u]["value"])
        assert u < v


def test_an_operand_read_twice_has_two_edges():
    x = gv.input(3.0, "x")
    g = gv.graph(x * x)
    assert g.dag.number_of_edges(0, 1) == 2
    assert g.grad("x") == 6


@pytest.mark.slow
def test_a_chain_of_100_000_operations():
    def chain(x):
        for _ in range(100_000):
            x = x * 0.99999
        return x

    g = gv.trace(chain, 1.0)
    assert g.grad("x") == pytest.approx(0.99999**100_000, rel=1e-9)
    assert g.explain("x", detail="operations").path_count == 1
    doubling = gv.input(1.0, "y")
    for _ in range(1000):
        doubling = 0.5 * (doubling + doubling)
    assert gv.graph(doubling).explain("y", detail="operations").path_count == 2**1000
