"""One HTML file that shows a graph, alive, without a kernel and without any network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gradviz.files import writable
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
<main></main>
<noscript>This picture of a computational graph needs JavaScript; it asks no server for anything.
</noscript>
<script type="application/json">{data}</script>
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
    asked = None if lesson is None or lesson is False else lesson_of(graph, lesson, detail)
    if paper and asked is None:
        raise ValueError("a sheet of paper is of a lesson: say lesson= too")
    if asked is not None:
        language = language or asked.language
        detail = asked.detail
        if paper:
            return sheet(asked, language, words())
    for name in (*targets, *selected):
        graph.detailed(detail).id(name)
    kept = folds(graph, detail)
    first = kept[0]
    pictures = drawings(graph, kept, direction, detail, engine, color)
    count = len(graph.detailed(detail))
    seen = {i for picture in pictures for i in range(count) if i not in picture["inside"]}
    told = story(graph, detail, None if count <= IN_FULL else seen)
    if told["program"] and wanted(color, False):
        told |= {"program": None, "refusal": FIXED}
    large = {"story": told, "numbers": numbers(graph, detail)}
    state = {
        **(large if count <= IN_FULL else {"packed": _packed(large)}),
        "drawing": pictures[0],
        "drawings": _packed(pictures),
        "folded": list(first),
        "targets": list(targets),
        "selected": list(selected),
        "words": words(),
        "theme": theme,
        "language": language,
    }
    if asked is not None:
        questions = travelling(asked)
        state = {"packed": _packed({**state, **large, "lesson": questions})}
    script = joined("alone") + "openPage();\n"
    css = stylesheet()
    return _PAGE.format(
        language=language or "en",
        title=escape((asked and asked.title) or told["title"] or "gradviz"),
        style=css,
        style_hash=_hash(css),
        script=script,
        script_hash=_hash(script),
        data=_inert(state),
    )


def _inert(state: Any) -> str:
    """JSON that cannot end the element it stands in, nor deceive who reads the source."""
    written = writable(
        json.dumps(state, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    )
    unsafe = r"[<\u200e\u200f\u2028-\u202e\u2066-\u2069]"
    return re.sub(unsafe, lambda character: f"\\u{ord(character[0]):04x}", written)


def _packed(value: Any) -> str:
    """JSON, compressed: pictures of one graph are much alike."""
    raw = json.dumps(value, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(raw, 6, mtime=0)).decode()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
