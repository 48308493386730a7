"""A jaxpr as its author wrote it: calls of library functions, loops and branches.

A primitive is no operation to whoever wrote `log_softmax`: the equations that one call of a library
has made are one `Call`, which reads what they read and returns what others read of them. Functions
of the user's own that are jitted or checkpointed are opened.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jax._src import core
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gradviz.errors import TraceError
from gradviz.record.jax import frames
from gradviz.record.jax.frames import NOWHERE, Place

OPENED = frozenset("jit pjit closed_call core_call remat remat2 checkpoint".split())
RULED = frozenset(("custom_jvp_call", "custom_vjp_call"))
"""What has a derivative rule of its own beside what it computes."""
LOOPS = frozenset(("scan", "while", "cond"))
FORMS = frozenset("broadcast_in_dim convert_element_type reshape squeeze expand_dims copy".split())
"""Primitives that put an operand into the shape and dtype that an operation computes in."""
REFUSED = {
    "shard_map": "run it on one device, without shard_map: one device's part is not the whole",
    "pure_callback": "its result comes from Python, which JAX cannot differentiate: write it in "
    "jax.numpy, or give it a jax.custom_vjp",
    "io_callback": "it calls Python while it computes: leave that out of what is traced",
}  # fmt: skip


@dataclass(slots=True, eq=False)
class Step:
    """One call of a library, or one loop or branch.

    Attributes
    ----------
    kind : {"call", "scan", "while", "cond"}
    name : str
    eqns : list
        The equations.
    reads : list of Var or Literal
        By operand.
    writes : list of Var
        Results that others read.
    scope : tuple of str
    place : Place
    last : bool
        Whether it is the last that its statement computed, whose variable it is then.
    inner : tuple of Plan
        Bodies of a loop, branches.
    own : list of Var
        What the equations call the operands.
    plain : bool
        It is one primitive, whose operands are its own in order.
    made, told
        See `pure` and `operation`.
    """

    kind: str
    name: str
    eqns: list[Any]
    reads: list[Any]
    writes: list[Any]
    scope: tuple[str, ...]
    place: Place
    last: bool = True
    inner: tuple[Plan, ...] = ()
    own: list[Any] = field(default_factory=list)
    plain: bool = False
    made: Any = None
    told: Any = None

    @property
    def site(self) -> Any:
        """For `gradviz.record.names`."""
        site = self.place.site
        return site if self.last or site is None else (*site, None)

    @property
    def params(self) -> dict[str, Any]:
        """Of a loop or a branch."""
        params: dict[str, Any] = self.eqns[0].params
        return params

    @property
    def is_own_rule(self) -> bool:
        """Whether a derivative rule of the program's own is part of it."""
        return any(eqn.primitive.name.startswith("custom_vjp") for eqn in self.eqns)

    @classmethod
    def of(cls, closed: Any, name: str, place: Place) -> Step:
        """A whole jaxpr without constants as one call."""
        jaxpr = closed.jaxpr
        return cls("call", name, jaxpr.eqns, jaxpr.invars, jaxpr.outvars, (), place,
                   own=jaxpr.invars)  # fmt: skip

    def as_call(self) -> Step:
        """A loop or a branch as one call."""
        if self.kind == "call":
            return self
        (eqn,) = self.eqns
        own = [core.Var(a.aval) for a in eqn.invars]
        return replace(self, kind="call", eqns=[eqn.replace(invars=own)], own=own, made=None)

    def jaxpr(self) -> Jaxpr:
        """The equations as a function of the operands."""
        told = core.DebugInfo(
            "gradviz", self.name, tuple(f"a{i}" for i in range(len(self.own))),
            tuple(f"r{i}" for i in range(len(self.writes))),
        )  # fmt: skip
        effects = {e for eqn in self.eqns for e in eqn.effects}
        return Jaxpr((), self.own, self.writes, self.eqns, effects, debug_info=told)


@dataclass(slots=True, eq=False)
class Plan:
    """The steps of a jaxpr; `parts`: see `stretches`."""

    jaxpr: Any
    consts: Sequence[Any]
    steps: list[Step]
    arguments: tuple[str, ...] = ()
    name: str = ""
    parts: dict[bool, list[Any]] = field(default_factory=dict)


class _Run(NamedTuple):
    """An equation with where it comes from."""

    eqn: Any
    place: Place
    scope: tuple[str, ...]


Scoped = tuple[str, ...]


