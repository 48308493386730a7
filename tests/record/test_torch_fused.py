"""Encoders that PyTorch runs by kernels of its own, where no gradient is asked for."""

import warnings

import pytest

import gradviz as gv

torch = pytest.importorskip("torch", reason="what is tested is the recording of PyTorch")
from torch import nn

PADDED = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]).bool()


class Reader(nn.Module):
    """A head that is trained on an encoder that is not."""

    def __init__(self, frozen):
        super().__init__()
        with warnings.catch_warnings(action="ignore"):
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2).eval().requires_grad_(not frozen)
        self.head, self.frozen = nn.Linear(8, 1), frozen

    def forward(self, x):
        with torch.set_grad_enabled(self.frozen), warnings.catch_warnings(action="ignore"):
            h = self.encoder(x, src_key_padding_mask=PADDED)
        return self.head(h).square().sum()


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize("frozen", [True, False])
def test_what_stands_at_padded_places_is_what_the_model_computes_unwatched(frozen, capture):
    torch.manual_seed(0)
    model, x = Reader(frozen), torch.randn(2, 4, 8)
    plain = model(x)
    plain.backward()
    expected = [p.grad.clone() for p in model.head.parameters()]
    model.zero_grad()

    graph = gv.trace(model, x, capture=capture)
    J = graph.values[graph.output].value
    assert float(getattr(J, "mean", J) if capture == "lean" else J) == pytest.approx(plain.item())
    ours = [graph.grad(f"head.{name}") for name, _ in model.head.named_parameters()]
    for g, e in zip(ours, expected, strict=True):
        assert float(g.norm if capture == "lean" else torch.tensor(g).norm()) == pytest.approx(
            float(e.norm()), rel=1e-5
        )
    lost = [f for f in graph.diagnose().findings if f.kind == "no gradient"]
    assert len(lost) == (not frozen)  # said once, of all its parameters
    if capture == "whole":  # what runs the model again runs it so, too
        checked = str(graph.check())
        assert "✗ head" not in checked
        assert checked.startswith("✓" if frozen else "✗ by finite differences: 2 of")


def test_a_recorded_training_is_the_training_that_would_have_been(tmp_path):
    torch.manual_seed(0)
    model, x = Reader(False), torch.randn(2, 4, 8)
    plain = model(x).item()
    with gv.record_training(model, tmp_path / "run.gvtrain") as recorder, recorder.step():
        loss = model(x)
        loss.backward()
    assert loss.item() == plain
