"""What the pages on concepts say."""
