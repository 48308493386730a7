"""What is in a call of a library that JAX computes in several operations."""

import numpy as np
import pytest

import gradviz as gv

jax = pytest.importorskip("jax", reason="records programs of JAX")
jnp = jax.numpy
X = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]], np.float32)
T = np.array([0, 2])


def _messages(g, i):
    """What a value sends to its operands, by their names, as the whole Graph has it."""
    found = {}
    for k, u in enumerate(g.operands[i]):
        sent = g.derivatives.messages.get((i, k))
        if sent is not None:
            found[g.names[u]] = found.get(g.names[u], 0) + sent
    return found


def _opens(g):
    found = {}
    for name in g.names:
        try:
            found[name] = g.inside(name)
        except gv.TraceError:
            continue
    return found


def _one_hot(x):
    labels = jax.nn.one_hot(T, 3)
    logp = jax.nn.log_softmax(x)
    return -jnp.sum(labels * logp)


def _twice(x):
    a = jax.nn.softmax(x)
    b = jax.nn.softmax(a)
    return jnp.sum(b**2)


def _scan(x):
    def round_(c, row):
        c = jax.nn.softmax(c + row)
        return c, c

    _, y = jax.lax.scan(round_, jnp.ones(3, x.dtype), x)
    return jnp.sum(y**2)


@jax.jit
def _jitted(x):
    h = jax.nn.gelu(x)
    return jnp.sum(h * x)


@jax.custom_jvp
def _softplus(x):
    return jnp.log1p(jnp.exp(x))


_softplus.defjvp(lambda p, t: (_softplus(*p), jax.nn.sigmoid(*p) * t[0]))


