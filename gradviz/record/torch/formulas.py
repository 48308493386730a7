"""What textbooks write for the derivatives of PyTorch's operations.

In the notation of the rows of `gradviz.ops`: per operand the local derivative of an operation that
works number by number, else the message. None where a call is told something that no textbook
has: then only its name is said.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.ops.functions import name_function
from gradviz.ops.table import lookup

if TYPE_CHECKING:
    from gradviz.record.torch.operation import Call

Slopes = tuple[str | None, ...]
Told = Callable[["About"], Slopes | None]

name_function("Phi", r"\Phi")  # the distribution function of the normal distribution, its density
name_function("phi", r"\varphi")


class About:
    """A call: how many operands it has, of what shape, and what it was told besides them.

    Attributes
    ----------
    count : int
    shapes : sequence of tuple of int or None
        None where they are not known.
    ranks : sequence of int or None
    """

    def __init__(self, count: int, call: Call | None, keywords: Mapping[str, Any]) -> None:
        self.count, self.call, self.keywords = count, call, keywords

    @property
    def slots(self) -> list[Any]:
        """What stands for the operands in the call; none where it was not kept."""
        if self.call is None:
            return []
        arguments = (*self.call.args, *self.call.kwargs.values())
        found = [a for a in arguments if hasattr(a, "position")]
        return sorted(found, key=lambda slot: slot.position)

    @property
    def shapes(self) -> list[tuple[int, ...] | None]:
        """The shape of each operand."""
        known: list[tuple[int, ...] | None] = [slot.shape for slot in self.slots]
        return known + [None] * (self.count - len(known))

    @property
    def ranks(self) -> list[int | None]:
        """The number of axes of each operand."""
        return [None if shape is None else len(shape) for shape in self.shapes]

    def usual(self, *names: str, **more: Any) -> bool:
        """Whether the named arguments have their defaults, and the others these values."""
        if self.call is None:
            return False
        if not self.keywords.keys().isdisjoint(names):
            return False
        return all(self.given(name) == value for name, value in more.items())

    def given(self, name: str) -> Any:
        """An argument; its default where it was not given."""
        if self.call is None:
            return None
        if name in self.keywords:
            return self.keywords[name]
        try:
            bound = inspect.signature(self.call.function).bind(*self.call.args, **self.call.kwargs)
        except (TypeError, ValueError):  # of a builtin the keywords tell what is not usual
            return None
        bound.apply_defaults()
        return bound.arguments.get(name)


def _plain(*slopes: str) -> Told:
    return lambda about: slopes if len(slopes) == about.count and not about.keywords else None


def _mean(about: About) -> Slopes | None:
    if about.count != 1 or about.keywords:
        return None
    (shape,) = about.shapes
    return (f"g / {'n' if shape is None else math.prod(shape)} * ones_like(a)",)


def _numpy(function: Any) -> Told:
    row = lookup(function)
    return _plain(*(str(rule.formula) for rule in row.derivatives or () if rule))


def _joined(about: About) -> Slopes | None:
    return tuple(f"block(g, {k})" for k in range(about.count))


def _gelu(about: About) -> Slopes | None:
    return ("Phi(a) + a * phi(a)",) if about.usual("approximate") else None


def _leaky_relu(about: About) -> Slopes | None:
    slope = about.keywords.get("negative_slope", 0.01)
    return (f"where(a > 0, 1, {slope!r})",)


def _elu(about: About) -> Slopes | None:
    alpha = about.keywords.get("alpha", 1.0)
    return (f"where(a <= 0, v + {alpha!r}, 1)",)


def _dropout(about: About) -> Slopes | None:
    training = about.given("training")
    if training is None:
        return None
    kept = 1 - float(about.keywords.get("p", 0.5))
    if not training or kept == 1:
        return ("1",)
    return (f"kept / {kept:.6g}" if kept else "kept",)


def _softmax(about: About) -> Slopes | None:
    if "dim" not in about.keywords:
        return None
    return ("v * (g - sum(g * v, axis=dim, keepdims=True))",)


def _log_softmax(about: About) -> Slopes | None:
    if "dim" not in about.keywords:
        return None
    return ("g - exp(v) * sum(g, axis=dim, keepdims=True)",)


def _linear(about: About) -> Slopes | None:
    rank, matrix, *others = about.ranks[0], *about.shapes[1:]
    if not rank or rank > 3 or matrix is None or len(matrix) != 2:
        return None
    if others and others[0] != matrix[:1]:
        return None
    weight = ("g @ a.T", "g.T @ a", "einsum('bti,btj->ij', g, a)")[rank - 1]
    bias = ("g", "sum(g, axis=0)", "sum(g, axis=(0, 1))")[rank - 1]
    return ("b.T @ g" if rank == 1 else "g @ b", weight, bias)[: about.count]


def _each(given: Any, axes: int) -> tuple[int, ...] | None:
    """A setting for each axis: given for all at once, or one by one; None for a word."""
    each = tuple(given) if isinstance(given, (tuple, list)) else (given,) * axes
    each = each * axes if len(each) == 1 else each
    return each if len(each) == axes and all(type(n) is int for n in each) else None


def _times(factor: int, letter: str) -> str:
    return letter if factor == 1 else f"{factor} * {letter}"


def _moved(place: str, by: int) -> str:
    return f"{place} + {by}" if by > 0 else f"{place} - {-by}" if by < 0 else place


def _convolution(axes: int) -> Told:
    """As sums over places; what lies outside of an array is 0."""
    ps, rs, js = ("p", "q")[:axes], ("r", "s")[:axes], ("i", "j")[:axes]

    def told(about: About) -> Slopes | None:
        strides, padding, dilation = (
            _each(about.keywords.get(name, usual), axes)
            for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1))
        )
        usual = about.keywords.keys() <= {"stride", "padding", "dilation"}
        if not usual or about.ranks[0] != axes + 2 or not (strides and padding and dilation):
            return None
        near = [
            _moved(f"{_times(t, p)} + {_times(d, r)}", -w)
            for p, r, t, w, d in zip(ps, rs, strides, padding, dilation, strict=True)
        ]
        bias = ", ".join(map(str, (0, *range(2, axes + 2))))
        out, inner = ", ".join(ps), ", ".join(rs)
        weight = f"sum(g[m, o, {out}] * a[m, k, {', '.join(near)}], over=(m, {out}))"
        image: str | None = None
        if {*strides} == {1}:
            behind = ", ".join(
                f"{_moved(p, w)} - {_times(d, r)}"
                for p, r, w, d in zip(ps, rs, padding, dilation, strict=True)
            )
            image = f"sum(g[m, o, {behind}] * b[o, k, {inner}], over=(o, {inner}))"
        elif {*dilation} == {1}:  # by the places of the result, of which steps leave some out
            places = ", ".join(js)
            behind = ", ".join(
                f"{_moved(p, w)} - {_times(t, j)}"
                for p, j, w, t in zip(ps, js, padding, strides, strict=True)
            )
            image = f"sum(g[m, o, {places}] * b[o, k, {behind}], over=(o, {places}))"
        return (image, weight, f"sum(g, axis=({bias}))")[: about.count]

    return told


def _average(axes: int) -> Told:
    """Of windows that lie side by side: each of its numbers gets its part."""

    def told(about: About) -> Slopes | None:
        size = _each(about.keywords.get("kernel_size"), axes)
        plain = about.keywords.keys() <= {"kernel_size", "stride"}
        if not plain or size is None or about.ranks[0] != axes + 2:
            return None
        if about.keywords.get("stride") and _each(about.keywords["stride"], axes) != size:
            return None
        places = ", ".join(f"{p} // {n}" for p, n in zip("pq", size, strict=False))
        return (f"g[m, k, {places}] / {math.prod(size)}",)

    return told


def _whole_average(axes: int) -> Told:
    """To a single number of each channel."""

    def told(about: About) -> Slopes | None:
        shape = about.shapes[0]
        if shape is None or _each(about.keywords.get("output_size"), axes) != (1,) * axes:
            return None
        return (f"g / {math.prod(shape[-axes:])} * ones_like(a)",)

    return told


def _maximum(about: About) -> Slopes | None:
    return None if about.given("return_indices") else ("scatter(g, argmax(a))",)


def _softplus(about: About) -> Slopes | None:
    beta, threshold = (
        about.keywords.get(n, usual) for n, usual in (("beta", 1), ("threshold", 20))
    )
    scaled = "a" if beta == 1 else f"{beta!r} * a"
    return (f"where({scaled} > {threshold!r}, 1, sigmoid({scaled}))",)


def _power(about: About) -> Slopes | None:
    """Where base and exponent are 0, so is the slope by the base, as PyTorch takes it."""
    call = about.call
    given = (*call.args, *call.kwargs.values()) if call else ()
    known = any(isinstance(number, (int, float)) and number != 0 for number in given)
    base = "b * a ** (b - 1)" if known else "where(b == 0, 0, b * a ** (b - 1))"
    return (base, "where((a == 0) * (b >= 0), 0, v * log(a))")[: about.count]


def _normalized(sent: str, axis: str, spread: str) -> str:
    """The message through (a - mean) / deviation, of which `sent` is the upstream term."""
    mean = f"mean({sent}, axis={axis}, keepdims=True)"
    product = f"mean({sent} * normalized(a), axis={axis}, keepdims=True)"
    return f"({sent} - {mean} - normalized(a) * {product}) / {spread}"


def _axes(axes: Any) -> str:
    found = list(axes)
    return str(found[0]) if len(found) == 1 else f"({', '.join(map(str, found))})"


def _layer_norm(about: About) -> Slopes | None:
    rank, shape = about.ranks[0], about.keywords.get("normalized_shape")
    if (
        rank is None
        or not isinstance(shape, tuple)
        or about.keywords.keys() - {"eps"} > {"normalized_shape"}
    ):
        return None
    if about.count > 1 and about.given("weight") is None:  # a bias alone
        return None
    axis, before = _axes(range(-len(shape), 0)), range(rank - len(shape))
    over = f", axis={_axes(before)}" if before else ""
    whole = _normalized("g * b" if about.count > 1 else "g", axis, "deviation(a)")
    weight = f"sum(g * normalized(a){over})" if before else "g * normalized(a)"
    return (whole, weight, f"sum(g{over})" if before else "g")[: about.count]


def _batch_norm(about: About) -> Slopes | None:
    rank, training = about.ranks[0], about.given("training")
    if about.count != 5 or rank is None or rank < 2 or training is None:
        return None
    scale = "d" if rank == 2 else "channels(d)"
    over = f"axis={_axes([0, *range(2, rank)])}"
    if training:
        whole = _normalized(f"g * {scale}", over[5:], "deviation(a)")
        return whole, None, None, f"sum(g * normalized(a), {over})", f"sum(g, {over})"
    root = f"sqrt(c + {about.given('eps'):g})"
    mean = "b" if rank == 2 else "channels(b)"
    root = root if rank == 2 else f"channels({root})"
    weight = f"sum(g * (a - {mean}) / {root}, {over})"
    return f"g * {scale} / {root}", None, None, weight, f"sum(g, {over})"


def _embedding(about: About) -> Slopes | None:
    plain = about.usual("padding_idx", "max_norm", "scale_grad_by_freq", "sparse")
    return (None, "onehot(a).T @ g") if plain and about.ranks[0] == 1 else None


def _attention(about: About) -> Slopes | None:
    stacks = {None if shape is None else shape[:-2] for shape in about.shapes[:3]}
    known = about.keywords.keys() <= {"is_causal", "attn_mask"}
    if about.count not in (3, 4) or not known or None in stacks or len(stacks) > 1:
        return None
    *_, size = about.shapes[0] or (0,)
    root = "sqrt(d)" if about.count == 3 else f"sqrt({size})"  # there d is the mask
    scores = f"a @ b.T / {root}"
    if about.count == 4:
        if len(about.slots) < 4 or about.keywords.get("is_causal"):
            return None
        added = about.slots[3].dtype.is_floating_point
        scores = f"{scores} + d" if added else f"where(d, {scores}, -inf)"
    elif about.keywords.get("is_causal"):
        scores = f"causal({scores})"
    weights = f"softmax({scores})"
    sent = f"({weights} * (g @ c.T - sum(g * v, axis=-1, keepdims=True)))"
    return f"{sent} @ b / {root}", f"{sent}.T @ a / {root}", f"{weights}.T @ g"


def _cross_entropy(about: About) -> Slopes | None:
    classes = len(about.slots) == 2 and not about.slots[1].dtype.is_floating_point
    plain = about.usual("weight", "ignore_index", "label_smoothing")
    if not classes or not plain or about.ranks != [2, 1]:
        return None
    return _reduced(about, ("g * (softmax(a) - onehot(b))", None))


def _nll_loss(about: About) -> Slopes | None:
    if not about.usual("weight", "ignore_index") or about.ranks != [2, 1]:
        return None
    return _reduced(about, ("where(onehot(b), -g, 0)", None))


def _loss(*slopes: str) -> Told:
    def told(about: About) -> Slopes | None:
        shape = about.shapes[0]
        if shape is None or about.shapes != [shape] * 2:
            return None
        plain = about.usual("weight", "pos_weight")
        return _reduced(about, slopes, math.prod(shape)) if plain else None

    return told


def _reduced(about: About, slopes: Slopes, count: int | str = "n") -> Slopes | None:
    """Of a loss that is a mean of so many, a sum, or one for each."""
    if not about.usual("size_average", "reduce"):  # what they once were told by
        return None
    reduction = about.given("reduction")
    if reduction == "mean":
        return tuple(slope and f"{slope} / {count}" for slope in slopes)
    return slopes if reduction == "sum" else None


LOCAL: dict[str, Told] = {
    **{name: _numpy(getattr(np, other)) for name, other in (
        ("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("div", "divide"),
        ("neg", "negative"), ("exp", "exp"), ("log", "log"), ("log1p", "log1p"), ("sin", "sin"),
        ("cos", "cos"), ("tanh", "tanh"), ("sqrt", "sqrt"), ("square", "square"),
        ("expm1", "expm1"), ("log2", "log2"), ("log10", "log10"),
    )},
    "pow": _power,
    "rsub": _plain("-1", "1"),
    "clone": _plain("1"),
    "contiguous": _plain("1"),
    "abs": _plain("sign(a)"),
    "sigmoid": _plain("v * (1 - v)"),
    "relu": lambda about: ("a > 0",),
    "gelu": _gelu,
    "silu": lambda about: ("sigmoid(a) * (1 + a * (1 - sigmoid(a)))",),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "dropout": _dropout,
    "log_sigmoid": lambda about: ("1 - exp(v)",),
    "softplus": _softplus,
}  # fmt: skip
"""By name the local derivatives of operations that work number by number."""
MESSAGES: dict[str, Told] = {
    "linear": _linear,
    "matmul": _plain("g @ b.T", "a.T @ g"),
    "mm": _plain("g @ b.T", "a.T @ g"),
    "bmm": _plain("g @ b.T", "a.T @ g"),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "nll_loss": _nll_loss,
    "mse_loss": _loss("2 * g * (a - b)", "-(2 * g * (a - b))"),
    "l1_loss": _loss("g * sign(a - b)", "-(g * sign(a - b))"),
    "binary_cross_entropy": _loss(
        "g * (a - b) / maximum(a * (1 - a), 1e-12)", "g * (log(1 - a) - log(a))"
    ),
    "binary_cross_entropy_with_logits": _loss("g * (sigmoid(a) - b)", "-(g * a)"),
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    **{f"avg_pool{n}d": _average(n) for n in (1, 2)},
    **{f"adaptive_avg_pool{n}d": _whole_average(n) for n in (1, 2)},
    **{f"max_pool{n}d": _maximum for n in (1, 2)},
    "embedding": _embedding,
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(
        ("flatten", "reshape", "view", "squeeze", "unsqueeze"), lambda about: ("reshape(g)",)
    ),
    **dict.fromkeys(("getitem", "select", "narrow"), lambda about: ("scatter(g)",)),
    "permute": lambda about: ("transpose(g)",),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), lambda about: ("swapaxes(g)",)),
    **dict.fromkeys(("t", "T", "mT"), _plain("g.T")),
    "cat": _joined,
    "sum": _plain("g * ones_like(a)"),
    "mean": _mean,
}
"""By name the messages of the others."""


def slopes(name: str, count: int, call: Call | None, keywords: Mapping[str, Any]) -> Slopes | None:
    """Per operand the local derivative (of a name in `LOCAL`) or the message."""
    told = LOCAL.get(name) or MESSAGES.get(name)
    return told(About(count, call, keywords)) if told else None
