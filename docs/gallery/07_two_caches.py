"""
The backward pass, and its two caches
=====================================

The backward pass is a graph as well. Its messages read values of the forward pass (blue) and
gradients that were computed before them (yellow): two caches, which are often taken for one.
"""

import gradviz as gv

g = gv.expression("z = w*x + b; a = sigmoid(z); (a - t)**2 / 2", w=2, x=-1, b=0.5, t=1)
picture = g.draw(backward="beside")
