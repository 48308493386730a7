"""Random programs without end, next to torch and finite differences: ``make fuzz``.

``python tests/fuzz.py --minutes 10 --seed 1``; the first program that differs is printed, and ends
the run with an error.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import sys
import time
import traceback
import warnings
from typing import Any

import numpy as np
from array_programs import Program, program

import gradviz as gv


class Difference(AssertionError):
    """gradviz and its peer differ on a program."""


class Unknown(Exception):
    """torch cannot run a program."""


def _close(what: str, ours: Any, theirs: Any, tolerance: float) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    scale = 1 + np.max(np.abs(theirs), initial=0.0)
    if ours.shape != theirs.shape or not (np.abs(ours - theirs) <= tolerance * scale).all():
        raise Difference(f"{what}: gradviz\n{ours}\nthe other\n{theirs}")


def compare(made: Program, second: bool = False, differences: bool = False) -> None:
    """Value, gradients and, if asked, gradients of gradients of a program, next to torch's.

    Raises
    ------
    Difference
    Unknown
        torch cannot run it.
    """
    import array_api_compat.torch as xp
    import torch

    single = made.leaves[0].dtype == np.float32
    tolerance = 2e-4 if single else 1e-9
    tensors = [torch.tensor(leaf, requires_grad=True) for leaf in made.leaves]
    try:
        theirs = made.run(xp, tensors)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise Unknown(str(error)) from error
    if not theirs.requires_grad:
        raise Unknown("no gradient")

    def function(*leaves: Any) -> Any:
        return made.run(np, leaves)

    graph = gv.trace(function, *made.leaves)
    _close("J", graph.values[graph.output].value, theirs.detach().numpy(), tolerance)
    found = torch.autograd.grad(theirs, tensors, create_graph=second, allow_unused=True)
    gradients = [graph.adjoint(i) for i in sorted(graph.wrt)]
    for k, (ours, same, leaf) in enumerate(zip(gradients, found, made.leaves, strict=True)):
        _close(
            f"∂J/∂x{k}",
            ours,
            np.zeros_like(leaf) if same is None else (same.detach() + 0).numpy(),
            tolerance,
        )
        if ours.dtype != leaf.dtype:
            raise Difference(f"∂J/∂x{k} has dtype {ours.dtype}, the leaf {leaf.dtype}")
    if differences and not graph.check(detail="operations", tolerance=1e-5):
        raise Difference(str(graph.check(detail="operations", tolerance=1e-5)))
    if second and not single:
        weights = [np.cos(np.arange(leaf.size)).reshape(leaf.shape) for leaf in made.leaves]
        total = sum(
            (g * torch.tensor(w)).sum()
            for g, w in zip(found, weights, strict=True)
            if g is not None and g.requires_grad
        )
        if not hasattr(total, "requires_grad"):
            return
        twice = torch.autograd.grad(total, tensors, allow_unused=True)

        def slope(*leaves: Any) -> Any:
            return sum(
                np.sum(gv.grad(function, k)(*leaves) * w)
                for k, w in enumerate(weights)
                if found[k] is not None and found[k].requires_grad
            )

        ours = gv.trace(slope, *made.leaves)
        for k, same in enumerate(twice):
            expected = np.zeros_like(made.leaves[k]) if same is None else (same + 0).numpy()
            _close(f"∂²J/∂x{k}", ours.adjoint(sorted(ours.wrt)[k]), expected, 1e-7)


def main() -> int:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--steps", type=int, default=14)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = random.Random(options.seed)
    end = time.monotonic() + 60 * options.minutes
    counts: collections.Counter[str] = collections.Counter()
    functions: collections.Counter[str] = collections.Counter()
    while time.monotonic() < end:
        dtype = np.float32 if rng.random() < 0.15 else np.float64
        made = program(rng.randrange, 1 + rng.randrange(options.steps), dtype)
        if not made.lines:
            continue
        second, differences = rng.random() < 0.25, dtype is np.float64 and rng.random() < 0.15
        try:
            compare(made, second, differences)
        except Unknown:
            counts.update(unknown=1)
            continue
        except Exception as error:
            print(f"seed {options.seed}, program {counts['programs']}:\n{made.text}\n")
            traceback.print_exception(error, limit=-4)
            return 1
        counts.update(programs=1, operations=len(made.lines), second=second, checked=differences)
        functions.update(word for line in made.lines for word in re.findall(r"xp\.([\w.]+)", line))
        if counts["programs"] % 1000 == 0:
            print(f"{counts['programs']} programs", file=sys.stderr)
    print(
        f"{counts['programs']} programs of {counts['operations']} lines agree with torch "
        f"({counts['second']} also in second derivatives, {counts['checked']} with finite "
        f"differences; {counts['unknown']} that torch cannot run left out); "
        f"{len(functions)} functions, seed {options.seed}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
