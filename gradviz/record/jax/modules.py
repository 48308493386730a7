"""The modules of Flax, Equinox and Haiku: their calls are scopes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import jax

from gradviz.files import writable
from gradviz.layers import Layer

CLASSES = (("equinox", "Module"), ("flax.nnx", "Module"))
"""Modules that are pytrees: their calls are told apart by where they are in the arguments."""


class Modules:
    """What was called while a program was traced.

    Attributes
    ----------
    layers : dict of tuple of str to Layer
        By the names of the modules around it and its own.
    """

    def __init__(self) -> None:
        self.layers: dict[tuple[str, ...], Layer] = {}
        self._outermost: set[str] = set()
        self._inside: list[str] = []
        self._paths: dict[int, tuple[str, Any]] = {}  # (an id is another's when one is gone)
        self._around: list[str] = []

    @property
    def root(self) -> str:
        """The scope of a module that holds all others, which says nothing; "" if there is none."""
        return next(iter(self._outermost)) if len(self._outermost) == 1 else ""

    def meet(self, *roots: tuple[str, Any]) -> None:
        """Learn where modules are."""
        kinds = _kinds()
        pending = [*roots] if kinds else []
        seen: set[int] = set()
        while pending:
            path, value = pending.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            pending += _inside(path, value, kinds)
            if isinstance(value, kinds):
                self._paths[id(value)] = path, value

    @contextmanager
    def scope(self, name: str, module: Any, named: bool) -> Iterator[None]:
        """Inside, a module is called; `named` where its library opens the scope itself."""
        self._inside.append(writable(name))
        self.layers.setdefault(tuple(self._inside), layer(module))
        with ExitStack() as stack:
            if not named:
                stack.enter_context(jax.named_scope(name))
            try:
                yield
            finally:
                self._inside.pop()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Follow the calls of modules."""
        with ExitStack() as stack:
            linen, haiku = sys.modules.get("flax.linen"), sys.modules.get("haiku")
            if linen is not None:
                stack.enter_context(linen.intercept_methods(self._linen))
            if haiku is not None:
                stack.enter_context(haiku.intercept_methods(self._haiku))
            for kind in _kinds():
                for one in _with_calls(kind):
                    stack.enter_context(self._patched(one))
            stack.callback(self._paths.clear)
            self._outermost.clear()
            yield

    def _linen(self, call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        name = module.name or type(module).__name__
        if not self._inside:
            self._outermost.add(name)
        with self.scope(name, module, True):
            return call(*args, **kwargs)

    def _haiku(self, call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        name = context.module.module_name.rpartition("/")[2]
        with self.scope(name, context.module, True):
            return call(*args, **kwargs)

    @contextmanager
    def _patched(self, kind: type) -> Iterator[None]:
        """Have the calls of a class opened as scopes, until it is as it was."""
        original = vars(kind)["__call__"]
        modules = self

        @wraps(original)
        def called(module: Any, *args: Any, **kwargs: Any) -> Any:
            if id(module) not in modules._paths:
                if _is_wrapper(type(module)):
                    return original(module, *args, **kwargs)
                modules.meet(("", module))  # one that the program has put together
            path, _ = modules._paths[id(module)]
            around = modules._around[-1] if modules._around else None
            name = path
            if around is not None and path.startswith(around) and path != around:
                name = path[len(around) :].lstrip(".")
            name = name or type(module).__name__
            modules._around.append(path)
            if not modules._inside:
                modules._outermost.add(name)
            try:
                with modules.scope(name, module, False):
                    return original(module, *args, **kwargs)
            finally:
                modules._around.pop()

        setattr(kind, "__call__", called)  # noqa: B010
        try:
            yield
        finally:
            setattr(kind, "__call__", original)  # noqa: B010

    def found(self, scopes: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], Layer]:
        """The layers by the scopes of values, where loops and jitted functions are among them."""
        known = {name for path in self.layers for name in path}
        found = {}
        for scope in dict.fromkeys(whole[:n] for whole in scopes for n in range(len(whole) + 1)):
            path = tuple(part for part in scope if part in known)
            if self.root and (not path or path[0] != self.root):
                path = (self.root, *path)
            if path in self.layers and (not scope or scope[-1] == path[-1]):
                found[scope] = self.layers[path]
        return found


def any_watched() -> bool:
    """Whether a library of modules is there."""
    return any(name in sys.modules for name in ("equinox", "flax", "haiku"))


def _kinds() -> tuple[type, ...]:
    found = []
    for library, name in CLASSES:
        module = sys.modules.get(library)
        if module is not None:
            found.append(getattr(module, name))
    return tuple(found)


def _is_wrapper(kind: type) -> bool:
    """Whether a class of a library's is no layer: what `vmap` returns, a method of a module."""
    return kind.__name__.startswith("_") or kind.__module__.startswith("equinox._module")


def _with_calls(kind: type) -> Iterator[type]:
    """The classes below one that define what a call does."""
    one: type
    for one in type.__subclasses__(kind):
        if "__call__" in vars(one):
            yield one
        yield from _with_calls(one)


def _inside(path: str, value: Any, kinds: tuple[type, ...]) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"{path}.{k}", v) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    if type(value).__name__ == "List" and hasattr(value, "__iter__"):  # nnx.List
        return [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    if isinstance(value, kinds):
        held = {**getattr(value, "__dict__", {})}
        return [(f"{path}.{k}".removeprefix("."), v) for k, v in held.items() if k[:1] != "_"]
    return []


# --- what is told of a module ---------------------------------------------------------------------


def layer(module: Any) -> Layer:
    """What is told of a module."""
    told = {}
    for name in ("in_features", "out_features", "features", "num_embeddings", "num_heads",
                 "kernel_size", "output_size", "embedding_size", "in_channels", "out_channels",
                 "output_channels", "input_size", "hidden_size", "hidden_features"):  # fmt: skip
        value = getattr(module, name, None)
        if isinstance(value, (int, tuple, list)) and not isinstance(value, bool):
            told[name] = _times(value)
    ends = told.get("out_features") or told.get("out_channels") or told.get("output_channels")
    ends = ends or told.get("features") or told.get("output_size")
    ends = ends or told.get("hidden_size") or told.get("hidden_features")
    begins = told.get("in_features") or told.get("in_channels") or told.get("input_size")
    parts = []
    if "num_heads" in told:
        parts.append(f"{told['num_heads']} heads")
    elif "num_embeddings" in told:
        size = ends or told.get("embedding_size")
        parts.append(f"{told['num_embeddings']} × {size}" if size else told["num_embeddings"])
    elif ends:
        parts.append(f"{begins} → {ends}" if begins else f"→ {ends}")
    if "kernel_size" in told:
        parts.append(told["kernel_size"])
    return Layer(writable(type(module).__name__), writable(", ".join(parts)))


def _times(sizes: Any) -> str:
    return "×".join(map(str, sizes)) if isinstance(sizes, (tuple, list)) else str(sizes)
