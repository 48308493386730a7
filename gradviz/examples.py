"""Worked examples, ready to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradviz.graph import Graph
from gradviz.record.tape import scope
from gradviz.record.trace import trace
from gradviz.words import choose

if TYPE_CHECKING:
    from gradviz.chain.lesson import Lesson


def backprop_222() -> Graph:
    """The classic 2-2-2 network of sigmoids with its published numbers.

    Two inputs, two hidden neurons that share the bias b1, two outputs with biases b2 and b3 (which
    start equal), and J, the sum of half squared errors. The numbers are those of Matt Mazur, "A
    Step by Step Backpropagation Example" (2015): J = 0.298371109, ∂J/∂w5 = 0.082167041, ∂J/∂w1 =
    0.000438568. Leaves: x1, x2, t1, t2; w1 ... w8, b1, b2, b3.

    Returns
    -------
    Graph

    Examples
    --------
    >>> import gradviz as gv
    >>> round(float(gv.examples.backprop_222().grad("w5")), 9)
    0.082167041
    """
    weights = dict(
        zip(
            (f"w{i}" for i in range(1, 9)),
            np.r_[0.15:0.31:0.05, 0.4:0.56:0.05].round(2),
            strict=True,
        )
    )
    return trace(
        _network_222,
        x1=0.05,
        x2=0.10,
        t1=0.01,
        t2=0.99,
        **{name: float(value) for name, value in weights.items()},
        b1=0.35,
        b2=0.60,
        b3=0.60,
        wrt=(*weights, "b1", "b2", "b3"),
        title="2-2-2 network",
    )


def _network_222(x1, x2, t1, t2, w1, w2, w3, w4, w5, w6, w7, w8, b1, b2, b3):  # type: ignore[no-untyped-def]
    with scope("h1"):
        z_h1 = w1 * x1 + w2 * x2 + b1
        a_h1 = 1 / (1 + np.exp(-z_h1))
    with scope("h2"):
        z_h2 = w3 * x1 + w4 * x2 + b1
        a_h2 = 1 / (1 + np.exp(-z_h2))
    with scope("o1"):
        z_o1 = w5 * a_h1 + w6 * a_h2 + b2
        a_o1 = 1 / (1 + np.exp(-z_o1))
    with scope("o2"):
        z_o2 = w7 * a_h1 + w8 * a_h2 + b3
        a_o2 = 1 / (1 + np.exp(-z_o2))
    J = 0.5 * (t1 - a_o1) ** 2 + 0.5 * (t2 - a_o2) ** 2
    return J


def fan_out() -> Graph:
    """A value that reaches J in two ways: its gradient is the sum of two messages."""
    return trace(_fan_out, w=3.0, x=0.5, wrt=("w", "x"), title="fan-out")


def _fan_out(w, x):  # type: ignore[no-untyped-def]
    a = w * x
    b = a**2
    c = 4 * a
    J = b + c
    return J


def softmax_cross_entropy() -> Graph:
    """Three logits, their softmax, and the cross-entropy of the second: ∂J/∂z = p - target."""
    logits = dict(z1=0.5, z2=1.0, z3=-0.5)
    return trace(
        _softmax_cross_entropy, **logits, wrt=tuple(logits), title="softmax, cross-entropy"
    )


def _softmax_cross_entropy(z1, z2, z3):  # type: ignore[no-untyped-def]
    q1, q2, q3 = np.exp(z1), np.exp(z2), np.exp(z3)
    s = q1 + q2 + q3
    p2 = q2 / s
    J = -np.log(p2)
    return J


def tied_rnn() -> Graph:
    """A recurrent network of one neuron over three steps, which all use the same w and u."""
    return trace(
        _tied_rnn, w=0.8, u=0.5, x1=1.0, x2=-0.5, x3=0.25, h0=0.0, t=0.5,
        wrt=("w", "u"), title="RNN with tied weights",
    )  # fmt: skip


def _tied_rnn(w, u, x1, x2, x3, h0, t):  # type: ignore[no-untyped-def]
    h1 = np.tanh(w * x1 + u * h0)
    h2 = np.tanh(w * x2 + u * h1)
    h3 = np.tanh(w * x3 + u * h2)
    J = 0.5 * (h3 - t) ** 2
    return J


_TITLES = {
    "en": ("One weight of a network", "Fan-out", "Softmax with cross-entropy", "Tied weights"),
    "zh": ("网络中的一个权重", "扇出", "Softmax 与交叉熵", "共享权重"),
}
_WHY_TIED = {
    "en": "The same w is used in three steps. Along how many paths does it reach J?",
    "zh": "同一个 w 用在三步中。它到 J 有多少条路径？",
}


def lessons(language: str = "en") -> dict[str, Lesson]:
    """Lessons to give as they are, or to begin one's own from.

    Parameters
    ----------
    language : {"en", "zh"}

    Returns
    -------
    dict of str to Lesson
        "network", "fan_out", "softmax" and "rnn"; each is written with ``lesson.save("x.html")``.
    """
    network, fan, softmax, rnn = _TITLES[choose("language", language, _TITLES)]
    return {
        "network": backprop_222().lesson("w5", "b2", "w1", title=network, language=language),
        "fan_out": fan_out().lesson("x", "w", title=fan, language=language),
        "softmax": softmax_cross_entropy().lesson("z2", "z1", title=softmax, language=language),
        "rnn": tied_rnn()
        .lesson(title=rnn, language=language)
        .paths("w", text=_WHY_TIED[language])
        .about("w", "u"),
    }
