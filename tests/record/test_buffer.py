# ruff: noqa: E501 - tables of code
"""Programs that write recorded values into arrays they make, and make arrays of such values.

NumPy's own run of the program is the other opinion, and finite differences.
"""

from __future__ import annotations

import copy
import gc
import linecache
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest
from numpy import array, zeros  # names of a module's own

import gradviz as gv

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def helper(n):
    return np.zeros(n)


def fill(buffer, value):
    buffer[0] = value


PROGRAMS = """
S = np.zeros(4); S[0] = x[0, 0]; S[1] = S[0] * x[0, 1]; S[2:] = S[:2] * 2; J = np.sum(S * S)
S = np.zeros((2, 3)); S[:, 1] = x[:, 0]; S[0] = x[1] * S[0, 1]; J = np.sum(S ** 2)
S = np.zeros((2, 3)); S += x; S *= x; J = np.sum(S ** 2)
S = np.ones((2, 3)); S /= x; J = S.sum()
S = np.full((2, 3), 2.5); S[0] -= x[0]; J = (S * S).sum()
S = np.full((2, 3), x[0, 0]); S[0] -= x[0]; J = (S * S).sum()
S = np.full(3, x[0]); S[0] = 1; J = (S * S).sum()
S = np.eye(3); S[0, 1] = x[0, 0]; S[1] *= x[1]; J = np.sum(S @ S)
S = np.identity(3); S[0, 1] = x[0, 0]; J = np.linalg.det(S + 0.1 * x.T @ x)
S = zeros(3); S[1] = x[0, 0]; J = np.sum(S * x)
S = helper(3); S[1] = x[0, 0]; J = np.sum(S * x)
S = np.zeros(3); fill(S, x[0, 0]); J = np.sum(S * x)
S = np.zeros((2, 3)); r = S[0]; r[1] = x[0, 1]; S[0, 0] = x[1, 1]; J = np.sum(S * S) + np.sum(r) * 2
S = np.zeros((2, 3)); r = S[0]; S[0, 0] = x[1, 1]; J = np.sum(S * S) + np.sum(r) * 2
S = np.zeros(6); r = S.reshape(2, 3); r[0] = x[0]; S[1:3] += x[0, 1]; J = np.sum(r * x)
S = np.zeros((2, 3)).ravel(); S[1] = x[0, 0]; J = np.sum(S * 2) * x[0, 1]
S = np.zeros((2, 3)); S.T[1] = x[:, 0]; J = np.sum(S * x)
S = np.zeros((2, 3)); S[0][1] = x[0, 0]; S[1][1:] += x[0, :2]; S[1] += x[1]; J = np.sum(S * x)
S = np.zeros((2, 3)); S.fill(x[0, 0]); J = np.sum(S * x)
S = np.zeros((2, 3)); S.flat[1] = 2.0; S[0, 0] = x[0, 0]; J = np.sum(S * x)
S = np.zeros((2, 3)); np.add(x, 1, out=S); J = np.sum(S * x)
S = np.zeros((2, 3)); np.copyto(S, x); J = np.sum(S * x)
S = np.zeros(3); np.sum(x, axis=0, out=S); J = np.sum(S * x)
S = np.zeros(3); x.sum(axis=0, out=S); J = np.sum(S * x)
S = np.zeros(3); np.add.at(S, [0, 0, 2], x[0]); J = np.sum(S * x)
S = np.zeros(3); np.put(S, [0, 2], x[0, :2]); J = np.sum(S * x)
S = np.zeros((3, 3)); np.fill_diagonal(S, x[0]); J = np.sum(S @ x.T)
S = np.zeros(3); S[[0, 2]] = x[0, :2]; J = np.sum(S * x)
S = np.zeros(3); S[np.array([True, False, True])] = x[0, :2]; J = np.sum(S * x)
S = np.zeros(3); S[0] = 1.0; b = S * x[0]; S[1] = x[0, 0]; J = np.sum(S * b)
T = np.ones(3) * 2; T[0] = x[0, 0]; J = np.sum(T * x)
S = np.zeros(3); T = S.copy(); T[0] = x[0, 0]; S[1] = 2; J = np.sum(T * x) + np.sum(S)
S = np.zeros(3); T = copy.deepcopy(S); T[0] = x[0, 0]; S[1] = 2; J = np.sum(T * x) + np.sum(S)
S = np.zeros(3); T = np.asarray(S); T[0] = x[0, 0]; J = np.sum(S * x)
S = np.zeros_like(x); S[0] = x[0]; J = np.sum(S * x)
S = np.zeros_like(x[0]); S[0] = x[0, 1]; J = np.sum(S * x)
S = np.zeros(3); S[:] = [x[0, 0], 1.0, x[0, 1]]; J = np.sum(S * x)
S = np.zeros((2, 2)); S[:] = [[x[0, 0], 1.0], [2.0, x[0, 1]]]; J = np.sum(S @ x)
S = np.zeros(3, dtype=complex); S[0] = x[0, 0] * 1j; S[1] = x[0, 1]; J = np.sum(abs(S) ** 2)
S = np.zeros(3, int); S[0] = 2; J = np.sum(x[0][S])
S = np.zeros(()); S[()] = x.sum(); J = S * S
S = np.zeros(()); S += x[0, 0]; T = S; S *= x[0, 1]; J = T * x[1, 0]
S = np.array(0.0); S[...] = x[0, 0]; T = S.copy(); S -= x[0, 1]; J = S * T
S = np.full((), 2.0); S[()] *= x[0, 0]; np.add(S, x[0, 1], out=S); J = np.sin(S)
S = np.empty(()); np.sum(x, out=S); S /= 2; V = S[...]; V += x[0, 0]; J = S ** 2
S = np.zeros(()); np.copyto(S, x[0, 0]); S.fill(S * x[0, 1]); J = S.reshape(1)[0] * x[1, 1]
S = np.zeros_like(x[0, 0]); S += x.sum(); J = S * x[0, 0]
S = np.array(x[0, 0]); T = S.reshape(()); np.negative(T, out=T[...]); J = S + 10 * T * x[0, 1]
S = np.array(x[0, 0]); np.nan_to_num(S, copy=False); J = S * S
S = np.sqrt(x * x); np.nan_to_num(S, copy=False); S += np.nan_to_num(x=x); J = np.sum(S * x)
S = np.hstack([[0.5], [1.0, 2.0]]); S[1] = x[0, 0]; J = np.sum(S * x)
S = [np.zeros(3) for _ in range(2)]; S[0][1] = x[0, 0]; J = np.sum(S[0] * x + S[1])
d = {'a': np.zeros(3)}; d['a'][1] = x[0, 0]; J = np.sum(d['a'] * x)
S = np.zeros(3); S[0] = x[0, 0]; J = max(S) * min(S) + sum(S)
S = np.zeros((2, 3)); S[0], S[1] = (x[1], x[0]); J = np.sum(S * x)
S, I = (np.zeros(3), np.zeros(3)); S[0] = x[0, 0]; I[1] = S[0] * 2; S[1] = I[1]; J = np.sum(S * I)
c, s = (np.cos(x[0, 0]), np.sin(x[0, 0])); R = np.array([[c, -s], [s, c]]); J = np.sum(R @ x)
R = array([x[0, 0], 1.0, x[0, 1]]); J = np.sum(R * x)
R = np.array([x[0], x[1] * 2]); J = np.sum(R * x)
R = np.linspace([x[0, 0], x[0, 1]], [x[1, 0], 3.0], 5); J = np.sum(R * R)
R = np.geomspace([x[0, 0], 2.0], [x[1, 0], 3.0], 4); J = np.sum(R * R)
R = np.polyfit([x[0, 0], x[0, 1], x[0, 2]], [1.0, x[1, 0], 2.0], 1); J = np.sum(R * R)
R = np.meshgrid([x[0, 0], 1.0], [True, False]); J = np.sum(R[0] * R[0])
R = np.copy([x[0, 0], 1.0]); R[1] = x[0, 1]; J = np.sum(R * R)
R = np.nan_to_num([x[0, 0], np.nan]); J = np.sum(R * R)
R = np.linalg.eigvals([[x[0, 0], x[0, 1]], [0.5, x[0, 2]]]); J = np.real(np.sum(R * R))
R = np.trapezoid([1.0, 2.0, 0.5], [x[0, 0], x[0, 1], x[0, 2]]); J = R * R
R = np.full_like([1.0, 2.0], [x[0, 0], x[0, 1]]); J = np.sum(R * R)
R = np.hanning(3); R[0] = x[0, 0]; J = np.sum(R * x)
R = np.array([[x[0, 0], x[0, 1]], np.ones(2)]); J = np.sum(R @ x)
R = np.asarray([x[0, 0], 1, 2]); R[1] = x[1, 1]; J = np.sum(R * x)
R = np.array([x[0, 0], 1], dtype=np.float64); J = np.sum(R)
R = np.array([x[0, 0] * 1j, 1]); J = np.sum(abs(R))
R = np.array((x[0, 0], 1.0), ndmin=2); J = np.sum(R @ x)
y = np.asarray(x); y[0] = 3; J = np.sum(x * y)
y = np.array(x); y[0] = 3; J = np.sum(x * y)
y = np.array(x, copy=None); y[0] = 3; J = np.sum(x * y)
y = np.array(x, dtype=np.float64); y[0] = 3; J = np.sum(x * y)
y = np.asarray(x, dtype=float); y[0] = 3; J = np.sum(x * y)
y = np.asarray(x, np.float64); y[0] = 3; J = np.sum(x * y)
y = np.ascontiguousarray(x); y[0] = 3; J = np.sum(x * y)
y = np.full_like(x.T, x[0, 0]); z = np.ascontiguousarray(y); z -= 1; J = np.sum(y * z * x.T)
y = np.full((3, 2), x[0, 0], order='F'); z = np.ascontiguousarray(y); z -= 1; J = np.sum(y * z)
y = np.ascontiguousarray(x.T); y[0] = 3; J = np.sum(x * y.T)
y = np.asanyarray(x[0, 0]); y += 1; J = np.sum(x * y)
y = np.array(x[0, 0]); z = y; y += 1; J = np.sum(x * y * z)
y = np.hstack([[x[0, 0]], [1.0, x[0, 1]]]); J = np.sum(y * x)
y = np.concatenate([[x[0, 0]], x[0, 1:]]); J = np.sum(y * x)
y = np.concatenate([[x[0, 0]], [x[0, 1], 2.0]]); J = np.sum(y * x[0])
y = np.vstack([[x[0, 0], 1], [x[0, 1], 2]]); J = np.sum(y @ x)
y = np.column_stack([[x[0, 0], 1], [x[0, 1], 2]]); J = np.sum(y @ x)
y = np.stack([[x[0, 0], 1], [x[0, 1], 2]]); J = np.sum(y @ x)
y = np.block([[x[0, 0], 1], [x[0, 1], 2]]); J = np.sum(y @ x)
y = np.r_[x[0, 0], x[0, 1], 1.0]; J = np.sum(y * x)
y = np.r_[x[0], 1:3, [4.0, x[1, 1]]]; J = np.sum(y * y)
y = np.c_[x[0], x[1]]; J = np.sum(y * x.T)
y = np.c_[x[0], np.ones(3)]; J = np.sum(y * x.T)
J = np.sum([x[0, 0], x[0, 1] ** 2, 1.0])
J = np.dot([x[0, 0], 2], [x[0, 1], x[1, 1]])
J = np.linalg.norm([x[0, 0], 2, x[0, 1]])
J = np.sum(np.diag([x[0, 0], 2, x[0, 1]]) @ x.T)
J = np.prod([x[0, 0], 2, x[0, 1]])
J = np.linalg.det([[x[0, 0], 1], [2, x[0, 1]]]) + np.sum(np.linalg.inv([[x[0, 0], 1], [3, x[0, 1]]]))
J = np.sum(np.linalg.solve([[x[0, 0], 1], [2, x[0, 1]]], [x[1, 0], 1]))
J = np.linalg.eigvalsh([[x[0, 0], 1], [1, x[0, 1]]])[0] + np.ptp([x[0, 0], 1, x[0, 1]])
J = np.interp(0.5, [0, 1], [x[0, 0], x[0, 1]]) + np.percentile([x[0, 0], x[0, 1], 1, 5.0], 30)
J = np.sum(np.convolve([x[0, 0], 2], [x[0, 1], 1]) ** 2) + np.nanmean([x[0, 0], np.nan, x[1, 1]])
J = np.abs(np.fft.fft([x[0, 0], x[0, 1], 1])[1]) + np.sum(np.clip([x[0, 0], x[0, 1]], -1, a_max=9))
J = [x[0, 0], x[0, 1] ** 2][np.argmax([x[0, 0], x[0, 1]])] if np.allclose([x[0, 0]], x[0]) else x[0, 2]
J = np.einsum('i,i', [x[0, 0], 2], [x[0, 1], 1]) + np.einsum('i,i', x[0], [1, 2, 3.0])
J = np.sum(np.append([x[0, 0]], [x[0, 1], 2]) ** 2) + np.sum(np.insert([1.0, 2.0], 1, x[0, 2]) ** 2)
J = np.einsum('ij,kj->ik', x, np.eye(3)).sum() + np.sum(np.dot(x[0], x[1])) + np.sum(np.where(x > 0)[0]) * x[0, 0]
J = np.sum(x @ [x[0, 0], 1, 2.0])
J = np.sum([1.0, 2.0, x[0, 0]] * x)
t = np.linspace(0, 1, 5); t[1] = x[0, 0]; J = np.sum(t ** 2)
t = np.arange(3.0); t[1] = x[0, 0]; J = np.sum(t ** 2)
t = np.arange(6.0).reshape(2, 3); t[1] = x[0]; J = np.sum(t ** 2)
S = np.zeros(3); S[0] = x[0, 0]; S.sort(); J = np.sum(S * np.arange(3))
S = np.ones((3, 3)); S[np.triu_indices(3)] = x.ravel(); J = np.sum(S @ S.T)
S = np.zeros((2, 3)); S[0] = x[0]; y = S[1]; y += S[0] * 2; J = np.sum(S * S)
S = np.zeros((2, 3)); m = S[0] > -1; S[0][m] = x[0]; S[:, m] *= x[0, 0]; J = np.sum(S * x)
S = np.zeros((3, 2)).T; S[0] = x[0]; J = np.sum(S * x)
S = np.zeros((2, 3), order='F'); r = S.ravel(order='F'); r[1] = x[0, 0]; J = np.sum(S * x)
S = np.zeros(3); S[0] = x[0, 0]; S = np.append(S, x[0, 1]); J = np.sum(S * S)
S = np.zeros((0, 3)); S = np.vstack([S, x[0]]); J = np.sum(S * x)
S = np.zeros((2, 2, 2)); S[1, 0] = x[0, :2]; J = np.einsum('ijk,ljk->il', S, S).sum()
S = np.zeros(3); S -= x[0]; J = np.sum(S * x)
S = np.zeros(2); S = S + x[0, :2]; S[0] = x[1, 1]; J = np.sum(S * S)
S = np.zeros(3); S[-1] += x[0, 0]; S[-1] *= x[0, 1]; J = np.sum(S * S)
S = np.zeros(3); S[1] = x[0, 0]; J = np.sum(np.where(S > 0, S, 0) * x)
S = np.zeros((2, 3)); S.T[:] = x.T; J = np.sum(S * x)
S = np.zeros(5); S[1:-1] = x[0]; J = np.sum(np.diff(S) ** 2)
S = np.zeros((2, 3)); [row.__setitem__(0, x[i, 1]) for i, row in enumerate(S)]; J = np.sum(S * x)
J = np.max([x[0, 0], x[0, 1] * 2, 1.0]) * np.mean([x[0], x[1]], axis=0)[0]
S = np.zeros((2, 3)); r = S.T.copy(); r[0] = x[:, 0]; J = np.sum(S) + np.sum(r * x.T)
A = np.zeros((3, 3)); A[0, 0] = 2; A = A + A.T; A[1, 1] = x[0, 0]; A[2, 2] = 1; J = np.linalg.det(A)
S = np.zeros((2, 3)); r = S.T; q = r[1:]; S[0, 1] = x[1, 1]; q[0] += x[:, 0]; J = np.sum(S * S) + np.sum(r ** 3) + np.sum(q)
S = np.zeros(3); n = S.shape[0]; S[n - 1] = 5; k = int(S[2]); T = S + k; S[0] = x[0, 0]; J = np.sum(S * T)
h = np.zeros((4, 3)); [h.__setitem__(i + 1, np.tanh(h[i] + x[i % 2])) for i in range(3)]; J = np.sum(h)
L = np.zeros((3, 3)); L[np.tril_indices(3)] = x.ravel(); J = np.sum(np.linalg.inv(L @ L.T + 3 * np.eye(3)))
A = np.zeros((3, 3)); A[0, 0] = 2; A = A + A.T; A[1, 1] = x[0, 0]; A[2, 2] = 1; J = np.linalg.slogdet(A)[1] * x[0, 1]
S = np.zeros((2, 3), order='F'); r = S[:, ::-1].T; S[0, 1] = x[0, 0]; J = np.sum(S * x) + np.sum(r * x.T * x.T)
S = np.zeros((2, 3)); r = S.reshape(-1)[::-1]; S[0] = x[0]; r[1] += x[1, 1]; J = np.sum(S ** 2) + np.sum(r ** 3)
"""
SPECIAL = """
J = special.logsumexp(x)
J = np.sum(special.logsumexp(x, axis=1) ** 2)
J = np.sum(special.logsumexp(x, axis=1, keepdims=True) * x)
J = np.sum(special.logsumexp(x, axis=0, b=np.array([[1, 2, 0.5], [0, 1, 2]])) * x[0])
J = np.sum(special.logsumexp(x, axis=0, b=x ** 2) * x[0])
r = special.logsumexp(x, axis=0, b=[[1.0], [-2.0]], return_sign=True); J = np.sum(r[0] * r[1])
J = special.logsumexp([x[0, 0], x[0, 1], 1.0])
J = np.sum(special.softmax(x, axis=1) * x)
J = np.sum(special.softmax(x) * x)
J = np.sum(special.log_softmax(x, axis=0) * x)
J = np.sum(special.multigammaln(3 + x ** 2, 2))
J = np.sum(special.polygamma(1, 3 + x ** 2))
"""


