"""
A convolution
=============

A kernel that slides over a signal is used at every place: its gradient is the correlation of the
signal with what comes back.
"""

import numpy as np

import gradviz as gv


def loss(kernel, x, t):
    y = np.convolve(x, kernel, mode="valid")
    return np.sum((y - t) ** 2) / 2


x = np.array([0.0, 1.0, 2.0, 1.0, 0.0])
g = gv.trace(loss, np.array([0.5, -0.5]), x, np.zeros(4), wrt="kernel")
print(g.grad("kernel"))
