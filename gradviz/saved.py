"""Where pickles of version 0.1 look for what opens them."""

from gradviz.keep.reading import Opaque, Sealed, unpack

__all__ = ["Opaque", "Sealed", "unpack"]
