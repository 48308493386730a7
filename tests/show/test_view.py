"""What a picture says: texts, states, selections, and how errors help."""

from __future__ import annotations

import base64
import itertools
import re
import shutil
import subprocess

import graphs
import models
import numpy as np
import pytest

import gradviz as gv
from gradviz import words
from gradviz.ops import layout, notation
from gradviz.show import mathtext, style
from gradviz.show.card import box_card
from gradviz.show.drawing import Drawing, Highlight, draw
from gradviz.web.pictures import drawing


def box(drawing: Drawing, name: str, panel: int = 0):
    return next(b for b in drawing.view.panels()[panel].boxes if b.name == name)


def test_the_articles_numbers_stand_in_the_picture():
    drawing = draw(graphs.article())  # J, dJ/dw5, dJ/dw1 as published
    assert box(drawing, "J").rows[0].cells == ("0.29837",)
    assert box(drawing, "w5").rows[1].cells == ("0.082167",)
    assert box(drawing, "w1").rows[1].cells == ("0.00043857",)


def test_an_edge_shows_its_local_derivative_in_symbols_and_in_numbers():
    arrows = {(a.tail, a.head): a for a in draw(graphs.colah()).view.arrows}
    assert (arrows["n3", "n4"].symbol, arrows["n3", "n4"].number) == ("c", "3")
    assert (arrows["n0", "n2"].symbol, arrows["n0", "n2"].number) == ("", "1")  # not "1 = 1"


def test_the_six_gradient_states_read_differently():
    rows = {b.name: b.rows[1] for b in draw(graphs.states()).view.boxes}
    texts = [row.cells for row in rows.values()]
    assert len(set(texts)) == 6
    assert rows["zero"].cells == ("0 exactly",)
    assert rows["underflown"].cells == ("0 by underflow",)
    assert rows["non_finite"].cells == ("inf (non-finite)",)
    assert rows["number"].cells == ("0.25",)


def test_states_in_words_are_set_in_italics_and_numbers_are_not():
    svg = draw(graphs.states()).svg
    assert re.search(r'font-style="italic"[^>]*>0 exactly<', svg)
    assert not re.search(r'font-style="italic"[^>]*>0\.25<', svg)


def test_kinds_differ_without_colour():
    svg = draw(graphs.article()).svg

    def frame(kind: str) -> str:
        return re.search(rf'data-kind="{kind}".*?(?=<g)', svg, re.S)[0]

    shapes = {kind: re.sub(r'\b(fill|stroke|class|data-\w+|x|y|width|height)="[^"]*"|M[^"h]*', "",
                           re.sub(r"<title>.*?</title>", "", frame(kind), flags=re.S))
              for kind in ("input", "parameter", "constant", "operation", "output")}  # fmt: skip
    assert len(set(shapes.values())) == 5


def test_paths_differ_in_dashes_too():
    assert len(set(style.DASHES)) == style.PATHS
    assert style.DASHES[0] == ""
    assert style.dash("path 2") == style.dash("path 8") != style.dash("path 1")
    assert style.token("path 7") == "path1"


def test_an_edge_of_several_paths_shows_each_of_them():
    edge = next(iter(graphs.colah().dag.edges(keys=True)))
    drawing = draw(graphs.colah(), highlight=Highlight(arrows={edge: ("path 1", "path 3")}))
    first, third = style.LIGHT["path1"], style.LIGHT["path3"]
    assert f'stroke="{first}"' in drawing.svg
    assert f'stroke="{third}"' in drawing.svg
    assert f"{first}:{third}" in drawing.dot
    assert "on path3" in drawing.tex


def test_a_selection_bridges_what_it_hides():
    view = draw(graphs.article(), show=["w1", "z_o1", "J"]).view
    assert [b.name for b in view.boxes] == ["w1", "z_o1", "J"]
    assert {(a.tail, a.head, a.hidden) for a in view.arrows} == {
        ("n4", "n19", True), ("n4", "n23", True), ("n19", "n23", True)
    } or all(a.hidden for a in view.arrows)  # fmt: skip
    assert len(view.arrows) == 3
    assert "not shown" in view.description


def test_a_scope_can_be_selected_by_name():
    assert [b.name for b in draw(graphs.article(), show=["h1"]).view.boxes] == ["z_h1", "a_h1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"show": ["z_p1"]}, r"no name 'z_p1' \(did you mean 'z_.1'\?\)"),
        (
            {"theme": "drak"},
            r"no theme 'drak' \(did you mean 'dark'\?\); there is: 'light', 'dark'",
        ),
        ({"direction": "RL"}, "no direction 'RL'.*there is: 'LR', 'TB'"),
        ({"backward": "below"}, "no value of backward 'below'.*'beside'"),
        ({"theme": None}, "no theme None"),
    ],
)
def test_a_wrong_option_names_what_there_is(options, message):
    with pytest.raises(ValueError, match=message):
        draw(graphs.article(), **options)


