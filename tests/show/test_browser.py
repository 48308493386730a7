"""Labels stay in their boxes and off each other: measured in real browsers."""

from __future__ import annotations

import re

import graphs
import pytest
from gallery import NAMES, shown

from gradviz.show.drawing import draw

pytestmark = pytest.mark.browser
SLACK = 0.75  # pixels: half the width of a line


@pytest.fixture(scope="session", params=["chromium", "firefox"])
def measured(request, pictures) -> dict:
    measure = request.getfixturevalue(f"measure_in_{request.param}")
    found = measure([drawing.svg for drawing in pictures.values()])
    return dict(zip(pictures, found, strict=True))


def inside(inner, outer) -> bool:
    return (inner[0] >= outer[0] - SLACK and inner[1] >= outer[1] - SLACK
            and inner[2] <= outer[2] + SLACK and inner[3] <= outer[3] + SLACK)  # fmt: skip


def overlap(a, b) -> bool:
    return (min(a[2], b[2]) - max(a[0], b[0]) > SLACK
            and min(a[3], b[3]) - max(a[1], b[1]) > SLACK)  # fmt: skip


def test_every_label_lies_inside_its_box(measured):
    for picture, found in measured.items():
        assert found["texts"], picture
        for text in found["texts"]:
            frames = text["frames"] if len(text["frames"]) and text["frames"] else [found["svg"]]
            assert any(inside(text["box"], frame) for frame in frames), (picture, text)


def test_every_text_is_as_wide_as_it_was_measured(measured):
    for picture, found in measured.items():
        for text in found["texts"]:
            assert text["width"] == pytest.approx(text["wanted"], abs=0.1), (picture, text)


def test_no_two_boxes_or_labels_overlap(measured):
    for picture, found in measured.items():
        for panel in found["boxes"]:
            assert panel, picture
            for i, one in enumerate(panel):
                for other in panel[:i]:
                    assert not overlap(one["box"], other["box"]), (picture, one, other)


def test_heading_and_legend_keep_clear_of_the_picture_and_of_each_other(measured):
    for picture, found in measured.items():
        boxes = [item["box"] for panel in found["boxes"] for item in panel]
        for i, text in enumerate(found["loose"]):
            assert inside(text, found["svg"]), (picture, text)
            assert not any(overlap(text, box) for box in boxes), (picture, text)
            for other in found["loose"][:i]:
                small = min(text[3] - text[1], other[3] - other[1]) < 10  # a subscript
                assert small or not overlap(text, other), (picture, text, other)


def test_a_subscript_is_smaller_and_lower_than_its_letter(measured):
    texts = measured["article"]["texts"]
    at = next(i for i, text in enumerate(texts) if text["text"] == "z" and text["size"] > 16)
    letter, subscript = texts[at]["box"], texts[at + 1]["box"]
    assert texts[at + 1]["text"] == "h"
    assert subscript[3] - subscript[1] < 0.8 * (letter[3] - letter[1])
    assert sum(subscript[1::2]) > sum(letter[1::2]) + 4
    assert letter[2] - 1 <= subscript[0] <= letter[2] + 2


MEETING = """svg => {
  const found = [];
  const rect = e => {
    const b = e.getBBox(), moved = e.closest('g.node, g.pill, g.group-title');
    const {e: x, f: y} = moved?.transform.baseVal.consolidate()?.matrix ?? {e: 0, f: 0};
    return [b.x + x, b.y + y, b.x + x + b.width, b.y + y + b.height];
  };
  const said = e => (e.querySelector('title') ?? e).textContent.trim().split('\\n')[0];
  for (const panel of svg.querySelectorAll('g.panel')) {
    const all = (name, part) =>
      [...panel.querySelectorAll('g.' + name)].map(g => [g, rect(g.querySelector(part))]);
    const boxes = all('node', 'rect:not([fill=none])'), labels = all('pill', 'rect');
    const headings = all('group-title', 'g'), things = [...boxes, ...labels, ...headings];
    things.forEach(([g, a], i) => things.slice(i + 1).forEach(([h, b]) => {
      if (Math.min(a[2], b[2]) - Math.max(a[0], b[0]) > SLACK
          && Math.min(a[3], b[3]) - Math.max(a[1], b[1]) > SLACK)
        found.push('two overlap: ' + said(g) + ' | ' + said(h));
    }));
    for (const [g, [left, , right]] of [...boxes, ...labels])
      for (const text of g.querySelectorAll('text')) {
        const [begin, , end] = rect(text);
        if (begin < left - SLACK || end > right + SLACK)
          found.push('a text sticks out: ' + said(g) + ' | ' + text.textContent);
      }
    for (const arrow of panel.querySelectorAll('g.arrow')) {
      const path = arrow.querySelector('path'), {tail, head} = arrow.dataset;
      const others = things.filter(([g]) => ![tail, head].includes(g.dataset.node)
                                   && !(g.dataset.tail == tail && g.dataset.head == head));
      const met = new Set();
      for (let at = 0, long = path.getTotalLength(); at <= long; at += 3) {
        const {x, y} = path.getPointAtLength(at);
        for (const [g, [left, top, right, bottom]] of others)
          if (left + 1 < x && x < right - 1 && top + 1 < y && y < bottom - 1) met.add(said(g));
      }
      met.forEach(other => found.push('an edge runs through: ' + said(arrow) + ' | ' + other));
    }
  }
  return found;
}""".replace("SLACK", str(SLACK))


OPENED = {
    "numpy_kalman": ["loop/2-8", "loop/2"],
    "hugging_face_llama": [f"model/layers.0/self_attn/apply_rotary_pos_emb{inner}"
                           for inner in ("", "/cos, sin")],
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in OPENED if name in NAMES])
def test_no_edge_runs_over_a_heading_of_what_was_opened_by_name(chromium, name):
    page = chromium.new_page()
    page.set_content(shown(name).graph.draw(unfold=OPENED[name]).svg)
    assert page.locator("g.group-title").count() > 2
    assert page.locator("svg").evaluate(MEETING) == []
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_in_the_picture_of_a_model_nothing_lies_on_another(chromium, name):
    page = chromium.new_page()
    page.set_content(shown(name).drawing.svg)
    assert page.eval_on_selector("svg.gradviz", MEETING) == []
    page.close()


def test_the_theme_auto_follows_the_reader(chromium):
    page = chromium.new_page()
    page.set_content(draw(graphs.colah(), theme="auto").svg)
    ground = "() => getComputedStyle(document.querySelector('svg > rect')).fill"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == "rgb(18, 23, 30)"
    page.close()


def test_text_has_enough_contrast_on_its_ground():
    from gradviz.show.style import DARK, LIGHT

    def luminance(code: str) -> float:
        parts = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    cards = ("input", "parameter", "constant", "operation", "output", "gradient-card",
             "target-card", "computed-card", "cached-card")  # fmt: skip
    for palette in (LIGHT, DARK):
        for ink in ("ink", "value", "gradient", "soft"):
            for card in cards:
                assert contrast(palette[ink], palette[card]) >= 4.5, (ink, card)
        for chip in ("target", "computed", "cached", "value", "soft"):
            assert contrast(palette["ground"], palette[chip]) >= 4.5, chip


def test_nothing_in_a_picture_is_fetched_or_run(pictures):
    for drawing in pictures.values():
        markup = re.sub(r">[^<]*<", "><", drawing.svg)  # tags only, without their texts
        assert not re.search(r"href|url\(|<script|<image|<foreignObject|\son\w+=|@import", markup)
        assert re.findall(r"https?://[^\"]*", markup) == ["http://www.w3.org/2000/svg"]
