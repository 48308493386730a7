"""The self-contained page, opened from disk in a real browser as a student would use it."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import gradviz as gv
from gradviz import words
from gradviz.web.payload import numbers, structure

pytestmark = pytest.mark.browser


def node(page, name: str):
    """The card of a value, found by what a screen reader reads."""
    return page.locator(f'g.node:is([aria-label^="{name} ="], [aria-label^="{name}, array"])')


def fit(page) -> None:
    """Show all of a picture that is too large to be read at once."""
    page.get_by_role("button", name="Show the whole graph").click()


def shown(page, graph) -> dict[str, tuple[str, str]]:
    """What every card says: value and gradient."""
    found = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('g.node')].map(g =>
            [g.dataset.node.slice(1), ['value', 'gradient'].map(kind =>
              [...g.querySelectorAll(`[data-slot^="${kind}"]`)].map(s => s.textContent)
                .join(' '))]))
        """
    )
    return {graph.statements.names[int(i)]: tuple(texts) for i, texts in found.items()}


def pretty(number: float, digits: int = 5) -> str:
    mantissa, _, exponent = words.number(float(number), digits).partition("e")
    raised = exponent.translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return mantissa.replace("-", "−") + (f"×10{raised}" if exponent else "")


def assert_shows(page, graph) -> None:
    """Every card's value and gradient, and every exact number behind them, are Python's."""
    cards = shown(page, graph)
    for name, (value, gradient) in cards.items():
        assert value == pretty(graph.value(name)), name
        if name not in ("x1", "x2", "t1", "t2"):  # not asked for
            assert gradient == pretty(graph.grad(name)), name
    close(page.evaluate("gradviz.get('numbers')"), numbers(graph))


def close(found, expected, where=()) -> None:
    """JSON that is equal, numbers to 1e-12."""
    if isinstance(expected, dict):
        for key in ("values", "grads", "states", "locals", "messages") if not where else expected:
            close(found[key], expected[key], (*where, key))
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            close(a, b, (*where, i))
    elif isinstance(expected, float) and isinstance(found, (int, float)):
        assert math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-300), (
            where,
            found,
            expected,
        )
    else:
        assert found == expected, (where, found, expected)


def told(page) -> str:
    return page.locator(".told").inner_text()


def press(page, key: str, times: int = 1) -> None:
    for _ in range(times):
        page.keyboard.press(key)


def ask(page, name: str):
    """Ask about a value; the field in which another can be typed."""
    node(page, name).click()
    return page.get_by_role("textbox", name=f"New value of {name}")


def enter(field, text: str) -> None:
    field.fill(text)
    field.press("Enter")


def blocks_of(count: int, depth: int, prefix: str = "block"):
    """A program of so many scopes, each of so many turns of a loop."""

    def program(x):
        for n in range(count):
            with gv.scope(f"{prefix}{n}"):
                for _ in range(depth):
                    x = np.sin(x) + 0.1 * x
        return x * x

    return program


def test_the_page_opens_from_disk_with_the_published_numbers(opened, network):
    page = opened(network)
    assert_shows(page, network)
    cards = shown(page, network)
    assert cards["J"][0] == "0.29837"
    assert cards["w5"][1] == "0.082167"
    assert cards["w1"][1] == "0.00043857"
    assert cards["x1"] == ("0.05", "not computed")


def test_a_long_picture_stays_whole_where_it_can_be_zoomed_and_moved(opened):
    page = opened(gv.expression("; ".join(f"a{n + 1} = sin(a{n})" for n in range(9)), a0=0.3))
    lefts = page.locator("g.node").evaluate_all(
        "all => all.map(g => [+g.dataset.node.slice(1), g.getBoundingClientRect().left])"
    )
    assert [left for _, left in sorted(lefts)] == sorted(left for _, left in lefts)


def test_a_step_is_told_in_words_lit_in_the_picture_and_counted_on_the_cached_term(opened, network):
    page = opened(network)
    page.get_by_role("button", name="To the beginning").click()
    assert "Nothing is computed yet" in told(page)
    assert shown(page, network)["z_h1"] == ("", "")
    steps = page.get_by_role("slider", name="Step through both passes")
    assert steps.get_attribute("aria-valuetext") == "forward 0 of 9"
    page.get_by_role("button", name="One step on").click()
    assert shown(page, network)["z_h1"] == ("0.3775", "")
    seen = []
    while "third time" not in told(page):
        page.get_by_role("button", name="One step on").click()
        seen.append(told(page))
    assert steps.get_attribute("aria-valuetext").startswith("backward ")
    lit = page.locator("g.arrow.is-lit")
    assert lit.count() == 1
    reader = page.locator("g.node.is-read")
    assert page.locator(".badge.strong").text_content() == "×3"
    i = network.statements.id("z_o2")  # the backward pass meets o2 first
    assert reader.get_attribute("data-node") == lit.get_attribute("data-head") == f"n{i}"
    math_ = page.locator(".told math").last.text_content()
    assert math_.replace("\u2062", "").startswith("∂J∂zo2·∂zo2∂")
    # Until its last message has come, a gradient is the sum so far.
    partial = shown(page, network)["a_h1"][1]
    assert partial not in ("", pretty(network.grad("a_h1")))
    page.get_by_role("button", name="To the end").click()
    assert_shows(page, network)


