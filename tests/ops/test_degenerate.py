"""Calls that divide by nothing: too few observations, weights or spacings of 0."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gradviz as gv

V = np.array([1.0, 2.0, 4.0])
CALLS = {
    "cov of one": lambda x: np.cov(x[:1]),
    "cov of one per row": lambda x: np.cov(x[:, None]),
    "cov, more degrees lost than there are": lambda x: np.cov(x, ddof=5),
    "cov, weights": lambda x: np.cov(x, fweights=[1, 0, 0]),
    "cov, no weight": lambda x: np.cov(x, aweights=[0.0, 0.0, 0.0]),
    "corrcoef of one": lambda x: np.corrcoef(x[:1]),
    "corrcoef of a constant": lambda x: np.corrcoef(x, [1.0, 1.0, 1.0]),
    "average without weight": lambda x: np.average(x, weights=[0.0, 0.0, 0.0]),
    "average, weights that cancel": lambda x: np.average(x, weights=[1.0, -1.0, 0.0]),
    "average of nothing": lambda x: np.average(x[:0]),
    "mean of nothing": lambda x: np.mean(x[:0]),
    "var": lambda x: np.var(x, ddof=3),
    "var, more degrees lost than there are": lambda x: np.var(x, ddof=4),
    "std": lambda x: np.std(x, ddof=3),
    "std of one": lambda x: np.std(x[:1], ddof=1),
    "nanvar": lambda x: np.nanvar(x, ddof=3),
    "nanvar, more degrees lost than there are": lambda x: np.nanvar(x, ddof=4),
    "nanstd": lambda x: np.nanstd(x * [1.0, np.nan, np.nan], ddof=1),
    "nanmean of nothing": lambda x: np.nanmean(x * np.nan),
    "gradient": lambda x: np.gradient(x, 0.0),
    "gradient, integer": lambda x: np.gradient(x, 0),
    "gradient, ends of second order": lambda x: np.gradient(x, 0.0, edge_order=2),
    "gradient, ends of second order, a number of NumPy's": (
        lambda x: np.gradient(x, np.float64(0.0), edge_order=2)
    ),
    "gradient, recorded": lambda x: np.gradient(V, x[0] * 0),
    "gradient, places": lambda x: np.gradient(x, np.array([0.0, 0.0, 1.0])),
    "gradient, a list of places": lambda x: np.gradient(x, [0.0, 1.0, 3.0]),
    "gradient, there and back": lambda x: np.gradient(x, np.array([0.0, 1.0, 0.0])),
    "linspace of one": lambda x: np.linspace(x[0], 2.0, 1),
    "linspace of one with its step": lambda x: np.linspace(x[0], 2.0, 1, retstep=True)[1],
    "linspace of none with its step": lambda x: np.linspace(x, 2.0, 0, False, retstep=True)[1],
    "geomspace from 0": lambda x: np.geomspace(x[0] * 0, 2.0, 3),
    "quantile of nothing": lambda x: np.quantile(x[:0], 0.5),
    "interp, places that repeat": lambda x: np.interp(x, [1.0, 1.0, 4.0], [0.0, 1.0, 2.0]),
    "trapezoid": lambda x: np.trapezoid(x, dx=0),
    "trapezoid, a list of places": lambda x: np.trapezoid(x, [1.0, 1.0, 2.0]),
    "trapezoid of nothing": lambda x: np.trapezoid(x[:0]),
    "norm of zeros": lambda x: np.linalg.norm(x * 0, -1),
    "histogram of nothing": lambda x: np.histogram([9.0], 3, (0, 1), True, x[:1])[0],
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_divides_by_nothing_gives_what_numpy_gives_its_error_or_a_refusal(call):
    def program(x):
        return np.sum(call(x)) + x[0]

    def outcome(run):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                return float(run())
            except (IndexError, ValueError, ZeroDivisionError) as error:
                return type(error)

    def recorded():
        graph = gv.trace(program, V)
        return graph.values[graph.output].value

    alone, ours = outcome(lambda: program(V)), outcome(recorded)
    assert ours == alone or np.isclose(ours, alone, equal_nan=True)
