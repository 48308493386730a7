"""Programs of JAX: (function, arguments), by what they are about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

jax.config.update("jax_disable_most_optimizations", True)  # compiling is what the tests wait for
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}


def arrays(*shapes: tuple[int, ...], seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes)


def program(*args: Any) -> Callable[[Any], Any]:
    def note(function: Any) -> Any:
        PROGRAMS[function.__name__] = function, args
        return function

    return note


# --- pytrees ---


class Layer(NamedTuple):
    w: Any
    b: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Net:
    layers: list[Any]
    out: Any
    size: int = dataclasses.field(metadata=dict(static=True), default=2)


@jax.tree_util.register_pytree_node_class
class Own:
    def __init__(self, scale):
        self.scale = scale

    def tree_flatten(self):
        return (self.scale,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


W, B, V, X, T = arrays((3, 4), (4,), (4, 2), (5, 3), (5, 2))


@program({"layers": [{"w": W, "b": B}, {"w": V}]}, X, T)
def dicts_and_lists(params, x, t):
    h = x
    for layer in params["layers"]:
        z = h @ layer["w"] + layer.get("b", 0.0)
        h = jax.nn.relu(z)
    return jnp.mean((h - t) ** 2)


@program((Layer(W, B), (V, 0.5)), X)
def tuples_and_numbers(params, x):
    first, (v, scale) = params
    return jnp.sum(jnp.tanh(x @ first.w + first.b) @ v) * scale


@program(Net([Layer(W, B)], V), X)
def dataclass(net, x):
    h = jnp.sin(x @ net.layers[0].w + net.layers[0].b)
    return jnp.sum((h @ net.out) ** net.size)


@program(Own(B), B)
def registered(own, x):
    return jnp.sum(jnp.exp(own.scale * x))


# --- random numbers ---


@program(W, jax.random.key(3))
def dropout(w, key):
    keep = jax.random.bernoulli(key, 0.5, w.shape)
    return jnp.sum(jnp.where(keep, w / 0.5, 0.0) ** 2)


@program(B, jax.random.PRNGKey(1))
def noise(w, key):
    first, second = jax.random.split(key)
    return jnp.sum(w * jax.random.normal(first, (4,)) + jax.random.uniform(second, (4,)) * w**2)


# --- transformations ---


@jax.jit
def gate(w, x):
    return jnp.where(x > 0, w * x, jnp.exp(w) * x)


@program(B, B[::-1])
def jitted(w, x):
    y = gate(w, x)
    z = gate(y, w)
    return jnp.sum(z * y)


@program(B[:3], X, T[:, 0])
def vmapped(w, x, t):
    def one(w, x, t):
        return (jnp.tanh(w @ x) - t) ** 2

    return jnp.mean(jax.vmap(one, (None, 0, 0))(w, x, t))


@program(B, B[::-1])
def gradient_inside(w, x):
    g = jax.grad(lambda w: jnp.sum(jnp.sin(w * x) ** 2))(w)
    return jnp.sum(g**2)


@program(B)
def jvp_and_hessian(w):
    def energy(w):
        return jnp.sum(w**3) + w[0] * w[1]

    _, slope = jax.jvp(energy, (w,), (jnp.ones(4),))
    return slope + jnp.sum(jax.hessian(energy)(w) ** 2)


@program([W @ W.T * 0.2] * 2 + [W @ W.T], B[:3])
def checkpointed(ws, x):
    @jax.checkpoint
    def block(w, x):
        return jnp.sin(jnp.tanh(w @ x))

    for w in ws:
        x = block(w, x)
    return jnp.sum(x)


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda x, dx: (cube(*x), 2.5 * x[0] ** 2 * dx[0]))


@program(B)
def custom_jvp(w):
    return jnp.sum(cube(w) * w)


@jax.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -0.1, 0.1),))


@program(B)
def custom_vjp(w):
    return jnp.sum(clipped(w * 2) ** 2)


@jax.custom_vjp
def pair(x, y):
    return x * y, x + y


def _joint(saved, g):
    size = jnp.sqrt(jnp.sum(g[0] ** 2 + g[1] ** 2))  # not linear in both together
    return g[0] / size, g[1] / size + saved[0]


pair.defvjp(lambda x, y: (pair(x, y), (x, y)), _joint)


@program(B, B[::-1])
def joint_custom_vjp(x, y):
    a, b = pair(x, y)
    return jnp.sum(a**2) + jnp.sum(jnp.sin(b))


@program(B)
def stopped(w):
    return jnp.sum(w * lax.stop_gradient(jnp.sign(w) * w) + jnp.round(w))


# --- control flow ---


@program(B)
def branches(w):
    y = lax.cond(w[0] > 0, lambda w: w**2, lambda w: w**3, w)
    return jnp.sum(lax.switch(2, [jnp.sin, jnp.cos, lambda y: y * y], y * w))


@program(B[:2])
def while_loop(w):
    def body(state):
        z, n = state
        return jnp.sin(z) * w, n + 1

    return jnp.sum(lax.fori_loop(0, 3, lambda i, z: z * w + i, body((w, 0))[0]))


@program({"W": W[:, :3] * 0.5, "U": X[:3, :2]}, X[:, :2])
def scanned(params, xs):
    def cell(h, x):
        h = jnp.tanh(params["W"] @ h + params["U"] @ x)
        return h, jnp.sum(h**2)

    h, ys = lax.scan(cell, jnp.zeros(3), xs)
    return jnp.sum(h) + jnp.mean(ys)


@program(B, W)
def scanned_backwards(w, xs):
    def cell(carry, x):
        a, n = carry
        return (a * w + x, n + 1), (a * x, n)

    (a, _), (ys, _) = lax.scan(cell, (w, 0), xs, reverse=True)
    return jnp.sum(a) + jnp.sum(ys * xs)


@program(B, W)
def scan_in_scan(w, xs):
    def outer(c, row):
        def inner(c, x):
            return jnp.sin(c * x) + w[0], c

        c, seen = lax.scan(inner, c, row)
        return c * w[1], jnp.sum(seen)

    c, seen = lax.scan(outer, w[2], xs)
    return c + jnp.sum(seen**2)


@program(B, W[:, 0])
def scan_that_branches(w, xs):
    def cell(c, x):
        return lax.cond(x > 0, lambda c: c * w, lambda c: c - w * x, c), c[0]

    c, seen = lax.scan(cell, w, xs)
    return jnp.sum(c) + jnp.sum(seen)


@program(B)
def scan_that_branches_in_no_round(w):
    def cell(c, x):
        return lax.cond(x > 0, lambda c: c * x, lambda c: c - x, c), c

    c, seen = lax.scan(cell, w[0], w[:0])
    return c**2 + jnp.sum(seen)


@program(W)
def mapped(w):
    return jnp.sum(lax.map(lambda row: jnp.outer(row, row) @ row, w))


# --- arrays ---


@program(W, jnp.array([0, 2, 2, 1]))
def indexed(e, at):
    x = e[at]
    x = x.at[0].set(0.0).at[1:].multiply(2.0)
    return jnp.sum(jnp.sort(x.ravel())[::2] ** 2) + jax.scipy.special.logsumexp(x)


@program(B)
def decomposed(w):
    m = jnp.outer(w, w) + 2 * jnp.eye(4)
    q, r = jnp.linalg.qr(m)
    top, _ = lax.top_k(w, 2)
    return jnp.sum(r * q) + jnp.sum(top) + jnp.linalg.slogdet(m)[1] + jnp.sum(jnp.cumsum(w) ** 2)


@program({"q": W[:, :3], "k": W[:, 1:], "v": W[:, :3]}, X)
def attention(p, x):
    q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
    s = jnp.einsum("td,sd->ts", q, k) / np.sqrt(q.shape[-1])
    s = jnp.where(jnp.tril(jnp.ones(s.shape, bool)), s, -1e9)
    return jnp.sum(jnp.tanh(jax.nn.softmax(s) @ v))


@program(W, jnp.array([1, 0, 3]))
def classified(logits, labels):
    logp = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(logp, labels[:, None], axis=1))


@program(*arrays((1, 6, 6, 2), (3, 3, 2, 3)))
def convolved(x, k):
    y = lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    y = lax.reduce_window(jax.nn.gelu(y), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jnp.sum(jax.nn.standardize(y) * y)


# --- numbers ---


@program(B)
def complex_inside(w):
    z = jnp.exp(1j * w) * (w + 2j)
    return jnp.sum(jnp.abs(jnp.fft.fft(z)) ** 2 + jnp.real(z) * jnp.imag(z))


@program(B + 1j * B[::-1])
def complex_leaf(z):
    return jnp.sum(jnp.abs(z) ** 3 + jnp.real(z**2))


@program(B.astype(jnp.bfloat16), B)
def bfloat(w, x):
    return jnp.sum((w * x.astype(jnp.bfloat16)).astype(jnp.float32) ** 2)


@program(B.astype(jnp.float16))
def half(w):
    return jnp.sum(jnp.tanh(w) * w)


@program(2.0, np.array([1.0, 3.0], np.float32))
def python_number(a, x):
    return jnp.sum(a * x**a)


@program(B, 3)
def static_integer(w, n):
    for _ in range(n):
        w = jnp.sin(w) * w
    return jnp.sum(w)


called = partial(jax.jit(lambda a, x: jnp.sum(jnp.sin(a * x))), B)
PROGRAMS["partial"] = called, (B[::-1],)
