"""Gradients of functions, Jacobians, Hessians, and products with them; next to torch."""

from __future__ import annotations

import numpy as np
import pytest

import gradviz as gv

torch = pytest.importorskip("torch", reason="compares with torch, which is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
X = np.array([0.3, -0.8, 1.2])


def layer(x, t=np):
    a = A if t is np else torch.tensor(A)
    return t.tanh(a @ x) * t.exp(x[:2])


def energy(x, t=np):
    return t.sum(layer(x, t) ** 3) + x[0] * x[1] * x[2]


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs.tolist(), rtol=1e-12, atol=1e-14)


def test_jacobian_is_torchs():
    close(gv.jacobian(layer)(X), torch.func.jacrev(lambda x: layer(x, torch))(torch.tensor(X)))


def test_jacobian_has_the_shape_of_the_result_then_of_the_argument():
    found = gv.jacobian(lambda m, x: m @ x, "m")(A, X)
    assert found.shape == (2, 2, 3)
    np.testing.assert_array_equal(found[1], [[0, 0, 0], X])
    assert gv.jacobian(lambda x: np.sum(x))(X).tolist() == [1, 1, 1]
    assert gv.jacobian(lambda x: x * 2)(1.5) == 2
    assert gv.jacobian(lambda x: x[:0])(X).shape == (0, 3)


def test_hessian_is_torchs():
    close(gv.hessian(energy)(X), torch.func.hessian(lambda x: energy(x, torch))(torch.tensor(X)))


def test_third_derivatives_are_torchs():
    third = torch.func.jacrev(torch.func.hessian(lambda x: energy(x, torch)))(torch.tensor(X))
    close(gv.jacobian(gv.hessian(energy))(X), third)


def test_jvp_is_torchs():
    v = np.array([1.0, -2.0, 0.5])
    value, slope = gv.jvp(layer, (X,), (v,))
    theirs = torch.func.jvp(lambda x: layer(x, torch), (torch.tensor(X),), (torch.tensor(v),))
    close(value, theirs[0])
    close(slope, theirs[1])


def test_jvp_by_several_arguments_adds_their_parts():
    value, slope = gv.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    assert (value, slope) == (6, 23)
    assert gv.jvp(lambda x: np.sign(x), (2.0,), (1.0,))[1] == 0
    with pytest.raises(ValueError, match="shapes"):
        gv.jvp(lambda x: x, (X,), (1.0,))


def test_hvp_is_the_hessian_times_the_direction():
    v = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(gv.hvp(energy, X, v), gv.hessian(energy)(X) @ v, rtol=1e-12)


def test_they_are_recorded_inside_a_trace_and_differentiate_again():
    def program(x):
        return np.sum(gv.jacobian(layer)(x) ** 2) + gv.jvp(energy, (x,), (x,))[1]

    def same(x):
        first = torch.func.jacrev(lambda x: layer(x, torch))(x)
        slope = torch.func.grad(lambda x: energy(x, torch))(x)
        return torch.sum(first**2) + torch.sum(slope * x)

    g = gv.trace(program, X)
    close(g.grad("x"), torch.func.grad(same)(torch.tensor(X)))
    assert g.check(detail="operations")


def test_each_backward_pass_is_a_scope_of_its_own():
    def cube(x):
        return x**3

    g = gv.trace(lambda x: gv.grad(gv.grad(cube))(x), 2.0)
    assert g.value("J") == 12
    scopes = [node.scope for node in g.values if node.operation.name == "multiply"]
    assert {("backward pass",), ("backward pass 2",)} == set(scopes)
    assert all(n.scope == () for n in g.values if n.operation.name == "power" and n.value == 8)
    twice = gv.trace(lambda x: gv.grad(cube)(x) + gv.grad(cube)(x + 1), 2.0)
    assert {node.scope for node in twice.values} == {(), ("backward pass",)}


def test_a_rule_that_is_missing_is_named_with_the_line():
    def program(x):
        return np.sum(np.nextafter(x, 9.0))  # the culprit

    with pytest.raises(gv.TraceError, match=r"nextafter.*test_transforms\.py:\d+.*the culprit"):
        gv.grad(program)(X)


def test_an_argument_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="there are: x, t"):
        gv.grad(energy, "y")(X)


def test_a_constant_has_derivatives_of_zero_and_a_warning():
    with pytest.warns(UserWarning, match="does not depend on the argument"):
        assert gv.grad(lambda x: 3.0)(X).tolist() == [0, 0, 0]
    with pytest.warns(UserWarning, match="its derivative is 0"):
        assert gv.jacobian(lambda x: np.ones(2))(X).tolist() == [[0, 0, 0]] * 2
    with pytest.warns(UserWarning, match="its derivative is 0"):
        assert not gv.hessian(lambda x: 1)(X).any()
    assert not gv.hessian(lambda x: np.sum(x))(X).any()  # its gradient is a constant of ours
    with pytest.warns(UserWarning, match="its derivative is 0"):
        value, slope = gv.jvp(lambda x: 2.0, (1.0,), (1.0,))
    assert (value, slope) == (2, 0)


def test_what_is_no_constant_but_was_read_or_is_no_array_is_refused():
    with pytest.raises(gv.TraceError, match=r"float\(\) ended its history at .*test_transforms"):
        gv.grad(lambda x: float(x) ** 2)(2.0)
    with pytest.raises(gv.TraceError, match="returned NoneType"):
        gv.grad(lambda x: None)(2.0)


def test_an_argument_that_the_call_does_not_give_is_refused_in_words():
    with pytest.raises(ValueError, match="wrt=1: the call gives no such argument; pass it, too"):
        gv.grad(lambda x, y=2.0: x * y, wrt=1)(3.0)
    assert gv.grad(lambda x, y=2.0: x * y, wrt=1)(3.0, 2.0) == 3.0
