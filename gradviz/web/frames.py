"""Both passes as a series of pictures, for slides and films: one layout, a step a picture."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz import words
from gradviz.chain.course import Event, course
from gradviz.chain.paths import Edge
from gradviz.files import write_atomic
from gradviz.language import say, speaking
from gradviz.show import style
from gradviz.show.raster import to_png
from gradviz.words import choose, names_of

from .pictures import Pictures

if TYPE_CHECKING:
    from gradviz.graph import Graph

_SVG = "http://www.w3.org/2000/svg"
_LINE = 34  # the height of the line that tells the step
Paint = dict[str, str]

ET.register_namespace("", _SVG)


def frames(
    graph: Graph,
    targets: Sequence[str] = (),
    *,
    detail: str | None = None,
    direction: str | None = None,
    theme: str = "light",
    engine: str = "auto",
    language: str = "",
) -> list[str]:
    """See `Graph.frames`."""
    choose("theme", theme, ("light", "dark"))
    with speaking(language):
        return _frames(graph, names_of(targets, "targets"), detail, direction, theme, engine)


def _frames(
    graph: Graph,
    targets: Sequence[str],
    detail: str | None,
    direction: str | None,
    theme: str,
    engine: str,
) -> list[str]:
    shown = graph.detailed(detail)
    drawn = Pictures(graph, detail).drawings([()], direction, None, engine, theme)[0]
    if drawn["closed"]:
        raise ValueError(
            f"{len(shown)} values are too many for pictures of every step: save a page"
        )
    events = course(shown, targets)
    painter = _Painter(shown, drawn["svg"], style.PALETTES[theme], bool(targets), events)
    return [painter.frame(n) for n in range(len(events))]


def film(pictures: Sequence[str], kind: str, seconds: float) -> bytes:
    """Pictures as ``"gif"`` or ``"mp4"``, so long each."""
    images = [_pixels(svg) for svg in pictures]
    if kind == "gif":
        buffer = io.BytesIO()
        small = [image.quantize(128) for image in images]
        time = round(1000 * seconds)
        small[0].save(
            buffer, "gif", save_all=True, append_images=small[1:], loop=0,
            duration=[time] * (len(small) - 1) + [3 * time],
        )  # fmt: skip
        return buffer.getvalue()
    return _mp4(images, seconds)


def _pixels(svg: str) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("a film needs: pip install 'gradviz-dag[film]'") from error
    image = Image.open(io.BytesIO(to_png(svg, 1.0))).convert("RGB")
    # Films want even sides.
    return image.crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))


def _mp4(images: Sequence[Any], seconds: float) -> bytes:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ImportError("an .mp4 needs: pip install 'gradviz-dag[film]'") from error
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        rate = 1 / seconds
        writer = imageio_ffmpeg.write_frames(
            str(path), images[0].size, fps=rate, macro_block_size=2, output_params=["-r", "25"],
            ffmpeg_log_level="error",
        )  # fmt: skip
        writer.send(None)
        for image in [*images, images[-1], images[-1]]:
            writer.send(np.asarray(image).tobytes())
        writer.close()
        return path.read_bytes()


def save_film(
    graph: Graph, path: Any, suffix: str, *, seconds: float = 1.2, **options: Any
) -> None:
    """Write ``.gif`` or ``.mp4``; the options are those of `Graph.frames`."""
    targets = options.pop("targets", ())
    write_atomic(path, film(frames(graph, targets, **options), suffix[1:], seconds))


@dataclass
class _Past:
    """What has happened up to a step."""

    values: set[int] = field(default_factory=set)
    sums: dict[int, list[Edge]] = field(default_factory=dict)
    sent: set[Edge] = field(default_factory=set)


class _Painter:
    """One picture of a graph, painted as it stands at each step."""

    def __init__(
        self, graph: Graph, svg: str, colours: Paint, partial: bool, events: list[Event]
    ) -> None:
        self.graph, self.svg, self.colours, self.events = graph, svg, colours, events
        self.terms: dict[int, int] = {graph.output: 0}
        for v, key in graph.derivatives.messages:
            u = graph.operands[v][key]
            self.terms[u] = self.terms.get(u, 0) + 1
        used = [what for kind, what in events if kind == "message"]
        self.used = set(used) if partial else None

    def frame(self, n: int) -> str:
        """The picture after event `n`."""
        past = self._past(n)
        root = ET.fromstring(self.svg)
        for group in root.iter(f"{{{_SVG}}}g"):
            kind = (group.get("class") or "").split(" ")[0]
            if kind == "node":
                self._node(group, int(group.get("data-node", "n0")[1:]), past, n)
            elif kind in ("arrow", "pill") and group.get("data-key", "-1") != "-1":
                edge = int(group.get("data-head", "n0")[1:]), self._key(group)
                self._edge(group, kind, edge, past, n)
        self._caption(root, n)
        return ET.tostring(root, encoding="unicode")

    def _key(self, group: ET.Element) -> int:
        """The operand's position: a live picture has the numbers of edges."""
        edges = list(self.graph.edges())
        return edges[int(group.get("data-key", "0"))][2]

    def _past(self, n: int) -> _Past:
        past = _Past({i for i in range(len(self.graph)) if self.graph.is_leaf(i)})
        for kind, what in self.events[: n + 1]:
            if kind == "value":
                past.values.add(what)
            elif kind == "seed":
                past.sums[what] = []
            elif kind == "message":
                past.sums.setdefault(self.graph.operands[what[0]][what[1]], []).append(what)
                past.sent.add(what)
        return past

    def _complete(self, i: int, past: _Past) -> bool:
        return len(past.sums.get(i, ())) >= self.terms.get(i, 1) and i in past.sums

    # --- nodes and edges ---------------------------------------------------------------------

    def _node(self, group: ET.Element, i: int, past: _Past, n: int) -> None:
        kind, what = self.events[n]
        known, whole = i in past.values, self._complete(i, past)
        done = kind == "done" and (self.used is None or whole)
        for slot in group.iter():
            said = (slot.get("data-slot") or slot.get("data-around") or "").split(" ")[0]
            if (said == "value" and not known) or (said == "gradient" and not (whole or done)):
                slot.set("visibility", "hidden")
        if not known:
            group.set("opacity", "0.35")
        now = {"value": [what], "seed": [what], "cached": [what]}.get(kind, [])
        if kind == "message":
            now = [self.graph.operands[what[0]][what[1]]]
            if i == what[0]:
                self._ring(group, "cached", "cached-card")
        if i in now:
            self._ring(group, "value")

    def _ring(self, group: ET.Element, line: str, card: str = "") -> None:
        rect = group.find(f"{{{_SVG}}}rect")
        if rect is None:
            return
        rect.set("stroke", self.colours[line])
        rect.set("stroke-width", "3")
        if card:
            rect.set("fill", self.colours[card])

    def _edge(self, group: ET.Element, kind: str, edge: Edge, past: _Past, n: int) -> None:
        now = self.events[n] == ("message", edge)
        if edge[0] not in past.values:
            group.set("opacity", "0.35")
        elif self.used is not None and past.sent and edge not in self.used:
            group.set("opacity", "0.25")
        for slot in group.iter():
            if slot.get("data-slot") and edge[0] not in past.values:
                slot.set("visibility", "hidden")
        if edge not in past.sent:
            return
        colour = self.colours["read" if now else "computed"]
        lines = group.findall(f"{{{_SVG}}}path")
        if kind == "pill" or not lines:
            return
        lines[0].set("stroke", colour)
        lines[0].set("stroke-width", "4" if now else "2")
        for head in lines[1:]:
            group.remove(head)
        path = ET.SubElement(group, f"{{{_SVG}}}path")
        path.set("d", _turned(lines[0].get("d", "")))
        path.set("fill", colour)

    # --- the line below ----------------------------------------------------------------------

    def _caption(self, root: ET.Element, n: int) -> None:
        width, height = float(root.get("width", "0")), float(root.get("height", "0"))
        root.set("height", f"{height + _LINE:g}")
        root.set("viewBox", f"0 0 {width:g} {height + _LINE:g}")
        ground = ET.Element(f"{{{_SVG}}}rect")
        for name, value in (("width", f"{width:g}"), ("height", f"{height + _LINE:g}")):
            ground.set(name, value)
        ground.set("fill", self.colours["ground"])
        root.insert(0, ground)
        text = ET.SubElement(root, f"{{{_SVG}}}text")
        for name, value in (("x", "18"), ("y", f"{height + 16:g}"), ("font-size", "18")):
            text.set(name, value)
        text.set("fill", self.colours["ink"])
        text.text = self._told(n)
        # What is told of the whole picture would tell numbers before their step.
        root.set("aria-label", text.text)
        for about in root.findall(f"{{{_SVG}}}desc"):
            about.text = text.text

    def _told(self, n: int) -> str:
        graph, (kind, what) = self.graph, self.events[n]
        loss = graph.names[graph.output]
        if kind == "given":
            return say("The leaves have their values.")
        if kind == "value":
            return _value(graph.names[what], graph.values[what].value)
        if kind == "seed":
            return f"∂{loss}/∂{loss} = 1"
        if kind == "cached":
            return say("{d} is read from the cache.", d=f"∂{loss}/∂{graph.names[what]}")
        if kind == "done":
            return say("Both passes are done.")
        v, key = what
        u = graph.operands[v][key]
        again = any(kind == "message" and e[0] == v for kind, e in self.events[:n])
        sent = graph.derivatives.messages[what]
        whole = not np.ndim(sent)
        size = _number(sent) if whole else say("a message {shape}", shape=words.shape(sent))
        text = say(
            "{d} from the cache sends {x} to {u}" if again else "{d} sends {x} to {u}",
            d=f"∂{loss}/∂{graph.names[v]}", x=size, u=graph.names[u],
        )  # fmt: skip
        terms = [graph.derivatives.messages[e] for e in self._past(n).sums[u]]
        if self.terms[u] < 2 or any(map(np.ndim, terms)):
            return text
        whole = len(terms) == self.terms[u]
        written = " + ".join([*map(_number, terms), *([] if whole else ["…"])])
        total = f" = {_number(graph.derivatives.gradients[u])}" if whole else ""
        told = f"∂{loss}/∂{graph.names[u]} = {written}{total}"
        return say("{what}: {x}", what=text, x=told)


def _value(name: str, value: Any) -> str:
    return f"{name} = {_number(value)}" if not np.ndim(value) else f"{name}: {words.shape(value)}"


def _number(value: Any) -> str:
    return words.number(value).replace("-", "−")


def _turned(line: str) -> str:
    """A head at the beginning of a line, which begins with a cubic curve."""
    numbers = [
        float(x) for x in line.replace("M", " ").replace("C", " ").replace("L", " ").split()[:4]
    ]
    (x, y), (tx, ty) = numbers[:2], numbers[2:]
    size = float(np.hypot(tx - x, ty - y)) or 1.0
    dx, dy = 12 * (tx - x) / size, 12 * (ty - y) / size
    corners = [(x + dx - s * dy * 0.42, y + dy + s * dx * 0.42) for s in (1, -1)]
    return f"M{x:g} {y:g}" + "".join(f"L{a:.2f} {b:.2f}" for a, b in corners) + "Z"
