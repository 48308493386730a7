"""
The check of every gradient
===========================

A Graph can prove itself: the messages into a value sum to its gradient, the products along the paths
sum to it too, and finite differences agree.
"""

import numpy as np

import gradviz as gv


def loss(w, x):
    y = np.tanh(w * x) + w**2
    return np.mean(y)


g = gv.trace(loss, 0.3, np.linspace(-1, 1, 5), wrt="w")
check = g.check()
print(check)
picture = check.draw()
