"""One result of several ranks: what each says goes to rank 0."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gradviz.graph import Graph
from gradviz.language import speaking

if TYPE_CHECKING:
    from gradviz.record.ranks import Ranks


def gather(
    graph: Graph | Iterable[Graph],
    *,
    step: int | None = None,
    timeout: float = 30.0,
    language: str = "",
) -> Ranks | None:
    """What the ranks of a training say of one step, side by side, on rank 0.

    Each rank of `torch.distributed` calls it with its own Graph (`Recorder.graph` of
    `record_training`, or what `trace` returned). It runs no collective: what each rank says, some
    hundred bytes a parameter, goes through the store that the process group was made with. A rank
    says its part and goes on; rank 0 waits for the others, but not for ever.

    Graphs of all ranks that were saved (by `gradviz.watch`, or `Graph.save`) are gathered by giving
    them all, wherever that is.

    Parameters
    ----------
    graph : Graph, or Graphs of several ranks
        Of Graphs that know their rank, in any order; else in the order of ranks.
    step : int, optional
        What is gathered, by a number that all ranks know: only what was said of the same step
        meets. By default the first calls of all ranks meet, the second ones, and so on.
    timeout : float, optional
        So many seconds rank 0 waits; then the result is of those that answered, and says who
        did not.
    language : {"", "en", "zh"}, optional
        The language of the result; default: the one that is set.

    Returns
    -------
    Ranks or None
        On rank 0; on the other ranks None. `text`, `draw` and `rows` tell it: of each parameter the
        norms of its gradient on each rank before the reduction, and after; the first value that is
        no number, with its rank and line; parameters without a gradient on some ranks only; ranks
        that hold other parameters than the others.

    Raises
    ------
    TypeError
        What is given is no Graph.
    ValueError
        Two Graphs are of the same rank, or `timeout` is negative.

    Examples
    --------
    >>> import gradviz as gv
    >>> g = gv.expression("(w * x - t) ** 2", w=2, x=3, t=1)
    >>> ranks = gv.gather([g, g.update(x=0)])
    >>> ranks.losses
    {0: 25.0, 1: 1.0}
    >>> [row.before for row in ranks.rows if row.name == "w"]
    [(30.0, 0.0)]

    In a program that ``torchrun`` has started:

    >>> with recorder.step():  # doctest: +SKIP
    ...     train(model, batch)
    >>> ranks = gv.gather(recorder.graph)  # doctest: +SKIP
    >>> if ranks is not None:  # doctest: +SKIP
    ...     ranks.save("ranks.svg")
    """
    from gradviz.record.ranks import Ranks, told

    if not timeout >= 0:
        raise ValueError(f"timeout={timeout!r}: write a number of seconds, 0 or more")
    with speaking(language):
        if isinstance(graph, Graph):
            return _over_ranks(graph, step, timeout)
        graphs = list(graph)
        for one in graphs:
            if not isinstance(one, Graph):
                raise TypeError(f"gather needs Graphs, got {type(one).__name__}")
        if not graphs:
            raise ValueError("gather needs a Graph; there is none")
        return _result([told(one, n, len(graphs)) for n, one in enumerate(graphs)], Ranks)


def _over_ranks(graph: Graph, step: int | None, timeout: float) -> Ranks | None:
    from gradviz.record import rendezvous
    from gradviz.record.ranks import Ranks, told

    group = rendezvous.group()
    if group is None:
        return _result([told(graph, 0, 1)], Ranks)
    said = told(graph, group.rank, group.count)
    everything = group.collect("gather", said, step, timeout)
    return None if everything is None else _result(everything, Ranks, group.count, timeout)


def _result(
    said: list[dict[str, Any]], make: type[Ranks], count: int = 0, waited: float = 0.0
) -> Ranks:
    """The result of what those ranks said that answered."""
    by_rank: dict[int, dict[str, Any]] = {}
    for one in said:
        if one["rank"] in by_rank:
            raise ValueError(f"there are two Graphs of rank {one['rank']}; give one of each")
        by_rank[one["rank"]] = one
    count = max([count, *(one["count"] for one in said), *(rank + 1 for rank in by_rank)])
    present = tuple(sorted(by_rank))
    missing = tuple(rank for rank in range(count) if rank not in by_rank)
    return make(count, present, missing, tuple(by_rank[rank] for rank in present), waited)
