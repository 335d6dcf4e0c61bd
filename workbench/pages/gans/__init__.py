"""Pages of the commands that take a generator."""
