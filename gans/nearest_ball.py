"""How near a sample is to being inside a union of balls, as a function that gradients flow through."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["relative_distance"]


def relative_distance(features: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Distance / radius of the ball that is relatively nearest, ``[n]``: at most 1 inside.

    `features` ``[n, d]``, `centres` ``[m, d]``, `radii` ``[m]`` above 0. A screen for searches: what
    `manifold.Manifold.score_samples` measures exactly.
    """
    with torch.no_grad():  # which ball it is does not depend on the last bits
        ball = (torch.cdist(features, centres) / radii).argmin(1)
    return (features - centres[ball]).norm(dim=1) / radii[ball]
