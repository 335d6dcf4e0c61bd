"""The images in what a generator's module returns: which tensor they are, and as three channels in 0..1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["CHANNELS", "NotFiniteError", "as_rgb", "container", "image_tensor", "no_images", "not_finite"]

CHANNELS = (1, 3, 4)  # grey, red-green-blue, and that with opacity
_NAMES = ("image", "images", "sample", "samples", "img", "imgs", "rgb")


class NotFiniteError(ValueError):
    """The generator returned NaN or infinite values."""


def image_tensor(output: Any, name: str) -> Tensor:
    """Return the images in an output: itself, the one called so, or the first tensor of their shape, or the first.

    Parameters
    ----------
    output
        A tensor or array; or a tuple, list, mapping, named tuple or dataclass that holds one. What is called image,
        images, sample, samples, img, imgs or rgb goes before all others.
    name : str
        The generator's.

    Raises
    ------
    TypeError
        If there is no tensor.
    """
    if isinstance(output, np.ndarray):
        return torch.from_numpy(output)
    if isinstance(output, Tensor):
        return output
    named = dict(_named(output))
    for key in _NAMES:
        if isinstance(named.get(key), Tensor):
            return named[key]
    tensors = [torch.as_tensor(value) for value in named.values() if isinstance(value, Tensor | np.ndarray)]
    if tensors:
        return next((tensor for tensor in tensors if tensor.ndim == 4 and tensor.shape[1] in CHANNELS), tensors[0])
    for value in named.values():
        if isinstance(value, tuple | list):
            return image_tensor(value, name)
    raise TypeError(
        f"{name} returned {_described(output)} without a tensor of images; give `call` to turn the module's output "
        "into images (n, 1, 3 or 4, height, width)."
    )


def container(output: Any) -> str:
    """In which words the images lie in an output: ``tensor``, or e.g. ``tuple of 2 tensors`` or ``dict with image``."""
    if isinstance(output, Tensor | np.ndarray):
        return "tensor"
    return _described(output)


def no_images(raw: Tensor, name: str) -> str:
    """Why a tensor is no batch of images, in one sentence with the remedy; empty where it is one."""
    shape = tuple(raw.shape)
    if raw.is_complex():
        return f"{name} returned complex numbers; give `call` to make images of them."
    if raw.ndim == 4 and shape[1] in CHANNELS:
        return ""
    said = f"{name} returned shape {shape}; images have shape (n, 3 or 1, height, width), or (n, 4, ...) with opacity: "
    if raw.ndim == 4 and shape[3] in CHANNELS:
        return said + "its channels stand last, so give call=lambda module, z: module(z).permute(0, 3, 1, 2)."
    if raw.ndim == 3:
        return said + (
            "give `call` to add the axis of a grey image's one channel, module(z)[:, None], or to turn sound into "
            "images, e.g. spectrograms."
        )
    if raw.ndim == 5:
        return said + "give `call` to make images of its volumes, e.g. their middle slice."
    return said + "give `call` to turn the module's output into that."


def as_rgb(raw: Tensor, value_range: tuple[float, float], name: str) -> Tensor:
    """Return raw images as (n, 3, h, w) float32 in 0..1: grey ones repeated, those with opacity laid on white.

    Raises
    ------
    ValueError
        If they are no images.
    """
    problem = no_images(raw, name)
    if problem:
        raise ValueError(problem)
    low, high = value_range
    images = ((raw.float() - low) / (high - low)).clamp(0, 1)
    if images.shape[1] == 4:
        return images[:, :3] * images[:, 3:] + (1 - images[:, 3:])
    return images.expand(-1, 3, -1, -1)


def not_finite(images: Tensor) -> Tensor:
    """Which images of a batch hold NaN or infinite values: (n,) bool."""
    return ~torch.isfinite(images).flatten(1).all(1)


def _named(output: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(output, Mapping):  # also the outputs of transformers and diffusers
        yield from ((str(key), value) for key, value in output.items())
    elif isinstance(output, tuple | list):
        keys = getattr(output, "_fields", range(len(output)))
        yield from ((str(key), value) for key, value in zip(keys, output, strict=True))
    elif is_dataclass(output):
        yield from ((field.name, getattr(output, field.name)) for field in fields(output))


def _described(output: Any) -> str:
    kind, named = type(output).__name__, dict(_named(output))
    keys = [key for key in named if not key.isdigit()]
    return f"{kind} with {', '.join(keys)}" if keys else f"{kind} of {len(named)}" if named else kind
