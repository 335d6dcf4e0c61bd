"""What the pages on faces and eyes say."""