def agrees(code, **names):
    """Compare a program of one line with NumPy's run of it, and its gradient with differences."""
    source = "\n    ".join(["def program(x):", *code.split("; "), "return J"])
    names = {**globals(), **names}
    exec(source, names)
    expected = names["program"](X.copy())
    g = gv.trace(names["program"], X)
    assert g.values[g.output].value == pytest.approx(expected, rel=1e-12)
    found = g.check(tolerance=1e-5)
    assert found, found.text
    return g


@pytest.mark.parametrize("code", PROGRAMS.strip().split("\n"))
def test_a_program_that_fills_arrays_of_its_own_has_numpys_result_and_the_right_gradient(code):
    agrees(code)


@pytest.mark.parametrize("code", SPECIAL.strip().split("\n"))
def test_scipys_functions_that_are_written_in_python_are_recorded(code):
    agrees(code, special=pytest.importorskip("scipy.special", reason="scipy is not installed"))


def test_a_weight_of_zero_drops_an_infinite_term_of_logsumexp():
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    terms, weights = np.array([1.0, np.inf, 2.0]), np.array([1.0, 0.0, 2.0])
    g = gv.trace(lambda a: special.logsumexp(a, b=weights), np.array([1.0, 800.0, 2.0]))
    assert g.value("J") == pytest.approx(special.logsumexp([1.0, 2.0], b=[1.0, 2.0]))
    g = gv.trace(lambda a: special.logsumexp(a, b=weights), terms)
    assert g.value("J") == special.logsumexp(terms, b=weights)


