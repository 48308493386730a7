"""What `trace`, `graph`, `grad`, `update` and `step` record, and what they refuse."""

import asyncio
import gc
import threading
import types
import weakref
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gradviz as gv


def test_leaves_are_named_after_the_arguments_also_inside_containers():
    Layer = namedtuple("Layer", "w b")

    def f(x, params, layers, *rest, scale):
        y = params["w1"] * x + params["deep"]["b"]
        for layer in layers:
            y = layer.w * y + layer.b
        return y * rest[0] * scale

    params = {"w1": 1.0, "deep": {"b": 2.0}}
    layers = [Layer(1.0, 2.0), Layer(3.0, 4.0)]
    g = gv.trace(f, 1.0, params, layers, 2.0, scale=3.0)
    assert list(g.gradients()) == [
        "x", "params.w1", "params.deep.b", "layers[0].w", "layers[0].b", "layers[1].w",
        "layers[1].b", "rest[0]", "scale",
    ]  # fmt: skip
    assert params == {"w1": 1.0, "deep": {"b": 2.0}}  # the arguments are as they were


def test_wrt_selects_by_name_or_beginning_and_makes_parameters():
    def f(params, x):
        return params["w"] * x + params["b"]

    g = gv.trace(f, {"w": 2.0, "b": 1.0}, 3.0, wrt="params")
    assert g.gradients() == {"params.w": 3.0, "params.b": 1.0}
    kinds = {data["name"]: data["kind"] for data in g.dag.nodes.values()}
    assert kinds["params.w"] == "parameter"
    assert kinds["x"] == "input"


def test_wrt_that_names_nothing_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'weight' names no array of floats.*weights"):
        gv.trace(lambda weights: weights * 2, 1.0, wrt="weight")
    with pytest.raises(ValueError, match=r"n is an integer"):
        gv.trace(lambda x, n: x**n, 1.0, 2, wrt="n")


def test_integers_pass_as_they_are():
    def f(x, labels, n):
        assert type(n) is int
        assert isinstance(labels, np.ndarray)
        return np.sum(x[np.arange(n), labels])

    labels = np.array([1, 0])
    g = gv.trace(f, np.arange(4.0).reshape(2, 2), labels, 2)
    np.testing.assert_array_equal(g.grad("x"), [[0, 1], [1, 0]])


def test_integer_arrays_that_take_part_are_named():
    g = gv.trace(lambda x, counts: np.sum(x * counts), np.ones(2), np.array([3, 4]))
    assert "counts" in g.names
    np.testing.assert_array_equal(g.grad("x"), [3, 4])


def test_a_function_of_integers_only_says_what_to_write():
    with pytest.raises(gv.TraceError, match=r"write a=2\.0"):
        gv.trace(lambda a, b: (a + b) * (b + 1), 2, 1)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: (x, x), "returned a tuple"),
        (lambda x: {"loss": x}, "returned a dict"),
        (lambda x: None, "NoneType"),
        (lambda x: float(x), "depends on no recorded argument.*float"),
        (lambda x: 3.0, "depends on no recorded argument"),
    ],
)
def test_a_result_that_is_no_recorded_scalar_is_refused(result, message):
    with pytest.raises(gv.TraceError, match=message):
        gv.trace(result, 1.0)


def test_a_namespace_holds_leaves_and_what_another_object_holds_is_said_to_be_constant():
    held = types.SimpleNamespace(w=np.array([1.0, 2.0]), scale=3.0)
    g = gv.trace(lambda p: np.sum(p.w**2) * p.scale, held)
    assert g.grad("p.w").tolist() == [6.0, 12.0]
    assert g.grad("p.scale") == 5.0

    class Model:
        def __init__(self):
            self.w = np.array([1.0, 2.0])

        def loss(self):
            return np.sum(self.w**2)

    for function, arguments in ((Model.loss, (Model(),)), (Model().loss, ())):
        with pytest.raises(gv.TraceError, match="a Model holds is constant: pass arrays"):
            gv.trace(function, *arguments)


def test_a_program_that_uses_an_iterator_up_says_that_it_cannot_be_run_again():
    given = iter([np.array([1.0, 2.0])])
    g = gv.trace(lambda x: np.sum(x * next(given)), np.ones(2))
    assert g.grad("x").tolist() == [1.0, 2.0]
    for again in (g.check, g.update, g.step):
        with pytest.raises(gv.TraceError, match="cannot be run again: it takes the next item"):
            again()


