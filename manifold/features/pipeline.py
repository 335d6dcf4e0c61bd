"""What is recorded of an extractor: its versions and the digest of its weights."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from typing import Any

import torch
from torch import nn

__all__ = ["digest_of_network", "digest_of_pipeline", "name_of_class", "versions_of"]


def digest_of_network(network: nn.Module) -> str:
    """SHA-256 over the printed layout and every parameter and buffer (name, dtype, shape, bytes)."""
    digest = hashlib.sha256(repr(network).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def digest_of_pipeline(pipeline: dict[str, Any]) -> str:
    """SHA-256 of a pipeline's JSON with sorted keys."""
    return hashlib.sha256(json.dumps(pipeline, sort_keys=True).encode()).hexdigest()


def name_of_class(instance: object) -> str:
    """The dotted name of an object's class."""
    return f"{type(instance).__module__}.{type(instance).__qualname__}"


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of installed packages, without a local part such as "+cu130"."""
    return {package: metadata.version(package).partition("+")[0] for package in sorted(set(packages))}
