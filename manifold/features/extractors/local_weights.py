"""Weights of a model from a file that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ["check_weights", "one_line", "read_weights", "stored_tensors"]


def read_weights(path: str | Path, into: nn.Module) -> None:
    """Load a state dict, .safetensors or .pth, into a network that it fits exactly.

    Raises
    ------
    ValueError
        If the file is missing, damaged, holds more than tensors, or any name or shape differs: all are listed.
    """
    try:
        into.load_state_dict(stored_tensors(path))
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit: {one_line(error)}") from error


def check_weights(path: str | Path) -> None:
    """Refuse a weights file that a library with other defaults than ours would unpickle.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or asks for more than tensors and plain containers.
    """
    _read_state(Path(path))


def one_line(error: Exception) -> str:
    """An error's words without the line breaks that torch puts between its findings."""
    return " ".join(str(error).split())


def stored_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors by name, of a .safetensors file or a .pth state dict, of which nothing but tensors is unpickled.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or holds more than tensors.
    """
    path = Path(path)
    stored = _read_state(path)
    if not isinstance(stored, dict) or not all(isinstance(value, torch.Tensor) for value in stored.values()):
        raise ValueError(f"{path} holds more than tensors by name; save a plain state dict.")
    return stored


def _read_state(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"There is no weights file {path}; give the path of a .safetensors or .pth state dict.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's own words on a pickle end in how to run it all the same.
        pickled = type(error).__name__ == "UnpicklingError"
        reason = "it is damaged, or holds pickled objects, which could run code" if pickled else one_line(error)
        raise ValueError(f"{path} cannot be read as weights: {reason}; save a state dict as .safetensors.") from error