def epidemic(beta, gamma, steps=10):
    S, I = np.zeros(steps), np.zeros(steps)
    S[0], I[0] = 0.99, 0.01
    for k in range(steps - 1):
        new = beta * S[k] * I[k]
        S[k + 1] = S[k] - new
        I[k + 1] = I[k] + new - gamma * I[k]
    return np.sum(I**2)


def test_a_loop_that_fills_arrays_is_updated_saved_and_loaded(tmp_path):
    g = gv.trace(epidemic, 0.5, 0.1)
    g.save(tmp_path / "g.json")
    for graph in (g, gv.load(tmp_path / "g.json")):
        moved = graph.update(beta=0.7)
        assert moved.values[moved.output].value == pytest.approx(epidemic(0.7, 0.1), rel=1e-13)
        assert moved.check()
    names = [name for name in g.names if name.startswith("S")]
    assert names[:3] == ["S", "S(2)", "S(3)"]


def test_derivatives_of_functions_that_fill_arrays():
    def filled(x):
        found = np.zeros((2, 3))
        found[0] = x**2
        found[1, 0] = x[0] * x[1]
        return found

    x = np.array([1.0, 2.0, 3.0])
    expected = np.zeros((2, 3, 3))
    expected[0] = np.diag(2 * x)
    expected[1, 0, :2] = x[1], x[0]
    np.testing.assert_array_equal(gv.jacobian(filled)(x), expected)
    hessian = gv.hessian(lambda x: np.sum(filled(x) ** 2))(x)
    np.testing.assert_allclose(hessian, [[20, 8, 0], [8, 50, 0], [0, 0, 108]])


