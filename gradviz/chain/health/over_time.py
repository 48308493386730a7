"""When a finding began: the health of many steps of a run, by what is wrong and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gradviz.chain.health.findings import (
    KINDS,
    MARKS,
    SEVERITIES,
    Finding,
    Health,
    Verdict,
    Words,
)
from gradviz.language import in_its_language, say, some

LOOKED, LOOKS = 56, 60
"""So many steps of a run are examined, and so many further ones to say when findings began."""


@dataclass(frozen=True)
class Onset:
    """A finding over the steps of a run.

    Attributes
    ----------
    kind, severity, where : str
        Of the worst finding; `where` is the layer, without layers the value.
    message : Told or str
        What was said when it was first seen.
    seen : tuple of int
        The steps it was seen at, of those that were examined.
    first : int
        The first of them.
    before : int or None
        The step that was examined last before it, without the finding; None if there was none.
    """

    kind: str
    severity: str
    where: str
    message: Words
    seen: tuple[int, ...]
    first: int
    before: int | None

    @property
    def text(self) -> str:
        """It in a sentence."""
        since = "{kind} in {where} from step {first} on (not at step {before}): {message}"
        if self.before is None:
            since = "{kind} in {where} from the first step on: {message}"
        return say(
            since, kind=say(self.kind), where=self.where, first=self.first, before=self.before,
            message=self.message,
        )  # fmt: skip


class OverTime:
    """Examines steps of a run, each once.

    Parameters
    ----------
    healths : callable
        By a step's number the health of each of its Graphs.
    """

    def __init__(self, healths: Callable[[int], Iterable[Health]]) -> None:
        self.healths = healths
        self._known: dict[int, dict[tuple[str, str], Finding]] = {}

    def findings(self, step: int) -> dict[tuple[str, str], Finding]:
        """What is wrong at a step, by kind and place."""
        found = self._known.get(step)
        if found is None:
            found = self._known[step] = {}
            for health in self.healths(step):
                for finding in health.findings:
                    where = ".".join(finding.scope) or finding.name
                    found.setdefault((finding.kind, where), finding)
        return found

    def onsets(self, looked: Sequence[int], steps: Sequence[int]) -> list[Onset]:
        """The findings at some `looked` of all `steps`, the earliest first.

        Where one began between two of them is searched for among the steps in between.
        """
        place = {step: i for i, step in enumerate(steps)}
        left = LOOKS
        keys = dict.fromkeys(key for step in looked for key in self.findings(step))
        pairs: dict[tuple[str, str], tuple[int | None, int]] = {}
        for key in sorted(keys, key=lambda key: self._rank(key, looked)):
            at = next(i for i, step in enumerate(looked) if key in self.findings(step))
            if at == 0:
                pairs[key] = None, looked[0]
                continue
            low, high = place[looked[at - 1]], place[looked[at]]
            while high - low > 1 and left:
                middle = (low + high) // 2
                left -= steps[middle] not in self._known
                if key in self.findings(steps[middle]):
                    high = middle
                else:
                    low = middle
            pairs[key] = steps[low], steps[high]
        found = []
        every = sorted(step for step in self._known if step in place)
        for key, (before, first) in pairs.items():
            seen = tuple(step for step in every if key in self._known[step])
            begins = self._known[first][key]
            worst = min((self._known[step][key].severity for step in seen), key=SEVERITIES.index)
            found.append(Onset(key[0], worst, key[1], begins.says, seen, first, before))
        return sorted(found, key=lambda one: (one.first, SEVERITIES.index(one.severity)))

    def _rank(self, key: tuple[str, str], looked: Iterable[int]) -> tuple[int, int]:
        """The worst findings first: theirs are the looks."""
        severities = [self.findings(s)[key].severity for s in looked if key in self.findings(s)]
        return min(map(SEVERITIES.index, severities)), KINDS.index(key[0])


@dataclass(frozen=True, repr=False)
class HealthOverTime(Verdict[Onset]):
    """The result of `Run.diagnose`; true if there is no error and no warning.

    Attributes
    ----------
    findings : tuple of Onset
        The earliest first.
    steps : tuple of int
        Those that were examined.
    run : Run
    """

    findings: tuple[Onset, ...]
    steps: tuple[int, ...]
    run: Any

    @property
    @in_its_language
    def text(self) -> str:
        """Each finding: what, where, and from which step on."""
        lines = [f"{MARKS[finding.severity]} {finding.text}" for finding in self.findings]
        if self.ok:
            steps = some(len(self.steps), "step")
            lines.insert(0, f"✓ {say('no warning in {steps} of the run', steps=steps)}")
        return "\n".join(lines)

    def draw(self, what: str = "gradients", **options: Any) -> Any:
        """The map of the run (see `Run.draw`)."""
        return self.run.draw(what, **options)


def spread(count: int, most: int) -> list[int]:
    """At most so many places, evenly spread, the last among them.

    Those of a longer run are among those of a shorter one, but for the last: what is known of them
    stays of use.
    """
    stride = 1
    while count > stride * (most - 1) + 1:
        stride *= 2
    return sorted({*range(0, count, stride), *([count - 1] if count else [])})
