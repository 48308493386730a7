"""What `explain` writes, against the article's formulas; and the level of names."""

import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from literally import Reader
from programs import close, programs
from thorough import examples

import gradviz as gv
from gradviz.ops import notation, tex


def test_the_formula_of_w5(network):
    text = network.explain("w5").formula.text
    assert text.splitlines()[0] == "∂J/∂w5 = ∂J/∂a_o1 · ∂a_o1/∂z_o1 · ∂z_o1/∂w5"
    # Mazur 2015: 0.74136507 * 0.186815602 * 0.593269992
    assert text.splitlines()[1] == "= 0.741365 · 0.186816 · 0.59327"
    assert network.explain("w5").latex.splitlines()[1] == (
        r"\frac{\partial J}{\partial w_{5}} &= \frac{\partial J}{\partial a_{o1}} \cdot "
        r"\frac{\partial a_{o1}}{\partial z_{o1}} \cdot \frac{\partial z_{o1}}{\partial w_{5}} \\"
    )


def test_the_formula_of_b2_marks_what_was_computed_for_w5(network):
    text = network.explain("b2", after="w5").formula.text
    assert text.splitlines()[0] == "∂J/∂b2 = ⟦∂J/∂a_o1 · ∂a_o1/∂z_o1⟧ · ∂z_o1/∂b2"
    assert r"\underbrace" in network.explain("b2", after="w5").latex


def test_the_formula_of_w1_has_the_articles_two_paths(network):
    explanation = network.explain("w1", after=("w5", "b2"))
    assert explanation.path_count == 2
    lines = explanation.formula.text.splitlines()
    assert lines[0] == ("∂J/∂w1 = ⟦∂J/∂a_o1 · ∂a_o1/∂z_o1⟧ · ∂z_o1/∂a_h1 · ∂a_h1/∂z_h1 · ∂z_h1/∂w1")
    assert lines[1].strip() == ("+ ∂J/∂a_o2 · ∂a_o2/∂z_o2 · ∂z_o2/∂a_h1 · ∂a_h1/∂z_h1 · ∂z_h1/∂w1")
    assert lines[3] == "= 0.000438568"


def test_the_factored_form_names_each_upstream_term_once(network):
    explanation = network.explain("w1", after="w5")
    heads = [line.split(" = ")[0] for line in explanation.factored.text.splitlines()]
    assert heads == [
        "δ[a_o2]", "δ[z_o2]", "δ[a_o1]", "δ[z_o1]", "δ[a_h1]", "δ[z_h1]", "∂J/∂w1",
    ]  # fmt: skip
    assert "δ[a_h1] = δ[z_o1] · w5 + δ[z_o2] · w7 = 0.0363503" in explanation.factored.text
    assert r"\delta_{z_{o1}}" in explanation.factored.latex


def test_a_sigmoid_that_is_spelled_out_is_recognized(network):
    level = network.statements
    v = level.id("a_o1")
    assert notation.text(level.expression(v)) == "sigmoid(z_o1)"
    assert notation.text(level.derivative(v, 0)) == "a_o1 * (1 - a_o1)"
    assert tex.formula(level.expression(v)) == r"\sigma\left(z_{o1}\right)"


@settings(max_examples=examples(100), deadline=None)
@given(programs())
def test_a_formulas_numbers_are_its_symbols_evaluated(program):
    g = program.graph()
    values = {name: g.value(name) for name in g.names}
    functions = {name: getattr(np, name) for name in ("sin", "cos", "tanh", "exp", "log", "sinh")}
    with np.errstate(all="ignore"):
        for v, operands in enumerate(g.operands):
            for key in range(len(operands)):
                formula = notation.text(g.derivative(v, key))
                assert close(eval(formula, functions | values), g.local(v, key), 1e-9)
            if operands:
                formula = notation.text(g.expression(v))
                assert close(eval(formula, functions | values), g.values[v].value, 1e-9)


@settings(max_examples=examples(100), deadline=None)
@given(programs())
def test_every_equation_holds_when_it_is_read_literally(program):
    g = program.graph()
    reader = Reader(g)
    assume(all(abs(value) < 1e6 for value in reader.values.values()))
    for name in g.names:
        explanation = g.explain(name, after=g.names[:1])
        if g.kind(g.id(name)) != "constant":
            reader.text(explanation.factored.text)
            reader.latex(explanation.factored.latex)
            if explanation.path_count <= 8 and "(no path)" not in explanation.formula.text:
                reader.text(explanation.formula.text)
                reader.latex(explanation.formula.latex)
    for _, data in g.backward_dag.nodes(data=True):
        if data["expression"]:
            reader.agree(f"{data['name']} = {data['expression']}")
    for u, v, key, data in g.dag.edges(keys=True, data=True):
        assert reader.read(data["symbol"]) == pytest.approx(g.local(v, key), rel=1e-9, abs=1e-12)
        # The plain symbol stands wherever it is true.
        alone = data["symbol"] != f"∂{g.names[v]}/∂{g.names[u]}"
        assert alone == (paths_between(g, u, v) > 1)