def test_an_error_in_the_function_passes_and_leaves_nothing_behind():
    def broken(x):
        np.exp(x * 2)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        gv.trace(broken, 1.0)
    assert len(gv.trace(lambda x: x * 2, 1.0)) == 3  # x, 2, J


def test_control_flow_is_recorded_as_it_ran():
    def f(x):
        while x < 100:
            x = x * 2
        return x if x > 120 else -x

    assert gv.trace(f, 3.0).grad("x") == 64  # 3 · 64 = 192
    assert gv.trace(f, 13.0).grad("x") == -8  # 13 · 8 = 104


def test_the_users_arrays_are_copied():
    w = np.ones(3)
    g = gv.trace(lambda w: np.sum(w * w), w)
    w += 1
    np.testing.assert_array_equal(g.value("w"), np.ones(3))
    np.testing.assert_array_equal(g.grad("w"), 2 * np.ones(3))


def test_update_runs_the_users_function_again():
    def f(x, n):
        return x**3 if x > 0 else -x

    g = gv.trace(f, 2.0, 1)
    assert g.update(x=-3.0).grad("x") == -1
    assert g.update({"x": 3.0}).grad("x") == 27
    assert g.update(x=-3.0).update(x=1.0).value("x") == 1
    assert g.grad("x") == 12
    with pytest.raises(KeyError, match="no leaf is called 'y'"):
        g.update(y=1.0)
    with pytest.raises(ValueError, match=r"shape \(\).*\(2,\)"):
        g.update(x=[1.0, 2.0])


def test_update_replays_a_graph_recorded_line_by_line():
    x = gv.input(2.0, "x")
    w = gv.parameter(3.0, "w")
    with gv.scope("neuron"):
        y = np.tanh(w * x)
    g = gv.graph(y * y)
    new = g.update(w=0.5)
    assert new.names == g.names
    assert new.value("y") == np.tanh(1.0)
    assert new.grad("w") == pytest.approx(2 * np.tanh(1.0) * (1 - np.tanh(1.0) ** 2) * 2)
    assert new.values[new.id("y")].scope == ("neuron",)
    assert new.step(0.1).value("w") == pytest.approx(0.5 - 0.1 * new.grad("w"))
    assert new.step(0.1).value("x") == 2  # an input stays


def test_grad_nests():
    third = gv.grad(gv.grad(gv.grad(lambda x: np.exp(2 * x))))
    assert float(third(0.3)) == pytest.approx(8 * np.exp(0.6), rel=1e-12)


def test_grad_inside_a_trace_is_recorded_and_counts_only_its_own_paths():
    def f(x):
        y = x * x
        slope = gv.grad(lambda z: z * y)(x)  # y is fixed here: the slope is y
        return slope * slope

    g = gv.trace(f, 3.0)
    assert g.value("slope") == 9
    assert g.grad("x") == 4 * 3**3  # of x^4
    assert g.check().ok


def test_a_hessian_vector_product():
    torch = pytest.importorskip("torch", reason="torch is the reference here")
    rng = np.random.default_rng(3)
    A, x, v = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4)

    def energy(np, A, x):
        return np.sum(np.sin(A @ x) ** 2)

    product = gv.grad(lambda x: np.sum(gv.grad(lambda x: energy(np, A, x))(x) * v))(x)
    tx = torch.tensor(x, requires_grad=True)
    (first,) = torch.autograd.grad(energy(torch, torch.tensor(A), tx), tx, create_graph=True)
    (expected,) = torch.autograd.grad((first * torch.tensor(v)).sum(), tx)
    np.testing.assert_allclose(product, expected, rtol=1e-12)


