"""Gradients that are missing, or are not what the program by itself would have."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from gradviz.chain.health import hazards
from gradviz.chain.health.evidence import Evidence
from gradviz.chain.health.findings import Finding, Words
from gradviz.chain.reads import partly
from gradviz.chain.retold import retold
from gradviz.language import Told, later, several
from gradviz.model import PARAMETER
from gradviz.ops import forms
from gradviz.ops.looks import Id


class Lost(Evidence):
    """Finds where the way to J ends."""

    def _returned(self) -> Iterator[Finding]:
        """Values whose plain number came back into J: the gradient lacks a part."""
        sure = self.graph.sure
        came = (
            "{v} was read as a plain number {how}; that number came back into {J}, the gradient "
            "lacks its part"
        )
        if not sure:
            came = (
                "{v} was read as a plain number {how}; if that number came back into {J}, the "
                "gradient lacks its part"
            )
        for i, how in partly(self.graph).items():
            J = self._name(self.graph.output)
            yield self._finding(
                "lost history", "error" if sure else "warning", i, (i, *self._onward(i)[1:]),
                later(came, v=self._name(i), how=Told(retold, how), J=J),
                later("keep it an array; gradviz.stop_gradient says that a constant is meant"),
            )  # fmt: skip

    def _astray(self) -> Iterator[Finding]:
        """A recording that took another branch than the program does by itself."""
        if self.graph.astray:
            output = self.graph.output
            yield self._finding(
                "another J", "error", output, (output,), Told(retold, self.graph.astray),
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
            names, J = self._names(members), self._name(graph.output)
            path, onward, aimed = [members[0]], tuple[int, ...](), False
            if not group:
                advice: Words = later("use it, or leave it out")
                message = self._unused(members)
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
                no_way = "no way leads from {names} to {J}: {why}"
                message = later(no_way, names=names, J=J, why=why)
            # What J does not depend on: a head or a token that this run had no use for.
            unused = not group or group[0][0] >= derived
            note = aimed or (unused and graph.values[members[0]].operation is PARAMETER)
            if aimed:
                advice = later(
                    "right for a teacher or a target network; else compute it where gradients are "
                    "recorded"
                )
            onward = onward or self._onward(path[-1])[1:]
            yield self._finding(
                "no gradient", "note" if note else "warning", path[-1], (*path, *onward),
                message, advice, parameters=len(members),
            )  # fmt: skip

    def _unused(self, members: Sequence[int]) -> Told:
        """That J does not depend on parameters."""
        unused = "nothing reads {names}"
        if any(w in self._looked_at for w in members):
            unused = (
                "{J} does not depend on {names}: the program looks at its numbers alone (a step, a "
                "comparison, a position)"
            )
        elif self._unseen():
            unused = "{J} does not depend on {names}"
        return later(unused, names=self._names(members), J=self._name(self.graph.output))

    def _stops(self, v: int) -> bool:
        dtype = str(getattr(self.graph.values[v].value, "dtype", "float"))
        return self._op(v) in hazards.STOPS or not dtype.startswith(("float", "complex", "bfloat"))

    def _stop(self, v: int, path: Sequence[int]) -> tuple[Words, Words]:
        told = self._told(v)
        if why := hazards.STOPS.get(self._op(v)):
            advice = later("leave {op} out, if a gradient is wanted", op=self._op(v))
            if self._op(v) not in ("detach", "data", "stop_gradient"):
                advice = later("use a soft version")
            return later("{v} stops it, {why}", v=told, why=later(why)), advice
        if self._stops(v):
            stops = later("{v} stops it, integers have no derivative", v=told)
            if str(self.graph.values[v].value.dtype) == "bool":
                stops = later("{v} stops it, truth values have no derivative", v=told)
            return stops, later("stay with floats")
        if untracked := self._untracked(v, path):
            return (
                later(
                    "{u} was computed without gradients (under no_grad, or detached), and {v} "
                    "reads it",
                    u=self._told(path[untracked]), v=self._name(path[untracked + 1]),
                ),
                later(
                    "compute it where gradients are recorded; requires_grad_(False) says that a "
                    "constant is meant"
                ),
            )  # fmt: skip
        if kind := self.graph.values[v].operation.own_rule:
            rule = "{op} has a derivative rule of its own ({kind}), which sends {u} nothing"
            return (
                later(rule, op=self._op(v), kind=kind, u=self._name(path[-2])),
                later("let the rule return the gradient of {u}, if one is wanted",
                      u=self._name(path[-2])),
            )  # fmt: skip
        return (
            later("{v} takes {u} as a constant", v=told, u=self._name(path[-2])),
            later(
                "was that computed without gradients (no_grad, detach, stop_gradient), or has it "
                "no derivative here?"
            ),
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

    def _read(self, v: int, path: Sequence[int]) -> tuple[Words, Words]:
        how = Told(retold, self.graph.ends[v])
        return (
            later("{v} was read as a plain number {how}", v=self._name(v), how=how),
            later("keep it an array: leave the conversion out"),
        )

    def _is_derivative(self, v: int) -> bool:
        """Whether a value is what `torch.autograd.grad` returned, with a history of its own."""
        return self._op(v) == "grad" and v in self.gradients

    def _derived(self, v: int, path: Sequence[int]) -> tuple[Words, Words]:
        return (
            later("{v} is a derivative, which does not depend on it", v=self._name(v)),
            later(
                "what is only added has none; let the loss read more than the derivative, if it "
                "should"
            ),
        )

    @cached_property
    def _looked_at(self) -> set[int]:
        """The values whose plain numbers the program read or asked for."""
        asked = (u for look in self.graph.looks or () for u in look.operands if type(u) is Id)
        return {*self.graph.reads, *map(int, asked)}

    def _shaped(self, v: int, path: Sequence[int]) -> tuple[Words, Words]:
        shaped = "{v} takes the shape of {u} alone, not its numbers"
        return (
            later(shaped, v=self._told(v), u=self._name(path[-2])),
            later("let the loss read them, if it should depend on them"),
        )

    def _unseen(self) -> bool:
        """Whether autograd's names tell of calls that were not seen, as inside `torch.func`."""
        return any(node.operation.name[:1].isupper() for node in self.graph.values)

    def _unread(self, v: int, path: Sequence[int]) -> tuple[Words, Words]:
        looked = v in self._looked_at
        return (
            later("nothing recorded reads {names}" if looked else "nothing reads {names}",
                  names=self._told(v)),
            later(
                "let the loss depend on it; a comparison, an argmax or a cast to integers is not "
                "recorded, for none has a derivative"
            ),
        )  # fmt: skip

    def _changed_gradients(self) -> Iterator[Finding]:
        """Gradients that are not the sum of their messages, for a hook changed them."""
        hooks = self.graph.changed_by_hooks
        if hooks:
            by = "of {v} by {hook}"
            hooked = {self._name(u): Told(retold, hooks[u]) for u in sorted(hooks)}
            said = [later(by, v=name, hook=hook) for name, hook in hooked.items()]
            message = later("the gradient was changed: {changes}", changes=Told(_list, said))
            u = min(hooks)
            yield self._finding(
                "changed gradient", "note", u, self._onward(u), message, values=len(hooks)
            )
        changed = [u for u in self.gradients if u != self.graph.output and self._changed(u)]
        changed = [u for u in sorted(changed) if self.norms[u] and math.isfinite(self.norms[u])]
        changed = [u for u in changed if u not in hooks]
        if changed:
            u = changed[0]
            message = later(
                "of {names} the gradient is not the sum of the messages: something after them, "
                "such as a hook, changed it", names=self._names(changed),
            )  # fmt: skip
            yield self._finding(
                "changed gradient", "note", u, self._onward(u), message, values=len(changed)
            )

    def _frozen(self) -> Iterator[Finding]:
        """Parameters that no gradient was asked for."""
        nodes = enumerate(self.graph.values)
        frozen = [i for i, n in nodes if n.operation is PARAMETER and i not in self.graph.wrt]
        if frozen:
            what = later("no gradient was asked for: {names}", names=self._names(frozen))
            yield self._finding(
                "frozen parameters", "note", frozen[0], frozen[:1], what, parameters=len(frozen)
            )


def _list(parts: Sequence[Told]) -> str:
    return several(map(str, parts), 3)
