"""PyTorch programs are captured faithfully: against an uncaptured step, and finite differences."""

import copy
import pickle
import random
import warnings
import weakref
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import torch.nn.functional as F
import torch_programs
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch_programs import PROGRAMS

import gradviz as gv
from gradviz.statistics import Statistics, measure


def made(make):
    torch.manual_seed(0)
    function, arguments, loss = make()
    return function, arguments, loss, ({} if loss is None else {"loss": loss})


def leaves(function, arguments):
    """The leaves that a program's step gives a gradient to, by gradviz's names."""
    modules = [function] if isinstance(function, nn.Module) else []
    for cell in getattr(function, "__closure__", None) or ():
        modules += [cell.cell_contents] if isinstance(cell.cell_contents, nn.Module) else []
    found = {}
    for module in modules:
        prefix = ""
        if len(modules) > 1:
            names = function.__code__.co_freevars
            cells = [c.cell_contents for c in function.__closure__]
            prefix = names[next(i for i, c in enumerate(cells) if c is module)] + "."
        found |= {prefix + name: p for name, p in module.named_parameters()}
    return found


def plain_step(function, arguments, loss):
    """What the program does on its own: gradients of parameters and of arguments."""
    parameters = leaves(function, arguments)
    for parameter in parameters.values():
        parameter.grad = None
    output = function(*arguments)
    (output if loss is None else loss(output)).backward()
    found = {name: p.grad for name, p in parameters.items()}
    for name, value in (
        zip(function.__code__.co_varnames, arguments, strict=False)
        if not (isinstance(function, nn.Module))
        else ()
    ):
        for key, tensor in value.items() if isinstance(value, dict) else [("", value)]:
            if torch.is_tensor(tensor) and tensor.requires_grad:
                found[f"{name}.{key}" if key else name] = tensor.grad
    return {k: g.to_dense() if g is not None and g.is_sparse else g for k, g in found.items()}


@pytest.mark.parametrize("make", PROGRAMS.values(), ids=PROGRAMS)
def test_gradients_are_those_of_the_plain_step_bit_for_bit(make):
    function, arguments, loss, options = made(make)
    state = torch.get_rng_state()
    g = gv.trace(function, *arguments, capture="whole", **options)
    torch.set_rng_state(state)
    expected = plain_step(function, arguments, loss)
    if make.__name__ == "functional_call":
        expected = {k: v for k, v in expected.items() if k.startswith("parameters")}
    assert expected
    for name, gradient in expected.items():
        if gradient is None:
            assert g.grad_state(g.id(name)) == "disconnected"
        else:
            np.testing.assert_array_equal(g.grad(name), gradient.numpy())


