"""Graphs of the documented schema, made by hand, so that these tests need no recorder."""

from __future__ import annotations

import re
from dataclasses import dataclass

import networkx as nx
import numpy as np

from gradviz.chain.table import Table


@dataclass
class Hand:
    """Stands where a Graph stands: it has the two DAGs, as NetworkX graphs and as tables."""

    dag: nx.MultiDiGraph
    backward_dag: nx.MultiDiGraph | None = None

    @property
    def table(self) -> Table:
        return table(self.dag)

    @property
    def backward_table(self) -> Table:
        return table(self.backward_dag)


def table(dag: nx.MultiDiGraph) -> Table:
    """The nodes and edges of a DAG as plain rows."""
    edges = list(dag.edges(keys=True, data=True))
    return Table(dict(dag.graph), dict(dag.nodes.items()), edges)


class Pen:
    """Writes a DAG down node by node."""

    def __init__(self, name: str = "") -> None:
        self.dag = nx.MultiDiGraph(schema=1, output=None, name=name)
        self.ids: dict[str, int] = {}

    def node(self, name, value, kind="operation", op="", expression="", scope=(), **extra):
        ident = len(self.dag)
        self.ids[name] = ident
        self.dag.add_node(
            ident, name=name, op=op or kind, kind=kind, value=value, shape=np.shape(value),
            dtype=str(getattr(value, "dtype", type(value).__name__)), grad=None,
            grad_state="not computed", scope=tuple(scope), source=None, expression=expression,
        )  # fmt: skip
        self.dag.nodes[ident].update(extra)
        self.dag.graph["output"] = ident
        return ident

    def edge(self, tail, head, local=None, derivative=""):
        u, v = self.ids[tail], self.ids[head]
        key = self.dag.in_degree(v)
        self.dag.add_edge(u, v, key=key, local=local, message=None, derivative=derivative)

    def formula(self, name, value, expression, op="", scope=(), **locals_):
        """An operation whose operands are the keywords: (local derivative, its text)."""
        self.node(name, value, op=op, expression=expression, scope=scope)
        for operand, (local, text) in locals_.items():
            self.edge(operand, name, local, text)
        return value

    def backward(self) -> Hand:
        """Gradients of a scalar DAG by the chain rule, and the backward DAG."""
        dag, output = self.dag, self.dag.graph["output"]
        back = nx.MultiDiGraph(schema=1, output=None, name="backward")
        out_name = dag.nodes[output]["name"]
        reach = nx.ancestors(dag, output) | {output}
        ids: dict[int, int] = {}
        for node in sorted(dag, reverse=True):
            data = dag.nodes[node]
            if node not in reach:
                data["grad_state"] = "disconnected"
                continue
            grad = 1.0 if node == output else 0.0
            for _, head, _, edge in dag.out_edges(node, keys=True, data=True):
                if head in reach:
                    edge["message"] = dag.nodes[head]["grad"] * edge["local"]
                    grad += edge["message"]
            data["grad"], data["grad_state"] = grad, "number"
            ids[node] = len(back)
            back.add_node(
                ids[node], name=f"∂{out_name}/∂{data['name']}", op="sum", kind="operation",
                value=grad, shape=(), dtype="float64", grad=None, grad_state="not computed",
                scope=data["scope"], source=None, expression="", of=node,
            )  # fmt: skip
            for _, head, key, edge in dag.out_edges(node, keys=True, data=True):
                if head in reach:
                    back.add_edge(ids[head], ids[node], key=key, **edge)
        return Hand(dag, back)


def article() -> Hand:
    """The 2-2-2 network with the published numbers."""
    pen = Pen("2-2-2 network")
    v = dict(x1=0.05, x2=0.10, w1=0.15, w2=0.20, w3=0.25, w4=0.30, w5=0.40, w6=0.45, w7=0.50,
             w8=0.55, b1=0.35, b2=0.60, b3=0.60, t1=0.01, t2=0.99)  # fmt: skip
    for name, value in v.items():
        kind = {"x": "input", "w": "parameter", "b": "parameter", "t": "constant"}[name[0]]
        pen.node(name, value, kind, source=("network.py", 3, f"{name} = {value}"))

    def neuron(unit, weights, inputs, bias):
        first, second = weights
        left, right = inputs
        z = v[first] * v[left] + v[second] * v[right] + v[bias]
        v[f"z_{unit}"] = pen.formula(
            f"z_{unit}", z, f"{first} * {left} + {second} * {right} + {bias}", "add", (unit,),
            **{first: (v[left], left), left: (v[first], first), second: (v[right], right),
               right: (v[second], second), bias: (1.0, "1")},
        )  # fmt: skip
        a = 1 / (1 + np.exp(-z))
        v[f"a_{unit}"] = pen.formula(
            f"a_{unit}", a, f"1 / (1 + exp(-z_{unit}))", "sigmoid", (unit,),
            **{f"z_{unit}": (a * (1 - a), f"a_{unit} * (1 - a_{unit})")},
        )  # fmt: skip

    neuron("h1", ("w1", "w2"), ("x1", "x2"), "b1")
    neuron("h2", ("w3", "w4"), ("x1", "x2"), "b1")
    neuron("o1", ("w5", "w6"), ("a_h1", "a_h2"), "b2")
    neuron("o2", ("w7", "w8"), ("a_h1", "a_h2"), "b3")
    for i in "12":
        error = v[f"a_o{i}"] - v[f"t{i}"]
        v[f"E_o{i}"] = pen.formula(
            f"E_o{i}", error**2 / 2, f"(t{i} - a_o{i})**2 / 2", "multiply",
            **{f"t{i}": (-error, f"t{i} - a_o{i}"), f"a_o{i}": (error, f"a_o{i} - t{i}")},
        )  # fmt: skip
    pen.formula("J", v["E_o1"] + v["E_o2"], "E_o1 + E_o2", "add",
                E_o1=(1.0, "1"), E_o2=(1.0, "1"))  # fmt: skip
    return pen.backward()


