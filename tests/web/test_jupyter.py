"""The widget in real notebooks: JupyterLab and Notebook 7, started for these tests."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from lab import open_saved, ready, run
from test_page import node, pretty, shown

import gradviz as gv
from gradviz.web.payload import structure

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def wait_shown(page, name: str, value: str) -> None:
    number, array = f'[aria-label^="{name} = {value}"]', f'[aria-label^="{name}, array"]'
    expect = f'g.node:is({number}, {array}[aria-label*="= {value}"])'
    page.locator(expect).first.wait_for(timeout=10000)


SETUP = "import gradviz as gv\ng = gv.examples.backprop_222()\nw = g.widget()\nw"


def test_a_student_steps_asks_pokes_trains_and_folds_in_jupyterlab(notebook, network):
    page = notebook(
        SETUP,
        "print(w.step, w.selected, w.targets, w.folded)",
        "print(float(w.values['w1']), w.graph.value('J'), w.graph.grad('w5'))",
        "w.step = 12; w.selected = ['z_o1']; w.targets = ['w5', 'b2']",
        "w.step = w.last_step; w.values = {'w1': 0.75, 'x1': -1.0}",
        "print(len(w.history), w.at, w.history[-1])",
        "try:\n    w.selected = ['nobody']\nexcept KeyError as error:\n    print(error)",
    )
    ready(page)
    run(page, 0)
    page.locator(".gradviz-app g.node").first.wait_for()
    cards = shown(page, network)
    assert cards["J"][0] == "0.29837"
    assert cards["w1"][1] == "0.00043857"

    page.get_by_role("button", name="Show the whole graph").click()

    # Python sees what is done in the view.
    for _ in range(2):
        page.get_by_role("button", name="One step back").click()
    assert "read from the cache" in page.locator(".told").inner_text()
    node(page, "w1").click()
    node(page, "w5").click(modifiers=["Shift"])
    page.get_by_role("button", name="To the beginning").click()
    assert run(page, 1).strip() == "0 ['w1'] ['w5'] []"

    # The kernel recomputes with the user's own function.
    field = page.get_by_role("textbox", name="New value of w1")
    field.fill("0.5")
    field.press("Enter")
    page.get_by_role("button", name="To the end").click()
    changed = network.update(w1=0.5)
    wait_shown(page, "J", pretty(changed.value("J")))
    for name, (value, _) in shown(page, network).items():
        assert value == pretty(changed.value(name)), name
    printed = run(page, 2).split()
    np.testing.assert_allclose(
        [float(x) for x in printed], [0.5, changed.value("J"), changed.grad("w5")]
    )

    # The view shows what Python does.
    run(page, 3)
    page.locator(".reuse tbody tr").nth(1).wait_for()
    assert page.get_by_role("slider", name="Step through both passes").input_value() == "12"
    assert "operation" in page.locator(".asked").inner_text()
    run(page, 4)
    poked = changed.update(w1=0.75, x1=-1.0)
    wait_shown(page, "J", pretty(poked.value("J")))

    page.get_by_role("button", name="Take 10 steps of gradient descent").click()
    for _ in range(10):
        poked = poked.step(0.5)
    wait_shown(page, "J", pretty(poked.value("J")))
    assert run(page, 5).split()[:2] == ["11", "10"]
    page.get_by_role("button", name="Fold h1 into one box").click()
    page.locator('g.node[data-node="n15"]').wait_for(state="detached")
    assert "['h1']" in run(page, 1)
    assert "no value is called 'nobody'" in run(page, 6)
    assert page.errors == []
    assert page.outside == []


BLOCKS = """import torch, gradviz as gv
from torch import nn
torch.manual_seed(0)
blocks = [nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4)) for _ in range(3)]
model = nn.Sequential(nn.Linear(3, 4), *blocks, nn.Linear(4, 1))
g = gv.trace(model, torch.ones(2, 3), loss=torch.sum)
w = g.widget()
w"""
PLACES = """() => Object.fromEntries([...document.querySelectorAll('.stage g.node')].map(g => {
  const {left, top} = g.closest('.stage').getBoundingClientRect();
  const {x, y, right, bottom} = g.querySelector('rect').getBoundingClientRect();
  return [g.dataset.node + g.textContent, [[x - left, right - left], [y - top, bottom - top]]];
}))"""


@pytest.mark.parametrize("of", ["numbers", "a model"])
def test_a_fold_opens_where_it_is_in_a_notebook_and_what_was_before_it_stays(notebook, of):
    if of == "a model":
        pytest.importorskip("torch", reason="torch is not installed")
    page = notebook(SETUP if of == "numbers" else BLOCKS, "print(w.folded, w.drawing['direction'])")
    ready(page)
    run(page, 0)
    page.locator(".gradviz-app g.node").first.wait_for()
    page.get_by_role("button", name="Show the whole graph").click()
    told = run(page, 1)
    folds = page.locator("button.fold")
    for name in [folds.nth(n).inner_text()[2:] for n in range(min(folds.count(), 2))]:
        ways = []
        for _ in range(2):  # there and back
            before = page.evaluate(PLACES)
            fold = folds.filter(has_text=re.compile(f"^. {name}$"))
            then = "▸▾"["▸" in fold.inner_text()]
            fold.click()
            folds.filter(has_text=re.compile(f"^{then} {name}$")).wait_for()
            after = page.evaluate(PLACES)
            axis = 1 if "TB" in told else 0
            both = [(at, after[i]) for i, at in before.items() if i in after]
            along = [(at[axis][0], to[axis][0]) for at, to in both]
            if of == "numbers":  # where nothing stands over what closes
                first = min(along)[0]
                assert all(abs(to - first) < 1 for at, to in along if at - first < 1), name
            for (a, c), (b, d) in itertools.permutations(both, 2):
                one_column = a[1 - axis][0] < b[1 - axis][1] and b[1 - axis][0] < a[1 - axis][1]
                if one_column and a[axis][0] < b[axis][0] - 1:
                    assert c[axis][0] < d[axis][0] + 1, name  # the rest keeps its order
            ways.append(run(page, 1))
        assert ways[0] != ways[1]
        assert [way[-2:] for way in ways] == [told[-2:]] * 2  # the kernel did not draw it anew
    assert page.errors == []


def test_bad_numbers_errors_of_the_users_function_and_other_branches_are_said(notebook):
    page = notebook(
        """import numpy as np, gradviz as gv