@pytest.mark.parametrize("make", PROGRAMS.values(), ids=PROGRAMS)
def test_statistics_are_those_of_the_tensors(make):
    function, arguments, _, options = made(make)
    whole = gv.trace(function, *arguments, capture="whole", **options)
    lean = gv.trace(function, *arguments, capture="lean", **options)
    assert whole.names == lean.names
    assert whole.operands == lean.operands
    pairs = [(a.value, b.value) for a, b in zip(whole.values, lean.values, strict=True)]
    gradients, sent = whole.derivatives
    assert sent.keys() == lean.derivatives.messages.keys()
    pairs += [(gradients[i], gradient) for i, gradient in lean.derivatives.gradients.items()]
    pairs += [(sent[edge], message) for edge, message in lean.derivatives.messages.items()]
    for array, statistics in pairs:
        expected, statistics = measure(array), measure(statistics)
        assert statistics.shape == expected.shape
        for field in ("norm", "low", "mean", "high", "zeros", "nonfinite"):
            found, right = getattr(statistics, field), getattr(expected, field)
            np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-6 * (1 + expected.norm))


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "cut",
    [
        lambda h: h.split([40, 24], dim=1),
        lambda h: h.split(30, dim=0),
        lambda h: h.chunk(3, dim=-1),
        lambda h: h.mT.chunk(2, dim=-1),
        lambda h: h.tensor_split((5, 60), dim=1),
        lambda h: h[:1].expand(3, 64, 48).split(2),
        lambda h: h.split(h.shape[0]),
    ],
)
def test_the_message_of_a_part_is_its_gradient_among_zeros(cut, bad):
    slope = torch.randn(1, 64 * 64 * 64)

    def program(h):
        parts = cut(h * 1)
        weighed = [slope[:, : part.numel()].view(part.shape) * part for part in parts]
        return sum(n * part.sum() for n, part in enumerate(weighed, 2))

    x = torch.randn(40, 64, 48, requires_grad=True)
    if bad is not None:
        slope[0, 3] = bad
    g = gv.trace(program, x, capture="lean")
    whole = gv.trace(program, x, capture="whole")
    assert g.derivatives.messages.keys() == whole.derivatives.messages.keys()
    for edge, message in g.derivatives.messages.items():
        expected, found = measure(whole.derivatives.messages[edge]), measure(message)
        for field in ("norm", "low", "mean", "high", "zeros", "nonfinite"):
            right = getattr(expected, field)
            np.testing.assert_allclose(getattr(found, field), right, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.sample, expected.sample, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", PROGRAMS.values(), ids=PROGRAMS)
def test_shares_and_upstream_terms_are_told_of_statistics_as_of_arrays(make):
    function, arguments, _, options = made(make)
    whole = gv.trace(function, *arguments, capture="whole", **options)
    lean = gv.trace(function, *arguments, capture="lean", **options)
    assert lean.shares().rows == pytest.approx(whole.shares().rows, rel=1e-3, abs=1e-6)
    for name in whole.gradients():
        told = [g.explain(name).factored for g in (whole, lean)]
        for kind in ("text", "latex"):
            heads = [[line.split("=")[0] for line in getattr(t, kind).split("\n")] for t in told]
            assert heads[0] == heads[1]


@pytest.mark.parametrize("make", PROGRAMS.values(), ids=PROGRAMS)
def test_messages_sum_to_the_gradients(make):
    function, arguments, _, options = made(make)
    g = gv.trace(function, *arguments, capture="whole", **options)
    gradients, messages = g.derivatives
    hooked = make.__name__ == "hooks_that_change_gradients"  # a hook puts another in its place
    for i, gradient in gradients.items():
        received = [messages[edge] for edge in g.readers[i] if edge in messages]
        if received and not (hooked and g.values[i].operation.name == "mul"):
            np.testing.assert_allclose(sum(received), gradient, rtol=1e-4, atol=1e-5)
        assert received or i == g.output


def test_each_place_of_an_operand_that_autocast_casts_once_has_its_message_under_a_checkpoint():
    cell, x = nn.LSTMCell(4, 4), torch.randn(3, 4, requires_grad=True)

    def f(x):
        with torch.autocast("cpu", torch.bfloat16):
            h, c = checkpoint(lambda x: cell(x, (x, x)), x, use_reentrant=False)
        return (h.sin() * c).sum().float()

    g = gv.trace(f, x, capture="whole")
    gradients, messages = g.derivatives
    received = [messages[edge] for edge in g.readers[g.id("x")]]
    assert len(received) == 6
    np.testing.assert_allclose(sum(received), gradients[g.id("x")], atol=0.01)


# Where a difference is a fair proof: detached parts move J but have no gradient; bfloat16 is too
# coarse, a hook changes gradients on purpose, and a leaf made inside cannot be moved.
UNFIT = {
    "partly_unused", "automatic_precision", "hooks_that_change_gradients", "gradient_penalty",
    "residual_of_a_differential_equation",
}  # fmt: skip


@pytest.mark.parametrize("make", [m for n, m in PROGRAMS.items() if n not in UNFIT])
def test_gradients_hold_against_differences_and_paths(make):
    function, arguments, _, options = made(make)
    for module in (function, *(c.cell_contents for c in getattr(function, "__closure__", 0) or ())):
        if isinstance(module, nn.Module):
            module.double()

    def wide(t):
        return t.detach().double().requires_grad_(t.requires_grad) if t.is_floating_point() else t

    double = torch.utils._pytree.tree_map_only(torch.Tensor, wide, arguments)
    check = gv.trace(function, *double, capture="whole", **options).check(entries=12)
    assert check.ok, check.text
    assert {row.how for row in check.rows} >= {"differences", "messages"}


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_the_model_is_as_it_was(capture):
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Linear(8, 2)
    )
    optimizer = torch.optim.Adam(model.parameters())
    x, t = torch.randn(5, 6), torch.tensor([0, 1, 0, 1, 1])

    def step(model, optimizer):
        optimizer.zero_grad()
        F.cross_entropy(model(x), t).backward()
        optimizer.step()

    step(model, optimizer)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    before = x.clone()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    gradients = [p.grad for p in model.parameters()]
    gv.trace(model, x, loss=lambda o: F.cross_entropy(o, t), capture=capture)
    assert all(a is p.grad for a, p in zip(gradients, model.parameters(), strict=True))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert np.array_equal(states[2], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before, x)
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for module in model.modules():
        hooks = [v for k, v in vars(module).items() if k.endswith("_hooks")]
        assert not any(hooks)
    assert not any(p._backward_hooks for p in model.parameters())
    state = torch.get_rng_state()
    step(model, optimizer)
    torch.set_rng_state(state)
    step(twin, twin_optimizer)
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def small():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def test_names_scopes_and_lines():
    torch.manual_seed(0)
    model, arguments, _ = torch_programs.gpt(vocabulary=9, width=8, heads=2, layers=2, tokens=5)
    g = gv.trace(model, *arguments)
    name = "blocks.1.attn.qkv.weight"
    assert g.values[g.id(name)].scope == ("blocks.1", "attn", "qkv")
    assert {n for n in g.names if n.startswith("blocks.1.attn.qkv")} == {
        name, "blocks.1.attn.qkv.bias", "blocks.1.attn.qkv.linear",
    }  # fmt: skip
    file, _, text = g.source(g.id("blocks.0.attn.weights"))
    assert file.endswith("torch_programs.py")
    assert text == "weights = F.softmax(scores, dim=-1)"
    assert g.names[g.output] == "J"


