"""What differences roundings explain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.chain.compare.difference import SCALARS
from gradviz.statistics import measure

if TYPE_CHECKING:
    from gradviz.graph import Graph

ROUNDING = 4
"""One rounding errs by half of eps, a sum of many terms and a library's exp by some more."""
SUMS = frozenset("add iadd radd subtract sub isub rsub sum mean".split())
BIASED = frozenset("linear conv1d conv2d conv3d".split())
"""These add their operand number 2."""
COARSE = {"bfloat16": 2.0**-7, "float8_e4m3fn": 2.0**-3, "float8_e5m2": 2.0**-2}


@cache
def _eps(dtype: Any) -> float:
    """The distance from 1 to the next number; 0 for a dtype that is exact."""
    try:
        return COARSE.get(str(dtype)) or float(np.finfo(dtype).eps)
    except (TypeError, ValueError):
        return 0.0


def _precision(value: Any) -> float:
    return _eps(getattr(value, "dtype", np.float64))


def _rms(value: Any) -> float:
    if value is None:
        return 0.0
    if type(value) in SCALARS:
        return abs(float(value))
    return measure(value).rms


class Roundings:
    """The relative error that roundings explain, of every value and of every gradient.

    Each operation adds one of its own to what its operands bring. Being independent they add up as
    squares, to ROUNDING · eps · √depth for a chain. A sum that cancels, as t - a does where a is
    nearly t, is as inexact as its terms, and its own size may be anything. An operation on such a
    difference passes its inexactness on; but not more than half of the digits, √eps, so that no
    real difference hides behind noise.

    Attributes
    ----------
    of_values : list of float
        By id of `graph`.
    """

    def __init__(self, graph: Graph, other: Graph, twins: Mapping[int, int]) -> None:
        self.graph, self.twins = graph, twins
        self.values = values = [node.value for node in graph.values]

        @cache
        def scale(v: int) -> float:
            found = _rms(values[v])
            return max(found, _rms(other.values[twins[v]].value)) if v in twins else found

        self.own: list[float] = []
        self.coarse: list[float] = []
        self.carry: list[float] = []
        self.of_values: list[float] = []
        for v, operands in enumerate(graph.operands):
            eps = _precision(values[v])
            if v in twins:
                eps = max(eps, _precision(other.values[twins[v]].value))
            rough = max((self.coarse[u] for u in operands), default=0.0)
            carried = max((self.carry[u] for u in operands), default=0.0)
            name = graph.values[v].operation.name.rstrip("_")
            if carried and name in SUMS:
                power = -0.5 if name == "mean" else 0.5  # errors of k terms are √k of one
                terms = (
                    self.carry[u] * scale(u) * _ratio(values[u], values[v]) ** power
                    for u in operands
                )
                carried = _quotient(sum(terms), scale(v), carried)
            self.own.append(eps)
            self.coarse.append(max(eps, rough))
            self.of_values.append(math.hypot(ROUNDING * eps, carried))
            self.carry.append(min(self.of_values[v], self.coarse[v] ** 0.5))

    def of_gradients(
        self, gradients: Mapping[int, Any], others: Mapping[int, Any]
    ) -> dict[int, float]:
        """By id of `graph`, for the gradients of both."""
        graph, values = self.graph, self.values

        @cache
        def scale(v: int) -> float:
            return max(_rms(gradients.get(v)), _rms(others.get(self.twins.get(v, -1))))

        messages = graph.derivatives.messages if gradients else {}
        found: dict[int, float] = {}
        for v in sorted(gradients, reverse=True):
            errors, sizes = [], []
            edges = [(r, key) for r, key in graph.readers[v] if r in found]
            for r, key in edges:
                name = graph.values[r].operation.name.rstrip("_")
                adds = name in SUMS or (name in BIASED and key == 2)
                error = min(found[r], self.coarse[r] ** 0.5)
                if not adds:  # its derivative is computed from values
                    error = max(error, self.carry[r], *(self.carry[u] for u in graph.operands[r]))
                errors.append(error)
                ratio = _ratio(values[r], values[v])
                if adds and ratio > 1:  # summed over what is broadcast
                    sizes.append(scale(r) * ratio**0.5)
                elif len(edges) > 1:
                    sizes.append(_rms(messages.get((r, key), gradients[v])))
            carried = max(errors, default=0.0)
            if sizes:
                total = sum(map(math.prod, zip(errors, sizes, strict=True)))
                carried = _quotient(total, scale(v), carried)
            found[v] = math.hypot(ROUNDING * self.own[v], carried)
        return found


def _ratio(u: Any, v: Any) -> float:
    return float(getattr(u, "size", 1) / max(getattr(v, "size", 1), 1))


def _quotient(number: float, by: float, otherwise: float) -> float:
    found = number / by if by else math.nan
    return found if math.isfinite(found) else otherwise
