"""The printers of mathematics agree: what each prints is read back, and means the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
import pytest
from cases import CASES, ELEMENTWISE_CASES
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_notation_of_rows import NAMESPACE

import gradviz as gv
from gradviz.ops import layout, notation, tex
from gradviz.ops.mathml import mathml, symbol
from gradviz.ops.table import ROWS, lookup, split
from gradviz.show import mathtext

# --- formulas: each notation as Python, by a reader that knows nothing of the printers -----------

SPOKEN = {"ln": "log", "max": "maximum", "min": "minimum", "σ": "sigmoid"}
KNOWN = NAMESPACE | {
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "either": lambda holds: holds * 1.0,
    "mod": "%",
    "fmod": np.fmod,
}


def of_mathml(tree: Any) -> str:
    tag, *parts = tree
    if tag in ("mi", "mn", "mtext"):
        said = SPOKEN.get(parts[0], parts[0]).replace("𝟏", "1.0").replace("∞", "inf")
        return said.replace("−", "-").replace("π", "pi")
    if tag == "mo":
        signs = {"−": "-", "·": "*", "=": "==", "≥": ">=", "≤": "<=", "≠": "!=", "mod": "%",
                 "∧": "&", "¬": "1 -"}  # fmt: skip
        return signs.get(parts[0], parts[0])
    if tag == "mfrac":
        return "(({})/({}))".format(*map(of_mathml, parts))
    if tag == "msqrt":
        return f"sqrt({of_mathml(parts[0])})"
    if tag == "mroot":
        assert parts[1] == ["mn", "3"]
        return f"cbrt({of_mathml(parts[0])})"
    if tag == "msup":
        base, exponent = map(of_mathml, parts)
        return f"exp({exponent})" if base == "e" else f"(({base})**({exponent}))"
    if tag == "msub":
        return "".join(map(of_mathml, parts))
    assert tag == "mrow", tag
    if parts[0] == ["mo", "["]:
        return f"either({''.join(map(of_mathml, parts[1:-1]))})"
    for bracket, function in (("|", "abs"), ("⌊", "floor"), ("⌈", "ceil")):
        if parts[0] == ["mo", bracket]:
            return f"{function}({''.join(map(of_mathml, parts[1:-1]))})"
    return "".join(f" {of_mathml(part)} " if part[0] == "mo" else of_mathml(part) for part in parts)


def group(text: str, i: int) -> tuple[str, int]:
    """What the braces that open at i hold, and what comes after them."""
    depth = 0
    for k in range(i, len(text)):
        depth += {"{": 1, "}": -1}.get(text[k], 0)
        if not depth:
            return text[i + 1 : k], k + 1
    raise AssertionError(text)


def of_latex(text: str) -> str:
    out, i = "", 0
    while i < len(text):
        rest = text[i:]
        if found := re.match(r"\\(frac|sqrt\[3\]|sqrt|operatorname|mathbf)\{", rest):
            inner, i = group(text, i + found.end() - 1)
            if found[1] == "frac":
                below, i = group(text, i)
                out += f"(({of_latex(inner)})/({of_latex(below)}))"
            elif found[1] == "mathbf":
                out += "1.0"
            elif found[1] == "operatorname":
                out += inner.replace(r"\_", "_")
            else:
                out += f"{'cbrt' if '3' in found[1] else 'sqrt'}({of_latex(inner)})"
        elif rest.startswith(euler := r"\mathrm{e}^{"):
            inner, i = group(text, i + len(euler) - 1)
            out += f"exp({of_latex(inner)})"
        elif text[i] == "{":
            inner, i = group(text, i)
            out += f"({of_latex(inner)})"
        elif rest.startswith("^{"):
            inner, i = group(text, i + 1)
            out += f"**({of_latex(inner)})"
        elif found := re.match(r"\\left(\(|\[|\||\\\w+) ?|\\right(\)|\]|\||\\\w+)|\[|\]", rest):
            opening = {"|": "abs(", "[": "either(", r"\lfloor": "floor(", r"\lceil": "ceil("}
            out += opening.get(found[1] or found[0], "(") if found[0][:5] != "\\righ" else ")"
            if found[0] == "]":
                out = out[:-1] + ")"
            i += found.end()
        elif found := re.match(r"\\log_2|\\log_\{10\}|\\[A-Za-z]+|\\,|.", rest):
            signs = {r"\cdot": "*", r"\,": "*", r"\ge": ">=", r"\le": "<=", r"\ne": "!=",
                     r"\bmod": "%", r"\log_2": "log2", r"\log_{10}": "log10", r"\wedge": "&",
                     r"\pi": "pi", r"\infty": "inf", "=": "==", r"\lnot": "1 -"}  # fmt: skip
            said = found[0]
            out += signs.get(said) or SPOKEN.get(said.lstrip("\\"), said.lstrip("\\"))
            i += found.end()
    return out


def of_runs(runs: mathtext.Runs) -> str:
    out, rises = "", [0.0]
    for run in runs:
        while run.rise < rises[-1]:
            out += ")"
            rises.pop()
        if run.rise > rises[-1]:
            out += "**("
            rises.append(run.rise)
        out += (" " if run.space else "") + run.text
    out += ")" * (len(rises) - 1)
    out = re.sub(r"(?<=\d)×10\*\*", "*10.0**", out).replace("=", "==")
    out = re.sub(r"\[", "either(", out).replace("]", ")")
    signs = {"−": "-", "·": "*", "≥": ">=", "≤": "<=", "≠": "!=", "√": "sqrt", "∛": "cbrt",
             "π": "pi", "¬": "1 -"}  # fmt: skip
    return "".join(signs.get(c, c) for c in out)


def evaluated(written: str, symbols: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(eval(written.strip(), KNOWN | symbols), float)


def agree(tree: Any, symbols: dict[str, Any]) -> None:
    """All notations of a formula are the same number."""
    wanted = evaluated(notation.text(tree), symbols)
    printed = {
        "LaTeX": of_latex(tex.formula(tree, r" \cdot ")),
        "LaTeX in line": of_latex(tex.in_line(tree)),
        "MathML": of_mathml(mathml(tree)),
        "picture": of_runs(mathtext.formula(layout.in_line(tree))),
    }
    for printer, written in printed.items():
        try:
            np.testing.assert_allclose(evaluated(written, symbols), wanted, rtol=1e-12)
        except Exception as error:
            raise AssertionError(f"{printer}: {notation.text(tree)} reads {written}") from error


SCALARS = [c for c in ELEMENTWISE_CASES if all(np.ndim(a) == 0 for a in c.args)]


@pytest.mark.parametrize("case", SCALARS, ids=repr)
def test_each_notation_of_a_row_evaluates_to_what_the_row_computes(case):
    row = lookup(case.function)
    known = dict(zip("abc", case.args, strict=False))
    names = [notation.name(letter) for letter in known]
    agree(row.expression(names, {}), known)
    known["v"] = row.evaluate(*case.args)
    for k in range(len(names)):
        if row.rule(k) is not None:
            agree(row.derivative(k, notation.name("v"), names, {}), known)


GREEK = dict(zip("αβγδεζηθκ", "alpha beta gamma delta epsilon zeta eta theta kappa".split(),
                 strict=True))  # fmt: skip


def operands_in(tree: Any) -> list[str]:
    """The operands of a formula in the order in which each printer names them, all alike."""
    names = {name: letter for letter, name in GREEK.items()}
    latex = [names[n] for n in re.findall(r"\\([a-z]+)", tex.formula(tree)) if n in names]
    runs = "".join(run.text for run in mathtext.formula(layout.in_line(tree)))
    ones = r"ones_like\([^\W_]+\)"  # an array of ones, whatever its shape is taken from
    runs, text = (re.sub(ones, "", written) for written in (runs, notation.text(tree)))
    printed = [
        latex,
        [c for c in str(mathml(tree)) if c in GREEK],
        [c for c in runs if c in GREEK],
        [names[n] for n in re.findall(r"[a-z]+", text) if n in names],
    ]
    assert printed[0] == printed[1] == printed[2] == printed[3], (notation.text(tree), printed)
    return latex


ROWS_CASES = [case for case in CASES if case.function in ROWS and case.function is not np.choose]


@pytest.mark.parametrize("case", ROWS_CASES, ids=repr)
def test_each_notation_of_a_row_names_the_same_operands(case):
    row, operands, keywords = split(case.function, case.args, case.kwargs)
    names = [notation.name(name) for name in list(GREEK.values())[: len(operands)]]
    assert len(names) == len(operands)
    operands_in(row.expression(names, keywords))
    for k in range(len(names)):
        if row.rule(k) is not None:
            operands_in(row.message(k, notation.name("g"), notation.name("v"), names, keywords))


LETTERS = {letter: 0.3 + 0.25 * k for k, letter in enumerate("abcxyz")}


def formulas() -> st.SearchStrategy[str]:
    leaves = st.sampled_from([*LETTERS, "2", "0.5", "1e-05", "3"])

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pair = st.tuples(inner, inner)
        return st.one_of(
            pair.map("({0[0]} + {0[1]})".format), pair.map("({0[0]} - {0[1]})".format),
            pair.map("({0[0]} * {0[1]})".format), pair.map("({0[0]} / (2 + {0[1]} ** 2))".format),
            pair.map("(abs({0[0]}) + 1) ** ({0[1]} / 9)".format), inner.map("(-{})".format),
            inner.map("({}) ** 2".format), inner.map("exp(-abs({}))".format),
            inner.map("tanh({})".format), inner.map("sqrt(abs({}))".format),
            inner.map("cbrt({})".format), pair.map("maximum({0[0]}, {0[1]})".format),
            pair.map("where({0[0]} > {0[1]}, 1, 0)".format), inner.map("log(2 + abs({}))".format),
        )  # fmt: skip

    return st.recursive(leaves, larger, max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(formulas())
def test_each_notation_of_any_formula_evaluates_to_the_same(formula):
    agree(notation.parse(formula), LETTERS)


# --- names ----------------------------------------------------------------------------------------


def name_of_mathml(tree: Any, level: str = "") -> list[tuple[str, str]]:
    """The texts of a name, each with where it stands."""
    tag, *parts = tree
    if tag in ("mi", "mn", "mo", "mtext"):
        return [(level + ("upright" if tag == "mtext" and not level else ""), parts[0])]
    if tag == "mrow":
        return [found for part in parts for found in name_of_mathml(part, level)]
    if tag == "mover":
        marks = {"¯": "bar", "^": "hat", "~": "tilde", "˙": "dot"}
        return [*name_of_mathml(parts[0], level), ("mark", marks[parts[1][1]])]
    levels = {"msub": ["_"], "msup": ["^"], "msubsup": ["_", "^"]}[tag]
    inner = [f for p, at in zip(parts[1:], levels, strict=True) for f in name_of_mathml(p, at)]
    return [*name_of_mathml(parts[0], level), *inner]


def name_of_latex(text: str, level: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    i = 0
    while i < len(text):
        command = re.match(
            r"\\(bar|hat|tilde|dot|text|mathit)\{|([_^])\{|\\([A-Za-z]+) ?|.", text[i:]
        )
        assert command
        if command[0].endswith("{"):
            inner, i = group(text.replace(r"\{", "  ").replace(r"\}", "  "), i + command.end() - 1)
            if command[2]:
                found += name_of_latex(inner, command[2])
            elif command[1] in ("text", "mathit"):
                upright = "upright" if command[1] == "text" and not level else ""
                found.append((level + upright, inner.replace(r"\_", "_")))
            else:
                found += [*name_of_latex(inner, level), ("mark", command[1])]
        else:
            i += command.end()
            letter = (
                unicodedata.lookup(f"GREEK {_case(command[3])} LETTER {_greek(command[3])}")
                if command[3] and command[3] != "top"
                else "⊤"
                if command[3]
                else command[0]
            )
            found.append((level, letter))
    return found


def _case(name: str) -> str:
    return "CAPITAL" if name[0].isupper() else "SMALL"


def _greek(name: str) -> str:
    return {"lambda": "LAMDA"}.get(name.lower(), name.upper())


def name_of_runs(runs: mathtext.Runs) -> list[tuple[str, str]]:
    marks = {"¯": "bar", "ˆ": "hat", "˜": "tilde", "˙": "dot"}
    composed = {"\u0302": "hat", "\u0303": "tilde", "\u0307": "dot"}
    found: list[tuple[str, str]] = []
    for run in runs:
        if run.text in marks:
            found.append(("mark", marks[run.text]))
            continue
        level = "_" if run.rise < 0 else "^" if run.rise > 0 else ""
        text = unicodedata.normalize("NFD", run.text) if run.font == "italic" else run.text
        found += [("mark", composed[c]) for c in text if c in composed]
        upright = "upright" if run.font == "roman" and not level else ""
        text = "".join(c for c in text if c not in composed).replace(
            "T" if level == "^" else "\0", "⊤"
        )
        found.append((level + upright, text))
    return found


def summary(found: list[tuple[str, str]]) -> dict[str, str]:
    """The text at each level, and the marks."""
    levels = {level: "" for level, _ in found}
    for level, text in found:
        levels[level] += text + " " * (level == "mark")
    levels["mark"] = " ".join(sorted(levels.get("mark", "").split()))
    return {level: text for level, text in levels.items() if text}


BASES = "x W z alpha theta lam eps fc net loss hidden conv1 lm layers q".split()
ENDINGS = ["", "1", "12", "_1", "_o1", "_h1", "_hat", "_tilde_2", "_ij", "_1_2", "_head", "_size",
           "_states", "_alpha", "_beta1", "_max", "_old_state", "__y"]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(["", "", "fc1.", "layers[0].", "lm_head.", "model.blocks.3."]),
    st.sampled_from(BASES), st.sampled_from(ENDINGS), st.sampled_from(["", "", "[0]"]),
    st.sampled_from(["", "", "(2)", ".T"]), st.booleans(),
)  # fmt: skip
@example("", "hidden", "_size", "", "", False)
@example("", "theta", "_hat", "", "", True)
def test_each_notation_reads_a_name_alike(path, base, ending, index, above, bar):
    name = path + base + ending + index + above
    name = notation.adjoint(name).id if bar else name
    read = {
        "LaTeX": summary(name_of_latex(tex.symbol(name))),
        "MathML": summary(name_of_mathml(symbol(name))),
        "picture": summary(name_of_runs(mathtext.name(name))),
    }
    assert read["LaTeX"] == read["MathML"] == read["picture"], read
    assert ("bar" in read["LaTeX"].get("mark", "")) == bar


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=12))
def test_any_text_is_a_name_that_no_printer_takes_for_markup(name):
    latex = tex.symbol(name)
    bare = re.sub(r"\\[\\{}$&#%_^~]|\\[A-Za-z]+", "", latex)
    assert not set(bare) & set("\\$&#%~")
    assert bare.count("{") == bare.count("}")
    assert all(isinstance(part, (str, list)) for part in symbol(name))
    assert mathtext.name(name)


@pytest.mark.parametrize("name", ["lm_head", "hidden_states", "hidden_size", "not_used"])
def test_an_identifier_is_upright_text_without_a_subscript(name):
    assert tex.symbol(name) == rf"\text{{{name.replace('_', chr(92) + '_')}}}"
    assert symbol(name) == ["mtext", name]
    assert mathtext.name(name) == (mathtext.Run(name),)


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("w_1", "w_{1}"), ("z_o1", "z_{o1}"), ("a_h1", "a_{h1}"), ("theta_hat", r"\hat{\theta}"),
        ("lam", r"\lambda"), ("h(2)", "h^{(2)}"), ("net_h1", r"\mathit{net}_{h1}"),
        ("w_1_2", "w_{1,2}"), ("x_alpha", r"x_{\alpha}"),
        ("fc1.weight", r"\text{fc1.}\mathit{weight}"),
    ],
)  # fmt: skip
def test_a_symbol_is_set_as_mathematics(name, latex):
    assert tex.symbol(name) == latex


def test_the_latex_of_ones_own_operation_reaches_every_printer():
    row = gv.operation(
        lambda x: np.logaddexp(0, x), local="1 / (1 + exp(-x))", name="smooth", latex=r"\sigma_+"
    )
    g = gv.trace(lambda x: row(x) * 2.0, 0.5)
    tree = g.expression(next(i for i in range(len(g)) if g.values[i].operation.name == "smooth"))
    assert tex.formula(tree) == r"\sigma_+\left(x\right)"
    assert tex.in_line(tree) == r"\sigma_+\left(x\right)"
    assert mathml(tree)[1] == ["msub", ["mi", "σ"], ["mo", "+"]]
    runs = mathtext.formula(layout.in_line(tree))
    assert [(r.text, r.rise < 0) for r in runs] == [
        ("σ", False), ("+", True), ("(", False), ("x", False), (")", False)
    ]  # fmt: skip
