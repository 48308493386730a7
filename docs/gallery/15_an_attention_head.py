"""
An attention head
=================

Queries, keys and values of three words. The values get their gradient directly, queries and keys
through the softmax.
"""

import numpy as np

import gradviz as gv


def attention(q, k, v):
    scores = q @ k.T / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    out = weights @ v
    return np.sum(out**2)


rng = np.random.default_rng(2)
g = gv.trace(attention, *(rng.normal(size=(3, 2)) for _ in range(3)))
print({name: float(np.linalg.norm(grad)) for name, grad in g.gradients().items()})
