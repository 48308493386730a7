"""Operations of the user's own, and of other packages."""

import doctest
import os
import subprocess
import sys

import numpy as np
import pytest

import gradviz as gv
from gradviz.ops import custom, table, tex
from gradviz.ops.dispatch import dispatched
from gradviz.ops.table import ROWS


def test_the_documentations_examples_are_right():
    result = doctest.testmod(custom)
    assert result.attempted >= 6
    assert result.failed == 0


def test_an_elementwise_operation_is_one_formula():
    @gv.operation(local="1 / (1 + exp(-x))", formula="softplus(x)", check=(np.array([-3.0, 0, 2]),))
    def softplus(x):
        return np.logaddexp(0, x)

    g = gv.trace(lambda x: softplus(2 * x), 0.7)
    assert float(g.grad("x")) == pytest.approx(2 / (1 + np.exp(-1.4)), rel=1e-15)
    assert g.check().ok
    assert "local derivative 1 / (1 + exp(-v_1))" in g.draw().text
    assert r"\operatorname{softplus}" in g.explain("x").factored.latex or r"\mathrm{e}^{" in str(
        g.explain("x").factored.latex
    )
    assert softplus(0.0) == np.log(2)  # plain values stay plain
    assert type(softplus(np.ones(2))) is np.ndarray
    assert softplus.__name__ == "softplus"


def test_it_can_be_differentiated_again():
    swish = gv.operation(lambda x: x / (1 + np.exp(-x)), name="swish",
                         local="v / x + v * (1 - v / x)", check=(0.5,))  # fmt: skip
    second = gv.grad(gv.grad(swish))
    h = 1e-4
    differences = (swish(1 + h) - 2 * swish(1.0) + swish(1 - h)) / h**2
    assert float(second(1.0)) == pytest.approx(differences, rel=1e-6)


def test_operands_are_called_by_the_names_of_the_parameters():
    @gv.operation(
        local=["where(x > 0, 1, slope)", "minimum(x, 0)"],
        formula="prelu(x, slope)",
        check=(np.array([-2.0, 3.0]), 0.25),
        latex=r"\operatorname{PReLU}",
    )
    def prelu(x, slope=0.1):
        return np.where(x > 0, x, slope * x)

    def f(x, slope):
        y = prelu(x, slope=slope)
        J = np.sum(y)
        return J

    g = gv.trace(f, np.array([-2.0, 3.0]), 0.25)
    np.testing.assert_array_equal(g.grad("x"), [0.25, 1])
    assert g.grad("slope") == -2
    assert tex.formula(g.expression(g.id("y"))).startswith(r"\operatorname{PReLU}")
    assert gv.trace(lambda x: prelu(x), -2.0).grad("x") == 0.1  # the default is an operand too


def test_settings_go_to_the_rule():
    @gv.operation(vjp=("g * scale", lambda g, v, x, *, scale=2.0: g * scale), check=(3.0,))
    def scaled(x, *, scale=2.0):
        return x * scale

    assert gv.trace(lambda x: scaled(x, scale=5.0), 3.0).grad("x") == 5
    assert gv.trace(scaled, 3.0).grad("x") == 2


def test_a_wrong_rule_is_refused_with_both_numbers():
    with pytest.raises(
        ValueError, match=r"cube: the rule of x is wrong: .* 4\.3.*by finite diff.*6\.4"
    ):
        gv.operation(lambda x: x**3, name="cube", local="2 * x**2", check=(2.0,))
    with pytest.raises(ValueError, match=r"pair: the rule of b is wrong: .*message\[1\]"):
        gv.operation(
            lambda a, b: a * b,
            name="pair",
            vjp=(lambda g, v, a, b: g * b, lambda g, v, a, b: g * np.array([a[0], 2 * a[1]])),
            check=(np.array([1.0, 2.0]), np.array([3.0, 4.0])),
        )
    assert not {"cube", "pair"} & {row.name for row in ROWS.values()}


def test_a_rule_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"total: the rule of a fails: .*shape \(\).*\(3,\)"):
        gv.operation(lambda a: np.sum(a), name="total", vjp=lambda g, v, a: g, check=(np.ones(3),))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either local= .* or vjp="),
        ({"local": "1", "vjp": lambda g, v, x: g}, "give either"),
        ({"local": "1 +"}, r"'1 \+' is no formula"),
        ({"local": "__import__('os').getpid()"}, "unknown name __import__"),
        ({"local": "y * 2"}, "unknown name y; known are x, v"),
        ({"local": 3}, "takes a formula"),
        ({"vjp": "g"}, "takes a function"),
        ({"local": ["1", "1"]}, "has 1 parameters, but there are 2 rules"),
        ({"local": "1", "check": (1.0, 2.0)}, "check= has 2 operands for 1 rules"),
        ({"local": "1", "name": "exp"}, "there is an operation exp already"),
    ],
)
def test_what_makes_no_operation_says_why(options, message):
    with pytest.raises(ValueError, match=message):
        gv.operation(lambda x: x, **{"name": "mine", **options})


