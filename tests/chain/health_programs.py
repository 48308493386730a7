"""Random small programs, some with a planted zero, NaN or infinity, for `diagnose`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import gradviz as gv

NUMPY: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "sin": np.sin,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "square": np.square,
    "reciprocal": lambda x: 1 / x,
    "power": lambda x: x**0.5,
    "arccos": np.arccos,
    "log1p": np.log1p,
    "arctan2": lambda x: np.arctan2(x, x - 1),
    "relu": lambda x: np.maximum(x, 0),
    "clip": lambda x: np.clip(x, -1, 1),
    "step": np.sign,
    "rint": np.rint,
    "nothing": lambda x: x * np.zeros(x.shape),
    "huge": lambda x: x * 1e200,
    "tiny": lambda x: x * 1e-200,
    "difference": lambda x: x - x,
    "shift": lambda x: x - 2,
    "far": lambda x: x + 100,
    "softmax": lambda x: np.exp(x - np.max(x)) / np.sum(np.exp(x - np.max(x))),
    "normal": lambda x: (x - np.mean(x)) / np.std(x),
    "unit": lambda x: x / np.sqrt(np.sum(x * x)),
    "some": lambda x: x[x > 0],
    "first": lambda x: x[:1],
    "last": lambda x: x[-2:],
    "where": lambda x: np.where(x > 0, np.sqrt(x), 0),
    "mean": lambda x: x - np.mean(x),
    "spread": lambda x: x / np.std(x, ddof=1),
    "both": lambda x: np.concatenate([x, x * x]),
    "sum": lambda x: np.sum(x) + x * 0,
}


def torch_steps() -> dict[str, Callable[[Any], Any]]:
    """The same for PyTorch."""
    import torch
    from torch.nn import functional

    def hooked(x: Any) -> Any:
        y = x * 1
        y.register_hook(torch.zeros_like)
        return y

    return {
        "tanh": torch.tanh,
        "exp": torch.exp,
        "log": torch.log,
        "sqrt": torch.sqrt,
        "reciprocal": lambda x: 1 / x,
        "acos": torch.acos,
        "relu": torch.relu,
        "hardtanh": functional.hardtanh,
        "hardsigmoid": functional.hardsigmoid,
        "relu6": functional.relu6,
        "hardshrink": functional.hardshrink,
        "sign": torch.sign,
        "round": torch.round,
        "half": lambda x: x.half().float(),
        "nothing": lambda x: x * torch.zeros(()),
        "huge": lambda x: x * 1e30,
        "tiny": lambda x: x * 1e-30,
        "difference": lambda x: x - x,
        "far": lambda x: x + 100,
        "shift": lambda x: x - 2,
        "softmax": lambda x: x.softmax(-1),
        "log_softmax": lambda x: x.log_softmax(-1),
        "norm": lambda x: x / x.norm(),
        "layer_norm": lambda x: functional.layer_norm(x, x.shape),
        "standard": lambda x: (x - x.mean()) / x.std(),
        "some": lambda x: x[x > 0],
        "first": lambda x: x[:1],
        "last": lambda x: x[-2:],
        "where": lambda x: torch.where(x > 0, x.sqrt(), torch.zeros(())),
        "masked": lambda x: x.masked_fill(x < 0, -torch.inf),
        "split": lambda x: x.split(max(1, len(x) // 2))[0],
        "sort": lambda x: x.sort().values,
        "topk": lambda x: x.topk(1).values + x * 0,
        "cat": lambda x: torch.cat([x, x * x]),
        "dropout": lambda x: functional.dropout(x, 0.9),
        "detach": lambda x: x.detach() + 0 * x,
        "hook": hooked,
        "var_mean": lambda x: torch.var_mean(x)[0] * x,
        "svd": lambda x: torch.linalg.svd(torch.outer(x, x) + torch.eye(len(x)))[0].sum() * x,
        "cumsum": lambda x: x.cumsum(0),
        "maximum": lambda x: torch.maximum(x, torch.ones(())),
    }


def generate(seed: int) -> tuple[list[str], list[str], list[float], bool, str]:
    """The steps of two branches, the leaves' values, whether PyTorch runs it, the last step."""
    rng = random.Random(seed)
    with_torch = rng.random() < 0.5
    names = sorted(torch_steps() if with_torch else NUMPY)
    branches = [rng.choices(names, k=rng.randint(0, 5)) for _ in range(2)]
    numbers = [0.0, 0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1e-3]
    values = rng.choices(numbers, k=rng.choice([1, 3, 4]))
    return *branches, values, with_torch, rng.choice(["sum", "mean", "square", "product"])


def trace(seed: int, capture: str = "whole") -> gv.Graph:
    """The Graph of the program with this number."""
    one, two, values, with_torch, end = generate(seed)
    steps = torch_steps() if with_torch else NUMPY

    def program(u: Any, v: Any) -> Any:
        for name in one:
            u = steps[name](u)
        for name in two:
            v = steps[name](v)
        if end == "product":
            return u.sum() * v.sum()
        if end == "square":
            return (u * u).sum() + v.sum()
        return (u.mean() + v.mean()) if end == "mean" else (u.sum() + v.sum())

    if not with_torch:
        return gv.trace(program, np.array(values), np.array(values[::-1]) + 0.25)
    import torch

    torch.manual_seed(seed)
    leaves = [torch.tensor(x).requires_grad_() for x in (values, [x + 0.25 for x in values])]
    return gv.trace(program, *leaves, capture=capture)
