"""
A residual block
================

The gradient of ``x + f(x)`` goes back along two ways. The upper one has the local derivative 1:
that is why deep residual networks train.
"""

import numpy as np

import gradviz as gv


def block(x, w1, w2):
    h = np.maximum(w1 @ x, 0)
    y = x + w2 @ h
    return np.sum(y**2) / 2


rng = np.random.default_rng(1)
g = gv.trace(block, rng.normal(size=3), rng.normal(size=(3, 3)), 0.1 * rng.normal(size=(3, 3)))
picture = g.explain("x").draw()
