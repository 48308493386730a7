"""A picture in a notebook is as light or dark as the notebook, whatever the system is."""

from __future__ import annotations

import io

import pytest

import gradviz as gv

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
