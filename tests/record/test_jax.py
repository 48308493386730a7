from __future__ import annotations

import subprocess
import sys

import array_programs
import networkx as nx
import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp
from array_programs import BINARY, UNARY, _lines, program
from jax_programs import PROGRAMS
from thorough import examples

import gradviz as gv
from gradviz.chain.folding import Folding

PRECISION = {"float32": 1e-6, "float64": 1e-12, "float16": 1e-3, "bfloat16": 1e-2}


def expected(function, args):
    """J and the gradients of its float leaves by `jax.grad`, in the order of the leaves."""
    leaves, tree = jax.tree_util.tree_flatten(args)
    floats = [
        i for i, x in enumerate(leaves)
        if not isinstance(x, int) and jnp.issubdtype(jnp.result_type(x), jnp.inexact)
    ]  # fmt: skip

    def flat(*moving):
        full = list(leaves)
        for i, x in zip(floats, moving, strict=True):
            full[i] = x
        return function(*jax.tree_util.tree_unflatten(tree, full))

    slopes = jax.jit(jax.value_and_grad(flat, tuple(range(len(floats)))))
    return slopes(*[leaves[i] for i in floats])


def close(ours, theirs, dtype):
    theirs = np.asarray(theirs, complex if np.iscomplexobj(theirs) else float)
    scale = max(1.0, float(np.max(np.abs(theirs), initial=0.0)))
    return np.max(np.abs(ours - theirs), initial=0.0) <= PRECISION[dtype] * scale


def sums_agree(graph, dtype):
    """Whether the messages to each value sum to its gradient."""
    gradients, messages = graph.derivatives
    for i, gradient in gradients.items():
        found = [messages[e] for e in graph.readers[i] if e in messages]
        if i != graph.output and not close(sum(found), gradient, dtype):
            return False
    return True


def coarsest(graph):
    names = {str(node.value.dtype) for node in graph.values} & PRECISION.keys()
    names |= {"bfloat16"} if graph.program.precision > 5e-3 else set()
    return max(names, key=PRECISION.__getitem__)


def widened(x):
    """A leaf with 64 bits where it has 32."""
    wide = {"float32": "float64", "complex64": "complex128"}.get(str(getattr(x, "dtype", "")))
    return x.astype(wide) if wide else x


SMALLER = "bfloat", "half", "partial"  # what has, or holds, floats of 32 bits or fewer by itself


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_are_those_of_jax_and_the_sum_of_their_messages(name, wide):
    function, args = PROGRAMS[name]
    with jax.enable_x64(wide):
        if wide:
            args = jax.tree_util.tree_map(widened, args)
        graph = gv.trace(function, *args)
        dtype = coarsest(graph)
        if wide and name not in SMALLER:
            assert dtype == "float64"
        value, gradients = expected(function, args)
        ours = list(graph.gradients().values())
        assert close(graph.values[graph.output].value, value, dtype)
        assert len(ours) == len(gradients)
        for one, other in zip(ours, gradients, strict=True):
            assert one.shape == other.shape
            assert close(one, other, dtype)
        assert sums_agree(graph, dtype)


def written_in_a_row(x):
    f = x.ravel()
    for i in range(4):
        f = f.at[i : i + 2].add(f[i] * f[:2])
    return jnp.sum(jnp.cos(f))


WRITING = {
    "one slice into another": lambda x: jnp.sum(
        jnp.cos(x.ravel().at[1:4].set(-0.8 * x.ravel()[:3]))
    ),
    "dynamic_update_slice": lambda x: jnp.sum(
        jnp.cos(jax.lax.dynamic_update_slice(x.reshape(8), 2 * x.reshape(8)[:3], (1,)))
    ),
    "in a row": written_in_a_row,
    "polydiv": lambda x: jnp.sum(jnp.polydiv(x.ravel(), jnp.array([1.5, 0.5]))[0] ** 2),
}


