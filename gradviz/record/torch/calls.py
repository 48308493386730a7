"""The calls of a PyTorch program: which are recorded, and how one is kept to be made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from sys import _getframe
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from gradviz.errors import TraceError
from gradviz.ops import forms
from gradviz.record import names
from gradviz.record.torch import keep
from gradviz.record.torch.operation import Call, Slot

QUERIES = frozenset(
    "dim ndimension size numel nelement stride storage_offset is_contiguous is_floating_point "
    "is_complex element_size data_ptr untyped_storage storage get_device register_hook "
    "register_post_accumulate_grad_hook retain_grad requires_grad_ __len__ __hash__ __repr__ "
    "__format__ is_pinned is_shared is_inference has_names __dir__ is_set_to".split()
)
"""Methods that tell of a tensor, or set what is no number."""
GETTERS = frozenset("T mT H mH real imag data".split())
READS = frozenset("__bool__ __float__ __int__ __index__ __complex__ item tolist numpy".split())
"""Where a tensor becomes a plain number: its history ends."""
_DRAWING = (
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout "
    "native_dropout rrelu bernoulli normal multinomial gumbel_softmax scaled_dot_product_attention "
    "lstm gru rnn_tanh rnn_relu fractional_max_pool2d fractional_max_pool3d randn_like rand_like "
    "randint_like binomial cauchy exponential geometric log_normal poisson random uniform "
    "_standard_gamma _sample_dirichlet".split()
)
RANDOM = frozenset((*_DRAWING, *(f"{name}_" for name in _DRAWING)))
"""Calls that draw random numbers."""
SAME = forms.SHAPES | forms.ORDERS | {"detach"}
"""Calls whose result has the numbers of their operand, all of them."""
PARTS = frozenset("split chunk tensor_split".split())
"""Calls whose results are parts of their operand along one axis."""
VIEWS = SAME | forms.MOVES
WRITES = frozenset("setitem iadd isub imul idiv itruediv ipow write".split())
"""Calls that write to their operand, beside those whose name ends so: ``add_``."""
RESHAPES = frozenset(
    "as_strided_ resize_ resize_as_ squeeze_ swapaxes_ swapdims_ t_ transpose_ unsqueeze_".split()
)
"""Methods after which their own tensor has another shape, and lies in memory in another way."""


def _opened(function: Any) -> Any:
    """A function of `torch.nn.functional` that shows the calls inside instead of itself."""
    space = {**function.__globals__, "has_torch_function": lambda _: False}
    parts = function.__code__, space, function.__name__, function.__defaults__
    copy = FunctionType(*parts, function.__closure__)  # (it has one where another tool wraps it)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


OPENED = {f: _opened(f) for f in (nn.functional.multi_head_attention_forward,)}


@cache
def called(function: Any) -> str:
    """The name of what is called; "" for what computes no tensor."""
    name = str(getattr(function, "__name__", ""))
    if name == "__get__":
        name = str(getattr(function.__self__, "__name__", ""))
        return name if name in GETTERS else ""
    if name in QUERIES or name in ("__set__", "__delete__"):
        return ""
    return name if name in READS else name.removeprefix("__").removesuffix("__")


def is_transformed() -> bool:
    """Whether a call is one of a transform's own: of vmap, grad, jvp, or of a tracer's run.

    Raises
    ------
    TraceError
        `torch.func.linearize` runs the function on tensors whose numbers mean nothing.
    """
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    if not torch.fx._symbolic_trace._is_fx_tracing_flag:
        return False
    frame: Any = _getframe(1)
    while frame is not None and frame.f_code is not torch.func.linearize.__code__:
        frame = frame.f_back
    if frame is not None:
        raise TraceError(
            "torch.func.linearize traces a function symbolically, which cannot be followed; write "
            f"torch.func.jvp, at {names.where(frame)}"
        )
    return True


def is_unreadable(tensor: Tensor) -> bool:
    """Whether a tensor has no numbers, or they are for a transform: vjp's, linearize's ..."""
    if type(tensor) is nn.Parameter:
        return False
    is_wrapped: bool = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return is_wrapped or (type(tensor) is not Tensor and isinstance(tensor, FakeTensor))


def _put(positions: Iterator[int], reshaped: Tensor | None, argument: Any) -> Any:
    """An argument with a `Slot` in place of each tensor.

    No closure, which would refer to itself and so hold the tensors until garbage is collected:
    whether a view is still there, autograd's second derivative depends on.
    """
    put = partial(_put, positions, reshaped)
    if isinstance(argument, Tensor):
        dense = keep.is_dense(argument) and argument is not reshaped
        stride = argument.stride() if dense else None
        shape = tuple(argument.shape)
        return Slot(next(positions), argument.dtype, argument.device, stride, shape)
    if isinstance(argument, dict):
        return {k: put(v) for k, v in argument.items()}
    if type(argument) in (tuple, list):
        return type(argument)(map(put, argument))
    return argument


def call_of(
    function: Any,
    args: Any,
    kwargs: Any,
    given: Sequence[Tensor],
    target: Tensor | None,
    generator: list[Tensor] | None,
) -> Call:
    """A call with a `Slot` in place of each tensor, in the order of `given`."""
    positions = iter(range(len(given)))
    reshaped = target if getattr(function, "__name__", "") in RESHAPES else None
    put = partial(_put, positions, reshaped)
    place = None if target is None else next(i for i, t in enumerate(given) if t is target)
    kind = given[0].device.type if given else "cpu"
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return Call(function, put(args), put(kwargs), place, generator, autocast)
