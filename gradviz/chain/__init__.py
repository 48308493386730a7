"""What is explained: gradients, paths, reuse, formulas, checks."""