def test_with_targets_stepping_plays_their_ledger_and_tells_no_number_before_its_step(
    opened, network
):
    page = opened(network, targets=["w5", "b2", "w1"])
    fit(page)
    names = network.statements.names
    press(page, ",", 11)
    assert "For" not in told(page)  # J's own gradient is nobody's target
    node(page, "w1").click()
    asked = page.locator(".asked dd.f-gradient")
    assert asked.inner_text() == "?"
    node(page, "w1").hover()
    assert "0.00043" not in page.locator(".tip").inner_text()
    sent, sums = [], []
    while page.locator("g.arrow.is-lit").count() or not sent:
        press(page, ".")
        lit = page.locator("g.arrow.is-lit")
        if not lit.count():
            break
        assert lit.locator(".back-head").is_visible()
        assert lit.locator("path.f-edge").is_hidden()
        ends = [lit.get_attribute(f"data-{end}") for end in ("head", "tail")]
        sent.append("→".join(names[int(end[1:])] for end in ends))
        sums.append(page.locator(".told math").last.text_content().replace("\u2062", ""))
    assert sent == [
        "J→a_o1", "a_o1→z_o1", "z_o1→w5",
        "z_o1→b2",
        "J→a_o2", "a_o2→z_o2", "z_o2→a_h1", "z_o1→a_h1", "a_h1→z_h1", "z_h1→w1",
    ]  # fmt: skip
    assert sums[6:8] == [
        "∂J∂ah1=−0.0190491+…",
        "∂J∂ah1=−0.0190491+0.0553994=0.0363503",
    ]
    assert asked.inner_text() == str(network.grad("w1"))


def test_every_step_can_be_taken_in_both_directions(opened, network):
    page = opened(network)
    count = len(structure(network)["steps"])
    backward = [told(page)]
    for _ in range(count - 1):
        page.keyboard.press(",")
        backward.append(told(page))
    assert "Nothing is computed yet" in backward[-1]
    forward = [told(page)]
    for _ in range(count - 1):
        page.keyboard.press(".")
        forward.append(told(page))
    assert forward == backward[::-1]
    assert len(set(forward)) > 0.9 * count


def test_playing_runs_to_the_end_and_pauses(opened, network):
    page = opened(network)
    page.clock.install()
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(1400 * 5)
    page.get_by_role("button", name="Pause").click()
    at = page.evaluate("gradviz.get('step')")
    assert 3 <= at <= 6
    page.clock.run_for(5000)
    assert page.evaluate("gradviz.get('step')") == at
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(1400 * 60)
    assert page.evaluate("gradviz.get('step')") == len(structure(network)["steps"]) - 1
    assert page.get_by_role("button", name="Play").is_visible()


def test_asking_gives_the_chain_rule_its_paths_and_its_share(opened, network):
    page = opened(network)
    node(page, "w1").click()
    paths = page.locator(".paths li").all_inner_texts()
    expected = [
        f"{' → '.join(network.statements.names[i] for i in path.nodes)}: {pretty(path.value)}"
        for path in network.explain("w1").paths()
    ]
    assert [text.strip() for text in paths] == expected
    formulas = page.locator(".answers .formulas").first.locator("math").all_text_contents()
    assert formulas[0] == "∂J∂w1=∂J∂ao1·∂ao1∂zo1·∂zo1∂ah1·∂ah1∂zh1·∂zh1∂w1"
    assert formulas[2] == "=0.741365·0.186816·0.4·0.241301·0.05"
    assert formulas[-1] == "=0.000438568"
    assert page.locator(".told math").first.text_content() == formulas[0] + formulas[1]
    share = network.shares().rows["w1"] * 100
    assert f"{pretty(share, 3)} %" in page.locator(".share").inner_text().replace("\xa0", " ")
    page.locator("summary").click()
    assert page.locator("details math").count() == len(network.explain("w1").terms)


