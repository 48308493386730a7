"""Kinks, zeros, ties and infinities: what a row says there, from the definition or torch."""

from __future__ import annotations

import numpy as np
import pytest
from counting import called_functions

import gradviz as gv
from gradviz.ops.table import ROWS, lookup

INF, NAN = np.inf, np.nan


def gradient(function, *arrays):
    return [
        np.asarray(g).tolist()
        for g in gv.trace(function, *map(np.asarray, arrays)).gradients().values()
    ]


@pytest.mark.parametrize(
    ("function", "arrays", "expected"),
    [
        # ties share evenly, as torch.amax, torch.maximum and JAX have it
        (lambda a, b: np.maximum(a, b), (1.0, 1.0), [0.5, 0.5]),
        (lambda a, b: np.minimum(a, b), (1.0, 1.0), [0.5, 0.5]),
        (lambda a, b: np.fmax(a, b), (1.0, 1.0), [0.5, 0.5]),
        (lambda a: np.max(a), ([1.0, 3.0, 3.0],), [[0, 0.5, 0.5]]),
        (lambda a: np.sum(np.min(a, axis=1)), ([[1.0, 1.0], [2.0, 3.0]],), [[[0.5, 0.5], [1, 0]]]),
        (lambda a: np.max(a, initial=3.0), ([1.0, 3.0],), [[0, 0.5]]),
        (lambda a: np.max(a, initial=5.0), ([1.0, 3.0],), [[0, 0]]),
        # one of the two is NaN
        (lambda a, b: np.fmax(a, b), (NAN, 1.0), [0, 1]),
        (lambda a, b: np.fmin(a, b), (1.0, NAN), [1, 0]),
        # slopes at kinks
        (lambda a: abs(a), (0.0,), [0]),
        (lambda a: np.linalg.norm(a), ([0.0, 0.0],), [[0, 0]]),
        (lambda a: np.std(a), ([2.0, 2.0],), [[0, 0]]),
        (lambda a, b: np.hypot(a, b), (0.0, 0.0), [0, 0]),
        (lambda a: np.sum(np.clip(a, 0, 1)), ([-0.5, 0.0, 0.5, 1.0, 2.0],), [[0, 1, 1, 1, 0]]),
        (lambda a: np.sum(np.clip(a, 0, None)), ([-0.5, 0.5, 2.0],), [[0, 1, 1]]),
        (lambda a: np.sum(a.clip(max=1)), ([-0.5, 0.5, 2.0],), [[1, 1, 0]]),
        (lambda a: np.sum(np.clip(a, a_min=None, a_max=1)), ([-0.5, 2.0],), [[1, 0]]),
        (lambda a, b: np.dot(a=a, b=b), ([1.0, 2.0], [3.0, 4.0]), [[3, 4], [1, 2]]),
        (
            lambda a, low, high: np.clip(a, low, high),
            (0.5, 2.0, 1.0),
            [0, 0, 1],
        ),  # the upper bound wins
        # zeros in a product: the product of the others
        (lambda a: np.prod(a), ([0.0, 2.0, 3.0],), [[6, 0, 0]]),
        (lambda a: np.prod(a), ([0.0, 0.0, 3.0],), [[0, 0, 0]]),
        (lambda a: np.prod(a), ([1e-200, 1e-200, 1e300],), [[1e100, 1e100, 0]]),
        (lambda a: np.prod(a[:0]) * np.sum(a), ([2.0, 3.0],), [[1, 1]]),
        (lambda a: np.prod(np.outer(a, a[:0]), axis=1) @ a, ([2.0, 3.0],), [[1, 1]]),
        (lambda a: np.cumprod(a)[2], ([2.0, 0.0, 3.0],), [[0, 6, 0]]),
        # powers
        (lambda a: a**2, (0.0,), [0]),
        (lambda a: a**0, (0.0,), [0]),
        (lambda a: a**1, (0.0,), [1]),
        (lambda a: a**3, (-2.0,), [12]),
        (lambda a: a**-1, (2.0,), [-0.25]),
        (lambda a, b: a**b, (0.0, 2.0), [0, 0]),
        (lambda a, b: a**b, (0.0, 0.0), [0, 0]),
        (lambda a, b: np.sum(a**b), ([0.0, 4.0], [0.0, 0.5]), [[0, 0.25], [0, 2 * np.log(4)]]),
        (lambda a: np.sqrt(a), (0.0,), [INF]),
        (lambda a: np.sinc(a), (0.0,), [0]),
        # the branch not taken
        (lambda a: np.sum(np.where(a > 0, np.sqrt(a), 0.0)), ([4.0],), [[0.25]]),
        (lambda a: np.where(a > 0, a, 1.0), (NAN,), [0]),
        # the logarithm of a sum of exponentials does not overflow
        (lambda a: np.logaddexp.reduce(a), ([1000.0, 1000.0],), [[0.5, 0.5]]),
        (lambda a, b: np.logaddexp(a, b), (-1000.0, 1000.0), [0, 1]),
        # steps
        (lambda a: np.sign(a) + np.floor(a) + np.round(a) + a // 1, (2.0,), [0]),
        (lambda a: np.heaviside(a, 0.5), (0.0,), [0]),
    ],
)
def test_slopes_where_there_is_a_choice(function, arrays, expected):
    with np.errstate(all="ignore"):
        found = gradient(function, *arrays)
    for ours, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-15)


