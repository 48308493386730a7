"""The table beside the picture, and a Graph as a table of pandas."""

import importlib.util
import sys

import numpy as np
import pytest

import gradviz as gv


def loss(w, b, x, t):
    z = w @ x + b
    a = 1 / (1 + np.exp(-z))
    return 0.5 * np.sum((t - a) ** 2)


@pytest.fixture
def neuron():
    arguments = np.arange(6.0).reshape(2, 3), np.ones(2), np.full(3, 0.1), np.ones(2)
    return gv.trace(loss, *arguments, wrt=("w", "b"))


def test_a_program_without_scopes_has_a_row_for_each_value(neuron):
    found = neuron.summary()
    rows = {row.scope[-1]: row for row in found.rows if row.scope}
    assert [*rows] == ["w", "b", "x", "t", "z", "a", "J"]
    assert rows["z"].kind == "w @ x + b"
    assert rows["w"].shape == (2, 3)
    assert (rows["w"].parameters, rows["w"].share, rows["x"].parameters) == (6, 0.75, 0)
    assert rows["w"].value == pytest.approx(np.linalg.norm(np.arange(6.0)))
    assert rows["w"].gradient == pytest.approx(np.linalg.norm(neuron.grad("w")))
    assert rows["x"].gradient is None
    (program,) = [row for row in found.rows if not row.scope]
    both = np.concatenate([neuron.grad("w").ravel(), neuron.grad("b")])
    assert program.gradient == pytest.approx(np.linalg.norm(both))
    assert (program.parameters, program.share) == (8, 1.0)


def test_scopes_hold_the_parameters_that_only_they_read():
    found = gv.examples.backprop_222().summary()
    counts = {"/".join(row.scope): row.parameters for row in found.rows}
    assert counts == {"": 11, "h1": 2, "h2": 2, "o1": 3, "o2": 3}  # h1 and h2 share b1
    assert found.text.startswith("scope")


def test_a_gradient_that_is_no_number_is_told_in_words():
    def f(used, unused):
        dead = unused * 0.0
        return used**2 + dead

    graph = gv.trace(f, 3.0, 2.0)
    rows = {row.scope[-1]: row for row in graph.summary().rows if row.scope}
    assert rows["unused"].state == "zero"
    assert "0 exactly" in graph.summary().text
    assert rows["used"].gradient == 6


def test_a_row_holds_what_is_in_it_to_any_depth():
    def f(w):
        with gv.scope("outer"):
            y = w * w
            with gv.scope("inner"):
                y = np.sin(y)
            y = y + 1
        return np.sum(y)

    graph = gv.trace(f, np.ones(3))
    shapes = {"/".join(row.scope): row.shape for row in graph.summary().rows}
    assert shapes == {"": (), "outer": (3,), "outer/inner": (3,)}
    assert [row.scope for row in graph.summary(1).rows] == [(), ("outer",)]
    assert [row.scope for row in graph.summary(0).rows] == [()]
    for wrong in (-1, 1.5, "all"):
        with pytest.raises(ValueError, match="depth"):
            graph.summary(wrong)


def test_a_notebook_shows_it_as_a_table_in_which_names_are_harmless():
    with gv.scope("<script>\u202e"):
        graph = gv.graph(gv.parameter(2.0, "w") * 3)
    shown = graph.summary()._repr_mimebundle_()
    assert shown["text/plain"] == graph.summary().text
    assert "<script>" not in shown["text/html"]
    assert "&lt;script&gt;" in shown["text/html"]
    assert "\u202e" not in "".join(shown.values())
    lines = graph.summary().text.splitlines()
    assert len({len(line) for line in lines[:2]}) == 1


def test_it_draws_the_graph_and_is_saved_as_text(neuron, tmp_path):
    assert "<svg" in neuron.summary().draw().svg
    neuron.summary().save(tmp_path / "table.txt")
    assert "w @ x + b" in (tmp_path / "table.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="needs pandas")
def test_a_data_frame_has_a_row_for_each_value(neuron):
    import pandas

    frame = neuron.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert [*frame["name"]] == neuron.names
    assert frame.index.name == "id"
    w = frame.loc[neuron.id("w")]
    assert (w["op"], w["kind"], w["shape"], w["dtype"]) == (
        "parameter", "parameter", (2, 3), "float64",
    )  # fmt: skip
    assert (w["min"], w["mean"], w["max"], w["size"]) == (0, 2.5, 5, 6)
    assert w["norm"] == pytest.approx(np.linalg.norm(np.arange(6.0)))
    assert w["grad_norm"] == pytest.approx(np.linalg.norm(neuron.grad("w")))
    assert w["grad_state"] == "number"
    assert np.isnan(frame.loc[neuron.id("x"), "grad_norm"])
    assert frame["memory"].isna().all()
    assert "test_summary.py:" in frame.loc[neuron.id("z"), "source"]
    assert frame.groupby("kind")["size"].sum()["parameter"] == 8


def test_without_pandas_the_error_says_what_to_install(neuron, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"gradviz-dag\[pandas\]"):
        neuron.to_pandas()


def test_what_cannot_be_differentiated_is_told_without_gradients():
    graph = gv.trace(lambda x: np.stack([x, x]) * 2, np.ones(2))
    assert all(row.gradient is None for row in graph.summary().rows)