def test_a_formula_is_copied_as_latex(opened, network):
    page = opened(network)
    page.evaluate(
        "addEventListener('copy', () => { window.copied = document.activeElement.value })"
    )
    node(page, "w5").click()
    page.get_by_role("button", name="Copy the formula as LaTeX").first.click()
    copied = page.evaluate("window.copied")
    assert re.sub(r"\s", "", copied) == re.sub(r"\s", "", network.explain("w5").latex)


def test_an_edge_tells_its_local_derivative_and_its_message(opened, network):
    page = opened(network)
    page.locator('g.pill[data-tail="n16"][data-head="n19"]').click()
    assert page.evaluate("gradviz.get('selected')") == ["a_h1→z_o1"]
    text = "".join(page.locator(".asked math").all_text_contents())
    assert "∂zo1∂ah1=w5=0.4" in text
    assert "=0.138499·0.4=0.0553994" in text


def test_several_targets_give_the_ledger_that_python_gives(opened, network):
    page = opened(network)
    for name in ("w5", "b2", "w1"):
        node(page, name).click(modifiers=["Shift"])
    assert page.evaluate("gradviz.get('targets')") == ["w5", "b2", "w1"]
    ledger = network.reuse("w5", "b2", "w1")

    def terms(names):
        return "".join(f"∂J∂{name.replace('_', '')}" for name in names) or "nothing"

    rows = page.locator(".reuse tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].slice(1).map(c => c.textContent))"
    )
    assert rows == [
        [*map(terms, (r.computed, r.reused, r.read)), f"{r.vjps} / {r.vjps_without_cache}"]
        for r in ledger.rows
    ]
    together = page.locator(".reuse tfoot td").inner_text()
    assert together == f"{ledger.vjps} / {ledger.vjps_without_cache}"
    badges = sorted(page.locator(".badge").all_text_contents())
    assert badges == sorted(ledger.highlight().badges.values())
    cached = page.locator("g.node.is-cached").evaluate_all("all => all.map(g => g.dataset.node)")
    assert set(cached) == {"n19", "n23"}  # z_o1 and J
    # Asked after the others, w1's chain rule marks what they have computed.
    node(page, "w1").click()
    assert page.locator(".answers munder mtext").first.text_content() == "reused"
    page.get_by_role("button", name="Forget the targets").click()
    assert page.locator(".badge").count() == 0


def test_the_formula_of_a_slope_holds_where_a_value_is_moved_onto_a_tie(opened):
    def squared(x, y):
        m = np.maximum(x, y)
        return m * m

    graph = gv.trace(squared, 0.5, 1.5)
    page = opened(graph)
    pill = page.locator("g.pill").filter(has_text=">").first
    for x in (1.5, 2.0, 0.5):
        enter(ask(page, "x"), repr(x))
        moved, tie = graph.update(x=x), x == 1.5
        slope = pill.locator("[data-slot]").text_content()
        assert float(slope) == moved.local(moved.id("m"), 0) == (0.5 if tie else x > 1.5)
        assert pill.locator("g:not([data-slot])").first.is_hidden() == tie  # x > y is no half
        pill.click()
        said = page.locator(".formulas").first
        assert (said.locator("mfrac").filter(has_text="=").count() > 0) == tie


def test_a_typed_value_changes_every_number_as_in_python(opened, network):
    page = opened(network)
    field = ask(page, "w1")
    enter(field, "-2.5")
    assert_shows(page, network.update(w1=-2.5))
    enter(field, "1e-3")
    assert_shows(page, network.update(w1=1e-3))
    node(page, "x2").click()
    page.get_by_role("slider", name="New value of x2").focus()
    press(page, "ArrowRight", 3)
    x2 = page.evaluate("gradviz.get('numbers').values[1]")
    assert x2 != 0.1
    assert_shows(page, network.update(w1=1e-3, x2=x2))


def test_a_number_in_the_picture_can_be_dragged(opened, network):
    page = opened(network)
    text = page.locator('g.node[data-node="n4"] text.draggable')
    box = text.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 3, steps=8)
    page.mouse.up()
    w1 = page.evaluate("gradviz.get('numbers').values[4]")
    assert w1 > 0.15
    assert page.evaluate("gradviz.get('selected')") == []  # a drag is no click
    assert_shows(page, network.update(w1=w1))


@pytest.mark.parametrize("typed", ["abc", "", "1,5", "0x", "NaN", "Infinity", "--1"])
def test_what_is_no_number_is_refused_and_said(opened, network, typed):
    page = opened(network)
    field = ask(page, "w1")
    enter(field, "0.3")
    enter(field, typed)
    assert "is no number" in page.locator(".notice").inner_text()
    assert field.get_attribute("aria-invalid") == "true"
    assert_shows(page, network.update(w1=0.3))
    enter(field, "0.2")
    assert page.locator(".notice").is_hidden()
    assert_shows(page, network.update(w1=0.2))


