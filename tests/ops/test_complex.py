"""Complex numbers: the same sample calls, with complex operands.

The gradient of a real J by a complex z is ∂J/∂Re z - i ∂J/∂Im z.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cases import CASES

import gradviz as gv


def weights(shape, seed=1):
    a, b = np.random.default_rng(seed).uniform(0.5, 1.5, (2, *shape))
    return a + 1j * b


def turned(array, seed):
    angles = np.random.default_rng(seed).uniform(-1.2, 1.2, np.shape(array))
    return (array * np.exp(1j * angles))[()]


def differences(function, arrays, step=1e-6):
    found = []
    for k, array in enumerate(arrays):
        slope = np.zeros(np.shape(array), complex)
        for i in np.ndindex(np.shape(array)):
            for turn, factor in ((1, 1), (1j, -1j)):
                ends = []
                for h in (step, -step):
                    moved = np.array(array)
                    moved[i] += h * turn
                    ends.append(function(*arrays[:k], moved[()], *arrays[k + 1 :]))
                slope[i] += factor * (ends[0] - ends[1]) / (2 * step)
        found.append(slope)
    return found


def operands(case):
    return [turned(a, k) for k, a in enumerate(case.arrays)]


def has_complex(case):
    """Whether NumPy computes this call of complex operands, without casting them."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            case(*operands(case))
        except (TypeError, ValueError, np.exceptions.ComplexWarning, np.linalg.LinAlgError):
            return False
    return case.kwargs.get("dtype") is not np.float32


@pytest.mark.parametrize("case", [case for case in CASES if has_complex(case)], ids=repr)
def test_gradients_of_complex_operands_are_central_differences(case):
    arrays = operands(case)
    w = weights(np.shape(case(*arrays)))

    def function(*arrays):
        return np.real(np.sum(case(*arrays) * w))

    graph = gv.trace(function, *arrays)
    np.testing.assert_allclose(graph.value("J"), function(*arrays), rtol=1e-12)
    gradients = graph.gradients().values()
    for array, gradient, slope in zip(
        arrays, gradients, differences(function, arrays), strict=True
    ):
        assert np.shape(gradient) == np.shape(array)
        np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=5e-8)
