"""Array: NumPy's protocols, methods and attributes, Python's numbers, and what is refused."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import math
import operator
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import gradviz as gv

X = np.array([[1.5, -2.0, 3.0], [0.25, 4.0, -1.0]])


@pytest.fixture
def x():
    return gv.input(X, "x")


@pytest.fixture
def s():
    return gv.input(2.5, "s")


def plain(value):
    return value.value if isinstance(value, gv.Array) else value


# --- ordinary NumPy code --------------------------------------------------------------------------

EXPRESSIONS = """
x + 1 | 1 + x | x - 2.0 | 2.0 - x | x * True | True * x | x / 4 | 4 / x | x ** 2 | 2 ** x | x % 2
7 % x | x // 2 | 7 // x | -x | +x | abs(x) | x @ x.T | [1.0, 2.0] @ x | x + [1, 2, 3]
(1, 2, 3) * x | np.float32(2) * x | np.float64(2) * x | x * np.int64(3) | np.ones(3) - x
x * np.array([True, False, True]) | divmod(x, 2)[1] | divmod(7, x)[0] | x.sum() | x.sum(0)
x.sum(axis=1, keepdims=True) | x.mean(axis=-1) | x.prod() | x.std() | x.var(0) | x.max()
x.min(axis=1) | x.cumsum() | x.cumprod(axis=1) | x.T | x.mT | x.transpose() | x.transpose(1, 0)
x.transpose((1, 0)) | x.reshape(3, 2) | x.reshape((6,)) | x.reshape(-1)
x.reshape(3, -1, order="F") | x.ravel() | x.flatten() | x.squeeze() | x[None].squeeze(0)
x.swapaxes(0, 1) | x.repeat(2, axis=0) | x.diagonal() | x.trace() | x.take([0, 2], axis=1)
x.clip(0, 1) | x.clip(min=0) | x.clip(max=1.0) | x.round(1) | x.dot(x.T) | x.copy() | x.conj()
x.real | x.imag | x.astype(np.float32) | x.compress([True, False], axis=0) | x[0] | x[0, 1]
x[:, 1:] | x[..., None] | x[[0, 0, 1]] | x[x > 0] | x[np.array([1]), [2]] | x[-1][::-1]
np.sum(x, axis=0) | np.where(x > 0, x, 0) | np.maximum(x, 0) | np.clip(x, 0, None) | np.exp(x)
np.stack([x, x]) | np.concatenate((x, X), axis=1) | np.einsum("ij,kj->ik", x, X)
np.add.reduce(x) | np.add.outer(x[0], x[1]) | np.log(np.exp(x).sum(axis=1, keepdims=True))
np.linalg.norm(x, axis=1) | np.hypot(x, 1) | np.array(2.0) * x | np.median(x)
np.quantile(x, 0.3) | np.interp(x, [0, 4], [0, 1]) | np.unwrap(x) | np.add.reduceat(x, [0, 1])
np.linalg.qr(x)[1] | np.fft.rfft(x)[0] | np.multiply(x, 2, dtype=np.float64) | sum(list(x))
sum(row[0] for row in x)
"""


@pytest.mark.parametrize(
    "code", [e.strip() for e in EXPRESSIONS.replace("\n", "|").split("|") if e.strip()]
)
def test_an_expression_has_numpys_value_dtype_and_shape_and_is_recorded(x, code):
    value, expected = (eval(code, {"np": np, "X": X, "x": array}) for array in (x, X))
    assert isinstance(value, gv.Array)
    np.testing.assert_array_equal(value.value, expected)
    assert (value.shape, value.ndim, value.size, value.dtype) == (
        np.shape(expected), np.ndim(expected), np.size(expected), expected.dtype
    )  # fmt: skip


PLAIN_EXPRESSIONS = """
x > 0 | x >= X | x < 1 | 1 <= x | x == 1.5 | x != X | np.isnan(x) | np.isfinite(x) | x.argmax()
x.argmin(axis=1) | x.argsort() | x.any() | x.all() | x.nonzero()[0] | np.shape(x) | np.ndim(x)
np.size(x) | np.zeros_like(x, dtype=int) | np.full_like(x, 7.0) | np.allclose(x, X)
np.array_equal(x, X) | np.count_nonzero(x) | np.searchsorted(x[1], 2.0) | x.astype(int) | x.shape
x.dtype | len(x) | x.size | x.nbytes | x.itemsize | x.tolist() | x[0, 0].item()
np.where(x > 0)[0] | np.sign(x).astype(int) | np.iscomplexobj(x) | np.result_type(x)
np.logical_not(x) | np.argsort(x, axis=0) | np.flatnonzero(x > 0) | np.array_str(x)
np.linalg.matrix_rank(x) | np.linalg.norm(x, 0, 0) | (x > 0) & (x < 2) | np.histogram(x)[0]
"""


@pytest.mark.parametrize(
    "code", [e.strip() for e in PLAIN_EXPRESSIONS.replace("\n", "|").split("|") if e.strip()]
)
def test_what_has_no_derivative_is_plain(x, code):
    value, expected = (eval(code, {"np": np, "X": X, "x": array}) for array in (x, X))
    assert not isinstance(value, gv.Array)
    assert type(value) is type(expected)
    np.testing.assert_array_equal(value, expected)


def test_scalars_are_numbers(s):
    assert (float(s), int(s), complex(s), bool(s), s.item()) == (2.5, 2, 2.5 + 0j, True, 2.5)
    assert f"{s:.3f}" == "2.500"
    assert f"{s}" == repr(s)
    assert math.floor(s) == 2
    assert math.exp(float(s)) == math.exp(2.5)
    assert math.isfinite(s)
    assert round(s).value == 2.0
    assert not gv.input(0.0)
    assert [1, 2, 3][int(s)] == 3
    assert (s > 2, s > 2, s == 2.5, s != 2.5, s is None) == (True, True, True, False, False)
    assert max(s, gv.input(1.0)) is s
    assert sorted([s, gv.input(1.0)], key=float)[1] is s


def test_control_flow_is_recorded_as_it_ran():
    def program(x):
        while x > 1:
            x = x / 2
        return x if x > 0.7 else x * x

    assert gv.trace(program, 3.0).grad("x") == 0.25
    assert gv.trace(program, 4.0 + 1e-9).grad("x") == pytest.approx(2 * 0.5 * 0.125, rel=1e-6)


def test_iteration_length_and_unpacking(x, s):
    assert len(x) == 2
    a, b, c = x[0]
    assert (a.value, b.value, c.value) == (1.5, -2.0, 3.0)
    assert 4.0 in x[1]
    with pytest.raises(TypeError, match="0-d"):
        iter(s)
    with pytest.raises(TypeError):
        len(s)


def test_recorded_values_are_hashable_and_not_pickled(x):
    assert {x: 1}[x] == 1
    s = x[0, 0]
    assert copy.copy(s) is copy.deepcopy(s) is s  # a NumPy scalar never changes
    with pytest.raises(gv.TraceError, match="pickled"):
        pickle.dumps(x)


def test_a_copy_is_a_value_of_its_own_named_after_its_variable():
    @dataclasses.dataclass
    class Layer:
        weight: Any

    def program(x):
        layer = dataclasses.asdict(Layer(x))
        layer["weight"] += 1.0
        twin = copy.deepcopy(x)
        twin *= 2.0
        return np.sum(layer["weight"] * twin * x)

    point = np.array([1.0, 2.0])
    g = gv.trace(program, point)
    assert g.value("J") == program(point) == 2 * (1 + 1) + 2 * (8 + 4)
    assert g.grad("x").tolist() == [6 + 4, 24 + 8]
    assert "twin" in g.names


def test_astype_does_what_numpys_does():
    def narrow(x):
        return np.sum(x.astype(np.float32, casting="safe"))

    with pytest.raises(TypeError, match="Cannot cast"):
        gv.trace(narrow, np.ones(3))
    x = gv.input(np.ones((2, 3)), "x")
    assert x.astype(float, copy=False) is x
    assert x.astype(float) is not x
    assert x.astype(float, order="F").value.flags.f_contiguous
    assert x.astype(int).dtype == int
    assert x[0, 0].astype(np.float32).dtype == np.float32
    with pytest.raises(gv.TraceError, match="astype"):
        x.view(np.float32)


def test_a_later_change_of_the_users_array_does_not_reach_the_record():
    mine = np.array([1.0, 2.0])
    x = gv.input(mine)
    mine[:] = 9
    assert x.value.tolist() == [1, 2]


def test_a_buffer_that_is_used_again_and_again_is_recorded_as_it_was():
    def program(x):
        one_hot, total = np.zeros(3), 0.0
        order = np.array([2, 1, 0])
        for k in range(3):
            one_hot[k] = k + 1.0
            total = total + np.sum(x * one_hot) + np.dot(one_hot, x)
            total = total + np.where(one_hot > 0, x, 0)[k]
            one_hot[k] = 0.0
            total = total + x[order][0] * 10
            order[:] = k
        return total

    g = gv.trace(program, np.array([1.0, 2.0, 4.0]))
    assert g.grad("x").tolist() == [3 + 10, 5 + 10, 7 + 10]
    assert g.check()


def test_one_constant_stays_one_value_and_keeps_its_name(x):
    labels = np.array([[1, 0, 1], [0, 1, 0]])
    g = gv.trace(lambda x, labels: np.sum(x * labels) + np.sum(labels * x**2), X, labels)
    assert g.names.count("labels") == 1
    assert [node.operation.name for node in g.values].count("constant") == 1  # the exponent


def test_in_place_operators_on_scalars_bind_the_name_anew(s):
    total = s
    total += 1
    total *= s
    assert (total.value, s.value) == (8.75, 2.5)
    assert gv.graph(total).grad("s") == 6.0  # of (s + 1) s


def test_0d_results_are_numpy_scalars(x):
    for value in (
        x.sum(),
        np.where(True, x[0, 0], 0.0),
        x[0, 0].reshape(()),
        np.squeeze(x[:1, :1]),
    ):
        assert type(value.value) is np.float64


# --- what would lose history ----------------------------------------------------------------------

LOSSES = {
    "np.asarray(x)": "np.stack",
    "np.array([s, s])": "np.stack",
    "np.array([x, x])": "np.stack",
    "np.asarray([s, 1.0])": "np.stack",
    "np.full(3, s)": "np.stack",
    "np.random.default_rng(0).normal(s)": ".value",
    "np.sum([s, s])": "np.stack",
    "np.zeros(3).dot(s)": "",
    "buffer.__iadd__(x[0])": "add or an in-place operator",
    "np.add(buffer, x[0], out=buffer)": "in-place",
    "np.add.at(buffer, [0], s)": "add.at",
    "np.copyto(buffer, x[0])": "copyto",
    "x.partition(1)": "np.sort",
    "np.put(buffer, [0], s)": "",
    "np.sum(x, out=buffer[0:1].reshape(()))": "sum",
    "X[x[0, 0]]": "",
    "x[s]": "index",
    "x[0, s]": "index",
    "np.sum(x, initial=s)": "initial",
    "np.add(x, 1, where=X > 0)": "np.where",
    "np.matmul(x, x, axes=[(0, 1), (1, 0), (0, 1)])": "axes",
    "x + np.array([None, 1, 2])": "object",
    "x * np.array(['a', 'b', 'c'])": "",
    "np.apply_along_axis(lambda row: row, 1, [x, x])": "np.stack",
}


@pytest.mark.parametrize("code", LOSSES)
def test_lost_history_is_an_error_that_says_where_and_what_instead(x, s, code):
    names = {"np": np, "X": X, "x": x, "s": s, "buffer": np.zeros(3), "operator": operator}
    with pytest.raises((gv.TraceError, IndexError)) as error:
        eval(compile(code, "users_program.py", "eval"), names)
    if error.type is gv.TraceError:
        assert "users_program.py:1" in str(error.value)
        assert LOSSES[code] in str(error.value)
    assert not names["buffer"].any()


@pytest.mark.parametrize("place", ["[0]", "[0, 0]", "[...]", "[0:1]", "[[0]]"])
@pytest.mark.parametrize("sign", ["=", "+="])
def test_writing_a_recorded_value_into_a_buffer_is_an_error(place, sign):
    buffer = np.zeros((2, 2))
    names = {"buffer": buffer}
    exec(
        compile(f"def fill(s):\n    buffer{place} {sign} s * 2", "users_program.py", "exec"), names
    )
    with pytest.raises(gv.TraceError, match=r"users_program\.py:2"):
        gv.trace(names["fill"], 1.5)
    assert not buffer.any()
    # Outside a trace NumPy makes a ValueError of it, with ours as its cause.
    with pytest.raises((gv.TraceError, ValueError)) as error:
        names["fill"](gv.input(1.5))
    assert isinstance(error.value, gv.TraceError) or isinstance(
        error.value.__cause__, gv.TraceError
    )
    assert not buffer.any()


def test_writing_through_flat_is_an_error_too(s):
    buffer = np.zeros(2)
    with pytest.raises(ValueError, match="setting single item"):  # NumPy drops ours
        buffer.flat[0] = s
    assert not buffer.any()


def test_error_shows_the_users_line():
    def program(w):
        scaled = w * 2
        return np.sum(np.asarray_chkfinite(scaled))  # the culprit

    with pytest.raises(gv.TraceError, match=r"test_array\.py:\d+: return np\.sum\(np\.asarray_chk"):
        gv.trace(program, X)


def test_an_operation_without_a_rule_runs_and_fails_only_in_the_gradient():
    def program(w, v):
        middle = np.ptp(np.nextafter(w, w))
        return np.sum(v * middle)

    g = gv.trace(program, X[0], X, wrt="v")
    assert g.value("middle") == np.ptp(X[0])
    np.testing.assert_array_equal(g.grad("v"), np.full_like(X, np.ptp(X[0])))
    with pytest.raises(gv.TraceError, match=r"nextafter.*test_array\.py:\d+: middle = np\.ptp"):
        gv.trace(program, X[0], X, wrt="w").backward()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: np.sum(np.pad(x, 9, mode="reflect", reflect_type="odd")), "pad"),
        (lambda x: np.sum(np.linalg.svd(x.T)[0]), "full_matrices"),
        (lambda x: np.sum(np.linalg.qr(x.T, "complete")[0]), "complete"),
        (lambda x: np.sum(x * 1j), "J is complex"),
        (lambda x: np.linalg.det(np.kron(x.T @ x, np.eye(11))), "det of a singular"),
        (lambda x: np.sum(np.ravel(x, order="K")), "order"),
        (lambda x: np.sum(np.logaddexp.reduce(x, where=X > 0, initial=0.0)), "logaddexp.reduce"),
    ],
)
def test_forms_without_a_rule_are_refused_by_name(function, message):
    singular = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
    with pytest.raises(gv.TraceError, match=message):
        gv.trace(function, singular).gradients()


@pytest.mark.parametrize(
    "value", ["text", [None], {"a": 1}, np.array([object()]), np.datetime64("2020-01-01")]
)
def test_leaves_must_be_numbers(value):
    with pytest.raises(TypeError, match="only numbers"):
        gv.input(value, "bad")


def test_integers_and_booleans_become_floats_and_other_floats_stay():
    assert gv.input(3).dtype == float
    assert gv.input([True, False]).dtype == float
    assert gv.input(np.float32(1)).dtype == np.float32
    assert gv.input(np.float16(1)).dtype == np.float16
    assert gv.input(np.zeros((0, 3))).shape == (0, 3)


# --- the record -----------------------------------------------------------------------------------


def test_operands_and_keywords_are_kept_by_reference(x):
    total = np.sum(x, axis=0)
    assert total.operands == (x,)
    assert total.operands[0] is x
    assert dict(total.keywords) == {"axis": 0}
    assert total.order > x.order


def test_only_the_result_of_a_composed_function_bears_the_name():
    def program(x):
        spread = np.ptp(x)
        return spread * spread

    g = gv.trace(program, X)
    assert [n for n in g.names if n.startswith("spread")] == ["spread"]
    assert g.value("spread") == 6.0


def test_what_is_computed_while_a_generator_pauses_is_not_in_its_scope(s):
    def halves(name):
        with gv.scope(name):
            yield s / 2
            with gv.scope("inner"):
                yield s / 4
            yield s / 8

    first, second = halves("first"), halves("second")
    scopes = []
    for _ in range(3):
        scopes += [next(first).scope, next(second).scope, (s * 1).scope]
    inner = [("first", "inner"), ("second", "inner"), ()]
    assert scopes == [("first",), ("second",), (), *inner, ("first",), ("second",), ()]
    first.close()
    with gv.scope("other"):
        assert (s * 1).scope == ("other",)
        second.close()
    assert (s * 1).scope == ()

    @contextlib.contextmanager
    def layer(name):
        with gv.scope(name):
            yield

    with layer("layer"):  # made of a generator, but meant for what is inside
        assert (s * 1).scope == ("layer",)


def test_a_generator_that_another_thread_began_ends_without_a_word(capsys):
    def generator():
        with gv.scope("there"):
            yield

    begun = generator()
    thread = threading.Thread(target=next, args=(begun,))
    thread.start()
    thread.join()
    del begun
    gc.collect()
    assert capsys.readouterr().err == ""


def test_scopes_nested_too_deeply_for_a_picture_are_refused_with_the_line(s):
    def recursive(depth):
        with gv.scope("call"):
            return recursive(depth - 1) if depth else s * 1

    assert recursive(99).scope == ("call",) * 100
    with pytest.raises(gv.TraceError, match=r"number 101 of nested ones.*with gv\.scope"):
        recursive(100)
    assert (s * 1).scope == ()


def test_scopes_nest_and_end_also_after_an_error(s):
    with gv.scope("layer"), gv.scope("neuron"):
        inner = s * 2
    with pytest.raises(ZeroDivisionError), gv.scope("broken"):
        _ = 1 / 0
    assert (inner.scope, (s * 3).scope) == (("layer", "neuron"), ())


def test_a_composed_function_that_fails_leaves_nothing_half_done():
    steps = []

    def program(x):
        with pytest.raises(ValueError, match="equal division"):
            np.split(x, 4, axis=1)
        steps.append(x)
        return np.sum(x)

    assert [node.operation.name for node in gv.trace(program, X).values] == ["input", "sum"]


def test_threads_do_not_mix():
    graphs = {}
    barrier = threading.Barrier(4)

    def work(k):
        def program(x):
            for _ in range(50):
                barrier.wait()
                x = np.sin(x) * (k + 1.0)
            return x

        with gv.scope(f"thread{k}"):
            graphs[k] = gv.trace(program, 0.5 + k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, graph in graphs.items():
        operations = [node for node in graph.values if node.operation.name == "multiply"]
        assert len(operations) == 50
        assert {node.operands[1] for node in operations} == {k + 1.0}


def test_own_rows_import_neither_autograd_nor_networkx_nor_a_renderer():
    code = """