def test_values_that_leave_the_numbers_are_shown_and_said(opened):
    graph = gv.expression("a = log(x); b = a * y; b**2", x=2.0, y=3.0)
    page = opened(graph)
    field = ask(page, "x")
    enter(field, "-1")
    assert "is nan" in page.locator(".notice").inner_text()
    with np.errstate(all="ignore"):
        close(page.evaluate("gradviz.get('numbers')"), numbers(graph.update(x=-1.0)))
    assert "non-finite" in shown(page, graph)["x"][1]
    enter(field, "4")
    assert page.locator(".notice").is_hidden()
    close(page.evaluate("gradviz.get('numbers')"), numbers(graph.update(x=4.0)))


def test_training_takes_the_steps_that_python_takes_and_goes_back_through_them(opened, network):
    page = opened(network)
    page.get_by_role("button", name="Take 10 steps of gradient descent").click()
    page.get_by_role("button", name="Take 1 step of gradient descent").click()
    graphs = [network]
    for _ in range(11):
        graphs.append(graphs[-1].step(0.5))
    assert_shows(page, graphs[11])
    losses = page.evaluate("gradviz.get('history')")
    np.testing.assert_allclose(losses, [g.value("J") for g in graphs], rtol=1e-12)
    assert "from 0.29837 to" in page.locator(".plot").get_attribute("aria-label")
    scrubber = page.get_by_role("slider", name="Go to a past step")
    scrubber.focus()
    press(page, "ArrowLeft", 4)
    assert_shows(page, graphs[7])
    page.get_by_role("textbox", name="Learning rate").fill("fast")
    page.get_by_role("button", name="Take 1 step of gradient descent").click()
    assert "is no number" in page.locator(".notice").inner_text()
    page.get_by_role("textbox", name="Learning rate").fill("0.1")
    page.get_by_role("button", name="Take 1 step of gradient descent").click()
    assert_shows(page, graphs[7].step(0.1))
    assert len(page.evaluate("gradviz.get('history')")) == 9  # what came after is forgotten


def test_scopes_fold_into_a_box_in_every_combination(opened, network):
    page = opened(network)
    assert page.locator("g.node").count() == 24
    page.get_by_role("button", name="Fold h1 into one box").click()
    page.locator('g.node[data-node="n15"]').wait_for(state="detached")
    assert page.locator("g.node").count() == 23
    page.get_by_role("button", name="Fold o2 into one box").click()
    page.locator('g.node[data-node="n21"]').wait_for(state="detached")
    assert "2 folded" in page.locator('g.node[data-node="n22"]').text_content()
    field = ask(page, "w1")
    enter(field, "0.9")
    cards = shown(page, network)
    changed = network.update(w1=0.9)
    assert cards["a_h1"][0] == pretty(changed.value("a_h1"))
    page.get_by_role("button", name="Unfold h1").click()
    page.locator('g.node[data-node="n15"]').wait_for()
    page.get_by_role("button", name="Unfold o2").click()
    page.locator('g.node[data-node="n21"]').wait_for()
    assert_shows(page, changed)


def test_an_opened_fold_offers_those_in_it_and_keeps_the_rest(opened):
    page = opened(gv.trace(blocks_of(12, 12, "blocks."), 0.3), detail="operations")
    fit(page)
    buttons = page.locator("button.fold")
    before = buttons.all_inner_texts()
    assert "▸ blocks" in before
    boxes = page.locator("g.node").evaluate_all("all => all.map(g => g.dataset.node)")
    page.get_by_role("button", name="Unfold blocks", exact=True).click()
    closing = page.locator("g.group-title[role=button]", has_text="blocks")
    closing.wait_for()
    inner = [f"▸ blocks.{n}" for n in range(12)]
    after = buttons.evaluate_all("all => all.map(button => button.textContent)")
    assert sorted(after) == sorted({*before, *inner, "▾ blocks"} - {"▸ blocks"})
    opened_boxes = page.locator("g.node").evaluate_all("all => all.map(g => g.dataset.node)")
    assert len(set(boxes) - set(opened_boxes)) <= 1  # of `blocks`, which is now its last block
    assert len(opened_boxes) == len(boxes) + 11
    menu = page.locator(".folds summary")  # so many fold buttons are in a list with a filter
    menu.click()
    page.get_by_role("searchbox", name="Find a fold").fill("blocks.7")
    assert page.locator("button.fold:visible").all_inner_texts() == ["▸ blocks.7"]
    page.locator("button.fold:visible").click()
    page.locator("button.fold", has_text="▾ blocks.7").wait_for()
    page.get_by_role("searchbox", name="Find a fold").fill("blocks.7/loop/2-12")
    page.locator("button.fold:visible").click()
    page.locator("button.fold", has_text="▾ blocks.7/loop/2-12").wait_for()
    page.get_by_role("searchbox", name="Find a fold").fill("")
    page.get_by_role("button", name="Fold blocks.7 into one box").click()
    fit(page)
    closing.click()
    page.get_by_role("button", name="Unfold blocks", exact=True).wait_for()
    assert buttons.all_inner_texts() == before


