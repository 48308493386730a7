"""
A lesson: predict, then see
===========================

The student answers before a number is shown. A wrong answer is told what went wrong: a factor that was
forgotten, the second path, the value in place of the gradient, the sign.
"""

import gradviz as gv

g = gv.examples.backprop_222()
lesson = g.lesson("w5", "b2", "w1")
print(lesson)
