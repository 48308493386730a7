"""Write coverage.md: what happens to the gradient at every function of NumPy.

``python docs/coverage_table.py`` writes it; a test checks that no name is left unexplained.
"""

from __future__ import annotations

import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from gradviz.ops.bridge import borrow
from gradviz.ops.composed import COMPOSED
from gradviz.ops.table import IN_PLACE, PLAIN, ROWS
from gradviz.record.array import _WRITERS, Array

FILE = Path(__file__).with_name("coverage.md")

OWN, COMPOSITION, BORROWED, WRITES = "own rule", "composed", "borrowed", "writes"
STOPS, NUMBER, CREATES, OTHER, REFUSED = (
    "gradient 0", "plain value", "makes new arrays", "no array function", "refused",
)  # fmt: skip
MEANING = {
    OWN: "a row of the table of operations",
    COMPOSITION: "written in functions that have rows; these are what is recorded",
    BORROWED: "a rule of the `autograd` package, checked here",
    STOPS: "recorded; the derivative is 0 wherever it exists",
    NUMBER: "integers, booleans or text: plain NumPy, nothing to differentiate",
    CREATES: "takes no array of floats; what it makes is a constant",
    OTHER: "types, files, settings, dates, bits: has no place in a gradient",
    WRITES: "into a recorded array, also through views; into a plain one refused",
    REFUSED: "a `TraceError` that names the operation and the line",
}

_MIXED = "a recorded value would become a plain one, which forgets its history"
_LIST = "it takes lists apart and makes plain arrays; `np.stack` collects recorded values"
_PLACE = "use an index, `x[i] = y`"
_SETS = "set routines return what may come from several places; use `np.unique`"

REASONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        "arange empty eye fftfreq rfftfreq full identity ones zeros tri indices fromfunction "
        "diag_indices tril_indices triu_indices mask_indices bartlett blackman hamming hanning "
        "kaiser".split(),
        (CREATES, ""),
    ),
    "full": (CREATES, f"refuses a recorded fill value: {_LIST}; `np.full_like` takes one"),
    **dict.fromkeys(
        "base_repr binary_repr bitwise_and bitwise_count bitwise_invert bitwise_left_shift "
        "bitwise_not bitwise_or bitwise_right_shift bitwise_xor invert left_shift right_shift gcd "
        "lcm packbits unpackbits busday_count busday_offset is_busday datetime_as_string "
        "datetime_data isnat broadcast_shapes format_float_positional format_float_scientific "
        "from_dlpack frombuffer fromfile fromregex fromstring genfromtxt load loadtxt get_include "
        "get_printoptions set_printoptions printoptions getbufsize setbufsize geterr seterr "
        "geterrcall seterrcall info isdtype issubdtype mintypecode promote_types "
        "ravel_multi_index unravel_index show_config show_runtime test".split(),
        (OTHER, ""),
    ),
    **dict.fromkeys(
        "array asarray asanyarray asarray_chkfinite ascontiguousarray asfortranarray require "
        "asmatrix bmat nested_iters".split(),
        (REFUSED, f"{_MIXED}; `np.stack`, `np.copy`"),
    ),
    "fromiter": (REFUSED, _LIST),
    "frompyfunc": (REFUSED, "its results are Python objects"),
    **dict.fromkeys("intersect1d setdiff1d setxor1d union1d".split(), (REFUSED, _SETS)),
    **dict.fromkeys("unique_all unique_counts unique_inverse".split(), (REFUSED, _SETS)),
    "sort_complex": (REFUSED, "use `np.sort`"),
    **dict.fromkeys(
        "histogram histogram2d histogramdd histogram_bin_edges".split(),
        (REFUSED, "counts are plain values; edges, densities and weights have no rule: use "
         "`np.bincount(weights=)`"),
    ),
    "i0": (REFUSED, "use `scipy.special.i0`"),
    "nextafter": (REFUSED, "about the representation of numbers"),
    "polydiv": (REFUSED, "the number of terms depends on the values"),
    "row_stack": (OTHER, "the old name of `vstack`"),
}  # fmt: skip

