"""`gv.draw_dot` on micrograd's own objects, and on what other people make in its image."""

import itertools
import math
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from micrograd import nn
from micrograd.engine import Value
from thorough import examples

import gradviz as gv
from gradviz.record.micrograd import read


class Node:
    """Micrograd's shape and nothing else."""

    def __init__(self, data, prev=(), op="", *, grad=0.0, label=None):
        self.data, self._prev, self._op, self.grad = data, set(prev), op, grad
        if label is not None:
            self.label = label


def readme_example():
    """The example in micrograd's README."""
    a = Value(-4.0)
    b = Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return a, b, g


def reached(root):
    """Every object that `root` depends on, by id."""
    found, pending = {}, [root]
    while pending:
        value = pending.pop()
        if id(value) not in found:
            found[id(value)] = value
            pending += value._prev
    return found


def edges(graph):
    return {
        (graph.names[u], graph.names[v], key): graph.local(v, key)
        for v, operands in enumerate(graph.operands)
        for key, u in enumerate(operands)
    }


def test_the_readme_example_has_micrograds_numbers():
    _, _, g = readme_example()
    g.backward()
    graph = read(g)
    # from micrograd's README: 24.7041, 138.8338, 645.5773
    assert float(graph.value("J")) == pytest.approx(24.7041, abs=5e-5)
    gradients = list(graph.derivatives.gradients.values())
    assert any(x == pytest.approx(138.8338, abs=5e-5) for x in gradients)
    assert any(x == pytest.approx(645.5773, abs=5e-5) for x in gradients)
    text = gv.draw_dot(g).text
    assert "has the gradient 138.83, the sum of 5 messages:" in text
    assert "has the gradient 645.58, the sum of 5 messages:" in text


def test_every_object_is_one_box_with_its_own_numbers():
    _, _, g = readme_example()
    g.backward()
    graph = read(g)
    objects = reached(g).values()
    assert sorted(float(n.value) for n in graph.values) == sorted(float(o.data) for o in objects)
    held = sorted(float(o.grad) for o in objects)
    assert sorted(float(x) for x in graph.derivatives.gradients.values()) == held
    assert len(gv.draw_dot(g).view.boxes) == len(objects)


def test_all_local_derivatives_of_micrograd_are_proved():
    _, _, g = readme_example()
    g.backward()
    graph = read(g)
    assert None not in edges(graph).values()
    for u, gradient in graph.derivatives.gradients.items():
        if graph.readers[u]:
            received = [graph.derivatives.messages[edge] for edge in graph.readers[u]]
            assert sum(received) == pytest.approx(gradient, rel=1e-12)


