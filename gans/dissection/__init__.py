"""What the units of a layer stand for, what they cause, and which of them make artifacts."""
