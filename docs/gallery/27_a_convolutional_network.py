"""
A convolutional network in PyTorch
==================================

A small network for images with a skip connection; colours and widths show how large the gradients
are.
"""

import torch
from torch import nn

import gradviz as gv


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(h)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.block = Block(8)
        self.head = nn.Linear(8, 10)

    def forward(self, image):
        return self.head(self.block(self.stem(image)).mean(dim=(2, 3)))


torch.manual_seed(0)
g = gv.trace(Net(), torch.randn(2, 3, 16, 16), loss=lambda out: out.logsumexp(-1).mean())
print(len(g), "values")
