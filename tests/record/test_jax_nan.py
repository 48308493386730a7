"""A NaN planted in a JAX program is found at its line, and told in the right words."""

from __future__ import annotations

import pytest

jax = pytest.importorskip("jax", reason="needs JAX")
import jax.numpy as jnp
import jax_programs  # noqa: F401 - how it compiles

import gradviz as gv


def length(w):
    d = w - w
    n = jnp.linalg.norm(d)
    return n * 2


def angle(w):
    c = w / w
    a = jnp.arccos(c)
    return jnp.sum(a)


def overflow(w):
    e = jnp.exp(w * 100)
    p = e / jnp.sum(e)
    return jnp.sum(p * w)


def root(w):
    r = (w * 0.0) ** 0.5
    return jnp.sum(r)


def spread(w):
    s = jnp.std(w * 0.0)
    return s + jnp.sum(w)


def nothing(w):
    z = (w - w) / (w - w)
    return jnp.sum(z)


def never_predicted(w):
    p = jnp.where(w > 0, w, 0.0)
    logp = jnp.log(p)
    return -jnp.sum(jnp.array([0.0, 1.0, 0.0]) * logp)


def in_a_loop(w):
    def cell(c, x):
        y = jnp.log(c)
        return y * x, y

    c, ys = jax.lax.scan(cell, jnp.float32(1.0), w)
    return c + jnp.sum(ys)


PLANTED = [
    (
        length,
        "non-finite gradient",
        "n = jnp.linalg.norm(d)",
        "the length of a vector of zeros (d)",
    ),
    (angle, "non-finite gradient", "a = jnp.arccos(c)", "arccos of ±1 (c)"),
    (overflow, "non-finite value", "e = jnp.exp(w * 100)", "exp overflows float32"),
    (root, "non-finite gradient", "r = (w * 0.0) ** 0.5", "a power of 0"),
    (spread, "non-finite gradient", "s = jnp.std(w * 0.0)", "std of entries that are all the same"),
    (nothing, "non-finite value", "z = (w - w) / (w - w)", "0 / 0"),
    (never_predicted, "non-finite value", "logp = jnp.log(p)", "log of 0 (p)"),
    (in_a_loop, "non-finite value", "y = jnp.log(c)", "cell[2].y = log(cell[1].multiply) is -inf"),
]


@pytest.mark.parametrize(("program", "kind", "line", "words"), PLANTED)
def test_what_is_planted_is_found(program, kind, line, words):
    found = gv.trace(program, jnp.array([0.5, -1.0, 2.0])).diagnose().findings[0]
    assert (found.kind, found.source.text) == (kind, line)
    assert words in found.message


HALF = "astype overflows float16 (up to 6.55e+04): {} reaches 1e+06"


def nnx_layer():
    nnx = pytest.importorskip("flax.nnx", reason="needs Flax")
    layer = nnx.Linear(2, 3, rngs=nnx.Rngs(0), dtype=jnp.float16)
    layer.kernel[...] = jnp.full((2, 3), 1e6)
    return layer, nnx.Linear.__call__, "layer.kernel"


def linen_layer():
    nn = pytest.importorskip("flax.linen", reason="needs Flax")
    layer = nn.Dense(3, dtype=jnp.float16)
    params = {"params": {"kernel": jnp.full((2, 3), 1e6), "bias": jnp.zeros(3)}}
    return params, layer.apply, "layer.params.kernel"


@pytest.mark.parametrize("make", [nnx_layer, linen_layer])
def test_a_parameter_that_half_precision_does_not_hold_is_named_and_no_helper_of_a_library(make):
    layer, call, name = make()

    def loss(layer, x):
        y = call(layer, x)
        return jnp.mean(y.astype(jnp.float32))

    finding = gv.trace(loss, layer, jnp.ones((4, 2))).diagnose().findings[0]
    assert HALF.format(name) in finding.message
    assert finding.source.text == "y = call(layer, x)"