@pytest.fixture
def optimized():
    """Compile as users do."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)  # see `jax_programs`


@pytest.mark.parametrize("name", WRITING)
def test_what_is_written_is_as_without_jit_whatever_xla_makes_of_it(name, optimized):
    # (Under jax.jit alone jaxlib 0.10.2 computes other numbers for some of these.)
    function = WRITING[name]
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4)))
        with jax.disable_jit():
            value, gradient = jax.value_and_grad(function)(x)
        graph = gv.trace(function, x, capture="whole")
        assert float(graph.value("J")) == pytest.approx(float(value), rel=1e-12)
        np.testing.assert_allclose(graph.grad("x"), gradient, rtol=1e-9, atol=1e-12)
        assert graph.check()
        lean = gv.trace(function, x, capture="lean")
        assert lean.values[lean.output].value.mean == pytest.approx(float(value), rel=1e-12)


def test_random_programs_have_the_gradients_that_numpys_have():
    rng = np.random.default_rng(5)
    compared = 0
    with jax.enable_x64(True):
        while compared < 3:
            made = program(lambda n: int(rng.integers(n)), 6)
            if len(made.lines) < 3:
                continue
            ours = gv.trace(lambda *leaves, made=made: made.run(np, leaves), *made.leaves)
            theirs = gv.trace(
                lambda *leaves, made=made: made.run(jnp, leaves), *map(jnp.asarray, made.leaves)
            )
            found = zip(ours.gradients().values(), theirs.gradients().values(), strict=True)
            for one, other in found:
                assert np.allclose(one, other, rtol=1e-9, atol=1e-9), made.text
            compared += 1


def test_random_programs_in_jax_numpy_have_the_operations_that_they_have_in_numpy(monkeypatch):
    # JAX's reciprocal is a power, its + does nothing, log2 needs a file's text to be one operation
    renamed = "xp.reciprocal", "+{a}", "xp.log2", "xp.log10"
    lines = [
        [line for line in _lines(text) if not line.startswith(renamed)] for text in (UNARY, BINARY)
    ]
    monkeypatch.setattr(array_programs, "KINDS", lines)
    rng = np.random.default_rng(1)

    def operations(graph):  # of what J depends on
        there = nx.ancestors(graph.dag, graph.output) | {graph.output}
        return [
            graph.values[i].operation.name for i in sorted(there)
            if not graph.is_leaf(i) and np.asarray(graph.values[i].value).dtype != bool
        ]  # fmt: skip

    with jax.enable_x64(True):
        for _ in range(examples(5)):
            made = program(lambda n: int(rng.integers(n)), 6)
            one = gv.trace(lambda *leaves, made=made: made.run(np, leaves), *made.leaves)
            other = gv.trace(
                lambda *leaves, made=made: made.run(jnp, leaves), *map(jnp.asarray, made.leaves)
            )
            assert operations(one) == operations(other), made.text
            found = zip(one.gradients().values(), other.gradients().values(), strict=True)
            for ours, theirs in found:
                assert np.allclose(ours, theirs, rtol=1e-12, atol=1e-12), made.text


def network(xp, w, b, x, t):
    z = x @ w + b
    a = xp.where(z > 0, z, xp.exp(z) - 1)
    y = xp.tanh(a) / xp.sqrt(1 + xp.square(a))
    p = xp.exp(-xp.abs(y)) * xp.maximum(y, 0.1) - xp.log(2 + xp.sin(a))
    s = xp.concatenate([p, y], axis=1)
    m = xp.mean(s, axis=0) + xp.max(s, axis=0) + xp.var(s, axis=0)
    r = xp.reshape(s, (2, -1)).T[1:] ** 2
    n = xp.linalg.norm(r) + xp.cumsum(m)[0] + xp.sum(xp.clip(m, -1.0, 1.0))
    return n + xp.sum((p - t) ** 2)


def test_a_program_in_jax_numpy_is_the_graph_that_it_is_in_numpy():
    rng = np.random.default_rng(0)
    args = [rng.normal(size=s) for s in ((3, 2), (2,), (4, 3), (4, 2))]

    def in_numpy(w, b, x, t):
        return network(np, w, b, x, t)

    def in_jax(w, b, x, t):
        return network(jnp, w, b, x, t)

    with jax.enable_x64(True):
        one, other = gv.trace(in_numpy, *args), gv.trace(in_jax, *args)

    def told(graph):
        return [
            (node.operation.name, graph.names[i] if i in graph.named else "", graph.source(i).line)
            for i, node in enumerate(graph.values)
            if not graph.is_leaf(i) and np.asarray(node.value).dtype != bool  # (a mask)
        ]

    assert told(one) == told(other)
    for name, gradient in one.gradients().items():
        assert np.allclose(gradient, other.grad(name), rtol=1e-12, atol=1e-12)
    assert gv.compare(one, other)
    assert one.explain("b").path_count == other.explain("b").path_count


def test_a_scan_has_its_rounds_as_scopes_with_their_own_numbers():
    function, args = PROGRAMS["scanned"]
    graph = gv.trace(function, *args, wrt="params")
    rounds = [node for node in graph.values if node.scope and node.operation.name == "tanh"]
    assert [node.scope for node in rounds] == [(f"cell[{n}]",) for n in range(1, 6)]
    h = np.zeros(3)
    for node, x in zip(rounds, args[1], strict=True):
        h = np.tanh(args[0]["W"] @ h + args[0]["U"] @ x)
        assert np.allclose(node.value, h, atol=1e-6)
    folding = Folding(graph)
    assert [fold.count for fold in folding.root.folds] == [5]


def test_a_function_of_the_library_is_one_operation_that_unfold_opens():
    def loss(logits):
        logp = jax.nn.log_softmax(logits)
        return -jnp.mean(logp)

    def decades(x):
        y = jnp.log10(2 + x)
        return jnp.sum(y)

    logits = jnp.array([[1.0, 2.0], [0.5, -1.0]])
    named = gv.trace(decades, logits)  # (JAX puts its two primitives in the user's place)
    assert named.values[named.id("y")].operation.name == "log10"
    assert np.allclose(named.grad("x"), 1 / ((2 + logits) * np.log(10)))
    graph = gv.trace(loss, logits)
    assert [n.operation.name for n in graph.values] == ["input", "log_softmax", "mean", "negative"]
    opened = gv.trace(loss, logits, unfold="log_softmax")
    inside = [n.operation.name for n in opened.values if n.scope == ("log_softmax",)]
    assert inside[-1] == "subtract"
    assert {"exp", "sum", "log"} <= {*inside}
    assert np.allclose(graph.grad("logits"), opened.grad("logits"), atol=1e-7)


def test_leaves_are_named_by_their_paths_and_values_by_the_users_variables():
    function, args = PROGRAMS["dicts_and_lists"]
    graph = gv.trace(function, *args, wrt="params")
    assert [graph.names[i] for i in sorted(graph.wrt)] == [
        "params.layers[0].b", "params.layers[0].w", "params.layers[1].w",
    ]  # fmt: skip
    assert {"z", "h"} <= {*graph.names}
    assert all(
        graph.source(i).file.endswith("jax_programs.py")
        for i in range(len(graph)) if not graph.is_leaf(i)
    )  # fmt: skip
    assert graph.kind(graph.id("x")) == "input"


def test_arrays_of_numpy_are_recorded_where_the_function_is_of_jax():
    def made(xp):
        return lambda w, x: xp.sum((w * x) ** 2)

    for function in (lambda w, x: jnp.sum((w * x) ** 2), made(jnp)):
        graph = gv.trace(function, np.array([1.0, 2.0]), 3.0, wrt="w")
        assert graph.grad("w").tolist() == [18.0, 36.0]
        assert str(graph.grad("w").dtype) == "float32"
    assert gv.trace(made(np), np.array([1.0, 2.0]), 3.0).grad("w").dtype == np.float64


def test_gradviz_is_imported_without_jax():
    code = (
        "import gradviz, sys; gradviz.trace(lambda x: x * x, 2.0); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
