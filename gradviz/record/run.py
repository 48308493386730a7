"""A recorded run, as users hold it: what was read, with a page, a widget and a terminal's text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.chain.health.over_time import LOOKED, HealthOverTime, OverTime, spread
from gradviz.files import write_atomic
from gradviz.keep.training import Training
from gradviz.language import speaking

if TYPE_CHECKING:
    from gradviz.web.run_widget import RunWidget


class Run(Training):
    """A recorded run; see `gradviz.load_training`."""

    def diagnose(self, *, language: str = "") -> HealthOverTime:
        """What is wrong with the run: each finding over its steps, and with which it began.

        Some 60 steps are examined as `Graph.diagnose` does it, and those between which a finding
        began; beside them it is told that nothing moves which gets gradients.

        Parameters
        ----------
        language : {"", "en", "zh"}, optional
            The language of the result; default: the one that is set.

        Returns
        -------
        HealthOverTime
            True if nothing is wrong. `findings` and `text` tell what is.

        Examples
        --------
        >>> import torch, gradviz as gv
        >>> model = torch.nn.Linear(2, 1)
        >>> with gv.record_training(model, "run.gvtrain") as recorder:
        ...     for i in range(4):
        ...         with recorder.step():
        ...             (model(torch.ones(1, 2)) * (0 if i > 1 else 1)).sum().backward()
        >>> gv.load_training("run.gvtrain").diagnose().findings[0].first
        2
        """
        numbers = self.steps.numbers
        looked = tuple(numbers[i] for i in spread(len(numbers), LOOKED))
        with speaking(language):
            found = OverTime(self.healths).onsets(looked, numbers)
            still = [] if self.still is None else [self.still]
            told = sorted([*still, *found], key=lambda one: one.first)
            return HealthOverTime(tuple(told), looked, self)

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the run: a page, a picture of its map, or its text.

        The page is one file for a browser, offline: the loss, a map of layers by steps, and the
        findings over time. A click on a column opens the graph of that step; two of them are
        compared. It is as large for ten thousand steps as for a hundred: some 60 steps are shown,
        and those between which a finding began.

        Parameters
        ----------
        path : str or path-like
            Its suffix says as what: html, svg, png, pdf or txt.
        **options
            Of a page `theme` and `language`; of a picture those of `draw`.

        Examples
        --------
        >>> import torch, gradviz as gv
        >>> model = torch.nn.Linear(2, 1)
        >>> with gv.record_training(model, "run.gvtrain") as recorder:
        ...     for _ in range(3):
        ...         with recorder.step():
        ...             model(torch.ones(1, 2)).sum().backward()
        >>> gv.load_training("run.gvtrain").save("run.html").name
        'run.html'
        """
        if Path(path).suffix.lower() != ".html":
            return super().save(path, **options)
        from gradviz.web.recorded import run_page

        return write_atomic(path, run_page(self, **options))

    def widget(self, every: float = 1.0, **options: Any) -> RunWidget:
        """The page as a Jupyter widget, which follows a run while it goes on.

        Parameters
        ----------
        every : float, optional
            After so many seconds it looks whether the file has grown.
        **options
            `theme` and `language`.

        Examples
        --------
        >>> gv.load_training("run.gvtrain").widget()  # doctest: +SKIP
        """
        import gradviz.web.widget  # noqa: F401  (it says what to install)
        from gradviz.web.run_widget import RunWidget

        return RunWidget(self, every, **options)
