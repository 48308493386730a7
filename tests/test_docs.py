"""The code on the pages of docs/ prints what stands there."""

from __future__ import annotations

import contextlib
import io
import re

import pytest
import readme

BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_about_jax_prints_what_it_says(tmp_path, monkeypatch):
    for library in ("flax", "optax", "torch"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    text = (readme.ROOT / "docs" / "guides" / "jax.md").read_text(encoding="utf-8")
    printed, namespace = "", {}
    for n, (kind, code) in enumerate(BLOCK.findall(text)):
        if kind == "text":
            assert printed == code
            continue
        path = tmp_path / f"block_{n}.py"  # a file, so that names can be read off it
        path.write_text(code, encoding="utf-8")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(path), "exec"), namespace)
        printed = out.getvalue()
