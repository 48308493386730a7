"""JAX programs of other libraries, on several devices, and trained."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp
import jax_programs  # noqa: F401 - how it compiles

import gradviz as gv
from gradviz.chain.health.over_time import OverTime

X = jnp.array([[1.0, -2.0], [0.5, 3.0]])


def agree(graph, slopes):
    leaves = [g for g in jax.tree_util.tree_leaves(slopes) if g is not None]
    ours = [graph.derivatives.gradients[i] for i in sorted(graph.wrt)]
    assert len(ours) == len(leaves)
    for one, other in zip(ours, leaves, strict=True):
        assert np.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_model_of_equinox_has_its_gradients_and_its_layers():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))

    def loss(model, x):
        return jnp.mean(jax.vmap(model)(x) ** 2)

    graph = gv.trace(loss, model, X, wrt="model")
    agree(graph, eqx.filter_grad(loss)(model, X))
    assert "model.layers[0].weight" in graph.names
    assert "Linear 2 → 3" in {str(layer) for layer in graph.layers.values()}


def test_a_model_of_nnx_has_its_gradients_and_its_layers():
    nnx = pytest.importorskip("flax.nnx")

    class Model(nnx.Module):
        def __init__(self):
            self.one = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
            self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
            self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(2))
            self.two = nnx.Linear(3, 1, rngs=nnx.Rngs(1))

        def __call__(self, x):
            return self.two(self.drop(jnp.tanh(self.norm(self.one(x)))))

    def loss(model, x):
        return jnp.mean(model(x) ** 2)

    parameters = "model.one", "model.two", "model.norm.scale", "model.norm.bias"
    graph = gv.trace(loss, Model(), X, wrt=parameters)
    agree(graph, nnx.grad(loss)(Model(), X))  # (each call draws other units to drop)
    assert {"model.one.kernel", "model.two.bias"} <= {*graph.names}
    layers = {str(layer) for layer in graph.layers.values()}
    assert {"Linear 2 → 3", "BatchNorm", "Dropout"} <= layers


def test_a_model_of_linen_that_normalizes_and_drops_has_its_gradients():
    nn = pytest.importorskip("flax.linen", reason="needs Flax")

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.BatchNorm(use_running_average=False)(nn.Dense(3)(x))
            return nn.Dense(1)(nn.Dropout(0.5, deterministic=False)(nn.relu(h)))

    model, key = Model(), jax.random.key(1)
    variables = model.init({"params": jax.random.key(0), "dropout": key}, X)

    def loss(params, stats, x, key):
        y, _ = model.apply({"params": params, "batch_stats": stats}, x, rngs={"dropout": key},
                           mutable=["batch_stats"])  # fmt: skip
        return jnp.mean(y**2)

    args = variables["params"], variables["batch_stats"], X, key
    graph = gv.trace(loss, *args, wrt="params")
    agree(graph, jax.grad(loss)(*args))
    layers = {str(layer) for layer in graph.layers.values()}
    assert {"Dense → 3", "BatchNorm", "Dropout"} <= layers
    assert "bernoulli" in {n.operation.name for n in graph.values}


def test_a_model_of_haiku_has_its_gradients_and_its_layers():
    hk = pytest.importorskip("haiku")
    net = hk.without_apply_rng(hk.transform(lambda x: jnp.mean(hk.nets.MLP([3, 1])(x) ** 2)))
    params = net.init(jax.random.key(0), X)
    graph = gv.trace(net.apply, params, X, wrt="params")
    agree(graph, jax.grad(net.apply)(params, X))
    assert "Linear → 3" in {str(layer) for layer in graph.layers.values()}


@pytest.mark.parametrize("core", ["VanillaRNN", "GRU", "LSTM"])
def test_a_recurrent_network_of_haiku_has_its_gradients_round_by_round(core):
    hk = pytest.importorskip("haiku")

    def loss(x):
        cell = getattr(hk, core)(3)
        states, _ = hk.dynamic_unroll(cell, x, cell.initial_state(x.shape[1]), time_major=True)
        return jnp.mean(hk.Linear(1)(states[-1]) ** 2)

    net = hk.without_apply_rng(hk.transform(loss))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 2)))
    params = net.init(jax.random.key(0), x)
    graph = gv.trace(net.apply, params, x, wrt="params")
    agree(graph, jax.grad(net.apply)(params, x))
    rounds = {part for node in graph.values for part in node.scope if part.startswith("scan")}
    assert len(rounds) == 5


def test_a_step_of_optax_is_differentiated_through():
    optax = pytest.importorskip("optax")
    schedule = optax.cosine_decay_schedule(0.1, 10)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(schedule))

    def loss(params, x):
        return jnp.mean(jnp.tanh(x @ params["w"]) ** 2)

    def after(params, average, x):
        slopes = jax.grad(loss)(params, x)
        changes, _ = optimizer.update(slopes, optimizer.init(params), params)
        params = optax.apply_updates(params, changes)
        average = jax.tree_util.tree_map(lambda a, p: 0.9 * a + 0.1 * p, average, params)
        return loss(params, x) + loss(average, x)

    params = {"w": jnp.array([[0.5], [-1.0]])}
    graph = gv.trace(after, params, params, X, wrt=("params", "average"))
    agree(graph, jax.grad(after, (0, 1))(params, params, X))


def test_the_step_at_which_a_training_breaks_is_found(tmp_path):
    def loss(params):
        y = jnp.log(params["w"])
        return jnp.sum(y)

    params = {"w": jnp.array([0.35, 0.9])}
    values = []
    with gv.record_training(loss, tmp_path / "run.gvtrain", every=1) as recorder:
        for _ in range(3):
            values.append(float(loss(params)))
            with recorder.step(params) as moved:
                params = {"w": params["w"] - 0.1 * jax.grad(loss)(params)["w"]}
                moved(params)
    run = gv.load_training(tmp_path / "run.gvtrain")
    first = next(n for n, value in enumerate(values) if not np.isfinite(value))
    steps = range(len(values))
    found = OverTime(lambda step: [run.graph(step).diagnose()]).onsets(steps, steps)
    begun = {(one.kind, one.first) for one in found if one.severity == "error"}
    assert begun == {("non-finite value", first)}
    (source,) = {f.source.text for f in run.graph(first).diagnose().findings if f.source}
    assert source == 'y = jnp.log(params["w"])'


SEVERAL = """
import jax, jax.numpy as jnp, numpy as np, gradviz as gv
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
w, mesh = jnp.arange(4.0), Mesh(np.array(jax.devices()), ("i",))
there = jax.device_put(w, jax.devices()[1])
print(gv.trace(lambda w: jnp.sum(w**2), there).grad("w").tolist())
double = jax.shard_map(lambda x: 2 * x, mesh=mesh, in_specs=P("i"), out_specs=P("i"))
spread = jax.device_put(w, NamedSharding(mesh, P("i")))
for function, x in ((lambda w: jnp.sum(double(w)), w), (jnp.sum, spread)):
    try:
        gv.trace(function, x)
    except gv.TraceError as error:
        print(error)
