"""A folder of real images at one size, for measures that ask whether generated ones are among them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from manifold.features.image_files import IMAGE_SUFFIXES, read_image

__all__ = ["read_real_images"]


def read_real_images(folder: Path, height: int, width: int) -> Tensor:
    """All images of a folder, ``[n, 3, height, width]`` in 0..1: resized so that they cover it, the middle kept.

    Raises
    ------
    ValueError
        If the folder holds no images, or one can't be read.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} holds no images; give a folder of real ones of what is prompted.")
    return torch.stack([_covering(read_image(path), height, width) for path in paths])


def _covering(image: Tensor, height: int, width: int) -> Tensor:
    scale = max(height / image.shape[1], width / image.shape[2])
    size = [max(side, round(length * scale)) for side, length in zip((height, width), image.shape[1:], strict=True)]
    resized = functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return resized[:, top : top + height, left : left + width].clamp(0, 1)