def test_a_function_that_is_constant_has_zeros_with_a_warning():
    x = np.array([1.0, 2.0])
    for derivative, shape in ((gv.grad, (2,)), (gv.jacobian, (2,)), (gv.hessian, (2, 2))):
        with pytest.warns(UserWarning, match="does not depend on the argument"):
            found = derivative(lambda x: 3.0)(x)
        assert found.shape == shape
        assert not found.any()
    with pytest.warns(UserWarning, match="does not depend"):
        assert gv.jacobian(lambda x: np.zeros(3))(x).tolist() == [[0, 0]] * 3
    with pytest.raises(gv.TraceError, match="returned str"):
        gv.grad(lambda x: "no number")(x)


def test_what_gets_no_recorded_value_is_no_part_of_the_graph():
    def program(x):
        basis = np.zeros((4, 3))
        for i in range(4):
            basis[i] = np.cos(i * np.arange(3.0))
        scale = np.ones(3) * 2 + np.eye(3)[0]
        return np.sum(basis @ (x * scale))

    g = gv.trace(program, np.array([1.0, 2.0, 3.0]))
    assert len(g) == 6  # x, scale, their product, basis, matmul, J
    assert g.check()


def test_arrays_are_plain_ones_for_the_program_and_for_libraries():
    linalg = pytest.importorskip("scipy.linalg", reason="scipy is not installed")

    def program(x):
        plain = np.eye(3)
        assert isinstance(plain, np.ndarray)
        assert (plain.shape, plain.dtype, plain.flags.writeable) == ((3, 3), np.dtype(float), True)
        assert plain[0, 0].item() == max(plain[0]) == float(plain.sum(axis=0)[0]) == 1.0
        assert [row.tolist() for row in plain] == plain.tolist() == np.identity(3).tolist()
        assert 1.0 in plain
        assert len(plain) == 3
        assert str(np.zeros(1)) == "[0.]"
        lower = linalg.cholesky(plain)  # turns it into a plain array, and lets it go
        np.random.default_rng(0).permutation(plain)
        plain[0, 1:] = x[0, :2]
        assert np.zeros(2, int)[0] == 0
        return np.sum(plain * lower * x[:, :1].sum()) + np.sum(plain)

    g = gv.trace(program, X)
    assert g.value("J") == program(X)
    assert g.check()


