"""Drawings: a View that knows how to become SVG, PNG, PDF, DOT, TikZ and plain text."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.chain.folding import is_large
from gradviz.chain.gathering import frames
from gradviz.chain.result import GraphResult
from gradviz.files import PICTURES, write_atomic
from gradviz.highlight import Highlight
from gradviz.language import asked, in_its_language, speaking
from gradviz.model import Recording
from gradviz.options import Colour
from gradviz.words import choose

from . import calls, heat, style
from .overview import overview
from .view import Box, View, backward_view, beside_view, forward_view

if TYPE_CHECKING:
    import numpy as np

    from .layout import Layout

# A picture in an <img> that knows both palettes is as dark as its element: that of the notebook,
# where it says what it is (JupyterLab and Notebook; VS Code), else of the page or the system.
_HOSTED = "".join(
    f"{host} .gradviz-picture{{color-scheme:{scheme}}}"
    for scheme, hosts in {
        "light": ("[data-jp-theme-light=true]", ".vscode-light"),
        "dark": ("[data-jp-theme-light=false]", ".vscode-dark"),
    }.items()
    for host in hosts
)

__all__ = ["Drawing", "Highlight", "draw"]


class Drawing:
    """A picture of a graph, drawn when first asked for.

    Parameters
    ----------
    view : View
        What is shown.
    theme : str
        "light", "dark", or "auto" (an SVG that follows the reader's setting). By default it is
        light, and in a notebook as light or dark as that is.
    engine : str
        "auto", "graphviz-pure" or "dot".
    words : callable
        Makes the text twin when it is asked for.
    """

    def __init__(
        self,
        view: View,
        *,
        theme: str = "",
        engine: str = "auto",
        words: Callable[[], str] = str,
    ) -> None:
        self.view = view
        self.format = "svg"
        self._words = words
        self.language = asked()
        self.theme = choose("theme", "light" if theme == "" else theme, style.PALETTES)
        self.hosted = theme in ("", "auto")
        self.engine = engine

    @cached_property
    @in_its_language
    def svg(self) -> str:
        """The picture as SVG text."""
        return self._painted(self.theme)

    @cached_property
    def _place(self) -> Layout:
        from .svg import placed

        return placed(self.view, self.engine)

    def _painted(self, theme: str) -> str:
        from .svg import paint

        return paint(self.view, theme, self._place)

    @cached_property
    @in_its_language
    def dot(self) -> str:
        """The picture as DOT source, for any Graphviz."""
        from .dot import to_dot

        return to_dot(self.view, self.theme)

    @cached_property
    @in_its_language
    def tex(self) -> str:
        """The picture as a standalone TikZ document."""
        from .tikz import to_tikz

        return to_tikz(self.view, self.engine)

    @cached_property
    @in_its_language
    def text(self) -> str:
        """The picture in words: the forward pass, then the backward pass, in sentences."""
        return self._words()

    @property
    def png(self) -> bytes:
        """The picture as PNG, two pixels to a point."""
        from .raster import to_png

        return to_png(self._fixed())

    @property
    def pixels(self) -> np.ndarray:
        """The picture as an array: height, width, and red, green, blue, opacity; needs pillow.

        Examples
        --------
        With PyTorch's ``SummaryWriter``, and whatever else shows images:

        >>> writer.add_image("step", g.draw().pixels, 7, dataformats="HWC")  # doctest: +SKIP
        """
        from .raster import to_pixels

        return to_pixels(self.png)

    @property
    def pdf(self) -> bytes:
        """The picture as PDF with real text; needs the extra ``gradviz-dag[pdf]``."""
        from .raster import to_pdf

        return to_pdf(self._fixed())

    def _fixed(self) -> str:
        """SVG in one palette: what is not a browser cannot follow a reader's setting."""
        if self.theme != "auto":
            return self.svg
        with speaking(self.language):
            return self._painted("light")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture; the suffix of `path` says as what.

        The file is replaced whole or not at all.

        Raises
        ------
        ValueError
            If the suffix is not one of `PICTURES`.
        """
        suffix = Path(path).suffix.lower()
        if suffix in (".html", ".json"):
            raise ValueError(f"a picture is no {suffix[1:]}: write g.save({Path(path).name!r})")
        kind = PICTURES[choose("file type", suffix, (*PICTURES, ".html", ".json"))]
        data: str | bytes = getattr(self, kind)
        return write_atomic(path, data)

    def render(self, filename: str | os.PathLike[str]) -> Path:
        """Write ``filename.svg`` (or another `format`), as `graphviz.Digraph.render` would."""
        return self.save(f"{os.fspath(filename)}.{self.format}")

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        # An <img> fits the width of the page; JupyterLab cuts a wide SVG off, and shows none that a
        # notebook from elsewhere brings along.
        from base64 import b64encode
        from html import escape

        about = escape(" ".join(filter(None, (self.view.title, self.view.description))))
        shown = self.svg
        if self.hosted:
            with speaking(self.language):
                shown = self._painted("auto")
        data = b64encode(shown.encode()).decode()
        image = (
            f'<img alt="{about}" class="gradviz-picture" style="max-width:100%;height:auto" '
            f'src="data:image/svg+xml;base64,{data}">'
        )
        html = f"{image}<style>{_HOSTED}</style>" if self.hosted else image
        return {"text/html": html, "image/svg+xml": self.svg, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Drawing: {len(self.view.boxes)} boxes, {len(self.view.arrows)} arrows>"


def draw(
    graph: Any,
    *,
    show: Iterable[str] | None = None,
    highlight: Highlight | GraphResult | None = None,
    backward: str | None = None,
    theme: str = "",
    direction: str | None = None,
    title: str | None = None,
    engine: str = "auto",
    budget: int | None = None,
    unfold: str | Iterable[str] = (),
    color: Colour = "auto",
) -> Drawing:
    """Draw a graph.

    A graph of more than 100 values, or of many long edges, is folded into about 40 boxes: a scope,
    a loop with its count, a chain. Each says what it holds: operations, parameters, the paths to J
    through it, and the norms of what passes through; of what repeats, the range over its
    iterations. A picture that is too hard to lay out all the same has straight lines.

    Parameters
    ----------
    graph : Graph
        Of one that is not folded, anything with a `table` (and `backward_table`) of the documented
        schema.
    show, highlight, backward, theme, direction, title, engine, budget, unfold, color
        See `gradviz.options.Picture`.

    Raises
    ------
    ValueError
        For a name, theme, direction, engine, fold or color that does not exist, and for the memory
        of a program of which it is not known.
    TypeError
        For a color that is no real number.
    """
    if backward is not None:
        choose("value of backward", backward, ("beside", "alone"))
    if isinstance(highlight, GraphResult):
        highlight = highlight.highlight_in(graph)
    elif not isinstance(highlight, Highlight | None):
        raise TypeError(f"highlight={highlight!r}: give a result, such as graph.explain(...)")
    looks: dict[str, Any] = dict(direction=direction, title=title)
    foldable = show is None and isinstance(graph, Recording)
    found, keys = calls.asked(graph, unfold) if foldable and unfold else ([], [])
    many = foldable and (is_large(graph) if budget is None else len(graph) > budget)
    if foldable and (keys or many or (found and backward)):
        view = overview(graph, highlight=highlight, backward=backward, budget=budget,
                        unfold=keys, calls=found, color=color, **looks)  # fmt: skip
        return Drawing(view, theme=theme, engine=engine, words=partial(_words_of_view, view))
    chosen = show if show is None or isinstance(show, str) else tuple(show)
    if backward == "alone":
        view = backward_view(graph, show=chosen, **looks)
    else:
        make = beside_view if backward else forward_view
        view = make(graph, show=chosen, highlight=highlight, **looks)
    for call in found:
        view = calls.opened(view, f"n{call.i}", call, {i: f"n{i}" for i in range(len(graph))})
    view = framed(graph, view) if isinstance(graph, Recording) else view
    view = heat.of_values(graph, view, heat.wanted(color, False))
    words = partial(_words, graph, chosen, highlight, view.title, view.scale)
    if found:  # (which a table of the graph does not have)
        words = partial(_words_of_view, view)
    return Drawing(view, theme=theme, engine=engine, words=words)


def framed(graph: Any, view: View) -> View:
    """The View with the calls of the program's functions as frames, where it has no scopes."""
    if any(box.scope for box in view.boxes):
        return view
    shown = {int(box.id[1:]) for box in view.boxes if re.fullmatch(r"n\d+", box.id)}
    calls = {f"n{i}": path for i, path in frames(graph, shown).items()}
    seen = Counter(path[:n] for path in calls.values() for n in range(1, len(path) + 1))

    def put(box: Box) -> Box:
        path = calls.get(box.id, ())
        return replace(box, scope=tuple(f for n, f in enumerate(path, 1) if seen[path[:n]] > 1))

    below = view.below and framed(graph, view.below)
    return replace(view, boxes=tuple(map(put, view.boxes)), below=below)


def _words_of_view(view: View) -> str:
    from .text import of_view

    return of_view(view)


def _words(*args: Any) -> str:
    from .text import to_text

    return to_text(*args)