def test_the_whole_gpt_has_its_paths_counted_exactly():
    torch.manual_seed(0)
    model, arguments, _ = torch_programs.gpt()
    g = gv.trace(model, *arguments)
    # Along the residual stream a block either is passed by (1), or its MLP is entered (1), after
    # the attention was passed by or entered by q, k or v (3): (1 + 3) * (1 + 1) ways a block.
    assert g.explain("tok.weight").path_count == 8**12
    parameters = dict(model.named_parameters())
    assert set(g.gradients()) == set(parameters)


def test_wrt_names_arguments_and_modules():
    model, x = small(), torch.randn(5, 4)
    g = gv.trace(model, x, loss=torch.sum, wrt=("input", "2"))
    assert set(g.gradients()) == {"input", "2.weight", "2.bias"}
    expected = torch.autograd.grad(model(x.requires_grad_()).sum(), x)[0]
    np.testing.assert_array_equal(g.grad("input"), expected.numpy())
    with pytest.raises(ValueError, match=r"wrt='3' names no leaf .* there are: .*2\.weight"):
        gv.trace(model, x, loss=torch.sum, wrt="3")


def test_it_can_be_run_again_with_other_values():
    model, x = small(), torch.randn(5, 4)
    before = model.state_dict()["0.weight"].clone()
    g = gv.trace(model, x, loss=lambda o: o.pow(2).mean())
    after = g.step(0.1)
    assert after.value("J") < g.value("J")
    moved = g.value("0.weight") - np.float32(0.1) * g.grad("0.weight")
    np.testing.assert_allclose(after.value("0.weight"), moved, rtol=1e-6)
    assert torch.equal(before, model.state_dict()["0.weight"])


BAD = {
    "no scalar": (
        lambda: gv.trace(small(), torch.randn(5, 4)),
        "Sequential returned a tensor of 5×2; pass loss=lambda out",
    ),
    "a tuple": (lambda: gv.trace(nn.LSTM(4, 3), torch.randn(5, 4)), "returned a tuple of 2; pass"),
    "a dict": (
        lambda: gv.trace(lambda x: {"loss": x.sum(), "y": x}, torch.randn(3).requires_grad_()),
        r"returned a dict with loss, y; pass loss=lambda out: out\['loss'\]",
    ),
    "complex": (
        lambda: gv.trace(lambda x: torch.fft.fft(x).sum(), torch.randn(3).requires_grad_()),
        "returned a complex number",
    ),
    "nothing to differentiate": (
        lambda: gv.trace(lambda x: x.sum(), torch.randn(3)),
        "requires a gradient: call requires_grad_",
    ),
    "detached": (
        lambda: gv.trace(lambda w: (w * 2).detach().sum(), torch.randn(3).requires_grad_()),
        r"history ended at detach at .*test_torch.py:\d+: ",
    ),
    "a plain number": (
        lambda: gv.trace(
            lambda w: torch.tensor((w * 2).sum().item()), torch.randn(3).requires_grad_()
        ),
        r"item\(\) ended its history at .*test_torch.py",
    ),
    "backward inside": (
        lambda: gv.trace(lambda w: w.sum().backward(), torch.randn(3).requires_grad_()),
        "calls backward.* itself; return the loss instead",
    ),
    "a re-entrant checkpoint": (
        lambda: gv.trace(
            lambda w: torch.utils.checkpoint.checkpoint(torch.sin, w, use_reentrant=True).sum(),
            torch.randn(3).requires_grad_(),
        ),
        "use_reentrant=False",
    ),
    "an operator that takes functions": (
        lambda: gv.trace(
            lambda w: torch.cond(w.sum() > 0, torch.sin, torch.cos, (w,)).sum(),
            torch.randn(3).requires_grad_(),
        ),
        "write an if, or a loop, of Python's",
    ),
    "overwritten in place": (
        lambda: gv.trace(lambda w: w.exp().mul_(2).sum(), torch.randn(3).requires_grad_()),
        r"cannot differentiate this program: the gradient of exp at .*test_torch.py:\d+: .* needs "
        r"its result as it was, which .*test_torch.py:\d+: .* has written to since; make a new",
    ),
}


def written_to_the_base(h):
    row = h[0]
    squares = row.square()
    h.add_(1)  # the write
    return squares.sum()


def written_through_a_view(h):
    squares = h * h
    flat = h.view(-1)
    flat[0] = 1  # the write
    return squares.sum()


def written_to_another_result(h):
    values, vectors = torch.linalg.eigh(h @ h.T)
    vectors.mul_(2)  # the write
    return values.sum() + vectors.sum()


