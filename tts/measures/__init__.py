"""What a spoken sentence is worth: recognisers' errors, naturalness, attention paths, distances."""
