"""The README's film of a backward pass: ``python scripts/stepping.py`` writes docs/stepping.gif."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradviz as gv
from gradviz.highlight import Highlight
from gradviz.show.drawing import Drawing, draw

TARGETS = ("w5", "b2", "w1")
TIMES = ("", "for the first time", "for the second time", "for the third time")


def frames() -> Iterator[Drawing]:
    """One picture per upstream term or target, in the order in which they are computed."""
    ledger = gv.examples.backprop_222().reuse(*TARGETS)
    graph = ledger.graph
    steps = [name for row in ledger.rows for name in (*row.computed, row.target)]
    needed = {graph.id(name) for name in steps}
    reads = dict.fromkeys(needed, 0)
    for n, name in enumerate(steps):
        now = graph.id(name)
        done = {graph.id(step) for step in steps[:n]}
        readers = [(v, key) for v, key in graph.readers[now] if v in done]
        for v, _ in readers:
            reads[v] += 1
        boxes: dict[int, Any] = dict.fromkeys(range(len(graph)), "unneeded")
        boxes |= dict.fromkeys(needed, "") | dict.fromkeys(done, "computed")
        boxes |= {v: "cached" for v in done if reads[v] > 1}
        arrows: dict[tuple[int, int, int], Any] = dict.fromkeys(graph.edges(), "unneeded")
        for v, key in readers:
            arrows[now, v, key] = "read" if reads[v] > 1 else "computed"
        told = [f"reads ∂J/∂{graph.names[v]} {TIMES[reads[v]]}" for v, _ in readers]
        yield draw(
            graph,
            highlight=Highlight(
                boxes=boxes | {now: "target"},
                arrows=arrows,
                # Every box that takes part has a word above it, so that no frame moves the boxes.
                badges={v: f"×{reads[v]}" for v in needed if reads[v]}
                | dict.fromkeys(needed - done - {now}, "·"),
                title=f"∂J/∂{name} " + (" and ".join(told) or "is 1"),
                legend=(
                    ("target", "now"),
                    ("computed", "computed once"),
                    ("cached", "cached, ×k = read k times"),
                    ("read", "reads a cached term again"),
                ),
            ),
        )


def film(path: Path) -> None:
    """Write the frames as an animated GIF."""
    from PIL import Image

    pictures = [Image.open(io.BytesIO(frame.png)).convert("RGB") for frame in frames()]
    width, height = 1160, round(1160 * pictures[0].height / pictures[0].width)
    small = [picture.resize((width, height), Image.Resampling.LANCZOS) for picture in pictures]
    last = len(small) - 1
    small[0].save(
        path,
        save_all=True,
        append_images=small[1:],
        duration=[3000 if n == last else 1600 for n in range(len(small))],
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    film(Path(__file__).parents[1] / "docs" / "stepping.gif")
