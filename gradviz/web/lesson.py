"""A lesson as it travels to the page, and as a sheet of paper."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

from gradviz import words as said
from gradviz.chain.lesson import Lesson, Question
from gradviz.language import speaking
from gradviz.show.drawing import draw
from gradviz.show.svg import to_svg

from .wire import LessonTold, QuestionTold

if TYPE_CHECKING:
    from gradviz.graph import Graph

_SHEET = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 12pt/1.5 Georgia, "Noto Serif CJK SC", "Songti SC", serif; max-width: 180mm;
  margin: 12mm auto; padding: 0 4mm; color: #111; background: #fff; }}
h1 {{ font-size: 16pt; }}
svg {{ max-width: 100%; height: auto; max-height: 110mm; }}
li {{ margin: 3mm 0; break-inside: avoid; }}
.blank {{ display: block; height: 9mm; border-bottom: 1px solid #888; }}
.name {{ display: inline-block; width: 70mm; border-bottom: 1px solid #888; }}
.solutions {{ break-before: page; margin-top: 20mm; }}
.solutions li {{ margin: 1mm 0; }}
@media print {{ body {{ margin: 0 auto; }} .solutions {{ margin-top: 0; }} }}
</style>
<h1>{title}</h1>
<p>{name}: <span class="name"></span></p>
{picture}
<ol>{questions}</ol>
<section class="solutions"><h1>{title}: {solutions}</h1><ol>{answers}</ol></section>
</html>
"""


def lesson_of(graph: Graph, asked: Any, detail: str | None) -> Lesson:
    """The lesson that `Graph.save` was given: one that was made, True, or the names of targets."""
    if isinstance(asked, Lesson):
        if asked.whole is not graph:
            raise ValueError("this lesson is about another graph: lesson.save(...) knows its own")
        if not asked.questions:
            raise ValueError("this lesson asks nothing yet: lesson.value(...), lesson.about(...)")
        return asked
    targets = () if asked is True else (asked,) if isinstance(asked, str) else tuple(asked)
    return graph.lesson(detail=detail).about(*targets)


def travelling(lesson: Lesson) -> LessonTold:
    """What the page is told: what is asked, and not one answer; it computes them from its graph."""
    number = {(v, key): n for n, (_, v, key) in enumerate(lesson.graph.edges())}
    names = lesson.graph.names

    def told(question: Question) -> QuestionTold:
        return {
            "kind": question.kind,
            "node": question.node,
            "edge": -1 if question.edge is None else number[question.edge],
            "after": list(question.after),
            "targets": [names[i] for i in question.targets],
            "text": said.clean(question.text),
            "hint": said.clean(question.hint),
        }

    return {
        "title": said.clean(lesson.title),
        "tolerance": lesson.tolerance,
        "questions": [told(question) for question in lesson.questions],
    }


def sheet(lesson: Lesson, language: str, words: dict[str, Any]) -> str:
    """The lesson for paper: its questions with room for answers, and the solutions on a page of
    their own.
    """
    own = words[language]
    graph = lesson.graph
    title = lesson.title or graph.title or own["lesson"]
    asked = [_asked(lesson, question, own) for question in lesson.questions]
    answers = [_answer(lesson, question, own) for question in lesson.questions]
    return _SHEET.format(
        language=language,
        title=escape(said.clean(title)),
        name=own["student"],
        picture=_structure(graph, language),
        solutions=own["solutions"],
        questions="".join(f'<li>{escape(q)}<span class="blank"></span></li>' for q in asked),
        answers="".join(f"<li>{escape(a)}</li>" for a in answers),
    )


def _asked(lesson: Lesson, question: Question, own: dict[str, Any]) -> str:
    if question.text:
        return said.clean(question.text)
    graph = lesson.graph
    loss = graph.names[graph.output]
    u = graph.names[question.node]
    v = "" if question.edge is None else graph.names[question.edge[0]]
    places = {
        "u": u,
        "v": v or u,
        "J": loss,
        "s": f"∂{loss}/∂{u}",
        "d": f"∂{loss}/∂{v}",
        "l": f"∂{v}/∂{u}",
        "after": said.listed([f"∂{loss}/∂{graph.names[i]}" for i in question.after]),
    }
    text: str = own[f"ask {question.kind}"]
    return text.format_map(places)


def _answer(lesson: Lesson, question: Question, own: dict[str, Any]) -> str:
    right = lesson.answer(question)
    if isinstance(right, tuple):
        loss = lesson.graph.names[lesson.graph.output]
        return ", ".join(f"∂{loss}/∂{name}" for name in right) or str(own["nothing"])
    return said.number(right, 6)


def _structure(graph: Graph, language: str) -> str:
    """The picture with what is given, and no number that is asked for."""
    with speaking(language):
        view = draw(graph, theme="light").view
    boxes = [
        replace(
            box,
            tooltip="",
            rows=tuple(
                row
                if row.label == "value" and box.kind in ("input", "parameter", "constant")
                else replace(row, cells=("",) * len(row.cells))
                for row in box.rows
            ),
        )
        for box in view.boxes
    ]
    bare: dict[str, Any] = dict(tooltip="", number="", symbol="", formula=None, heat="", roles=())
    arrows = [replace(arrow, **bare) for arrow in view.arrows]
    blank = replace(view, boxes=tuple(boxes), arrows=tuple(arrows), description="", title="")
    return to_svg(blank, "light", "auto")
