"""Samples that the generator itself treats alike: smallest supporting boundary sets and walks inside them."""
