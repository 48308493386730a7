"""What a Graph says of the modules that its scopes are."""

import pytest

import gradviz as gv
from gradviz.layers import Layer

torch = pytest.importorskip("torch", reason="needs PyTorch")
import torch_programs
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

pytestmark = pytest.mark.filterwarnings("ignore")


def words(module, *arguments):
    """What is told of a module that is part of another."""
    model = nn.Sequential()
    model.add_module("layer", module)
    total = torch.zeros((), requires_grad=True)

    def program(x):
        outputs = model.layer(*arguments)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        return x + outputs.sum()

    return str(gv.trace(program, total).layers["layer",])


class Odd(nn.Module):
    """Its `extra_repr` does what it is told to."""

    def __init__(self, told):
        super().__init__()
        self.told = told

    def extra_repr(self):
        return self.told()

    def forward(self, x):
        return x.sin()


def failing():
    raise RuntimeError("not now")


IMAGE, ROWS, TEXT = (
    torch.ones(2, 4, 8, 8),
    torch.ones(2, 5, 16),
    torch.zeros(2, 3, dtype=torch.long),
)


@pytest.mark.parametrize(
    ("module", "arguments", "expected"),
    [
        (nn.Linear(16, 10), ROWS, "Linear 16 → 10"),
        (nn.Bilinear(16, 16, 2), (ROWS, ROWS), "Bilinear 16 × 16 → 2"),
        (nn.Conv2d(4, 64, 7, 2, 3), IMAGE, "Conv2d 4 → 64, 7×7 /2"),
        (nn.Conv2d(4, 6, 3, padding=1), IMAGE, "Conv2d 4 → 6, 3×3"),
        (nn.Conv2d(4, 8, (3, 1), groups=4), IMAGE, "Conv2d 4 → 8, 3×1, 4 groups"),
        (nn.Conv2d(4, 8, 3, (2, 1), dilation=2), IMAGE, "Conv2d 4 → 8, 3×3 /2×1, dilation 2"),
        (nn.Conv1d(5, 7, 3, stride=2), ROWS, "Conv1d 5 → 7, kernel 3 /2"),
        (nn.ConvTranspose2d(4, 2, 2, 2), IMAGE, "ConvTranspose2d 4 → 2, 2×2 /2"),
        (nn.BatchNorm2d(4), IMAGE, "BatchNorm2d 4"),
        (nn.GroupNorm(2, 4), IMAGE, "GroupNorm 4, 2 groups"),
        (nn.LayerNorm(16), ROWS, "LayerNorm 16"),
        (nn.LayerNorm((5, 16)), ROWS, "LayerNorm 5×16"),
        (nn.RMSNorm(16), ROWS, "RMSNorm 16"),
        (nn.Embedding(100, 64), TEXT, "Embedding 100 × 64"),
        (nn.Dropout(0.1), ROWS, "Dropout 0.1"),
        (nn.MultiheadAttention(16, 8), (ROWS, ROWS, ROWS), "MultiheadAttention 16, 8 heads"),
        (nn.LSTM(16, 24, 2, bidirectional=True), ROWS, "LSTM 16 → 24, 2 layers, bidirectional"),
        (nn.GRU(16, 3), ROWS, "GRU 16 → 3"),
        (nn.RNN(16, 3, nonlinearity="relu"), ROWS, "RNN 16 → 3, relu"),
        (nn.GRUCell(16, 3), ROWS[0], "GRUCell 16 → 3"),
        (nn.MaxPool2d(2), IMAGE, "MaxPool2d 2×2 /2"),
        (nn.MaxPool2d(3, 2, 1), IMAGE, "MaxPool2d 3×3 /2"),
        (nn.AvgPool1d(2), ROWS, "AvgPool1d kernel 2 /2"),
        (nn.AdaptiveAvgPool2d(1), IMAGE, "AdaptiveAvgPool2d → 1×1"),
        (nn.AdaptiveMaxPool2d((2, None)), IMAGE, "AdaptiveMaxPool2d → 2×·"),
        (nn.LeakyReLU(0.2), ROWS, "LeakyReLU 0.2"),
        (nn.ReLU(inplace=True), ROWS.clone(), "ReLU"),
        (nn.GELU("tanh"), ROWS, "GELU approximate='tanh'"),
        (nn.Softmax(-1), ROWS, "Softmax dim -1"),
        (nn.ELU(2.0), ROWS, "ELU alpha=2.0"),
        (nn.Flatten(), IMAGE, "Flatten"),
        (nn.Flatten(2), IMAGE, "Flatten start_dim=2"),
        (nn.Upsample(scale_factor=2), IMAGE, "Upsample ×2, nearest"),
        (nn.ZeroPad2d(1), IMAGE, "ZeroPad2d 1"),
        (nn.Sequential(nn.Linear(16, 2)), ROWS, "Sequential"),
        (nn.TransformerEncoderLayer(16, 2), ROWS, "TransformerEncoderLayer 16, 2 heads"),
        (weight_norm(nn.Linear(16, 2)), ROWS, "ParametrizedLinear 16 → 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_layer_is_told_as_its_author_writes_it(module, arguments, expected):
    assert words(module, *(arguments if isinstance(arguments, tuple) else (arguments,))) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (lambda: "(64,), eps=1e-06", "Odd 64"),
        (lambda: "size=(2, 3), heads=4, bias=True", "Odd size=2×3, heads=4"),
        (lambda: "gates=[a, b],\n   depth=2", "Odd gates=[a, b], depth=2"),
        (lambda: ", ".join(f"part{n}" for n in range(99)), None),
        (lambda: "x" * 10_000, "Odd"),
        (lambda: "<b>&\ud800", None),
        (lambda: "", "Odd"),
        (lambda: None, "Odd"),
        (lambda: 3, "Odd"),
        (lambda: b"bytes", "Odd"),
        (failing, "Odd"),
    ],
)
def test_what_a_module_says_of_itself_is_shortened_and_does_no_harm(told, expected, tmp_path):
    model = nn.Sequential(Odd(told), nn.Linear(3, 1))
    graph = gv.trace(model, torch.ones(2, 3), loss=torch.sum)
    found = str(graph.layers["0",])
    assert expected in (found, None)
    assert len(found) < 70
    graph.save(tmp_path / "g.json")
    assert gv.load(tmp_path / "g.json").layers == graph.layers


def test_a_class_that_says_its_own_of_a_layer_of_pytorch_is_believed():
    class Mine(nn.Linear):
        def extra_repr(self):
            return "rank 4"

    class Dropping(Mine):
        def extra_repr(self):
            return f"p={1 / 30}"

    class Named(nn.Linear):
        pass

    assert words(Mine(16, 2), ROWS) == "Mine rank 4"
    assert words(Dropping(16, 2), ROWS) == "Dropping p=0.0333"
    assert words(Named(16, 2), ROWS) == "Named 16 → 2"


def test_every_scope_of_a_model_is_the_module_of_that_path():
    torch.manual_seed(0)
    model = torch_programs.ResNet18(4)
    called = set()
    for path, module in model.named_modules():
        module.register_forward_hook(lambda *_, path=path: called.add(path))
    graph = gv.trace(model, torch.randn(2, 3, 32, 32), loss=torch.sum, capture="lean")
    modules = dict(model.named_modules())
    assert {".".join(scope) for scope in graph.layers} == called
    for scope, layer in graph.layers.items():
        module = modules[".".join(scope)]
        assert layer.kind == type(module).__name__
        assert layer.training is module.training is True
        if isinstance(module, nn.Conv2d):
            size = "×".join(map(str, module.kernel_size))
            assert f"{module.in_channels} → {module.out_channels}, {size}" in layer.arguments
            assert ("/2" in layer.arguments) == (module.stride == (2, 2))
    assert graph.layers["layer2", "0", "downsample", "0"] == Layer("Conv2d", "64 → 128, 1×1 /2")
    for node in graph.values:
        assert node.scope in graph.layers


def test_models_of_a_function_have_their_layers_too():
    one, two = nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 3)
    x = torch.ones(2, 3)
    alone = gv.trace(lambda x: one(x).sum(), x)
    assert alone.layers == {(): Layer("Sequential"), ("0",): Layer("Linear", "3 → 3")}
    both = gv.trace(lambda x: two(one(x)).sum(), x)
    assert both.layers == {
        ("one",): Layer("Sequential"),
        ("one", "0"): Layer("Linear", "3 → 3"),
        ("two",): Layer("Linear", "3 → 3"),
    }


