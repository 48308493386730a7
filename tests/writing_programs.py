# ruff: noqa: E501 - tables of code
"""Random programs that write into arrays, of their own and through views, and copy them.

A program is a text of lines on arrays ``a0, a1, ...`` that ends with the sum of all, weighted.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np

import gradviz as gv

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])

NEW = """
np.sin({a}) | np.tanh({a} * {b}) | {a} + {b} | 0.5 * {a} - {n} | {a} * {n} | np.where({a} > 0.1, {a}, {n}) | {a} @ {b} | {a} / (2 + {b} * {b})
np.zeros({a}.shape) | np.ones({a}.shape) | np.full({a}.shape, {n}) | np.full({a}.shape, 0.3) | np.eye(3) | np.zeros(4) | np.zeros((2, 3)) | np.zeros((3, 2), order='F')
np.zeros_like({a}) | np.ones_like({a}) | np.full_like({a}, {n}) | np.fmin(np.fmax(np.empty({a}.shape), 0.0), 0.0) | helper({a}) | zeros(3) | np.linspace(-1, 1, 3) | np.arange(6.0).reshape(2, 3)
np.array([{n}, 0.5, {m}]) | np.array([[{n}, {m}], [1, {n}]]) | np.array([{a}, {a} * 2]) | np.array({a}) | np.asarray({a}) | np.asarray([{n}, {m}]) | np.array([0.1, 0.2, 0.3]) | np.array({a}.T, order='C')
{a}.copy() | np.copy({a}) | copy.copy({a}) | copy.deepcopy([{a}])[0] | {a}.astype(float) | {a}.astype(float, copy=False) | {a}.flatten() | np.positive({a}) | {a}.conj()
np.r_[{n}, {m}, 0.5] | np.c_[{a}, {a}] | np.stack([{a}, {a}]) | np.concatenate([{a}, {b}]) | np.vstack([{a}, {b}]) | np.hstack([[{n}], [{m}, 1.0]]) | np.append({a}, {n}) | np.diag([{n}, x[0, 1]]) | np.zeros(()) | np.array(0.5) | np.full((), {n}) | np.array({n})
np.cumsum({a}, axis=-1) | np.sum({a}, axis=0) | {a}.mean(axis=-1) | np.diff({a}) | np.outer({a}, {b}) | np.tril({a}) | np.roll({a}, 1) | np.tile({a}, 2) | np.take({a}, [0, -1], axis=0) | {a}[[0, -1]]
"""
VIEW = """
{a}[0] | {a}[-1] | {a}[1:] | {a}[:, 1:] | {a}[..., 0] | {a}[::-1] | {a}[:, ::2] | {a}[None] | {a}[...] | {a}.T | {a}.ravel() | {a}.reshape(-1) | {a}.reshape(3, -1) | {a}.view() | {a}.squeeze()
np.swapaxes({a}, 0, -1) | np.transpose({a}) | np.flip({a}) | np.split({a}, 2)[1] | np.atleast_2d({a}) | np.expand_dims({a}, 0) | np.einsum('ij->ji', {a}) | np.rot90({a}) | np.ravel({a}, order='F')
np.asarray({a}) | np.ascontiguousarray({a}) | list({a})[-1] | np.real({a}) | np.moveaxis({a}, 0, -1) | {a}.reshape({a}.shape[::-1]) | np.einsum('ii->i', {a}) | np.array({a}, copy=None)
"""
PARTS = "[...] [0] [-1:] [..., 0] [[0,-1]] [1:] [::2] [0,0] [:,1] [-1,...] [:-1] [a0.shape[0]-1]".split()
WRITE = """
{a}{p} = {n} | {a}{p} += {n} | {a}{p} *= {n} | {a}{p} -= {b}{p} | {a}{p} = {b}{q} | {a}{p} = {b}{q} * {n} | {a}{p} = 0.25 | {a} += {n} | {a} *= {b} | {a} -= {b} * 0.5 | {a} /= 1.5 | {a} += 0.125
{a}[...] = np.sin({b}) + 0.3 * {a} | {a}[{a} > 0.2] *= {n} | {a}[{a} > 0.2] = 0.1 | {a}.fill({n}) | {a}.flat[1] = {n} | {a}.flat[::2] = 0.4 | {a}[0], {a}[-1] = {a}[-1] * 1, {a}[0] * 1 | {a}[0] = [{n}] * {a}.shape[-1]
np.add({b}, {n}, out={a}) | np.multiply({a}, {b}, out={a}) | np.sin({b}, out={a}) | np.sin({a}, {a}) | np.cumsum({a} * {n}, axis=-1, out={a}) | np.clip({b}, -0.9, 0.9, out={a}) | np.sum({b}, axis=0, out={a}) | {b}.sum(axis=-1, out={a}) | np.matmul({b}, {b}.T, out={a}) | np.dot({b}, {b}.T, {a})
np.multiply({b}, 3, out={a}, where=MASK) | np.add.at({a}, [0, 0, -1], {n}) | np.copyto({a}, {b}) | np.copyto({a}, 2 * {b}, where=MASK) | np.put({a}, [0, -1], [{n}, {m}]) | np.putmask({a}, {a} > 0.1, {n}) | np.fill_diagonal({a}, {n}) | np.add.accumulate({a} * {n}, out={a}) | np.maximum({a}, {n}, out={a})
np.mean({b}, 0, None, {a}) | np.concatenate([{b}, {b}], out={a}) | fill({a}, {n}) | np.negative({a}, out={a}[...]) | np.nan_to_num({a}, copy=False) | np.put_along_axis({a}, np.array([[0]]), {n}, axis=-1) | np.exp({a} * 0.1, out={a})
{a}[()] = {n} | {a}[...] += {n} | np.sum({b}, out={a}) | {a}[0, 0] = {n} * {m} | {a}[-1, -1] += {n} | {a}[1, 0] *= {m} | {a}[0] = {n} | {a}[-1] -= {a}[0] | {a}[0, 0], {a}[0, 1] = {a}[0, 1], {a}[0, 0] | t = {a}[0, 0]; {a}[0, 0] = 2 * t; {a}[0, 1] = t | {a}[np.int64(0), -1] = 1
"""
LOOP = """
for i in range({a}.shape[0]): {a}[i] = np.tanh({a}[i - 1] + {n})
for i in range(len({a})): {a}[i] += {b}[i % len({b})] * 0.3
for row in {a}: row *= {n}
for i, j in np.ndindex({a}.shape): {a}[i, j] = {n} + 0.1 * {a}[i, j - 1]
"""


def _lines(text: str) -> list[str]:
    return [code.strip() for code in text.replace("\n", "|").split("|") if code.strip()]


KINDS = [
    _lines(NEW),
    _lines(VIEW),
    _lines(WRITE),
    _lines(WRITE),
    [c for c in LOOP.split("\n") if c],
]


def helper(like: Any) -> Any:
    """A buffer that is made elsewhere."""
    return np.zeros(like.shape)


def fill(buffer: Any, value: Any) -> None:
    """Write into a buffer that was made elsewhere."""
    buffer[-1] = value


def names() -> dict[str, Any]:
    """What a program uses."""
    made: dict[str, Any] = {"np": np, "copy": copy, "MASK": X > 0, "helper": helper, "fill": fill}
    exec("from numpy import zeros", made)
    return made


def writing_program(rng: random.Random, steps: int) -> str:
    """The text of a program of about so many steps, which runs and whose numbers are moderate."""
    lines = ["a0 = x * 1.5" if rng.random() < 0.7 else "a0 = x"]
    arrays, without_axes = ["a0"], False
    for _ in range(steps):
        a, b = rng.choice(arrays[-4:]), rng.choice(arrays)
        numbers = [
            rng.choice(["x[0, 0]", "x[1, 2]", f"{b}.sum() * 0.3", f"np.cos({b}).mean()", "0.75",
                        f"{a}.flat[0]", f"{b}.max()"])
            for _ in range(2)
        ]  # fmt: skip
        kind = rng.choice(KINDS)
        code = rng.choice(kind).format(
            a=a, b=b, n=numbers[0], m=numbers[1], p=rng.choice(PARTS), q=rng.choice(PARTS)
        )
        if kind in KINDS[:2]:
            code = f"a{len(arrays)} = {code}"
        if without_axes and any(word in code for word in ("cumsum", "accumulate")):
            continue  # NumPy 2.4 itself crashes on some of these
        try:
            with np.errstate(all="ignore"):
                exec("\n".join([*lines, code]), fresh := names() | {"x": X.copy()})
        except Exception:  # it does not fit these shapes
            continue
        held = [fresh[name] for name in (*arrays, f"a{len(arrays)}") if name in fresh]
        if any(
            type(v) is not np.ndarray or not 0 < v.size <= 40 or v.dtype != float or v.ndim > 3
            for v in held
        ):
            continue
        if not all((np.abs(v) < 50).all() for v in held):
            continue
        if any(word in code for word in (">", "max", "clip")):  # far from ties and edges
            near = np.sort(np.concatenate([np.ravel(v) for v in held] + [[0.1, 0.2, -0.9, 0.9]]))
            if (np.diff(np.unique(near)) < 1e-3).any() or len(np.unique(near)) < len(near):
                continue
        lines.append(code)
        without_axes = any(not v.ndim for v in held)
        if code.startswith(f"a{len(arrays)} ="):
            arrays.append(f"a{len(arrays)}")
    total = " + ".join(
        f"np.sum({a} * np.cos(np.arange({a}.size)).reshape({a}.shape))" for a in arrays
    )
    return "\n    ".join(["def program(x):", *lines, f"return {total}"])


def compare_writing(rng: random.Random, steps: int = 10) -> str:
    """Compare a random program with NumPy's run of it and with differences; its text."""
    source = writing_program(rng, steps)
    within = names()
    exec(source, within)
    program: Callable[[Any], Any] = within["program"]
    point = X.copy()
    try:
        with np.errstate(all="ignore"):
            value = program(point.copy())
            slopes, kinks = np.zeros(X.shape), np.zeros(X.shape)
            for i in np.ndindex(X.shape):
                step = np.zeros(X.shape)
                step[i] = 1e-6
                above, below = program(point + step), program(point - step)
                slopes[i] = (above - below) / 2e-6
                kinks[i] = (above - 2 * value + below) / 1e-6
            g = gv.trace(program, point)
            scale = 1 + abs(value) + np.max(np.abs(slopes))
            found = g.values[g.output].value
            assert abs(found - value) <= 1e-11 * scale, f"J is {found}, NumPy gives {value}"
            gradient = g.grad("x")
            if (np.abs(kinks) > 1e-2 * scale).any():  # a corner, as where several are the largest
                return source
            assert (np.abs(gradient - slopes) <= 2e-5 * scale).all(), f"{gradient}\nnot\n{slopes}"
            if rng.random() < 0.25:
                again = gv.grad(program)(point)
                assert (np.abs(again - gradient) <= 1e-10 * scale).all(), f"grad {again}"
                moved = g.update(x=point + 1e-3)
                expected = program(point + 1e-3)
                assert abs(moved.values[moved.output].value - expected) <= 1e-10 * scale, "update"
                assert g.check(tolerance=1e-4), g.check(tolerance=1e-4).text
        assert np.array_equal(point, X)
    except Exception as error:
        raise AssertionError(f"{source}\n\n{type(error).__name__}: {error}") from error
    return source
