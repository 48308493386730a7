"""
Layer normalization
===================

Mean and variance depend on every entry, so a message to ``x`` comes along three ways. They cancel
along the direction of ones: the gradient's entries sum to 0.
"""

import numpy as np

import gradviz as gv


def loss(x, gain, t):
    mean = np.mean(x)
    var = np.mean((x - mean) ** 2)
    y = gain * (x - mean) / np.sqrt(var + 1e-5)
    return np.sum((y - t) ** 2)


g = gv.trace(loss, np.array([1.0, 2.0, 4.0]), np.ones(3), np.zeros(3), wrt=("x", "gain"))
print("sum of ∂J/∂x:", round(float(g.grad("x").sum()), 12))
