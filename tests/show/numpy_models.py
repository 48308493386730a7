"""Models written by hand in NumPy, as a course does; each returns its Graph."""

from __future__ import annotations

import numpy as np

import gradviz as gv


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_mlp():
    rng = np.random.default_rng(0)

    def loss(w1, b1, w2, b2, x, y):
        h = np.tanh(x @ w1 + b1)
        logits = h @ w2 + b2
        logits = logits - np.max(logits, axis=1, keepdims=True)
        logp = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
        return -np.mean(np.sum(y * logp, axis=1))

    leaves = rng.normal(size=(4, 16)), np.zeros(16), rng.normal(size=(16, 3)), np.zeros(3)
    data = rng.normal(size=(8, 4)), np.eye(3)[rng.integers(0, 3, 8)]
    return gv.trace(loss, *leaves, *data, wrt=("w1", "b1", "w2", "b2"))


def numpy_lstm(width=8, steps=6):
    rng = np.random.default_rng(0)

    def loss(Wx, Wh, b, Wo, x, t):
        h, c, J = np.zeros(width), np.zeros(width), 0.0
        for k in range(steps):
            z = Wx @ x[k] + Wh @ h + b
            i, f = sigmoid(z[:width]), sigmoid(z[width : 2 * width])
            o, g = sigmoid(z[2 * width : 3 * width]), np.tanh(z[3 * width :])
            c = f * c + i * g
            h = o * np.tanh(c)
            y = Wo @ h
            J = J + 0.5 * np.sum((y - t[k]) ** 2)
        return J

    shapes = (4 * width, 3), (4 * width, width), (4 * width,), (2, width), (steps, 3), (steps, 2)
    wrt = ("Wx", "Wh", "b", "Wo")
    return gv.trace(loss, *(rng.normal(size=shape) for shape in shapes), wrt=wrt)


def numpy_block(width=16, heads=4):
    rng = np.random.default_rng(0)

    def norm(x, g, b):
        mu = np.mean(x, axis=-1, keepdims=True)
        v = np.mean((x - mu) ** 2, axis=-1, keepdims=True)
        return g * (x - mu) / np.sqrt(v + 1e-5) + b

    def softmax(s):
        e = np.exp(s - np.max(s, axis=-1, keepdims=True))
        return e / np.sum(e, axis=-1, keepdims=True)

    def block(x, p):
        n = norm(x, p["g1"], p["b1"])
        T = len(x)
        q, k, v = ((n @ p[w]).reshape(T, heads, -1).transpose(1, 0, 2) for w in ("Wq", "Wk", "Wv"))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(width // heads)
        mask = np.triu(np.full((T, T), -1e9), 1)
        attn = softmax(scores + mask)
        y = (attn @ v).transpose(1, 0, 2).reshape(T, width) @ p["Wo"]
        x = x + y
        n2 = norm(x, p["g2"], p["b2"])
        h = np.maximum(n2 @ p["W1"] + p["c1"], 0) @ p["W2"] + p["c2"]
        return x + h

    def loss(p, x, t):
        out = block(x, p)
        return np.mean((out - t) ** 2)

    p = {name: np.ones(width) for name in ("g1", "g2")}
    p |= {name: np.zeros(width) for name in ("b1", "b2", "c2")} | {"c1": np.zeros(4 * width)}
    p |= {name: 0.2 * rng.normal(size=(width, width)) for name in ("Wq", "Wk", "Wv", "Wo")}
    p["W1"] = 0.1 * rng.normal(size=(width, 4 * width))
    p["W2"] = 0.1 * rng.normal(size=(4 * width, width))
    return gv.trace(loss, p, rng.normal(size=(6, width)), rng.normal(size=(6, width)), wrt="p")


def numpy_kalman(steps=8):
    rng = np.random.default_rng(0)

    def loss(q, r, ys):
        A, C = np.array([[1, 0.1], [0, 1.0]]), np.array([[1.0, 0]])
        x, P, nll = np.zeros(2), np.eye(2), 0.0
        for y in ys:
            x, P = A @ x, A @ P @ A.T + q * np.eye(2)
            S = C @ P @ C.T + r
            K, e = P @ C.T @ np.linalg.inv(S), y - C @ x
            x, P = x + K @ e, (np.eye(2) - K @ C) @ P
            nll = nll + 0.5 * (np.log(np.linalg.det(S)) + e @ np.linalg.inv(S) @ e)
        return nll

    return gv.trace(loss, 0.1, 0.5, rng.normal(size=(steps, 1)), wrt=("q", "r"))


def numpy_simulation(steps=64):
    def loss(k, c, v0):
        x, v = 1.0, v0
        for _ in range(steps):
            a = -k * x - c * v
            v = v + 0.05 * a
            x = x + 0.05 * v
        return (x - 0.3) ** 2

    return gv.trace(loss, 2.0, 0.1, 0.5)


MODELS = {
    make.__name__: make
    for make in (numpy_mlp, numpy_lstm, numpy_block, numpy_kalman, numpy_simulation)
}
