"""
Logistic regression
===================

A batch of points and one weight vector: the bias is used by every row, so its gradient is a sum
over the batch.
"""

import numpy as np

import gradviz as gv

rng = np.random.default_rng(0)
X = rng.normal(size=(8, 2))
t = (X[:, 0] + X[:, 1] > 0).astype(float)


def loss(w, b, X, t):
    z = X @ w + b
    p = 1 / (1 + np.exp(-z))
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))


g = gv.trace(loss, np.zeros(2), 0.0, X, t, wrt=("w", "b"))
for _ in range(5):
    g = g.step(1.0)
    print(round(float(g.value("J")), 4))
