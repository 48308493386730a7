"""Mistakes that raise no error and make training worse, each with its healthy twin."""

import pytest

import gradviz as gv

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn import functional as F

MISTAKE, SATURATED = "likely mistake", "saturated units"
N, CLASSES = 24, 3
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
T = X[:, 0] + 0.1
C = torch.arange(N) % CLASSES
B = (T > 0).float()


def weight(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def logits(w):
    return X @ w


def attention(w, size):
    q = logits(w) * size
    return ((q @ q.T).softmax(-1) @ q).square().mean()


def constant(value):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
    for i, p in enumerate(model.parameters()):
        nn.init.constant_(p, 0.1) if value else nn.init.normal_(p, 0, 0.3 + 0.1 * i)
    return lambda: (model(X)[:, 0] - T).square().mean(), list(model.parameters())


def without_gradients(w, v, lost):
    with torch.set_grad_enabled(not lost):
        h = (X @ w).tanh()  # the line to blame
    return (h @ v[:CLASSES]).square().mean()


# The name; the sick program of w and its healthy twin; kind; what is said of the sick only.
CASES = [
    ("softmax before cross_entropy", lambda w: F.cross_entropy(logits(w).softmax(-1), C),
     lambda w: F.cross_entropy(logits(w), C), MISTAKE, "is given those of softmax"),
    ("sigmoid before its logits' loss",
     lambda w: F.binary_cross_entropy_with_logits(logits(w)[:, 0].sigmoid(), B),
     lambda w: F.binary_cross_entropy_with_logits(logits(w)[:, 0], B), MISTAKE, "of sigmoid"),
    ("sigmoid before it is indexed",
     lambda w: F.binary_cross_entropy_with_logits(logits(w).sigmoid()[:, 0], B),
     lambda w: F.binary_cross_entropy_with_logits(logits(w)[:, 0], B), MISTAKE, "of sigmoid"),
    ("softmax before examples are chosen",
     lambda w: F.cross_entropy(logits(w).softmax(-1)[C > 0], C[C > 0]),
     lambda w: F.cross_entropy(logits(w)[C > 0], C[C > 0]), MISTAKE, "of softmax"),
    ("sigmoid twice", lambda w: F.binary_cross_entropy(logits(w)[:, 0].sigmoid().sigmoid(), B),
     lambda w: F.binary_cross_entropy(logits(w)[:, 0].sigmoid(), B), MISTAKE, "applied twice"),
    ("relu before cross_entropy", lambda w: F.cross_entropy(logits(w).relu(), C),
     lambda w: F.cross_entropy(logits(w), C), MISTAKE, "relu has cut off"),
    ("nll_loss of probabilities", lambda w: F.nll_loss(logits(w).softmax(-1), C),
     lambda w: F.nll_loss(logits(w).log_softmax(-1), C), MISTAKE, "no logarithms"),
    ("over the examples", lambda w: F.nll_loss(logits(w).log_softmax(0), C),
     lambda w: F.nll_loss(logits(w).log_softmax(1), C), MISTAKE, "over the 24 examples"),
    ("over the examples, by a log", lambda w: F.nll_loss((logits(w).softmax(0) + 1e-9).log(), C),
     lambda w: F.nll_loss((logits(w).softmax(1) + 1e-9).log(), C), MISTAKE, "over the 24 examples"),
    ("(N, 1) against (N,)", lambda w: F.mse_loss(logits(w)[:, :1], T),
     lambda w: F.mse_loss(logits(w)[:, :1], T[:, None]), MISTAKE, "broadcasts to (24, 24)"),
    ("(N, 1) against (N,) by hand", lambda w: (T - logits(w)[:, :1]).abs().mean(),
     lambda w: (T - logits(w)[:, 0]).abs().mean(), MISTAKE, "every target"),
    ("a table of pairs", None, lambda w: (logits(w)[:, :1] - logits(w)[:, 0]).square().mean(),
     MISTAKE, ""),
    ("attention", lambda w: attention(w, 30.0), lambda w: attention(w, 0.3), SATURATED,
     "on one of 24 entries"),
    ("hardtanh", lambda w: (F.hardtanh(logits(w) * 99) / 2).square().mean(),
     lambda w: (F.hardtanh(logits(w) / 9) / 2).square().mean(), SATURATED, "a hardtanh"),
    ("hardsigmoid", lambda w: (F.hardsigmoid(logits(w) * 99) - 0.5).square().mean(),
     lambda w: (F.hardsigmoid(logits(w)) - 0.5).square().mean(), SATURATED, "a hardsigmoid"),
]  # fmt: skip


def examined(program, *leaves, capture, **options):
    return gv.trace(program, *leaves, capture=capture).diagnose(**options)


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_mistake_is_said_where_it_is_made_and_not_of_its_twin(capture):
    for name, sick, healthy, kind, words in CASES:
        if sick is not None:
            found = examined(sick, weight(6, CLASSES), capture=capture)
            assert [f for f in found.findings if f.kind == kind and words in f.message], name
            assert not found, name
        twin = examined(healthy, weight(6, CLASSES), capture=capture)
        assert not [f for f in twin.findings if f.kind == kind], f"{name}: {twin}"


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_units_that_stay_equal_and_what_eval_leaves_on_are_said(capture):
    (program, parameters), (twin, others) = constant(True), constant(False)
    found = gv.trace(lambda *_: program(), *parameters, capture=capture).diagnose()
    named = [f for f in found.findings if f.kind == "equal units"]
    assert len(named) == 2, found  # of the last layer there is one unit
    assert "the 8 units of" in named[0].message
    healthy = gv.trace(lambda *_: twin(), *others, capture=capture).diagnose()
    assert "equal units" not in healthy.text
    # ... for so they are after a step of gradient descent, and not by their twins
    for run, moved in ((program, parameters), (twin, others)):
        gradients = torch.autograd.grad(run(), moved)
        same = torch.allclose(gradients[0], gradients[0][:1].expand_as(gradients[0]), atol=1e-7)
        assert same == (run is program)

    for training in (True, False):
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        with torch.no_grad():
            model[0].bias += 2
        model.train(training)
        health = gv.trace(model, X, loss=lambda y: y.square().mean(), capture=capture).diagnose()
        assert ("in eval mode" in health.text) == (not training)
        assert health.ok


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_an_update_that_bfloat16_rounds_away_is_said_and_it_is(capture):
    torch.manual_seed(0)
    model = nn.Linear(6, 4).bfloat16()
    graph = gv.trace(model, X.bfloat16(), loss=lambda y: y.float().square().mean(), capture=capture)
    before = [p.detach().clone() for p in model.parameters()]
    for rate in (1e-5, 0.5):
        model.zero_grad()
        model(X.bfloat16()).float().square().mean().backward()
        torch.optim.SGD(model.parameters(), rate).step()
        still = all(map(torch.equal, before, model.parameters()))
        assert still == (rate == 1e-5)
        assert ("rounded away" in graph.diagnose(rate=rate).text) == still


def test_what_was_computed_under_no_grad_is_blamed_itself_and_dropped_layers_are_one_note():
    w, v = weight(6, CLASSES), weight(6, 1, seed=2)
    health = gv.trace(lambda w, v: without_gradients(w, v, True), w, v).diagnose()
    assert "under no_grad" in health.findings[0].message
    assert health.findings[0].source.text == "h = (X @ w).tanh()  # the line to blame"
    assert gv.trace(lambda w, v: without_gradients(w, v, False), w, v).diagnose()
    online, target = nn.Linear(6, 2), nn.Sequential(nn.Linear(6, 2), nn.Tanh())

    def bootstrapped(x):
        with torch.no_grad():
            goal = 1 + 0.9 * target(x).amax(1)  # far from the loss that reads it
        return nn.functional.smooth_l1_loss(online(x)[:, 0], goal)

    (finding,) = gv.trace(bootstrapped, X).diagnose().findings
    assert (finding.operation, finding.source.text[:6]) == ("linear", "goal =")
    assert "was computed without gradients" in finding.message
    square = weight(6, 6)
    one = [nn.Parameter(square.detach().clone()) for _ in range(4)]

    def layers(*ws):
        h = X
        for i, p in enumerate(ws):
            keep = (torch.tensor(i % 2) > 0).float()
            h = h + keep * (h @ p).relu()
        return h.square().mean()

    found = gv.trace(layers, *one).diagnose()
    assert found.ok
    assert len(found.findings) == 1, found
    assert not gv.trace(lambda p: (torch.zeros(()) * (X @ p)).square().sum(), one[0]).diagnose().ok
