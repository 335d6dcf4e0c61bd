"""Command line and reports: the only room that knows all the others, and that computes nothing of its own."""
