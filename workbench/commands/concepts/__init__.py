"""Commands that say what a network sees."""
