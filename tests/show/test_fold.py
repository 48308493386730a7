"""Folds: every value in one box, whatever is open; what a box says adds up."""

from __future__ import annotations

import re

import models
import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import gradviz as gv
from gradviz.chain import columns
from gradviz.chain import folding as fold
from gradviz.chain import parts as cutting
from gradviz.chain.backward import Gradients
from gradviz.chain.fold import Fold
from gradviz.chain.folding import Folding
from gradviz.chain.paths import count_paths
from gradviz.chain.repeats import repetitions
from gradviz.chain.totals import OVER, Tally
from gradviz.graph import Graph
from gradviz.model import Node
from gradviz.show import card, drawing, svg
from gradviz.show.arrange import arrange, ends
from gradviz.statistics import measure
from gradviz.web import insides, page, pictures

# --- random programs: operations, scopes and loops inside each other -----------------------------

OPERATIONS = {  # no value grows beyond 1
    "mean": lambda a, b: (a + b) * 0.5,
    "multiply": lambda a, b: a * b,
    "square": lambda a, b: a * a,
    "tanh": lambda a, b: np.tanh(a),
}
_step = st.tuples(st.sampled_from([*OPERATIONS]), st.integers(0, 5), st.integers(0, 5))


def _blocks(inner):
    scope = st.tuples(st.just("scope"), st.sampled_from("ab"), st.lists(inner, max_size=4))
    loop = st.tuples(st.just("loop"), st.integers(1, 4), st.lists(inner, max_size=4))
    return scope | loop


program = st.lists(st.recursive(_step, _blocks, max_leaves=12), min_size=1, max_size=8)
many = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def record(body, wrt=None):
    def run(w, x, c):
        values = [w, x, c]

        def do(body):
            for kind, first, second in body:
                if kind == "scope":
                    with gv.scope(first):
                        do(second)
                elif kind == "loop":
                    for _ in range(first):
                        do(second)
                else:
                    a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
                    values.append(OPERATIONS[kind](a, b))

        do(body)
        return values[-1] + w

    return gv.trace(run, 0.5, -0.25, 0.75, wrt=wrt)


def boxes(folding, opened):
    return [part for part, _ in folding.cut(opened)]


def members(part):
    return list(part.values) if isinstance(part, Fold) else [part]


def every(folding):
    """All folds there are, outer ones first."""
    found = [folding.root]
    for part in found:
        found += part.folds
    return found


def quotient(graph, parts):
    """The boxes as a NetworkX graph."""
    owner = {i: n for n, part in enumerate(parts) for i in members(part)}
    edges = {(owner[u], owner[v]) for u, v, _ in graph.edges()}
    result = nx.DiGraph((a, b) for a, b in edges if a != b)
    result.add_nodes_from(range(len(parts)))
    return result


@many
@given(program, st.sampled_from(["names", "operations"]), st.integers(1, 60))
def test_every_value_is_in_one_box_and_the_boxes_form_a_dag_within_the_budget(body, detail, budget):
    graph = record(body).detailed(detail)
    folding = Folding(graph)
    parts = boxes(folding, folding.opened(budget))
    assert len(parts) <= budget
    assert sorted(i for part in parts for i in members(part)) == list(range(len(graph)))
    assert nx.is_directed_acyclic_graph(quotient(graph, parts))


@many
@given(program, st.data())
def test_whatever_is_open_the_boxes_form_a_dag_and_an_opened_one_leaves_the_others(body, data):
    graph = record(body)
    folding = Folding(graph)
    folds = every(folding)
    assert len({part.key for part in folds}) == len(folds)
    opened = [folding.root]
    for _ in range(4):
        before = boxes(folding, opened)
        shut = [part for part in before if isinstance(part, Fold)]
        if not shut:
            break
        chosen = data.draw(st.sampled_from(shut))
        assert folding.way(chosen.key)[-1] is chosen
        opened.append(chosen)
        after = boxes(folding, opened)
        assert [part for part in after if part in before] == [p for p in before if p is not chosen]
        inside = [i for part in after if part not in before for i in members(part)]
        assert sorted(inside) == members(chosen)
        assert nx.is_directed_acyclic_graph(quotient(graph, after))


