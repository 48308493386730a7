"""Each reason that `diagnose` gives: a program of which it is true, and its healed twin."""

import math

import health_programs
import numpy as np
import pytest

import gradviz as gv
from gradviz.errors import TraceError
from gradviz.statistics import Statistics

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

VALUE, SLOPE, ZERO = "non-finite value", "non-finite gradient", "zero gradient"


def rows(q, k=1.0):
    s = q @ q.T * k
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return np.sum((e / np.sum(e, axis=-1, keepdims=True) @ np.eye(2)[: len(q)]) ** 2)


Q = np.array([[1.0, 0.5], [-0.3, 0.8]])
APART = np.array([[1.0, 0.3], [0.3, 2.0]])

# The name; the program; its sick argument and the healed one; kind; what is said of the sick only.
IN_NUMPY = [
    ("mean of nothing", lambda x: np.mean(x[x > 0]), [-1.0], [1.0], VALUE, "mean of nothing"),
    ("variance of one", lambda x: np.var(x, ddof=1), [1.0], [1.0, 2.0], VALUE, "var of one value"),
    ("deviation of one", lambda x: np.std(x, ddof=1), [1.0], [1.0, 2.0], VALUE, "std of one value"),
    ("0 / 0", lambda x: np.sum(x * x / x), [0.0], [1.0], VALUE, "0 / 0"),
    ("1 / 0", lambda x: np.sum(1 / x), [0.0], [1.0], VALUE, "division by 0"),
    ("log of -1", lambda x: np.sum(np.log(x)), [-1.0], [1.0], VALUE, "negative number, -1"),
    ("log of 0", lambda x: np.sum(np.log(x)), [0.0], [1.0], VALUE, "log of 0"),
    ("log1p of -1", lambda x: np.sum(np.log1p(x)), [-1.0], [0.5], VALUE, "log1p of -1"),
    ("arcsin of 2", lambda x: np.sum(np.arcsin(x)), [2.0], [0.5], VALUE, "of a number of size 2"),
    ("arccos of hardly more than 1", lambda x: np.sum(np.arccos(x)), [1 + 2e-16], [0.5], VALUE,
     "of a number of size 1.0000000000000002"),
    ("power", lambda x: np.sum(x**0.5), [-1.0], [1.0], VALUE, "power of a negative number"),
    ("reciprocal", lambda x: np.sum(x**-1.0), [0.0], [1.0], VALUE, "a negative power of 0"),
    ("overflow", lambda x: np.sum(x * x), [1e200], [1e100], VALUE, "overflows float64"),
    ("exp", lambda x: np.sum(np.exp(x)), [1e3], [1.0], VALUE, "exp overflows float64"),
    ("inf - inf", lambda x: np.sum(2 * (x * x) - x * x), [1e200], [1.0], VALUE, "inf - inf"),
    ("0 · inf", lambda x: np.sum(0 * np.exp(x) + x), [1e3], [1.0], VALUE, "0 · inf"),
    ("sqrt at 0", lambda x: np.sum(np.sqrt(x)), [0.0], [1.0], SLOPE, "sqrt of 0"),
    ("power at 0", lambda x: np.sum(x**0.5), [0.0], [1.0], SLOPE, "a power of 0"),
    ("arccos at 1", lambda x: np.sum(np.arccos(x)), [1.0], [0.5], SLOPE, "arccos of ±1"),
    ("the origin", lambda x: np.sum(np.arctan2(x, 2 * x + x * x)), [0.0], [1.0], SLOPE, "origin"),
    ("dropped by an index", lambda x: np.sum((2 * x / (x - 1) + x)[1:]), [1.0, 2.0], [3.0, 2.0],
     SLOPE, "division by 0"),
    ("NaN dropped by an index", lambda x: np.sum((x / x)[1:] + x[1:]), [0.0, 2.0], [3.0, 2.0],
     SLOPE, "0 / 0"),
    ("an infinity that tanh hides", lambda x: np.sum(np.tanh(x @ x)), [math.inf, 1.0], [0.5, 1.0],
     SLOPE, "x is inf in 1 of 2 entries: it went in so"),
    ("an infinity that a sigmoid hides", lambda x: np.sum(1 / (1 + np.exp(-(x * x)))),
     [math.inf, 1.0], [2.0, 1.0], SLOPE, "x is inf in 1 of 2 entries: it went in so"),
    ("-inf that tanh hides", lambda x: np.sum(np.tanh(x * x)), [-math.inf, 1.0], [2.0, 1.0],
     SLOPE, "meets the infinities in"),
    ("equal singular values", lambda x: np.sum(np.linalg.svd(x)[0] ** 3), np.eye(2), APART,
     SLOPE, "equal singular values of x"),
    ("equal eigenvalues", lambda x: np.sum(np.linalg.eigh(x)[1] ** 3), np.eye(2), APART,
     SLOPE, "equal eigenvalues of x"),
    ("limits", lambda x: np.sum(np.clip(x, -1, 1)), [5.0, -5.0], [0.5, 5.0], ZERO,
     "at its limit in all 2 entries: -1 or 1"),
    ("off", lambda x: np.sum(np.maximum(x, 0)), [-1.0, -2.0], [-1.0, 2.0], ZERO, "is off in all 2"),
    ("the other operand", lambda x: np.sum(np.maximum(x, 3)), [1.0, 2.0], [1.0, 4.0], ZERO,
     "takes the other operand"),
    ("a step", lambda x: np.sum(np.rint(x)), [1.2], None, ZERO, "is a step"),
    ("tanh", lambda x: np.sum(np.tanh(x)), [99.0], [0.5], ZERO, "is saturated"),
    ("underflow of exp", lambda x: np.sum(np.exp(x)), [-1e3], [-1.0], ZERO, "underflows to 0"),
    ("a product of many", lambda x: 3 * np.prod(x), [0.1] * 800, [0.1] * 8, ZERO,
     "is 0 of numbers that are not: it is too small for float64"),
    ("one-hot by hand", lambda q: rows(q, 1e4), Q, Q / 100, ZERO, "is one-hot, 0 or 1"),
    ("one entry by hand", rows, Q[:1], Q, ZERO, "a softmax over one entry, always 1"),
    ("times 0", lambda x: np.sum(x * np.zeros(2)), [1.0, 2.0], None, ZERO, "which is all 0"),
    ("nothing selected", lambda x: np.sum(x[x > 0]), [-1.0], [1.0], ZERO, "has no entries"),
    ("a length of 0", lambda x: np.linalg.norm(x), [0.0, 0.0], [0.0, 1.0], ZERO,
     "a vector of zeros"),
    ("equal entries", lambda x: np.std(x), [2.0, 2.0], [2.0, 3.0], ZERO, "all the same"),
    ("a difference of equals", lambda x: np.sum(3 * x) - np.sum(x * 3), [2.0], None, ZERO,
     "messages to x cancel"),
]  # fmt: skip


