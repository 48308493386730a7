"""What a page shares: its address, a frame in another page, several graphs, a talk, paper."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import pytest

import gradviz as gv

browser = pytest.mark.browser


def place(page) -> str:
    return page.locator(".counter").first.inner_text()


@browser
def test_the_address_says_where_the_page_stands_and_brings_another_reader_there(opened, network):
    page = opened(network)
    address = page.url.split("#")[0]
    page.goto(f"{address}#step=14&targets=w5,b2,w1&selected=nobody")
    page.reload()
    assert place(page) == "backward 4 of 10"
    assert page.locator(".reuse tbody tr").count() == 3
    page.keyboard.press(".")
    page.wait_for_url("**#step=15&targets=w5,b2,w1&selected=nobody")
    page.goto(f"{address}#step=2&targets=%25")  # what is no name is none
    page.reload()
    assert place(page) == "forward 2 of 9"


@browser
def test_a_compact_page_fits_a_small_frame_and_opens_at_its_step(opened, network):
    page = opened(network, compact=True, step=17, targets=["w5", "b2", "w1"], viewport=(700, 500))
    assert place(page) == "backward 7 of 10"
    overflow = "[document.documentElement.scrollHeight, document.documentElement.scrollWidth]"
    assert page.evaluate(overflow) == [500, 700]
    assert page.locator("header").is_hidden()
    lit, stage = page.locator("g.pill.is-lit").bounding_box(), page.locator(".stage").bounding_box()
    assert stage["height"] > 240
    assert stage["x"] < lit["x"] < stage["x"] + stage["width"]
    size = page.locator("g.node.is-now text").first.evaluate(
        "text => text.getBoundingClientRect().height"
    )
    assert size > 8  # it can be read
    page.keyboard.press(".")
    assert place(page) == "backward 8 of 10"


@browser
def test_in_a_small_frame_nothing_lies_over_a_box_and_little_of_the_stage_is_empty(opened, network):
    page = opened(network, compact=True, step=0, viewport=(700, 500))
    seen = set()
    for _ in range(20):
        page.keyboard.press(".")
        covered, share = page.evaluate(
            """() => {
              const place = (e) => e.getBoundingClientRect();
              const shared = (a, b) => [["left", "right"], ["top", "bottom"]].map(([from, to]) =>
                Math.max(0, Math.min(a[to], b[to]) - Math.max(a[from], b[from])))
                .reduce((wide, high) => wide * high);
              const stage = place(document.querySelector(".stage"));
              const map = place(document.querySelector(".overview"));
              const boxes = [...document.querySelectorAll(".stage g.node > rect")].map(place);
              const panel = place(document.querySelector(".stage g.panel"));
              return [boxes.filter((box) => shared(box, map) > 0).length,
                      shared(panel, stage) / (stage.width * stage.height)];
            }"""
        )
        assert covered == 0
        assert share > 0.85
        seen.add(page.locator(".overview").is_visible())
    assert True in seen


@browser
def test_graphs_side_by_side_share_one_script_and_each_has_its_own_state(opened, network):
    other = network.step(5.0)
    page = opened(network, beside=other, columns=2)
    assert page.locator('script[type="module"]').count() == 1
    apps = page.locator(".gradviz-app")
    boxes = [apps.nth(n).bounding_box() for n in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    values = "gradvizzes.map(model => model.get('numbers').values[model.get('structure').output])"
    assert page.evaluate(values) == [network.value("J"), other.value("J")]
    apps.nth(1).get_by_role("button", name="To the beginning").click()
    assert apps.nth(0).locator(".counter").first.inner_text() == "both passes done"
    assert apps.nth(1).locator(".counter").first.inner_text() == "forward 0 of 9"


@browser
def test_before_an_audience_the_keys_of_a_remote_step(opened, network):
    page = opened(network, step=0)
    page.keyboard.press("p")
    assert page.locator("header").is_hidden()
    for key in ("PageDown", "PageDown", "PageUp"):
        page.keyboard.press(key)
    assert place(page) == "forward 1 of 9"
    told = page.locator(".told").evaluate("told => parseFloat(getComputedStyle(told).fontSize)")
    assert told >= 20
    page.keyboard.press("Escape")
    assert page.locator("header").is_visible()


@browser
def test_on_paper_it_is_light_has_no_controls_and_every_formula_whole(opened, network):
    page = opened(network, theme="dark", selected=["w1"])
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    app = page.locator(".gradviz-app")
    assert app.evaluate("app => getComputedStyle(app).backgroundColor") == "rgb(255, 255, 255)"
    for control in ("input", "select", ".transport", ".copy"):
        assert not any(found.is_visible() for found in app.locator(control).all())
    formulas = app.locator("aside math:visible")
    assert formulas.count() > len(network.explain("w1").terms)  # the folded part too
    widths = formulas.evaluate_all("all => all.map(math => math.getBoundingClientRect().right)")
    assert max(widths) <= 1500


@browser
def test_a_picture_too_small_to_read_is_shown_in_part_and_moved(opened):
    names = [("sin", "cos", "tanh")[n * n % 97 % 3] for n in range(30)]  # which repeat nothing
    lines = (f"a{n + 1} = {name}(a{n})" for n, name in enumerate(names))
    long = gv.expression("; ".join(lines), a0=0.3)
    page = opened(long, viewport=(390, 844))
    size = page.locator("g.node text").first.evaluate("t => t.getBoundingClientRect().height")
    assert size > 8
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    last = page.locator(f'g.node[data-node="n{len(long.statements) - 1}"]')
    stage = page.locator(".stage").bounding_box()
    assert last.bounding_box()["y"] > stage["y"] + stage["height"]
    page.get_by_role("button", name="To the beginning").click()
    while "30 of 30" not in place(page):
        page.keyboard.press(".")  # stepping follows what happens
    assert last.bounding_box()["y"] < stage["y"] + stage["height"]


def seen(svg: str) -> str:
    """The texts of a picture that are not hidden."""
    root = ET.fromstring(svg)
    for parent in root.iter():
        for child in [*parent]:
            if child.get("visibility") == "hidden":
                parent.remove(child)
    return " ".join(" ".join(root.itertext()).split())


def test_a_series_of_pictures_shows_each_number_from_its_step_on(network, tmp_path):
    pictures = network.frames("w5", "b2", "w1")
    assert len(pictures) == 1 + 9 + 1 + 10 + 1
    sizes = {re.search(r'viewBox="[^"]*"', svg)[0] for svg in pictures}
    assert len(sizes) == 1  # one layout
    assert len({re.sub(r"[^M]*", "", svg) for svg in pictures[:10]}) == 1
    for number, first in (("0.3775", 1), ("0.29837", 9), ("0.082167", 13), ("0.00043857", 20)):
        assert [number in seen(svg) for svg in pictures] == [n >= first for n in range(22)], number
    assert "∂J/∂a_h1 = −0.019049 + …" in seen(pictures[17])
    assert "∂J/∂a_h1 = −0.019049 + 0.055399 = 0.03635" in seen(pictures[18])
    with pytest.raises(ValueError, match="too many for pictures of every step"):
        gv.expression("; ".join(f"a{n + 1} = sin(a{n})" for n in range(400)), a0=0.3).frames()


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_both_passes_are_a_film(tmp_path, suffix, capfd):
    image = pytest.importorskip("PIL.Image")
    graph = gv.expression("c = a * b; c + b", a=2.0, b=3.0)
    path = tmp_path / f"film.{suffix}"
    if suffix == "mp4":
        ffmpeg = pytest.importorskip("imageio_ffmpeg")
        graph.save(path, seconds=0.5)
        assert capfd.readouterr() == ("", "")
        frames, seconds = ffmpeg.count_frames_and_secs(str(path))
        assert frames > 8
        assert seconds == pytest.approx(0.5 * (len(graph.frames()) + 2), abs=0.7)
        return
    graph.save(path, seconds=0.5)
    film = image.open(io.BytesIO(path.read_bytes()))
    assert film.n_frames == len(graph.frames())
