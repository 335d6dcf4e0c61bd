"""Weights of a model from a file that the user names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

__all__ = ["read_weights"]


def read_weights(path: str | Path, into: nn.Module) -> None:
    """Load a state dict, .safetensors or .pth, into a network that it fits exactly.

    Raises
    ------
    ValueError
        If the file is missing, damaged, holds more than tensors, or any name or shape differs: all are listed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no weights file {path}; give the path of a .safetensors or .pth state dict.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            stored = load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as weights: {error}") from error
    if not isinstance(stored, dict) or not all(isinstance(value, torch.Tensor) for value in stored.values()):
        raise ValueError(f"{path} holds more than tensors by name; save a plain state dict.")
    try:
        into.load_state_dict(stored)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit: {error}") from error
