"""
A transformer in PyTorch
========================

Four layers of an encoder: the first is open, the others are one box with a count and the range of
their gradients. The paths from the embedding to J are counted, not walked.
"""

import torch
from torch import nn

import gradviz as gv

torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, batch_first=True)
model = nn.Sequential(nn.Embedding(50, 32), nn.TransformerEncoder(layer, 4), nn.Linear(32, 50))
words = torch.randint(50, (1, 9))
g = gv.trace(
    model,
    words[:, :-1],
    loss=lambda out: nn.functional.cross_entropy(out[0], words[0, 1:]),
)
print(g.explain("0.weight").path_count, "paths from the embedding to J")
