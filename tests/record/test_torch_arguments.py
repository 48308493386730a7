"""What a call was told stands in its formula: read as Python, that computes the same again."""

import math

import pytest

import gradviz as gv

torch = pytest.importorskip("torch", reason="needs PyTorch")
import torch.nn.functional as F

from gradviz.record.torch.arguments import arguments

torch.manual_seed(0)
A, B = torch.rand(3, 5, requires_grad=True), torch.rand(3, 5, requires_grad=True)
IMAGE, KERNEL = torch.randn(2, 4, 6, 6, requires_grad=True), torch.randn(6, 2, 3, 3)

CALLS = {
    "conv2d(a, b, stride=2, padding=1, dilation=2, groups=2)": lambda a, b: (
        F.conv2d(a, b, None, 2, (1, 1), 2, 2)
    ),
    "pad(a, pad=(1, 1, 2, 2), mode='reflect')": lambda a, b: F.pad(a, (1, 1, 2, 2), mode="reflect"),
    "interpolate(a, scale_factor=2, mode='bilinear', align_corners=False)": lambda a, b: (
        F.interpolate(a, None, 2, "bilinear", False)
    ),
    "max_pool2d(a, kernel_size=3, stride=1, padding=1)": lambda a, b: F.max_pool2d(a, 3, 1, 1),
    "softmax(a, dim=-1)": lambda a, b: a.softmax(-1),
    "std(a, dim=0, unbiased=False)": lambda a, b: a.std(0, unbiased=False),
    "mean(a, dim=(0, 1), keepdim=True)": lambda a, b: a.mean((0, 1), True),
    "cat(a, b, dim=1)": lambda a, b: torch.cat([a, b], 1),
    "permute(a, dims=(1, 0))": lambda a, b: a.permute(1, 0),
    "gelu(a, approximate='tanh')": lambda a, b: F.gelu(a, approximate="tanh"),
    "max[0](a, dim=1)": lambda a, b: a.max(1)[0],
    "chunk[1](a, chunks=2, dim=1)": lambda a, b: a.chunk(2, 1)[1],
    "add(a, b, alpha=2)": lambda a, b: a.add(b, alpha=2),
    "div(a, b, rounding_mode='floor')": lambda a, b: torch.div(a, b, rounding_mode="floor") + 0 * a,
    "a - b": lambda a, b: torch.sub(other=b, input=a),
    "a ** b": lambda a, b: torch.pow(exponent=b, input=a),
    "2 - a": lambda a, b: 2 - a,
    "a[0]": lambda a, b: a[0],
    "a[:, 1:3]": lambda a, b: a[:, 1:3],
    "a[..., None, -1]": lambda a, b: a[..., None, -1],
}  # fmt: skip
CALLED = {
    "conv2d": F.conv2d, "pad": F.pad, "interpolate": F.interpolate, "max_pool2d": F.max_pool2d,
    "softmax": torch.softmax, "std": torch.std, "mean": torch.mean, "permute": torch.permute,
    "cat": lambda *parts, dim: torch.cat(parts, dim), "gelu": F.gelu,
    "max": {0: lambda a, dim: torch.amax(a, dim)},
    "chunk": {1: lambda a, **told: torch.chunk(a, **told)[1]},
    "add": torch.add, "div": torch.div,
}  # fmt: skip


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize("written", CALLS)
def test_a_formula_has_the_arguments_of_its_call(written, capture, tmp_path):
    call = CALLS[written]
    a, b = (IMAGE, KERNEL) if written.startswith(("conv", "inter", "max_pool", "pad")) else (A, B)
    graph = gv.trace(lambda a, b: (call(a, b) ** 2).sum(), a, b, capture=capture)
    graph.save(tmp_path / "g.json")
    for each in (graph, gv.load(tmp_path / "g.json")):
        assert written in [row["expression"] for _, row in each.dag.nodes(data=True)]
    found = eval(written, CALLED | {"a": a, "b": b})
    torch.testing.assert_close(found, call(a, b))


@pytest.mark.parametrize("values", [(1, True, 1.0), (0.0, -0.0)])
def test_arguments_that_are_equal_and_not_the_same_are_told_apart(values):
    told = [arguments(torch.full_like, (A, value), {}) for value in (*values, *values)]
    assert list(map(repr, told)) == [repr({"fill_value": value}) for value in values] * 2


def test_an_index_that_tensors_are_part_of_stays_a_call():
    graph = gv.trace(lambda: A[torch.tensor([0, 2]), 1:].sum())
    (row,) = [row for _, row in graph.dag.nodes(data=True) if row["op"] == "getitem"]
    assert row["expression"].startswith("getitem(A, ")
    assert math.prod(row["shape"]) == 8
