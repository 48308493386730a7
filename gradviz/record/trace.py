"""Recording a function (`trace`), values (`graph`), and gradients of functions (`grad`)."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.graph import INPUT, PARAMETER, Graph, Node, Program
from gradviz.record.array import Array, compose, leaf, snapshot, tape
from gradviz.record.build import build


def trace(
    function: Callable[..., Any],
    *args: Any,
    wrt: str | Sequence[str] | None = None,
    title: str = "",
    **kwargs: Any,
) -> Graph:
    """Run a NumPy function once and record it.

    Parameters
    ----------
    function : callable
        Ordinary NumPy code that returns J, a scalar array.
    *args, **kwargs
        Its arguments. Arrays and numbers of floats are recorded as leaves named after the
        parameters, also in dicts, lists, tuples (``params.w1``, ``layers[0].b``). Anything else,
        integers among it (labels, counts), is passed as it is.
    wrt : str or sequence of str, optional
        The leaves to differentiate by: their names, or what their names begin with (``"params"``).
        They are shown as parameters, and only gradients on their paths are computed. Default: all.
    title : str, optional
        Default: the function's name.

    Returns
    -------
    Graph

    Raises
    ------
    TraceError
        The result does not depend on any recorded argument, or is no array.
    ValueError
        `wrt` names no leaf.

    Examples
    --------
    >>> import numpy as np, gradviz as gv
    >>> g = gv.trace(lambda w, x: np.sum((w * x) ** 2), np.array([1.0, 2.0]), 3.0, wrt="w")
    >>> g.grad("w")
    array([18., 36.])
    """
    wanted = (wrt,) if isinstance(wrt, str) else wrt
    program = _Function(function, args, kwargs, wanted, title or _title(function))
    return program.record({})


def graph(output: Any, *, title: str = "") -> Graph:
    """The Graph of all that a recorded value depends on.

    Parameters
    ----------
    output : Array
        J, computed from `gradviz.input` and `gradviz.parameter` leaves.
    title : str, optional

    Raises
    ------
    TypeError
        `output` is not a recorded value.
    """
    if not isinstance(output, Array):
        raise TypeError(
            "gv.graph needs a value computed from gv.input or gv.parameter, got "
            f"{type(output).__name__}"
        )
    found: dict[int, Node] = {output.order: output}
    pending: list[Node] = [output]
    while pending:
        for operand in pending.pop().operands:
            if isinstance(operand, Node) and operand.order not in found:
                found[operand.order] = operand
                pending.append(operand)
    recorded = [found[order] for order in sorted(found)]
    return build(recorded, output, program=_Tape(recorded, output, title), title=title)


def grad(function: Callable[..., Any], wrt: str | int = 0) -> Callable[..., Any]:
    """The function that returns a scalar function's gradient.

    Called on plain arrays it returns a plain array. Inside a `trace`, or on recorded values, its
    backward pass is recorded too, so that gradients of gradients are gradients again.

    Parameters
    ----------
    function : callable
        NumPy code that returns a scalar.
    wrt : str or int, optional
        The argument to differentiate by, by name or position; one array of floats.

    Examples
    --------
    >>> import gradviz as gv
    >>> float(gv.grad(gv.grad(lambda x: x**3))(2.0))
    12.0
    """

    @functools.wraps(function)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        from gradviz.chain.backward import gradient_of

        arguments = list(args)
        keywords = dict(kwargs)
        place: Any
        holder: Any
        if isinstance(wrt, str) and wrt in keywords:
            holder, place = keywords, wrt
        else:
            names = list(inspect.signature(function).parameters)
            holder, place = arguments, names.index(wrt) if isinstance(wrt, str) else wrt
        argument = holder[place]
        recorded = any(isinstance(a, Array) for a in (*args, *kwargs.values()))
        with tape() if not recorded else _nothing() as _:
            # A new node, so that only the paths through this argument count.
            fresh = +argument if isinstance(argument, Array) else leaf(argument, "", "parameter")
            fresh.site = fresh.site and (*fresh.site[:2], None)  # what is assigned is the result
            holder[place] = fresh
            output = function(*arguments, **keywords)
            if not isinstance(output, Array):
                raise TraceError(
                    f"{_title(function) or 'the function'} returned {type(output).__name__}, "
                    "not a recorded value"
                )
            result = compose(gradient_of, (output, fresh), {})
        if recorded or _depends_on_earlier(result, fresh):
            # One that depends on nothing recorded goes on as a constant: its gradient is 0.
            return result if isinstance(result, Array) else leaf(result, "", "constant")
        return result.value if isinstance(result, Node) else result

    return gradient


def _depends_on_earlier(result: Any, leaf: Node) -> bool:
    """Whether a result depends on values recorded before `leaf`, held by a closure."""
    pending, seen = [result] if isinstance(result, Node) else [], set()
    while pending:
        node = pending.pop()
        if node.order < leaf.order:
            return True
        if node.order not in seen:
            seen.add(node.order)
            pending += [o for o in node.operands if isinstance(o, Node)]
    return False


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def _title(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "" if name == "<lambda>" else name


class _Function(Program):
    """A traced function with its arguments."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wrt: Sequence[str] | None,
        title: str,
    ) -> None:
        self.function, self.args, self.kwargs, self.wrt, self.title = (
            function,
            args,
            kwargs,
            wrt,
            title,
        )
        self.argument_names = _argument_names(function, len(args))

    def call(self, convert: Callable[[Any, str], Any]) -> Any:
        """Run the function on arguments whose arrays went through `convert(value, name)`."""
        args = [
            _map(value, name, convert)
            for value, name in zip(self.args, self.argument_names, strict=True)
        ]
        kwargs = {name: _map(value, name, convert) for name, value in self.kwargs.items()}
        return self.function(*args, **kwargs)

    def run(self, values: Mapping[str, Any]) -> Any:
        return self.call(lambda value, name: values.get(name, value))

    def record(self, values: Mapping[str, Any]) -> Graph:
        leaves: dict[str, Array] = {}
        named: dict[int, str] = {}
        integers: list[str] = []
        reached: set[str] = set()

        def convert(value: Any, name: str) -> Any:
            value = values.get(name, value)
            if isinstance(value, Array):
                value = value.value
            if not _is_float(value):
                if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
                    integers.append(name)
                if isinstance(value, np.ndarray):
                    named[id(snapshot(value))] = name
                return value
            wanted = [w for w in self.wrt or () if name == w or name.startswith((f"{w}.", f"{w}["))]
            reached.update(wanted)
            leaves[name] = leaf(value, name, "parameter" if wanted else "input")
            return leaves[name]

        try:
            with tape() as recorded:
                output = self.call(convert)
        except ValueError as error:
            # NumPy wraps what __float__ raises when a recorded value is written into a buffer.
            if isinstance(error.__cause__, TraceError):
                raise error.__cause__ from None
            raise
        for wanted in set(self.wrt or ()) - reached:
            if wanted in integers:
                raise ValueError(
                    f"{wanted} is an integer, which has no gradient; pass {wanted}=1.0, say"
                )
            near = difflib.get_close_matches(wanted, leaves, 3, 0.4) or list(leaves)[:8]
            raise ValueError(
                f"wrt={wanted!r} names no array of floats; there are: {', '.join(near)}"
            )
        if not isinstance(output, Array):
            self._refuse(output, integers)
        extra = _missing(recorded, output)
        if extra:
            recorded = sorted([*recorded, *extra], key=lambda node: node.order)
        wrt = [leaf for name, leaf in leaves.items() if not self.wrt or leaf.operation is PARAMETER]
        return build(
            recorded, output, wrt=wrt, named=named, program=_Rerun(self, values), title=self.title
        )

    def _refuse(self, output: Any, integers: list[str]) -> None:
        title = self.title or "the function"
        if isinstance(output, (tuple, list, dict)):
            raise TraceError(
                f"{title} returned a {type(output).__name__}; return the scalar J alone"
            )
        hint = (
            f"; write {integers[0]}=2.0 instead of 2, say: integers have no gradient"
            if integers
            else ("; did float(), .value, math.* or an integer result end its history?")
        )
        raise TraceError(
            f"{title} returned {type(output).__name__}, which depends on no recorded argument{hint}"
        )


