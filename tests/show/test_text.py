"""The text twin: what the picture shows, in order, in sentences."""

import re

import graphs
import numpy as np

import gradviz as gv
from gradviz.highlight import Highlight
from gradviz.show.text import to_text


def lines(text, start):
    return [line for line in text.splitlines() if start in line]


def test_the_twin_of_the_article_has_its_published_numbers():
    text = to_text(graphs.article())  # Mazur (2015): 0.298371109, 0.082167041, 0.000438568
    assert "J = E_o1 + E_o2 = 0.29837; this is the output." in text
    assert "w5 has the gradient 0.082167:" in text
    assert "w1 has the gradient 0.00043857:" in text


def test_values_come_before_gradients_and_both_in_the_order_of_their_pass():
    text = to_text(graphs.article())
    forward, backward = text.split("Backward pass")
    named = re.findall(r"^ *\d+\. (?:In \w+: )?(\w+) = ", forward, flags=re.MULTILINE)
    assert named == "z_h1 a_h1 z_h2 a_h2 z_o1 a_o1 z_o2 a_o2 E_o1 E_o2 J".split()
    reached = re.findall(r"^ *\d+\. (\w+) has", backward, flags=re.MULTILINE)
    assert [name for name in reached if name in named] == named[::-1]


def test_a_gradient_is_told_as_the_sum_of_its_messages():
    text = to_text(graphs.colah())  # colah: ∂e/∂b = 5, by two paths
    told = text.splitlines()
    at = next(i for i, line in enumerate(told) if "b has the gradient 5, the sum of 2" in line)
    assert told[at + 1 : at + 3] == [
        "     c's gradient 2 times the local derivative 1 gives 2.",
        "     d's gradient 3 times the local derivative 1 gives 3.",
    ]


def test_each_reading_of_a_cached_gradient_is_counted():
    x = gv.input(2.0, "x")
    cube = x * x * x  # v_1 = x * x; cube = v_1 * x
    text = gv.graph(cube).draw().text
    assert "x has the gradient 12, the sum of 3 messages:" in text  # 3 x²
    assert len(lines(text, "(cached, read the 2nd time)")) == 2
    assert "Gradients cached once and read again: of cube (2 times) and v_1 (2 times)." in text


def test_the_six_states_of_a_gradient_are_told_apart():
    text = to_text(graphs.states())
    for words in (
        "number has the gradient 0.25",
        "zero has the gradient 0 exactly",
        "underflown has the gradient 0 by underflow",
        "non_finite has the gradient inf, which is not finite",
        "No path leads to number, so the gradient is 0: disconnected.",
        "No gradient was asked for: not_computed.",
    ):
        assert words in text


def test_arrays_are_told_by_shape_and_range():
    text = to_text(graphs.mlp())
    assert "params.w1 (784×128, from " in text
    assert max(map(len, text.splitlines())) < 400


def test_both_levels_of_detail_have_a_twin():
    graph = gv.examples.backprop_222()
    assert "a_h1 = sigmoid(z_h1) = 0.59327" in to_text(graph.statements)
    assert "exp(" in to_text(graph)
    assert graph.draw().text == to_text(graph.statements)


def test_a_ledger_is_told_first_and_what_is_not_needed_is_left_out():
    reuse = gv.examples.backprop_222().reuse("w5", "b2", "w1")
    text = reuse.draw().text
    assert "cached upstream term, ×k = read k times: J ×2 and z_o1 ×3." in text
    assert "w8" not in text.split("Forward pass")[1].replace("w8 * a_h2", "")
    assert lines(text, "Left out: ")


def test_each_path_is_told_from_its_beginning_to_the_output():
    text = gv.examples.backprop_222().explain("w1").draw().text
    assert "w1 → z_h1 → a_h1 → z_o1 → a_o1 → J." in text
    assert "w1 → z_h1 → a_h1 → z_o2 → a_o2 → J." in text


def test_marks_are_told():
    text = to_text(graphs.colah(), highlight=Highlight(marks={0: True, 1: False}))
    assert "Proved: the gradient of a." in text
    assert "Not proved: the gradient of b." in text


def test_shown_nodes_alone_are_told():
    text = to_text(graphs.article(), show=["o1"])
    assert "z_o1 = w5 * a_h1 + w6 * a_h2 + b2" in text
    assert "z_o2 =" not in text


def test_names_cannot_control_a_terminal():
    text = to_text(graphs.weird())
    assert all(c.isprintable() or c in "\n\u200d" for c in text)
    text.encode()


def test_a_large_graph_is_told_by_its_boxes():
    x = gv.input(1.0, "x")
    y = x
    for _ in range(1000):
        y = y + x
    text = gv.graph(y).draw().text
    assert "999 nodes are folded into 1 box" in text
    assert "iterations 2–1000 (999 operations): paths to y(1000) 1000" in text
    assert "y → iterations 2–1000: ‖·‖ 1." in text
    assert len(text) < 10_000


def test_saving_as_txt_writes_the_twin(tmp_path):
    graph = gv.trace(lambda w: np.sum(w**2), np.array([1.0, 2.0]))
    graph.save(tmp_path / "w.txt")
    assert (tmp_path / "w.txt").read_text(encoding="utf-8") == graph.draw().text