def paths_between(g, u, v):
    return 1 if u == v else sum(paths_between(g, u, w) for w in g.operands[v] if w >= u)


@pytest.mark.parametrize(
    ("text", "leaf", "first"),
    [
        ("x * x", "x", "∂J/∂x = ∂₁J + ∂₂J"),
        ("(x + y) * y", "y", "∂J/∂y = ∂J/∂v_1 · ∂v_1/∂y + ∂₂J"),
        ("h = x * w; h + x", "x", "∂J/∂x = ∂J/∂h · ∂h/∂x + ∂₂J"),
        # Not at J but on the way to it.
        ("a = x * 2; b = a * x; b * y", "x", "∂J/∂x = ∂J/∂b · ∂b/∂a · ∂a/∂x + ∂J/∂b · ∂₂b"),
    ],
)
def test_one_operands_part_is_told_apart_from_the_whole_derivative(text, leaf, first):
    g = gv.expression(text, **{name: 2.0 for name in "xyw" if name in text})
    explanation = g.explain(leaf)
    reader = Reader(explanation.graph)
    for formula in (explanation.formula, explanation.factored):
        reader.text(formula.text)
        reader.latex(formula.latex)
    symbols = explanation.formula.text.split("\n= ")[0].replace("\n ", "")
    assert symbols == first
    place = explanation.formula.text.splitlines()[-1]
    assert place == f"{first.split()[-1]}: by operand 2 alone, {leaf}, with the others held fixed"
    told = g.draw().svg
    assert first.split()[-1] in told
    assert "by operand 2 alone" in told


def layer(W, b, x, t):
    z = W @ x + b
    a = np.maximum(z, 0)
    return 0.5 * np.sum((a - t) ** 2)


@pytest.fixture
def array_graph():
    rng = np.random.default_rng(1)
    return gv.trace(layer, rng.normal(size=(3, 2)), rng.normal(size=3), np.ones(2), np.ones(3))


def test_array_formulas_are_vjps_with_shapes(array_graph):
    w = array_graph.explain("W")
    assert w.formula.text.splitlines()[0] == "∂J/∂W = ∂J/∂a · ∂a/∂z · ∂z/∂W"
    assert r"\bar{z}\, {x}^{\top} \in \mathbb{R}^{3 \times 2}" in w.factored.latex
    x = array_graph.explain("x")
    assert r"{W}^{\top}\, \bar{z} \in \mathbb{R}^{2}" in x.factored.latex
    assert "[z > 0]" in x.factored.latex


def attention(Q, K, V):
    S = Q @ K.T / np.sqrt(Q.shape[-1])
    A = np.exp(S - np.max(S, axis=-1, keepdims=True))
    P = A / np.sum(A, axis=-1, keepdims=True)
    O = P @ V
    return np.sum(O**2)


def cross_entropy(W, x, y):
    z = W @ x
    p = np.exp(z) / np.sum(np.exp(z))
    return -np.sum(y * np.log(p))


def batch(W, b, X):
    h = np.tanh(X @ W + b)
    return np.sum(h * h)


