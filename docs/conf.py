"""How `make docs` builds the site: by Sphinx, from this repository alone, without a network."""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE / "_build_tools"), str(ROOT)]

import gallery_pictures  # noqa: E402  (from _build_tools)
import names_elsewhere  # noqa: E402

import gradviz  # noqa: E402

project = "gradviz"
author = "gradviz contributors"
copyright = "gradviz contributors, MIT licence"
version = release = gradviz.__version__
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_click",
    "sphinx_gallery.gen_gallery",
    "math_in_mathml",  # from _build_tools
]
html_math_renderer = "mathml"
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "examples/*.ipynb",
    "_build_tools",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
nitpicky = True  # a name in a docstring that leads nowhere is a warning, and warnings are errors
nitpick_ignore_regex = [("py:.*", r"(array_like|callable|optional|sequence|mapping|iterable).*")]

# --- the reference, out of the docstrings ------------------------------------------------------
autosummary_generate = True
autodoc_typehints = "none"  # NumPy's docstrings tell types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # a class's page has its own table of members
numpydoc_class_members_toctree = False

# Names of NumPy's, NetworkX's ... pages: a table of those that are used, as no network is asked.
intersphinx_mapping = names_elsewhere.mapping(HERE / "names_elsewhere", HERE / "_build")

# --- pages with code: run at each build --------------------------------------------------------
os.environ["OMP_NUM_THREADS"] = "1"  # small models: threads would only wait for one another
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # a cell is a training, and a machine may be slow
nb_execution_excludepatterns = ["lessons/*"]  # the repository's notebooks: a test runs these
nb_execution_in_temp = True  # what a page saves is not kept
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

for folder in (HERE / "lessons", HERE / "examples", gallery_pictures.LIVING):  # made anew
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
for notebook in (ROOT / "notebooks").glob("*.ipynb"):
    shutil.copy(notebook, HERE / "lessons")

# --- the gallery -------------------------------------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": ["gallery"],
    "gallery_dirs": ["examples"],
    "filename_pattern": r".*\.py",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("gallery_pictures",),
    "reset_modules": (),
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 10**6,
    "remove_config_comments": True,
}

# --- how it looks ------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "gradviz"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_extra"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_persistent": ["search-button"],
    "pygments_light_style": "a11y-light",
    "pygments_dark_style": "a11y-dark",
}
html_context = {"default_mode": "auto"}
# A page that has none below or beside it needs no navigation of its section.
html_sidebars = {page: [] for page in ("index", "start", "architecture", "releasing")}
