"""The options of what draws: named and told in one place, for whoever passes them on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar

from gradviz.highlight import Highlight
from gradviz.words import unknown

if TYPE_CHECKING:
    from gradviz.chain.lesson import Lesson
    from gradviz.chain.result import GraphResult
    from gradviz.graph import Graph

P = ParamSpec("P")
R = TypeVar("R")
Colour = str | bool | Mapping[str, Any] | Callable[..., Any] | None


class Picture(TypedDict, total=False):
    """The options of a picture.

    Attributes
    ----------
    detail : {"names", "operations"}, optional
        "names" (the default) shows a box for each value that the program names, with the unnamed
        steps inside it; "operations" a box for each operation. A program that names no
        intermediate value is always shown by its operations.
    show : iterable of str, optional
        Names of the nodes (or scopes) to show; what lies between them becomes a dashed arrow.
    highlight : Highlight or result, optional
        What to point out: also a `Reuse`, `Explanation`, `Check`, `Shares`, `Health`, `Comparison`
        of this very graph.
    backward : {None, "beside", "alone"}
        "beside" adds the backward graph to the picture: a card per gradient, an arrow per message.
        "alone" shows nothing else.
    theme : {"light", "dark", "auto"}
        "auto" follows the reader's setting. Default: "light", in a notebook as light or dark as
        the notebook; of a page and a widget "auto".
    direction : {"LR", "TB"}, optional
        Left to right, or top to bottom. By default the latter only where a graph is folded and more
        boxes lie one after the other than fit on a page, or where texts would be too small.
    title : str, optional
        Heading; by default the graph's name.
    engine : {"auto", "graphviz-pure", "dot"}
    budget : int, optional
        A graph of more values is folded, into at most so many boxes. A model is drawn by its
        layers, with norms and not formulas; ``budget=len(graph)`` draws every value.
    unfold : str or iterable of str, optional
        What else to open, by the key in its tooltip, such as ``"blocks.0/attn"``, or by
        the name of a value: all that it lies in. All other folds stay as they are. Of a JAX
        program also calls of a library, by what is called (``"log_softmax"``) or by the value that
        is their result.
    color : {"auto", "gradient", "memory", None}, mapping or callable, optional
        What boxes and edges are coloured by, on one scale that the picture tells. "gradient": the
        norms of gradients and of the messages between them; "auto" does so for a graph with layers,
        and for no other. "memory": the bytes that each layer keeps for the backward pass
        (`Graph.memory`), with their total and the largest. Else numbers of your own: a mapping from
        names of values or layers, or a function of a value's name, or of its name and its data
        (those of `Graph.dag`). Edges have a width too, and each card says its number in figures.
        None (or False): by nothing.
    language : {"", "en", "zh"}
        In which the words are; default: the one that `gradviz.set_language` has set.
    """

    detail: str | None
    show: Iterable[str] | None
    highlight: Highlight | GraphResult | None
    backward: str | None
    theme: str
    direction: str | None
    title: str | None
    engine: str
    budget: int | None
    unfold: str | Iterable[str]
    color: Colour
    language: str


class Page(TypedDict, total=False):
    """The options of a page.

    Attributes
    ----------
    detail, direction, theme, engine, color, language
        As of a `Picture`. Colours are of the values that were recorded: such a page does not
        compute new ones. Without a language it speaks its reader's; without a direction it is drawn
        top to bottom on a narrow screen. A page can be turned.
    targets, selected : sequence of str, optional
        What is asked for when the page opens.
    step : int, optional
        Where both passes stand when it opens, 0 is before the first; default: after both. With
        targets the backward pass is their ledger. The page's address says the same and may be
        shared: ``net.html#step=12&targets=w5,b2,w1``, and ``open=`` says which folds are open.
    compact : bool
        Picture, steps and their texts alone, for a frame of 700×500 in another page.
    beside : Graph or sequence of Graph, optional
        Others on the same page, which asks the same of all of them.
    columns : int
        So many graphs stand side by side.
    lesson : Lesson, bool, str or sequence of str, optional
        A student predicts numbers before the page shows them: what `Graph.lesson` made, what the
        gradients of some values take, or (True) those of all leaves. Of what is right the file has
        nothing that can be read as it stands: all of it travels compressed, and answers are
        computed only to be compared. It is no secret all the same: a page that works without a
        server can be taken apart by who knows how, and its results can be written by hand.
    paper : bool
        The lesson as a sheet to print, with the solutions on a page of their own.
    """

    detail: str | None
    direction: str | None
    theme: str
    language: str
    targets: Sequence[str]
    selected: Sequence[str]
    engine: str
    color: Colour
    step: int | None
    compact: bool
    beside: Graph | Sequence[Graph]
    columns: int
    lesson: Lesson | bool | str | Sequence[str] | None
    paper: bool


class Shown(TypedDict, total=False):
    """The options of a widget: as of a `Page`, and the learning rate of the training control."""

    detail: str | None
    direction: str | None
    theme: str
    language: str
    targets: Sequence[str]
    selected: Sequence[str]
    rate: float
    color: Colour


class Frames(TypedDict, total=False):
    """The options of single pictures of both passes: as of a `Picture`, "light" or "dark"."""

    detail: str | None
    direction: str | None
    theme: str
    engine: str
    language: str


class Saved(Picture, Page, total=False):
    """The options of all that a Graph is saved as: of a `Picture`, of a `Page`, of a film.

    Attributes
    ----------
    seconds : float
        Of a film (``.gif``, ``.mp4``): for a step.
    """

    seconds: float


class _Own:
    """Stands in a signature for a default that is told where the option is."""

    def __repr__(self) -> str:
        return "…"


def _written(kind: Any) -> Any:
    """An annotation as it is written, where Python keeps it as a reference forward."""
    return getattr(kind, "__forward_arg__", kind)


def named(options: type) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose signature names the options that it passes on.

    An option that does not exist is an error that names the nearest.
    """

    def with_names(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        known = [p.name for p in own]
        more = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=_Own(), annotation=_written(kind)
            )
            for name, kind in options.__annotations__.items()
            if name not in known
        ]
        names = [*known[1:], *(p.name for p in more)]

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in names:
                    raise TypeError(f"{function.__name__}: {unknown('option', name, names)}")
            return function(*args, **kwargs)

        checked.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore
        return checked

    return with_names