PROGRAMS = {
    "softmax": (lambda x: jnp.sum(jax.nn.softmax(x) ** 2), 1),
    "log_softmax": (lambda x: jnp.sum(jax.nn.log_softmax(x) * x), 1),
    "gelu": (lambda x: jnp.sum(jax.nn.gelu(x)), 1),
    "logsumexp": (lambda x: jnp.sum(jax.nn.logsumexp(x, axis=1)), 1),
    "one-hot labels": (_one_hot, 1),
    "norm": (lambda x: jnp.linalg.norm(x), 1),
    "several statistics": (lambda x: jnp.std(x) + jnp.var(x) + jnp.mean(x), 3),
    "solve": (lambda x: jnp.linalg.det(x @ x.T) + jnp.sum(jnp.linalg.inv(x @ x.T)), 2),
    "the same call twice": (_twice, 2),
    "vmap": (lambda x: jnp.sum(jax.vmap(jax.nn.log_softmax)(x) * x), 1),
    "rounds of a scan": (_scan, 2),
    "jit": (_jitted, 1),
    "complex": (lambda x: jnp.sum(jnp.real(jnp.sinc(x * (1 + 1j)))), 1),
    "a rule of its own that is its derivative": (lambda x: jnp.sum(_softplus(x) * x), 1),
    "operand read twice": (lambda x: jnp.sum(jnp.kron(x, x) ** 2), 1),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_its_gradients_are_those_of_the_whole_and_finite_differences_agree(program):
    function, least = PROGRAMS[program]
    with jax.enable_x64(True):
        x = jnp.asarray(X, float)
        g = gv.trace(function, x)
        expected = jax.grad(function)(x)
        assert g.grad("x") == pytest.approx(np.array(expected), rel=1e-12, abs=1e-13)
        found = _opens(g)
        assert len(found) >= least
        for name, inner in found.items():
            assert inner.value(name) == pytest.approx(g.value(name), rel=1e-12, abs=1e-13)
            assert np.array_equal(inner.grad(name), g.grad(name))
            for operand, sent in _messages(g, g.id(name)).items():
                assert inner.grad(operand) == pytest.approx(np.array(sent), rel=1e-10, abs=1e-12)
            assert inner.check()


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_floats_of_every_size_are_opened_in_their_own_precision(kind):
    def loss(x):
        logp = jax.nn.log_softmax(x)
        return jnp.sum(logp * x)

    g = gv.trace(loss, jnp.asarray(X, kind))
    inner = g.inside("logp")
    _, back = jax.vjp(jax.nn.log_softmax, jnp.asarray(X, kind))
    (expected,) = back(jnp.asarray(g.grad("logp"), kind))
    room = 1e-6 if kind == "float32" else 0.05
    assert inner.grad("x") == pytest.approx(np.array(expected, np.float32), abs=room)


def test_a_loss_of_optax_is_opened_down_to_the_operations_of_the_functions_that_it_calls():
    optax = pytest.importorskip("optax", reason="has losses")

    def loss(x):
        each = optax.softmax_cross_entropy_with_integer_labels(x, T)
        return jnp.mean(each)

    g = gv.trace(loss, X)
    inner = g.inside("each")
    operations = [node.operation.name for node in inner.values]
    assert operations.count("exp") == 1
    assert not {"log_softmax", "logsumexp"} & {*operations}
    expected = jax.vjp(lambda x: optax.softmax_cross_entropy_with_integer_labels(x, T), X)[1]
    (sent,) = expected(np.full(2, 0.5, np.float32))
    assert inner.grad("x") == pytest.approx(np.array(sent), abs=1e-6)


def test_calls_in_a_module_of_flax_are_opened():
    nn = pytest.importorskip("flax.linen", reason="records a module of Flax")

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.LayerNorm()(nn.Dense(4)(x))
            return jnp.sum(nn.softmax(h) ** 2)

    model = Model()
    params = model.init(jax.random.key(0), X)["params"]
    g = gv.trace(lambda params, x: model.apply({"params": params}, x), params, X, wrt="params")
    name = next(n for n in g.names if g.values[g.id(n)].operation.name == "softmax")
    inner = g.inside(name)
    [operand] = _messages(g, g.id(name))
    _, back = jax.vjp(jax.nn.softmax, g.value(operand))
    (expected,) = back(g.grad(name))
    assert inner.grad(operand) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_nan_is_found_in_the_operation_that_makes_it():
    def loss(x):
        y = jnp.linalg.norm(x - x)
        return y

    findings = gv.trace(loss, X).inside("y").diagnose().findings
    assert any("sqrt" in finding.message for finding in findings)


def test_what_has_no_inside_says_why(tmp_path):
    @jax.custom_vjp
    def straight(x):
        return jnp.round(x) * 2

    straight.defvjp(lambda x: (straight(x), None), lambda _, g: (g,))

    def loss(x):
        a = straight(x)
        labels = jax.nn.one_hot(T, 3) * x[0, 0].astype(int)
        b = jnp.exp(a)
        return jnp.sum(jax.nn.log_softmax(b) + labels)

    g = gv.trace(loss, X)
    with pytest.raises(gv.TraceError, match=r"^a: straight has a derivative rule of its own"):
        g.inside("a")
    with pytest.raises(gv.TraceError, match=r"^b: exp is one operation, there is nothing in it"):
        g.inside("b")
    lean = gv.trace(loss, X, capture="lean")
    name = next(n for n in lean.names if lean.values[lean.id(n)].operation.name == "log_softmax")
    with pytest.raises(gv.TraceError, match=r"lean capture .* capture=\"whole\""):
        lean.inside(name)
    g.save(tmp_path / "g.json")
    with pytest.raises(gv.TraceError, match="loaded from a file"):
        gv.load(tmp_path / "g.json").inside(name)
    with pytest.raises(gv.TraceError, match="nothing in it"):
        gv.trace(lambda x: np.sum(x**2), X).inside("J")


def test_a_picture_opens_a_call_in_its_place():
    def loss(w, x):
        z = x @ w
        logp = jax.nn.log_softmax(z)
        return -jnp.mean(logp[:, 0])

    g = gv.trace(loss, np.ones((3, 2), np.float32), X)
    for key in ("log_softmax", "logp", "logp: log_softmax"):
        drawn = g.draw(unfold=key)
        framed = [box for box in drawn.view.boxes if box.scope == ("log_softmax",)]
        assert [box.name for box in framed if box.kind == "operation"] == [
            "max", "maximum", "stop_gradient", "subtract", "exp", "sum", "log", "logp",
        ]  # fmt: skip
        assert {a.tail for a in drawn.view.arrows if a.head == framed[0].id} == {f"n{g.id('z')}"}
        assert "exp" in drawn.text
    assert not any("log_softmax" in box.scope for box in g.draw().view.boxes)


def test_all_that_is_opened_lies_in_a_frame_of_the_call_that_it_is_of():
    def f(x):
        p = jax.nn.log_softmax(x)
        q = jax.nn.softmax(p)
        return jnp.mean(q + 1)

    g = gv.trace(f, X, unfold="all")
    scopes = {name: g.dag.nodes[i]["scope"] for i, name in enumerate(g.names)}
    assert {*scopes.values()} == {(), ("log_softmax",), ("softmax",), ("mean",)}
    assert scopes["p"] == ("log_softmax",)
    assert scopes["q"] == ("softmax",)
    assert scopes["x"] == ()


def test_a_rule_around_nothing_has_nothing_in_it():
    @jax.custom_vjp
    def clip(x, mask):
        return x if mask is None else x * mask

    clip.defvjp(lambda x, mask: (clip(x, mask), None), lambda _, g: (jnp.clip(g, -1, 1), None))

    def f(x):
        y = clip(x, None)
        return jnp.sum(y**2)

    g = gv.trace(f, X)
    np.testing.assert_allclose(g.grad("x"), jax.grad(f)(X))
    with pytest.raises(gv.TraceError, match="y: clip is one operation, there is nothing in it"):
        g.inside("y")


def test_a_name_that_opens_nothing_is_refused_with_those_that_there_are():
    def loss(w, x):
        return -jnp.mean(jax.nn.log_softmax(x @ w)[:, 0])

    w, x = jnp.ones((3, 4)), jnp.ones((2, 3))
    assert len(gv.trace(loss, w, x, unfold="log_softmax")) > len(gv.trace(loss, w, x))
    for name in ("softmaxx", "matmul"):
        with pytest.raises(gv.TraceError, match=f"'{name}' opens nothing.* matmul, log_softmax"):
            gv.trace(loss, w, x, unfold=("log_softmax", name))
    with pytest.raises(ValueError, match=r"no fold 'logsoftmax' .did you mean 'log_softmax'"):
        gv.trace(loss, w, x).draw(unfold="logsoftmax")