def loss(x, y):
    if x > 10:
        raise RuntimeError("x is <b>far</b> too large")
    if x < 0:
        negative = x * x
        return negative + y
    a = np.log(x) * y
    return a * a
w = gv.trace(loss, 2.0, 3.0).widget()
w""",
    )
    ready(page)
    run(page, 0)
    node(page, "x").click()
    field = page.get_by_role("textbox", name="New value of x")
    for typed, said in (("abc", "is no number"), ("11", "x is <b>far</b> too large")):
        field.fill(typed)
        field.press("Enter")
        page.locator(".notice").filter(has_text=said).wait_for()
        wait_shown(page, "x", "2")
    assert page.locator(".notice b").count() == 0
    field.fill("0")
    field.press("Enter")
    page.locator(".notice").filter(has_text="is inf").wait_for()
    field.fill("-3")  # the program takes another branch: another graph
    field.press("Enter")
    wait_shown(page, "negative", "9")
    assert page.locator('g.node[aria-label^="a ="]').count() == 0
    assert page.locator(".notice").is_hidden()
    assert page.errors == []


def test_shown_twice_both_views_agree_and_without_a_kernel_both_stay_usable(notebook, jupyter):
    page = notebook(SETUP, "w")
    ready(page)
    run(page, 0)
    run(page, 1)
    views = page.locator(".gradviz-app")
    page.wait_for_function("document.querySelectorAll('.gradviz-app g.node').length === 48")
    views.nth(0).locator('g.node[data-node="n4"]').click()
    for i in (0, 1):
        views.nth(i).get_by_role("textbox", name="New value of w1").wait_for()
    field = views.nth(1).get_by_role("textbox", name="New value of w1")
    field.fill("0.9")
    field.press("Enter")
    expected = gv.examples.backprop_222().update(w1=0.9)
    page.wait_for_function(
        "text => document.querySelectorAll(`g.node[aria-label^='J = ${text}']`).length === 2",
        arg=pretty(expected.value("J")),
    )
    address, _ = jupyter
    for kernel in kernels(page, address):
        api(page, address, f"kernels/{kernel}", "DELETE")
    field.fill("0.1")
    field.press("Enter")
    page.get_by_text("Python does not answer").wait_for(timeout=15000)
    for _ in range(2):
        views.nth(1).get_by_role("button", name="One step back").click()
    assert "read from the cache" in views.nth(1).locator(".told").inner_text()
    views.nth(1).locator('g.node[data-node="n8"]').click()
    assert views.nth(1).locator(".paths li").count() == 1


def test_arrays_are_poked_through_the_kernel(notebook):
    page = notebook(
        """import numpy as np, gradviz as gv
