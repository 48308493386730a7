"""Run the README's Python blocks: ``python scripts/readme.py`` draws its pictures anew."""

import contextlib
import importlib.util
import io
import os
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks():
    """The Python blocks in order, each with the text block that follows it, if one does."""
    found = [
        (match[1], match[2])
        for match in _BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))
    ]
    for n, (kind, code) in enumerate(found):
        if kind == "python":
            follows = found[n + 1] if n + 1 < len(found) else ("", "")
            yield code, follows[1] if follows[0] == "text" else ""


def needs_torch(code):
    """Whether a block uses PyTorch, whose numbers may differ in their last digits elsewhere."""
    return "torch" in code


def run(folder):
    """Run all blocks in `folder`; yields each with what it printed and what it should print.

    Without PyTorch, those that need it are left out.
    """
    (folder / "docs").mkdir(exist_ok=True)
    namespace = {}
    home = Path.cwd()
    os.chdir(folder)
    try:
        for n, (code, expected) in enumerate(blocks()):
            if needs_torch(code) and importlib.util.find_spec("torch") is None:
                continue
            path = folder / f"readme_block_{n}.py"  # a file, so that names can be read off it
            path.write_text(code, encoding="utf-8")
            printed = io.StringIO()
            try:
                with contextlib.redirect_stdout(printed):
                    exec(compile(code, str(path), "exec"), namespace)
            finally:
                path.unlink()
            yield code, printed.getvalue(), expected
    finally:
        os.chdir(home)


if __name__ == "__main__":
    for _, printed, expected in run(ROOT):
        if printed != expected:
            print(f"--- the README says\n{expected}--- printed\n{printed}")