def test_parameters_called_g_or_v_are_refused_in_formulas():
    with pytest.raises(ValueError, match="in formulas v is the value v or its gradient g"):
        gv.operation(lambda v: v, name="mine", local="1")


def test_a_missing_operand_is_the_functions_own_error():
    @gv.operation(local=["b", "a"])
    def product(a, b):
        return a * b

    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        gv.trace(lambda x: product(x), 1.0)


def test_a_cell_that_runs_again_replaces_its_operation():
    def cell(factor):
        @gv.operation(local=str(factor))
        def scaled(x):
            return factor * x

        return scaled

    cell(2.0)
    assert gv.trace(cell(3.0), 1.0).grad("x") == 3
    assert sum(row.name == "scaled" for row in ROWS.values()) == 1


def test_a_function_that_numpy_dispatches_gets_a_rule_as_it_is():
    twice = dispatched(lambda x: x + x)
    with pytest.raises(gv.TraceError, match="no derivative rule"):
        gv.trace(lambda x: np.sum(twice(x)), np.ones(2)).grad("x")
    assert gv.operation(twice, name="twice", vjp=lambda g, v, x: g + g) is twice
    g = gv.trace(lambda x: np.sum(twice(x)), np.ones(2))
    np.testing.assert_array_equal(g.grad("x"), [2, 2])


def test_a_saved_graph_knows_it_again_or_draws_its_notation(tmp_path):
    @gv.operation(local="1 / (1 + exp(-x))", formula="rectified(x)")
    def rectified(x):
        return np.logaddexp(0, x)

    def f(x):
        y = rectified(x)
        z = y * y
        return np.sum(z)

    g = gv.trace(f, np.array([0.5, 1.0]))
    g.save(tmp_path / "g.json")
    assert gv.load(tmp_path / "g.json").update(x=[1, 2]).check().ok
    del ROWS[rectified]
    stranger = gv.load(tmp_path / "g.json")
    assert stranger.draw().svg == g.draw().svg
    assert stranger.explain("x").factored.latex == g.explain("x").factored.latex
    with pytest.raises(
        gv.TraceError, match="rectified is not known here, so that it is only drawn"
    ):
        stranger.update(x=[1, 2])


def test_two_programs_may_use_one_name_and_each_keeps_its_own(tmp_path):
    def one(x):
        return 2.0 * x

    def other(x):
        return 3.0 * x

    first = gv.operation(one, name="scaled", local="2")
    graph = gv.trace(lambda x: first(x), 1.0)
    second = gv.operation(other, name="scaled", local="3")
    assert gv.trace(lambda x: first(x) + second(x), 1.0).grad("x") == 5
    graph.save(tmp_path / "g.json")  # the name means the other one now: it is drawn, not mixed up
    assert gv.load(tmp_path / "g.json").grad("x") == 2
    with pytest.raises(gv.TraceError, match="only drawn"):
        gv.load(tmp_path / "g.json").update(x=2.0)


def test_the_names_of_our_own_rows_are_unique():
    names = [row.name for row in ROWS.values() if row.name not in table.ADDED]
    assert len(set(names)) == len(names)


LIBRARY = """
from gradviz.ops.dispatch import dispatched  # as numpy's array_function_dispatch

@dispatched
def twice(x):
    return x + x
"""
PLUGIN = """
import gradviz as gv, library
print("plugin loaded")
gv.operation(library.twice, vjp=lambda g, v, x: g + g)
"""


def run(folder, code, entry):
    info = folder / "other_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[gradviz.operations]\nmine = {entry}\n")
    (folder / "other_package.py").write_text(PLUGIN)
    (folder / "library.py").write_text(LIBRARY)
    env = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60
    )


def test_an_installed_package_adds_its_operations_when_they_are_needed(tmp_path):
    code = """if True:
        import numpy as np, gradviz as gv, library
        gv.trace(lambda x: np.sum(np.sin(x)), np.ones(2)).draw().svg
        print("not yet")
        print(gv.trace(lambda x: np.sum(library.twice(x)), np.ones(2)).grad("x"))"""
    done = run(tmp_path, code, "other_package")
    assert done.stdout.splitlines() == ["not yet", "plugin loaded", "[2. 2.]"], done.stderr


def test_a_package_that_fails_is_warned_of(tmp_path):
    code = """if True:
        import numpy as np, gradviz as gv, library
        gv.trace(lambda x: np.sum(library.twice(x)), np.ones(2))"""
    done = run(tmp_path, code, "missing_module")
    assert done.returncode == 0
    assert "RuntimeWarning: the operations of missing_module cannot be loaded" in done.stderr
