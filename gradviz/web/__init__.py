"""What goes to a browser: the page, the Jupyter widget, and their data."""
