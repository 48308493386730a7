"""Run the notebooks from top to bottom: ``python scripts/notebooks.py [name ...]`` writes their
outputs anew.
"""

import os
import re
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LIMIT = 60
"""Seconds after which a cell is stopped; a whole notebook takes some ten on an idle machine."""

_NUMBER = re.compile(r"[-+]?(?:\d+\.\d+|\d+)(?:e[-+]?\d+)?")
_DRAWN = re.compile(r"<text\b[^>]*>([^<]*)</text>")


def read(name):
    """The notebook as it is kept."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@contextmanager
def running(notebook):
    """Run all cells in a fresh kernel; yields the client, whose kernel still knows the names."""
    with tempfile.TemporaryDirectory() as home:
        # The user's own settings of IPython and Matplotlib must not show.
        own = {"IPYTHONDIR": home, "MPLCONFIGDIR": home, "JUPYTER_RUNTIME_DIR": home}
        client = NotebookClient(
            notebook,
            timeout=LIMIT,
            kernel_name="python3",
            resources={"metadata": {"path": home}},
            store_widget_state=False,
            record_timing=False,
        )
        with client.setup_kernel(env=os.environ | own):
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            yield client


def ask(client, code):
    """What `code` prints in the kernel after the notebook's last cell."""
    cell = nbformat.v4.new_code_cell(code)
    client.nb.cells.append(cell)
    try:
        client.execute_cell(cell, len(client.nb.cells) - 1)
    finally:
        client.nb.cells.pop()
    return "".join(output.get("text", "") for output in cell.outputs)


def _kept(outputs):
    """The outputs, what was printed in one piece, and without widgets: these need their kernel."""
    stream = None
    for output in outputs:
        if output.output_type != "stream":
            stream = None
        elif stream is not None and stream.name == output.name:
            stream.text += output.text
            continue
        else:
            stream = output
        if "application/vnd.jupyter.widget-view+json" not in output.get("data", {}):
            yield output


def tidy(notebook):
    """Keep what a reader sees, and nothing that tells of the machine or changes by itself."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = list(_kept(cell.outputs))
    return notebook


def seen(cell):
    """What a cell's outputs show: what is printed, formulas, and the words in pictures.

    A picture's numbers are left out: some are nothing but rounding (the mean of a gradient that
    sums to zero).
    """
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.append(output.text)
            continue
        data = output.get("data", {})
        texts += [data[kind] for kind in ("text/plain", "text/latex") if kind in data]
        drawn = _DRAWN.findall(data.get("image/svg+xml", ""))
        texts += sorted(text for text in drawn if any(map(str.isalpha, text)))
    return texts


def differ(old, new, tolerance=1e-3):
    """What differs between two texts: "" where all words are equal and all numbers nearly so."""
    words, others = _NUMBER.split(old), _NUMBER.split(new)
    if words != others:
        return f"{old!r} became {new!r}"
    for before, now in zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True):
        a, b = float(before), float(now)
        if abs(a - b) > tolerance * max(abs(a), abs(b), 1e-12):
            return f"{before} became {now} in {new!r}"
    return ""


def write(name):
    """Run a notebook and keep its outputs."""
    notebook = read(name)
    with running(notebook):
        pass
    nbformat.write(tidy(notebook), FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        write(name)
