"""Writes that PyTorch records no gradient for, and reshapes in place that are none."""

import contextlib
import gc
import math
import random
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from torch import nn

import gradviz as gv
from gradviz.statistics import measure


def a_program(seed):
    """One that writes to a value with a history, without one, and reads it before and after."""
    choose = random.Random(seed)
    plan = [choose.choice(("add", "fill", "data", "detach", "read", "scale")) for _ in range(6)]
    torch.manual_seed(seed)
    model, wide = nn.Linear(3, 3), choose.random() < 0.5

    def program(x):
        h = model(x.expand(2, 4, 3) if wide else x)
        total = h.sum() * 0
        for what in plan:
            if what == "add":
                with torch.no_grad():
                    h.add_(0.5).mul_(1.5)
            elif what == "fill":
                with torch.no_grad():
                    h[..., 0] = 0.25
            elif what == "data":
                h.data.mul_(0.7)
            elif what == "detach":
                h.detach()[..., 1] = 2.0
            elif what == "read":
                total = total + (h.clone() ** 2).sum()
            else:
                h = h * 1.25
        return total + h.sum()

    return model, program


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_values_are_what_was_written_and_messages_sum_to_torchs_gradients(capture):
    for seed in range(12):
        model, program = a_program(seed)
        x = torch.randn(4, 3)
        loss = program(x)
        loss.backward()
        graph = gv.trace(program, x, capture=capture)
        shown = measure(graph.values[graph.output].value).mean
        assert shown == pytest.approx(loss.item(), rel=1e-5)
        gradients, messages = graph.derivatives
        for i in set(gradients) - {graph.output}:
            sent = [measure(messages[edge]).mean for edge in graph.readers[i] if edge in messages]
            assert sum(sent) == pytest.approx(measure(gradients[i]).mean, rel=1e-4, abs=1e-5)
        for v, node in enumerate(graph.values):
            if node.operation.name == "pow" and capture == "whole":  # its operand is as it was read
                read = graph.operand_values(v)[0]
                np.testing.assert_allclose(node.value, np.square(read), rtol=1e-5)
        for name, parameter in model.named_parameters():
            found = next(v for k, v in graph.gradients().items() if k.endswith(name))
            assert measure(found).norm == pytest.approx(parameter.grad.norm().item(), rel=1e-4)


def written(how):
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))

    def program(x):
        h = model(x)
        if how == "the weight":
            with torch.no_grad():
                model[2].weight[0, 0] = torch.inf  # here
            h = model(x)
        elif how == "the weight's data":
            model[2].weight.data[0, 0] = torch.inf  # here
            h = model(x)
        elif how == "a value":
            with torch.no_grad():
                h.add_(torch.inf)  # here
        elif how == "a value's data":
            h.data.mul_(torch.nan)  # here
        else:
            target = torch.zeros(3)
            target[1] = torch.nan  # here
            h = h - target
        return h.square().mean()

    return program


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize(
    "how", ["the weight", "the weight's data", "a value", "a value's data", "a target"]
)
def test_what_is_written_without_a_gradient_is_blamed_on_the_line_that_writes(how, capture):
    finding, *_ = gv.trace(written(how), torch.randn(4, 3), capture=capture).diagnose().findings
    assert finding.source.text.endswith("# here")
    assert "of finite numbers" not in finding.message


@pytest.mark.parametrize("zeroes", [True, False])
def test_a_recorded_step_says_that_nothing_has_zeroed_the_gradients(tmp_path, zeroes):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    run = gv.record_training(model, tmp_path / "run.gvtrain", every=3)
    with contextlib.nullcontext() if zeroes else pytest.warns(RuntimeWarning, match="zero_grad"):
        for _ in range(7):
            with run.step():
                if zeroes:
                    optimizer.zero_grad(set_to_none=False)
                for part in torch.randn(2, 4, 3):
                    model(part).square().mean().backward()
                optimizer.step()
    steps = gv.load_training(tmp_path / "run.gvtrain").steps
    assert ["zero_grad" in step.note for step in steps] == [False, not zeroes, not zeroes]


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_what_is_computed_in_inference_mode_is_a_constant(capture):
    model = nn.Linear(3, 2)

    def program(x):
        with torch.inference_mode():
            weight = model(x)
            weight[0] = 2.0
        return (model(x) * weight.clone()).square().sum()

    x = torch.randn(4, 3)
    graph = gv.trace(program, x, capture=capture)
    expected = torch.autograd.grad(program(x), list(model.parameters()))
    for name, gradient in zip(("weight", "bias"), expected, strict=True):
        found = measure(graph.gradients()[name])
        assert found.norm == pytest.approx(gradient.norm().item(), rel=1e-5)
    assert graph.diagnose()


