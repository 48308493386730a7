"""Write conventions.md: the gradient where there is a choice, next to autograd, JAX and torch.

``python scripts/conventions_table.py`` computes it (with jax and torch installed); a test checks
our column.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gradviz as gv

FILE = Path(__file__).parents[1] / "docs" / "conventions.md"

# Title; the same program in NumPy's names and, where it differs, in torch's; the point.
Row = tuple[str, str, str, list[Any]]
ROWS: list[Row] = [
    ("relu: maximum(x, 0) at 0", "np.maximum(x, 0.0)", "t.relu(x)", [0.0]),
    ("maximum(x, y) at x = y", "np.maximum(x, y)", "t.maximum(x, y)", [1.0, 1.0]),
    ("where(x > 0, x, 0) at 0", "np.where(x > 0, x, 0.0)", "t.where(x > 0, x, 0.0)", [0.0]),
    ("max of (3, 3, 1)", "np.max(x)", "t.amax(x)", [[3.0, 3.0, 1.0]]),
    ("median of (1, 2, 2, 5)", "np.median(x)", "t.quantile(x, 0.5)", [[1.0, 2.0, 2.0, 5.0]]),
    ("first of sort of (2, 2)", "np.sort(x)[0]", "t.sort(x, stable=True).values[0]", [[2.0, 2.0]]),
    ("clip(x, 0, 1) at 0", "np.clip(x, 0.0, 1.0)", "t.clamp(x, 0.0, 1.0)", [0.0]),
    ("abs at 0", "np.abs(x)", "t.abs(x)", [0.0]),
    ("sign, floor, round anywhere", "np.sign(x) + np.floor(x)", "t.sign(x) + t.floor(x)", [0.5]),
    ("sqrt at 0", "np.sqrt(x)", "t.sqrt(x)", [0.0]),
    ("norm of (0, 0)", "np.linalg.norm(x)", "t.linalg.norm(x)", [[0.0, 0.0]]),
    ("hypot(0, 0)", "np.hypot(x, y)", "t.hypot(x, y)", [0.0, 0.0]),
    ("std of (2, 2)", "np.std(x)", "t.std(x, correction=0)", [[2.0, 2.0]]),
    ("x**y at x = 0, y = 0", "x**y", "x**y", [0.0, 0.0]),
    ("x**y at x = 0, y = 2", "x**y", "x**y", [0.0, 2.0]),
    ("x**2.0 at 0", "x**2.0", "x**2.0", [0.0]),
    ("x**0.5 at 0", "x**0.5", "x**0.5", [0.0]),
    ("prod of (0, 2, 3)", "np.prod(x)", "t.prod(x)", [[0.0, 2.0, 3.0]]),
    ("sqrt in the branch not taken, at 0", "np.where(x > 0, np.sqrt(x), 0.0)",
     "t.where(x > 0, t.sqrt(x), 0.0)", [0.0]),
    ("arctan2(0, 0)", "np.arctan2(x, y)", "t.atan2(x, y)", [0.0, 0.0]),
    ("sinc at 0", "np.sinc(x)", "t.sinc(x)", [0.0]),
    ("x % y at (7, 3)", "np.mod(x, y)", "t.remainder(x, y)", [7.0, 3.0]),
    ("logaddexp(-inf, 0)", "np.logaddexp(x, y)", "t.logaddexp(x, y)", [-np.inf, 0.0]),
    ("arccos at 1", "np.arccos(x)", "t.acos(x)", [1.0]),
    ("abs of a complex z, at 3 + 4i", "np.abs(x)", "t.abs(x)", [3 + 4j]),
    ("real(z²) at 1 + 2i", "np.real(x * x)", "t.real(x * x)", [1 + 2j]),
]  # fmt: skip


def _program(code: str, functions: Any) -> Callable[..., Any]:
    names = {"np": functions, "t": functions}
    return lambda x, y=None: eval(code, {**names, "x": x, "y": y})  # the rows above, never input


def _written(number: Any) -> str:
    number = complex(number)
    if number.imag:
        return f"{number.real:.4g}{number.imag:+.4g}i"
    return f"{number.real + 0.0:.4g}".replace("nan", "NaN")


def _cell(gradients: list[Any]) -> str:
    parts = []
    for gradient in gradients:
        found = [_written(g) for g in np.ravel(gradient)]
        parts.append(found[0] if np.ndim(gradient) == 0 else f"({', '.join(found)})")
    return "; ".join(parts)


def ours(row: Row) -> str:
    """The gradients that gradviz computes."""
    point = [np.asarray(p)[()] for p in row[3]]
    with np.errstate(all="ignore"):
        graph = gv.trace(_program(row[1], np), *point)
        return _cell(list(graph.gradients().values()))


def _autograd(row: Row) -> str:
    import autograd
    import autograd.numpy as anp

    program = _program(row[1], anp)
    point = [np.asarray(p)[()] for p in row[3]]
    return _cell([autograd.grad(program, k)(*point) for k in range(len(point))])


def _jax(row: Row) -> str:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    program = _program(row[1], jax.numpy)
    point = [jax.numpy.asarray(p) for p in row[3]]
    return _cell([np.asarray(jax.grad(program, k)(*point)) for k in range(len(point))])


def _torch(row: Row) -> str:
    torch = importlib.import_module("torch")
    point = [
        torch.tensor(p, requires_grad=True,
                     dtype=torch.complex128 if isinstance(p, complex) else torch.float64)
        for p in row[3]
    ]  # fmt: skip
    _program(row[2], torch)(*point).backward()
    return _cell([[] if p.grad is None else np.array(p.grad.tolist()) for p in point])


def document() -> str:
    """The whole page."""
    lines = [
        "# The gradient where there is a choice",
        "",
        "At a tie, a corner or an edge the derivative does not exist; every library takes some "
        "number. What gradviz takes, computed next to others by `scripts/conventions_table.py`. "
        "Gradients by several operands are separated by semicolons.",
        "",
        "1. **Ties share evenly**: of `maximum`, `minimum`, `max`, `min` each of k equal elements "
        "gets 1/k. So `maximum(x, 0)` has slope ½ at 0, the mean of its one-sided slopes; torch's "
        "`relu`, a function of its own, has 0 there. Write `np.where(x > 0, x, 0)` for that.",
        "2. **Corners take the mean of the one-sided slopes** where both exist: 0 for `abs` and "
        "for a norm at 0. `clip` counts its bounds as inside.",
        "3. **Orders are fixed**: `sort`, `median`, `unique` and indices send the gradient to the "
        "element that was taken.",
        "4. **Steps have slope 0** everywhere: `sign`, `floor`, `round`, comparisons.",
        "5. **What is infinite stays infinite**: `sqrt` at 0 has slope ∞. The branch that `where` "
        "does not take gets an exact 0, which an infinite slope inside the branch turns into NaN: "
        "make its argument safe too (`np.sqrt(np.where(x > 0, x, 1))`).",
        "6. **Powers**: the slope of `x**0` is 0 also at 0, and of `0**y` by y 0.",
        "7. **Complex numbers**: the gradient of a real J by z is ∂J/∂Re z − i ∂J/∂Im z, as in "
        "autograd and JAX, so that a message is the upstream term times the local derivative for "
        "complex numbers too; torch gives its conjugate. Descent goes along the conjugate "
        "(`Graph.step` does). J must be real. A real operand gets the real part.",
        "   Vectors of `eigh`, `eig`, `svd` and the columns of `qr` may be multiplied by any phase "
        "(in real matrices: any sign). Their gradients follow the phases that LAPACK picks: the "
        "first component of each of `eigh`'s vectors stays real (with `UPLO='U'` the last), the "
        "largest of `eig`'s, the first of each vector on `svd`'s shorter side, `qr`'s diagonal of "
        "R. What does not depend on the phase has the same gradient in every library. Of a "
        "Hermitian matrix only the triangle that NumPy reads gets a gradient.",
        "8. **Arrays that the program writes to**: a recorded array can be written to (`x += 1`, "
        "`x[i] = y`, `out=`, `np.copyto`, also through its views), with NumPy's result and the "
        "right gradient (where an index is repeated, that of what was written last); so can the "
        "arrays that a traced program makes itself (`np.zeros`, "
        "`np.ones`, `np.empty`, `np.full`, `np.eye`, `np.array`, `np.arange`, `np.linspace` and "
        "what is computed of these), and `np.array([[x, -y], [y, x]])` makes one of recorded "
        "values. Such an array is plain until a recorded value is written into it. Refused: to "
        "write a recorded value into a plain array that was made elsewhere (before the trace, by a "
        "library or a random generator: take a copy by `np.array(a)`), or outside of a trace; into "
        "an array that something else holds as a plain one; into one of two arguments that share "
        "their memory, or into one that the program also reaches as a global, a closure or an "
        "attribute. Masked arrays, matrices, structured and object arrays, and what computes "
        "by its own rules (units, pandas) are refused at every door, with what to pass instead. "
        "Plain arrays that the program changes later are recorded as they were: gradviz keeps a "
        "copy per version of each plain array (and of lists) that meets a recorded one, and one "
        "array that stays as it is is copied once. Leaves are copied when recorded. Values and "
        "gradients that a Graph hands out are read-only.",
        "9. **Plain numbers end the history**: `float(x)`, `int(x)`, `x.item()`, `x.tolist()`, "
        '`x.value`, `f"{x:.3f}"`, `np.save(file, x)` give constants. A program may read '
        "values: to print, to branch, to stop. Where one was read and a number of unknown "
        "origin went in later, the program is run again, at leaves a little further on, when "
        "the gradient is first asked for (silently; random numbers are drawn again, variables, "
        "fields and containers of the program's own are put back; files that it writes, it "
        "writes again). If the difference is another than the gradient says, the number came "
        "back into J: a warning names the line, `Graph.diagnose` has a finding, and pictures "
        "mark the value. Without a program (`gv.graph`) that cannot be run: there a number that "
        "was computed after a read is warned of as what may be wrong. Steps (`int(x)`, "
        "`np.searchsorted`, comparisons) have slope 0, and nothing is lost. Who means a "
        "constant writes `gv.stop_gradient(x)`; finite differences hold it where it was. "
        "Functions that take a number unseen (`math.exp(x)`, `np.fromiter`, `a.fill(x)` of an "
        "array from elsewhere) are refused.",
        "10. **Types**: `isinstance(x, np.ndarray)`, `isinstance(x, float)`, `np.isscalar(x)` "
        "and `x.__class__` answer as for the number or array that x stands for. `type(x)` is "
        '`gradviz.Array`, and `hasattr(x, "shape")` is true of numbers too: a program that '
        "asks such a question is run on plain arrays when the gradient is first asked for, here "
        "and a little further on; if J is another there, it took another branch: a warning "
        "names the line, and so do `Graph.diagnose` and `Graph.check`. `str(x)`, `repr(x)` and "
        "`print(x)` write what NumPy writes.",
        "11. **Random numbers**: `check`, `update` and `step` draw those that the trace drew, "
        "from the generators of NumPy and Python that the function reaches, and leave them as "
        "they were. Of a program with a generator that it makes anew without a seed, `check` "
        "says that it cannot be compared with differences.",
        "12. **PyTorch programs** keep PyTorch's own rules (`padding_idx`, `relu` at 0, a custom "
        "`Function`, a hook; where a write with a repeated index meets a place twice, all that was "
        "written there gets its gradient), which `check` names where differences tell another "
        "number. Refused are: tensors on the device `meta`, nested tensors and lazy modules that "
        "have not run; "
        "re-entrant checkpoints; `torch.func.linearize`; `torch.cond` and other operators "
        "that take functions; a program that calls `backward()` itself "
        "(return the loss); an argument called `loss`, `capture`, `title` or `wrt` given by "
        "keyword, where it could be ours or the program's. A write that PyTorch's backward pass "
        "refuses is told with the line that wrote. On several ranks, what "
        "`DistributedDataParallel` does around its model is left out of a trace; a trace that "
        "would run a collective waits for all ranks, and is refused where they do not come; of a "
        "DTensor the part that the rank holds is kept; `FullyShardedDataParallel` (FSDP1) is "
        "refused.",
        "13. **JAX programs** keep JAX's own rules (`custom_jvp`, `custom_vjp`, `relu` at 0), "
        "and its float32 unless `jax_enable_x64` is on. `update` and `step` run what was "
        "traced, as `jit` does: a global that was changed since is not read again. Refused are: "
        "callbacks into Python that have no `custom_vjp`, `shard_map`, and arrays that are "
        "spread over several devices.",
        "",
        "| | gradviz | autograd | JAX | torch |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        cells = []
        for column in (ours, _autograd, _jax, _torch):
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    cells.append(column(row))
            except Exception as error:  # what a library cannot do is an entry too
                cells.append(f"({type(error).__name__})")
        lines.append(f"| {row[0]} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
