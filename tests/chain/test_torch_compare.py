"""Traces of PyTorch programs compared: with each other, and with their NumPy twins."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import torch.nn.functional as F
import torch_programs
from torch import nn

import gradviz as gv


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, width=16, p=0.0, half=None):
        super().__init__()
        self.first = nn.Linear(8, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, 3)
        self.drop = nn.Dropout(p)
        self.half = half

    def forward(self, x):
        z1 = self.first(x)
        a1 = self.drop(torch.tanh(z1))
        if self.half:
            a1 = a1.to(self.half).float()
        z2 = self.second(a1)
        a2 = torch.sigmoid(z2)
        return self.last(a2)


def traced(model, x, t=None, seed=0, **options):
    t = torch.arange(len(x)) % 3 if t is None else t
    torch.manual_seed(seed)
    return gv.trace(model, x, loss=lambda y: F.cross_entropy(y, t), **options)


def row(comparison, name):
    return next(r for r in comparison.rows if r.name == name)


CAPTURES = pytest.mark.parametrize("capture", ["whole", "lean"])


@CAPTURES
def test_a_model_is_the_same_as_itself(capture):
    model, x = Net(p=0.5), torch.randn(7, 8)
    a, b = (traced(model, x, capture=capture) for _ in range(2))
    comparison = gv.compare(a, b, tolerance=0)
    assert comparison
    assert comparison.only == ((), ())


def test_whole_and_lean_agree():
    model, x = Net(width=300), torch.randn(7, 8)
    comparison = gv.compare(traced(model, x, capture="whole"), traced(model, x, capture="lean"))
    assert comparison, comparison.text
    model, arguments, _ = torch_programs.gpt(vocabulary=9, width=8, heads=2, layers=2, tokens=5)
    a, b = (gv.trace(model, *arguments, capture=capture) for capture in ("whole", "lean"))
    comparison = gv.compare(a, b)
    assert comparison, comparison.text
    assert comparison.only == ((), ())


@CAPTURES
def test_one_changed_weight_is_the_only_cause(capture):
    model, x = Net(), torch.randn(7, 8)
    a = traced(model, x, capture=capture)
    with torch.no_grad():
        model.second.weight[3, 5] += 0.01
    comparison = gv.compare(a, traced(model, x, capture=capture))
    assert [r.name for r in comparison.causes] == ["second.weight"]
    assert row(comparison, "first.weight").value.ok
    assert not row(comparison, "J").ok


@CAPTURES
def test_another_seed_parts_at_the_dropout(capture):
    model, x = Net(p=0.5), torch.randn(7, 8)
    a, b = (traced(model, x, seed=seed, capture=capture) for seed in (0, 1))
    comparison = gv.compare(a, b)
    first = comparison.first
    assert a.values[first.node].operation.name == "dropout"
    assert a.source(first.node)[2] == "a1 = self.drop(torch.tanh(z1))"
    assert "in drop at test_torch_compare.py" in comparison.text
    assert len(comparison.causes) == 1


def test_a_step_in_bfloat16_is_found_and_its_roundings_are_known():
    torch.manual_seed(0)
    model, x = Net(), torch.randn(7, 8)
    a = traced(model, x, capture="lean")
    model.half = torch.bfloat16
    b = traced(model, x, capture="lean")
    comparison = gv.compare(a, b, tolerance=1e-5)
    assert comparison.first.name == "z2"  # the first that both have after the casts
    assert comparison.only[0] == ()
    assert len(comparison.only[1]) == 2


@CAPTURES
def test_a_model_in_bfloat16_agrees_within_its_roundings(capture):
    model, x = Net(), torch.randn(7, 8)
    a = traced(model, x, capture=capture)
    b = traced(model.bfloat16(), x.bfloat16(), capture=capture)
    comparison = gv.compare(a, b, tolerance=None if capture == "lean" else 0.05)
    assert comparison, comparison.text
    assert row(comparison, "z1").value.relative > 1e-4
    # A real difference is no rounding.
    with torch.no_grad():
        model.second.weight *= -1
    b = traced(model, x.bfloat16(), capture=capture)
    comparison = gv.compare(a, b, tolerance=None if capture == "lean" else 0.05)
    assert comparison.first.name == "second.weight"


def test_a_hook_that_changes_a_gradient_is_found():
    model, x = Net(), torch.randn(7, 8)
    a = traced(model, x)

    class Hooked(Net):
        def forward(self, x):
            a1 = torch.tanh(self.first(x))
            a1.register_hook(lambda g: g * 2)
            return self.last(torch.sigmoid(self.second(a1)))

    other = Hooked()
    other.load_state_dict(model.state_dict())
    comparison = gv.compare(a, traced(other, x))
    assert comparison.first is None
    found = comparison.first_gradient
    assert a.values[found.node].operation.name == "tanh"
    assert "the derivatives themselves differ" in comparison.text
    assert found.gradient.relative == pytest.approx(0.5)
    assert row(comparison, "second.weight").gradient.ok
    assert not row(comparison, "first.weight").gradient.ok


def numpy_twin(w1, b1, w2, b2, x, t):
    z1 = x @ w1 + b1
    a1 = 1 / (1 + np.exp(-z1))
    y = a1 @ w2 + b2
    return np.mean((y - t) ** 2)


def torch_twin(w1, b1, w2, b2, x, t):
    z1 = torch.addmm(b1, x, w1)
    a1 = torch.sigmoid(z1)
    y = a1 @ w2 + b2
    return F.mse_loss(y, t)


@CAPTURES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_numpy_twin_agrees_within_its_roundings(capture, dtype):
    rng = np.random.default_rng(3)
    shapes = [(30, 40), (40,), (40, 2), (2,), (50, 30), (50, 2)]
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    tensors = [torch.tensor(a, requires_grad=n < 4) for n, a in enumerate(arrays)]
    g = gv.trace(numpy_twin, *arrays, wrt=("w1", "b1", "w2", "b2"))
    comparison = gv.compare(g, gv.trace(torch_twin, *tensors, capture=capture))
    assert comparison, comparison.text
    names = {r.name: r.other_name for r in comparison.rows if r.name in g.names}
    assert {n: n for n in ("w1", "b1", "w2", "b2", "x", "t", "z1", "a1", "y", "J")}.items() <= (
        names.items()
    )
    assert {r.name for r in comparison.rows if r.gradient} >= {"w1", "b1", "w2", "b2", "z1", "a1"}
    with torch.no_grad():
        tensors[2][0, 0] += 0.1
    comparison = gv.compare(g, gv.trace(torch_twin, *tensors, capture=capture))
    assert comparison.first.name == "w2"


def test_a_module_is_compared_with_numpy_by_the_names_that_are_given():
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = nn.Linear(4, 5), nn.Linear(5, 1)

        def forward(self, x):
            z = self.hidden(x)
            a = torch.tanh(z)
            return self.out(a)

    def twin(p, x):
        z = x @ p["w1"].T + p["b1"]
        a = np.tanh(z)
        return np.mean(a @ p["w2"].T + p["b2"])

    model, x = Module(), torch.randn(6, 4)
    names = {"p.w1": "hidden.weight", "p.b1": "hidden.bias", "p.w2": "out.weight",
             "p.b2": "out.bias"}  # fmt: skip
    parameters = {
        name[2:]: model.get_parameter(called).detach().numpy() for name, called in names.items()
    }
    g = gv.trace(twin, parameters, x.numpy(), wrt="p")
    comparison = gv.compare(g, gv.trace(model, x, loss=torch.mean), names=names)
    assert comparison, comparison.text
    assert {r.name for r in comparison.rows} >= {*names, "x", "z", "a", "J"}


def test_steps_of_a_gpt_are_compared_and_drawn_folded():
    model, arguments, _ = torch_programs.gpt(vocabulary=30, width=16, heads=2, layers=4, tokens=8)
    a = gv.trace(model, *arguments, capture="lean")
    with torch.no_grad():
        model.get_parameter("blocks.2.attn.qkv.weight")[0, 0] += 0.5
    comparison = gv.compare(a, gv.trace(model, *arguments, capture="lean"))
    assert [r.name for r in comparison.causes] == ["blocks.2.attn.qkv.weight"]
    assert row(comparison, "blocks.1.attn.qkv.linear").value.ok
    assert "<svg" in comparison.draw().svg


def test_a_trace_that_broke_is_compared_up_to_there():
    def f(w, broken):
        h = w * 2
        s = torch.sin(h)
        return (s @ torch.ones(5 if broken else 3)).sum()

    w = torch.randn(4, 3, requires_grad=True)
    whole = gv.trace(f, w, False)
    with pytest.warns(UserWarning, match="raised RuntimeError"):
        broken = gv.trace(f, w, True)
    comparison = gv.compare(whole, broken)
    assert row(comparison, "s").value.ok
    assert comparison.first.other_name == "error"
