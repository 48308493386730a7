"""Sampling the steps of a PyTorch training loop into a file."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import grad_scaler
from torch.nn.parameter import is_lazy
from torch.optim import optimizer as optimizers

from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.keep import training
from gradviz.record import rendezvous
from gradviz.record.arguments import argument_names
from gradviz.record.sampling import Sampler
from gradviz.record.torch import keep
from gradviz.record.torch.calls import is_unreadable
from gradviz.record.torch.capture import Capture
from gradviz.record.torch.kept import KEPT, Kept
from gradviz.record.torch.nodes import TensorNode
from gradviz.record.torch.operation import TorchOperation
from gradviz.record.torch.ranks import inner, local, unreadable
from gradviz.record.torch.trace import Recorded, graph_of
from gradviz.statistics import Statistics, measure

ENTRIES = 2**14
"""Of the change of a parameter so many entries are measured."""
PASSES: tuple[Callable[..., Any], ...] = (
    Tensor.backward,
    torch.autograd.backward,
    torch.autograd.grad,
)


class Recorder(Sampler):
    """Samples every n-th step; see `gradviz.record_training`.

    Attributes
    ----------
    graph : Graph or None
        Of the last step that was sampled: of its last backward pass.
    """

    def __init__(self, model: nn.Module, path: str | os.PathLike[str], every: int) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"record_training needs a torch.nn.Module, got {type(model).__name__}")
        if (group := rendezvous.group()) is not None:
            group.claim(path)
        super().__init__(path, every)
        self.model: nn.Module = inner(getattr(model, "_orig_mod", model))  # of a compiled one
        self.graph: Graph | None = None
        self._kept = Kept()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one training step: forward, the backward passes, and the optimizer's step."""
        number, self.count = self.count, self.count + 1
        if number % self.every:
            with self._kept.following() if not self.count % self.every else nullcontext():
                yield
            return
        before = {name: _Weight(p) for name, p in self.model.named_parameters()}
        capture = StepCapture({"": self.model}, self._kept)
        try:
            with torch.compiler.set_stance("force_eager"), capture.following():
                yield
            self._write(number, capture, before)
        finally:
            capture.close()

    def _write(self, number: int, capture: StepCapture, before: Mapping[str, _Weight]) -> None:
        """Write a step; whatever goes wrong is no reason to end a training."""
        note = ""
        if capture.broken is not None:
            note = f"it could not be recorded: {capture.broken}"
        elif not capture.passes:
            note = "it made no backward pass"
        graphs = [] if note else [p.graph for p in capture.passes]
        said = note or (KEPT if capture.kept_gradients else "")
        self.graph = next((p.graph for p in reversed(capture.counted() or capture.passes)), None)
        counted = [p.loss for p in capture.counted()]
        try:
            training.append(
                self.path,
                number,
                capture.rows(self.model, before),
                graphs,
                losses=[p.loss for p in capture.passes],
                loss=sum(counted) if counted else None,
                stepped=capture.stepped,
                note=said,
            )
        except Exception as error:
            self._warn(f"step {number} could not be written to {self.path}: {error}", "writing", 5)
        if said and not note:
            self._warn(f"step {number}: {said}", said, 1)
        if note:
            self._warn(f"step {number} has no Graph in {self.path.name}: {note}", note, 5)


class _Weight:
    """A parameter as it was: a sample of its entries, and the sum of its bits."""

    def __init__(self, parameter: Tensor) -> None:
        self.entries, self.bits, self.shape = None, None, tuple[int, ...]()
        if not is_lazy(parameter) and not parameter.is_meta:
            self.shape = tuple(parameter.shape)
            self.entries = keep.entries(parameter, ENTRIES)
            if parameter.numel() > ENTRIES:
                self.bits = keep.bits(parameter)

    def change(self, before: _Weight | None) -> float | None:
        """The root mean square of the change; None where it is not known."""
        if before is None or before.shape != self.shape:
            return None
        if self.entries is None or before.entries is None:
            return None
        with np.errstate(all="ignore"):
            apart = np.subtract(self.entries, before.entries, dtype=float)
            found = float(np.sqrt(np.mean(np.square(apart)))) if apart.size else 0.0
        if found == 0 and self.bits != before.bits:
            return None  # so little of it moved that the sample has missed it
        return found


