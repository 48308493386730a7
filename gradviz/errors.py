"""The error that gradviz raises where a computation cannot be recorded or differentiated."""


class TraceError(Exception):
    """A computation cannot be recorded, or a gradient cannot be computed right.

    The message names the operation, the line of the user's code, and what to write instead.
    """


class TrainingError(RuntimeError):
    """Raised by `gradviz.watch(..., on_trigger="raise")` where a training is in trouble."""
