"""The chain rule for one value, written out: as a sum over paths, and by upstream terms."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from string import Formatter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.backward import no_zero
from gradviz.chain.paths import Path, carrying, count_paths, needs, paths
from gradviz.chain.result import GraphResult
from gradviz.highlight import Highlight
from gradviz.language import commas, in_its_language, say, some, translated
from gradviz.ops import notation, tex
from gradviz.statistics import Statistics

if TYPE_CHECKING:
    from gradviz.graph import Graph

_DOT = r" \cdot "
NO_PATH = ": no path leads from {u} to {v}"
ALONE = ": by operand {n} alone, {u}, with the others held fixed"
ALREADY = "computed already for {names}"
SHOWN_PATHS = 8
"""So many paths are written out; the rest is a number."""
SHOWN_ENDS = 20
"""Of a product or a list of terms the first and the last so many are written out."""


@dataclass(frozen=True)
class Formula:
    """The same lines twice.

    Attributes
    ----------
    text : str
    latex : str
        An ``aligned`` block for math mode, without dollar signs.
    """

    text: str
    latex: str

    def __str__(self) -> str:
        return self.text

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex}\n$$"


@dataclass(frozen=True)
class Term:
    """One upstream term in the factored form.

    Attributes
    ----------
    node : int
        The value whose gradient it is.
    latex, text : str
        How it follows from the terms after it.
    value : float or numpy.ndarray
    reused : bool
        Computed for an earlier target.
    """

    graph: Graph = field(repr=False, compare=False)
    node: int
    text: str
    latex: str
    value: Any
    reused: bool

    @property
    def name(self) -> str:
        """The name of the value."""
        return self.graph.names[self.node]


class Explanation(GraphResult):
    """The chain rule for ∂J/∂name. Made by `Graph.explain`; a notebook shows it as mathematics.

    Attributes
    ----------
    graph : Graph
        At the level of detail that the formula speaks of.
    target : int
        The id in `graph`.
    after : tuple of str
        Earlier targets.
    """

    def __init__(self, graph: Graph, target: int, after: Sequence[str]) -> None:
        self.graph = graph
        self.target = target
        self.after = tuple(after)
        self._readers = carrying(graph)

    @property
    def name(self) -> str:
        """The explained value's name."""
        return self.graph.names[self.target]

    @property
    def value(self) -> Any:
        """The gradient, of the value's own shape."""
        return self.graph.grad(self.name)

    @cached_property
    def path_count(self) -> int:
        """The exact number of paths to J."""
        return count_paths(self.graph, [self.target])[self.target]

    @property
    def disconnected(self) -> bool:
        """Whether no path leads to J: then there is no chain rule, and no term of it."""
        return not self.path_count

    def paths(self, k: int | None = None) -> list[Path]:
        """The `k` paths that contribute most (default: all), the largest contribution first."""
        return list(itertools.islice(paths(self.graph, self.target), k))

    @cached_property
    def reused(self) -> frozenset[int]:
        """The ids of the upstream terms that an earlier target computed."""
        earlier: set[int] = set()
        for name in self.after:
            i = self.graph.id(name)
            earlier |= needs(self._readers, i) | {i}
        return frozenset(earlier & needs(self._readers, self.target))

    # --- as a sum over paths -----------------------------------------------------------------

    @cached_property
    def _largest(self) -> list[Path]:
        return self.paths(SHOWN_PATHS)

    @property
    def _shown(self) -> list[Path]:
        # In the program's order, which is how a textbook lists them, unless some are left out.
        if len(self._largest) == self.path_count:
            return sorted(self._largest, key=lambda path: path.nodes)
        return self._largest

    @cached_property
    @in_its_language
    def formula(self) -> Formula:
        """The gradient as a sum over paths: symbols, numbers, result.

        Factors that an earlier target already computed are bracketed: in LaTeX by an underbrace,
        in text by ⟦...⟧.
        """
        graph = self.graph
        output, name = graph.names[graph.output], self.name
        head = notation.name(f"∂{output}/∂{name}")
        if self.target == graph.output:
            return Formula(f"{head.id} = 1", rf"{tex.formula(head)} = \text{{1}}")
        if self.disconnected:
            ends = tex.formula(notation.name(name)), tex.formula(notation.name(output))
            return Formula(
                f"{head.id}{say(NO_PATH, u=name, v=output)}",
                f"{tex.formula(head)} {_tex_said(NO_PATH, u=ends[0], v=ends[1])}",
            )
        symbols = [self._factors(path) for path in self._shown]
        rest = self.path_count - len(symbols)
        more = some(rest, "more path")
        more_text = f"\n  + {more}" if rest else ""
        more_latex = rf" \\ &+ \cdots \text{{ ({more})}}" if rest else ""
        told, written = self._result()
        if [said for said, _ in symbols] == [head.id]:
            # J reads it, and nothing else does: its gradient would be told to be itself.
            return Formula(f"{head.id} {told}", f"{tex.formula(head)} {written}")
        text = [f"{head.id} = " + "\n  + ".join(t for t, _ in symbols) + more_text]
        latex = [f"{tex.formula(head)} &= " + r" \\ &+ ".join(x for _, x in symbols) + more_latex]
        scalar = self._all_numbers()
        if scalar and not rest:
            products = [self._numbers(path) for path in self._shown]
            text.append("= " + " + ".join(product for product, _ in products))
            latex.append(r"&= " + " + ".join(product for _, product in products))
        text.append(told)
        latex.append(f"&{written}")
        for told, written in self._held():
            text.append(told)
            latex.append(written)
        if self.reused:
            marked = f"⟦…⟧ {say(ALREADY, names=commas(self.after))}"
            if any("⟦" in t for t, _ in symbols):
                text.append(marked)
        return Formula("\n".join(text), _aligned(latex))

    def _result(self) -> tuple[str, str]:
        """What the gradient is, in text and LaTeX."""
        if np.size(self.value) == 1:
            return f"= {_plain(self.value)}", f"= {_latex_number(self.value)}"
        return f"= {_of_shape(self.value)}", rf"\in \mathbb{{R}}^{{{_shape(self.value)}}}"

    def _all_numbers(self) -> bool:
        if any(path.value is None for path in self._shown):
            return False
        if any(self.graph.stops(v) for path in self._shown for v, _ in path.edges):
            return False  # what is sent is no product
        values = [self.graph.values[i].value for p in self._shown for i in p.nodes]
        return all(np.size(v) == 1 and not np.iscomplexobj(v) for v in values) and all(
            self.graph.local(*edge) is not None for path in self._shown for edge in path.edges
        )

    def _numbers(self, path: Path) -> tuple[str, str]:
        """One path's product of local derivatives, in text and LaTeX."""
        text, latex = [], []
        for edge in _elided(list(reversed(path.edges))):
            if isinstance(edge, int):
                text.append("…")
                latex.append(r"\cdots")
            else:
                local = float(np.asarray(self.graph.local(*edge)).reshape(()))
                text.append(_signed(local))
                latex.append(_latex_signed(local))
        return " · ".join(text), _DOT.join(latex)

    def _factors(self, path: Path) -> tuple[str, str]:
        """One path's product, from J to the value, in text and LaTeX; reused factors bracketed."""
        text, latex = [], []
        for edge in _elided(list(reversed(path.edges))):
            if isinstance(edge, int):
                text.append(f"… ({say('{n} more', n=edge)})")
                latex.append(rf"\cdots \text{{({say('{n} more', n=edge)})}}")
            else:
                factor = self.graph.slope(*edge)
                text.append(factor.id)
                latex.append(tex.formula(factor))
        # The upstream term of a reused value is the product of all factors before it.
        shared = max(
            (n for n, i in enumerate(reversed(path.nodes)) if i in self.reused and n > 0), default=0
        )
        if 0 < shared < len(text):
            text[:shared] = ["⟦" + " · ".join(text[:shared]) + "⟧"]
            names = commas(map(tex.escape, self.after))
            label = rf"\text{{{say('reused from {names}', names=names)}}}"
            latex[:shared] = [rf"\underbrace{{{_DOT.join(latex[:shared])}}}_{{{label}}}"]
        return " · ".join(text), _DOT.join(latex)

    def _held(self) -> list[tuple[str, str]]:
        """What each symbol ∂₁v in the formula is, in text and LaTeX."""
        graph = self.graph
        written = [edge for path in self._shown for edge in _elided([*reversed(path.edges)])]
        alone = [e for e in dict.fromkeys(written) if not isinstance(e, int) and graph.alone(*e)]
        lines = []
        for v, key in alone[:SHOWN_ENDS]:
            slope, name = graph.slope(v, key), notation.name(graph.names[graph.operands[v][key]])
            lines.append((
                f"{slope.id}{say(ALONE, n=key + 1, u=name.id)}",
                f"&{tex.formula(slope)} {_tex_said(ALONE, n=str(key + 1), u=tex.formula(name))}",
            ))  # fmt: skip
        if (left_out := len(alone) - SHOWN_ENDS) > 0:
            more = say("{n} more", n=left_out)
            lines.append((f"… ({more})", rf"&\cdots \text{{ ({more})}}"))
        return lines

    @property
    def text(self) -> str:
        """The sum over paths in plain text, then the factored form."""
        forms = (self.formula, self.factored) if not self.disconnected else (self.formula,)
        return "\n\n".join(form.text for form in forms)

    @property
    def latex(self) -> str:
        """The sum over paths in LaTeX (see `factored` for the form by upstream terms)."""
        return self.formula.latex

    # --- factored by upstream terms ----------------------------------------------------------

    @property
    def rows(self) -> tuple[Term, ...]:
        """The `terms`."""
        return self.terms

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The upstream terms on the way, from J to the value itself, each named once.

        Of a long way the first and the last `SHOWN_ENDS`.
        """
        shown = self._needed
        if len(shown) > 2 * SHOWN_ENDS:
            shown = shown[:SHOWN_ENDS] + shown[-SHOWN_ENDS:]
        return tuple(map(self._term, shown))

    @cached_property
    def _needed(self) -> list[int]:
        if self.disconnected:
            return []
        needed = needs(self._readers, self.target) - {self.graph.output} | {self.target}
        return sorted(needed, reverse=True)

    def _term(self, i: int) -> Term:
        graph = self.graph
        ends = [i, *(v for v, _ in self._readers[i])]
        scalar = all(np.size(graph.values[end].value) == 1 for end in ends)
        send = self._scalar_message if scalar else self._array_message
        messages = [send(v, key) for v, key in self._readers[i]]
        total = notation.total(messages or [notation.number(i == graph.output)])
        return Term(
            graph,
            i,
            _spoken(total),
            tex.formula(total, _DOT if scalar else r" \odot "),
            graph.grad(graph.names[i]),
            i in self.reused,
        )

    def _upstream(self, v: int) -> Any:
        return notation.name(_delta(self.graph, v))

    def _scalar_message(self, v: int, key: int) -> ast.expr:
        """``δ[z] · a``: the upstream term times the local derivative."""
        if self.graph.stops(v):
            return self._array_message(v, key)
        graph = self.graph
        local = graph.derivative(v, key)
        if local is None:  # a linear map between scalars: only its name is known
            local = graph.slope(v, key)
        if v == self.graph.output:
            return local
        upstream = self._upstream(v)
        return no_zero(graph, v, key, upstream, notation.product(upstream, local))

    def _array_message(self, v: int, key: int) -> ast.expr:
        """The VJP's formula, with the sum that undoes broadcasting."""
        upstream = notation.number(1) if v == self.graph.output else self._upstream(v)
        return self.graph.message(v, key, upstream)

    @cached_property
    @in_its_language
    def factored(self) -> Formula:
        """The gradient by upstream terms: δ of a value is ∂J/∂value, each computed once.

        For arrays the messages are VJPs, with the shape of each term.
        """
        if self.disconnected:
            return self.formula
        graph = self.graph
        text: list[str] = []
        latex: list[str] = []
        output = graph.names[graph.output]
        needed = self._needed
        left_out = len(needed) - 2 * SHOWN_ENDS
        for n, term in enumerate(self.terms):
            if left_out > 0 and n == SHOWN_ENDS:
                more = some(left_out, "more upstream term")
                text.append(f"… ({more})")
                latex.append(rf"&\vdots \text{{ ({more})}}")
            is_target = term.node == self.target
            symbol = f"∂{output}/∂{term.name}" if is_target else _delta(graph, term.node)
            head = notation.name(symbol)
            size = np.size(term.value)
            number = _plain(term.value) if size == 1 else _of_shape(term.value)
            already = say(ALREADY, names=commas(self.after))
            mark = f"    ⟦{already}⟧" if term.reused else ""
            written = number if term.text == number else f"{term.text} = {number}"
            text.append(f"{head.id} = {written}{mark}")
            tail = (
                f"= {_latex_number(term.value)}"
                if size == 1
                else rf"\in \mathbb{{R}}^{{{_shape(term.value)}}}"
            )
            note = rf" \quad\text{{({say('reused')})}}" if term.reused else ""
            latex.append(f"{tex.formula(head)} &= {term.latex} {tail}{note}")
        return Formula("\n".join(text), _aligned(latex))

    @property
    def _paths(self) -> str:
        return some(self.path_count, "path")

    # --- shown -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Explanation of {self.name}: {self._paths}>"

    def _repr_latex_(self) -> str:
        forms = dict.fromkeys((self.formula.latex, self.factored.latex))
        return "\n".join(f"$$\n{latex}\n$$" for latex in forms)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/latex": self._repr_latex_(), "text/plain": self.text}

    @in_its_language
    def highlight(self) -> Highlight:
        """The paths, each in its own colour and dash pattern, the largest first."""
        graph = self.graph
        shown = self._largest
        boxes: dict[int, Any] = dict.fromkeys(range(len(graph)), "unneeded")
        arrows: dict[tuple[int, int, int], Any] = dict.fromkeys(graph.edges(), "unneeded")
        legend = [("target", say("the explained value"))]
        for n, path in reversed(list(enumerate(shown, 1))):
            boxes |= dict.fromkeys(path.nodes, "path")
            for v, key in path.edges:
                edge = graph.operands[v][key], v, key
                on = arrows[edge] if arrows[edge] != "unneeded" else ()
                arrows[edge] = (f"path {n}", *on)  # an edge may serve several paths
        for n, path in enumerate(shown, 1):
            if path.value is None:
                size = say("‖·‖ about {x}", x=f"{path.gain:.2g}")
            elif np.size(path.value) == 1:
                size = _plain(path.value)
            else:
                size = f"‖·‖ = {path.norm:.4g}"
            legend.append((f"path {n}", say("path {n}: {size}", n=n, size=size)))
        boxes |= dict.fromkeys(self.reused & {i for p in shown for i in p.nodes}, "cached")
        if self.reused:
            said = say("upstream term computed for {names}", names=commas(self.after))
            legend.append(("cached", said))
        boxes[self.target] = "target"
        return Highlight(
            boxes=boxes,
            arrows=arrows,
            badges={},
            marks={},
            title=f"∂{graph.names[graph.output]}/∂{self.name}: {self._paths}",
            legend=tuple(legend),
        )


