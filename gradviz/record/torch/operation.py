"""A recorded PyTorch call as an Operation: evaluated, and differentiated, by calling it again."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from keyword import kwlist
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradviz.errors import TraceError
from gradviz.ops import notation
from gradviz.ops.corners import Numbers
from gradviz.ops.operation import OPERAND_NAMES, Derivative, Operation, unwritten
from gradviz.record import chance
from gradviz.record.arguments import nested
from gradviz.record.torch.formulas import LOCAL, MESSAGES, About, slopes
from gradviz.record.torch.keep import array

SYMBOLS = {
    "add": "a + b",
    "sub": "a - b",
    "rsub": "b - a",
    "mul": "a * b",
    "div": "a / b",
    "rdiv": "b / a",
    "pow": "a ** b",
    "rpow": "b ** a",
    "neg": "-a",
    "matmul": "a @ b",
    "mm": "a @ b",
    "bmm": "a @ b",
}
"""How a call is written if not by its name; `add_` is written as `add`."""


LARGE = 10_000
"""The local derivatives of larger arrays are not computed to be looked at."""
_PLAIN = frozenset((bool, int, float, str, NoneType))
_EMBEDDINGS = (torch.nn.functional.embedding, torch.nn.functional.embedding_bag)


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands for an operand in the arguments of a `Call`."""

    position: int
    dtype: torch.dtype
    device: torch.device
    stride: tuple[int, ...] | None  # where it is dense: random numbers come in memory's order
    shape: tuple[int, ...]


class Call(NamedTuple):
    """What was called, and with what besides its operands.

    Attributes
    ----------
    function : callable
    args, kwargs
        The arguments, with a `Slot` for each tensor.
    target : int or None
        The position of the operand that the call writes to and that is its result.
    generator : list of Tensor or None
        The states of PyTorch's random numbers before the call, where it draws some.
    autocast : torch.dtype or None
        What matrix products are computed in, under `torch.autocast`.
    """

    function: Callable[..., Any]
    args: Any
    kwargs: Any
    target: int | None
    generator: list[Tensor] | None
    autocast: torch.dtype | None

    def results(
        self, operands: Sequence[Any], wanted: Container[int] = ()
    ) -> tuple[dict[int, Tensor], list[Tensor]]:
        """Call it again; gradients of the `wanted` operands can then be asked for."""
        tensors: dict[int, Tensor] = {}

        def fill(argument: Any) -> Any:
            if isinstance(argument, Slot):
                position = argument.position
                found = operands[position]
                if isinstance(found, Tensor):
                    found = found.detach().clone()
                else:
                    found = torch.as_tensor(np.array(found)).to(argument.dtype)
                if argument.stride is not None:
                    place = torch.empty_strided(found.shape, argument.stride, dtype=found.dtype)
                    found = place.copy_(found)
                found = found.to(argument.device)
                leaf = found.requires_grad_() if position in wanted else found
                # What is written to must be no leaf.
                tensors[position] = leaf
                return leaf.clone() if self.target is not None else leaf
            if isinstance(argument, dict):
                return {k: fill(v) for k, v in argument.items()}
            if isinstance(argument, (tuple, list)):
                parts = [fill(part) for part in argument]
                if hasattr(argument, "_fields"):
                    return type(argument)(*parts)
                return type(argument)(parts)
            return argument

        slots = [s for s in nested((self.args, self.kwargs), (Slot,)) if isinstance(s, Slot)]
        kind = slots[0].device.type if slots else "cpu"
        with (
            torch.random.fork_rng(devices=range(len(torch.cuda.default_generators))),
            torch.autocast(kind, self.autocast, enabled=self.autocast is not None),
        ):
            if self.generator is not None:
                chance.put_of_torch(self.generator)
            args, kwargs = fill(self.args), fill(self.kwargs)
            result = self.function(*args, **kwargs)
        if self.target is not None:
            result = args[0]
        return tensors, tensors_in(result)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    found: list[Tensor] = []
    gather((value,), found)
    return found


