"""Lessons: what is asked, what is right, what is said of a wrong answer, what is kept of it."""

from __future__ import annotations

import json
import math
import re

import networkx as nx
import numpy as np
import pytest

import gradviz as gv
from gradviz import examples
from gradviz.web.lesson import travelling
from gradviz.web.page import words
from gradviz.web.payload import numbers, structure

LESSONS = examples.lessons()


def state(lesson):
    return {
        "structure": structure(lesson.whole, lesson.detail),
        "numbers": numbers(lesson.whole, lesson.detail),
        "words": words(),
        "lesson": travelling(lesson),
    }


def difference(graph, name: str) -> float:
    """∂J/∂leaf by central differences of the program run again."""
    x, h = float(graph.value(name)), 1e-6
    ends = [float(graph.update({name: x + d}).value(graph.names[graph.output])) for d in (h, -h)]
    return (ends[0] - ends[1]) / (2 * h)


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=LESSONS)
def test_the_page_thinks_right_what_python_answers_and_finite_differences_agree(rooms, lesson):
    rooms("open", state(lesson))
    found, reused = rooms("expected"), rooms("reused")
    kinds = set()
    for n, question in enumerate(lesson.questions):
        right = lesson.answer(question)
        name = lesson.graph.names[question.node]
        kinds.add(question.kind)
        if isinstance(right, tuple):
            assert [lesson.graph.names[i] for i in reused[n]] == list(right)
            assert (
                right
                == lesson.graph.reuse(
                    *(lesson.graph.names[i] for i in (*question.after, question.node))
                )
                .rows[-1]
                .reused
            )
            continue
        assert math.isclose(found[n], right, rel_tol=1e-12)
        if question.kind == "gradient" and name in lesson.whole.leaf_values():
            assert right == pytest.approx(difference(lesson.whole, name), rel=1e-5)
    assert kinds >= {"value", "local", "gradient"}


def test_the_usual_mistakes_are_recognised(rooms):
    network = examples.backprop_222()
    lesson = (
        network.lesson()
        .value("z_h1").value("a_h1").local("a_o1", "z_o1").message("z_o1", "a_h1")
        .gradient("w5").gradient("a_h1").paths("x1").value("z_o1").gradient("w1").value("J")
    )  # fmt: skip
    rooms("open", state(lesson))
    value, grad = network.statements.value, network.statements.grad
    share = grad("z_o1") * value("w5"), grad("z_o2") * value("w7")
    slope = value("a_o1") * (1 - value("a_o1"))
    given = [
        (0, 0.15 * 0.05 + 0.2 * 0.1, "missedOperand"), (0, -0.3775, "sign"), (0, 0.395, "near"),
        (0, 0.4, "digits"), (2, 0.18, "digits"),
        (0, 5.0, ""), (0, grad("z_h1"), "gradientForValue"), (1, 0.3775, "operand"),
        (2, slope * grad("a_o1"), "messageForLocal"), (2, 1 / slope, "upsideDown"),
        (2, value("a_o1"), "valueForGradient"),
        (3, value("w5"), "forgotUpstream"), (3, grad("z_o1"), "forgotLocal"),
        (4, value("w5"), "valueForGradient"), (4, value("a_h1"), "forgotUpstream"),
        (4, grad("a_o1") * value("a_h1"), "forgotFactor"), (4, -grad("w5"), "sign"),
        (5, share[0], "missedPath"), (5, share[1], "missedPath"),
        (5, value("a_h1"), "valueForGradient"),
        (5, share[0] - share[1], "signOne"), (5, share[0] + grad("z_o2"), "forgotFactor"),
        (5, value("w5") + value("w7"), "forgotUpstreams"),
        (6, 2, "edges"), (6, 1, "onePath"), (6, 3, ""),
        (8, grad("z_h1"), "forgotLocal"), (8, grad("a_h1") * value("x1"), "forgotFactor"),
        (8, share[0] * value("a_h1") * (1 - value("a_h1")) * value("x1"), "onePath"),
        (9, 2 * value("J"), "twice"), (9, value("J") / 2, "half"),
    ]  # fmt: skip
    for n, answer, said in given:
        assert rooms("judged", n, float(answer))["said"] == said, (n, answer)
    for n, answer in enumerate(rooms("expected")):
        assert rooms("judged", n, answer)["right"]
    found = [rooms("judged", 7, value(name))["x"] for name in ("a_h1", "a_h2")]
    assert found == [network.statements.id(name) for name in ("a_h1", "a_h2")]  # 0.6 % apart
    assert rooms("judged", 4, grad("w5") * 1.009)["right"]
    assert not rooms("judged", 6, 4.001)["right"]  # paths are counted


