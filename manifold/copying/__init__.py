"""Whether a generator repeats what it was trained on: copies, authenticity, C_T and the gap of likelihoods."""