def test_a_plain_array_elsewhere_that_would_miss_what_is_written_is_an_error():
    kept = []

    def program(x):
        buffer = np.zeros(3)
        kept.append(memoryview(buffer.data))
        buffer[0] = x
        return np.sum(buffer)

    with pytest.raises(gv.TraceError, match=r"something else holds.*buffer\[0\] = x"):
        gv.trace(program, 1.0)


def test_a_read_only_view_of_a_buffer_stays_read_only():
    def program(x):
        np.broadcast_to(np.zeros(3), (2, 3))[0] = x
        return x

    with pytest.raises(ValueError, match="read-only"):
        gv.trace(program, 1.0)


def test_numpy_is_as_it_was_after_a_trace_and_for_others_meanwhile():
    functions = {name: getattr(np, name) for name in ("zeros", "array", "sum", "r_")}
    own = zeros, array
    seen = []

    def elsewhere():
        seen.append(type(np.zeros(2)))

    def program(x):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        zeros(2)[0] = x
        raise KeyError("stop")

    for _ in range(2):
        with pytest.raises(KeyError):
            gv.trace(program, 1.0)
    assert seen == [np.ndarray] * 2
    assert all(getattr(np, name) is function for name, function in functions.items())
    assert (zeros, array) == own


def test_threads_that_trace_at_once_do_not_disturb_each_other():
    found = []

    def work(k):
        for _ in range(10):
            found.append(gv.trace(epidemic, 0.5 + k, 0.1).value("J") == epidemic(0.5 + k, 0.1))

    threads = [threading.Thread(target=work, args=(k / 10,)) for k in range(4)]
    original = np.zeros
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert found == [True] * 40
    assert np.zeros is original


