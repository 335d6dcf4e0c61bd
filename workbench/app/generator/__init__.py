"""The tab of a generator: its samples, its units, and what becomes of the ones when the others are switched off."""
