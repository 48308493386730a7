"""The numbers of arrays in the panel: what each of them reaches is what Python computes."""

from __future__ import annotations

import random
import re
import warnings

import numpy as np
import pytest
from array_programs import program
from test_formulas import equations_in_lines
from test_page import node
from thorough import examples

import gradviz as gv
from gradviz.web.page import words
from gradviz.web.payload import numbers, structure

RANDOM = np.random.default_rng(5)
W, X = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(5, 4))
B, Y = RANDOM.normal(size=3), np.eye(3)[[0, 2, 1, 1, 0]]


def softmax_regression(W, b, x, y):
    z = x @ W + b
    p = np.exp(z - np.max(z, axis=1, keepdims=True))
    q = p / np.sum(p, axis=1, keepdims=True)
    return -np.mean(np.sum(y * np.log(q), axis=1))


@pytest.fixture(scope="module")
def softmax():
    return gv.trace(softmax_regression, W, B, X, Y, wrt=("W", "b"))


def opened_in(rooms, graph, detail=None):
    """The Jacobians of all edges, as the page's modules compute them."""
    told = structure(graph, detail)
    state = {
        "structure": told, "numbers": numbers(graph, detail), "words": words(), "language": "en",
        "targets": [], "selected": [], "step": len(told["steps"]), "limit": None, "lesson": None,
    }  # fmt: skip
    rooms("open", state)
    return told, rooms("jacobians")


def test_the_jacobian_of_an_edge_is_that_of_its_statement(rooms, softmax):
    z = softmax.value("z")
    p = softmax.value("p")
    q = softmax.value("q")
    statements = {
        ("W", "z"): (lambda W: X @ W + B, W),
        ("b", "z"): (lambda b: X @ W + b, B),
        ("x", "z"): (lambda x: x @ W + B, X),
        ("z", "p"): (lambda z: np.exp(z - np.max(z, axis=1, keepdims=True)), z),
        ("p", "q"): (lambda p: p / np.sum(p, axis=1, keepdims=True), p),
        ("q", "J"): (lambda q: -np.mean(np.sum(Y * np.log(q), axis=1)), q),
        ("y", "J"): (lambda y: -np.mean(np.sum(y * np.log(q), axis=1)), Y),
    }
    told, found = opened_in(rooms, softmax)
    edges = [(told["nodes"][e["u"]]["name"], told["nodes"][e["v"]]["name"]) for e in told["edges"]]
    assert set(edges) == set(statements)
    for edge, rows in zip(edges, found, strict=True):
        function, value = statements[edge]
        differences = []
        for k in range(value.size):  # from outside: central differences
            step = np.zeros(value.size)
            step[k] = 1e-6
            step = step.reshape(value.shape)
            differences.append(np.ravel(function(value + step) - function(value - step)) / 2e-6)
        np.testing.assert_allclose(rows, np.transpose(differences), atol=1e-7, err_msg=edge)
        exact = gv.jacobian(function)(value).reshape(np.shape(rows))
        np.testing.assert_allclose(rows, exact, rtol=1e-10, atol=1e-12, err_msg=edge)