def corner(locator) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"], box["y"]


def test_a_closed_fold_opens_where_it_is_and_closes_by_its_heading(opened):
    page = opened(gv.trace(blocks_of(3, 3), 0.3), detail="operations")
    fit(page)
    frame = page.locator('rect.group[data-scope="block1"]')
    heading = page.get_by_role("button", name="block1", exact=True)
    assert heading.get_attribute("aria-expanded") == "true"
    before = corner(frame)
    heading.click()
    fold = page.locator('g.node[aria-expanded="false"]')
    fold.wait_for()
    assert fold.get_attribute("role") == "button"
    assert frame.count() == 0
    assert corner(fold.locator("rect").first) == pytest.approx(before, abs=2)
    fold.click()
    frame.wait_for()
    assert corner(frame) == pytest.approx(before, abs=2)
    assert fold.count() == 0
    heading.focus()
    page.keyboard.press("Enter")
    fold.wait_for()
    assert fold.evaluate("g => g === document.activeElement")
    page.keyboard.press("Enter")
    frame.wait_for()
    assert heading.evaluate("g => g === document.activeElement")
    assert corner(frame) == pytest.approx(before, abs=2)


def test_least_mean_and_most_of_an_array_stand_in_their_columns(opened):
    x = np.array([-1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 29.0])
    page = opened(gv.trace(lambda x: np.sum(x**2), x))
    texts = page.locator('g.node[data-node="n0"] [data-slot^="value"] text').evaluate_all(
        "all => all.map(t => [t.getBoundingClientRect().left, t.textContent])"
    )
    assert [text for _, text in sorted(texts)] == ["−1", "7", "29"]


def test_the_entries_of_a_small_array_stand_in_lines_and_its_gradient_says_when_it_is_none(opened):
    w = np.array([[0.5, -0.3], [0.8, 0.2]])
    page = opened(gv.trace(lambda w, x: np.sum(w @ x), w, np.ones(2), wrt="w"))

    def entries(name, kind):
        return (
            node(page, name)
            .locator(f'[data-slot^="{kind}"] text')
            .evaluate_all(
                "all => all.map(t => [Number(t.getAttribute('y')), t.getBoundingClientRect().right,"
                " t.textContent])"
            )
        )

    found = sorted(entries("w", "value"))
    assert [text for *_, text in found] == ["0.5", "−0.3", "0.8", "0.2"]
    assert len({y for y, *_ in found}) == len({round(right) for _, right, _ in found}) == 2
    assert sorted(text for *_, text in entries("w", "gradient")) == ["1"] * 4
    assert sorted(text for *_, text in entries("x", "gradient")) == ["", "not computed"]
    brackets = node(page, "x").locator("[data-around]")
    seen = brackets.evaluate_all("all => all.map(p => p.getAttribute('visibility'))")
    assert seen == ["visible", "hidden"]


def test_an_edge_without_a_formula_says_the_norm_of_its_message_once_all_is_done(opened):
    torch = pytest.importorskip("torch")

    def loss(x):  # what pooling and cumsum send is not written on an edge
        h = torch.nn.functional.softplus(x).permute(1, 0)
        return torch.nn.functional.softplus(torch.nn.functional.max_pool1d(h, 2)).cumsum(0).mean()

    leaf = torch.arange(12.0).reshape(4, 3).requires_grad_()
    for capture in ("whole", "lean"):
        page = opened(gv.trace(loss, leaf, capture=capture))
        texts = [text.strip() for text in page.locator("g.pill").all_text_contents()]
        assert sum(text.startswith("‖·‖ ") for text in texts) >= 2, texts
        press(page, ",", 3)
        assert not any("‖" in text for text in page.locator("g.pill").all_text_contents())


