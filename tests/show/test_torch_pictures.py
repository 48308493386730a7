"""Pictures of PyTorch programs: what edges say, short names in scopes, sick models folded."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

import gradviz as gv
from gradviz.statistics import measure

torch = pytest.importorskip("torch")
import torch_programs


def trace(name, **options):
    torch.manual_seed(0)
    model, args, loss = torch_programs.PROGRAMS.get(name, getattr(torch_programs, name, None))()
    return gv.trace(model, *args, loss=loss, **options)


def arrows(view):
    names = {box.id: box.name for box in view.boxes}
    return {(names[arrow.tail], names[arrow.head]): arrow for arrow in view.arrows}


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_an_edge_without_a_formula_says_the_norm_of_its_message(capture, tmp_path):
    graph = trace("convolutions", capture=capture)
    graph.save(tmp_path / "g.json")
    for shown in (graph, gv.load(tmp_path / "g.json")):
        view = shown.draw().view
        arrow = arrows(view)["1.weight", "batch_norm"]
        i = shown.id("batch_norm")
        sent = shown.derivatives.messages[i, shown.operands[i].index(shown.id("1.weight"))]
        norm = sent.norm if capture == "lean" else float((sent**2).sum()) ** 0.5
        assert (arrow.symbol, arrow.number[:4]) == ("", "‖·‖ ")
        assert float(arrow.number[4:]) == pytest.approx(norm, rel=1e-2)
        assert float(arrow.tooltip.split("its norm: ")[1]) == pytest.approx(norm)
        said = "message: 4 float32: min " if capture == "lean" else "message: ["
        assert said in arrow.tooltip
        assert not any("vjp" in arrow.symbol or "map" in arrow.symbol for arrow in view.arrows)
        assert any("‖·‖ of the message" in words for _, words in view.legend)
    back = graph.draw(backward="alone").view
    assert any(arrow.number.startswith("‖·‖ ") for arrow in back.arrows)


def test_inside_its_scope_a_value_is_called_by_what_follows_the_scopes_path():
    graph = trace("resnet")
    plain = trace("convolutions").draw()
    titles = {box.name: box.title for box in plain.view.boxes}
    assert titles["1.running_mean"] == "running_mean"
    assert titles["input"] == "input"
    drawn = graph.draw(unfold="layer1.0.conv1.weight")
    box = next(box for box in drawn.view.boxes if box.name == "layer1.0.conv1.weight")
    assert box.scope == ("layer1 × 2", "0", "conv1")
    assert box.title == "weight"
    assert box.tooltip.startswith("layer1.0.conv1.weight\n")
    values = [box for box in drawn.view.boxes if box.kind != "fold"]
    assert len({box.name for box in values}) == len(values)
    convolution = next(box for box in values if box.name == "layer1.0.conv1.conv2d")
    assert re.match(r"conv2d\(maxpool\.\w+, weight[,)]", convolution.expression)
    assert "layer1.0.conv1.weight" in drawn.text


def sick_resnet():
    torch.manual_seed(0)
    model, args, loss = torch_programs.resnet()
    with torch.no_grad():
        model.layer3[1].conv2.weight[0, 0, 0, 0] = torch.nan
    return gv.trace(model, *args, loss=loss)


def test_what_is_wrong_with_a_large_model_is_seen_at_its_folds_and_opened():
    health = sick_resnet().diagnose()
    begin = time.perf_counter()
    drawing = health.draw()
    assert "non-finite value" in drawing.svg
    assert time.perf_counter() - begin < 1
    boxes = {box.name: box for box in drawing.view.boxes}
    assert len(boxes) <= 20
    assert (boxes["layer3"].role, boxes["layer3"].badge) == ("sick", "non-finite value")
    assert boxes["layer4"].role == "path 1"
    assert boxes["layer4"].badge.endswith("not finite")
    assert ("sick", "to blame") in drawing.view.legend

    begin = time.perf_counter()
    drawing = health.findings[0].draw()
    assert "</svg>" in drawing.svg
    assert time.perf_counter() - begin < 1
    box = next(box for box in drawing.view.boxes if box.name == health.findings[0].name)
    assert (box.title, box.role, box.badge) == ("weight", "sick", "non-finite value")
    assert not any(arrow.hidden for arrow in drawing.view.arrows)
    assert len(drawing.view.boxes) <= 40
    assert drawing.view.direction == "TB"


def test_a_lean_graph_becomes_a_page(tmp_path):
    graph = trace("convolutions", capture="lean")
    graph.save(tmp_path / "g.html")
    assert "‖·‖" in (tmp_path / "g.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_norm_is_not_zero_where_only_its_square_is(dtype):
    tiny = np.full(100_000, 1e-30 if dtype is np.float32 else 1e-200, dtype)
    tiny[0] = 0
    expected = np.linalg.norm(tiny.astype(np.longdouble))
    assert measure(tiny).norm == pytest.approx(float(expected), rel=1e-6)
    assert measure(np.zeros(10, dtype)).norm == 0