def test_a_neuron_of_micrograd_is_drawn_as_in_its_notebook(tmp_path):
    random.seed(1337)
    neuron = nn.Neuron(2)
    y = neuron([Value(1.0), Value(-2.0)])
    y.backward()
    drawing = gv.draw_dot(y)
    assert str(drawing.render(tmp_path / "gout")) == str(tmp_path / "gout.svg")
    assert (tmp_path / "gout.svg").read_text(encoding="utf-8") == drawing.svg
    gv.draw_dot(y, format="png", rankdir="TB").render(tmp_path / "gout")
    assert (tmp_path / "gout.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_objects_give_the_same_picture():
    def picture():
        x = [Value(float(i)) for i in range(5)]
        y = sum((a * b for a, b in itertools.pairwise(x)), Value(0.5))
        y.backward()
        return gv.draw_dot(y).svg

    first, keep = picture(), [Value(0.0) for _ in range(99)]
    assert picture() == first
    assert keep


@pytest.mark.parametrize(
    ("operate", "locals_"),
    [
        (lambda x: x + x, [1.0, 1.0]),
        (lambda x: x * x, [3.0, 3.0]),
        (lambda x: x**3, [27.0]),
        (lambda x: x**-1, [-1 / 9]),
        (lambda x: x**0.5, [0.5 / math.sqrt(3)]),
        (lambda x: x**0, [0.0]),
        (lambda x: x.relu(), [1.0]),
        (lambda x: (-x).relu(), [0.0, -1.0, 3.0]),
    ],
)
def test_what_a_set_has_lost_is_found_again(operate, locals_):
    x = Value(3.0)
    y = operate(x)
    y.backward()
    graph = read(y)
    assert sorted(map(float, edges(graph).values())) == pytest.approx(sorted(locals_))
    inputs = [u for u in range(len(graph)) if float(graph.values[u].value) == 3.0]
    assert float(graph.derivatives.gradients[inputs[0]]) == pytest.approx(float(x.grad))


@pytest.mark.parametrize(
    ("op", "data", "local"),
    [
        ("tanh", (math.exp(1.0) - 1) / (math.exp(1.0) + 1), 1 - math.tanh(0.5) ** 2),
        ("exp", math.exp(0.5), math.exp(0.5)),
        ("sigmoid", 1 / (1 + math.exp(-0.5)), 0.6224593312018546 * 0.3775406687981454),
        ("log", math.log(0.5), 2.0),
        ("ReLU", 0.5, 1.0),
        ("**2", 0.25, 1.0),
        ("**(2)", 0.25, 1.0),
    ],
)
def test_the_operations_of_the_lectures_are_known(op, data, local):
    graph = read(Node(data, [Node(0.5, grad=1.0)], op, grad=1.0))
    assert [float(x) for x in edges(graph).values()] == pytest.approx([local])


@pytest.mark.parametrize(
    ("op", "local"), [("-", {5.0: 1.0, 2.0: -1.0}), ("/", {5.0: 0.5, 2.0: -1.25})]
)
def test_the_order_of_operands_is_found_where_it_matters(op, local):
    a, b = Node(5.0), Node(2.0)
    graph = read(Node(3.0 if op == "-" else 2.5, [a, b], op, grad=1.0))
    found = {float(graph.value(u)): float(x) for (u, _, _), x in edges(graph).items()}
    assert found == local


@pytest.mark.parametrize(
    ("data", "operands", "op"),
    [
        (7.0, [3.0, 2.0], "+"),  # a leaf was changed after the forward pass
        (7.0, [3.0, 2.0], "*"),
        (7.0, [3.0], "*"),
        (7.0, [3.0], "**2"),
        (7.0, [3.0], "tanh"),
        (0.0, [3.0, 3.0], "-"),  # either order gives 0
        (7.0, [1.0, 2.0, 4.0], "+"),  # not a sum of two
        (7.0, [3.0], "lookup"),
        (7.0, [3.0], "**x"),
        (7.0, [3.0], ""),
    ],
)
def test_what_the_numbers_do_not_prove_has_no_local_derivative(data, operands, op):
    root = Node(data, [Node(x, grad=1.0) for x in operands], op, grad=1.0)
    graph = read(root)
    assert set(edges(graph).values()) == {None}
    assert graph.derivatives.messages == {}
    drawing = gv.draw_dot(root)
    assert {arrow.number for arrow in drawing.view.arrows} == {""}
    assert drawing.svg.startswith("<svg")


def test_gradients_before_backward_are_not_computed():
    _, _, g = readme_example()
    assert {read(g).grad_state(i) for i in range(len(reached(g)))} == {"not computed"}
    assert "Backward pass: not computed." in gv.draw_dot(g).text
    assert "not computed" in gv.draw_dot(Node(2.0, [Node(2.0, grad=None)], grad=None)).text


def test_a_forgotten_zero_grad_is_seen():
    x = Value(3.0)
    y = (x * x).relu()
    y.backward()
    assert "crossed" not in gv.draw_dot(y).view.title
    y.backward()  # x.grad is 18 now, its messages 3 + 3 each time
    assert "was grad 0 before backward()?" in gv.draw_dot(y).view.title
    assert "Not proved" in gv.draw_dot(y).text


def test_gradients_of_another_value_are_not_taken_for_those_of_the_root():
    x = Value(3.0)
    y = x * x
    z = y * 2
    z.backward()
    drawing = gv.draw_dot(y)
    assert "whose own is 2, not 1" in drawing.view.title
    assert "J" not in [box.name for box in drawing.view.boxes]


def test_labels_are_names_and_cannot_harm_the_picture():
    w = Node(2.0, label="</text><script>alert(1)</script>")
    x = Node(3.0, label="x")
    drawing = gv.draw_dot(Node(6.0, [w, x], "*", label="x"))
    assert "<script" not in drawing.svg
    assert [box.name for box in drawing.view.boxes if box.kind == "output"] == ["x(2)"]


def test_a_list_of_operands_keeps_its_order_and_repeats():
    a, b = Node(3.0), Node(3.0)
    root = Node(0.0, op="-", grad=1.0)
    root._prev = [a, b]
    assert list(edges(read(root)).values()) == [1.0, -1.0]
    root._prev = [a, a]
    assert [(u, float(x)) for (u, _, _), x in edges(read(root)).items()] == [
        ("v_1", 1.0),
        ("v_1", -1.0),
    ]


def test_a_deep_graph_needs_no_recursion():
    x = Value(1.0)
    for _ in range(20_000):
        x = x + 1.0
    x.grad = 1.0
    graph = read(x)
    assert len(graph) == 40_001
    assert float(graph.value("J")) == 20_001.0


def test_a_cycle_is_refused():
    a = Node(1.0, label="a")
    a._prev = {Node(2.0, [a], "exp")}
    with pytest.raises(ValueError, match=r"a Node \(a\) depends on itself"):
        gv.draw_dot(a)


@pytest.mark.parametrize(
    ("root", "error", "message"),
    [
        (3.0, TypeError, "float lacks data, grad, _prev, _op"),
        (None, TypeError, "NoneType lacks data"),
        (Node(1.0, [2.0], "exp"), TypeError, "float lacks"),
        (Node("text"), TypeError, "data of a Node is no number"),
        (Node(None), TypeError, "data of a Node is no number"),
        (Node(1j), TypeError, "data of a Node is no number"),
        (Node(1.0, [Node(1.0, grad=None)], grad=1.0), TypeError, "grad of a Node is no number"),
    ],
)
def test_objects_of_another_shape_are_refused(root, error, message):
    with pytest.raises(error, match=re.escape(message)):
        gv.draw_dot(root)


def test_operands_that_are_no_collection_are_refused():
    root = Node(1.0)
    root._prev = 5
    with pytest.raises(TypeError, match="is no collection of operands"):
        gv.draw_dot(root)


def test_a_direction_or_format_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no direction 'RL'"):
        gv.draw_dot(Value(1.0), rankdir="RL")
    with pytest.raises(ValueError, match="no file type"):
        gv.draw_dot(Value(1.0), format="gif").render(tmp_path / "x")


@pytest.mark.parametrize("data", [math.nan, math.inf, -math.inf, 1e300, 0.0])
def test_awkward_numbers_are_drawn(data):
    x = Value(data)
    y = x * x + x
    y.backward()
    assert gv.draw_dot(y).svg.startswith("<svg")


OPERATIONS = st.lists(
    st.tuples(st.sampled_from("+*-r2"), st.integers(0, 99), st.integers(0, 99)), max_size=12
)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]), min_size=1, max_size=4), OPERATIONS)
def test_no_number_is_ever_wrong(leaves, steps):
    """On random programs each message that is drawn is part of micrograd's own gradient."""
    values = [Value(x) for x in leaves]
    for operation, i, j in steps:
        a, b = values[i % len(values)], values[j % len(values)]
        made = {
            "+": lambda a=a, b=b: a + b,
            "*": lambda a=a, b=b: a * b,
            "-": lambda a=a, b=b: a - b,
            "r": lambda a=a: a.relu(),
            "2": lambda a=a: a**2,
        }[operation]()
        if abs(made.data) < 1e6:
            values.append(made)
    root = values[-1]
    root.backward()
    graph = read(root)
    for u, gradient in graph.derivatives.gradients.items():
        if graph.readers[u]:
            received = [graph.derivatives.messages[edge] for edge in graph.readers[u]]
            assert float(sum(received)) == pytest.approx(float(gradient), rel=1e-9, abs=1e-9)
