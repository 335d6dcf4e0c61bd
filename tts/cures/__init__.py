"""What is tried on a sentence that a voice misread, and what is kept of it."""
