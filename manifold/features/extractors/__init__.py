"""The networks that turn images and recordings into features."""
