"""Names and expressions as mathematics: ``z_o1 * w1**2`` becomes runs of styled text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from gradviz.ops.notation import MACRON
from gradviz.words import clean

from . import measure


@dataclass(frozen=True)
class Run:
    """A piece of text in one style; `scale` and `rise` (in em) make sub- and superscripts."""

    text: str
    font: str = "roman"
    scale: float = 1.0
    rise: float = 0.0
    space: float = 0.0  # before the run, in em

    def width(self, size: float) -> float:
        """Width in pixels at a font size, the space before it not counted."""
        return measure.width(self.text, self.font, size * self.scale)


Runs = tuple[Run, ...]

GREEK = dict(zip(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
    "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", strict=True,
)) | {"lambda_": "λ", "eps": "ε", "lam": "λ"}  # fmt: skip
_ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "dot": "\u0307"}
_SYMBOLS = {"-": "−", ">=": "≥", "<=": "≤", "!=": "≠", "==": "="}
_PRODUCTS = {"*": "·", "@": ""}
_THIN = 0.16
_BAR = "\N{MACRON}"
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w))"
    r"|(?P<name>[^\W\d][\w\u0304]*(?:\.[^\W\d]\w*|\[\w+\])*)"
    r"|(?P<operator>\*\*|>=|<=|!=|==|.)"
)
_VERSION = re.compile(r"\((\d+)\)")
_SUB, _SUP = -0.22, 0.36


def number(text: str, font: str = "sans") -> Runs:
    """A formatted number: a true minus sign, and a power of ten instead of ``e-5``."""
    out: list[Run] = []
    position = 0
    for match in re.finditer(r"(?<=[\d.])e([-+]?)0*(\d+)", text):
        out.append(Run(text[position : match.start()].replace("-", "−") + "×10", font))
        sign = "−" if match[1] == "-" else ""
        out.append(Run(sign + match[2], font, 0.72, _SUP))
        position = match.end()
    if position < len(text):
        out.append(Run(text[position:].replace("-", "−"), font))
    return _merge(out)


def _script(runs: Iterable[Run], rise: float) -> list[Run]:
    return [replace(run, scale=run.scale * 0.72, rise=run.rise * 0.72 + rise) for run in runs]


def _letters(text: str) -> Run:
    """Letters of a name: slanted, as mathematics has it, unless the script knows no slant."""
    return Run(text, "italic" if all(ord(character) < 0x530 for character in text) else "roman")


def _word(word: str) -> list[Run]:
    """One component of a name: a letter (or Greek word) with its subscript, or a plain word."""
    if MACRON in word:  # a gradient: the bar is set over the first letter
        first, *rest = _word(word.replace(MACRON, ""))
        letter, others = first.text[:1], first.text[1:]
        # A bar of its own: few fonts can set a combining one over every letter.
        width, bar = (measure.width(text, first.font, 1) for text in (letter, _BAR))
        rise = 0.2 if letter.isupper() or letter in "bdfhkltβδθλξ" else 0.01
        above = Run(_BAR, "roman", rise=rise, space=-(width + bar) / 2)
        runs = [replace(first, text=letter), above]
        return [*runs, Run("", space=(width - bar) / 2), replace(first, text=others), *rest]
    if word in GREEK:
        return [Run(GREEK[word], "italic")]
    match = re.fullmatch(r"([^\W\d_]+)(?:_(\w*[^\W_])|(\d+))", word)
    if match is None:
        return [_letters(word)]
    base, sub, digits = match.groups()
    # z_o1 and net_h1 are symbols, hidden_size and not_used are words
    if base not in GREEK and (len(base) > 3 or (len(base) == 3 and len(sub or "") > 2)):
        return [_letters(word)]
    if sub in _ACCENTS:
        accented = unicodedata.normalize("NFC", base + _ACCENTS[sub])
        if len(accented) == 1:
            return [_letters(accented)]
    head = GREEK.get(base, base)
    if digits:
        return [_letters(head), *_script([Run(digits)], _SUB)]
    inner: list[Run] = []
    for i, part in enumerate(sub.split("_")):
        if part:
            inner += [Run(",")] * bool(i and inner) + _subscript(part)
    return [_letters(head), *_script(inner, _SUB)]


def _subscript(part: str) -> list[Run]:
    match = re.fullmatch(r"([^\W\d]*)(\d*)", part)
    if match is None or part in GREEK:
        return [_letters(GREEK.get(part, part))]
    letters, digits = match.groups()
    out = [_letters(GREEK.get(letters, letters))] if letters else []
    return out + ([Run(digits)] if digits else [])


def _identifier(name: str) -> list[Run]:
    transposed = name.endswith(".T")
    name = name[:-2] if transposed else name
    path, dot, last = name.rpartition(".")
    index = ""
    if "[" in last:
        last, bracket, rest = last.partition("[")
        index = bracket + rest
    runs = ([Run(path + dot)] if path else []) + _word(last) + ([Run(index)] if index else [])
    return runs + (_script([Run("T")], _SUP) if transposed else [])


def expression(text: str) -> Runs:
    """A right-hand side or a name as runs; whatever is not mathematics stays readable text."""
    text = clean(text)
    tokens = list(_TOKEN.finditer(text))
    runs: list[Run] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token.lastgroup == "operator" and token[0] == "**":
            i += 1
            while i < len(tokens) and tokens[i].lastgroup == "space":
                i += 1
            exponent, i = _operand(text, tokens, i)
            _strip(runs)
            runs += _script(expression(exponent), _SUP) if exponent else [Run("**")]
            continue
        if token.lastgroup == "name":
            follows = text[token.end() :]
            version = _VERSION.match(follows)
            if token[0] == "sqrt" and follows.startswith("("):
                runs.append(Run("√"))
            elif version and not token[0].startswith(("exp", "log", "sin", "cos", "tanh")):
                above = version[0]
                i += 3
                if text.startswith(".T", token.end() + len(above)):
                    above, i = above + "T", i + 2
                symbol = _identifier(token[0]) + _script([Run(above)], _SUP)
                # h(2)**2: the power is not to be read as one number with the version.
                powered = i + 1 < len(tokens) and text[tokens[i].end() :].lstrip().startswith("**")
                runs += [Run("("), *symbol, Run(")")] if powered else symbol
            elif follows.startswith("("):
                runs.append(Run(token[0]))
            else:
                runs += _identifier(token[0])
        elif token.lastgroup == "number":
            runs += number(token[0], "roman")
        elif token.lastgroup == "space":
            runs.append(Run(" "))
        elif token[0] in _PRODUCTS:
            _strip(runs)
            runs.append(Run(_PRODUCTS[token[0]], space=_THIN))
            runs.append(Run("", space=_THIN))
            while i + 1 < len(tokens) and tokens[i + 1].lastgroup == "space":
                i += 1
        else:
            runs.append(Run(_SYMBOLS.get(token[0], token[0])))
        i += 1
    return _merge(runs)


def _operand(text: str, tokens: list[re.Match[str]], i: int) -> tuple[str, int]:
    """The exponent that starts at token `i`, without its brackets, and where it ends."""
    if i >= len(tokens):
        return "", i
    start, end, depth = i, i, 0
    while end < len(tokens):
        depth += {"(": 1, ")": -1}.get(tokens[end][0], 0)
        if depth <= 0 and not (end == start and tokens[end][0] == "-"):
            break
        end += 1
    end = min(end, len(tokens) - 1)
    inner = text[tokens[start].start() : tokens[end].end()]
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1]
    return inner, end + 1


def _strip(runs: list[Run]) -> None:
    while runs and not runs[-1].text.strip():
        runs.pop()


def name(text: str) -> Runs:
    """A node's name as runs; ``h(2)`` is the second value that was assigned to ``h``."""
    if re.fullmatch(r"[\w.\[\]()∂/²\u0304]*", text) and re.search(r"\w", text):
        return expression(text)
    return plain(text, "roman") or (Run("(no name)"),)


