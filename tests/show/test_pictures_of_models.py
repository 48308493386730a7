"""The picture of a model is one that its author would draw."""

from __future__ import annotations

import itertools
import math
import re

import networkx as nx
import numpy as np
import pytest
from gallery import LAYERED, NAMES, shown

import gradviz as gv
from gradviz.chain.fold import Fold, values_of
from gradviz.chain.folding import Folding
from gradviz.show import card
from gradviz.show.arrange import arrange
from gradviz.statistics import norm
from gradviz.web.pictures import Pictures

FEW = {"numpy_mlp", "numpy_simulation", "lstm_classifier", "graph_network", "char_rnn",
       "gan_step"}  # fmt: skip
SCREEN = 1200  # pixels: what is no longer is seen whole, whatever its shape
SHARING = {"seq2seq", "runge_kutta", "char_rnn", "gan_step", "hugging_face_gpt2",
           "hugging_face_t5"}  # fmt: skip

every_model = pytest.mark.parametrize("name", NAMES)
every_layered_model = pytest.mark.parametrize("name", LAYERED)


@pytest.fixture
def graph(name):
    return shown(name).graph


@pytest.fixture
def view(name):
    return shown(name).drawing.view


@pytest.fixture
def place(name):
    return shown(name).place


def modules(model):
    """The modules of a model, or of a function around one."""
    around = [cell.cell_contents for cell in getattr(model, "__closure__", None) or ()]
    for root in (model, *around):
        if hasattr(root, "named_modules"):
            yield from root.named_modules()


def size_of(drawing):
    """The width and height of the file."""
    return map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', drawing.svg).groups())


@every_model
def test_it_fits_a_screen(name, view):
    assert (5 if name in FEW else 15) <= len(view.boxes) <= 40
    width, height = size_of(shown(name).drawing)
    assert 1 / 2.5 <= height / width <= 2.5 or max(width, height) <= SCREEN
    assert card.HEAD * SCREEN / width >= 7  # its smallest text


@every_model
def test_its_page_begins_with_the_same_boxes_in_the_same_direction(graph, view):
    pictures = Pictures(graph)
    page, _ = pictures.with_open(pictures.first, None, "auto")
    assert sorted(box.name for box in page.boxes) == sorted(box.name for box in view.boxes)
    assert page.direction == view.direction


@every_model
def test_no_box_is_called_by_a_bare_number_or_as_a_part(graph, view):
    for box in view.boxes:
        name = box.title or box.name
        for said in (name, *box.scope):
            assert not re.fullmatch(r"(part|chain|stretch)?\s*\d*", said), box.name


@every_model
def test_no_box_says_a_thing_twice(view):
    for box in view.boxes:
        told = [box.title or box.name, box.expression, *(row.label for row in box.rows)]
        assert len({*filter(None, told)}) == len([*filter(None, told)]), told


@every_layered_model
def test_no_box_is_called_by_what_happens_to_be_first_and_last_in_it(view):
    loud = [box for box in view.boxes if box.expression != "no gradient"]
    said = {box.title or box.name for box in loud}.union(*(box.scope for box in loud))
    for first, last in re.findall(r"^(\S+) … (\S+)$", "\n".join(said), re.MULTILINE):
        assert first.rstrip("0123456789") == last.rstrip("0123456789"), (first, last)


@every_layered_model
def test_a_layer_is_called_by_its_attribute_its_class_and_its_sizes(name, view):
    sizes = ("in_features", "out_features", "in_channels", "out_channels", "num_embeddings")
    facts: dict = {}
    for path, module in modules(shown(name).model):
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


@every_layered_model
def test_an_opened_module_says_its_class_or_what_it_is_a_list_of(name, view):
    known = [*modules(shown(name).model)]
    for heading in {scope for box in view.boxes for scope in box.scope}:
        attribute, _, about = heading.partition(" · ")
        kinds = {
            type(module).__name__ for path, module in known if f".{path}".endswith(f".{attribute}")
        }
        if kinds:
            lists = bool(kinds & {"Sequential", "ModuleList"}) and " × " in about
            assert lists or any(kind in about for kind in kinds), heading


