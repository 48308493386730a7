"""``gradviz demo``: the article's network, drawn, explained and proved."""

from __future__ import annotations

import os
from pathlib import Path

import click

import gradviz as gv
from gradviz.cli.output import say, writing

PUBLISHED = {"J": 0.298371109, "∂J/∂w5": 0.082167041, "∂J/∂w1": 0.000438568}
"""Matt Mazur, "A Step by Step Backpropagation Example" (2015)."""


@click.command()
@click.option("-o", "--output", "folder", metavar="DIR", default="gradviz-demo", show_default=True,
              type=click.Path(file_okay=False, path_type=Path), help="Where to write.")  # fmt: skip
def demo(folder: Path) -> None:
    """Draw and explain a 2-2-2 network.

    It is the textbooks' worked example, with published numbers. Writes pictures and their text
    twin; prints three gradients, each after the ones before it, and the ledger of what they reuse.
    """
    from concurrent.futures import ThreadPoolExecutor

    from gradviz.files import write_atomic
    from gradviz.show import engine

    engine.find()  # once, before the threads: Python's sysconfig is filled without a lock
    graph = gv.examples.backprop_222()
    explained = [graph.explain("w5"), graph.explain("b2", after="w5"),
                 graph.explain("w1", after=("w5", "b2"))]  # fmt: skip
    reuse = graph.reuse("w5", "b2", "w1")
    values = graph.draw()
    pictures = {
        "operations.svg": graph.draw(detail="operations"),
        "values.svg": values,
        "reuse.svg": reuse.draw(),
        "explain-w1.svg": explained[-1].draw(),
    }
    with ThreadPoolExecutor() as pool:  # Graphviz works beside us
        drawn = pool.map(lambda drawing: drawing.svg, pictures.values())
        words = [explanation.formula.text for explanation in explained]
        words += [f"What is reused, in this order:\n{reuse.text}", _proofs(graph)]
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(zip(pictures, drawn, strict=True)) | {"values.txt": values.text}
    for name, data in files.items():
        with writing(folder / name):
            write_atomic(folder / name, data)
    say("\n\n".join(words))
    say(f"""
Written to {folder}{os.sep}
  values.svg      every value, gradient and local derivative
  values.txt      the same in words
  operations.svg  the same, operation by operation
  reuse.svg       the cached terms that w5, b2 and w1 share
  explain-w1.svg  the paths from w1 to J""")


def _proofs(graph: gv.Graph) -> str:
    """Whether the example gives the published numbers, and finite differences the gradients."""
    found = {f"∂J/∂{name}": float(graph.grad(name)) for name in ("w5", "w1")}
    found["J"] = float(graph.value("J"))
    same = all(abs(found[name] - value) < 5e-10 for name, value in PUBLISHED.items())
    check = graph.check()
    numbers = ", ".join(f"{name} = {found[name]:.9f}" for name in PUBLISHED)
    return (
        f"{_mark(same)} {numbers}, as published (Mazur 2015)\n"
        f"Every gradient, computed another way:\n{check.text}"
    )


def _mark(holds: bool) -> str:
    return "✓" if holds else "✗"
