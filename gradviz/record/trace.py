"""Recording a function (`trace`), and values (`graph`)."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import CodeType
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.graph import Graph
from gradviz.model import PARAMETER, Node, Program
from gradviz.ops.looks import Look, looking
from gradviz.ops.operation import refuse_more_than_arrays
from gradviz.record import names
from gradviz.record.arguments import (
    argument_names,
    begins,
    convert_nested,
    is_float,
    numbered,
    opaque,
    takes,
)
from gradviz.record.arguments import title as named_after
from gradviz.record.around import (
    alone,
    asked,
    hand_back,
    keeps,
    plain_numbers,
    survey,
    suspect,
    unseen,
    value_read,
)
from gradviz.record.array import Array
from gradviz.record.asked import by_ids
from gradviz.record.buffer import traced
from gradviz.record.build import build
from gradviz.record.chance import States, replayed, states
from gradviz.record.frontends import frontend_of
from gradviz.record.leaves import leaf
from gradviz.record.names import is_user
from gradviz.record.reach import reach, stands_alone
from gradviz.record.read import into_plain
from gradviz.record.snapshots import snapshot
from gradviz.record.tape import STALE, tape
from gradviz.words import nearest


def trace(
    function: Callable[..., Any],
    /,
    *args: Any,
    wrt: str | Sequence[str] | None = None,
    title: str = "",
    **kwargs: Any,
) -> Graph:
    """Run a NumPy, PyTorch or JAX function once and record it.

    Parameters
    ----------
    function : callable
        Ordinary NumPy code that returns J, a scalar array. Or a `torch.nn.Module`, or a function
        that gets or uses tensors or modules. Or a function of JAX, see docs/guides/jax.md.
    *args, **kwargs
        Its arguments. Arrays and numbers of floats are recorded as leaves named after the
        parameters, also in dicts, lists, tuples (``params.w1``, ``layers[0].b``). Anything else,
        integers among it (labels, counts), is passed as it is.
    wrt : str or sequence of str, optional
        The leaves to differentiate by: their names, or what their names begin with (``"params"``).
        They are shown as parameters, and only gradients on their paths are computed. Default: all;
        of a PyTorch program all that require a gradient.
    title : str, optional
        Default: the function's name.
    loss : callable, optional
        Of a PyTorch or JAX program only: makes J of what `function` returns.
    capture : {"whole", "lean"}, optional
        Of a PyTorch or JAX program only: keep every array, or of each its `Statistics`. Default:
        whole where parameters and arguments are up to 2**20 numbers.
    unfold : str or sequence of str, optional
        Of a JAX program only: the functions of the library, such as ``"log_softmax"``, that are
        opened into what they compute; ``"all"`` opens all.

    Returns
    -------
    Graph
        A PyTorch program leaves its module as it was: parameters, buffers, ``.grad``, hooks and
        the state of the random numbers. If it raises half-way, the Graph ends with the `error`.

    Raises
    ------
    TraceError
        The result does not depend on any recorded argument, or is no scalar. Or the program would
        lose the history of a recorded value unseen: it writes one into a plain array from
        elsewhere, or hands it to what takes plain numbers (``math.exp``, libraries that copy), or
        views its memory. The message names the line, and what to pass or to write instead;
        docs/conventions.md tells all that is refused.
    TypeError
        An argument is more than an array: masked, a matrix, structured, of objects, with units.
    ValueError
        `wrt` names no leaf.

    Warns
    -----
    UserWarning
        The program raised an error, or is compiled and is traced as it was before.

    Examples
    --------
    >>> import numpy as np, gradviz as gv
    >>> g = gv.trace(lambda w, x: np.sum((w * x) ** 2), np.array([1.0, 2.0]), 3.0, wrt="w")
    >>> g.grad("w")
    array([18., 36.])
    """
    wanted = (wrt,) if isinstance(wrt, str) else wrt
    called = title or named_after(function)
    by_itself = stands_alone(function, args, kwargs)
    frontend = frontend_of(function, args, kwargs, by_itself)
    if frontend is None:
        if wrt or title:
            _refuse_taken(function, wrt, title)
        return _Function(function, args, kwargs, wanted, called).record({}, by_itself)
    own = frontend.options
    options = {name: kwargs[name] for name in own if kwargs.get(name) is not None}
    _refuse_taken(function, wrt, title, options)
    given = {name: value for name, value in kwargs.items() if name not in own}
    graph: Graph = frontend.program()(function, args, given, wanted, called, **options).record({})
    return graph


def _refuse_taken(function: Any, wrt: Any, title: str, options: Iterable[str] = ()) -> None:
    """Raise where an option that is given has the name of an argument of the function's."""
    for name in (*options, *["wrt"][: bool(wrt)], *["title"][: bool(title)]):
        if takes(getattr(function, "forward", function), name):
            whose = named_after(function) or "the function"
            raise TypeError(
                f"{name}= is an argument of gv.trace and of {whose}, too. For the "
                f"function's, bind it: gv.trace(functools.partial(f, {name}=...), ...), or pass "
                "it by position; for gv.trace's, hide it: gv.trace(lambda x: f(x), ...)"
            )


