"""Whatever a PyTorch program writes to while it is traced, it is as it was afterwards."""

import copy
import dataclasses
import functools
import random
import types
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import torch.nn.functional as F
from torch import nn

import gradviz as gv


def bits(tensor):
    """What a tensor is, to the bit: also where it lies, and how often it was written to."""
    storage = tensor.untyped_storage()
    grad = tensor.grad if tensor.is_leaf else None
    return (
        id(tensor), storage.data_ptr(), bytes(storage), tensor.shape, tensor.stride(),
        tensor._version, tensor.requires_grad, tensor.is_leaf,
        None if grad is None else (id(grad), bytes(grad.untyped_storage())),
    )  # fmt: skip


def states():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002


def everything(model):
    """What a module is: tensors, attributes, and that of the modules in it."""
    found = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            held = value.items() if isinstance(value, dict) else [("", value)]
            for key, part in held:
                place = path, name, key
                found[place] = bits(part) if isinstance(part, torch.Tensor) else part
                if isinstance(part, np.ndarray):
                    found[place] = part.tobytes()
                if name == "kept":
                    found[place] = [(k, bits(v)) for k, v in value.items()]
                if isinstance(part, (list, set)):
                    found[(*place, "items")] = list(map(id, part))
    return found


class Writes(nn.Module):
    """A model that runs `write(self, x)` in its forward pass."""

    def __init__(self, write):
        super().__init__()
        self.lin, self.bn, self.drop = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.3)
        self.e = nn.Embedding(5, 3, max_norm=0.5)
        self.teacher = nn.Linear(3, 3).requires_grad_(False)
        self.register_buffer("code", torch.tensor([[-0.0, float("nan"), 1.0]]))
        self.register_buffer("none", None)
        self.state, self.count, self.cache = torch.zeros(3), 0, []
        self.kept, self.numbers = {"a": torch.ones(2)}, np.zeros(2)
        self.write = write

    def forward(self, x):
        self.write(self, x)
        h = self.bn(self.drop(self.lin(x)))
        return (h + self.teacher(x) + self.e(torch.tensor([1, 2])).sum()).square().sum()


def ema(m, x):
    with torch.no_grad():
        for a, b in zip(m.teacher.parameters(), m.lin.parameters(), strict=True):
            a.lerp_(b, 0.1)


def clamped(m, x):
    with torch.no_grad():
        m.lin.weight.clamp_(-0.1, 0.1)


def by_data(m, x):
    m.lin.weight.data.mul_(0.5)
    m.lin.bias.data = torch.zeros(3)


def by_view(m, x):
    with torch.no_grad():
        m.lin.weight[0] = 1.0
        m.lin.weight.view(-1)[4:].add_(1)


def by_numpy(m, x):
    m.lin.weight.detach().numpy()[:] = 0.25


def by_out(m, x):
    torch.mul(m.code, 2, out=m.code)
    F.normalize(x.detach().mean(0, keepdim=True), out=m.code)


def by_foreach(m, x):
    with torch.no_grad():
        torch._foreach_mul_([*m.lin.parameters()], 0.9)


def reassigned(m, x):
    m.state = m.state + x.detach().mean(0)
    m.count += 1
    m.cache.append(x)
    m.kept["b"] = m.kept.pop("a")
    m.numbers[0] += 1
    m.none = torch.ones(2)


def in_place(m, x):
    m.state.add_(x.detach().mean(0))
    m.kept["a"].zero_()


def flipped(m, x):
    m.eval()
    m.teacher.requires_grad_(True)
    m.lin.bias.requires_grad = False


def grads(m, x):
    m.lin.weight.grad = torch.ones(3, 3)
    m.lin.bias.grad.mul_(2)
    m.zero_grad(set_to_none=False)


def registered(m, x):
    m.register_buffer("more", torch.ones(1))
    m.add_module("extra", nn.Linear(1, 1))
    m.lin.register_forward_hook(lambda *_: None)
    m.lin.weight.register_hook(lambda g: g * 0)


def reshaped(m, x):
    m.state.set_(torch.ones(5))
    m.code.t_()


WRITES = [
    ema, clamped, by_data, by_view, by_numpy, by_out, by_foreach, reassigned, in_place, flipped,
    grads, registered, reshaped,
]  # fmt: skip


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize("write", WRITES, ids=lambda w: w.__name__)
def test_what_forward_writes_is_undone(write, capture):
    torch.manual_seed(0)
    model, x = Writes(write), torch.randn(4, 3)
    twin = copy.deepcopy(model)
    for p in (*model.lin.parameters(), *twin.lin.parameters()):
        p.grad = torch.full_like(p, 0.5)
    before, drawn = everything(model), states()
    graph = gv.trace(model, x, capture=capture)
    assert everything(model) == before
    assert states() == drawn
    if capture == "whole":
        assert float(graph.update().value("J")) == float(graph.value("J"))
        graph.check(entries=3)
        graph.step(0.1)
        assert everything(model) == before
        assert states() == drawn
    hooks = [len(p._backward_hooks or ()) for p in model.parameters()]
    assert not any(hooks)
    # What is told is that of the run without us.
    loss = twin(x)
    value = graph.values[graph.output].value
    value = value.mean if capture == "lean" else value
    assert float(value) == pytest.approx(loss.item(), rel=1e-6)
    loss.backward()


