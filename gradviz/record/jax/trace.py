"""Recording a JAX function."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax._src import config

from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.model import INPUT, PARAMETER, Gradients, Known, Node, Program
from gradviz.record import names
from gradviz.record.arguments import begins, check_options
from gradviz.record.build import build
from gradviz.record.jax import in_place
from gradviz.record.jax.arguments import Arguments, Leaf
from gradviz.record.jax.capture import Capture
from gradviz.record.jax.follow import Live
from gradviz.record.jax.keep import array, put
from gradviz.record.jax.modules import Modules, any_watched
from gradviz.record.jax.plan import Plan, count, jits, named, plan
from gradviz.record.jax.pure import precision, wide
from gradviz.record.jax.words import in_our_words
from gradviz.statistics import Statistics
from gradviz.words import nearest

_anew = itertools.count()
LIMIT = 2**20
"""Arguments of so many numbers are captured whole; of more, lean."""


class JaxProgram(Program):
    """A JAX function and its arguments.

    Parameters
    ----------
    function : callable
    args, kwargs
        Its arguments.
    wrt : sequence of str or None
    title : str
    loss : callable, optional
    unfold : str or sequence of str, optional
    capture : str, optional
        See `gradviz.trace`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wrt: Sequence[str] | None,
        title: str,
        loss: Callable[..., Any] | None = None,
        unfold: str | Sequence[str] = (),
        capture: str | None = None,
    ) -> None:
        check_options(loss, capture)
        self.arguments = Arguments(function, args, kwargs)
        self.wrt, self.title, self.loss = wrt, title, loss
        self.unfold = frozenset((unfold,) if isinstance(unfold, str) else unfold)
        self.wanted = self._wanted()
        size = sum(int(np.size(leaf.value)) for leaf in self.arguments.leaves)
        self.whole = size <= LIMIT if capture is None else capture == "whole"
        self.wide = wide()
        self._planned: tuple[list[str], Plan, Modules] | None = None

    def _wanted(self) -> set[str]:
        """The names of the leaves to differentiate by."""
        leaves = [leaf for leaf in self.arguments.leaves if leaf.floats]
        what = self.title or "the function"
        if not leaves:
            whole = [leaf.name for leaf in self.arguments.leaves]
            hint = f"{whole[0]} holds integers: pass it as floats" if whole else (
                "pass an array of floats, in a pytree: a class of your own is one after "
                "jax.tree_util.register_dataclass"
            )  # fmt: skip
            raise TraceError(f"{what} gets no array of floats to differentiate by; {hint}")
        if self.wrt is None:
            return {leaf.name for leaf in leaves if not leaf.state} or {x.name for x in leaves}
        return set().union(*(self._named(wanted, leaves) for wanted in self.wrt))

    def _named(self, wanted: str, leaves: Sequence[Leaf]) -> set[str]:
        """Those of the leaves that one of `wrt` asks for."""
        there = [leaf for leaf in leaves if begins(leaf.name, (wanted,))]
        if not there:
            integers = [x.name for x in self.arguments.leaves if begins(x.name, (wanted,))]
            if integers:
                raise ValueError(f"{integers[0]} holds integers, which have no gradient")
            known = nearest(wanted, (leaf.name for leaf in leaves))
            raise ValueError(f"wrt={wanted!r} names no array of floats; there are: {known}")
        found = {x.name for x in there if not x.state or begins(wanted, (x.state,))}
        if not found:
            state = there[0].state
            raise ValueError(
                f"{wanted} holds no parameters, only what a model keeps besides; write its own "
                f"name to differentiate by it: wrt={state!r}"
            )
        return found

    def _arrays(self, values: Mapping[str, Any]) -> list[Any]:
        """The leaves, with other values for some."""
        return [
            leaf.value
            if isinstance(new := values.get(leaf.name, leaf.value), Statistics)
            else _like(new, leaf.value)
            for leaf in self.arguments.leaves
        ]

    def output(self, *arrays: Any, meet: Callable[..., None] = lambda *_: None) -> Any:
        """J for arrays in place of the leaves."""
        found = self.arguments.call(arrays, meet)
        return self._scalar(found if self.loss is None else self.loss(found))

    def _scalar(self, found: Any) -> Any:
        what = self.title or "the function"
        hint = "pass loss=lambda out: ..., a function that makes a scalar of it"
        if isinstance(found, (tuple, list, dict)):
            size = f" of {len(found)}"
            if isinstance(found, tuple) and found and jnp.ndim(found[0]) == 0:
                hint = "pass loss=lambda out: out[0]"
            raise TraceError(f"{what} returned a {type(found).__name__}{size}; {hint}")
        if not isinstance(found, (jax.Array, np.ndarray, np.generic, float, int, complex)):
            raise TraceError(f"{what} returned {type(found).__name__}; return the scalar J")
        if jnp.size(found) != 1:
            shape = "×".join(map(str, jnp.shape(found)))
            raise TraceError(f"{what} returned an array of {shape}; {hint}")
        dtype = jnp.result_type(found)
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise TraceError(f"{what} returned a complex number; return its real part, say")
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TraceError(f"{what} returned {dtype}: integers have no gradient; return a float")
        return found

    def plan(self, arrays: Sequence[Any]) -> tuple[Plan, Modules]:
        """What the function does with such arrays, traced by JAX, and which modules it calls.

        As for what is jitted, it is traced once for arrays of the same kinds.
        """
        kinds = [str(jax.typeof(array)) for array in arrays]
        if self._planned is None or self._planned[0] != kinds:
            modules = Modules()
            closed = self._traced(arrays, modules)
            if any_watched() and not modules.layers and jits(closed):
                # What is jitted was traced before, unseen; under another setting it is traced anew.
                with config.hlo_source_file_canonicalization_regex(f"gradviz {next(_anew)}"):
                    closed = self._traced(arrays, modules)
            steps = plan(closed, self.unfold, modules.root)
            for key in self.unfold - {"all"}:
                others = plan(closed, self.unfold - {key}, modules.root)
                if "all" not in self.unfold and count(steps) == count(others):
                    raise TraceError(_nothing_in(key, plan(closed, root=modules.root)))
            self._planned = kinds, steps, modules
        return self._planned[1:]

    def _traced(self, arrays: Sequence[Any], modules: Modules) -> Any:
        with modules.watched():
            return jax.make_jaxpr(partial(self.output, meet=modules.meet))(*arrays)

    @cached_property
    def _compiled(self) -> Callable[..., Any]:
        return in_place.compiled(self.output)

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        with jax.enable_x64(self.wide):
            return array(self._compiled(*self._arrays(values)))

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        with jax.enable_x64(self.wide), in_our_words(self.title):
            arrays = self._arrays(values)
            return self.graph(*self.plan(arrays), arrays, values)

    def graph(
        self, steps: Plan, modules: Modules, arrays: Sequence[Any], values: Mapping[str, Any]
    ) -> Graph:
        """The Graph of a plan that is run."""
        capture = Capture(self.whole)
        leaves = [
            capture.leaf(
                jnp.asarray(value),
                PARAMETER if self.wrt and leaf.name in self.wanted else INPUT,
                leaf.name,
                leaf.name in self.wanted,
                leaf if value is leaf.value and not self.whole else None,
            )
            for leaf, value in zip(self.arguments.leaves, arrays, strict=True)
        ]
        wrt = [leaf.node for leaf in leaves if leaf.node.name in self.wanted]
        (output,) = capture.run(steps, leaves)
        if not isinstance(output, Live):
            raise TraceError(
                f"{self.title or 'the function'} returned a number that depends on none of its "
                "arguments"
            )
        program = Again(self, dict(values))
        program.precision = precision(steps.jaxpr)
        return finished(capture, output, wrt, self.title, program, modules)


