"""The arguments of a JAX program: pytrees, of which the arrays are leaves."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax import tree_util

from gradviz.errors import TraceError
from gradviz.record.arguments import argument_names, numbered
from gradviz.record.jax.keep import statistics
from gradviz.statistics import Statistics


@dataclass(frozen=True, eq=False)
class Leaf:
    """An array of the arguments.

    Attributes
    ----------
    name : str
    value : array
        As JAX has it.
    at : int
        Its number among the leaves of the pytree.
    floats : bool
        Whether it has a gradient.
    state : str
        The name of what it is in that a model keeps but does not learn, such as the running mean
        of a `BatchNorm`: it is differentiated by only where that is asked for by name; "" for none.
    rows : dict of int to Statistics
        Those of its rows that rounds of loops have read: as its own, taken once.
    """

    name: str
    value: Any
    at: int
    floats: bool
    state: str = ""
    rows: dict[int, Statistics] = field(default_factory=dict)

    @cached_property
    def measured(self) -> Statistics:
        """Its statistics, taken once: an array of JAX does not change."""
        return statistics(jnp.asarray(self.value))


class Arguments:
    """A function's arguments, and the function where it holds arrays itself (an Equinox module).

    Attributes
    ----------
    leaves : list of Leaf
    """

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.itself = _is_tree(function)
        self.function = function
        self.names = names = argument_names(function, len(args))
        given: Any = (function if self.itself else None, list(args), dict(kwargs))
        self.plain, self.tree = tree_util.tree_flatten(given)
        self.leaves: list[Leaf] = []
        taken: dict[str, int] = {}
        for at, (name, value, state) in enumerate(_leaves(given, names)):
            if not _is_array(value):
                continue
            array = value if isinstance(value, (jax.Array, float, complex)) else jnp.asarray(value)
            _refuse_devices(array, name)
            floats = bool(jnp.issubdtype(jnp.result_type(array), jnp.inexact))
            self.leaves.append(Leaf(numbered(name, taken), array, at, floats, state))

    def call(self, arrays: Sequence[Any], meet: Callable[..., None] = lambda *_: None) -> Any:
        """The function's result for arrays in place of its own.

        ``meet((name, argument), ...)`` hears of the arguments before.
        """
        flat = list(self.plain)
        for leaf, array in zip(self.leaves, arrays, strict=True):
            flat[leaf.at] = array
        itself, args, kwargs = tree_util.tree_unflatten(self.tree, flat)
        function = itself if self.itself else self.function
        meet(("", itself), *zip(self.names, args, strict=True), *kwargs.items())
        return function(*args, **kwargs)


def _is_tree(function: Any) -> bool:
    """Whether a callable is a pytree that holds something: a module, a `Partial`."""
    if inspect.isroutine(function) or isinstance(function, type):
        return False
    leaves = tree_util.tree_leaves(function)
    return not (len(leaves) == 1 and leaves[0] is function)


def _is_array(value: Any) -> bool:
    if isinstance(value, jax.Array):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fciub" or value.dtype.name.startswith(("bfloat", "float"))
    return isinstance(value, (float, complex, np.inexact))


def _leaves(given: Any, names: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
    """Name, value and `Leaf.state` of all leaves."""
    nnx, equinox = sys.modules.get("flax.nnx"), sys.modules.get("equinox")
    kinds = (*((nnx.Variable,) if nnx else ()), *((equinox.nn.State,) if equinox else ()))
    flat = tree_util.tree_flatten_with_path
    module = equinox.Module if equinox else ()
    inside_modules = tuple(
        path for path, part in flat(given, is_leaf=lambda part: isinstance(part, module))[0]
        if isinstance(part, module)
    )  # fmt: skip
    for path, part in flat(given, is_leaf=lambda part: isinstance(part, kinds))[0]:
        name = _name(path, names)
        if not isinstance(part, kinds):
            if isinstance(part, float) and any(path[: len(p)] == p for p in inside_modules):
                part = None  # as for `equinox.filter_jit`: it says how, and is not learned
            linen = _STATS.match(name)
            yield name, part, linen[0] if linen else ""
            continue
        state = "" if nnx and isinstance(part, nnx.Param) else name
        for inside, value in flat(part)[0]:
            yield _name((*path, *inside), names), value, state


_STATS = re.compile(r"(.*\.)?batch_stats(?!\w)")
"""What Flax's linen calls the dict of running means and variances."""


def _name(path: Sequence[Any], names: Sequence[str]) -> str:
    """As the program writes it: ``params.layers[0].w``."""
    kind, *rest = path
    if kind.idx == 0:
        found = ""
    elif kind.idx == 1:
        first, *rest = rest
        found = names[first.idx]
    else:
        first, *rest = rest
        found = str(first.key)
    for entry in rest:
        if isinstance(entry, tree_util.SequenceKey):
            found += f"[{entry.idx}]"
        elif isinstance(entry, tree_util.FlattenedIndexKey):
            found += f"[{entry.key}]"
        else:
            key = entry.name if isinstance(entry, tree_util.GetAttrKey) else entry.key
            found += f"[{key}]" if isinstance(key, int) else f".{key}"
    return found.removeprefix(".").removesuffix(".value") or "argument"


def _refuse_devices(value: Any, name: str) -> None:
    if isinstance(value, jax.Array) and len(value.devices()) > 1:
        raise TraceError(
            f"{name} is spread over {len(value.devices())} devices: trace on one, "
            "jax.device_put(x, jax.devices()[0])"
        )
