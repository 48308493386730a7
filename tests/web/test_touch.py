"""The page on a phone, under fingers: tapped, dragged, pinched."""

from __future__ import annotations

import numpy as np
import pytest
from test_page import enter, node

import gradviz as gv

pytestmark = pytest.mark.browser


def fingers(page, kind, *points):
    """What a touch screen reports: so many fingers at these points."""
    page.devtools.send("Input.dispatchTouchEvent", {
        "type": kind, "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)],
    })  # fmt: skip


@pytest.fixture
def phone(chromium, tmp_path):
    """A page on a phone: narrow, and touched."""
    context = chromium.new_context(
        viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, locale="en-US",
        reduced_motion="reduce",
    )  # fmt: skip

    def open_page(graph):
        graph.save(tmp_path / "phone.html")
        page = context.new_page()
        page.set_default_timeout(5000)
        page.goto((tmp_path / "phone.html").as_uri())
        page.locator(".gradviz-app g.node").first.wait_for()
        page.devtools = context.new_cdp_session(page)
        return page

    yield open_page
    context.close()


def middle(locator) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_on_a_phone_a_tap_asks_and_a_number_of_a_matrix_is_tapped_and_changed(phone):
    W = np.array([[0.5, -1.0], [2.0, 0.25]])
    graph = gv.trace(lambda W: np.sum((W @ np.array([1.0, 2.0])) ** 2), W)
    page = phone(graph)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    node(page, "W").tap()
    assert "Chain rule" in page.locator("aside").inner_text()
    assert not page.locator(".tip").is_visible()
    page.get_by_role("grid", name="Numbers of W").get_by_role("gridcell").nth(2).tap()
    field = page.get_by_role("textbox", name="New value of W[1,0]")
    enter(field, "3")
    changed = graph.update(W=np.array([[0.5, -1.0], [3.0, 0.25]]))
    assert page.evaluate("gradviz.get('numbers').values.at(-1)") == changed.value("J")
    page.get_by_role("button", name="Undo the last change").tap()
    assert page.evaluate("gradviz.get('numbers').values.at(-1)") == graph.value("J")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_a_phone_one_finger_drags_a_number_or_the_picture_and_two_pinch_it(phone, network):
    page = phone(network)
    number = node(page, "x1").locator("[data-slot^=value] text")
    x, y = middle(number)
    fingers(page, "touchStart", (x, y))
    for step in (10, 20, 30):
        fingers(page, "touchMove", (x + step, y))
    fingers(page, "touchEnd")
    assert page.evaluate("gradviz.get('edits')") == [1, 0]
    assert float(number.text_content()) > 0.05
    assert page.evaluate("gradviz.get('selected')") == []  # a drag is no tap

    at = middle(node(page, "w1"))
    left, top = (
        page.locator(".stage").bounding_box()["x"],
        page.locator(".stage").bounding_box()["y"],
    )
    empty = (left + 60, top + 150)
    fingers(page, "touchStart", empty)
    for step in (10, 20, 40):
        fingers(page, "touchMove", (empty[0], empty[1] + step))
    fingers(page, "touchEnd")
    moved = middle(node(page, "w1"))
    assert moved[1] - at[1] == pytest.approx(40, abs=3)

    wide = node(page, "w1").bounding_box()["width"]
    fingers(page, "touchStart", (left + 100, top + 150), (left + 200, top + 150))
    for step in (10, 20, 50):
        fingers(page, "touchMove", (left + 100 - step, top + 150), (left + 200 + step, top + 150))
    fingers(page, "touchEnd")
    assert node(page, "w1").bounding_box()["width"] == pytest.approx(2 * wide, rel=0.1)
    assert page.evaluate("visualViewport.scale") == 1  # the picture is larger, not the page
