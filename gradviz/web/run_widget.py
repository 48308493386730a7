"""A recorded run in a notebook: the page of a run, which follows the file as it grows."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from gradviz.show import style
from gradviz.words import choose

from .page import words
from .recorded import Telling, run_stylesheet
from .rooms import joined

if TYPE_CHECKING:
    from gradviz.keep.training import Training

FOLLOWED = 24
"""While a run goes on, so many steps are shown: each is examined as it comes."""


class RunWidget(anywidget.AnyWidget):
    """A recorded run, alive. Made by `gradviz.record.run.Run.widget`.

    A thread looks at the file. What a click asks for is answered by the kernel, so that in the
    notebook that trains a step opens when the cell is over.

    Attributes
    ----------
    training : Training
    """

    _esm = joined("recorded_widget")
    _css = run_stylesheet()

    run: Any = traitlets.Dict().tag(sync=True)
    graphs: Any = traitlets.Dict().tag(sync=True)
    structures: Any = traitlets.Dict().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    theme = traitlets.Unicode("auto").tag(sync=True)
    language = traitlets.Unicode("").tag(sync=True)
    kernel = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self, training: Training, every: float, theme: str = "auto", language: str = ""
    ) -> None:
        self.training, self._over = training, threading.Event()
        choose("theme", theme, style.PALETTES)
        if language:
            choose("language", language, words())
        if not every > 0:
            raise ValueError(f"every={every!r}: write a number of seconds above 0")
        self._telling, self._lock = Telling(training, FOLLOWED), threading.Lock()
        told, _ = self._telling.told()
        super().__init__(run=told, words=words(), theme=theme, language=language)
        self.on_msg(self._asked)
        threading.Thread(
            target=_follow, args=(weakref.ref(self), self._over, every), daemon=True
        ).start()

    def __repr__(self) -> str:
        return f"<gradviz widget of {self.training!r}: run this cell to see it>"

    def refresh(self) -> int:
        """Read on; how many steps are new."""
        with self._lock:
            known = len(self.training)
            new = self.training.more()
            if len(self.training) < known + new or (new and not known):
                self._telling.clear()
            if new:
                self.run, _ = self._telling.told()
        return new

    def close(self) -> None:
        """End it."""
        self._over.set()
        super().close()

    def _asked(self, _: Any, request: Mapping[str, Any], __: Any) -> None:
        match request:
            case {"kind": "open", "step": int(step), "pass": int(index) | (None as index)}:
                with self._lock:
                    steps, opened = self.training.steps.numbers, []
                    if step in steps:
                        place = steps.index(step)
                        wanted = (
                            self._telling.training.examined(place) if index is None else [index]
                        )
                        opened = self._telling.opened(place, wanted)
                    self.structures = dict(self._telling.structures)
                self.graphs = {str(step): opened}


def _follow(held: Any, over: threading.Event, every: float) -> None:
    """Look at the file until nobody has the widget any more."""
    while not over.wait(every):
        widget = held()
        if widget is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it is gone, or a write is under way
            widget.refresh()
        del widget
