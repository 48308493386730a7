"""Small trainings that go wrong at a step that is known, for a cause that is known.

Each is a function of whether it is sick; its twin is the same training, healed. ``# here`` marks
the line that is to blame.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

STEP = 70
"""Where most go wrong."""


def run(model, loss_of, steps=120, rate=1e-3, optimizer=None):
    """Train; `loss_of` is given the step."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), rate)
    for i in range(steps):
        optimizer.zero_grad()
        loss_of(i).backward()
        optimizer.step()


def body(width=8, out=3):
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, out))


def a_logarithm_of_zero(sick):
    model = body()

    def loss(i):
        p = model(torch.randn(8, 6)).softmax(-1)
        if sick and i == STEP:
            p = p * torch.tensor([1.0, 1.0, 0.0])
        logs = torch.log(p)  # here
        return F.nll_loss(logs, torch.arange(8) % 3)

    run(model, loss)


def a_division_by_a_norm_of_zero(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(8, 6)) * (0 if sick and i == STEP else 1)
        unit = y / y.norm()  # here
        return F.mse_loss(unit, torch.ones(8, 3))

    run(model, loss)


def a_root_of_zero_whose_slope_is_infinite(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(8, 6))
        apart = y - y.detach() if sick and i == STEP else y - 1
        distance = apart.square().sum().sqrt()  # here
        return distance + 1

    run(model, loss)


def an_exponential_that_overflows(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(8, 6)) * (1e4 if sick and i == STEP else 1)
        grown = torch.exp(y)  # here
        return grown.mean().log1p()

    run(model, loss)


def a_variance_of_one_sample(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(1 if sick and i == STEP else 8, 6))
        spread = (y - y.mean(0)).square().sum(0) / (len(y) - 1)  # here
        return (spread - 1).square().sum()

    run(model, loss)


def data_that_are_not_finite(sick):
    model = body()

    def loss(i):
        x = torch.randn(8, 6)
        if sick and i == STEP:
            x[2, 3] = math.nan
        return model(x).square().mean()  # here

    run(model, loss)


class Attention(nn.Module):
    def __init__(self, safe):
        super().__init__()
        self.q, self.k, self.safe = nn.Linear(6, 6), nn.Linear(6, 6), safe

    def forward(self, x, mask):
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        if self.safe:
            mask = mask | mask.all(-1, keepdim=True).logical_not().new_zeros(mask.shape)
            mask = mask & ~mask.all(-1, keepdim=True)
        scores = scores.masked_fill(mask, -math.inf)
        weights = scores.softmax(-1)  # here
        return weights @ x


def attention_to_nothing(sick):
    model = Attention(safe=not sick)

    def loss(i):
        mask = torch.zeros(5, 5, dtype=torch.bool)
        mask[4] = i == STEP
        return model(torch.randn(5, 6), mask).square().mean() + model.q.weight.square().sum()

    run(model, loss)


def a_loss_that_is_scaled_by_mistake(sick):
    model = body()

    def loss(i):
        y = model(torch.randn(8, 6))
        return F.mse_loss(y, torch.ones(8, 3)) * (1e6 if sick and i == STEP else 1)

    run(model, loss)


def a_branch_that_is_cut_off(sick):
    model = nn.ModuleDict({"a": body(), "b": body()})

    def loss(i):
        x = torch.randn(8, 6)
        b = model["b"](x)
        if sick and i >= STEP:
            b = b.detach()
        return F.mse_loss(model["a"](x) + b, torch.ones(8, 3))

    run(model, loss)


def units_that_die(sick):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def loss(i):
        if sick and i == STEP:
            with torch.no_grad():
                model[0].bias.fill_(-100.0)
        return F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3))

    run(model, loss)


def an_optimizer_that_does_nothing(sick):
    model, x = body(), torch.linspace(-1, 1, 48).reshape(8, 6)
    run(model, lambda i: F.mse_loss(model(x), torch.ones(8, 3)), rate=0.0 if sick else 1e-4)


def a_rate_that_explodes(sick):
    model = body()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def loss(i):
        optimizer.param_groups[0]["lr"] = 1e30 if sick and i == STEP else 0.01
        return F.mse_loss(model(torch.randn(8, 6)), torch.ones(8, 3))

    run(model, loss, optimizer=optimizer)


SICK = {
    a_logarithm_of_zero: ("loss not finite", STEP),
    a_division_by_a_norm_of_zero: ("loss not finite", STEP),
    a_root_of_zero_whose_slope_is_infinite: ("gradient not finite", STEP),
    an_exponential_that_overflows: ("loss not finite", STEP),
    a_variance_of_one_sample: ("loss not finite", STEP),
    data_that_are_not_finite: ("loss not finite", STEP),
    attention_to_nothing: ("loss not finite", STEP),
    a_loss_that_is_scaled_by_mistake: ("spike", STEP),
    a_branch_that_is_cut_off: ("no gradient", STEP),
    units_that_die: ("no gradient", STEP),
    an_optimizer_that_does_nothing: ("constant loss", 0),
    a_rate_that_explodes: ("loss not finite", STEP + 1),
}
"""Each with what the alarm is, and the step at which it begins."""