def finished(
    capture: Capture,
    output: Live,
    wrt: Sequence[Node],
    title: str,
    program: Program,
    modules: Modules,
) -> Graph:
    """The Graph of what was captured, after a backward pass."""
    capture.backward(output)
    kept: dict[int, Any] = {}

    def keep(value: Any) -> Any:  # (one array that is read twice is one constant)
        if id(value) not in kept:
            kept[id(value)] = array(value), value
        return kept[id(value)][0]

    for node in capture.recorded:
        node.value = keep(node.value)
        node.operands = tuple(o if isinstance(o, Node) else keep(o) for o in node.operands)
    return _built(
        capture.recorded,
        output.node,
        wrt,
        title,
        program,
        modules,
        {order: array(g) for order, g in capture.gradients.items()},
        {edge: array(m) for edge, m in capture.messages.items()},
    )


def _nothing_in(key: str, steps: Plan) -> str:
    """That no call is opened by a key, and which there are."""
    there = ", ".join(dict.fromkeys(named(steps))) or "none"
    return (
        f"unfold={key!r} opens nothing: no call of that name consists of several operations. "
        f"The calls here are: {there}"
    )


def _built(
    recorded: list[Node],
    output: Node,
    wrt: Sequence[Node],
    title: str,
    program: Program,
    modules: Modules,
    gradients: Mapping[int, Any],
    messages: Mapping[tuple[int, int], Any],
) -> Graph:
    lean = isinstance(output.value, Statistics)
    scoped = any(node.scope for node in recorded)
    if scoped:  # as a picture of layers needs it
        for node in recorded:
            if node.operands and node is not output:
                operation = node.operation.name
                node.name = node.name or names.assigned(node.site, operation) or operation

    def known(ids: Mapping[int, int]) -> Known:
        found: Known = {
            "derivatives": Gradients(
                {ids[order]: g for order, g in gradients.items()},
                {(ids[v], key): m for (v, key), m in messages.items()},
            )
        }
        if scoped:
            found |= {"by_operations": True, "legible": 30}
        if lean:
            found["underflown"] = frozenset()
        return found

    layers = modules.found(dict.fromkeys(node.scope for node in recorded))
    return build(
        recorded, output, wrt=wrt, program=program, title=title, layers=layers, known=known
    )


class Again(Program):
    """A JAX program that can be run at other values.

    Attributes
    ----------
    precision : float
        The coarsest ε among the dtypes that it computes in; bfloat16 is kept as float32.
    """

    def __init__(self, program: JaxProgram, values: Mapping[str, Any]) -> None:
        self.program, self.values = program, values
        self.precision = 0.0

    def run(self, values: Mapping[str, Any]) -> Any:
        """See `Program.run`."""
        return self.program.run({**self.values, **values})

    def record(self, values: Mapping[str, Any]) -> Graph:
        """See `Program.record`."""
        return self.program.record({**self.values, **values})


def _like(value: Any, own: Any) -> Any:
    """A new value of a leaf, in the leaf's own kind."""
    if value is own:
        return own
    if isinstance(own, (float, complex)) and not isinstance(own, np.generic):
        return type(own)(np.asarray(value).item())
    return put(value, jnp.asarray(own))
