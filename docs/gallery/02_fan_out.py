"""
Fan-out: a value that is used twice
===================================

``y`` is used twice, so two messages come back to it, and its gradient is their sum. This is the
second chain rule, that of several paths.
"""

import gradviz as gv

g = gv.expression("(x + y) * y", x=-2, y=5)
print(g.explain("y"))

# %%
# The paths that the two messages took:

picture = g.explain("y").draw()
