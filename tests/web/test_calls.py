"""Calls of a library that open in a page as folds do: a real browser, no kernel."""

import numpy as np
import pytest
from lab import ready, run

import gradviz as gv

jax = pytest.importorskip("jax", reason="records programs of JAX")
jnp = jax.numpy
X = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]], np.float32)
INSIDE = ["max", "maximum", "stop_gradient", "subtract", "exp", "sum", "log", "logp"]


def loss(w, x):
    z = x @ w
    logp = jax.nn.log_softmax(z)
    return -jnp.mean(logp[:, 0])


def twice(w, x):
    a = jax.nn.softmax(x @ w)
    b = jax.nn.softmax(a)
    return jnp.sum(b**2)


W = np.arange(6, dtype=np.float32).reshape(3, 2) / 3


@pytest.mark.browser
@pytest.mark.parametrize("direction", ["LR", "TB"])
def test_a_call_opens_in_its_place_and_shows_the_numbers_in_it(opened, direction):
    g = gv.trace(loss, W, X)
    page = opened(g, direction=direction)
    box = page.locator(f"g.node[data-node=n{g.detailed().id('logp')}]")
    assert box.get_attribute("aria-expanded") == "false"
    before = page.locator("g.node").count()
    box.dblclick()
    page.locator("g.node[data-node^='n-']").first.wait_for()
    assert page.locator("g.node").count() == before + len(INSIDE)  # -inf, too; logp stays
    inside = g.inside("logp")
    told = page.locator("g.node[data-node^='n-']").all_text_contents()
    total = inside.value("sum")
    assert any("sum" in text and f"{total[0]:.4g}"[:4] in text for text in told)
    heading = page.locator("g.group-title[role=button]")
    assert heading.get_attribute("aria-label") == "logp: log_softmax"
    page.locator("g.node[data-node^='n-']").first.click()  # of it there is only the picture
    heading.press("Enter")
    page.locator("g.node[data-node^='n-']").first.wait_for(state="detached")
    assert page.locator("g.node").count() == before
    box.press("Enter")
    page.locator("g.node[data-node^='n-']").first.wait_for()
    page.locator("select").filter(has_text="English").select_option("zh")
    assert "\u68af\u5ea6" in page.locator("g.node[data-node^='n-']").last.text_content()


@pytest.mark.browser
def test_two_calls_of_one_function_open_one_by_one(opened):
    page = opened(gv.trace(twice, W, X))
    for n in (1, 2):
        page.locator(".folds button").filter(has_text="▸").first.click()
        page.locator("g.group-title").nth(n - 1).wait_for()
    titles = page.locator("g.group-title").all_text_contents()
    assert [title.strip() for title in titles] == ["a", "softmax"]


def test_the_widget_brings_what_is_in_a_call_and_forgets_it_when_numbers_change():
    pytest.importorskip("anywidget", reason="the widget needs it")
    widget = gv.trace(loss, W, X).widget()
    key = "logp: log_softmax"
    assert key in widget.folded
    asked = {"kind": "fold", "folded": [k for k in widget.folded if k != key], "key": key}
    assert widget._do(asked) == asked  # the view opens it with what has come
    assert widget.drawings
    opened = {**widget.drawing, "folded": [k for k in widget.folded if k != key]}
    widget.drawing = opened  # as the view does
    widget.values = {"w": W + 1}
    assert widget.drawings == ""
    assert key in widget.folded
    assert key in widget.drawing["folded"]


def test_a_lesson_does_not_open_what_it_asks_for():
    def square(x):
        p = jax.nn.softmax(x)
        return jnp.sum(p**2)

    g = gv.trace(square, np.array([1.0, 2.0], np.float32))
    from gradviz.web.pictures import Pictures

    assert [call.key for call in Pictures(g).calls.values()] == ["p: softmax"]
    assert Pictures(g, closed=True).calls == {}


@pytest.mark.browser
def test_a_box_has_room_for_what_it_says_in_another_language(opened):
    def one(w, x):
        logp = jax.nn.log_softmax(x @ w)
        return -logp[0]

    page = opened(gv.trace(one, W, X[0]))
    page.locator(".folds button").filter(has_text="▸ logp").click()
    page.locator("g.node[data-node^='n-']").first.wait_for()
    page.locator("select").filter(has_text="English").select_option("zh")
    said = page.locator("g.node[data-node^='n-'] text").filter(has_text="没有通向 J 的路径")
    assert said.count() == 2
    for n in range(2):
        card = said.nth(n).locator("xpath=ancestor::*[contains(@class, 'node')][1]")
        [label] = [t for t in card.locator("text").all() if t.text_content().strip() == "梯度"]
        first, second = label.bounding_box(), said.nth(n).bounding_box()
        assert first["x"] + first["width"] <= second["x"] + 0.5


LAB = """
import jax, jax.numpy as jnp, numpy as np, gradviz as gv

def loss(w, x):
    logp = jax.nn.log_softmax(x @ w)
    return -logp[0]

w = np.arange(6, dtype=np.float32).reshape(3, 2) / 3
widget = gv.trace(loss, w, np.array([1.0, 2.0, 3.0], np.float32)).widget()
widget
"""


@pytest.mark.browser
@pytest.mark.slow
def test_a_call_opens_and_closes_in_jupyterlab(notebook):
    page = notebook(LAB, "print(sorted(widget.folded))")
    ready(page)
    run(page, 0)
    page.locator(".gradviz-app g.node").first.wait_for()
    inside = page.locator(".gradviz-app g.node[data-node^='n-']")
    assert inside.count() == 0
    page.locator(".folds button").filter(has_text="▸ logp").click()
    inside.first.wait_for()
    assert any("exp" in text for text in inside.all_text_contents())
    assert "log_softmax" not in run(page, 1)
    page.locator("g.group-title[role=button]").filter(has_text="log").first.press("Enter")
    inside.first.wait_for(state="detached")
    assert "log_softmax" in run(page, 1)
