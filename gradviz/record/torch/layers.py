"""What a module is, in the few words that its author would write on a whiteboard.

A layer of PyTorch's own is told by its attributes, any other by its `extra_repr`, without what is
the default and what no drawing says (`eps=1e-5`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from torch import nn

from gradviz.files import writable
from gradviz.layers import Layer
from gradviz.words import number

LONGEST = 60
"""So many characters of a module's own `extra_repr` are told, in whole parts."""
UNSAID = frozenset(
    "eps momentum bias affine elementwise_affine track_running_stats inplace device dtype "
    "batch_first ceil_mode count_include_pad return_indices align_corners recompute_scale_factor "
    "padding_mode output_ratio".split()
)
"""What an `extra_repr` tells, and no drawing."""
HEADS = "num_heads", "n_heads", "n_head", "num_attention_heads", "heads"


def layer(module: nn.Module, training: bool) -> Layer:
    """What is told of a module; whatever its own attributes and methods do is no error."""
    try:
        said = _arguments(module)
    except Exception:  # of an `extra_repr`, or of attributes that are not what they are elsewhere
        said = ""
    return Layer(writable(type(module).__name__), writable(said), bool(training))


def _arguments(module: Any) -> str:
    for kind in type(module).__mro__:
        told = WRITTEN.get(kind) or ELSEWHERE.get(f"{kind.__module__}.{kind.__qualname__}")
        if told is not None:
            return ", ".join(part for part in told(module) if part)
        if "extra_repr" in vars(kind) and not _is_torch(kind):
            break
    return _shortened(module) or _heads(module)


def _is_torch(kind: type) -> bool:
    return kind.__module__.startswith("torch.nn.")


# --- layers that are known -----------------------------------------------------------------------


def _times(sizes: Any) -> str:
    """Such as 3×3; None, in a size, is whatever comes."""
    sizes = sizes if isinstance(sizes, Sequence) else (sizes,)
    return "×".join("·" if n is None else str(n) for n in sizes)


def _axes(module: Any) -> int:
    """How many axes a layer's kernel has, by the name of its class."""
    names = [kind.__name__ for kind in type(module).__mro__ if _is_torch(kind)]
    return next((int(found[1]) for name in names if (found := re.search(r"([123])d$", name))), 1)


def _spread(module: Any, sizes: Any) -> tuple[Any, ...]:
    """A size for each axis."""
    return tuple(sizes) if isinstance(sizes, Sequence) else (sizes,) * _axes(module)


def _one(sizes: Sequence[Any]) -> str:
    """One number where each axis has the same."""
    return str(sizes[0]) if len({*sizes}) == 1 else _times(sizes)


def _window(module: Any, stride: bool) -> str:
    """The kernel and how far it moves: 7×7 /2."""
    kernel, steps = _spread(module, module.kernel_size), _spread(module, module.stride)
    size = _times(kernel) if len(kernel) > 1 else f"kernel {kernel[0]}"
    return f"{size} /{_one(steps)}" if stride or {*steps} != {1} else size


def _dilation(module: Any) -> str:
    spread = _spread(module, module.dilation)
    return "" if {*spread} == {1} else f"dilation {_one(spread)}"


def _mapping(module: Any) -> list[str]:
    return [f"{module.in_features} → {module.out_features}"]


def _bilinear(module: Any) -> list[str]:
    return [f"{module.in1_features} × {module.in2_features} → {module.out_features}"]


def _convolution(module: Any) -> list[str]:
    channels = f"{module.in_channels} → {module.out_channels}"
    groups = "" if module.groups == 1 else f"{module.groups} groups"
    return [channels, _window(module, False), groups, _dilation(module)]


def _max_pool(module: Any) -> list[str]:
    return [_window(module, True), _dilation(module)]


def _pool(module: Any) -> list[str]:
    return [_window(module, True)]


def _adaptive(module: Any) -> list[str]:
    return [f"→ {_times(_spread(module, module.output_size))}"]


def _channels(module: Any) -> list[str]:
    return [str(module.num_features)]


def _group_norm(module: Any) -> list[str]:
    return [str(module.num_channels), f"{module.num_groups} groups"]


def _normalized(module: Any) -> list[str]:
    return [_times(module.normalized_shape)]


def _embedding(module: Any) -> list[str]:
    return [f"{module.num_embeddings} × {module.embedding_dim}", getattr(module, "mode", "")]


def _probability(module: Any) -> list[str]:
    return [f"{module.p:g}"]


def _attention(module: Any) -> list[str]:
    return [str(module.embed_dim), f"{module.num_heads} heads"]


def _transformer_layer(module: Any) -> list[str]:
    return _attention(module.self_attn)


def _transformer(module: Any) -> list[str]:
    return [str(module.d_model), f"{module.nhead} heads"]


def _cell(module: Any) -> list[str]:
    relu = "relu" if getattr(module, "nonlinearity", "tanh") == "relu" else ""
    return [f"{module.input_size} → {module.hidden_size}", relu]