@pytest.mark.parametrize(
    ("program", "shapes", "vectors"),
    [
        (attention, [(4, 8), (5, 8), (5, 3)], False),
        (cross_entropy, [(3, 2), (2,), (3,)], True),
        (batch, [(3, 4), (4,), (6, 3)], False),
        (layer, [(3, 2), (3,), (2,), (3,)], True),
    ],
)
def test_the_formula_of_each_message_evaluates_to_the_message(program, shapes, vectors):
    rng = np.random.default_rng(7)
    level = gv.trace(program, *(rng.normal(size=shape) for shape in shapes)).statements

    def column(value):
        """Vectors as mathematics has them, so that ``g @ x.T`` is an outer product."""
        return value[:, None] if vectors and np.ndim(value) == 1 else value

    numbers = {name: column(level.value(name)) for name in level.names}
    functions = {name: getattr(np, name) for name in "exp log tanh sum max ones_like".split()}
    assert level.derivatives.messages
    for (v, key), message in level.derivatives.messages.items():
        formula = notation.text(level.message(v, key, notation.name("upstream")))
        found = eval(formula, functions | numbers | {"upstream": column(level.adjoint(v))})
        expected = column(message)
        np.testing.assert_allclose(np.broadcast_to(found, expected.shape), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: (x @ x.T).sum(),
        lambda x: (x * x).sum(),
        lambda x: (x * x.sum(axis=0)).sum(),
        lambda x: ((x @ x.T) @ x).sum(),
        lambda x: (x / (x * x + 1)).sum(),
    ],
)
def test_of_an_array_too_each_upstream_term_is_what_its_line_says(program):
    g = gv.trace(program, np.random.default_rng(3).normal(size=(3, 3)))
    explanation = g.explain("x")
    level = explanation.graph
    env = {name: getattr(np, name) for name in ("sum", "ones_like", "broadcast_to", "shape")}
    env |= {name: np.asarray(level.value(name)) for name in level.names}
    for name in level.names:
        if level.id(name) in level.varying:
            env[notation.adjoint(name).id] = np.asarray(level.grad(name))
            env[f"δ_{name}_"] = env["∂J_∂" + name] = level.grad(name)
    for line in explanation.factored.text.replace("·", "*").splitlines():
        line = line.replace("δ[", "δ_").replace("]", "_").replace("/∂", "_∂")
        head, right = line.split(" = ")[:2]
        np.testing.assert_allclose(
            np.broadcast_to(eval(right, env), np.shape(env[head])), env[head], rtol=1e-5
        )
    first = explanation.formula.text.splitlines()[0]
    assert "∂J/∂x" not in first.split(" = ")[1]


def test_the_level_of_names_has_the_same_gradients(array_graph, network):
    for g in (array_graph, network):
        level = g.statements
        assert len(level) < len(g)
        for name in level.names:
            if level.kind(level.id(name)) != "constant" and level.id(name) in level.varying:
                np.testing.assert_allclose(level.grad(name), g.grad(name), rtol=1e-12)


def test_an_unnamed_value_with_several_readers_is_a_step_of_its_own():
    def f(x):
        y = next(v * 2 for v in [x + 1])
        p, q = np.sin(y), np.cos(y)
        return p * q

    level = gv.trace(f, 1.0).statements
    assert {"x", "p", "q", "J"} <= set(level.names)
    assert len([name for name in level.names if name.startswith("v_")]) == 1
    assert level.grad("x") == pytest.approx(2 * np.cos(8.0))


def test_a_program_without_names_is_shown_by_its_operations():
    g = gv.trace(lambda a, b: (a + b) * (b + 1), 2.0, 1.0)
    assert g.statements is g
    explanation = g.explain("b")
    assert explanation.path_count == 2  # Olah, "Calculus on Computational Graphs"
    assert explanation.value == 5


def test_latex_of_untrusted_names_is_inert():
    nasty = r"\input{x}$%&#_^~{}\write18{rm}" + "\n</script>"
    g = gv.graph(gv.input(1.0, nasty) * 2.0)
    latex = g.explain(nasty).latex
    assert r"\input" not in latex
    assert r"\write" not in latex
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    assert not re.search(r"(?<!\\)[$%#]", latex)


def test_no_path_is_said():
    def f(w, u):
        return w * w

    explanation = gv.trace(f, 2.0, 3.0).explain("u")
    assert explanation.text == "∂J/∂u: no path leads from u to J"
    assert explanation.terms == ()
    (latex,) = explanation._repr_mimebundle_()["text/latex"].split("$$\n$$")
    assert "no path" in latex
    assert "=" not in latex


def test_a_value_that_is_read_but_never_on_a_way_to_j_has_no_formula():
    def f(w, u):
        v = np.ones(2) * u
        _ = v * w
        return np.sum(w * 2.0)

    graph = gv.trace(f, np.ones(2), 3.0)
    for name in ("u", "v"):
        assert "=" not in graph.explain(name).text + graph.explain(name).latex
        assert graph.explain(name).factored.latex == graph.explain(name).latex


def test_shared_steps_without_a_name_do_not_make_formulas_explode():
    def f(x):
        z = x * 0.5
        values = [z]
        for _ in range(60):  # written out, J would have 3^60 terms
            values.append(values[-1] * values[-1] * 0.1 + values[-1])
        return values[-1]

    g = gv.trace(f, 0.3)
    assert len(g.statements) < 200
    assert max(len(line) for line in g.draw().text.splitlines()) < 5000
    assert g.statements.grad("x") == g.grad("x")