"""


def test_of_several_devices_one_is_recorded_and_the_rest_refused():
    flags = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ran = subprocess.run([sys.executable, "-c", SEVERAL], env=flags, text=True,
                         capture_output=True, check=True)  # fmt: skip
    one, mapped, spread = ran.stdout.splitlines()
    assert one == "[0.0, 2.0, 4.0, 6.0]"
    assert mapped.startswith("shard_map cannot be recorded")
    assert "is spread over 2 devices" in spread


def named(graph):
    return {graph.names[i] for i in graph.wrt}


def test_what_a_model_keeps_but_does_not_learn_is_differentiated_by_only_when_it_is_named():
    nnx = pytest.importorskip("flax.nnx", reason="needs Flax")

    class Model(nnx.Module):
        def __init__(self):
            self.norm = nnx.BatchNorm(2, use_running_average=True, rngs=nnx.Rngs(0))
            self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(2))

        def __call__(self, x):
            return self.drop(self.norm(x))

    def loss(model, x):
        return jnp.mean(model(x) ** 2)

    params = {"model.norm.bias", "model.norm.scale"}
    assert named(gv.trace(loss, Model(), X)) == params | {"x"}
    assert named(gv.trace(loss, Model(), X, wrt="model")) == params
    graph = gv.trace(loss, Model(), X, wrt="model.norm.mean")
    assert named(graph) == {"model.norm.mean"}
    assert graph.grad_state(graph.id("x")) == "not computed"
    bare = nnx.BatchNorm(2, use_scale=False, use_bias=False, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"wrt='norm\.mean'"):
        gv.trace(lambda norm, x: jnp.mean(norm(x)), bare, X, wrt="norm")

    def stats(variables, x):
        kept = variables["batch_stats"]["norm"]
        return jnp.mean((x - kept["mean"]) * variables["params"]["w"] * kept["var"])

    variables = {"params": {"w": X[0]}, "batch_stats": {"norm": {"mean": X[0], "var": X[1]}}}
    assert named(gv.trace(stats, variables, X)) == {"variables.params.w", "x"}
    assert named(gv.trace(stats, variables, X, wrt="variables")) == {"variables.params.w"}
    asked = gv.trace(stats, variables, X, wrt="variables.batch_stats.norm.var")
    assert named(asked) == {"variables.batch_stats.norm.var"}


def test_a_batch_norm_of_equinox_has_its_gradients_and_its_state_has_none():
    eqx = pytest.importorskip("equinox", reason="needs Equinox")
    model, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "batch", mode="batch")

    def loss(model, state, x):
        call = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        y, _ = call(x, state)
        return jnp.mean(y**3)

    graph = gv.trace(loss, model, state, X)
    assert named(graph) == {"model.weight", "model.bias", "x"}
    slopes = eqx.filter_grad(lambda pair, state: loss(pair[0], state, pair[1]))((model, X), state)
    agree(graph, slopes)


def scopes(graph):
    return {node.scope for node in graph.values if node.scope}


def test_modules_that_a_program_puts_together_have_their_own_names():
    nnx = pytest.importorskip("flax.nnx", reason="needs Flax")
    model = nnx.Sequential(
        nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(3, 1, rngs=nnx.Rngs(1))
    )
    definition, params, rest = nnx.split(model, nnx.Param, ...)

    def loss(params, x):
        return jnp.mean(nnx.merge(definition, params, rest)(x) ** 2)

    graph = gv.trace(loss, params, X, wrt="params")
    assert scopes(graph) == {("layers[0]",), ("layers[2]",)}
    agree(graph, jax.grad(loss)(params, X))


def test_of_two_models_each_has_its_scope():
    nnx = pytest.importorskip("flax.nnx", reason="needs Flax")
    encoder, decoder = (nnx.Linear(2, 2, rngs=nnx.Rngs(n)) for n in (0, 1))
    graph = gv.trace(lambda enc, dec, x: jnp.mean(dec(jnp.tanh(enc(x)))), encoder, decoder, X)
    assert scopes(graph) == {("enc",), ("dec",)}


def test_a_jitted_loss_has_its_layers_whether_or_not_it_ran_before():
    eqx = pytest.importorskip("equinox", reason="needs Equinox")
    model = eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))

    @eqx.filter_jit
    def loss(model, x):
        y = jax.vmap(model)(x)
        return jnp.mean(y**2)

    loss(model, X)
    for _ in range(2):
        graph = gv.trace(loss, model, X, wrt="model")
        assert {"layers[0]", "layers[1]"} <= {scope[-1] for scope in scopes(graph)}
        assert "Linear 2 → 3" in {str(layer) for layer in graph.layers.values()}
        texts = {graph.source(i).text for i in range(len(graph)) if not graph.is_leaf(i)}
        assert texts == {"y = jax.vmap(model)(x)", "return jnp.mean(y**2)"}
    agree(graph, eqx.filter_grad(loss)(model, X))


def test_what_linen_lifts_is_opened():
    nn = pytest.importorskip("flax.linen", reason="needs Flax")

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.remat(nn.Dense)(2)(x)
            loop = nn.scan(
                nn.GRUCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=0
            )
            cell = loop(3)
            _, ys = cell(cell.initialize_carry(jax.random.key(0), (2,)), x)
            return jnp.mean(ys**2)

    model = Model()
    params = model.init(jax.random.key(0), X)
    graph = gv.trace(model.apply, params, X, wrt="variables")
    agree(graph, jax.grad(model.apply)(params, X))
    names = {scope[:2] for scope in scopes(graph)}
    assert {("CheckpointDense_0",), ("scan[2]", "ScanGRUCell_0")} <= names


def test_a_library_that_the_function_imports_itself_has_none_of_its_lines():
    code = (
        "import jax.numpy as jnp, gradviz as gv\n"
        "gv.trace(lambda w: jnp.sum(w * w), jnp.ones(2))\n"
        "def loss(w):\n    import optax\n    return jnp.mean(optax.huber_loss(w, 2 * w))\n"
        "graph = gv.trace(loss, jnp.ones(2))\n"
        "print(*(node.operation.name for node in graph.values))\n"
    )
    pytest.importorskip("optax", reason="needs Optax")
    ran = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert ran.stdout.split() == ["input", "constant", "multiply", "huber_loss", "mean"]


def test_a_method_of_an_equinox_module_is_no_layer():
    eqx = pytest.importorskip("equinox", reason="needs Equinox")
    attention = eqx.nn.MultiheadAttention(2, 2, key=jax.random.key(0))

    def loss(attention, x):
        return jnp.mean(attention(x, x, x) ** 2)

    graph = gv.trace(loss, attention, X, wrt="attention")
    agree(graph, eqx.filter_grad(loss)(attention, X))
    names = {f"{name}_proj" for name in ("query", "key", "value", "output")}
    assert {scope[0] for scope in scopes(graph)} == names
    assert {layer.kind for layer in graph.layers.values()} == {"MultiheadAttention", "Linear"}
