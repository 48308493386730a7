"""
NaN: the branch that was not taken
==================================

``np.where`` drops the value of the other branch, but not its infinite slope: 0 times ∞ is NaN.
``diagnose`` finds the operation and the line.
"""

import numpy as np

import gradviz as gv


def loss(x):
    root = np.where(x > 0, np.sqrt(x), 0.0)
    return np.sum(root)


g = gv.trace(loss, np.array([4.0, 0.0, 1.0]))
health = g.diagnose()
print(health)
picture = health.draw()
