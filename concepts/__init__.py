"""What a network sees: regions of decision, circuits of units, attributions."""
