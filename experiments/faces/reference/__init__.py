"""Makes what genmend carries of the face generator."""
