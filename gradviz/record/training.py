"""Recording a whole training run, and reading it again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradviz.record.frontends import frontend_of

if TYPE_CHECKING:
    from gradviz.record.jax.training import Recorder as JaxRecorder
    from gradviz.record.run import Run
    from gradviz.record.torch.training import Recorder


def record_training(
    model: Any,
    path: str | os.PathLike[str],
    *,
    every: int = 1,
    wrt: str | Sequence[str] | None = None,
) -> Recorder | JaxRecorder:
    """Record every n-th step of a PyTorch or JAX training loop into a file, as it goes.

    Of a sampled step the whole graph is kept by its statistics: every value, gradient and message,
    a Graph for each backward pass that it makes. The gradients of parameters are those that the
    optimizer saw (see `gradviz.keep.training.Step`). The other steps run as they would without it.
    The step's own numbers are not touched. What cannot be recorded is warned of once, and the loop
    goes on. In a sampled step a compiled model runs as it was before compilation.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Of a JAX program the loss, a function of the parameters and the batch.
    path : str or path-like
        Written anew; see `gradviz.load_training`. After a crash, all finished steps can be read.
    every : int, optional
        Of so many steps the first is kept.
    wrt : str or sequence of str, optional
        Of a JAX program only: the parameters, see `gradviz.trace`. Default: the first argument.

    Returns
    -------
    Recorder
        A context manager, whose `step()` goes around each step. Of a JAX program `step(params, x,
        ...)` takes the arguments of the loss, and gives a function for the new parameters.

    Raises
    ------
    TypeError
        `model` is no module.
    ValueError
        `every` is no positive whole number.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import torch, gradviz as gv
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with gv.record_training(model, "run.gvtrain", every=10) as recorder:
    ...     for x in torch.randn(30, 8, 3):
    ...         with recorder.step():
    ...             optimizer.zero_grad()
    ...             model(x).square().mean().backward()
    ...             optimizer.step()
    >>> [step.number for step in gv.load_training("run.gvtrain").steps]
    [0, 10, 20]

    With JAX:

    >>> with gv.record_training(loss, "run.gvtrain", every=10) as recorder:  # doctest: +SKIP
    ...     for x, t in batches:
    ...         with recorder.step(params, x, t) as moved:
    ...             params, state = update(params, state, x, t)
    ...             moved(params)
    """
    if _is_of_jax(model):
        from gradviz.record.jax.training import Recorder as JaxRecorder

        return JaxRecorder(model, path, every, (wrt,) if isinstance(wrt, str) else wrt)
    if wrt is not None:
        raise TypeError("wrt= is for a loss of JAX; a module has its parameters")
    from gradviz.record.torch.training import Recorder

    return Recorder(model, path, every)


def _is_of_jax(function: Any) -> bool:
    if not callable(function):
        return False
    frontend = frontend_of(function, (), {})
    return frontend is not None and frontend.library == "jax"


def load_training(path: str | os.PathLike[str], *, max_bytes: int = 128 * 2**20) -> Run:
    """A run that `record_training` wrote, or is still writing.

    Parameters
    ----------
    path : str or path-like
    max_bytes : int, optional
        A step whose text is longer is refused.

    Returns
    -------
    Run
        Its sampled `steps`, each with its losses and a few numbers of every parameter; `graph(n)`
        is the Graph of a step, by statistics; it draws itself as a map of layers by steps, and
        `save("run.html")` writes a page of all of it.

    Raises
    ------
    ValueError
        The file is no recorded training.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import torch, gradviz as gv
    >>> model = torch.nn.Linear(2, 1)
    >>> with gv.record_training(model, "run.gvtrain") as recorder:
    ...     for _ in range(3):
    ...         with recorder.step():
    ...             model(torch.ones(1, 2)).sum().backward()
    >>> gv.load_training("run.gvtrain").graph(2).names[-1]
    'J'
    """
    from gradviz.graph import Graph
    from gradviz.record.run import Run

    return Run(path, max_bytes, Graph)
