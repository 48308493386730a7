"""The table: the row of a NumPy function, and a call split into operands and keywords."""

from __future__ import annotations

import importlib
import inspect
import string
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops import arrays, elementwise, fourier, linalg, products, reductions
from gradviz.ops.bridge import borrow
from gradviz.ops.hazards import Hazards
from gradviz.ops.operation import Operation, computes_otherwise
from gradviz.ops.special import RULES, special_row

ROWS: dict[Any, Operation] = {
    row.function: row
    for row in (
        *elementwise.ELEMENTWISE,
        *elementwise.COMPLEX,
        *products.PRODUCTS,
        *reductions.REDUCTIONS,
        *arrays.SHAPES,
        *arrays.PARTS,
        *linalg.ROWS,
        *fourier.ROWS,
    )
}
"""Our own rows by NumPy function."""

PLAIN = {np.linalg.matrix_rank} | {
    getattr(np, name)
    for name in (
        "shape ndim size zeros_like ones_like empty_like result_type can_cast min_scalar_type "
        "isnan isinf isfinite signbit equal not_equal less less_equal greater greater_equal "
        "logical_and logical_or logical_not logical_xor isclose allclose array_equal "
        "array_equiv iscomplex isreal iscomplexobj isrealobj isposinf isneginf all any argmax "
        "argmin argsort argwhere nonzero flatnonzero count_nonzero searchsorted digitize "
        "lexsort nanargmax nanargmin argpartition array_repr array_str array2string "
        "shares_memory may_share_memory spacing isin isfortran einsum_path common_type typename "
        "diag_indices_from tril_indices_from triu_indices_from ix_ isscalar iterable "
        "save savez savez_compressed savetxt"
    ).split()
}
"""Functions whose results have no derivative: called on plain values, and not recorded."""

IN_PLACE = frozenset((np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis))
"""Functions that write into an array."""

# Parameters of functions in C, whose signature old versions of NumPy do not tell.
_PARAMETERS: dict[Any, str] = {
    np.where: "condition x y",
    np.concatenate: "arrays axis out dtype casting",
    np.inner: "a b",
    np.dot: "a b out",
}


@lru_cache(maxsize=4096)
def lookup(function: Any) -> Operation:
    """The row of a NumPy function: our own, else one borrowed, else one without a rule."""
    row = ROWS.get(function) or special_row(function) or borrow(function)
    if row is None and plugins():
        row = ROWS.get(function)
    name = getattr(function, "__name__", str(function))
    return row or Operation(name, function, derivatives=None)


def hazards(name: str) -> Hazards:
    """What the row of a name says of it; () where there is no such row."""
    if name in RULES:
        return RULES[name].about.get("hazards", ())  # type: ignore[no-any-return]
    return next((row.hazards for row in ROWS.values() if row.name == name), ())


def find(name: str) -> Operation | None:
    """The row that is called `name`, if it has a rule: for names that stand in a file.

    Nothing is imported or run because of a name, but the packages that are installed to add
    operations.
    """
    for row in reversed((*arrays.UNDISPATCHED, *ROWS.values())):  # the last one added
        if row.name == name:
            return row
    for module in ("numpy", "numpy.linalg", "scipy.special", "scipy.special._ufuncs"):
        try:
            function = vars(importlib.import_module(module)).get(name)
        except ImportError:
            continue
        if callable(function) and not inspect.isclass(function):
            row = lookup(function)
            if row.derivatives is not None:
                return row
    return find(name) if plugins() else None


ADDED: set[str] = set()
"""The names of the rows that `gradviz.operation` added."""


def add(row: Operation) -> None:
    """Add a row; one that the same function of the same module added before is replaced.

    Raises
    ------
    ValueError
        An operation of ours has the name.
    """
    for known in list(ROWS.values()):
        if known.name in ADDED:
            if _home(known) == _home(row):
                del ROWS[known.function]
        elif known.name == row.name or known.function is row.function:
            raise ValueError(f"there is an operation {known.name} already; give another name=...")
    ROWS[row.function] = row
    ADDED.add(row.name)
    lookup.cache_clear()


def _home(row: Operation) -> tuple[Any, ...]:
    function = row.function
    return row.name, getattr(function, "__module__", ""), getattr(function, "__qualname__", "")


ENTRY_POINTS = "gradviz.operations"


def plugins() -> bool:
    """Load what installed packages add, once, when an unknown function is met.

    Whether there was anything to load. A package that fails is warned of and left out.
    """
    if _loaded:
        return False
    _loaded.append(True)
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINTS)
    for entry in found:
        try:
            entry.load()
        except Exception as error:
            warnings.warn(
                f"the operations of {entry.value} cannot be loaded: {error!r}",
                RuntimeWarning,
                stacklevel=2,
            )
    return bool(found)


_loaded: list[bool] = []


@lru_cache(maxsize=4096)
def _parameters(function: Any) -> tuple[str, ...]:
    """The names of a function's parameters; () where it does not tell."""
    if function in _PARAMETERS:
        return tuple(_PARAMETERS[function].split())
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(p.name for p in found if p.kind is not p.VAR_KEYWORD)


