"""Parts of a picture of layers that are one box: forms of a value, a function's call, masks.

Each takes the parts that a fold is opened into, and returns fewer.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gradviz.chain import background
from gradviz.chain.columns import topological
from gradviz.chain.fold import Fold, steps_of
from gradviz.chain.repeats import stem

if TYPE_CHECKING:
    from gradviz.chain.parts import Parts
    from gradviz.graph import Graph
    from gradviz.model import Node

SEVERAL = 3  # operations that are worth the name of their function


def formed(folding: Parts, parts: list[int | Fold], depth: int) -> list[int | Fold]:
    """The parts, with each form of a value in one box with it, or with its only reader.

    A box that just one other reads becomes one with it: that closes no cycle.
    """
    graph = folding.graph
    forms = [isinstance(part, int) and background.is_form(graph, part) for part in parts]
    if not any(forms):
        return parts
    owner = {i: n for n, part in enumerate(parts) for i in steps_of(part)}
    groups = {n: [n] for n in range(len(parts))}
    group = list(range(len(parts)))

    def readers(g: int) -> set[int]:
        of = (v for n in groups[g] for i in steps_of(parts[n]) for v, _ in graph.readers[i])
        found = {group[owner[v]] if v in owner else -1 for v in of if not folding.is_leaf(v)}
        return found - {g}

    for n in (n for n, form in enumerate(forms) if form and parts[n] != graph.output):
        own = group[n]
        ahead = readers(own)
        read = {u for m in groups[own] for i in steps_of(parts[m]) for u in graph.operands[i]}
        behind = {group[owner[u]] for u in read if u in owner} - {own}
        alone = next(iter(behind), own) if len(behind) == 1 else own
        only = next(iter(ahead)) if len(ahead) == 1 and -1 not in ahead else own
        if not ahead and len(behind) == 1:  # nothing reads it
            other = alone
        elif only != own and isinstance(parts[groups[only][-1]], int):
            other = only
        elif alone != own and readers(alone) == {own}:
            other = alone
        else:
            other = only
        if other != own:
            groups[other] = sorted(groups[other] + groups.pop(own))
            for m in groups[other]:
                group[m] = other
    found: list[int | Fold] = []
    for inside in groups.values():
        main = next((parts[n] for n in inside if not forms[n]), parts[inside[-1]])
        steps = sorted(i for n in inside for i in steps_of(parts[n]))
        if len(inside) == 1:
            found.append(main)
        elif isinstance(main, Fold):
            found.append(Fold(folding, main.label, steps, main.depth, scope=True))
        else:
            found.append(standing_for(folding, main, steps, depth))
    edges = folding.between([steps_of(part) for part in found])
    return [found[n] for n in topological(len(found), edges)]


def standing_for(folding: Parts, main: int, steps: list[int], depth: int) -> Fold:
    """A box for a value and its forms."""
    name = folding.graph.names[main].rpartition(".")[2]
    return Fold(folding, name, steps, depth, main=main)


def called(
    folding: Parts, parts: list[int | Fold], depth: int, outer: Collection[Any] = ()
) -> list[int | Fold]:
    """The parts, with what one call of a function computed between layers in one box."""
    found: list[int | Fold] = []
    for code, inside in calls(folding.graph, parts, outer):
        steps = sorted(i for part in inside for i in steps_of(part))
        if code is None or len(steps) < SEVERAL:
            found += inside
        else:
            found.append(Fold(folding, code.co_name, steps, depth, function=True))
    return found


def program(graph: Graph) -> set[Any]:
    """The code of the program itself, which computes J."""
    site = graph.values[graph.output].site or ()
    return {*site[-2:-1]}


def frames(graph: Graph, shown: Collection[int]) -> dict[int, tuple[str, ...]]:
    """By value that is shown the calls of the program's functions that it was computed in.

    The outer ones are first. A parameter or a constant that is read in one alone is there, too.
    The program itself, which computes J, is none.
    """
    inside: list[int | Fold] = [i for i in range(len(graph)) if not graph.is_leaf(i)]
    readers: dict[int, list[int]] = {
        i: [] for i in shown if graph.kind(i) in ("parameter", "constant")
    }
    for v in range(len(graph)):
        for u in graph.operands[v]:
            if u in readers:
                readers[u].append(v)
    asked = {*shown, *itertools.chain.from_iterable(readers.values())}
    within = _within(graph, inside, program(graph), ())
    found = {i: path for i, path in within if i in asked}
    for i, some in readers.items():
        paths = [found.get(v, ()) for v in some]
        levels = itertools.takewhile(lambda level: len({*level}) == 1, zip(*paths, strict=False))
        found[i] = tuple(level[0] for level in levels)
    return found


def _within(
    graph: Graph, inside: list[int | Fold], outer: set[Any], path: tuple[str, ...]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The calls that values were computed in; of each, the innermost ones come last."""
    seen: Counter[str] = Counter()
    for code, row in calls(graph, inside, outer):
        if code is not None:
            seen[name := code.co_name] += 1
            own = (*path, f"{name} {seen[name]}" if seen[name] > 1 else name)
            yield from ((i, own) for i in row if isinstance(i, int))
            yield from _within(graph, row, {*outer, code}, own)


