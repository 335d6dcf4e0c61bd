"""Pictures of images: grids, and heat maps laid over them, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

__all__ = ["gallery", "heat_overlay", "image_grid", "png", "read_images", "to_pixels"]


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """``[n, 3, h, w]`` in 0..1 to ``[n, h, w, 3]`` uint8, rounded."""
    return (images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def read_images(folder: Path, rows: NDArray[np.int64]) -> Tensor:
    """The images ``00000.png``, ``00001.png``, ... of these rows, ``[n, 3, h, w]`` in 0..1."""
    pixels = np.stack([np.asarray(Image.open(folder / f"{row:05d}.png")) for row in rows])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def png(pixels: NDArray[np.uint8], scale: int = 1) -> bytes:
    """An ``[h, w, 3]`` picture as PNG, each pixel enlarged to `scale` pixels."""
    image = Image.fromarray(pixels)
    enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    enlarged.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def heat_overlay(images: Tensor, heat: Tensor) -> Tensor:
    """Grey images with heat maps ``[n, h, w]`` in colour over them, all on one scale: 0 to the largest value of all."""
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    share = heat / heat.max().clamp(min=1e-12)
    coloured = images.new_tensor(colormaps["inferno"](share.numpy())[..., :3]).permute(0, 3, 1, 2)
    return (0.45 * grey + 0.65 * coloured).clamp(0, 1).float()


def image_grid(rows: Sequence[Tensor], scale: int = 1, gap: int = 2) -> bytes:
    """Rows of equally many images ``[n, 3, h, w]`` as one PNG, white gaps between them.

    Raises
    ------
    ValueError
        If there is no image, or the rows differ in shape.
    """
    if not rows or not len(rows[0]) or any(row.shape != rows[0].shape for row in rows):
        raise ValueError(f"A grid got rows of shapes {[tuple(row.shape) for row in rows]}; give equal, non-empty rows.")
    padded = [np.pad(to_pixels(row), ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=255) for row in rows]
    return png(np.concatenate([np.concatenate(list(row), axis=1) for row in padded]), scale)


def gallery(images: Tensor, columns: int = 12, scale: int = 1) -> bytes:
    """Images ``[n, 3, h, w]`` in reading order, `columns` to a row; the last row is filled up with white."""
    columns = min(columns, len(images))
    missing = -len(images) % columns
    filled = torch.cat([images, images.new_ones(missing, *images.shape[1:])])
    return image_grid(filled.split(columns), scale)
