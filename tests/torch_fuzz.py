"""Random PyTorch programs, next to plain autograd: a part of ``make fuzz``."""

from __future__ import annotations

import random
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: F401 - the texts of programs use it
from torch import Tensor, nn

import gradviz as gv
from gradviz.statistics import measure


class Unknown(Exception):
    """PyTorch refuses a program."""


class Difference(AssertionError):
    """gradviz and plain autograd differ on a program."""


def _agree(what: str, ours: Any, theirs: Any, tolerance: float) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    scale = 1 + np.max(np.abs(theirs), initial=0.0, where=np.isfinite(theirs))
    if ours.shape != theirs.shape or not np.allclose(
        ours, theirs, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    ):
        raise Difference(f"{what}: gradviz\n{ours}\nplain autograd\n{theirs}")


def _states(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def compare(make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]], tolerance: float) -> int:
    """Trace what `make` makes, whole and lean, and compare it with a twin's own step.

    Returns
    -------
    int
        How many values were recorded.

    Raises
    ------
    Difference
    """
    twin, arguments = make()
    random = torch.get_rng_state()
    try:
        expected = twin(*arguments)
        expected.backward()
    except RuntimeError as error:
        raise Unknown(str(error)) from error
    after = torch.get_rng_state()
    wanted = {name: p.grad for name, p in twin.named_parameters()}
    graphs = {}
    for capture in ("whole", "lean"):
        torch.set_rng_state(random)
        model, arguments = make()
        before = _states(model)
        torch.set_rng_state(random)
        given = [argument.detach().clone() for argument in arguments]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = graphs[capture] = gv.trace(model, *arguments, capture=capture)
        if not torch.equal(torch.get_rng_state(), random):
            raise Difference("the random numbers' state has changed")
        for name, tensor in _states(model).items():
            if not torch.equal(tensor, before[name]):
                raise Difference(f"{name} has changed")
        if any(p.grad is not None for p in model.parameters()):
            raise Difference("a .grad was set")
        if not all(map(torch.equal, arguments, given)):
            raise Difference("an argument has changed")
        value = measure(graph.values[graph.output].value)
        _agree(f"J ({capture})", value.mean, expected.item(), tolerance)
        found = graph.gradients()
        for name, gradient in wanted.items():
            if gradient is None:
                state = graph.grad_state(graph.id(name))
                if state not in ("disconnected", "zero"):
                    raise Difference(f"{name} has no gradient, here it is {state}")
            elif capture == "whole":
                _agree(f"∂J/∂{name}", found[name], gradient.numpy(), tolerance)
            else:
                norm = gradient.double().norm().item()
                _agree(f"‖∂J/∂{name}‖", found[name].norm, norm, tolerance)
        _messages(graph, tolerance)
        graph.diagnose()
        if random.sum() % 5 == 0:
            _told(graph)
            if not torch.equal(torch.get_rng_state(), random):
                raise Difference("to tell of a program has changed the random numbers' state")
    whole, lean = graphs["whole"], graphs["lean"]
    if whole.operands != lean.operands:
        raise Difference(f"whole and lean captures differ: {whole.names}\n{lean.names}")
    for what, a, b in zip("gm", whole.derivatives, lean.derivatives, strict=True):
        if set(a) != set(b):
            raise Difference(f"{what}: only one capture has {set(a) ^ set(b)}")
        for key, array in a.items():
            _agree(f"lean {what} {key}", measure(b[key]).norm, measure(array).norm, tolerance)
    torch.set_rng_state(after)
    return len(whole)


def _told(graph: gv.Graph) -> None:
    """All that can be told of a Graph is there, and of its file too."""
    with tempfile.TemporaryDirectory() as folder:
        graph.save(f"{folder}/g.json")
        loaded = gv.load(f"{folder}/g.json")
    for one in (graph, loaded):
        for name in list(graph.gradients())[:2]:
            told = one.explain(name)
            assert told.text
            assert told.latex
            assert told.factored.text
        assert one.draw().svg
    if loaded.names != graph.names or loaded.operands != graph.operands:
        raise Difference("a file has another graph")


def _messages(graph: gv.Graph, tolerance: float) -> None:
    """Each gradient is the sum of the messages that its value gets."""
    gradients, messages = graph.derivatives
    for i, gradient in gradients.items():
        received = [messages[edge] for edge in graph.readers[i] if edge in messages]
        name = f"messages to {graph.names[i]} of {graph.values[i].operation.name}"
        if i in graph.changed_by_hooks or i == graph.output:
            continue
        if not received:
            raise Difference(f"no {name}")
        if isinstance(gradient, np.ndarray | np.generic):
            _agree(name, sum(received), gradient, tolerance)
        elif len(received) == 1:
            _agree(name, received[0].norm, gradient.norm, tolerance)


