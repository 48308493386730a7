"""Names of values: the variables that the program assigns them to; and their source lines."""

import itertools
import linecache
import operator
import subprocess
import sys

import numpy as np
import pytest
from counting import called_functions

import gradviz as gv


def names(function, *args):
    g = gv.trace(function, *args)
    return [g.names[i] for i in sorted(g.named) if not g.is_leaf(i)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_plain_assignments():
    def f(x):
        y = x * 2
        z = np.exp(y) + 1
        return z

    assert names(f, 1.0) == ["y", "z"]


def test_what_a_helper_returns_is_named_by_its_caller():
    def f(x):
        a_h1 = sigmoid(x * 2)
        a_h2 = sigmoid(a_h1 * 3)
        J = a_h2 * a_h2
        return J

    assert names(f, 1.0) == ["a_h1", "a_h2", "J"]


def test_what_is_handed_on_through_several_helpers_is_named_where_it_ends():
    def inner(x):
        return np.exp(x) * 2

    def outer(x):
        return inner(x + 1)

    def f(x):
        a = outer(x)
        b = outer(a)
        return a * b

    assert names(f, 1.0) == ["a", "b", "J"]


def test_tuples_attributes_items_walrus_and_annotations():
    class Store:
        pass

    def f(x):
        store, cache = Store(), {}
        p, q = x * 2, np.sin(x)
        store.hidden = p + q
        cache["out"] = store.hidden * 2
        if (r := cache["out"] + 1) is not None:
            s: object = r * 3
        return s

    assert names(f, 1.0) == ["p", "q", "hidden", "out", "r", "s"]


def test_methods_and_indexing_and_multiline_expressions():
    def f(x):
        total = x.sum(axis=0)
        part = total[1:]
        long = (
            part
            * 2
        )  # fmt: skip
        return long.mean()

    assert names(f, np.ones((3, 3))) == ["total", "part", "long", "J"]


def test_a_name_assigned_again_is_numbered():
    def f(h):
        for _ in range(3):
            h = np.tanh(h)
        return h

    assert names(f, 1.0) == ["h(2)", "h(3)", "h(4)"]


def test_one_name_in_several_scopes_is_qualified():
    def f(x):
        for n in range(2):
            with gv.scope(f"layer{n}"):
                z = x * 2
                x = z + 1
        return x * 1

    assert "layer0.z" in names(f, 1.0)
    assert "layer1.z" in names(f, 1.0)


def test_leaves_take_the_variables_name_too():
    w = gv.parameter(2.0)
    g = gv.graph(w * 3)
    assert g.names[0] == "w"


def test_names_are_unique_whatever_the_program_calls_its_values():
    def f(v_1, x):
        c_1 = v_1 * x + 2
        v_2 = (c_1 + 1) * (x * 3)
        return v_2

    g = gv.trace(f, 1.0, 2.0)
    assert len(set(g.names)) == len(g.names)
    for name in ("v_1", "c_1", "v_2"):
        assert g.names[g.id(name)] == name


def test_each_value_knows_its_source_line():
    def f(x):
        y = x * 2  # here
        return sigmoid(y)

    g = gv.trace(f, 1.0)
    site = g.source(g.id("y"))
    file, line, text = site
    assert (site.file, site.line, site.text) == (file, line, text)
    assert file == __file__
    assert text == "y = x * 2  # here"
    assert line == f.__code__.co_firstlineno + 1
    assert g.source(g.output)[2] == "return 1 / (1 + np.exp(-z))"


def test_names_without_source_code():
    code = "import gradviz as gv\nx = gv.input(2.0, 'x')\ny = x * x\nprint(gv.graph(y * 3).names)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "'y'" in result.stdout


def test_executed_text_is_not_read_as_the_lines_of_another(monkeypatch):
    # Python 3.13 keeps the text of `python -c` under the name that all executed text has.
    lines = ["other = 1\n", "other = 2\n", "other = 3\n"]
    monkeypatch.setitem(linecache.cache, "<string>", (30, None, lines, "<string>"))
    space = {}
    exec("def f(x):\n a = x * 1.5\n return a + 1.0", space)
    graph = gv.trace(space["f"], 0.5)
    assert "a" in graph.names
    assert all(source is None or "other" not in source.text for source in
               (graph.source(i) for i in range(len(graph))))  # fmt: skip


def test_naming_values_without_source_code_takes_a_time_in_proportion_to_their_number():
    def work(count):
        lines = [f" v{i} = x * 1.5\n x = v{i} + 1.0" for i in range(count)]
        space = {}
        exec("def f(x):\n" + "\n".join(lines) + "\n return x", space)
        graph = gv.trace(space["f"], 0.5)
        calls = called_functions(lambda: graph.names)
        assert {"v0", f"v{count - 1}"} < set(graph.names)
        return calls

    assert work(1200) < 5 * work(300)


def test_a_constant_array_has_the_name_it_was_read_by():
    class Model:
        C = np.array([[1.0, 2.0]])

    def loss(q):
        A = np.eye(2)
        x = A @ (q * np.ones(2))  # the latter has no name
        y = A @ x - Model.C @ A.T @ x
        return np.sum(y * y)

    g = gv.trace(loss, 0.5)
    constants = [
        g.names[i] for i in range(len(g)) if g.kind(i) == "constant" and g.values[i].value.ndim
    ]
    assert constants == ["c_1", "A", "c_2"]  # of C only the product was computed
    assert (g.value("A") == np.eye(2)).all()

    def swapped(q, A):
        return np.sum(np.subtract(A, q) * A)

    def filtered(q):
        P, h, M = np.eye(2), np.zeros(2), np.array([[1.0, 2.0], [3.0, 4.0]])
        for _ in range(2):
            P = M @ P @ M.T + q * np.eye(2)
            h = P @ (h + 1) - M.T @ np.ones(2)
        return np.sum(h)

    g = gv.trace(filtered, 0.5)
    assert {"I", "M", "M.T"} <= {*g.names}  # what P and h begin with is computed with at once
    shown = {row["name"]: row["expression"] for row in g.statements.table.nodes.values()
             if row["expression"]}  # fmt: skip
    assert shown["P(2)"] == "M @ P @ M.T + q * I"
    assert not {"I", "M.T"} & {*g.statements.names}

    def rolled(w):
        h = np.zeros(2)
        for _ in range(2):
            h = np.tanh(w * h + 1)
        return np.sum(h)

    g = gv.trace(rolled, 0.5)
    assert g.names[:3] == ["w", "h(0)", "v_1"]
    assert (g.value("h(0)") == 0).all()

    g = gv.trace(swapped, 0.5, np.eye(2), wrt="q")
    assert "A" in g.names
    assert "c_1" not in g.names


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.modf(x)[0].sum(),
        lambda x: np.corrcoef(x).sum(),
        lambda x: np.gradient(x)[0].sum(),
        lambda x: np.geomspace(x[0, 0], x[1, 1]).sum(),
        lambda x: np.average(x, weights=x),
        lambda x: np.percentile(x, 30),
        lambda x: np.polyfit(x[0], x[1], 1).sum(),
        lambda x: sum(map(np.sinc, itertools.accumulate(x[0], operator.mul))),
    ],
)
def test_what_a_library_computes_with_operators_is_computed_where_it_was_called(function):
    g = gv.trace(function, np.array([[1.5, 2.5, 3.5], [4.5, 5.0, 6.5]]))
    found = {g.source(i)[:2] for i in range(len(g)) if not g.is_leaf(i)}
    assert found == {(__file__, function.__code__.co_firstlineno)}


