"""
A program in JAX
================

The same call takes JAX's functions and pytrees: leaves are named by their paths, a ``scan`` is one box
with its count.
"""

import jax
import jax.numpy as jnp

import gradviz as gv


def loss(params, xs):
    def step(h, x):
        h = jnp.tanh(params["W"] @ h + params["U"] @ x)
        return h, h

    last, _ = jax.lax.scan(step, jnp.zeros(2), xs)
    return jnp.sum(last**2)


params = {"W": 0.5 * jnp.eye(2), "U": 0.3 * jnp.eye(2)}
g = gv.trace(loss, params, jnp.ones((6, 2)))
print(g.grad("params.W"))
