"""Inspect pretrained generative models and mend what they get wrong, without retraining."""

__version__ = "0.1.0"
