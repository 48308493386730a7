"""The Jupyter widget: the page's module, with Python as the other half of its model.

The module draws, steps and explains by itself, from what `gradviz.web.payload` sends it. Python is
asked for what needs the user's own function or a layout: new values, training, folding.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import anywidget
    import traitlets
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "the widget needs anywidget: pip install 'gradviz-dag[widget]', or, in a clone, "
        "pip install '.[widget]'; g.save('page.html') needs nothing"
    ) from error

from gradviz.language import asked
from gradviz.options import Colour
from gradviz.show import style
from gradviz.show.heat import wanted
from gradviz.show.view import DIRECTIONS
from gradviz.words import choose, names_of

from .insides import alive
from .page import packed, stylesheet, words
from .payload import numbers, quantity, structure
from .pictures import Pictures, drawing, sealed
from .rooms import joined

if TYPE_CHECKING:
    from gradviz.graph import Graph

_STILL = """<style>
body:has([data-mark="{mark}"]) .still-{mark},
body:has([data-mark="{mark}"]) .jp-OutputArea-child:has(.still-{mark}),
.jp-OutputArea-child:has(.still-{mark}) + .jp-OutputArea-child .jupyter-widgets:not(:has(*)) \
{{ display: none }}
</style><div class="still-{mark}">{picture}</div>"""
"""A picture that is seen where the widget is not, and hides that the widget is not found."""
TOGETHER = 0.6  # seconds in which the changes of one leaf are one


class Widget(anywidget.AnyWidget):
    """A living graph. Made by `Graph.widget`.

    Parameters
    ----------
    graph : Graph
    detail : {"names", "operations"}, optional
        As in `Graph.draw`.
    direction : {"LR", "TB"}, optional
        Default: from left to right, of long models from top to bottom. It can be turned.
    theme : {"auto", "light", "dark"}
        "auto" follows the notebook's.
    language : str, optional
        "en" or "zh"; default: the browser's.
    targets, selected : sequence of str, optional
    rate : float
        The learning rate of the training control.
    color : str, mapping or callable, optional
        As in `Graph.draw`.

    Attributes
    ----------
    graph : Graph
        At the values that are shown.
    values : dict of str to array
        The leaves' values; assign a dict of some or all of them to change them.
    selected : list of str
        What is asked about: a value's name, or an edge as ``"u→v"``.
    targets : list of str
        Whose reuse of cached terms is shown, in this order.
    step : int
        Where both passes stand: 0 is before the first, `last_step` after the last. With targets
        the backward pass is their ledger, in its order.
    folded : list of str
        The scopes that are folded into one box each.
    rate : float
    history : list of float
        J at each step of the training.
    at : int
        Which of these steps is shown.
    edits : list of int
        How many changes of values can be undone, and redone.
    """

    _esm = joined("widget")
    _css = stylesheet()

    structure: Any = traitlets.Dict().tag(sync=True)
    numbers: Any = traitlets.Dict().tag(sync=True)
    drawing: Any = traitlets.Dict().tag(sync=True)
    drawings = traitlets.Unicode("").tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)
    settled = traitlets.Unicode("").tag(sync=True)
    mark = traitlets.Unicode().tag(sync=True)
    kernel = traitlets.Bool(True).tag(sync=True)
    theme = traitlets.Unicode("auto").tag(sync=True)
    language = traitlets.Unicode("").tag(sync=True)

    values = traitlets.Dict()
    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    targets = traitlets.List(traitlets.Unicode()).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    folded = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rate = traitlets.Float(0.5).tag(sync=True)
    history: Any = traitlets.List().tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)
    edits: Any = traitlets.List([0, 0]).tag(sync=True)

    def __init__(
        self,
        graph: Graph,
        *,
        detail: str | None = None,
        direction: str | None = None,
        theme: str = "auto",
        language: str = "",
        targets: Sequence[str] = (),
        selected: Sequence[str] = (),
        rate: float = 0.5,
        color: Colour = "auto",
    ) -> None:
        choose("theme", theme, style.PALETTES)
        language = asked(language)
        self.detail, self.direction, self.color = detail, direction, color
        layered = bool(graph.detailed(detail).layers)  # whose boxes have numbers of their own
        self._fixed = layered or wanted(color, layered) is not None
        self.graph = graph
        self._past = [graph]
        self._recorded = graph
        self._done: list[_Place] = []
        self._undone: list[_Place] = []
        self._last = ("", 0.0)
        self._told = structure(graph, detail)
        pictures = Pictures(graph, detail)
        folded = list(pictures.at_first())
        self._calls = {call.key for call in pictures.calls.values()}
        super().__init__(
            structure=self._told,
            numbers=numbers(graph, detail),
            drawing=self._drawn(graph, folded),
            words=words(),
            mark=uuid.uuid4().hex,
            theme=theme,
            language=language,
            values=graph.leaf_values(),
            step=self.last_step,
            folded=folded,
            targets=list(names_of(targets, "targets")),
            selected=list(names_of(selected, "selected")),
            rate=rate,
        )
        self.on_msg(self._asked)
        self.observe(self._values_assigned, "values")
        self.observe(self._folded_assigned, "folded")
        self.observe(self._at_assigned, "at")

    def __repr__(self) -> str:  # all that is shown of it where the notebook is not trusted
        return f"<gradviz widget of {self._told['title'] or 'a graph'}: run this cell to see it>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        living = super()._repr_mimebundle_(**options)
        return living and ({**self._still(), **living[0]}, living[1])

    def _ipython_display_(self) -> None:
        """Show a picture, which a saved notebook keeps, and the widget, which takes its place.

        Jupyter shows nothing else in place of a widget that is gone, so it has an output of
        its own.
        """
        from IPython.display import display

        show: Any = display
        show(self._still(), raw=True)
        living = super()._repr_mimebundle_()
        if living:
            show(living[0], metadata=living[1], raw=True)

    def _still(self) -> dict[str, str]:
        looks = {name: getattr(self, name) for name in ("detail", "color", "language")}
        still: dict[str, str] = self.graph.draw(**looks)._repr_mimebundle_()
        return {**still, "text/html": _STILL.format(mark=self.mark, picture=still["text/html"])}

    @property
    def last_step(self) -> int:
        """The step after both passes."""
        return len(self._told["steps"]) - 1

    # --- checked where they are assigned -----------------------------------------------------

    @traitlets.validate("targets", "selected")
    def _known(self, proposal: Any) -> list[str]:
        shown = self.graph.detailed(self.detail)
        for name in proposal["value"]:
            if "→" not in name or name in shown.names:
                shown.id(name)
        return list(proposal["value"])

    @traitlets.validate("step")
    def _within(self, proposal: Any) -> int:
        # With targets their ledger is played, which may have a step more for each of them.
        return min(max(int(proposal["value"]), 0), self.last_step + len(self.targets))

    # --- what the view asks ------------------------------------------------------------------

    def _asked(self, _: Any, request: Mapping[str, Any], __: Any) -> None:
        if not request:  # the view only makes itself heard
            return
        trouble, again = "", None
        with self.hold_sync():  # all that changes goes in one message
            try:
                with np.errstate(all="ignore"):  # what is not finite is shown, not warned of
                    again = self._do(request)
            except Exception as error:  # the user's own function may raise anything
                trouble = f"{type(error).__name__}: {error}"
            self.answer = {"serial": request.get("serial"), "trouble": trouble, "again": again}

    def _do(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Do it, or return it where the view can do it by itself now."""
        match request:
            case {"kind": "set", "values": values}:
                self._move(self.graph.update(_arrays(values)), ",".join(values))
            case {"kind": "train", "steps": count, "rate": rate}:
                self.train(int(count), float(rate))
            case {"kind": "at", "index": index}:
                self.at = int(index)
            case {"kind": "turn", "direction": direction}:
                if choose("direction", direction, DIRECTIONS) != self.direction:
                    self.direction, self.drawings = direction, ""
                if self._bring():
                    return request
                self.drawing = self._drawn(self.graph, self.folded)
            case {"kind": "undo" | "redo" | "reset" as way}:
                getattr(self, way)()
            case {"kind": "fold", "folded": folded, "key": key}:
                if self._bring():
                    return request
                self.folded = list(folded)
                if key not in folded and key in self.folded:
                    raise ValueError(f"{key} stays folded: too many boxes are open; close some")
            case _:
                raise ValueError(f"unknown request {request.get('kind')!r}")
        return None

    def _bring(self) -> bool:
        """Send what takes the place of folds that open or close, unless the view has it."""
        if self.drawings:
            return False
        brought = alive(Pictures(self.graph, self.detail), self.direction, self.color)
        self.drawings = packed(sealed([brought]))
        return True

    def train(self, steps: int = 1, rate: float | None = None) -> None:
        """Take steps of gradient descent from the point that is shown."""
        past = self._past[: self.at + 1]
        for _ in range(steps):
            past.append(past[-1].step(self.rate if rate is None else rate))
        self._note()
        self._go((past, len(past) - 1))

    def _move(self, graph: Graph, what: str = "") -> None:
        """Go to new values, from which a new training starts."""
        self._note(what)
        self._go(([graph], 0))

    # --- the way back ------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back the last change of values, if there is one: a value set, steps of training."""
        self._back(self._done, self._undone)

    def redo(self) -> None:
        """Do again what was undone."""
        self._back(self._undone, self._done)

    def reset(self) -> None:
        """Go back to the values that were recorded; that can be undone, too."""
        self._note()
        self._go(([self._recorded], 0))

    def _note(self, what: str = "") -> None:
        """Keep where one can go back to; what was undone is forgotten.

        A leaf that is dragged is set many times, which is one change.
        """
        last, self._last = self._last, (what, time.monotonic())
        if not what or what != last[0] or self._last[1] - last[1] > TOGETHER:
            self._done.append((self._past, self.at))
        self._undone.clear()

    def _back(self, way: list[_Place], other: list[_Place]) -> None:
        self._last = ("", 0.0)
        if way:
            other.append((self._past, self.at))
            self._go(way.pop())

    def _go(self, place: _Place) -> None:
        self._past, at = place
        with self.hold_trait_notifications():
            self.history = [quantity(_loss(graph)) for graph in self._past]
            self.at = at
        self.edits = [len(self._done), len(self._undone)]
        self._show(self._past[at])

    def _show(self, graph: Graph) -> None:
        if graph is self.graph:
            return
        self.graph = graph
        told = structure(graph, self.detail) if not self._same_program(graph) else self._told
        with self.hold_sync():
            self.numbers = {**numbers(graph, self.detail), "moved": told is self._told}
            if told is not self._told:  # it branched on a value: another graph, another picture
                self._told = told
                calls = Pictures(graph, self.detail).calls.values()
                self._calls = {call.key for call in calls}
                known = set(told["scopes"])
                self.folded = [scope for scope in self.folded if scope in known]
                self.drawing, self.drawings = self._drawn(graph, self.folded), ""
                self.structure = told
                self.step = self.last_step
            elif self._fixed or self._calls:  # (what is in a call has numbers that do not change)
                self.drawings = ""
                opened = {*self.drawing["scopes"]} - {*self.drawing["folded"]}
                if self._fixed or self._calls & opened:
                    self.drawing = self._drawn(graph, self.folded)
                    self.folded = self.drawing["folded"]
        self.values = graph.leaf_values()

    def _drawn(self, graph: Graph, folded: Sequence[str]) -> Any:
        return drawing(graph, folded, self.direction, self.detail, color=self.color)

    def _same_program(self, graph: Graph) -> bool:
        shown = graph.detailed(self.detail)
        nodes, known = self._told["nodes"], self._told["edges"]
        return (
            len(nodes) == len(shown)
            and all(node["id"] == name for node, name in zip(nodes, shown.names, strict=True))
            and [(edge["u"], edge["v"], edge["key"]) for edge in known] == list(shown.edges())
        )

    def _values_assigned(self, change: Any) -> None:
        current = self.graph.leaf_values()
        new = {
            name: value
            for name, value in change["new"].items()
            if name not in current or not np.array_equal(value, current[name], equal_nan=True)
        }
        if new:
            self._move(self.graph.update(new))

    def _folded_assigned(self, change: Any) -> None:
        if sorted(self.drawing["folded"]) == sorted(change["new"]):  # the view placed it
            return
        drawn = self._drawn(self.graph, change["new"])
        if drawn["folded"] != sorted(change["new"]):  # what came to light is closed
            self.folded = drawn["folded"]
        else:
            self.drawing = drawn

    def _at_assigned(self, change: Any) -> None:
        if 0 <= change["new"] < len(self._past):
            self._show(self._past[change["new"]])


_Place = tuple[list["Graph"], int]
"""The steps of a training, and the one that is shown."""


def _loss(graph: Graph) -> Any:
    return graph.values[graph.output].value


def _signed(value: Any) -> Any:
    """JSON has no -0: it travels as text."""
    if isinstance(value, list):
        return [_signed(part) for part in value]
    return -0.0 if value == "-0" else value


def _arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them; anything but numbers is refused."""
    found = {name: np.asarray(_signed(value)) for name, value in values.items()}
    for name, value in found.items():
        if value.dtype.kind not in "fiu":
            raise ValueError(f"{name}: these are no numbers")
    return found
