"""Shapes, indices and subscripts that hypothesis finds; expected gradients come from unit vectors.

A function that is linear in an operand has the gradient f(e_i) by its element i: no step size.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from thorough import examples

import gradviz as gv

few = settings(max_examples=examples(60), deadline=None)


def by_unit_vectors(function, array):
    """The gradient of a linear scalar function."""
    result = np.zeros(np.shape(array))
    for index in np.ndindex(np.shape(array)):
        unit = np.zeros(np.shape(array))
        unit[index] = 1.0
        result[index] = function(unit)
    return result


def numbers(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


@few
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
def test_sum_and_product_of_broadcast_arrays(shapes):
    a, b = (numbers(shape, k) for k, shape in enumerate(shapes.input_shapes))
    w = numbers(shapes.result_shape, 2)
    for function in (np.add, np.multiply):
        g = gv.trace(lambda a, b, function=function: np.sum(function(a, b) * w), a, b)
        zero = np.sum(function(np.zeros_like(a), b) * w), np.sum(function(a, np.zeros_like(b)) * w)
        expected = (
            by_unit_vectors(lambda u, f=function, z=zero: np.sum(f(u, b) * w) - z[0], a),
            by_unit_vectors(lambda u, f=function, z=zero: np.sum(f(a, u) * w) - z[1], b),
        )
        for name, wanted in zip("ab", expected, strict=True):
            assert np.shape(g.grad(name)) == wanted.shape
            np.testing.assert_allclose(g.grad(name), wanted, rtol=1e-12, atol=1e-12)


SHAPE = (3, 2, 4)
INDICES = st.one_of(
    hnp.basic_indices(SHAPE, allow_newaxis=True),
    hnp.integer_array_indices(SHAPE, result_shape=hnp.array_shapes(max_dims=2, max_side=4)),
    hnp.arrays(bool, SHAPE),
    hnp.arrays(bool, SHAPE[:1]),
    st.tuples(
        hnp.arrays(np.int64, (4,), elements=st.integers(-3, 2)),
        st.just(slice(None)),
        st.integers(-4, 3),
    ),
)


@few
@given(INDICES)
def test_indexing_adds_what_was_read_where_it_was_read(index):
    x = numbers(SHAPE)
    w = numbers(np.shape(x[index]), 1)
    g = gv.trace(lambda x: np.sum(x[index] * w) + 0 * np.sum(x), x)
    expected = by_unit_vectors(lambda unit: np.sum(unit[index] * w), x)
    np.testing.assert_allclose(g.grad("x"), expected, rtol=1e-12, atol=1e-12)
    second = gv.grad(lambda y: np.sum(gv.grad(lambda x: np.sum(x[index] ** 3))(y)))(x)
    np.testing.assert_allclose(
        second, by_unit_vectors(lambda unit: np.sum((6 * x * unit)[index]), x), atol=1e-12
    )


@st.composite
def einsums(draw):
    sizes = {"a": 2, "b": 3, "c": 1, "d": 2}
    terms = draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    letters = sorted({c for term in terms for c in term})
    output = draw(st.permutations(letters).map("".join))[: draw(st.integers(0, len(letters)))]
    subscripts = ",".join(terms) + draw(st.sampled_from([f"->{output}", ""]))
    return subscripts, [numbers([sizes[c] for c in term], k) for k, term in enumerate(terms)]


@few
@given(einsums())
def test_einsum_with_any_subscripts(drawn):
    subscripts, arrays = drawn
    w = numbers(np.shape(np.einsum(subscripts, *arrays)), 9)
    g = gv.trace(lambda *x: np.sum(np.einsum(subscripts, *x) * w), *arrays)
    for k, (array, found) in enumerate(zip(arrays, g.gradients().values(), strict=True)):
        expected = by_unit_vectors(
            lambda unit, k=k: np.sum(
                np.einsum(subscripts, *arrays[:k], unit, *arrays[k + 1 :]) * w
            ),
            array,
        )
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@few
@given(
    hnp.mutually_broadcastable_shapes(signature="(n?,k),(k,m?)->(n?,m?)", max_dims=2, max_side=3)
)
def test_matmul_of_any_ranks(shapes):
    a, b = (numbers(shape, k) for k, shape in enumerate(shapes.input_shapes))
    w = numbers(shapes.result_shape, 2)
    g = gv.trace(lambda a, b: np.sum((a @ b) * w), a, b)
    np.testing.assert_allclose(
        g.grad("a"), by_unit_vectors(lambda u: np.sum((u @ b) * w), a), rtol=1e-12
    )
    np.testing.assert_allclose(
        g.grad("b"), by_unit_vectors(lambda u: np.sum((a @ u) * w), b), rtol=1e-12
    )


@few
@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3), st.data())
def test_reductions_over_any_axes(shape, data):
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1)).map(tuple))
    keepdims = data.draw(st.booleans())
    x = numbers(shape)
    for function in (np.sum, np.mean):
        w = numbers(np.shape(function(x, axis=axes, keepdims=keepdims)), 1)

        def program(x, function=function, w=w):
            return np.sum(function(x, axis=axes, keepdims=keepdims) * w)

        np.testing.assert_allclose(
            gv.trace(program, x).gradients()["x"], by_unit_vectors(program, x), rtol=1e-12
        )
    total = gv.trace(lambda x: np.sum(np.prod(x, axis=axes, keepdims=keepdims)), x).grad("x")
    assert total == pytest.approx(np.broadcast_to(np.prod(x, axis=axes, keepdims=True), shape) / x)