@pytest.mark.parametrize("seed", range(examples(12)))
def test_the_jacobians_of_generated_programs_are_those_of_their_elements(rooms, seed):
    drawn = random.Random(seed)
    made = program(lambda n: drawn.randrange(n), 6, np.float64)
    names = ", ".join(f"x{i}" for i in range(len(made.leaves)))
    function = eval(f"lambda {names}: run({names})", {"run": lambda *x: made.run(np, x)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = gv.trace(function, *made.leaves)
        told, found = opened_in(rooms, graph, "operations")
        if told["program"] is None:
            assert all("not computed here" in said for said in found)
            return
        elements = graph.elements()
    slopes: dict[tuple[str, str], float] = {}
    for u, v, key in elements.edges():
        pair = (elements.names[u], elements.names[v])
        slopes[pair] = slopes.get(pair, 0.0) + float(elements.local(v, key))
    sums: dict[tuple[int, int], np.ndarray] = {}
    said = set()
    for edge, rows in zip(told["edges"], found, strict=True):
        pair = (edge["u"], edge["v"])
        if isinstance(rows, str):
            assert any(why in rows for why in ("along this edge", "not finite", "too large")), rows
            said.add(pair)
        else:
            sums[pair] = sums.get(pair, 0.0) + np.array(rows, float)
    for (u, v), rows in sums.items():
        # (in elements each number that reads a constant has its own)
        if (u, v) in said or told["nodes"][u]["kind"] == "constant":
            continue
        readers, operands = (names_of(graph, i) for i in (v, u))
        if not {*readers, *operands} <= set(elements.names):
            continue
        wanted = [[slopes.get((x, y), 0.0) for x in operands] for y in readers]
        np.testing.assert_allclose(rows, wanted, rtol=1e-8, atol=1e-10)


def names_of(graph, i):
    """The numbers of a value by name, as the element lens has them."""
    shape = np.shape(graph.values[i].value)
    name = graph.names[i]
    return [f"{name}[{','.join(map(str, at))}]" if at else name for at in np.ndindex(shape)]


def test_what_cannot_be_computed_in_the_page_is_said_and_no_number_is_told(rooms, softmax):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    layer = torch.nn.Linear(3, 2)
    traced = gv.trace(lambda x: layer(x).pow(2).sum(), torch.ones(1, 3))
    large = gv.trace(lambda W: np.sum(W @ np.ones(20)), np.ones((30, 20)))
    lean = gv.trace(lambda x: layer(x).pow(2).sum(), torch.ones(4, 3), capture="lean")
    for graph, why in ((traced, "not computed here"), (large, "too large"), (lean, "not computed")):
        _, found = opened_in(rooms, graph)
        assert all(isinstance(said, str) for said in found[:1]), found
        assert why in found[0]


@pytest.mark.browser
def test_a_number_is_chosen_by_a_click_and_by_keys_and_lights_what_it_reaches(opened, softmax):
    page = opened(softmax)
    page.locator("g.node").filter(has_text="W").first.click()
    grid = page.get_by_role("grid", name="Numbers of W")
    cells = grid.get_by_role("gridcell")
    expected = np.ravel(softmax.grad("W"))
    told = [float(cell.inner_text().split("\n")[1].replace("−", "-")) for cell in cells.all()]
    np.testing.assert_allclose(told, expected, rtol=1e-5)
    assert repr(float(W[1, 1])) in (cells.nth(4).get_attribute("title") or "").replace("−", "-")
    cells.nth(3).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # W[1,1]
    reached = page.locator(".lens td.is-reached")
    found = [float(text.replace("−", "-")) for text in reached.all_inner_texts()]
    np.testing.assert_allclose(found, X[:, 1], rtol=1e-5)  # of z[k,1]
    assert page.locator(".lens td.is-zero").count() == 10
    assert page.locator("g.arrow.is-pointed").count() == 1
    reached.nth(2).click()  # z[2,1] in turn: W, b and x send to it, three numbers of p read it
    page.get_by_role("grid", name="Numbers of z").wait_for()
    assert "z[2,1] = " in page.locator(".lens .exact").inner_text()
    assert page.locator("g.arrow.is-pointed").count() == 4
    # Before the backward pass no gradient is told, before the forward pass no value either.
    page.get_by_role("button", name="To the beginning").click()
    assert page.locator(".lens td").count() == 0


@pytest.mark.browser
def test_a_number_of_a_matrix_is_told_how_it_gets_its_gradient(opened, softmax):
    page = opened(softmax)
    node(page, "W").click()
    page.get_by_role("grid", name="Numbers of W").get_by_role("gridcell").nth(4).click()  # W[1,1]
    page.get_by_text("W[1,1] reaches J through 5 numbers").wait_for()
    symbols, *lines, result = equations_in_lines(page, ".lens .formulas")
    for k in range(5):
        term = f"∂J/∂z[{k},1]·∂z[{k},1]/∂W[1,1]"
        assert term in "".join([symbols, *lines]).replace(" ", "")
    product = "".join(line for line in lines if "∂" not in line)
    terms = product.replace("·", "*").lstrip("= ")
    np.testing.assert_allclose(eval(terms), softmax.grad("W")[1, 1], rtol=1e-4)
    np.testing.assert_allclose(float(result.lstrip("= ")), softmax.grad("W")[1, 1], rtol=1e-5)
    assert terms.count("*") == 5
    z = softmax.grad("z")[:, 1] * X[:, 1]  # each product is a message of one number
    np.testing.assert_allclose(
        [eval(term) for term in re.split(r"(?<=\d|\))\+", terms)], z, rtol=1e-4
    )


@pytest.mark.browser
def test_one_number_of_a_matrix_is_typed_nudged_and_dragged(opened, softmax):
    page = opened(softmax)
    held = "[data-slot^=value] text.draggable"
    assert node(page, "x").locator(held).count() == 0  # statistics, which nobody can move
    node(page, "b").click()
    page.get_by_role("grid", name="Numbers of b").get_by_role("gridcell").nth(1).click()
    field = page.get_by_role("textbox", name="New value of b[1]")
    for text, value in (("0.25", 0.25), ("−2e-1", -0.2)):
        field.fill(text)
        field.press("Enter")
        changed = softmax.update(b=np.array([B[0], value, B[2]]))
        loss = page.evaluate("gradviz.get('numbers').values.at(-1)")
        np.testing.assert_allclose(loss, changed.value("J"), rtol=1e-12)
    field.press("ArrowUp")
    assert field.input_value() == "-0.19"
    slider = page.get_by_role("slider", name="New value of b[1]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert field.input_value() == f"{float(slider.input_value()):.6g}"
    card = node(page, "b").locator(held).nth(2)  # (the last is first)
    box = card.bounding_box()
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.mouse.down()
    page.mouse.move(box["x"] + 43, box["y"] + 3, steps=4)
    page.mouse.up()
    place = [softmax.statements.names[i] for i in range(len(softmax.statements))].index("b")
    first, second, third = page.evaluate(f"gradviz.get('numbers').values[{place}].first")
    assert first > B[0]
    assert (second, third) == (float(field.input_value()), B[2])
    page.get_by_role("button", name="Back to the values that were recorded").click()
    page.get_by_role("grid", name="Numbers of b").get_by_role("gridcell").nth(1).click()
    assert page.get_by_role("textbox", name="New value of b").input_value().startswith("[")


@pytest.mark.browser
def test_an_edge_between_small_arrays_shows_its_jacobian(opened):
    z = np.array([0.5, -1.0])
    page = opened(gv.trace(lambda z: np.sum(np.tanh(z) ** 2), z), detail="operations")
    page.evaluate("gradviz.set('selected', ['z→v_1'])")
    page.get_by_text("A VJP never builds this 2×2 matrix").wait_for()
    texts = page.locator(".jacobian tbody td").all_inner_texts()
    found = np.array([float(text.replace("−", "-")) for text in texts]).reshape(2, 2)
    np.testing.assert_allclose(found, np.diag(1 - np.tanh(z) ** 2), rtol=1e-5)
    page.get_by_role("combobox", name="Language").select_option("zh")
    page.get_by_text("VJP 从不构造这个 2×2 矩阵").wait_for()
