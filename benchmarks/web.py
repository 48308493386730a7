"""How fast the page and the widget follow: `python benchmarks/web.py`.

Needs the extra "test" and Chromium. Each number is a median, next to what is to be reached.
"""

from __future__ import annotations

import gzip
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "web"))

import lab
from playwright.sync_api import Page, sync_playwright

import gradviz as gv
from gradviz.web.rooms import joined

# From the input event of a slider until J's new number is in the picture and laid out, for one
# change alone. (Jupyter's server leaves Nagle's algorithm on, so a widget that only asks waits some
# 40 ms for the browser's delayed acknowledgement: see ECHO.)
ALONE = """async (count) => {
  const slider = document.querySelector('.field input[type=range]');
  const last = [...document.querySelectorAll('g.node')].at(-1);
  const times = [];
  for (let n = 0; n < count; n++) {
    const start = performance.now();
    const changed = new Promise(resolve => {
      const watcher = new MutationObserver(() => { watcher.disconnect(); resolve() });
      watcher.observe(last, {attributes: true, attributeFilter: ['aria-label']});
    });
    slider.value = Number(slider.min) + (slider.max - slider.min) * (0.3 + 0.4 * (n + 1) / count);
    slider.dispatchEvent(new Event('input'));
    await changed;
    last.getBoundingClientRect();
    times.push(performance.now() - start);
    await new Promise(resolve => setTimeout(resolve, 80));
  }
  return times }"""
# The same while the mouse drags: each value waits until it, or a later one, is in the picture.
FOLLOW = """() => {
  const slider = document.querySelector('.field input[type=range]');
  const cards = [...document.querySelectorAll('g.node')], last = cards.at(-1);
  const name = slider.ariaLabel.split(' ').at(-1);
  const leaf = cards.find(card => card.ariaLabel.startsWith(`${name} = `));
  window.waiting = [];
  window.times = [];
  slider.addEventListener('input', event => waiting.push([+slider.value, event.timeStamp]));
  new MutationObserver(() => {
    last.getBoundingClientRect();
    const shown = parseFloat(leaf.ariaLabel.split(' = ')[1].replace('−', '-')) + slider.step / 4;
    const now = performance.now();
    while (waiting.length && waiting[0][0] <= shown) times.push(now - waiting.shift()[1]);
  }).observe(last, {attributes: true, attributeFilter: ['aria-label']}) }"""
# One step: all that is written and marked, and the layout that follows.
STEP = """async () => {
  const last = gradviz.get('structure').steps.length - 1, times = [];
  for (let step = last - 1; step > 0; step--) {
    const start = performance.now();
    gradviz.set('step', step);
    await null;
    document.querySelector('.stage').getBoundingClientRect();
    times.push(performance.now() - start);
  }
  return times }"""
# What any widget takes to ask Python and to be answered: a number sent, the same number set.
ECHO = """import anywidget, traitlets
class Echo(anywidget.AnyWidget):
    _esm = "export default {render({model, el}) { el.id = 'echo'; window.echo = model }}"
    n = traitlets.Int(0).tag(sync=True)
e = Echo()
e.on_msg(lambda _, content, buffers: setattr(e, "n", content["n"]))
e"""
ANSWER = """async (count) => {
  const times = [];
  for (let n = 1; n <= count; n++) {
    const start = performance.now();
    const answered = new Promise(resolve => { echo.off('change:n'); echo.on('change:n', resolve) });
    echo.send({n});
    await answered;
    times.push(performance.now() - start);
    await new Promise(resolve => setTimeout(resolve, 30));
  }
  return times }"""
SMALL = "gv.examples.backprop_222()"
LARGE = (  # nothing in it repeats: it is not folded
    "gv.expression('; '.join(f'a{i + 1} = {\"sin cos tanh\".split()[i * i % 97 % 3]}(a{i})'"
    " for i in range(1, 95)) + '; a95', a1=0.3)"
)


def line(what: str, found: float, goal: float, unit: str) -> None:
    """One row of the report."""
    verdict = "ok" if found < goal else "MISSED"
    print(f"{what:<62}{found:8.1f} {unit}   goal {goal:g} {unit}   {verdict}")


def in_page(page: Page, source: str, folder: Path) -> tuple[int, float]:
    """Boxes, and the median of a step in a page from disk."""
    graph = eval(source, {"gv": gv})
    graph.save(folder / "page.html", detail="operations" if source is LARGE else "names")
    page.goto((folder / "page.html").as_uri())
    page.locator("g.node").first.wait_for()
    return page.locator("g.node").count(), statistics.median(page.evaluate(STEP))


def in_lab(page: Page, address: str, folder: Path, source: str, leaf: str) -> tuple[float, float]:
    """The medians from a change to all numbers in JupyterLab: of one alone, and while dragging."""
    detail = ", detail='operations'" if source is LARGE else ""
    setup = f"import gradviz as gv\ng = {source}\nw = g.widget(selected=[{leaf!r}]{detail})\nw"
    lab.open_notebook(page, address, folder / "work", [setup])
    lab.ready(page)
    lab.run(page, 0)
    slider = page.locator(".field input[type=range]")
    slider.wait_for()
    alone = statistics.median(page.evaluate(ALONE, 30)[5:])
    slider.evaluate("slider => { slider.value = slider.min }")
    page.evaluate(FOLLOW)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 10, y)
    page.mouse.down()
    for pixels in range(11, int(box["width"]) - 10):  # each waits for the browser's next frame
        page.mouse.move(box["x"] + pixels, y)
    page.mouse.up()
    page.wait_for_function("!waiting.length")
    return alone, statistics.median(page.evaluate("times")[5:])


def echo(page: Page, address: str, folder: Path) -> float:
    """The median of asking Python and being answered, with nothing to do."""
    lab.open_notebook(page, address, folder / "work", [ECHO])
    lab.ready(page)
    lab.run(page, 0)
    page.wait_for_function("window.echo")
    return statistics.median(page.evaluate(ANSWER, 30)[5:])


def main() -> None:
    """Print the report."""
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        size = len(gzip.compress(joined("widget").encode()))
        line("module of page and widget, compressed", size / 1024, 30, "KiB")
        for source in (SMALL, LARGE):
            boxes, step = in_page(
                browser.new_page(viewport={"width": 1500, "height": 950}), source, folder
            )
            line(f"page, {boxes} boxes: one step", step, 16, "ms  ")
        with lab.server(folder) as address:
            nothing = echo(browser.new_page(), address, folder)
            what = "JupyterLab, a widget that does nothing: asked and answered"
            print(f"{what:<62}{nothing:8.1f} ms")
            for source, leaf, goal in ((SMALL, "w1", 50), (LARGE, "a1", 150)):
                page = browser.new_page(viewport={"width": 1500, "height": 950})
                graph = eval(source, {"gv": gv})
                boxes = len(graph if source is LARGE else graph.statements)
                alone, drag = in_lab(page, address, folder, source, leaf)
                line(f"JupyterLab, {boxes} boxes: one change to all numbers", alone, goal, "ms  ")
                line(f"JupyterLab, {boxes} boxes: dragging to all numbers", drag, goal, "ms  ")
        browser.close()


if __name__ == "__main__":
    main()
