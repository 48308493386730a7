"""
A Kalman filter
===============

Differentiable programs are no networks only: by how much does the noise that a filter assumes change
its error?
"""

import gradviz as gv


def filter_error(q, r, measured):
    x, p, error = 0.0, 1.0, 0.0
    for z in measured:
        p = p + q
        k = p / (p + r)
        error = error + (z - x) ** 2
        x = x + k * (z - x)
        p = (1 - k) * p
    return error


measured = [1.0, 1.2, 0.9, 1.4, 1.3]
g = gv.trace(filter_error, 0.1, 0.5, measured, wrt=("q", "r"))
print(g.gradients())
