"""Arrays in a real browser: a page trains a network of them by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gradviz as gv

pytestmark = pytest.mark.browser


def classifier(W1, b1, W2, b2, x, y):
    h = np.maximum(x @ W1 + b1, 0)
    logits = h @ W2 + b2
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -np.mean(np.sum(y * log_p, axis=1))


@pytest.fixture(scope="module")
def digits():
    """A network of 64-16-10 on 200 of the digits of scikit-learn (from UCI's repository)."""
    with np.load(Path(__file__).parent.parent / "fixtures" / "digits.npz") as data:
        x, y = data["images"] / 16, np.eye(10)[data["digits"]]
    rng = np.random.default_rng(0)
    W1, W2 = rng.normal(size=(64, 16)) * np.sqrt(2 / 64), rng.normal(size=(16, 10)) / 4
    leaves = (W1, np.zeros(16), W2, np.zeros(10), x, y)
    return gv.trace(classifier, *leaves, wrt=("W1", "b1", "W2", "b2"))


def test_a_classifier_of_digits_trains_in_the_page_as_in_python(opened, digits):
    page = opened(digits)
    page.get_by_role("button", name="Take 10 steps").click()
    page.wait_for_function("gradviz.get('history').length === 11", timeout=60000)
    graphs = [digits]
    for _ in range(10):
        graphs.append(graphs[-1].step(0.5))
    expected = [float(graph.values[graph.output].value) for graph in graphs]
    found = page.evaluate("gradviz.get('history')")
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    assert expected[-1] < 0.7 * expected[0]
    # The gradients of the last step, too.
    norms = page.evaluate("gradviz.get('numbers').grads.map((q) => q && q.norm)")
    shown = graphs[-1].statements
    for name in ("W1", "b1", "W2", "b2"):
        i = shown.id(name)
        assert np.isclose(norms[i], np.linalg.norm(shown.adjoint(i)), rtol=1e-9)


def typed(page, label, text):
    field = page.get_by_role("textbox", name=label)
    field.fill(text)
    field.press("Enter")
    return field


def value(page, i):
    return page.evaluate(f"gradviz.get('numbers').values[{i}]")


def test_changes_are_undone_redone_and_reset_and_only_parameters_are_trained(opened):
    graph = gv.trace(lambda w, x: np.sum((w * x - 1) ** 2), np.array([0.5, 2.0]), 3.0, wrt="w")
    page = opened(graph)
    assert "move: w" in page.locator(".training").inner_text()
    page.get_by_role("button", name="Take 1 step of").click()
    page.wait_for_function("gradviz.get('history').length === 2")
    trained = graph.step(0.5)
    assert value(page, graph.id("x")) == 3
    assert value(page, graph.output) == pytest.approx(trained.values[graph.output].value)
    page.locator("g.node").filter(has_text="w").first.click()
    typed(page, "New value of w", "[1, 1]")
    assert value(page, graph.output) == 8
    for name, expected in (
        ("Undo the last", trained.values[graph.output].value),
        ("Undo the last", graph.values[graph.output].value),
        ("Redo", trained.values[graph.output].value),
        ("Redo", 8.0),
        ("Back to the values", graph.values[graph.output].value),
        ("Undo the last", 8.0),
    ):
        page.get_by_role("button", name=name).click()
        assert value(page, graph.output) == pytest.approx(expected)
    page.get_by_role("button", name="Undo the last").click()
    assert page.get_by_role("button", name="Redo").is_enabled()


def test_a_number_is_typed_nudged_and_dragged_and_the_slider_follows(opened):
    graph = gv.expression("x * x", x=2.0)
    page = opened(graph)
    page.locator("g.node").filter(has_text="x").first.click()
    field = typed(page, "New value of x", "40")
    slider = page.get_by_role("slider", name="New value of x")
    assert slider.input_value() == "40"
    field.press("ArrowDown")
    assert value(page, 0) == 39
    field.press("Shift+ArrowUp")
    assert value(page, 0) == 49
    for text, words in (("0x10", "is no number"), ("1e400", "beyond the range of numbers")):
        typed(page, "New value of x", text)
        assert words in page.locator(".notice").inner_text()
        assert value(page, 0) == 49


def test_a_learning_rate_beyond_reason_and_a_loss_that_runs_away_are_said(opened):
    page = opened(gv.expression("w**4", w=2.0))
    alarm = page.locator(".alarm")
    assert not alarm.is_visible()
    typed(page, "Learning rate", "-1")
    assert "not above 0" in alarm.inner_text()
    page.get_by_role("button", name="Take 1 step of").click()  # it leads up, η is not too large
    assert "not above 0" in alarm.inner_text()
    page.get_by_role("button", name="Undo the last change").click()
    typed(page, "Learning rate", "100")
    assert "moves w by 1.6×10³ times its own size" in alarm.inner_text()
    page.get_by_role("button", name="Take 1 step of").click()
    assert "rose from 16 to" in alarm.inner_text()
    page.get_by_role("button", name="Take 100 steps").click()
    assert "left the range of numbers at step" in alarm.inner_text()
    page.get_by_role("combobox", name="Language").select_option("zh")
    assert "超出了数的范围" in page.locator(".alarm").inner_text()


def test_a_linear_map_is_defined_once_and_then_told_by_what_it_does(opened):
    def loss(W, b, x):
        z = x @ W + b
        return np.mean(np.tanh(z) ** 2)

    x = np.arange(6.0).reshape(3, 2) / 7
    graph = gv.trace(loss, np.eye(2), np.array([0.5, -0.25]), x, wrt=("W", "b"))
    page = opened(graph)
    page.get_by_role("button", name="To the beginning").click()
    told = []
    while "both passes done" not in page.locator(".counter").first.inner_text():
        page.get_by_role("button", name="One step on").click()
        told.append(page.locator(".told").inner_text())
    assert sum("need not be written as a matrix" in text for text in told) == 1
    assert sum("divided by how many numbers are averaged" in text for text in told) == 1
    assert sum("multiplied by its other factor, transposed" in text for text in told) == 1
    assert sum("each copy gets its part" in text for text in told) == 1


@pytest.mark.parametrize("viewport", [(1280, 800), (1024, 700), (390, 844)])
def test_the_picture_and_what_is_wrong_are_seen_beside_what_is_told_of_a_number(opened, viewport):
    def loss(W, x):
        z = x @ W
        return np.mean(np.tanh(z) ** 2)

    page = opened(gv.trace(loss, np.eye(3), np.ones((4, 3)), wrt="W"), viewport=viewport)
    page.locator("g.node").first.click()
    cell = page.locator(".numbers td[data-at]").last
    cell.scroll_into_view_if_needed()
    page.mouse.move(5, viewport[1] - 5)
    page.mouse.wheel(0, cell.bounding_box()["y"] - viewport[1] * 0.8)
    cell.click()
    typed(page, "New value of W", "many")
    assert "is no number" in page.locator(".notice").inner_text()
    for seen in (page.locator("g.node.is-selected"), page.locator(".notice")):
        box = seen.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + min(box["height"], 20) <= viewport[1]


def test_a_gradient_that_underflows_is_told_so_in_its_chain_rule(opened):
    graph = gv.trace(lambda w: np.sum(np.tanh(w) * 1e-200 * 1e-200), np.array([0.1, 0.2]), wrt="w")
    assert not graph.grad("w").any()
    page = opened(graph)
    page.locator('g.node[aria-label^="w"]').click()
    said = page.locator(".answers .formulas").first.text_content()
    assert said.endswith("=0 by underflow")
    assert "[0,0]" not in said