def loss(W, x):
    z = W @ x
    a = np.tanh(z)
    return np.sum(a ** 2)
w = gv.trace(loss, np.eye(2), np.array([1.0, 2.0]), wrt="W").widget(theme="dark")
w""",
        "print(w.values['x'].tolist())",
    )
    ready(page)
    run(page, 0)
    node(page, "x").click()
    field = page.get_by_role("textbox", name="New value of x")
    for typed, said in (
        ("[1, 2, 3]", "is no array"),
        ("[1, 1e400]", "is beyond the range of numbers"),
        ("[1, two]", "is no array"),
        ("3", "is no array"),
    ):
        field.fill(typed)
        field.press("Enter")
        page.locator(".notice").filter(has_text=said).wait_for()
    field.fill("[0.5, -0.5]")
    field.press("Enter")
    wait_shown(page, "x", "[0.5, −0.5]")
    assert run(page, 1) == "[0.5, -0.5]"
    page.get_by_role("grid", name="Numbers of x").get_by_role("gridcell").nth(1).click()
    one = page.get_by_role("textbox", name="New value of x[1]")
    page.wait_for_timeout(700)  # what follows sooner is undone together with what was before
    one.fill("0.25")
    one.press("Enter")
    wait_shown(page, "x", "[0.5, 0.25]")
    page.locator(".lens .exact").filter(has_text="x[1] = 0.25").wait_for()
    page.wait_for_timeout(700)
    one.fill("-0.0")
    one.press("Enter")
    wait_shown(page, "x", "[0.5, 0]")
    assert run(page, 1) == "[0.5, -0.0]"
    page.get_by_role("button", name="Undo the last change").click()
    wait_shown(page, "x", "[0.5, 0.25]")
    for way, now in (("Undo the last change", "[0.5, −0.5]"), ("Redo", "[0.5, 0.25]")):
        page.get_by_role("button", name=way).click()
        wait_shown(page, "x", now)
    page.get_by_role("button", name="Take 10 steps of gradient descent").click()
    page.locator(".plot").wait_for()
    assert page.locator(".gradviz-app").get_attribute("data-theme") == "dark"
    assert page.errors == []


def test_it_works_in_notebook_7_and_follows_its_theme(notebook, network):
    pytest.importorskip("notebook")
    page = notebook(SETUP, frontend="notebooks")
    ready(page)
    run(page, 0)
    page.locator(".gradviz-app g.node").first.wait_for()
    assert page.locator(".gradviz-app").get_attribute("data-theme") == "light"
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.locator('.gradviz-app[data-theme="dark"]').wait_for()
    node(page, "w1").click()
    field = page.get_by_role("textbox", name="New value of w1")
    field.fill("0.5")
    field.press("Enter")
    wait_shown(page, "J", pretty(network.update(w1=0.5).value("J")))
    assert page.errors == []
    assert page.outside == []


def api(page, address: str, path: str, method: str):
    """Ask Jupyter's server for something, as this page may."""
    # A server without a token still asks for the cookie that forged requests lack.
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies(address)}
    written = "; ".join(f"{name}={value}" for name, value in cookies.items())
    headers = {"Cookie": written, "X-XSRFToken": cookies.get("_xsrf", "")}
    request = urllib.request.Request(f"{address}/api/{path}", method=method, headers=headers)
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read() or "null")


def kernels(page, address: str) -> list[str]:
    return [kernel["id"] for kernel in api(page, address, "kernels", "GET")]


def poke_in_vain(page, network) -> None:
    """A value is asked for that nobody computes: it is said, and all else goes on."""
    node(page, "w1").click()
    field = page.get_by_role("textbox", name="New value of w1")
    field.fill("0.5")
    field.press("Enter")
    page.get_by_text("Python does not answer").wait_for(timeout=15000)
    assert shown(page, network)["w1"] == ("0.15", "0.00043857")
    for _ in range(2):
        page.get_by_role("button", name="One step back").click()
    assert "read from the cache" in page.locator(".told").inner_text()
    page.get_by_role("button", name="To the end").click()
    assert page.locator(".paths li").count() == 2
    page.get_by_role("button", name="Show the whole graph").click()
    node(page, "w5").click(modifiers=["Shift"])
    assert page.locator(".reuse tbody tr").count() == 1
    assert page.errors == []
    assert page.outside == []


