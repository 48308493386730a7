"""Rows of scipy.special and the distributions of scipy.stats, by central finite differences."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import gradviz as gv
from gradviz.ops.distributions import METHODS
from gradviz.ops.special import RULES

special = pytest.importorskip("scipy.special", reason="scipy is not installed")
stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")

X = np.array([0.3, 0.7, 0.95])
SIGNS = np.array([-2.5, -0.4, 0.8, 3.0])
POINTS = {
    **dict.fromkeys("ndtr log_ndtr log_expit softplus i0e i1e erfcx".split(), (SIGNS,)),
    **dict.fromkeys("ndtri entr psi exp1 expi log1p expm1 exp2 exp10 cbrt".split(), (X,)),
    **dict.fromkeys("xlogy xlog1py rel_entr kl_div".split(), (X, np.array([[0.5], [1.5]]))),
    **dict.fromkeys("jv yv iv kv".split(), (np.array([[0.0], [1.0], [2.5]]), X)),
    **dict.fromkeys("yn expn".split(), (np.array([[2], [3]]), X)),
    "ive": (np.array([[1], [3]]), SIGNS),
    "_zeta": (np.array([[2.0], [3.5]]), X),
    **dict.fromkeys("gammainc gammaincc".split(), (np.array([[0.5], [1.0], [4.0]]), X)),
    **dict.fromkeys("betainc betaincc".split(), (np.array([[0.5], [1.0], [4.0]]), 2.0, X)),
    "stdtr": (np.array([[0.5], [4.0]]), SIGNS),
}


def slopes(function, array, step=1e-6):
    array = np.asarray(array, float)
    found = np.zeros(array.shape)
    for i in np.ndindex(array.shape):
        ends = []
        for h in (step, -step):
            moved = array.copy()
            moved[i] += h
            ends.append(function(moved[()]))
        found[i] = (ends[0] - ends[1]) / (2 * step)
    return found


def weighted(value):
    return np.sum(value * np.cos(np.arange(np.size(value))).reshape(np.shape(value)))


@pytest.mark.parametrize("name", RULES)
def test_special_functions_and_their_gradients_are_central_differences(name):
    function, args = getattr(special, name.strip("_"), None), POINTS[name]
    if function is None:
        pytest.skip(f"this SciPy has no {name}")
    for k, rule in enumerate(RULES[name].locals_):

        def program(x, k=k):
            return weighted(function(*args[:k], x, *args[k + 1 :]))

        if rule is None:
            if np.asarray(args[k]).dtype.kind == "f":
                with pytest.raises(gv.TraceError, match=f"{name} by this operand"):
                    gv.trace(program, args[k]).grad("x")
            continue
        graph = gv.trace(program, args[k])
        assert graph.value("J") == program(args[k])
        np.testing.assert_allclose(graph.grad("x"), slopes(program, args[k]), rtol=2e-6, atol=1e-8)
        gradient = gv.grad(program)
        np.testing.assert_allclose(
            gv.grad(lambda x, gradient=gradient: weighted(gradient(x)))(args[k]),
            slopes(lambda x, gradient=gradient: weighted(gradient(x)), args[k]),
            rtol=2e-5,
            atol=1e-7,
        )


def test_an_order_of_zero_in_a_logarithm_of_zero():
    assert gv.grad(lambda x: special.xlogy(0.0, x))(0.0) == 0
    mixed = gv.grad(lambda a: gv.grad(lambda x: special.xlogy(a, x))(2.0))
    assert mixed(0.0) == 0.5


C = np.array([[2.0, 0.3], [0.3, 1.0]])
T = np.linspace(-3.1, 4, 8)
DISTRIBUTIONS = {
    "norm": [(T, 0.2, 1.3), (T,), (np.array([[0.3], [9.0]]), np.array([0.1, -0.4]), 2.0)],
    "t": [(T, 3.5, 0.2, 1.3), (T, np.array([[1.5], [8.0]]))],
    "gamma": [(T, 2.5, -0.1, 1.3), (T, np.array([[0.5], [1.0], [3.0]]))],
    "chi2": [(T, 3.3), (T, 2.0, 0.4, 0.5)],
    "beta": [(T, 2.0, 3.0, -0.5, 3.0), (np.array([0.2, 0.9]), 1.0, 0.5)],
    "poisson": [(np.array([-1.0, 0, 1, 4, 2.5]), 1.7), (np.array([3]), np.array([0.5, 4.0]), 1)],
    "multivariate_normal": [
        (np.array([0.3, -1.2]), np.array([0.1, 0.4]), C),
        (np.array([[[0.3, -1.2]], [[0.5, 2.0]]]), np.zeros(2), C),
        (np.array([0.3, -1.2, 2.0]), np.array(0.2), np.array(1.5)),
        (np.array([0.3, -1.2]), np.array([0.1, 0.4]), np.array([1.0, 2.0])),
        (np.array(0.3), np.zeros(2), C),
    ],
    "dirichlet": [
        (np.array([0.2, 0.3]), np.array([1.5, 2.0, 1.0])),
        (np.array([[0.2, 0.1], [0.3, 0.6]]), np.array([1.5, 2.0, 3.0])),
    ],
}
_NO_SHAPES = "no derivative rule for (stdtr|gammainc|gammaincc|betainc) by this operand"


def calls():
    for name, method in METHODS:
        for n, args in enumerate(DISTRIBUTIONS[name]):
            if method == "entropy":
                args = args[1:]
            elif method in ("ppf", "isf"):
                args = (np.clip(np.abs(args[0]) / 5, 0.01, 0.99), *args[1:])
            for k in range(len(args)):
                if not (name == "poisson" and k != 1) and not (method == "entropy" and k == 0):
                    yield pytest.param(name, method, args, k, id=f"{name}.{method}-{n}-{k}")


@pytest.mark.parametrize(("name", "method", "args", "k"), list(calls()))
def test_distributions_are_scipys_and_their_gradients_central_differences(name, method, args, k):
    def program(v):
        value = getattr(getattr(stats, name), method)(*args[:k], v, *args[k + 1 :])
        return weighted(np.where(np.isfinite(value), value, 0.0))

    shape = np.shape(getattr(getattr(stats, name), method)(*args))
    given = (*args[:k], gv.input(args[k]), *args[k + 1 :])
    assert getattr(getattr(stats, name), method)(*given).shape == shape
    graph = gv.trace(program, np.asarray(args[k], float))
    assert graph.value("J") == pytest.approx(program(args[k]), rel=1e-12, abs=1e-14)
    shapes = {"gamma": (1,), "chi2": (1,), "beta": (1, 2), "t": (1,)}.get(name, ())
    if k in shapes and method.removeprefix("log") in ("cdf", "sf"):
        with pytest.raises(gv.TraceError, match=_NO_SHAPES):
            graph.grad("v")
        return
    with np.errstate(all="ignore"):
        expected = slopes(program, args[k])
    np.testing.assert_allclose(graph.grad("v"), expected, rtol=1e-5, atol=2e-8)


def test_values_outside_the_support_and_infinite_ones():
    x = np.array([-1.0, 0.5, 2.0])
    for method in ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf"):
        with np.errstate(divide="ignore"):
            recorded = getattr(stats.beta, method)(gv.input(x), 2.0, 3.0)
        np.testing.assert_allclose(recorded.value, getattr(stats.beta, method)(x, 2.0, 3.0))


def test_frozen_distributions_and_keywords():
    g = gv.trace(lambda x, m: np.sum(stats.norm(m, scale=2.0).logpdf(x)), np.array([1.0, 2.0]), 0.3)
    np.testing.assert_allclose(g.grad("x"), [-0.175, -0.425])
    assert g.grad("m") == pytest.approx(0.6)
    g = gv.trace(lambda a: stats.gamma.logpdf(a=a, x=0.5, scale=2.0), 1.0)
    assert g.value("J") == pytest.approx(stats.gamma.logpdf(0.5, 1.0, scale=2.0))


def test_other_distributions_and_what_has_no_gradient_are_refused_with_what_to_write():
    class Twice(type(stats.norm)):
        def _pdf(self, x):
            return 2.0 * x

    for call in (
        lambda x: stats.cauchy.pdf(x),
        lambda x: stats.poisson.pmf(x, 1.0),
        lambda x: stats.norm.pdf(0.5, scale=-x),
        lambda x: Twice().pdf(x),
    ):
        with pytest.raises(gv.TraceError, match=r"write its formula with NumPy and scipy\.special"):
            gv.trace(call, 1.0)
    x = gv.input(3.0, "x")  # where no program is traced, a function cannot be stood for
    for call, instead in (
        (lambda: special.logsumexp(x), r"np\.logaddexp\.reduce"),
        (lambda: special.polygamma(1, x), r"special\.zeta"),
        (lambda: special.multigammaln(x, 2), r"special\.gammaln"),
    ):
        with pytest.raises(gv.TraceError, match=instead):
            call()


def test_what_is_written_instead_is_the_same():
    x, n, d = 3.7, 2, 3
    assert (-1) ** (n + 1) * special.gamma(n + 1) * special.zeta(n + 1, x) == pytest.approx(
        special.polygamma(n, x)
    )
    assert np.sum(special.gammaln(x - np.arange(d) / 2)) + d * (d - 1) / 4 * np.log(
        np.pi
    ) == pytest.approx(special.multigammaln(x, d))


def test_importing_gradviz_loads_no_scipy_and_the_order_of_imports_does_not_matter():
    code = (
        "import sys, gradviz as gv; assert 'scipy' not in sys.modules\n"
        "from scipy.stats import norm\nprint(gv.trace(lambda x: norm.logpdf(x), 2.0).grad('x'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("-2.0\n", "")