@every_model
def test_each_value_lies_in_one_box_and_the_boxes_form_a_dag(graph):
    folding = Folding(graph)
    groups = [values_of(part) for part, _ in folding.cut(folding.opened())]
    assert sorted(itertools.chain(*groups)) == list(range(len(graph)))
    owner = {i: n for n, group in enumerate(groups) for i in group}
    edges = {(owner[u], owner[v]) for u, v, _ in graph.dag.edges if owner[u] != owner[v]}
    assert nx.is_directed_acyclic_graph(nx.DiGraph(edges))


@every_layered_model
def test_edges_tell_shapes_and_shared_parameters_are_told(name, view):
    flows = [arrow for arrow in view.arrows if not arrow.hidden and not arrow.shared]
    told = [arrow for arrow in flows if re.search(r"\d", arrow.symbol + arrow.number)]
    assert len(told) >= len(flows) / 2
    said = {row.text for box in view.boxes for row in box.rows if row.label == "parameters"}
    assert bool(said) == (name in SHARING), said


@every_layered_model
def test_what_carries_no_gradient_is_one_quiet_box_at_most(graph):
    folding = Folding(graph)
    parts = [part for part, _ in folding.cut(folding.opened())]
    still = [
        part for part in parts
        if all(i in folding.still and graph.kind(i) != "input" for i in values_of(part))
    ]  # fmt: skip
    assert len(still) <= 1


LOOPS = {"numpy_lstm", "numpy_kalman", "numpy_simulation", "seq2seq", "runge_kutta", "mamba",
         "char_rnn", "mixture_of_experts", "radiance_field"}  # fmt: skip


@every_model
def test_of_a_loop_one_round_is_opened(name, view):
    headings = {scope for box in view.boxes for scope in box.scope}
    rounds = {said for said in headings if said.startswith("iteration ")}
    assert rounds == ({"iteration 1"} if name in LOOPS else set())


@every_layered_model
def test_no_constant_stands_apart(view):
    assert not [box.name for box in view.boxes if box.kind == "constant"]


@every_layered_model
def test_an_edge_tells_how_many_values_pass_besides_parameters(graph, view):
    folding = Folding(graph)
    cut = [values_of(part) for part, _ in folding.cut(folding.opened())]
    owner = {i: n for n, group in enumerate(cut) for i in group}
    boxes = {box.id: n for n, box in enumerate(view.boxes)}
    for arrow in view.arrows:
        if said := re.fullmatch(r"(\d+) values", arrow.number):
            ends = boxes[arrow.tail], boxes[arrow.head]
            sent = {
                u for u, v, _ in graph.edges()
                if (owner[u], owner[v]) == ends and graph.kind(u) != "parameter"
            }  # fmt: skip
            assert len(sent) == int(said[1]), arrow


@pytest.mark.parametrize("color", ["auto", "memory", "own"])
def test_a_network_of_falling_and_rising_resolution_is_a_u(color):
    if "unet" not in NAMES:
        pytest.skip("needs torch")
    graph = shown("unet").graph
    own = {name: n for n, name in enumerate(graph.names)}
    drawing = graph.draw(color=own if color == "own" else color)
    place, boxes = arrange(drawing.view), drawing.view.boxes
    width, height = size_of(drawing)
    assert height <= 2.5 * width
    at = {box.title: place.centres[box.id] for box in boxes}
    cats = [place.centres[box.id] for box in boxes if box.title == "cat"]
    levels = [at["downs.1"], at["downs.0"], at["inc.5"]]
    for (x, y), (across, level) in zip(levels, cats, strict=True):
        assert y == pytest.approx(level)
        assert across > x + 100
    down = [at[name][1] for name in ("x", "inc.0", "pool", "downs.0", "pool 2", "downs.1")]
    up = [at[name][1] for name in ("downs.2", "ups.0", "ups.1", "ups.2", "outc", "J")]
    assert (down, up) == (sorted(down), sorted(up, reverse=True))


