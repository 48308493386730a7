"""What is told of a step that went wrong: on stderr, and in a folder that is whole or not there."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gradviz.chain.health import Finding, Health
from gradviz.files import write_atomic
from gradviz.graph import Graph
from gradviz.language import asked, commas, in_its_language, say
from gradviz.record import rendezvous
from gradviz.record.alarm import Alarm, Judge
from gradviz.record.torch.watch.replay import Replay
from gradviz.statistics import measure

LINES, LAST = 10, 5
SUITS = {
    "loss not finite": ("non-finite value", "non-finite gradient"),
    "value not finite": ("non-finite value", "non-finite gradient"),
    "gradient not finite": ("non-finite gradient", "non-finite value"),
    "collapsing scale": ("non-finite gradient", "non-finite value"),
    "spike": ("exploding gradient", "ill-scaled parameter"),
    "no gradient": ("no gradient", "zero gradient", "dead units", "saturated units"),
    "diverging loss": ("ill-scaled parameter", "exploding gradient"),
    "kept gradients": (),
    "no update": (),
    "constant loss": ("zero gradient", "no gradient", "lost history", "dead units"),
}
"""By the kind of an alarm the findings that explain it, the best first."""
WEAKER = frozenset((
    "no gradient", "zero gradient", "vanishing gradient", "dead units", "saturated units",
))  # fmt: skip
"""By none of these a gradient is large."""


@dataclass(frozen=True)
class Report:
    """A step that went wrong.

    Attributes
    ----------
    step : int
        The step of its optimizer, counted from 0.
    alarm : Alarm
    graph : Graph or None
        The step, made again; of several backward passes the one that it is about.
    graphs : list of Graph
        All.
    finding : Finding or None
    replay : Replay
        How far it is the step that was made.
    folder : Path or None
        What was written; None where that failed.
    rank : int or None
        Of several that train together, the one that it is of.
    language : str
        In which it is told.
    """

    step: int
    alarm: Alarm
    graph: Graph | None
    graphs: list[Graph]
    finding: Finding | None
    replay: Replay
    folder: Path | None
    rank: int | None = None
    language: str = field(default_factory=asked)

    @property
    @in_its_language
    def text(self) -> str:
        """At most ten lines, the most important first."""
        told, since = self.alarm.text, self.alarm.since
        if since < self.step:
            told = say("{said}, since step {step}", said=told, step=since)
        head = "step {step}: {said}" if self.rank is None else "rank {rank}, step {step}: {said}"
        lines = [say(head, rank=self.rank, step=self.step, said=told)]
        if self.finding is not None:
            source = self.finding.source
            if source is not None:
                cell = "ipykernel_" in source.file  # of which its reader knows no name
                file = "notebook cell" if cell else source.file
                lines += [f'  File "{file}", line {source.line}', f"    {source.text}"]
            lines += [f"  {line}" for line in self.finding.text.splitlines()]
        elif self.graph is not None:
            lines.append(f"  {_unexplained(self)}")
        lines.append(f"  {self.replay.verdict}")
        lines += [f"  {say('not replayed: {what}', what=line)}" for line in self.replay.lost]
        where = say("the report could not be written")
        if self.folder:
            where = say("report: {folder}", folder=_from_here(self.folder))
        return "\n".join([*lines[: LINES - 2], f"  {where}"])


def _from_here(folder: Path) -> Path:
    """A folder as one would type it: from the working directory, where it lies below that."""
    try:
        return folder.relative_to(Path.cwd())
    except (ValueError, OSError):  # it is elsewhere, or there is none any more
        return folder


def report(
    out: str,
    alarm: Alarm,
    judge: Judge,
    seen: Replay,
    names: Mapping[int, str],
    rate: float | None = None,
) -> Report:
    """Examine a step, and write about it."""
    step = judge.count - 1
    rate = rate if alarm.kind == "diverging loss" else None
    healths = [graph.diagnose(rate=rate) for graph in seen.graphs]
    best = min(range(len(healths)), key=lambda k: _rank(healths[k], alarm, k), default=None)
    graph = None if best is None else seen.graphs[best]
    health = None if best is None else _ordered(healths[best], alarm)
    finding = health.findings[0] if health is not None and health.findings else None
    if finding is not None and finding.severity == "note":
        suits = finding.kind in SUITS[alarm.kind] and alarm.kind != "spike"
        finding = finding if suits else None  # it is worth knowing, but no cause
    if alarm.kind == "spike" and finding is not None and finding.kind in WEAKER:
        finding = None
    if not SUITS[alarm.kind]:  # no graph shows it
        finding = None
    group = rendezvous.group()
    rank = None if group is None else group.rank
    if rank is not None and "not finite" in alarm.kind and finding is not None:
        finding = finding if finding.kind.startswith("non-finite") else None
    made = Report(step, alarm, graph, seen.graphs, finding, seen, None, rank)
    happened = _sentences(made, names)
    folder = None
    try:
        folder = _write(Path(out), made, happened, health, judge)
    except Exception as error:
        tell(say("the report of step {step} is lost: {error}", step=step, error=error))
    made = replace(made, folder=folder)
    tell(made.text)
    return made


def tell(text: str) -> None:
    """Print it on stderr, each line with who says it."""
    if sys.stderr is None:  # where `print` would write to stdout
        return
    with contextlib.suppress(Exception):  # it may be closed
        lines = (f"gradviz watch: {line}" for line in text.splitlines())
        print("\n".join(lines), file=sys.stderr, flush=True)


def _rank(health: Health, alarm: Alarm, k: int) -> tuple[int, int]:
    """How well the findings of a pass explain an alarm; the best is the least."""
    suits = SUITS[alarm.kind]
    kinds = [finding.kind for finding in health.findings]
    return min((suits.index(kind) for kind in kinds if kind in suits), default=len(suits)), -k


def _ordered(health: Health, alarm: Alarm) -> Health:
    """With the finding that explains the alarm first."""
    suits = SUITS[alarm.kind]
    found = sorted(
        health.findings,
        key=lambda f: suits.index(f.kind) if f.kind in suits else len(suits),
    )
    return Health(health.graph, tuple(found), health.layers)


def _sentences(made: Report, names: Mapping[int, str]) -> list[str]:
    """What happened."""
    alarm, seen = made.alarm, made.replay
    at = "At step {step}, counted from 0, {said}."
    at = at if made.rank is None else "At step {step}, counted from 0, on rank {rank} {said}."
    lines = [say(at, step=made.step, rank=made.rank, said=alarm.text)]
    if alarm.since < made.step:
        began = say("It began at step {step}.", step=alarm.since)
        lines = [say("{a} {b}", a=lines[0], b=began)]
    if alarm.parameters:
        nobody = say("one that no module holds")
        told = sorted(names.get(key, nobody) for key in alarm.parameters)
        lines.append(say("They are: {names}.", names=_first(told, 12)))
    if made.graph is not None:
        graph = made.graph
        sick = [
            graph.names[i] for i in sorted(graph.wrt) if measure(graph.values[i].value).nonfinite
        ]
        if sick:
            lines.append(say(
                "When the step began, {names} already held numbers that are not finite: the update "
                "before, or what the program wrote there, made them.", names=_first(sick, 6),
            ))  # fmt: skip
        if made.finding is None:
            lines.append(_unexplained(made))
    lines.append(seen.verdict)
    lines += seen.said
    lines += [say("What could not be replayed: {what}.", what=line) for line in seen.lost]
    if seen.graphs and not seen.exact and not seen.lost:
        lines.append(say(
            "What the program keeps itself (counters, caches, files) is not put back to where it "
            "was before the step, so a step that depends on it is not reproduced."
        ))  # fmt: skip
    return lines


def _first(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    told, more = commas(names[:most]), len(names) - most
    return say("{names} and {n} more", names=told, n=more) if more > 0 else told


def _unexplained(made: Report) -> str:
    """What is told where nothing is found."""
    assert made.graph is not None
    if made.alarm.advice:
        return made.alarm.advice
    if made.rank is not None and made.alarm.kind == "gradient not finite":
        graph = made.graph
        told = [graph.values[graph.output].value, *graph.derivatives.gradients.values()]
        if not any(measure(value).nonfinite for value in told):
            return say(
                "On this rank the loss and all gradients were finite before the reduction: what is "
                "not came from another rank, whose report says where."
            )
    return _largest(made.graph, made.alarm)


def _largest(graph: Graph, alarm: Alarm) -> str:
    """Where the gradients are largest: what is told where nothing is found."""
    gradients = graph.derivatives.gradients if graph.error is None else {}
    norms = {i: measure(gradients[i]).norm for i in graph.wrt if i in gradients}
    if not norms:
        return say("No finding explains it.")
    at = max(norms, key=lambda i: norms[i])
    told = say(
        "No finding explains it. The largest gradient is that of {v}: its norm is {norm:.3g}.",
        v=graph.names[at], norm=norms[at],
    )  # fmt: skip
    steepest = _steepest(graph) if alarm.kind == "spike" else ""
    return say("{a} {b}", a=told, b=steepest) if steepest else told


def _steepest(graph: Graph) -> str:
    """The operation through which the norm of the gradient grows the most, on its way back."""
    norms = {i: measure(g).norm for i, g in graph.derivatives.gradients.items()}
    ways = [
        (norms[operand] / norms[i], i, operand)
        for i in norms
        if norms[i] > 0
        for operand in graph.operands[i]
        if operand in norms
        and len(graph.readers[operand]) == 1  # what it got came from here
        and operand not in graph.changed_by_hooks  # (of which the finding tells)
    ]
    growth, i, operand = max(ways, default=(0.0, 0, 0))
    source = graph.source(i)
    if not 10 <= growth < math.inf or source is None:
        return ""
    return say(
        "On its way back the gradient grows the most at {v} ({place}): its norm is {there:.3g} "
        "there, and {here:.3g} at {u}.",
        v=graph.names[i], place=source.place, there=norms[i], here=norms[operand],
        u=graph.names[operand],
    )  # fmt: skip


def _write(
    out: Path, made: Report, happened: Sequence[str], health: Health | None, judge: Judge
) -> Path:
    """Write the folder under another name, and give it its own when it is whole."""
    from gradviz.web.incident import incident_page

    out.mkdir(parents=True, exist_ok=True)
    temporary = out / f".gradviz-{os.urandom(8).hex()}"
    temporary.mkdir()
    try:
        curves: dict[str, Any] = {
            say("The last losses"): list(judge.losses),
            say("The last norms of the gradients"): list(judge.norms),
        }
        head = "Step {step}: {kind}"
        head = head if made.rank is None else "Step {step}, rank {rank}: {kind}"
        title = say(head, step=made.step, rank=made.rank, kind=say(made.alarm.kind))
        since = judge.count - len(judge.losses)
        page = incident_page(title, happened, health, made.graph, curves, since)
        write_atomic(temporary / "report.html", page)
        text = [*happened, "", health.text if health is not None else ""]
        write_atomic(temporary / "report.txt", "\n".join(text).rstrip() + "\n")
        for k, graph in enumerate(made.graphs):
            graph.save(temporary / (f"graph-{k + 1}.json" if k else "graph.json"))
        first = f"step-{made.step}" + ("" if made.rank is None else f"-rank-{made.rank}")
        k, name = 1, first
        while (out / name).exists():
            k, name = k + 1, f"{first}-{k + 1}"
        temporary.rename(out / name)
        return out / name
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
