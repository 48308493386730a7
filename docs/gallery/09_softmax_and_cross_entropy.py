"""
Softmax with cross-entropy
==========================

Through the logarithm and the softmax the gradient becomes as simple as can be: probabilities minus
the one-hot target.
"""

import numpy as np

import gradviz as gv


def loss(z, t):
    e = np.exp(z - z.max())
    p = e / e.sum()
    return -np.sum(t * np.log(p))


z, t = np.array([2.0, 1.0, 0.1]), np.array([1.0, 0.0, 0.0])
g = gv.trace(loss, z, t, wrt="z")
print("gradient            ", g.grad("z"))
print("probabilities - t   ", np.exp(z) / np.exp(z).sum() - t)
