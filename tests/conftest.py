import os
import shutil
from collections.abc import Iterator

# Before NumPy and PyTorch are loaded, here and in what tests start. Their threads wait for one
# another by turning: where two tests run at a time, that is most of the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from browser import missing
from hypothesis import settings
from thorough import examples

import gradviz as gv
from gradviz.ops import table
from gradviz.ops.table import ROWS

settings.register_profile("gradviz", max_examples=examples(100))
settings.load_profile("gradviz")


@pytest.fixture(autouse=True)
def only_here():
    """The rows that a test adds are gone after it."""
    before, added = dict(ROWS), set(table.ADDED)
    yield
    table.ADDED.intersection_update(added)
    ROWS.clear()
    ROWS.update(before)
    table.lookup.cache_clear()


@pytest.fixture(scope="session")
def network():
    """The 2-2-2 network of Matt Mazur, "A Step by Step Backpropagation Example" (2015)."""
    return gv.examples.backprop_222()


@pytest.fixture
def colah():
    """The graph of Christopher Olah, "Calculus on Computational Graphs", at a = 2, b = 1."""
    return gv.expression("c = a + b; d = b + 1; e = c * d; e", a=2, b=1)


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        missing("playwright")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error:
            missing("Chromium")
        yield browser
        browser.close()
