"""What a PyTorch program's picture is coloured by, next to PyTorch's own numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import gradviz as gv
from gradviz.words import size

torch = pytest.importorskip("torch", reason="needs PyTorch")
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

WIDTHS = (40, 30, 20, 10)


class Vanishing(nn.Module):
    def __init__(self):
        super().__init__()
        pairs = itertools.pairwise(WIDTHS)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return x.sum()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Vanishing().double(), torch.randn(5, WIDTHS[0], dtype=torch.float64)


def gradients(model, x):
    """The norm of ∂J/∂ each layer's output, by PyTorch itself."""
    outputs = []
    hooks = [
        layer.register_forward_hook(
            lambda *call: (call[2].retain_grad(), outputs.append(call[2]))[1]
        )
        for layer in model.layers
    ]
    model(x).backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad(set_to_none=True)
    return [float(output.grad.norm()) for output in outputs]


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_layers_are_coloured_by_the_norms_that_pytorch_finds(model, capture):
    norms = gradients(*model)
    drawn = gv.trace(*model, capture=capture).draw()
    boxes = {box.title: box for box in drawn.view.boxes}
    shown = [boxes[f"layers.{n}"] for n in range(len(norms))]
    for box, norm in zip(shown, norms, strict=True):
        assert float(box.rows[0].cells[1]) == pytest.approx(norm, rel=1e-2)
    steps = [int(box.heat[4:]) for box in shown]
    assert norms == sorted(norms)
    assert steps == sorted(steps)
    assert steps[0] < steps[-1]
    assert drawn.view.scale.meaning.startswith("‖gradient‖")
    assert "On its way back the gradient shrinks from" in drawn.text


def kept(model, x):
    """The bytes that autograd hands to a hook, each storage once, parameters aside."""
    found = {}

    def pack(tensor):
        memory = tensor.untyped_storage()
        found[memory.data_ptr()] = memory.nbytes(), tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    return [bytes_ for address, (bytes_, _) in found.items() if address not in own]


def test_memory_tells_the_bytes_of_saved_tensors_their_total_and_the_most(model):
    sizes = kept(*model)
    drawn = gv.trace(*model).draw(color="memory")
    note = drawn.view.scale.note
    assert note.startswith(f"keeps {size(sum(sizes))}; most: ")
    said = [row.cells[0] for box in drawn.view.boxes for row in box.rows if row.label == "keeps"]
    assert sorted(s for s in said if s != "0 B") == sorted(map(size, sizes))
    assert note[0].upper() + note[1:] in drawn.text
    largest = max((b for b in drawn.view.boxes if b.heat[:4] == "heat"), key=lambda box: box.heat)
    assert size(max(sizes)) in [row.cells[0] for row in largest.rows]
    assert all(arrow.heat == "" for arrow in drawn.view.arrows)


def test_a_layers_number_is_that_of_all_in_it_but_what_has_its_own(model):
    graph = gv.trace(*model)
    drawn = graph.draw(color={"layers.0": 1.0, "layers.2": 3.0})
    numbers = {
        box.title: row.cells
        for box in drawn.view.boxes
        for row in box.rows
        if row.label == "number"
    }
    assert numbers == {"layers.0": ("1",), "layers.2": ("3",)}
    mixed = graph.draw(color={"layers.0": 1.0, "layers.0.weight": 7.0})
    box = next(box for box in mixed.view.boxes if box.title == "layers.0")
    assert box.rows[-1].cells == ("7",)
    assert mixed.view.scale.note == "of a box the largest in it"
    with pytest.raises(ValueError, match="did you mean 'layers"):
        graph.draw(color={"layer.0": 1.0})


def test_a_layer_through_which_nothing_comes_says_so():
    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.after = nn.Linear(4, 4), nn.Linear(4, 1)
            self.act = nn.ReLU()
            nn.init.constant_(self.before.bias, -1e3)

        def forward(self, x):
            return self.after(self.act(self.before(x))).sum()

    torch.manual_seed(0)
    drawn = gv.trace(Dead(), torch.randn(3, 4)).draw()
    boxes = {box.title: box for box in drawn.view.boxes}
    assert boxes["before"].heat == "zero"
    assert boxes["before"].rows[0].cells[1] == "0 exactly"
    assert boxes["after"].heat.startswith("heat")
    assert "It is 0 exactly at before" in drawn.text


def test_what_overflows_is_drawn_as_sick(model):
    module, x = model
    bad = x.clone()
    bad[0, 0] = math.nan
    drawn = gv.trace(module, bad).draw()
    nan = [box for box in drawn.view.boxes if box.heat == "sick"]
    assert nan
    assert all(box.role == "sick" for box in nan)
    assert dict(drawn.view.legend)["sick"] == "not finite"
    assert np.isnan(
        [float(box.rows[0].cells[1].split()[0]) for box in nan if box.kind != "output"]
    ).any()


def test_the_legend_names_layers_as_they_are_called():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn1, self.fc2 = nn.BatchNorm1d(4), nn.Linear(4, 2)

        def forward(self, x):
            return self.fc2(self.bn1(x))

    graph = gv.trace(Net(), torch.randn(9, 4), loss=lambda o: o.square().mean())
    drawn = graph.draw(color="memory")
    _, most = drawn.view.scale.note.split("most: ")
    assert most.split()[0] in ("bn1", "fc2")
    assert f"most: {most}</text>" in drawn.svg
