"""Commands that take a generator."""
