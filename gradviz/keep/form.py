"""What writing and reading a Graph's file share: its format, its limits, its kinds of numbers.

The format is `schema.json` beside this file.
"""

from __future__ import annotations

FORMAT, VERSION = "gradviz graph", 1
TEXT, BITS = 100_000, 1100
"""A text has at most so many characters, an integer so many bits."""
DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
    "float16 float32 float64 complex64 complex128".split()
)
NUMBERS = "norm", "low", "mean", "high", "zeros", "nonfinite"
"""Of `Statistics`, in this order."""
