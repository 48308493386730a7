"""
A derivative of a derivative
============================

``gv.grad`` inside of a trace records the backward pass too, so that it can be differentiated, and
drawn, once more.
"""

import numpy as np

import gradviz as gv


def curve(x):
    return np.sin(x) * x


g = gv.trace(gv.grad(curve), 1.2)
print("curvature", g.grad("x"), "=", 2 * np.cos(1.2) - 1.2 * np.sin(1.2))
