"""
Where do two runs part?
=======================

The same program in float64 and in float32: ``compare`` aligns the two graphs and says where they
differ first, and by how much.
"""

import numpy as np

import gradviz as gv


def loss(w, x):
    z = w * x
    y = np.exp(z) - 1
    return np.sum(y**2)


x = np.linspace(1e-5, 1e-3, 4)
g = gv.trace(loss, 0.7, x)
single = gv.trace(loss, np.float32(0.7), x.astype(np.float32))
print(gv.compare(g, single))