def test_what_is_unpacked_has_the_variables_that_it_is_unpacked_to():
    def decomposed(x):
        q, r = np.linalg.qr(x)
        values, vectors = np.linalg.eigh(x @ x.T)
        (u, _), v = np.linalg.qr(x), 3  # not unpacked from what is called
        return np.sum(q * r) + np.sum(values) + np.sum(vectors) + np.sum(u) * v

    square = np.array([[2.0, 1.0], [0.5, 3.0]])
    g = gv.trace(decomposed, square)
    (q, r), (values, vectors) = np.linalg.qr(square), np.linalg.eigh(square @ square.T)
    expected = {"q": q, "r": r, "values": values, "vectors": vectors}
    assert {*names(decomposed, square)} == {*expected, "J"}
    for name, value in expected.items():
        np.testing.assert_allclose(g.value(name), value)

    def gates(z, c):
        for _ in range(2):
            i, f, o = np.split(z, 3)
            c = np.tanh(i) * np.exp(f) + o * c
        return np.sum(c)

    z = np.arange(6.0)
    g = gv.trace(gates, z, np.ones(2))
    for name, piece in {"i": z[:2], "f": z[2:4], "o": z[4:], "f(2)": z[2:4]}.items():
        np.testing.assert_array_equal(g.value(name), piece)


def test_what_is_cut_has_no_name_where_it_is_not_clear_which():
    def unused(x, kept=()):
        for n in (1, 2):
            _, b = np.split(x, [n])
            kept = (*kept, b)
        return np.sum(kept[0]) * np.sum(kept[1])

    def several(x):
        a, *rest = np.split(x, 3)
        pieces = np.split(x, 3)
        return np.sum(a * rest[0]) + np.sum(pieces[0] * pieces[1])

    def rows(x):
        a, b, c = x
        return a * b + np.exp(c)

    for function in (unused, several, rows):
        assert names(function, np.arange(3.0)) == ["J"]
    space = {"np": np}
    exec("def rows(x):\n    a, b, c = x\n    return a * b * c", space)  # without its source
    assert names(space["rows"], np.arange(3.0)) == ["J"]
