"""Numbers that compare two sets of samples."""
