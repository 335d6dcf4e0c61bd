"""Fingerprints of a model: its layout (names and shapes) and its weights (contents, in each common dtype)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from genmend.activations.layers import plain_name
from genmend.storage.digests import sha256_of

__all__ = ["AS_STORED", "layout_difference", "layout_digest", "model_layout", "weights_digest", "weights_digests"]

#: Key, in `weights_digests`, of the digest in the dtypes that the model was loaded in.
AS_STORED = "as_stored"
_CASTS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def model_layout(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of ``state_dict()``, sorted by name."""
    return {name: tuple(tensor.shape) for name, tensor in _state(model).items()}


def layout_digest(layout: Mapping[str, Sequence[int]]) -> str:
    """Return the SHA-256, in hexadecimal, of sorted names and shapes."""
    listed = [[name, list(layout[name])] for name in sorted(layout)]
    return sha256_of([json.dumps(listed, separators=(",", ":"))])


def layout_difference(wanted: Mapping[str, Sequence[int]], given: Mapping[str, Sequence[int]]) -> list[str]:
    """List every difference, one line each: ``missing``, ``unexpected``, ``wrong shape``; empty if there is none."""
    missing = [f"missing: {name} {tuple(wanted[name])}" for name in sorted(wanted.keys() - given.keys())]
    unexpected = [f"unexpected: {name} {tuple(given[name])}" for name in sorted(given.keys() - wanted.keys())]
    wrong = [
        f"wrong shape: {name} is {tuple(given[name])}, should be {tuple(wanted[name])}"
        for name in sorted(wanted.keys() & given.keys())
        if tuple(wanted[name]) != tuple(given[name])
    ]
    return missing + unexpected + wrong


def weights_digest(model: nn.Module, dtype: torch.dtype | None = None) -> str:
    """Return the SHA-256, in hexadecimal, of sorted names and contents.

    Parameters
    ----------
    model
        Any module; its ``state_dict()`` is read.
    dtype
        Cast floating tensors to this first; None takes them as they are. Integer tensors are never cast.
    """

    def parts() -> Iterator[str | Tensor]:
        for name, tensor in _state(model).items():
            if dtype is not None and tensor.is_floating_point():
                tensor = tensor.detach().cpu().to(dtype)
            yield f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|"
            yield tensor

    return sha256_of(parts())


def weights_digests(model: nn.Module) -> dict[str, str]:
    """Return the digest as stored and one for each common dtype, so that a model in another one can be recognised."""
    casts = {str(dtype).removeprefix("torch."): weights_digest(model, dtype) for dtype in _CASTS}
    return {AS_STORED: weights_digest(model), **casts}


def _state(model: nn.Module) -> dict[str, Tensor]:
    state = {plain_name(name): value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    return dict(sorted(state.items()))
