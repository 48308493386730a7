"""
A layer in matrices
===================

The same mathematics, many numbers at a time: a message through ``w @ x`` is an outer product with
``x``. Small arrays stand in their boxes as matrices.
"""

import numpy as np

import gradviz as gv


def loss(w, b, x, t):
    z = w @ x + b
    a = 1 / (1 + np.exp(-z))
    return 0.5 * np.sum((t - a) ** 2)


w, b = np.array([[0.5, -0.3], [0.8, 0.2]]), np.zeros(2)
g = gv.trace(loss, w, b, np.array([1.0, 2.0]), np.array([0.0, 1.0]), wrt=("w", "b"))
print(g.explain("w").factored)
