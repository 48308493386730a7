"""Random programs of scalar operations, for property tests."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import gradviz as gv

BINARY = ("+", "-", "*")
UNARY = ("sin", "tanh", "exp")


@dataclass(frozen=True)
class Program:
    """Leaf values, and steps that read earlier values by their index; the last one is J."""

    leaves: tuple[float, ...]
    steps: tuple[tuple[str, int, int], ...]

    def evaluate(self, leaves, functions):
        values = list(leaves)
        for op, i, j in self.steps:
            a, b = values[i % len(values)], values[j % len(values)]
            if op == "+":
                values.append(a + b)
            elif op == "-":
                values.append(a - b)
            elif op == "*":
                values.append(a * b)
            else:
                values.append(functions[op](a * 0.1 if op == "exp" else a))
        return values[-1]

    def graph(self):
        leaves = [gv.input(value, f"x{i}") for i, value in enumerate(self.leaves)]
        return gv.graph(self.evaluate(leaves, {name: getattr(np, name) for name in UNARY}))

    def torch(self):
        import torch

        leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in self.leaves]
        output = self.evaluate(leaves, {name: getattr(torch, name) for name in UNARY})
        output.backward()
        return {
            f"x{i}": 0.0 if leaf.grad is None else leaf.grad.item() for i, leaf in enumerate(leaves)
        }


@st.composite
def programs(draw, max_steps=10):
    """Programs whose late steps read late values, so that most of them reach J."""
    leaves = draw(
        st.lists(st.floats(-2, 2).map(lambda v: round(v, 3)), min_size=1, max_size=3).map(tuple)
    )
    steps = []
    for n in range(draw(st.integers(1, max_steps))):
        op = draw(st.sampled_from(BINARY + UNARY))
        known = len(leaves) + n
        steps.append(
            (op, draw(st.integers(max(0, known - 3), known - 1)), draw(st.integers(0, known - 1)))
        )
    return Program(leaves, tuple(steps))


def close(a, b, tolerance=1e-12):
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
