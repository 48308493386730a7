"""The picture of a model is one that its author would draw."""

from __future__ import annotations

import itertools
import re

import networkx as nx
import pytest

import gradviz as gv
from gradviz.chain.fold import values_of
from gradviz.chain.folding import Folding
from gradviz.show import card, svg
from gradviz.show.arrange import arrange

torch = pytest.importorskip("torch")
import models_of_others
from torch import nn

LARGE = {"resnet", "unet", "gpt", "llama", "mixture_of_experts", "vit", "encoder_decoder",
         "seq2seq", "runge_kutta", "mamba"}  # fmt: skip
SMALL = 1200  # pixels: seen whole, whatever its shape
SHARING = {"seq2seq", "runge_kutta", "char_rnn", "gan_step"}  # layers called more than once
SLACK = 2.0  # pixels by which an edge's end may reach into a box

pytestmark = pytest.mark.parametrize("name", models_of_others.MODELS)
drawn: dict = {}


@pytest.fixture
def graph(name):
    if name not in drawn:
        torch.manual_seed(0)
        model, args, loss = models_of_others.MODELS[name]()
        graph = gv.trace(model, *args, loss=loss, capture="lean")
        view = graph.draw().view
        drawn[name] = model, graph, view, arrange(view)
    return drawn[name][1]


@pytest.fixture
def model(name, graph):
    return drawn[name][0]


@pytest.fixture
def view(name, graph):
    return drawn[name][2]


@pytest.fixture
def place(name, graph):
    return drawn[name][3]


def rectangles(place):
    return {
        i: (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for i, (x, y) in place.centres.items()
        for w, h in (place.sizes[i],)
    }


def along(points, count=24):
    """Points on a chain of cubic Béziers."""
    for at in range(0, len(points) - 1, 3):
        a, b, c, d = points[at : at + 4]
        for n in range(count + 1):
            t = n / count
            weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            yield tuple(sum(w * p[k] for w, p in zip(weights, (a, b, c, d), strict=True))
                        for k in (0, 1))  # fmt: skip


def test_it_fits_a_screen(name, view, place):
    assert (15 if name in LARGE else 5) <= len(view.boxes) <= 40
    aspect = place.height / place.width
    assert 1 / 2.5 <= aspect <= 2.5 or max(place.width, place.height) <= SMALL
    assert card.HEAD * SMALL / (place.width + 2 * svg.MARGIN) >= 7  # its smallest text


def test_no_box_is_called_by_a_bare_number_or_as_a_part(graph, view):
    for box in view.boxes:
        name = box.title or box.name
        for shown in (name, *box.scope):
            assert not re.fullmatch(r"(part|chain|stretch)?\s*\d*", shown), box.name


def test_a_layer_is_called_by_its_attribute_its_class_and_its_sizes(model, view):
    modules = [*model.named_modules()] if isinstance(model, nn.Module) else []
    sizes = ("in_features", "out_features", "in_channels", "out_channels", "num_embeddings")
    facts: dict = {}
    for path, module in modules:
        own = [str(getattr(module, size)) for size in sizes if hasattr(module, size)]
        if own:
            facts.setdefault(path.rpartition(".")[2], []).append([type(module).__name__, *own])
    seen = 0
    for box in view.boxes:
        name, _, kind = (box.title or box.name).rpartition(".")[2].partition(" · ")
        if name in facts and not name.isdigit() and " × " not in box.expression:
            told = f"{kind} {box.expression}"
            assert any(all(f in told for f in fact) for fact in facts[name]), (box.name, told)
            seen += 1
    assert seen or all(name.isdigit() for name in facts)


def test_each_value_lies_in_one_box_and_the_boxes_form_a_dag(graph):
    folding = Folding(graph)
    groups = [values_of(part) for part, _ in folding.cut(folding.opened())]
    assert sorted(itertools.chain(*groups)) == list(range(len(graph)))
    owner = {i: n for n, group in enumerate(groups) for i in group}
    edges = {(owner[u], owner[v]) for u, v, _ in graph.dag.edges if owner[u] != owner[v]}
    assert nx.is_directed_acyclic_graph(nx.DiGraph(edges))


def test_no_two_boxes_overlap_and_no_edge_runs_through_a_box(name, view, place):
    boxes = rectangles(place)
    for (i, a), (j, b) in itertools.combinations(boxes.items(), 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (i, j)
    names = {box.id: box.name for box in view.boxes}
    for arrow in view.arrows:
        others = {i: box for i, box in boxes.items() if i not in (arrow.tail, arrow.head)}
        for spline in place.route(arrow).splines:
            for x, y in along(spline) if len(spline) > 3 else spline:
                for i, (left, top, right, bottom) in others.items():
                    inside = left + SLACK < x < right - SLACK and top + SLACK < y < bottom - SLACK
                    assert not inside, (names[arrow.tail], names[arrow.head], names[i])


def test_edges_tell_shapes_and_shared_parameters_are_told(name, view):
    flows = [arrow for arrow in view.arrows if not arrow.hidden and not arrow.shared]
    told = [arrow for arrow in flows if re.search(r"\d", arrow.symbol + arrow.number)]
    assert len(told) >= len(flows) / 2
    said = {row.text for box in view.boxes for row in box.rows if row.label == "parameters"}
    assert bool(said) == (name in SHARING), said


def test_what_carries_no_gradient_is_one_quiet_box_at_most(graph):
    folding = Folding(graph)
    parts = [part for part, _ in folding.cut(folding.opened())]
    still = [
        part for part in parts
        if all(i in folding.still and graph.kind(i) != "input" for i in values_of(part))
    ]  # fmt: skip
    assert len(still) <= 1


def test_what_a_function_computes_between_layers_has_its_name(name, view):
    names = [box.title for box in view.boxes]
    assert ("rotated" in names) == (name in ("llama", "mixture_of_experts")), names
