"""Features kept on disk with all that made them, and which sets of features may be compared."""
