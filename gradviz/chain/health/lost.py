"""Gradients that are missing, or are not what the program by itself would have."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence
from gradviz.chain.health.findings import Finding
from gradviz.chain.reads import partly
from gradviz.model import PARAMETER
from gradviz.ops import forms
from gradviz.ops.looks import Id
from gradviz.words import listed

LOOKED = ": the program looks at its numbers alone (a step, a comparison, a position)"


class Lost(Evidence):
    """Finds where the way to J ends."""

    def _returned(self) -> Iterator[Finding]:
        """Values whose plain number came back into J: the gradient lacks a part."""
        sure = self.graph.sure
        for i, how in partly(self.graph).items():
            yield self._finding(
                "lost history", "error" if sure else "warning", i, (i, *self._onward(i)[1:]),
                f"{self._name(i)} was read as a plain number {how}; "
                + ("that number came back into " if sure else "if that number came back into ")
                + f"{self._name(self.graph.output)}, the gradient lacks its part",
                "keep it an array; gradviz.stop_gradient says that a constant is meant",
            )  # fmt: skip

    def _astray(self) -> Iterator[Finding]:
        """A recording that took another branch than the program does by itself."""
        if self.graph.astray:
            output = self.graph.output
            yield self._finding(
                "another J", "error", output, (output,), self.graph.astray,
                "ask np.ndim(x) or isinstance(x, ...)",
            )  # fmt: skip

    def _disconnected(self) -> Iterator[Finding]:
        """Parameters from which no way leads to J, by where their ways end."""
        graph = self.graph
        lost = [w for w in self.weights if w not in self.gradients and w not in graph.elsewhere]
        # What ends a way, the worst first, and the value where it ends; by id. Next to it the
        # next value on the way there.
        ends: dict[int, dict[tuple[int, int], int]] = defaultdict(dict)
        stopped, read, derived, shaped, unread = range(5)
        ended = graph.ends
        for u in range(len(graph) - 1, min(lost, default=len(graph)) - 1, -1):
            if u in self.gradients or u not in graph.varying:
                continue
            found: dict[tuple[int, int], int] = {(read, u): u} if u in ended else {}
            for v, key in graph.readers[u]:
                if forms.takes_shape(self._op(v), key):
                    found.setdefault((shaped, v), v)
                    continue
                if v in self.gradients or self._stops(v):
                    found.setdefault((derived if self._is_derivative(v) else stopped, v), v)
                for end in () if v in self.gradients or self._stops(v) else ends[v]:
                    found.setdefault(end, v)
            found = found or {(unread, u): u}
            ends[u] = {end: found[end] for end in sorted(found)[:3]}
        groups: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
        for w in lost:
            groups[() if (unread, w) in ends[w] else tuple(ends[w])].append(w)
        for group, members in groups.items():
            names = listed(map(self._name, members))
            path, onward, aimed = [members[0]], tuple[int, ...](), False
            if not group:
                message, advice = f"nothing reads {names}", "use it, or leave it out"
                looked = any(w in self._looked_at for w in members)
                if looked or self._unseen():
                    message = f"{self._name(graph.output)} does not depend on {names}"
                    message += LOOKED * looked
            else:
                kind, v = group[0]
                while path[-1] != v:
                    path.append(ends[path[-1]][group[0]])
                told = (self._stop, self._read, self._derived, self._shaped, self._unread)[kind]
                why, advice = told(v, path)
                if kind == stopped and (untracked := self._untracked(v, path)):
                    aimed = self._is_target(v)
                    onward = (*path[untracked + 1 :], *self._onward(v)[1:])
                    del path[untracked + 1 :]
                message = f"no way leads from {names} to {self._name(graph.output)}: {why}"
            # What J does not depend on: a head or a token that this run had no use for.
            unused = not group or group[0][0] >= derived
            note = aimed or (unused and graph.values[members[0]].operation is PARAMETER)
            if aimed:
                advice = (
                    "right for a teacher or a target network; else compute it where gradients are "
                    "recorded"
                )
            onward = onward or self._onward(path[-1])[1:]
            yield self._finding(
                "no gradient", "note" if note else "warning", path[-1], (*path, *onward),
                message, advice, parameters=len(members),
            )  # fmt: skip

    def _stops(self, v: int) -> bool:
        dtype = str(getattr(self.graph.values[v].value, "dtype", "float"))
        return self._op(v) in hazards.STOPS or not dtype.startswith(("float", "complex", "bfloat"))

    def _stop(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        if why := hazards.STOPS.get(self._op(v)):
            leave = f"leave {self._op(v)} out, if a gradient is wanted"
            advice = (
                leave
                if self._op(v) in ("detach", "data", "stop_gradient")
                else "use a soft version"
            )
            return f"{self._told(v)} stops it, {why}", advice
        if self._stops(v):
            return f"{self._told(v)} stops it, integers have no derivative", "stay with floats"
        if untracked := self._untracked(v, path):
            return (
                f"{self._told(path[untracked])} was computed without gradients (under no_grad, or "
                f"detached), and {self._name(path[untracked + 1])} reads it",
                "compute it where gradients are recorded; requires_grad_(False) says that a "
                "constant is meant",
            )
        return (
            f"{self._told(v)} takes {self._name(path[-2])} as a constant",
            "was that computed without gradients (no_grad, detach, stop_gradient), or has it no "
            "derivative here?",
        )

    def _untracked(self, v: int, path: Sequence[int]) -> int:
        """The place on a way to v of what was computed without gradients; 0 if nothing was.

        It is the first that passes nothing on, or else what v, which has a derivative by each of
        its operands, has none by.
        """
        graph = self.graph
        if self._stops(v):
            return 0
        for place, (u, w) in enumerate(itertools.pairwise(path[:-1]), 1):
            rule = graph.values[w].operation.rule
            if all(rule(key) is None for key, x in enumerate(graph.operands[w]) if x == u):
                return place
        smooth = self._op(v) in hazards.PRODUCTS | hazards.SUMS
        return len(path) - 2 if len(path) > 1 and smooth and not graph.is_leaf(path[-2]) else 0

    def _is_target(self, v: int) -> bool:
        """Whether what reads a constant goes on to J through no layer, and not by sums alone.

        So is a target computed, which the result of another network is compared with. What is only
        added to the loss moves nothing, which nobody wants; what goes into a layer may be a part
        of the network by mistake.
        """
        linear, pending, seen = True, [v], set[int]()
        while pending:
            i = pending.pop()
            if i not in seen:
                seen.add(i)
                linear = linear and self._op(i) in hazards.SUMS
                if not self._layers.isdisjoint(self.graph.operands[i]):
                    return False
                pending += [reader for reader, _ in self.graph.readers[i]]
        return not linear

    @cached_property
    def _layers(self) -> set[int]:
        """The parameters that get a gradient."""
        return {w for w in self.weights if w in self.gradients}

    def _read(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        return (
            f"{self._name(v)} was read as a plain number {self.graph.ends[v]}",
            "keep it an array: leave the conversion out",
        )

    def _is_derivative(self, v: int) -> bool:
        """Whether a value is what `torch.autograd.grad` returned, with a history of its own."""
        return self._op(v) == "grad" and v in self.gradients

    def _derived(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        return (
            f"{self._name(v)} is a derivative, which does not depend on it",
            "what is only added has none; let the loss read more than the derivative, if it should",
        )

    @cached_property
    def _looked_at(self) -> set[int]:
        """The values whose plain numbers the program read or asked for."""
        asked = (u for look in self.graph.looks or () for u in look.operands if type(u) is Id)
        return {*self.graph.reads, *map(int, asked)}

    def _shaped(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        return (
            f"{self._told(v)} takes the shape of {self._name(path[-2])} alone, not its numbers",
            "let the loss read them, if it should depend on them",
        )

    def _unseen(self) -> bool:
        """Whether autograd's names tell of calls that were not seen, as inside `torch.func`."""
        return any(node.operation.name[:1].isupper() for node in self.graph.values)

    def _unread(self, v: int, path: Sequence[int]) -> tuple[str, str]:
        looked = v in self._looked_at
        return (
            f"nothing {'recorded ' * looked}reads {self._told(v)}",
            "let the loss depend on it; a comparison, an argmax or a cast to integers is not "
            "recorded, for none has a derivative",
        )

    def _changed_gradients(self) -> Iterator[Finding]:
        """Gradients that are not the sum of their messages, for a hook changed them."""
        hooks = self.graph.changed_by_hooks
        if hooks:
            said = listed(f"of {self._name(u)} by {hooks[u]}" for u in sorted(hooks))
            message = f"the gradient was changed: {said}"
            u = min(hooks)
            yield self._finding(
                "changed gradient", "note", u, self._onward(u), message, values=len(hooks)
            )
        changed = [u for u in self.gradients if u != self.graph.output and self._changed(u)]
        changed = [u for u in sorted(changed) if self.norms[u] and math.isfinite(self.norms[u])]
        changed = [u for u in changed if u not in hooks]
        if changed:
            u = changed[0]
            message = (
                f"of {listed(map(self._name, changed))} the gradient is not the sum of the "
                f"messages: something after them, such as a hook, changed it"
            )
            yield self._finding(
                "changed gradient", "note", u, self._onward(u), message, values=len(changed)
            )

    def _frozen(self) -> Iterator[Finding]:
        """Parameters that no gradient was asked for."""
        nodes = enumerate(self.graph.values)
        frozen = [i for i, n in nodes if n.operation is PARAMETER and i not in self.graph.wrt]
        if frozen:
            what = f"no gradient was asked for: {listed(map(self._name, frozen))}"
            yield self._finding(
                "frozen parameters", "note", frozen[0], frozen[:1], what, parameters=len(frozen)
            )
