"""Real browsers to measure pictures in, and the pictures that are measured."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import graphs
import models
import pytest

from gradviz.show.drawing import Drawing, Highlight, draw

MEASURE = """() => {
  // getBBox, for getBoundingClientRect is rounded outwards to whole pixels
  const rect = e => { const b = e.getBBox(), m = e.getScreenCTM();
    const size = e.tagName == 'svg' ? [e.width.baseVal.value, e.height.baseVal.value]
                                    : [b.x + b.width, b.y + b.height];
    const from = e.tagName == 'svg' ? [0, 0] : [b.x, b.y];
    return [m.e + from[0], m.f + from[1], m.e + size[0], m.f + size[1]] };
  // Lines of some fonts (Nimbus Roman) are half as high again as what is written in them.
  const ink = t => { const [left, top, right, bottom] = rect(t), f = t.getScreenCTM().f;
    const ys = [...Array(t.getNumberOfChars()).keys()].map(i => t.getStartPositionOfChar(i).y);
    const em = parseFloat(getComputedStyle(t).fontSize);
    return [left, Math.max(top, f + Math.min(...ys) - 0.91 * em),
            right, Math.min(bottom, f + Math.max(...ys) + 0.22 * em)] };
  const advance = t => { const ends = [...Array(t.getNumberOfChars()).keys()].flatMap(
      i => [t.getStartPositionOfChar(i).x, t.getEndPositionOfChar(i).x]);
    return Math.max(...ends) - Math.min(...ends) };
  return [...document.querySelectorAll('svg')].map(svg => ({
    svg: rect(svg),
    texts: [...svg.querySelectorAll('text')].map(t => {
      const frames = [...(t.closest('g.node, g.pill, g.group-title') ?? svg).children];
      return {text: t.textContent, box: ink(t), width: advance(t),
              wanted: Number(t.getAttribute('textLength')),
              size: Number(t.getAttribute('font-size')),
              frames: frames.filter(f => f.tagName == 'rect').map(rect)} }),
    boxes: [...svg.querySelectorAll('g.panel')].map(panel =>
      [...panel.querySelectorAll('g.node, g.pill, g.group-title')].map(g =>
        ({name: g.querySelector('title')?.textContent ?? g.textContent,
          kind: g.getAttribute('class'), box: rect(g.querySelector('rect'))}))),
    loose: [...svg.querySelectorAll(':scope > g:not(.panel) text')].map(ink),
  }))
}"""


@pytest.fixture(scope="session")
def measure_in_chromium(chromium) -> Callable[[list[str]], list]:
    def measure(svgs: list[str]) -> list:
        page = chromium.new_page(viewport={"width": 4000, "height": 2000})
        page.set_content(_page(svgs))
        found = page.evaluate(MEASURE)
        page.close()
        return found

    return measure


@pytest.fixture(scope="session")
def measure_in_firefox(tmp_path_factory) -> Callable[[list[str]], list]:
    """A stock Firefox opens the page, and the page itself reports what it measured."""
    path = shutil.which("firefox") or shutil.which("firefox-esr")
    if path is None:
        pytest.skip("Firefox is not installed")

    def measure(svgs: list[str]) -> list:
        script = ("<script>onload = () => fetch('/', {method: 'POST', body: "
                  f"JSON.stringify(({MEASURE})())}})</script>")  # fmt: skip
        page = (_page(svgs) + script).encode()
        found: list = []
        done = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(page if self.path == "/" else b"")

            def do_POST(self) -> None:
                found.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()
                done.set()

            def log_message(self, *args) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            profile = tmp_path_factory.mktemp("firefox")
            firefox = subprocess.Popen(
                [path, "--headless", "--no-remote", "--profile", str(profile), "--window-size",
                 "4000,2000", f"http://127.0.0.1:{server.server_port}/"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                assert done.wait(90), "Firefox did not answer"
            finally:
                firefox.terminate()
                firefox.wait(20)
                server.shutdown()
        return found

    return measure


def _page(svgs: list[str]) -> str:
    full_size = [svg.replace("max-width:100%", "max-width:none") for svg in svgs]
    return '<!doctype html><meta charset="utf-8"><body>' + "<br>".join(full_size)


@pytest.fixture(scope="session")
def pictures() -> dict[str, Drawing]:
    """One drawing of every kind."""
    article = graphs.article()
    ids = {data["name"]: node for node, data in article.dag.nodes(data=True)}
    edges = {(article.dag.nodes[u]["name"], article.dag.nodes[v]["name"]): (u, v, k)
             for u, v, k in article.dag.edges(keys=True)}  # fmt: skip
    reuse = Highlight(
        boxes={ids["w1"]: "target", ids["a_h1"]: "computed", ids["z_o1"]: "cached",
               ids["w8"]: "unneeded"},
        arrows={edges["a_h1", "z_o1"]: "read", edges["z_h1", "a_h1"]: "computed",
                edges["w8", "z_o2"]: "unneeded", edges["w1", "z_h1"]: ("path 1", "path 2")},
        badges={ids["z_o1"]: "×3"},
        marks={ids["w1"]: True, ids["z_o1"]: False},
        title="What w1 reuses",
        legend=(("cached", "cached upstream term"), ("path 2", "a path"), ("unneeded", "other")),
    )  # fmt: skip
    return {
        "article": draw(article),
        "article, dark, from top to bottom": draw(article, theme="dark", direction="TB"),
        "reuse": draw(article, highlight=reuse),
        "both passes": draw(article, backward="beside"),
        "backward": draw(article, backward="alone", theme="auto"),
        "selection": draw(article, show=["x1", "w1", "z_o1", "J"]),
        "colah": draw(graphs.colah()),
        "arrays": draw(graphs.mlp()),
        "weird": draw(graphs.weird()),
        "weird, from top to bottom": draw(graphs.weird(), direction="TB", theme="dark"),
        "states": draw(graphs.states()),
        "folded": draw(models.transformer(), unfold="blocks.1"),
        "folded, both passes": draw(models.recurrent(), budget=20, backward="beside"),
    }


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Makes a real executable of a few lines of shell."""

    def make(body: str) -> str:
        path = tmp_path / "engine"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return make
