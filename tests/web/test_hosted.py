"""A picture in a notebook is as light or dark as the notebook, whatever the system is."""

from __future__ import annotations

import io

import pytest

import gradviz as gv
from gradviz.rank import Rank

pytestmark = pytest.mark.browser
LIGHT, DARK = (255, 255, 255), (18, 23, 30)


def ground(page, html: str, host: str) -> tuple[int, ...]:
    from PIL import Image

    page.set_content(f"<body {host}>{html}")
    shot = page.locator("img").screenshot()
    return Image.open(io.BytesIO(shot)).convert("RGB").getpixel((3, 3))


@pytest.mark.parametrize("system", ["light", "dark"])
def test_a_picture_is_as_dark_as_its_notebook_unless_a_theme_was_asked_for(chromium, system):
    graph = gv.expression("x * y", x=2, y=3)
    context = chromium.new_context(color_scheme=system)
    page = context.new_page()
    free = graph._repr_mimebundle_()["text/html"]
    assert ground(page, free, "data-jp-theme-light=true") == LIGHT
    assert ground(page, free, "data-jp-theme-light=false") == DARK
    assert ground(page, free, "class=vscode-dark") == DARK
    dark = graph.draw(theme="dark")._repr_mimebundle_()["text/html"]
    assert ground(page, dark, "data-jp-theme-light=true") == DARK
    light = graph.draw(theme="light")._repr_mimebundle_()["text/html"]
    assert ground(page, light, "data-jp-theme-light=false") == LIGHT
    context.close()


@pytest.mark.parametrize("system", ["light", "dark"])
def test_maps_of_runs_and_of_ranks_are_as_dark_as_their_notebook(chromium, tmp_path, system):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model = torch.nn.Linear(2, 1)
    with gv.record_training(model, tmp_path / "run.gvtrain") as recorder:
        for _ in range(3):
            with recorder.step():
                model(torch.ones(4, 2)).pow(2).mean().backward()
    run = gv.load_training(tmp_path / "run.gvtrain")
    graphs = [gv.expression("w * w", w=float(n)) for n in (1, 2)]
    for number, graph in enumerate(graphs):
        graph.rank = Rank(number, 2, {}, {})
    ranks = gv.gather(graphs)
    page = chromium.new_context(color_scheme=system).new_page()
    for told in (run, ranks):
        html = told._repr_mimebundle_()["text/html"]
        assert ground(page, html, "data-jp-theme-light=true") == LIGHT
        assert ground(page, html, "data-jp-theme-light=false") == DARK
        dark = told.draw(theme="dark")._repr_mimebundle_()["text/html"]
        assert ground(page, dark, "data-jp-theme-light=true") == DARK
        assert told.draw(theme="auto").svg.count("<title>") > told.draw().svg.count("<title>")
    page.context.close()
