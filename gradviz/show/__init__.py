"""Pictures of a graph: pure functions of a Graph and what shall be seen of it."""