import sys, numpy as np, gradviz as gv
x = gv.input([[2.0, 1.0], [1.0, 3.0]])
y = np.sum(np.exp(x @ x.T)[0] * np.linalg.norm(x)) + np.var(x) + np.where(x > 0, x, 0).max()
gv.graph(y).gradients()
heavy = {"autograd", "scipy", "networkx", "graphviz", "graphviz_pure", "torch"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- numbers read as plain ones, and arrays that change later -------------------------------------


@pytest.mark.parametrize(
    ("code", "instead"),
    [
        ("math.exp(s)", "np.exp"),
        ("math.atan2(s, 1)", "np.arctan2"),
        ("buffer.fill(s)", "np.stack"),
        ("np.fromiter([s, s], float)", "np.stack"),
    ],
)
def test_a_function_that_takes_a_number_unseen_is_refused(tmp_path, code, instead):
    file = tmp_path / "users_program.py"  # what is called there is read off the source
    file.write_text(f"def program(s):\n    return {code} * s\n")
    names = {"math": math, "np": np, "buffer": np.zeros(3)}
    exec(compile(file.read_text(), str(file), "exec"), names)
    with pytest.raises(gv.TraceError, match=rf"{instead}.*users_program\.py:2"):
        gv.trace(names["program"], 2.5)


@pytest.mark.parametrize("how", ["float(w)", "w.item()", "complex(w).real"])
def test_a_gradient_that_is_zero_because_of_a_plain_number_says_so(how):
    names = {}
    exec(f"def program(w, x):\n    scale = {how}\n    return x * scale", names)
    g = gv.trace(names["program"], 2.0, 3.0)
    assert g.grad("x") == 2
    reader = how.replace("w", "").replace("(.", "(").split(".real")[0]
    with pytest.warns(UserWarning, match="w was read as a plain number by") as caught:
        assert g.grad("w") == 0
    assert reader.strip("()") in str(caught[0].message)
    assert caught[0].filename == __file__


def test_a_failed_check_lists_the_numbers_that_were_read():
    g = gv.trace(lambda x: float(x) * x, 3.0)
    with pytest.warns(UserWarning, match="its history ended there: x by float"):
        assert g.grad("x") == 3
    found = g.check()
    assert not found
    assert "x was read as a plain number by float() at" in found.text


def test_a_program_that_ends_its_history_is_told_where():
    with pytest.raises(gv.TraceError, match=r"float\(\) ended its history at .*test_array\.py:\d+"):
        gv.trace(lambda x: float(x) * 2, 3.0)


def test_lists_and_views_are_recorded_as_they_were():
    def program(x):
        order, counts, weights = [0, 1], [1, 2, 1], [1.0, 2.0, 3.0]
        first, repeated, weighed = x[order], np.repeat(x, counts), x * weights
        order[0], counts[1], weights[0] = 2, 1, 9.0
        base = np.ones(3)
        view, wide = base[:], np.broadcast_to(base, (2, 3))
        view.flags.writeable = False
        before = x * view + np.sum(x * wide, axis=0)
        base[:] = 5.0
        after = x * view + np.sum(x * wide, axis=0)
        total = np.sum(first**2) + np.sum(repeated**3) + np.sum(weighed**2)
        return total + np.sum(before**2) + np.sum(after**2)

    g = gv.trace(program, np.array([0.5, -1.0, 2.0]))
    assert all(row.ok for row in g.check(detail="operations").rows)


def test_what_a_graph_hands_out_cannot_be_changed():
    g = gv.trace(lambda x: np.sum(x * x), X)
    for array in (g.value("x"), g.grad("x"), g.gradients()["x"]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    np.testing.assert_array_equal(g.grad("x"), 2 * X)


def test_membership_is_numpys(x):
    assert 4.0 in x
    assert 5.0 not in x


def test_errors_inside_a_rule_name_the_users_line():
    def program(x):
        inverse = np.linalg.pinv(x)  # fine
        return np.sum(inverse) + np.sum(np.linalg.qr(x[:, :1], "complete")[0])  # free columns

    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(gv.TraceError, match=r"qr.*test_array\.py:\d+.*free columns"):
        gv.trace(program, singular).gradients()


def test_warnings_point_at_the_users_line():
    def program(x):
        return np.sum(np.log(x))

    with pytest.warns(RuntimeWarning, match="divide by zero") as caught:
        gv.trace(program, np.array([0.0, 1.0]))
    assert caught[0].filename == __file__
    with np.errstate(all="ignore"):
        gv.trace(program, np.array([0.0, 1.0]))
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        gv.trace(program, np.array([0.0, 1.0]))


class Derived(np.ndarray):
    """An array with a unit, say."""


class Labelled:
    """What computes by its own rules, as a pandas Series does."""

    def __array__(self, dtype=None, copy=None):
        return np.ones(3)

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        return NotImplemented

    def to_numpy(self):
        return np.ones(3)


MORE = {
    "filled": np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
    "@": np.ones((1, 3)).view(np.matrix),
    "asarray": np.ones(3).view(Derived),
    "field": np.array([(1.0, 2)] * 3, dtype=[("a", float), ("b", int)]),
    "['field']": np.rec.array([(1.0, 2)] * 3, dtype=[("a", float), ("b", int)]),
    "tolist": np.array([1.0, 2.0, None], dtype=object),
    "to_numpy": Labelled(),
}
DOORS = {
    "input": lambda more: gv.input(more, "x"),
    "parameter": lambda more: gv.parameter([more, more]),
    "expression": lambda more: gv.expression("2 * x", x=more),
    "argument": lambda more: gv.trace(lambda x, y: np.sum(x * y), np.ones(3), more),
    "nested": lambda more: gv.trace(
        lambda x, p: np.sum(x * p["a"][0]), np.ones(3), p={"a": [more]}
    ),
    "update": lambda more: gv.trace(np.sum, np.ones(3)).update({"a": more}),
    "grad": lambda more: gv.grad(lambda x: np.sum(x))(more),
    "constant": lambda more: gv.trace(lambda x: np.sum(x * more), np.ones(3)),
    "constant first": lambda more: gv.trace(lambda x: np.sum(np.add(more, x)), np.ones(3)),
    "of a function": lambda more: gv.trace(lambda x: np.sum(np.dot(more, x)), np.ones(3)),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("instead", MORE)
def test_an_array_that_is_more_than_its_numbers_is_refused_at_every_door(door, instead):
    with pytest.raises((TypeError, gv.TraceError)) as refused:
        DOORS[door](MORE[instead])
    if door not in ("constant", "constant first", "of a function") or isinstance(
        MORE[instead], (np.ma.MaskedArray, np.matrix, Derived, Labelled)
    ):
        assert instead in str(refused.value)


def test_what_is_no_array_of_floats_goes_through_as_it_is():
    names, rows = np.array(["a", None], dtype=object), np.array([(1, 2)], dtype="i4,i4")

    def program(x, names, rows):
        return np.sum(x) * rows["f0"][0] * (names[0] == "a")

    assert gv.trace(program, np.ones(2), names, rows).grad("x").tolist() == [1, 1]


def test_an_array_in_a_file_is_copied(tmp_path):
    mapped = np.memmap(tmp_path / "x", dtype=float, shape=(3,), mode="w+")
    mapped[:] = [1.0, 2.0, 3.0]
    assert gv.trace(lambda x: np.sum(x * x), mapped).grad("x").tolist() == [2, 4, 6]
    g = gv.trace(lambda x: np.sum(x * mapped + np.multiply(mapped, x)), np.ones(3))
    mapped[:] = 0
    assert g.grad("x").tolist() == [2, 4, 6]


def test_the_type_of_a_recorded_value_makes_no_other():
    with pytest.raises(gv.TraceError, match=r"type\(x\) of a recorded value.*test_array.py"):
        gv.trace(lambda x: type(x)(2.0) * x, 1.5)
    assert gv.trace(lambda x: x * math.trunc(x), 2.5).grad("x") == 2