FORMS: dict[str, str] = {
    "numpy.clip": "bounds differentiable too",
    "numpy.corrcoef": "real numbers",
    "numpy.cov": "without fweights, aweights, dtype",
    "numpy.cross": "three components",
    "numpy.geomspace": "positive ends",
    "numpy.interp": "x, xp and fp; without period",
    "numpy.linalg.cholesky": "real",
    "numpy.linalg.det": "of a singular matrix refused",
    "numpy.linalg.eig": "the values; the vectors refused (their phase is free)",
    "numpy.linalg.eigh": "real; vectors only where the values differ",
    "numpy.linalg.eigvalsh": "real",
    "numpy.linalg.pinv": "where the rank does not change",
    "numpy.linalg.qr": "real; mode 'complete' of tall matrices refused",
    "numpy.linalg.slogdet": "the sign of a complex determinant refused",
    "numpy.linalg.svd": "vectors: real, full_matrices=False or square; values: all",
    "numpy.median": "NaN among the numbers refused",
    "numpy.nan_to_num": "slope 1 where finite",
    "numpy.pad": "modes constant, edge, reflect, symmetric, wrap",
    "numpy.percentile": "methods linear, lower, higher, midpoint, nearest; not by q",
    "numpy.polyfit": "without full, cov",
    "numpy.quantile": "methods linear, lower, higher, midpoint, nearest; not by q",
    "numpy.trim_zeros": "one axis",
    "numpy.unique": "without axis; of equal elements the first one counts",
    "numpy.unwrap": "whole turns are constants",
    "numpy.linalg.lstsq": "where the rank does not change",
    "numpy.roots": "simple roots, the last coefficient not 0",
}

CLASSES = {
    "vectorize": _MIXED
    + "; write the function for whole arrays, or `np.stack([f(a) for a in x.flat])`",
    "nditer": _MIXED + "; iterate over `x.flat`",
    "ndenumerate": _MIXED + "; iterate over `x.flat`",
    "matrix": _MIXED,
    "r_": _LIST,
    "c_": _LIST,
    "ma.masked_array": _MIXED + "; use `np.where`",
}

UFUNC_METHODS = {
    "reduce": "add, multiply, maximum, minimum: as sum, prod, max, min (axis, keepdims, initial, "
    "where); logaddexp; others one element after the other",
    "accumulate": "add, multiply; others one element after the other",
    "reduceat": "composed of reductions",
    "outer": "composed",
    "at": "add, subtract: writes into recorded arrays; others refused",
    "where=": "with a recorded `out`; without one the other elements are undefined: refused",
    "out=": f"writes into recorded arrays; into plain ones refused: {_MIXED}",
    "axes=, axis=, keepdims=": "of generalized ufuncs: refused; use `np.moveaxis`",
}

SPECIAL = (
    "beta betainc betaln digamma erf erfc erfcinv erfinv expit gamma gammainc gammaincc gammaln "
    "gammasgn i0 i1 iv ive j0 j1 jn logit logsumexp multigammaln polygamma psi rgamma y0 y1 yn"
).split()
SPECIAL_REASONS = {
    "iv": "by x; by the order refused",
    "ive": "by x; by the order refused",
    "jn": "refused: use `jv`'s own recurrences; `j0`, `j1` have rules",
    "yn": "refused; `y0`, `y1` have rules",
    "logsumexp": f"refused: {_MIXED}; use `np.logaddexp.reduce`",
    "multigammaln": f"refused: {_MIXED}",
    "betainc": "by x; by a and b refused",
    "gammainc": "by x; by a refused",
    "gammaincc": "by x; by a refused",
    "polygamma": f"refused: {_MIXED}; `digamma` has a rule",
}

# The array API standard, version 2024.12: functions by their names in NumPy's main namespace.
ARRAY_API = """
abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh
bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
broadcast_arrays broadcast_to can_cast ceil clip concat conj copysign cos cosh count_nonzero
cumulative_prod cumulative_sum diff divide empty empty_like equal exp expand_dims expm1 eye finfo
flip floor floor_divide from_dlpack full full_like greater greater_equal hypot iinfo imag isdtype
isfinite isinf isnan less less_equal linspace log log10 log1p log2 logaddexp logical_and
logical_not logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min minimum
moveaxis multiply negative nextafter nonzero not_equal ones ones_like permute_dims positive pow
prod real reciprocal remainder repeat reshape result_type roll round searchsorted sign signbit sin
sinh sort sqrt square squeeze stack std subtract sum take take_along_axis tan tanh tensordot tile
tril triu trunc unique_all unique_counts unique_inverse unique_values unstack var vecdot where
zeros zeros_like
linalg.cholesky linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv
linalg.matmul linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_transpose
linalg.outer linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.svd linalg.svdvals
linalg.tensordot linalg.trace linalg.vecdot linalg.vector_norm
fft.fft fft.ifft fft.fftn fft.ifftn fft.rfft fft.irfft fft.rfftn fft.irfftn fft.hfft fft.ihfft
fft.fftfreq fft.rfftfreq fft.fftshift fft.ifftshift
""".split()

