"""Pieces of long work, kept as they are done, so that an interrupted command goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from activations import atomic_write
from activations.digests import weights_digest

if TYPE_CHECKING:
    from gans import Generator

__all__ = ["checkpointed", "generator_facts", "settings_key", "tensor_digest"]

Arrays = dict[str, NDArray[Any]]


def settings_key(settings: Mapping[str, Any]) -> str:
    """A short name for exactly these settings: other settings, other files."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def generator_facts(generator: Generator) -> dict[str, Any]:
    """What the samples of a generator depend on beside their latents: its weights, and label, truncation, noise.

    Part of the key of everything that is kept of its samples. It reads all weights: ask once, not for every piece.
    """
    return {"weights": weights_digest(generator.module), "run": dict(generator.settings)}


def tensor_digest(values: Tensor) -> str:
    """SHA-256 of the values, in their order."""
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def checkpointed(folder: Path, name: str, resume: bool, compute: Callable[[], Arrays]) -> Arrays:
    """The arrays that `compute` returns, or ``folder/name.safetensors`` where an earlier run left it whole."""
    path = folder / f"{name}.safetensors"
    if resume and path.is_file():
        try:
            return load_file(path)
        except SafetensorError:
            pass  # damaged after it was written: compute it again
    arrays = compute()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        save_file({key: np.ascontiguousarray(values) for key, values in arrays.items()}, temporary)
    return arrays