@pytest.mark.parametrize(
    ("text", "number"),
    [("1/4", 0.25), ("−1/4", -0.25), ("8×10⁻³", 0.008), ("8.2 × 10^-2", 0.082), ("-0,5", -0.5),
     ("１", 1), ("1/0", None), ("1/2/3", None), ("", None), ("0x10", None), ("--1", None)],
)  # fmt: skip
def test_an_answer_is_read_as_students_write_numbers(rooms, text, number):
    assert rooms("read", text) == ("NaN" if number is None else number)


def test_zero_is_right_where_rounding_leaves_something_and_wrong_for_what_is_small(rooms):
    noise = gv.expression("x + y - z", x=0.1, y=0.2, z=0.3)
    small = gv.expression("x * y", x=1e-13, y=1.0)
    for graph, right in ((noise, True), (small, False)):
        rooms("open", state(graph.lesson().value(graph.names[graph.output])))
        assert rooms("judged", 0, 0.0)["right"] is right


def test_a_question_that_has_no_answer_is_refused_where_it_is_asked():
    lesson = examples.backprop_222().lesson()
    with pytest.raises(KeyError, match="no value is called 'w99'"):
        lesson.value("w99")
    with pytest.raises(ValueError, match="z_o1 does not read w1"):
        lesson.local("z_o1", "w1")
    with pytest.raises(ValueError, match="no message comes to J"):
        lesson.gradient("J")
    array = gv.trace(lambda w, x: np.sum(w * x), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match=r"w is no single finite number.*elements"):
        array.lesson().value("w")
    with pytest.raises(ValueError, match=r"w\[0\] is a number of an array.*elements"):
        array.lesson("w[0]")
    with pytest.raises(ValueError, match=r"w, x: no number.*elements"):
        array.lesson().about()
    with pytest.raises(ValueError, match="another graph"):
        array.save("never.html", lesson=lesson)


def test_a_lesson_about_a_weight_asks_for_the_values_on_its_paths_and_no_other():
    network = examples.backprop_222().statements
    J = network.output
    below = nx.descendants(network.dag, network.id("w1")) & nx.ancestors(network.dag, J)
    asked = [q.node for q in network.lesson("w1").questions if q.kind == "value"]
    assert set(asked) == below | {J}


@pytest.mark.parametrize("given", [3, True, None, ["w5", "b2"], np.ones(2), b"w5"])
def test_what_is_no_name_is_told_how_a_name_is_written(given):
    network = examples.backprop_222()
    for ask in (network.explain, network.lesson, network.value, network.grad, network.reuse,
                network.lesson().value):  # fmt: skip
        with pytest.raises(TypeError, match="is no name of a value: write one as 'x1', several"):
            ask(given)


def test_one_name_is_as_good_as_a_list_of_one_and_a_number_is_neither(tmp_path):
    network = examples.backprop_222()
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    network.save(pages[0], targets="w5", lesson="w5")
    network.save(pages[1], targets=["w5"], lesson=["w5"])
    assert pages[0].read_text() == pages[1].read_text()
    for wrong in ({"targets": 3}, {"lesson": 3}, {"selected": 3}):
        with pytest.raises(TypeError, match="3: give a name, or a list of names"):
            network.save(pages[0], **wrong)
    with pytest.raises(TypeError, match="highlight='w5': give a result"):
        network.draw(highlight="w5")


def test_on_paper_what_is_not_asked_and_tells_no_answer_is_given(tmp_path):
    network = examples.backprop_222()
    network.lesson("w5").save(tmp_path / "sheet.html", paper=True)
    picture = (tmp_path / "sheet.html").read_text().split("<ol>")[0]
    for name, given in (("a_h1", True), ("a_h2", True), ("z_o1", False), ("J", False)):
        assert (f">{network.value(name):.5g}<" in picture) is given, name


def test_on_paper_the_solutions_stand_on_a_page_of_their_own(tmp_path):
    lesson = examples.lessons("zh")["network"]
    lesson.save(tmp_path / "sheet.html", paper=True)
    html = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    questions, solutions = html.split('<section class="solutions">')
    assert "<math><msub><mi>z</mi><mi>h1</mi></msub></math> 的值是多少" in questions
    assert re.search(r"<mfrac>.*?∂.*?</mfrac></math> 是多少", questions)
    assert questions.count(">0.15<") == 1  # what is given stands in the picture
    assert questions.count('class="blank"') == solutions.count("<li>") == len(lesson)
    assert re.search(r"\.solutions \{ break-before: page", html)
    told = re.sub(r"<style>.*?</style>", "", questions, flags=re.S)
    for secret in ("0.59327", "0.082167", "0.000438568", "0.298371"):
        assert secret not in told
        assert secret in solutions


