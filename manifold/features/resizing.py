"""How an image becomes another size: torch's kernels, and those of published pipelines that torch lacks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ANTIALIASED", "MODES", "resize"]

# Where an image shrinks, the kernels of the first two may widen (antialiasing); the others take single pixels.
ANTIALIASED = ("bicubic", "bilinear")
MODES = (*ANTIALIASED, "nearest", "bilinear-tf1")


def resize(images: Tensor, size: tuple[int, int], mode: str, antialias: bool) -> Tensor:
    """Images (n, c, h, w) at another size (height, width).

    Parameters
    ----------
    images : Tensor
        Floating-point.
    size : (int, int)
    mode : one of `MODES`
        ``nearest`` as torch's: the pixel at floor(position). ``bilinear-tf1`` as TensorFlow 1, and so the published
        FID: positions count from the corner of the first pixel, not from its centre.
    antialias : bool
        For bicubic and bilinear.
    """
    if mode == "nearest":
        return functional.interpolate(images, size=size, mode=mode)
    if mode == "bilinear-tf1":
        return _between(_between(images, size[1], 3), size[0], 2)
    return functional.interpolate(images, size=size, mode=mode, align_corners=False, antialias=antialias)


def _between(images: Tensor, length: int, dim: int) -> Tensor:
    """Linear interpolation along one dimension at ``i * given / length``; beyond the last pixel it is repeated."""
    given = images.shape[dim]
    place = torch.arange(length, device=images.device, dtype=torch.float32) * (given / length)
    left = place.long().clamp(max=given - 1)
    weight = (place - left).to(images.dtype).view([-1 if axis == dim else 1 for axis in range(4)])
    first, second = (images.index_select(dim, rows) for rows in (left, (left + 1).clamp(max=given - 1)))
    return first + (second - first) * weight
