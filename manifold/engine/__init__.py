"""Exact distances, radii and ball counts, fast: screens that rule pairs out, and the arbiter of the rest."""