@many
@given(program, st.integers(3, 20))
def test_operations_and_parameters_add_up(body, budget):
    graph = record(body, wrt=("w", "x"))
    shown = graph.statements
    folding = Folding(shown)
    parts = boxes(folding, folding.opened(budget))
    tally = Tally(shown, parts)
    loose = [part for part in parts if not isinstance(part, Fold)]
    counted = sum(total.operations for total in tally.totals.values())
    counted += sum(len(getattr(shown.values[i].operation, "steps", (i,))) for i in loose
                   if not shown.is_leaf(i))  # fmt: skip
    assert counted == sum(not graph.is_leaf(i) for i in range(len(graph)))
    numbers = sum(total.parameters for total in tally.totals.values())
    numbers += sum(graph.kind(graph.id(shown.names[i])) == "parameter" for i in loose)
    assert numbers == sum(graph.kind(i) == "parameter" for i in range(len(graph)))


def brute_force(graph):
    """Every path from a leaf asked for to J, as NetworkX lists them: its nodes."""
    carrying = nx.MultiDiGraph()
    carrying.add_nodes_from(graph.dag)
    carrying.add_edges_from(
        (u, v, key) for u, v, key, m in graph.dag.edges(keys=True, data="message") if m is not None
    )
    for leaf in graph.wrt:
        for path in nx.all_simple_edge_paths(carrying, leaf, graph.output):
            yield {leaf, *(v for _, v, _ in path)}


@many
@given(program, st.integers(1, 12))
def test_the_paths_through_a_fold_are_those_that_networkx_finds(body, budget):
    graph = record(body)
    assume(len(graph) <= 60 and sum(count_paths(graph, graph.wrt).values()) <= 1000)
    folding = Folding(graph)
    parts = boxes(folding, folding.opened(budget))
    paths = list(brute_force(graph))
    for n, total in Tally(graph, parts).totals.items():
        assert total.paths == sum(not path.isdisjoint(parts[n].values) for path in paths)


def length(values):
    return np.linalg.norm(np.concatenate([np.ravel(value) for value in values]))


def test_the_norms_are_those_of_all_that_passes_through_as_one_vector():
    graph = models.transformer(layers=2)
    folding = Folding(graph)
    parts = boxes(folding, [folding.root, *folding.root.folds])
    tally = Tally(graph, parts)
    gradients, messages = graph.derivatives
    for n, total in tally.totals.items():
        inside = set(parts[n].values)
        leaving = {u for u, v, _ in graph.edges() if u in inside and v not in inside}
        out = [messages[v, key] for u, v, key in graph.edges()
               if v in inside and u not in inside and (v, key) in messages]  # fmt: skip
        np.testing.assert_allclose(total.size.value, length(graph.values[i].value for i in leaving))
        np.testing.assert_allclose(total.size.into, length(gradients[i] for i in leaving))
        if out:
            np.testing.assert_allclose(total.size.out, length(out))
    for (a, b), bundle in tally.bundles.items():
        ends = [(v, key) for u, v, key in graph.edges()
                if tally.owner[u] == a and tally.owner[v] == b]  # fmt: skip
        sent = [messages[edge] for edge in ends if edge in messages]
        assert bundle.count == len(ends)
        if sent:
            np.testing.assert_allclose(bundle.norm, length(sent))


# --- what becomes of real programs ---------------------------------------------------------------


def box(view, name):
    return next(box for box in view.boxes if box.name == name)


def texts(box):
    return {row.label: " ".join(row.cells) for row in box.rows}


def test_blocks_that_are_alike_are_one_box_with_their_count_and_the_range_over_them():
    graph = models.transformer()
    view = graph.draw().view
    blocks = box(view, "blocks × 12")
    assert blocks.expression == "blocks.0 … blocks.11"
    leaves = graph.leaf_values().items()
    size = sum(w.size for name, w in leaves if name.startswith("params.blocks"))
    assert texts(blocks)["parameters"] == f"{size:,}"
    last = {node.scope: i for i, node in enumerate(graph.values)}
    norms = [np.linalg.norm(graph.adjoint(last[f"blocks.{n}",])) for n in range(12)]
    least, _, most = texts(blocks)["‖gradient‖ in"].split()
    assert float(least) == pytest.approx(min(norms), rel=1e-2)
    assert float(most) == pytest.approx(max(norms), rel=1e-2)
    assert len(view.boxes) <= 40


