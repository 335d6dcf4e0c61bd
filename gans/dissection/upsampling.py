"""Feature maps at the size of the image, bilinearly: only those maps that can reach a threshold."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["upsample"]

# Up to so many cells one product with the whole matrix is the quickest; larger maps go by rows, then by columns.
FEW_CELLS = 64


def upsample(maps: Tensor, side: tuple[int, int], places: Tensor | None = None) -> Tensor:
    """Maps ``[k, h, w]`` at `side` (height, width), flattened: ``[k, height * width]``, or only the `places` of it.

    Bilinear, ``align_corners=False``: pixel centres correspond. The official code's grid was made for aligned corners
    and used without, which shifts every mask.
    """
    _, height, width = maps.shape
    if height * width <= FEW_CELLS:
        weights = _whole(height, width, *side)
        return maps.flatten(1) @ (weights if places is None else weights[:, places])
    down, across = (_weights(before, after) for before, after in zip((height, width), side, strict=True))
    enlarged = (down.T @ (maps @ across)).flatten(1)
    return enlarged if places is None else enlarged[:, places]


@cache
def _weights(before: int, after: int) -> Tensor:
    """``[before, after]``: how much each cell counts at each place; columns add up to 1."""
    cells = torch.eye(before, dtype=torch.float64)[:, None]
    found = functional.interpolate(cells, size=after, mode="linear", align_corners=False)
    return found[:, 0].float()


@cache
def _whole(height: int, width: int, tall: int, wide: int) -> Tensor:
    """``[height * width, tall * wide]``: the same for both directions at once."""
    return torch.kron(_weights(height, tall), _weights(width, wide))