def plan(
    closed: Any, opened: frozenset[str] = frozenset(), root: str = "", within: Place = NOWHERE
) -> Plan:
    """What a jaxpr does, call by call; a scope `root` around all others is left out.

    `within`: where the loop or branch is whose body it is.
    """
    jaxpr, consts = inner_of(closed)
    renamed: dict[Any, Any] = {}
    values: dict[Any, Any] = {}
    runs = list(_flat(jaxpr, (), None, renamed, values, opened))
    nowhere = within._replace(call=(), name="")  # (a library's own function as a branch)
    runs = [r if r.place.site else r._replace(place=nowhere) for r in runs]
    if root:
        runs = [r._replace(scope=r.scope[r.scope[:1] == (root,) :]) for r in runs]
    outer = [_resolve(v, renamed) for v in jaxpr.outvars]
    runs = _read_ones(runs, outer)
    flat = jaxpr.replace(eqns=[run.eqn for run in runs], outvars=outer)
    told = _told(jaxpr)
    own = frames.is_users(told.func_filename or "")
    name = told.func_name if own else ""
    arguments = tuple(map(str, told.arg_names or ())) if own else ()
    constants = dict(zip(jaxpr.constvars, consts, strict=True)) | values
    flat = flat.replace(constvars=list(constants))
    return Plan(flat, list(constants.values()), _steps(runs, outer, opened), arguments, name)


def _read_ones(runs: list[_Run], outer: list[Any]) -> list[_Run]:
    """Those that the results depend on: as `jit`, which leaves the others out."""
    read = {a for a in outer if not isinstance(a, Literal)}
    found: list[_Run] = []
    for run in reversed(runs):
        if not read.isdisjoint(run.eqn.outvars):
            read.update(a for a in run.eqn.invars if not isinstance(a, Literal))
            found.append(run)
    return found[::-1]


def named(steps: Plan) -> Iterator[str]:
    """What is called, in loops and branches too."""
    for step in steps.steps:
        yield step.name
        for inner in step.inner:
            yield from named(inner)


def count(steps: Plan) -> int:
    """How many steps there are, in loops and branches too."""
    return sum(1 for _ in named(steps))


def inner_of(jaxpr: Any) -> tuple[Any, Sequence[Any]]:
    """A jaxpr and its constants."""
    return (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, ClosedJaxpr) else (jaxpr, ())


def _resolve(atom: Any, renamed: dict[Any, Any]) -> Any:
    while not isinstance(atom, Literal) and atom in renamed:
        atom = renamed[atom]
    return atom


def _flat(
    jaxpr: Any,
    scope: Scoped,
    around: Place | None,
    renamed: dict[Any, Any],
    values: dict[Any, Any],
    opened: frozenset[str],
    wraps: str = "",
) -> Iterator[_Run]:
    """The equations, those of the user's own jitted functions in their place.

    `around` is where a library's function was called, whose equations may have been traced for
    another call; `wraps` tells which function that is, if it runs what it is given.
    """
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name in REFUSED:
            raise TraceError(_refusal(name, frames.place(eqn.source_info.traceback)))
        eqn = eqn.replace(invars=[_resolve(a, renamed) for a in eqn.invars])
        traceback = eqn.source_info.traceback
        place = frames.place(traceback)
        if around is not None and not wraps:
            place = around._replace(call=(), name="")
        elif around is not None and not frames.calls_user(traceback, wraps):
            place = place._replace(site=around.site, statement=around.statement)
        here = scope + _scope(eqn.source_info.name_stack)
        opens = name in OPENED or (name in RULED and "rules" in opened)
        body = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")) if opens else None
        if body is None or not (_users(body) or _opens(eqn, opened)):
            yield _Run(eqn, place, here)
            continue
        inner, consts = inner_of(body)
        inner = _renewed(inner)
        for var, value in zip(inner.constvars, consts, strict=True):
            values[var] = value
        renamed |= zip(inner.invars, eqn.invars, strict=True)
        called = eqn.params.get("name", "")
        at = (*here, called) if called and called != "<lambda>" else here
        told = _told(body)
        within = None if frames.is_users(told.func_filename or "") else place
        wraps = told.func_src_info if within and _users(body) else ""
        yield from _flat(inner, at, within, renamed, values, opened, wraps)
        renamed |= zip(eqn.outvars, inner.outvars, strict=True)


