"""Formulas in text: what is recorded, and what is refused."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradviz as gv


def test_the_classic_example():
    # The course notes of Stanford's CS231n: f = (x + y) z at -2, 5, -4.
    g = gv.expression("(x + y) * z", x=-2, y=5, z=-4)
    assert g.value("J") == -12
    assert g.gradients() == {"x": -4, "y": -4, "z": 3}


def test_steps_have_names():
    g = gv.expression("z = w*x + b; a = sigmoid(z); (a - 1)**2", w=2, x=-1, b=0.5)
    assert {"z", "a", "J"} <= set(g.names)
    assert g.value("z") == -1.5
    assert g.value("a") == pytest.approx(1 / (1 + np.exp(1.5)))
    assert g.update(x=1.0).value("z") == 2.5


def test_steps_are_not_named_after_the_callers_variable():
    g = gv.expression("w*x + sigmoid(w)", w=1, x=2)
    assert {g.names[i] for i in g.named} == {"w", "x", "J"}


def test_arrays_and_functions():
    g = gv.expression("sum(relu(W @ x) + softplus(x))", W=[[1, -2], [3, 4]], x=[1.0, 2.0])
    assert g.grad("W").tolist() == [[0, 0], [1, 2]]
    assert g.check().ok


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("x +", "not a formula"),
        ("__import__('os').system('true')", "only numbers"),
        ("x.__class__", "only numbers"),
        ("(lambda: x)()", "only numbers"),
        ("[x for x in y]", "only numbers"),
        ("open(x)", "no such function"),
        ("sigmoi(x)", "sigmoid"),
        ("x[0]", "only numbers"),
        ("x ^ 2", r"as \*\*"),
        ("import os", "only formulas"),
        ("x = 3", "has a value already"),
        ("y * x", "y has no value"),
        ("'text'", "only numbers"),
        ("1 + 2", "does not use x"),
        ("exp(x, x, x, x)", "exp"),
        ("exp(x, out=x)", "only numbers"),
        ("x" + " + x" * 5000, "characters"),
        ("(" * 500 + "x" + ")" * 500, "too deeply|not a formula"),
        ("\0", "not a formula"),
    ],
)
def test_what_is_no_formula_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        gv.expression(text, x=1.0)


def test_huge_powers_end():
    g = gv.expression("x * 9**9**9**9", x=1.0)
    assert np.isinf(g.value("J"))


def test_long_sums_work():
    g = gv.expression("+".join(["x"] * 400), x=1.0)
    assert g.grad("x") == 400


@given(st.text(max_size=40))
def test_any_text_is_a_formula_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        gv.expression(text, x=1.0)