def test_a_long_sum_without_names_is_broken_up():
    def f(x):
        z = x * 0.5
        return sum([z * float(i) for i in range(1, 2000)])

    g = gv.trace(f, 1.0)
    assert g.statements.grad("x") == 0.5 * 1999 * 2000 / 2
    assert g.draw().dot


def test_of_a_sum_of_a_thousand_messages_the_first_and_the_last_are_written(tmp_path):
    def f(x):
        y = np.zeros(len(x))
        for i in range(len(x)):
            y[i] = x[i] * 2
        return np.sum(y**2)

    g = gv.trace(f, np.linspace(0.0, 1.0, 1200))
    assert g.draw().svg
    explanation = g.explain("x")
    for formula in (explanation.factored.text, explanation.factored.latex):
        assert formula.count("scatter") == 40
    assert " + … + scatter(" in explanation.factored.text
    g.save(tmp_path / "net.html")


@pytest.mark.parametrize("shapes", [
    ((2, 4, 3), (3, 5)), ((4, 3), (2, 3, 5)), ((2, 4, 3), (3,)), ((3,), (2, 3, 5)),
    ((1, 4, 3), (2, 3, 5)),
])  # fmt: skip
def test_messages_of_stacks_of_matrices_are_summed_over_the_stack(shapes):
    a, b = (np.random.default_rng(0).normal(size=s) for s in shapes)
    graph = gv.trace(lambda a, b: np.sum((a @ b) ** 2), a, b)
    for name, other in (("a", b), ("b", a)):
        written = graph.explain(name).factored.text.splitlines()[-1]
        v = graph.names[graph.readers[graph.id(name)][0][0]]
        upstream = graph.grad(v)
        columns = upstream[..., None] if b.ndim == 1 else upstream
        columns = columns[..., None, :] if a.ndim == 1 else columns
        matrix = np.atleast_2d(other) if other is a else other.reshape(len(other), -1)
        matrix = other if other.ndim > 1 else matrix
        stack = columns @ matrix.mT if name == "a" else matrix.mT @ columns
        wanted = graph.grad(name)
        assert ("sum(" in written) == (stack.size != wanted.size)
        axis = written.partition("axis=")[2].partition(")")[0].partition(",")[0]
        found = stack.sum(int(axis)) if axis else stack
        np.testing.assert_allclose(found.reshape(wanted.shape), wanted)


def test_variables_called_pi_and_e_are_not_the_numbers():
    def program(pi, e):
        return np.exp(np.deg2rad(pi) * e)

    shown = gv.trace(program, 90.0, 2.0).explain("pi")
    assert r"\frac{\partial J}{\partial \mathit{pi}}" in shown.formula.latex
    assert shown.factored.text.endswith("∂J/∂pi = δ[v_1] · (π / 180) = 0.807763")
    grown = gv.operation(lambda a: np.e * a, local="e", formula="a * e", name="grown")
    assert gv.trace(lambda e: grown(e), 3.0).draw().view.boxes[-1].expression == "e * exp(1)"


@pytest.mark.parametrize(("base", "exponent"), [(0.0, 2.0), (0.0, 0.0), (2.0, 3.0)])
def test_the_formulas_of_a_power_say_what_is_sent_at_zero_too(base, exponent):
    graph = gv.trace(lambda a, b: a**b, base, exponent)
    known = {"where": np.where, "log": np.log, "J": graph.value("J")}
    known |= {"a": np.float64(base), "b": np.float64(exponent)}
    for name in "ab":
        formula = graph.explain(name).factored.text.split(" = ")[1].replace("·", "*")
        with np.errstate(all="ignore"):
            assert eval(formula, known) == pytest.approx(graph.grad(name))


def _others(a):
    return np.array([np.prod(np.delete(a, i)) for i in range(a.size)])


