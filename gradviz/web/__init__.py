"""What goes to a browser: the page, the Jupyter widget, and what they are told."""
