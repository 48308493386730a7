"""What goes into files: a Graph's JSON and its schema, recorded trainings."""