def said(health, kind, words):
    return [f for f in health.findings if f.kind == kind and words in f.message]


@pytest.mark.parametrize(
    ("program", "sick", "healed", "kind", "words"),
    [case[1:] for case in IN_NUMPY],
    ids=[case[0] for case in IN_NUMPY],
)
def test_a_reason_is_said_where_it_is_true_and_only_there(program, sick, healed, kind, words):
    health = gv.trace(program, np.array(sick)).diagnose()
    assert said(health, kind, words), health.text
    assert not health
    assert health.findings[0].kind == kind
    if healed is not None:
        healthy = gv.trace(program, np.array(healed)).diagnose()
        assert healthy, healthy.text
        assert words not in healthy.text


def in_torch():
    """The same for PyTorch: name, program, sick and healed tensors, kind, words."""
    import torch
    from torch.nn import functional as F

    def labels(x):  # three of a kind need five inputs, with blanks between them
        sizes = torch.tensor([len(x)]), torch.tensor([3])
        return F.ctc_loss(x.log_softmax(-1), torch.tensor([[1, 1, 1]]), *sizes, zero_infinity=True)

    def attention(x, k=1.0):
        return ((x @ x.T * k).softmax(-1) @ torch.eye(2)[: len(x)]).square().sum()

    def masked(x, mask):
        hidden = torch.zeros(mask.shape).masked_fill(mask, -math.inf)
        return (x @ x.T + hidden).softmax(-1)

    def fused(x, attend=lambda q, k, v: (q @ k.T).softmax(-1) @ v):
        q, k, v = x.chunk(3, -1)  # of one projection, which the values keep from a gradient of 0
        return attend(q, k, v).square().sum()

    def hooked(x, zero):
        y = x * 2
        if zero:
            y.register_hook(torch.zeros_like)
        return (y * y).sum()

    half, (q, apart) = torch.float16, torch.tensor(np.array([Q, APART]), dtype=torch.float32)
    full, causal = torch.tensor([[1, 1], [0, 0]]).bool(), torch.tensor([[0, 1], [0, 0]]).bool()
    two, ignored = torch.tensor([[1.0, 2.0], [0.5, 3.0]]), torch.tensor([-100, -100])
    return [
        ("mean", lambda x: x[x > 0].mean(), [-1.0], [1.0], VALUE, "mean of nothing"),
        ("loss", lambda x: F.smooth_l1_loss(x[x > 0], x[x > 0] * 0), [-1.0], [1.0], VALUE,
         "smooth_l1_loss of nothing"),
        ("labels that do not fit", labels, [[1.0, 2.0]] * 4, [[1.0, 2.0]] * 6, ZERO,
         "as zero_infinity makes it of targets that do not fit"),
        ("product", lambda x: 3 * x.prod(), [0.1] * 80, [0.1] * 8, ZERO, "too small for float32"),
        ("std", lambda x: x.std(), [1.0], [1.0, 2.0], VALUE, "std of one value"),
        ("var_mean", lambda x: torch.var_mean(x)[0], [1.0], [1.0, 2.0], VALUE,
         "var_mean of one value"),
        ("targets", lambda x, t=ignored: F.cross_entropy(x, t), two, None, VALUE,
         "every target in t is ignored (-100)"),
        ("0 / 0", lambda x: (x * x / x).sum(), [0.0], [1.0], VALUE, "0 / 0"),
        ("negative", lambda x: x.sqrt().sum(), [-1.0], [1.0], VALUE, "sqrt of a negative number"),
        ("half", lambda x: (x @ x.T).sum(), torch.full((2, 4), 300.0, dtype=half),
         torch.full((2, 4), 3.0, dtype=half), VALUE, "matmul overflows float16"),
        ("scaled loss", lambda x: (x * x).sum() * 65504.0, torch.tensor([2.0], dtype=half),
         torch.tensor([0.5], dtype=half), VALUE, "mul overflows float16"),
        ("scaled gradient", lambda x: (x * 300.0).sum() * 300.0, torch.tensor([0.01], dtype=half),
         None, SLOPE, "overflows float16"),
        ("range of bfloat16", lambda x: x.exp().sum(), torch.tensor([120.0, 2.0]).bfloat16(),
         torch.tensor([1.0, 2.0]).bfloat16(), VALUE, "exp overflows bfloat16: x"),
        ("range of float32", lambda x: x.exp().sum(), torch.tensor([120.0, 2.0]),
         torch.tensor([1.0, 2.0]), VALUE, "exp overflows float32: x"),
        ("put there", lambda x: torch.where(x > 0, x, math.nan).sum(), [-1.0, 2.0], [1.0, 2.0],
         VALUE, "where(gt, x, other=nan) is NaN in 1 of 2 entries: the program put it there"),
        ("comes back as 0", lambda x: (x / (x * x).sum().sqrt()).sum(),
         torch.full((4,), 600.0, dtype=half), torch.tensor([6.0, 3.0, 2.0], dtype=half), VALUE,
         "mul overflows float16 (up to 6.55e+04): x reaches 600; div = x / sqrt makes 0 of that"),
        ("masked row", lambda x: masked(x, full)[1:].sum() + (masked(x, causal) ** 2).sum(), q,
         None, SLOPE, "a row of -inf only"),
        ("causal mask", lambda x: (masked(x, full if x.sum() > 50 else causal) ** 2).sum(), q + 99,
         q, VALUE, "a row of -inf only"),
        ("log next to 0", lambda x: x.log().sum(), [1e-39, 1.0], [1e-37, 1.0], SLOPE,
         "= 1 / x overflows float32: x goes down to 1e-39"),
        ("rsqrt next to 0", lambda x: x.rsqrt().sum(), [1e-30, 1.0], [1e-20, 1.0], SLOPE,
         "overflows float32: x goes down to 1e-30"),
        ("svd", lambda x: (torch.linalg.svd(x)[0] ** 3).sum(), torch.eye(2), apart,
         SLOPE, "equal singular values of x"),
        ("eigh", lambda x: (torch.linalg.eigh(x)[1] ** 3).sum(), torch.eye(2), apart,
         SLOPE, "equal eigenvalues of x"),
        ("one-hot", lambda x: attention(x, 1e4), q, q / 100, ZERO, "is one-hot, 0 or 1"),
        ("one key", attention, q[:1], q, ZERO, "a softmax over one entry"),
        ("one key, fused", fused, two[:1].repeat(1, 3), two.repeat(1, 3), ZERO,
         "softmax(matmul, dim=-1) is a softmax over one entry"),
        ("one key of PyTorch's, fused", lambda x: fused(x, F.scaled_dot_product_attention),
         two[:1].repeat(1, 3), two.repeat(1, 3), ZERO,
         "the gradient of q, k is exactly 0"),
        ("padding alone", lambda x: F.embedding(torch.tensor([1, 1]), x, padding_idx=1).sum(), two,
         None, ZERO, "reads row 1 alone, its padding_idx"),
        ("one class", lambda x: F.cross_entropy(x, torch.zeros(2).long()), two[:, :1], two, ZERO,
         "is over one class"),
        ("fitted", lambda x: F.mse_loss(x, torch.ones(2)), [1.0, 1.0], [1.0, 2.0], ZERO,
         "is exactly 0"),
        ("hardtanh", lambda x: F.hardtanh(x).sum(), [3.0, -3.0], [0.3, -3.0], ZERO,
         "at its limit in all 2 entries: -1 or 1"),
        ("hardsigmoid", lambda x: F.hardsigmoid(x).sum(), [9.0], [0.1], ZERO, "at its limit"),
        ("relu6", lambda x: F.relu6(x).sum(), [9.0], [3.0], ZERO, "at its limit: 6"),
        ("clamp", lambda x: x.clamp(-1, 1).sum(), [9.0], [0.5], ZERO, "at its limit: 1"),
        ("relu", lambda x: x.relu().sum(), [-1.0, -2.0], [-1.0, 2.0], ZERO, "is off in all 2"),
        ("round", lambda x: x.round().sum(), [1.2], None, ZERO, "is a step"),
        ("mask", lambda x: (x * (x > 0)).sum(), [-1.0], [1.0], ZERO, "which is all 0"),
        ("norm", lambda x: x.norm(), [0.0, 0.0], [0.0, 1.0], ZERO, "a vector of zeros"),
        ("hook", lambda x: hooked(x, bool(x[0] < 0)), [-1.0], [1.0], ZERO, "as a hook does"),
        ("half too small", lambda x: (x * 1e-4).sum() * 1e-4, torch.ones(2, dtype=half), None, ZERO,
         "a product is too small"),
    ]  # fmt: skip


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_reason_is_said_in_pytorch_where_it_is_true_and_only_there(capture):
    torch = pytest.importorskip("torch")
    for name, program, sick, healed, kind, words in in_torch():

        def health(argument, program=program):
            x = torch.as_tensor(argument).detach().clone().requires_grad_()
            return gv.trace(program, x, capture=capture).diagnose()

        found = health(sick)
        assert said(found, kind, words), f"{name}: {found}"
        assert not found, name
        if healed is not None:
            assert health(healed), f"{name}: {health(healed)}"
            assert words not in health(healed).text, name


