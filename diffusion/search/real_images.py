"""A folder of real images at one size, for measures that ask whether generated ones are among them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from genmend.manifold.features.resizing import resize
from genmend.manifold.features.sources import Samples, samples_of

__all__ = ["check_real_images", "read_real_images"]


def check_real_images(folder: Path, least: int = 6) -> Samples:
    """Return what the folder holds.

    Raises
    ------
    ValueError
        If that is no images, or fewer than `least`: a manifold of five neighbours needs six.
    """
    samples = samples_of(folder)
    if samples.kind != "images":
        raise ValueError(f"{folder} holds {samples.kind}; give a folder of real images of what is prompted.")
    if len(samples.names) < least:
        raise ValueError(f"{folder} holds {len(samples.names)} images; give at least {least} of what is prompted.")
    return samples


def read_real_images(folder: Path, height: int, width: int) -> Tensor:
    """Read all images of a folder and of those in it: ``(n, 3, height, width)`` in 0..1.

    Each is resized so that it covers the frame, and its middle is kept.

    Raises
    ------
    ValueError
        If the folder holds no images, or one can't be read.
    """
    samples = check_real_images(folder, 1)
    return torch.stack([_cover(samples.load(i)[1], height, width) for i in range(len(samples.names))])


def _cover(image: Tensor, height: int, width: int) -> Tensor:
    scale = max(height / image.shape[1], width / image.shape[2])
    size = max(height, round(image.shape[1] * scale)), max(width, round(image.shape[2] * scale))
    resized = resize(image[None], size, "bilinear", antialias=True)[0]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return resized[:, top : top + height, left : left + width].clamp(0, 1)