def test_opened_they_are_a_box_each_which_opens_too():
    graph = models.transformer()
    closed = {box.name for box in graph.draw().view.boxes}
    opened = graph.draw(unfold="blocks").view
    assert {box.name for box in opened.boxes} == (
        closed - {"blocks × 12"} | {f"blocks.{n}" for n in range(12)}
    )
    assert ("blocks × 12",) in opened.groups()
    inner = graph.draw(detail="operations", unfold=["blocks.3/attention"]).view
    names = {box.name for box in inner.boxes}
    assert {"blocks.2", "head × 2", "blocks.3.attention.q", "params.blocks[3].q"} <= names
    assert ("blocks × 12", "blocks.3", "attention") in inner.groups()


def test_an_unrolled_loop_is_one_box_with_its_count_and_its_line():
    graph = models.recurrent(60)
    for detail in ("names", "operations"):
        view = graph.draw(detail=detail, budget=20).view
        loop = box(view, "loop × 60")
        assert loop.expression == "h = np.tanh(z)"
        assert loop.tag == f"{3 * 60} operations"
        assert texts(loop)["paths to J"] == "60"
        assert "W" not in {box.name for box in view.boxes}  # only the loop reads it
    opened = graph.draw(budget=20, unfold=("loop/7",)).view
    assert {"iteration 1", "iterations 12–21", "iteration 6"} <= {box.name for box in opened.boxes}
    assert {"z(7)", "h(7)", "xs[6]"} <= {box.name for box in opened.boxes}


def test_a_loop_in_a_loop_is_found_even_if_its_count_changes():
    def run(x):
        for n in range(7):
            for _ in range(6 + n % 3):
                x = np.sin(x)
            x = x * 2.0
        return x

    folding = Folding(gv.trace(run, 0.1))
    (outer,) = folding.root.folds
    assert (outer.count, outer.title) == (7, "loop × 7")
    first, rest = outer.folds
    assert [part.folds[0].count for part in (first, *rest.folds)] == [6, 7, 8, 6, 7, 8, 6]


def test_a_scope_that_is_entered_again_after_others_read_it_is_a_box_for_each_visit():
    def run(x):
        for _ in range(3):
            for name in ("encoder", "decoder"):
                with gv.scope(name):
                    x = np.tanh(x * 2.0)
        with gv.scope("other"):
            x = np.exp(x) + x
        return x

    folding = Folding(gv.trace(run, 0.1))
    assert {part.key for part in every(folding)} >= {"loop/1/encoder", "loop/2/decoder", "other"}


def test_interleaved_scopes_are_one_box_each_as_long_as_no_path_comes_back():
    def run(x):
        total = 0.0
        for _ in range(3):
            for name in ("left", "right"):
                with gv.scope(name):
                    total = total + np.sum(x) if name == "left" else total
                    y = np.sin(x)
        return total + y

    folding = Folding(gv.trace(run, 0.1))
    assert [part.key for part in folding.root.folds] == ["left", "right"]


def test_what_is_one_long_chain_is_drawn_and_opened():
    def program(w, x):
        for k in range(90):
            x = (np.sin, np.cos, np.tanh)[(k * k + k // 3) % 3](x) * w if k % 7 else x - w
        return x**2

    graph = gv.trace(program, 1.0, 0.5)
    assert "v_1" in {box.name for box in graph.draw(unfold="v_1").view.boxes}


def test_a_program_without_any_structure_is_cut_into_chains_and_stretches():
    rng = np.random.default_rng(0)
    leaf = gv.input(0.5, "x")
    values = [leaf]
    for _ in range(3000):
        values.append(values[-1] + values[rng.integers(len(values))] * rng.normal())
    graph = gv.graph(values[-1])
    view = graph.draw(budget=30).view
    assert 3 <= len(view.boxes) <= 30
    folding = Folding(graph)
    assert max(len(part.parts) for part in every(folding)) <= cutting.WIDE + cutting.LEAVES


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("abababab", [(0, 2, 4)]),
        ("xabcabcabcy", [(1, 3, 3)]),
        ("aaaaaabbbbbb", [(0, 1, 6), (6, 1, 6)]),
        ("ababcababcababc", [(0, 5, 3)]),  # the outer loop
        ("abcdef", []),
        ("abab", []),  # too little to be worth a box
    ],
)
def test_what_repeats_is_found_with_its_period(text, found):
    assert repetitions([ord(letter) for letter in text], [1] * len(text)) == found


# --- numbers that are too large, not finite, or were not kept ------------------------------------


