"""Every public name has an example in its docstring, and it runs."""

import doctest
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import gradviz as gv

PUBLIC = [name for name in gv.__all__ if not inspect.ismodule(getattr(gv, name))]
NEEDS = {
    "load_training": "torch", "record_training": "torch", "watch": "torch", "draw_dot": "micrograd",
}  # fmt: skip


@pytest.mark.parametrize("name", [*PUBLIC, "examples.backprop_222"])
def test_the_example_of_a_public_name_prints_what_it_says(name, tmp_path, monkeypatch):
    needed = NEEDS.get(name)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"the example of {name} needs {needed}, which is not installed")
    monkeypatch.chdir(tmp_path)
    public = gv
    for part in name.split("."):
        public = getattr(public, part)
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(public), {}, name, None, 0)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("name", [n for n in PUBLIC if inspect.isfunction(getattr(gv, n))])
def test_a_public_function_says_what_it_takes_gives_and_refuses(name):
    function = getattr(gv, name)
    text = inspect.getdoc(function)
    signature = inspect.signature(function)
    sections = {"Parameters", "Returns", "Raises"}
    sections -= {"Returns"} if signature.return_annotation == "None" else set()
    sections -= {"Raises"} if function is gv.stop_gradient else set()  # takes everything
    for section in sections:
        assert re.search(rf"^{section}\n-+$", text, re.MULTILINE), section
    for parameter in signature.parameters:
        assert re.search(rf"^[\w*, ]*\b{parameter}\b", text, re.MULTILINE), parameter


def test_whoever_cites_the_program_names_its_version():
    text = (Path(__file__).parent.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", text, re.MULTILINE)[1] == gv.__version__
