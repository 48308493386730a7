"""Files of gradviz 0.1 (fixtures/version_0_1) load: the same numbers, drawn, and run again."""

import contextlib
import importlib.util
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from fixtures.version_0_1 import programs

import gradviz as gv
from gradviz.statistics import Statistics

FILES = Path(__file__).parent / "fixtures" / "version_0_1"
ARRAYS = ["network", "arrays", "expression", "lines", "own"]
WAYS = ["json", "pickle"]
needs_torch = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs PyTorch")
TORCH = [pytest.param(f"torch-{capture}", marks=needs_torch) for capture in ("whole", "lean")]


def kept(name, way="json"):
    if way == "json":
        return gv.load(FILES / f"{name}.json")
    return pickle.loads((FILES / f"{name}.pickle").read_bytes())


def scalar(graph):
    J = graph.values[graph.output].value
    return J.mean if isinstance(J, Statistics) else J


def plain(name):
    """J by plain NumPy, as a function of the leaves by name."""
    if name == "network":  # the published numbers are below
        return lambda **leaves: gv.examples._network_222(**leaves)
    if name == "arrays":
        _, x, n = programs.given()
        return lambda **leaves: programs.arrays(
            {"W": leaves["params.W"], "b": leaves["params.b"]}, x, n
        )
    if name == "expression":
        return lambda w, x, b: (1 / (1 + math.exp(-(w * x + b))) - 1) ** 2
    if name == "lines":
        return lambda x, y: (x + y) * y
    return lambda w: np.sum(np.logaddexp(0, 2.0 * w) ** 2)


def slopes(f, leaves, name, step=1e-6):
    """Central finite differences of f by each entry of one leaf."""
    found = np.empty(np.shape(leaves[name]))
    for index in np.ndindex(found.shape):
        moved = [np.array(leaves[name], float) for _ in range(2)]
        moved[0][index] += step
        moved[1][index] -= step
        up, down = (f(**leaves | {name: m[()]}) for m in moved)
        found[index] = (up - down) / (2 * step)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_graph_has_the_numbers_of_plain_numpy(name, way):
    graph, f = kept(name, way), plain(name)
    leaves = graph.leaf_values()
    assert scalar(graph) == pytest.approx(f(**leaves), rel=1e-12)
    gradients = graph.gradients()
    assert gradients
    for leaf, gradient in gradients.items():
        assert gradient == pytest.approx(slopes(f, leaves, leaf), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_graph_runs_again_at_other_values_and_can_be_checked(name, way):
    graph, f = kept(name, way), plain(name)
    assert graph.check().ok
    leaves = graph.leaf_values()
    moved = {name: value + 0.1 for name, value in leaves.items() if name in graph.gradients()}
    again = graph.update(moved)
    assert scalar(again) == pytest.approx(f(**leaves | moved), rel=1e-12)
    down = graph.step(1e-3)
    assert scalar(down) < scalar(graph)


def test_the_network_has_the_published_numbers_and_names():
    graph = kept("network")
    assert graph.value("J") == pytest.approx(0.298371109, abs=5e-10)
    assert graph.grad("w5") == pytest.approx(0.082167041, abs=5e-10)
    assert graph.grad("w1") == pytest.approx(0.000438568, abs=5e-10)
    assert graph.values[graph.id("z_o1")].scope == ("o1",)
    assert graph.title == "2-2-2 network"


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("way", WAYS)
def test_a_pytorch_graph_has_the_numbers_of_autograd(name, way):
    from fixtures.version_0_1 import models

    net = models.model()
    loss = net(models.batch())
    loss.backward()
    graph = kept(name, way)
    assert scalar(graph) == pytest.approx(loss.item(), rel=1e-6)
    for leaf, parameter in net.named_parameters():
        expected, found = parameter.grad.numpy(), graph.grad(leaf)
        if name == "torch-lean":
            assert found.shape == expected.shape
            assert found.norm == pytest.approx(np.linalg.norm(expected), rel=1e-4)
        else:
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


@needs_torch
@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_pytorch_pickle_runs_its_model_again(capture):
    from fixtures.version_0_1 import models

    graph, net = kept(f"torch-{capture}", "pickle"), models.model()
    x = models.batch() * 2
    again = graph.update(x=x.numpy())
    assert scalar(again) == pytest.approx(net(x).item(), rel=1e-5)
    if capture == "whole":
        assert scalar(graph.step(0.01)) < scalar(graph)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ARRAYS + TORCH)
def test_a_graph_is_drawn_explained_and_saved_again(name, way, tmp_path):
    graph = kept(name, way)
    for options in ({}, {"detail": "operations"}, {"backward": "beside"}, {"budget": 5}):
        picture = graph.draw(**options)
        assert "<svg" in picture.svg
        assert picture.text
    for leaf in graph.gradients():
        told = graph.explain(leaf)
        assert told.text
        assert told.path_count >= 1
    assert graph.reuse(*graph.gradients()).rows
    assert graph.diagnose().text
    graph.save(tmp_path / "again.json")
    assert gv.load(tmp_path / "again.json").draw().svg == graph.draw().svg
    graph.save(tmp_path / "page.html")


@needs_torch
def test_a_recorded_training_has_the_losses_of_a_plain_loop():
    from fixtures.version_0_1 import models

    run = gv.load_training(FILES / "training.gvtrain")
    net = models.model()
    losses = models.train(net, models.batch(), lambda n: contextlib.nullcontext())
    assert [step.number for step in run.steps] == list(range(0, models.STEPS, models.EVERY))
    for step in run.steps:
        assert step.loss == pytest.approx(losses[step.number], rel=1e-5)
        assert set(step.gradients) == set(dict(net.named_parameters()))
        graph = run.graph(step.number)
        assert scalar(graph) == pytest.approx(step.loss)
        assert "<svg" in graph.draw().svg
    assert "<svg" in run.draw().svg