def test_threads_do_not_mix():
    def work(n, results):
        def f(x):
            for _ in range(200):
                x = x * 1.01
            return x + n

        results[n] = gv.trace(f, float(n))

    results = {}
    threads = [threading.Thread(target=work, args=(n, results)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, g in results.items():
        assert len(g) == 1 + 2 * 200 + 2
        assert g.value("x") == n
        assert g.grad("x") == pytest.approx(1.01**200)


def test_tasks_do_not_mix():
    async def record(n):
        with gv.scope(f"task{n}"):
            x = gv.input(float(n), "x")
            await asyncio.sleep(0)
            y = x * 2
        return y

    async def main():
        return await asyncio.gather(*(record(n) for n in range(4)))

    with ThreadPoolExecutor(1) as pool:  # a thread of its own: others may run a loop in this one
        results = pool.submit(lambda: asyncio.run(main())).result()
    for n, y in enumerate(results):
        assert y.scope == (f"task{n}",)
        assert len(gv.graph(y)) == 3


def test_what_another_thread_computes_in_a_trace_is_part_of_it():
    def f(x):
        results = []
        thread = threading.Thread(target=lambda: results.append(x * 3))
        thread.start()
        thread.join()
        return results[0] + 1

    assert gv.trace(f, 2.0).grad("x") == 3


def test_a_graph_is_freed_with_its_last_reference():
    g = gv.trace(lambda x: np.sum(np.tanh(x) * x), np.ones(1000))
    g.backward()
    node = weakref.ref(g.values[0])
    del g
    gc.collect()
    assert node() is None


def test_graph_needs_a_recorded_value():
    with pytest.raises(TypeError, match="ndarray"):
        gv.graph(np.ones(3))


@pytest.mark.parametrize("value", ["text", None, object(), np.array(["a"]), np.array([None])])
def test_a_leaf_that_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"input x: only numbers"):
        gv.input(value, "x")


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.0, 1e-310])
def test_every_float_is_recorded_as_it_is(value):
    g = gv.graph(gv.input(value, "x") * 1.0)
    np.testing.assert_array_equal(g.value("x"), value)
    assert np.signbit(g.value("x")) == np.signbit(value)
    assert g.grad("x") == 1


def test_empty_and_0_d_arrays():
    g = gv.trace(lambda x, y: np.sum(x) + y, np.zeros((0, 3)), np.array(2.0))
    assert g.grad("x").shape == (0, 3)
    assert g.grad("y").shape == ()
    assert g.value("J") == 2


def test_what_is_held_of_a_large_leaf_stays_as_it_was_through_later_traces():
    def traced(number):
        return gv.trace(lambda w: np.sum(w * w), np.full((100, 100), number))

    held = {  # each is all that is left of its Graph
        1.0: traced(1.0).value("w"),
        2.0: traced(2.0).value("w")[3:, ::2],
        3.0: memoryview(traced(3.0).value("w")),
        4.0: traced(4.0),
    }
    for number in (5.0, 6.0, 7.0):
        assert traced(number).grad("w")[7, 7] == 2 * number
    for number, part in held.items():
        part = part.value("w") if number == 4.0 else part
        assert np.array_equal(part, np.full(np.shape(part), number))


class Layers:
    """With a backward pass by hand, which reads what the forward pass has kept."""

    def __init__(self):
        draw = np.random.default_rng(0)
        self.W, self.V = draw.normal(size=(3, 2)), draw.normal(size=(1, 3))
        self.log, self.cache = [], {}

    def loss(self, x, t):
        self.x, self.h = x, np.tanh(self.W @ x)
        self.cache["off"] = self.V @ self.h - t
        self.log.append(np.sum(self.h))
        self.nested = [{"h": self.h, "first": self.h[0]}]
        return 0.5 * np.sum(self.cache["off"] ** 2)

    def step(self):
        sent = self.V.T @ self.cache["off"] * (1 - self.h**2)
        self.W -= 0.1 * np.outer(sent, self.x)


def test_what_a_program_keeps_is_plain_after_a_trace():
    x, t = np.array([0.5, -0.3]), np.array([1.0])
    traced, plain = Layers(), Layers()
    graph = gv.trace(traced.loss, x, t)
    plain.loss(x, t)
    for layers in (traced, plain):
        layers.step()
        assert type(layers.h) is type(layers.x) is np.ndarray
        assert type(layers.log[0]) is type(layers.nested[0]["first"]) is np.float64
    np.testing.assert_array_equal(traced.W, plain.W)
    np.testing.assert_array_equal(graph.grad("t"), -plain.cache["off"])


def test_what_a_closure_or_a_global_keeps_is_plain_after_a_trace():
    log, last = [], None

    def program(x):
        nonlocal last
        log.append(x**2)
        last = np.sum(log[-1])
        return last * x[0]

    x = np.array([1.0, 2.0])
    graph = gv.trace(program, x)
    assert type(last) is np.float64
    assert [type(kept) for kept in log] == [np.ndarray]
    log[0][0] = 7.0  # which is no part of the record
    np.testing.assert_array_equal(graph.grad("x"), [2 * 1 * 1 + 5, 2 * 2 * 1])