_EINSUM, _DOT, _WHERE, _CLIP, _NONZERO = np.einsum, np.dot, np.where, np.clip, np.nonzero
"""While a program is traced, something else may stand by these names."""


@lru_cache(maxsize=4096)
def _last_parameters(function: Any) -> tuple[int, tuple[str, ...]]:
    """From which position on a call may give `out` without its name, and the names from there."""
    names = _parameters(function)
    if "out" not in names or function is _EINSUM:
        return sys.maxsize, ()
    return names.index("out"), names[names.index("out") :]


def named_out(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments with `out`, and what follows it, by their names."""
    position, last = _last_parameters(function)
    if len(args) <= position:
        return args, kwargs
    return args[:position], dict(zip(last, args[position:], strict=False)) | kwargs


def split(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], ruled: bool = True
) -> tuple[Operation, tuple[Any, ...], dict[str, Any]]:
    """A call of a NumPy function as an operation, its operands and its keywords.

    Without `ruled` the operation is one that has no rule.

    Raises
    ------
    TraceError
        This form of the call cannot be recorded.
    """
    if function is _DOT and len(args) == 2 and not any(computes_otherwise(type(a)) for a in args):
        ranks = [np.ndim(a) for a in args]
        simpler = np.multiply if 0 in ranks else np.matmul if max(ranks) <= 2 else None
        if simpler is not None:
            return lookup(simpler), args, {k: v for k, v in kwargs.items() if v is not None}
    if function is _WHERE and len(args) == 1:
        function = _NONZERO
    if function is _EINSUM:
        return lookup(function), *_einsum_arguments(args, kwargs)
    row = lookup(function) if ruled else Operation(function.__name__, function, derivatives=None)
    if isinstance(function, np.ufunc):
        return row, args, kwargs
    if (
        not kwargs
        and not row.variadic
        and len(args) == len(row.derivatives or ())
        and function in ROWS
        and function is not _CLIP
    ):
        return row, args, {}
    names = _parameters(function)
    given = dict(zip(names, args, strict=False)) | kwargs
    given = {
        k: v for k, v in given.items() if v is not np._NoValue and not (k == "out" and v is None)
    }
    if function not in ROWS:
        return row, *_unknown(function, names, given, args, kwargs)
    if function is _CLIP:  # the newer names, and no bound at all
        low, high = (given.pop(new, given.pop(f"a_{new}", None)) for new in ("min", "max"))
        bounds = (-np.inf if low is None else low, np.inf if high is None else high)
        return row, (given.pop("a"), *bounds), given
    if row.variadic:
        return row, tuple(given.pop(names[0])), given
    count = len(row.derivatives or ())
    return row, tuple(given.pop(name) for name in names[:count]), given


def _einsum_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Both of einsum's ways to be called, with the subscripts as a string."""
    kwargs = {k: v for k, v in kwargs.items() if not (k == "out" and v is None)}
    if isinstance(args[0], str):
        return args[1:], {"subscripts": args[0], **kwargs}
    numbers = sorted(
        {i for term in args[1::2] for i in term if i is not Ellipsis}
        | ({i for i in args[-1] if i is not Ellipsis} if len(args) % 2 else set())
    )
    letter = {number: string.ascii_letters[k] for k, number in enumerate(numbers)} | {
        Ellipsis: "..."
    }
    terms = ["".join(letter[i] for i in term) for term in args[1::2]]
    output = "->" + "".join(letter[i] for i in args[-1]) if len(args) % 2 else ""
    operands = args[: 2 * len(terms) : 2]
    return operands, {"subscripts": ",".join(terms) + output, **kwargs}


def _unknown(
    function: Any,
    names: tuple[str, ...],
    given: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Operands are the parameters up to the last that holds an array; the rest are settings."""
    if len(given) < len(args) + len(kwargs) or len(names) < len(given):
        return args, kwargs
    ordered = [name for name in names if name in given]
    if ordered != list(names[: len(ordered)]):
        ordered = ordered[: next(i for i, name in enumerate(names) if name not in given)]
    while ordered and not hasattr(given[ordered[-1]], "dtype"):
        ordered.pop()
    return tuple(given.pop(name) for name in ordered), given


def has_recorded(value: Any, kind: type) -> bool:
    """Whether a value of `kind` is inside nested lists, tuples or dicts."""
    if type(value) is kind:
        return True
    if isinstance(value, (list, tuple)):
        return any(has_recorded(part, kind) for part in value)
    if isinstance(value, dict):
        return any(has_recorded(part, kind) for part in value.values())
    return isinstance(value, kind)


def refuse_nested(operation: Operation, arguments: dict[str, Any], kind: type) -> None:
    """Raise where a recorded value (a `kind`) stands in a place whose gradient would be lost.

    Raises
    ------
    TraceError
    """
    for name, value in arguments.items():
        if has_recorded(value, kind):
            raise TraceError(
                f"{operation.name}: a recorded value cannot be given as {name}, nor in a list; "
                "np.stack makes an array of recorded values"
            )
