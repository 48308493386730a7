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
P = torch.softmax(X[:, :CLASSES], -1)


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


def attended(q, axis):
    return ((q @ q.T / 9).softmax(axis) @ q).square().mean()


def shifted(x):
    """The positions relative to each row, as Transformer-XL and XLNet compute them."""
    return x.view(x.shape[1], x.shape[0])[1:].reshape(x.shape[0], -1)


def in_steps(w):
    return X[:20].view(4, 5, 6) @ torch.cat((w, w), 1)  # examples, steps, features


def in_heads(w):
    return in_steps(w).reshape(4, 5, 2, 3).transpose(1, 2).tanh()


def in_time(w):
    return logits(w)[:20].reshape(4, 5, CLASSES).mT  # 4 examples, of 5 steps each


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
     lambda w: (T - logits(w)[:, 0]).abs().mean(), MISTAKE,
     "every target"),
    ("a table of pairs", None, lambda w: (logits(w)[:, :1] - logits(w)[:, 0]).square().mean(),
     MISTAKE, ""),
    ("(N, 1) against (N,) in an entropy",
     lambda w: -(B * logits(w)[:, :1].sigmoid().log() + (1 - B) * 0).mean(),
     lambda w: -(B * logits(w)[:, 0].sigmoid().log() + (1 - B) * 0).mean(), MISTAKE,
     "every target"),
    ("kl_div of probabilities", lambda w: F.kl_div(logits(w).softmax(-1), P, reduction="sum"),
     lambda w: F.kl_div(logits(w).log_softmax(-1), P, reduction="sum"), MISTAKE, "no logarithms"),
    ("tanh before cross_entropy", lambda w: F.cross_entropy(logits(w).tanh(), C),
     lambda w: F.cross_entropy(10 * logits(w).tanh(), C), MISTAKE, "between -1 and 1"),
    ("target first", lambda w: F.binary_cross_entropy_with_logits(B, logits(w)[:, 0]),
     lambda w: F.binary_cross_entropy_with_logits(logits(w)[:, 0], B), MISTAKE,
     "as the prediction"),
    ("target first, of classes", lambda w: F.cross_entropy(P, logits(w)),
     lambda w: F.cross_entropy(logits(w), P), MISTAKE,
     "as the prediction"),
    ("a relu before targets below 0", lambda w: F.mse_loss(logits(w)[:, 0].relu(), T),
     lambda w: F.mse_loss(logits(w)[:, 0].relu(), T.abs()), MISTAKE, "nothing below 0"),
    ("a sigmoid before targets above 1", lambda w: F.l1_loss(logits(w).sigmoid()[:, 0], 3 * B),
     lambda w: F.l1_loss(logits(w).sigmoid()[:, 0], B * 1.02), MISTAKE, "cannot be reached"),
    ("a tanh, by hand", lambda w: (9 * B - logits(w)[:, 0].tanh()).square().mean(),
     lambda w: (9 * B - logits(w)[:, 0].tanh()).mean(), MISTAKE, "cannot be reached"),
    ("view for transpose", lambda w: (logits(w)[:20].view(3, 20) @ X[:20]).square().mean(),
     lambda w: (logits(w)[:20].T @ X[:20]).square().mean(), MISTAKE, "exchanges no axes"),
    ("heads by a reshape", lambda w: in_steps(w).reshape(4, 2, 5, 3).square().mean(),
     lambda w: in_steps(w).reshape(4, 5, 2, 3).transpose(1, 2).square().mean(), MISTAKE,
     "from (4, 5, 6) to (4, 2, 5, 3)"),
    ("heads put together by a reshape", lambda w: in_heads(w).reshape(4, 5, 6).square().mean(),
     lambda w: in_heads(w).transpose(1, 2).reshape(4, 5, 6).square().mean(), MISTAKE,
     "from (4, 2, 5, 3) to (4, 5, 6)"),
    ("attention of as many heads as tokens", None,
     lambda w: F.multi_head_attention_forward(
         *[X[:6, None, :4].reshape(2, 3, 4)] * 3, 4, 2, torch.cat([w.T[:, :4]] * 4)[:12],
         None, None, None, False, 0.0, torch.eye(4), None,
     )[0].square().mean(), MISTAKE, ""),
    ("an axis split where it lies", None,
     lambda w: in_steps(w).reshape(4, 5, 3, 2).reshape(4, 15, 2).square().mean(), MISTAKE, ""),
    ("relative positions", None, lambda w: shifted(F.pad(logits(w), (1, 0))).square().mean(),
     MISTAKE, ""),
    ("relative positions, cut off", None, lambda w: shifted(logits(w)).square().mean(),
     MISTAKE, ""),
    ("(N, C, T) in rows of C", lambda w: F.cross_entropy(in_time(w).reshape(-1, CLASSES), C[:20]),
     lambda w: F.cross_entropy(in_time(w).mT.reshape(-1, CLASSES), C[:20]), MISTAKE, "cut from"),
    ("(N, C, 1, 1) of a convolution by 1×1", None,
     lambda w: F.cross_entropy(F.conv2d(X[..., None, None], w.mT[..., None, None]).flatten(1), C),
     MISTAKE, ""),
    ("attention over the queries", lambda w: attended(logits(w), -2),
     lambda w: attended(logits(w), -1), MISTAKE, "sum to one along axis 0"),
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
@pytest.mark.parametrize(
    "how",
    ["plain", "causal", "masked", "added", "scaled", "in heads", "one head", "grouped", "dropped"],
)
def test_attention_that_is_saturated_inside_of_one_call_is_said(how, capture, tmp_path):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 7, 5, requires_grad=True) for _ in "qkv")
    if how == "grouped":
        k, v = (torch.randn(2, 2, 7, 5, requires_grad=True) for _ in "kv")
    if how == "one head":
        q, k, v = (torch.randn(7, 5, requires_grad=True) for _ in "qkv")
    seen = torch.ones(7, 7).tril().bool()
    options = {
        "causal": {"is_causal": True}, "masked": {"attn_mask": seen},
        "added": {"attn_mask": torch.zeros(7, 7).masked_fill(~seen, -1e4)},
        "scaled": {"scale": 0.1}, "grouped": {"enable_gqa": True}, "dropped": {"dropout_p": 0.1},
    }.get(how, {})  # fmt: skip

    def program(size):
        def run(q, k, v):
            if how == "in heads":
                q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
            return F.scaled_dot_product_attention(q * size, k, v, **options).square().mean()

        return run

    keys = k.repeat_interleave(2, 1).double() if how == "grouped" else k.double()
    for size in (1e3, 1.0):
        scores = (q.double() * size @ keys.mT) * options.get("scale", 5**-0.5)
        if how in ("causal", "masked", "added"):
            scores = scores.masked_fill(~seen, -torch.inf)
        sums = scores.softmax(-1).square().sum(-1)
        graph = gv.trace(program(size), q, k, v, capture=capture)
        graph.save(tmp_path / "graph.json")
        for one in (graph, gv.load(tmp_path / "graph.json")):
            (told,) = one.sharpness.values()
            assert told.entries == 7
            assert 3 < told.rows <= 8  # of which a mask leaves at least two entries
            assert any(told.least == pytest.approx(s, rel=1e-4) for s in sums.flatten().tolist())
            found = [f for f in one.diagnose().findings if f.kind == SATURATED]
            assert len(found) == (told.mean > 0.999 and told.least > 0.99), found
            assert how == "causal" or len(found) == (size > 1)
            for finding in found:
                assert "on one of 7 entries" in finding.message
                assert finding.operation == "scaled_dot_product_attention"


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_of_attention_that_sends_exactly_nothing_it_is_said_why(capture):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 7, 5, requires_grad=True) for _ in "qkv")

    def program(q, k, v):
        return F.scaled_dot_product_attention(q * 1e8, k, v).sum()

    # All values of a head that get the same gradient: what a row sends is p·(s − Σp·s), s = 1.
    weights = (q.double() * 1e8 @ k.double().mT / 5**0.5).softmax(-1)
    assert weights.amax(-1).min() == 1
    found = gv.trace(program, q, k, v, capture=capture).diagnose().findings
    assert any("all weight on one of 7 entries" in f.message for f in found), found


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize("fused", [True, False])
def test_of_saturated_attention_on_the_only_way_to_a_layer_there_is_one_finding(fused, capture):
    torch.manual_seed(3)
    keys, head = nn.Linear(8, 16), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    queries, memory, targets = (torch.randn(4, 7, n) for n in (16, 8, 4))

    def loss(size):
        def run(keys, head):
            q, k = queries * size, keys(memory)
            weights = torch.softmax(q @ k.mT / 4, -1)
            read = F.scaled_dot_product_attention(q, k, memory) if fused else weights @ memory
            return F.mse_loss(head(read), targets)

        return run

    for size, kind in ((1e3, SATURATED), (1e5, "zero gradient"), (1.0, "")):
        graph = gv.trace(loss(size), keys, head, capture=capture)
        found = [f.kind for f in graph.diagnose().findings if f.severity != "note"]
        assert found == [kind] * bool(kind), (size, graph.diagnose().text)


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
def test_what_equal_units_make_cancel_is_not_said_to_vanish(capture):
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    x, y = torch.randn(8, 16), torch.arange(8) % 3
    graph = gv.trace(model, x, loss=lambda z: F.cross_entropy(z, y), capture=capture)
    # The rows of the last weight are equal, and the gradients of a cross entropy sum to 0.
    p = model(x).softmax(1) - F.one_hot(y, 3)
    assert p.sum(1).abs().max() < 1e-6
    assert [f.kind for f in graph.diagnose().findings] == ["equal units"]


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


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_two_linear_layers_with_nothing_between_are_a_note_and_a_narrow_passage_is_none(capture):
    def notes(*between, width=8):
        model = nn.Sequential(nn.Linear(6, width), *between, nn.Linear(width, 4))
        return gv.trace(model, X, loss=lambda y: y.square().mean(), capture=capture).diagnose()

    health = notes()
    assert health.ok
    assert "two linear maps are one" in health.text
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4))  # ... and they are
    one = nn.Linear(6, 4)
    with torch.no_grad():
        one.weight.copy_(model[1].weight @ model[0].weight)
        one.bias.copy_(model[1].weight @ model[0].bias + model[1].bias)
    torch.testing.assert_close(one(X), model(X))
    for twin in (notes(nn.ReLU()), notes(width=2)):
        assert "likely mistake" not in twin.text


