"""What the methods of concepts/ find in real classifiers and generators."""
