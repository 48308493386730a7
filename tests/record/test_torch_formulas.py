"""What is said of PyTorch's derivatives, evaluated: it is what autograd sends."""

from __future__ import annotations

import ast
import itertools
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import gradviz as gv
from gradviz.ops import mathml, notation, tex

torch = pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parents[1] / "ops"))
from test_notation_of_rows import NAMESPACE

F, nn = torch.nn.functional, torch.nn


def R(*shape):
    numbers = np.random.default_rng(math.prod(shape) + len(shape)).uniform(0.3, 1.7, shape)
    return torch.tensor(numbers * np.where(np.arange(numbers.size) % 3, 1, -1).reshape(shape))


def normalizing(axis, eps=1e-5):
    """``normalized`` and ``deviation`` along some axes."""

    def deviation(a):
        return np.sqrt(np.var(a, axis=axis, keepdims=True) + eps)

    return {
        "deviation": deviation,
        "normalized": lambda a: (a - np.mean(a, axis=axis, keepdims=True)) / deviation(a),
        "channels": lambda w: w.reshape(-1, *[1] * (len(axis) - 1)),
    }


def softmax(a):
    return np.exp(a) / np.sum(np.exp(a), axis=-1, keepdims=True)


KNOWN = NAMESPACE | {
    "softmax": softmax,
    "onehot": lambda b: np.eye(4)[b],
    "Phi": np.vectorize(lambda x: (1 + math.erf(x / math.sqrt(2))) / 2),
    "phi": lambda x: np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "inf": np.inf,
    "causal": lambda a: np.where(np.tril(np.ones_like(a)), a, -np.inf),
}
BATCH = torch.tensor([1, 3, 0])
ZEROS = torch.tensor([[0, 0, 2, 1], [0, 2, 0, -1]]).double()
EDGES = torch.tensor([[0, 1, 1, 0.5], [0, 1, 0, 0.2]]).double()
EVALUATED = [
    *((name, getattr(torch, name), (abs(R(5)),)) for name in (
        "exp log log1p sin cos tanh sqrt square expm1 log2 log10 sigmoid relu".split())),
    ("abs", torch.abs, (R(5),)),
    ("relu", F.relu, (R(5),)),
    *((name, function, (R(2, 3), R(3))) for name, function in (
        ("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("div", torch.div))),
    ("pow", torch.pow, (abs(R(4)), R(4))),
    ("rsub", lambda a: 2.0 - a, (R(3),)),
    ("gelu", F.gelu, (R(6),)),
    ("silu", F.silu, (R(6),)),
    ("leaky_relu", lambda a: F.leaky_relu(a, 0.2), (R(6),)),
    ("elu", F.elu, (R(6),)),
    ("log_sigmoid", F.logsigmoid, (R(6),)),
    ("dropout", lambda a: F.dropout(a, 0.4), (R(9),)),
    ("linear", F.linear, (R(5, 3), R(2, 3), R(2))),
    ("linear", F.linear, (R(4, 5, 3), R(2, 3), R(2))),
    ("linear", F.linear, (R(5, 3), R(2, 3))),
    ("linear", lambda a, b, c: F.linear(a, bias=c, weight=b), (R(6, 3), R(2, 3), R(2))),
    ("dropout", lambda a: F.dropout(a, 1.0), (R(4),)),
    ("matmul", torch.matmul, (R(2, 3), R(3, 4))),
    ("bmm", torch.bmm, (R(1, 2, 3), R(1, 3, 4))),
    ("softmax", lambda a: torch.softmax(a, -1), (R(3, 4),)),
    ("softmax", lambda a: a.softmax(dim=0), (R(3, 4),)),
    ("log_softmax", lambda a: F.log_softmax(a, 1), (R(3, 4),)),
    ("cross_entropy", F.cross_entropy, (R(3, 4), BATCH)),
    ("cross_entropy", lambda a, b: F.cross_entropy(a, b, reduction="sum"), (R(3, 4), BATCH)),
    ("nll_loss", F.nll_loss, (R(3, 4), BATCH)),
    ("mse_loss", F.mse_loss, (R(3, 4), R(3, 4) + 1)),
    ("l1_loss", F.l1_loss, (R(3, 4), R(3, 4).flip(0))),
    ("binary_cross_entropy", F.binary_cross_entropy, (abs(R(5)) / 2, torch.ones(5).double())),
    ("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits,
     (R(5), torch.ones(5).double())),
    ("conv1d", F.conv1d, (R(2, 1, 4), R(2, 1, 2), R(2))),
    ("conv2d", F.conv2d, (R(1, 2, 3, 4), R(2, 2, 2, 3))),
    ("conv2d", lambda a, b: F.conv2d(a, b, padding=(1, 0), dilation=(1, 2)),
     (R(1, 2, 3, 4), R(2, 2, 2, 2))),
    ("conv2d", lambda a, b: F.conv2d(a, b, stride=2, padding=1), (R(1, 1, 4, 5), R(2, 1, 2, 3))),
    ("conv1d", lambda a, b, c: F.conv1d(a, b, c, 3), (R(2, 1, 8), R(2, 1, 2), R(2))),
    ("avg_pool2d", lambda a: F.avg_pool2d(a, 2), (R(1, 2, 5, 4),)),
    ("avg_pool1d", lambda a: F.avg_pool1d(a, 3, stride=3), (R(2, 1, 7),)),
    ("adaptive_avg_pool2d", lambda a: F.adaptive_avg_pool2d(a, 1), (R(2, 2, 3, 4),)),
    ("max_pool2d", lambda a: F.max_pool2d(a, 2, stride=1), (R(1, 2, 4, 4),)),
    ("getitem", lambda a: a[1:, [0, 0, 2]], (R(3, 4),)),
    ("permute", lambda a: a.permute(2, 0, 1), (R(2, 3, 4),)),
    ("transpose", lambda a: a.transpose(0, 2), (R(2, 3, 4),)),
    ("softplus", lambda a: F.softplus(30 * a), (R(6),)),
    ("softplus", lambda a: F.softplus(a, beta=2), (R(6),)),
    ("pow", torch.pow, (ZEROS[0], ZEROS[1])),
    ("pow", lambda a: a**3, (R(4),)),
    ("binary_cross_entropy", F.binary_cross_entropy, (EDGES[0], EDGES[1])),
    ("layer_norm", lambda a, b, c: F.layer_norm(a, (3,), b, c), (R(2, 4, 3), R(3), R(3))),
    ("layer_norm", lambda a: F.layer_norm(a, (3,)), (R(4, 3),)),
    ("batch_norm", lambda a, d, e: nn_norm(a, d, e, True), (R(4, 3), R(3), R(3))),
    ("batch_norm", lambda a, d, e: nn_norm(a, d, e, True), (R(2, 3, 2, 2), R(3), R(3))),
    ("batch_norm", lambda a, d, e: nn_norm(a, d, e, False), (R(2, 3, 2), R(3), R(3))),
    ("embedding", F.embedding, (BATCH, R(4, 2))),
    ("scaled_dot_product_attention", F.scaled_dot_product_attention, (R(3, 2), R(4, 2), R(4, 2))),
    ("scaled_dot_product_attention",
     lambda q, k, v: F.scaled_dot_product_attention(q, value=v, key=k),
     (R(3, 2), R(4, 2), R(4, 3))),
    ("scaled_dot_product_attention",
     lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
     (R(3, 2), R(3, 2), R(3, 2))),
    ("scaled_dot_product_attention",
     lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m > 0.5),
     (R(3, 2), R(3, 2), R(3, 2), torch.eye(3, dtype=int) + torch.ones(3, 3, dtype=int).tril())),
    ("flatten", torch.flatten, (R(2, 3),)),
    ("t", torch.t, (R(2, 3),)),
    ("sum", torch.sum, (R(2, 3),)),
    ("mean", torch.mean, (R(2, 3),)),
]  # fmt: skip


def nn_norm(a, weight, bias, training):
    return F.batch_norm(a, R(3) / 9, abs(R(3)), weight, bias, training)


def maxima(a):
    """The places of the largest of each window of 2×2, by steps of 1."""
    rows, columns = a.shape[2] - 1, a.shape[3] - 1
    for m, k, p, q in itertools.product(*map(range, (*a.shape[:2], rows, columns))):
        r, s = np.unravel_index(np.argmax(a[m, k, p : p + 2, q : q + 2]), (2, 2))
        yield m, k, p + r, q + s


def at_places(shape, places, g):
    found = np.zeros(shape)
    np.add.at(found, places, g)
    return found


MOVED = {
    "getitem": {"scatter": lambda g: at_places((3, 4), (slice(1, None), [0, 0, 2]), g)},
    "max_pool2d": {
        "argmax": maxima,
        "scatter": lambda g, at: at_places((1, 2, 4, 4), tuple(zip(*at, strict=True)), g.ravel()),
    },
    "embedding": {"scatter": lambda g, at: at_places((4, 2), (at,), g)},
    "permute": {"transpose": lambda g: np.transpose(g, (1, 2, 0))},
    "transpose": {"swapaxes": lambda g: g.swapaxes(0, 2)},
}


def summed_over(written, symbols, shapes, free):
    """A sum over indices, term by term; what lies outside of an array is no term."""
    tree = ast.parse(written, mode="eval").body
    product, over = tree.args[0], [n.id for n in tree.keywords[0].value.elts]
    sizes = {}
    for index, size in zip(free, shapes["out"], strict=True):
        sizes[index] = size
    for part in (product.left, product.right):
        for index, size in zip(part.slice.elts, symbols[part.value.id].shape, strict=True):
            if isinstance(index, ast.Name):
                sizes.setdefault(index.id, size)
    found = np.zeros(shapes["out"])
    for place in itertools.product(*(range(sizes[i]) for i in (*free, *over))):
        at = dict(zip((*free, *over), place, strict=True))
        factors = []
        for part in (product.left, product.right):
            array = symbols[part.value.id]
            where = [eval(ast.unparse(i), at) for i in part.slice.elts]
            inside = all(0 <= w < n for w, n in zip(where, array.shape, strict=True))
            if inside:
                factors.append(array[tuple(where)])
        if len(factors) == 2:
            found[place[: len(free)]] += factors[0] * factors[1]
    return found


def fit(array, shape):
    array = np.broadcast_to(array, array.shape if np.ndim(array) else shape)
    while array.ndim > len(shape):
        array = array.sum(axis=0)
    return array


def half_nan(value):
    """Of its sum every second number sends NaN back."""
    numbers = torch.ones(value.shape).double()
    numbers.view(-1)[::2] = math.nan
    return (value * numbers).sum()


@pytest.mark.parametrize("end", [lambda v: (v * 1.5).sum() ** 2, half_nan], ids=["", "nan"])
@pytest.mark.parametrize(
    "case", EVALUATED, ids=lambda c: f"{c[0]}-{'-'.join(str(tuple(a.shape)) for a in c[2])}"
)
def test_the_formula_of_a_derivative_evaluates_to_autograds_message(case, end):
    name, function, arguments = case
    leaves = [a.clone().requires_grad_(a.is_floating_point()) for a in arguments]
    graph = gv.trace(lambda *a: end(function(*a)), *leaves, capture="whole")
    v = next(i for i, node in enumerate(graph.values) if node.operation.name == name)
    node, inputs = graph.values[v], graph.operand_values(v)
    symbols = dict(zip("abcdefh", map(np.asarray, inputs), strict=False))
    symbols |= {"v": np.asarray(node.value), "g": np.asarray(graph.adjoint(v))}
    symbols |= {"kept": np.asarray(node.value) != 0}
    letters = [notation.name(letter) for letter in "abcdefh"[: len(inputs)]]
    rank = inputs[0].ndim
    if name == "batch_norm":
        symbols |= normalizing((0, *range(2, rank)))
    elif name == "layer_norm":
        symbols |= normalizing((-1,))
    elif name.startswith("scaled") and len(inputs) == 3:
        symbols["d"] = inputs[0].shape[-1]
    elif name in MOVED:
        symbols |= MOVED[name]
    elif name == "bmm":  # of a batch of one
        symbols |= {k: s[0] for k, s in symbols.items() if np.ndim(s) == 3}
    elif name == "flatten":
        symbols["reshape"] = lambda g: g.reshape(2, 3)
    checked = 0
    for key, operand in enumerate(inputs):
        if (v, key) not in graph.derivatives.messages:
            continue
        checked += 1
        n = np.size(operand) if "norm" not in name and np.ndim(node.value) == 0 else 1
        symbols["n"] = operand.shape[0] if name in ("cross_entropy", "nll_loss") else n
        tree = node.operation.message(
            key, notation.name("g"), notation.name("v"), letters, node.keywords, graph.numbers(v)
        )
        written = notation.text(tree)
        assert "vjp" not in written
        if "//" in written:  # each number has a part of its window's
            found = np.zeros(operand.shape)
            for place in itertools.product(*map(range, operand.shape)):
                at = dict(zip("mkpq", place, strict=False))
                whole = ast.parse(written, mode="eval").body
                where = [eval(ast.unparse(i), at) for i in whole.left.slice.elts]
                if all(w < n for w, n in zip(where, symbols["g"].shape, strict=True)):
                    found[place] = symbols["g"][tuple(where)] / whole.right.value
        elif "over=" in written:
            free = {"conv1d": ("mkp", "okr"), "conv2d": ("mkpq", "okrs")}[name][key]
            found = summed_over(written, symbols, {"out": operand.shape}, free)
        else:
            with np.errstate(all="ignore"):
                found = fit(np.asarray(eval(written, KNOWN | symbols)), operand.shape)
        found = found.reshape(operand.shape)
        np.testing.assert_allclose(
            found, graph.derivatives.messages[v, key], rtol=1e-8, atol=1e-12, err_msg=written
        )  # (PyTorch's 1e-12 is a float32)
        assert tex.formula(tree)
        assert mathml.mathml(tree)
        local = graph.local(v, key)
        if local is not None and np.ndim(node.value) and not graph.stops(v):
            message = fit(local * symbols["g"], operand.shape)
            np.testing.assert_allclose(message, graph.derivatives.messages[v, key], rtol=1e-9)
    assert checked == sum(a.requires_grad for a in leaves)


@pytest.mark.parametrize("name", "relu elu leaky_relu silu softplus gelu sigmoid tanh abs".split())
def test_the_formula_is_true_of_numbers_that_are_not_finite(name):
    a = torch.tensor([math.nan, 1.0, 0.0, -1.0, math.inf, -math.inf]).double().requires_grad_()
    function = getattr(F, name, None) or getattr(torch, name)
    (slope,) = torch.autograd.grad(function(a).sum(), a)
    graph = gv.trace(lambda a: function(a).sum(), a, capture="whole")
    (v,) = (v for v, node in enumerate(graph.values) if node.operation.name == name)
    names = notation.name("v"), [notation.name("a")]
    node, at = graph.values[v], graph.numbers(v)
    tree = node.operation.derivative(0, *names, node.keywords, at)
    symbols = {"a": a.detach().numpy(), "v": function(a).detach().numpy()}
    with np.errstate(all="ignore"):
        found = eval(notation.text(tree), KNOWN | symbols)
    np.testing.assert_allclose(found, slope, rtol=1e-12, err_msg=notation.text(tree))


@pytest.mark.parametrize("inside", [lambda a: a, lambda a: a[:1].sum()], ids=["array", "number"])
@pytest.mark.parametrize(
    "stops",
    [
        torch.relu, F.relu, lambda a: torch.relu_(a * 1.0), lambda a: a**torch.zeros_like(a),
        F.hardtanh, lambda a: a.clamp(-0.5, 0.5), lambda a: torch.where(a > 0, a, 0.0),
        lambda a: a.masked_fill(a < 0, 0.0), lambda a: torch.maximum(a, torch.zeros_like(a)),
    ],
    ids="relu functional inplace power hardtanh clamp where masked_fill maximum".split(),
)  # fmt: skip
def test_what_stops_a_nan_is_told_as_no_product(stops, inside):
    def loss(a):
        inner = stops(inside(a))
        return (inner * torch.full(inner.shape, math.nan)).sum()

    a = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
    (sent,) = torch.autograd.grad(loss(a), a)
    assert not sent.any()
    graph = gv.trace(loss, a, capture="whole")
    assert not np.any(graph.grad("a"))
    explained = graph.explain("a")
    for text in (explained.text, explained.factored.latex, graph.draw().text):
        assert re.search(r"where|vjp", text)
        assert not re.search(r"nan\}? (·|\\cdot) \(?(0|\w+ >|where)", text)
        assert not re.search(r"nan times the local derivative|derivative .* > 0", text)


def test_nan_times_nothing_is_not_told_as_nothing():
    a = torch.tensor(-1.2, dtype=torch.float64, requires_grad=True)
    graph = gv.trace(lambda a: a * 0 * torch.tensor(math.nan), a, capture="whole")
    assert np.isnan(graph.grad("a"))
    assert "∂J/∂a = δ[mul] · 0 = nan" in graph.explain("a").text


@pytest.mark.filterwarnings("ignore::UserWarning")  # of arguments that PyTorch once had
def test_what_no_textbook_has_is_called_by_its_name_alone():
    image, kernel = R(1, 1, 4, 4), R(1, 1, 2, 2).requires_grad_()
    for function in (
        lambda k: F.conv2d(image, k, padding="same"),
        lambda k: F.conv2d(k, image[:, :, :2, :2], stride=2, dilation=2, padding=2),
        lambda k: F.avg_pool2d(k, 2, stride=1),
        lambda k: F.gelu(k, approximate="tanh"),
        lambda k: F.cross_entropy(k.reshape(2, 2), torch.tensor([0, 1]), label_smoothing=0.1),
        lambda k: F.scaled_dot_product_attention(k, k, k, scale=2.0),
        lambda k: torch.add(k, k, alpha=2),
        lambda k: torch.add(k, 2, k),
        lambda k: F.cross_entropy(k.reshape(2, 2), torch.tensor([0, 1]), size_average=False),
        lambda k: F.cross_entropy(k.reshape(2, 2), torch.tensor([0, -100])),
        lambda k: F.mse_loss(k.reshape(4, 1), R(4, 3)),
        lambda k: F.layer_norm(R(3, 4), (4,), None, k.reshape(4)),
        lambda k: F.linear(R(3, 4), k.reshape(4)),
        lambda k: F.linear(R(3, 4), R(4, 4), k.reshape(4)[:1]),
    ):
        graph = gv.trace(lambda k, f=function: f(k).sum(), kernel, capture="whole")
        assert "vjp_" in graph.explain("k").factored.text


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_textbooks_formula_is_not_written_of_pytorchs_conjugates(capture):
    z = torch.tensor([1.0 + 2.0j, 0.5 - 1.0j], dtype=torch.complex128)
    w = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    graph = gv.trace(lambda w: (w * z).square().abs().sum(), w, capture=capture)
    written = graph.explain("w").factored.text
    assert "vjp_mul" in written
    assert "vjp_square" in written
    assert "vjp_abs" in written
