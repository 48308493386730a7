"""
Broadcasting is fan-out
=======================

A row added to each row of a matrix is used many times; the message back sums over the axis along
which it was repeated.
"""

import numpy as np

import gradviz as gv


def total(X, b):
    y = X + b
    return np.sum(y * y)


g = gv.trace(total, np.arange(6.0).reshape(3, 2), np.array([1.0, -1.0]), wrt="b")
print(g.explain("b").factored)
