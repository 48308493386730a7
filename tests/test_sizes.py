"""The sizes of files and functions, so that any of them is read in one go."""

import ast
from pathlib import Path

import pytest

import gradviz

FILES = sorted(Path(gradviz.__file__).parent.rglob("*.py"))
FILE, FUNCTION = 610, 60  # some 600


def long_functions(text):
    """By name the functions of too many lines, the docstring aside, that give no reason.

    A reason is a comment in the function or right above it that begins with "Long".
    """
    lines = text.splitlines()
    found = {}
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        doc = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
        size = node.end_lineno - node.lineno + 1
        size -= doc.end_lineno - doc.lineno + 1 if doc else 0
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        around = lines[max(first - 2, 0) : node.end_lineno]
        said = any(line.lstrip().startswith(("# Long", "# (Long")) for line in around)
        if size > FUNCTION and not said:
            found[node.name] = size
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_and_its_functions_are_short_or_say_why(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE or "\n# Long: " in text.partition("\nimport")[0]
    assert long_functions(text) == {}


def test_a_long_function_is_found_by_its_lines_without_the_docstring():
    body = "    x = 1\n" * FUNCTION
    assert long_functions(f'def f():\n    """One\n\n    {body}"""\n    x = 1\n') == {}
    assert long_functions(f"def f():\n{body}") == {"f": FUNCTION + 1}
    assert long_functions(f"class A:\n  @g\n  def f(self):\n{body}") == {"f": FUNCTION + 1}
    assert long_functions(f"# Long: one way down.\ndef f():\n{body}") == {}