def test_a_line_that_runs_for_queries_and_for_keys_is_told_once():
    def heads(x):
        return x.reshape(4, 3, 6, 2)  # where (4, 6, 3, 2) should be transposed

    def program(w, v):
        q, k = (heads((X.reshape(4, 6, 6) @ u).view(4, 6, 3, 2)) for u in (w, v))
        return (q @ k.mT).square().mean()

    health = gv.trace(program, weight(6, 6), weight(6, 6, seed=2)).diagnose()
    assert [f.kind for f in health.findings] == [MISTAKE]
    assert health.findings[0].source.text.startswith("return x.reshape(4, 3, 6, 2)")


def healthy():
    """Programs in which what looks like one of these mistakes is meant."""
    torch.manual_seed(0)
    x, flat = torch.randn(4, 7, 16), torch.rand(6, 16)
    one, other = nn.Linear(16, 5), nn.Linear(16, 5)
    down, up = nn.Linear(16, 2), nn.Linear(2, 16)
    narrow, conv = nn.Linear(16, 4), nn.Conv2d(3, 8, 3)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)  # 4 examples of 4 heads are 16

    def contrasted(x):
        near = F.normalize(one(x), dim=-1) @ F.normalize(other(x), dim=-1).T
        return F.cross_entropy(10 * near, torch.arange(6)) + F.cross_entropy(
            10 * near.T, torch.arange(6)
        )

    def slots(x):  # they compete, and each is then a mean
        weights = (narrow(x) @ narrow(x).mT).softmax(1)
        return (weights / weights.sum(-1, keepdim=True) @ x).square().mean()

    def shuffled(images):
        y = conv(images).view(4, 2, 4, 6, 6).transpose(1, 2).reshape(4, 8, 6, 6)
        return y.square().mean()

    def distilled(x):
        with torch.no_grad():
            teacher = other(x).softmax(-1)
        return F.kl_div(one(x).log_softmax(-1), teacher, reduction="batchmean")

    yield lambda x: layer(x).square().mean(), x
    yield lambda x: up(down(x)).square().mean(), x  # of low rank
    yield lambda x: F.cross_entropy(one(x).view(-1, 5), torch.arange(28) % 5), x
    yield contrasted, flat
    yield slots, x
    yield shuffled, torch.randn(4, 3, 8, 8)
    yield distilled, flat


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_of_healthy_models_no_mistake_is_said(capture):
    for program, x in healthy():
        health = gv.trace(program, x, capture=capture).diagnose()
        assert MISTAKE not in health.text, health


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_the_heads_of_pytorchs_own_attention_are_no_axes_to_exchange(capture):
    attention = nn.MultiheadAttention(16, 4)  # (5, 4, 16) is viewed as (5, 4 * 4, 4)
    x = torch.randn(5, 4, 16)
    health = gv.trace(
        lambda x: attention(x, x, x)[0].square().mean(), x, capture=capture
    ).diagnose()
    assert not [f for f in health.findings if f.kind == "likely mistake"], health.text


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_bias_that_what_follows_takes_away_cancels_also_where_only_statistics_are_kept(capture):
    x = torch.tensor([[1.0, 2.0], [-1.0, 4.0]])

    def added(w, b):
        return x @ w + b

    def linear(w, b):
        return F.linear(x, w, b)

    def convolved(w, b):
        return F.conv1d(x[..., None], w[..., None], b)[..., 0]

    def normalised(w, b):
        return F.batch_norm(x @ w, None, None, torch.ones(2) * w.sum(), b, training=True)

    for program in (added, linear, convolved, normalised):
        w, b = torch.tensor([[1.0, 0.5], [2.0, 1.0]]).requires_grad_(), weight(2)

        def centred(w, b, program=program):
            h = program(w, b)
            return (h - h.mean(0)).square().sum() + w.sum()

        health = gv.trace(centred, w, b, capture=capture).diagnose()
        assert not torch.autograd.grad(centred(w, b), b)[0].any()
        assert health.ok, health
        (finding,) = [f for f in health.findings if f.kind == "zero gradient"]
        assert "the gradient of b is exactly 0" in finding.message
        assert "cancels in a sum" in finding.message
