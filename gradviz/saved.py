"""Where pickles of version 0.1 look for what opens them."""

from gradviz.graph import unpickled as unpack
from gradviz.keep.pickles import Sealed

__all__ = ["Sealed", "unpack"]
