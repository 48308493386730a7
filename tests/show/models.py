"""Programs large enough to be folded."""

from __future__ import annotations

import numpy as np

import gradviz as gv


def transformer(layers=12, width=8, length=4, heads=2):
    """Blocks of attention and a perceptron, a scope for each part."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return 0.2 * rng.normal(size=shape)

    def norm(x, scale, shift):
        with gv.scope("norm"):
            centred = x - np.mean(x, axis=-1, keepdims=True)
            var = np.mean(centred**2, axis=-1, keepdims=True)
            return centred / np.sqrt(var + 1e-5) * scale + shift

    def attention(x, p):
        with gv.scope("attention"):
            q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
            out = []
            for n in range(heads):
                part = slice(n * width // heads, (n + 1) * width // heads)
                with gv.scope(f"head{n}"):
                    e = np.exp(q[:, part] @ k[:, part].T)
                    out.append(e / np.sum(e, axis=-1, keepdims=True) @ v[:, part])
            return np.concatenate(out, axis=-1) @ p["o"]

    def model(params, x, t):
        for n, p in enumerate(params["blocks"]):
            with gv.scope(f"blocks.{n}"):
                x = x + attention(norm(x, p["scale1"], p["shift1"]), p)
                h = norm(x, p["scale2"], p["shift2"])
                with gv.scope("mlp"):
                    h = np.maximum(h @ p["up"], 0) @ p["down"]
                x = x + h
        y = norm(x, params["scale"], params["shift"])
        return np.mean((y - t) ** 2)

    def block():
        square = {name: normal(width, width) for name in "qkvo"}
        scales = {f"{name}{n}": np.ones(width) for name in ("scale", "shift") for n in (1, 2)}
        return square | scales | {"up": normal(width, 2 * width), "down": normal(2 * width, width)}

    params = {"blocks": [block() for _ in range(layers)]}
    params |= {"scale": np.ones(width), "shift": np.zeros(width)}
    x, t = normal(length, width), normal(length, width)
    return gv.trace(model, params, x, t, wrt="params")


def recurrent(steps=60):
    """An unrolled loop without any scope."""
    rng = np.random.default_rng(0)

    def rnn(W, xs, t):
        h = np.zeros(4)
        for x in xs:
            z = W @ h + x
            h = np.tanh(z)
        error = h - t
        return np.sum(error**2)

    xs = list(rng.normal(size=(steps, 4)))
    return gv.trace(rnn, 0.5 * rng.normal(size=(4, 4)), xs, rng.normal(size=4), wrt="W")


def scalar(operations):
    """A long chain of operations on numbers, all reading one input."""

    def program(x):
        y = x
        for _ in range(operations // 4):
            y = y * 0.999 + x * x
        return y

    return gv.trace(program, 0.5)


def doubling(depth):
    """2^depth paths."""

    def program(x):
        for _ in range(depth):
            x = 0.25 * (x + x)
        return x

    return gv.trace(program, 1.0)