def _renewed(jaxpr: Any) -> Any:
    """A jaxpr with variables of its own: one that was traced once may be called twice."""
    fresh: dict[Any, Any] = {}

    def new(var: Any) -> Any:
        if isinstance(var, Literal):
            return var
        if var not in fresh:
            fresh[var] = core.Var(var.aval)
        return fresh[var]

    eqns = []
    inputs = [new(v) for v in jaxpr.invars]
    constants = [new(v) for v in jaxpr.constvars]
    for eqn in jaxpr.eqns:
        eqns.append(
            eqn.replace(
                invars=[new(a) for a in eqn.invars],
                outvars=[core.Var(v.aval) if isinstance(v, core.DropVar) else new(v)
                         for v in eqn.outvars],
            )
        )  # fmt: skip
    outs = [new(v) for v in jaxpr.outvars]
    return jaxpr.replace(invars=inputs, constvars=constants, eqns=eqns, outvars=outs)


def _users(body: Any) -> bool:
    """Whether the user wrote the function that was jitted, or a library that runs what it is given.

    So do `equinox.filter_jit` and `flax.linen.remat`.
    """
    file = _told(body).func_filename or ""
    return frames.is_users(file) or frames.wraps(file)


def jits(closed: Any) -> bool:
    """Whether a function of the user's own is jitted in it."""
    bodies = [e.params.get("jaxpr") for e in closed.eqns if e.primitive.name in OPENED]
    return any(map(_users, bodies))


def _told(body: Any) -> Any:
    """Whose function a jaxpr was."""
    return inner_of(body)[0].debug_info or core.DebugInfo("", "", (), ())


def _opens(eqn: Any, opened: frozenset[str]) -> bool:
    return "all" in opened or frames.shown(eqn.params.get("name", "")) in opened


def _scope(stack: Any) -> Scoped:
    """The modules, and whether it is of a backward pass that the program makes itself."""
    found: list[str] = []
    for part in stack.stack:
        if type(part).__name__ == "Scope":
            found += [
                p for p in part.name.split("/")
                if p and "->" not in p and not p.startswith("eqx.nn.")  # (see `modules`)
            ]  # fmt: skip
        elif part.name == "transpose":
            found.append("backward")
    return tuple(found)


def _refusal(name: str, place: Place) -> str:
    return f"{name} cannot be recorded{place.told}: {REFUSED[name]}"


# --- calls ----------------------------------------------------------------------------------------


def _steps(runs: list[_Run], outer: list[Any], opened: frozenset[str]) -> list[Step]:
    """The calls, with what each reads and returns."""
    groups: list[list[_Run]] = []
    ends: list[bool] = []  # whether the group is the last of its statement
    first_call: Any = None
    first_statement: Any = None
    for run in runs:
        place = run.place
        previous = groups[-1][-1] if groups else None
        same_statement = (
            previous is not None
            and place.statement
            and place.statement == previous.place.statement
            and (place.stack, run.eqn.primitive) != first_statement
        )
        if not same_statement:
            first_statement = place.stack, run.eqn.primitive
        elif ends:
            ends[-1] = False
        joins = (
            previous is not None
            and run.eqn.primitive.name not in LOOPS
            and previous.eqn.primitive.name not in LOOPS
            and place.call
            and place.call == previous.place.call
            and ((place.stack, run.eqn.primitive) != first_call or _fixed(run.eqn))
            and run.scope == previous.scope
        )
        if joins:
            groups[-1].append(run)
            ends[-1] = True
        else:
            groups.append([run])
            ends.append(True)
            first_call = place.stack, run.eqn.primitive
    groups, ends = _certain(groups, ends)
    groups, ends = _opened(groups, _last_ones(groups, ends), opened)
    if opened:
        groups, ends = _with_forms(groups, ends, outer)
    reads: dict[Any, set[int]] = {}
    for n, group in enumerate(groups):
        for run in group:
            for atom in run.eqn.invars:
                if not isinstance(atom, Literal):
                    reads.setdefault(atom, set()).add(n)
    for atom in outer:
        if not isinstance(atom, Literal):
            reads.setdefault(atom, set()).add(-1)
    return [
        step
        for n, group in enumerate(groups)
        if (step := _step(group, n, reads, ends[n], opened)) is not None
    ]


def _fixed(eqn: Any) -> bool:
    """Whether it computes a constant, which is not how another round begins."""
    return all(isinstance(a, Literal) for a in eqn.invars)


