"""Recurrent cells of JAX's libraries: what one call of them computes is no loop."""

from __future__ import annotations

import pytest

jax = pytest.importorskip("jax", reason="needs JAX")
import jax.numpy as jnp
import jax_programs  # noqa: F401 - how it compiles

import gradviz as gv
from gradviz.chain.folding import Folding

X = jnp.array([[1.0, -2.0], [0.5, 3.0]])


def equinox(kind):
    eqx = pytest.importorskip("equinox", reason="needs Equinox")
    cell = getattr(eqx.nn, kind)(2, 3, key=jax.random.key(0))
    start = jnp.zeros(3)
    state = (start, start) if kind == "LSTMCell" else start
    return cell, lambda cell, x: jnp.mean(jax.tree_util.tree_leaves(cell(x[0], state))[0] ** 2)


def nnx(kind):
    library = pytest.importorskip("flax.nnx", reason="needs Flax")
    cell = getattr(library, kind)(2, 3, rngs=library.Rngs(0))
    start = jnp.zeros((2, 3))
    state = (start, start) if kind == "LSTMCell" else start
    return cell, lambda cell, x: jnp.mean(cell(state, x)[1] ** 2)


def linen(kind):
    nn = pytest.importorskip("flax.linen", reason="needs Flax")
    cell = getattr(nn, kind)(3)
    state = cell.initialize_carry(jax.random.key(0), X.shape)
    params = cell.init(jax.random.key(0), state, X)
    apply = cell.apply
    return params, lambda cell, x: jnp.mean(apply(cell, state, x)[1] ** 2)


def repeating(graph):
    """What in its picture is said to repeat, with how often."""
    folding = Folding(graph.detailed())
    found, pending = {}, [folding.root]
    while pending:
        for part in pending.pop().folds:
            found |= {part.key: part.count} if part.count > 1 else {}
            pending.append(part)
    return found


@pytest.mark.parametrize("kind", ["GRUCell", "LSTMCell"])
@pytest.mark.parametrize("library", [equinox, nnx, linen], ids=lambda library: library.__name__)
def test_what_one_call_of_a_cell_computes_does_not_repeat(library, kind):
    cell, loss = library(kind)
    graph = gv.trace(loss, cell, X, wrt="cell")
    assert not repeating(graph)


def test_the_rounds_of_a_cell_repeat_and_nothing_in_them_does():
    cell, _ = equinox("GRUCell")

    def loss(cell, xs):
        def step(h, x):
            return cell(x, h), h

        h, _ = jax.lax.scan(step, jnp.zeros(3), xs)
        return jnp.mean(h**2)

    graph = gv.trace(loss, cell, jnp.ones((5, 2)), wrt="cell")
    assert {*repeating(graph).values()} == {4, 5}
    assert "GRUCell 2 → 3" in {str(layer) for layer in graph.layers.values()}
