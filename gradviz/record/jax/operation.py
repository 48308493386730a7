"""A recorded call of a JAX program as an Operation: evaluated and differentiated by JAX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from gradviz.errors import TraceError
from gradviz.ops import table
from gradviz.ops.operation import Derivative, Operation, unwritten
from gradviz.record.jax import rules
from gradviz.record.jax.keep import array, put
from gradviz.record.jax.plan import Step, is_matmul
from gradviz.record.jax.pure import Pure, wide

if TYPE_CHECKING:
    from gradviz.graph import Graph

SYMBOLS = {
    "add": "a + b", "subtract": "a - b", "multiply": "a * b", "divide": "a / b", "negative": "-a",
    "power": "a ** b", "matmul": "a @ b", "remainder": "a % b",
}  # fmt: skip
"""How a call of one primitive is written if not by its name."""


class JaxOperation(Operation):
    """One recorded call.

    Attributes
    ----------
    made : Pure or None
        None in a lean capture, which keeps no operands to call it with.
    index : int
        Which of its results this is the value of.
    carries : frozenset of int
        The positions of the operands that a message goes to.
    slopes : sequence of Derivative
        The local derivatives by operand, where they are known from mathematics.
    inside_of : int
        See `gradviz.record.jax.frames.Place.inside`.
    """

    __slots__ = ("carries", "index", "inside_of", "made", "own_rule", "row", "slopes", "wide")

    def __init__(self, name: str, made: Pure | None, index: int, formula: str) -> None:
        self.made, self.index = made, index
        self.carries: frozenset[int] = frozenset()
        self.row: int | None = None  # of a scanned array; -1 where such rows are stacked
        self.wide = wide()
        self.own_rule = ""
        self.inside_of = 0
        self.slopes: Sequence[Derivative | None] = ()
        super().__init__(name, self._evaluate, formula, ())

    def sends(self, positions: Iterable[int]) -> None:
        """Say which operands get messages."""
        self.carries = frozenset(positions)

    def _width(self) -> AbstractContextManager[Any]:
        """With as many bits as the program had when it was recorded."""
        width: AbstractContextManager[Any] = jax.enable_x64(self.wide)
        return width

    def _pure(self, operands: Sequence[Any]) -> tuple[Pure, list[Any]]:
        made = self.made
        if self.row is not None:
            row = self.row
            function = _stack if row < 0 else partial(_row, row)
            made = Pure(jax.make_jaxpr(function)(*map(jnp.asarray, operands)))
        if made is None:
            raise TraceError(
                f"{self.name} cannot be computed again: a lean capture keeps no arrays"
            )
        return made, [put(value, aval) for value, aval in zip(operands, made.avals, strict=True)]

    def _evaluate(self, *operands: Any, **_: Any) -> Any:
        with self._width():
            made, arguments = self._pure(operands)
            return array(made.forward(*arguments)[self.index])

    def rule(self, position: int) -> Derivative | None:
        """A rule for each operand that a message goes to."""
        if position not in self.carries:
            return None
        return self.slopes[position] if self.slopes else unwritten(self.name)

    def pull(
        self, position: int, g: Any, v: Any, operands: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """The message to one operand, by JAX's own rule."""
        with self._width():
            made, arguments = self._pure(operands)
            wanted = tuple(sorted(self.carries | {position}))
            vjp, sent = made.pull((self.index,), wanted)
            if position not in sent:
                return np.zeros_like(operands[position])
            upstream = put(g, made.out[self.index])
            return array(vjp([upstream], arguments)[sent.index(position)])

    def differs(self, operands: Sequence[Any]) -> bool | None:
        """Whether its own rule is not the derivative of what it computes; None if unknown."""
        with self._width():
            made, arguments = self._pure(operands)
            return rules.differs(made, self.index, arguments)

    def parts(self) -> int:
        """Of how many operations it consists."""
        from gradviz.record.jax.inside import parts

        return parts(self)

    def inside(self, graph: Graph, i: int) -> Graph:
        """See `Graph.inside`; it is the operation of value `i`."""
        from gradviz.record.jax.inside import inside

        return inside(graph, i)

    def reads_row(self, i: int) -> None:
        """It is what round `i` of a loop gets of an array."""
        self.row = i

    def stacks(self) -> None:
        """It is what the rounds of a loop gave, together."""
        self.row = -1