AT_CORNERS = {
    "a maximum's tie": (lambda x, y: np.maximum(x, y), 1.0, 1.0),
    "a maximum of one value with itself": (lambda x, y: np.maximum(x, x) * y, 1.0, 1.0),
    "relu at 0": (lambda x, y: np.maximum(x, 0) * y, 0.0, 2.0),
    "a minimum's tie": (lambda x, y: np.minimum(x, y), 1.0, 1.0),
    "a NaN in maximum": (lambda x, y: np.maximum(x, y), np.nan, 1.0),
    "a NaN that fmax leaves out": (lambda x, y: np.fmax(x, y), np.nan, 1.0),
    "fmin's tie": (lambda x, y: np.fmin(x, y), 1.0, 1.0),
    "hypot of nothing": (lambda x, y: np.hypot(x, y), 0.0, 0.0),
    "sinc at 0": (lambda x, y: np.sinc(x) * y, 0.0, 2.0),
    "a power's pole": (lambda x, y: x**y, 0.0, -1.0),
    "largest of equals": (lambda x, y: np.max(x) * y, np.array([3.0, 3.0, 1.0]), 2.0),
    "least of equals, by columns": (
        lambda x, y: np.sum(np.min(x, axis=0)) * y, np.ones((2, 2)), 2.0
    ),
    "a product with a 0": (lambda x, y: np.prod(x) * y, np.array([0.0, 2.0, 3.0]), 2.0),
    "a product with two": (lambda x, y: np.prod(x) * y, np.array([0.0, 0.0, 3.0]), 2.0),
    "the length of nothing": (lambda x, y: np.linalg.norm(x) * y, np.zeros(2), 2.0),
    "the spread of equals": (lambda x, y: np.std(x) * y, np.array([2.0, 2.0]), 2.0),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", AT_CORNERS)
def test_formulas_hold_where_the_short_ones_do_not(name):
    program, *given = AT_CORNERS[name]
    graph = gv.trace(program, *given)
    level = graph.statements
    known = {n: getattr(np, n) for n in "where log cos isnan sum mean ones_like maximum".split()}
    known |= {n: getattr(np, n) for n in ("minimum", "fmax", "fmin")}
    known |= {"π": np.pi, "product_of_others": _others}
    known |= {n: np.asarray(level.value(n)) for n in level.names}
    for leaf in "xy":
        for term in graph.explain(leaf).terms:
            above = {f"δ[{n}]": f"up_{i}" for i, n in enumerate(level.names)}
            above |= {notation.adjoint(n).id: f"up_{i}" for i, n in enumerate(level.names)}
            formula = term.text.replace("·", "*")
            for written, variable in above.items():
                formula = formula.replace(written, variable)
            up = {f"up_{i}": level.adjoint(i) for i in range(len(level)) if i in level.varying}
            with np.errstate(all="ignore"):
                found = np.broadcast_to(eval(formula, known | up), np.shape(term.value))
            np.testing.assert_allclose(found, term.value, err_msg=formula)
    short = gv.trace(program, np.array([0.5, 2.0, 3.0]), 2.0) if np.ndim(given[0]) == 1 else None
    assert short is None or "where" not in short.explain("x").factored.text


def test_the_number_of_averaged_numbers_is_told_whatever_a_variable_is_called():
    def program(n):
        y = np.outer(n, n) + 1
        columns = np.mean(y, axis=0)
        spread = np.var(y, ddof=1)
        return np.sum(columns**2) * spread

    n = np.array([1.0, 2.0, 4.0])
    graph = gv.trace(program, n)
    (term,) = (term for term in graph.explain("n").terms if term.name == "y")
    up = {i: graph.grad(graph.names[i]) for i in (graph.id("columns"), graph.id("spread"))}
    columns, spread = up.values()
    written = term.text.replace("·", "*").replace("δ[spread]", "spread")
    written = written.replace(notation.adjoint("columns").id, "columns")
    known = {"mean": np.mean, "ones_like": np.ones_like, "y": graph.value("y")}
    found = eval(written, known | {"columns": columns, "spread": spread})
    np.testing.assert_allclose(found, graph.grad("y"))


def test_what_only_j_reads_is_not_told_to_be_itself(network):
    def program(w):
        z = 2 * w
        J = np.sum(z**2)
        return J

    for graph, name in ((network, "a_o1"), (gv.trace(program, np.ones(3)), "z")):
        told = graph.explain(name).text
        assert f"∂{graph.names[graph.output]}/∂{name} = ∂" not in told


def test_what_is_negative_is_taken_away_in_a_sum():
    def loss(x, c, h):
        y = c * x - h * x
        z = y * x - (c + h) * x
        return z * z

    graph = gv.trace(loss, 1.5, 2.0, 0.3)
    texts = [graph.explain(name).factored.text for name in ("x", "c", "h")]
    assert "δ[y] · (c - h) + δ[z] · (y - (c + h))" in texts[0]
    assert "δ[y] · x - δ[z] · x" in texts[1]
    assert not any("+ -" in said for said in (*texts, graph.draw().svg.replace("−", "-")))
    x, (c, h) = 1.5, (2.0, 0.3)
    by_hand = 2 * ((c - h) * x * x - (c + h) * x) * (2 * (c - h) * x - (c + h))
    assert graph.grad("x") == pytest.approx(by_hand)
