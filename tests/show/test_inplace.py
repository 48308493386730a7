"""In a page folds open and close where they are, several at a time; the rest keeps its order."""

from __future__ import annotations

import re

import gallery
import pytest
from gallery import LAYERED, shown
from test_browser import MEETING

import gradviz as gv
from gradviz.web.pictures import drawing

pytestmark = pytest.mark.browser
NAMES = ["resnet", "unet", "gpt", "encoder_decoder"]
FIRST = [*NAMES, "seq2seq", "radiance_field", "vit"]
SEEN = """() => Object.fromEntries([...document.querySelectorAll('.stage g.node')].map(g => {
  const {x, y, right, bottom} = g.querySelector('rect').getBoundingClientRect();
  return [g.dataset.node, {box: [x, y, right, bottom], text: g.textContent.replace(/\\s+/g, '')}];
}))"""


@pytest.fixture
def opened(chromium, tmp_path):
    """A page of a model, with a function that opens or closes a fold of it."""
    pages = []

    def open_page(name):
        path = tmp_path / "page.html"
        (shown(name).graph if isinstance(name, str) else name).save(path)
        page = chromium.new_page(viewport={"width": 1500, "height": 950})
        pages.append(page)
        page.goto(path.as_uri())
        page.locator(".gradviz-app g.node").first.wait_for()

        def toggle(key):
            before = page.evaluate("gradviz.get('drawing').svg")
            page.evaluate("key => gradvizApp(key)", key)
            page.wait_for_function("before => gradviz.get('drawing').svg !== before", arg=before)
            return page.evaluate(SEEN)

        page.evaluate("""() => { globalThis.gradvizApp = key => {
          const {folded} = gradviz.get('drawing');
          const shut = folded.includes(key);
          gradviz.send({kind: 'fold', key, serial: 'x',
                        folded: shut ? folded.filter(k => k !== key) : [...folded, key]});
        } }""")
        return page, toggle

    yield open_page
    for page in pages:
        page.close()


def inner(drawing):
    """The closed folds of a picture that it has the insides of."""
    return [key for key in drawing["closed"].values() if key not in drawing["sealed"]]


def in_order(before, after):
    """Whether what stood above or beside another still does."""
    both = [(before[i]["box"], after[i]["box"]) for i in before if i in after]
    for a, c in both:
        for b, d in both:
            for k in (0, 1):  # one that is beyond another, and in its way
                beyond = a[k + 2] <= b[k] and a[1 - k] < b[3 - k] and b[1 - k] < a[3 - k]
                if beyond and not c[k + 2] <= d[k] + 0.5:
                    return False
    return True


@pytest.mark.parametrize("name", [name for name in NAMES if name in LAYERED])
def test_folds_of_a_model_open_side_by_side_two_clicks_deep(opened, name):
    graph = shown(name).graph
    page, toggle = opened(name)

    def state():
        return page.evaluate("gradviz.get('drawing')")

    first = state()
    known = page.evaluate("gradviz.local.pictures.drawings[0].insides")
    starting = inner(first)
    deep = [key for key in starting if inner(known[key]["drawing"])]
    asked = [*deep[:1], *(key for key in starting if key not in deep[:1])][:2]
    asked += [inner(known[key]["drawing"])[0] for key in deep[:1]]
    start = before = page.evaluate(SEEN)
    for key in asked:
        after = toggle(key)
        now = state()
        assert key not in now["folded"], now["folded"]
        svg = page.locator(".stage > svg").first
        assert svg.evaluate(MEETING) == [], key
        assert in_order({i: b for i, b in before.items() if b["text"] == after.get(i, b)["text"]},
                        after), key  # fmt: skip
        kernel = drawing(graph, now["folded"], now["direction"])  # which lays out the whole
        assert now["closed"] == {str(box): fold for box, fold in kernel["closed"].items()}
        assert now["inside"] == [list(run) for run in kernel["inside"]]
        assert sorted(now["scopes"]) == sorted(kernel["scopes"])
        before = after
    for key in reversed(asked):
        toggle(key)
    assert {i: b["text"] for i, b in page.evaluate(SEEN).items()} == {
        i: b["text"] for i, b in start.items()
    }
    assert state()["svg"] == first["svg"]


