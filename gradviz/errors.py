"""The error that gradviz raises where a computation cannot be recorded or differentiated."""


class TraceError(Exception):
    """A computation cannot be recorded, or a gradient cannot be computed right.

    The message names the operation, the line of the user's code, and what to write instead.

    Examples
    --------
    >>> import math, gradviz as gv
    >>> try:
    ...     gv.trace(lambda x: math.exp(x), 1.0)
    ... except gv.TraceError as error:
    ...     print("np.exp" in str(error))
    True
    """


class TrainingError(RuntimeError):
    """Raised by `gradviz.watch(..., on_trigger="raise")` where a training is in trouble."""
