"""References larger than memory, or than a machine."""