COVERED = """() => [...document.querySelectorAll('.stage g.node')].filter(g => {
  const {x, y, width, height} = g.querySelector('rect').getBoundingClientRect();
  const seen = document.elementFromPoint(x + width / 2, y + height / 2);
  return seen.closest('g.node') !== g;
}).map(g => g.textContent)"""
LOOSE = """() => {
  const ends = kind => [...document.querySelectorAll(`.stage g.arrow[data-${kind}]`)].map(g => {
    const numbers = g.querySelector('path').getAttribute('d').match(/-?[\\d.]+/g).map(Number);
    return {key: g.dataset.key, name: g.dataset[kind],
            at: kind === 'tail' ? numbers.slice(0, 2) : numbers.slice(-2)};
  });
  const [tails, heads] = [ends('tail'), ends('head')];
  const loose = (port, others) => !others.some(
    ({name, at}) => name[0] === '/' && Math.hypot(at[0] - port.at[0], at[1] - port.at[1]) < 2);
  return [...tails.filter(end => /^entry/.test(end.name) && loose(end, heads)),
          ...heads.filter(end => /^exit/.test(end.name) && loose(end, tails))];
}"""


@pytest.mark.skipif("lstm_classifier" not in LAYERED, reason="torch is not installed")
def test_what_opens_in_a_picture_without_frames_is_seen_and_its_edges_go_on(opened):
    page, toggle = opened("lstm_classifier")
    assert page.evaluate("document.querySelectorAll('.stage .group').length") == 0
    for key in "lstm", "lstm/lstm":
        toggle(key)
        assert page.evaluate("document.querySelectorAll('.stage .group').length") > 0
        assert page.evaluate(COVERED) == []
        assert page.evaluate(LOOSE) == []


@pytest.mark.parametrize("name", [name for name in FIRST if name in LAYERED])
def test_what_is_open_at_first_closes_where_it_is(opened, name):
    graph = shown(name).graph
    page, toggle = opened(name)
    first = page.evaluate("gradviz.get('drawing')")
    closing = [key for key in first["scopes"] if key not in first["folded"]]
    for key in reversed(closing):  # inner ones first
        before = page.evaluate(SEEN)
        after = toggle(key)
        now = page.evaluate("gradviz.get('drawing')")
        assert key in now["folded"]
        kernel = drawing(graph, now["folded"], now["direction"])
        assert now["closed"] == {str(box): fold for box, fold in kernel["closed"].items()}
        assert now["inside"] == [list(run) for run in kernel["inside"]]
        assert page.locator(".stage > svg").first.evaluate(MEETING) == [], key
        kept = {i: b for i, b in before.items() if b["text"] == after.get(i, b)["text"]}
        assert in_order(kept, after), key


CROSSED = """() => [...document.querySelectorAll('.stage g.group-title')].filter(title => {
  const {left, top, right, bottom} = title.getBoundingClientRect();
  return [...document.querySelectorAll('.stage g.arrow path:not(.hit)')].some(line => {
    const long = line.getTotalLength(), matrix = line.getScreenCTM();
    for (let at = 0; at <= long; at += 2) {
      const {x, y} = line.getPointAtLength(at).matrixTransform(matrix);
      if (x > left + 1 && x < right - 1 && y > top + 2 && y < bottom - 2) return true;
    }
    return false;
  });
}).map(title => title.textContent)"""


