"""Pictures of a garment made comparable: one place and size, one background, one brightness and gamma.

A garment that is moved, enlarged, made brighter or flatter is no new one; so a measure of novelty looks at pictures
from which that is taken away. What a garment is plain or patterned by is kept: only the background, the top and the
mean logarithm of a histogram are matched, which undoes brightness, contrast and gamma and nothing else. Matched
rank by rank, the faint noise of a plain garment would look like a pattern.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["align_pictures"]

SPAN = 13 / 16  # of the frame, for the longer side of a garment
MEAN = 0.5  # geometric mean of a garment's pixels
POWERS = (0.5, 2.0)  # beyond them a flat garment's noise would become a pattern
EDGE = 0.01  # share of a garment's pixels that lies beyond either end of its extent
FAINT, SEEN = 0.06, 0.18  # share of the top below which a pixel is background, and above which it is garment


def align_pictures(pictures: Tensor) -> Tensor:
    """Move, scale and relight pictures (n, 1, h, w) in 0..1, so that all that differs is the garment; same shape."""
    ring = torch.cat([pictures[:, 0, 0], pictures[:, 0, -1], pictures[:, 0, :, 0], pictures[:, 0, :, -1]], dim=1)
    lifted = (pictures - ring.median(1).values[:, None, None, None]).clamp(min=0)
    smooth = nn.functional.avg_pool2d(lifted, 3, 1, 1)
    top = smooth.flatten(1).quantile(0.995, dim=1).clamp(min=1e-3)[:, None, None, None]
    garment = (smooth / top - FAINT).div(SEEN - FAINT).clamp(0, 1)
    moved = nn.functional.grid_sample(
        torch.cat([lifted / top, garment], dim=1), _frames(garment), padding_mode="border", align_corners=False
    )
    light, garment = moved.clamp(0, 1).split(1, dim=1)
    logarithm = (light.clamp(min=0.02).log() * garment).sum((2, 3)) / garment.sum((2, 3)).clamp(min=1)
    power = (math.log(MEAN) / logarithm.clamp(max=-1e-3)).clamp(*POWERS)
    aligned: Tensor = garment * light.clamp(min=1e-6) ** power[..., None, None]  # without the background's noise
    return aligned


def _frames(garment: Tensor) -> Tensor:
    """Where to sample each picture, (n, h, w, 2): the frame about its garment."""
    low_x, high_x = _extent(garment.sum((1, 2)))
    low_y, high_y = _extent(garment.sum((1, 3)))
    half = torch.maximum(high_x - low_x, high_y - low_y).clamp(min=0.1) / 2 / SPAN
    zero = torch.zeros_like(half)
    rows = [half, zero, (low_x + high_x) / 2, zero, half, (low_y + high_y) / 2]
    return nn.functional.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(garment.shape), align_corners=False)


def _extent(mass: Tensor) -> tuple[Tensor, Tensor]:
    """Between which places, -1..1, all but the edges of a mass (n, length) lie."""
    return _place(mass, EDGE), 1 - (1 + _place(mass.flip(1), EDGE))


def _place(mass: Tensor, share: float) -> Tensor:
    """Where, -1..1, a share of the mass is reached, between pixels too."""
    reached = mass.cumsum(1) / mass.sum(1, keepdim=True).clamp(min=1e-6)
    after = (reached < share).sum(1, keepdim=True).clamp(max=mass.shape[1] - 1)
    before = torch.where(after > 0, reached.gather(1, (after - 1).clamp(min=0)), torch.zeros_like(reached[:, :1]))
    step = (reached.gather(1, after) - before).clamp(min=1e-6)
    pixels = after + ((share - before) / step).clamp(0, 1)
    return (pixels / mass.shape[1] * 2 - 1)[:, 0]