@pytest.mark.browser
def test_a_student_predicts_is_told_what_went_wrong_and_saves_what_became_of_it(opened, tmp_path):
    network = examples.backprop_222()
    lesson = (
        network.lesson(title="One weight")
        .value("z_h1")
        .local("a_o1", "z_o1", text="Your turn: the slope of σ?")
        .gradient("w5")
        .reused("b2", after=("w5",))
        .gradient("a_h1")
        .paths("w1")
    )
    page = opened(network, lesson=lesson)
    source = page.content()
    for secret in ("0.3775", "0.1868", "0.08216", "0.2983"):
        assert secret not in source.split("<script", 1)[1]
    box = page.locator(".lesson")
    said = box.locator("[aria-live]")

    def answer(text: str) -> str:
        box.get_by_role("textbox", name="Your answer").fill(text)
        page.keyboard.press("Enter")
        return said.inner_text()

    def go_on() -> None:
        page.keyboard.press("Enter")  # the button that has the focus

    card = page.locator('g.node[aria-label^="z_h1 ="]')
    assert card.get_attribute("aria-label") == "z_h1 = ?"
    assert "“zero” is no number" in answer("zero")
    assert "Not yet. The part with" in answer("0.0275").replace("\n", " ")
    page.get_by_role("button", name="To the end").click()  # no way around the question
    assert card.get_attribute("aria-label") == "z_h1 = ?"
    assert "Right: " in answer("0.378")
    assert card.get_attribute("aria-label").startswith("z_h1 = 0.3775")
    go_on()

    assert "Your turn" in box.inner_text()
    page.get_by_role("button", name="Hint").click()
    assert "a_o1" in said.inner_text()
    assert "z_o1→a_o1" in said.inner_text()
    assert page.locator("g.arrow.is-pointed").count() == 1
    page.get_by_role("button", name="Show the answer").click()
    assert "0.186816" in said.inner_text()
    go_on()

    assert "A factor is missing" in answer("0.5933")
    assert "the sign is not" in answer("−0,082")
    assert "That is the value of" in answer("0.4")
    assert "Right" in answer("8.22×10^-2")
    go_on()

    box.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Check").click()
    assert "Some are missing" in said.inner_text()
    for tick in box.get_by_role("checkbox").all():
        tick.check()
    page.get_by_role("button", name="Check").click()
    assert "Right" in said.inner_text()
    go_on()

    assert "is still to be added" in answer("0.0554")
    assert "Right" in answer("0.03635")
    go_on()
    assert "There is another way" in answer("1")
    assert "Right" in answer("2")
    go_on()

    assert "5 of 6 predicted rightly" in box.inner_text()
    assert page.locator("aside").is_visible()
    box.get_by_role("textbox", name="Name").fill("Ada")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the results").click()
    download.value.save_as(tmp_path / "results.json")
    assert download.value.suggested_filename == "Ada-results.json"
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert (results["name"], results["lesson"], results["right"]) == ("Ada", "One weight", 5)
    told = [[said for _, said in question["answers"]] for question in results["questions"]]
    assert told == [
        ["missedOperand", "right"], [], ["forgotUpstream", "sign", "valueForGradient", "right"],
        ["missedTerms", "right"], ["missedPath", "right"], ["onePath", "right"],
    ]  # fmt: skip
    assert results["questions"][1]["shown"]
    assert results["questions"][1]["hints"] == 1


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [(390, 844), (640, 400)])
def test_a_lesson_is_done_by_the_keyboard_alone_and_what_is_asked_about_is_seen(opened, viewport):
    lesson = LESSONS["network"]
    page = opened(lesson.whole, lesson=lesson, viewport=viewport)
    box = page.locator(".lesson")
    seen = """i => {
      const box = document.querySelector(`g.node[data-node="n${i}"]`).getBoundingClientRect();
      const stage = document.querySelector('.stage').getBoundingClientRect();
      return box.left >= stage.left - 1 && box.right <= stage.right + 1
        && box.top >= stage.top - 1 && box.bottom <= stage.bottom + 1 }"""
    for n, question in enumerate(lesson.questions):
        assert f"Question {n + 1} of {len(lesson)}" in box.inner_text()
        assert page.evaluate(seen, question.node), question
        right = lesson.answer(question)
        if question.kind == "reused":
            terms = box.get_by_role("checkbox")
            assert not any(term.is_checked() for term in terms.all())
            names = terms.evaluate_all("all => all.map(one => Number(one.value))")
            for i in names:
                if lesson.graph.names[i] in right:
                    page.keyboard.press("Space")
                page.keyboard.press("Tab")
        else:
            page.keyboard.type(f"{right:.4g}")
        page.keyboard.press("Enter")
        assert box.locator(".is-right").is_visible(), (question, box.inner_text())
        page.keyboard.press("Enter")
    assert f"{len(lesson)} of {len(lesson)} predicted rightly" in box.inner_text()


@pytest.mark.browser
def test_a_lesson_speaks_the_language_that_it_is_given(opened):
    lesson = examples.lessons("zh")["rnn"]
    page = opened(lesson.whole, lesson=lesson)
    assert "第 1 题" in page.locator(".lesson").inner_text()
    assert "同一个 w 用在三步中" in page.locator(".lesson").inner_text()
    page.get_by_role("button", name="显示答案").click()
    assert re.search(r"答案是\s*3", page.locator(".lesson").inner_text())
