"""The bytes that each call keeps for the backward pass, next to what autograd hands to a hook."""

import gc
import weakref

import pytest

import gradviz as gv

torch = pytest.importorskip("torch", reason="needs PyTorch")
import torch.nn.functional as F
import torch_programs
from torch import nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint
from torch_programs import PROGRAMS

pytestmark = pytest.mark.filterwarnings("ignore")
HIDDEN = {
    "checkpointed",
    "several_results_under_checkpoints",
    "written_in_place",
    "written_through_a_view",
    "rows_filled_in",
    "read_without_gradient_first",
} | {n for n in PROGRAMS if n.startswith("written_after_")}
"""Programs in which a hook or a write through a view hides what a call keeps."""  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def nothing_older_is_collected():
    """Each test collects garbage: of libraries that are loaded, that takes longer than the test."""
    gc.freeze()
    yield
    gc.unfreeze()


class Held:
    def __init__(self, tensor):
        self.tensor = tensor.detach()  # not its history, which would hold this


def modules_of(function):
    found = [function, *(c.cell_contents for c in getattr(function, "__closure__", None) or ())]
    return [module for module in found if isinstance(module, nn.Module)]


def kept_by_autograd(function, arguments, loss=None):
    """The bytes of what autograd holds of a plain run as long as its J is there."""
    held = weakref.WeakSet()

    def pack(tensor):
        found = Held(tensor)
        held.add(found)
        return found

    with saved_tensors_hooks(pack, lambda found: found.tensor):
        output = function(*arguments)
        J = output if loss is None else loss(output)
    del output
    gc.collect()
    assert J.grad_fn is not None
    there = {
        part.untyped_storage().data_ptr()
        for module in modules_of(function)
        for part in (*module.parameters(), *module.buffers())
    }
    sizes = {}
    for tensor in (found.tensor for found in held):
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in there and (tensor.ndim or memory.nbytes() > 8):
            sizes[memory.data_ptr()] = memory.nbytes()
    return sum(sizes.values())


def unknown(graph):
    """The calls with a gradient of which nothing is said."""
    return [
        graph.names[i]
        for i in graph.derivatives.gradients
        if not graph.is_leaf(i) and i not in graph.memory
    ]


@pytest.mark.parametrize("capture", ["whole", "lean"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_bytes_are_those_that_autograd_holds(name, capture):
    make = PROGRAMS[name]
    if name == "gradients_of_each_example":
        pytest.skip("torch.func runs under no hook of saved tensors")
    torch.manual_seed(0)
    function, arguments, loss = make()
    graph = gv.trace(function, *arguments, capture=capture, **({"loss": loss} if loss else {}))
    torch.manual_seed(0)
    function, arguments, loss = make()
    expected = kept_by_autograd(function, arguments, loss)
    found = sum(graph.memory.values())
    if name in HIDDEN:
        assert unknown(graph)
        assert found <= expected
    else:
        assert not unknown(graph)
        assert found == expected


def test_the_bytes_of_known_models():
    transformers = pytest.importorskip("transformers", reason="traces its models")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=2, n_embd=16, n_head=4, vocab_size=20, n_positions=8, bos_token_id=0,
        eos_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
    )  # fmt: skip
    gpt = transformers.GPT2LMHeadModel(config)
    ids = torch.arange(6)[None]
    resnet, image = torch_programs.ResNet18(4), torch.randn(2, 3, 32, 32)
    for function, arguments, loss in (
        (lambda ids: gpt(input_ids=ids, labels=ids).loss, (ids,), None),
        (resnet, (image,), lambda o: o.sin().sum()),
        (torch_programs.gpt(vocabulary=9, width=8, heads=2, layers=2, tokens=4)),
    ):
        graph = gv.trace(function, *arguments, capture="lean", **({"loss": loss} if loss else {}))
        assert not unknown(graph)
        assert sum(graph.memory.values()) == kept_by_autograd(function, arguments, loss)


def test_each_storage_counts_once_for_the_first_call_that_keeps_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.ones(5, 3)
    graph = gv.trace(model, x, loss=lambda o: (o.tanh() * 2).sum())
    by_layer = {
        graph.values[i].scope: size for i, size in graph.memory.items() if graph.values[i].scope
    }
    assert by_layer == {
        ("0",): 5 * 3 * 4,  # its input
        ("1",): 5 * 4 * 4,  # its result, which the next layer reads
        ("2",): 0,
    }
    assert {graph.names[i]: n for i, n in graph.memory.items() if not graph.values[i].scope} == {
        "tanh": 5 * 2 * 4,
        "mul": 0,  # the 2 is no array
        "J": 0,
    }
    wide = torch.randn(10, 10, requires_grad=True)
    part = gv.trace(lambda: wide[0].sin().sum())
    assert sum(part.memory.values()) == 400  # all of the storage that the row lies in


def test_what_an_own_function_keeps_beside_its_saved_tensors_counts():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.twice = [2 * x]
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.twice[0]

    graph = gv.trace(lambda x: Square.apply(x).sum(), torch.ones(7, requires_grad=True))
    assert sum(graph.memory.values()) == 2 * 7 * 4


def test_a_branch_that_does_not_lead_to_J_is_kept_for_nothing():
    linear = nn.Linear(3, 3)

    def f(x):
        y = linear(x)
        z = (x @ linear.weight).exp()  # looked at by nobody
        return y.sum() + z.detach().sum()

    assert sum(gv.trace(f, torch.ones(2, 3)).memory.values()) == 2 * 3 * 4


@pytest.mark.parametrize("capture", ["whole", "lean"])
def test_no_hook_of_the_program_runs_for_it(capture):
    calls = []

    def unpack(tensor):
        calls.append("unpack")
        return tensor

    linear, late = nn.Linear(3, 3), nn.Linear(3, 3)

    def block(x):
        calls.append("block")
        return linear(x).tanh()

    def f(x):
        with saved_tensors_hooks(lambda tensor: tensor, unpack):
            x = x.sin() * late.weight[0]
        x = checkpoint(block, x, use_reentrant=False)
        return late(x).exp().sum()

    x = torch.ones(2, 3, requires_grad=True)
    f(x).backward()
    plain, calls[:] = [*calls], []
    graph = gv.trace(f, x, capture=capture)
    assert calls == plain
    assert {"sin", "tanh"} <= {*unknown(graph)}
    assert graph.memory[graph.id("exp")] == 2 * 3 * 4
    with save_on_cpu():
        assert gv.trace(late, x, loss=torch.sum, capture=capture).memory == {}


def test_a_step_of_a_training_keeps_them_too(tmp_path):
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.ones(5, 3)
    recorder = gv.record_training(model, tmp_path / "run.gz")
    with recorder.step():
        F.mse_loss(model(data)[:, 0], torch.zeros(5)).backward()
    graph = gv.load_training(tmp_path / "run.gz").graph(0)
    by_layer = {graph.values[i].scope: size for i, size in graph.memory.items()}
    assert (by_layer["0",], by_layer["1",], by_layer["2",]) == (60, 80, 0)


def test_numpy_programs_keep_nothing_that_is_counted():
    assert gv.trace(lambda x: x * x, 3.0).memory == {}
