"""Whose line an equation of a jaxpr comes from, and which of a library's functions made it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
import sysconfig
from functools import cache
from types import CodeType
from typing import Any, NamedTuple

from gradviz.record import names
from gradviz.record.names import LIBRARIES, Instruction

_NAMESPACES = (
    "jax.numpy jax.numpy.linalg jax.numpy.fft jax.nn jax.nn.initializers jax.lax jax.lax.linalg "
    "jax.random jax.scipy.special jax.scipy.linalg jax.scipy.stats.norm jax.scipy.signal jax.image "
    "jax.ops optax optax.losses optax.tree_utils flax.linen.pooling flax.linen.attention haiku"
).split()
_BY_NAME = {
    "true_divide": "divide", "rtruediv": "divide", "truediv": "divide", "div": "divide",
    "mul": "multiply", "rmul": "multiply", "sub": "subtract", "rsub": "subtract", "radd": "add",
    "neg": "negative", "pow": "power", "rpow": "power", "rmatmul": "matmul", "floordiv":
    "floor_divide", "mod": "remainder", "_getitem": "getitem", "select_n": "where", "max":
    "maximum", "min": "minimum", "reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min",
    "reduce_prod": "prod", "integer_pow": "power", "logistic": "sigmoid", "add_any": "add",
    "dot_general": "matmul", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "atan2": "arctan2", "amax": "max",
    "amin": "min", "permute_dims": "transpose", "concat": "concatenate", "conj": "conjugate",
    "abs": "absolute", "cumulative_sum": "cumsum", "unstack": "getitem",
    "index_in_dim": "getitem", "roll_static": "roll", "roll_dynamic": "roll",
    "convert_element_type": "astype", "rewriting_take": "getitem", "conv_general_dilated": "conv",
    "expit": "sigmoid", "gt": "greater", "lt": "less", "ge": "greater_equal", "le": "less_equal",
    "eq": "equal", "ne": "not_equal", "and": "logical_and", "or": "logical_or", "not":
    "logical_not",
}  # fmt: skip
"""What a function or a primitive is called here, where NumPy has another name for it."""
_CALLS_BACK = frozenset(
    "scan while_loop fori_loop cond switch map associative_scan custom_root custom_linear_solve "
    "vectorize apply_along_axis apply_over_axes piecewise fromfunction platform_dependent op meth "
    "reduce reduce_window transparent transform grad jit dtype array asarray promote_dtype".split()
)
"""Functions that do not make one value of their arguments, but run what they are given.

And `promote_dtype` of Flax, which casts each of its arguments.
"""

_INLINE = "_run_python_pjit"
"""What calls a function whose equations are put where it is called (`jit` with `inline`)."""


@cache
def _directories_of(*libraries: str) -> tuple[str, ...]:
    found = []
    for name in libraries:
        spec = importlib.util.find_spec(name)  # (one may be imported later)
        if spec is not None and spec.origin:
            found.append(os.path.dirname(spec.origin) + os.sep)
    return tuple(found)


@cache
def _directories() -> tuple[str, ...]:
    """Where the libraries lie, and Python's own modules."""
    others = _directories_of(*LIBRARIES, "jaxtyping", "chex", "einops", "wadler_lindig")
    return (sysconfig.get_paths()["stdlib"] + os.sep, "<frozen", *others)


@cache
def _is_library(filename: str) -> bool:
    if "site-packages" not in filename and filename.startswith(sys.prefix + os.sep + "lib"):
        return True
    return filename.startswith(_directories()) and "gradviz/examples" not in filename


def is_users(filename: str) -> bool:
    """Whether a file is the user's, not a library's."""
    return bool(filename) and not _is_library(filename)


def _public() -> frozenset[str]:
    """The functions of libraries that are one operation to whoever calls them."""
    return _functions_of(tuple(n for n in _NAMESPACES if n in sys.modules or n[:4] == "jax."))


@cache
def wraps(filename: str) -> bool:
    """Whether a library of modules has written a file: what it jits runs what it is given."""
    return filename.startswith(_directories_of("flax", "equinox", "haiku"))


