"""The page of one step that went wrong: no script, no network, one file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from gradviz.files import writable
from gradviz.language import say, spoken
from gradviz.show import style
from gradviz.statistics import measure
from gradviz.words import clean, number

if TYPE_CHECKING:
    from gradviz.chain.health import Health
    from gradviz.graph import Graph

ROWS = 60
"""So many tensors are listed."""
HEADS = (
    "tensor", "operation", "shape", "least", "mean", "greatest", "norm", "zeros", "not finite",
    "‖gradient‖",
)  # fmt: skip
WIDTH, HEIGHT, LEFT = 640, 120, 80
_PAGE = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src \
'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
<main>
{body}
</main>
</html>
"""
_CSS = """
body { margin: 0; color: INK; background: GROUND; font: 15px/1.5 system-ui, Arial, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 20px 24px 60px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 28px 0 6px; }
pre { white-space: pre-wrap; background: PILL; border-radius: 6px; padding: 10px 12px; }
.picture { overflow: auto; border: 1px solid LINE; border-radius: 6px; max-height: 80vh; }
.picture svg { display: block; max-width: none; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
td, th { padding: 2px 10px 2px 0; text-align: right; white-space: nowrap; }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
tr.sick td { color: SICK; font-weight: 600; }
.soft { color: SOFT; }
"""


def incident_page(
    title: str,
    happened: Sequence[str],
    health: Health | None,
    graph: Graph | None,
    curves: Mapping[str, Sequence[float | None]],
    first: int,
) -> str:
    """A page that tells what happened in a step, and shows it.

    Parameters
    ----------
    title : str
    happened : sequence of str
        Sentences.
    health : Health or None
    graph : Graph or None
        The step; its worst finding is drawn.
    curves : mapping of str to sequence of float or None
        The last losses, norms ...
    first : int
        The step of the first of them.
    """
    parts = [f"<h1>{escape(clean(title))}</h1>"]
    parts += [f"<p>{escape(clean(line))}</p>" for line in happened]
    if health is not None and graph is not None:
        finding = health.findings[0] if health.findings else None
        if finding is not None:
            told = escape(writable(health.text))
            parts.append(f"<h2>{say('The finding')}</h2><pre>{told}</pre>")
        drawn = (finding or graph).draw(theme="light")
        where = say("The step, with the path of the first finding" if finding else "The step")
        svg = drawn.svg[drawn.svg.index("<svg") :]
        parts.append(f'<h2>{where}</h2><div class="picture">{svg}</div>')
    for name, values in curves.items():
        if any(value is not None for value in values):
            parts.append(f"<h2>{escape(name)}</h2>{curve(name, values, first)}")
    if graph is not None:
        path = health.findings[0].path if health is not None and health.findings else ()
        parts.append(f"<h2>{say('The tensors')}</h2>{_table(graph, path)}")
    colours = style.LIGHT
    css = _CSS
    for word, name in (("INK", "ink"), ("GROUND", "ground"), ("PILL", "pill"), ("LINE", "line"),
                       ("SICK", "gradient"), ("SOFT", "soft")):  # fmt: skip
        css = css.replace(word, colours[name])
    body = "\n".join(parts)
    return _PAGE.format(title=escape(clean(title)), css=css, body=body, language=spoken())


def curve(name: str, values: Sequence[float | None], first: int) -> str:
    """Numbers by steps as an SVG, on a logarithmic scale where they are positive and far apart."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    logarithmic = low > 0 and high / low > 100

    def height(value: float) -> float:
        a, b, v = (math.log(x) if logarithmic else x for x in (low, high, value))
        return 10 + HEIGHT * (1 - (v - a) / ((b - a) or 1.0))

    colours, out, pen, path = style.LIGHT, [], "M", []
    for i, value in enumerate(values):
        x = LEFT + WIDTH * i / max(len(values) - 1, 1)
        if value is None or not math.isfinite(value):
            pen = "M"
            if value is not None:
                out.append(
                    f'<text x="{x:.1f}" y="{HEIGHT + 8}" fill="{colours["gradient"]}" '
                    f'text-anchor="middle">✗<title>{_at(first + i, str(value))}</title></text>'
                )
            continue
        path.append(f"{pen}{x:.1f} {height(value):.1f}")
        pen = "L"
        if len(known) == 1 or i == len(values) - 1:
            out.append(
                f'<circle cx="{x:.1f}" cy="{height(value):.1f}" r="3" fill="{colours["value"]}">'
                f"<title>{_at(first + i, number(value, 6))}</title></circle>"
            )
    about = say(
        "{name}, logarithmic, steps {a} to {b}" if logarithmic else "{name}, steps {a} to {b}",
        name=name, a=first, b=first + len(values) - 1,
    )  # fmt: skip
    soft = f'fill="{colours["soft"]}" font-size="11"'
    middle = f'<text x="{LEFT - 8}" y="{HEIGHT / 2 + 13}" text-anchor="end"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" '
        f'height="{HEIGHT + 34}" role="img" aria-label="{escape(about)}">'
        f'<path d="{"".join(path)}" fill="none" stroke="{colours["value"]}" stroke-width="2"/>'
        + "".join(out)
        + f'<text x="{LEFT - 8}" y="16" text-anchor="end" {soft}>{number(high, 4)}</text>'
        f'<text x="{LEFT - 8}" y="{HEIGHT + 10}" text-anchor="end" {soft}>{number(low, 4)}</text>'
        + (f"{middle} {soft}>{say('logarithmic')}</text>" if logarithmic else "")
        + f'<text x="{LEFT}" y="{HEIGHT + 28}" {soft}>{say("step {n}", n=first)}</text>'
        f'<text x="{LEFT + WIDTH}" y="{HEIGHT + 28}" text-anchor="end" {soft}>'
        f"{first + len(values) - 1}</text></svg>"
    )


def _at(step: int, value: str) -> str:
    return say("step {step}: {said}", step=step, said=value)


def _table(graph: Graph, path: Sequence[int]) -> str:
    """Tensors in numbers: those on the path first, then what is not finite, then parameters."""
    gradients = graph.derivatives.gradients if graph.error is None else {}
    broken = [
        i
        for i, node in enumerate(graph.values)
        if measure(node.value).nonfinite or (i in gradients and measure(gradients[i]).nonfinite)
    ]
    order = list(dict.fromkeys((*path, *broken, *sorted(graph.wrt))))
    rows = ["<tr>" + "".join(f"<th>{say(cell)}</th>" for cell in HEADS) + "</tr>"]
    for i in order[:ROWS]:
        node, told = graph.values[i], measure(graph.values[i].value)
        gradient = number(measure(gradients[i]).norm, 4) if i in gradients else "–"
        cells = [
            clean(graph.names[i]), clean(node.operation.name),
            "×".join(map(str, told.shape)) or "1",
            *(number(x, 4) for x in (told.low, told.mean, told.high, told.norm)),
            f"{told.zeros:.3%}", f"{told.nonfinite:.3%}", gradient,
        ]  # fmt: skip
        sick = ' class="sick"' if i in path or told.nonfinite else ""
        rows.append(f"<tr{sick}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    more = len(order) - ROWS
    others = say("and {n} more, in the Graph beside this page", n=more)
    note = f'<p class="soft">{others}</p>' if more > 0 else ""
    return f"<table>{''.join(rows)}</table>{note}"