@pytest.mark.parametrize("write", [clamped, by_data, by_view, by_numpy, by_foreach])
def test_a_parameter_is_shown_as_it_was_when_it_was_read(write):
    torch.manual_seed(0)
    model, x = Writes(write).eval(), torch.randn(4, 3)
    twin = copy.deepcopy(model)
    graph = gv.trace(model, x)
    gradient = torch.autograd.grad(twin(x), twin.lin.weight)[0]
    np.testing.assert_array_equal(graph.value("lin.weight"), twin.lin.weight.detach().numpy())
    np.testing.assert_array_equal(graph.grad("lin.weight"), gradient.numpy())


def test_an_error_half_way_undoes_too():
    def fails(m, x):
        reassigned(m, x)
        clamped(m, x)
        raise ValueError("too bad")

    model = Writes(fails)
    before = everything(model)
    with pytest.warns(UserWarning, match="too bad"):
        gv.trace(model, torch.randn(4, 3))
    assert everything(model) == before


NORMED = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, momentum=None))


def helper(x):
    return NORMED(x)


class Shared:
    net = NORMED

    def run(self, x):
        return self.net(x).square().sum()


def wrapped(function):
    @functools.wraps(function)
    def inner(x):
        return function(x)

    return inner


PLACES = {
    "a helper": lambda x: helper(x).square().sum(),
    "a class": Shared().run,
    "a dict of lists": (lambda zoo: lambda x: zoo["a"][0](x).square().sum())({"a": [NORMED]}),
    "an object in an object": (lambda o: lambda x: o.inner.net(x).square().sum())(
        SimpleNamespace(inner=SimpleNamespace(net=NORMED))
    ),
    "a partial": functools.partial(lambda net, x: net(x).square().sum(), NORMED),
    "a default": lambda x, net=NORMED: net(x).square().sum(),
    "a decorator": wrapped(lambda x: helper(x).square().sum()),
    "a module's list": type(
        "M", (nn.Module,), {"forward": lambda s, x: s.l[0](x).square().sum()}
    )(),
}
PLACES["a module's list"].l = [NORMED]


@pytest.mark.parametrize("function", PLACES.values(), ids=PLACES)
def test_running_statistics_are_kept_wherever_the_model_is(function):
    before = everything(NORMED)
    graph = gv.trace(function, torch.randn(4, 3))
    graph.update()
    assert everything(NORMED) == before
    assert sum(name.endswith("0.weight") for name in graph.gradients()) == 1


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_what_is_frozen_for_a_part_of_the_loss_is_one_leaf(capture):
    torch.manual_seed(0)
    maker, judge = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    z, x = torch.randn(5, 2), torch.randn(5, 3)

    def adversarial(z, x):
        judge.requires_grad_(False)
        fooled = F.softplus(-judge(maker(z))).mean()
        judge.requires_grad_(True)
        seen = F.softplus(-judge(x)).mean() + F.softplus(judge(maker(z).detach())).mean()
        return fooled + seen

    g = gv.trace(adversarial, z, x, capture=capture)
    theirs = [*maker.named_parameters("maker"), *judge.named_parameters("judge")]
    expected = torch.autograd.grad(adversarial(z, x), [p for _, p in theirs])
    assert len([i for i in range(len(g)) if g.kind(i) == "parameter"]) == len(theirs)
    for (name, _), gradient in zip(theirs, expected, strict=True):
        found = g.grad(name)
        size = found.norm if capture == "lean" else np.linalg.norm(found)
        assert size == pytest.approx(float(gradient.norm()), rel=1e-5)
    assert g.update().names == g.names


def test_a_hidden_state_begins_anew_in_every_run():
    cell, state = nn.RNNCell(3, 3), {"h": torch.zeros(1, 3)}
    hidden = torch.zeros(1, 3)

    def f(x):
        nonlocal hidden
        state["h"] = cell(x, state["h"])
        hidden = hidden + state["h"]
        return hidden.sum()

    graph = gv.trace(f, torch.randn(1, 3))
    assert not state["h"].any()
    assert not hidden.any()
    assert graph.update().value("J") == graph.value("J")
    assert graph.check()


def test_a_list_that_the_program_fills_for_its_caller_is_left_filled():
    seen, w = [], torch.ones(2, requires_grad=True)
    gv.trace(lambda w: (seen.append(1), w.sum())[1], w)
    assert seen == [1]


def test_a_graph_that_the_user_holds_can_still_be_differentiated():
    model, x = Writes(clamped), torch.randn(4, 3)
    loss = nn.Sequential(model.lin, nn.Tanh(), model.teacher)(x).sum()
    gv.trace(model, x).step(0.1)
    loss.backward()


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_memory_of_parameters_can_still_be_resized(capture):
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    gv.trace(net, torch.randn(4, 3), loss=torch.sum, capture=capture)
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data.untyped_storage().resize_(0)


