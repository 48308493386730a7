"""NumPy functions without a row of their own, written in functions that have one.

They run on recorded arrays, and what they do is recorded in their place. NumPy's own sources
would turn recorded arrays into plain ones. A form of a call that is not covered returns
NotImplemented: it is then recorded as an operation without a rule.
"""

from gradviz.ops.composed import (
    elements,
    joining,
    loops,
    polynomials,
    products,
    statistics,
    sums,
    transforms,
)
from gradviz.ops.composed.registry import COMPOSED, plain

__all__ = [
    "COMPOSED", "elements", "joining", "loops", "plain", "polynomials", "products", "statistics",
    "sums", "transforms",
]  # fmt: skip
