"""The language that gradviz speaks: one setting, and one table of sentences for each language.

English sentences stand where they are said, as ``say("{n} paths", n=3)``; ``said.XX.json`` has them
in another language. Errors are in English.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial, wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LANGUAGES = ("en", "zh")
_own: ContextVar[str] = ContextVar("language", default="")
_set = os.environ.get("GRADVIZ_LANGUAGE", "")


def set_language(language: str = "") -> None:
    """Set the language of pictures, formulas, ledgers, lessons, findings, pages and widgets.

    Whatever draws, explains or diagnoses also takes it as an argument, ``g.draw(language="zh")``.
    Without either it is English, and on a page or in a widget the reader's own. The environment
    variable ``GRADVIZ_LANGUAGE`` sets it, too. Reports of ``watch`` are in it. Errors stay in
    English, for they are searched for, also where a finding quotes one. A TikZ document in Chinese
    is for XeLaTeX or LuaLaTeX with the package ctex.

    Parameters
    ----------
    language : {"", "en", "zh"}
        "" for what it is without a setting.

    Raises
    ------
    ValueError
        There is no such language.

    Examples
    --------
    >>> import gradviz as gv
    >>> g = gv.expression("z = x * y; z ** 2", x=2, y=3)
    >>> gv.set_language("zh")
    >>> print(g.reuse("x"))
    ∂J/∂x
        新计算    ∂J/∂J、∂J/∂z
        复用      无
        读取缓存  无
        VJP       使用缓存 2 次，逐条路径 2 次
    合计          使用缓存 2 次 VJP，逐条路径 2 次
    >>> gv.set_language()
    >>> g.draw(language="zh").view.legend[0][1]
    '值，来自前向传播'
    """
    global _set
    _set = _known(language)


def asked(language: str = "") -> str:
    """The language asked for, else the one that is set; "" where the reader may choose."""
    return _known(language or _own.get() or _set)


def _known(language: str) -> str:
    if language not in ("", *LANGUAGES):
        there = ", ".join(map(repr, LANGUAGES))
        raise ValueError(f"no language {language!r}; there is: {there}")
    return language


def spoken() -> str:
    """The language that is spoken now."""
    return asked() or "en"


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak a language for a while; "" for the one that is spoken anyhow."""
    token = _own.set(asked(language))
    try:
        yield
    finally:
        _own.reset(token)


def translated(sentence: str) -> str:
    """A sentence in the language that is spoken, its places left open."""
    return _table(spoken()).get(sentence, sentence)


def say(sentence: str, /, **places: object) -> str:
    """A sentence in the language that is spoken, with what stands in its places.

    >>> with speaking("zh"):
    ...     say("{n} paths", n=3)
    '3 条路径'
    """
    return translated(sentence).format_map(places)


class Told(partial[str]):
    """What is said as often as it is read, each time in the language that is spoken then."""

    def __str__(self) -> str:
        return self()

    def __format__(self, _: str) -> str:
        return self()

    @property
    def sentence(self) -> str:
        """Its sentence in English, the places left open."""
        return str(self.args[0])


def later(sentence: str, /, **places: object) -> Told:
    """A sentence that is said when it is read.

    >>> told = later("{n} paths", n=3)
    >>> with speaking("zh"):
    ...     str(told)
    '3 条路径'
    """
    return Told(say, sentence, **places)


def in_every_language(tell: Callable[[], str]) -> dict[str, str]:
    """What is told, in each language: its reader will choose."""
    told = {}
    for language in LANGUAGES:
        with speaking(language):
            told[language] = tell()
    return told


def some(n: int, word: str, form: str = "") -> str:
    """A number of things.

    >>> some(1, "path"), some(0, "path"), some(12345, "path", ",")
    ('1 path', '0 paths', '12,345 paths')
    """
    return say(f"{{n}} {word}" + ("" if n == 1 else "s"), n=f"{n:{form}}")


def several(names: Iterable[str], most: int | None = None) -> str:
    """Names as a sentence lists them; each once and at most so many, if `most` says so.

    >>> several(["a", "b", "c"]), several(["a", "b", "a", "c", "d"], 3)
    ('a, b and c', 'a, b, c and 1 more')
    """
    found = [*names]
    if most is None:
        *first, last = found or [""]
        return say("{names} and {last}", names=commas(first), last=last) if first else last
    found = [*dict.fromkeys(found)]
    more = len(found) - most
    shown = commas(found[:most])
    return say("{names} and {n} more", names=shown, n=more) if more > 0 else shown


def commas(names: Iterable[str]) -> str:
    """Names with commas between them."""
    return say(", ").join(names)


def clauses(parts: Iterable[object]) -> str:
    """Clauses of one sentence, each of which could stand alone."""
    return say("; ").join(map(str, parts))


def columns(text: str) -> int:
    """How wide a text is in a terminal, where a Chinese character is two letters wide.

    >>> columns("J"), columns("值")
    (1, 2)
    """
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def padded(text: str, width: int, *, before: bool = False) -> str:
    """A text with blanks behind it, or before it."""
    blanks = " " * (width - columns(text))
    return blanks + text if before else text + blanks


@cache
def _table(language: str) -> dict[str, str]:
    if language == "en":
        return {}
    import json  # (both take longer than all else here, and English needs neither)
    from importlib.resources import files

    file = files("gradviz") / f"said.{language}.json"
    table: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return table


class _Asked(Protocol):
    @property
    def language(self) -> str: ...


S = TypeVar("S", bound=_Asked)


def in_its_language(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], R]:
    """A method that speaks the language in which its object was asked for."""

    @wraps(method)
    def told(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with speaking(self.language):
            return method(self, *args, **kwargs)

    return told
