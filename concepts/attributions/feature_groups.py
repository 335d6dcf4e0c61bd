"""Pixels by groups: square patches, or superpixels that keep to the edges of an image."""

from __future__ import annotations

import numpy as np
from torch import Tensor

__all__ = ["patches", "superpixels"]

MOST_ASKED = 3


def patches(shape: tuple[int, int], size: int) -> np.ndarray:
    """Square patches of an image.

    Parameters
    ----------
    shape
        Height and width.
    size
        Of a patch, pixels; those at the right and lower edges are smaller where it does not divide the shape.

    Returns
    -------
    ndarray
        Shape of the image, the number of each pixel's group from 0.

    >>> patches((4, 4), 2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    height, width = shape
    if not 1 <= size <= max(shape):
        raise ValueError(f"size is {size}, but a patch of an image of {height} x {width} has 1 to {max(shape)} pixels.")
    columns = -(-width // size)
    return (np.arange(height) // size)[:, None] * columns + np.arange(width) // size


def superpixels(image: Tensor, n: int) -> np.ndarray:
    """About n superpixels of one image (SLIC, by scikit-image).

    Parameters
    ----------
    image
        Shape ``(3, h, w)`` or ``(1, h, w)``, of any range: it is scaled to 0..1.
    n
        How many are aimed at, at least 1. SLIC joins small ones to their neighbours and may give a third of what it is
        asked for: it is asked for more, up to `MOST_ASKED` times n, and the number nearest to n is taken.

    Returns
    -------
    ndarray
        Shape ``(h, w)``, the number of each pixel's group from 0.

    Raises
    ------
    ModuleNotFoundError
        If scikit-image is not installed.
    ValueError
        If the image is not of that shape, or n is below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}, but at least 1 superpixel is needed.")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"image has shape {tuple(image.shape)}, but one image (3, h, w) or (1, h, w) is needed.")
    try:
        from skimage.segmentation import slic
    except ImportError:
        raise ModuleNotFoundError(
            "Superpixels need the package scikit-image, which is not installed: pip install 'genmend[explain]'.",
            name="skimage",
        ) from None
    pixels = image.detach().float().cpu().numpy().transpose(1, 2, 0)
    low, high = pixels.min(), pixels.max()
    pixels = (pixels - low) / max(high - low, np.finfo(np.float32).tiny)
    pixels = pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels
    best, how_far = np.zeros(pixels.shape[:2], dtype=np.int64), n
    for asked in range(n, MOST_ASKED * n + 1, max(1, n // 4)):
        found = slic(pixels, n_segments=asked, start_label=0)
        groups = np.unique(found, return_inverse=True)[1].reshape(found.shape)
        if abs(int(groups.max()) + 1 - n) < how_far:
            best, how_far = groups, abs(int(groups.max()) + 1 - n)
        if int(groups.max()) + 1 >= n:
            break
    return best