def explain(graph: Graph, name: str, after: Sequence[str] = ()) -> Explanation:
    """See `Graph.explain`."""
    from gradviz.chain.entry import EntryExplanation, entry_of

    arrays = [graph.names[found[0]] if (found := entry_of(graph, e)) else e for e in after]
    for earlier in arrays:
        graph.id(earlier)
    if entry := entry_of(graph, name):
        return EntryExplanation(graph, *entry, arrays)
    return Explanation(graph, graph.id(name), arrays)


def _delta(graph: Graph, i: int) -> str:
    """The symbol of an upstream term: δ with the value's name for a number, a bar for an array."""
    name = graph.names[i]
    return f"δ[{name}]" if np.size(graph.values[i].value) == 1 else notation.adjoint(name).id


def _spoken(tree: ast.expr) -> str:
    """A formula in text, with the product's dot that the chain rule is written with."""
    text = notation.text(tree).replace(" * ", " · ")
    return f"({text})" if isinstance(tree, ast.Compare) else text


def _elided(items: list[Any]) -> list[Any]:
    """A long list with the number of those left out in place of its middle."""
    left_out = len(items) - 2 * SHOWN_ENDS
    if left_out <= 0:
        return items
    return [*items[:SHOWN_ENDS], left_out, *items[-SHOWN_ENDS:]]


