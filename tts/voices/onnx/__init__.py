"""Voices that run by onnxruntime and are described by a small .json, by their metadata, or by their kind."""