def plain(text: str, font: str = "sans") -> Runs:
    """Harmless text in one font."""
    return _merge([Run(clean(text), font)])


_SYMBOL = re.compile(r"(?:∂\w+/∂)?(?:[^\W\d_]{1,3}(?:_\w+|\d+)|∂\w+)(?:\(\d+\))?")


def prose(text: str, font: str = "sans") -> Runs:
    """A sentence, with the names in it that are plainly symbols set as mathematics."""
    runs: list[Run] = []
    for i, word in enumerate(clean(text).split(" ")):
        bare = word.strip(",.;:()")
        blank = [Run(" ", font)] * bool(i)
        if _SYMBOL.fullmatch(bare):
            head, _, tail = word.partition(bare)
            runs += [*blank, Run(head, font), *expression(bare), Run(tail, font)]
        elif re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?", bare):
            runs += [*blank, *number(word, font)]
        else:
            runs += [*blank, Run(word, font)]
    return _merge(runs)


def _merge(runs: Iterable[Run]) -> Runs:
    """Join neighbours of one style and turn outer blanks into space, which XML would not keep."""
    out: list[Run] = []
    space = 0.0
    for run in runs:
        blank = measure.width(" ", run.font, 1)
        stripped = run.text.strip(" ")
        leading = len(run.text) - len(run.text.lstrip(" "))
        trailing = len(run.text.rstrip(" ")) and len(run.text) - len(run.text.rstrip(" "))
        space += run.space + leading * blank * run.scale
        if stripped:
            last = out[-1] if out else None
            if last and (last.font, last.scale, last.rise) == (run.font, run.scale, run.rise):
                out[-1] = replace(last, text=last.text + (" " if space else "") + stripped)
            else:
                out.append(replace(run, text=stripped, space=space if out else 0.0))
            space = trailing * blank * run.scale
    return tuple(out)


def line_width(runs: Runs, size: float) -> float:
    """Width in pixels of runs set in one line."""
    return sum(run.space * size + run.width(size) for run in runs)


def elide(runs: Runs, size: float, limit: float) -> Runs:
    """`runs`, cut with an ellipsis where they grow wider than `limit` pixels."""
    if line_width(runs, size) <= limit:
        return runs
    room = limit - size  # an ellipsis is one em wide
    out: list[Run] = []
    for run in runs:
        step = run.space * size + run.width(size)
        if step <= room:
            out.append(run)
            room -= step
            continue
        text = run.text
        while text and replace(run, text=text).width(size) + run.space * size > room:
            text = text[:-1]
        if text.strip():
            out.append(replace(run, text=text.strip()))
        break
    return _merge([*out, Run("…")])


def placed(runs: Runs, size: float) -> Iterator[tuple[Run, float, float]]:
    """Each run with its x offset and its width, in pixels."""
    x = 0.0
    for run in runs:
        x += run.space * size
        step = run.width(size)
        yield run, x, step
        x += step


def to_text(runs: Runs) -> str:
    """The runs as one line of plain text."""
    return "".join((" " if run.space else "") + run.text for run in runs)
