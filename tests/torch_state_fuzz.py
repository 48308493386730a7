"""Random PyTorch programs by where they keep models, and what they write to: ``make fuzz``.

Each is compared with plain autograd, and everything that it can reach with what was there before.
"""

from __future__ import annotations

import collections
import random
import sys
import types
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_fuzz import Difference, Unknown, _agree, _messages

import gradviz as gv
from gradviz.statistics import measure

PIECES = """
import collections, dataclasses, functools, random, types
from typing import NamedTuple
import numpy as np, torch, torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

class Ema(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.register_buffer("average", torch.zeros(3))
        self.steps, self.cache, self.seen = 0, None, []
    def forward(self, x):
        self.steps += 1
        y = self.inner(x)
        self.average.mul_(0.9).add_(0.1 * y.detach().mean(0))
        self.cache = y.detach()
        self.seen.append(y.mean().item())
        return y - self.average
class Clamped(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([2.0, -3.0, 0.5]))
    def forward(self, x):
        with torch.no_grad():
            self.gain.clamp_(-1, 1)
        return x * self.gain
class Decayed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)
    def forward(self, x):
        self.inner.weight.data.mul_(0.9)
        return self.inner(x)
class Later(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)
    def forward(self, x):
        if not hasattr(self, "scale"):
            self.scale = torch.ones(3, dtype=x.dtype) * 2
            self.register_buffer("mask", torch.ones(3, dtype=x.dtype))
        return self.inner(x) * self.scale * self.mask
class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(3, 3).double(), nn.Linear(3, 3).double()]
        self.heads = {"a": nn.Linear(3, 3).double()}
    def forward(self, x):
        for layer in self.layers:
            x = layer(x).tanh()
        return self.heads["a"](x)
class Cell(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cell, self.state = kind(3, 3), None
    def forward(self, x):
        h = torch.zeros_like(x)
        h = (h, h) if isinstance(self.cell, nn.LSTMCell) else h
        for _ in range(2):
            h = self.cell(x, h)
        self.state = h
        return h[0] * h[1] if isinstance(h, tuple) else h
class Words(nn.Module):
    def __init__(self, **more):
        super().__init__()
        self.table = nn.Embedding(5, 3, **more)
    def forward(self, x):
        return x + self.table(torch.tensor([0, 2, 2, 4]))
class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
    def forward(self, x):
        return self.second(self.first(x).sin())
class Arrays(nn.Module):
    total = 0
    def __init__(self):
        super().__init__()
        self.inner, self.counts = nn.Linear(3, 3), np.zeros(3)
        self.recent = collections.deque(maxlen=2)
    def forward(self, x):
        type(self).total += 1
        self.counts += 1
        self.recent.append(float(self.counts[0]))
        return self.inner(x) * float(self.counts[1])
class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.calls = nn.Linear(3, 3), []
        self.inner.register_forward_hook(lambda m, given, out: self.calls.append(1))
        self.inner.weight.register_hook(lambda g: None)
    def forward(self, x):
        return self.inner(x)
def frozen(layer):
    for p in layer.parameters():
        p.requires_grad_(False)
    return layer
class Batch(NamedTuple):
    x: object
    weight: object
@dataclasses.dataclass
class Sample:
    x: object
    weight: object
"""