def _certain(groups: list[list[_Run]], ends: list[bool]) -> tuple[list[list[_Run]], list[bool]]:
    """Calls as the user made them, where rounds of a loop look the same.

    Those whose own frame is not there are opened; rounds of a library's own loop are one call.
    """
    found: list[tuple[list[_Run], bool]] = []
    for call, same in itertools.groupby(
        zip(groups, ends, strict=True), key=lambda one: one[0][-1].place.call
    ):
        calls = [*same]
        first = calls[0][0]
        kinds = {tuple(run.eqn.primitive for run in group) for group, _ in calls}
        if call and _in_one([group for group, _ in calls]):
            found.append(([run for group, _ in calls for run in group], calls[-1][1]))
        elif call and call == first[0].place.stack and (len(first) == 1 or len(kinds) > 1):
            for group, end in calls:
                alone = [[r._replace(place=r.place._replace(name=""))] for r in group]
                found += [(one, end and one is alone[-1]) for one in alone]
        else:
            found += calls
    return [group for group, _ in found], [end for _, end in found]


def _last_ones(groups: list[list[_Run]], ends: list[bool]) -> list[bool]:
    """Which are the last of their statement, where a library's loop has made several rounds."""
    found: list[bool] = []
    for statement, same in itertools.groupby(
        zip(groups, ends, strict=True), key=lambda one: one[0][-1].place.statement
    ):
        rounds: list[list[_Run]] = [[]]
        shut = []
        for group, end in same:
            rounds[-1] += group
            rounds += [[] for _ in range(end)]
            shut.append(end)
        rounds = [*filter(None, rounds)]
        one = statement and len(rounds) > 1 and _in_one(rounds)
        found += [False] * (len(shut) - 1) + shut[-1:] if one else shut
    return found


def _opened(
    groups: list[list[_Run]], ends: list[bool], opened: frozenset[str]
) -> tuple[list[list[_Run]], list[bool]]:
    """The calls that are to be opened as their equations, in a scope of their name."""
    found: list[tuple[list[_Run], bool]] = []
    parts = Counter(group[-1].place.call for group in groups)
    for group, end in zip(groups, ends, strict=True):
        call, name = group[-1].place.call, frames.shown(group[-1].place.name)
        whole = len(group) == parts[call] == 1
        if whole or opened.isdisjoint((name, "all")):
            found.append((group, end))
            continue
        single = sum(run.eqn.primitive.name not in FORMS for run in group) < 2
        unframed = not name or "rules" in opened or ("all" in opened and single)
        for run in group:  # (what is jitted has a scope already; what is in one call needs none)
            inside = unframed or run.scope[-1:] == (name,)
            scope = run.scope if inside else (*run.scope, name)
            alone = run._replace(scope=scope, place=run.place._replace(name=""))
            found.append(([alone], end and run is group[-1]))
    return [group for group, _ in found], [end for _, end in found]


def _with_forms(
    groups: list[list[_Run]], ends: list[bool], outer: list[Any]
) -> tuple[list[list[_Run]], list[bool]]:
    """Opened equations, each with those that only put an operand of it alone into a form."""
    alone = [len(group) == 1 and not group[0].place.name for group in groups]
    read: Counter[Any] = Counter(a for a in outer if not isinstance(a, Literal))
    by_one: set[Any] = set()
    for group, single in zip(groups, alone, strict=True):
        for run in group:
            atoms = [a for a in run.eqn.invars if not isinstance(a, Literal)]
            read.update(atoms)
            by_one.update(atoms if single and run.eqn.primitive.name not in LOOPS else ())
    held: dict[Any, list[_Run]] = {}
    found: list[tuple[list[_Run], bool]] = []
    for group, single, end in zip(groups, alone, ends, strict=True):
        run = group[-1]
        if single and run.eqn.primitive.name not in LOOPS:
            inputs = [a for a in run.eqn.invars if not isinstance(a, Literal)]
            forms = [form for a in inputs for form in held.pop(a, ())]
            group = [*(form._replace(place=run.place, scope=run.scope) for form in forms), run]
            out = run.eqn.outvars[0]
            if run.eqn.primitive.name in FORMS and read[out] == 1 and out in by_one and not end:
                held[out] = group
                continue
        found.append((group, end))
    return [group for group, _ in found], [end for _, end in found]


def _in_one(groups: list[list[_Run]]) -> bool:
    """Whether groups are rounds of a library's loop: they differ, and later ones read each."""
    mains = [[r.eqn.primitive for r in g if r.eqn.primitive.name not in FORMS] for g in groups]
    read: set[Any] = set()
    for group in reversed(groups):
        if group is not groups[-1] and read.isdisjoint(group[-1].eqn.outvars):
            return False
        read.update(a for run in group for a in run.eqn.invars if not isinstance(a, Literal))
    return any(one != mains[0] for one in mains)


