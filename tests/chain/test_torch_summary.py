"""The table of a model, next to what PyTorch says of its modules."""

import math

import pytest

import gradviz as gv

torch = pytest.importorskip("torch", reason="needs PyTorch")
import torch_programs
from torch import nn
from torch.utils.checkpoint import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")


def test_every_row_says_what_torch_says_of_the_module():
    torch.manual_seed(0)
    model, image = torch_programs.ResNet18(4), torch.randn(2, 3, 32, 32)
    found = gv.trace(model, image, loss=lambda o: o.sin().sum(), capture="lean").summary()
    shapes = {}
    for path, module in model.named_modules():
        module.register_forward_hook(
            lambda _, __, out, path=path: shapes.__setitem__(path, tuple(out.shape))
        )
    model(image).sin().sum().backward()
    rows = {".".join(row.scope): row for row in found.rows}
    assert rows.keys() == shapes.keys()
    for path, module in model.named_modules():
        if path not in rows:
            continue
        row, parameters = rows[path], [*module.parameters()]
        assert row.parameters == sum(p.numel() for p in parameters)
        assert row.kind.split()[0] == type(module).__name__
        if path:
            assert row.shape == shapes[path]
        if parameters:
            norms = [p.detach().double().norm().item() for p in parameters]
            sent = [p.grad.double().norm().item() for p in parameters]
            assert row.value == pytest.approx(math.hypot(*norms), rel=1e-5)
            assert row.gradient == pytest.approx(math.hypot(*sent), rel=1e-3)
    assert rows[""].memory == sum(found.graph.memory.values())
    assert rows["layer1"].memory == rows["layer1.0"].memory + rows["layer1.1"].memory
    assert rows[""].share == 1


def test_tied_parameters_count_once():
    tied = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    tied[2].weight = tied[0].weight
    graph = gv.trace(tied, torch.ones(2, 3), loss=torch.sum)
    rows = {"/".join(row.scope): row.parameters for row in graph.summary().rows}
    assert rows == {"": 15, "0": 12, "1": 0, "2": 3}
    assert rows[""] == sum(p.numel() for p in tied.parameters())


def test_layers_that_compute_nothing_have_their_rows():
    model = nn.Sequential(nn.Identity(), nn.Linear(3, 1), nn.Dropout(0.5)).eval()
    rows = gv.trace(model, torch.ones(2, 3), loss=torch.sum).summary().rows
    assert [row.kind for row in rows] == [
        "Sequential (eval)", "Identity", "Linear 3 → 1", "Dropout 0.5",
    ]  # fmt: skip


def test_a_layer_in_another_mode_than_the_model_says_so():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1), nn.Dropout(0.5))
    model[0].eval()
    summary = gv.trace(lambda x: model(x).sum(), torch.ones(2, 3)).summary()
    assert [row.kind for row in summary.rows] == [
        "Sequential", "BatchNorm1d 3 (eval)", "Linear 3 → 1", "Dropout 0.5",
    ]  # fmt: skip
    assert summary.text.splitlines()[2].startswith("Sequential")


def test_what_is_kept_is_at_least_what_is_known():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.second(checkpoint(self.first, x, use_reentrant=False)).exp()

    graph = gv.trace(Half(), torch.ones(2, 3), loss=torch.sum)
    rows = {"/".join(row.scope): row for row in graph.summary().rows}
    assert (rows["first"].memory, rows[""].at_least, rows["second"].at_least) == (None, True, False)
    assert "≥ " in graph.summary().text


def test_a_frozen_layer_and_one_that_leads_nowhere():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen, self.unused, self.used = (nn.Linear(2, 2) for _ in range(3))
            self.frozen.requires_grad_(False)

        def forward(self, x):
            return self.used(self.frozen(x))

    text = gv.trace(Model(), torch.ones(1, 2), loss=torch.sum).summary().text
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert "no path to J" in lines["unused"]
    assert "no path to J" not in lines["frozen"]
    assert "6" in lines["frozen"]


def test_a_frame_has_the_bytes_kept_and_layers_can_be_grouped():
    pytest.importorskip("pandas")
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    frame = gv.trace(model, torch.ones(5, 3), loss=torch.sum, capture="lean").to_pandas()
    assert frame.groupby("scope")["memory"].sum()[["0", "1"]].tolist() == [60, 80]


def test_the_shell_prints_it(tmp_path):
    from click.testing import CliRunner

    from gradviz.cli import main

    graph = gv.trace(nn.Sequential(nn.Linear(3, 1)), torch.ones(2, 3), loss=torch.sum)
    graph.save(tmp_path / "g.json")
    shell = CliRunner()
    told = shell.invoke(main, ["summary", str(tmp_path / "g.json")])
    assert told.output == f"{graph.summary().text}\n"
    top = shell.invoke(main, ["summary", str(tmp_path / "g.json"), "--depth", "0"])
    assert len(top.output.splitlines()) == 3
