"""Run the notebooks from top to bottom: ``python scripts/notebooks.py [name ...]`` writes their
outputs anew.

A translated notebook, ``NAME.zh``, is NAME with the texts of ``NAME.zh.toml``.
"""

import importlib
import io
import os
import re
import sys
import tempfile
import tomllib
from base64 import b64decode, b64encode
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

from gradviz.show.raster import to_png

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LIMIT = 60
"""Seconds after which a cell is stopped; a whole notebook takes some ten on an idle machine."""

SIDE, COLOURS = 1000, 32
"""Of a kept picture: pixels of its longer side, as wide as a notebook's column, and colours."""

_NUMBER = re.compile(r"[-+]?(?:\d+\.\d+|\d+)(?:e[-+]?\d+)?")
_DRAWN = re.compile(r"<text\b[^>]*>([^<]*)</text>")
_SIZE = re.compile(r'<svg\b[^>]*? width="([\d.]+)" height="([\d.]+)"')


def read(name):
    """The notebook as it is kept."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def source(name):
    """The notebook as its author wrote it: a translation is made of the original."""
    original, _, language = name.partition(".")
    notebook = read(original)
    if language:
        rows = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))["text"]
        table = {row["en"]: row[language] for row in rows}
        used = set()
        for cell in notebook.cells:
            cell.source = _translated(cell, table, used)
        if old := table.keys() - used:
            raise ValueError(f"{name}.toml translates what {original} does not say: {min(old)!r}")
    return notebook


def _translated(cell, table, used):
    """A cell's text with each paragraph, or each line of code that has words, in its language."""
    prose = cell.cell_type == "markdown"
    parts = cell.source.split("\n\n" if prose else "\n")
    for i, part in enumerate(parts):
        text = part.strip()
        if text in table:
            used.add(text)
            parts[i] = part.replace(text, table[text])
        elif prose and not text.startswith("$$"):
            raise ValueError(f"nobody has translated {text!r}")
    return ("\n\n" if prose else "\n").join(parts)


@contextmanager
def running(notebook):
    """Run all cells in a fresh kernel; yields the client, whose kernel still knows the names."""
    with tempfile.TemporaryDirectory() as home:
        # The user's own settings of IPython and Matplotlib must not show.
        settings = Path(home, "matplotlibrc")
        settings.touch()
        own = {"IPYTHONDIR": home, "MATPLOTLIBRC": str(settings), "JUPYTER_RUNTIME_DIR": home}
        importlib.import_module("matplotlib.font_manager")  # finds fonts once, not in each kernel
        own["OMP_NUM_THREADS"] = "1"  # sums of other parts round otherwise, and a training shows it
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
            yield _once(output)


def _once(output):
    """A picture as pixels alone, which every viewer shows, also of a notebook from elsewhere.

    Its words stay beside it: they can be compared, and read in a difference of two versions.
    """
    data = output.get("data", {})
    if svg := data.get("image/svg+xml"):
        width, height = map(float, _SIZE.search(svg).groups())
        zoom = min(2.0, max(1.0, SIDE / max(width, height)))
        data = {"image/png": _small(to_png(svg, zoom)), "text/plain": data["text/plain"]}
        size = {"width": round(width), "height": round(height)}
        words = sorted(text for text in _DRAWN.findall(svg) if any(map(str.isalpha, text)))
        output.update(data=data, metadata={"image/png": size, "words": words})
    elif png := data.get("image/png"):
        data["image/png"] = _small(b64decode(png))
    return output


def _small(png):
    """The picture in its most frequent colours; its blends become the nearest of these."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    packed = pixels @ np.array([2**16, 2**8, 1])
    found, where, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = found[:, None] // (2**16, 2**8, 1) % 256
    kept = colours[np.argsort(-counts, kind="stable")[:COLOURS]]
    nearest = ((colours[:, None] - kept) ** 2).sum(axis=2).argmin(axis=1).astype(np.uint8)
    picture = Image.fromarray(nearest[where].reshape(packed.shape))
    picture.putpalette(kept.astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "png", optimize=True)
    return b64encode(file.getvalue()).decode()


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
        texts += output.metadata.get("words", [])
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
    notebook = source(name)
    with running(notebook):
        pass
    nbformat.write(tidy(notebook), FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        write(name)