def graph(output: Any, *, title: str = "") -> Graph:
    """The Graph of all that a recorded value depends on.

    Parameters
    ----------
    output : Array
        J, computed from `gradviz.input` and `gradviz.parameter` leaves.
    title : str, optional
        Stands above its pictures.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError
        `output` is not a recorded value.

    Examples
    --------
    >>> import gradviz as gv
    >>> x, y = gv.input(-2.0, "x"), gv.input(5.0, "y")
    >>> {name: float(value) for name, value in gv.graph((x + y) * y).gradients().items()}
    {'x': 5.0, 'y': 8.0}
    """
    if not isinstance(output, Array):
        raise TypeError(
            "gv.graph needs a value computed from gv.input or gv.parameter, got "
            f"{type(output).__name__}"
        )
    _ = output.value  # of a view, as its array is now
    found: dict[int, Node] = {output.order: output}
    pending: list[Node] = [output]
    while pending:
        node = pending.pop()
        for operand in node.operands:
            if isinstance(operand, Node):
                if operand.order >= node.order:  # written to since
                    operand = operand.before(node.order)
                if operand.order not in found:
                    found[operand.order] = operand
                    pending.append(operand)
    recorded = [found[order] for order in sorted(found)]
    return build(recorded, output, title=title)


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
        self.argument_names = argument_names(function, len(args))

    # (Of the class too, for pickles of version 0.1 have none of these.)
    has_run = False
    drawn: States | None = None
    _code: Sequence[CodeType] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_code": None}

    @property
    def roots(self) -> tuple[Any, ...]:
        """Where a search of what the program reaches begins."""
        return self.function, self.args, self.kwargs

    @property
    def code(self) -> Sequence[CodeType]:
        """That of the program's own functions."""
        if self._code is None:
            self._code, _ = survey(*self.roots)
        return self._code

    def call(self, change: Callable[[Any, str], Any], by_itself: bool = False) -> Any:
        """Run the function on arguments whose arrays went through `change(value, name)`.

        `by_itself`: it is known to stand alone (see `gradviz.record.reach`).
        Each has a name of its own, where ``{"a.b": x, "a": {"b": y}}`` has one twice.
        """
        taken: dict[str, int] = {}

        def convert(value: Any, name: str) -> Any:
            if name in taken:
                name = numbered(name, taken)
            taken[name] = 1
            return change(value, name)

        args = [
            convert_nested(value, name, convert)
            for value, name in zip(self.args, self.argument_names, strict=True)
        ]
        kwargs = {name: convert_nested(value, name, convert) for name, value in self.kwargs.items()}
        if not self.has_run:  # the first run's numbers are the user's own
            self.has_run = True
            generators: list[Any] | None
            if by_itself:
                own = alone(self.function.__code__)
                self._code, generators = own.code, [] if own.draws else None
            else:
                self._code, generators = survey(*self.roots)
            self.drawn = None if generators is None else states(generators)
            return self.function(*args, **kwargs)
        with replayed(self.drawn):
            return self.function(*args, **kwargs)

    def run(self, values: Mapping[str, Any]) -> Any:
        def convert(value: Any, name: str) -> Any:
            new = values.get(name, value)
            new = _alike(value, new) if own else new
            return new.copy("K") if isinstance(new, np.ndarray) else new  # it may write into it

        own = True
        try:
            output = self.call(convert)
        except (ArithmeticError, AttributeError, TypeError, ValueError):
            own = False  # what it does NumPy's numbers can: divide by zero, x.sum()
            output = self.call(convert)
        return output.value if isinstance(output, Array) else output

    def record(self, values: Mapping[str, Any], by_itself: bool | None = None) -> Graph:
        """See `Program.record`. `by_itself`: what `stands_alone` says, where it is known."""
        leaves: dict[str, Array] = {}
        named: dict[int, str] = {}
        given: dict[str, np.ndarray[Any, Any]] = {}
        kept: list[Any] = []
        integers: list[str] = []
        reached: set[str] = set()
        only = self.wrt

        def convert(value: Any, name: str) -> Any:
            locked = isinstance(value, np.ndarray) and not value.flags.writeable
            if name in values:
                new = values[name]
                value = _alike(value, new.value if isinstance(new, Array) else new)
            if isinstance(value, np.ndarray):
                refuse_more_than_arrays(value, name)
                given[name] = value
            if not is_float(value):
                if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
                    integers.append(name)
                if isinstance(value, np.ndarray):
                    kept.append(value := value.copy("K"))  # the program may write into it
                    value.flags.writeable = not locked
                    named[id(snapshot(value))] = name
                return value
            kind = "input"
            if only and (wanted := begins(name, only)):
                reached.update(wanted)
                kind = "parameter"
            leaves[name] = made = leaf(value, name, kind)
            if locked:
                made.locked = True
            return made

        output, recorded, looks = self._recorded(convert, leaves, by_itself)
        for wanted in set(only or ()) - reached:
            raise _unknown(wanted, integers, leaves)
        if not isinstance(output, Array):
            self._refuse(output, integers, recorded)
        first = self._first(leaves, given, by_itself)

        def found(recorded: list[Node]) -> Graph:
            return build(
                recorded,
                output,
                wrt=[leaf for leaf in first if leaf.operation is PARAMETER] if only else first,
                named=named,
                program=_Rerun(self, values),
                title=self.title,
                known=lambda ids: {"looks": by_ids(looks, ids)},
            )

        try:
            return found(recorded)
        except KeyError:  # it depends on values recorded in another thread or before, or written to
            return found(_with_missing(recorded, output))

    def _first(
        self,
        leaves: Mapping[str, Array],
        given: Mapping[str, np.ndarray[Any, Any]],
        by_itself: bool | None,
    ) -> list[Array]:
        """The leaves as they were given: what was written to is the result of an operation now."""
        first = [leaf.past[0] if leaf.operands else leaf for leaf in leaves.values()]
        if written := {name: leaf for name, leaf in leaves.items() if leaf.operands}:
            _refuse_shared(written, given)
            _refuse_around(written, given, self.function)
        if not by_itself:
            _refuse_changed(dict(zip(leaves, first, strict=True)), given)
        return first

    def _recorded(
        self, convert: Callable[[Any, str], Any], leaves: dict[str, Array], by_itself: bool | None
    ) -> tuple[Any, list[Node], list[Look]]:
        """Run the function; its result, the tape, and what it asked for plain numbers."""
        if by_itself is None:
            by_itself = stands_alone(*self.roots)
        called = None
        if by_itself:
            own = alone(self.function.__code__)
            given_list = _has_list((*self.args, *self.kwargs.values()))
            called = own.called if given_list else own.listless
        try:
            with tape() as recorded, looking() as looks, traced(self.function, called):
                output = self.call(convert, by_itself)
                for node in (output, *leaves.values()):
                    _ = getattr(node, "value", None)  # of what was written to, as it is now
                if not by_itself and leaves and any(map(keeps, self.code)):
                    first = min(getattr(one, "past", (one,))[0].order for one in leaves.values())
                    hand_back(first, *self.roots)
        except (TypeError, ValueError) as error:
            if (told := _in_our_words(error)) is error:
                raise
            raise told from None
        return output, recorded, looks

    def _refuse(self, output: Any, integers: list[str], recorded: list[Node]) -> None:
        title = self.title or "the function"
        if isinstance(output, (tuple, list, dict)):
            raise TraceError(
                f"{title} returned a {type(output).__name__}; return the scalar J alone"
            )
        hint = (
            f"; write {integers[0]}=2.0 instead of 2, say: integers have no gradient"
            if integers
            else "; did .value or an integer result end its history?"
        )
        own = getattr(self.function, "__self__", None)
        if kind := opaque((own, *self.args, *self.kwargs.values())):
            hint = f"; what a {kind} holds is constant: pass arrays, dicts, lists or dataclasses"
        for how, place in (how for node in recorded for how in getattr(node, "read", ())):
            hint = f"; {how} ended its history at {names.source(place) or 'an unknown line'}"
        raise TraceError(
            f"{title} returned {output.__class__.__name__}, which depends on no recorded argument"
            f"{hint}"
        )