def _step(
    group: list[_Run], n: int, readers: dict[Any, set[int]], last: bool, opened: frozenset[str]
) -> Step | None:
    """One call; None where nothing reads what it returns."""
    eqns = [run.eqn for run in group]
    writes = [v for eqn in eqns for v in eqn.outvars if readers.get(v, set()) - {n}]
    if not writes:
        return None
    end = group[-1]
    primitive = end.eqn.primitive.name
    if primitive in LOOPS and (inner := _bodies(end, opened)):
        return Step(
            primitive, primitive, eqns, list(end.eqn.invars), list(end.eqn.outvars), end.scope,
            end.place, last, inner,
        )  # fmt: skip
    step = Step("call", _named(group), eqns, [], writes, end.scope, end.place, last)
    mains = [eqn for eqn in eqns if eqn.primitive.name not in FORMS]
    step.plain = len(mains) == 1 and mains[0] is eqns[-1] and writes == list(end.eqn.outvars)
    if step.plain:
        _separate(step)
    else:
        _together(step)
    return step


def _bodies(run: _Run, opened: frozenset[str]) -> tuple[Plan, ...]:
    """What a loop or a branch runs, if it is the user's."""
    params = run.eqn.params
    bodies = params.get("branches") or [
        params[k] for k in ("jaxpr", "cond_jaxpr", "body_jaxpr") if k in params
    ]
    plans = tuple(plan(body, opened, within=run.place) for body in bodies)
    if run.place.name and not any(map(_users, bodies)):
        statement = run.place.statement
        steps = [s for p in plans for s in p.steps]
        if all(step.place.statement == statement for step in steps):
            return ()  # the library's own loop
    return plans


def _named(group: list[_Run]) -> str:
    end = group[-1]
    if end.place.name and (len(group) > 1 or end.eqn.primitive.name not in OPENED):
        name = end.place.name
        reduces = name in ("max", "min") and end.eqn.primitive.name != name
        other = name == "dot_general" and not is_matmul(end.eqn)
        return name if reduces or other else frames.shown(name)
    params = end.eqn.params
    own = params.get("call_jaxpr") if end.eqn.primitive.name.startswith("custom_") else None
    told = own.jaxpr.debug_info.func_name if own is not None and own.jaxpr.debug_info else ""
    name = str(params.get("name") or told or end.eqn.primitive.name)
    return name if name == "dot_general" and not is_matmul(end.eqn) else frames.shown(name)


def is_matmul(eqn: Any) -> bool:
    """Whether a product sums over the axes that NumPy's ``a @ b`` sums over."""
    (left, right), (batch, others) = eqn.params["dimension_numbers"]
    a, b = (operand.aval.ndim for operand in eqn.invars)
    count = len(batch)
    return (
        tuple(left) == (a - 1,) and tuple(right) == (max(b - 2, 0),)
        and tuple(batch) == tuple(others) == tuple(range(count))
        and (a == b == count + 2 if count else b <= 2)
    )  # fmt: skip


def _separate(step: Step) -> None:
    """Operands of one primitive, in its order: of x * x there are two."""
    made = {v: eqn for eqn in step.eqns[:-1] for v in eqn.outvars}
    eqns: list[Any] = []
    own: list[Any] = []
    reads: list[Any] = []

    main = step.eqns[-1]
    settings = main.primitive.name in OPENED  # (an integer there is how, not what: an axis)

    def follow(atom: Any) -> Any:
        if settings and isinstance(atom, Literal) and np.asarray(atom.val).dtype.kind in "ib":
            return atom
        eqn = made.get(atom) if not isinstance(atom, Literal) else None
        if eqn is None:
            var = core.Var(atom.aval)
            own.append(var)
            reads.append(atom)
            return var
        inputs = [follow(a) for a in eqn.invars]
        out = core.Var(eqn.outvars[0].aval)
        eqns.append(eqn.replace(invars=inputs, outvars=[out]))
        return out

    inputs = [follow(a) for a in main.invars]
    step.eqns = [*eqns, main.replace(invars=inputs)]
    step.own, step.reads = own, reads


def _together(step: Step) -> None:
    """Operands of several equations, each once, in the order in which the result needs them."""
    made = {v: eqn for eqn in step.eqns for v in eqn.outvars}
    found: dict[Any, None] = {}
    seen: set[int] = set()

    def follow(eqn: Any) -> None:
        if id(eqn) in seen:
            return
        seen.add(id(eqn))
        for atom in eqn.invars:
            if isinstance(atom, Literal):
                continue
            if atom in made:
                follow(made[atom])
            else:
                found.setdefault(atom)

    for eqn in reversed(step.eqns):
        follow(eqn)
    step.own = step.reads = list(found)
