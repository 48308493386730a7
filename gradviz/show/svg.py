"""A View as SVG: Graphviz decides where everything goes, and this module how it looks.

Every text states its own length, so it keeps to its box whatever font the viewer puts in; colours
stand on the elements themselves, so the picture survives programs that ignore style sheets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape

from gradviz.language import say
from gradviz.words import clean

from . import card as cards
from . import dot, mathtext, style
from .arrange import arrange
from .layout import Layout, Rectangle, Route
from .measure import FAMILIES
from .outside import BETWEEN, CAPTION, MARGIN, SAMPLE, TITLE, extent, legend, title
from .view import HEATS, PORTS, Arrow, Box, Scale, View

SAID = 9  # letters after a name that say something of its class
_FLUID = ' style="max-width:100%;height:auto"'


def to_svg(
    view: View, theme: str = "light", engine_name: str = "auto", *, live: bool = False
) -> str:
    """SVG of a View.

    Parameters
    ----------
    view : View
    theme : str
        "light", "dark", or "auto", which follows the reader's own setting.
    engine_name : str
        See `gradviz.show.engine.find`.
    live : bool
        For the page, in which it can be zoomed and moved, so that it stays whole; which gives it
        its size and its ground, and says its words in the reader's own language.
    """
    return paint(view, theme, placed(view, engine_name, live=live), live=live)


def placed(view: View, engine_name: str = "auto", *, live: bool = False) -> Layout:
    """Where the parts of a View are, for `paint`."""
    return arrange(view, engine_name, whole=live and not view.dense)


def paint(view: View, theme: str, place: Layout, *, live: bool = False) -> str:
    """SVG of a View whose parts have their places."""
    return _Painter(view, theme, place, live).svg()


class _Painter:
    """Collects the elements of one picture."""

    def __init__(self, view: View, theme: str, place: Layout, live: bool) -> None:
        self.view, self.theme, self.place, self.live = view, theme, place, live
        self.colours = style.PALETTES[theme]
        self.out: list[str] = []
        self.used: dict[str, None] = {}
        self.ports = {box.id for box in view.boxes if box.kind in PORTS}

    # The frame

    def svg(self) -> str:
        view, place = self.view, self.place
        heading = title(view)
        top = MARGIN + (TITLE if heading else 0)
        width, height = extent(view, place.width, place.height)
        left = (width - place.width) / 2
        if heading:
            self._text(heading, MARGIN, MARGIN + 15)
        for panel in view.panels():
            if panel.caption:
                self._text(cards.line(panel.caption, 12.0, "soft", "bold"), MARGIN, top + 14)
                top += CAPTION
            self._panel(panel, left, top)
            top += place.height + (BETWEEN if panel is not view.panels()[-1] else 0)
        self._legend(MARGIN, top)
        paint = self._paint(fill="ground")
        size = f'width="{_n(width)}" height="{_n(height)}"'
        about = " ".join(filter(None, (view.title, view.description)))
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {_n(width)} {_n(height)}"'
            f' class="gradviz gradviz-{self.theme}" role="img" font-family="{FAMILIES["sans"]}"'
            f"{'' if self.live else _FLUID} aria-label={_attribute(about)}>",
            f"<title>{_lines(view.title or say('Computational graph'))}</title>",
            f"<desc>{_lines(view.description)}</desc>",
            *self._style(),
            *([] if self.live else [f"<rect {size} {paint}/>"]),
            *self.out,
            "</svg>",
            "",
        ])  # fmt: skip

    def _panel(self, view: View, left: float, top: float) -> None:
        way = "backward" if any(arrow.backward for arrow in view.arrows) else "forward"
        self.out.append(f'<g class="panel {way}" transform="translate({_n(left)} {_n(top)})">')
        groups = {scope: self.place.groups[scope] for scope in view.groups()}
        for scope, frames in groups.items():
            for frame in frames:
                self._group(scope, *frame)
        for arrow in view.arrows:
            self._arrow(arrow)
        for scope, frames in groups.items():
            for n, frame in enumerate(frames):
                self._group_title(scope, frame, again=n > 0)
        for arrow in view.arrows:
            self._pill(arrow)
        for box in view.boxes:
            if box.kind not in PORTS:
                self._card(box)
        self.out.append("</g>")

    def _style(self) -> Iterator[str]:
        """For the theme "auto": what the dark palette changes, where the reader prefers it."""
        if self.theme != "auto":
            return
        rules = "".join(
            f".gradviz-auto .{name}{{{'fill' if name[0] == 'f' else 'stroke'}:"
            f"{style.DARK[name[2:]]}}}"
            for name in self.used
        )
        yield f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"

    def _paint(self, fill: str = "", stroke: str = "", extra_class: str = "") -> str:
        """Paint attributes, and the classes by which the theme "auto" repaints them."""
        classes = [extra_class] if extra_class else []
        attributes = []
        for letter, property_, token in (("f", "fill", fill), ("s", "stroke", stroke)):
            if token:
                self.used[f"{letter}-{token}"] = None
                classes.append(f"{letter}-{token}")
                attributes.append(f'{property_}="{self.colours[token]}"')
        if not fill:
            attributes.append('fill="none"')
        return " ".join([f'class="{" ".join(classes)}"', *attributes])

    # Text

    def _text(self, text: cards.Text, dx: float = 0.0, dy: float = 0.0) -> None:
        family = f' font-family="{FAMILIES["serif"]}"'
        serif = [run.font in ("roman", "italic") for run in text.runs]
        whole = all(serif)
        anchor = self._anchor(text, dx) if self.live else ""
        self.out.append(f"<g {self._paint(fill=text.colour)}{family if whole else ''}{anchor}>")
        if text.whole:
            self.out.append(f"<title>{_lines(text.whole)}</title>")
        blank = (mathtext.Run(" "),) if anchor else ()  # where a number comes to stand
        for run, x, width in mathtext.placed(text.runs or blank, text.size):
            if width <= 0:
                continue
            face = {"italic": ' font-style="italic"', "bold": ' font-weight="700"'}
            own = family if not whole and run.font in ("roman", "italic") else ""
            self.out.append(
                f'<text x="{_n(text.x + dx + x)}" y="{_n(text.y + dy - run.rise * text.size)}"'
                f' font-size="{_n(text.size * run.scale)}"{face.get(run.font, "")}{own}'
                f' textLength="{_n(width)}" lengthAdjust="spacingAndGlyphs">'
                f"{escape(run.text, quote=False)}</text>"
            )
        self.out.append("</g>")

    @staticmethod
    def _anchor(text: cards.Text, dx: float) -> str:
        """Of a live picture: where the text that replaces this one is held."""
        place = text.word or text.slot.partition(" ")[2]
        if not place:
            return ""
        at = _n(text.x + dx + {"start": 0.0, "middle": 0.5}.get(place, 1.0) * text.width)
        if text.word:
            return f' data-word="{text.word}" data-x="{at}"'
        return f' data-slot="{text.slot}" data-x="{at}" data-room="{_n(text.room)}"'

    # What the picture is made of

    def _group(
        self, scope: tuple[str, ...], left: float, top: float, right: float, bottom: float
    ) -> None:
        paint = self._paint(fill="group", stroke="group-line", extra_class="group")
        self.out.append(
            f'<rect data-scope={_attribute("/".join(scope))} x="{_n(left)}" y="{_n(top)}" '
            f'width="{_n(right - left)}" height="{_n(bottom - top)}" rx="10" {paint}/>'
        )

    def _group_title(self, scope: tuple[str, ...], frame: Rectangle, again: bool) -> None:
        title, left = self._heading(scope[-1], " …" * again, frame)
        top = frame[1]
        own = f" data-scope={_attribute('/'.join(scope))}" if self.live else ""
        self.out.append(
            f'<g class="group-title"{own}><rect x="{_n(left)}" y="{_n(top + 5)}" '
            f'width="{_n(title.width + 8)}" height="17" {self._paint(fill="group")}/>'
        )
        self._text(title, left + 4, top + 18)
        self.out.append("</g>")

    def _heading(self, whole: str, more: str, frame: Rectangle) -> tuple[cards.Text, float]:
        """A frame's heading and where it begins: whole, or shorter, between the edges there.

        It is on a patch, so that none runs through it, should there be no place without one.
        """
        rooms = [*self.place.headings(frame)]
        name, _, about = whole.partition(" · ")
        kind = re.match(r"(\d+ × )?[A-Z]\w*", about)
        short = f"{name} · {kind[0]}" if kind else name
        begin, end = max(rooms, key=lambda room: room[1] - room[0], default=frame[::2])
        wide = end - begin - 8

        def told(said: str, room: float) -> cards.Text:
            title = dot.group_title(said, self.view.dense, room)
            return replace(title, whole=whole if title.whole or not said.startswith(whole) else "")

        for said in (whole, short):
            title = told(said + more, max(wide, dot.HEADING))
            for left, right in rooms:
                if title.width + 8 <= right - left:
                    return title, left
        least = told(f"{short[: len(name) + SAID]}…", math.inf).width
        return told(short if least <= wide else name, max(wide, 24)), begin

    def _arrow(self, arrow: Arrow) -> None:
        route = self.place.route(arrow)
        path = "M" + "L".join(
            _at(spline[0]) + (f"C{' '.join(map(_at, spline[1:]))}" if spline[1:] else "")
            for spline in route.splines
        )
        leaves = arrow.head in self.ports  # it goes on there
        if leaves:
            path += f"L{_at(self.place.centres[arrow.head])}"
        if arrow.tail in self.ports:
            path = f"M{_at(self.place.centres[arrow.tail])}L{path[1:]}"
        self._open_arrow("arrow", arrow)
        roles = arrow.roles or ("",)
        for i, role in enumerate(roles):
            token = style.token(role, "edge")
            width = 2.4 if token != "edge" else 1.2
            if token == "edge":
                token, width = style.token(arrow.heat, "edge"), style.heat_width(arrow.heat)
            broken = arrow.hidden or arrow.stopped or arrow.shared
            dash = style.dash(role or arrow.heat) or ("3 4" if broken else "")
            if i and not dash:  # on top of another path, only dashes let both be seen
                dash = "9 9"
            dashes = f' stroke-dasharray="{dash}"' if dash else ""
            self.out.append(
                f'<path d="{path}" {self._paint(stroke=token)} stroke-width="{width}"{dashes}/>'
            )
        token = style.token(roles[0], "edge")
        large = token != "edge" or style.heat_width(arrow.heat) > 3
        if token == "edge":
            token = style.token(arrow.heat, "edge")
        if not leaves:
            self._head(route, token, large)
        self.out.append("</g>")

    def _head(self, route: Route, token: str, large: bool) -> None:
        tip = route.tip
        dx, dy = tip[0] - route.neck[0], tip[1] - route.neck[1]
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        ux, uy = dx / length, dy / length
        long, half = (11.0, 5.0) if large else (8.0, 3.4)
        bx, by = tip[0] - ux * long, tip[1] - uy * long
        points = [(bx - uy * half, by + ux * half), tip, (bx + uy * half, by - ux * half)]
        path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points) + "Z"
        self.out.append(f'<path d="{path}" {self._paint(fill=token)}/>')

    def _pill(self, arrow: Arrow) -> None:
        pill = cards.pill_card(arrow)
        if pill is None:
            return
        x, y = self.place.centres[arrow.id]
        x, y = x - pill.width / 2, y - pill.height / 2
        self._open_arrow("pill", arrow)
        token = style.token(arrow.roles[0] if arrow.roles else "", "pill-line")
        width = 1.6 if token != "pill-line" else 1.0
        self.out.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(pill.width)}" height="{_n(pill.height)}" '
            f'rx="9.5" {self._paint(fill="pill", stroke=token)} stroke-width="{width}"/>'
        )
        if "unneeded" in arrow.roles:
            self.out.append('<g opacity="0.4">')
        for text in pill.texts:
            self._text(text, x, y)
        if "unneeded" in arrow.roles:
            self.out.append("</g>")
        self.out.append("</g>")

    def _card(self, box: Box) -> None:
        card = cards.box_card(box, self.place.sizes[box.id])
        x, y = self.place.centres[box.id]
        x, y = x - card.width / 2, y - card.height / 2
        role = box.role.replace(" ", "")
        state = next((row.state for row in box.rows if row.state), "")
        self._open("node", box.tooltip, (box.role,), node=box.id, kind=box.kind, state=state)
        kind = f"{box.kind}-card" if f"{box.kind}-card" in self.colours else box.kind
        fill = f"{role}-card" if f"{role}-card" in self.colours else kind
        stroke = style.token(role, "line")
        width = {"target": 3.0}.get(role, 2.2 if stroke != "line" else 1.2)
        top, height = y + card.top, card.height - card.top
        rx = {"input": 14.0, "parameter": 2.5}.get(box.kind, 7.0)
        dash = ' stroke-dasharray="5 3"' if box.kind == "constant" or role == "unneeded" else ""
        frame = f'x="{_n(x)}" y="{_n(top)}" width="{_n(card.width)}" height="{_n(height)}"'
        if box.kind == "fold" or box.opens:  # what lies in it looks out below
            self._stack(x, top, card.width, height, fill, stroke)
        self.out.append(
            f'<rect {frame} rx="{rx}" {self._paint(fill=fill, stroke=stroke)} '
            f'stroke-width="{width}"{dash}/>'
        )
        if box.kind == "output":
            self.out.append(
                f'<rect x="{_n(x + 3)}" y="{_n(top + 3)}" width="{_n(card.width - 6)}" '
                f'height="{_n(height - 6)}" rx="4.5" {self._paint(stroke=stroke)}/>'
            )
        if box.heat:
            empty = box.heat in style.BROKEN
            bar = self._paint(stroke="edge") if empty else self._paint(fill=box.heat)
            dashes = f' stroke-dasharray="{style.BROKEN[box.heat]}"' if empty else ""
            path = _cap(x, top, card.width, rx, 7.0)
            self.out.append(f'<path d="{path}" {bar}{dashes}/>')
        if box.kind == "parameter":
            bar = self._paint(fill=stroke)
            self.out.append(f'<path d="M{_n(x)} {_n(top)}h4v{_n(height)}h-4z" {bar}/>')
        if card.rule:
            rule = self._paint(stroke="line")
            ends = f"M{_n(x + cards.PAD)} {_n(y + card.rule)}H{_n(x + card.width - cards.PAD)}"
            self.out.append(f'<path d="{ends}" {rule} stroke-width="0.7"/>')
        for text in card.texts:
            self._text(text, x, y)
        for kind, *sides in card.brackets:
            self._brackets(kind, x, y, *sides)
        for mark_x, mark_y, holds in card.marks:
            self._mark(x + mark_x, y + mark_y, holds)
        if card.chip:
            self._chip(card.chip, x, y, style.token(role, "soft"))
        self.out.append("</g>")

    def _brackets(
        self, kind: str, x: float, y: float, left: float, top: float, right: float, bottom: float
    ) -> None:
        high, low = _n(y + top), _n(y + bottom)
        path = f"M{_n(x + left + 3)} {high}h-3V{low}h3M{_n(x + right - 3)} {high}h3V{low}h-3"
        live = f' data-around="{kind}"' if self.live else ""
        paint = self._paint(stroke=kind)
        self.out.append(f'<path d="{path}" {paint} stroke-width="0.8"{live}/>')

    def _stack(
        self, x: float, top: float, width: float, height: float, fill: str, stroke: str
    ) -> None:
        paint = self._paint(fill=fill, stroke=stroke)
        for step in (6.0, 3.0):
            left, right, bottom = x + 2 * step, x + width - 2 * step, top + height + step
            path = f"M{_n(left)} {_n(bottom - 9)}V{_n(bottom)}H{_n(right)}V{_n(bottom - 9)}Z"
            self.out.append(f'<path d="{path}" {paint} stroke-width="1"/>')

    def _chip(self, chip: cards.Text, x: float, y: float, token: str) -> None:
        self.out.append(
            f'<rect x="{_n(x + chip.x - 6)}" y="{_n(y)}" width="{_n(chip.width + 12)}" '
            f'height="{_n(cards.CHIP)}" rx="7.5" {self._paint(fill=token)}/>'
        )
        self._text(replace(chip, colour="ground"), x, y)

    def _mark(self, x: float, y: float, holds: bool) -> None:
        path = "l3 3.5l5.5 -8" if holds else "m0 -4.5l7 8m0 -8l-7 8"
        word = say("proved") if holds else say("not proved")
        paint = self._paint(stroke="computed" if holds else "gradient")
        self.out.append(
            f'<path d="M{_n(x)} {_n(y + 4)}{path}" {paint} stroke-width="2">'
            f"<title>{word}</title></path>"
        )

    def _legend(self, left: float, top: float) -> None:
        """The key below the picture."""
        if self.view.scale:
            self._scale(left, top)
        lines = {role for arrow in self.view.arrows for role in arrow.roles}
        for role, text, x, y in legend(self.view, self.place.width)[0]:
            box = role[:4] == "path" and role not in lines
            self._legend_entry(role.replace(" ", ""), text, left + x, top + y, box)

    def _scale(self, left: float, top: float) -> None:
        """The scale of colours, from its smallest size to its largest, and what it means."""
        scale = self.view.scale or Scale("", "", "")
        meaning = scale.meaning + ";" * bool(scale.meaning and scale.note)
        x, y = left, top + 30
        prose, plain = mathtext.prose, mathtext.plain  # a note names layers, which are no symbols
        for text, setting, ahead in (
            (scale.least, prose, True), (scale.most, prose, False),
            (meaning, prose, False), (scale.note, plain, False),
        ):  # fmt: skip
            word = "" if text[:1].isdigit() else "start"
            line = cards.line(text, 11.0, "soft", word=word, setting=setting)
            if not text:
                continue
            self._text(line, x, y)
            x += line.width + 8
            for step in range(HEATS if ahead else 0):
                paint = self._paint(fill=f"heat{step}")
                self.out.append(
                    f'<rect x="{_n(x)}" y="{_n(y - 9)}" width="18" height="11" {paint}/>'
                )
                x += 18
            x += 8 if ahead else 0

    def _legend_entry(self, role: str, text: cards.Text, x: float, y: float, box: bool) -> None:
        card = f"{role}-card" if f"{role}-card" in self.colours else ""
        if role in ("value", "gradient"):
            sample = cards.Text(0, 0, mathtext.plain("0.12", "bold"), 10.0, role)
            self._text(sample, x - 1, y)
        elif card or box or role in ("local", "unneeded"):
            paint = self._paint(fill=card or "pill", stroke=style.token(role, "line"))
            dash = ' stroke-dasharray="3 2"' if role == "unneeded" else ""
            self.out.append(
                f'<rect x="{_n(x)}" y="{_n(y - 9)}" width="20" height="11" '
                f'rx="{5 if role == "local" else 3}" {paint} stroke-width="1.4"{dash}/>'
            )
        elif role:
            dash = style.dash(role)
            dashes = f' stroke-dasharray="{dash}"' if dash else ""
            paint = self._paint(stroke=style.token(role, "edge"))
            self.out.append(
                f'<path d="M{_n(x)} {_n(y - 3.5)}h20" {paint} stroke-width="2.4"{dashes}/>'
            )
        self._text(text, x + (SAMPLE if role else 0), y)

    def _open(self, kind: str, tooltip: str, roles: tuple[str, ...], /, **data: object) -> None:
        """Start a group with its tooltip; what is not needed fades."""
        classes = [kind, *(f"role-{role.replace(' ', '')}" for role in roles if role)]
        values = "".join(f" data-{k}={_attribute(str(v))}" for k, v in data.items() if v != "")
        faded = ' opacity="0.4"' if "unneeded" in roles and kind != "pill" else ""
        self.out.append(f'<g class="{" ".join(classes)}"{values}{faded}>')
        if tooltip:
            self.out.append(f"<title>{_lines(tooltip)}</title>")

    def _open_arrow(self, kind: str, arrow: Arrow) -> None:
        ends = {"tail": arrow.tail, "head": arrow.head, "key": arrow.key}
        self._open(kind, arrow.tooltip, arrow.roles, **ends)


def _cap(x: float, top: float, width: float, rx: float, height: float) -> str:
    """The uppermost part of a box with round corners."""
    inset = rx - (rx * rx - max(rx - height, 0.0) ** 2) ** 0.5
    side = max(height - rx, 0.0)
    right, bow = x + width, f"A{_n(rx)} {_n(rx)} 0 0 1"
    return (
        f"M{_n(x + inset)} {_n(top + height)}v{_n(-side)}{bow} {_n(x + rx)} {_n(top)}"
        f"H{_n(right - rx)}{bow} {_n(right - inset)} {_n(top + height - side)}v{_n(side)}z"
    )


def _at(point: tuple[float, float]) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _lines(text: str) -> str:
    return escape("\n".join(map(clean, text.split("\n"))), quote=False)


def _attribute(text: str) -> str:
    return f'"{escape(clean(text))}"'