def test_the_backward_graph_counts_the_readers_of_cached_terms():
    drawing = draw(graphs.article(), backward="alone")
    assert box(drawing, "∂J/∂z_o1").badge == "×5"
    assert box(drawing, "∂J/∂z_o1").role == "cached"
    assert box(drawing, "∂J/∂a_h1").expression == "sum of 2 messages"
    assert box(drawing, "∂J/∂w5").rows[0].cells == ("0.082167",)


def test_beside_each_other_the_passes_share_one_arrangement_and_name_what_they_read():
    drawing = draw(graphs.article(), backward="beside")
    above, below = drawing.view.panels()
    assert {b.id for b in below.boxes} == {b.id for b in above.boxes}
    assert {a.id for a in below.arrows} == {a.id for a in above.arrows}
    # a_h1 is read by the messages to w5, to w7, and by its own sigmoid's derivative
    assert box(drawing, "a_h1").badge == "read ×3"
    places = {}
    for x, y, node in re.findall(
        r'data-node="(\w+)".*?<rect x="([\d.]+)" y="([\d.]+)"', drawing.svg, re.S
    ):
        places.setdefault(x, []).append((y, node))
    assert len({y for y, _ in places["n23"]}) == 1


def test_a_graph_over_the_budget_is_folded_and_says_so():
    drawing = models.scalar(4000).draw()
    assert len(drawing.view.boxes) <= 40
    assert "999 nodes are folded into 1 box" in drawing.view.description
    assert drawing.svg


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2983711087600027, "0.29837"), (1e-300, "1e-300"), (-0.0, "0"), (0, "0"), (True, "True"),
        (float("nan"), "nan"), (float("-inf"), "-inf"), (123456789, "123456789"),
        (10**400, "inf"), (12345678901, "1.2346e10"), (1 - 2j, "1 - 2i"), (None, "None"),
        ("text", "'text'"), ("x" * 99, "'" + "x" * 16 + "…"), (np.float32(0.1), "0.1"),
        (np.array(5), "5"), (1.0, "1"), (1.5e-7, "1.5e-7"),
    ],
)  # fmt: skip
def test_a_number_is_short(value, text):
    assert words.number(value) == text


def test_an_object_whose_repr_raises_is_still_drawn():
    class Rude:
        def __repr__(self):
            raise RuntimeError("no")

    assert words.number(Rude()) == "<Rude>"
    assert words.full(Rude()) == "<Rude>"


@pytest.mark.parametrize(
    ("array", "cells"),
    [
        (np.array([1.0, 2.5]), ("[1, 2.5]",)),
        (np.array([[1, 2], [3, 4]]), ("[[1, 2], [3, 4]]",)),
        (np.zeros(0), ("empty",)),
        (np.zeros((100, 100)), ("all 0",)),
        (np.ones((3, 3)), ("all 1",)),
        (np.arange(10), ("0", "4.5", "9")),
        (np.arange(16).reshape(2, 8), ("0", "7.5", "15")),
        (np.arange(6.0).reshape(2, 3) / 3, ("[[0, 0.333, 0.667], [1, 1.33, 1.67]]",)),
        (np.arange(8), ("[0, 1, 2, 3, 4, 5, 6, 7]",)),
        (np.full(9, np.nan), ("nan", "nan", "nan")),
        (np.array(["a"] * 9), ("9 objects",)),
        (np.array([3 + 4j] * 4 + [0]), ("0", "4", "5")),  # magnitudes
    ],
)
def test_an_array_is_a_few_numbers_or_its_statistics(array, cells):
    assert words.cells(array) == cells


@pytest.mark.parametrize(
    ("derivative", "said"),
    [
        (np.ones((1, 4)), "all 1"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), "[[1, 2], [3, 4]]"),
        (np.array([[0.123456, 2.0], [3.3333, -4.4444]]), "-4.44 … 3.33"),
        (np.linspace(-1, 1, 6), "-1 … 1"),
        (np.array([1 + 1j, 1 - 1j]), "[1 + 1i, 1 - 1i]"),
    ],
)
def test_a_local_derivative_is_written_out_where_it_is_short(derivative, said):
    assert words.local(derivative) == said