def written_to_a_constant(h):
    mask = torch.ones(3)
    y = h * mask
    mask.zero_()  # the write
    return y.sum()


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize(
    "write",
    [
        written_to_the_base,
        written_through_a_view,
        written_to_another_result,
        written_to_a_constant,
    ],
)
def test_a_write_to_what_a_gradient_needs_is_named(write, capture):
    w = torch.randn(3, 3, requires_grad=True)
    with pytest.raises(gv.TraceError, match=r"which .*# the write has written to since"):
        gv.trace(lambda w: write(w * 2), w, capture=capture)


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_write_to_a_view_that_a_gradient_needs_is_named_too(capture):
    celu = nn.Sequential(nn.Linear(3, 4), nn.CELU(inplace=True))

    def program(x):
        return torch.mul(celu(x), 2.0, out=None).sum() + celu(x).mul_(2).sum()  # the write

    def by_layers(x):
        return nn.Mish(inplace=True)(celu(x)).sum()  # the write

    for function, call in ((program, "mul_"), (by_layers, "mish")):
        with pytest.raises(
            gv.TraceError, match=rf"\(2, 5, 4\) as it was.* {call} at .*# the write"
        ):
            gv.trace(function, torch.randn(2, 5, 3), capture=capture)


@pytest.mark.parametrize(("call", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_told_in_clear_words(call, words):
    with pytest.raises(gv.TraceError, match=words):
        call()


def test_wrong_options():
    with pytest.raises(ValueError, match="capture='all': write 'whole' or 'lean'"):
        gv.trace(small(), torch.randn(5, 4), capture="all")
    with pytest.raises(TypeError, match="loss must be a function of the output, got Tensor"):
        gv.trace(small(), torch.randn(5, 4), loss=torch.ones(()))
    with pytest.raises(ValueError, match=r"i is of torch\.int64, which has no gradient"):
        gv.trace(lambda i: (i * 1.0).sum(), torch.arange(3), wrt="i")


def test_a_model_that_raises_half_way_shows_where():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(4, 2))
    with pytest.warns(UserWarning, match="Sequential raised RuntimeError: mat1 and mat2"):
        g = gv.trace(model, torch.randn(5, 4))
    assert g.values[g.output].operation.name == "linear raised"
    assert g.values[g.output].scope == ("2",)
    assert g.operands[g.output][0] == g.id("relu")
    assert isinstance(g.error, RuntimeError)
    assert "error = linear raised(relu, 2.weight, 2.bias)" in g.draw(budget=100).text
    with pytest.raises(gv.TraceError, match="was not asked for"):
        g.grad("0.weight")


def test_a_hook_of_autograds_own_is_left_alone():
    model, x = small(), torch.randn(5, 4)
    seen = []
    for parameter in model.parameters():
        parameter.register_hook(lambda g: seen.append(g.shape))
        parameter.register_post_accumulate_grad_hook(lambda p: seen.append("accumulated"))
    gv.trace(model, x, loss=torch.sum)
    assert "accumulated" not in seen  # an optimizer that steps in there must not step
    assert [len(p._backward_hooks) for p in model.parameters()] == [1] * 4


def test_gradients_of_leaves_are_let_go_when_everybody_has_seen_them():
    first, second = nn.Linear(64, 64), nn.Linear(64, 64)
    x, seen, alive = torch.randn(2, 64), {}, []

    def see(name, gradient):
        alive.append(sum(g() is not None for g in references))
        references.append(weakref.ref(gradient))
        seen[name] = gradient.clone()

    def late(_):
        handles.append(first.bias.register_hook(partial(see, "first.bias")))

    def program(x):
        h = first(x)
        handles.append(first.weight.register_hook(partial(see, "first.weight")))
        h.register_hook(late)
        return second(h).square().sum()

    references, handles = [], [second.weight.register_hook(partial(see, "second.weight"))]
    g = gv.trace(program, x, capture="lean")
    while handles:
        handles.pop().remove()
    leaves = {
        "first.weight": first.weight,
        "first.bias": first.bias,
        "second.weight": second.weight,
    }
    wanted = torch.autograd.grad(second(first(x)).square().sum(), list(leaves.values()))
    for name, gradient in zip(leaves, wanted, strict=True):
        assert torch.equal(seen[name], gradient)
        assert g.grad(name).norm == pytest.approx(gradient.norm().item(), rel=1e-6)
    assert max(alive) <= 1  # the very one that is seen, by another hook


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inside of torch.compile
def test_a_compiled_module_is_traced_as_it_was():
    model, x = small(), torch.randn(5, 4)
    with pytest.warns(UserWarning, match="traced as it was before compilation"):
        g = gv.trace(torch.compile(model), x, loss=torch.sum)
    assert set(g.gradients()) == {name for name, _ in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor")
def test_tensors_that_are_not_dense():
    values = torch.tensor([1.0, -2.0])
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 1], [1, 0]]), values, (2, 3))
    w = torch.randn(3, 2, requires_grad=True)
    for capture in ("whole", "lean"):
        g = gv.trace(lambda s, w: torch.sparse.mm(s, w).sum(), sparse, w, capture=capture)
        assert measure(g.value("s")).norm == pytest.approx(5**0.5)
    quantized = torch.quantize_per_tensor(torch.tensor([1.0, 2.0, 2.5]), 0.5, 0, torch.qint8)
    g = gv.trace(lambda q, w: (q.dequantize() * w).sum(), quantized, torch.ones(3).requires_grad_())
    np.testing.assert_array_equal(g.grad("w"), [1.0, 2.0, 2.5])


