"""One HTML file that shows a graph, alive, without a kernel and without any network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gradviz.files import writable
from gradviz.model import Recording
from gradviz.show import style
from gradviz.show.heat import Colour, wanted
from gradviz.words import choose

from .lesson import lesson_of, sheet, travelling
from .payload import IN_FULL, numbers, story
from .pictures import drawings, folds
from .rooms import joined

if TYPE_CHECKING:
    from gradviz.graph import Graph

_HERE = files("gradviz.web")
FIXED = "its colours are of these values"
_PAGE = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; img-src blob:; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
<body class="gradviz-page">
<main class="{layout}">{places}</main>
<noscript>This picture of a computational graph needs JavaScript; it asks no server for anything.
</noscript>
{data}
<script type="module">{script}</script>
</body>
</html>
"""


@cache
def stylesheet() -> str:
    """Its style sheet, with the palettes of `gradviz.show.style`."""
    rules = []
    for theme, palette in (("light", style.LIGHT), ("dark", style.DARK)):
        tokens = "".join(f"--{name}:{colour};" for name, colour in palette.items())
        rules.append(f'.gradviz-app[data-theme="{theme}"]{{{tokens}color-scheme:{theme}}}')
    light = "".join(f"--{name}:{colour};" for name, colour in style.LIGHT.items())
    rules.append(f"@media print{{.gradviz-app[data-theme]{{{light}color-scheme:light}}}}")
    for letter, paint in (("f", "fill"), ("s", "stroke")):
        rules += [f".gradviz-app .{letter}-{name}{{{paint}:var(--{name})}}" for name in style.LIGHT]
    return "\n".join([*rules, (_HERE / "page.css").read_text(encoding="utf-8")])


@cache
def words() -> dict[str, dict[str, Any]]:
    """What the page says, by language: every ``web/words.<language>.json``."""
    return {
        file.name.split(".")[1]: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(_HERE.iterdir(), key=lambda file: file.name)
        if file.name.startswith("words.")
    }


def to_html(
    graph: Graph,
    *,
    detail: str | None = None,
    direction: str = "LR",
    theme: str = "auto",
    language: str = "",
    targets: tuple[str, ...] | list[str] = (),
    selected: tuple[str, ...] | list[str] = (),
    engine: str = "auto",
    color: Colour = "auto",
    step: int | None = None,
    compact: bool = False,
    beside: Graph | Sequence[Graph] = (),
    columns: int = 1,
    lesson: Any = None,
    paper: bool = False,
) -> str:
    """A self-contained page.

    Parameters
    ----------
    graph : Graph
    detail : {"names", "operations"}, optional
        As in `Graph.draw`.
    direction : {"LR", "TB"}
    theme : {"auto", "light", "dark"}
        "auto" follows the reader's setting.
    language : str, optional
        "en" or "zh"; default: the reader's own.
    targets, selected : sequence of str, optional
        What is asked for when the page opens.
    engine : str
        As in `Graph.draw`.
    color : str, mapping or callable, optional
        As in `Graph.draw`. Colours are of the values that were recorded: such a page does not
        compute new ones.
    step : int, optional
        Where both passes stand when it opens, 0 is before the first; default: after both. With
        targets the backward pass is their ledger. The page's address says the same and may be
        shared: ``net.html#step=12&targets=w5,b2,w1``.
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
    choose("theme", theme, style.PALETTES)
    if language:
        choose("language", language, words())
    if lesson is False:
        lesson = None
    if paper:
        if lesson is None:
            raise ValueError("a sheet of paper is of a lesson: say lesson= too")
        return sheet(lesson_of(graph, lesson, detail), language, words())
    others = (beside,) if isinstance(beside, Recording) else tuple(beside)
    if others and lesson is not None:
        raise ValueError("a lesson is a page of its own")
    asked = dict(
        detail=detail, direction=direction, theme=theme, language=language, targets=targets,
        selected=selected, engine=engine, color=color, step=step, compact=compact, lesson=lesson,
    )  # fmt: skip
    return _document([_state(one, **asked) for one in (graph, *others)], columns)


def _document(states: list[dict[str, Any]], columns: int) -> str:
    """A page of one or more graphs, with one set of scripts."""
    for state in states[1:]:
        del state["words"]  # they are the first one's
    css = stylesheet()
    if columns > 1:
        css += f"\n.gradviz-page .several{{grid-template-columns:repeat({columns},minmax(0,1fr))}}"
    layout = "several" if len(states) > 1 else ""
    return document(states, joined("alone") + "openPage();\n", css, layout)


def document(states: list[dict[str, Any]], script: str, css: str, layout: str) -> str:
    """One file: some states, each with a place, and the script that shows them."""
    data = [f'<script type="application/json">{_inert(state)}</script>' for state in states]
    return _PAGE.format(
        language=states[0]["language"] or "en",
        title=escape(", ".join(dict.fromkeys(filter(None, (s["title"] for s in states))))),
        layout=layout,
        places='<div class="place"></div>' * len(states),
        style=css,
        style_hash=_hash(css),
        script=script,
        script_hash=_hash(script),
        data="\n".join(data),
    )


def _state(
    graph: Graph,
    *,
    detail: str | None,
    direction: str,
    engine: str,
    color: Colour,
    step: int | None,
    lesson: Any,
    **more: Any,
) -> dict[str, Any]:
    """What the page knows of one graph when it opens."""
    asked = None if lesson is None else lesson_of(graph, lesson, detail)
    if asked is not None:
        detail = asked.detail
        more["language"] = more["language"] or asked.language
    for name in (*more["targets"], *more["selected"]):
        graph.detailed(detail).id(name)
    kept = folds(graph, detail)
    pictures = drawings(graph, kept, direction, detail, engine, color)
    count = len(graph.detailed(detail))
    seen = {i for picture in pictures for i in range(count) if i not in picture["inside"]}
    told = story(graph, detail, None if count <= IN_FULL else seen)
    if told["program"] and wanted(color, False):
        told |= {"program": None, "refusal": FIXED}
    large: dict[str, Any] = {"story": told, "numbers": numbers(graph, detail)}
    first = {"drawing": pictures[0], "drawings": packed(pictures), "folded": list(kept[0])}
    title = (asked and asked.title) or told["title"] or "gradviz"
    state = {
        **more,
        "title": title,
        "words": words(),
        **({} if step is None else {"step": max(step, 0)}),
    }
    if asked is not None:  # no number stands there in clear
        return {**state, "packed": packed({**large, **first, "lesson": travelling(asked)})}
    return {**state, **first, **(large if count <= IN_FULL else {"packed": packed(large)})}


def _inert(state: Any) -> str:
    """JSON that cannot end the element it stands in, nor deceive who reads the source."""
    written = writable(
        json.dumps(state, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    )
    unsafe = r"[<\u200e\u200f\u2028-\u202e\u2066-\u2069]"
    return re.sub(unsafe, lambda character: f"\\u{ord(character[0]):04x}", written)


def packed(value: Any) -> str:
    """JSON, compressed: pictures of one graph are much alike."""
    raw = json.dumps(value, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(raw, 6, mtime=0)).decode()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