STEPS = frozenset(
    (np.floor, np.ceil, np.rint, np.trunc, np.round, np.fix, np.floor_divide, np.sign)
)


def explain(name: str, function: Any) -> tuple[str, str]:
    """How a function's gradient comes about, and a remark."""
    if function in STEPS:
        return STOPS, "of a complex number: own rule" if function is np.sign else ""
    if function in ROWS:
        return OWN, ""
    if function in COMPOSED:
        return COMPOSITION, ""
    if function in PLAIN:
        return NUMBER, ""
    if function in IN_PLACE:
        return (WRITES, "") if function in _WRITERS else (REFUSED, _PLACE)
    if name in REASONS:
        return REASONS[name]
    if borrow(function):
        return BORROWED, ""
    raise KeyError(f"{name} is not explained")


def functions(module: Any) -> dict[str, Any]:
    """The public functions of a module of NumPy, without classes and modules."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old names
        for name in sorted(module.__all__):
            function = getattr(module, name, None)
            if callable(function) and not isinstance(function, (type, types.ModuleType)):
                found[name] = function
    return found


def table(module: Any) -> list[tuple[str, str, str]]:
    """Name, how, and a remark of each function of a module."""
    rows = []
    for name, function in functions(module).items():
        if not hasattr(function, "__name__"):
            continue  # objects to be indexed: r_, c_, s_, mgrid
        how, remark = explain(name, function)
        rows.append((name, how, FORMS.get(f"{module.__name__}.{name}", remark)))
    return rows


def document() -> str:
    """The whole page."""
    version = ".".join(np.__version__.split(".")[:2])
    lines = [
        "# What happens to the gradient",
        "",
        f"Every public function of NumPy {version}. Generated by `docs/coverage_table.py`; a test "
        "keeps it true.",
        "",
        *(f"- **{how}**: {meaning}" for how, meaning in MEANING.items()),
        "",
        "All forms of a function are covered (axis, keepdims, where, initial, broadcasting, 0-d "
        "and empty arrays, complex numbers) unless a remark says which; a form that is not covered "
        "is refused.",
    ]
    for module in (np, np.linalg, np.fft):
        rows = table(module)
        counts = {how: sum(row[1] == how for row in rows) for how in MEANING}
        lines += [
            "",
            f"## {module.__name__}",
            "",
            ", ".join(f"{n} {how}" for how, n in counts.items() if n) + ".",
            "",
            "| function | gradient | remark |",
            "| --- | --- | --- |",
            *(f"| `{name}` | {how} | {remark} |" for name, how, remark in rows),
        ]
    lines += ["", "## Methods of ufuncs", "", "| method | |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in UFUNC_METHODS.items()]
    lines += ["", "## Classes that make plain arrays", "", "| | refused |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in CLASSES.items()]
    lines += [
        "",
        "## Methods and attributes of arrays",
        "",
        "Recorded arrays have: "
        + ", ".join(
            f"`{n}`" for n in dir(np.ndarray) if not n.startswith("_") and hasattr(Array, n)
        )
        + ". About memory, and so missing: "
        + ", ".join(
            f"`{n}`" for n in dir(np.ndarray) if not n.startswith("_") and not hasattr(Array, n)
        )
        + ".",
        "",
        "## scipy.special",
        "",
        "The functions that `autograd` has rules for, borrowed.",
        "",
        "| function | |",
        "| --- | --- |",
        *(f"| `{name}` | {SPECIAL_REASONS.get(name, BORROWED)} |" for name in SPECIAL),
        "",
        "`scipy.stats` works on plain arrays only: its functions are refused. Write the density, "
        "say, with NumPy and `scipy.special`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
