"""Generators of published families in pure PyTorch, by the layouts of their public checkpoints."""