def test_a_loss_scale_that_is_too_large_is_told_to_be_scaled_down():
    torch = pytest.importorskip("torch")
    x = torch.tensor([2.0, 1.0], dtype=torch.float16, requires_grad=True)
    for program in (lambda x: (x * x).sum() * 65504.0, lambda x: (x * 300.0).sum() * 300.0):
        finding = gv.trace(program, x).diagnose().findings[0]
        assert finding.severity == "error"
        assert "scale the loss down" in finding.advice
    (finding,) = gv.trace(lambda x: (x * 1e-4).sum() * 1e-4, x).diagnose().findings
    assert "scale the loss up" in finding.advice


def test_a_loss_that_a_softmax_or_a_normalisation_keeps_constant_is_not_healthy():
    torch = pytest.importorskip("torch")
    from torch import nn

    for last in (nn.Softmax(-1), nn.LayerNorm(8), nn.BatchNorm1d(8)):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 8), last)
        x, t = torch.randn(16, 8), torch.randn(16, 8)
        sick = gv.trace(net, x, loss=torch.sum).diagnose()
        assert not sick, last
        assert [f.kind for f in sick.findings if f.severity == "warning"] == ["vanishing gradient"]
        assert gv.trace(net, x, loss=lambda y, t=t: (y * t).sum()).diagnose(), last
        lean = gv.trace(net, x, loss=torch.sum, capture="lean").diagnose()
        assert [f.kind for f in lean.findings if f.severity == "warning"] == ["vanishing gradient"]