def _has_list(values: Iterable[Any]) -> bool:
    """Whether there is a list or a tuple among the arguments of what stands alone."""
    for value in values:
        kind = type(value)
        if kind is list or kind is tuple or (kind is dict and _has_list(value.values())):
            return True
    return False


def _in_our_words(error: Exception) -> Exception:
    """What NumPy raised because it met a recorded value, or an array of a traced program."""
    if isinstance(error.__cause__, TraceError):  # NumPy wraps what __float__ raises
        return error.__cause__
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    frame = next(filter(is_user, reversed(frames)), None)
    if str(error) == "Error setting single item of array." and frame is not None:  # a.flat[0] = x
        return into_plain(frame)
    if str(error) == "Array() takes no arguments":
        return TraceError(
            "type(x) of a recorded value is gradviz.Array, of which no others are made by a call; "
            f"write float(...) or np.float64(...), or NumPy's function, at {names.where(frame)}"
        )
    if "'Buffer'" in str(error):
        return TraceError(
            "an array that the traced program made is taken as plain memory here, where nothing is "
            f"recorded ({error}); use NumPy's functions and methods, and write y[i] = x or "
            f"y[...] = x, at {names.where(frame)}"
        )
    return error


def _alike(value: Any, new: Any) -> Any:
    """A leaf's new value as what the old one is: the program may ask for its type."""
    kind = type(value)
    if kind in (float, complex) and np.size(new) == 1:
        number = np.ravel(new)
        return kind(number[0]) if np.can_cast(number.dtype, kind) else new
    if type(value) is np.ndarray and not value.ndim and isinstance(new, np.generic):
        return np.asarray(new)
    return new


