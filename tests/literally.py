"""Formulas read literally: what each of their symbols means, without gradviz's derivatives.

∂a/∂b is the derivative of a by b over all ways from b to a; ∂₂a that by a's operand 2 alone. Each
operation is differentiated by a complex step of its own formula.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from gradviz.ops import notation, symbols, tex

FUNCTIONS = {n: getattr(np, n) for n in ("sin", "cos", "tanh", "exp", "log", "sinh", "cosh")}
FUNCTIONS |= {"ln": np.log, "e": np.e, "sigmoid": lambda a: 1 / (1 + np.exp(-a))}


class Reader:
    """Reads the formulas of a graph of scalars."""

    def __init__(self, graph):
        self.graph, self.names = graph, graph.names
        self.values = {name: float(graph.value(name)) for name in graph.names}
        self.total = cache(self._total)

    def part(self, name, key):
        """The derivative of a value by one operand alone."""
        v = self.graph.id(name)
        node, operands = self.graph.values[v], self.graph.operands[v]
        places = [notation.name(f"operand{k}") for k in range(len(operands))]
        formula = notation.text(node.operation.expression(places, node.keywords))
        at = {f"operand{k}": self.values[self.names[u]] for k, u in enumerate(operands)}
        at[f"operand{key}"] += 1e-200j
        return np.imag(eval(formula, FUNCTIONS | at)) / 1e-200

    def _total(self, top, below):
        if top == below:
            return 1.0
        operands = self.graph.operands[self.graph.id(top)]
        return sum(
            self.part(top, key) * self.total(self.names[u], below) for key, u in enumerate(operands)
        )

    def read(self, formula):
        """The number that a formula in plain text is."""
        output = self.names[self.graph.output]

        def alone(match):
            key = int("".join(str(symbols.SUBSCRIPTS.index(digit)) for digit in match[1])) - 1
            return f"({float(self.part(match[2], key))!r})"

        formula = re.sub(r"∂([₀-₉]+)(\w+)", alone, formula)
        formula = re.sub(r"δ\[(\w+)\]", rf"∂{output}/∂\1", formula)
        formula = re.sub(
            r"∂(\w+)/∂(\w+)", lambda m: f"({float(self.total(m[1], m[2]))!r})", formula
        )
        assert "∂" not in formula
        formula = formula.translate(str.maketrans({"·": "*", "⟦": "(", "⟧": ")"}))
        with np.errstate(all="ignore"):
            return float(eval(formula, FUNCTIONS | self.values))

    def agree(self, equation):
        """Whether all sides of an equation are one number, as far as its digits tell."""
        sides = [self.read(side) for side in re.split(r"(?<![<>=!])=(?!=)", equation)]
        assert len(sides) > 1, equation
        size = max(map(abs, sides)) + self.largest
        assert max(sides) - min(sides) <= 1e-4 * size, (equation, sides)

    @property
    def largest(self):
        """What is added up may be much larger than the sum."""
        return max(abs(self.total(self.names[self.graph.output], name)) for name in self.names)

    def text(self, formula):
        """Every equation of a formula in plain text."""
        lines = re.sub(r"\n\s*(?=[+=] )", " ", formula).splitlines()
        found = [line for line in lines if " = " in line]
        for line in found:
            self.agree(line.split("  ")[0].replace("0 (no path)", "0"))
        assert found

    def latex(self, formula):
        """Every equation of a formula in LaTeX, Python's or the page's."""
        # What is reused.
        formula = re.sub(r"_\{\\text\{[^}]*\}\}|\\quad\\text\{[^}]*\}", "", formula)
        formula = re.sub(r"\\(?:begin|end)\{aligned\}|\\underbrace", "", formula)
        lines = formula.split(r"\\")
        equations: list[str] = []
        for line in map(str.strip, lines):
            if r"\text{: by operand" in line:
                continue
            if re.match(r"&?\s*[+=]", line):
                equations[-1] += line
            else:
                equations.append(line)
        assert equations
        for equation in equations:
            self.agree(self._plain(equation))

    def _plain(self, latex):
        latex = latex.replace("&", "").replace(r"\left", "").replace(r"\right", "")
        symbols = {tex.symbol(name): name for name in self.names}
        every = "|".join(map(re.escape, sorted(symbols, key=len, reverse=True)))
        alone = rf"(?<![\\A-Za-z])(?:{every})(?![A-Za-z_])"  # no part of a command
        latex = re.sub(alone, lambda m: f" {symbols[m[0]]} ", latex)
        latex = re.sub(r"\\partial\s*_\{(\d+)\}\s*(\w+)",
                       lambda m: notation.partial(m[2], int(m[1]) - 1).id, latex)  # fmt: skip
        latex = re.sub(r"\\frac\{\\partial\s*(\w+)\s*\}\{\\partial\s*(\w+)\s*\}", r"∂\1/∂\2", latex)
        latex = re.sub(r"\\delta_\{\s*(\w+)\s*\}", r"δ[\1]", latex)
        latex = re.sub(r"\\(?:cdot|times|,)", "*", latex)
        latex = re.sub(r"\\(?:mathit|operatorname|text)\{(\w+)\}", r"\1", latex)
        while r"\frac" in latex:
            latex = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", latex)
        latex = latex.replace("^", "**").replace("{", "(").replace("}", ")").replace("\\", " ")
        return re.sub(r"\s+", " ", latex)