def matrix_graph():
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(2, 3)), np.array([0.35, 1e-6])
    return gv.trace(
        lambda w, b, x: np.sum(np.tanh(w @ x + b) ** 2), w, b, np.ones(3), wrt=("w", "b")
    )


def test_a_small_array_stands_in_its_box_as_a_matrix_with_aligned_columns():
    graph = matrix_graph()
    w = box(graph.draw(), "w")
    assert [row.across for row in w.rows] == [3, 3]
    for row, array in zip(w.rows, (graph.value("w"), graph.grad("w")), strict=True):
        assert np.allclose(np.array(row.lines, float), array, rtol=0.005)
    card = box_card(w)
    numbers = [text for text in card.texts if text.colour in ("value", "gradient")]
    rights = {round(text.x + text.width, 6) for text in numbers}
    assert len(numbers) == 12
    assert len(rights) == 3
    assert [kind for kind, *_ in card.brackets] == ["value", "gradient"]
    for kind, left, top, right, bottom in card.brackets:
        own = [text for text in numbers if text.colour == kind]
        assert all(left < t.x and t.x + t.width < right and top < t.y < bottom for t in own)
        assert 0 < left < right < card.width
        assert 0 < top < bottom < card.height


def test_the_entries_of_a_small_array_are_in_every_form_of_the_picture():
    graph = matrix_graph()
    drawing = graph.draw()
    lines = [[words.number(x, 3) for x in line] for line in graph.value("w").tolist()]
    seen = re.sub(r"<[^>]*>", " ", drawing.svg).replace("−", "-").split()
    for text in itertools.chain(*lines):
        assert text in seen
        assert text in re.sub(r"<[^>]*>", " ", drawing.dot).replace("−", "-")
        assert text in drawing.tex
    assert "[" + ", ".join(f"[{', '.join(line)}]" for line in lines) + "]" in drawing.text


def test_of_an_array_that_is_not_finite_the_entries_say_where():
    graph = gv.trace(lambda x: np.sum(np.sqrt(x)), np.array([0.0, 1.0, 4.0]))
    assert box(graph.draw(), "x").rows[1].cells == ("inf", "0.5", "0.25")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("z_o1", "z|_o|_1"), ("w1", "w|_1"), ("alpha_1", "α|_1"), ("h(2)", "h|^(2)"),
        ("params.w1", "params.|w|_1"), ("layers[0].b", "layers[0].|b"), ("y_hat", "ŷ"),
        ("hidden_size", "hidden_size"), ("lm_head.w_1", "lm_head.|w|_1"), ("theta_hat", "θ|^ˆ"),
        ("lam", "λ"), ("∂J/∂z_o1", "∂|J|/∂|z|_o|_1"), ("x_ij", "x|_ij"),
        ("_x", "_x"), ("x__y", "x|_y"), ("", "(no name)"), ("a b", "a b"), ("W.T", "W|^T"),
    ],
)  # fmt: skip
def test_a_name_is_set_as_mathematics(name, text):
    marks = {-1: "_", 0: "", 1: "^"}
    runs = mathtext.name(name)
    assert "|".join(marks[(r.rise > 0) - (r.rise < 0)] + r.text for r in runs) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("w5 * a_h1 + b2", "w5 · a h1 + b2"), ("1 / (1 + exp(-z))", "1 / (1 + exp(−z))"),
        ("x**2", "x^2"), ("x**-0.5 + 1", "x^−0.5 + 1"), ("x ** (n + 1)", "x^n^+ 1"),
        ("sqrt(x)", "√(x)"), ("1e-5 * x", "1×10^−5 · x"), ("a >= b", "a ≥ b"),
        ("W @ x", "W x"), ("h_2_**2", "(h^(2))^2"), ("h_2_.T @ x", "h^(2)T x"),
        ("2**a**b", "2^a^b"), ("x**f(a)", "x^f(^a^)"), ("(A @ B).T", "(A B)^T"),
        ("-(a + b) / -c", "−(a + b) / −c"), ("a - (b - c)", "a − (b − c)"), ("cbrt(x)", "∛(x)"),
        ("where(a > b, 1, 0)", "[a > b]"), ("where(a, 0, 1)", "[¬a]"), ("inv(A) @ b", "A^−1 b"),
        ("sum(W, axis=0)", "sum(W, axis=0)"), ("W[0, 1:]", "W[0, 1:]"), ("f(-1)", "f(−1)"),
    ],
)  # fmt: skip
def test_an_expression_is_set_as_mathematics(source, text):
    tree = notation.substitute(notation.parse(source), {"h_2_": notation.name("h(2)")})
    runs = mathtext.formula(layout.in_line(tree))
    plain = "".join((" " if r.space else "") + ("^" if r.rise > 0 else "") + r.text for r in runs)
    assert plain.replace(" ", "") == text.replace(" ", "")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX")
