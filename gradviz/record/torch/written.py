"""Writes that autograd knows nothing of: under `no_grad`, to `x.data`, where no call was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gradviz.ops.operation import Operation
from gradviz.record.torch.calls import RESHAPES
from gradviz.record.torch.messages import Messages
from gradviz.record.torch.nodes import GradientEdge, TensorNode, edge_of, version_of
from gradviz.record.torch.operation import Write
from gradviz.record.torch.sites import site_of_call
from gradviz.record.torch.state import storage


class Written(Messages):
    """What becomes of values that are written to without a history.

    Autograd sends the gradient of what a value is now straight on to what made it before.

    Attributes
    ----------
    written : set of int
        The memory that was there before and has been written to since it was last read; filled
        from outside.
    writers : dict of int to Instruction
        By the `id` of a tensor the line that it was last written to where that was not seen.
    """

    def __init__(self, whole: bool) -> None:
        super().__init__(whole)
        self.written: set[int] = set()
        self.writers: dict[int, Any] = {}
        self._tensors: dict[int, tuple[Any, int, bool, TensorNode]] = {}  # as they were last seen
        self._plain: dict[int | None, set[int]] = {}  # by storage whose `data` was asked for
        self._became: dict[int, list[TensorNode]] = {}  # by a value's order: write after write

    def _append(
        self,
        operation: Operation,
        operands: Sequence[Any],
        tensor: Tensor,
        keywords: Mapping[str, Any] | None = None,
        alike: TensorNode | None = None,
        name: str = "",
        edge: GradientEdge | None = None,
        site: Any = ...,
        form: Any = ...,
    ) -> TensorNode:
        """Record the value that a tensor holds now."""
        raise NotImplementedError

    def _write(self, before: TensorNode, old: TensorNode, tensor: Tensor) -> TensorNode:
        """What a value with a history became by a write without one, as under `no_grad`.

        Autograd knows nothing of it: the gradient of what it is now goes straight on.
        """
        site = self._line_of(old, before, tensor)
        operation = Write()
        operation.carries.add(0)
        node = self._append(
            operation, (before,), tensor, edge=before.edge, site=site, form=before.form
        )
        self._edges[edge_of(tensor)] = node
        self._indirect[node.order] = None
        while isinstance(before.operation, Write) and isinstance(before.operands[0], TensorNode):
            before = before.operands[0]  # what autograd knows of
        self._became.setdefault(before.order, []).append(node)
        return node

    def _line_of(self, old: TensorNode, before: TensorNode, tensor: Tensor) -> Any:
        """The line of the last write to a tensor, which is `old` if it was seen as its."""
        return self.writers.pop(id(tensor), None if old is before else old.site)

    def _is_written(self, tensor: Tensor) -> bool:
        """Whether a tensor was written to in a way that its version does not tell."""
        if not self.written:
            return False
        address = storage(tensor)
        found = address in self.written
        self.written.discard(address or 0)
        return found

    def _shared(
        self, name: str, given: Sequence[Tensor], versions: Sequence[int], target: Tensor | None
    ) -> None:
        """What a write to a tensor, if it is one, says of others in the same memory."""
        if target is not None and name in RESHAPES:
            self._as_it_was(target, versions[[t is target for t in given].index(True)])
        else:
            self._as_plain(name, given, target)

    def _as_it_was(self, target: Tensor, version: int) -> None:
        """A reshape in place counts as a write, but what shares its memory is as it was.

        (But not another view whose history autograd makes anew.)
        """
        place, now = storage(target), version_of(target)
        for key, (reference, known, tracked, node) in self._tensors.items():
            tensor = reference() if known == version else None
            if tensor is None or storage(tensor) != place or version_of(tensor) != now:
                continue
            if not tracked or tensor._base is None or node.form is not None:
                self._tensors[key] = reference, now, tracked, node

    def _as_plain(self, name: str, given: Sequence[Tensor], target: Tensor | None) -> None:
        """What is written to `x.data` is in `x`, too, whose version does not tell."""
        if name in ("data", "detach") and given:
            self._plain.setdefault(storage(given[0]), set()).add(id(given[0]))
        elif target is not None and self._plain:
            for key in self._plain.get(storage(target), ()):
                if key != id(target) and key in self._tensors:
                    tensor, _, tracked, node = self._tensors[key]
                    self._tensors[key] = tensor, -1, tracked, node
                    self.writers[key] = site_of_call()

    def _reached(self, node: TensorNode, output: int, upstream: Sequence[Tensor | None]) -> None:
        for later in reversed(self._became.get(node.order, ())):
            self._straight(later)
        super()._reached(node, output, upstream)

    def _straight(self, node: TensorNode) -> None:
        """What was written without a history sends what it has received."""
        gradient, self._indirect[node.order] = self._indirect[node.order], None
        (operand,) = node.operands
        if gradient is not None and isinstance(operand, TensorNode):
            self._received(node, gradient)
            self._note_message((node.order, 0), operand, gradient, None)
