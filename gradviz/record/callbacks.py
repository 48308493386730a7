"""Callbacks for those who train by a trainer of somebody else's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gradviz.words import choose

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from transformers import TrainerCallback


def lightning_callback(
    record: str | os.PathLike[str] | None = None,
    *,
    every: int = 10,
    watch: bool = True,
    on_trigger: str = "continue",
    **options: Any,
) -> Callback:
    """A callback for Lightning: it watches the training, and records every n-th step of it.

    A step is an optimizer's, with all the batches that it accumulates.

    Parameters
    ----------
    record : str or path-like, optional
        Where the steps go; see `gradviz.record_training`. Default: nothing is recorded.
    every : int, optional
        Of so many steps the first is recorded.
    watch : bool, optional
        Whether to watch; see `gradviz.watch`.
    on_trigger : {"continue", "stop"}, optional
        After a report the training goes on, or ends with its step.
    **options
        `out`, `reports`, `spike`, as in `gradviz.watch`.

    Returns
    -------
    lightning.pytorch.Callback
        With `watch.reports`.

    Raises
    ------
    ImportError
        Lightning is not installed.

    Examples
    --------
    >>> callback = gv.lightning_callback("run.gvtrain", every=100)  # doctest: +SKIP
    >>> lightning.Trainer(callbacks=[callback]).fit(model, loader)  # doctest: +SKIP
    >>> gv.load_training("run.gvtrain").save("run.html")  # doctest: +SKIP
    """
    choose("on_trigger", on_trigger, ("continue", "stop"))
    from gradviz.record.torch.callbacks.lightning import made

    return made(record, every, watch, on_trigger == "stop", options)


def transformers_callback(
    record: str | os.PathLike[str] | None = None,
    *,
    every: int = 10,
    watch: bool = True,
    on_trigger: str = "continue",
    **options: Any,
) -> TrainerCallback:
    """The same for the Trainer of Hugging Face's transformers (see `lightning_callback`).

    Where `train()` raises, the Trainer tells no callback, and the watch stays on: then write ``with
    gv.watch(): trainer.train()``.

    Parameters
    ----------
    record, every, watch, on_trigger, **options
        As in `lightning_callback`.

    Returns
    -------
    transformers.TrainerCallback
        With `watch.reports`.

    Raises
    ------
    ImportError
        transformers is not installed.

    Examples
    --------
    >>> callback = gv.transformers_callback("run.gvtrain", every=100)  # doctest: +SKIP
    >>> Trainer(model, arguments, callbacks=[callback], ...).train()  # doctest: +SKIP
    >>> callback.watch.reports  # doctest: +SKIP
    """
    choose("on_trigger", on_trigger, ("continue", "stop"))
    from gradviz.record.torch.callbacks.transformers import made

    return made(record, every, watch, on_trigger == "stop", options)
