"""Images as pixels, and rows of them as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["image_grid", "png", "to_pixels"]


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """(n, 3, h, w) in 0..1 to (n, h, w, 3) uint8, rounded."""
    return (images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An (h, w, 3) picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def image_grid(rows: Sequence[Tensor], scale: int = 1, gap: int = 2, names: Sequence[str] = ()) -> bytes:
    """Rows of equally many images (n, 3, h, w) as one PNG: each pixel `scale` wide, white gaps, names at the left.

    Raises
    ------
    ValueError
        If there is no image, the rows differ in shape, or there are not as many names as rows.
    """
    if not rows or not len(rows[0]) or any(row.shape != rows[0].shape for row in rows):
        raise ValueError(f"A grid got rows of shapes {[tuple(row.shape) for row in rows]}; give equal, non-empty rows.")
    if names and len(names) != len(rows):
        raise ValueError(f"A grid of {len(rows)} rows got {len(names)} names; give one for each row, or none.")
    padded = [np.pad(to_pixels(row), ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=255) for row in rows]
    pixels = np.concatenate([np.concatenate(list(row), axis=1) for row in padded])
    pixels = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    return png(np.concatenate([_name_column(names, len(pixels)), pixels], axis=1) if names else pixels)


def _name_column(names: Sequence[str], height: int) -> NDArray[np.uint8]:
    """Names (height, w, 3), each in the middle of its row, aligned to the right."""
    font = ImageFont.load_default(14)
    width = 12 + max(int(np.ceil(font.getlength(name))) for name in names)
    column = Image.new("RGB", (width, height), "white")
    writing = ImageDraw.Draw(column)
    for i, name in enumerate(names):
        writing.text((width - 8, height * (i + 0.5) / len(names)), name, fill="black", font=font, anchor="rm")
    return np.asarray(column)