def test_what_the_program_keeps_for_later_is_a_plain_array():
    class Model:
        state = None

    model, cache, rows = Model(), {}, []

    def program(x):
        if model.state is None:
            model.state = np.zeros(3)
        cache["basis"] = np.eye(3)
        rows.append(cache["basis"][0])
        return np.sum(x * model.state) + x

    gv.trace(program, 1.0)
    assert type(model.state) is type(cache["basis"]) is type(rows[0]) is np.ndarray
    assert rows[0].base is cache["basis"]


def test_a_buffer_is_freed_with_its_last_reference():
    seen = []

    def program(x):
        buffer = np.zeros(3)
        seen.append(weakref.ref(buffer))
        row = buffer[1:]
        del buffer
        row[0] = x
        return np.sum(row) + len(copy.copy(row))

    gc.disable()
    try:
        gv.trace(program, 1.0)
        assert seen[0]() is None
    finally:
        gc.enable()


def test_parts_of_unequal_shapes_are_numpys_error():
    with pytest.raises(ValueError, match="sequence"):
        gv.trace(lambda x: np.sum(np.array([[x, x], [x]])), 1.0)


def test_nothing_is_warned_of_on_the_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gv.trace(epidemic, 0.5, 0.1).gradients()


def test_code_of_cs_that_makes_arrays_inside_a_trace_gets_plain_ones():
    def program(x):
        made = np.empty(3)  # in the same function: this one is the program's own
        made[:] = x
        drawn = (
            np.random.RandomState(3).rand(3),
            np.random.RandomState(3).permutation(4),
            np.random.default_rng(3).multivariate_normal([0.0, 0.0], np.eye(2)),
            np.random.default_rng(3).dirichlet([1.0, 2.0]),
            np.fromstring("1 2", sep=" "),
        )
        return np.sum(made) + sum(np.sum(part * 1.0) for part in drawn)

    graph = gv.trace(program, 0.5)
    assert graph.value("J") == program(0.5)
    assert graph.grad("x") == 3