def gather(parts: Iterable[Any], found: list[Tensor]) -> None:
    """Add the tensors of arguments to those that were found."""
    for part in parts:
        kind = type(part)
        if kind is Tensor:
            found.append(part)
        elif kind in _PLAIN:
            continue
        elif isinstance(part, Tensor):
            found.append(part)
        elif isinstance(part, (tuple, list)):
            gather(part, found)
        elif isinstance(part, dict):
            gather(part.values(), found)


class TorchOperation(Operation):
    """One recorded call.

    Attributes
    ----------
    call : Call or None
        None in a lean capture, which keeps no operands to call it with.
    index : int
        Which of its results this is the value of.
    carries : set of int
        The positions of the operands that a message goes to.
    siblings : dict of int to int
        The positions of operands that are results of the same call, as the state that an LSTM
        cell's output is computed from, and which of its results they are.
    real : bool
        Whether no complex number is in it. PyTorch's gradient of a complex number is the conjugate
        of the textbook's, so of such a call no formula is written.
    """

    __slots__ = ("call", "carries", "index", "real", "siblings")

    derivatives, hazards, number, settings = (), (), "", None
    blocks, variadic = None, False

    def __init__(self, name: str, call: Call | None, index: int, several: bool) -> None:
        self.call, self.index = call, index
        self.carries: set[int] = set()
        self.real = True
        self.siblings: dict[int, int] = {}
        self.name = f"{name}[{index}]" if several else name
        self.formula = _formula(self.name, "" if several else SYMBOLS.get(name.rstrip("_"), ""))

    def stops(self, unbounded: Callable[[], bool]) -> bool:
        """See `Operation.stops`; of a call that no textbook has it may do so, as clamp does."""
        told = self.plain in LOCAL or self.plain in MESSAGES
        return super().stops(unbounded) if told else unbounded()

    def convention(self, operands: Sequence[Any]) -> str:
        """What the rule does on purpose, and a slope of the values does not show."""
        if self.call is not None and _writes_twice(self.call, operands):
            return (
                f"{self.name} writes to a place more than once: PyTorch sends the gradient to all "
                "that was written there, though one of them stays"
            )
        if self.call is None:
            return ""
        if self.name == "gumbel_softmax" and About(1, self.call, {}).given("hard"):
            return f"{self.name} sends the gradient of what it rounds to 0 and 1 (hard=True)"
        if self.plain == "relu" and np.any(np.asarray(operands[0]) == 0):
            return f"{self.name} has the slope 0 at 0, between those of both sides"
        if self.name == "normal":
            return f"{self.name} sends nothing back (mean + std * torch.randn_like(mean) does)"
        if self.name.startswith("fake_quantize"):
            return f"{self.name} rounds, and sends the gradient on as if it had not"
        if self.call.function not in _EMBEDDINGS:
            return ""
        given = inspect.signature(self.call.function).bind(*self.call.args, **self.call.kwargs)
        if (most := given.arguments.get("max_norm")) is not None:
            return f"{self.name} scales its rows down where no gradient sees it (max_norm={most})"
        padding = given.arguments.get("padding_idx")
        if padding is not None:
            return f"{self.name} leaves row {padding} out of its gradient (padding_idx={padding})"
        if given.arguments.get("scale_grad_by_freq"):
            return f"{self.name} divides its gradient by counts (scale_grad_by_freq=True)"
        return ""

    def _results(
        self, operands: Sequence[Any], wanted: Container[int] = ()
    ) -> tuple[dict[int, Tensor], list[Tensor]]:
        if self.call is None:
            raise TraceError(
                f"{self.name} cannot be computed again: a lean capture keeps no arrays, and no "
                "capture what a torch.autograd.Function, torch.autograd.grad or a write through a "
                "view needs for it"
            )
        tensors, results = self.call.results(operands, wanted)
        if len(results) <= self.index:
            raise TraceError(f"{self.name} has another result when it is called again")
        return tensors, results

    def evaluate(self, *operands: Any, **_: Any) -> Any:
        """See `Operation`."""
        with torch.no_grad():
            return array(self._results(operands)[1][self.index])

    @property
    def function(self) -> Callable[..., Any]:  # type: ignore[override]
        """See `Operation`."""
        return self.evaluate

    def rule(self, position: int) -> Derivative | None:
        """A rule for each operand that a message goes to."""
        if position not in self.carries:
            return None
        name = self.plain
        if self._untold:
            return unwritten(self.name)
        if name in LOCAL:
            return Derivative(lambda *_: None, self._formula, partial(self._slope, position))
        return (
            Derivative(lambda *_: None, self._formula) if name in MESSAGES else unwritten(self.name)
        )

    @property
    def plain(self) -> str:
        """The name without the mark of a write."""
        return self.name.rstrip("_")

    @property
    def _untold(self) -> bool:
        """Whether no formula is known to be right; what is written may be a view's base."""
        return not self.real or (self.call is None and self.plain != self.name)

    def _told(self, position: int, count: int, keywords: Mapping[str, Any]) -> str:
        """What a textbook writes; "" where it has nothing."""
        written = None if self._untold else slopes(self.plain, count, self.call, keywords)
        return (written[position] if written and position < len(written) else None) or ""

    def _formula(self, position: int, count: int, keywords: Mapping[str, Any]) -> str:
        """The same, or the operation's name."""
        return self._told(position, count, keywords) or str(unwritten(self.name).formula)

    def _slope(self, position: int, v: Any, *operands: Any, **keywords: Any) -> Any:
        """The local derivative: the message that ones send."""
        return self.pull(position, np.ones_like(v), v, operands, keywords)

    def local(
        self, position: int, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """Of an operation that works number by number: the message that ones send."""
        same = position < len(operands) and np.shape(operands[position]) == np.shape(v)
        if position not in self.carries or self.plain not in LOCAL or not same:
            return None
        if np.size(v) > LARGE or self.call is None or not self.real:
            return None
        return self._slope(position, v, *operands, **keywords)

    def derivative(
        self,
        position: int,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr | None:
        """The formula of the local derivative, where a textbook has one."""
        rule = self.rule(position)
        if rule is None or rule.local is None:
            return None
        written = self._at(self._told(position, len(operands), keywords), keywords, at)
        return self._filled(written, {"v": value}, operands, keywords) if written else None

    def message(
        self,
        position: int,
        upstream: ast.expr,
        value: ast.expr,
        operands: Sequence[ast.expr],
        keywords: Mapping[str, Any],
        at: Numbers | None = None,
    ) -> ast.expr:
        """The formula of the message."""
        written = self._at(self._formula(position, len(operands), keywords), keywords, at)
        stopped = self._strict(written, at)
        local = None if stopped else self.derivative(position, value, operands, keywords, at)
        if local is not None:
            return notation.product(upstream, local)
        symbols = {"v": value, "g": upstream}
        return self._filled(stopped or written, symbols, operands, keywords)

    @property
    def pulls(self) -> Any:
        """See `Operation.pulls`."""
        return _Pulls(self)

    def pull(
        self, position: int, g: Any, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """The message to one operand, by PyTorch's own rule."""
        wanted = self.carries if self.siblings else {position}
        with torch.enable_grad():
            tensors, results = self._results(operands, wanted)
            result = results[self.index]
            upstream = torch.as_tensor(np.array(g), device=result.device).to(result.dtype)
            message = self.direct(position, tensors, results, upstream.reshape(result.shape))
        return np.zeros_like(operands[position]) if message is None else array(message)

    def direct(
        self, position: int, tensors: Mapping[int, Tensor], results: Any, upstream: Tensor
    ) -> Tensor | None:
        """A message without what goes by way of other results of the call, now made again."""
        others = [results[i] for p, i in self.siblings.items() if p != position]
        if position in self.siblings:
            operand = results[self.siblings[position]]
        elif position in tensors:
            operand = tensors[position]
        else:
            raise TraceError(f"{self.name} cannot be differentiated again: it reads more than that")
        message, *around = torch.autograd.grad(
            results[self.index], [operand, *others], upstream, allow_unused=True, retain_graph=True
        )
        for other, sent in zip(others, around, strict=True):
            if sent is not None and other.requires_grad:
                (part,) = torch.autograd.grad(
                    other, operand, sent, allow_unused=True, retain_graph=True
                )
                message = message if part is None else message - part
        return message


@dataclass(frozen=True, slots=True)
class _Pulls:
    """The rules of a call by position."""

    operation: TorchOperation

    def __getitem__(self, position: Any) -> Any:
        if self.operation.rule(position) is None:
            return None
        return partial(self._pull, position)

    def _pull(self, position: int, g: Any, v: Any, *operands: Any, **keywords: Any) -> Any:
        return self.operation.pull(position, g, v, operands, keywords)


class OwnBackward(TorchOperation):
    """What a `torch.autograd.Function` of the program computed."""

    __slots__ = ()

    @property
    def own_rule(self) -> str:  # type: ignore[override]
        """See `Operation.own_rule`; a module's hooks are told as such."""
        hooks = self.name.startswith("BackwardHookFunction")
        return "" if hooks else "torch.autograd.Function"


class Write(TorchOperation):
    """A write that has no history: under `no_grad`, to `x.data`, or where no call was seen."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("write", None, 0, several=False)

    def convention(self, operands: Sequence[Any]) -> str:
        """See `TorchOperation.convention`."""
        return (
            "a value was written to where no gradient is recorded (no_grad, data): PyTorch sends "
            "the gradient on as if nothing had been written"
        )

    def pull(
        self, position: int, g: Any, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """The gradient goes straight on."""
        return g


def _writes_twice(call: Call, operands: Sequence[Any]) -> bool:
    """Whether a write meets a place more than once, and does not add."""
    name = call.function.__name__.strip("_")
    if name not in ("setitem", "index_put", "index_copy", "scatter") or call.kwargs:
        return False
    given: Any = call.args

    def fill(argument: Any) -> Any:
        if isinstance(argument, Slot):
            return torch.as_tensor(np.array(operands[argument.position])).to(argument.dtype)
        return type(argument)(map(fill, argument)) if type(argument) in (tuple, list) else argument

    whole, place, index = fill(given[0]), fill(given[1]), fill(given[2])
    numbers = torch.arange(whole.numel()).view(whole.shape)
    if name == "setitem":
        chosen = numbers[place]
    elif name == "index_put":
        chosen = numbers[tuple(place)]
    elif name == "scatter":
        chosen = numbers.gather(place, index)
    else:
        chosen = numbers.index_select(place, index)
    return torch.bincount(chosen.flatten()).max().item() > 1 if chosen.numel() else False


@cache
def _formula(name: str, symbols: str) -> Callable[[int, Mapping[str, Any]], str]:
    return partial(_written, name, symbols)


def _written(name: str, symbols: str, count: int, keywords: Mapping[str, Any]) -> str:
    """The notation of a call: symbols where they say it all, else what it was told, by name."""
    if not keywords:  # (symbols are for two operands, say, and there may be three)
        return symbols if count == 1 + ("b" in symbols) else ""
    if name == "getitem" and count == 1:
        return "a[index]"
    if count > len(OPERAND_NAMES) or not re.fullmatch(r"[^\W\d]\w*(\[\d+\])?", name):
        return ""
    taken = {*kwlist, *OPERAND_NAMES[:count]}
    told = [f"{k}={k}" for k in keywords if k.isidentifier() and k not in taken]
    return f"{name}({', '.join([*OPERAND_NAMES[:count], *told])})"
