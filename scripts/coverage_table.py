"""Write coverage.md: what happens to the gradient at every function of NumPy.

``python scripts/coverage_table.py`` writes it; a test checks that no name is left unexplained.
"""

from __future__ import annotations

import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from gradviz.ops.bridge import borrow
from gradviz.ops.composed import COMPOSED
from gradviz.ops.distributions import METHODS
from gradviz.ops.special import RULES
from gradviz.ops.table import IN_PLACE, PLAIN, ROWS
from gradviz.record.array import Array

FILE = Path(__file__).parents[1] / "docs" / "coverage.md"

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

REASONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        "arange empty eye fftfreq rfftfreq full identity ones zeros tri indices fromfunction "
        "diag_indices tril_indices triu_indices mask_indices bartlett blackman hamming hanning "
        "kaiser".split(),
        (CREATES, ""),
    ),
    "full": (CREATES, "of a recorded value in a traced program; elsewhere: `np.full_like`"),
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
        "array asarray asanyarray ascontiguousarray asfortranarray".split(),
        (CREATES, "of recorded values in a traced program; elsewhere: `np.stack`, `np.copy`"),
    ),
    **dict.fromkeys(
        "asarray_chkfinite require asmatrix bmat nested_iters".split(),
        (REFUSED, f"{_MIXED}; `np.stack`, `np.copy`"),
    ),
    "fromiter": (REFUSED, _LIST),
    "frompyfunc": (REFUSED, "its results are Python objects"),
    "nextafter": (REFUSED, "about the representation of numbers"),
    "row_stack": (OTHER, "the old name of `vstack`"),
}  # fmt: skip

_SETS = "of equal elements the first one counts"
_PHASE = "complex vectors with the phases that LAPACK gives them"
FORMS: dict[str, str] = {
    "numpy.clip": "bounds differentiable too",
    "numpy.geomspace": "ends of one sign, or complex",
    **{
        f"numpy.{name}": "edges, density and by weights; counts are plain values"
        for name in ("histogram", "histogram2d", "histogramdd")
    },
    "numpy.interp": "x, xp, fp and period",
    "numpy.linalg.det": "of a singular matrix by its cofactors, up to 32 rows",
    "numpy.linalg.eig": f"vectors where the values differ; {_PHASE}",
    "numpy.linalg.eigh": f"vectors where the values differ; {_PHASE}",
    "numpy.linalg.pinv": "where the rank does not change",
    "numpy.linalg.qr": "mode 'complete' of tall matrices: refused, q's further columns are free",
    "numpy.linalg.svd": f"vectors where the values differ, not those beyond them; {_PHASE}",
    "numpy.median": "NaN among the numbers refused",
    "numpy.nan_to_num": "slope 1 where finite",
    "numpy.pad": "all modes; refused: a function, reflect_type='odd' that mirrors more than once",
    "numpy.percentile": "by the numbers and by q; not weights, inverted_cdf and its like",
    "numpy.polydiv": "the remainder has the terms that it has at these values",
    "numpy.quantile": "by the numbers and by q; not weights, inverted_cdf and its like",
    "numpy.trim_zeros": "one axis",
    "numpy.unwrap": "whole turns are constants",
    "numpy.linalg.lstsq": "where the rank does not change",
    "numpy.roots": "simple roots, the last coefficient not 0",
    **{
        f"numpy.{name}": _SETS
        for name in "unique unique_values unique_counts unique_inverse unique_all union1d "
        "intersect1d setdiff1d setxor1d".split()
    },
}

CLASSES = {
    "nditer": _MIXED + "; iterate over `x.flat`",
    "ndenumerate": _MIXED + "; iterate over `x.flat`",
    "matrix": _MIXED,
    **dict.fromkeys(("r_", "c_"), "recorded in a traced program, without directions in a string"),
    "ma.masked_array": _MIXED + "; use `np.where`",
}

UFUNC_METHODS = {
    "reduce": "add, multiply, maximum, minimum: as sum, prod, max, min (axis, keepdims, initial, "
    "where); logaddexp; others one element after the other",
    "accumulate": "add, multiply; others one element after the other",
    "reduceat": "composed of reductions",
    "outer": "composed",
    "at": "writes into recorded arrays; into plain ones refused",
    "where=": "with a recorded `out`; without one the other elements are undefined: refused",
    "out=": f"writes into recorded arrays; into plain ones refused: {_MIXED}",
    "axes=, axis=, keepdims=": "of generalized ufuncs: refused; use `np.moveaxis`",
}

SPECIAL = (
    "beta betainc betaln digamma erf erfc erfcinv erfinv expit gamma gammainc gammaincc gammaln "
    "gammasgn i0 i1 iv ive j0 j1 jn logit logsumexp multigammaln polygamma psi rgamma y0 y1 yn"
).split()
SPECIAL_REASONS = {
    "jn": "own rule (its name is `jv`); by the order refused: no closed form",
    **dict.fromkeys("iv ive yn".split(), "own rule; by the order refused: no closed form"),
    **dict.fromkeys("gammainc gammaincc".split(), "own rule; by a refused: no closed form"),
    "betainc": "own rule; by a and b refused: no closed form",
    "logsumexp": "written out in a traced program; elsewhere refused: use `np.logaddexp.reduce`",
    "multigammaln": "written out in a traced program; elsewhere refused: use a sum of `gammaln`",
    "polygamma": "written out in a traced program; elsewhere refused: use `zeta`",
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
        return WRITES, ""
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
        f"Every public function of NumPy {version}. Generated by `scripts/coverage_table.py`; a "
        "test keeps it true.",
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
        "The functions that `autograd` has rules for:",
        "",
        "| function | |",
        "| --- | --- |",
        *(
            f"| `{name}` | {SPECIAL_REASONS.get(name, OWN if name in RULES else BORROWED)} |"
            for name in SPECIAL
        ),
        "",
        "Besides, "
        + ", ".join(f"`{name.strip('_')}`" for name in RULES if name not in SPECIAL)
        + "; by an order or a shape parameter refused.",
        "",
        "## scipy.stats",
        "",
        "The distributions that `autograd` knows are written in functions that have rows. Their "
        "methods turn their arguments into plain arrays and no protocol asks first: once a program "
        "that records has loaded `scipy.stats`, gradviz has these methods look for recorded "
        "arrays; all other calls go to SciPy's own as before. By x, loc, scale and every "
        "parameter, except where a distribution function has no closed derivative by a shape.",
        "",
        "| distribution | |",
        "| --- | --- |",
        *(
            f"| `{name}` | {', '.join(f'`{m}`' for n, m in METHODS if n == name)} |"
            for name in dict.fromkeys(name for name, _ in METHODS)
        ),
        "",
        "All others are refused: write the density with NumPy and `scipy.special`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