RESHAPED = {
    "a result whose base nobody knows": "F.instance_norm(h).unsqueeze_(0).mul_(2).squeeze_(0)",
    "reshapes and writes": "h.view(6, 4).t_().mul_(2).t_().unsqueeze_(0).exp_()",
    "expand_as": "h.expand_as(h).unsqueeze_(0).sin()",
    "a transposed one": "h.expand_as(h).transpose_(0, 1)",
    "strides": "h.view(6, 4).as_strided_((3, 2), (2, 1)).mul_(2)",
    "a part": "h[:, 1:].transpose_(0, 1).mul_(3)",
    "its base is read": "h.view(-1).unsqueeze_(0).sum() * h",
    "another view is read": "(lambda w, u: u.unsqueeze_(0).sum() * w)(h.view(-1), h.view(-1))",
    "parts that cannot be read after it": "(h.split(2, -1), h.view(-1).unsqueeze_(0).sum() * h)[1]",
    "its base is detached": "h.detach().unsqueeze_(0) * h",
    "a result and what is detached of it": "(lambda n: n.detach().unsqueeze_(0) * n)(F.relu6(h))",
    "a layer's, detached": "(lambda n: n.detach().unsqueeze_(0) * n)(F.instance_norm(h))",
    "no view": "h.sin().unsqueeze_(0).mul_(2).squeeze_(0)",
}


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize("text", RESHAPED.values(), ids=RESHAPED)
def test_a_reshape_in_place_of_a_view_is_a_view_and_no_write(text, capture):
    x, w = torch.randn(2, 3, 4).double(), torch.randn(4).double().requires_grad_()
    run = eval(f"lambda h: ({text}).sin().sum()", {"F": nn.functional})
    expected = run(x * w)
    (slope,) = torch.autograd.grad(expected, w)
    graph = gv.trace(lambda w: run(x * w), w, capture=capture)
    assert measure(graph.values[graph.output].value).mean == pytest.approx(expected.item())
    assert measure(graph.gradients()["w"]).norm == pytest.approx(slope.norm().item())
    gradients, messages = graph.derivatives
    for i in set(gradients) - {graph.output}:
        sent = [measure(messages[edge]).mean for edge in graph.readers[i] if edge in messages]
        assert sum(sent) == pytest.approx(measure(gradients[i]).mean, abs=1e-12)
        assert sent
    assert "write" not in [node.operation.name for node in graph.values]


@pytest.mark.parametrize("write", ["tanh_", "relu_", "sigmoid_", "exp_"])
def test_a_view_that_the_program_drops_is_not_held_by_a_capture(write):
    # (Autograd makes another graph of a second derivative where the view is still there.)
    there = []

    def loss(x, gain):
        hidden = x * 1.5
        view = hidden[..., 1:]
        getattr(view, write)()
        reference = weakref.ref(view)
        del view
        there.append(reference() is not None)
        (slope,) = torch.autograd.grad((hidden * gain).square().sum(), x, create_graph=True)
        return (slope * slope).sum()

    x, gain = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = torch.autograd.grad(loss(x, gain), (x, gain))
    gc.disable()
    try:
        captures = ("whole", "lean")
        graphs = [gv.trace(loss, x, gain, capture=capture) for capture in captures]
    finally:
        gc.enable()
    assert not any(there)
    one, other = (
        [(v.operation.name, g.operands[i]) for i, v in enumerate(g.values)] for g in graphs
    )
    assert one == other
    for name, gradient in zip(("x", "gain"), expected, strict=True):
        np.testing.assert_allclose(graphs[0].grad(name), gradient, rtol=1e-12)
        assert math.isclose(graphs[1].grad(name).norm, gradient.norm(), rel_tol=1e-9)


@pytest.mark.parametrize("flat", [torch.abs, lambda t: t * torch.sign(t)], ids=["abs", "sign"])
def test_zeros_that_autograd_has_no_memory_for_are_zeros_in_a_lean_capture(flat):
    def loss(x):
        part = x / (flat(x.sum()) + 1)
        (slope,) = torch.autograd.grad(part.square().sum(), x, create_graph=True)
        return (slope * slope).sum()

    x = torch.tensor([0.5, -1.5], dtype=torch.float64, requires_grad=True)
    whole, lean = (gv.trace(loss, x, capture=capture) for capture in ("whole", "lean"))
    assert [v.operation.name for v in whole.values] == [v.operation.name for v in lean.values]
    assert len(whole.derivatives.messages) > 8
    for edge, message in whole.derivatives.messages.items():
        kept = lean.derivatives.messages[edge]
        assert math.isclose(kept.norm, np.linalg.norm(message), rel_tol=1e-9, abs_tol=1e-12)
        assert np.allclose(kept.sample, np.ravel(message))