LAYERS = (
    "nn.Linear(3, 3)", "nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True))",
    "nn.BatchNorm1d(3, momentum=None)", "nn.BatchNorm1d(3).eval()", "nn.BatchNorm1d(3)",
    "nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.4), nn.SiLU(inplace=True))",
    "parametrizations.spectral_norm(nn.Linear(3, 3))",
    "parametrizations.weight_norm(nn.Linear(3, 3))", "nn.utils.spectral_norm(nn.Linear(3, 3))",
    "Ema()", "Clamped()", "Decayed()", "Later()", "Plain()", "Cell(nn.GRUCell)", "Twice()",
    "Cell(nn.LSTMCell)", "Cell(nn.RNNCell)", "Words(max_norm=0.5)", "Words(padding_idx=0)",
    "Arrays()", "Hooked()", "frozen(nn.Linear(3, 3))", "nn.LayerNorm(3)", "nn.RReLU()",
    "nn.Sequential(nn.Linear(3, 3), nn.Softplus())", "parametrizations.orthogonal(nn.Linear(3, 3))",
    "nn.InstanceNorm1d(4, affine=True, track_running_stats=True)",
)  # fmt: skip
HOMES = (  # how models lie, and how `$` is called
    ("MODELS = {}", "MODELS[{i}]", "globals"), ("", "m{i}", "closure"),
    ("", "held[{i}]", "list"), ("", 'held["m{i}"]', "dict"), ("", "held.m{i}", "object"),
    ("", "held.all[{i}]", "object of a list"), ("", "held.parts['m{i}'].model", "nested"),
    ("", "help{i}", "helper"), ("", "part{i}", "partial"), ("", "Held.m{i}", "class"),
    ("", "held.m{i}", "dataclass"), ("", "held.m{i}", "module"), ("", "held.m{i}", "slots"),
)  # fmt: skip
STEPS = (
    "v = {layer}(v)", "v = {layer}(v)", "v = {layer}(v) + v", "v = {layer}(v.tanh()) * weight",
    "v = v + torch.rand_like(v)", "v = v * random.random() + 1", "v = v + float(np.random.rand())",
    "v = F.dropout(v, 0.3)", "v = v.clone(); v += 1", "KEPT.log.append(v.detach().sum())",
    "KEPT.state['count'] = KEPT.state.get('count', 0) + 1", "KEPT.state['last'] = v.detach()",
    "v = F.relu(v * 1, inplace=True)", "with torch.no_grad(): {layer}(v)", "weight.mul_(1.5)",
    "KEPT.new = v.detach()", "KEPT.arrays += 1", "v = v.reshape(-1)[: v.numel()].view_as(v)",
)  # fmt: skip