@pytest.mark.parametrize("number", [0, 0.0, -0.0, 0j, 1e200, -1e308, 10**18, INF, NAN])
@pytest.mark.parametrize("function", [f for f in ROWS if isinstance(f, np.ufunc) and f.nin == 2])
def test_a_plain_number_counts_as_numpys_own_in_every_formula(function, number):
    for x in (0.0, 1.5, np.array([0.0, -2.0])):
        for swapped in (False, True):

            def program(x, other, swapped=swapped):
                return np.sum(np.real(function(other, x) if swapped else function(x, other)))

            with np.errstate(all="ignore"):
                try:
                    program(x, number)
                except (TypeError, ValueError):
                    continue  # NumPy refuses complex numbers here, or an array without axes
                other = np.array(number)[()]
                other = other if other.dtype.kind == "c" else float(other)
                plain = gv.trace(lambda x, other=number: program(x, other), x)
                zero_d = np.array(other)
                numpys = gv.trace(lambda x, other=zero_d: program(x, other[()]), x)
                np.testing.assert_array_equal(plain.grad("x"), numpys.grad("x"))
                if np.ndim(x) == 0 and x:
                    assert plain.diagnose().text
                    assert plain.draw().svg


def test_a_division_by_a_plain_zero_has_an_infinite_slope():
    for zero in (0, 0.0):
        with np.errstate(all="ignore"):
            assert gv.trace(lambda x, zero=zero: x / zero, 1.5).grad("x") == INF
    assert gv.grad(lambda x: np.arctan2(x, 1e200))(1.0) == 0  # 1e200**2 overflows in Python


def test_messages_to_many_operands_of_one_array_take_a_time_in_proportion_to_their_number():
    def calls(join, count):
        parts = [gv.input([float(i)], f"x{i}") for i in range(count)]
        graph = gv.graph(np.sum(join(parts) ** 2))
        assert graph.values[0].name == "x0"
        made = called_functions(graph.backward)
        assert [graph.grad(f"x{i}").tolist() for i in (0, 7)] == [[0.0], [14.0]]
        return made

    for join in (np.concatenate, np.stack, np.hstack, np.vstack):
        assert calls(join, 800) < 5 * calls(join, 200)


def test_the_branch_not_taken_gets_an_exact_zero_from_an_infinite_upstream_term():
    row = lookup(np.where)
    for upstream in (INF, NAN):
        assert row.pull(2, np.float64(upstream), 1.0, (True, 1.0, np.float64(2.0)), {}) == 0
        assert row.pull(1, np.float64(upstream), 2.0, (False, np.float64(1.0), 2.0), {}) == 0


def test_nan_among_the_elements_makes_the_slope_of_max_nan():
    assert np.isnan(gv.trace(lambda a: np.max(a), np.array([1.0, NAN])).grad("a")).all()


def test_second_derivatives_at_zeros_and_at_the_centre_of_sinc():
    assert gv.grad(gv.grad(np.sinc))(0.0) == pytest.approx(-(np.pi**2) / 3, rel=1e-12)
    assert gv.grad(gv.grad(np.sinc))(1e-5) == pytest.approx(-(np.pi**2) / 3, rel=1e-8)
    hessian = [
        gv.grad(lambda a, i=i: gv.grad(lambda b: np.prod(b))(a)[i])(
            np.array([0.0, 0.0, 3.0])
        ).tolist()
        for i in range(3)
    ]
    assert hessian == [[0, 3, 0], [3, 0, 0], [0, 0, 0]]  # of a0 a1 a2
    # d/db of b a**(b-1) at b = 0 is 1/a, although the slope by a itself is 0 there
    assert gv.grad(lambda b: gv.grad(lambda a: a**b)(2.0))(0.0) == 0.5


def test_values_of_functions_between_the_points_keep_numpys_value():
    x = np.array([-1.5, 0.0, 2.5, -0.0])
    for function in (np.sign, np.floor, np.ceil, np.rint, np.trunc, np.round, np.fix):
        np.testing.assert_array_equal(function(gv.input(x)).value, function(x))