def test_advice_for_float16_is_in_numbers_that_float16_has():
    torch = pytest.importorskip("torch")
    x = torch.tensor([2.0, 2.0], requires_grad=True)
    for dtype, small in ((torch.float16, "1e-4"), (torch.float32, "1e-8")):
        health = gv.trace(lambda x: (x / (x - 2)).sum(), x.to(dtype)).diagnose()
        assert f"maximum(y, {small})" in health.findings[0].advice
        assert torch.tensor(float(small)).to(dtype)


# --- what is meant


def modules():
    """Models whose gradients are partly 0, and why that is no sickness."""
    import torch
    from torch import nn

    class Gated(nn.Module):
        def __init__(self, gate):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 1)
            self.gate = nn.Parameter(torch.zeros(1)) if gate != "norm" else nn.BatchNorm1d(4)
            if gate == "norm":
                nn.init.zeros_(self.gate.weight)
            self.how = gate

        def forward(self, x):
            h = self.first(x)
            if self.how == "norm":
                h = self.gate(h)
            elif self.how == "gate":
                h = h * self.gate
            elif self.how == "tanh":
                h = h * torch.tanh(self.gate)
            return self.last(x + h).square().mean()

    class Lora(nn.Module):
        def __init__(self, down):
            super().__init__()
            self.base = nn.Linear(4, 4).requires_grad_(False)
            self.a = nn.Parameter(torch.randn(4, 2) * down)
            self.b = nn.Parameter(torch.zeros(2, 4))

        def forward(self, x):
            return (self.base(x) + x @ self.a @ self.b).square().mean()

    class Path(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            kept = x.new_empty(len(x), 1).bernoulli_(0.0)
            return (self.last(x) + self.first(x) * kept).square().mean()

    class Expert(Path):
        def forward(self, x):
            chosen = torch.nonzero(x[:, 0] > 1e9).squeeze(1)
            y = self.last(x)
            return y.index_add(0, chosen, self.first(x[chosen])).square().mean()

    class Token(Path):
        def forward(self, x):
            both = torch.cat([self.first.weight, x])
            return self.last(both)[4:].square().mean() + self.first.bias.square().sum()

    return {
        "gate": (lambda: Gated("gate"), "multiplies by gate"),
        "tanh": (lambda: Gated("tanh"), "multiplies by tanh"),
        "norm": (lambda: Gated("norm"), "multiplies by gate.weight"),
        "lora": (lambda: Lora(1.0), "multiplies by b"),
        "stochastic depth": (Path, "which chance made all 0"),
        "expert without tokens": (Expert, "has no entries"),
        "token that is not pooled": (Token, "gets none"),
    }, (lambda: Lora(0.0))


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_zero_on_purpose_is_one_note_and_nothing_is_called_healthy(capture):
    torch = pytest.importorskip("torch")
    meant, stuck = modules()
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    for name, (make, words) in meant.items():
        torch.manual_seed(0)
        health = gv.trace(make(), x, capture=capture).diagnose()
        found = [f for f in health.findings if f.kind == ZERO]
        assert health, f"{name}: {health}"
        assert len(found) == 1, f"{name}: {health}"
        assert words in found[0].message, f"{name}: {health}"
        assert not health.text.startswith("✓ healthy")
    health = gv.trace(stuck(), x, capture=capture).diagnose()  # both factors are 0: it never moves
    assert not health
    assert "gets no gradient either" in health.text


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_gains_of_many_blocks_that_start_at_0_are_told_once(capture):
    torch = pytest.importorskip("torch")
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
            self.gains = nn.ParameterList(nn.Parameter(torch.zeros(4)) for _ in range(6))

        def forward(self, x):
            for block, gain in zip(self.blocks, self.gains, strict=True):
                x = x + gain * torch.tanh(block(x))
            return x.square().mean()

    health = gv.trace(Net(), torch.randn(8, 4), capture=capture).diagnose()
    (finding,) = health.findings
    assert (finding.kind, finding.severity, finding.numbers["parameters"]) == (ZERO, "note", 12)


def test_a_layer_scale_that_starts_next_to_0_is_no_alarm():
    torch = pytest.importorskip("torch")
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 16) * 1e-6)
            self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 1)
            self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(8))
            scales = (nn.Parameter(torch.full((1, 16), 1e-6)) for _ in self.blocks)
            self.scales = nn.ParameterList(scales)

        def forward(self, x):
            h = self.first(x) + self.token
            for block, scale in zip(self.blocks, self.scales, strict=True):
                h = h + scale * torch.tanh(block(h))
            return self.last(h).square().mean()

    torch.manual_seed(0)
    health = gv.trace(Net(), torch.randn(16, 8)).diagnose()
    assert not health.findings, health.text


