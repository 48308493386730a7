"""What is told of a JAX program is true: what stops a gradient, what one call of a library is."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="needs JAX")
import jax.numpy as jnp
import jax_programs  # noqa: F401 - how it compiles
from jax import lax

import gradviz as gv
from gradviz.chain.folding import Folding

P, X = np.array([0.5, 1.5, -2.5]), np.array([0.3, 1.7, -2.2])


def first(found):
    return found.findings[0].kind, found.findings[0].message


@pytest.mark.parametrize("name", ["round", "sign", "floor", "ceil", "trunc", "floor_divide"])
def test_a_step_is_told_as_numpys_is(name):
    def loss(p, x):
        q = getattr(xp, name)(p, *[x] * (name == "floor_divide"))
        return xp.sum(q * x)

    told = []
    for xp in (np, jnp):
        graph = gv.trace(loss, xp.asarray(P), xp.asarray(X), wrt="p")
        assert graph.grad_state(graph.id("p")) == "zero"
        assert graph.grad("p").shape == (3,)
        kind, message = first(graph.diagnose())
        told.append((kind, message.replace("p // x", "floor_divide(p, x)")))
    assert told[0] == told[1]
    assert not np.any(jax.grad(loss)(jnp.asarray(P), jnp.asarray(X)))


def stopped(p):
    return lax.stop_gradient(p * 2)


def position(p):
    i = jnp.argmax(p)
    return jax.nn.one_hot(i, 3)


def cast(p):
    return p.astype(jnp.int32)


def compared(p):
    return p > 0


def ordered(p):
    return jnp.argsort(p)


def rounded_behind_a_stop(p):
    return jnp.round(lax.stop_gradient(p))


STOPPED = {
    stopped: "stop_gradient(v_1) stops it, the program wants a constant there",
    position: "argmax(p) stops it, a position has no derivative",
    cast: "astype(p) stops it, integers have no derivative",
    compared: "greater(p, 0) stops it, truth values have no derivative",
    ordered: "argsort(p) stops it, a position has no derivative",
    rounded_behind_a_stop: "stop_gradient(p) stops it, the program wants a constant there",
}


@pytest.mark.parametrize("part", STOPPED, ids=lambda part: part.__name__)
def test_what_stops_a_gradient_is_told_and_nothing_behind_it_has_no_path(part):
    graph = gv.trace(lambda p, x: jnp.sum(part(p) * x), jnp.asarray(P), jnp.asarray(X), wrt="p")
    assert graph.grad_state(graph.id("p")) == "disconnected"
    assert graph.grad_state(graph.output) in ("number", "not computed")
    assert STOPPED[part] in first(graph.diagnose())[1]


def test_what_is_computed_besides_from_a_position_has_a_path():
    def loss(p, x):
        h = jax.nn.one_hot(jnp.argmax(p * x), 3)
        return jnp.sum(h * p)

    graph = gv.trace(loss, jnp.asarray(P), jnp.asarray(X), wrt="p")
    states = {graph.values[i].operation.name: graph.grad_state(i) for i in range(len(graph))}
    assert states["one_hot"] == "not computed"  # x · slope leads from it to J
    assert states["argmax"] == "not computed"
    np.testing.assert_array_equal(graph.grad("p"), jax.grad(loss)(jnp.asarray(P), jnp.asarray(X)))


def names(graph):
    return [
        (graph.names[i], graph.values[i].operation.name)
        for i in range(len(graph)) if graph.kind(i) == "operation"
    ]  # fmt: skip


def test_a_loop_of_a_library_is_one_operation_and_its_result_has_the_name():
    optax = pytest.importorskip("optax", reason="its norm of a tree is a loop")
    tree = {"a": jnp.ones(3), "b": (jnp.ones(2), jnp.ones((1, 2)))}

    def total(tree):
        n = optax.tree.norm(tree)
        return n * 2

    assert names(gv.trace(total, tree)) == [("n", "tree_norm"), ("J", "multiply")]

    def products(x):
        m = jnp.outer(x, x)
        k = jnp.linalg.matrix_power(m, 5)
        return jnp.trace(k)

    graph = gv.trace(products, jnp.ones(2))
    assert names(graph) == [("m", "outer"), ("k", "matrix_power"), ("J", "trace")]
    assert graph.check()


def test_a_loop_of_the_program_is_as_many_operations():
    def chained(x):
        for _ in range(3):
            x = jax.nn.softmax(x)
        return jnp.sum(jnp.stack([jnp.var(x), jnp.var(x[:, None])]))

    found = [name for _, name in names(gv.trace(chained, jnp.ones(3)))]
    assert found.count("softmax") == 3
    assert found.count("var") == 2


def test_numbers_of_fewer_bits_inside_of_a_call_are_rounding_and_no_corner():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        q, k, v = (jnp.asarray(rng.normal(size=(1, 2, 3, 4))) for _ in range(3))

        def attention(q, k, v):
            y = jax.nn.dot_product_attention(q, k, v)  # its softmax has 32 bits
            return jnp.sum(y**2)

        assert gv.trace(attention, q, k, v).check()


def test_a_number_that_a_module_of_equinox_is_made_with_is_not_learned():
    equinox = pytest.importorskip("equinox", reason="its modules are pytrees")
    attention = equinox.nn.MultiheadAttention(2, 4, key=jax.random.key(0))

    def loss(attention, x):
        return jnp.sum(attention(x, x, x, inference=True) ** 2)

    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
    graph = gv.trace(loss, attention, x, wrt="attention")
    learned = jax.tree_util.tree_leaves(equinox.filter_grad(loss)(attention, x))
    assert len(graph.gradients()) == len(learned)
    assert "attention.dropout.p" not in graph.names
    assert graph.diagnose().ok
    pooled = equinox.nn.Sequential(
        [equinox.nn.Conv1d(1, 2, 2, key=jax.random.key(0)), equinox.nn.MaxPool1d(2)]
    )  # (its pooling begins with a number, -inf, by which JAX knows what it is)
    assert gv.trace(lambda net, x: jnp.sum(net(x) ** 2), pooled, x.T[:1]).check()


def test_a_call_that_is_opened_is_a_fold_that_the_page_closes_and_opens():
    optax = pytest.importorskip("optax", reason="its losses are not jitted")

    def loss(logits, labels):
        h = jax.nn.gelu(logits)
        l = optax.softmax_cross_entropy_with_integer_labels(h, labels)
        return jnp.mean(l)

    arguments = jnp.asarray([[1.0, 2.0], [0.5, -1.0]]), jnp.array([0, 1])
    whole = gv.trace(loss, *arguments)
    name = whole.values[whole.id("l")].operation.name
    for unfold in ("gelu", name):
        graph = gv.trace(loss, *arguments, unfold=unfold)
        inside = [i for i in range(len(graph)) if graph.values[i].scope == (unfold,)]
        assert len(inside) > 5
        folding = Folding(graph, scopes=True)
        [fold] = folding.root.folds
        assert fold.key == unfold
        assert {*inside} <= {*fold.values}
        assert graph.names[inside[-1]] == {"gelu": "h", name: "l"}[unfold]
        np.testing.assert_allclose(graph.grad("logits"), whole.grad("logits"), atol=1e-6)
    every = gv.trace(loss, *arguments, unfold="all")
    assert {"gelu", name}.isdisjoint(node.operation.name for node in every.values)
    assert every.names[-1] == "J"
    np.testing.assert_allclose(every.grad("logits"), whole.grad("logits"), atol=1e-6)


def scaled(x, b):
    return jax.vmap(lambda row, s: row * s)(x, b)


def shifted(x, b):
    return jax.vmap(lambda row, s: row - s)(x, b)


def projected(x, b):
    return jax.vmap(lambda row, m: row @ m, (0, None))(x, x * b)


def each_projected(x, b):
    return jax.vmap(lambda row, m: row @ m)(x, jnp.stack([x * s for s in b]))


def summed_over_the_first(x, b):
    return lax.dot_general(x, x * b, (((0,), (0,)), ((), ())))


@pytest.mark.parametrize(
    "part", [scaled, shifted, projected, each_projected, summed_over_the_first],
    ids=lambda part: part.__name__,
)  # fmt: skip
def test_a_batch_along_another_axis_than_numpys_is_not_written_as_numpys_operator(part):
    """A formula that stands in the picture is computed with NumPy, as whoever reads it would."""
    x, b = jnp.arange(1.0, 10).reshape(3, 3), jnp.array([1.0, 10.0, 100.0])
    graph = gv.trace(lambda x, b: jnp.sum(part(x, b) ** 2), x, b)
    assert graph.check()
    signs = {"multiply": np.multiply, "subtract": np.subtract, "matmul": np.matmul}
    for v, node in enumerate(graph.values):
        name = node.operation.name
        operands = graph.operand_values(v)
        formula = node.operation.formula
        if name in signs and len(operands) == 2 and formula:
            made = signs[name](*operands)
            assert made.shape == node.value.shape
            np.testing.assert_allclose(made, node.value, rtol=1e-5)
        for key in range(len(operands)):
            local = graph.local(v, key)
            if local is not None and np.shape(local) == np.shape(node.value) and np.ndim(local):
                message = graph.derivatives.messages.get((v, key))
                sent = local * graph.derivatives.gradients[v]
                if message is not None and np.shape(message) == np.shape(sent):
                    np.testing.assert_allclose(message, sent, rtol=1e-5)


def test_a_bound_that_nothing_reaches_is_not_said_to_be_reached():
    def loss(x, low):
        y = jnp.clip(x, low, 5.0)
        return jnp.sum(y * y)

    found = gv.trace(loss, jnp.array([0.1, 0.2]), jnp.float32(-1.0)).diagnose()
    assert "at its limit" not in found.text