# --- programs ------------------------------------------------------------------------------------

WIDTH = 4

POINTWISE = (
    "torch.tanh($)", "torch.sigmoid($)", "torch.sin($)", "F.relu($)", "F.gelu($)", "F.softplus($)",
    "F.silu($)", "torch.exp($.clamp(max=2))", "F.elu($)", "F.hardtanh($)", "torch.cos($)",
    "torch.square($)", "F.layer_norm($, (WIDTH,))", "F.dropout($, 0.3)", "torch.softmax($, -1)",
    "$.cumsum(0)", "$.flip(-1)", "$.clone()", "$.transpose(0, 1).contiguous().transpose(0, 1)",
    "F.normalize($, dim=-1)", "$ * 2 - 1", "$.mean(1, keepdim=True) + $", "$[..., :]",
    "$.detach() + $",
    "$.logsumexp(-1, keepdim=True) * $", "torch.einsum('bti,bsi->bts', $, $) @ $",
    "$.unflatten(-1, (2, 2)).flatten(-2)", "$.reshape(-1, WIDTH).view(2, 3, WIDTH)",
    "F.max_pool1d($, 3, 1, 1)", "$.expand_as($)", "$.view_as($)", "Pair.apply($, $.sin())[0]",
    "$ * $.mean().exp().clamp(max=3)", "$ + $.std() / ($.sum().abs() + 1) * $.max()",
    "torch.distributions.Gamma(F.softplus($) + 0.5, 1.5).rsample().clamp(max=9)",
    "$ * torch.empty_like($).uniform_(-1, 1)", "F.gumbel_softmax($, hard=True)",
)  # fmt: skip
LAYERS = (
    "nn.Linear(WIDTH, WIDTH)", "nn.LayerNorm(WIDTH)", "nn.BatchNorm1d(3)", "nn.InstanceNorm1d(3)",
    "nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True))",
    "nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.Dropout(0.2), nn.Linear(2 * WIDTH, WIDTH))",
    "nn.Conv1d(3, 3, 3, padding=1)", "nn.PReLU()", "nn.GroupNorm(3, 3)",
)  # fmt: skip
RECURRENT = "nn.LSTM", "nn.GRU", "nn.RNN"
IN_PLACE = (
    "$.add_(0.5)", "$.mul_(1.5)", "$.tanh_()", "$.relu_()", "$.clamp_(-1, 1)", "$.neg_()",
    "$.exp_()", "$.sigmoid_()", "$.masked_fill_($ > 0.4, 0.1)", "$[0].mul_(2)",
    "$[..., 1:].tanh_()",
    "$.view(-1)[2:5].add_(1)", "$.select(1, 0).copy_($[:, 1].detach())", "$[:, 0] = 0", "$[1] *= 3",
    "$.transpose(0, 1).mul_(0.5)", "$ += x", "F.relu($, inplace=True)", "$.squeeze().sub_(1)",
    "$.unsqueeze_(0).mul_(2).squeeze_(0)", "$.transpose_(0, 1).mul_(0.5).transpose_(0, 1)",
    "$.unsqueeze_(-1).squeeze_(-1)", "$.detach().unsqueeze_(0)", "$.view(6, WIDTH).t_().neg_()",
)  # fmt: skip
SPLITS = (
    "$.chunk(2, -1)", "$.split([1, 3], -1)", "$.tensor_split(2, -1)", "$.unbind(1)",
    "$.split(2, -1)", "torch.var_mean($, 1, keepdim=True)", "torch.std_mean($, 0, keepdim=True)",
    "$.max(1, True)", "$.sort(-1)", "$.topk(2, -1)", "torch.linalg.qr($)", "Pair.apply($, $.cos())",
    "$.aminmax(dim=1, keepdim=True)", "torch.linalg.svd($, full_matrices=False)[1:2] * 2",
)  # fmt: skip


