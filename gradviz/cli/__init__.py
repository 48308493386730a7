"""The shell command ``gradviz``: a file of this folder for each command, in `COMMANDS`.

What is slow to import (NetworkX, the drawing) is imported by the functions that need it. Exit
statuses: 0 done, 1 a computation or a file failed, 2 wrong usage.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

import gradviz as gv
from gradviz.cli import demo, draw, follow, saved, trace, watch
from gradviz.cli.output import say
from gradviz.cli.usage import one_line

_NAMESAKE = (
    "another project named gradviz is installed here, and its files mix with those of this one "
    "(gradviz-dag). Run: pip uninstall gradviz gradviz-dag, and install this one again"
)
if not hasattr(gv, "draw_dot"):  # its __init__.py has taken the place of ours
    raise SystemExit(f"Error: {_NAMESAKE}.")

COMMANDS = (
    demo.demo, draw.draw, trace.trace, watch.watch, follow.follow, saved.compare, saved.summary,
    saved.training,
)  # fmt: skip


class _Shell(click.Group):
    """A group that turns the library's errors into a line on stderr and exit status 1."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run as a command; a script of the user's runs when all of ours is over."""
        try:
            return super().main(*args, **options)
        except watch.Script as script:
            found = script
        return found.run()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):  # click's own affairs
            raise
        except Exception as error:
            if sys.flags.dev_mode:  # python -X dev -m gradviz ... shows where it came from
                raise
            raise _told(error) from None


def _told(error: Exception) -> Exception:
    """A foreseen error as one line for stderr; any other as it is, with its traceback."""
    if isinstance(error, OSError):
        at = f"{error.filename}: " if error.filename else ""
        return click.ClickException(f"{at}{error.strerror or error}")
    if isinstance(error, RecursionError):
        return click.ClickException("the formulas are nested too deeply")
    if isinstance(error, (gv.TraceError, ValueError, KeyError, RuntimeError, ImportError)):
        return click.ClickException(one_line(error))
    return error


_EXAMPLES = """\b
Examples:
  gradviz demo
  gradviz draw "sigmoid(w*x + b)" w=2 x=-1 b=0.5 -o neuron.svg
  gradviz draw "z = w*x + b; (sigmoid(z) - 1)**2" w=2 x=-1 b=0.5 --explain w
  gradviz trace model.py:loss --wrt w,b -o loss.svg
  gradviz trace model.py:loss --diagnose
"""


@click.group(cls=_Shell, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gv.__version__, message="gradviz (gradviz-dag) %(version)s")
def main() -> None:
    """See backpropagation: values, gradients, local derivatives, and what is reused."""
    _warn_of_namesake()


for _command in COMMANDS:
    main.add_command(_command)


def _warn_of_namesake() -> None:
    """Warn of PyPI's gradviz, which installs into the same folder as this project."""
    from importlib import metadata

    with contextlib.suppress(metadata.PackageNotFoundError):
        metadata.distribution("gradviz")
        say(f"Warning: {_NAMESAKE}.", error=True)
