"""What several ranks say of one step, side by side: the result of `gradviz.gather`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradviz.chain.backward import known_derivatives
from gradviz.chain.health import MARKS, SEVERITIES
from gradviz.chain.result import Result
from gradviz.language import (
    clauses,
    commas,
    in_every_language,
    in_its_language,
    padded,
    say,
    several,
    some,
    spoken,
)
from gradviz.language import columns as wide
from gradviz.rank import Held
from gradviz.statistics import measure
from gradviz.words import clean, number, which_ranks

if TYPE_CHECKING:
    from gradviz.graph import Graph
    from gradviz.show.ranks import RankMap

LINES = 40
"""So many parameters the text lists, those that something is wrong with first."""
KINDS = (
    "missing rank", "broken", "ranks diverge", "own parameters", "reduction differs",
    "unused parameter", "uneven batch",
)  # fmt: skip
"""What is wrong with ranks, beside what is wrong on one."""
SPAN = "least", "most", "at rank"
SEVERAL = 12
"""So many ranks have a column in the text; of more the least and the most is told."""


@dataclass(frozen=True)
class ParameterRow:
    """A parameter on all ranks. Tuples have a place for each rank that answered.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of a part, its own.
    how : str
        "replicated": something keeps it the same on all ranks; "sharded": each rank holds a part;
        "own": nothing that is known keeps it so.
    before : tuple of float or None
        The norm of its gradient on each rank, before it is reduced; None where no gradient came.
    after : tuple of float or None
        The same after the reduction: that of the rank's `grad`, of a sharded one of its part.
    reduced : float or None
        The norm after the reduction, of all parts; None where ranks disagree, or parts are missing.
    unused : tuple of int
        The ranks on which it got no gradient, where it got one on others.
    odd : tuple of int
        The ranks on which it holds other numbers than on most.
    """

    name: str
    shape: tuple[int, ...]
    how: str
    before: tuple[float | None, ...]
    after: tuple[float | None, ...]
    reduced: float | None
    unused: tuple[int, ...]
    odd: tuple[int, ...]


@dataclass(frozen=True)
class RankFinding:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
        "non-finite value", "non-finite gradient", "missing rank", "broken", "ranks diverge",
        "reduction differs", "unused parameter", "uneven batch" or "own parameters".
    severity : {"error", "warning", "note"}
    ranks : tuple of int
        Those that it is about.
    text : str
    """

    kind: str
    severity: str
    ranks: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class FirstNonFinite:
    """The first value of a rank that is no number.

    Attributes
    ----------
    rank : int
    node : int
        Its id in the Graph of that rank.
    name, operation : str
    file : str
    line : int
        0 where it is not known.
    code : str
        The line.
    text : str
        What is said of it, and what to do.
    """

    rank: int
    node: int
    name: str
    operation: str
    file: str
    line: int
    code: str
    kind: str
    text: str


