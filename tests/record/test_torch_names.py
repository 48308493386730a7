"""Parameters are found wherever a PyTorch program keeps them, and each has a name of its own."""

import dataclasses
import functools
import warnings
from collections import UserDict
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from torch import nn

import gradviz as gv
from gradviz.statistics import Statistics


def mlp():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))


class Listed(nn.Module):
    """Layers in plain containers, which PyTorch does not register."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(3, 3), nn.Linear(3, 3)]
        self.blocks = {"a": nn.Linear(3, 3)}
        self.pair = (nn.Linear(3, 3),)
        self.space = SimpleNamespace(last=nn.Linear(3, 3))

    def forward(self, x):
        for layer in (*self.layers, self.blocks["a"], *self.pair, self.space.last):
            x = torch.tanh(layer(x))
        return x.square().sum()


class Trainer:
    scale = nn.Parameter(torch.tensor([1.5]))

    def __init__(self):
        self.actor, self.critic = mlp(), mlp()

    def loss(self, x):
        return (self.scale * self.critic(self.actor(x)) - x).square().mean()

    def __call__(self, x):
        return self.loss(x)


GLOBAL = mlp()


def helper(x):
    return GLOBAL(x).square().sum()


def through_a_helper(x):
    return helper(x)


class Weighted(nn.Linear):
    def forward(self, weight):
        return super().forward(weight).square().sum()


def two_of_one_kind():
    nets = {"a": mlp(), "b": mlp()}
    function = lambda x: nets["b"](nets["a"](x)).square().sum()
    return function, {
        f'nets["{k}"].{n}': p for k, m in nets.items() for n, p in m.named_parameters()
    }


def listed():
    model = Listed()
    found = {"layers[0]": model.layers[0], "layers[1]": model.layers[1]}
    found |= {'blocks["a"]': model.blocks["a"], "pair[0]": model.pair[0]}
    found["space.last"] = model.space.last
    return model, {f"{k}.{n}": p for k, m in found.items() for n, p in m.named_parameters()}


def behind_a_method(call=False):
    trainer = Trainer()
    found = {f"actor.{n}": p for n, p in trainer.actor.named_parameters()}
    found |= {f"critic.{n}": p for n, p in trainer.critic.named_parameters()}
    return (trainer if call else trainer.loss), found | {"scale": trainer.scale}


def behind_a_partial():
    net = mlp()
    return functools.partial(lambda m, x: m(x).square().sum(), net), dict(net.named_parameters())


def tied():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    function = lambda x: second(first(x)).square().sum()
    return function, {
        "first.weight": first.weight, "first.bias": first.bias, "second.bias": second.bias,
    }  # fmt: skip


def reparametrized():
    net = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    return (lambda x: net(x).square().sum()), dict(net.named_parameters())


FOUND = {
    "layers in plain containers": listed,
    "a trainer's method": behind_a_method,
    "a trainer that is called": lambda: behind_a_method(call=True),
    "a dict of two models": two_of_one_kind,
    "a helper's global": lambda: (through_a_helper, dict(GLOBAL.named_parameters())),
    "a partial": behind_a_partial,
    "tied weights": tied,
    "parametrizations": reparametrized,
}


@pytest.mark.parametrize("make", FOUND.values(), ids=FOUND)
def test_each_parameter_has_its_name_and_autograds_gradient(make):
    torch.manual_seed(0)
    function, parameters = make()
    x = torch.randn(5, 3)
    graph = gv.trace(function, x)
    expected = torch.autograd.grad(function(x), list(parameters.values()))
    assert set(graph.gradients()) == set(parameters)
    for name, gradient in zip(parameters, expected, strict=True):
        np.testing.assert_array_equal(graph.grad(name), gradient.numpy())
    moved = {name: np.zeros(p.shape, np.float32) for name, p in parameters.items()}
    again = graph.update(moved)
    for name in parameters:
        assert not again.value(name).any()
        some = graph.update({name: moved[name]})
        assert sorted(n for n in parameters if not some.value(n).any()) == [name]


layers = nn.Linear(9, 9)
first = nn.Sequential(nn.Linear(9, 9), nn.BatchNorm1d(9))
second = torch.ones(2, requires_grad=True)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.second(self.first(x)).square().mean()


def test_a_variable_that_is_called_as_an_attribute_is_no_part_of_the_program():
    model, x = Two(), torch.randn(5, 3)
    expected = [name for name, _ in model.named_parameters()]
    for function in (model, lambda x: model(x)):
        g = gv.trace(function, x)
        assert sorted(g.gradients()) == sorted(expected)
        assert g.diagnose().text.startswith("✓ healthy")
    assert len(gv.trace(Listed(), x).gradients()) == 10


def test_an_argument_called_as_a_parameter_keeps_its_gradient():
    net, x = Weighted(3, 2), torch.randn(4, 3, requires_grad=True)
    graph = gv.trace(net, x)
    found = graph.gradients()
    assert set(found) == {"weight", "bias", "weight(2)"}
    by_argument, by_weight = torch.autograd.grad(net(x), (x, net.weight))
    np.testing.assert_array_equal(found["weight"], by_weight.numpy())
    np.testing.assert_array_equal(found["weight(2)"], by_argument.numpy())
    assert set(gv.trace(net, x, wrt="weight").gradients()) == {"weight", "weight(2)"}
    new = np.ones((4, 3), np.float32)
    other = graph.update({"weight(2)": new})
    np.testing.assert_array_equal(other.value("weight"), net.weight.detach().numpy())
    assert other.value("J") == pytest.approx(net(torch.from_numpy(new)).item(), rel=1e-6)


@pytest.mark.parametrize("number", [float, torch.tensor], ids=["NumPy", "PyTorch"])
def test_keys_that_read_alike_are_two_leaves(number):
    def f(p):
        return p["a.b"] * p["a"]["b"] ** 2

    given = {"a.b": number(2.0), "a": {"b": number(3.0)}}
    graph = gv.trace(f, given, wrt="p")
    assert {k: float(v) for k, v in graph.gradients().items()} == {"p.a.b": 9.0, "p.a.b(2)": 12.0}
    assert float(graph.update({"p.a.b(2)": 5.0}).value("J")) == 50.0
    assert graph.check()


def test_a_layer_made_while_the_program_runs_is_named_and_cannot_be_given_values():
    w = torch.ones(2, 3, requires_grad=True)

    def f(w):
        torch.manual_seed(0)
        return sum(nn.Linear(3, 1)(w).square().sum() for _ in range(2))

    graph = gv.trace(f, w)
    assert {"Linear.weight", "Linear(2).weight"} <= set(graph.gradients())
    with pytest.raises(gv.TraceError, match="is made anew in every run of the program"):
        graph.update({"Linear.weight": np.zeros((1, 3))})
    report = graph.check()
    assert report
    assert "Linear.weight is not compared with finite differences" in report.text
    np.testing.assert_array_equal(graph.update().grad("w"), graph.grad("w"))


@dataclasses.dataclass(frozen=True)
class Batch:
    x: object
    y: object


class Pair(NamedTuple):
    x: object
    y: object


@pytest.mark.parametrize("kind", [Batch, Pair, lambda **k: UserDict(k)], ids=["1", "2", "3"])
def test_batches_are_opened_and_stay_as_they_were(kind):
    net = nn.Linear(3, 1)
    x, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 1)
    batch = kind(x=x, y=y)

    def f(batch):
        x, y = (batch["x"], batch["y"]) if isinstance(batch, UserDict) else (batch.x, batch.y)
        return (net(x) - y.mul_(2.0)).square().sum()

    before = y.clone()
    graph = gv.trace(f, batch)
    expected = torch.autograd.grad((net(x) - 2 * y).square().sum(), x)[0]
    np.testing.assert_allclose(graph.grad("batch.x"), expected.numpy(), rtol=1e-6)
    assert torch.equal(y, before)


def test_a_dataclass_of_arrays_is_opened():
    graph = gv.trace(lambda b: np.sum(b.x * b.y), Batch(np.array([1.0, 2.0]), 3.0))
    assert graph.grad("b.x").tolist() == [3.0, 3.0]
    assert graph.grad("b.y") == 3.0


def test_the_size_of_what_a_method_reaches_decides_how_much_is_kept():
    trainer = Trainer()
    trainer.actor = nn.Sequential(nn.Linear(3, 2**18), nn.Linear(2**18, 3))
    graph = gv.trace(trainer.loss, torch.randn(2, 3))
    assert isinstance(graph.value("J"), Statistics)
    with pytest.raises(gv.TraceError, match="capture='whole'"):
        graph.check()


@pytest.mark.parametrize("name", ["loss", "capture", "title", "wrt"])
def test_an_argument_that_the_function_has_too_is_asked_for(name):
    w = torch.ones(3, requires_grad=True)
    source = f"def f(w, {name}): return (w * {name}).sum()"
    space = {}
    exec(source, space)
    with pytest.raises(TypeError, match=rf"{name}= is an argument of gv\.trace and of f, too"):
        gv.trace(space["f"], w, **{name: 2.0})
    assert gv.trace(space["f"], w, 2.0).grad("w").tolist() == [2.0] * 3
    bound = functools.partial(space["f"], **{name: 2.0})
    assert gv.trace(bound, w).grad("w").tolist() == [2.0] * 3


def test_models_of_one_kind_are_called_together_over_a_base_without_numbers():
    models = [nn.Linear(3, 1) for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(models)
    base = nn.Linear(3, 1, device="meta")
    x = torch.randn(4, 3)

    def f(parameters, x):
        call = lambda p: torch.func.functional_call(base, (p, buffers), (x,))
        return torch.vmap(call)(parameters).square().sum()

    graph = gv.trace(f, parameters, x)
    expected = torch.autograd.grad(f(parameters, x), parameters["weight"])[0]
    np.testing.assert_allclose(graph.grad("parameters.weight"), expected.numpy(), rtol=1e-6)


def test_tensors_without_numbers_of_their_own_are_refused_in_words():
    model = nn.Linear(3, 1, device="meta")
    with pytest.raises(gv.TraceError, match="device meta hold no numbers"):
        gv.trace(model, torch.ones(2, 3, device="meta"), loss=torch.sum)
    for layout in (torch.jagged, torch.strided):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch calls nested tensors a prototype
            ragged = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)
        with pytest.raises(gv.TraceError, match="pad them before"):
            gv.trace(lambda n: (n * 2).sum(), ragged, wrt="n")


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch calls nested tensors a prototype
@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_what_has_no_numbers_is_refused_with_the_line_that_makes_it(capture):
    def ragged(x):
        rows = [x[:2], x[2:]]
        n = torch.nested.as_nested_tensor(rows, layout=torch.jagged)  # here
        return n.values().sum()

    def padded(x):
        n = torch.nested.as_nested_tensor([x[:2], x[2:]])  # here
        return n.to_padded_tensor(0.0).sum()

    def bare(x):
        return (torch.ones(3, device="meta") * x.shape[0]).sum()  # here

    x = torch.ones(5, 3, requires_grad=True)
    for program, said in ((ragged, "nested"), (padded, "nested"), (bare, "on the device meta")):
        with pytest.raises(gv.TraceError, match=f"(?s){said} .*, at .*# here$"):
            gv.trace(program, x, capture=capture)
    lazy = nn.LazyLinear(2)
    with pytest.raises(gv.TraceError, match="run the model once before"):
        gv.trace(lazy, torch.ones(2, 3), loss=torch.sum)


def test_inference_mode_is_refused_in_words():
    with torch.inference_mode():
        made = nn.Linear(3, 1)
        with pytest.raises(gv.TraceError, match="trace outside of it"):
            gv.trace(nn.Linear(3, 1), torch.ones(2, 3), loss=torch.sum)
    with pytest.raises(gv.TraceError, match=r"weight was made under torch\.inference_mode"):
        gv.trace(made, torch.ones(2, 3), loss=torch.sum)
