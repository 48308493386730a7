"""
A classifier in PyTorch
=======================

The same call takes a module. A model is drawn by its layers, in its author's words, with the norms of
its parameters and of their gradients.
"""

import torch
from torch import nn

import gradviz as gv

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
x, t = torch.randn(8, 16), torch.randint(4, (8,))
g = gv.trace(model, x, loss=lambda out: nn.functional.cross_entropy(out, t))
print(g.summary())
