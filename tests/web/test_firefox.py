"""The page in Firefox: opened, stepped, asked, changed, walked through by keyboard."""

from __future__ import annotations

import shutil

import pytest
from browser import missing

pytestmark = pytest.mark.browser


@pytest.fixture
def firefox(tmp_path_factory):
    program = shutil.which("firefox") or shutil.which("firefox-esr")
    if program is None:
        missing("Firefox")
    pytest.importorskip("websocket", reason="websocket-client, which Jupyter brings")
    from firefox import Firefox

    browser = Firefox(program, tmp_path_factory.mktemp("firefox"))
    yield browser
    browser.close()


def test_the_page_steps_explains_computes_and_is_walked_through_in_firefox(
    firefox, network, tmp_path
):
    network.save(tmp_path / "page.html")
    firefox.open((tmp_path / "page.html").as_uri())
    firefox.until("document.querySelectorAll('g.node').length === 24")
    firefox.press(",")
    assert "22 of 22" in firefox.until("document.querySelector('.counter').textContent")
    firefox.press(".", "0")  # and all of the picture

    firefox.click('g.node[aria-label^="w1 ="] rect')
    firefox.until("document.querySelector('.asked h3')?.textContent.includes('w')")
    assert firefox.evaluate("document.querySelectorAll('.answers math').length") > 3
    firefox.click(".field input[type=text]")
    firefox.evaluate("document.querySelector('.field input[type=text]').select()")
    firefox.press(*"0.9", "Enter")
    changed = network.update(w1=0.9)
    firefox.until("gradviz.get('edits')[0] === 1")
    values = firefox.evaluate("gradviz.get('numbers').values")
    grads = firefox.evaluate("gradviz.get('numbers').grads")
    shown = changed.statements
    assert values == pytest.approx([float(node.value) for node in shown.values], rel=1e-12)
    assert grads[shown.id("w1")] == pytest.approx(float(changed.grad("w1")), rel=1e-12)

    firefox.evaluate("document.querySelector('g.node[data-node=n0]').focus()")
    focus = "document.activeElement.getAttribute('aria-label')"
    firefox.press("ArrowRight", "ArrowDown")
    assert firefox.evaluate(focus).startswith("edge from x1 to z_h2; local derivative 0.25")
    firefox.press("Enter")
    assert firefox.until("gradviz.get('selected')") == ["x1→z_h2"]
    firefox.press("ArrowRight")
    assert firefox.evaluate(focus).startswith("z_h2 =")
    assert firefox.said == []