def test_more_paths_than_memory_could_count_are_said_to_be_so():
    graph = models.doubling(3000)
    folding = Folding(graph)
    (part,) = [part for part in boxes(folding, [folding.root]) if isinstance(part, Fold)]
    total = Tally(graph, [part]).totals[0]
    assert total.paths == OVER
    view = graph.draw(detail="operations").view
    assert any("over 1e300" in texts(box).values() for box in view.boxes)
    exact = models.doubling(300)
    folding = Folding(exact)
    assert Tally(exact, [folding.root]).totals[0].paths == 2**300


def test_what_is_not_finite_stands_out():
    def run(x):
        for _ in range(100):
            x = x * 2.0
        y = np.exp(1e9 * x)
        for _ in range(100):
            y = y * 0.5
        return np.log(y)

    with np.errstate(all="ignore"):
        drawn = gv.trace(run, 1.0).draw(detail="operations")
    boxes = drawn.view.boxes
    last = next(box for box in boxes if "loop 2 × 100" in box.scope and box.kind == "fold")
    assert last.role == "sick"
    assert "not finite" in last.badge
    assert "(non-finite)" in texts(last)["‖value‖"]
    assert "not finite" in drawn.svg


def test_a_mask_of_minus_infinity_is_nothing_to_worry_about():
    mask = np.triu(np.full((4, 4), -np.inf), 1)

    def run(x):
        for _ in range(60):
            e = np.exp(x + mask)
            x = e / np.sum(e, axis=1, keepdims=True)
        return np.sum(x * x)

    view = gv.trace(run, np.eye(4)).draw(detail="operations").view
    assert {box.role for box in view.boxes} == {""}


def lean(graph):
    """The same with statistics in place of the arrays."""
    values = [
        node if np.ndim(node.value) == 0 else Node.new(
            measure(node.value), node.operation, keywords=node.keywords, scope=node.scope,
            name=node.name, site=node.site)
        for node in graph.values
    ]  # fmt: skip
    result = Graph(values, graph.operands, lambda: (graph.names, graph.named), graph.output,
                   graph.wrt, sources=graph._source)  # fmt: skip
    gradients, messages = graph.derivatives
    result.locals = {}
    result.derivatives = Gradients(
        {i: measure(gradient) for i, gradient in gradients.items()},
        {edge: measure(message) for edge, message in messages.items()},
    )
    return result


def test_a_graph_of_statistics_says_the_same_of_its_folds():
    graph = models.transformer()
    whole, kept = (drawing.draw(g).view for g in (graph, lean(graph)))
    assert [(box.name, box.tag) for box in whole.boxes] == [(b.name, b.tag) for b in kept.boxes]
    for before, after in zip(whole.boxes, kept.boxes, strict=True):
        if before.kind == "fold":
            assert texts(before) == texts(after)


# --- the picture ---------------------------------------------------------------------------------


def test_a_small_graph_is_drawn_as_it_is_and_a_budget_folds_it_too():
    graph = models.recurrent(3)
    assert len(graph.draw().view.boxes) == len(graph.statements)
    assert len(graph.draw(budget=10).view.boxes) <= 10


TANGLED = {
    "Runge-Kutta": lambda: models.pendulum(8),
    "a longer one": lambda: models.pendulum(20),
    "letters": lambda: models.characters(12),
    "more letters": lambda: models.characters(25),
    "dense": lambda: models.dense(40),
    "a hub": lambda: models.hub(60),
    "crossed": lambda: models.crossed(12),
    "Fibonacci": lambda: models.fibonacci(90),
}


@pytest.mark.parametrize("detail", ["names", "operations"])
@pytest.mark.parametrize("name", TANGLED)
def test_what_is_hard_to_lay_out_is_folded_and_a_page_of_it_asks_little(name, detail, monkeypatch):
    graph = TANGLED[name]()
    asked = []

    def noted(view, *engine, **how):
        asked.append(columns.length(len(view.boxes), ends(view)))
        return arrange(view, *engine, **how)

    monkeypatch.setattr(svg, "arrange", noted)
    monkeypatch.setattr(insides, "arrange", noted)
    drawing = graph.draw(detail=detail)
    assert len(drawing.view.boxes) <= fold.SCREEN
    assert drawing.svg == graph.draw(detail=detail).svg
    assert max(asked) <= fold.LONG
    asked.clear()
    page.to_html(graph, detail=detail)
    assert max(asked) <= fold.LONG
    assert sum(asked) <= insides.LENGTH + 4 * fold.LONG  # with both first pictures, and the turned