def test_a_network_of_diffusion_is_a_u_whose_sides_are_its_layers():
    if "diffusion" not in NAMES:
        pytest.skip("needs torch")
    view, place = shown("diffusion").drawing.view, shown("diffusion").place
    at = {box.title: place.centres[box.id] for box in view.boxes}
    cats = [place.centres[box.id] for box in view.boxes if box.title == "cat"]
    for n, (across, level) in zip((2, 1, 0), cats, strict=True):
        assert at[f"down_attn.{n}"][1] == pytest.approx(level)
        assert across > at[f"down_attn.{n}"][0] + 100
    assert not any(box.scope for box in view.boxes)


def test_a_round_of_a_loop_may_have_other_sizes():
    if "radiance_field" not in NAMES:
        pytest.skip("needs torch")
    view = shown("radiance_field").drawing.view
    rounds = [
        [box.title for box in view.boxes if box.scope[:1] == (loop,)]
        for loop in ("loop · 4 times", "loop 2 · 4 times")
    ]
    assert rounds == [["pts.0", "relu", "iterations 2–4"], ["pts.4", "relu", "iterations 2–4"]]


@pytest.mark.parametrize("name", [name for name in ("gpt", "llama", "resnet") if name in NAMES])
def test_skips_of_one_resolution_make_no_u(view):
    assert view.bend is None


def test_two_calls_of_a_layer_are_headed_by_what_they_are_called_with():
    if "gan_step" not in NAMES:
        pytest.skip("needs torch")
    view = shown("gan_step").drawing.view
    headings = {scope for box in view.boxes for scope in box.scope}
    assert {"judge(generator)", "judge(real)"} <= headings


def test_the_first_round_of_a_loop_may_compute_less():
    graph = shown("numpy_kalman").graph.statements
    view = shown("numpy_kalman").drawing.view
    first = [box.name for box in view.boxes if "iteration 1" in box.scope]
    assert {"P", "S", "K", "e", "x", "P(2)", "nll"} <= {*first}
    rest = next(box for box in view.boxes if box.kind == "fold")
    assert (rest.name, graph.names[graph.output]) == ("iterations 2–8", "nll(8)")
    assert rest.rows[-1].text == "q, r, ys, C"
    assert len(view.boxes) <= 15


@pytest.mark.parametrize("name", ["numpy_kalman", "numpy_block", "numpy_lstm"])
def test_a_saved_program_is_drawn_in_the_same_way(graph, view, tmp_path):
    graph.save(tmp_path / "g.json")
    loaded = gv.load(tmp_path / "g.json").draw().view
    assert [(box.name, box.scope) for box in loaded.boxes] == [
        (box.name, box.scope) for box in view.boxes
    ]


def test_what_a_function_computes_is_framed():
    scopes = {box.name: box.scope for box in shown("numpy_block").drawing.view.boxes}
    assert scopes["mu"] == scopes["p.g1"] == scopes["n"] == ("block", "norm")
    assert scopes["mu(2)"] == scopes["p.b2"] == ("block", "norm 2")
    assert scopes["e"] == scopes["attn"] == ("block", "softmax")
    assert scopes["p.Wq"] == scopes["scores"] == ("block",)
    assert scopes["x"] == scopes["t"] == scopes["J"] == ()


FUNCTIONS = {"llama": "rotated", "mixture_of_experts": "rotated", "detector": "roi_align"}


@every_layered_model
def test_what_a_function_computes_between_layers_has_its_name(name, view):
    names = [box.title for box in view.boxes]
    for function in FUNCTIONS.values():
        assert (function in names) == (FUNCTIONS.get(name) == function), names