def _recurrent(module: Any) -> list[str]:
    return [
        *_cell(module),
        f"{module.num_layers} layers" if module.num_layers > 1 else "",
        "bidirectional" if module.bidirectional else "",
        f"projected to {module.proj_size}" if module.proj_size else "",
    ]


def _slope(module: Any) -> list[str]:
    return [f"{module.negative_slope:g}"]


def _along(module: Any) -> list[str]:
    return [] if module.dim is None else [f"dim {module.dim}"]


def _padding(module: Any) -> list[str]:
    return [_one(module.padding)]


def _upsample(module: Any) -> list[str]:
    size = f"×{_times(module.scale_factor)}" if module.size is None else f"→ {_times(module.size)}"
    return [size.replace(".0", ""), module.mode]


def _projection(module: Any) -> list[str]:
    return [f"{module.nx} → {module.nf}"]


def _nothing(_: Any) -> list[str]:
    return []


WRITTEN: dict[type, Callable[[Any], list[str]]] = {
    nn.Linear: _mapping,
    nn.Bilinear: _bilinear,
    nn.modules.conv._ConvNd: _convolution,
    nn.modules.pooling._MaxPoolNd: _max_pool,
    nn.modules.pooling._AvgPoolNd: _pool,
    nn.modules.pooling._AdaptiveAvgPoolNd: _adaptive,
    nn.modules.pooling._AdaptiveMaxPoolNd: _adaptive,
    nn.modules.batchnorm._NormBase: _channels,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _normalized,
    nn.RMSNorm: _normalized,
    nn.Embedding: _embedding,
    nn.EmbeddingBag: _embedding,
    nn.modules.dropout._DropoutNd: _probability,
    nn.MultiheadAttention: _attention,
    nn.TransformerEncoderLayer: _transformer_layer,
    nn.TransformerDecoderLayer: _transformer_layer,
    nn.Transformer: _transformer,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _cell,
    nn.LeakyReLU: _slope,
    nn.Softmax: _along,
    nn.LogSoftmax: _along,
    nn.modules.padding._ConstantPadNd: _padding,
    nn.modules.padding._ReflectionPadNd: _padding,
    nn.modules.padding._ReplicationPadNd: _padding,
    nn.modules.padding._CircularPadNd: _padding,
    nn.Upsample: _upsample,
    nn.Sequential: _nothing,
    nn.ModuleList: _nothing,
    nn.ModuleDict: _nothing,
}
ELSEWHERE: dict[str, Callable[[Any], list[str]]] = {
    "transformers.pytorch_utils.Conv1D": _projection,
}
"""Layers of libraries that need not be there, by their full names."""


# --- any other -----------------------------------------------------------------------------------


def _shortened(module: nn.Module) -> str:
    """What a module's `extra_repr` tells that its author would too."""
    written: Any = module.extra_repr()
    if not isinstance(written, str):
        return ""
    kind: Any = type(module)
    usual = _defaults(kind) if written else {}
    told: list[str] = []
    for part in _split(" ".join(written.split())):
        name, equals, value = part.partition("=")
        if equals and (name in UNSAID or usual.get(name) == value):
            continue
        part = f"{name}={_size(value)}" if equals else _size(part)
        if sum(map(len, told)) + 2 * len(told) + len(part) > LONGEST:
            break
        told.append(part)
    return ", ".join(told)


@lru_cache(maxsize=1024)
def _defaults(kind: type[nn.Module]) -> dict[str, str]:
    """What the arguments are that need not be said, as text."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {parameter.name: repr(parameter.default) for parameter in parameters}


def _split(text: str) -> list[str]:
    """The parts between the commas that stand in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def _size(text: str) -> str:
    """A tuple of numbers as a size: (3, 3) as 3×3, and (64,) as 64; a quotient as other numbers."""
    if re.fullmatch(r"-?\d*\.\d{7,}", text):
        return number(float(text), 3)
    numbers = re.fullmatch(r"(?:torch\.Size\()?[(\[]([\d\s,]+)[)\]]\)?", text)
    return "×".join(re.findall(r"\d+", numbers[1])) if numbers else text


def _heads(module: Any) -> str:
    """How many heads an attention has that tells nothing."""
    if "attention" not in type(module).__name__.lower():
        return ""
    for owner in (module, getattr(module, "config", None)):
        for name in HEADS:
            count = getattr(owner, name, None)
            if type(count) is int:
                return f"{count} heads"
    return ""


def scope_within(scopes: Mapping[str, tuple[str, ...]], leaf: str) -> tuple[str, ...]:
    """The scope of what a parameter or a buffer belongs to, from those of modules by their path."""
    path, _, rest = leaf.rpartition(".")
    below: tuple[str, ...] = ()
    while path and path not in scopes:
        path, _, part = path.rpartition(".")
        below = (part or rest, *below)
    return (*scopes.get(path, ()), *below)