def test_a_maker_under_another_name_makes_buffers_too():
    def program(x):
        make, zeros = np.zeros, np.ones
        first, second = make(2), zeros(2)
        first[0] = x
        second[1] = x * x
        return np.sum(first * second)

    assert gv.trace(program, 3.0).grad("x") == 1


@pytest.mark.parametrize("written", [lambda x: x, lambda x: x[0]])
def test_a_plain_array_from_elsewhere_is_refused_with_what_to_do(written):
    buffer = np.zeros(3)

    def program(x):
        buffer[0:1] = written(x)
        return np.sum(buffer)

    with pytest.raises(gv.TraceError, match=r"written into a plain array.*np\.array\(a\) copies"):
        gv.trace(program, np.ones(1))
    assert not buffer.any()


_MADE = (
    "np.hstack([[0.75], [1.0]])", "np.diag([1.0, 2.0])[0]", "np.arange(2) * 1.0", "np.ones(2) * 2",
    "np.array([1.0, 2.0]).copy()", "n[:2] * 1.0", "n[:2].astype(float)", "(n / 2)[1:]",
    "np.sort([2.0, 1.0])", "np.exp([0.0, 1.0])", "np.outer([1.0], [1.0, 2.0])[0]", "np.eye(2)[0]",
    "np.linalg.inv([[1.0, 2.0], [3.0, 4.0]])[0]", "np.interp([1.0, 2.0], [0, 3], [0.0, 1.0])",
)  # fmt: skip
_WRITTEN = (
    "a.fill(x)", "a.put(0, x)", "np.put(a, [0], x)", "np.copyto(a, x)", "a[...] = x", "a[0] = x",
    "a.flat[0] = x", "a += x", "a[:1] = x", "a[[0]] = x", "a.T[0] = x", "a.ravel().fill(x)",
    "np.add.at(a, [0], x)", "np.multiply(a, x, out=a)", "np.place(a, a > -9, x)", "f = a.fill; f(x)",
    "a.__setitem__(0, x)", "a.setfield(x, float)", "a.real = x", "a[:] = [x, 1.0]", "a[0] += x",
    "np.cumsum([x, x], out=a)", "list(map(a.fill, [x]))", "np.ndarray.fill(a, x)",
)  # fmt: skip