@every_layered_model
def test_each_fold_says_how_it_is_opened_and_is(graph, view):
    told = "\n".join(box.tooltip for box in view.boxes)
    keys = re.findall(r"opened by unfold='(.+)'", told)
    assert len(keys) >= sum(box.kind == "fold" for box in view.boxes)
    for key in {*keys[:1], *keys[-1:]}:
        assert len(graph.draw(unfold=key).view.boxes) > len(view.boxes), key


@every_model
def test_opened_twice_it_is_no_strip(graph, view):
    opened: list[str] = []
    for _ in range(2):
        told = "\n".join(box.tooltip for box in view.boxes)
        opened += re.findall(r"opened by unfold='(.+)'", told)[:1]
        if opened:
            drawing = graph.draw(unfold=opened)
            view = drawing.view
            short, long = sorted(size_of(drawing))
            assert long <= max(SCREEN, 2.5 * short), opened


@every_layered_model
def test_a_box_tells_the_norm_of_what_others_read_of_it_and_of_its_parameters(graph, view):
    folding = Folding(graph)
    cut = [part for part, _ in folding.cut(folding.opened())]
    owner = {i: n for n, part in enumerate(cut) for i in values_of(part)}
    read = {u for u, v, _ in graph.edges() if owner[u] != owner[v]} | {graph.output}
    gradients = graph.derivatives.gradients
    seen = 0
    for box, part in zip(view.boxes, cut, strict=True):
        if box.kind not in ("fold", "layer") or (isinstance(part, Fold) and part.repeated):
            continue
        inside = values_of(part)
        parameters = [i for i in inside if graph.kind(i) == "parameter"]
        leaving = [i for i in inside if i in read and i not in parameters]
        groups = [leaving] * any(row.label == "output" for row in box.rows)
        groups += [[i] for i in parameters] if len(parameters) <= 4 else [parameters]
        rows = [row for row in box.rows if len(row.cells) == 2]
        assert len(rows) == len(groups) or not rows, box.name
        for row, values in zip(rows, groups, strict=bool(rows)):
            sizes = [norm(graph.values[i].value) for i in values]
            sent = [norm(gradients[i]) for i in values if i in gradients]
            for cell, known in zip(row.cells, (sizes, sent), strict=True):
                if cell[0].isdigit() and " " not in cell:
                    assert float(cell) == pytest.approx(math.hypot(*known), rel=6e-3), box.name
                    seen += 1
    assert seen > 8


def test_a_heading_beside_an_edge_is_cut_by_what_that_takes_and_whole_in_its_tooltip():
    if "vit" not in NAMES:
        pytest.skip("needs torch")
    headings = re.findall(r'<g class="group-title">.*?</g>', shown("vit").drawing.svg, re.DOTALL)
    assert headings
    for heading in headings:
        said = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", heading))
        (whole,) = re.findall(r"<title>([^<]*)</title>", heading) or [said]
        assert re.match(r"[\w.]+ · (\d × )?[A-Z]\w+", whole), whole
        assert whole.startswith(said.rstrip(" …")), said
    assert sum(" · " in heading for heading in headings) == len(headings)
    assert sum(">encoder · 4 × T" in heading for heading in headings) == 2


def test_the_long_name_of_a_function_is_whole_and_what_is_cut_is_in_the_tooltip():
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")

    def loss(w, x, labels):
        return optax.softmax_cross_entropy_with_integer_labels(x @ w, labels).mean()

    w, x = np.ones((4, 3), np.float32), np.eye(5, 4, dtype=np.float32)
    svg = gv.trace(loss, w, x, jax.numpy.array([0, 1, 2, 1, 0])).draw().svg
    assert "softmax_cross_entropy_with_integer_labels" in "".join(
        re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    )
    long = "w" * 80
    svg = gv.graph(gv.parameter(2.0, long) ** 2).draw().svg
    assert f"<title>{long}</title>" in svg