class Pass:
    """One backward pass: what it went from, and its Graph."""

    def __init__(
        self, loss: float, graph: Graph, elsewhere: set[int], accumulates: bool, inner: int
    ) -> None:
        self.loss, self.graph, self.accumulates, self.inner = loss, graph, accumulates, inner
        self.reached: dict[str, Any] = {}  # parameters' gradients
        self.elsewhere = elsewhere  # see `Graph.elsewhere`

    def beside(self, other: Pass) -> None:
        """Note which parameters another pass of the step has reached."""
        for i in self.graph.wrt:
            name = self.graph.names[i]
            if name in other.reached and name not in self.reached:
                self.elsewhere.add(i)


class StepCapture(Capture):
    """Records one training step: each backward pass of it as a Graph of its own.

    What goes wrong in recording is noted in `broken`: the step goes on as if it were not recorded.
    """

    def __init__(self, roots: Mapping[str, nn.Module], kept: Kept | None = None) -> None:
        super().__init__(roots, {}, whole=False)
        self.roots = roots
        self.kept_gradients = False  # whether an optimizer saw those of the step before, too
        self._zeroed = kept or Kept()
        self.passes: list[Pass] = []
        self.broken: Exception | None = None
        self.stepped = False
        self.seen: dict[int, Statistics] = {}  # by id, the gradients that an optimizer saw
        self._results: list[Any] = []  # of the calls that are being recorded
        self._theirs: BaseException | None = None
        self._scales: dict[int, tuple[Tensor, TensorNode, Tensor]] = {}
        self._since = 0
        self._known: set[int] | None = None  # leaves whose numbers are those that were recorded
        self._steps: list[Any] = []  # the optimizers at work
        self._inner = 0
        if found := unreadable(m for root in roots.values() for m in root.modules()):
            self.broken = TraceError(found)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of the models."""
        for prefix, root in self.roots.items():
            yield from inner(root).named_parameters(prefix)

    # --- calls ---------------------------------------------------------------------------------

    @contextmanager
    def following(self) -> Iterator[None]:
        """Record the step that is made inside."""
        before = optimizers.register_optimizer_step_pre_hook(self._optimizing)
        after = optimizers.register_optimizer_step_post_hook(self._optimized)
        try:
            with self.recording():
                yield
        finally:
            before.remove()
            after.remove()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        if self.broken is not None:
            return func(*args, **kwargs)
        if func in PASSES and not kwargs.get("create_graph"):
            return self._go_back(func, args, kwargs)
        if not self._concerns(args, kwargs):
            return func(*args, **kwargs)
        depth = len(self._results)
        try:
            result = super().__torch_function__(func, types, args, kwargs)
            if getattr(func, "__name__", "") == "mul" and isinstance(result, Tensor):
                self._scaled(args, result, sys._getframe(1))
            return result
        except Exception as error:
            if error is self._theirs:
                raise
            self.broken = error
            return self._results[depth] if len(self._results) > depth else func(*args, **kwargs)
        finally:
            del self._results[depth:]

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """See `Capture.run`."""
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            self._theirs = error
            raise
        self._results.append(result)
        return result

    def _concerns(self, args: Any, kwargs: Any) -> bool:
        """Whether a call may be part of what is differentiated.

        Once a backward pass was made, much is not: clipping, the optimizer's own arithmetic.
        """
        if not self.passes and not self._steps:
            return True
        if not torch.is_grad_enabled():
            return bool(self._scope)
        return bool(self._scope) or any(
            isinstance(a, Tensor) and a.requires_grad
            for part in (*args, *kwargs.values())
            for a in (part if isinstance(part, (tuple, list)) else (part,))
        )

    def _scaled(self, args: Any, result: Tensor, frame: Any) -> None:
        """Note what a `GradScaler` has multiplied: the loss is what it was before."""
        if frame.f_code.co_filename == grad_scaler.__file__:
            self._scales[id(result)] = result, self.node(args[0]), args[1].detach()

    # --- values --------------------------------------------------------------------------------

    def node(self, tensor: Tensor) -> TensorNode:
        """See `Capture.node`; a leaf that has changed since the last backward pass is a new one."""
        if isinstance(tensor, nn.Parameter) and id(tensor) not in self.names:
            for prefix, root in self.roots.items():  # it may be a new one of theirs
                self._know(prefix, root)
        found = super().node(tensor)
        if self._known is None or found.operands or id(tensor) in self._known:
            return found
        self._known.add(id(tensor))
        if found.edge is None or found.order >= self._since:
            return found
        if self.keep(tensor) == found.value:
            return found
        self._tensors.pop(id(tensor), None)
        self._edges.pop(found.edge, None)
        return super().node(tensor)

    def kept(self, output: TensorNode) -> list[TensorNode]:
        """See `Capture.kept`: what leads to a loss, and what was recorded since the one before."""
        wanted = {output.order}
        for node in reversed(self.recorded[: output.order + 1]):
            if node.order in wanted:
                wanted.update(o.order for o in node.operands if isinstance(o, TensorNode))
        scaled = {self.node(result).order for result, *_ in self._scales.values()}
        return [
            node
            for node in super().kept(output)
            if node.order in wanted or (node.order >= self._since and node.order not in scaled)
        ]

    # --- backward passes -----------------------------------------------------------------------

    def _go_back(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run a backward pass, and make a Graph of what it sent."""
        try:
            given = dict(zip(("outputs", "inputs"), args, strict=False)) | kwargs
            if func is not torch.autograd.grad:
                given = dict(zip(("outputs", "weights"), args, strict=False)) | kwargs
            weights = next(
                (given[k] for k in ("weights", "gradient", "grad_tensors", "grad_outputs")
                 if given.get(k) is not None), None,
            )  # fmt: skip
            outputs = given["outputs"]
            outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
            weights = [weights] if isinstance(weights, Tensor) else list(weights or ())
            weights += [None] * (len(outputs) - len(weights))
            roots, scales = [], []
            for output in outputs:
                _, node, scale = self._scales.get(id(output), (None, self.node(output), None))
                roots.append(node)
                scales.append(1.0 if scale is None else scale.item())
            read = {node.name for node, _ in self._leaves}
            for _, parameter in self.named_parameters():
                there = self._sharded and self.names.get(id(parameter)) in read
                if parameter.requires_grad and not is_lazy(parameter) and not there:
                    self.node(parameter)
            self.measure_memory(roots)
            expected = Counter(self._expected)
            self.gradients, self.messages = {}, {}
            self._partial.clear()
            for node in self.recorded:
                node.sent = []
        except Exception as error:
            self.broken = error
            return func(*args, **kwargs)
        self._zeroed.before_pass()
        with self.sending():
            result = self.send(func, args, kwargs)
        self._zeroed.after_pass()
        if self.broken is None:
            try:
                self._passed_back(roots, weights, outputs, scales, func)
                self._expected = expected
            except Exception as error:
                self.broken = error
        return result

    def send(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Make a backward pass of the program's."""
        return func(*args, **kwargs)

    def _passed_back(
        self,
        roots: Sequence[TensorNode],
        weights: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        scales: Sequence[float],
        func: Any,
    ) -> None:
        """Make the Graph of the backward pass that is over."""
        self.told_apart()
        scale = scales[0] if len(set(scales)) == 1 else 1.0
        plain = all(w is None or (w.numel() == 1 and w.item() == 1) for w in weights)
        if len(roots) == 1 and plain:
            root = roots[0]
        else:
            root = self._sum(roots, weights, outputs, scale)
        if scale != 1:
            self.gradients = {i: _divided(g, scale) for i, g in self.gradients.items()}
            self.messages = {e: _divided(m, scale) for e, m in self.messages.items()}
        self.note_rank(func is not torch.autograd.grad, scale)
        recorded = Recorded(self.kept(root), root, list(self.leaves()))
        title = ", ".join(type(root).__name__ for root in self.roots.values())
        elsewhere: set[int] = set()
        graph = graph_of(self, recorded, title, elsewhere=elsewhere)
        accumulates = func is not torch.autograd.grad
        loss = float(measure(root.value).mean)
        made = Pass(loss, graph, elsewhere, accumulates, self._inner if self._steps else 0)
        self._inner += bool(self._steps)
        by_name = {node.name: node for node, _ in self._leaves}
        for name, parameter in self.named_parameters():
            node = by_name.get(name)
            if node is None or node.order not in self.gradients:
                continue
            made.reached[name] = self.gradients[node.order]
            again = any(name in p.reached for p in self.passes if p.accumulates)
            if accumulates and again and parameter.grad is not None:
                made.reached[name] = _divided(keep.statistics(parameter.grad), scale)
        for known in self.passes:
            known.beside(made)
            made.beside(known)
        self.passes.append(made)
        if self._steps and self._inner == 1:
            self._see(self._steps[-1])
        self._known, self._since = set(), len(self.recorded)

    def _sum(
        self,
        roots: Sequence[TensorNode],
        weights: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        scale: float,
    ) -> TensorNode:
        """What a pass from several losses, or with weights of its own, has differentiated."""
        with torch.no_grad():
            parts = [
                (o if w is None else o * local(w)).sum().to("cpu", torch.float64) / scale
                for o, w in zip(map(local, outputs), weights, strict=True)
            ]
            total = torch.stack(parts).sum()
        name = "weighted sum" if any(w is not None for w in weights) else "sum of losses"
        operation = TorchOperation(name, None, 0, False)
        operation.carries.update(range(len(roots)))
        given = [self.node(weight) for weight in weights if weight is not None]
        node = self._append(operation, (*roots, *given), total, {}, None, "loss")
        self.gradients[node.order] = _divided(keep.statistics(torch.ones(())), 1 / scale)
        for k, (weight, output) in enumerate(zip(weights, outputs, strict=True)):
            sent = torch.ones_like(output) if weight is None else weight.detach()
            found = keep.statistics(sent.expand_as(output))
            self.messages[node.order, k] = _divided(found, 1 / scale)
        return node

    def _hook(self, function: Any, hook: Callable[..., None]) -> None:
        super()._hook(function, partial(self._guarded, hook))

    def _received(self, node: TensorNode, gradient: Tensor | None) -> None:
        self._guarded(super()._received, node, gradient)

    def _enter_module(self, module: nn.Module, args: Any) -> None:
        if not self._scope and threading.get_ident() == self._thread:
            self._guarded(self._name_arguments, module, args)
        self._guarded(super()._enter_module, module, args)

    def _name_arguments(self, module: nn.Module, args: Any) -> None:
        """What a whole model is given is called as its `forward` calls it."""
        taken = argument_names(inner(module).forward, len(args))
        for name, value in zip(taken, args, strict=True):
            if not isinstance(value, Tensor) or is_unreadable(value):
                continue
            if self._last(value) is None and id(value) not in self.names:
                self._named(id(value), name)
                self.node(value)
                del self.names[id(value)]  # it may be gone before the step ends

    def _guarded(self, call: Callable[..., None], *args: Any) -> None:
        """What is noted of a step must not end it."""
        if self.broken is None:
            try:
                call(*args)
            except Exception as error:
                self.broken = error

    # --- optimizers ----------------------------------------------------------------------------

    def _optimizing(self, optimizer: Any, *_: Any) -> None:
        self._steps.append(optimizer)
        self._inner = 0
        self.kept_gradients = self.kept_gradients or self._zeroed.are_in(optimizer)

    def _optimized(self, optimizer: Any, *_: Any) -> None:
        if self._steps:
            self._steps.pop()
        self.stepped = True
        if not self._inner:  # else it has seen those of its own passes
            self._see(optimizer)
        self._inner = 0
        self._zeroed.used(optimizer)

    def _see(self, optimizer: Any) -> None:
        """Note the gradients that an optimizer uses."""
        try:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self.seen[id(parameter)] = self.keep(parameter.grad)
        except Exception as error:
            self.broken = self.broken or error

    # --- what is written -----------------------------------------------------------------------

    def counted(self) -> list[Pass]:
        """The passes whose losses make up the step's."""
        reached = [p for p in self.passes if p.reached]
        training_ones = [p for p in reached if p.accumulates] or reached
        return [p for p in training_ones if not p.inner]

    def rows(self, model: nn.Module, before: Mapping[str, _Weight]) -> dict[str, training.Row]:
        """What is written of each parameter."""
        rows: dict[str, training.Row] = {}
        weights: dict[str, Any] = {}
        for made in reversed(self.passes):
            weights |= {
                name: value.value
                for i in sorted(made.graph.wrt)
                for name, value in [(made.graph.names[i], made.graph.values[i])]
            }
        gradients: dict[str, Any] = {}
        for made in self.passes:
            gradients |= made.reached
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad or is_lazy(parameter):
                continue
            gradient = self.seen.get(id(parameter), gradients.get(name))
            known = weights.get(name)
            rows[name] = training.Row(
                parameter.numel(),
                None if known is None else measure(known).rms,
                None if gradient is None else gradient.rms,
                _Weight(parameter).change(before.get(name)),
            )
        return rows


def _divided(value: Any, scale: float) -> Any:
    """Statistics of numbers divided by a positive scale."""
    if scale == 1 or not isinstance(value, Statistics):
        return value
    numbers = {name: getattr(value, name) / scale for name in ("norm", "low", "mean", "high")}
    return replace(value, **numbers, sample=value.sample / scale)
