"""Which region is normal: the union of balls, its scores, regions by group, and the smallest move inside."""
