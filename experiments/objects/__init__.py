"""A world of rendered vessels in which what is new, and what is broken, is known exactly."""
