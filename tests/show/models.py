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


def pendulum(steps=8):
    """A Runge-Kutta loop on numbers, whose every step reads the parameters many times."""

    def run(angle, speed, gravity, length, friction):
        h = 0.1
        for _ in range(steps):
            k1, a1 = speed, -gravity / length * np.sin(angle) - friction * speed
            k2 = speed + h / 2 * a1
            a2 = -gravity / length * np.sin(angle + h / 2 * k1) - friction * k2
            k3 = speed + h / 2 * a2
            a3 = -gravity / length * np.sin(angle + h / 2 * k2) - friction * k3
            k4 = speed + h * a3
            a4 = -gravity / length * np.sin(angle + h * k3) - friction * k4
            angle = angle + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            speed = speed + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        return (angle - 0.3) ** 2

    return gv.trace(run, 1.0, 0.1, 9.81, 1.0, 0.2)


def characters(steps=12, letters=65, hidden=20):
    """A recurrent network that predicts the next letter, with an output and a loss each step."""
    rng = np.random.default_rng(0)
    text = rng.integers(0, letters, steps + 1)

    def run(Wxh, Whh, Why, bh, by):
        h, J = np.zeros((hidden, 1)), 0.0
        for t in range(steps):
            x = np.zeros((letters, 1))
            x[text[t]] = 1
            h = np.tanh(Wxh @ x + Whh @ h + bh)
            y = Why @ h + by
            p = np.exp(y) / np.sum(np.exp(y))
            J = J - np.log(p[text[t + 1], 0])
        return J

    shapes = (hidden, letters), (hidden, hidden), (letters, hidden)
    weights = [0.1 * rng.normal(size=shape) for shape in shapes]
    return gv.trace(run, *weights, np.zeros((hidden, 1)), np.zeros((letters, 1)))


def dense(layers):
    """Each layer reads all before it."""

    def run(**inputs):
        values = list(inputs.values())
        for _ in range(layers):
            values.append(np.tanh(np.sum(np.stack(values))))
        return values[-1]

    return gv.trace(run, x=0.1, y=0.2)


def hub(spokes):
    """One input that all the rest reads."""

    def run(w):
        J = 0.0
        for n in range(spokes):
            J = J + np.sin(w * n)
        return J

    return gv.trace(run, 0.5)


def crossed(side):
    """Every value of a layer reads every one of the layer before."""

    def run(**inputs):
        layer = list(inputs.values())
        for _ in range(2):
            layer = [np.max(np.stack(layer) * (n + 1)) for n in range(side)]
        return np.sum(np.stack(layer))

    return gv.trace(run, **{f"x{n}": 0.1 * n for n in range(side)})


def fibonacci(steps):
    """Each value reads the two before it."""

    def run(a, b):
        for _ in range(steps):
            a, b = b, 0.3 * a + 0.4 * b
        return b

    return gv.trace(run, 1.0, 1.0)


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
