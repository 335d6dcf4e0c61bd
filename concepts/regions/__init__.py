"""Relaxed decision regions: the samples on whose side of a few neurons a sample lies."""
