"""The 64x64 face generator: detection, correction, dissection, rare samples and boundaries, measured."""
