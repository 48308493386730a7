"""Worked examples, ready to look at."""

from __future__ import annotations

import numpy as np

from gradviz.graph import Graph
from gradviz.record.tape import scope
from gradviz.record.trace import trace


def backprop_222() -> Graph:
    """The classic 2-2-2 network of sigmoids with its published numbers.

    Two inputs, two hidden neurons that share the bias b1, two outputs with biases b2 and b3 (which
    start equal), and J, the sum of half squared errors. The numbers are those of Matt Mazur, "A
    Step by Step Backpropagation Example" (2015): J = 0.298371109, ∂J/∂w5 = 0.082167041, ∂J/∂w1 =
    0.000438568. Leaves: x1, x2, t1, t2; w1 ... w8, b1, b2, b3.

    Returns
    -------
    Graph
    """
    weights = dict(
        zip(
            (f"w{i}" for i in range(1, 9)),
            np.r_[0.15:0.31:0.05, 0.4:0.56:0.05].round(2),
            strict=True,
        )
    )
    return trace(
        _network_222,
        x1=0.05,
        x2=0.10,
        t1=0.01,
        t2=0.99,
        **{name: float(value) for name, value in weights.items()},
        b1=0.35,
        b2=0.60,
        b3=0.60,
        wrt=(*weights, "b1", "b2", "b3"),
        title="2-2-2 network",
    )


def _network_222(x1, x2, t1, t2, w1, w2, w3, w4, w5, w6, w7, w8, b1, b2, b3):  # type: ignore[no-untyped-def]
    with scope("h1"):
        z_h1 = w1 * x1 + w2 * x2 + b1
        a_h1 = 1 / (1 + np.exp(-z_h1))
    with scope("h2"):
        z_h2 = w3 * x1 + w4 * x2 + b1
        a_h2 = 1 / (1 + np.exp(-z_h2))
    with scope("o1"):
        z_o1 = w5 * a_h1 + w6 * a_h2 + b2
        a_o1 = 1 / (1 + np.exp(-z_o1))
    with scope("o2"):
        z_o2 = w7 * a_h1 + w8 * a_h2 + b3
        a_o2 = 1 / (1 + np.exp(-z_o2))
    J = 0.5 * (t1 - a_o1) ** 2 + 0.5 * (t2 - a_o2) ** 2
    return J