def calls_user(traceback: Any, function: str) -> bool:
    """Whether the user's code ran inside of a library's function, told as ``f at FILE:LINE``."""
    for code in traceback.raw_frames()[0] if traceback else ():
        if is_users(code.co_filename):
            return True
        if function.endswith(f" at {code.co_filename}:{code.co_firstlineno}"):
            return False
    return False


@cache
def _functions_of(modules: tuple[str, ...]) -> frozenset[str]:
    found: set[str] = set()
    for name in modules:
        there = vars(importlib.import_module(name))
        found |= {n for n, v in there.items() if callable(v) and n.islower()}
    return frozenset(found - _CALLS_BACK)


_NORMS = {
    "LayerNorm": "layer_norm", "RMSNorm": "rms_norm", "BatchNorm": "batch_norm",
    "GroupNorm": "group_norm", "InstanceNorm": "instance_norm",
}  # fmt: skip
"""Modules of libraries that are one operation: what that is called elsewhere."""


@cache
def _called(code: CodeType) -> str:
    """The public name of a library's function; "" for what only passes on to others."""
    name = code.co_name
    if name == "__call__":
        return _NORMS.get(code.co_qualname.partition(".")[0], "")
    if name == "_getitem":
        return "getitem"
    name = name.removeprefix("_operator_").strip("_")
    return name if name in _public() or name in _BY_NAME else ""


def shown(name: str) -> str:
    """What an operation is called in a picture."""
    name = name.strip("_")
    return _BY_NAME.get(name, name)


class Place(NamedTuple):
    """Where an equation comes from.

    Attributes
    ----------
    site : Instruction or None
        The user's line, for `gradviz.record.names`.
    statement : tuple
        What is equal for all that the user's instruction computed.
    call : tuple
        What is equal for all that one call of a library's function computed; () for no such.
    name : str
        That function's.
    stack : tuple
        All frames: the same again, in the same call, is the next round of a loop.
    inside : int
        Equal for what the same instructions of a module of a library computed (of a recurrent cell,
        say, which is called in one line of the user's); 0 in none.
    """

    site: Instruction | None
    statement: Any
    call: Any
    name: str
    stack: Any
    inside: int = 0

    @property
    def told(self) -> str:
        """The line, as an error ends with it."""
        where = names.source(self.site)
        return f" at {where.place}" if where else ""


NOWHERE = Place(None, (), (), "", ())


def place(traceback: Any) -> Place:
    """Where an equation with this traceback comes from; its frames begin at the innermost."""
    if traceback is None:
        return NOWHERE
    codes, offsets = traceback.raw_frames()
    stack = tuple(zip(map(id, codes), offsets, strict=True))
    user = next((i for i, code in enumerate(codes) if not _is_library(code.co_filename)), None)
    if user is None:
        return NOWHERE
    call: Any = ()
    name = ""
    for i in range(user - 1, -1, -1):
        if name := _called(codes[i]):
            call = *stack[i + 1 :], id(codes[i])
            break
    site = _site(codes, offsets, user)
    if not name and any(code.co_name == _INLINE for code in codes[:user]):
        name = names.called(site).rpartition(".")[2]  # (its own frame is not there)
        name, call = (name, stack) if name in _public() else ("", ())
    modules = tuple(at for at, code in zip(stack[:user], codes, strict=False)
                    if wraps(code.co_filename))  # fmt: skip
    return Place(site, stack[user:], call, name, stack, hash(modules) if modules else 0)


def _site(codes: Any, offsets: Any, first: int) -> Instruction | None:
    """The user's instruction, with its callers as long as they only pass the value on."""
    found: Instruction = ()
    for code, offset in itertools.islice(zip(codes, offsets, strict=True), first, None):
        if _is_library(code.co_filename):
            if _passes(code):
                continue
            break
        if (known := names.places_of(code).get(offset)) is not None:
            return found + known
        found += (code, offset)
    return found or None


def _passes(code: CodeType) -> bool:
    return code.co_name in ("reraise_with_filtered_traceback", "_call_wrapped_method")