def test_what_has_no_gradient_says_why():
    model, arguments, _ = made(PROGRAMS["partly_unused"])[:3]
    g = gv.trace(model, *arguments)
    assert g.grad_state(g.id("unused.weight")) == "disconnected"
    assert g.grad_state(g.id("cut.weight")) == "disconnected"
    assert g.grad_state(g.id("used.weight")) == "number"


def test_numpy_programs_are_not_taken_for_pytorchs():
    assert gv.trace(lambda w: np.sum(w * w), np.array([1.0, 2.0])).grad("w").tolist() == [2.0, 4.0]


def test_large_models_are_captured_lean():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g = gv.trace(nn.Linear(1024, 1025), torch.randn(2, 1024), loss=torch.sum)
    assert isinstance(g.value("weight"), Statistics)
    with pytest.raises(gv.TraceError, match="trace with capture='whole' to keep it"):
        g.step(0.1)
    with pytest.raises(gv.TraceError, match="capture='whole'"):
        g.check()


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (lambda h: h.detach(), "detach ended the history of h at "),
        (lambda h: h.sum().item(), "sum was read as a plain number by item() at "),
    ],
)
def test_check_says_where_the_history_of_a_number_was_cut(cut, told):
    linear = nn.Linear(3, 3).double()

    def program(x):
        h = linear(x)
        return (h * cut(h)).sum() + (h > 0).sum() * h.mean()

    found = gv.trace(program, torch.ones(2, 3).double()).check()
    assert not found
    assert told in found.text
    assert ": (lambda h: h." in found.text
    assert "ended the history" not in found.text.replace("detach ended the history", "")

    whole = gv.trace(lambda x: linear(x).sin().sum(), torch.ones(2, 3).double()).check()
    assert whole
    assert "history" not in whole.text


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_hooks_that_change_a_gradient_are_told(capture):
    first, second, third = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)
    second.register_full_backward_hook(lambda module, sent, received: (sent[0] * 0,))
    third.register_full_backward_pre_hook(lambda module, received: (received[0] * 2,))
    first.weight.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))
    first.bias.register_hook(lambda gradient: None)  # only looks
    before = dict(first.weight._backward_hooks)

    def program(x):
        h = first(x)
        h.register_hook(lambda g: g * 3)  # changes it
        k = second(h.tanh())
        k.register_hook(lambda g: g.clone())  # does not
        return third(k).sum() + h.sum()

    g = gv.trace(program, torch.randn(2, 3), capture=capture)
    told = {g.names[i]: hook for i, hook in g.changed_by_hooks.items()}
    assert "# changes it" in told.pop("h")
    assert "the hook <lambda> (" in told.pop("first.weight")
    assert list(told.values()) == ["a backward hook of second or third"] * 2
    assert list(first.weight._backward_hooks.items()) == list(before.items())
    assert gv.trace(small(), torch.randn(5, 4), loss=torch.sum).changed_by_hooks == {}


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize(
    ("register", "changed"),
    [
        (lambda node: node.register_prehook(lambda received: (received[0] * 2,)), "h"),
        (lambda node: node.register_hook(lambda sent, received: (sent[0] * 2,)), "linear"),
        (lambda node: node.register_hook(lambda sent, received: None), None),
    ],
)
def test_hooks_of_autograds_nodes_that_change_a_gradient_are_told(register, changed, capture):
    linear = nn.Linear(3, 3)

    def program(x):
        h = linear(x).tanh()
        register(h.grad_fn)
        return h.sum()

    g = gv.trace(program, torch.randn(4, 3), capture=capture)
    assert [g.names[i] for i in g.changed_by_hooks] == ([changed] if changed else [])