@pytest.mark.parametrize("name", ["article", "reuse", "both passes", "arrays", "weird", "folded"])
def test_latex_accepts_the_tikz(pictures, name, tmp_path):
    (tmp_path / "picture.tex").write_text(pictures[name].tex)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "picture.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    missing = re.search(r"File `(.+?)' not found", done.stdout)
    if missing:
        pytest.skip(f"this LaTeX lacks {missing[1]}")
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_subscript_is_drawn_by_the_png_renderer_as_well():
    from gradviz.show.raster import to_png

    svg = draw(graphs.article(), show=["z_o1"]).svg
    without = re.sub(r"<text[^>]*>o</text>", "", svg)
    assert without != svg
    assert to_png(without) != to_png(svg)


def test_a_notebook_gets_an_svg_picture():
    bundle = draw(graphs.colah())._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg")
    assert bundle["text/plain"].startswith("<Drawing")


def test_a_notebook_fits_a_wide_picture_into_its_page():
    # JupyterLab shows an SVG at its own width and cuts off the rest.
    drawing = draw(graphs.colah(), title='"a" <b>')
    html = drawing._repr_mimebundle_()["text/html"]
    assert html.startswith('<img alt="&quot;a&quot; &lt;b&gt; A computational graph of 5 nodes')
    assert "max-width:100%" in html
    data = html.partition("base64,")[2].partition('"')[0]
    assert (
        base64.b64decode(data).decode() == draw(graphs.colah(), title='"a" <b>', theme="auto").svg
    )


def test_every_box_tells_its_full_value_and_its_source_line():
    svg = draw(graphs.article()).svg
    assert "value: 0.2983711087600" in svg
    assert "network.py:3: w1 = 0.15" in svg


def a_vector_in_a_layer(W, x, b):
    z = W @ x + b
    return np.sum(np.tanh(z) ** 2)


def rows_times_a_matrix(W, x):
    return np.mean(np.tanh(x @ W) ** 2)


@pytest.mark.parametrize(("direction", "axis"), [("LR", 1), ("TB", 0)])
@pytest.mark.parametrize("products", [False, True])
@pytest.mark.parametrize(
    ("program", "leaves"),
    [
        (a_vector_in_a_layer, (np.eye(3, 2), np.ones(2), np.arange(3.0))),
        (rows_times_a_matrix, (np.arange(6.0).reshape(2, 3) / 7, np.ones((2, 2)))),
    ],
)
def test_the_numbers_of_an_array_stand_in_their_order(program, leaves, products, direction, axis):
    from gradviz.show.arrange import arrange

    graph = gv.trace(program, *leaves).elements(products=products)
    view = graph.draw(direction=direction).view
    layout = arrange(view)
    rows = {}
    for box in view.boxes:  # in the order of recording
        array, bracket, _ = box.name.partition("[")
        if bracket or (products and box.scope):  # a number, or a product that it is a sum of
            row = rows.setdefault((box.scope, array if bracket else "products"), [])
            row.append(layout.centres[box.id][axis])
    assert len(rows) >= 4
    assert all(row == sorted(row) for row in rows.values()), rows
    for arrow in view.arrows:  # from its box and to its box
        points = [p for c in layout.curves[arrow.id] for p in (c.start, *c.points, c.end) if p]
        for point, box in zip((points[0], points[-1]), arrow.ends, strict=True):
            centre, size = layout.centres[box], layout.sizes[box]
            off = [abs(p - c) - s / 2 for p, c, s in zip(point, centre, size, strict=True)]
            assert max(off) == pytest.approx(0, abs=2), (arrow.id, point, box)


def test_the_calls_of_a_programs_functions_are_frames_in_the_page_as_in_a_picture():
    def norm(x):
        m = x.mean()
        return (x - m) / np.sqrt(((x - m) ** 2).mean() + 1e-5)

    def loss(x, w):
        h = norm(x)
        a = np.tanh(w * h)
        y = norm(a)
        return np.sum(y * a)

    g = gv.trace(loss, np.array([1.0, 2.0, 4.0]), np.array([0.3, 0.2, 0.5]))
    shown = drawing(g)
    titles = re.findall(r'<g class="group-title".*?<text[^>]*>([^<]*)</text>', shown["svg"], re.S)
    assert titles == ["norm", "norm 2"]
    assert shown["scopes"] == []  # they do not fold
