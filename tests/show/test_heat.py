"""Colours that mean a size: the scale, what is on it, and what has no place on it."""

from __future__ import annotations

import itertools
import json
import math
import re

import numpy as np
import pytest
from click.testing import CliRunner

import gradviz as gv
from gradviz.cli import main
from gradviz.show import style
from gradviz.show.view import HEATS
from gradviz.web.page import to_html
from gradviz.web.pictures import drawing

STEPS = [f"heat{n}" for n in range(HEATS)]
THEMES = {"light": style.LIGHT, "dark": style.DARK}
# What people without green or red cones see, in linear RGB (Machado, Oliveira, Fernandes 2009).
SIGHT = {
    "full": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
}  # fmt: skip
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip


def linear(code):
    """An sRGB colour as light (IEC 61966-2-1)."""
    c = np.array([int(code[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(code):
    return TO_XYZ[1] @ linear(code)


def lab(light):
    """CIE L*a*b* of a colour in daylight."""
    t = TO_XYZ @ np.clip(light, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", THEMES)
def test_the_steps_of_a_scale_go_one_way_in_luminance_away_from_the_ground(theme):
    palette = THEMES[theme]
    steps = [luminance(palette[step]) for step in STEPS]
    ground = luminance(palette["ground"])
    away = [abs(step - ground) for step in steps]
    assert away == sorted(away)
    contrast = [(max(s, ground) + 0.05) / (min(s, ground) + 0.05) for s in steps]
    assert contrast[0] > 1.6  # the smallest is still seen ...
    assert contrast[-1] > 7  # ... and the largest stands out
    assert all(b / a > 1.12 for a, b in itertools.pairwise(contrast))


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", THEMES)
def test_any_two_steps_are_told_apart_without_red_or_green_cones(theme, sight):
    seen = [lab(SIGHT[sight] @ linear(THEMES[theme][step])) for step in STEPS]
    assert min(math.dist(a, b) for a, b in itertools.combinations(seen, 2)) > 8


def squares(w, x, t):
    h = np.tanh(w * x)
    return np.sum((h - t) ** 2)


def traced():
    x = np.array([1e-4, 2.0, 0.5])
    return gv.trace(squares, np.array([0.3, 1.0, -2.0]), x, np.zeros(3), wrt=("w", "x"))


def boxes(drawing):
    return {box.name: box for box in drawing.view.boxes}


def step(heat):
    return int(heat.removeprefix("heat"))


def rows(box):
    return {row.label: row.cells for row in box.rows}


def test_boxes_of_a_numpy_graph_have_their_gradients_norm_and_edges_their_messages():
    w, x = np.array([0.3, 1.0, -2.0]), np.array([1e-4, 2.0, 0.5])
    h = np.tanh(w * x)
    sent = 2 * h * (1 - h**2)
    known = {"h": 2 * h, "w": sent * x, "x": sent * w}
    drawn = traced().draw(color="gradient")
    found = boxes(drawn)
    for name, gradient in known.items():
        norm = float(rows(found[name])["‖gradient‖"][0])
        assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-2)
    by_size = sorted(known, key=lambda name: np.linalg.norm(known[name]))
    heats = [step(found[name].heat) for name in by_size]
    assert heats == sorted(heats)
    assert found["t"].heat == ""  # no gradient was asked for
    names = {box.id: box.name for box in drawn.view.boxes}
    arrows = {(names[a.tail], names[a.head]): a for a in drawn.view.arrows}
    assert arrows["w", "h"].heat == found["w"].heat  # one message is the whole gradient
    assert arrows["t", "J"].heat == ""


def test_a_scale_tells_its_ends_its_meaning_and_is_logarithmic():
    scale = traced().draw(color="gradient").view.scale
    norms = [float(np.linalg.norm(traced().grad(name))) for name in ("w", "x", "h", "J")]
    assert float(scale.most) == pytest.approx(max(norms), rel=0.05)
    assert scale.meaning == "‖gradient‖ ∂J/∂·, logarithmic"
    svg = traced().draw(color="gradient", title="").svg
    assert all(f'"f-{name}" fill="{style.LIGHT[name]}"' in svg for name in STEPS)


def test_nothing_is_coloured_unless_asked_for():
    plain = traced().draw()
    assert plain.view.scale is None
    assert plain.svg == traced().draw(color=None).svg == traced().draw(color=False).svg
    assert "-heat" not in plain.svg


def states(w, tiny, x, t):
    zero = np.maximum(w - 9.0, 0.0)
    small = tiny * 1e-300
    huge = np.sqrt(x)
    return np.sum(zero) + small * 1e-300 + huge + 0 * t


@pytest.fixture
def sick():
    with np.errstate(all="ignore"):
        return gv.trace(states, np.ones(2), 1.0, 0.0, 1.0, wrt=("w", "tiny", "x"))


def test_zero_underflow_and_what_is_not_finite_are_each_seen_as_such(sick):
    drawn = sick.draw(color="gradient")
    found = boxes(drawn)
    assert sick.grad_state(sick.id("w")) == "zero"
    assert sick.grad_state(sick.id("tiny")) == "underflown"
    heats = {name: found[name].heat for name in ("w", "tiny", "x", "t")}
    assert heats == {"w": "zero", "tiny": "underflown", "x": "sick", "t": ""}
    assert found["x"].role == "sick"
    told = dict(drawn.view.legend)
    assert told["zero"].startswith("0 exactly")
    assert (told["underflown"], told["sick"]) == ("0 by underflow", "not finite")
    names = {box.id: box.name for box in drawn.view.boxes}
    arrows = {(names[a.tail], names[a.head]): a for a in drawn.view.arrows}
    edges = {("w", "zero"): "zero", ("x", "huge"): "sick", ("huge", "J"): arrows["huge", "J"].heat}
    assert {ends: arrows[ends].heat for ends in edges} == edges
    assert arrows["x", "huge"].roles == ("sick",)
    assert step(arrows["huge", "J"].heat) == HEATS - 1
    dotted = re.findall(r'stroke-width="0.8" stroke-dasharray="1 3"', drawn.svg)
    assert len(dotted) == sum(arrow.heat == "zero" for arrow in drawn.view.arrows) > 0
    assert "It is 0 exactly at w" in drawn.text
    assert "It is 0 by underflow at tiny" in drawn.text
    assert "It is not finite at x" in drawn.text


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_the_twin_says_where_a_gradient_shrinks_or_grows(factor):
    def chain(x):
        a = x * factor
        b = a * factor
        return b * factor

    graph = gv.trace(chain, 1.0)
    way = ("shrinks from 1 at J to 0.001 at x", "grows from 1 at J to 1e3 at x")[factor > 1]
    told = graph.draw(color="gradient").text
    assert f"On its way back the gradient {way}." in told
    assert "On its way back" not in graph.draw().text


def test_numbers_of_ones_own_colour_values():
    drawn = traced().draw(color={"w": 5, "h": -3.0, "x": np.float32(1), "t": 0, "J": math.nan})
    found = boxes(drawn)
    assert [step(found[name].heat) for name in ("h", "x", "w")] == [0, 4, HEATS - 1]
    assert (found["t"].heat, found["J"].heat, found["J"].role) == ("zero", "sick", "sick")
    assert drawn.view.scale[:3] == ("-3", "5", "number, linear")
    assert rows(found["w"])["number"] == ("5",)
    assert "number, linear" not in drawn.text
    assert "number: from -3 at h to 5 at w." in drawn.text


def test_a_function_gets_a_values_name_or_its_data_too():
    def length(name):
        return len(name) if name != "J" else None

    by_name = boxes(traced().draw(color=length))
    assert rows(by_name["w"])["length"] == ("1",)
    assert by_name["J"].heat == ""
    sizes = boxes(traced().draw(color=lambda name, data: np.size(data["value"])))
    assert (rows(sizes["w"])["number"], rows(sizes["J"])["number"]) == (("3",), ("1",))
    assert step(sizes["J"].heat) < step(sizes["w"].heat)


def test_numbers_of_very_different_size_are_on_a_logarithmic_scale():
    drawn = traced().draw(color={"w": 1, "h": 1000, "x": 1e6})
    assert drawn.view.scale.meaning == "number, logarithmic"
    assert [step(boxes(drawn)[name].heat) for name in ("w", "h", "x")] == [0, 4, HEATS - 1]


@pytest.mark.parametrize(
    ("color", "error", "words"),
    [
        ("gradeint", ValueError, "did you mean 'gradient'"),
        (True, ValueError, "no color True"),
        ({"hh": 1}, ValueError, "no value or layer 'hh' (did you mean 'h'?)"),
        ({"h": "red"}, TypeError, "h has 'red', which is not a real number"),
        ({"h": [1, 2]}, TypeError, "not a real number"),
        (lambda name: 1j, TypeError, "not a real number"),
        ("memory", ValueError, "nothing is known"),
    ],
)
def test_what_is_no_colour_is_refused_with_what_there_is(color, error, words):
    with pytest.raises(error, match=re.escape(words)):
        traced().draw(color=color)


def test_dot_and_tikz_have_the_same_steps_and_tell_the_scale(sick):
    drawn = sick.draw(color="gradient")
    arrows = {arrow.heat for arrow in drawn.view.arrows}
    for heat in arrows & set(STEPS):
        assert re.search(rf'color="{style.LIGHT[heat]}" .*penwidth', drawn.dot)
        assert rf"\draw[arrow, on {heat}]" in drawn.tex
    assert 'penwidth="0.8" style=dotted' in drawn.dot or "penwidth=0.8 style=dotted" in drawn.dot
    assert r"\draw[arrow, on zero]" in drawn.tex
    assert "rounded,filled,dotted" in drawn.dot or "solid,filled,dotted" in drawn.dot
    assert r"\draw[edge, dotted]" in drawn.tex
    assert all(f'BGCOLOR="{style.LIGHT[step]}"' in drawn.dot for step in STEPS)
    assert all(rf"\textcolor{{{step}}}{{\rule" in drawn.tex for step in STEPS)
    assert "logarithmic" in drawn.dot
    assert "logarithmic" in drawn.tex
    plain = sick.draw()
    assert "BGCOLOR" not in plain.dot
    assert "rule{14pt}" not in plain.tex


def neuron(w, x, b):
    with gv.scope("neuron"):
        z = w * x + b
    return (1 / (1 + np.exp(-z))) ** 2


def test_a_page_and_a_widget_are_coloured_too_and_a_page_stays_at_its_values():
    graph = gv.trace(neuron, 2.0, -1.0, 0.5)
    plain, page = to_html(graph), to_html(graph, color="gradient")
    told = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    assert "heat7" in told["drawing"]["svg"]
    assert "logarithmic" in told["drawing"]["svg"]
    assert told["structure"]["program"] is None  # new numbers would have other colours
    before = json.loads(re.search(r'<script type="application/json">(.*?)</script>', plain)[1])
    assert before["structure"]["program"]
    assert "-heat" not in before["drawing"]["svg"]
    assert "-heat" in drawing(graph, ["neuron"], color={"w": 1, "neuron": 2})["svg"]


def test_a_widget_is_coloured_anew_with_its_numbers():
    pytest.importorskip("anywidget", reason="needs the extra widget")
    shown = gv.trace(neuron, 2.0, -1.0, 0.5).widget(color="gradient")
    old = shown.drawing["svg"]
    shown.values = {"w": 30.0, "x": -1.0, "b": 0.5}
    fresh = gv.trace(neuron, 30.0, -1.0, 0.5)
    assert shown.drawing["svg"] == drawing(fresh, color="gradient")["svg"] != old
    assert "-heat" not in gv.trace(neuron, 2.0, -1.0, 0.5).widget().drawing["svg"]


@pytest.mark.parametrize("suffix", ["svg", "tex", "txt", "html"])
def test_save_takes_the_same_option(suffix, tmp_path):
    for name, color in (("a", "gradient"), ("b", None)):
        traced().save(tmp_path / f"{name}.{suffix}", color=color)
    coloured, plain = ((tmp_path / f"{n}.{suffix}").read_text("utf-8") for n in "ab")
    assert len(coloured) > len(plain)


def test_the_shell_colours_too(tmp_path):
    words = ["draw", "(w*x + b)**2", "w=2", "x=-1", "b=0.5", "--color"]
    shell = CliRunner()
    said = shell.invoke(main, [*words, "gradient"])
    assert "On its way back the gradient" in said.output
    assert "On its way back" not in shell.invoke(main, [*words, "none"]).output
    refused = shell.invoke(main, [*words, "memory"])
    assert (refused.exit_code, "nothing is known" in refused.output) == (1, True)
    assert shell.invoke(main, [*words, "red"]).exit_code == 2
