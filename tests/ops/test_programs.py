"""Random programs of array operations: the bounded part of ``make fuzz``."""

from __future__ import annotations

import numpy as np
import pytest
from array_programs import program
from fuzz import Unknown, by_differences, compare
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from thorough import examples

for _module in ("torch", "array_api_compat"):
    pytest.importorskip(_module, reason=f"compares with {_module}, which is not installed")


@settings(max_examples=examples(120), deadline=None)
@given(st.data(), st.integers(1, 10), st.sampled_from([np.float64, np.float64, np.float32]))
def test_random_programs_agree_with_torch_and_finite_differences(data, steps, dtype):
    made = program(lambda n: data.draw(st.integers(0, n - 1)), steps, dtype)
    assume(made.lines)
    try:
        with np.errstate(all="ignore"):
            compare(made, second=len(made.lines) < 5, differences=dtype is np.float64)
    except Unknown:
        assume(False)


@settings(max_examples=examples(60), deadline=None)
@given(st.data(), st.integers(1, 6))
def test_random_programs_of_numpys_own_functions_agree_with_finite_differences(data, steps):
    made = program(lambda n: data.draw(st.integers(0, n - 1)), steps, numpy=True)
    assume(made.lines)
    try:
        with np.errstate(all="ignore"):
            compare(made, second=len(made.lines) < 4, peer=by_differences)
    except Unknown:
        assume(False)
