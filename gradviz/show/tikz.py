r"""A View as a standalone TikZ document whose labels are mathematics to be edited by hand.

The source is plain ASCII: a character that LaTeX has no command for is written ``\uni{6B0A}``,
which LuaLaTeX and XeLaTeX set as the character and pdfLaTeX as its code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gradviz.highlight import PATHS
from gradviz.language import spoken
from gradviz.ops import layout, tex
from gradviz.ops.layout import Seen
from gradviz.ops.symbols import GREEK
from gradviz.words import clean

from . import card as cards
from . import dot, mathtext, style
from .arrange import arrange
from .layout import Layout, Point
from .view import HEATS, SIZES, Arrow, Box, Row, Scale, View

_PREAMBLE = r"""\documentclass[border=6pt]{standalone}
\usepackage{textcomp,amsmath,amssymb,iftex,adjustbox,tikz}
\usetikzlibrary{arrows.meta,shadows}
%(colours)s
%(chinese)s\newcommand{\uni}[1]{\text{\ifPDFTeX\tiny U+#1\else\Uchar"#1 \fi}}
%% Text widths were measured in other fonts; what turns out wider here is scaled down.
\newcommand{\fit}[2]{\begin{adjustbox}{max width=#1}#2\end{adjustbox}}
%% A card: width, name, tag, expression, rows of "label & number".
\newcommand{\card}[5]{\begin{tabular*}{#1}{@{}l@{\extracolsep{\fill}}r@{}}
  \multicolumn{2}{@{}l@{}}{\makebox[#1]{#2\hfill\rowlabel{#3}}}\\[1pt]
  \multicolumn{2}{@{}l@{}}{\fit{#1}{\small\color{soft}#4}}\\[2pt] #5
\end{tabular*}}
%% The entries of a small array: columns, lines.
\newcommand{\entries}[2]{$\left[\begin{tabular}{@{}#1@{}}#2\end{tabular}\right]$}
\newcommand{\rowlabel}[1]{{\scriptsize\sffamily\color{soft}#1}}
\tikzset{
  card/.style={draw=line, line width=0.6pt, rounded corners=4pt, inner sep=0pt, fill=operation},
  input/.style={fill=input, rounded corners=9pt}, parameter/.style={fill=parameter, sharp corners,
    append after command={\pgfextra{\draw[line, line width=2pt]
      (\tikzlastnode.north west) -- (\tikzlastnode.south west);}}},
  constant/.style={fill=constant, dashed}, operation/.style={}, output/.style={fill=output, double},
  gradient/.style={fill=gradient-card}, layer/.style={},
  fold/.style={fill=fold-card, double copy shadow},
  pill/.style={draw=pill-line, fill=white, rounded corners=7pt, inner xsep=4pt, inner ysep=2.5pt,
    font=\small},
  arrow/.style={draw=edge, line width=0.5pt, -{Latex[length=5pt]}},
  chip/.style={fill=soft, text=white, rounded corners=5pt, inner xsep=4pt, inner ysep=1.5pt,
    font=\scriptsize\sffamily\bfseries, anchor=west},
  group/.style={draw=group-line, fill=group, rounded corners=7pt},
  target/.style={draw=target, fill=target-card, line width=1.6pt},
  computed/.style={draw=computed, fill=computed-card, line width=1.2pt},
  cached/.style={draw=cached, fill=cached-card, line width=1.2pt},
  sick/.style={draw=sick, fill=sick-card, line width=1.2pt},
  value/.style={draw=value, line width=1.2pt}, unneeded/.style={opacity=0.35, dashed},
%(roles)s}
\begin{document}
\begin{tikzpicture}[x=1pt, y=-1pt]
"""
_CHINESE = r"""% Chinese letters need XeLaTeX or LuaLaTeX, and the package ctex.
\ifPDFTeX\else\IfFileExists{ctex.sty}{\usepackage[scheme=plain]{ctex}}{}\fi
"""
_ARROW_ROLES = ("computed", "read", "sick", *(f"path{i + 1}" for i in range(PATHS)))
_BOX_ROLES = ("target", "computed", "cached", "value", "unneeded", "sick")
_TEXT = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\^{}", "~": r"\~{}", "<": "$<$", ">": "$>$", '"': "''",
    "|": "$|$", "`": r"\textasciigrave{}", "−": "$-$", "·": r"$\cdot$", "×": r"$\times$",
    "∂": r"$\partial$", "√": r"$\surd$", "…": r"$\ldots$", "≥": r"$\ge$", "≤": r"$\le$",
    "≠": r"$\ne$", "→": r"$\to$", "✓": r"$\checkmark$", "²": "$^2$", "‖": r"$\Vert$",
    "ε": r"$\varepsilon$", "ο": "o",
    **{letter: f"$\\{name}$" for name, letter in GREEK.items() if name != "epsilon"},
}  # fmt: skip


def to_tikz(view: View, engine_name: str = "auto") -> str:
    """LaTeX source of a View, in the light theme."""
    place = arrange(view, engine_name)
    colours = "\n".join(
        f"\\definecolor{{{name}}}{{HTML}}{{{code[1:].upper()}}}"
        for name, code in style.LIGHT.items()
    )
    roles = "".join(
        f"  on {role}/.style={{draw={role}, line width=1.2pt{_dash(role)}}},\n"
        for role in _ARROW_ROLES
    )
    roles += "".join(
        f"  on heat{n}/.style={{draw=heat{n}, line width={_width(f'heat{n}')}}},\n"
        for n in range(HEATS)
    )
    roles += f"  on zero/.style={{draw=edge, line width={_width('zero')}, dotted}},\n"
    chinese = _CHINESE if spoken() == "zh" else ""
    out = [_PREAMBLE % {"colours": colours, "roles": roles, "chinese": chinese}]
    if view.title:
        title = _prose(view.title)
        out.append(f"\\node[anchor=west, font=\\Large\\bfseries] at (0, -26) {{{title}}};")
    top = 0.0
    for panel in view.panels():
        if panel.caption:
            out.append(_heading((0, top - 8), "normalsize", _text(panel.caption)))
            top += 12
        out += [f"\\begin{{scope}}[yshift={-top:.1f}pt]", *_panel(panel, place), "\\end{scope}"]
        top += place.height + 26
    if view.scale:
        out.append(_scale(view.scale, top))
    return "\n".join([*out, "\\end{tikzpicture}", "\\end{document}", ""])


def _width(heat: str) -> str:
    return f"{style.heat_width(heat) / 2:.2f}pt"


def _scale(scale: Scale, top: float) -> str:
    """The scale of colours, and what it means."""
    about = "; ".join(filter(None, (scale.meaning, scale.note)))
    steps = "".join(rf"\textcolor{{heat{n}}}{{\rule{{14pt}}{{7pt}}}}" for n in range(HEATS))
    ends = rf"{_text(scale.least)}~{steps}~{_text(scale.most)}\quad " if scale.most else ""
    return rf"\node[anchor=west, font=\small] at {_at((0, top))} {{{ends}{_text(about)}}};"


def _heading(at: Point, size: str, text: str) -> str:
    return f"\\node[anchor=west, font=\\{size}\\bfseries, text=soft] at {_at(at)} {{{text}}};"


def _panel(view: View, place: Layout) -> list[str]:
    out = []
    for scope in view.groups():
        for left, top, right, bottom in place.groups[scope]:
            out.append(f"\\draw[group] {_at((left, top))} rectangle {_at((right, bottom))};")
            said = (_text if view.dense else _prose)(scope[-1])
            out.append(_heading((left + 8, top + 13), "small", said))
    for arrow in view.arrows:
        out.append(_arrow(arrow, place))
    for box in view.boxes:
        out += _box(box, place)
    for arrow in view.arrows:
        pill = cards.pill_card(arrow)
        if pill:
            faded = ", text=soft!50" if "unneeded" in arrow.roles else ""
            label = (" " if pill.height < 20 else r"\\ ").join(_pill(arrow, pill))
            label = f"\\fit{{{pill.width - 8:.0f}pt}}{{{label}}}" if pill.height < 20 else label
            out.append(f"\\node[pill, align=center{faded}] at {_at(place.centres[arrow.id])} "
                       f"{{{label}}};")  # fmt: skip
    return out


def _arrow(arrow: Arrow, place: Layout) -> str:
    route = place.route(arrow)
    splines = [list(spline) for spline in route.splines]
    backwards = dot.tip_first(arrow)
    end = splines[0][0] if backwards else splines[-1][-1]
    path = ""
    for spline in splines:
        path += (" -- " if path else "") + _at(spline[0])
        for i in range(1, len(spline), 3):
            a, b, c = map(_at, spline[i : i + 3])
            path += f" .. controls {a} and {b} .. {c}"
    tip = _at(route.tip)
    if end != route.tip:
        path = f"{tip} -- {path}" if backwards else f"{path} -- {tip}"
    options = ["{Latex[length=5pt]}-"] if backwards else []
    if "unneeded" in arrow.roles:
        options.append("opacity=0.35")
    if arrow.hidden or arrow.stopped:
        options.append("dashed")
    on = [f"on {token}" for token in map(style.token, arrow.roles) if token in _ARROW_ROLES]
    if not on and arrow.heat:
        on = [f"on {arrow.heat}"]
    return "\n".join(  # of several paths one is drawn over the other, dashed
        f"\\draw[{', '.join(('arrow', *filter(None, [role]), *options))}] {path};"
        for role in on or [""]
    )


def _dash(role: str) -> str:
    lengths = style.dash(role).split()
    words = " ".join(f"{'off' if i % 2 else 'on'} {n}pt" for i, n in enumerate(lengths))
    return f", dash pattern={words}" if words else ""


def _box(box: Box, place: Layout) -> list[str]:
    width, height = place.sizes[box.id]
    x, y = place.centres[box.id]
    card = cards.box_card(box, (width, height))
    role = box.role if box.role in _BOX_ROLES else ""
    options = ", ".join(filter(None, ("card", box.kind, role)))
    rows = r"\\ ".join(_row(row) for row in box.rows)
    said = _formula(box.expression, box.formula, cards.SMALL, cards.LINE_LIMIT)
    expression = f"$={said}$" if said else ""
    if box.kind in ("gradient", "fold", "layer"):
        expression = _text(box.expression)
    inner = width - 2 * cards.PAD
    room = inner - (mathtext.line_width(mathtext.plain(box.tag), cards.TINY) + 10) * bool(box.tag)
    name = _name(box)
    heading = f"\\fit{{{room:.0f}pt}}{{\\fontsize{{16}}{{18}}\\selectfont{{}}{name}}}"
    label = f"\\card{{{inner:.0f}pt}}{{{heading}}}{{{_text(box.tag)}}}{{{expression}}}{{{rows}}}"
    out = [
        f"\\node[{options}, minimum width={width:g}pt, minimum height={height - card.top:g}pt] "
        f"({box.id}) at {_at((x, y + card.top / 2))} {{{label}}};"
    ]
    if box.heat:
        left, upper = _at((x - width / 2, y - height / 2 + card.top)), f"+({width:g}, 4)"
        empty = box.heat in style.BROKEN
        bar = f"draw[edge, {style.DOTTED[box.heat]}]" if empty else f"fill[{box.heat}]"
        out.append(rf"\{bar} {left} rectangle +{upper};")
    if card.chip:
        colour = f", fill={role}" if role not in ("", "unneeded") else ""
        at = _at((x - width / 2 + 6, y - height / 2 + card.top))
        out.append(f"\\node[chip{colour}] at {at} {{{_text(mathtext.to_text(card.chip.runs))}}};")
    return out


def _row(row: Row) -> str:
    plain = row.state in ("", "number")
    if row.kind == SIZES:
        pair = zip(("value", "gradient"), row.cells, strict=True)
        said = r"\quad ".join(rf"{{\color{{{c}}}{_number(cell)}}}" for c, cell in pair)
        return f"\\rowlabel{{{_text(row.label)}}} & {said}"
    cells = [_number(cell) if plain else f"\\textit{{{_text(cell)}}}" for cell in row.cells]
    mark = {True: r"~$\checkmark$", False: r"~$\boldsymbol\times$", None: ""}[row.mark]
    numbers = r"\quad ".join(cells)
    if row.across:
        lines = (cells[n : n + row.across] for n in range(0, len(cells), row.across))
        entries = r" \\ ".join(" & ".join(line) for line in lines)
        numbers = rf"\entries{{{'r' * row.across}}}{{{entries}}}"
    return f"\\rowlabel{{{_text(row.label)}}} & \\color{{{row.kind}}}{numbers}{mark}"


def _at(point: Point) -> str:
    return f"({point[0]:.1f}, {point[1]:.1f})"


def _name(box: Box) -> str:
    """A value's name as mathematics, a fold's as text; what is too long is text, cut."""
    runs = cards.name_runs(box)
    shown = mathtext.elide(runs, cards.NAME, cards.LINE_LIMIT)
    if box.kind in ("fold", "layer") or shown != runs or not (box.title or box.name).strip():
        return _text(mathtext.to_text(shown))
    return f"${_ascii(tex.symbol(clean(box.title or box.name)))}$"


def _formula(text: str, seen: Seen | None, size: float, limit: float) -> str:
    """The inside of ``$...$`` for a formula, or for words where there is none."""

    def fits(part: Seen) -> bool:
        return mathtext.line_width(mathtext.formula(part), size) <= limit

    if not text or seen is None:
        runs = mathtext.elide(mathtext.expression(text), size, limit)
        return rf"\text{{{_text(mathtext.to_text(runs))}}}" if runs else ""
    return _ascii(tex.written(layout.shortened(seen, fits), r" \cdot ", pictured=True))


def _pill(arrow: Arrow, pill: cards.Card) -> Iterator[str]:
    """What a label says: the symbol, the number, or both."""
    both = len(pill.texts) == 2
    if both or not arrow.number:
        symbol = _formula(arrow.symbol, arrow.formula, cards.SMALL, cards.PILL_LIMIT)
        yield f"${symbol}$"
    if arrow.number:
        yield _number("=" * both + arrow.number)


def _number(text: str) -> str:
    """Numbers, and the words between them, in math mode."""
    out = ""
    for run in mathtext.number(clean(text)):
        said = "".join(map(_amount, re.findall(r"[^\W\d_]+|.", run.text)))
        out += r"\ " * bool(run.space) + (f"^{{{said}}}" if run.rise > 0 else said)
    return f"${out}$"


def _amount(piece: str) -> str:
    if piece.isalpha():
        return rf"\mathrm{{{piece}}}" if piece.isascii() else rf"\text{{{_text(piece)}}}"
    known = {"−": "-", "×": r"\times ", "…": r"\ldots ", " ": r"\ "}
    return known.get(piece) or (piece if piece in "0123456789.,=+" else rf"\text{{{_text(piece)}}}")


def _prose(text: str) -> str:
    """A sentence with mathematics in it."""
    as_tex = {
        "text": _text_with_blanks,
        "symbol": lambda piece: f"${_ascii(tex.symbol(piece))}$",
        "number": _number,
    }
    return "".join(as_tex[kind](piece) for kind, piece in mathtext.pieces(text))


def _text_with_blanks(text: str) -> str:
    return " " * text.startswith(" ") + _text(text) if text.strip() else text


def _ascii(latex: str) -> str:
    return "".join(c if c.isascii() else f"\\uni{{{ord(c):04X}}}" for c in latex)


def _text(text: str) -> str:
    """Text as LaTeX text."""
    return _ascii("".join(_TEXT.get(c, c) for c in clean(text)))
