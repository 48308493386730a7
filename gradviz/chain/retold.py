"""What a recording keeps of its program in English, said in the language that is spoken."""

from __future__ import annotations

import re

from gradviz.language import say

KEPT = (
    "by {reader} at {place}",
    "a hook registered at {place}",
    "a hook of a node of autograd's graph (grad_fn.register_hook, register_prehook)",
)


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
            return say(sentence, **found.groupdict())
    return text