@pytest.mark.parametrize("gain", [5e-4, 3e-3])
def test_a_branch_that_says_little_is_no_alarm_but_within_it_nothing_may_vanish(gain):
    rng = np.random.default_rng(0)
    x, p, a, w = (rng.normal(size=(8, n)) for n in (8, 8, 8, 1))
    layers = [rng.normal(size=(8, 8)) / 8**0.5 for _ in range(10)]

    def loss(a, w, learned):
        t = p
        for u in learned:
            t = 1 / (1 + np.exp(-(t @ u)))
        return np.mean((np.tanh(x @ a / 8 + t * gain) @ w - 1) ** 2)

    shallow, deep = (gv.trace(loss, a, w, layers[:depth]).diagnose() for depth in (2, 10))
    assert not shallow.findings, shallow
    (finding,) = deep.findings
    assert finding.kind == "vanishing gradient"
    assert "most by sigmoid" in finding.message


def test_a_parameter_that_j_does_not_depend_on_is_a_note_and_one_cut_off_is_a_warning():
    torch = pytest.importorskip("torch")
    from torch import nn

    class Net(nn.Module):
        def __init__(self, cut):
            super().__init__()
            self.used, self.other, self.cut = nn.Linear(4, 4), nn.Linear(4, 4), cut

        def forward(self, x):
            h = self.used(x)
            return ((h + self.other(x).detach()) if self.cut else h).square().mean()

    unused, cut = (gv.trace(Net(cut), torch.randn(8, 4)).diagnose() for cut in (False, True))
    assert unused
    assert "nothing reads other.weight, other.bias" in unused.text
    assert not unused.text.startswith("✓ healthy")
    assert not cut
    assert "its history ends there" in cut.text


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize(("factor", "kind"), [(1e6, "exploding"), (1e-9, "vanishing")])
def test_a_hook_that_makes_a_gradient_large_or_small_is_named_for_it(capture, factor, kind):
    torch = pytest.importorskip("torch", reason="it is an optional dependency")
    torch.manual_seed(0)
    layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(3))

    def program(x):
        h = layers[0](x).tanh()
        h.register_hook(lambda g: g * factor)
        return layers[2](layers[1](h).tanh()).square().sum()

    health = gv.trace(program, torch.randn(5, 4), capture=capture).diagnose()
    found = next(f for f in health.findings if f.kind == f"{kind} gradient")
    assert "h.register_hook(lambda g: g * factor)" in found.message
    assert "register_hook" in found.advice


