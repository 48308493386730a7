"""PyTorch programs in files, in pickles and as copies: what is kept, and what is only drawn."""

import copy
import gc
import json
import pickle
import weakref

import numpy as np
import pytest
from test_saved import VALID, same

import gradviz as gv

torch = pytest.importorskip("torch", reason="needs PyTorch")
import torch_programs
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore")
GLOBAL = nn.Linear(3, 1)


def of_a_global_module(x):
    return GLOBAL(x).pow(2).mean()


def through_a_file(graph, folder):
    graph.save(folder / "g.json")
    VALID.validate(json.loads((folder / "g.json").read_text(encoding="utf-8")))
    return gv.load(folder / "g.json")


WAYS = {
    "file": through_a_file,
    "pickle": lambda graph, _: pickle.loads(pickle.dumps(graph)),
    "copy": lambda graph, _: copy.deepcopy(graph),
}


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize("name", torch_programs.PROGRAMS)
def test_a_capture_is_kept_as_it_is(name, capture, tmp_path):
    torch.manual_seed(0)
    function, arguments, loss = torch_programs.PROGRAMS[name]()
    options = {"loss": loss} if loss else {}
    graph = gv.trace(function, *arguments, capture=capture, **options)
    for way in WAYS.values():
        kept = way(graph, tmp_path)
        assert kept.names == graph.names
        assert kept.operands == graph.operands
        assert [kept.kind(i) for i in range(len(kept))] == [
            graph.kind(i) for i in range(len(graph))
        ]
        assert [node.scope for node in kept.values] == [node.scope for node in graph.values]
        assert kept.layers == graph.layers
        assert kept.memory == graph.memory
        assert [kept.source(i) for i in range(len(kept))] == [
            graph.source(i) for i in range(len(graph))
        ]
        for found, expected in zip(kept.values, graph.values, strict=True):
            assert same(found.value, expected.value)
        for leaf, gradient in graph.gradients().items():
            assert same(kept.grad(leaf), gradient)
        assert kept.draw().dot == graph.draw().dot
        assert kept.draw(detail="operations").text == graph.draw(detail="operations").text
        assert kept.draw(budget=6).svg == graph.draw(budget=6).svg
        assert kept.draw(backward="beside").dot == graph.draw(backward="beside").dot


def test_a_program_that_broke_is_kept_with_its_error(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(5, 1))
    graph = gv.trace(model, torch.randn(2, 3), loss=torch.sum)
    for way in WAYS.values():
        kept = way(graph, tmp_path)
        assert str(kept.error) == str(graph.error)
        assert kept.diagnose().text == graph.diagnose().text
        assert kept.draw(budget=100).svg == graph.draw(budget=100).svg


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(dim=1).sin().sum(),
        lambda x: x.std(),
        lambda x: x.var(dim=0).mean(),
        lambda x: x.max(dim=1)[0].sum(),
        lambda x: x.clamp(min=0).mean() + x.sort(dim=0)[0][0].sum(),
    ],
)
def test_an_operation_is_not_taken_for_that_of_numpy_of_the_same_name(function, tmp_path):
    graph = gv.trace(function, torch.randn(3, 4), wrt="x", title="f")
    loaded = through_a_file(graph, tmp_path)
    written = json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))
    assert all(n["drawn_only"] for n in written["nodes"] if n["kind"] == "operation")
    assert same(loaded.grad("x"), graph.grad("x"))
    with pytest.raises(gv.TraceError, match="is only drawn"):
        loaded.update(x=np.zeros((3, 4)))
    with pytest.raises(gv.TraceError, match="is only drawn"):
        loaded.check()


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_pickled_module_runs_again(capture):
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
    graph = gv.trace(model, torch.randn(4, 3), loss=torch.mean, capture=capture)
    kept = pickle.loads(pickle.dumps(graph))
    weight = np.ones((2, 3), np.float32)
    for again in (kept, copy.deepcopy(graph)):
        one, other = again.update({"0.weight": weight}), graph.update({"0.weight": weight})
        assert same(one.value("J"), other.value("J"))
        assert same(one.grad("2.weight"), other.grad("2.weight"))
    assert not np.array_equal(model[0].weight.detach(), weight)


def test_a_pickled_function_finds_its_module_again():
    graph = gv.trace(of_a_global_module, torch.randn(4, 3))
    kept = pickle.loads(pickle.dumps(graph))
    zero = {"weight": np.zeros((1, 3), np.float32), "bias": np.full(1, 2, np.float32)}
    assert kept.update(zero).value("J") == 4
    assert kept.check().ok


def test_a_function_that_cannot_be_pickled_says_so():
    graph = gv.trace(lambda x: x.sin().sum(), torch.randn(3), wrt="x")
    kept = pickle.loads(pickle.dumps(graph))
    assert same(kept.grad("x"), graph.grad("x"))
    with pytest.raises(gv.TraceError, match="cannot be pickled"):
        kept.update(x=np.zeros(3))


def test_a_graph_is_gone_when_nobody_holds_it():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x = torch.ones(2, 3)
    gc.collect()
    gc.disable()
    try:
        for capture in ("whole", "lean"):
            graph = gv.trace(model, x, loss=lambda out: out.sum(), capture=capture)
            held = weakref.ref(graph)
            del graph
            assert held() is None
    finally:
        gc.enable()


def test_arrays_of_many_axes_load_again(tmp_path):
    x = np.ones((1,) * 40)
    gv.trace(lambda x: np.sum(x * 2.0), x).save(tmp_path / "g.json")
    assert gv.load(tmp_path / "g.json").value("x").shape == x.shape
