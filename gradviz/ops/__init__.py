"""The table of operations: one row each, with its derivative rules and their notation."""
