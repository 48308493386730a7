"""The one ES module that is shipped, joined of the rooms in ``js/``: no build step, no bundler.

A room imports others by name, ``import { a, b } from "./other.js";``, and the joined module has
them all in one scope, each below what it imports: names differ between rooms. Comments stay here,
and so does indentation, for which no text runs over lines.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_ROOMS = files("gradviz.web") / "js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async|class|const|function)", re.MULTILINE)
_BLOCK = r"/\*\*(?:(?!\*/)[\s\S])*\*/"
_COMMENT = re.compile(rf"^[ \t]*(?://.*|{_BLOCK})\n|{_BLOCK} ?", re.MULTILINE)

_INDENT = re.compile(r"^ +", re.MULTILINE)


@cache
def joined(entry: str) -> str:
    """A room as one module, with all that it imports."""
    found: dict[str, str] = {}

    def add(room: str) -> None:
        if room in found:
            return
        source = (_ROOMS / f"{room}.js").read_text(encoding="utf-8")
        for other in _IMPORT.findall(source):
            add(other)
        source = _EXPORT.sub("", _IMPORT.sub("", _COMMENT.sub("", source))).strip()
        found[room] = _INDENT.sub("", source)

    add(entry)
    return "\n\n".join(found.values()) + "\n"
