"""
A simulated spring
==================

Forty steps of a simulation: in which direction should the stiffness change, for the mass to end at
0.5? The gradient goes back through every step.
"""

import gradviz as gv


def spring(stiffness, x=1.0, v=0.0, dt=0.05):
    for _ in range(40):
        v = v - dt * stiffness * x
        x = x + dt * v
    return (x - 0.5) ** 2


g = gv.trace(spring, 2.0)
for _ in range(3):
    print(round(float(g.value("stiffness")), 4), round(float(g.value("J")), 6))
    g = g.step(0.5)