class _Rerun(Program):
    """A traced function at given leaf values."""

    def __init__(self, function: _Function, values: Mapping[str, Any]) -> None:
        self.function, self.values = function, values

    def run(self, values: Mapping[str, Any]) -> Any:
        return self.function.run({**self.values, **values})

    def record(self, values: Mapping[str, Any]) -> Graph:
        return self.function.record({**self.values, **values})


class _Tape(Program):
    """Recorded values, evaluated again in their order."""

    def __init__(self, recorded: list[Node], output: Node, title: str) -> None:
        self.recorded, self.output, self.title = recorded, output, title

    def _names(self) -> dict[str, int]:
        graph = build(self.recorded, self.output)
        return {
            graph.names[i]: node.order
            for i, node in enumerate(graph.values)
            if node.operation in (INPUT, PARAMETER)
        }

    def run(self, values: Mapping[str, Any]) -> Any:
        return self._evaluate(values, self.output)[self.output.order]

    def _evaluate(self, values: Mapping[str, Any], output: Node) -> dict[int, Any]:
        orders = self._names()
        results = {orders[name]: value for name, value in values.items()}
        for node in self.recorded:
            if node.order not in results:
                operands = [results[o.order] if isinstance(o, Node) else o for o in node.operands]
                results[node.order] = (
                    node.operation.evaluate(*operands, **node.keywords) if operands else node.value
                )
        return results

    def record(self, values: Mapping[str, Any]) -> Graph:
        results = self._evaluate(values, self.output)
        copies: dict[int, Node] = {}
        for node in self.recorded:
            copies[node.order] = Array.new(
                results[node.order],
                node.operation,
                tuple(copies[o.order] if isinstance(o, Node) else o for o in node.operands),
                keywords=node.keywords,
                order=node.order,
                scope=node.scope,
                name=node.name,
                site=node.site,
            )
        recorded = list(copies.values())
        output = copies[self.output.order]
        return build(
            recorded, output, program=_Tape(recorded, output, self.title), title=self.title
        )


def _missing(recorded: list[Node], output: Node) -> list[Node]:
    """What J depends on and the tape lacks: values recorded in another thread or before."""
    known = {node.order for node in recorded}
    found: list[Node] = []
    pending = [*recorded, output]
    while pending:
        node = pending.pop()
        if node.order not in known:
            known.add(node.order)
            found.append(node)
        for operand in node.operands:
            if isinstance(operand, Node) and operand.order not in known:
                pending.append(operand)
    return found


def _is_float(value: Any) -> bool:
    if isinstance(value, (float, complex, np.inexact)):
        return True
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            names.append(parameter.name)
    return (names + [f"argument[{i}]" for i in range(len(names), count)])[:count]


def _map(value: Any, name: str, convert: Callable[[Any, str], Any]) -> Any:
    """A copy of nested dicts, lists and tuples with `convert` applied to what is inside."""
    if isinstance(value, dict):
        return type(value)((k, _map(v, f"{name}.{k}", convert)) for k, v in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(
            *(_map(v, f"{name}.{k}", convert) for k, v in zip(value._fields, value, strict=True))
        )
    if isinstance(value, (list, tuple)):
        return type(value)(_map(v, f"{name}[{i}]", convert) for i, v in enumerate(value))
    return convert(value, name)
