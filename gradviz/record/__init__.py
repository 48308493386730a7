"""How a computation becomes a Graph."""