@pytest.mark.parametrize("has_source", [True, False], ids=["source", "no source"])
@pytest.mark.parametrize("write", _WRITTEN)
def test_a_value_written_into_a_plain_array_is_recorded_refused_or_told(write, has_source):
    for number, made in enumerate(_MADE):
        text = f"def f(x, n):\n    a = {made}\n    {write}\n    return np.sum(a * [1.0, 3.0]) * x\n"
        file = f"<{write} {number} {has_source}>"
        if has_source:
            linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        space = {"np": np}
        exec(compile(text, file, "exec"), space)
        program, n, x = space["f"], np.array([1, 2, 3]), np.float64(0.6)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                graph = gv.trace(program, x, n)
                gradient = graph.grad("x")
            except (gv.TraceError, TypeError, ValueError):
                continue
        slope = (program(x + 1e-6, n.copy()) - program(x - 1e-6, n.copy())) / 2e-6
        told = any("gradient is wrong" in str(w.message) for w in seen)
        assert told or np.isclose(gradient, slope, rtol=1e-5), made


def test_a_program_that_names_its_functions_otherwise_gets_those_that_record(tmp_path, monkeypatch):
    (tmp_path / "of_two.py").write_text(
        "from numpy import array\ndef of_two(x):\n    return array([x, 2 * x])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def by_a_text(x):
        return np.sum(getattr(np, "array")([x, 2 * x]))  # noqa: B009 - as programs do

    def by_an_import(x):
        from of_two import of_two

        return np.sum(of_two(x))

    for program in (by_a_text, by_an_import):
        assert gv.trace(program, 3.0).grad("x") == 3.0


def _filled(array, x):
    np.ndarray.fill(array, x)


def _through_memory(array, x):
    memoryview(array)[0] = x


def _in_a_row(array, x):
    array.flat[0] = x


@pytest.mark.parametrize("write", [_filled, _through_memory])
def test_plain_memory_of_an_array_that_a_program_made_is_refused_with_what_to_write(write):
    def program(x):
        y = np.zeros(3)
        write(y, x)
        return np.sum(y)

    with pytest.raises(gv.TraceError, match=r"write y\[i\] = x .* at .*test_buffer\.py:\d+"):
        gv.trace(program, 3.0)


def test_an_element_of_an_array_from_elsewhere_is_refused_in_a_row_too():
    elsewhere = np.zeros(3)
    with pytest.raises(gv.TraceError, match=r"make the array in the traced function.*array\.flat"):
        gv.trace(lambda x: _in_a_row(elsewhere, x) or np.sum(elsewhere), 3.0)
