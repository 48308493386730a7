"""Models made sick on purpose, one for each finding, and healthy ones, of which nothing is said."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from counting import growth
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

import gradviz as gv
from gradviz.chain.backward import Gradients
from gradviz.chain.health.flow import VANISHING
from gradviz.graph import Graph
from gradviz.model import CONSTANT, Node
from gradviz.statistics import measure, norm

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def random(seed=0):
    return np.random.default_rng(seed)


X = random(1).normal(size=(32, 8))
T = random(2).normal(size=(32, 1))


def he(rng, n, m):
    return rng.normal(0, math.sqrt(2 / n), (n, m))


def relu(z):
    return np.maximum(z, 0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def network(activation, depth, width, scale=1.0, bias=0.0, x=X, seed=3):
    rng = random(seed)
    sizes = [x.shape[1], *[width] * depth]
    weights = [scale * he(rng, n, m) for n, m in itertools.pairwise(sizes)]
    biases = [np.zeros(width) + bias for _ in weights]

    def loss(weights, biases, out, x, t):
        h = x
        for w, b in zip(weights, biases, strict=True):
            z = h @ w + b
            h = activation(z)
        y = h @ out
        return np.mean((y - t) ** 2)

    out = scale * he(rng, width, 1)
    return gv.trace(loss, weights, biases, out, x, T, wrt=("weights", "biases", "out"))


# --- sick


@dataclass(frozen=True)
class Case:
    """What `diagnose` must say first of a sick program."""

    trace: Callable[[], Graph]
    kind: str
    operation: str  # the one to blame
    line: str  # what its source line holds
    words: tuple[str, ...] = ()  # what the message holds
    lean: bool = True  # also found where only statistics are kept
    also: str = ""  # a kind of finding that follows from it

    def __str__(self):
        return self.trace.__name__


def log_of_zero():
    def loss(w, x):
        p = np.maximum(x @ w, 0)
        return -np.mean(np.log(p))

    return gv.trace(loss, he(random(), 8, 1), X, wrt="w")


def log_of_a_negative_number():
    return gv.trace(lambda w: np.sum(np.log(w)), np.array([1.0, -0.5]))


def root_of_a_negative_number():
    return gv.trace(lambda w: np.sum(np.sqrt(w)), np.array([1.0, -0.5]))


def division_by_zero():
    def loss(w, x):
        h = (x - np.mean(x, axis=0)) / np.std(x, axis=0)
        return np.sum((h @ w) ** 2)

    x = X.copy()
    x[:, 0] = 1.0  # a column without variation
    return gv.trace(loss, he(random(), 8, 3), x, wrt="w")


def softmax_that_overflows():
    def loss(w, x):
        e = np.exp(x @ w)
        p = e / np.sum(e, axis=1, keepdims=True)
        return -np.mean(np.log(p[:, 0]))

    return gv.trace(loss, 1000 * he(random(), 8, 3), X, wrt="w")


def product_that_overflows():
    def loss(w):
        h = w
        for _ in range(3):
            h = h * h * h
        return np.sum(h)

    return gv.trace(loss, np.full(3, 1e5, np.float32))  # 1e5⁹ > 3.4e38


def row_that_is_masked_entirely():
    def loss(q, mask):
        s = np.where(mask, q @ q.T, -np.inf)
        e = np.exp(s - np.max(s, axis=-1, keepdims=True))
        return np.sum(e / np.sum(e, axis=-1, keepdims=True) @ q)

    mask = np.tril(np.ones((4, 4), bool), -1)
    return gv.trace(loss, X[:4], mask)


def bad_data():
    x = X.copy()
    x[3, 4] = np.nan
    return gv.trace(lambda w, x: np.sum(np.maximum(x @ w, 0)), he(random(), 8, 3), x, wrt="w")


def bad_parameter():
    w = gv.parameter([1.0, np.inf], "w")
    return gv.graph(np.sum(w * 2.0))


def slope_of_a_root_at_zero():
    def loss(a, b):
        d = a - b
        return np.sum(np.sqrt(d * d))

    return gv.trace(loss, np.array([1.0, 2.0]), np.array([1.0, 1.0]))


def branch_not_taken():
    def loss(w):
        y = np.where(w > 0, np.log(w), 0.0)
        return np.sum(y)

    return gv.trace(loss, np.array([0.0, 2.0]))


def sigmoid_whose_exp_overflows():
    return gv.trace(lambda w: np.sum(1 / (1 + np.exp(-w))), np.array([-1000.0, 1.0]))


def upstream_that_overflows():
    def loss(w):
        small = w * 1e-200
        return np.sum(small * 1e300 * 1e200)

    return gv.trace(loss, np.array([1e-290]))


def nothing_reads_it():
    return gv.trace(lambda w, u: np.sum(w), np.ones(2), np.ones(2))


def side_that_nothing_reads():
    def loss(w, u):
        side = u * 2.0  # noqa: F841
        return np.sum(w)

    return gv.trace(loss, np.ones(2), np.ones(2))


def read_as_a_number():
    def loss(w, u):
        s = np.sum(u * u)
        return np.sum(w) / float(s)

    return gv.trace(loss, np.ones(2), np.ones(2))


def step_on_the_way():
    def loss(w, u):
        q = np.sign(u)
        return np.sum(q * w)

    return gv.trace(loss, np.ones(2), np.ones(2))


def mask_of_zeros():
    def loss(w, v, x, mask):
        h = (x @ w) * mask
        return np.sum(h @ v) + np.sum(v * v)

    return gv.trace(loss, he(random(), 8, 3), np.ones((3, 1)), X, np.zeros(3), wrt=("w", "v"))


def relus_all_off():
    return network(relu, 3, 16, bias=-100.0)


def product_that_underflows():
    def loss(w, u):
        y = u * 1e-200 * 1e-200
        return np.sum(w + y)

    return gv.trace(loss, np.ones(2), np.ones(2))


def exploding():
    return network(relu, 8, 16, scale=8.0)


def vanishing_by_sigmoids():
    return network(sigmoid, 12, 16)


def vanishing_by_weights():
    return network(relu, 6, 64, scale=0.05)


def vanishing_in_time():
    def loss(W, xs):
        h = np.zeros(2)
        for x in xs:
            h = np.tanh(W @ h + x)
        return np.sum(h)

    return gv.trace(loss, 0.3 * np.eye(2), [np.full(2, 0.5)] * 20, wrt="W")


def dead_units():
    def loss(w, b, v, x):
        h = np.maximum(x @ w + b, 0)
        return np.mean(h @ v)

    b = np.zeros(16)
    b[:12] = -100
    return gv.trace(loss, he(random(), 8, 16), b, np.ones((16, 1)), X, wrt=("w", "b", "v"))


def saturated_tanhs():
    return network(np.tanh, 2, 16, scale=30.0)


def saturated_sigmoids():
    return network(sigmoid, 2, 16, scale=40.0)


def outlier():
    def loss(a, b, c, d, x, t):
        h = 1000 * (x @ a)  # a layer that was scaled down makes up for it here
        return np.mean((h @ b @ c @ d - t) ** 2)

    rng = random()
    layers = [he(rng, 8, 8) for _ in range(3)]
    return gv.trace(
        loss, layers[0] / 1000, *layers[1:], he(rng, 8, 1), X, T, wrt=("a", "b", "c", "d")
    )


SICK = [
    Case(log_of_zero, "non-finite value", "log", "np.log(p)", ("is -inf", "log of 0 (p)")),
    Case(log_of_a_negative_number, "non-finite value", "log", "np.log", ("negative number, -0.5",)),
    Case(root_of_a_negative_number, "non-finite value", "sqrt", "np.sqrt", ("is NaN in 1 of 2",)),
    Case(division_by_zero, "non-finite value", "divide", "/ np.std", ("32 of 256", "0 / 0")),
    Case(softmax_that_overflows, "non-finite value", "exp", "np.exp", ("inf / inf",)),
    Case(product_that_overflows, "non-finite value", "multiply", "h * h * h", ("float32",)),
    Case(row_that_is_masked_entirely, "non-finite value", "subtract", "np.max", ("inf - inf",)),
    Case(bad_data, "non-finite value", "input", "", ("x is NaN in 1 of 256", "in so at test_")),
    Case(bad_parameter, "non-finite value", "parameter", "", ("w is inf in 1 of 2",)),
    Case(slope_of_a_root_at_zero, "non-finite gradient", "sqrt", "np.sqrt", ("sqrt of 0", "a, b")),
    Case(branch_not_taken, "non-finite gradient", "log", "np.log", ("log of 0", "0 · inf = NaN")),
    Case(sigmoid_whose_exp_overflows, "non-finite gradient", "exp", "np.exp",
         ("exp overflows", "reaches 1e+03", "0 · inf = NaN")),
    Case(upstream_that_overflows, "non-finite gradient", "multiply", "1e300", ("float64",),
         lean=False),
    Case(nothing_reads_it, "no gradient", "input", "", ("nothing reads u",)),
    Case(side_that_nothing_reads, "no gradient", "multiply", "side =", ("nothing reads side",)),
    Case(read_as_a_number, "no gradient", "sum", "np.sum(u * u)", ("by float() at",)),
    Case(step_on_the_way, "zero gradient", "sign", "np.sign", ("of u is exactly 0", "is a step")),
    Case(mask_of_zeros, "zero gradient", "multiply", "* mask", ("multiplies by mask",)),
    Case(relus_all_off, "zero gradient", "maximum", "np.maximum", ("is off in all 512 entries",)),
    Case(product_that_underflows, "zero gradient", "multiply", "1e-200",
         ("of u underflows",), lean=False, also="vanishing gradient"),
    Case(exploding, "exploding gradient", "matmul", "h @ w", ("most by matmul",)),
    Case(vanishing_by_sigmoids, "vanishing gradient", "divide", "np.exp(-z)", ("most by sigmoid",)),
    Case(vanishing_by_weights, "vanishing gradient", "matmul", "h @ ", ("most by matmul",)),
    Case(vanishing_in_time, "vanishing gradient", "matmul", "W @ h", ("in 19 steps",)),
    Case(dead_units, "dead units", "maximum", "np.maximum",
         ("12 of 16 units", "32 examples"), lean=False),
    Case(saturated_tanhs, "saturated units", "tanh", "activation(z)", ("a tanh, is saturated",)),
    Case(saturated_sigmoids, "saturated units", "divide", "np.exp", ("a sigmoid, is saturated",)),
    Case(outlier, "ill-scaled parameter", "parameter", "", ("‖a‖",)),
]  # fmt: skip


@pytest.mark.parametrize("case", SICK, ids=str)
def test_a_sick_model_is_told_by_its_sickness_its_place_and_its_cause(case):
    graph = case.trace()
    health = graph.diagnose()
    finding = health.findings[0]
    assert (finding.kind, finding.operation) == (case.kind, case.operation), health.text
    assert case.line in (finding.source or ("", 0, ""))[2]
    for words in case.words:
        assert words in finding.message
    assert not health
    assert finding.advice
    assert health.text.startswith(finding.text)
    kinds = {f.kind for f in health.findings if f.severity != "note"}
    assert kinds - {case.also} == {case.kind}


@pytest.mark.parametrize("case", SICK, ids=str)
def test_a_finding_points_to_a_path_of_the_graph_and_draws_it(case):
    graph = case.trace()
    finding = graph.diagnose().findings[0]
    assert finding.node in finding.path
    for u, v in itertools.pairwise(finding.path):
        assert u in graph.operands[v]
    if finding.kind != "no gradient":
        assert finding.path[-1] == graph.output
    for detail in ("names", "operations"):
        view = finding.draw(detail=detail).view
        assert finding.kind in [box.badge for box in view.boxes]


def lean(graph):
    """The same as a capture that keeps statistics of arrays, and no rules."""
    nodes = [
        Node.new(
            n.value if n.operation is CONSTANT and np.ndim(n.value) == 0 else measure(n.value),
            n.operation, keywords=n.keywords, order=n.order, scope=n.scope, site=n.site,
        )
        for n in graph.values
    ]  # fmt: skip
    found = Graph(nodes, graph.operands, lambda: (graph.names, graph.named), graph.output,
                  graph.wrt, sources=graph._source)  # fmt: skip
    gradients, messages = graph.derivatives
    found.__dict__["derivatives"] = Gradients(
        {i: measure(g) for i, g in gradients.items()}, {e: measure(m) for e, m in messages.items()}
    )
    found.__dict__["reads"] = graph.reads
    found.locals = {}
    return found


@pytest.mark.parametrize("case", [case for case in SICK if case.lean], ids=str)
def test_the_same_is_found_where_only_statistics_are_kept(case):
    whole = case.trace()
    finding = lean(whole).diagnose().findings[0]
    assert (finding.kind, finding.operation) == (case.kind, case.operation)
    assert finding.path == whole.diagnose().findings[0].path


# --- the same in PyTorch


def modules(activation, depth, width, *, scale=1.0, bias=0.0):
    from torch import manual_seed, nn

    manual_seed(0)
    layers = []
    for inner in [8] + [width] * (depth - 1):
        layers += [nn.Linear(inner, width), activation()]
        nn.init.kaiming_normal_(layers[-2].weight)
        layers[-2].weight.data *= scale
        nn.init.constant_(layers[-2].bias, bias)
    return nn.Sequential(*layers, nn.Linear(width, 1))


def torch_program(name):
    """A function of inputs and targets, by its name: what it is sick of and which call is."""
    import torch
    from torch import nn

    def fitted(model):
        return lambda x, t: ((model(x) - t) ** 2).mean()

    class Two(nn.Module):
        def __init__(self, between):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.between = nn.Linear(8, 8), nn.Linear(8, 1), between

        def forward(self, x):
            return self.second(self.between(self.first(x)))

    return {
        "log of 0": lambda: fitted(Two(lambda z: torch.log(torch.relu(z)))),
        "exp overflows": lambda: fitted(Two(lambda z: torch.exp(1000 * z))),
        "root of a difference": lambda: fitted(Two(lambda z: torch.sqrt((z - z) ** 2))),
        "detached": lambda: fitted(Two(lambda z: z.detach())),
        "a position": lambda: fitted(Two(lambda z: z.argmax(-1, keepdim=True).expand(32, 8) / 1.0)),
        "a step": lambda: fitted(Two(torch.sign)),
        "a number": lambda: fitted(Two(lambda z: torch.ones(32, 8) * z.mean().item())),
        "no grad": lambda: fitted(Two(lambda z: torch.no_grad()(torch.tanh)(z))),
        "all off": lambda: fitted(modules(nn.ReLU, 2, 16, bias=-100.0)),
        "vanishing": lambda: fitted(modules(nn.Sigmoid, 12, 16)),
        "exploding": lambda: fitted(modules(nn.ReLU, 8, 16, scale=8.0)),
        "saturated": lambda: fitted(modules(nn.Tanh, 2, 16, scale=30.0)),
        "healthy relu": lambda: fitted(modules(nn.ReLU, 4, 64)),
        "healthy tanh": lambda: fitted(modules(nn.Tanh, 3, 32, scale=0.5)),
    }[name]()


TORCH = [
    ("log of 0", "non-finite value", "log"),
    ("exp overflows", "non-finite value", "exp"),
    ("root of a difference", "non-finite gradient", "sqrt"),
    ("detached", "no gradient", "detach"),
    ("a position", "no gradient", "argmax"),
    ("a step", "zero gradient", "sign"),
    ("a number", "no gradient", "mean"),
    ("no grad", "no gradient", "tanh"),
    ("all off", "zero gradient", "relu"),
    ("vanishing", "vanishing gradient", "sigmoid"),
    ("exploding", "exploding gradient", "linear"),
    ("saturated", "saturated units", "tanh"),
    ("healthy relu", "", ""),
    ("healthy tanh", "", ""),
]


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize(("name", "kind", "operation"), TORCH, ids=[row[0] for row in TORCH])
def test_the_same_is_found_in_a_pytorch_program(name, kind, operation, capture):
    torch = pytest.importorskip("torch")
    x, t = torch.tensor(X, dtype=torch.float32), torch.tensor(T, dtype=torch.float32)
    health = gv.trace(torch_program(name), x, t, capture=capture).diagnose()
    if not kind:
        assert health.ok, health.text
        return
    finding = health.findings[0]
    assert (finding.kind, finding.operation) == (kind, operation), health.text
    assert finding.draw().view.boxes


# --- healthy


def residual_network():
    rng = random()
    blocks = [(he(rng, 32, 32), 0.1 * he(rng, 32, 32)) for _ in range(30)]

    def loss(blocks, first, last, x, t):
        h = x @ first
        for a, b in blocks:
            h = h + np.maximum(h @ a, 0) @ b
        return np.mean((h @ last - t) ** 2)

    return gv.trace(
        loss, blocks, he(rng, 8, 32), he(rng, 32, 1), X, T, wrt=("blocks", "first", "last")
    )


def transformer(scopes=True, blocks=4, width=32, heads=4, length=24, words=50):
    """As GPT-2 is initialised, with a causal mask of -inf."""
    rng = random()

    def normal(*shape, scale=1.0):
        return rng.normal(0, 0.02 * scale, shape)

    def norm_of(x, gain, bias):
        centred = x - np.mean(x, axis=-1, keepdims=True)
        return centred / np.sqrt(np.var(x, axis=-1, keepdims=True) + 1e-5) * gain + bias

    def block(i):
        return dict(
            gain=np.ones(width), bias=np.zeros(width), qkv=normal(width, 3 * width),
            out=normal(width, width, scale=1 / math.sqrt(2 * blocks)),
            gain2=np.ones(width), bias2=np.zeros(width), up=normal(width, 4 * width),
            down=normal(4 * width, width, scale=1 / math.sqrt(2 * blocks)),
        )  # fmt: skip

    parameters = dict(
        words=normal(words, width), places=normal(length, width),
        blocks=[block(i) for i in range(blocks)], gain=np.ones(width), bias=np.zeros(width),
    )  # fmt: skip
    text, following = rng.integers(0, words, (2, 2, length))
    mask = np.tril(np.ones((length, length), bool))

    def split(a):
        return np.swapaxes(a.reshape(2, length, heads, width // heads), 1, 2)

    def layer(h, p):
        a = norm_of(h, p["gain"], p["bias"]) @ p["qkv"]
        q, k, v = (split(a[..., i * width : (i + 1) * width]) for i in range(3))
        s = np.where(mask, q @ np.swapaxes(k, -1, -2) / math.sqrt(width // heads), -np.inf)
        e = np.exp(s - np.max(s, axis=-1, keepdims=True))
        y = e / np.sum(e, axis=-1, keepdims=True) @ v
        h = h + np.swapaxes(y, 1, 2).reshape(2, length, width) @ p["out"]
        u = norm_of(h, p["gain2"], p["bias2"]) @ p["up"]
        return h + u * sigmoid(1.702 * u) @ p["down"]

    def loss(parameters):
        h = parameters["words"][text] + parameters["places"]
        for i, p in enumerate(parameters["blocks"]):
            if scopes:
                with gv.scope(f"block{i}"):
                    h = layer(h, p)
            else:
                h = layer(h, p)
        z = norm_of(h, parameters["gain"], parameters["bias"]) @ parameters["words"].T
        top = np.max(z, axis=-1, keepdims=True)
        total = np.log(np.sum(np.exp(z - top), axis=-1)) + top[..., 0]
        return np.mean(total - np.take_along_axis(z, following[..., None], axis=-1)[..., 0])

    return gv.trace(loss, parameters)


def long_short_term_memory():
    rng, width = random(), 16
    inner, outer = (rng.uniform(-0.25, 0.25, (n, 4 * width)) for n in (8, width))

    def loss(inner, outer, bias, xs):
        h = c = np.zeros((4, width))
        for x in xs:
            z = x @ inner + h @ outer + bias
            i, f, o = (sigmoid(z[:, k * width : (k + 1) * width]) for k in range(3))
            c = f * c + i * np.tanh(z[:, 3 * width :])
            h = o * np.tanh(c)
        return np.mean(h**2)

    xs = [rng.normal(size=(4, 8)) for _ in range(10)]
    return gv.trace(loss, inner, outer, np.zeros(4 * width), xs, wrt=("inner", "outer", "bias"))


def sure_and_right():
    """A logistic regression whose outputs are saturated because it has learned."""
    w = np.linspace(10, 18, 8)[:, None]

    def loss(w, x, t):
        p = sigmoid(x @ w)
        return -np.mean(t * np.log(p + 1e-12) + (1 - t) * np.log(1 - p + 1e-12))

    return gv.trace(loss, w, X, (X @ w > 0).astype(float), wrt="w")


def trained(steps=100):
    graph = network(np.tanh, 2, 16)
    for _ in range(steps):
        graph = graph.step(0.05)
    return graph


def mean_of_many_times_a_scalar():
    def loss(w, scale, x):
        return np.mean((x @ w) ** 2) * scale

    return gv.trace(loss, he(random(), 8, 3), 1.0, np.tile(X, (3000, 1)), wrt=("w", "scale"))


def harmless_infinity():
    def loss(w):
        lowest = np.minimum(w, np.inf)
        metric = np.log(w - w)  # noqa: F841 - nothing reads it
        return np.sum(lowest)

    return gv.trace(loss, np.array([1.0, 2.0]))


HEALTHY = {
    "relu, 8 layers": lambda: network(relu, 8, 16),
    "relu, 20 layers": lambda: network(relu, 20, 64),
    "relu, pixels": lambda: network(relu, 3, 32, x=random().uniform(0, 255, (32, 8))),
    "tanh": lambda: network(np.tanh, 5, 32, scale=0.7),
    "sigmoid": lambda: network(sigmoid, 3, 16),
    "residual": residual_network,
    "transformer": transformer,
    "transformer without scopes": lambda: transformer(scopes=False),
    "lstm": long_short_term_memory,
    "sure and right": sure_and_right,
    "trained": trained,
    "mean of many": mean_of_many_times_a_scalar,
    "harmless infinity": harmless_infinity,
    "the 2-2-2 network": gv.examples.backprop_222,
    "a formula": lambda: gv.expression("a = sigmoid(w*x + b); (a - 1)**2", w=2, x=-1, b=0.5),
}


@pytest.mark.parametrize("make", HEALTHY.values(), ids=HEALTHY)
def test_nothing_is_wrong_with_a_healthy_model(make):
    graph = make()
    for found in (graph.diagnose(), lean(graph).diagnose()):
        assert found.ok, found.text
        assert found.text.startswith("✓ healthy")


def test_a_start_at_zero_that_moves_by_itself_is_a_note():
    def loss(w, v, x):
        return np.sum(np.tanh(x @ w) @ v)

    health = gv.trace(loss, he(random(), 8, 3), np.zeros((3, 1)), X, wrt=("w", "v")).diagnose()
    (finding,) = health.findings
    assert health.ok
    assert (finding.kind, finding.severity) == ("zero gradient", "note")
    assert "multiplies by v, which is all 0" in finding.message


def test_a_sum_that_cancels_is_a_note():
    # A bias before a normalisation: J does not depend on it.
    def loss(b, w, x):
        z = x + b
        return np.sum(w * (z - np.mean(z, axis=0)) ** 2)

    health = gv.trace(
        loss, np.zeros(1), np.ones(1), np.array([[1.0], [3.0]]), wrt=("b", "w")
    ).diagnose()
    assert health.ok
    assert "cancel" in health.findings[0].message


# --- numbers checked from outside

SAFE = {
    "tanh": np.tanh,
    "sin": np.sin,
    "add": lambda x: x + 0.5,
    "multiply": lambda x: x * 0.9,
}
BAD = {
    "log": lambda x: np.log(x - 10),
    "sqrt": lambda x: np.sqrt(x - 10),
    "divide": lambda x: x / (x - x),
    "exp": lambda x: np.exp(x * 0 + 1000) - np.inf,
    "arcsin": lambda x: np.arcsin(x + 10),
}


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.sampled_from(sorted(SAFE)), min_size=0, max_size=6),
    st.sampled_from(sorted(BAD)),
    st.lists(st.sampled_from(sorted(SAFE)), min_size=0, max_size=6),
)
def test_the_first_operation_that_makes_a_nan_is_found_wherever_it_is(before, bad, after):
    def program(x):
        for name in before:
            x = SAFE[name](x)
        x = BAD[bad](x)
        for name in after:
            x = SAFE[name](x)
        return np.sum(x)

    finding = gv.trace(program, np.array([0.3, 0.4])).diagnose().findings[0]
    # What is infinite may leave J finite, as tanh does, and then shows in the backward pass.
    assert finding.kind in ("non-finite value", "non-finite gradient")
    assert finding.operation == bad
    values = [node.value for node in finding.graph.values]
    first = next(i for i, v in enumerate(values)
                 if not finding.graph.is_leaf(i) and not np.all(np.isfinite(v)))  # fmt: skip
    assert finding.node == first


def test_the_ratio_is_the_product_of_the_slopes_along_the_chain():
    weights = np.linspace(0.5, 1.5, 12)

    def chain(ws, x):
        h = x
        for w in ws:
            h = sigmoid(w * h)
        return h

    graph = gv.trace(chain, list(weights), 0.7, wrt="ws")
    (finding,) = graph.diagnose().findings
    outputs = [0.7]
    for w in weights:
        outputs.append(1 / (1 + math.exp(-w * outputs[-1])))
    slopes = [h * (1 - h) for h in outputs[1:]]
    # From the first product, w₁x, to the last: eleven sigmoids and eleven weights.
    assert math.isclose(finding.numbers["factor"], math.prod(slopes[:-1]), rel_tol=1e-9)
    ratio = math.prod(slopes[:-1]) * math.prod(weights[1:])
    assert math.isclose(finding.numbers["ratio"], ratio, rel_tol=1e-9)
    assert finding.numbers["steps"] == 11
    assert finding.numbers["ratio"] < VANISHING
    assert finding.graph.values[finding.node].value == outputs[1 + int(np.argmin(slopes[:-1]))]


def test_the_rate_is_judged_by_the_step_that_it_makes():
    def loss(w, x, t):
        return np.mean((x @ w - t) ** 2)

    graph = gv.trace(loss, he(random(), 8, 1), 1000 * X, T, wrt="w")
    gradient = 2 / 32 * (1000 * X).T @ (1000 * X @ graph.value("w") - T)  # by hand
    for rate, sick in ((1e-8, False), (1e-2, True)):
        step = rate * np.linalg.norm(gradient) / np.linalg.norm(graph.value("w"))
        health = graph.diagnose(rate=rate)
        assert health.ok is not sick
        if sick:
            assert math.isclose(health.findings[0].numbers["step"], step, rel_tol=1e-9)


def test_the_table_of_layers_tells_sizes():
    graph = transformer(blocks=2)
    health = graph.diagnose()
    assert [layer.name for layer in health.layers] == ["(top)", "block0", "block1"]
    _, first, second = health.layers
    inside = [name for name in graph.gradients() if name.startswith("parameters.blocks[1]")]
    numbers = np.concatenate([graph.value(name).ravel() for name in inside])
    assert second.parameters == numbers.size == 12 * 32 * 32 + 4 * 32
    assert math.isclose(second.weights, math.sqrt(np.mean(numbers**2)))
    gradients = np.concatenate([graph.grad(name).ravel() for name in inside])
    assert math.isclose(second.gradient, math.sqrt(np.mean(gradients**2)))
    # What one block sends back is what the block before it receives.
    assert 0.5 < first.incoming / second.outgoing < 2
    assert health.table.splitlines()[3].split()[0] == "block1"


@given(st.lists(st.floats(width=64), min_size=0, max_size=5))
def test_a_norm_is_zero_or_non_finite_only_where_the_entries_are(entries):
    for array in (np.array(entries, float), np.array(entries, np.float32)):
        found = norm(array)
        assert (found == 0) == (not np.any(array))
        assert math.isfinite(found) == bool(np.all(np.isfinite(array)))
        if 0 < found < 1e150:
            assert math.isclose(found, math.hypot(*map(float, array)), rel_tol=1e-6)


# --- what cannot be examined, and what is large


def test_without_a_backward_pass_it_says_why():
    health = gv.trace(lambda w: np.log(w), np.array([1.0, 2.0])).diagnose()
    (finding,) = health.findings
    assert finding.kind == "no backward pass"
    assert "a gradient needs a scalar" in finding.message


def test_parameters_that_are_not_asked_for_are_a_note():
    w, v = gv.parameter([1.0, 2.0], "w"), gv.parameter([1.0, 2.0], "v")
    graph = gv.graph(np.sum(w * v))
    frozen = Graph(graph.values, graph.operands, graph._names, graph.output, [graph.id("w")])
    health = frozen.diagnose()
    assert health.ok
    assert "no gradient was asked for: v" in health.text


def test_many_findings_of_one_kind_are_counted():
    health = network(np.tanh, 6, 16, scale=30.0).diagnose()
    saturated = [f for f in health.findings if f.kind == "saturated units"]
    assert len(saturated) == 6
    assert health.text.count("! saturated units") == 3
    assert "and 3 more: saturated units" in health.text


def test_an_overlay_numbers_its_findings_and_says_them_in_words():
    health = side_that_nothing_reads().diagnose()
    assert not health.ok
    both = gv.trace(lambda w, u, v: np.sum(w) + 0 * v[0], np.ones(2), np.ones(2), np.ones(2))
    drawing = both.diagnose().draw()
    badges = sorted(box.badge for box in drawing.view.boxes if box.badge)
    assert badges == ["1 no gradient", "2 zero gradient"]
    assert "1 no gradient: u" in drawing.svg.replace("</text>", "")
    assert health._repr_mimebundle_()["text/plain"] == health.text


def test_the_work_for_a_large_graph_grows_with_its_size():
    def walk(x, n):
        for _ in range(n):
            x = x * 0.9999 + 0.0001 * np.sin(x)
        return x

    def diagnose(n):
        graph = gv.trace(walk, 0.5, n).backward()
        assert graph.diagnose().ok

    assert growth(int, diagnose, 200, 2000) < 20  # a quadratic way: 100