def test_a_lean_capture_that_is_looked_at_later_tells_what_was_then():
    linear = nn.Linear(3, 2)
    weight, x = linear.weight.detach().clone(), torch.randn(4, 3)
    g, other = (gv.trace(linear, x, loss=torch.sum, capture="lean") for _ in range(2))
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.zero_()
    assert g.value("weight").norm == pytest.approx(weight.norm().item())
    np.testing.assert_array_equal(g.value("weight").sample, weight.ravel())
    assert g.grad("weight").norm == pytest.approx(x.sum(0).norm().item() * 2**0.5)
    assert pickle.loads(pickle.dumps(other.value("weight"))) == g.value("weight")


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_program_that_uses_only_what_has_no_gradient_is_captured(capture):
    linear = nn.Linear(3, 3)
    g = gv.trace(lambda x: torch.linalg.slogdet(linear(x))[0], torch.randn(3, 3), capture=capture)
    assert g.grad_state(g.id("weight")) == "disconnected"
    assert "takes linear as a constant" in g.diagnose().text

    linear.weight.register_hook(lambda gradient: None)
    hooked = gv.trace(lambda x: torch.linalg.slogdet(linear(x))[0], torch.eye(3), capture=capture)
    assert hooked.grad_state(hooked.id("weight")) == "disconnected"


def penalty(critic, x):
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


def through_a_view(critic, x):
    y = critic(x) * 3
    y[:, 1:].mul_(2)
    return y.square().sum()


class Both(torch.autograd.Function):
    """Two results."""

    @staticmethod
    def forward(ctx, x):
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, first, second):
        return 2 * first + 3 * second


@pytest.mark.parametrize(
    "program",
    [
        penalty,
        through_a_view,
        lambda critic, x: sum(part.sin().sum() for part in Both.apply(critic(x))),
        lambda critic, x: torch.sparse.sum(critic(x).to_sparse().coalesce()),
        lambda critic, x: critic(x).to_sparse().coalesce().values().square().sum(),
    ],
)
def test_calls_that_cannot_be_made_again_are_explained_with_the_messages_they_sent(program):
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3).double()
    g = gv.trace(program, critic, x, capture="whole")
    name = next(name for name in g.gradients() if name.endswith("0.weight"))
    program(critic, x).backward()
    assert np.allclose(g.grad(name), critic[0].weight.grad)
    for text in (g.explain(name).text, g.diagnose().text, g.draw().svg, g.reuse().text):
        assert text
    assert all(path.value is None for path in g.explain(name).paths())
    found = g.check()
    assert found, found.text
    assert "ended the history" not in found.text


def test_a_second_derivative_that_nothing_comes_of_is_no_way_that_is_missing():
    critic = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1)).double()
    g = gv.trace(lambda x: critic(x).mean() + penalty(critic, x), torch.randn(5, 3).double())
    for name in g.gradients():
        assert all(text for text in (g.explain(name).text, g.explain(name).latex))
    assert g.check(), g.check().text


def hard_samples(linear, x):
    return nn.functional.gumbel_softmax(linear(x), hard=True) @ torch.arange(1.0, 4.0).double()


def rounded(linear, x):
    return torch.fake_quantize_per_tensor_affine(linear(x), 0.1, 0, -128, 127)


def seen_by_a_hook(linear, x):
    hooked = nn.Sequential(linear)
    hooked.register_full_backward_hook(lambda module, sent, received: None)
    return hooked(x.requires_grad_()) * linear(x).detach()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (hard_samples, "gumbel_softmax sends the gradient of what it rounds to 0 and 1"),
        (rounded, "fake_quantize_per_tensor_affine rounds, and sends the gradient on"),
        (seen_by_a_hook, "detach ended the history of linear"),
    ],
)
def test_check_says_what_has_another_gradient_than_slope_on_purpose(program, told):
    linear = nn.Linear(3, 3).double()
    found = gv.trace(lambda x: program(linear, x).square().sum(), torch.randn(4, 3).double())
    found = found.check()
    assert not found
    assert told in found.text
    assert "BackwardHook" not in found.text


def test_a_convention_of_max_norm_is_told_where_a_slope_differs():
    table = nn.Embedding(5, 4, max_norm=0.5).double()
    found = gv.trace(lambda i: table(i).square().sum(), torch.tensor([0, 2])).check()
    assert not found
    assert "scales its rows down where no gradient sees it (max_norm=0.5)" in found.text


@pytest.mark.parametrize(
    "write",
    [
        lambda y, i, v: y.__setitem__(i, v) or y,
        lambda y, i, v: y.index_put((i,), v),
        lambda y, i, v: y.scatter_(0, i, v),
        lambda y, i, v: y.index_copy(0, i, v),
    ],
)
def test_a_write_that_meets_a_place_twice_is_told_where_a_slope_differs(write):
    def written(v, places):
        return (write(torch.zeros(3).double(), places, v) * torch.arange(1.0, 4)).sum()

    v = torch.tensor([1.0, 2, 5], dtype=torch.float64, requires_grad=True)
    once = gv.trace(written, v, torch.tensor([2, 0, 1])).check()
    assert once
    found = gv.trace(written, v, torch.tensor([0, 0, 1])).check()
    assert not found
    assert "writes to a place more than once" in found.text


