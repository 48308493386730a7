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

from gradviz.chain.folding import LONG
from gradviz.files import writable
from gradviz.garbage import without_collection
from gradviz.language import asked, in_every_language, say, speaking, translated
from gradviz.model import Recording
from gradviz.options import Colour
from gradviz.show import style
from gradviz.show.heat import wanted
from gradviz.words import choose, names_of

from .insides import alive
from .lesson import lesson_of, sheet, travelling
from .payload import IN_FULL, numbers, structure
from .pictures import Pictures, sealed, visible
from .rooms import joined

if TYPE_CHECKING:
    from gradviz.chain.lesson import Lesson
    from gradviz.graph import Graph

    from .wire import Drawing

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


_PICTURED = (
    "‖value‖", "‖gradient‖", "‖gradient‖ in", "‖gradient‖ out", "‖gradient‖ {d}",
    "{what}, logarithmic", "{what}, linear", "0 exactly", "0 exactly; a message of 0",
    "0 by underflow", "not finite", "{n} not finite", "non-finite", "not computed",
    "no path to {J}",
    "several operations in one box", "several values in one box", "the same parameters again",
    "‖·‖: Euclidean norm; on each edge the shape of what passes", "‖·‖: Euclidean norm",
    "{n} parameters", "parameters", "of {name}", "paths to {J}", "changed by a hook", "keeps",
)  # fmt: skip
"""What is said in pictures that are drawn in English, beside what ``words.XX.json`` has."""


@cache
def words() -> dict[str, dict[str, Any]]:
    """What the page says, by language: every ``web/words.<language>.json``."""
    found = {}
    for file in sorted(_HERE.iterdir(), key=lambda file: file.name):
        if not file.name.startswith("words."):
            continue
        language = file.name.split(".")[1]
        found[language] = json.loads(file.read_text(encoding="utf-8"))
        with speaking(language):
            own = {sentence: translated(sentence) for sentence in _PICTURED}
        told = {sentence: said for sentence, said in own.items() if said != sentence}
        found[language]["picture"] |= told
    return found


def to_html(
    graph: Graph,
    *,
    detail: str | None = None,
    direction: str | None = None,
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
    detail, direction, theme, language, targets, selected, engine, color, step, compact, beside
        See `gradviz.options.Page`.
    columns, lesson, paper
        See there.
    """
    choose("theme", theme, style.PALETTES)
    posed = None if lesson in (None, False) else lesson_of(graph, lesson, detail)
    language = asked(language or (posed.language if posed else ""))
    if paper:
        if posed is None:
            raise ValueError("a sheet of paper is of a lesson: say lesson= too")
        return sheet(posed, language or "en", words())
    others = (beside,) if isinstance(beside, Recording) else tuple(beside)
    if others and posed is not None:
        raise ValueError("a lesson is a page of its own")
    wishes: dict[str, Any] = dict(
        detail=detail, direction=direction, theme=theme, language=language, step=step,
        targets=names_of(targets, "targets"), selected=names_of(selected, "selected"),
        engine=engine, color=color, compact=compact, posed=posed,
    )  # fmt: skip
    with without_collection():
        return _document([_state(one, **wishes) for one in (graph, *others)], columns)


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


@speaking("en")  # the module says it in the reader's language
def _state(
    graph: Graph,
    *,
    detail: str | None,
    direction: str | None,
    engine: str,
    color: Colour,
    step: int | None,
    posed: Lesson | None,
    **more: Any,
) -> dict[str, Any]:
    """What the page knows of one graph when it opens."""
    if posed is not None:
        detail = posed.detail
    for name in (*more["targets"], *more["selected"]):
        graph.detailed(detail).id(name)
    pictures = Pictures(graph, detail, closed=posed is not None)
    first = alive(pictures, direction, color, engine)
    drawn = sealed([first, alive(pictures, across(first), color, engine, LONG)])
    count = len(graph.detailed(detail))
    seen = {i for picture in drawn for i in visible(picture, count)}
    shown = None if count <= IN_FULL else seen
    told = structure(graph, detail, shown, pictures)
    if told["program"] and wanted(color, False):
        told |= {"program": None, "refusal": in_every_language(lambda: say(FIXED))}
    large: dict[str, Any] = {"structure": told, "numbers": numbers(graph, detail, shown)}
    shown_first = {name: part for name, part in drawn[0].items() if name != "insides"}
    pictured = {"drawing": shown_first, "drawings": packed(drawn), "folded": drawn[0]["folded"]}
    title = (posed and posed.title) or told["title"] or "gradviz"
    state = {
        **more,
        "title": title,
        "direction": direction or "",
        "words": words(),
        **({} if step is None else {"step": max(step, 0)}),
    }
    if posed is not None:  # no number stands there in clear
        return {**state, "packed": packed({**large, **pictured, "lesson": travelling(posed)})}
    return {**state, **pictured, **(large if count <= IN_FULL else {"packed": packed(large)})}


def across(drawing: Drawing) -> str:
    """The other direction."""
    return "LR" if drawing["direction"] == "TB" else "TB"


def _inert(state: Any) -> str:
    """JSON that cannot end the element it stands in, nor deceive who reads the source."""
    written = writable(
        json.dumps(state, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    )
    unsafe = r"[<\u200e\u200f\u2028-\u202e\u2066-\u2069]"
    return re.sub(unsafe, lambda character: f"\\u{ord(character[0]):04x}", written)


def packed(value: Any) -> str:
    """JSON, compressed: pictures of one graph are much alike."""
    raw = json.dumps(value, separators=(",", ":"), check_circular=False).encode()
    level = 4 if len(raw) < 2**22 else 1  # of a large graph the numbers, which hardly get smaller
    return base64.b64encode(gzip.compress(raw, level, mtime=0)).decode()


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
