"""The flight recorder of a training."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gradviz.words import choose

if TYPE_CHECKING:
    from gradviz.record.torch.watch.watcher import Watch


def watch(
    out: str | os.PathLike[str] = "gradviz-watch",
    *,
    on_trigger: str = "continue",
    reports: int = 3,
    spike: float = 20.0,
) -> Watch:
    """Watch a PyTorch training, and say what broke, at which step, on which line.

    The losses and the gradients of every step are judged before an optimizer uses them (how:
    `gradviz.record.alarm`). A step that is in trouble is made again under capture, and a folder
    `out`/step-N is written: a page, the Graphs, and the text that also goes to stderr. The run is,
    bit for bit, the one that it would have been; parameters are not copied. What is held until
    an optimizer has stepped are the arguments of the step's calls, and the buffers that it changes.

    A process that is forked (the worker of a DataLoader, say) is not watched. A function that was
    compiled by itself hides its calls, as an `autograd.Function` does that is applied outside of
    modules: such a step is judged, but not made again. What the program keeps itself (counters,
    caches) is as it was after the step, not before; the report says whether the replay's loss and
    norm are those of the run.

    Parameters
    ----------
    out : str or path-like, optional
        The folder that reports are written to, made when there is one.
    on_trigger : {"continue", "stop", "raise"}, optional
        What comes after a report: the training goes on; the `with` block ends; or it raises
        `gradviz.errors.TrainingError`.
    reports : int, optional
        So many at most.
    spike : float, optional
        A norm of the gradients that is so many times the largest of the last 100 is a spike.

    Returns
    -------
    Watch
        A context manager, with its `reports`.

    Raises
    ------
    ValueError
        An argument is none of those above.
    gradviz.errors.TrainingError
        From the `with` block, where `on_trigger` is "raise".

    Examples
    --------
    >>> import torch, gradviz as gv
    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = torch.optim.SGD([weight], lr=0.001)
    >>> with gv.watch(on_trigger="stop") as watch:
    ...     for step in range(150):
    ...         loss = (weight * (step != 120)).log().square().sum()
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    >>> watch.reports[0].step, watch.reports[0].finding.operation
    (120, 'log')
    """
    choose("on_trigger", on_trigger, ("continue", "stop", "raise"))
    if type(reports) is not int or reports < 0:
        raise ValueError(f"reports={reports!r}: write a whole number, 0 or more")
    if not spike >= 1:
        raise ValueError(f"spike={spike!r}: write a number of 1 or more")
    from gradviz.record.torch.watch.watcher import Watch

    return Watch(os.fspath(out), on_trigger, reports, spike)
