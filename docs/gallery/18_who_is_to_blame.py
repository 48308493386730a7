"""
Shares of the blame
===================

How much of the error's reduction each parameter would bring, for one small step down the gradient:
its squared gradient, as a share of all.
"""

import gradviz as gv

g = gv.examples.backprop_222()
shares = g.shares()
print(shares)
picture = shares.draw()
