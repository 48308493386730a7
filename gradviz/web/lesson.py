"""A lesson as it travels to the page, and as a sheet of paper."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from string import Formatter
from typing import TYPE_CHECKING, Any

from gradviz import words as said
from gradviz.chain.lesson import Lesson, Question
from gradviz.language import speaking
from gradviz.ops.mathml import mathml, symbol
from gradviz.ops.notation import derivative, number
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
    targets = () if asked is True else said.names_of(asked, "lesson")
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
        picture=_structure(lesson, language),
        solutions=own["solutions"],
        questions="".join(f'<li>{q}<span class="blank"></span></li>' for q in asked),
        answers="".join(f"<li>{a}</li>" for a in answers),
    )


def _asked(lesson: Lesson, question: Question, own: dict[str, Any]) -> str:
    """What is asked, as HTML with its mathematics."""
    if question.text:
        return escape(said.clean(question.text))
    graph = lesson.graph
    u, edge = question.node, question.edge
    v = u if edge is None else edge[0]
    places = {
        "u": _math(graph.names[u]),
        "v": _math(graph.names[v]),
        "J": _math(graph.names[graph.output]),
        "s": _gradient(graph, u),
        "d": _gradient(graph, v),
        "l": "" if edge is None else _math(graph.slope(*edge).id),
        "after": ", ".join(_gradient(graph, i) for i in question.after),
    }
    parts = Formatter().parse(own[f"ask {question.kind}"])
    return "".join(escape(text) + (places[place] if place else "") for text, place, _, _ in parts)


def _answer(lesson: Lesson, question: Question, own: dict[str, Any]) -> str:
    right, graph = lesson.answer(question), lesson.graph
    if not isinstance(right, tuple):
        return f"<math>{_markup(mathml(number(right)))}</math>"
    return ", ".join(_gradient(graph, graph.id(name)) for name in right) or escape(own["nothing"])


def _gradient(graph: Graph, i: int) -> str:
    return _math(derivative(graph.names[graph.output], graph.names[i]).id)


def _math(name: str) -> str:
    return f"<math>{_markup(symbol(name))}</math>"


def _markup(math: Any) -> str:
    """MathML as text."""
    tag, *parts = math
    inside = (escape(said.clean(p)) if isinstance(p, str) else _markup(p) for p in parts)
    return f"<{tag}>{''.join(inside)}</{tag}>"


def _structure(lesson: Lesson, language: str) -> str:
    """The picture with what is given, and no number that is asked for or tells one."""
    graph = lesson.graph
    hidden = {question.node for question in lesson.questions if question.kind == "value"}
    for v, operands in enumerate(graph.operands):
        if not hidden.isdisjoint(operands):
            hidden.add(v)
    given = {f"n{i}" for i in range(len(graph)) if i not in hidden}
    with speaking(language):
        view = draw(graph, theme="light").view
    boxes = [
        replace(
            box,
            tooltip="",
            rows=tuple(
                row
                if row.kind == "value" and box.id in given
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