def simulation():
    def loss(k, c, x0):
        x, v = x0, np.zeros(3)
        for _ in range(64):
            a = -k * x - c * v
            v = v + 0.05 * a
            x = x + 0.05 * v
        return np.sum(x**2)

    return gv.trace(loss, 2.0, 0.3, np.array([1.0, 0.5, -1.0])), 64


def runge_kutta():
    def slope(y, a, b):
        both = b * y[0] * y[1]
        return np.stack([a * y[0] - both, both - y[1]])

    def loss(a, b, y0):
        y, h = y0, 0.1
        for _ in range(20):
            k1 = slope(y, a, b)
            k2 = slope(y + h / 2 * k1, a, b)
            k3 = slope(y + h / 2 * k2, a, b)
            k4 = slope(y + h * k3, a, b)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return np.sum(y**2)

    return gv.trace(loss, 1.1, 0.4, np.array([1.0, 0.5])), 20


def kalman():
    def nll(A, Q, H, R, m, P, ys):
        total = 0.0
        for y in ys:
            m = A @ m
            P = A @ P @ A.T + Q
            S = H @ P @ H.T + R
            K = P @ H.T @ np.linalg.inv(S)
            r = y - H @ m
            m = m + K @ r
            P = P - K @ H @ P
            total = total + 0.5 * (np.log(np.linalg.det(S)) + r @ np.linalg.solve(S, r))
        return total

    A, H, ys = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[1.0, 0.0]]), np.ones((10, 1))
    start = np.zeros(2), np.eye(2)
    return gv.trace(nll, A, 0.01 * np.eye(2), H, np.array([[0.1]]), *start, ys, wrt=("A", "Q")), 10


@pytest.mark.parametrize("steps", [6, 12, 18, 25])
def test_the_picture_of_a_loop_fits_on_a_screen_however_often_it_goes_round(steps):
    drawing = models.characters(steps).draw()
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', drawing.svg)
    assert max(map(float, size.groups())) < 4000
    names = {box.name for box in drawing.view.boxes} | {part for box in drawing.view.boxes
                                                        for part in box.scope}  # fmt: skip
    assert f"loop × {steps}" in names


@pytest.mark.parametrize("make", [simulation, runge_kutta, kalman])
def test_a_loop_over_time_shows_its_first_step_and_the_rest_as_one_box(make):
    graph, steps = make()
    drawing = graph.draw()
    view = drawing.view
    scopes = {part for box in view.boxes for part in box.scope}
    names = {box.name for box in view.boxes}
    assert {f"loop × {steps}", "iteration 1"} <= scopes
    assert f"iterations 2–{steps}" in names
    assert len(view.boxes) <= fold.SCREEN
    assert not [name for name in names | scopes if re.match(r"part\b", name)]
    wide, high = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing.svg).groups())
    assert 1 / 2.5 <= wide / high <= 2.5
    assert card.DATA * min(1.0, 1200 / wide) >= 7.5  # legible at a width of 1,200


@pytest.mark.parametrize("direction", ["LR", "TB"])
def test_a_picture_of_any_size_is_drawn_if_asked_for(direction):
    graph = models.dense(60)
    drawing = graph.draw(budget=1000, direction=direction)
    assert len(drawing.view.boxes) == len(graph.statements)
    place = arrange(drawing.view)
    assert place == arrange(drawing.view)
    assert place.sizes.keys() == place.centres.keys()
    corners = [(*place.centres[i], *place.sizes[i]) for i in place.sizes]
    for n, (x, y, width, height) in enumerate(corners):
        assert 0 <= x - width / 2 <= x + width / 2 <= place.width
        assert 0 <= y - height / 2 <= y + height / 2 <= place.height
        for other_x, other_y, other_width, other_height in corners[:n]:
            apart = abs(x - other_x) >= (width + other_width) / 2 - 1e-6
            assert apart or abs(y - other_y) >= (height + other_height) / 2 - 1e-6
    assert drawing.svg.startswith("<svg")


def test_only_the_rows_that_are_shown_are_made():
    graph = models.scalar(4000)
    graph.draw(detail="operations").svg
    assert len(graph.table.nodes._made) < 50
    assert len(graph.dag) == len(graph)  # all of them, when they are asked for


def test_every_form_of_the_picture_can_be_had():
    graph = models.transformer(layers=3)
    for backward in (None, "beside", "alone"):
        drawn = graph.draw(backward=backward, budget=12)
        assert "blocks × 3" in drawn.dot
        assert "</svg>" in drawn.svg
        assert r"\end{document}" in drawn.tex
        assert "blocks × 3" in drawn.text
    assert "graph of" in graph.draw().view.description


