"""
All paths of a weight
=====================

A gradient is the sum over all paths to J; along a path the local derivatives are multiplied. w1
has two paths, and the factors that w5 shares stand in ⟦ ⟧.
"""

import gradviz as gv

g = gv.examples.backprop_222()
explanation = g.explain("w1", after=("w5", "b2"))
print(explanation)
picture = explanation.draw()
