"""Which gains to take: trials on equal seeds, scored by usability and novelty."""
