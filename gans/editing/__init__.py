"""Inspect and edit the units of a generator by hand: find those behind a region, scale them, measure, keep the edit."""
