"""What a correction does to a generator's samples, for whoever was given its file."""
