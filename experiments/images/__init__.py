"""The manifold metrics on image sets and features whose answer is known."""