class Pair(torch.autograd.Function):
    """Two results of two tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """See `torch.autograd.Function`."""
        ctx.save_for_backward(x, y)
        return x * 3, x * y

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """See `torch.autograd.Function`."""
        x, y = ctx.saved_tensors
        return 3 * first + second * y, second * x


class Net(nn.Module):
    """A module whose forward pass is a text."""

    def __init__(self, layers: list[str], text: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(eval(layer, globals()) for layer in layers)
        self.gain = nn.Parameter(torch.randn(WIDTH))
        self.text = text
        space: dict[str, Any] = {}
        exec(text, globals(), space)
        self.run = space["run"]

    def forward(self, x: Tensor) -> Tensor:
        """See `nn.Module`."""
        result: Tensor = self.run(self, x)
        return result


def program(rng: random.Random, steps: int) -> tuple[list[str], str]:
    """The layers of a random program, and its text: values v0, v1 ... of shape (2, 3, WIDTH)."""
    layers: list[str] = []
    lines = ["def run(self, x):", "    v0 = x * self.gain"]
    count = 1

    def value() -> str:
        return f"v{max(rng.randrange(count), rng.randrange(count))}"

    def layer(text: str) -> str:
        if layers and rng.random() < 0.25:  # shared weights
            same = [n for n, known in enumerate(layers) if known == text]
            if same:
                return f"self.layers[{rng.choice(same)}]"
        layers.append(text)
        return f"self.layers[{len(layers) - 1}]"

    def write(text: str) -> None:
        nonlocal count
        lines.append(f"    v{count} = {text}")
        count += 1

    for _ in range(steps):
        kind = rng.choices(
            (
                "pointwise",
                "layer",
                "binary",
                "in place",
                "split",
                "rnn",
                "cell",
                "slope",
                "no grad",
            ),
            (5, 4, 3, 4, 3, 1, 1, 1.2, 1),
        )[0]
        v = value()
        if kind == "pointwise":
            write(rng.choice(POINTWISE).replace("$", v))
        elif kind == "layer":
            write(f"{layer(rng.choice(LAYERS))}({v})")
        elif kind == "binary":
            other = value()
            write(rng.choice((
                f"{v} + {other}", f"{v} * {other}", f"torch.maximum({v}, {other})",
                f"({v} @ {other}.mT).softmax(-1) @ {v}", f"{v} - {other}.mean()",
                f"F.scaled_dot_product_attention({v}, {other}, {v})",
                f"torch.where({v} > 0, {v}, {other})",
                f"torch.stack([{v}, {other}]).sum(0)", f"torch.cat([{v}, {other}], -1)[..., ::2]",
            )))  # fmt: skip
        elif kind == "in place":
            lines.append("    " + rng.choice(IN_PLACE).replace("$", v))
        elif kind == "split":
            call = rng.choice(SPLITS).replace("$", v)
            lines.append(f"    parts = {call}")
            used = rng.choice(("parts[:1]", "parts[-1:]", "parts", "parts[::-1]", "parts[:1] * 2"))
            write(f"{value()} + sum((p * p).sum() for p in list({used}) if p.is_floating_point())")
        elif kind == "rnn":
            name = rng.choice(RECURRENT)
            lines.append(f"    o, h = {layer(f'{name}(WIDTH, WIDTH, batch_first=True)')}({v})")
            last = "h[1]" if name == "nn.LSTM" else "h"
            write(
                rng.choice(("o", f"o + {last}.sum()", f"{v} * {last}[0][:, None]", "o * o.mean()"))
            )
        elif kind == "cell":
            lines.append("    a = b = torch.zeros(2, WIDTH, dtype=x.dtype)")
            lines.append(f"    cell = {layer('nn.LSTMCell(WIDTH, WIDTH)')}")
            lines.append("    for t in range(3):")
            lines.append(f"        a, b = cell({v}[:, t], (a, b))")
            write(rng.choice((f"{v} + a[:, None]", f"{v} * (a * b)[:, None]", f"{v} - b.sum()")))
        elif kind == "slope":
            lines.append(f"    p = {v}.square().sum()")
            what = rng.choice((v, "self.gain", f"[{v}, self.gain]"))
            lines.append(
                f"    s = torch.autograd.grad(p, {what}, create_graph=True, allow_unused=True)"
            )
            write(f"{value()} + sum(q.sin().sum() for q in s if q is not None)")
        else:
            lines += ["    with torch.no_grad():", f"        c = {v}.mean() + 1"]
            write(f"{value()} * c")
    used = ", ".join(sorted({value() for _ in range(2)}))
    lines.append(f"    return sum((v.clamp(-9, 9) * 0.7).sin().mean() for v in ({used},))")
    return layers, "\n".join(lines)


def one(rng: random.Random, steps: int) -> int:
    """Compare one random program; see `compare`.

    Raises
    ------
    Difference, Unknown
    """
    seed = rng.randrange(2**31)
    layers, text = program(rng, 1 + rng.randrange(steps))

    def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
        torch.manual_seed(seed)
        net = Net(layers, text).double()
        return net, (torch.randn(2, 3, WIDTH, dtype=torch.float64),)

    try:
        return compare(make, 1e-7)
    except (NameError, SyntaxError, AttributeError) as error:
        raise Difference(f"{error!r} in\n{text}") from error
    except (Difference, gv.TraceError, RuntimeError, KeyError, IndexError) as error:
        error.add_note(f"{layers}\n{text}")
        raise
