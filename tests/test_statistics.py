"""Samples stand for their array, whatever its layout."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gradviz as gv
from gradviz.chain.backward import Gradients
from gradviz.statistics import SAMPLE, measure, norm, places

SHAPES = st.lists(
    st.integers(1, 1100) | st.sampled_from([256, 512, 768, 1024, 987, 610]), min_size=1, max_size=3
).filter(lambda shape: SAMPLE < math.prod(shape) < 2e6)
PATTERNS = {
    "some rows": lambda i, k: i[0] % k == 0,
    "some columns": lambda i, k: i[-1] % k == 0,
    "the first columns": lambda i, k: i[-1] < i[-1].max() // k,
    "the first rows": lambda i, k: i[0] < i[0].max() // k,
    "diagonals": lambda i, k: sum(i) % k == 0,
    "a board": lambda i, k: sum(n // k for n in i) % 2 == 0,
    "one channel": lambda i, k: i[len(i) // 2] == 0,
}


@settings(deadline=None)
@given(SHAPES, st.sampled_from(sorted(PATTERNS)), st.integers(2, 40))
@example([1024, 768], "one channel", 2)
@example([1024, 768], "some columns", 3)
@example([1000, 256], "some columns", 16)
@example([512, 16, 16], "some columns", 4)
def test_a_sample_holds_about_the_share_of_the_whole(shape, pattern, k):
    marked = PATTERNS[pattern](np.indices(shape, sparse=True), k)
    whole = np.broadcast_to(marked, shape).astype(float)
    share = whole.mean()
    found = measure(whole).sample
    assert found.size == SAMPLE
    assert abs(found.mean() - share) < 5 * math.sqrt(share * (1 - share) / SAMPLE) + 1 / SAMPLE


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1.0, 1e160, 1e300])
@pytest.mark.parametrize("count", [2, 1000])
def test_a_norm_is_known_where_squares_are_not_and_nothing_warns_of_them(size, count):
    assert norm(np.full(count, size)) == pytest.approx(math.hypot(*[size] * count), rel=1e-12)


@given(st.integers(0, 10**9), st.integers(1, 300))
def test_places_are_different_entries_one_from_each_stretch(size, count):
    found = places(size, count)
    assert len(found) == min(size, count)
    assert np.all(np.diff(found) > 0)
    if size <= count:
        assert found.tolist() == list(range(size))
    else:
        assert np.all(found * count // size >= np.arange(count) - 1)
        assert 0 <= found[0] < size / count + 1
        assert size - size / count - 1 <= found[-1] < size


NUMBERS = 0.0, -0.0, 1.0, -1.0, 2e-40, -2e-40, 3e38, -3e38, math.inf, -math.inf
NANS = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001], np.uint32).view(np.float32)


@given(
    st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=5),
    st.sampled_from(["f", "d", ">f4", ">f8", "e"]),
)
@example([0.0, -0.0, 1.0], "f")
@example([-0.0], "d")
def test_least_and_largest_are_those_of_a_comparison_one_by_one(numbers, dtype):
    with np.errstate(over="ignore"):
        array = np.array(numbers).astype(dtype)
    found = measure(array)
    assert (found.low, found.high) == (min(array.tolist()), max(array.tolist()))
    assert found.zeros == sum(x == 0 for x in array.tolist()) / len(numbers)


@pytest.mark.parametrize("nan", range(len(NANS)))
@pytest.mark.parametrize("others", [[], [1.0], [-1.0], [math.inf, -math.inf], [0.0, -2.0, 3.0]])
def test_a_nan_of_whichever_sign_is_told(nan, others):
    array = np.concatenate([NANS[nan : nan + 1], np.array(others, np.float32)])
    found = measure(array)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.top)
    assert found.nonfinite == sum(not math.isfinite(x) for x in array.tolist()) / array.size


@settings(deadline=None)
@given(st.permutations(range(3)), st.lists(st.integers(1, 40), min_size=3, max_size=3),
       st.booleans())  # fmt: skip
def test_the_layout_in_memory_does_not_matter(order, shape, stepped):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from gradviz.record.torch import keep

    plain = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    back = sorted(range(3), key=order.__getitem__)
    turned = plain.permute(order).contiguous().permute(back)
    if stepped:
        turned = torch.stack([turned, turned], 3)[..., 0]
    expected = measure(plain.numpy()).sample
    assert np.array_equal(keep.statistics(turned).sample, expected)
    assert np.array_equal(keep.sample(turned), expected)


def units(saturated):
    """A layer of 768 units of which so many are saturated, pulled back by the loss."""

    def loss(w, x):
        a = np.tanh(x * w)
        return np.sum(a * a)

    w = np.full((1, 768), 0.01)
    w[:, saturated] = 30.0
    return gv.trace(loss, w, np.ones((1024, 768)), wrt="w").diagnose()


@pytest.mark.parametrize("unit", [0, 1, 500])
def test_one_saturated_unit_is_not_the_layer(unit):
    assert not [f for f in units([unit]).findings if f.kind == "saturated units"]
    (finding,) = [f for f in units(np.arange(768) != unit).findings if f.kind == "saturated units"]
    assert "in 99% of its entries" in finding.text
    assert finding.numbers["share"] == pytest.approx(767 / 768)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("unit", [0, 300])
def test_the_same_in_a_lean_capture(unit, turned):
    torch = pytest.importorskip("torch", reason="needs PyTorch")

    def loss(w, x):
        a = torch.tanh(x * w)
        return (a.T if turned else a).square().sum()

    for few in (True, False):
        w = torch.where((torch.arange(768) == unit) == few, 30.0, 0.01).requires_grad_()
        health = gv.trace(loss, w, torch.ones(1024, 768), capture="lean").diagnose()
        found = [f for f in health.findings if f.kind == "saturated units"]
        assert bool(found) != few
        assert few or "in about " in found[0].text


def test_a_check_moves_entries_of_every_column():
    """A wrong gradient in a part of the columns is found, whichever it is."""
    g = gv.trace(lambda x: np.sum(x * x), np.ones((64, 1024)))
    right = g.derivatives
    for first in range(0, 1024, 128):
        wrong = g.grad("x").copy()
        wrong[:, first : first + 128] = 5
        g.derivatives = Gradients(dict(right.gradients) | {g.id("x"): wrong}, right.messages)
        assert not next(row for row in g.check().rows if row.how == "differences").ok
        g.derivatives = right
    assert g.check().ok


def test_turned_values_of_a_lean_capture_are_sampled_where_they_are():
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    weight = torch.randn(64, 96, requires_grad=True)

    def program(weight):
        turned = weight.T
        return (turned * torch.arange(64.0)).sum()

    g = gv.trace(program, weight, capture="lean")
    expected = measure(weight.detach().numpy())
    assert np.array_equal(g.value("turned").sample, measure(weight.detach().numpy().T).sample)
    assert np.array_equal(g.value("weight").sample, expected.sample)
    gradient = np.broadcast_to(np.arange(64.0)[:, None], (64, 96))
    assert np.array_equal(g.grad("weight").sample, measure(gradient).sample)
    assert np.array_equal(g.grad("turned").sample, measure(gradient.T).sample)


@pytest.mark.parametrize("where", ["statistics", "elsewhere"])
def test_what_is_measured_together_is_what_each_would_be_alone(where):
    torch = pytest.importorskip("torch")
    from gradviz.record.torch import keep
    from gradviz.record.torch.measuring import Measuring

    torch.manual_seed(0)
    given = [
        torch.randn(5), torch.randn(300), torch.randn(70_000), torch.zeros(4), torch.tensor(3.0),
        torch.tensor([1.0, math.nan]), torch.tensor([math.inf, 0.0]), torch.tensor([1e-30, 2e-30]),
        torch.full((3,), 1e300, dtype=torch.float64), torch.randn(4, 600).t(),
        torch.randn(2, 3, 4)[:, 1], torch.ones(3, dtype=torch.bool), torch.arange(5),
        torch.randn(5).half(), torch.randn(3, 4).bfloat16(), torch.randn(3, dtype=torch.complex64),
        torch.rand(70, 80) > 0.3, (torch.rand(70, 80) > 0.3).t(), torch.zeros(70, 80) > 1,
        torch.ones(70, 80) > 0, (torch.rand(90, 80) > 0.3)[::2], torch.arange(9000),
        torch.tensor(7), torch.tensor(True), torch.tensor([2**62, -3]),
    ]  # fmt: skip
    measuring = Measuring()
    found = [getattr(measuring, where)(tensor) for tensor in given]
    alone = [keep.statistics(tensor) for tensor in given]
    for tensor in given:  # what is written afterwards is not what was measured
        tensor.zero_()
    for ours, expected in zip(found, alone, strict=True):
        for field in ("norm", "low", "mean", "high", "zeros", "nonfinite", "sample"):
            wanted = getattr(expected, field)
            np.testing.assert_allclose(getattr(ours, field), wanted, rtol=1e-5, atol=1e-7)
        assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
        assert ours.sample.dtype == expected.sample.dtype


def test_a_nan_that_signals_as_in_memory_that_nobody_wrote_to_is_measured_without_a_warning():
    torch = pytest.importorskip("torch", reason="it is an optional dependency")
    signalling = torch.from_numpy(np.full(3, 0x7F800001, np.uint32).view(np.float32))
    weight = torch.nn.Parameter(torch.ones(3))

    def program():
        return torch.where(signalling == 0, signalling, weight).sum()

    graph = gv.trace(program, capture="lean")  # (a warning is an error in tests)
    assert [node.value.nonfinite for node in graph.values if math.isnan(node.value.norm)] == [1.0]
