"""What a denoiser does: attention maps, block features, energies of frequency bands."""