def test_the_kernel_is_restarted_and_a_cell_run_again(notebook, network):
    page = notebook(SETUP, SETUP)
    ready(page)
    run(page, 0)
    page.locator(".gradviz-app g.node").first.wait_for()
    page.locator('[data-jp-item-name="restart"]').click()
    page.locator("dialog.jp-Dialog").wait_for(state="detached")
    ready(page)
    poke_in_vain(page, network)
    run(page, 1)
    view = page.locator(".gradviz-app").nth(1)
    node(view, "w1").click()
    field = view.get_by_role("textbox", name="New value of w1")
    field.fill("0.5")
    field.press("Enter")
    wait_shown(view, "J", pretty(network.update(w1=0.5).value("J")))
    assert view.locator(".notice").is_hidden()


@pytest.fixture
def saved(notebook, jupyter) -> Path:
    """A notebook that JupyterLab saved with the widget's state."""
    page = notebook(SETUP)
    ready(page)
    run(page, 0)
    page.locator(".gradviz-app g.node").first.wait_for()
    assert page.locator("[class^=still-]").is_hidden()
    path = jupyter[1] / page.url.split("/")[-1]
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 20
    while '"widgets"' not in path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    page.close()
    return path.rename(path.with_stem(f"{path.stem}-saved"))  # no kernel is running for this one


def test_a_notebook_saved_without_its_widgets_shows_their_pictures(saved, new_page, jupyter):
    nbformat = pytest.importorskip("nbformat")
    address, folder = jupyter
    notebook = nbformat.read(saved, as_version=4)
    del notebook.metadata["widgets"]
    nbformat.write(notebook, saved)
    nbformat.sign.NotebookNotary(data_dir=str(folder.parent / "DATA")).sign(notebook)
    page = open_saved(new_page(), address, saved)
    page.locator("[class^=still-] img").wait_for()
    missed = page.get_by_text("model not found")
    missed.wait_for(state="attached")
    assert missed.is_hidden()


@pytest.mark.parametrize("kernel", ["started anew", "gone"])
def test_a_saved_notebook_is_opened_again(kernel, saved, new_page, network, jupyter):
    address, _ = jupyter
    page = open_saved(new_page(), address, saved)
    page.locator(".gradviz-app g.node").first.wait_for()
    if kernel == "gone":
        ready(page)
        for running in kernels(page, address):
            api(page, address, f"kernels/{running}", "DELETE")
    assert shown(page, network)["J"][0] == "0.29837"
    poke_in_vain(page, network)


def test_a_notebook_from_elsewhere_says_what_to_do(saved, new_page, jupyter):
    """Jupyter runs no widget of a notebook that it has not signed."""
    saved.write_text(saved.read_text().replace("backprop_222()", "backprop_222( )"))
    page = open_saved(new_page(), jupyter[0], saved)
    page.get_by_text("gradviz widget of 2-2-2 network: run this cell to see it").wait_for()


def test_the_module_is_small():
    from gradviz.web.rooms import joined

    assert (
        len(gzip.compress(joined("widget").encode())) < 60 * 1024
    )  # what travels: comments are free


def test_the_widgets_traits_work_without_any_view(network):
    widget = network.widget()
    assert widget.step == widget.last_step == len(structure(network)["steps"]) - 1
    widget.values = {"w1": 0.5}
    assert widget.graph.value("J") == network.update(w1=0.5).value("J")
    assert set(widget.values) == set(network.leaf_values())
    widget.train(3)
    assert len(widget.history) == 4
    widget.at = 0
    assert widget.graph.value("J") == network.update(w1=0.5).value("J")
    widget.step = 10**6
    assert widget.step == widget.last_step
    widget.folded = ["h1"]
    assert widget.drawing["inside"] == [(15, 16, 16)]
    widget.undo()
    assert (len(widget.history), widget.values["w1"], widget.edits) == (1, 0.5, [1, 1])
    widget.undo()
    assert widget.graph.value("J") == network.value("J")
    widget.redo()
    widget.redo()
    assert (len(widget.history), widget.edits) == (4, [2, 0])
    widget.reset()
    assert widget.values == network.leaf_values()
    widget.undo()
    assert len(widget.history) == 4
    with pytest.raises(KeyError):
        widget.targets = ["nobody"]
    with pytest.raises(KeyError):
        widget.values = {"nobody": 1.0}
    assert re.match("[0-9.]+", str(widget.history[0]))


