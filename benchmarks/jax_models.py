"""Models of JAX of the usual size, for the benchmark: the function, its parameters, its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LAYERS, WIDTH, TOKENS, VOCABULARY, HEADS = 12, 256, 128, 512, 4

Made = tuple[Callable[..., Any], Any, tuple[Any, ...]]


def _norm(x, gain):
    mean = jnp.mean(x, -1, keepdims=True)
    variance = jnp.var(x, -1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * gain


def _block(h, p):
    a = _norm(h, p["norm1"])
    parts = jnp.split(a @ p["qkv"], 3, -1)
    q, k, v = (x.reshape(TOKENS, HEADS, -1).transpose(1, 0, 2) for x in parts)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(WIDTH // HEADS)
    scores = jnp.where(jnp.tril(jnp.ones((TOKENS, TOKENS), bool)), scores, -1e9)
    mixed = (jax.nn.softmax(scores) @ v).transpose(1, 0, 2).reshape(TOKENS, WIDTH)
    h = h + mixed @ p["out"]
    u = jax.nn.gelu(_norm(h, p["norm2"]) @ p["up"])
    return h + u @ p["down"]


def _loss(params, h, targets):
    logits = _norm(h, params["norm"]) @ params["embed"].T
    logp = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(logp, targets[:, None], 1))


def _gpt() -> tuple[dict[str, Any], tuple[Any, ...]]:
    rng = np.random.default_rng(0)

    def weights(*shape):
        return jnp.asarray(rng.normal(size=shape) * 0.02, jnp.float32)

    blocks = [
        {
            "norm1": jnp.ones(WIDTH), "norm2": jnp.ones(WIDTH),
            "qkv": weights(WIDTH, 3 * WIDTH), "out": weights(WIDTH, WIDTH),
            "up": weights(WIDTH, 4 * WIDTH), "down": weights(4 * WIDTH, WIDTH),
        }
        for _ in range(LAYERS)
    ]  # fmt: skip
    params = {
        "embed": weights(VOCABULARY, WIDTH), "position": weights(TOKENS, WIDTH),
        "blocks": blocks, "norm": jnp.ones(WIDTH),
    }  # fmt: skip
    tokens = jnp.asarray(rng.integers(VOCABULARY, size=TOKENS))
    return params, (tokens, jnp.roll(tokens, -1))


def gpt() -> Made:
    """A GPT whose layers are a loop of Python."""

    def loss(params, tokens, targets):
        h = params["embed"][tokens] + params["position"]
        for p in params["blocks"]:
            h = _block(h, p)
        return _loss(params, h, targets)

    params, data = _gpt()
    return loss, params, data


def gpt_scanned() -> Made:
    """The same, its layers a scan."""

    def loss(params, tokens, targets):
        h = params["embed"][tokens] + params["position"]

        def layer(h, p):
            return _block(h, p), None

        h, _ = lax.scan(layer, h, params["blocks"])
        return _loss(params, h, targets)

    params, data = _gpt()
    blocks = jax.tree_util.tree_map(lambda *parts: jnp.stack(parts), *params["blocks"])
    return loss, {**params, "blocks": blocks}, data


class _Residual(nn.Module):
    width: int
    stride: int

    @nn.compact
    def __call__(self, x):
        steps = (self.stride, self.stride)
        y = nn.Conv(self.width, (3, 3), steps, use_bias=False)(x)
        y = nn.relu(nn.GroupNorm(8)(y))
        y = nn.GroupNorm(8)(nn.Conv(self.width, (3, 3), use_bias=False)(y))
        if x.shape != y.shape:
            x = nn.Conv(self.width, (1, 1), steps, use_bias=False)(x)
        return nn.relu(x + y)


class _ResNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(32, (3, 3), use_bias=False)(x))
        for width, stride in ((32, 1), (64, 2), (128, 2), (256, 2)):
            for steps in (stride, 1):
                x = _Residual(width, steps)(x)
        return nn.Dense(10)(jnp.mean(x, (1, 2)))


def resnet() -> Made:
    """A convolutional network of Flax with the 18 layers of ResNet-18, half as wide."""
    model = _ResNet()
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(8, 32, 32, 3)), jnp.float32)
    labels = jnp.asarray(rng.integers(10, size=8))

    def loss(params, images, labels):
        logp = jax.nn.log_softmax(model.apply({"params": params}, images))
        return -jnp.mean(jnp.take_along_axis(logp, labels[:, None], 1))

    params = model.init(jax.random.key(0), images)["params"]
    return loss, params, (images, labels)


PROGRAMS = {"gpt": (gpt, 2.0), "gpt_scanned": (gpt_scanned, 1.5), "resnet": (resnet, 2.0)}
"""With how many times the jitted step a lean capture may take."""
