"""Rows of images as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """(n, 3, h, w) in 0..1 to (n, h, w, 3) uint8, rounded."""
    return (images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def image_grid(rows: Sequence[Tensor], scale: int = 1, gap: int = 2) -> bytes:
    """Rows of equally many images (n, 3, h, w) with white gaps between them, each pixel enlarged to `scale` pixels."""
    padded = [np.pad(to_pixels(row), ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=255) for row in rows]
    grid = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in padded]))
    buffer = io.BytesIO()
    enlarged = grid.resize((grid.width * scale, grid.height * scale), Image.Resampling.NEAREST)
    enlarged.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
