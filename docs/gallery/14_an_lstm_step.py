"""
A step of an LSTM
=================

Three gates and a cell: along the cell's state the gradient is multiplied by the forget gate only.
"""

import numpy as np

import gradviz as gv


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def step(x, h, c, w):
    with gv.scope("gates"):
        i = sigmoid(w["ix"] * x + w["ih"] * h)
        f = sigmoid(w["fx"] * x + w["fh"] * h)
        o = sigmoid(w["ox"] * x + w["oh"] * h)
    new = np.tanh(w["cx"] * x + w["ch"] * h)
    c_next = f * c + i * new
    h_next = o * np.tanh(c_next)
    return h_next


names = ("ix", "ih", "fx", "fh", "ox", "oh", "cx", "ch")
w = {name: 0.1 * (n + 1) for n, name in enumerate(names)}
g = gv.trace(step, 1.0, 0.5, -0.2, w)
print(g.grad("c"), "= o (1 - tanh²) f")
