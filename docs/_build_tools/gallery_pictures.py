"""What an example of the gallery shows: its Graph as a picture and as a living page.

A name that a block of code binds to a Drawing is shown as a picture. The first Graph that an
example calls ``g`` is drawn, and below it stands its page, which steps, recomputes and trains by
itself; the page of a Lesson, where the block binds one.
"""

from html import escape
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

from gradviz import Graph
from gradviz.chain.lesson import Lesson
from gradviz.show.drawing import Drawing

LIVING = Path(__file__).parent.parent / "_extra" / "living"
_FRAME = """

.. raw:: html

    <p class="living">The same, alive: step through both passes, click a value, change a number.
    <a href="../living/{file}">Open it on a page of its own</a></p>
    <iframe class="living" src="../living/{file}" title="{title}, alive" loading="lazy"></iframe>

"""


def scraper(block, block_vars, gallery_conf):
    """The reStructuredText of what the last block of code made, see `sphinx_gallery`."""
    names = block_vars["example_globals"]
    seen = names.setdefault("__shown__", {})
    made = {name: value for name, value in names.items() if seen.get(name) is not value}
    drawings = [value for value in made.values() if isinstance(value, Drawing)]
    living = ""
    if isinstance(made.get("g"), Graph) and "g" not in seen:
        file = Path(block_vars["src_file"]).with_suffix(".html").name
        lessons = [value for value in made.values() if isinstance(value, Lesson)]
        drawings.insert(0, names["g"].draw())
        LIVING.mkdir(parents=True, exist_ok=True)
        (lessons or [names["g"]])[0].save(LIVING / file)
        living = _FRAME.format(file=file, title=escape(names["g"].title or file))
    seen.update({name: value for name, value in made.items() if name != "__shown__"})
    figures = ""
    for drawing in drawings:
        path = Path(next(block_vars["image_path_iterator"])).with_suffix(".svg")
        shown = drawing._painted("auto") if drawing.hosted else drawing.svg  # as dark as the site
        path.write_text(shown, encoding="utf-8")
        figures += figure_rst([str(path)], gallery_conf["src_dir"], "A computational graph")
    return figures + living


def _get_sg_image_scraper():
    """How sphinx-gallery finds the scraper by this module's name."""
    return scraper
