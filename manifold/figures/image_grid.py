"""Images as pixels, and rows of them as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["image_grid", "png", "to_pixels"]


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """(n, 3, h, w) in 0..1 to (n, h, w, 3) uint8, rounded."""
    return (images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def png(pixels: NDArray[np.uint8], scale: int = 1) -> bytes:
    """An (h, w, 3) picture as PNG, each pixel enlarged to `scale` pixels."""
    image = Image.fromarray(pixels)
    enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    enlarged.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def image_grid(rows: Sequence[Tensor], scale: int = 1, gap: int = 2) -> bytes:
    """Rows of equally many images (n, 3, h, w) as one PNG, white gaps between them.

    Raises
    ------
    ValueError
        If there is no image, or the rows differ in shape.
    """
    if not rows or not len(rows[0]) or any(row.shape != rows[0].shape for row in rows):
        raise ValueError(f"A grid got rows of shapes {[tuple(row.shape) for row in rows]}; give equal, non-empty rows.")
    padded = [np.pad(to_pixels(row), ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=255) for row in rows]
    return png(np.concatenate([np.concatenate(list(row), axis=1) for row in padded]), scale)