def program(rng: random.Random, steps: int) -> str:
    """The text of a program: ``make()`` gives the function, its arguments, and what it reaches."""
    layers = [rng.choice(LAYERS) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.3:
        layers.append(rng.choice(layers))  # two of one class
    _, call, home = rng.choice(HOMES)
    lines = [
        PIECES,
        "KEPT = types.SimpleNamespace(log=[], state={}, arrays=np.zeros(2))",
        "MODELS = {}",
        "class Held: pass",
        "def make():",
    ]
    lines += [f"    m{i} = {text}.double()" for i, text in enumerate(layers)]
    count = len(layers)
    if count > 1 and rng.random() < 0.3:
        lines.append("    a, b = (list(m.parameters()) for m in (m0, m1))")
        lines.append(
            "    own = [type(m) is nn.Linear and 'weight' in m._parameters for m in (m0, m1)]"
        )
        lines.append("    if all(own): m1.weight = m0.weight")
    each = range(count)
    names = [f"m{i}" for i in each]
    together = ", ".join(names)
    if home == "globals":
        lines.append(f"    MODELS.update(enumerate([{together}]))")
    elif home == "list":
        lines.append(f"    held = [{together}]")
    elif home == "dict":
        lines.append("    held = dict(" + ", ".join(f"{n}={n}" for n in names) + ")")
    elif home == "object":
        lines.append("    held = Held()")
        lines += [f"    held.{n} = {n}" for n in names]
    elif home == "object of a list":
        lines += ["    held = Held()", f"    held.all = [{together}]"]
    elif home == "nested":
        inside = ", ".join(f"{n}=types.SimpleNamespace(model={n})" for n in names)
        lines += ["    held = Held()", f"    held.parts = dict({inside})"]
    elif home == "helper":
        lines.append(f"    MODELS.update(enumerate([{together}]))")
        for i in each:
            lines.insert(4, f"def inner{i}(v): return MODELS[{i}](v)")
            lines.insert(5, f"def help{i}(v): return inner{i}(v)")
    elif home == "partial":
        lines.append("    def use(model, v): return model(v)")
        lines += [f"    part{i} = functools.partial(use, m{i})" for i in each]
    elif home == "class":
        lines += [f"    Held.{n} = {n}" for n in names]
    elif home == "dataclass":
        fields = ", ".join(f"'{n}'" for n in names)
        lines.append(f"    held = dataclasses.make_dataclass('Held', [{fields}])({together})")
    elif home == "slots":
        fields = ", ".join(f"'{n}'" for n in names)
        lines.append(f"    held = type('Slots', (), {{'__slots__': [{fields}]}})()")
        lines += [f"    held.{n} = {n}" for n in names]
    elif home == "module":
        lines.append("    held = nn.Module()")
        lines += [f"    held.{n} = {n}" for n in names]
        if rng.random() < 0.2:
            lines.append("    held.eval()")
    form = rng.choice(("x, weight", "batch['{}']", "batch.{}", "Sample", "bias, weight"))
    signature = form if "," in form else "batch"
    lines.append(f"    def function({signature}):")
    if form == "bias, weight":
        lines.append("        x = bias")
    elif form == "batch['{}']":
        lines.append("        x, weight = batch['x'], batch['weight']")
    elif "," not in form:
        lines.append("        x, weight = batch.x, batch.weight")
    lines.append("        v = x * 1")
    order = list(each)
    rng.shuffle(order)
    used = order + [None] * rng.randrange(steps)
    rng.shuffle(used)
    for i in used:
        layer = call.format(i=rng.choice(order) if i is None else i)
        step = rng.choice(STEPS if i is None else STEPS[:4])
        lines.append("        " + step.format(layer=layer))
    if rng.random() < 0.12:
        lines.append("        raise ValueError('half-way')")
    lines.append("        return (v * 0.3).sin().sum() * weight.mean()")
    lines.append("    x, weight = torch.randn(4, 3).double(), torch.rand(4, 3).double() + 0.5")
    lines.append("    weight.requires_grad_(%s)" % (rng.random() < 0.3))
    if rng.random() < 0.1:
        lines.append("    for p in m0.parameters(): p.grad = torch.ones_like(p)")
    given = {
        "batch['{}']": "{'x': x, 'weight': weight}", "batch.{}": "Batch(x, weight)",
        "Sample": "Sample(x, weight)",
    }.get(form)  # fmt: skip
    arguments = f"({given},)" if given else "(x, weight)"
    lines.append(f"    watched = [{together}, locals().get('held'), Held, KEPT, MODELS, x,")
    lines.append("        weight, Arrays]")
    lines.append(f"    return function, {arguments}, [{together}], watched")
    text = "\n".join(lines)
    if "weight.mul_" in text:  # of a leaf that is no copy
        text = text.replace("weight.requires_grad_(True)", "pass")
    return text


def snapshot(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """All that can be told of an object and what it holds, to be compared."""
    seen = {} if seen is None else seen
    if isinstance(value, (str, int, float, bool, type(None), complex)):
        return value
    if id(value) in seen:
        return "again", id(value)
    seen[id(value)] = value
    if isinstance(value, Tensor):
        return (
            id(value), value.data_ptr(), value._version, value.requires_grad, value.stride(),
            value.grad_fn is None, snapshot(value.grad, seen), value.detach().numpy().tobytes(),
            [*(value._backward_hooks or {}).items()],
            snapshot(getattr(value, "__dict__", None), seen),
        )  # fmt: skip
    if isinstance(value, np.ndarray):
        return id(value), value.tobytes()
    if isinstance(value, dict):
        return id(value), [(k, snapshot(v, seen)) for k, v in value.items()]
    if isinstance(value, (list, tuple, set, collections.deque)):
        return id(value), [snapshot(v, seen) for v in value]
    if isinstance(value, type):
        return id(value), [
            (k, snapshot(v, seen))
            for k, v in vars(value).items()
            if not k.startswith("__") or k == "__dict__"
        ]
    if isinstance(value, nn.Module) or hasattr(value, "__dict__") or hasattr(value, "__slots__"):
        if callable(value) and not isinstance(value, nn.Module):
            return id(value)
        content = dict(getattr(value, "__dict__", {}))
        content |= {k: getattr(value, k) for k in getattr(type(value), "__slots__", ())}
        return id(value), type(value), snapshot(content, seen)[1]
    return id(value)


def _random() -> Any:
    state = np.random.get_state()  # noqa: NPY002 - programs draw from it
    return torch.get_rng_state().tolist(), repr(state), random.getstate()


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


def compare(make: Callable[[], Any], seed: int) -> int:
    """Compare a program with plain autograd, and with itself afterwards.

    Raises
    ------
    Difference, Unknown
    """
    _seed(seed)
    function, arguments, models, _ = make()
    parameters = [p for m in models for p in m.parameters()]
    extra = [p for m in models for k in m.modules() for p in _plain(k)]
    parameters += extra
    given = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    broken = False
    try:
        expected = function(*arguments)
        expected.backward()
    except ValueError as error:
        if "half-way" not in str(error):
            raise
        broken = True
    except RuntimeError as error:
        raise Unknown(str(error)) from error
    wanted = [p.grad for p in parameters]
    values = 0
    for capture in ("whole", "lean"):
        _seed(seed)
        function, arguments, models, held = make()
        ours = [p for m in models for p in m.parameters()]
        ours += [p for m in models for k in m.modules() for p in _plain(k)]
        for p, g in zip(ours, given, strict=True):
            if (p.grad is None) != (g is None):
                raise Difference("a twin differs")
        before, chance = snapshot(held), _random()

        same = partial(_same, before, chance, held)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = gv.trace(function, *arguments, capture=capture)
            same("trace")
            if broken:
                if not isinstance(graph.error, ValueError):
                    raise Difference(f"the error is {graph.error!r}")
                continue
            _agree("J", measure(graph.values[graph.output].value).mean, expected.item(), 1e-9)
            found, slots = graph.gradients(), graph.program.slots
            if len(set(graph.names)) != len(graph.names):
                raise Difference("two values have one name")
            names = {id(t): name for name, t in slots.items() if isinstance(t, Tensor)}
            for p, gradient in zip(ours, wanted, strict=True):
                if gradient is None:
                    continue
                name = names.get(id(p), "")
                if name not in found:
                    raise Difference(f"no gradient of {tuple(p.shape)}, {name!r}: {list(found)}")
                got = found[name]
                if capture == "whole":
                    _agree(f"∂J/∂{name}", got, gradient.numpy(), 1e-8)
                else:
                    _agree(f"‖∂J/∂{name}‖", got.norm, gradient.norm().item(), 1e-8)
            if capture == "whole":
                _messages(graph, 1e-8)
            graph.diagnose().text
            same("diagnose")
            if capture == "whole":
                same_again = graph.update()
                same("update")
                for name, gradient in found.items():
                    _agree(f"∂J/∂{name} again", same_again.gradients()[name], gradient, 1e-8)
                check = graph.check(entries=3)
                same("check")
                if check.other:
                    raise Difference(check.text)
            if graph.wrt:
                graph.explain(graph.names[min(graph.wrt)]).text
            graph.reuse().text
            if random.Random(seed).random() < 0.3:
                graph.draw().svg
            same("explain and draw")
            values += len(graph)
    return values


def _same(before: Any, chance: Any, held: Any, what: str) -> None:
    if _random() != chance:
        raise Difference(f"{what}: the random numbers' state has changed")
    now = snapshot(held)
    if now != before:
        raise Difference(f"{what}: changed: {_first(before, now)}")


def _plain(module: nn.Module) -> list[Tensor]:
    """The parameters of layers that a module keeps in plain lists and dicts."""
    found: list[Tensor] = []
    for value in vars(module).values():
        if value is module._modules or not isinstance(value, (list, dict)):
            continue
        inside = value.values() if isinstance(value, dict) else value
        for layer in inside:
            if isinstance(layer, nn.Module) and layer not in module._modules.values():
                found += layer.parameters()
    return found


def _first(before: Any, now: Any) -> str:
    """Where two snapshots differ first."""
    if isinstance(before, (tuple, list)) and isinstance(now, (tuple, list)):
        if len(before) != len(now):
            return f"{before!r:.300}\nis now\n{now!r:.300}"
        for n, (a, b) in enumerate(zip(before, now, strict=True)):
            if a != b:
                name = f"{before[0]}: " if isinstance(before[0], str) else ""
                return f"[{n}] {name}{_first(a, b)}"
    return f"{before!r:.300} is now {now!r:.300}"


def one(rng: random.Random, steps: int) -> int:
    """Compare one random program; see `compare`.

    Raises
    ------
    Difference, Unknown
    """
    seed = rng.randrange(2**31)
    text = program(rng, 1 + rng.randrange(steps))

    def make() -> Any:
        module = _module()
        exec(compile(text, "a_program.py", "exec"), module)
        return module["make"]()

    try:
        return compare(make, seed)
    except Unknown:
        raise
    except Exception as error:
        error.add_note(f"seed {seed}\n{text[len(PIECES) :]}")
        raise


def _module() -> dict[str, Any]:
    """A module of its own, which dataclasses look for."""
    module = types.ModuleType("a_program")
    sys.modules["a_program"] = module
    return vars(module)