def _item(value: Any) -> Any:
    """The number of an array of one entry."""
    if isinstance(value, Statistics):
        return value.mean  # of a complex number, its absolute value
    return np.asarray(value).reshape(()).item()


def _plain(value: Any) -> str:
    number = format(_item(value) + 0.0, ".6g")  # no -0
    return f"‖·‖ {number}" if _sized(value) else number


def _sized(value: Any) -> bool:
    """Whether all that was kept of a number is its size."""
    return isinstance(value, Statistics) and value.dtype.startswith("complex")


def _signed(number: float) -> str:
    return f"({number:.6g})" if number < 0 else f"{number + 0.0:.6g}"


def _latex_number(value: Any) -> str:
    number = _item(value)
    if _sized(value):
        return rf"\lVert \cdot \rVert \; {tex.formula(notation.number(number))}"
    if isinstance(number, complex):
        sign = "-" if number.imag < 0 else "+"
        real, imaginary = (tex.formula(notation.number(x)) for x in (number.real, abs(number.imag)))
        return rf"{real} {sign} {imaginary}\, \mathrm{{i}}"
    return tex.formula(notation.number(number))


def _latex_signed(number: float) -> str:
    return rf"({_latex_number(number)})" if number < 0 else _latex_number(number)


def _of_shape(value: Any) -> str:
    return say("array of shape {shape}", shape=np.shape(value))


def _tex_said(sentence: str, **places: str) -> str:
    """A sentence with mathematics in its places, in LaTeX."""
    parts = []
    for words, place, _, _ in Formatter().parse(translated(sentence)):
        parts += [rf"\text{{{words}}}"] if words else []
        parts += [places[place]] if place else []
    return " ".join(parts)


def _shape(value: Any) -> str:
    return r" \times ".join(map(str, np.shape(value)))


def _aligned(lines: list[str]) -> str:
    body = " \\\\\n".join(line if "&" in line else f"&{line}" for line in lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
