"""
Why is this gradient zero?
==========================

A unit whose input is below zero for every example learns nothing: its gradient is exactly zero, which
is another thing than a gradient that underflows, or one that no path carries.
"""

import numpy as np

import gradviz as gv


def loss(w, X):
    h = np.maximum(X @ w, 0)
    return np.sum(h**2)


X = np.abs(np.random.default_rng(0).normal(size=(6, 2)))
g = gv.trace(loss, np.array([[0.5, -0.7], [0.2, -0.4]]), X, wrt="w")
print(g.diagnose())
