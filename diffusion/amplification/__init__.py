"""Amplify low spatial frequencies in the blocks of a denoiser."""