def test_it_is_found_zoomed_panned_and_saved(opened, network, tmp_path):
    page = opened(network)
    search = page.get_by_role("combobox", name="Find a value")
    search.fill("z_o2")
    search.press("Enter")
    assert page.evaluate("gradviz.get('selected')") == ["z_o2"]
    search.fill("nobody")
    search.press("Enter")
    assert "No value is called" in page.locator(".notice").inner_text()
    view = "document.querySelector('.stage > svg').getAttribute('viewBox')"
    fit(page)
    whole = page.evaluate(view)
    page.get_by_role("button", name="Zoom in").click()
    near = page.evaluate(view)
    assert float(near.split()[2]) < float(whole.split()[2])
    stage = page.locator(".stage").bounding_box()
    page.mouse.move(stage["x"] + 30, stage["y"] + 30)
    page.mouse.down()
    page.mouse.move(stage["x"] + 130, stage["y"] + 60, steps=3)
    page.mouse.up()
    assert float(page.evaluate(view).split()[0]) < float(near.split()[0])
    fit(page)
    assert page.evaluate(view) == whole
    with page.expect_download() as svg:
        page.get_by_role("button", name="Save this view as SVG").click()
    path = tmp_path / "saved.svg"
    svg.value.save_as(path)
    assert svg.value.suggested_filename == "2-2-2-network.svg"
    root = ET.parse(path).getroot()
    assert "0.29837" in "".join(root.itertext())
    assert not root.findall(".//{http://www.w3.org/2000/svg}script")
    with page.expect_download() as png:
        page.get_by_role("button", name="Save this view as PNG").click()
    png.value.save_as(tmp_path / "saved.png")
    assert (tmp_path / "saved.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "saved.png").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("width", "way", "units", "pixels"), [(1280, "LR", 12.5, 8), (390, "TB", 9.5, 9)]
)
def test_a_picture_opens_so_that_it_can_be_read_and_a_zoom_of_the_browser_enlarges_it(
    opened, network, width, way, units, pixels
):
    page = opened(network, viewport=(width, 844), step=20)
    assert page.evaluate("gradviz.get('drawing').direction") == way
    scale = "document.querySelector('.stage > svg').getScreenCTM().a"
    assert page.locator(f"g.node text[font-size='{units}']").count()
    assert units * page.evaluate(scale) >= pixels
    stage = page.locator(".stage").bounding_box()
    assert stage["height"] > 0.5 * 844
    assert page.evaluate("document.documentElement.scrollWidth") == width
    now = page.locator("g.node.is-now").bounding_box()  # the step is seen, and where it is
    assert stage["x"] <= now["x"] < stage["x"] + stage["width"]
    assert stage["y"] <= now["y"] < stage["y"] + stage["height"]
    in_part = width == 390  # the network is whole where its numbers can be read so
    assert page.locator("svg.overview .here").is_visible() == in_part
    before = page.evaluate(scale)
    page.set_viewport_size({"width": width // 2, "height": 422})  # 200 %, in the page's pixels
    page.wait_for_function(f"innerWidth === {width // 2}")
    assert page.evaluate(scale) == pytest.approx(before, rel=1e-3)


def test_everything_is_reached_by_keyboard_and_has_a_name(opened, network):
    page = opened(network)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [role=button]')].filter(e =>
            !(e.getAttribute('aria-label') || e.textContent.trim())).map(e => e.outerHTML)"""
    )
    assert nameless == []
    page.locator('g.node[data-node="n0"]').focus()
    focus = "document.activeElement.dataset.node ?? document.activeElement.ariaLabel"
    press(page, "ArrowRight")
    assert page.evaluate(focus).startswith("edge from x1 to z_h1; local derivative 0.15")
    press(page, "ArrowDown")  # the other edge that x1 leads to
    assert page.evaluate(focus).startswith("edge from x1 to z_h2; local derivative 0.25")
    press(page, "Enter")
    assert page.evaluate("gradviz.get('selected')") == ["x1→z_h2"]
    press(page, "ArrowRight")
    assert page.evaluate(focus) == "n17"
    press(page, "ArrowUp", 2)
    assert page.evaluate(focus) == "n15"  # z_h1
    press(page, "ArrowLeft", 2)  # along the edge of its first operand, w1
    assert page.evaluate(focus) == "n4"
    press(page, "Enter")
    assert page.evaluate("gradviz.get('selected')") == ["w1"]
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    press(page, "ArrowDown", 4)
    press(page, "t")
    assert page.evaluate("gradviz.get('targets')") == ["w5"]
    press(page, ",")
    assert page.evaluate("gradviz.get('step')") == 13  # after 9 values the third message, to w5
    press(page, "/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "fold"


def test_it_speaks_chinese_and_every_language_has_every_word(opened, network):
    from gradviz.web.page import words

    english = words()["en"]
    for language in words().values():
        assert language.keys() == english.keys()
        for key in english:
            places = [re.findall(r"\{(\w+)\}", str(text[key])) for text in (english, language)]
            assert key == "picture" or set(places[1]) <= set(places[0]) | {"k"}, key
    page = opened(network)
    page.get_by_role("combobox", name="Language").select_option("zh")
    assert "两个过程均已完成" in told(page)
    assert page.locator(".gradviz-app").get_attribute("lang") == "zh"
    while not re.search("第.次从缓存中读取", told(page)):
        page.get_by_role("button", name="后退一步").click()
    page.get_by_role("combobox", name="语言").select_option("en")
    assert "read" in told(page)
    other = opened(network, language="zh")
    assert other.locator(".gradviz-app").get_attribute("lang") == "zh"


def test_light_and_dark_follow_the_reader_and_no_motion_is_asked_of_who_wants_none(opened, network):
    page = opened(network)
    ground = "getComputedStyle(document.querySelector('.stage')).backgroundColor"
    card = "getComputedStyle(document.querySelector('g.node rect')).fill"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    from playwright.sync_api import expect

    stage = page.locator(".stage").first  # (the page's policy forbids a wait by evaluated text)
    expect(stage).to_have_css("background-color", "rgb(18, 23, 30)")
    assert page.evaluate(card) == "rgb(23, 42, 58)"
    press(page, ",", 3)
    assert page.locator(".dot").count() == 0
    page.emulate_media(color_scheme="dark", reduced_motion="no-preference")
    press(page, ",")
    assert page.locator(".dot").count() == 1


HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>&amp;"\'`${1}'


def test_nothing_from_a_label_is_ever_markup(opened):
    graph = gv.trace(
        lambda d: d[HOSTILE] * d["b]]>"] ** 2, {HOSTILE: 2.0, "b]]>": 3.0}, title=HOSTILE
    )
    page = opened(graph)
    assert page.locator("img, iframe, object").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator(".title").inner_text() == HOSTILE
    card = page.locator("g.node").first
    card.click()
    card.click(modifiers=["Shift"])
    card.hover()
    assert HOSTILE in page.locator(".tip").inner_text()
    press(page, ",", 3)
    page.get_by_role("combobox", name="Find a value").fill(HOSTILE)
    page.keyboard.press("Enter")
    assert HOSTILE in page.locator(".notice").inner_text() or page.locator(".asked h3").is_visible()
    assert page.locator("img, iframe, object").count() == 0
    assert page.evaluate("gradviz.get('targets')") == [graph.names[0]]


def test_arrays_step_explain_themselves_and_are_typed(opened):
    def loss(w, b, x, t):
        z = w @ x + b
        a = 1 / (1 + np.exp(-z))
        return 0.5 * np.sum((t - a) ** 2)

    graph = gv.trace(loss, np.array([[0.5, -0.3], [0.8, 0.2]]), np.zeros(2), np.ones(2),
                     np.array([0.0, 1.0]), wrt=("w", "b"))  # fmt: skip
    page = opened(graph)
    field = ask(page, "w")
    enter(field, "[[1, 2], [3, 4]]")
    changed = graph.update(w=[[1, 2], [3, 4]])
    page.wait_for_function(f"gradviz.get('numbers').values[0].norm > {np.sqrt(29.9)}")
    close(page.evaluate("gradviz.get('numbers')"), numbers(changed))
    enter(field, "[[1, 2], [3]]")
    assert "the shape 2×2" in page.locator(".notice").inner_text()
    close(page.evaluate("gradviz.get('numbers')"), numbers(changed))
    enter(field, "5 6\n7 8")  # as a sheet has it
    changed = graph.update(w=[[5, 6], [7, 8]])
    page.wait_for_function(f"gradviz.get('numbers').values[0].norm > {np.sqrt(173.9)}")
    close(page.evaluate("gradviz.get('numbers')"), numbers(changed))
    node(page, "w").click()
    assert "one line at a time" not in told(page)
    text = "".join(page.locator(".answers math").all_text_contents())
    assert "z¯" in text
    for _ in range(len(structure(graph)["steps"])):
        press(page, ",")
    assert "Nothing is computed yet" in told(page)
    card = node(page, "z")
    card.hover()
    assert "z = w @ x + b" in page.locator(".tip").inner_text()


def test_a_graph_of_some_hundred_values_opens_folded_as_one_of_a_thousand_does(opened):
    def deep(x, n):
        for _ in range(n):
            x = x + 0.1 * np.sin(x)
        return x

    def chain(x, n):
        for i in range(n):
            with gv.scope(f"block{i // 100}"):
                x = np.sin(x) + 0.1 * x
        return x

    for graph in (gv.trace(lambda x: deep(x, 75), 0.3), gv.trace(chain, 0.3, 300)):
        page = opened(graph, detail="operations")
        assert 3 < page.locator("g.node").count() < 20


def test_the_page_is_one_small_file_that_allows_nothing(network, tmp_path):
    network.save(tmp_path / "net.html")
    html = (tmp_path / "net.html").read_text(encoding="utf-8")
    assert len(html.encode()) < 1_000_000
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r'(?:src|href)="', re.sub(r"<script.*?</script>", "", html, flags=re.S))


def test_a_larger_array_is_a_heat_map_of_its_value_and_gradient(opened):
    x = np.zeros((4, 128))
    x[0, :2], x[3, -2:] = (-8.0, -4.0), (2.0, np.inf)
    page = opened(gv.trace(lambda x, y: np.sum(x * y), x, np.full((4, 128), 0.5)))
    node(page, "x").click()
    node(page, "x").hover()
    assert page.locator(".tip .maps canvas").count() == 2
    maps = page.locator(".asked .maps canvas")
    assert maps.count() == 2
    said = maps.first.get_attribute("aria-label")
    assert said.startswith("value 4×128 as 4×64 cells, from −6 (blue)")
    assert "Each cell is a mean." in said
    assert "Not finite (black): 1." in said
    pixels = maps.first.evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 64, 4).data]"
    )
    corners = [pixels[n : n + 3] for n in (0, 4 * 5, 4 * (3 * 64 + 63))]
    assert corners[0][2] > 2 * corners[0][0]  # blue: the mean of -8 and -4
    assert corners[1] == [247, 247, 247]
    assert corners[2] == [0, 0, 0]


def blocks(x, n):
    for i in range(n // 100):
        with gv.scope(f"block{i}"):
            for _ in range(100):
                x = np.sin(x) + 0.1 * x
    return x


def test_a_large_page_leaves_out_the_formulas_of_what_cannot_be_seen_and_says_so(opened):
    graph = gv.trace(blocks, 0.3, 3000)
    page = opened(graph)
    assert "leaves out formulas and source lines of" in page.locator(".asked").inner_text()
    close(page.evaluate("gradviz.get('numbers')"), numbers(graph))
    told = page.evaluate("gradviz.get('structure').nodes.map(node => node.expression !== null)")
    untold = page.evaluate("gradviz.get('structure').untold")
    assert 0 < sum(told) == len(graph.statements) - untold - 1  # the leaf has none
    shown_boxes = page.locator("g.node").evaluate_all(
        "all => all.map(g => +g.dataset.node.slice(1))"
    )
    leaf = graph.statements.id("x")
    assert all(told[i] for i in shown_boxes if i != leaf)
    far = graph.statements.names[told.index(False, leaf + 1)]
    page.get_by_role("combobox", name="Find a value").fill(far)
    page.keyboard.press("Enter")
    asked = page.locator("aside")
    asked.get_by_text("The page leaves out formula and source line of this value.").wait_for()
    assert pretty(graph.grad(far)) in asked.inner_text()
    assert "linear map" not in asked.inner_text()


def test_a_page_of_ten_thousand_operations_is_below_a_megabyte(tmp_path):
    gv.trace(blocks, 0.3, 5000).save(tmp_path / "large.html")
    assert (tmp_path / "large.html").stat().st_size < 1_000_000


def test_a_page_can_be_asked_for_its_first_view_and_refuses_what_does_not_exist(opened, network):
    page = opened(network, targets=["w5", "b2"], selected=["w1"], theme="dark")
    assert page.locator(".reuse tbody tr").count() == 2
    assert page.locator(".asked h3").is_visible()
    assert page.locator(".gradviz-app").get_attribute("data-theme") == "dark"
    with pytest.raises(KeyError, match="no value is called 'w99'"):
        network.save("never.html", targets=["w99"])
    with pytest.raises(ValueError, match="no language 'en-US'"):
        network.save("never.html", language="en-US")


def test_the_modules_state_is_json(network):
    json.dumps(structure(network), allow_nan=False)
    json.dumps(numbers(network.update(w1=float("nan"))), allow_nan=False)


def test_no_english_is_left_in_a_folded_picture_for_a_reader_of_chinese(opened):
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)
            torch.nn.init.constant_(self.linear.weight, -1.0)  # relu lets nothing pass

        def forward(self, x):
            return x + torch.relu(self.linear(x) - 9.0)

    model = torch.nn.Sequential(*(Block() for _ in range(12)))
    graph = gv.trace(lambda x: model(x).sum(), torch.ones(2, 4))
    page = opened(graph, language="zh")
    texts = page.locator(".stage > svg:not(.overview) text").all_text_contents()
    said = " ".join(text.strip() for text in texts)
    for words_told in ("‖值‖", "‖梯度‖", "对数刻度", "欧几里得范数", "恰好为 0"):
        assert words_told in said, words_told
    names = {"Block", "Linear", "linear", "relu", "add", "sum", "weight", "bias", "sub"}
    assert set(re.findall(r"[A-Za-z]{3,}", said)) <= names, said
