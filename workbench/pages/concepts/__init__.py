"""Pages of the commands that say what a network sees."""
