"""Recording programs written with JAX: a jaxpr, evaluated call by call."""
