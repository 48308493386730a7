"""How a PyTorch program becomes a Graph."""
