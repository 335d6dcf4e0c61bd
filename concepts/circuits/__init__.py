"""Granular concept circuits: which units of one block make which units of the next one see what they see."""