@pytest.mark.parametrize(("name", "keys"), [
    ("seq2seq", ["encoder", "loop/2-6"]),
    ("mamba", ["1/conv1d", "1/loop/2-8"]),
    ("llama", ["layers.0/self_attn/q_proj", "layers.0/self_attn/rotated 2"]),
    ("encoder_decoder", ["embed"]),  # its edges come to it in another order
    ("lstm_classifier", ["lstm"]),  # one leads back below it
    ("diffusion", ["mid_attn", "mid_attn/q"]),  # one comes from above to where it begins, below
    ("numpy_kalman", ["loop/2-8"]),  # a leaf stands in its first column
])  # fmt: skip
def test_no_edge_runs_over_a_heading_or_a_box_where_something_was_opened(opened, name, keys):
    if name not in gallery.NAMES:
        pytest.skip("PyTorch is not installed")
    page, toggle = opened(name)
    for key in keys:
        assert key in page.evaluate("Object.values(gradviz.get('drawing').closed)")
        toggle(key)
        assert page.evaluate(CROSSED) == [], key
        assert page.evaluate(LOOSE) == [], key
        assert page.locator(".stage > svg").first.evaluate(MEETING) == [], key
    state = page.evaluate("gradviz.get('drawing')")
    whole = drawing(shown(name).graph, state["folded"], state["direction"])
    heads = [set(re.findall(r'data-head="(n\d+)"', svg)) for svg in (whole["svg"], state["svg"])]
    assert heads[0] == heads[1]  # all that reads something has an edge


@pytest.mark.skipif("gpt" not in LAYERED, reason="PyTorch is not installed")
def test_what_was_open_in_a_fold_is_open_when_that_opens_again(opened):
    page, toggle = opened("gpt")
    for key in ("blocks/2-6", "blocks.1"):
        toggle(key)
    before = page.evaluate("gradviz.get('drawing').svg")
    for _ in range(2):
        toggle("blocks/2-6")
    assert page.evaluate("gradviz.get('drawing').svg") == before
    for key in ("blocks.1", "blocks/2-6", "blocks/2-6"):
        toggle(key)
    assert "blocks.1" in page.evaluate("gradviz.get('drawing').folded")


@pytest.mark.skipif("char_rnn" not in LAYERED, reason="PyTorch is not installed")
def test_the_name_of_what_opened_is_whole(opened):
    page, toggle = opened("char_rnn")
    toggle("loop/2-12")
    headings = page.locator(".stage g.group-title text").all_text_contents()
    assert "iterations 2–12" in [said.strip() for said in headings]


def test_a_page_that_is_too_large_begins_where_its_first_parameter_is_used(opened):
    page, _ = opened("numpy_lstm")
    boxes = [
        page.locator(place).first.bounding_box()
        for place in (".stage", ".stage g.node[aria-label^='z,']")
    ]
    stage, used = (box["x"] + box["width"] / 2 for box in boxes)
    assert abs(used - stage) < boxes[0]["width"] / 8


WAYS = """() => [...document.querySelectorAll('.stage g.arrow')].map(arrow => {
  const {width, height} = arrow.querySelector('path').getBoundingClientRect();
  return [arrow.dataset.key, width, height];
})"""


@pytest.mark.skipif("unet" not in LAYERED, reason="PyTorch is not installed")
def test_a_unet_is_a_u_in_a_page_and_stays_one_when_its_blocks_open(opened):
    page, toggle = opened("unet")
    across = {key for key, width, _ in page.evaluate(WAYS) if width > 150}
    assert len(across) == 4  # three skips, and the turn at the bottom

    def slopes():
        return [high for key, _, high in page.evaluate(WAYS) if key in across]

    for key in ("downs.0", "convs.0", "downs.2"):
        toggle(key)
        assert max(slopes()) < 4, key
        assert page.locator(".stage > svg").first.evaluate(MEETING) == [], key
    boxes = {box["text"][:9]: box["box"] for box in page.evaluate(SEEN).values()}
    assert boxes["convs.0.0"][1] > boxes["convs.0.5"][1]  # the right side rises
    assert boxes["downs.0.0"][1] < boxes["downs.0.5"][1]
    for key in ("inc", "downs.2", "downs.0"):
        toggle(key)
        assert max(slopes()) < 4, key


