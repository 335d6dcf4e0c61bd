"""The reference diffusion pipeline: its training, and what amplification does to its garments."""
