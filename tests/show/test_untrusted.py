"""Whatever text comes in, the picture is well-formed, ours alone, and the same twice."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from importlib.util import find_spec

import graphs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples

import gradviz as gv
from gradviz.show import engine, mathtext
from gradviz.show.drawing import Drawing, draw
from gradviz.show.view import Arrow, Box, Row, View
from gradviz.web.payload import structure
from gradviz.words import clean

SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {SVG + name for name in ("svg", "title", "desc", "style", "g", "rect", "path", "text")}
ATTRIBUTES = {
    "width", "height", "viewBox", "class", "role", "font-family", "style", "aria-label", "fill",
    "stroke", "stroke-width", "stroke-dasharray", "opacity", "transform", "x", "y", "rx", "d",
    "font-size", "font-style", "font-weight", "textLength", "lengthAdjust", "data-scope",
    "data-tail", "data-head", "data-key", "data-node", "data-kind", "data-state",
}  # fmt: skip
nasty = "<>&\"'\\/{}[]()|;-!$%#_^~*@\n\r\t\0\x1b\u202e\u2066\ufffe\ud800ab1"
anything = (
    st.text(max_size=40) | st.sampled_from(graphs.WEIRD) | st.text(alphabet=nasty, max_size=20)
)
few = settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def view(name: str, other: str) -> View:
    """Untrusted text at every place where a View has text."""
    row = Row("value", "value", (other,))
    words = Row("gradient", "gradient", (name,), "non-finite")
    return View(
        boxes=(
            Box("n0", name, "input", other, rows=(row, words), scope=(name,), tooltip=other),
            Box("n1", other, "output", expression=name, rows=(row,), badge=name, role="cached"),
        ),
        arrows=(Arrow("n0", "n1", symbol=name, number=other, tooltip=name),),
        title=name,
        description=clean(other),
        legend=(("cached", other),),
    )


@few
@given(anything, anything)
def test_any_text_gives_well_formed_xml_of_our_elements_only(name, other):
    drawing = Drawing(view(name, other), theme="auto")
    for element in ET.fromstring(drawing.svg.encode()).iter():
        assert element.tag in ELEMENTS
        assert set(element.attrib) <= ATTRIBUTES


@few
@given(anything, anything)
def test_any_text_gives_dot_that_the_engine_accepts(name, other):
    drawing = Drawing(view(name, other))
    assert engine.run(drawing.dot, "svg").startswith(b"<?xml")


@few
@given(anything, anything)
def test_the_same_view_gives_the_same_bytes(name, other):
    first, second = Drawing(view(name, other)), Drawing(view(name, other))
    assert (first.svg, first.dot, first.tex) == (second.svg, second.dot, second.tex)


@few
@given(anything, anything)
def test_any_text_gives_ascii_tex_with_balanced_braces_and_no_commands_of_its_own(name, other):
    tex = Drawing(view(name, other)).tex
    assert tex.isascii()
    body = tex.replace("\\\\", "").replace(r"\{", "").replace(r"\}", "")
    assert body.count("{") == body.count("}")
    calm = Drawing(view("x", "y")).tex
    for command in (r"\input", r"\write", r"\def", r"\csname", r"\catcode", r"\end{document}"):
        assert tex.count(command) == calm.count(command)


@given(anything)
def test_clean_text_is_one_line_that_controls_nothing(text):
    import unicodedata

    cleaned = clean(text)
    assert all(unicodedata.category(c)[0] not in "CZ" or c in " \u200c\u200d" for c in cleaned)
    assert clean(cleaned) == cleaned


@given(anything)
def test_a_name_always_shows_something_and_never_has_negative_width(text):
    runs = mathtext.name(text)
    assert runs
    assert mathtext.line_width(runs, 17) >= 0


@given(anything, st.floats(20, 300))
def test_an_elided_text_fits(text, limit):
    runs = mathtext.elide(mathtext.expression(text), 12, limit)
    assert mathtext.line_width(runs, 12) <= limit + 1e-9


def test_the_weird_graph_draws_in_every_format(pictures):
    drawing = pictures["weird"]
    ET.fromstring(drawing.svg.encode())
    assert drawing.png.startswith(b"\x89PNG")
    assert "alert(1)" in drawing.svg
    assert "<script" not in drawing.svg


def test_two_drawings_of_one_graph_are_the_same_bytes():
    assert draw(graphs.article()).svg == draw(graphs.article()).svg
    assert draw(graphs.weird()).png == draw(graphs.weird()).png


ODD = (
    "a\ud800b", "\udcff", "\x00\x01\x1b[31m", "]]>", "</script><b>", "<!--", "\u202eevil\u2066",
    "x" * 5000, "   ", "", "שלום עליכם", "&amp;<>\"'", "\ufffe\uffff", "a\r\n\u2028b",
    "$\\input{x}", "{{",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_a_graph_of_any_names_is_whole_in_every_format(name, tmp_path):
    with gv.scope(name):
        w = gv.input(2.0, name)
        g = gv.graph(w * w, title=name)
    shown = name.replace("\ud800", "\ufffd").replace("\udcff", "\ufffd")
    assert g.names[0] == (shown or "w")
    assert g.grad(name or "w") == 4.0  # found by the name that was given, too
    pdf = ["pdf"] if find_spec("svg2pdf_py") else []  # there is no wheel for each system
    for suffix in ("svg", "png", *pdf, "html", "dot", "json", "tex", "txt"):
        path = tmp_path / f"g.{suffix}"
        g.save(path)
        written = path.read_bytes()
        if suffix not in ("png", "pdf"):
            text = written.decode()
            assert suffix == "json" or not set(text) & set("\x00\x1b\u202e\u2066"), suffix
            if "\ufffd" in shown and suffix not in ("tex", "json"):
                assert "\ufffd" in text
        if suffix == "svg":
            ET.fromstring(written)
        if suffix == "json":
            assert gv.load(path).names == g.names
        if suffix == "html":
            _, _, state = text.partition('<script type="application/json">')
            told = json.loads(state.partition("</script>")[0])
            assert [node["id"] for node in told["structure"]["nodes"]] == g.names
    explanation = g.explain(g.names[0])
    results = (explanation, explanation.latex, g.reuse(g.names[0]), g.diagnose(), g.draw().text)
    "\n".join(map(str, results)).encode()
    json.dumps(structure(g), ensure_ascii=False).encode()  # what a widget sends
