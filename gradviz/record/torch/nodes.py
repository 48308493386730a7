"""The values of a captured program, and where their messages pass in autograd's graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradviz.model import Node
from gradviz.record.torch.ranks import local

GradientEdge = tuple[Any, int]
"""A gradient's place in autograd's graph: a node and the number of its output."""


class Form(NamedTuple):
    """How a view lies in its base, of which it is all."""

    base: tuple[int, ...]  # the base's shape and strides
    strides: tuple[int, ...]
    shape: tuple[int, ...]  # the view's
    view: tuple[int, ...]

    def apply(self, gradient: Tensor) -> Tensor:
        """The gradient of the view, from that of its base."""
        if gradient.stride() != self.strides:
            place = torch.empty_strided(
                self.base, self.strides, dtype=gradient.dtype, device=gradient.device
            )
            gradient = place.copy_(gradient)
        return gradient.as_strided(self.shape, self.view)


class Crossing(NamedTuple):
    """Where a message leaves a call."""

    function: Any  # autograd's node
    number: int  # of its input
    node: TensorNode  # the value that it goes to
    form: Form | None  # how that lies in what autograd sends a message for

    def message(self, sent: Tensor) -> Tensor:
        """What is sent, in the shape of the value."""
        return sent if self.form is None else self.form.apply(sent)


class TensorNode(Node):
    """The value of one call, or a leaf.

    Attributes
    ----------
    edge : GradientEdge or None
        Where its gradient is complete.
    form : Form or None
        Of a view that is all of a base which only its call has seen (as `linear` of three axes
        makes one of a matrix product): `edge` is then that of the base, since a write to the view
        goes on from there.
    crossings : dict
        By autograd's node and the number of its input: the operand's position, and the `Crossing`.
    sent : list of tuple
        Per message that it received: the address of the tensor, and what was kept of it.
    """

    __slots__ = ("crossings", "edge", "form", "read", "sent")

    edge: GradientEdge | None
    form: Form | None
    crossings: dict[tuple[Any, int], tuple[int, Crossing]]
    read: tuple[str, Any]
    sent: list[tuple[int | None, Any]]


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written to, as autograd counts."""
    try:
        return tensor._version
    except RuntimeError:  # one of inference mode does not count
        return 0


def versions_of(tensors: Sequence[Tensor]) -> list[int]:
    """The same of many."""
    try:
        return [tensor._version for tensor in tensors]
    except RuntimeError:
        return list(map(version_of, tensors))


def edge_of(tensor: Tensor) -> GradientEdge:
    """Where autograd completes the gradient of a tensor."""
    if (function := tensor.grad_fn) is not None:
        return function, tensor.output_nr
    # (As `torch.autograd.graph.get_gradient_edge`, at half the time.)
    if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
        return _accumulating(tensor)
    with torch.inference_mode(False), torch.enable_grad():
        return _accumulating(tensor)


def _accumulating(leaf: Tensor) -> GradientEdge:
    view: Any = leaf.view_as(leaf)
    return view.grad_fn.next_functions[0][0], 0


def address_of(tensor: Tensor) -> int:
    """What two tensors have in common that are the same numbers in memory."""
    if type(tensor) is Tensor and tensor.layout is torch.strided:
        return tensor.data_ptr()
    return local(tensor).data_ptr() if tensor.layout == torch.strided else id(tensor)


def needed(
    recorded: Sequence[TensorNode], spent: Collection[int], output: TensorNode
) -> list[TensorNode]:
    """What is left without what carries no gradient, or is spent, and leads to nothing that does.

    `spent` are orders, as of what was overwritten.
    """
    readers = Counter(o.order for n in recorded for o in n.operands if isinstance(o, Node))
    readers[output.order] += 1
    gone = set()
    for node in reversed(recorded):
        if not readers[node.order] and (node.edge is None or node.order in spent):
            gone.add(node.order)
            readers.subtract(o.order for o in node.operands if isinstance(o, Node))
    return [node for node in recorded if node.order not in gone]


def never(*_: Any, **__: Any) -> Any:
    """What a call that failed computes."""
    raise NotImplementedError("this call raised an error")
