"""Derivative rules of a JAX program's own are told as such, and whether they differ is found."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="needs JAX")
import jax.numpy as jnp
import jax_programs  # noqa: F401 - how it compiles

import gradviz as gv

W, S = jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])
DIFFERS = "has a derivative rule of its own (jax.custom_{}), which is not the derivative of what it"


@jax.custom_vjp
def clipped(x):
    return 2 * x


clipped.defvjp(lambda x: (2 * x, None), lambda _, g: (jnp.clip(g, -0.1, 0.1),))


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda x, dx: (cube(*x), 2.5 * x[0] ** 2 * dx[0]))


@jax.custom_vjp
def right(x):
    return jnp.sin(x)


right.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


@jax.custom_vjp
def root(a):
    def nearer(y):
        return (y + a / y) / 2

    return jax.lax.while_loop(lambda y: jnp.any(abs(y * y - a) > 1e-5), nearer, a)


root.defvjp(lambda a: (root(a), root(a)), lambda y, g: (g / y,))  # (twice the derivative)


@jax.custom_vjp
def scaled(x, s):
    return x * s


scaled.defvjp(lambda x, s: (x * s, s), lambda s, g: (g * s, None))


@jax.custom_vjp
def from_python(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


from_python.defvjp(lambda x: (from_python(x), x), lambda x, g: (g * jnp.cos(x),))


def loss_of(function):
    def loss(w):
        y = function(right(w)) * 3
        return jnp.sum(y**2)

    return loss


@pytest.mark.parametrize(("function", "rule"), [(clipped, "vjp"), (cube, "jvp")])
def test_a_rule_that_is_not_the_derivative_is_told_where_differences_disagree(function, rule):
    loss = loss_of(function)
    graph = gv.trace(loss, W)
    np.testing.assert_allclose(graph.grad("w"), jax.grad(loss)(W), rtol=1e-6)
    for detail in ("names", "operations"):
        found = graph.check(detail=detail)
        assert not found
        told = [line for line in found.text.splitlines() if "of its own" in line]
        (line,) = told  # that of `right` is the derivative
        assert line.strip().startswith(f"{function.__name__} {DIFFERS.format(rule)}")
        assert line.endswith("y = function(right(w)) * 3")


def test_of_a_rule_around_what_jax_cannot_differentiate_it_is_said_alone_that_it_is_one():
    found = gv.trace(loss_of(root), W).check()
    assert "root has a derivative rule of its own (jax.custom_vjp) at " in found.text


def test_a_rule_that_sends_an_argument_nothing_is_named_as_what_ends_its_way():
    def loss(w, s):
        y = scaled(w, s)
        return jnp.sum(y**2)

    assert not np.any(jax.grad(loss, 1)(W, S))
    graph = gv.trace(loss, W, S)
    assert graph.grad_state(graph.id("s")) == "disconnected"
    assert "the derivative rule of scaled sends s nothing" in graph.check().text
    for capture in ("whole", "lean"):
        [finding] = gv.trace(loss, W, S, capture=capture).diagnose().findings
        assert finding.message.endswith(
            "scaled has a derivative rule of its own (jax.custom_vjp), which sends s nothing"
        )


def test_a_call_into_python_behind_a_rule_is_one_operation_in_a_page_too(tmp_path):
    loss = loss_of(from_python)
    graph = gv.trace(loss, W)
    np.testing.assert_allclose(graph.grad("w"), jax.grad(loss)(W), rtol=1e-6)
    assert graph.check()
    graph.save(tmp_path / "page.html")
