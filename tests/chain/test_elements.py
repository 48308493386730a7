"""The element lens: arrays opened into their numbers."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from array_programs import program
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from thorough import examples

import gradviz as gv


def by_elements(graph, elements, name):
    """An array's values and gradients, put together from its numbers."""
    value = np.asarray(graph.value(name))
    parts = [f"{name}[{','.join(map(str, place))}]" for place in np.ndindex(value.shape)]
    parts = [name] if name in elements.names else parts
    if name in elements.names and np.ndim(value):
        whole = elements.id(name) in elements.varying
        return elements.value(name), elements.grad(name) if whole else value + np.nan
    values = [elements.value(part) for part in parts]
    ids = [elements.id(part) for part in parts]  # (one that depends on no leaf has no gradient)
    gradients = [elements.adjoint(i) if i in elements.varying else np.nan for i in ids]
    return [np.array(found).reshape(value.shape) for found in (values, gradients)]


def agree(graph, elements, tolerance=1e-9):
    """The values are the array's own; gradients are its gradients."""
    for i in graph.derivatives.gradients:
        value, gradient = by_elements(graph, elements, graph.names[i])
        np.testing.assert_array_equal(value, graph.values[i].value)
        wanted = graph.adjoint(i)
        wanted = np.where(np.isnan(gradient), np.nan, wanted)
        scale = 1 + np.max(np.abs(np.nan_to_num(wanted)), initial=0)
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=tolerance * scale)


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from(["all", "some", "products"]))
def test_the_numbers_of_random_programs_have_the_gradients_of_their_arrays(seed, numpy, which):
    choose = random.Random(seed).randrange
    made = program(choose, 1 + choose(5), numpy=numpy)
    assume(made.lines)
    with np.errstate(all="ignore"):
        try:
            graph = gv.trace(lambda *leaves: made.run(np, leaves), *made.leaves)
        except gv.TraceError as error:
            assume("depends on no recorded" not in str(error))
            raise
        some = [name for name in graph.names if which == "some" and choose(2)]
        some = [n for n in some if not np.iscomplexobj(graph.value(n))]
        assume(sum(np.size(node.value) for node in graph.values) < 300)
        elements = graph.elements(*some, products=which == "products")
        agree(graph, elements)
        options = {"detail": "operations", "tolerance": 1e-5, "entries": 4}
        assert elements.check(**options) or not graph.check(**options), made.text


def softmax_regression():
    def loss(W, b, x):
        z = W @ x + b
        e_z = np.exp(z)
        p = e_z / np.sum(e_z)
        return -np.log(p[1])

    W = np.array([[0.1, 0.2], [0.3, -0.4], [0.5, 0.6]])
    return gv.trace(loss, W, np.zeros(3), np.array([1.0, 2.0]), wrt=("W", "b"))


def test_one_weight_is_explained_by_the_numbers_that_it_meets():
    elements = softmax_regression().elements()
    text = elements.explain("W[0,1]").text
    assert "∂J/∂W[0,1] = δ[z[0]] · x[1] = 0.426621" in text
    assert "∂z[0]/∂W[0,1]" in text
    ids = {elements.names[u] for u in elements.operands[elements.id("z[0]")]}
    assert not any(name.startswith(("W[1", "W[2")) for name in ids)


def test_a_number_that_complex_numbers_are_computed_from_is_no_product_of_real_ones():
    graph = gv.trace(lambda x: np.sum(np.abs(np.exp(1j * x) + x)), np.array([0.3, 0.7]))
    lines = graph.explain("x[0]").formula.text.splitlines()
    assert f"= {graph.grad('x')[0]:.6g}" in lines
    assert not any("·" in line for line in lines if line.startswith("="))


def test_numbers_are_saved_stepped_drawn_and_shown_in_a_page(tmp_path):
    graph = softmax_regression()
    elements = graph.elements()
    assert elements.step(0.1).value("J") == graph.step(0.1).value("J")
    elements.save(tmp_path / "e.json")
    loaded = gv.load(tmp_path / "e.json")
    assert loaded.explain("W[0,1]").text == elements.explain("W[0,1]").text
    assert loaded.check()
    moved = loaded.update({"W[0,1]": 0.7}).value("J")
    W = graph.value("W").copy()
    W[0, 1] = 0.7
    assert moved == pytest.approx(graph.update(W=W).value("J"), rel=1e-14)
    assert "W[0,1]" in elements.draw().svg
    elements.save(tmp_path / "e.html")
    assert "W[0,1]" in (tmp_path / "e.html").read_text()
    after = elements.reuse("W[0,1]", "W[0,0]").rows[1]
    assert after.read == ("z[0]",)


def perceptron(W1, b1, W2, x, t):
    z1 = x @ W1 + b1
    h = np.maximum(z1, 0)
    y = h @ W2
    return np.mean((y - t) ** 2)


def test_a_number_is_explained_by_its_place_in_the_matrix_formula():
    graph = softmax_regression()
    found = graph.explain("W[0,1]")
    assert found.value == graph.grad("W")[0, 1]
    assert found.formula.text.splitlines() == [
        "∂J/∂W[0,1] = ∂J/∂z[0] · ∂z[0]/∂W[0,1]", "= 0.213311 · 2", "= 0.426621"
    ]  # fmt: skip
    *_, matrix, place = found.factored.text.splitlines()
    assert matrix == "∂J/∂W = z̄ @ x.T = array of shape (3, 2)"
    assert place == "so ∂J/∂W[0,1] = z̄[0] · x[1] = 0.213311 · 2 = 0.426621"
    assert (
        "\\bar{z}\\text{[0]} \\cdot x\\text{[1]} \\\\\n&= 0.213311 \\cdot 2" in found.factored.latex
    )
    with pytest.raises(KeyError, match=r"W has the shape \(3, 2\): it has no number W\[3,0\]"):
        graph.explain("W[3,0]")