def test_a_sample_is_the_same_one_wherever_its_call_is_made_again(tmp_path):
    linear, own = nn.Linear(3, 4).double(), torch.Generator().manual_seed(3)

    def program(x):
        a = nn.functional.softplus(linear(x)) + 0.5
        total = torch.distributions.Gamma(a, a + 1).rsample().sum()
        total = total + torch.distributions.Dirichlet(a).rsample().square().sum()
        total = total + (a * torch.empty_like(a).uniform_(to=2)).sum()
        return (
            total + (a.clone().exponential_(0.7) * a * a.sigmoid().bernoulli(generator=own)).sum()
        )

    g = gv.trace(lambda x: program(x * 0.1), torch.randn(2, 3).double(), capture="whole")
    state, theirs = torch.get_rng_state(), own.get_state()
    text = g.explain("weight").text + g.explain("weight").factored.text + g.draw().svg
    paths = [path.value for path in g.explain("weight").paths()]
    assert any(path is not None for path in paths)
    if all(path is not None for path in paths):
        np.testing.assert_allclose(sum(paths), g.grad("weight"))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(own.get_state(), theirs)
    g.save(tmp_path / "g.json")  # (uniform_ has an argument that is called from)
    assert gv.load(tmp_path / "g.json").explain("weight").text
    assert text


class ByItself(torch.autograd.Function):
    """Differentiates in a pass of its own what it has computed before."""

    @staticmethod
    def forward(context, *given):
        with torch.enable_grad():
            own = [tensor.detach().requires_grad_() for tensor in given]
            result = torch.tanh(own[0] @ own[1]) * own[1].sum()
        context.own, context.result = own, result
        return result.detach()

    @staticmethod
    def backward(context, upstream):
        return torch.autograd.grad(context.result, context.own, upstream)


def test_a_backward_pass_inside_of_another_is_not_taken_for_it():
    weight = torch.randn(3, 2).double().requires_grad_()

    def program(x):
        return ByItself.apply(x, weight).square().sum()

    x = torch.randn(4, 3).double().requires_grad_()
    g = gv.trace(program, x)
    assert set(g.gradients()) == {"x", "weight"}
    for name, want in zip(
        ("x", "weight"), torch.autograd.grad(program(x), (x, weight)), strict=True
    ):
        np.testing.assert_allclose(g.grad(name), want)
    assert g.check(), g.check().text


def test_a_parameter_in_the_memory_of_another_is_not_moved_with_it():
    encoder, decoder = nn.Linear(3, 2).double(), nn.Linear(2, 3).double()
    decoder.weight = nn.Parameter(encoder.weight.t())  # not tied: two parameters, one memory
    x = torch.randn(4, 3).double()
    found = gv.trace(lambda x: decoder(encoder(x)).square().sum(), x).check()
    assert found, found.text
    assert "encoder.weight is not compared with finite differences: it lies in one" in found.text
    assert "decoder.weight is not compared" in found.text
    assert "bias is not" not in found.text


def test_a_copy_that_follows_a_model_is_told_where_a_slope_differs():
    model = nn.Linear(3, 3).double()
    follower = copy.deepcopy(model).requires_grad_(False)

    def program(x):
        for mine, theirs in zip(follower.parameters(), model.parameters(), strict=True):
            mine.data = 0.9 * mine.data + 0.1 * theirs.data  # the write
        return (model(x) * follower(x)).sum()

    found = gv.trace(program, torch.randn(4, 3).double()).check()
    assert not found
    assert "what was written to follower.weight has no history at " in found.text
    assert "# the write" in found.text


def test_what_takes_the_shape_of_a_value_alone_has_not_ended_its_history():
    linear = nn.Linear(3, 3).double()

    def program(x):
        h = linear(x)
        return torch.where(h > 0, h, torch.zeros_like(h)).sum() * h.detach().sum()

    text = gv.trace(program, torch.randn(4, 3).double()).check().text
    assert "detach ended the history of h" in text
    assert "zeros_like ended" not in text


def test_a_wrong_gradient_of_a_smooth_function_is_no_corner_of_it():
    for n in range(40):  # (x + 8 - 8 rounds as much as a corner bends)
        x = torch.full((), 0.1 * n - 2, requires_grad=True)
        found = gv.trace(lambda x: (x + 8 - 8).sin() + 1 + 0.008 * x.detach(), x).check()
        assert not found
        assert not any(row.corners for row in found.rows)