def test_a_gradient_that_a_hook_changes_is_shown():
    torch = pytest.importorskip("torch")

    def program(x, hook):
        y = x * 2
        if hook is not None:
            y.register_hook(hook)
        return (y * y).sum()

    x = torch.ones(3, requires_grad=True)
    changes = {
        "changed gradient": (lambda g: 3 * g, True),
        SLOPE: (lambda g: g * math.nan, False),
        ZERO: (torch.zeros_like, False),
    }
    for capture in ("whole", "lean"):
        for kind, (hook, ok) in changes.items():
            health = gv.trace(lambda x, hook=hook: program(x, hook), x, capture=capture).diagnose()
            assert bool(health) is ok
            assert health.findings[0].kind == kind
            assert "hook" in health.findings[0].message
        assert not gv.trace(lambda x: program(x, None), x, capture=capture).diagnose().findings


def test_of_a_sum_of_two_that_are_0_neither_is_blamed_alone():
    def program(w, u):
        y = np.maximum(w, 0.0) + (u - 1.0)  # off, and at the minimum
        return y * y

    found = gv.trace(program, -1.0, 1.0).diagnose()
    assert "multiplies by y, which is all 0" in found.text
    assert "is off" not in found.text
    alone = gv.trace(lambda w, u: np.maximum(w, 0.0) * u, -1.0, 1.0).diagnose()
    assert "is off" in alone.text


def test_all_gradients_of_0_are_never_well():
    # That they cancel may be meant of one bias; of all there is that is no model.
    health = gv.trace(lambda w: np.sum(w - w) + 1.0, np.ones(3)).diagnose()
    assert not health
    assert health.findings[0].severity == "warning"


def test_a_quotient_that_is_1_is_no_softmax():
    # The one entry of a vector of length 1 has no slope either.
    health = gv.trace(lambda x: np.sum(x / np.sqrt(np.sum(x * x))), np.array([2.0])).diagnose()
    assert health.findings[0].kind == ZERO
    assert "cancel" in health.text
    assert "softmax" not in health.text


