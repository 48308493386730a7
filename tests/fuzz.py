"""Random programs without end, next to torch, JAX and finite differences: ``make fuzz``.

``python tests/fuzz.py --minutes 10 --seed 1``; the first program that differs is printed, and ends
the run with an error.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import random
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from array_programs import Program, program
from writing_programs import compare_writing

import gradviz as gv


class Difference(AssertionError):
    """gradviz and its peer differ on a program."""


class Unknown(Exception):
    """The peer cannot run a program."""


def _close(what: str, ours: Any, theirs: Any, tolerance: float) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    scale = 1 + np.max(np.abs(theirs), initial=0.0)
    if ours.shape != theirs.shape or not (np.abs(ours - theirs) <= tolerance * scale).all():
        raise Difference(f"{what}: gradviz\n{ours}\nthe other\n{theirs}")


Answer = tuple[Any, list[Any], "list[Any] | None"]
"""J, its gradients, and the gradients of their sum with the weights of `_weights`."""


def _weights(made: Program) -> list[Any]:
    return [np.cos(np.arange(leaf.size)).reshape(leaf.shape) for leaf in made.leaves]


def by_torch(made: Program, second: bool) -> Answer:
    """What torch computes."""
    import array_api_compat.torch as xp
    import torch

    def plain(found: Any) -> list[Any]:
        return [
            np.zeros_like(leaf) if g is None else (g.detach() + 0).numpy()
            for g, leaf in zip(found, made.leaves, strict=True)
        ]

    tensors = [torch.tensor(leaf, requires_grad=True) for leaf in made.leaves]
    try:
        value = made.run(xp, tensors)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise Unknown(str(error)) from error
    if not value.requires_grad:
        raise Unknown("no gradient")
    found = torch.autograd.grad(value, tensors, create_graph=second, allow_unused=True)
    twice = None
    if second:
        total = sum(
            (g * torch.tensor(w)).sum()
            for g, w in zip(found, _weights(made), strict=True)
            if g is not None and g.requires_grad
        )
        if hasattr(total, "requires_grad"):
            twice = plain(torch.autograd.grad(total, tensors, allow_unused=True))
    return value.detach().numpy(), plain(found), twice


def _rounded(made: Program, k: int, ours: Any, theirs: Any) -> bool:
    """Whether two gradients in single precision are about as far from the one in double."""
    double = dataclasses.replace(made, leaves=[leaf.astype(float) for leaf in made.leaves])
    truth = by_torch(double, False)[1][k]
    return bool(np.max(np.abs(ours - truth)) < 4 * np.max(np.abs(theirs - truth)))


def by_jax(made: Program, second: bool) -> Answer:
    """What JAX computes."""
    import jax

    jax.config.update("jax_enable_x64", True)
    which = tuple(range(len(made.leaves)))

    def function(*leaves: Any) -> Any:
        return made.run(jax.numpy, leaves)

    def slope(*leaves: Any) -> Any:
        found = jax.grad(function, which)(*leaves)
        return sum((g * w).sum() for g, w in zip(found, _weights(made), strict=True))

    leaves = [jax.numpy.asarray(leaf) for leaf in made.leaves]
    try:
        value, found = jax.value_and_grad(function, which)(*leaves)
        twice = jax.grad(slope, which)(*leaves) if second else None
    except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
        raise Unknown(str(error)) from error
    return value, list(found), twice and list(twice)


def by_jax_recorded(made: Program, second: bool) -> Answer:
    """What gradviz records of the program in `jax.numpy`."""
    import jax

    jax.config.update("jax_enable_x64", True)

    def function(*leaves: Any) -> Any:
        return made.run(jax.numpy, leaves)

    leaves = [jax.numpy.asarray(leaf) for leaf in made.leaves]
    try:
        jax.make_jaxpr(function)(*leaves)
    except (AttributeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        raise Unknown(str(error)) from error
    graph = gv.trace(function, *leaves)
    return graph.values[graph.output].value, [graph.adjoint(i) for i in sorted(graph.wrt)], None


def _slopes(function: Callable[..., Any], leaves: list[Any], size: float = 1e-6) -> list[Any]:
    """Central differences of a program on plain arrays."""
    found = []
    for k, leaf in enumerate(leaves):
        slope = np.zeros(leaf.shape)
        for index in np.ndindex(leaf.shape):
            ends = []
            for step in (size, -size):
                moved = leaf.copy()
                moved[index] += step
                ends.append(function(*leaves[:k], moved[()], *leaves[k + 1 :]))
            slope[index] = (ends[0] - ends[1]) / (2 * size)
        found.append(slope)
    return found


def _jumps(function: Callable[..., Any], leaves: list[Any], found: list[Any]) -> bool:
    """Whether differences of a smaller step are others, as next to a number that rounding makes.

    A leading coefficient of 1e-17, say, is one that polymul leaves out a little further on.
    """
    with np.errstate(all="ignore"):
        finer = _slopes(function, leaves, 1e-7)
    return any((abs(a - b) > 0.1 * (1 + abs(b))).any() for a, b in zip(finer, found, strict=True))


def by_differences(made: Program, second: bool) -> Answer:
    """What NumPy computes, and central differences of it; the second ones are of our gradients."""

    def function(*leaves: Any) -> Any:
        return made.run(np, leaves)

    def slope(*leaves: Any) -> Any:
        found = gv.trace(function, *leaves).gradients().values()
        return sum(np.sum(g * w) for g, w in zip(found, _weights(made), strict=True))

    with np.errstate(all="ignore"):
        twice = _slopes(slope, made.leaves) if second else None
        value, slopes = function(*made.leaves), _slopes(function, made.leaves)
    if np.isfinite(value) and not all(np.isfinite(s).all() for s in slopes):
        raise Unknown(
            "no number a little further on, as of corrcoef of what is equal but for rounding"
        )
    return value, slopes, twice


def compare(
    made: Program,
    second: bool = False,
    differences: bool = False,
    peer: Callable[[Program, bool], Answer] = by_torch,
) -> None:
    """Value, gradients and, if asked, gradients of gradients of a program, next to a peer's.

    Raises
    ------
    Difference
    Unknown
        The peer cannot run it.
    """
    single = made.leaves[0].dtype == np.float32
    exact = peer is not by_differences
    tolerance = 2e-4 if single else 1e-9 if exact else 1e-5

    def function(*leaves: Any) -> Any:
        return made.run(np, leaves)

    try:
        graph = gv.trace(function, *made.leaves)
    except gv.TraceError as error:
        if "depends on no recorded" in str(error):
            raise Unknown("a constant") from error
        raise
    value, found, twice = peer(made, second and not single)
    _close("J", graph.values[graph.output].value, value, tolerance)
    gradients = [graph.adjoint(i) for i in sorted(graph.wrt)]
    for k, (ours, theirs, leaf) in enumerate(zip(gradients, found, made.leaves, strict=True)):
        try:
            _close(f"∂J/∂x{k}", ours, theirs, tolerance)
        except Difference:
            if single and _rounded(made, k, ours, theirs):
                raise Unknown("ill-conditioned in single precision") from None
            if np.isfinite(ours).all() and not np.isfinite(theirs).all():
                with np.errstate(all="ignore"):
                    _close(f"∂J/∂x{k}", ours, _slopes(function, made.leaves)[k], 1e-4)
                raise Unknown("no number of the peer's where there is one") from None
            if exact or not _jumps(function, made.leaves, found):
                raise
            raise Unknown("it jumps where it is differentiated") from None
        if ours.dtype != leaf.dtype:
            raise Difference(f"∂J/∂x{k} has dtype {ours.dtype}, the leaf {leaf.dtype}")
    if differences and not graph.check(detail="operations", tolerance=1e-5):
        raise Difference(str(graph.check(detail="operations", tolerance=1e-5)))
    if twice is None:
        return

    def slope(*leaves: Any) -> Any:
        return sum(np.sum(gv.grad(function, k)(*leaves) * w) for k, w in enumerate(_weights(made)))

    try:
        again = gv.trace(slope, *made.leaves)
    except gv.TraceError as error:
        if "depends on no recorded" not in str(error):  # it is a constant
            raise
        again = None
    for k, theirs in enumerate(twice):
        ours = np.zeros_like(made.leaves[k])
        if again is not None:
            ours = again.adjoint(sorted(again.wrt)[k])
        _close(f"∂²J/∂x{k}", ours, theirs, 1e-7 if exact else 1e-4)


def main() -> int:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument(
        "--numpy", type=float, default=0.4, help="the share of programs in NumPy's own names"
    )
    parser.add_argument(
        "--jax",
        type=float,
        default=0.02 if find_spec("jax") else 0.0,
        help="the share of these that is compared with JAX, which is slow; the others are compared "
        "with differences",
    )
    parser.add_argument(
        "--writing", type=float, default=0.2, help="the share of programs that write into arrays"
    )
    parser.add_argument(
        "--modules",
        type=float,
        default=0.1 if find_spec("torch") else 0.0,
        help="the share of programs that are PyTorch modules",
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = random.Random(options.seed)
    end = time.monotonic() + 60 * options.minutes
    counts: collections.Counter[str] = collections.Counter()
    functions: collections.Counter[str] = collections.Counter()
    while time.monotonic() < end:
        if rng.random() < options.writing:
            try:
                text = compare_writing(rng, 1 + rng.randrange(options.steps))
            except AssertionError as error:
                print(f"seed {options.seed}, program {counts['programs']}:\n{error}")
                return 1
            counts.update({"programs": 1, "lines": text.count("\n"), "by_writing": 1})
            continue
        if rng.random() < options.modules:
            import torch_fuzz
            import torch_state_fuzz

            one = rng.choice((torch_fuzz.one, torch_fuzz.one, torch_state_fuzz.one))
            try:
                counts.update(lines=one(rng, options.steps), programs=1, by_autograd=1)
            except torch_fuzz.Unknown:
                counts.update(unknown=1)
            except Exception as error:
                print(f"seed {options.seed}, program {counts['programs']}:")
                traceback.print_exception(error, limit=-4)
                return 1
            continue
        dtype = np.float32 if rng.random() < 0.15 else np.float64
        peer: Callable[[Program, bool], Answer] = by_torch
        if rng.random() < options.numpy:
            peer = by_differences
            if rng.random() < options.jax:
                peer = rng.choice((by_jax, by_jax_recorded))
            dtype = np.float64
        own = peer is not by_torch
        made = program(rng.randrange, 1 + rng.randrange(options.steps), dtype, numpy=own)
        if not made.lines:
            continue
        second, differences = rng.random() < 0.25, dtype is np.float64 and rng.random() < 0.15
        try:
            compare(made, second, differences and not own, peer)
        except Unknown:
            counts.update(unknown=1)
            continue
        except Exception as error:
            print(f"seed {options.seed}, program {counts['programs']}:\n{made.text}\n")
            traceback.print_exception(error, limit=-4)
            return 1
        counts.update({"programs": 1, "lines": len(made.lines), peer.__name__: 1, "second": second})
        functions.update(word for line in made.lines for word in re.findall(r"xp\.([\w.]+)", line))
        if counts["programs"] % 1000 == 0:
            print(f"{counts['programs']} programs", file=sys.stderr)
    peers = ", ".join(f"{n} {name}" for name, n in counts.items() if name.startswith("by_"))
    print(
        f"{counts['programs']} programs of {counts['lines']} lines agree ({peers}; "
        f"{counts['second']} also in second derivatives; {counts['unknown']} that the peer cannot "
        f"run left out); {len(functions)} functions, seed {options.seed}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