def _row(i: int, a: Any) -> list[Any]:
    return [a[i]]


def _stack(*parts: Any) -> list[Any]:
    return [jnp.stack(parts)]


REARRANGING = frozenset("broadcast_in_dim reshape squeeze expand_dims copy transpose rev".split())


class About(NamedTuple):
    """What is told of a step, in whatever round of a loop.

    Attributes
    ----------
    formula : str
    slopes : sequence of Derivative
    keywords : dict
    rearranges : bool
        Whether the result has the operand's numbers, in another order or shape.
    rule : str
        See `Operation.own_rule`.
    """

    formula: str
    slopes: Sequence[Derivative | None]
    keywords: dict[str, Any]
    rearranges: bool
    rule: str


def about(step: Step) -> About:
    """What is told of a step."""
    if step.told is None:
        count = len(step.reads)
        step.told = About(
            notation(step, count), slopes(step, count), keywords(step), _rearranges(step),
            rules.kind(step),
        )  # fmt: skip
    found: About = step.told
    return found


def _rearranges(step: Step) -> bool:
    if len(step.reads) != 1 or len(step.writes) != 1:
        return False
    before, after = step.reads[0].aval, step.writes[0].aval
    return (
        before.size == after.size and before.dtype == after.dtype
        and all(eqn.primitive.name in REARRANGING for eqn in step.eqns)
    )  # fmt: skip


SMOOTH = frozenset(
    "add subtract multiply divide negative exp expm1 log log1p tanh sin cos sinh cosh sqrt arctan "
    "square".split()
)
"""What has the same slope everywhere, whoever computes it."""


def slopes(step: Step, count: int) -> Sequence[Derivative | None]:
    """The local derivatives of one elementwise primitive; () where only its VJP is known."""
    if not _as_written(step):
        return ()
    if step.name == "power" and "y" in step.eqns[-1].params:
        n = step.eqns[-1].params["y"]
        slope = {1: "1", 2: "2 * a"}.get(n, f"{n} * a ** {n - 1}")
        return (Derivative.elementwise(slope, slope, 1),)
    row = table.find(step.name) if step.name in SMOOTH else None
    found = (row and row.derivatives) or ()
    return found if len(found) == count else ()


def _as_written(step: Step) -> bool:
    """Whether it is one primitive that does with its operands what NumPy's operator does.

    A batch that `vmap` makes may lie along another axis than NumPy would broadcast.
    """
    *forms, main = step.eqns
    return (
        step.plain
        and all(map(_broadcasts, forms))
        and (main.primitive.name != "dot_general" or is_matmul(main))
    )


def _broadcasts(eqn: Any) -> bool:
    """Whether a new form is one that NumPy gives an operand by itself."""
    before, after = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    if eqn.primitive.name == "broadcast_in_dim":
        extra = len(after) - len(before)
        return tuple(eqn.params["broadcast_dimensions"]) == tuple(range(extra, len(after)))
    longest = max(len(before), len(after))
    padded = [(1,) * (longest - len(shape)) + tuple(shape) for shape in (before, after)]
    return padded[0] == padded[1]


_REDUCTIONS = frozenset("sum mean max min prod var std".split())


def keywords(step: Step) -> dict[str, Any]:
    """What a formula says of a call besides its operands: the axis of a sum."""
    if step.name not in _REDUCTIONS:
        return {}
    equations = [*step.eqns]
    for eqn in equations:
        if eqn.primitive.name.startswith("reduce_"):
            axes = tuple(eqn.params["axes"])
            whole = len(axes) == eqn.invars[0].aval.ndim
            return {} if whole else {"axis": axes[0] if len(axes) == 1 else axes}
        equations += getattr(getattr(eqn.params.get("jaxpr"), "jaxpr", None), "eqns", ())
    return {}


def notation(step: Step, count: int) -> str:
    """How a call is written in a formula; "" for by its name."""
    if not _as_written(step):
        return ""
    formula = SYMBOLS.get(step.name, "")
    if formula and count != 1 + ("b" in formula):
        power = step.eqns[-1].params.get("y") if step.name == "power" else None
        return "" if power is None else f"a ** {power}"
    return formula
