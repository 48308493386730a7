"""
A recurrent network: one matrix, many uses
==========================================

W is used in each step, so a message comes back from each. A loop is drawn as its first step and the
rest in one box; a click opens it.
"""

import numpy as np

import gradviz as gv


def rnn(W, U, xs):
    h = np.zeros(2)
    for x in xs:
        h = np.tanh(W @ h + U @ x)
    return np.sum(h)


rng = np.random.default_rng(0)
xs = list(rng.normal(size=(12, 2)))
g = gv.trace(rnn, 0.5 * np.eye(2), 0.3 * np.eye(2), xs, wrt=("W", "U"))
print(g.explain("W").path_count, "paths from W to J")
