"""
A product and a sum
===================

The first graph of many courses: ``f = x*y + z``. The local derivative of a product by one factor is
the other factor; a sum passes on what it gets.
"""

import gradviz as gv

g = gv.expression("x*y + z", x=-2, y=5, z=-4)
print(g.gradients())
