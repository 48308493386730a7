"""The form of every result: text, rows, a picture, a notebook's display, a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from gradviz.files import write_atomic
from gradviz.highlight import Highlight
from gradviz.language import asked
from gradviz.options import Picture, named

if TYPE_CHECKING:
    from gradviz.graph import Graph
    from gradviz.show.drawing import Drawing


class Result:
    """What is found out.

    Attributes
    ----------
    text : str
        All of it, in words.
    rows : collection
        The same as data.
    language : str
        In which it was asked for; "" for English where nothing else is set.
    """

    language: str

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """A result speaks as it was asked, however late it is told."""
        new = super().__new__(cls)
        object.__setattr__(new, "language", asked())
        return new

    @property
    def text(self) -> str:
        """All of it, in words."""
        raise NotImplementedError

    def draw(self, *args: Any, **options: Any) -> Drawing:
        """The picture."""
        raise NotImplementedError

    @named(Picture)
    def save(self, path: str | os.PathLike[str], **options: Unpack[Picture]) -> Path:
        """Write the picture, as `Drawing.save` does; to a ``.txt`` the `text`."""
        if Path(path).suffix.lower() == ".txt":
            return write_atomic(path, f"{self.text}\n")
        return self.draw(**options).save(path)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        first, _, _ = self.text.partition("\n")
        return f"<{type(self).__name__}: {first}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {**self.draw()._repr_mimebundle_(include, exclude), "text/plain": self.text}


class GraphResult(Result):
    """What is found out about a Graph.

    Attributes
    ----------
    graph : Graph
        Whose ids the rows hold.
    """

    detail: ClassVar[str | None] = "operations"
    """The level of detail of its picture unless another is asked for: `graph` as it stands."""

    graph: Graph

    def highlight(self) -> Highlight:
        """What its picture points out, in `graph`."""
        raise NotImplementedError

    def highlight_in(self, shown: Graph) -> Highlight:
        """What the picture of `shown` points out: of `graph`, or of what has the same ids."""
        if len(shown) != len(self.graph):
            raise ValueError(
                f"this {type(self).__name__} is of a graph of {len(self.graph)} values, the "
                f"picture of {len(shown)}: draw it by its own draw(), or at its level of detail"
            )
        return self.highlight()

    @named(Picture)
    def draw(self, **options: Unpack[Picture]) -> Drawing:
        """The picture, with what was found pointed out (options as in `Graph.draw`)."""
        options.setdefault("detail", self.detail)
        options.setdefault("highlight", self)
        options.setdefault("language", self.language)
        return self.graph.draw(**options)