def test_numbers_of_double_precision_are_explained_drawn_and_saved(tmp_path):
    a = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    g = gv.trace(lambda a: (a * a + a) * 3 / (1 + a.exp()), a)
    assert float(g.local(g.id("mul"), 0)) == 2
    g.save(tmp_path / "g.json")
    for graph in (g, gv.load(tmp_path / "g.json")):
        assert graph.explain("a").text
        assert graph.draw().svg
    assert g.check(), g.check().text


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_leaf_that_the_program_makes_has_the_name_of_its_variable(capture):
    critic = torch.nn.Linear(3, 1)

    def penalty(real, fake):
        mixed = (0.25 * real + 0.75 * fake).requires_grad_()
        (slope,) = torch.autograd.grad(critic(mixed).tanh().sum(), mixed, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean()

    graph = gv.trace(penalty, torch.ones(2, 3), torch.zeros(2, 3), capture=capture)
    assert set(graph.gradients()) == {"mixed", "weight", "bias"}


def test_a_leaf_in_the_memory_of_another_stays_where_that_one_is_moved():
    flat = nn.Parameter(torch.randn(6).double())
    weight, bias = (nn.Parameter(flat.data[a:b]) for a, b in ((0, 4), (4, 6)))

    def program(x):
        return (x @ weight.view(2, 2) + bias).sum() + 0 * flat.detach().sum()

    g = gv.trace(program, torch.randn(3, 2).double(), wrt=("weight", "bias"))
    assert g.check(), g.check().text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_roundings_of_half_precision_are_no_fault(dtype):
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0).to(dtype)
    g = gv.trace(lambda x: model(x).float().pow(3).mean(), torch.randn(1, 8, 16).to(dtype))
    assert g.check(), g.check().text
    assert "changed" not in g.diagnose().text


def test_complex_parameters_are_checked_and_stepped_by_pytorchs_convention():
    w = torch.tensor([1 + 2j, -0.5 + 1j], dtype=torch.complex128, requires_grad=True)

    def program():
        return (w * (1 - 2j)).real.square().sum() + w.abs().sum()

    g = gv.trace(program)
    (want,) = torch.autograd.grad(program(), w)
    np.testing.assert_allclose(g.grad("w"), want)
    assert g.check(), g.check().text
    np.testing.assert_allclose(g.step(0.01).value("w"), (w - 0.01 * want).detach())
    assert g.step(0.01).value("J") < g.value("J")


def test_differences_are_as_wide_as_the_precision_inside_of_a_program_asks():
    x = np.array([0.3, -1.2])
    g = gv.trace(lambda x: np.sum(np.sin(x.astype(np.float32))), x)
    assert g.check(), g.check().text
    model = nn.Linear(4, 3)

    def program(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x).float().square().sum()

    g = gv.trace(program, torch.randn(5, 4))
    assert g.check(), g.check().text


def test_check_does_not_say_that_a_history_ended_where_it_goes_on():
    weight = torch.randn(3, 4).double().requires_grad_()

    def repeated(weight):  # of two rows with one index, one is left; autograd gives to both
        y = torch.zeros(5, 4).double()
        y[torch.tensor([0, 2, 2])] = weight
        y[1:3] += 1
        return y.pow(3).sum()

    found = gv.trace(repeated, weight).check()
    assert not found
    assert "ended the history" not in found.text


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_a_changed_gradient_is_marked_diagnosed_checked_and_saved(capture, tmp_path):
    first, second = nn.Linear(3, 3).double(), nn.Linear(3, 1).double()
    first.bias.register_hook(lambda gradient: gradient * 0)

    def program(x):
        h = first(x)
        h.register_hook(lambda g: g * 3)  # triples it
        return second(h.tanh()).sum()

    g = gv.trace(program, torch.ones(2, 3).double(), capture=capture)
    g.save(tmp_path / "g.json")
    for graph in (g, gv.load(tmp_path / "g.json")):
        assert graph.changed_by_hooks == g.changed_by_hooks
        svg = graph.draw(budget=100).svg
        assert svg.count(">changed by a hook</text>") == 2
        assert "its gradient was changed by a hook registered at" in svg
        assert graph.dag.nodes[graph.id("h")]["changed_by_hook"]
        findings = {finding.kind: finding.message for finding in graph.diagnose().findings}
        assert "of first.bias by the hook <lambda>" in findings["changed gradient"]
        assert "# triples it" in findings["changed gradient"]
        assert "first.bias was set to 0" in findings["zero gradient"]
        assert "as a hook does: the hook <lambda>" in findings["zero gradient"]
    if capture == "whole":
        found = g.check()
        assert not found
        assert {row.name for row in found.rows if not row.ok} == {"first.weight", "first.bias", "h"}
        assert found.text.count("the gradient of h was changed by a hook registered at") == 5


def test_what_a_transform_writes_to_is_recorded_and_linearize_is_refused():
    def written(x):
        y = x * 1
        torch.func.vmap(lambda row: row.mul_(2))(y.reshape(2, 2))
        return (y * y).sum()

    for capture in ("whole", "lean"):
        x = torch.tensor([0.1, 0.5, -0.7, 1.2], requires_grad=True)
        (gradient,) = torch.autograd.grad(written(x), x)
        found = measure(gv.trace(written, x, capture=capture).grad("x"))
        assert found.norm == pytest.approx(gradient.norm().item(), rel=1e-5)

    def linearized(x):
        out, tangent = torch.func.linearize(lambda x: x.softmax(0), x)
        return (out * tangent(torch.ones_like(x))).sum()

    with pytest.raises(gv.TraceError, match=r"write torch\.func\.jvp, at .*test_torch\.py"):
        gv.trace(linearized, x)
