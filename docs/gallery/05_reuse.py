"""
What is computed once and read again
====================================

For w5 the backward pass computes ∂J/∂a_o1 and ∂J/∂z_o1. For b2 it only reads them, and for w1 it
reads them on one of two paths. The ledger counts what that saves.
"""

import gradviz as gv

g = gv.examples.backprop_222()
reuse = g.reuse("w5", "b2", "w1")
print(reuse)
picture = reuse.draw()
