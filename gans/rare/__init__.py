"""Rare but real-looking samples: optimise latents towards low density inside the normal manifold."""