def test_what_no_reason_was_found_for_is_told_without_one():
    torch = pytest.importorskip("torch")
    x = torch.full((3,), -500.0, requires_grad=True)
    whole, lean = (
        gv.trace(lambda x: torch.nn.functional.elu(x).sum(), x, capture=capture).diagnose()
        for capture in ("whole", "lean")
    )
    assert "the slope of elu = elu(x) by x is 0 in all 3 entries" in whole.text
    assert "what elu = elu(x) sends back is 0" in lean.text
    corr = gv.trace(torch.corrcoef, torch.ones(2, 3, requires_grad=True), loss=torch.sum).diagnose()
    assert "corrcoef makes a NaN of finite numbers" in corr.text


def test_results_of_a_call_that_are_not_used_are_no_hindrance():
    torch = pytest.importorskip("torch")
    x = torch.diag(torch.tensor([2.0, 1.0, 0.0])).requires_grad_()
    for call in (torch.linalg.svd, torch.linalg.qr, torch.unbind):
        for capture in ("whole", "lean"):
            health = gv.trace(lambda x, call=call: call(x)[0].sum(), x, capture=capture).diagnose()
            assert health.table


# --- generated programs


def top(value):
    return value.top if isinstance(value, Statistics) else float(np.max(np.abs(value), initial=0))


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_a_zero_and_a_nan_are_told_in_generated_programs(start):
    pytest.importorskip("torch")
    traced = 0
    for seed in range(start, start + 50):
        for capture in ("whole", "lean") if health_programs.generate(seed)[3] else ("whole",):
            try:
                graph = health_programs.trace(seed, capture)
                gradients = [graph.adjoint(i) for i in graph.wrt]
            except (TraceError, RuntimeError, ValueError, IndexError, np.linalg.LinAlgError):
                continue
            traced += 1
            health = graph.diagnose()
            sizes = [top(gradient) for gradient in gradients if np.size(gradient)]
            if not all(0 < size < math.inf for size in sizes):
                assert not health.text.startswith("✓ healthy"), (seed, capture)
            if not all(map(math.isfinite, sizes)) or not any(sizes):
                assert not health, (seed, capture)
            for finding in health.findings:
                assert finding.node in finding.path
                for u, v in zip(finding.path, finding.path[1:], strict=False):
                    assert u in graph.operands[v], (seed, capture)
    assert traced > 30


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # PyTorch's own
@pytest.mark.parametrize("how", ["penalty", "autograd.functional", "func", "cut"])
def test_what_a_derivative_does_not_depend_on_is_a_note_that_says_so(how):
    torch = pytest.importorskip("torch", reason="PyTorch programs")
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x = torch.randn(5, 3)

    def program(x):
        if how == "autograd.functional":
            hessian = torch.autograd.functional.hessian(lambda z: net(z).sum(), x, True)
            return hessian.square().sum()
        if how == "func":
            value = lambda z: net(z).squeeze()
            return torch.func.vmap(torch.func.hessian(value))(x).square().sum()
        x = x.detach().requires_grad_()
        y = net(x)
        (slope,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean() + (y.detach().mean() if how == "cut" else 0)

    # The last bias is added, and has no part in a slope: by PyTorch, too.
    weights = dict(net.named_parameters())
    found = torch.autograd.grad(program(x), [*weights.values()], allow_unused=True)
    assert [n for n, g in zip(weights, found, strict=True) if g is None] == ["2.bias"]
    for capture in ("whole", "lean"):
        health = gv.trace(program, x, capture=capture).diagnose()
        (finding,) = [f for f in health.findings if f.kind == "no gradient"]
        assert "2.bias" in finding.message
        if how == "cut":
            assert finding.severity == "warning"
            assert "detach" in finding.message
        else:
            assert finding.severity == "note"
            assert health
            assert "does not depend on" in finding.message


@pytest.mark.parametrize("look", [
    lambda x: int(x[0]), lambda x: np.trunc(x[0]) if x[0] > 0 else 1.0, lambda x: np.argmax(x),
    lambda x: math.trunc(x[1]), lambda x: np.searchsorted([0.0, 1.0], x[1]),
])  # fmt: skip
def test_of_what_a_program_only_looks_at_it_is_not_said_that_nothing_reads_it(look):
    def program(x, w):
        return w * float(bool(look(x)))

    finding, *_ = gv.trace(program, np.array([1.5, 0.5]), 2.0).diagnose().findings
    assert finding.kind == "no gradient"
    assert "nothing reads" not in finding.message


@pytest.mark.parametrize(
    "how",
    ["zeros_like", "randn_like", "new_ones", "new_full", "empty_like", "expand_as", "view_as"],
)
def test_what_takes_the_shape_alone_is_not_blamed_for_a_missing_gradient(how):
    torch = pytest.importorskip("torch", reason="PyTorch programs")
    read = {
        "new_ones": lambda h: h.new_ones(3),
        "new_full": lambda h: h.new_full((3,), 2.0),
        "empty_like": lambda h: torch.empty_like(h).fill_(1.0),
        "expand_as": lambda h: torch.ones(3).expand_as(h),
        "view_as": lambda h: torch.ones(4, 3).view_as(h),
    }.get(how) or getattr(torch, how)

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.seen, self.used = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)

        def forward(self, x):
            h = self.seen(x)
            return (read(h) + self.used(x)).sum()

    (finding,) = gv.trace(Two(), torch.randn(4, 3)).diagnose().findings
    assert (finding.kind, finding.severity) == ("no gradient", "note")
    assert "takes the shape of h alone, not its numbers" in finding.message
    assert "seen.weight, seen.bias" in finding.message


