"""What a row says is what it computes: its formulas, evaluated, and its LaTeX."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import ELEMENTWISE_CASES, PLAIN_EINSUMS, P, R, S, case

import gradviz as gv
from gradviz.ops import notation, tex
from gradviz.ops.corners import Numbers
from gradviz.ops.reductions import norm
from gradviz.ops.table import lookup, split

# Abramowitz and Stegun 9.6.10: the power series of the Bessel function I1
_I1 = [c for k in range(30, -1, -1) for c in (1 / math.factorial(k) / math.factorial(k + 1), 0)][
    :-1
]

NAMESPACE = {name: getattr(np, name) for name in np.__all__ if callable(getattr(np, name))} | {
    "pi": np.pi,
    "π": np.pi,
    "arsinh": np.arcsinh,
    "arcosh": np.arccosh,
    "artanh": np.arctanh,
    "i1": lambda a: np.polyval(_I1, a / 2) * a / 2,
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "solve": np.linalg.solve,
    "norm": norm,
    "abs": abs,
    "max": np.max,
    "min": np.min,
    "sum": np.sum,
}


def evaluated(tree, **symbols):
    with np.errstate(all="ignore"):
        return eval(notation.text(tree), NAMESPACE | symbols)


def symbols(operands):
    return dict(zip("abcdefhijk", operands, strict=False))


def names(operands):
    return [notation.name(letter) for letter in symbols(operands)]


SCALAR_CASES = [c for c in ELEMENTWISE_CASES if all(np.ndim(a) == 0 for a in c.args)]


@pytest.mark.parametrize("case", SCALAR_CASES, ids=repr)
def test_formulas_of_elementwise_rows_evaluate_to_value_and_local_derivative(case):
    row = lookup(case.function)
    value = row.evaluate(*case.args)
    np.testing.assert_allclose(
        evaluated(row.expression(names(case.args), {}), **symbols(case.args)), value, rtol=1e-14
    )
    for k, operand in enumerate(case.args):
        if row.rule(k) is None:
            assert operand.dtype == bool  # the mask of where
            continue
        written = row.derivative(k, notation.name("v"), names(case.args), {})
        number = row.local(k, value, case.args, {})
        np.testing.assert_allclose(
            evaluated(written, v=value, **symbols(case.args)), number, rtol=1e-12
        )


@pytest.mark.parametrize("nothing", [np.nan, np.inf])
@pytest.mark.parametrize("case", SCALAR_CASES, ids=repr)
def test_the_message_is_true_of_an_upstream_term_that_is_not_finite(case, nothing):
    row = lookup(case.function)
    value = row.evaluate(*case.args)
    for k in range(len(case.args)):
        if row.rule(k) is None:
            continue
        at = Numbers(value, case.args, row.stops(lambda: True))
        tree = row.message(k, notation.name("g"), notation.name("v"), names(case.args), {}, at)
        found = evaluated(tree, v=value, g=np.float64(nothing), **symbols(case.args))
        with np.errstate(all="ignore"):
            message = row.pull(k, np.float64(nothing), value, case.args, {})
        np.testing.assert_allclose(found, message, err_msg=notation.text(tree))


def summed(array, shape):
    """Sum an array down to a shape that broadcasts to its own, element by element."""
    result = np.zeros(shape)
    for index in np.ndindex(np.shape(array)):
        tail = index[len(index) - len(shape) :]
        result[tuple(i if n > 1 else 0 for i, n in zip(tail, shape, strict=True))] += array[index]
    return result


@pytest.mark.parametrize("case", ELEMENTWISE_CASES, ids=repr)
def test_message_is_upstream_times_local_derivative_also_after_broadcasting(case):
    row = lookup(case.function)
    value = row.evaluate(*case.args)
    upstream = np.random.default_rng(0).normal(size=np.shape(value))[()]
    for k, operand in enumerate(case.args):
        if row.rule(k) is not None:
            product = np.broadcast_to(
                upstream * row.local(k, value, case.args, {}), np.shape(value)
            )
            message = row.pull(k, upstream, value, case.args, {})
            np.testing.assert_allclose(message, summed(product, np.shape(operand)), rtol=1e-12)


EVALUATED = [
    *PLAIN_EINSUMS,
    case(np.matmul, R(2, 3), R(3, 4)),
    case(np.sum, R(3)),
    case(np.sum, R(2, 3)),
    case(np.mean, R(2, 3)),
    case(np.prod, R(3)),
    case(np.max, R(2, 3)),
    case(np.min, R(3)),
    case(np.var, R(5)),
    case(np.var, R(5), ddof=2),
    case(np.std, R(5)),
    case(np.std, R(5), correction=1),
    case(norm, R(4)),
    case(norm, R(4), 3, 0),
    case(np.cumsum, R(4)),
    case(np.transpose, R(2, 3)),
    case(np.flip, R(3)),
    case(np.outer, R(2), R(3)),
    case(np.linalg.inv, S(3, 3)),
    case(np.linalg.det, S(3, 3)),
    case(np.linalg.solve, S(3, 3), R(3, 2)),
]


@pytest.mark.parametrize("case", EVALUATED, ids=repr)
def test_messages_of_linear_maps_evaluate_to_the_vjp(case):
    row, operands, keywords = split(case.function, case.args, case.kwargs)
    value = row.evaluate(*operands, **keywords)
    np.testing.assert_allclose(
        evaluated(row.expression(names(operands), keywords), **symbols(operands)), value
    )
    upstream = np.random.default_rng(0).normal(size=np.shape(value))[()]
    for k in range(len(operands)):
        written = row.message(k, notation.name("g"), notation.name("v"), names(operands), keywords)
        known = symbols(operands) | {"g": upstream, "v": value, "n": np.size(operands[0])}
        if case.function in (np.prod,):
            known["v"] = np.asarray(value)
        np.testing.assert_allclose(
            evaluated(written, **known),
            row.pull(k, upstream, value, operands, keywords),
            rtol=1e-12,
        )


def typeset(value, *letters):
    """LaTeX of a recorded value and of the message to each operand."""
    node, row = value, value.operation
    operands = [
        notation.name(letters[k]) if isinstance(o, gv.Array) else notation.number(o)
        for k, o in enumerate(node.operands)
    ]
    messages = [
        tex.formula(
            row.message(k, notation.adjoint("z"), notation.name("z"), operands, node.keywords)
        )
        for k in range(len(operands))
        if row.rule(k) is not None and isinstance(node.operands[k], gv.Array)
    ]
    return [tex.formula(row.expression(operands, node.keywords)), *messages]


def test_latex_is_as_a_textbook_writes_it():
    W, x, A = gv.input(R(2, 3), "W"), gv.input(R(3), "x"), gv.input(S(3, 3), "A")
    expected = [
        (W @ x, "Wx", r"W\, x", r"\bar{z}\, {x}^{\top}", r"{W}^{\top}\, \bar{z}"),
        (np.dot(W, x), "Wx", r"W\, x", r"\bar{z}\, {x}^{\top}", r"{W}^{\top}\, \bar{z}"),
        (np.sum(x), "x", r"\textstyle\sum\left(x\right)", r"\bar{z}\, \mathbf{1}"),
        (np.mean(x), "x", r"\operatorname{mean}\left(x\right)", r"\frac{\bar{z}}{n}\, \mathbf{1}"),
        (np.max(x), "x", r"\max\left(x\right)", r"\bar{z}\, [x = z]"),
        (np.maximum(0, x), "_x", r"\max\left(0, x\right)", r"\bar{z}\, [x > 0]"),
        (
            np.einsum("ij,j->i", W, x),
            "Wx",
            r"\textstyle\sum_{j} {W}_{ij}\, {x}_{j}",
            r"{\bar{z}}_{i}\, {x}_{j}",
            r"\textstyle\sum_{i} {\bar{z}}_{i}\, {W}_{ij}",
        ),
        (np.einsum("ii->i", A), "A", "{A}_{ii}", r"{\bar{z}}_{i}\, {\delta}_{ia}"),
        (
            np.einsum("ij->i", W),
            "W",
            r"\textstyle\sum_{j} {W}_{ij}",
            r"{\bar{z}}_{i}\, \mathbf{1}_{j}",
        ),
        (W[0, 1:], "W", r"{W}_{[\text{0, 1:}]}", r"\operatorname{scatter}\left(\bar{z}\right)"),
        (x**3, "x", "{x}^{3}", r"3\, \bar{z}\, {x}^{2}"),
        (np.exp(x), "x", r"\mathrm{e}^{x}", r"\bar{z}\, z"),
        (
            np.log(abs(x)).operands[0],
            "x",
            r"\left|x\right|",
            r"\bar{z}\, \operatorname{sign}\left(x\right)",
        ),
        (1 / x, "_x", r"\frac{1}{x}", r"-\bar{z}\, \frac{z}{x}"),
        (np.tanh(x), "x", r"\tanh\left(x\right)", r"\bar{z}\, \left(1 - {z}^{2}\right)"),
        (W.T, "W", r"{W}^{\top}", r"{\bar{z}}^{\top}"),
        (np.linalg.inv(A), "A", "{A}^{-1}", r"-{z}^{\top}\, \bar{z}\, {z}^{\top}"),
        (
            np.linalg.solve(A, x),
            "Ax",
            r"{A}^{-1}\, x",
            r"-{A}^{-\top}\, \bar{z}\, {z}^{\top}",
            r"{A}^{-\top}\, \bar{z}",
        ),
        (np.linalg.det(A), "A", r"\det\left(A\right)", r"\bar{z}\, z\, {A}^{-\top}"),
        (np.outer(x, x), "xx", r"x \otimes x", r"\bar{z}\, x", r"{\bar{z}}^{\top}\, x"),
        (
            np.stack([x, x]),
            "xx",
            r"\operatorname{stack}\left(x, x\right)",
            r"{\bar{z}}_{[0]}",
            r"{\bar{z}}_{[1]}",
        ),
        (x % 2.0, "x", r"x \bmod 2", r"\bar{z}"),
    ]
    for value, letters, *wanted in expected:
        assert typeset(value, *letters) == wanted


def test_settings_are_part_of_the_plain_text():
    W = gv.input(P(2, 3), "W")
    written = [
        notation.text(v.operation.expression([notation.name("W")], v.keywords)).replace(
            "newshape", "shape"
        )
        for v in (
            W.sum(axis=0),
            W.mean(1, keepdims=True),
            W.reshape(3, 2),
            W.transpose(1, 0),
            W[:, ::2],
            W[..., None, 0],
            W[W.value > 9],
            W[np.array([0, 1])],
            np.std(W, ddof=1),
            np.linalg.norm(W, axis=1),
            np.roll(W, 1),
        )
    ]
    assert written == [
        "sum(W, axis=0)",
        "mean(W, axis=1, keepdims=True)",
        "reshape(W, shape=(3, 2))",
        "transpose(W, (1, 0))",
        "W[:, ::2]",
        "W[..., None, 0]",
        "W[mask]",
        "W[[0, 1]]",
        "std(W, ddof=1)",
        "norm(W, ord=2, axis=1)",
        "roll(W, shift=1)",
    ]
