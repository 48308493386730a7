"""Two traces of one program, aligned: where their values and their gradients part."""

from gradviz.chain.compare.comparison import Comparison, Row, compare
from gradviz.chain.compare.difference import Difference

__all__ = ["Comparison", "Difference", "Row", "compare"]
