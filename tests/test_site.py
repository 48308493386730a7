"""The built site, read and opened in Chromium; `make docs` builds it and runs these tests."""

import re
import tomllib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

HOME = Path(__file__).parent.parent / "docs" / "_build" / "html"
PAGES = sorted(
    str(path.relative_to(HOME).with_suffix(""))
    for path in HOME.rglob("*.html")
    if path.relative_to(HOME).parts[0] not in {"living", "_static", "search.html", "genindex.html"}
)
QUESTIONS = tomllib.loads((Path(__file__).parent / "site_questions.toml").read_text())["question"]

pytestmark = pytest.mark.site

# Headings that skip a level, pictures without words, texts that hardly stand out: in a browser.
_LOOK = """() => {
  const luminance = ([r, g, b]) => {
    const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [x, y, z] = [r, g, b].map(v => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  const pale = new Set();
  for (const element of document.querySelectorAll("main *")) {
    if (element.closest("svg, .visually-hidden, math")) continue;
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    const style = getComputedStyle(element);
    if (!own || !element.checkVisibility({opacityProperty: true})) continue;
    const [a, b] = [luminance(rgba(style.color)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    const called = element.className || element.tagName;
    if (ratio < (large ? 3 : 4.5)) pale.add(`${called} ${ratio.toFixed(2)}`);
  }
  const levels = [...document.querySelectorAll("main h1, main h2, main h3, main h4, main h5")]
    .map(heading => +heading.tagName[1]);
  return {
    pale: [...pale],
    mute: [...document.querySelectorAll("img")]
      .filter(i => !i.alt.trim() && !i.closest("a, .sphx-glr-thumbcontainer")?.textContent.trim())
      .map(i => i.src),
    nameless: [...document.querySelectorAll("iframe")].filter(i => !i.title).map(i => i.src),
    levels,
  };
}"""


@pytest.fixture(scope="module")
def surfaces(chromium):
    """A browser window for each scheme of colours, with what went wrong in it."""
    assert PAGES, "the site is not built: run `make docs`"
    contexts = {s: chromium.new_context(color_scheme=s, locale="en-US") for s in ("light", "dark")}
    windows = {}
    for scheme, context in contexts.items():
        page, noise = context.new_page(), []
        page.on("pageerror", lambda error, noise=noise: noise.append(str(error)))
        page.on(
            "console",
            lambda message, noise=noise: message.type == "error" and noise.append(message.text),
        )
        page.on(
            "request",
            lambda request, noise=noise: (
                request.url.startswith(("file:", "blob:", "data:")) or noise.append(request.url)
            ),
        )
        windows[scheme] = (page, noise)
    yield windows
    for context in contexts.values():
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_an_error_or_a_request_and_can_be_read(name, surfaces):
    for scheme, (page, noise) in surfaces.items():
        noise.clear()
        page.goto((HOME / f"{name}.html").as_uri())
        page.evaluate("mode => document.documentElement.dataset.theme = mode", scheme)
        seen = page.evaluate(_LOOK)
        assert not noise, noise
        assert not seen["pale"]
        assert not seen["mute"]
        assert not seen["nameless"]
        levels = seen["levels"]
        assert levels[:1] == [1]
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels)), levels


class _Reader(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.words = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join("".join(self.words).split()))

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.anchors.update(filter(None, (named.get("id"), named.get("name"))))
        for key in ("href", "src", "data"):
            if named.get(key) and (tag, key) != ("link", "href"):
                self.links.append(named[key])

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def pages():
    return {name: _Reader(HOME / f"{name}.html") for name in PAGES}


def _target(name, link):
    """The file and the anchor that a link on a page leads to; None if it leads outside."""
    if re.match(r"[a-z]+:", link):
        return None
    path, anchor = urldefrag(link)
    path = path.partition("?")[0]
    here = HOME / f"{name}.html"
    return ((here.parent / unquote(path)).resolve() if path else here), unquote(anchor)


def test_every_link_within_the_site_leads_somewhere(pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            if (found := _target(name, link)) is None:
                continue
            path, anchor = found
            to = str(path.relative_to(HOME).with_suffix("")) if path.suffix == ".html" else ""
            if not path.exists() or (anchor and to in pages and anchor not in pages[to].anchors):
                broken.append((name, link))
    assert not broken


def _clicks(pages):
    """By page, how many clicks it is away from the front page."""
    away, wave = {"index": 0}, ["index"]
    while wave:
        following = []
        for name in wave:
            for link in pages[name].links:
                found = _target(name, link)
                if found and found[0].suffix == ".html" and found[0].is_relative_to(HOME):
                    to = str(found[0].relative_to(HOME).with_suffix(""))
                    if to in pages and to not in away:
                        away[to] = away[name] + 1
                        following.append(to)
        wave = following
    return away


def test_what_newcomers_ask_is_answered_within_two_clicks_from_the_front_page(pages):
    away = _clicks(pages)
    assert len(QUESTIONS) >= 20
    for question in QUESTIONS:
        assert away[question["page"]] <= 2, question
        assert question["answer"] in pages[question["page"]].text, question


def test_a_living_page_steps_and_trains_inside_of_the_site(surfaces):
    page, noise = surfaces["light"]
    page.goto((HOME / "examples" / "04_the_2_2_2_network.html").as_uri())
    page.locator("iframe.living").first.scroll_into_view_if_needed()
    inside = page.frame_locator("iframe.living").first
    inside.locator("g.node").first.wait_for()
    inside.get_by_role("button", name="To the beginning").click()
    for _ in range(3):
        inside.get_by_role("button", name="One step on").click()
    place = inside.get_by_role("slider", name="Step through both passes")
    assert place.get_attribute("aria-valuetext").startswith("forward 3 of")
    inside.get_by_role("button", name="Take 10 steps of gradient descent").click()
    assert "from 0.29837 to" in inside.locator(".plot").get_attribute("aria-label")
    assert not noise