def test_a_module_that_is_not_called_is_told_where_its_parameter_is_read():
    model = nn.ModuleDict({"embed": nn.Embedding(5, 3), "unused": nn.Linear(2, 2)})
    graph = gv.trace(lambda x: (x @ model["embed"].weight.T).sum(), torch.ones(2, 3))
    assert graph.values[graph.id("embed.weight")].scope == ("embed",)
    assert graph.layers["embed",] == Layer("Embedding", "5 × 3")


def test_the_mode_is_that_in_which_a_layer_was_called():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 1))
    model[0].eval()
    graph = gv.trace(model, torch.ones(2, 3), loss=torch.sum)
    assert graph.layers["0",] == Layer("Dropout", "0.5", training=False)
    assert graph.layers["1",].training


def test_models_of_transformers_are_told():
    transformers = pytest.importorskip("transformers", reason="traces its models")
    config = transformers.GPT2Config(
        n_layer=2, n_embd=16, n_head=4, vocab_size=20, n_positions=8, bos_token_id=0,
        eos_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    ids = torch.arange(6)[None]
    layers = gv.trace(lambda ids: model(input_ids=ids, labels=ids).loss, ids).layers
    block = "transformer", "h.1"
    assert str(layers[()]) == "GPT2LMHeadModel"
    assert str(layers[block]) == "GPT2Block"
    assert str(layers[*block, "attn"]) == "GPT2Attention 4 heads"
    assert str(layers[*block, "attn", "c_attn"]) == "Conv1D 16 → 48"
    assert str(layers["transformer", "ln_f"]) == "LayerNorm 16"
    assert str(layers["lm_head",]) == "Linear 16 → 20"


def test_a_new_run_and_a_training_step_keep_the_layers(tmp_path):
    torch.manual_seed(0)
    model, arguments, _ = torch_programs.gpt(vocabulary=9, width=8, heads=2, layers=1, tokens=4)
    graph = gv.trace(model, *arguments)
    assert graph.step(0.1).layers == graph.layers
    assert graph.statements.layers == graph.layers
    recorder = gv.record_training(model, tmp_path / "run.gz")
    with recorder.step():
        model(*arguments).backward()
    kept = gv.load_training(tmp_path / "run.gz").graph(0)
    assert kept.layers == graph.layers


def test_a_numpy_program_has_no_layers():
    assert gv.trace(lambda x: x * x, 3.0).layers == {}
