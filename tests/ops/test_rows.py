"""Every row of the table, over a grid of forms: value, gradient, shape, dtype, second order."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Case

import gradviz as gv
from gradviz.ops.composed import COMPOSED
from gradviz.ops.table import ROWS

try:
    import torch
except ImportError:
    torch = None


def weights(shape, seed=1):
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


def weighted(case: Case, dtype=float):
    """The case's result times fixed weights, summed: a scalar that depends on every element."""
    w = weights(np.shape(case(*case.arrays))).astype(dtype)
    return lambda *arrays: np.sum(case(*arrays) * w)


def differences(function, arrays, step=1e-6):
    """Central finite differences of a scalar function by each array."""
    found = []
    for k, array in enumerate(arrays):
        slope = np.zeros(np.shape(array))
        for i in np.ndindex(np.shape(array)):
            ends = []
            for h in (step, -step):
                moved = np.array(array)
                moved[i] += h
                ends.append(function(*arrays[:k], moved[()], *arrays[k + 1 :]))
            slope[i] = (ends[0] - ends[1]) / (2 * step)
        found.append(slope)
    return found


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_value_and_gradient_are_numpys_and_central_differences(case):
    arrays = case.arrays
    recorded = case(*[gv.input(a, f"x{k}") for k, a in enumerate(arrays)])
    expected = case(*arrays)
    np.testing.assert_allclose(recorded.value, expected, rtol=1e-13, atol=1e-15)
    assert recorded.dtype == expected.dtype
    assert recorded.shape == np.shape(expected)

    function = weighted(case)
    graph = gv.trace(function, *arrays)
    gradients = list(graph.gradients().values())
    single = case.kwargs.get("dtype") is np.float32
    slopes = differences(function, arrays, 1e-2 if single else 1e-6)
    for array, gradient, slope in zip(arrays, gradients, slopes, strict=True):
        assert np.shape(gradient) == np.shape(array)
        assert gradient.dtype == array.dtype
        np.testing.assert_allclose(gradient, slope, rtol=1e-3 if single else 1e-6, atol=2e-8)


@pytest.mark.parametrize("case", [c for c in CASES if "dtype" not in c.kwargs], ids=repr)
def test_float32_stays_float32_forward_and_backward(case):
    arrays = [a.astype(np.float32) for a in case.arrays]
    expected = case(*arrays)
    graph = gv.trace(weighted(case, np.float32), *arrays)
    recorded = case(*[gv.input(a) for a in arrays])
    assert recorded.dtype == expected.dtype
    double = gv.trace(weighted(case), *case.arrays).gradients().values()
    for gradient, same in zip(graph.gradients().values(), double, strict=True):
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, same, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("case", [c for c in CASES if c.second], ids=repr)
def test_second_derivatives_are_central_differences_of_gradients(case):
    arrays = case.arrays
    function = weighted(case)
    for k, array in enumerate(arrays):
        gradient = gv.grad(function, k)
        w = weights(np.shape(array), 2)

        def slope(*given, gradient=gradient, w=w):
            return np.sum(gradient(*given) * w)

        for i, expected in enumerate(differences(slope, arrays, 1e-5)):
            second = gv.grad(slope, i)(*arrays)
            assert np.shape(second) == np.shape(arrays[i])
            np.testing.assert_allclose(second, expected, rtol=2e-5, atol=2e-6)


def _torch_cases():
    for case in CASES:
        if isinstance(case.torch, str):
            if torch is not None and (twin := getattr(torch, case.torch or "-", None)) is not None:
                yield pytest.param(case, twin, id=repr(case))
        elif case.torch is not None:
            yield pytest.param(case, case.torch, id=repr(case))


@pytest.mark.skipif(torch is None, reason="compares with torch, which is not installed")
@pytest.mark.parametrize(("case", "twin"), list(_torch_cases()))
def test_gradients_and_second_derivatives_are_torchs_to_1e_12(case, twin):
    arrays = case.arrays
    w = weights(np.shape(case(*arrays)))

    def whole(*tensors):
        if isinstance(case.torch, str):
            given = iter(tensors)
            args = [next(given) if a.dtype.kind == "f" else torch.tensor(a) for a in case.args]
            return (twin(*args) * torch.tensor(w)).sum()
        return (twin(*tensors) * torch.tensor(w)).sum()

    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    found = torch.autograd.grad(whole(*tensors), tensors, create_graph=True, allow_unused=True)
    function = weighted(case)
    gradients = gv.trace(function, *arrays).gradients().values()
    for gradient, same, array in zip(gradients, found, arrays, strict=True):
        same = np.zeros_like(array) if same is None else same.tolist()
        np.testing.assert_allclose(gradient, same, rtol=1e-12, atol=1e-12)
    for k, tensor in enumerate(tensors):
        if found[k] is None or not found[k].requires_grad:
            continue
        second = torch.autograd.grad(found[k].sum(), tensor, retain_graph=True, allow_unused=True)[
            0
        ]
        if second is not None:
            gradient = gv.grad(function, k)
            ours = gv.grad(lambda *given, gradient=gradient: np.sum(gradient(*given)), k)(*arrays)
            np.testing.assert_allclose(ours, (second + 0).tolist(), rtol=1e-11, atol=1e-12)


def test_every_row_and_every_composed_function_has_a_sample_call():
    sampled = {case.function for case in CASES}
    rows = (*ROWS, *COMPOSED)
    # The programs of other tests bring operations of their own.
    ours = [f for f in rows if "fixtures" not in (getattr(f, "__module__", None) or "")]
    lacking = [f for f in ours if f not in sampled]
    assert not lacking, f"write sample calls in cases.py for {lacking}"


def test_every_rule_that_can_be_borrowed_has_a_sample_call():
    # A new release of autograd cannot bring in a rule that nobody tried.
    import autograd.numpy
    import autograd.numpy.linalg
    from autograd.core import primitive_vjps

    from gradviz.ops.bridge import borrow
    from gradviz.ops.table import PLAIN

    sampled = {case.function for case in CASES}
    for module, twins in ((np, autograd.numpy), (np.linalg, autograd.numpy.linalg)):
        for name in dir(twins):
            function, twin = getattr(module, name, None), getattr(twins, name)
            if callable(function) and callable(twin) and twin in primitive_vjps:
                served = function in ROWS or function in COMPOSED or function in PLAIN
                assert served or function in sampled or borrow(function) is None, name


SPECIAL = dict.fromkeys(
    "erf erfc erfinv gamma gammaln digamma rgamma expit logit i0 i1 j0 j1 y0 y1".split(), 1
) | {"beta": 2, "betaln": 2}


@pytest.mark.parametrize("name", SPECIAL)
def test_borrowed_rules_of_scipy_are_central_differences(name):
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    function = getattr(special, name)
    arrays = [np.array([0.3, 0.6]), np.array([[0.4], [0.7]])][: SPECIAL[name]]
    w = weights(np.shape(function(*arrays)))

    def program(*given):
        return np.sum(function(*given) * w)

    found = gv.trace(program, *arrays).gradients().values()
    for gradient, slope in zip(found, differences(program, arrays), strict=True):
        np.testing.assert_allclose(gradient, slope, rtol=1e-7)


@pytest.mark.parametrize("name", ["iv", "ive", "yn"])
def test_rules_of_scipy_that_would_be_wrong_are_refused(name):
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    with pytest.raises(gv.TraceError, match=name):
        gv.trace(lambda n: np.sum(getattr(special, name)(n, 0.5)), np.array([1.0])).grad("n")
