"""
A transformer in Flax beside the same one in PyTorch
====================================================

Both become the same graph. ``compare`` aligns what both call by one name, and says whether values and
gradients agree: a port from one library to the other is checked line by line.
"""

import flax.linen as flax
import jax
import jax.numpy as jnp
import numpy as np
import torch

import gradviz as gv

WIDTH, TOKENS = 8, 5


class Block(flax.Module):
    @flax.compact
    def __call__(self, x):
        a = flax.LayerNorm(epsilon=1e-5, name="norm1")(x)
        qkv = flax.Dense(3 * WIDTH, name="qkv")(a)
        q, k, v = jnp.split(qkv, 3, axis=-1)
        scores = q @ k.T
        weights = jax.nn.softmax(scores)
        mixed = weights @ v
        h = x + mixed
        b = flax.LayerNorm(epsilon=1e-5, name="norm2")(h)
        u = flax.Dense(4 * WIDTH, name="up")(b)
        r = jax.nn.relu(u)
        return h + flax.Dense(WIDTH, name="down")(r)


class Twin(torch.nn.Module):
    def __init__(self, params):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.qkv = torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.up, self.down = torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.Linear(4 * WIDTH, WIDTH)
        with torch.no_grad():
            for name in ("qkv", "up", "down"):
                kernel = np.array(params[name]["kernel"])
                getattr(self, name).weight.copy_(torch.tensor(kernel).T)
                getattr(self, name).bias.copy_(torch.tensor(np.array(params[name]["bias"])))

    def forward(self, x):
        a = self.norm1(x)
        qkv = self.qkv(a)
        q, k, v = qkv.split(WIDTH, dim=-1)
        scores = q @ k.T
        weights = torch.softmax(scores, -1)
        mixed = weights @ v
        h = x + mixed
        b = self.norm2(h)
        u = self.up(b)
        r = torch.relu(u)
        return h + self.down(r)


model = Block()
x = np.random.default_rng(0).normal(size=(TOKENS, WIDTH)).astype(np.float32)
params = model.init(jax.random.key(0), x)["params"]


def loss(params, x):
    y = model.apply({"params": params}, x)
    return jnp.mean(y**2)


twin = Twin(params)


def twins_loss(x):
    y = twin(x)
    return torch.mean(y**2)


g = gv.trace(loss, params, jnp.asarray(x), wrt="params")
other = gv.trace(twins_loss, torch.tensor(x))
print(gv.compare(g, other))

# %%
# The one of Flax as it is drawn:
g.draw()