def calls(
    graph: Graph, parts: Sequence[int | Fold], outer: Collection[Any] = ()
) -> Iterator[tuple[Any, list[int | Fold]]]:
    """The parts in their order, those that one call computed together with its function's code.

    A call is a row of operations, from the first to the last that stands in one function, or was
    returned by it at once: what that function calls lies between. A layer's own forward is no
    such function, nor one of the `outer` ones; of a part that no call computed the code is None.
    """
    nowhere: dict[Any, int] = {}  # one of all, for many of a long program are there
    sites = [
        {code: at for code, at in _site(graph, part).items() if code not in outer} or nowhere
        for part in parts
    ]  # fmt: skip
    at = 0
    while at < len(parts):
        end, found = at + 1, None
        row = at
        seen = set[Any]()
        while row < end:  # a function that calls the first one reaches further
            for code in sites[row]:
                if code not in seen:
                    seen.add(code)
                    last = _end(sites, at, code)
                    if last > end:
                        end, found = last, code
            row += 1
        yield found, list(parts[at:end])
        at = end


def _end(sites: Sequence[dict[Any, int]], at: int, code: Any) -> int:
    """Where a row of operations ends that one call of a function computed.

    It may loop; but where it begins anew after something else, it is called anew.
    """
    end, before = at, -1
    for row in range(at, len(sites)):
        if not sites[row]:
            break
        offset = sites[row].get(code)
        if offset is None:
            continue
        if offset <= before and end < row:
            break
        end, before = row + 1, offset
    return end


def _site(graph: Graph, part: int | Fold) -> dict[Any, int]:
    """The functions that an operation between layers stands in, each with the place there.

    Of quiet ones, those that all stand in.
    """
    if isinstance(part, Fold) and part.still:
        sites = [_site(graph, i) for i in part.steps]
        return {code: max(site[code] for site in sites) for code in _common(sites)}
    i = part.main if isinstance(part, Fold) else part
    return {} if i is None or i == graph.output else functions(graph.values[i])


def functions(node: Node) -> dict[Any, int]:
    """The functions that computed a value and at once returned it, each with the place there.

    The innermost is the first; a layer's own forward ends them.
    """
    return dict(itertools.takewhile(_is_named, places(node).items()))


def places(node: Node) -> dict[Any, int]:
    """The code that computed a value, and that it was at once returned to, with the places there.

    Of a file, they follow the line.
    """
    site = node.site or ()
    if site and not hasattr(site[0], "co_name"):
        site = site[2:]
    pairs = zip(site[::2], site[1::2], strict=False)
    return {code: place for code, place in pairs if place is not None}


def _common(sites: Sequence[dict[Any, int]]) -> list[Any]:
    return [code for code in sites[0] if all(code in site for site in sites)]


def _is_named(place: tuple[Any, int]) -> bool:
    name = getattr(place[0], "co_name", "")
    return "forward" not in name and name.isidentifier() and not name.startswith("__")


def quiet(folding: Parts, parts: list[int | Fold], inside: Fold) -> list[int | Fold]:
    """The parts, with those that no gradient comes to as one box: indices, and what counts them."""

    def is_idle(part: int | Fold) -> bool:
        between = isinstance(part, int) or part.main is not None
        return between and folding.idle.issuperset(steps_of(part))

    idle = [part for part in parts if is_idle(part)]
    others = [part for part in parts if part not in idle]
    if len(idle) < 2 or not others:
        return parts
    steps = sorted(i for part in idle for i in steps_of(part))
    found = [*others, _still(folding, steps, inside)]
    edges = folding.between([steps_of(part) for part in found])
    order = topological(len(found), edges)
    return [found[n] for n in order] if len(order) == len(found) else parts


def still_together(folding: Parts, loose: list[int | Fold], inside: Fold) -> list[int | Fold]:
    """What several parts read and no gradient comes to, arguments aside, as one box."""
    graph = folding.graph
    quiet = [i for i in loose if i in folding.still and not folding.is_argument(i)]
    steps = [i for i in quiet if not graph.is_leaf(i)]
    if not steps:
        return loose
    together = _still(folding, steps, inside)
    together.leaves = [i for i in quiet if i not in steps]
    return [*(i for i in loose if i not in quiet), together]


def unread_together(folding: Parts, parts: list[int | Fold], inside: Fold) -> list[int | Fold]:
    """The parts, with the parameters that nothing reads in one box: those of layers not called."""
    graph = folding.graph
    unread = [
        part for part in parts
        if isinstance(part, int) and graph.kind(part) == "parameter" and not graph.readers[part]
    ]  # fmt: skip
    if len(unread) < 2:
        return parts
    around = "".join(f"{part}." for part in folding.scope(inside))
    labels = [graph.names[i].removeprefix(around).partition(".")[0] for i in unread]
    label = " … ".join(dict.fromkeys((labels[0], labels[-1])))
    together = Fold(folding, label, unread, inside.depth)
    return [*(part for part in parts if part not in unread), together]


def _still(folding: Parts, steps: list[int], inside: Fold) -> Fold:
    """A box that no gradient comes to, named by its layer, or its function, or what is read of it.

    Where that is much, or has no name of its own, the first and the last operation say more.
    """
    graph, depth = folding.graph, inside.depth
    read = [i for i in steps if any(v not in steps for v, _ in graph.readers[i])] or steps
    scopes = {graph.values[i].scope[depth : depth + 1] for i in read}
    [inner] = scopes if len(scopes) == 1 else [()]
    common = [] if inside.function else _common([_site(graph, i) for i in steps])
    common = [code for code in common if code not in program(graph)]
    function = common[0].co_name if common else ""
    names = [*dict.fromkeys(stem(graph.names[i].rpartition(".")[2]) for i in read)]
    if len(names) > 2 or not graph.named.issuperset(read):
        ends = (graph.values[i].operation.name.partition("[")[0] for i in (steps[0], read[-1]))
        names = [" … ".join(dict.fromkeys(ends))]
    label = inner[0] if inner else function or ", ".join(names)
    together = Fold(folding, label, steps, depth + len(inner), scope=bool(inner))
    together.still = True
    return together