@pytest.mark.parametrize("color", [None, "auto"])
def test_the_numbers_in_a_models_boxes_follow_its_values(color):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    layer = torch.nn.Linear(2, 2)
    widget = gv.trace(layer, torch.ones(1, 2), loss=torch.sum).widget(color=color)
    weight = np.full((2, 2), 6.25, np.float32)
    told = f">{np.linalg.norm(weight):.3g}<"
    assert told not in widget.drawing["svg"]
    widget.values = {"weight": weight}
    assert told in widget.drawing["svg"]


KEYS = ("x", "a", "b", "d", "d", "y", "m", "z", "ArrowUp", "ArrowDown", "ArrowLeft", "Shift+m")
CONTROLS = {
    "a value": lambda app: node(app, "w1").click(),
    "its number field": lambda app: app.get_by_role("textbox", name="New value of w1").click(),
    "its slider": lambda app: app.get_by_role("slider", name="New value of w1").click(),
    "a folded formula": lambda app: app.locator("summary").click(),
    "a path": lambda app: app.locator(".paths button").first.click(),
    "a copy button": lambda app: app.locator(".copy").first.click(),
    "a link to an edge": lambda app: app.locator(".edges button").first.click(),
    "a link to a value": lambda app: [app.locator(".edges button").first.click() for _ in "12"],
    "an edge": lambda app: app.locator("g.pill").nth(3).click(),
    "the ground": lambda app: app.locator(".stage").click(position={"x": 3, "y": 3}),
    "the title": lambda app: app.locator(".title").click(),
    "the text": lambda app: app.locator(".told").click(),
    "a step": lambda app: app.get_by_role("button", name="One step back").click(),
    "the slider of steps": lambda app: app.locator(".transport input").click(),
    "the search": lambda app: app.locator("input[type=search]").click(),
    "a fold": lambda app: app.locator("button.fold").first.click(),
    "zooming": lambda app: app.get_by_role("button", name="Zoom in").click(),
    "training": lambda app: app.get_by_role("button", name="Take 1 step").click(),
    "the rate": lambda app: app.locator(".training input[type=text]").click(),
    "the language, last": lambda app: app.locator("header select").focus(),
}


def cells(page) -> list[list[str]]:
    """Of each cell of the notebook its kind and its text."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].map(cell =>
             [cell.className.match(/jp-(\\w+)Cell/)[1],
              cell.querySelector('.cm-content')?.innerText])"""
    )


RECORDED = """import torch, gradviz as gv
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with gv.record_training(model, "run.gvtrain") as recorder:
    for _ in range(3):
        with recorder.step():
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
gv.load_training("run.gvtrain").widget()"""


@pytest.mark.parametrize("frontend", ["lab", "notebooks"])
def test_no_key_pressed_in_a_recorded_run_reaches_the_notebook(notebook, frontend):
    pytest.importorskip("torch")
    page = notebook("first = 1", RECORDED, "last = 1", frontend=frontend)
    ready(page)
    run(page, 1)
    page.set_default_timeout(5000)
    app = page.locator(".gradviz-run")
    app.locator("svg.map").wait_for()
    before = cells(page)
    assert len(before) == 3
    for place in ("svg.map", ".title", "header label"):
        app.locator(place).first.click(force=True, position={"x": 2, "y": 2})
        for key in ("x", "a", "b", "d", "d"):
            page.keyboard.press(key)
        page.wait_for_timeout(50)
        assert cells(page) == before, place


@pytest.mark.parametrize("frontend", ["lab", "notebooks"])
def test_no_key_pressed_in_the_widget_reaches_the_notebook(notebook, frontend):
    pytest.importorskip("notebook")
    page = notebook("first = 1", SETUP, "last = 1", frontend=frontend)
    ready(page)
    run(page, 1)
    page.locator(".gradviz-app g.node").first.wait_for()
    page.set_default_timeout(5000)

    before, app = cells(page), page.locator(".gradviz-app")
    assert len(before) == 3
    for control, click in CONTROLS.items():
        node(app, "w1").press("Enter")
        click(app)
        for key in KEYS:
            page.keyboard.press(key)
        page.wait_for_timeout(50)
        assert cells(page) == before, control
    page.locator(".jp-Notebook .jp-InputPrompt").first.click()  # and outside of it they do
    page.keyboard.press("b")
    page.wait_for_function("document.querySelectorAll('.jp-Notebook .jp-Cell').length === 4")
