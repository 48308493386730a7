"""
One number of a matrix
======================

How does ONE weight of a matrix get its gradient? ``explain("W[0,1]")`` tells it as a sum over numbers
and by its place in the matrix formula; ``elements`` opens the arrays into their numbers.
"""

import numpy as np

import gradviz as gv


def loss(W, x, t):
    z = W @ x
    return np.sum((z - t) ** 2) / 2


W = np.array([[0.5, -0.3], [0.8, 0.2]])
whole = gv.trace(loss, W, np.array([1.0, 2.0]), np.array([0.0, 1.0]), wrt="W")
print(whole.explain("W[0,1]"))

# %%
# The same computation, number by number:

g = whole.elements()
picture = g.explain("W[0,1]").draw()
