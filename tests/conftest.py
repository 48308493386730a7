import sys
from pathlib import Path

import pytest

import gradviz as gv

sys.path.insert(0, str(Path(__file__).parent))  # the tests' own helpers


@pytest.fixture(scope="session")
def network():
    """The 2-2-2 network of Matt Mazur, "A Step by Step Backpropagation Example" (2015)."""
    return gv.examples.backprop_222()


@pytest.fixture
def colah():
    """The graph of Christopher Olah, "Calculus on Computational Graphs", at a = 2, b = 1."""
    return gv.expression("c = a + b; d = b + 1; e = c * d; e", a=2, b=1)
