"""What a recording keeps of its program in English, said in the language that is spoken."""

from __future__ import annotations

import re

from gradviz.language import say

ASTRAY = {
    ("computes", "here"): (
        "on plain numbers the program computes {alone}, on recorded ones {again}; {why}"
    ),
    ("computes", "nearby"): (
        "on plain numbers nearby the program computes {alone}, on recorded ones {again}; {why}"
    ),
    ("raises", "here"): (
        "on plain numbers the program raises {alone}, on recorded ones {again}; {why}"
    ),
    ("raises", "nearby"): (
        "on plain numbers nearby the program raises {alone}, on recorded ones {again}; {why}"
    ),
}
"""What is told of a program that goes another way by itself: what it does then, and where."""
HASHED = (
    "equal numbers are one in a set or as keys of a dict, recorded ones are several: put float(x) "
    "into it at {place}"
)
ASKED = (
    "it asks what kind of value it has, and recorded ones answer otherwise: ask np.ndim(x) or "
    "isinstance(x, ...) at {place}"
)
KEPT = (
    "by {reader} at {place}",
    "a hook registered at {place}",
    "a hook of a node of autograd's graph (grad_fn.register_hook, register_prehook)",
    *ASTRAY.values(), HASHED, ASKED,
)  # fmt: skip


def retold(text: str) -> str:
    """A text that was kept; one that is none of these sentences as it stands.

    >>> from gradviz.language import speaking
    >>> with speaking("zh"):
    ...     retold("by float() at net.py:7: y = float(x)")
    '通过 float()，位于 net.py:7: y = float(x)'
    """
    for sentence in KEPT:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(sentence))
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return say(sentence, **{key: retold(part) for key, part in found.groupdict().items()})
    return text