def colah() -> Hand:
    """e = (a + b) * (b + 1) at a = 2, b = 1, from colah's "Calculus on Computational Graphs"."""
    pen = Pen()
    pen.node("a", 2.0, "input")
    pen.node("b", 1.0, "input")
    pen.formula("c", 3.0, "a + b", "add", a=(1.0, "1"), b=(1.0, "1"))
    pen.formula("d", 2.0, "b + 1", "add", b=(1.0, "1"))
    pen.formula("e", 6.0, "c * d", "multiply", c=(2.0, "d"), d=(3.0, "c"))
    return pen.backward()


def mlp() -> Hand:
    """Arrays: a two-layer perceptron with all sizes from tiny to large."""
    rng = np.random.default_rng(0)
    pen = Pen("MLP 784-128-10")
    x = rng.normal(size=(64, 784))
    w1, b1 = rng.normal(size=(784, 128)) / 28, np.zeros(128)
    w2, b2 = rng.normal(size=(128, 10)) / 11, rng.normal(size=(10,))
    for name, value, kind in [("x", x, "input"), ("params.w1", w1, "parameter"),
                              ("params.b1", b1, "parameter"), ("params.w2", w2, "parameter"),
                              ("params.b2", b2, "parameter")]:  # fmt: skip
        pen.node(name, value, kind)
    z = x @ w1 + b1
    h = np.tanh(z)
    s = h @ w2 + b2
    pen.node("z1", z, expression="x @ params.w1 + params.b1", op="add", scope=("hidden",))
    pen.edge("x", "z1", None, "params.w1.T")
    pen.edge("params.w1", "z1", None, "x.T")
    pen.edge("params.b1", "z1", None, "")
    pen.node("h", h, expression="tanh(z1)", op="tanh", scope=("hidden",))
    pen.edge("z1", "h", 1 - h * h, "1 - h**2")
    pen.node("logits", s, expression="h @ params.w2 + params.b2", op="add", scope=("output",))
    pen.edge("h", "logits", None, "params.w2.T")
    pen.edge("params.w2", "logits", None, "h.T")
    pen.edge("params.b2", "logits", None, "")
    pen.node("loss", float(np.mean(s**2)), expression="mean(logits**2)", op="mean")
    pen.edge("logits", "loss", 2 * s / s.size, "2 * logits / 640")
    for _, data in pen.dag.nodes(data=True):
        data["grad"] = np.asarray(data["value"]) * 1e-3
        data["grad_state"] = "number"
    return Hand(pen.dag)


WEIRD = [
    "</script><script>alert(1)</script>", '"quoted" & <b>', "line\nbreak\ttab",
    "\u202eevil\u202c",
    "שלום עולם", "مرحبا", "權重矩陣", "😀👩‍👩‍👧‍👦", "z̷̢̛̺͓͖̈́͗a̸l̷g̶o̵", "", " ",
    "\x00\x1b[31m", "\ud800", "\\N\\G\\E",
    "a" * 300, "params['w 1']", "h(2)",
    "layers[0].attention.query_weight", "alpha_1", "ﷺ", "%s{}$x$",
]  # fmt: skip


def weird() -> Hand:
    """Names, values and states that nobody wants."""
    pen = Pen('weird <names> & "titles"')
    values = [1e-300, float("nan"), float("inf"), -0.0, 3, True, 10**400, 1 + 2j, "text", None,
              np.zeros(0), np.zeros((2, 0)), np.float32(0.1), np.array(5), np.array([1.5, -2e-9]),
              np.array([[1, 2], [3, 4]]), np.array(["a", "b"]), np.array([object()]),
              np.full(1000, np.nan), np.arange(10), np.arange(6) * 1j]  # fmt: skip
    states = ["number", "non-finite", "non-finite", "zero", "underflown", "disconnected",
              "not computed"]  # fmt: skip
    for i, (name, value) in enumerate(zip(WEIRD, values, strict=True)):
        state = states[i % len(states)]
        grad = {"number": 1e-300, "non-finite": float("nan"), "zero": 0.0, "underflown": 0.0}
        pen.node(name, value, ["input", "parameter", "constant", "operation"][i % 4],
                 scope=(name,) if i % 3 == 0 else (), grad=grad.get(state), grad_state=state,
                 expression=name if i % 4 == 3 else "", source=("f.py", 1, name))  # fmt: skip
        if i:
            pen.edge(WEIRD[i // 2], name, value if i % 2 else None, name)
    return Hand(pen.dag)


def states() -> Hand:
    """One node for each of the six gradient states."""
    pen = Pen("the six states")
    grads = {"not computed": None, "disconnected": None, "zero": 0.0, "underflown": 0.0,
             "non-finite": float("inf"), "number": 0.25}  # fmt: skip
    for state, grad in grads.items():
        name = re.sub(r"\W", "_", state)
        pen.node(name, 1.0, "parameter", grad=grad, grad_state=state)
    return Hand(pen.dag)