def test_the_reuse_of_cached_terms_is_pointed_out_at_folds_too():
    graph = models.transformer()
    drawn = graph.reuse("params.blocks[0].q", "params.scale").draw()
    assert box(drawn.view, "blocks × 12").role == "target"
    assert any("computed" in arrow.roles for arrow in drawn.view.arrows)


def test_a_fold_says_the_most_telling_of_what_is_said_of_its_values():
    graph = models.transformer()
    folding = Folding(graph.statements)
    blocks = next(part for part in folding.root.folds if part.key == "blocks")
    first, second, third = blocks.values[:3]

    def drawn(**highlight):
        found = box(graph.draw(highlight=drawing.Highlight(**highlight)).view, "blocks × 12")
        return found.role, found.badge

    badges = {first: "small", second: "large", third: "broken"}
    roles = {first: "path 2", second: "path 1", third: "sick"}
    assert drawn(boxes=roles, badges=badges) == ("sick", "broken")
    assert drawn(boxes=roles | {second: "sick"}, badges=badges) == ("sick", "large +1")
    assert drawn(boxes=roles | {third: "computed"}, badges={first: "small"})[0] == "computed"
    grey = dict.fromkeys(range(len(graph.statements)), "unneeded")
    assert drawn(boxes=grey) == ("unneeded", "")
    assert drawn(boxes=grey | {third: ""}) == ("", "")
    assert drawn(badges={first: "small", second: "large"}) == ("", "small +1")


def test_a_value_is_unfolded_by_its_name():
    graph = models.transformer()
    view = graph.draw(detail="operations", unfold="params.blocks[3].q").view
    assert {"params.blocks[3].q", "blocks.2"} <= {box.name for box in view.boxes}


def test_a_long_row_of_folded_boxes_goes_from_top_to_bottom_unless_asked_otherwise():
    graph = models.transformer()
    short, long = graph.draw().view, graph.draw(unfold="blocks").view
    assert (short.direction, long.direction) == ("LR", "TB")
    assert graph.draw(unfold="blocks", direction="LR").view.direction == "LR"
    assert graph.draw(direction="TB").view.direction == "TB"
    assert models.recurrent(3).draw().view.direction == "LR"  # it is not folded
    with pytest.raises(ValueError, match="no direction 'BT'"):
        graph.draw(direction="BT")


def test_a_wrong_key_or_budget_is_named():
    graph = models.transformer()
    with pytest.raises(ValueError, match=r"no fold 'block' \(did you mean 'blocks'\?\)"):
        graph.draw(unfold="block")
    with pytest.raises(ValueError, match="budget=0"):
        graph.draw(budget=0)


def several_on_a_line():
    def run(x):
        for _ in range(8):
            x = np.tanh(sum(x * (i + 1) * 0.1 for i in range(8)) * 0.1 * x * 2.0)
        return x

    return gv.trace(run, 0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.scalar(1000), models.pendulum, models.characters, models.transformer,
        lambda: models.crossed(12), several_on_a_line,
    ],
)  # fmt: skip
@pytest.mark.parametrize("wish", [{}, {"detail": "operations"}, {"budget": 12}])
def test_a_loaded_graph_folds_in_the_same_way(make, wish, tmp_path):
    graph = make()
    graph.save(tmp_path / "g.json")
    loaded = gv.load(tmp_path / "g.json")
    assert loaded.draw(**wish).svg == graph.draw(**wish).svg
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "g.json").read_bytes()


def test_the_page_brings_along_what_is_in_each_fold():
    graph = models.transformer()
    brought = insides.alive(pictures.Pictures(graph, "operations"))
    assert "blocks" in brought["closed"].values()
    assert "blocks.7" in brought["insides"]["blocks"]["drawing"]["closed"].values()
    parts = [({*range(len(graph))}, brought)]
    for inside in brought["insides"].values():
        values = {i for first, last in inside["values"] for i in range(first, last + 1)}
        parts.append((values, inside["drawing"]))
    for values, picture in parts:
        shown = {int(part.partition('"')[0]) for part in picture["svg"].split('data-node="n')[1:]}
        runs = picture["inside"]
        hidden = {i for first, last, box in runs for i in range(first, last + 1) if i != box}
        assert shown.isdisjoint(hidden)
        assert shown | hidden == values
        assert {box for _, _, box in runs} <= shown