def recurrent(xs, W, U, t):
    h = np.zeros(2)
    for x in xs:
        h = np.tanh(W @ x + U @ h)
    return np.sum((h - t) ** 2)


@pytest.mark.parametrize(
    ("program", "shapes", "names"),
    [
        (
            perceptron,
            [(3, 2), (2,), (2, 2), (4, 3), (4, 2)],
            ["W1", "b1", "W2", "x", "t", "z1", "h", "y"],
        ),
        (recurrent, [(3, 2), (2, 2), (2, 2), (2,)], ["W", "U"]),
    ],
)
def test_what_is_said_of_a_number_is_its_gradient(program, shapes, names):
    rng = np.random.default_rng(0)
    graph = gv.trace(program, *(rng.normal(size=shape) for shape in shapes))
    for name in names:
        for place in np.ndindex(np.shape(graph.value(name))):
            found = graph.explain(f"{name}[{','.join(map(str, place))}]")
            said = found.factored.text.splitlines()[-1]
            assert said.startswith(f"so ∂J/∂{found.name} = "), said
            sums_up, *_ = re.split("\n∂[₀-₉]", found.formula.text)  # what ∂₁v means comes last
            for formula in (said, sums_up):
                number = float(formula.rpartition("= ")[2])
                assert number == pytest.approx(graph.grad(name)[place], rel=1e-5, abs=1e-12)
            for sums in sums_up.replace("·", "*").split("\n= ")[1:]:
                assert eval(sums) == pytest.approx(number, rel=1e-4, abs=1e-9)


def test_no_place_is_said_where_the_matrix_formula_is_not_known():
    graph = gv.trace(lambda x: np.sum(np.linalg.eigvalsh(x @ x.T) ** 2), np.eye(3) + 0.1)
    assert graph.values[graph.id("v_3")].operation.name == "eigh[0]"
    assert graph.explain("v_2[0,1]").factored.text == graph.explain("v_2").factored.text
    assert "∂J/∂v_3[0] · ∂v_3[0]/∂v_2[1,0]" in graph.explain("v_2[1,0]").formula.text
    upper = graph.explain("v_2[0,1]").formula.text  # which eigvalsh does not read
    assert upper == "∂J/∂v_2[0,1] = 0: no other number depends on v_2[0,1]"


def test_numbers_that_are_off_or_not_the_largest_keep_their_edges():
    def f(x):
        h = np.maximum(x, 0.0)
        return np.max(h) + np.linalg.norm(x)

    elements = gv.trace(f, np.array([-1.0, 0.5, 2.0])).elements()
    last = [v for v, us in enumerate(elements.operands) if len(us) == 3]
    assert len(last) == 2  # max and norm read three numbers each
    assert elements.grad("x[0]") == pytest.approx(-1 / np.sqrt(5.25))


def test_too_many_numbers_and_lean_captures_are_refused_with_what_to_do():
    graph = softmax_regression()
    with pytest.raises(ValueError, match=r"limit=3; the largest: W \(3, 2\).*Name the arrays"):
        graph.elements(limit=3)
    with pytest.raises(KeyError, match="no value is called 'V'"):
        graph.elements("V")
    torch = pytest.importorskip("torch")
    lean = gv.trace(torch.nn.Linear(2, 1), torch.ones(1, 2), capture="lean")
    with pytest.raises(gv.TraceError, match="capture='whole'"):
        lean.elements()


def torch_programs():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    return torch, {
        "layers": (
            torch.nn.Sequential(
                torch.nn.Conv2d(1, 2, 2), torch.nn.BatchNorm2d(2), torch.nn.ReLU(),
                torch.nn.Flatten(), torch.nn.Linear(8, 3), torch.nn.LayerNorm(3), torch.nn.GELU(),
            ),
            (torch.randn(2, 1, 3, 3),),
            lambda o: F.cross_entropy(o, torch.tensor([0, 2])),
        ),
        "attention": (
            lambda q, k, v: (torch.softmax(q @ k.mT / 2**0.5, -1) @ v).sin().mean(),
            tuple(torch.randn(2, 2, requires_grad=True) for _ in range(3)),
            None,
        ),
        "embedding and dropout": (
            torch.nn.Sequential(torch.nn.Embedding(4, 3), torch.nn.Dropout(0.4), torch.nn.Tanh()),
            (torch.tensor([1, 3]),),
            lambda o: (o * o.detach()).sum(),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["layers", "attention", "embedding and dropout"])
def test_the_numbers_of_pytorchs_programs_have_autograds_gradients(name):
    torch, made = torch_programs()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch, made = torch_programs()
        function, arguments, loss = made[name]
        if isinstance(function, torch.nn.Module):
            function.double()
        arguments = [a.double() if a.is_floating_point() else a for a in arguments]
        arguments = [a.detach().requires_grad_(a.requires_grad) for a in arguments]
        graph = gv.trace(function, *arguments, loss=loss, capture="whole")
    elements = graph.elements()
    agree(graph, elements)
    if name != "embedding and dropout":  # whose loss has a detached part
        assert elements.check(), elements.check()
