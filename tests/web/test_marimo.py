"""The widget in a real marimo notebook, started for this test."""

from __future__ import annotations

import lab
import pytest
from browser import missing
from test_page import node, pretty

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    import gradviz as gv
    w = mo.ui.anywidget(gv.examples.backprop_222().widget())
    w
    return mo, w

@app.cell
def _(mo, w):
    mo.md(f"Python has {w.selected} {w.widget.values['w1']} {w.widget.graph.value('J'):.6f}")
    return
"""


@pytest.fixture
def marimo(tmp_path):
    """The address of the notebook, run by a marimo with settings of its own."""
    try:
        import marimo  # noqa: F401
    except ImportError:
        missing("marimo")
    path = tmp_path / "notebook.py"
    path.write_text(NOTEBOOK)
    port = lab.free_port()
    address = f"http://127.0.0.1:{port}"
    command = ["marimo", "run", str(path), "--headless", "--no-token", "--host=127.0.0.1",
               f"--port={port}"]  # fmt: skip
    places = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("CONFIG", "CACHE", "STATE")}
    with lab.started(command, tmp_path, f"{address}/health", **places):
        yield address


def test_a_drag_in_marimo_changes_the_numbers_and_runs_the_cells_that_read_them(
    marimo, new_page, network
):
    page = new_page()
    lab.listen(page, marimo)
    page.goto(marimo)
    node(page, "w1").click()
    page.get_by_text("Python has ['w1'] 0.15 0.298371").wait_for()
    slider = page.get_by_role("slider", name="New value of w1")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 4, y, steps=20)
    page.mouse.up()
    value = float(slider.input_value())  # where the mouse left it; the rest follows
    assert value > 0.3
    loss = network.update(w1=value).value("J")
    page.locator(f'g.node[aria-label^="J = {pretty(loss)}"]').wait_for()
    page.get_by_text(f"Python has ['w1'] {value} {loss:.6f}").wait_for()
    page.get_by_role("button", name="Fold h1 into one box").click()
    page.locator('g.node[data-node="n15"]').wait_for(state="detached")
    assert page.locator(".notice").is_hidden()
    assert page.errors == []
    assert page.outside == []