REACH = """() => {
  const svg = document.querySelector('.stage > svg'), {a, e, f} = svg.getScreenCTM();
  const sides = kind => [...svg.querySelectorAll(kind)].map(thing => {
    const {left, top, right, bottom} = thing.getBoundingClientRect();
    return [(left - e) / a, (top - f) / a, (right - e) / a, (bottom - f) / a];
  });
  const drawn = sides('g.node > rect, g.pill > rect, .group, g.arrow path:not(.hit)');
  const legend = sides(':scope > g:not(.panel) text');
  const [width] = gradviz.get('drawing').svg.match(/viewBox="0 0 \\S+/)[0].split(' ').slice(2);
  return {least: Math.min(...drawn.map(at => at[0])), below: Math.max(...drawn.map(at => at[3])),
          right: width - Math.max(...[...drawn, ...legend].map(at => at[2])),
          legend: Math.min(...legend.map(at => at[1]))};
}"""


@pytest.mark.parametrize(("name", "keys"), [
    ("hugging_face_mixtral", ["model/layers.0/self_attn/apply_rotary_pos_emb"]),
    ("vit", ["encoder/layers.0/self_attn", "encoder/layers.0", "encoder"]),  # which close
    ("unet", ["downs.0", "convs.0"]),
])  # fmt: skip
def test_the_picture_keeps_its_margin_and_its_legend_stays_below(opened, name, keys):
    if name not in gallery.NAMES:
        pytest.skip("PyTorch is not installed")
    page, toggle = opened(name)
    for key in [None, *keys]:
        if key:
            toggle(key)
        found = page.evaluate(REACH)
        assert found["least"] > 15, key
        assert found["right"] > 15, key
        assert found["below"] < found["legend"], key


BEHIND = """() => [...document.querySelectorAll('.stage g.arrow')].filter(arrow => {
  const line = arrow.querySelector('path'), long = line.getTotalLength();
  const matrix = line.getScreenCTM();
  for (let at = 14; at < long - 14; at += 2) { // beyond its ends
    const {x, y} = line.getPointAtLength(at).matrixTransform(matrix);
    const over = document.elementsFromPoint(x, y).find(e => e.closest('g.node'));
    if (over) return true;
  }
  return false;
}).map(arrow => arrow.dataset.key)"""


@pytest.mark.skipif("gpt" not in LAYERED, reason="PyTorch is not installed")
def test_an_edge_to_the_next_column_keeps_clear_of_what_has_closed(opened):
    import torch
    from torch import nn

    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4)) for _ in range(3)]
    model = nn.Sequential(nn.Linear(3, 4), *blocks, nn.Linear(4, 1))
    page, toggle = opened(gv.trace(model, torch.ones(2, 3), loss=torch.sum))
    page.get_by_role("button", name="Show the whole graph").click()
    toggle("blocks")
    assert page.locator(".stage g.node[data-kind=fold]").count() == 1
    assert page.evaluate(BEHIND) == []


FRAMES = """() => [...document.querySelectorAll('.stage .group')].map(frame => {
  const {x, y, width, height} = frame.getBBox();
  return {x, y, width, height};
})"""


@pytest.mark.skipif("hugging_face_t5" not in LAYERED, reason="PyTorch is not installed")
def test_a_frame_beside_what_opens_stays_as_large_as_what_is_in_it(opened):
    page, toggle = opened("hugging_face_t5")
    before = page.evaluate(FRAMES)
    lone = min(before, key=lambda frame: frame["height"])  # around one box of the encoder
    toggle("decoder/block.0/layer.0")
    after = page.evaluate(FRAMES)
    heights = [frame["height"] for frame in after if frame["width"] == lone["width"]]
    assert heights == [pytest.approx(lone["height"], abs=1)]


@pytest.mark.skipif("gpt" not in LAYERED, reason="PyTorch is not installed")
def test_what_is_read_of_a_box_begins_with_what_it_shows(opened):
    page, _ = opened("gpt")
    box = page.locator(".stage g.node[data-kind=fold]").filter(has_text="blocks.1 … blocks.5")
    label = box.get_attribute("aria-label")
    count = re.search(r"[\d,]+ parameters", box.text_content())[0]
    assert re.match(rf"blocks\.1 … blocks\.5, 5 × \w+, {count}: ", label), label
    page.locator("header select").select_option("zh")
    page.locator(".stage g.node[aria-label*='个参数: ']").first.wait_for()
    leaf = page.locator(".stage g.node[data-kind=input]").first
    assert leaf.get_attribute("aria-label").startswith("idx")
