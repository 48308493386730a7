"""
The 2-2-2 network
=================

Two inputs, two hidden neurons, two outputs: the network of Matt Mazur's "A Step by Step
Backpropagation Example" (2015), with its numbers. J is 0.298371109, ∂J/∂w5 is 0.082167041.
"""

import gradviz as gv

g = gv.examples.backprop_222()
print(g.value("J"), g.grad("w5"))