class _Rerun(Program):
    """A traced function at given leaf values."""

    def __init__(self, function: _Function, values: Mapping[str, Any]) -> None:
        self.function, self.values = function, values

    def run(self, values: Mapping[str, Any]) -> Any:
        try:
            return self.function.run({**self.values, **values})
        except AttributeError as error:
            if error.name != "value":
                raise
        graph = self.record(values)  # it asks for x.value, which plain arrays do not have
        return graph.values[graph.output].value

    def record(self, values: Mapping[str, Any]) -> Graph:
        return self.function.record({**self.values, **values})

    def unseen(self) -> AbstractContextManager[None]:
        return unseen(*self.function.roots)

    def numbers(self) -> Iterable[Any]:
        return plain_numbers(*self.function.roots)

    def suspect(self) -> bool:
        return any(map(suspect, self.function.code))

    def reads(self) -> str:
        return value_read(self.function.code)

    def asks(self) -> str:
        return asked(self.function.code)


def _unknown(wanted: str, integers: list[str], leaves: Iterable[str]) -> ValueError:
    """What to say of a name in `wrt` that no leaf has."""
    if wanted in integers:
        return ValueError(f"{wanted} is an integer, which has no gradient; pass {wanted}=1.0, say")
    return ValueError(
        f"wrt={wanted!r} names no array of floats; there are: {nearest(wanted, leaves)}"
    )


def _refuse_shared(leaves: Mapping[str, Array], given: Mapping[str, Any]) -> None:
    """Raise where arguments that the program wrote into are in memory that is another's too."""
    for name, written in leaves.items():
        for other, array in given.items():
            if other == name or not _shares(given.get(name), array):
                continue
            new = (*written.past[1:], written)[0]
            raise TraceError(
                f"the program writes into {name}, which shares memory with {other}, so that both "
                f"would change; recorded they are two arrays: pass a copy of one, or make the "
                f"second inside the function, at {names.source(new.site) or 'an unknown line'}"
            )


def _refuse_around(leaves: Mapping[str, Array], given: Mapping[str, Any], function: Any) -> None:
    """Raise where the program also reaches what it wrote into, as a variable or an attribute."""
    for array in (found.value for found in reach((("", function),))):
        if type(array) is not np.ndarray:
            continue
        for name, written in leaves.items():
            if _shares(given.get(name), array):
                new = (*written.past[1:], written)[0]
                raise TraceError(
                    f"the program writes into {name}, in whose memory is an array that it also "
                    "reaches without its argument (a global, a closure, a default, an attribute), "
                    f"so that both would change; recorded they are two: pass a copy, at "
                    f"{names.source(new.site) or 'an unknown line'}"
                )


def _refuse_changed(leaves: Mapping[str, Array], given: Mapping[str, Any]) -> None:
    """Raise where an argument's own memory was written into, which its leaf is a copy of."""
    for name, array in given.items():
        if name in leaves and not np.array_equal(leaves[name].value, array, equal_nan=True):
            raise TraceError(
                f"the program writes into the memory of {name}, which it reaches in another way "
                "than by its argument (a global, a closure, a default, an attribute), so that both "
                f"would change; recorded they are two arrays: pass a copy of {name}"
            )


def _shares(one: Any, other: Any) -> bool:
    try:
        return one is not None and np.shares_memory(one, other, 1000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _with_missing(recorded: list[Node], output: Array) -> list[Node]:
    by_order = {node.order: node for node in (*recorded, *_missing(recorded, output))}
    by_order.pop(STALE, None)
    return [by_order[order] for order in sorted(by_order)]


def _missing(recorded: list[Node], output: Node) -> list[Node]:
    """What J and the tape's values depend on and the tape lacks."""
    known = {node.order for node in recorded}
    found: list[Node] = []
    pending = [node for node in (*recorded, output) if node.order != STALE]
    while pending:
        node = pending.pop()
        if node.order not in known:
            known.add(node.order)
            found.append(node)
        for operand in node.read_operands():
            if isinstance(operand, Node) and operand.order not in known:
                pending.append(operand)
    return found
