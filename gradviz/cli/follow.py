"""``gradviz follow``: a run that is being recorded, on a terminal."""

from __future__ import annotations

import shutil
import sys
import time

import click

import gradviz as gv
from gradviz.cli import options
from gradviz.cli.output import say
from gradviz.language import say as spoken

CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.argument("run")
@click.option("--every", type=click.FloatRange(0.1), default=2.0, show_default=True,
              metavar="SECONDS", help="How often to look.")  # fmt: skip
@click.option("--once", is_flag=True, help="Show it as it is, and end.")
@options.language
def follow(run: str, every: float, once: bool) -> None:
    """Follow a RUN that gv.record_training is writing: its loss, its layers, what is wrong.

    On a terminal the picture is drawn anew with each step that comes; elsewhere each step is a
    line. Ctrl-C ends it, not the run.
    """
    from gradviz.keep.training import Training
    from gradviz.show.terminal import board

    def wrong(found: Training) -> str:
        """What is wrong at the last step that has a Graph."""
        try:
            return str(found.graph(found.steps.numbers[-1]).diagnose().text)
        except (KeyError, IndexError):
            return ""

    found = gv.load_training(run)
    alive = sys.stdout is not None and sys.stdout.isatty() and not once
    new = len(found) or 1
    try:
        while True:
            if new and (alive or once):
                size = shutil.get_terminal_size()
                still = found.still
                health = [
                    *([] if still is None else [str(still.message)]),
                    *wrong(found).splitlines(),
                ][:6]
                shown = board(found, size.columns, size.lines - len(health) - 1)
                say((CLEAR if alive else "") + "\n".join([shown, *health]))
            elif new:
                for step in found.steps[-min(new, len(found)) :] if len(found) else []:
                    loss = "–" if step.loss is None else f"{step.loss:.6g}"
                    say(spoken("step {step}: loss {loss}", step=step.number, loss=loss))
            if once:
                return
            time.sleep(every)
            new = found.more()
    except KeyboardInterrupt:
        return
