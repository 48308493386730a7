"""Encoders that PyTorch runs by kernels of their own, which it does not where one watches.

Without gradients, and where its input is padded, an `nn.TransformerEncoder` computes with nested
tensors and leaves zeros at the padded places; under a function mode it takes the ordinary way, and
returns other numbers there. So it runs unwatched, as one call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as modules

from gradviz.record.torch.operation import tensors_in

Ran = Callable[[nn.Module, Any, Any], None]
"""Is told of a module that has run, its arguments and its output."""


@contextmanager
def unwatched(ran: Ran) -> Iterator[None]:
    """Inside, such encoders run as if nobody watched."""
    thread = threading.get_ident()
    running: list[Any] = []

    def enter(module: nn.Module, args: Any) -> None:
        if not running and threading.get_ident() == thread and _is_fused(module, args):
            running.extend((module, torch._C.DisableTorchFunction()))
            running[1].__enter__()

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if running and running[0] is module and threading.get_ident() == thread:
            try:
                ran(module, args, output)
            finally:
                running[1].__exit__(None, None, None)
                running.clear()

    entered = modules.register_module_forward_pre_hook(enter)
    left = modules.register_module_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        entered.remove()
        left.remove()


def _is_fused(module: nn.Module, args: Any) -> bool:
    if module.training or not isinstance(module, nn.TransformerEncoder):
        return False
    tensors = (*tensors_in(args), *module.parameters())
    return not torch.is_grad_enabled() or not any(t.requires_grad for t in tensors)
