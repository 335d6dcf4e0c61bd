"""Which parts of an input a score rests on."""