@dataclass(frozen=True, repr=False)
class Ranks(Result):
    """The result of `gradviz.gather`; true if there is no error and no warning.

    Attributes
    ----------
    count : int
        How many ranks there are.
    present, missing : tuple of int
        Those that answered in time, and the others.
    waited : float
        How many seconds were waited for these.
    told : tuple of dict
        What each said, in the order of `present`.
    """

    count: int
    present: tuple[int, ...]
    missing: tuple[int, ...]
    told: tuple[Mapping[str, Any], ...]
    waited: float = 0.0

    # --- what is found -------------------------------------------------------------------------

    @property
    def losses(self) -> dict[int, float | None]:
        """What each rank differentiated, by rank; None where there is no such number."""
        return {rank: one["loss"] for rank, one in zip(self.present, self.told, strict=True)}

    @cached_property
    def rows(self) -> tuple[ParameterRow, ...]:
        """Each parameter, in the order in which the first rank that has it holds it."""
        names = dict.fromkeys(name for one in self.told for name in one["parameters"])
        return tuple(map(self._row, names))

    def _row(self, name: str) -> ParameterRow:
        entries = [one["parameters"].get(name) for one in self.told]
        known = [entry for entry in entries if entry is not None]
        before = tuple(None if entry is None else entry["before"] for entry in entries)
        after = tuple(None if entry is None else entry["held"][3] for entry in entries)
        held = Held(*known[0]["held"])
        came = [b is not None for b in before]
        unused = tuple(
            rank
            for rank, entry, there in zip(self.present, entries, came, strict=True)
            if entry is not None and not there and any(came)
        )
        return ParameterRow(
            name,
            tuple(known[0]["shape"]),
            held.how,
            before,
            after,
            self._reduced(held, after),
            unused,
            () if held.how == "sharded" else self._odd(entries),
        )

    def _reduced(self, held: Held, after: Sequence[float | None]) -> float | None:
        sizes = [size for size in after if size is not None]
        if not sizes:
            return None
        if held.how != "sharded":
            same = len(sizes) == len(after) and all(_same(size, sizes[0]) for size in sizes)
            return sizes[0] if same else None
        if self.missing:
            return None
        return math.sqrt(sum(size * size for size in sizes) / held.copies)

    def _odd(self, entries: Sequence[Mapping[str, Any] | None]) -> tuple[int, ...]:
        """The ranks whose entry is not that of the most."""
        contents = {
            rank: (tuple(entry["shape"]), *entry["content"])
            for rank, entry in zip(self.present, entries, strict=True)
            if entry is not None
        }
        return _others(contents)

    @cached_property
    def first(self) -> FirstNonFinite | None:
        """The first value that is no number: of several ranks', that which comes first there.

        What an operation made comes before what a rank was given.
        """
        return min(self.nonfinite, key=_order, default=None)

    @property
    @in_its_language
    def nonfinite(self) -> tuple[FirstNonFinite, ...]:
        """The first of each rank that has any."""
        return tuple(
            FirstNonFinite(rank, **{**one["first"], "text": one["first"]["text"][spoken()]})
            for rank, one in zip(self.present, self.told, strict=True)
            if one["first"] is not None
        )

    @cached_property
    @in_its_language
    def findings(self) -> tuple[RankFinding, ...]:
        """What is wrong, the worst first."""
        found = [
            *self._not_finite(), *self._absent(), *self._diverged(), *self._unused(),
            *self._uneven(),
        ]  # fmt: skip
        return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))

    @property
    def ok(self) -> bool:
        """Whether there is nothing but notes."""
        return all(finding.severity == "note" for finding in self.findings)

    def __bool__(self) -> bool:
        return self.ok

    def _not_finite(self) -> Iterator[RankFinding]:
        ordered = sorted(self.nonfinite, key=_order)
        groups: dict[tuple[Any, ...], list[FirstNonFinite]] = {}
        for one in ordered:
            groups.setdefault((one.node, one.name, one.file, one.line, one.kind), []).append(one)
        for group in groups.values():
            ranks = tuple(one.rank for one in group)
            text = say("{ranks}: {said}", ranks=which_ranks(ranks), said=group[0].text)
            yield RankFinding(group[0].kind, "error", ranks, text)
        fine = [rank for n, rank in enumerate(self.present) if self._is_fine(n)]
        if ordered and fine:
            before = "{ranks}: the loss and all gradients are finite before the reduction"
            if any(not _finite(row.after) for row in self.rows):
                before = (
                    "{ranks}: the loss and all gradients are finite before the reduction; the "
                    "reduction brings what is not to all"
                )
            text = say(before, ranks=which_ranks(fine))
            yield RankFinding(ordered[0].kind, "note", tuple(fine), text)

    def _is_fine(self, n: int) -> bool:
        """Whether the loss and all gradients of the n-th rank are finite."""
        return _finite([self.told[n]["loss"], *(row.before[n] for row in self.rows)])

    def _absent(self) -> Iterator[RankFinding]:
        if self.missing:
            absent = "{ranks} have not answered within {s:g} s: dead, stuck, or elsewhere"
            if len(self.missing) == 1:
                absent = "{ranks} has not answered within {s:g} s: dead, stuck, or elsewhere"
            if not self.waited:
                absent = "there is no Graph of {ranks}"
            text = say(absent, ranks=which_ranks(self.missing), s=self.waited)
            yield RankFinding("missing rank", "error", self.missing, text)
        for rank, one in zip(self.present, self.told, strict=True):
            if one["error"]:
                text = say("{ranks}: {said}", ranks=which_ranks((rank,)), said=one["error"])
                yield RankFinding("broken", "error", (rank,), text)

    def _diverged(self) -> Iterator[RankFinding]:
        for how, kind, severity in (
            ("replicated", "ranks diverge", "error"),
            ("own", "own parameters", "note"),
        ):
            rows = [row for row in self.rows if row.odd and row.how == how]
            if not rows:
                continue
            ranks = tuple(sorted({rank for row in rows for rank in row.odd}))
            parted = (
                "the ranks differ in {n} of the same name, and nothing that is known (DDP, FSDP, "
                "a DTensor) keeps them the same: {names}. Right for the stages of a pipeline, "
                "wrong for data parallel training"
            )
            if how == "replicated":
                parted = "the ranks have parted: {apart} in {n} that should be the same: {names}"
            text = say(
                parted, apart=self._apart(ranks), n=some(len(rows), "parameter"),
                names=several((row.name for row in rows), 4),
            )  # fmt: skip
            yield RankFinding(kind, severity, ranks, text)
        apart = [
            row
            for row in self.rows
            if row.how == "replicated" and self.reduced_said(row) == "differs"
        ]
        if apart:
            sizes = zip(self.present, map(_said, apart[0].after), strict=True)
            text = say(
                "after the reduction the gradients of {names} are not the same on all ranks: "
                "{sizes}",
                names=several((r.name for r in apart), 4), sizes=_grouped(dict(sizes)),
            )  # fmt: skip
            yield RankFinding("reduction differs", "error", self.present, text)
        yield from self._buffers()

    def _apart(self, ranks: Sequence[int]) -> str:
        """Which ranks hold something else; none is to blame where they are half of them."""
        if 2 * len(ranks) >= len(self.present):
            return say("{ranks} do not hold the same numbers", ranks=which_ranks(self.present))
        others = "{ranks} hold other numbers than the others"
        others = "{ranks} holds other numbers than the others" if len(ranks) == 1 else others
        return say(others, ranks=which_ranks(ranks))

    def _buffers(self) -> Iterator[RankFinding]:
        names = dict.fromkeys(name for one in self.told for name in one["buffers"])
        parted: dict[str, tuple[int, ...]] = {}
        for name in names:
            held = {
                rank: one["buffers"][name]
                for rank, one in zip(self.present, self.told, strict=True)
                if name in one["buffers"]
            }
            if odd := _others(held):
                parted[name] = odd
        if parted:
            ranks = tuple(sorted({rank for odd in parted.values() for rank in odd}))
            text = say(
                "{apart} in {n}: {names}", apart=self._apart(ranks),
                n=some(len(parted), "buffer"), names=several(parted, 4),
            )  # fmt: skip
            yield RankFinding("ranks diverge", "warning", ranks, text)

    def _unused(self) -> Iterator[RankFinding]:
        groups: dict[tuple[tuple[int, ...], str], list[str]] = {}
        for row in self.rows:
            if row.unused and row.how != "own":
                groups.setdefault((row.unused, row.how), []).append(row.name)
        for (ranks, how), names in groups.items():
            users = tuple(r for r in self.present if r not in ranks)
            unused = "{names}: no gradient on {ranks}, but on {users}"
            if how == "replicated":
                unused = (
                    "{names}: no gradient on {ranks}, but on {users}. DDP waits for all of them, "
                    "unless find_unused_parameters=True tells it not to; its average counts a "
                    "missing one as 0"
                )
            text = say(
                unused, names=several(names, 4), ranks=which_ranks(ranks), users=which_ranks(users)
            )
            yield RankFinding("unused parameter", "warning", ranks, text)

    def _uneven(self) -> Iterator[RankFinding]:
        if all(row.how == "own" for row in self.rows):
            return
        shapes = {
            rank: tuple(one["data"])
            for rank, one in zip(self.present, self.told, strict=True)
            if one["data"]
        }
        firsts = {shape[0] for shape in shapes.values()}
        if len(firsts) > 1 and len({shape[1:] for shape in shapes.values()}) == 1:
            told = _grouped({r: "×".join(map(str, shape)) for r, shape in shapes.items()})
            text = say(
                "the ranks have batches of different sizes ({sizes}). An average over the ranks "
                "weighs each the same, so that a sample of a smaller batch counts more", sizes=told,
            )  # fmt: skip
            yield RankFinding("uneven batch", "note", tuple(shapes), text)

    # --- how it is told ------------------------------------------------------------------------

    @property
    @in_its_language
    def text(self) -> str:
        """What is wrong, then of each parameter the gradient on each rank, and the reduced one."""
        head = say("{ranks}, loss {loss}", ranks=some(self.count, "rank"), loss=self._loss)
        lines = [f"{'✓' if self.ok else '✗'} {head}"]
        for finding in self.findings:
            first, *rest = finding.text.splitlines()
            told = say("{kind}: {message}", kind=say(finding.kind), message=first)
            lines += [f"{MARKS[finding.severity]} {told}", *rest]
        return "\n".join([*lines, "", self.table]) if self.rows else "\n".join(lines)

    @property
    def _loss(self) -> str:
        known = {rank: loss for rank, loss in self.losses.items() if loss is not None}
        if len(known) <= SEVERAL:
            on = "{sizes} on {ranks}"
            told = (say(on, sizes=_said(x), ranks=which_ranks((r,))) for r, x in known.items())
            return commas(told) or "–"
        finite = [loss for loss in known.values() if math.isfinite(loss)]
        span = f"{_said(min(finite))} … {_said(max(finite))}" if finite else ""
        sick = _grouped({r: _said(x) for r, x in known.items() if not math.isfinite(x)})
        return commas(filter(None, (span, sick)))

    @property
    @in_its_language
    def table(self) -> str:
        """The norms of the gradients in columns."""
        rows = [row for row in self.rows if row.unused or row.odd or not _finite(row.before)]
        rows = list(dict.fromkeys([*rows, *self.rows]))
        ordered = [row for row in self.rows if row in set(rows[:LINES])]
        few = len(self.present) <= SEVERAL
        heads = [say(head) for head in SPAN]
        heads = [which_ranks((rank,)) for rank in self.present] if few else heads
        cells = [[say("‖gradient‖ of"), *heads, say("reduced")]]
        for row in ordered:
            marks = ["≠" if rank in row.odd else "" for rank in self.present]
            sizes = [_said(b) + m for b, m in zip(row.before, marks, strict=True)]
            sizes = sizes if few else self._span(row)
            cells.append([clean(row.name), *sizes, say(self.reduced_said(row))])
        widths = [max(map(wide, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(padded(c, w, before=n > 0)
                      for n, (c, w) in enumerate(zip(line, widths, strict=True))).rstrip()
            for line in cells
        ]  # fmt: skip
        more = len(self.rows) - len(ordered)
        return "\n".join([*lines, *([say("and {n} more", n=more)] if more else [])])

    def _span(self, row: ParameterRow) -> list[str]:
        """The least and the most of many ranks, and where; what is no number is the most."""
        known = [(b, r) for b, r in zip(row.before, self.present, strict=True) if b is not None]
        if not known:
            return ["–", "–", "–"]
        order = sorted(known, key=lambda one: (math.isnan(one[0]), one[0], -one[1]))
        return [_said(order[0][0]), _said(order[-1][0]), str(order[-1][1])]

    @staticmethod
    def reduced_said(row: ParameterRow) -> str:
        """The norm after the reduction, in words."""
        if row.reduced is None and any(size is not None for size in row.after):
            return "parts missing" if row.how == "sharded" else "differs"
        return _said(row.reduced)

    @in_its_language
    def draw(self, *, theme: str = "") -> RankMap:
        """A row for each layer, a column for each rank, and what came of the reduction."""
        from gradviz.show.ranks import RankMap

        return RankMap(self, theme)


def told(graph: Graph, number_: int, count: int) -> dict[str, Any]:
    """What a rank says of its Graph, as plain data."""
    gradients = known_derivatives(graph).gradients if graph.error is None else {}
    rank = graph.rank
    held = {} if rank is None else rank.parameters
    parameters = {}
    for i in sorted(graph.wrt):
        name = graph.names[i]
        value = measure(graph.values[i].value)
        one = held.get(name, Held("own", 1, None, None))
        parameters[name] = {
            "shape": list(value.shape),
            "before": measure(gradients[i]).norm if i in gradients else None,
            "held": list(one),
            "content": [one.digest, value.norm, value.low, value.high],
        }
    data = next(
        (measure(node.value).shape for i, node in enumerate(graph.values)
         if graph.kind(i) in ("input", "constant") and i not in graph.wrt
         and bool(getattr(node.value, "ndim", 0))), ()
    )  # fmt: skip
    return {
        "rank": rank.number if rank is not None else number_,
        "count": rank.world if rank is not None else count,
        "loss": None if graph.error is not None else _loss(graph),
        "error": "" if graph.error is None else clean(str(graph.error)),
        "parameters": parameters,
        "buffers": {} if rank is None else dict(rank.buffers),
        "data": list(data),
        "first": _first(graph),
    }


def _loss(graph: Graph) -> float | None:
    """J; None of the stage of a pipeline, which goes back from gradients that it received."""
    output = graph.values[graph.output]
    if output.operation.name == "weighted sum":
        return None
    return float(measure(output.value).mean)


def _first(graph: Graph) -> dict[str, Any] | None:
    """What made the first value or gradient that is no number."""
    gradients = known_derivatives(graph).gradients if graph.error is None else {}
    values = (node.value for node in graph.values if not isinstance(node.value, str))
    if not any(_broken(value) for value in (*values, *gradients.values())):
        return None
    finding = next((f for f in graph.diagnose().findings if f.kind.startswith("non-finite")), None)
    if finding is None:  # it does J no harm: a mask, say
        return None
    source = finding.source
    return {
        "node": finding.node,
        "name": finding.name,
        "operation": finding.operation,
        "file": source.file if source else "",
        "line": source.line if source else 0,
        "code": source.text if source else "",
        "kind": finding.kind,
        "text": in_every_language(finding.details),
    }


def _order(one: FirstNonFinite) -> tuple[bool, int, int]:
    return one.operation in ("input", "parameter", "constant"), one.node, one.rank


def _broken(value: Any) -> bool:
    return bool(measure(value).nonfinite)


def _others(contents: Mapping[int, Any]) -> tuple[int, ...]:
    """The keys whose content is not the commonest; of equally common ones the first is kept.

    (NaN is written as text, for it is not the same as itself.)
    """
    written = {key: repr(content) for key, content in contents.items()}
    if len(set(written.values())) < 2:
        return ()
    usual, _ = Counter(written.values()).most_common(1)[0]
    return tuple(key for key, text in written.items() if text != usual)


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _finite(sizes: Sequence[float | None]) -> bool:
    return all(size is None or math.isfinite(size) for size in sizes)


def _grouped(said: Mapping[int, str]) -> str:
    """What ranks say, those together that say the same."""
    groups: dict[str, list[int]] = {}
    for rank, text in said.items():
        groups.setdefault(text, []).append(rank)
    on = "{sizes} on {ranks}"
    told = (say(on, sizes=text, ranks=which_ranks(r)) for text, r in groups.items())
    return clauses(told)


def _said(size: float | None) -> str:
    return "–" if size is None else number(size, 3)
