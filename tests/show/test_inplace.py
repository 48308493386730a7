"""In a page folds open and close where they are, several at a time; the rest keeps its order."""

from __future__ import annotations

import pytest
from gallery import LAYERED, shown
from test_browser import MEETING

from gradviz.web.pictures import drawing

pytestmark = pytest.mark.browser
NAMES = ["resnet", "unet", "gpt", "encoder_decoder"]
FIRST = [*NAMES, "seq2seq"]
SEEN = """() => Object.fromEntries([...document.querySelectorAll('.stage g.node')].map(g => {
  const {x, y, right, bottom} = g.querySelector('rect').getBoundingClientRect();
  return [g.dataset.node, {box: [x, y, right, bottom], text: g.textContent.replace(/\\s+/g, '')}];
}))"""


@pytest.fixture
def opened(chromium, tmp_path):
    """A page of a model, with a function that opens or closes a fold of it."""
    pages = []

    def open_page(name):
        path = tmp_path / f"{name}.html"
        shown(name).graph.save(path)
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
