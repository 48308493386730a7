"""
One neuron
==========

A weighted sum, a bias, a sigmoid. The sigmoid's local derivative is computed from its value alone,
``a * (1 - a)``: that is why a network keeps what it computed on the way forward.
"""

import numpy as np

import gradviz as gv


def neuron(w, x, b):
    z = w[0] * x[0] + w[1] * x[1] + b
    a = 1 / (1 + np.exp(-z))
    return a


g = gv.trace(neuron, [2.0, -3.0], [-1.0, -2.0], -3.0, wrt=("w", "b"))
print(g.gradients())