def test_two_masks_of_the_lowest_number_that_meet_are_no_overflow():
    torch = pytest.importorskip("torch", reason="PyTorch programs")
    lowest = torch.finfo(torch.float32).min
    causal = torch.ones(3, 3).tril().bool()

    def attended(scores, mask):  # as GPT-Neo masks what its caller masks again
        return ((torch.where(causal, scores, mask) + ~causal * lowest).softmax(-1)[:, 0]).sum()

    scores = torch.randn(3, 3, requires_grad=True)
    assert not gv.trace(attended, scores, torch.tensor(lowest)).diagnose().findings
    low = (torch.zeros(3, 3) - 3e38).requires_grad_()
    (finding, *_) = gv.trace(lambda x: (x + lowest).exp().sum(), low).diagnose().findings
    assert "add overflows float32" in finding.message


def a_teacher(torch, x, online, other):
    with torch.no_grad():
        aim = other(x + 0.1)
    return torch.nn.functional.mse_loss(online(x), aim)


def a_target_of_returns(torch, x, online, other):
    with torch.no_grad():
        aim = 1.0 + 0.9 * other(x).max(1).values
    return torch.nn.functional.smooth_l1_loss(online(x)[:, 0], aim)


def a_soft_label(torch, x, online, other):
    with torch.no_grad():
        label = other(x).softmax(-1)
    return -(label * online(x).log_softmax(-1)).sum(-1).mean()


def an_encoder(torch, x, online, other):
    with torch.no_grad():
        hidden = other(x)
    return online(hidden).square().mean()


def a_term_of_the_loss(torch, x, online, other):
    with torch.no_grad():
        regular = other(x).square().mean()
    return online(x).square().mean() + regular


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize(
    ("program", "severity"),
    [
        (a_teacher, "note"), (a_target_of_returns, "note"), (a_soft_label, "note"),
        (an_encoder, "warning"), (a_term_of_the_loss, "warning"),
    ],
)  # fmt: skip
def test_a_network_without_gradients_is_no_fault_where_its_result_is_a_target(
    program, severity, capture
):
    torch = pytest.importorskip("torch", reason="PyTorch programs")
    torch.manual_seed(0)
    online, other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    x = torch.randn(8, 4)
    graph = gv.trace(lambda x: program(torch, x, online, other), x, capture=capture)
    (finding,) = [f for f in graph.diagnose().findings if f.kind == "no gradient"]
    assert finding.severity == severity
    assert ("target network" in finding.advice) == (severity == "note")
    assert "other.weight, other.bias" in finding.message


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "RNNCell", "LSTM", "GRU", "RNN"])
def test_a_first_step_of_a_recurrent_cell_is_no_fault(cell, capture):
    torch = pytest.importorskip("torch", reason="PyTorch programs")
    torch.manual_seed(0)
    model = getattr(torch.nn, cell)(3, 4)

    def program(x):
        state = model(x)
        while isinstance(state, tuple):
            state = state[0]
        return state.square().mean()

    x = torch.randn(2, 3) if cell.endswith("Cell") else torch.randn(1, 2, 3)
    (finding,) = gv.trace(program, x, capture=capture).diagnose().findings
    assert (finding.kind, finding.severity) == ("zero gradient", "note")
    assert "begins with the state" in finding.message
    assert "weight_hh" in finding.message