def test_recorded_training_leaves_memory_that_can_be_resized(tmp_path):
    net = nn.Linear(3, 3)
    recorder = gv.record_training(net, tmp_path / "run.gvt")
    with recorder.step():
        net(torch.randn(4, 3)).sum().backward()
    for p in net.parameters():
        p.data.untyped_storage().resize_(0)


def test_random_numbers_are_those_of_the_trace():
    own, numbers = torch.Generator().manual_seed(1), np.random.default_rng(2)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1)).double()

    def f(x):
        noise = torch.rand(4, generator=own, dtype=torch.float64) + numbers.normal()
        return (net(x + noise) * random.random() * np.random.rand()).square().sum()  # noqa: NPY002

    graph = gv.trace(f, torch.randn(3, 4).double())
    for draw in (lambda: torch.rand(1), lambda: torch.rand(1, generator=own), numbers.normal):
        draw()
    before = states(), own.get_state().tolist(), numbers.bit_generator.state
    assert graph.update().value("J") == graph.value("J")
    assert graph.step(0.0).update().value("J") == graph.value("J")
    assert graph.check(entries=5)
    assert (states(), own.get_state().tolist(), numbers.bit_generator.state) == before


def test_random_numbers_of_a_numpy_program_are_those_of_the_trace():
    own = np.random.default_rng(2)

    def f(w):
        return np.sum(w * own.normal()) * np.random.rand() + w[0] * random.random()  # noqa: NPY002

    graph = gv.trace(f, np.ones(3))
    own.normal()
    assert graph.update().value("J") == graph.value("J")
    assert graph.check()


def test_a_program_that_cannot_be_repeated_is_not_called_wrong():
    w, calls = torch.ones(3).double().requires_grad_(), [0]

    def f(w):
        calls[0] += 1
        return (w * calls[0]).sum()

    report = gv.trace(f, w).check()
    assert "✗" not in report.text
    assert "the program computes another J each time" in report.text
    assert not any(row.how == "differences" for row in report.rows)


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        return -g


MEANT = {
    "embedding leaves row 0 out": lambda w: F.embedding(torch.tensor([0, 2]), w, padding_idx=0),
    "embedding divides its gradient": lambda w: F.embedding(
        torch.tensor([2, 2]), w, scale_grad_by_freq=True
    ),
    "Reversed has a derivative rule of its own": lambda w: Reversed.apply(w.sin()),
    "detach ended the history": lambda w: w + (w.round() - w * 2).detach(),
}


@pytest.mark.parametrize("words", MEANT)
def test_check_names_what_has_another_gradient_on_purpose(words):
    w = torch.randn(4, 3).double().requires_grad_()
    report = gv.trace(lambda w: (MEANT[words](w) + 1).square().sum(), w).check()
    assert not report
    assert words in report.text


def test_nothing_is_said_of_the_version_of_an_unchanged_model():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gv.trace(nn.Linear(3, 1), torch.randn(2, 3), loss=torch.sum)


def test_a_model_in_a_class_made_at_run_time_is_found_and_left_as_it_was():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm, self.calls = nn.Linear(3, 3), nn.BatchNorm1d(3), 0

        def forward(self, x):
            self.calls += 1
            return self.norm(self.linear(x))

    for kind in (
        dataclasses.make_dataclass("Parts", ["model"]),
        types.new_class("Parts", (), {}, lambda space: space.update(model=None)),
        type("Parts", (), {}),
    ):
        held = kind.__new__(kind)
        held.model = model = Counting()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        g = gv.trace(lambda x, held=held: held.model(x).square().sum(), torch.randn(4, 3))
        assert model.calls == 0
        assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
        assert "held.model.linear.weight" in g.gradients()


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("function", [torch.batch_norm, F.batch_norm, F.instance_norm])
def test_the_running_numbers_of_a_normalization_are_as_before_however_they_are_given(
    function, by_name
):
    x, weight, bias = torch.randn(4, 3, 5), torch.rand(3, requires_grad=True), torch.rand(3)
    held = SimpleNamespace(mean=torch.zeros(3), deviation=torch.ones(3))

    def loss(x):
        running = held.mean, held.deviation
        if function is torch.batch_norm:
            return function(x, weight, bias, *running, True, 0.1, 1e-5, False).sin().sum()
        if by_name:
            names = dict(zip(("running_mean", "running_var"), running, strict=True))
            names |= {"training": True} if function is F.batch_norm else {}
            return function(x, **names, weight=weight, bias=bias).sin().sum()
        return function(x, *running, weight, bias, True).sin().sum()

    before = [t.clone() for t in (*vars(held).values(), weight, bias)]
    versions = [t._version for t in (*vars(held).values(), weight, bias)]
    gv.trace(loss, x, capture="lean")
    now = [*vars(held).values(), weight, bias]
    assert all(map(torch.equal, now, before))
    assert [t._version for t in now] == versions
