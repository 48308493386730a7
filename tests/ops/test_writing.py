"""Functions that write into an array, and callbacks: NumPy's result, central differences."""

from __future__ import annotations

import numpy as np
import pytest

import gradviz as gv

X, Y = np.array([0.3, -1.2, 0.8, 2.0, -0.5, 1.1]), np.array([0.7, -0.4])
MASK = np.array([1, 0, 1, 1, 0, 1], bool)
# Each writes into x, with the elements of y.
CODE = """
np.place(x, MASK, y)
np.place(x, MASK, [2.0, 3.0])
np.put(x, [1, 3, 5], y)
np.put(x, [1, 7], y, mode='wrap')
np.put(x, [-9, 9], y, mode='clip')
np.put(x, 2, y[0])
np.putmask(x, MASK, y)
np.put_along_axis(x.reshape(2, 3), np.array([[0], [2]]), y[:, None], 1)
np.put_along_axis(x.reshape(2, 3), np.array([[1, 0, 1]]), y[0], 0)
np.put_along_axis(x, np.array([4, 0]), y, None)
np.fill_diagonal(x.reshape(3, 2), y)
np.fill_diagonal(x.reshape(6, 1), y[0], wrap=True)
np.fill_diagonal(np.broadcast_to(x, (6, 6)).copy(), y)
np.multiply.at(x, [0, 1, 0], y[0])
np.divide.at(x, [0, 1, 0], np.array([2.0, 4.0, 5.0]) * y[1])
np.maximum.at(x, (np.array([0, 5, 0]),), np.array([0.2, 3.0, 0.9]) * y[0])
np.square.at(x, [2, 2, 3])
np.add.at(x, [0, 0, 3], y[0])
np.subtract.at(x, MASK, y[1])
"""


@pytest.mark.parametrize("code", CODE.strip().splitlines())
def test_what_is_written_and_its_gradients(code):
    weights = np.cos(np.arange(6.0))

    def program(x, y):
        x = x * 1.0
        exec(code, {"np": np, "MASK": MASK, "x": x, "y": y})
        return np.sum(x * weights)

    graph = gv.trace(program, X, Y)
    assert graph.value("J") == pytest.approx(program(X, Y), rel=1e-14)
    for k, name in enumerate("xy"):
        expected = np.zeros_like((X, Y)[k])
        for i in range(expected.size):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [X.copy(), Y.copy()]
                moved[k][i] += step
                ends.append(program(*moved))
            expected[i] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(graph.grad(name), expected, rtol=1e-6, atol=1e-9)


def test_a_vectorized_functions_result_has_the_dtype_of_its_first_result_as_in_numpy():
    def steps(x):
        return np.vectorize(lambda a: 0 if a < 0.5 else a)(x)

    found = steps(gv.input(X))
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, steps(X))
    assert found.dtype == steps(X).dtype == int
    assert gv.trace(lambda x: np.sum(np.vectorize(np.sin, otypes="f")(x)), X).value("J").dtype == (
        np.float32
    )


def test_values_in_a_called_function_keep_their_names_and_lines():
    def cell(a):
        inner = a * a
        return np.sin(inner)

    def program(x):
        y = np.vectorize(cell)(x)
        return np.sum(y)

    g = gv.trace(program, X[:2])
    assert {"x", "y", "J", "inner", "inner(2)"} == {g.names[i] for i in g.named}
    assert "a * a" in g.source(g.id("inner(2)"))[2]


def test_vectorize_of_nothing_says_what_numpy_says():
    with pytest.raises((ValueError, gv.TraceError)):
        gv.trace(lambda x: np.sum(np.vectorize(np.sin)(x[:0])), X)
    np.testing.assert_array_equal(np.vectorize(lambda a: a + 1)(X), X + 1)
